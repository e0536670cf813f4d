//! What clients saw, and whether one order explains it. Revisions are the witness: every response says at which revision it stands.

use std::collections::BTreeMap;

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Nanoseconds since the run began.
    pub(crate) begun: u64,
    /// When the answer came; never, if none did.
    pub(crate) ended: Option<u64>,
    pub(crate) key: String,
    pub(crate) what: What,
}

/// What was asked, and what came of it.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A put of a value that no other put writes. The revision of its answer; none if it is not known whether it was executed.
    Put { value: String, revision: Option<i64> },
    /// A put of such a value where the key was last changed at `expected` (0: where it was not there), which it was, or perhaps was.
    Exchange { value: String, expected: i64, revision: Option<i64> },
    /// A linearizable read: what was there (value, revision of its put), and the store's revision.
    Get { found: Option<(String, i64)>, revision: i64 },
}

impl Call {
    fn revision(&self) -> Option<i64> {
        match &self.what {
            What::Put { revision, .. } | What::Exchange { revision, .. } => *revision,
            What::Get { revision, .. } => Some(*revision),
        }
    }
}

/// Checks that no acknowledged write is lost and no read is stale.
///
/// Unique revisions of writes; real time (what ended before another began stands at a revision not above it, and below it if the later one is a
/// write); every read shows the newest write of its key at or below its revision.
pub(crate) fn check(calls: &[Call]) -> Result<(), String> {
    let mut by_value: BTreeMap<&str, i64> = BTreeMap::new();
    let mut by_key: BTreeMap<&str, BTreeMap<i64, &str>> = BTreeMap::new();
    for call in calls {
        let fact = match &call.what {
            What::Put { value, revision: Some(revision) }
            | What::Exchange { value, revision: Some(revision), .. }
            | What::Get { found: Some((value, revision)), .. } => Some((value.as_str(), *revision)),
            What::Put { revision: None, .. }
            | What::Exchange { revision: None, .. }
            | What::Get { found: None, .. } => None,
        };
        let Some((value, revision)) = fact else { continue };
        let known = *by_value.entry(value).or_insert(revision);
        if known != revision {
            return Err(format!("{value} stands at revisions {known} and {revision}: executed twice"));
        }
        if let Some(other) = by_key.entry(&call.key).or_default().insert(revision, value)
            && other != value
        {
            return Err(format!("{other} and {value} both have revision {revision}"));
        }
    }
    reads(calls, &by_key)?;
    exchanges(calls, &by_key, &by_value)?;
    real_time(calls)
}

/// Between what an exchange expected and what it put, nobody has put.
fn exchanges(
    calls: &[Call],
    by_key: &BTreeMap<&str, BTreeMap<i64, &str>>,
    by_value: &BTreeMap<&str, i64>,
) -> Result<(), String> {
    for call in calls {
        let What::Exchange { value, expected, .. } = &call.what else { continue };
        // Also one that was not answered, if somebody has seen its value.
        let Some(at) = by_value.get(value.as_str()) else { continue };
        let before = by_key.get(call.key.as_str()).and_then(|writes| writes.range(..at).next_back());
        let before = before.map_or(0, |(revision, _)| *revision);
        if before != *expected {
            return Err(format!(
                "{value} was put at revision {at} because {} was last changed at {expected}, but it was changed at {before}",
                call.key
            ));
        }
    }
    Ok(())
}

fn reads(calls: &[Call], by_key: &BTreeMap<&str, BTreeMap<i64, &str>>) -> Result<(), String> {
    for call in calls {
        let What::Get { found, revision } = &call.what else { continue };
        let newest = by_key.get(call.key.as_str()).and_then(|writes| writes.range(..=*revision).next_back());
        match (found, newest) {
            (None, None) => {}
            (Some((value, at)), Some((newest_at, newest))) if value == newest && at == newest_at => {}
            (found, newest) => {
                return Err(format!(
                    "a read of {} at revision {revision} shows {found:?}, but the newest acknowledged or seen write is {newest:?}",
                    call.key
                ));
            }
        }
    }
    Ok(())
}

fn real_time(calls: &[Call]) -> Result<(), String> {
    let mut ended: Vec<(u64, i64, usize)> =
        calls.iter().enumerate().filter_map(|(n, call)| Some((call.ended?, call.revision()?, n))).collect();
    ended.sort_unstable();
    let mut begun: Vec<usize> = (0..calls.len()).filter(|n| calls[*n].revision().is_some()).collect();
    begun.sort_unstable_by_key(|n| calls[*n].begun);
    let (mut newest, mut next): (Option<(i64, usize)>, usize) = (None, 0);
    for n in begun {
        let call = &calls[n];
        while next < ended.len() && ended[next].0 < call.begun {
            let (_, revision, who) = ended[next];
            if newest.is_none_or(|(so_far, _)| revision > so_far) {
                newest = Some((revision, who));
            }
            next += 1;
        }
        let (Some((least, who)), Some(revision)) = (newest, call.revision()) else { continue };
        let late = match call.what {
            What::Put { .. } | What::Exchange { .. } => revision <= least,
            What::Get { .. } => revision < least,
        };
        if late {
            return Err(format!(
                "{call:?} began after {:?} had ended, at a revision that is not after it",
                calls[who]
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(begun: u64, ended: u64, key: &str, value: &str, revision: i64) -> Call {
        let what = What::Put { value: value.into(), revision: Some(revision) };
        Call { begun, ended: Some(ended), key: key.into(), what }
    }

    fn get(begun: u64, ended: u64, key: &str, found: Option<(&str, i64)>, revision: i64) -> Call {
        let found = found.map(|(value, at)| (value.to_owned(), at));
        Call { begun, ended: Some(ended), key: key.into(), what: What::Get { found, revision } }
    }

    #[test]
    fn a_sound_history_passes_and_each_kind_of_lie_is_found() {
        let sound = vec![put(0, 1, "a", "x", 2), put(2, 3, "a", "y", 3), get(4, 5, "a", Some(("y", 3)), 3)];
        assert_eq!(check(&sound), Ok(()));
        let lost = vec![put(0, 1, "a", "x", 2), get(2, 3, "a", None, 2)];
        assert!(check(&lost).is_err());
        let stale = vec![put(0, 1, "a", "x", 2), put(2, 3, "a", "y", 3), get(4, 5, "a", Some(("x", 2)), 2)];
        assert!(check(&stale).is_err());
        let twice = vec![put(0, 1, "a", "x", 2), get(2, 3, "a", Some(("x", 4)), 4)];
        assert!(check(&twice).is_err());
        let same = vec![put(0, 9, "a", "x", 2), put(0, 9, "a", "y", 2)];
        assert!(check(&same).is_err());
        let exchange = |expected| Call {
            begun: 4,
            ended: Some(5),
            key: "a".into(),
            what: What::Exchange { value: "z".into(), expected, revision: Some(4) },
        };
        let two = [put(0, 1, "a", "x", 2), put(2, 3, "a", "y", 3)];
        assert_eq!(check(&[two.as_slice(), &[exchange(3)]].concat()), Ok(()));
        assert!(check(&[two.as_slice(), &[exchange(2)]].concat()).is_err(), "somebody put between");
        let backwards = vec![put(0, 1, "a", "x", 5), put(2, 3, "b", "y", 4)];
        assert!(check(&backwards).is_err());
    }
}

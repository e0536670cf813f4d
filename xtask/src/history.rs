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
    /// A linearizable read: what was there (value, revision of its put), and the store's revision.
    Get { found: Option<(String, i64)>, revision: i64 },
}

impl Call {
    fn revision(&self) -> Option<i64> {
        match &self.what {
            What::Put { revision, .. } => *revision,
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
            What::Put { value, revision: Some(revision) } => Some((value.as_str(), *revision)),
            What::Get { found: Some((value, revision)), .. } => Some((value.as_str(), *revision)),
            What::Put { revision: None, .. } | What::Get { found: None, .. } => None,
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
    real_time(calls)
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
            What::Put { .. } => revision <= least,
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
        let backwards = vec![put(0, 1, "a", "x", 5), put(2, 3, "b", "y", 4)];
        assert!(check(&backwards).is_err());
    }
}

//! Lists that grow by numbers which nobody else appends. The longest read gives the order; every read is a beginning of it.

use std::collections::{BTreeMap, BTreeSet};

use super::Known;

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Acknowledged at this moment.
    Done(u64),
    /// It certainly was not done.
    Refused,
    /// Perhaps it was done.
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) key: String,
    pub(crate) element: u64,
    pub(crate) came: Came,
}

/// A linearizable read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) key: String,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) list: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) appends: Vec<Append>,
    pub(crate) reads: Vec<Read>,
}

/// Each acknowledged append is there once and stays, each refused one is not there, each other one at most once; and who reads later sees no less.
/// The last read of each key must have begun after everything: it is what the storm has left.
pub(crate) fn check(history: &History) -> Result<(), String> {
    let mut keys: BTreeMap<&str, (Vec<&Append>, Vec<&Read>)> = BTreeMap::new();
    for append in &history.appends {
        keys.entry(&append.key).or_default().0.push(append);
    }
    for read in &history.reads {
        keys.entry(&read.key).or_default().1.push(read);
    }
    keys.iter().try_for_each(|(key, (appends, reads))| one(key, appends, reads))
}

fn one(key: &str, appends: &[&Append], reads: &[&Read]) -> Result<(), String> {
    let Some(longest) = reads.iter().max_by_key(|read| read.list.len()) else {
        return Err(format!("{key} was never read"));
    };
    let order = &longest.list;
    let place: BTreeMap<u64, u64> = (1..).zip(order).map(|(place, element)| (*element, place)).collect();
    if place.len() != order.len() {
        let mut seen = BTreeSet::new();
        let twice = order.iter().find(|element| !seen.insert(**element));
        return Err(format!("{twice:?} was appended to {key} twice: {order:?}"));
    }
    for read in reads {
        if !order.starts_with(&read.list) {
            return Err(format!("{key}: {:?} is no beginning of {order:?}", read.list));
        }
    }
    let asked: BTreeMap<u64, Came> = appends.iter().map(|append| (append.element, append.came)).collect();
    for element in order {
        match asked.get(element) {
            None => return Err(format!("{key} has {element}, which nobody appended")),
            Some(Came::Refused) => {
                return Err(format!("{key} has {element}, of which it was said that it was not done"));
            }
            Some(Came::Done(_) | Came::Unknown) => {}
        }
    }
    let mut known: Vec<(u64, u64)> = reads.iter().map(|read| (read.ended, read.list.len() as u64)).collect();
    for (element, came) in &asked {
        let Came::Done(at) = came else { continue };
        let Some(place) = place.get(element) else {
            return Err(format!("{key} has lost {element}, which was acknowledged"));
        };
        known.push((*at, *place));
    }
    let known = Known::new(known);
    for read in reads {
        let least = known.before(read.begun);
        if (read.list.len() as u64) < least {
            return Err(format!(
                "a read of {key} shows {} elements where {least} were known: {read:?}",
                read.list.len()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(element: u64, came: Came) -> Append {
        Append { key: "k".into(), element, came }
    }

    fn read(begun: u64, list: &[u64]) -> Read {
        Read { key: "k".into(), begun, ended: begun + 1, list: list.to_vec() }
    }

    fn sound() -> History {
        History {
            appends: vec![
                append(1, Came::Done(10)),
                append(2, Came::Unknown),
                append(3, Came::Done(30)),
                append(4, Came::Refused),
            ],
            reads: vec![read(5, &[]), read(15, &[1]), read(40, &[1, 2, 3])],
        }
    }

    fn spoilt(spoil: impl FnOnce(&mut History)) -> String {
        let mut history = sound();
        spoil(&mut history);
        check(&history).expect_err("it is found")
    }

    #[test]
    fn a_sound_history_passes() {
        assert_eq!(check(&sound()), Ok(()));
    }

    #[test]
    fn what_is_lost_is_found() {
        assert!(spoilt(|history| history.reads[2].list = vec![1, 2]).contains("lost 3"));
        assert!(spoilt(|history| history.reads.clear()).contains("never read"));
    }

    #[test]
    fn what_is_there_and_should_not_be_is_found() {
        assert!(spoilt(|history| history.reads[2].list = vec![1, 2, 3, 1]).contains("twice"));
        assert!(spoilt(|history| history.reads[2].list = vec![1, 2, 3, 4]).contains("not done"));
        assert!(spoilt(|history| history.reads[2].list = vec![1, 2, 3, 9]).contains("nobody"));
    }

    #[test]
    fn reads_that_disagree_or_are_stale_are_found() {
        assert!(spoilt(|history| history.reads[1].list = vec![3]).contains("no beginning"));
        assert!(spoilt(|history| history.reads[1].list = vec![]).contains("were known"));
        assert!(spoilt(|history| history.reads.push(read(50, &[1, 2]))).contains("were known"));
    }
}

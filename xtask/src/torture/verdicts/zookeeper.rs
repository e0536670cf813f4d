//! ZooKeeper's promises, as one session after the other saw them kept.

use std::collections::BTreeMap;

use super::Known;

/// A sequential znode that was created.
#[derive(Clone, Debug)]
pub(crate) struct Sequential {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) number: u64,
}

/// Numbers are unique, and whoever asks later gets a greater one.
pub(crate) fn sequential(created: &[Sequential]) -> Result<(), String> {
    let mut numbers: Vec<u64> = created.iter().map(|one| one.number).collect();
    numbers.sort_unstable();
    if let Some(pair) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("the number {} was given twice", pair[0]));
    }
    // Shifted by one: 0 is a number, too, and says "none" otherwise.
    let known = Known::new(created.iter().map(|one| (one.ended, one.number + 1)).collect());
    for one in created {
        let least = known.before(one.begun);
        if one.number < least {
            return Err(format!("{one:?} was created after number {} had been given", least - 1));
        }
    }
    Ok(())
}

/// An ephemeral, and what was seen of it and of its session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ephemeral {
    pub(crate) path: String,
    /// Its creation was acknowledged then.
    pub(crate) created: u64,
    /// The session asked something then that was answered later: it lived at some moment after this one.
    pub(crate) alive: u64,
    /// The end of the session was acknowledged then.
    pub(crate) closed: Option<u64>,
    /// Looks after a sync: begun, ended, whether it was there.
    pub(crate) looks: Vec<(u64, u64, bool)>,
    /// Its session was left alone, and long enough later, in calm, it was gone. None: that was not waited for.
    pub(crate) gone_in_the_end: Option<bool>,
}

/// It goes with its session, never before, and does not stay.
pub(crate) fn ephemeral(all: &[Ephemeral]) -> Result<(), String> {
    for one in all {
        for (begun, ended, there) in &one.looks {
            if !there && *begun > one.created && *ended < one.alive {
                return Err(format!(
                    "{} was gone at {begun} to {ended}, and its session lived at {}",
                    one.path, one.alive
                ));
            }
            if *there && one.closed.is_some_and(|closed| *begun > closed) {
                return Err(format!("{} was there at {begun}, after its session had ended", one.path));
            }
        }
        if one.gone_in_the_end == Some(false) {
            return Err(format!("{} is still there, long after its session was left alone", one.path));
        }
    }
    Ok(())
}

/// Two znodes that are only ever set together, read together: the value of each, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) values: [String; 2],
    pub(crate) versions: [i32; 2],
}

/// All or nothing: both have the same value and were set equally often.
pub(crate) fn multi(reads: &[Pair]) -> Result<(), String> {
    let torn = |pair: &&Pair| pair.values[0] != pair.values[1] || pair.versions[0] != pair.versions[1];
    match reads.iter().find(torn) {
        Some(pair) => Err(format!("half of a multi was seen: {pair:?}")),
        None => Ok(()),
    }
}

/// A setData of a value that nobody else sets, or a read after a sync; with the version that its stat says.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) path: String,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) is_write: bool,
    pub(crate) value: String,
    pub(crate) version: i32,
}

/// A version has one value, and whoever begins later sees what was there, or writes behind it.
pub(crate) fn synced(all: &[Access]) -> Result<(), String> {
    let mut values: BTreeMap<(&str, i32), &str> = BTreeMap::new();
    let mut known: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for one in all {
        let value = *values.entry((&one.path, one.version)).or_insert(&one.value);
        if value != one.value {
            return Err(format!("version {} of {} is both {value} and {}", one.version, one.path, one.value));
        }
        known.entry(&one.path).or_default().push((one.ended, number(one.version)));
    }
    let known: BTreeMap<&str, Known> =
        known.into_iter().map(|(path, facts)| (path, Known::new(facts))).collect();
    for one in all {
        let least = known[one.path.as_str()].before(one.begun);
        if number(one.version) < least + u64::from(one.is_write && least > 0) {
            return Err(format!("{one:?} began after version {} was known", least - 1));
        }
    }
    Ok(())
}

/// Above 0, which says "none".
fn number(version: i32) -> u64 {
    u64::try_from(version).unwrap_or(0) + 1
}

/// What a session saw of one znode, in the order of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A read that left a watch saw this version.
    Armed(i32),
    /// A read without a watch saw this version.
    Read(i32),
    /// The watch told that the data changed.
    Told,
    /// The connection broke; what was armed is not followed any more.
    Broken,
}

/// A watch tells once, and before anything newer is seen.
pub(crate) fn watch(seen: &[Seen]) -> Result<(), String> {
    // Of those that are armed, the oldest version that was seen.
    let mut armed: Option<i32> = None;
    for (at, one) in seen.iter().enumerate() {
        match *one {
            Seen::Armed(version) | Seen::Read(version) if armed.is_some_and(|armed| version > armed) => {
                return Err(format!(
                    "version {version} was seen before the watch told of it ({})",
                    around(seen, at)
                ));
            }
            Seen::Armed(version) => armed = Some(armed.map_or(version, |before| before.min(version))),
            Seen::Told if armed.take().is_none() => {
                return Err(format!("a watch told twice, or was never set ({})", around(seen, at)));
            }
            Seen::Broken => armed = None,
            Seen::Told | Seen::Read(_) => {}
        }
    }
    Ok(())
}

fn around(seen: &[Seen], at: usize) -> String {
    format!("{:?}", &seen[at.saturating_sub(5)..=at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_rise() {
        let one = |begun, ended, number| Sequential { begun, ended, number };
        assert_eq!(sequential(&[one(0, 5, 0), one(1, 4, 1), one(6, 7, 2)]), Ok(()));
        assert!(sequential(&[one(0, 1, 0), one(0, 1, 0)]).is_err(), "twice");
        assert!(sequential(&[one(0, 1, 5), one(2, 3, 4)]).is_err(), "not rising");
        assert!(sequential(&[one(0, 1, 1), one(2, 3, 0)]).is_err(), "not rising to 0");
    }

    #[test]
    fn ephemerals_go_with_their_session() {
        let sound = Ephemeral {
            path: "/e".into(),
            created: 5,
            alive: 50,
            closed: Some(60),
            looks: vec![(1, 2, false), (10, 11, true), (55, 70, false), (80, 81, false)],
            gone_in_the_end: Some(true),
        };
        assert_eq!(ephemeral(std::slice::from_ref(&sound)), Ok(()));
        let spoilt = |spoil: &dyn Fn(&mut Ephemeral)| {
            let mut one = sound.clone();
            spoil(&mut one);
            assert!(ephemeral(std::slice::from_ref(&one)).is_err(), "{one:?}");
        };
        spoilt(&|one| one.looks[1].2 = false);
        spoilt(&|one| one.looks[3].2 = true);
        spoilt(&|one| one.gone_in_the_end = Some(false));
    }

    #[test]
    fn half_of_a_multi_is_found() {
        let pair = |a: &str, b: &str, versions| Pair { values: [a.into(), b.into()], versions };
        assert_eq!(multi(&[pair("x", "x", [1, 1])]), Ok(()));
        assert!(multi(&[pair("x", "y", [1, 1])]).is_err());
        assert!(multi(&[pair("x", "x", [1, 2])]).is_err());
    }

    #[test]
    fn stale_reads_after_a_sync_and_writes_in_one_place_are_found() {
        let access = |begun, is_write, value: &str, version| Access {
            path: "/r".into(),
            begun,
            ended: begun + 1,
            is_write,
            value: value.into(),
            version,
        };
        let sound = [access(0, true, "a", 1), access(2, false, "a", 1), access(4, true, "b", 2)];
        assert_eq!(synced(&sound), Ok(()));
        assert!(synced(&[access(0, true, "a", 1), access(2, false, "", 0)]).is_err(), "stale");
        assert!(synced(&[access(0, true, "a", 1), access(0, true, "b", 1)]).is_err(), "two values");
        assert!(
            synced(&[access(0, false, "a", 1), access(2, true, "a", 1)]).is_err(),
            "a write that is not behind"
        );
        let other = Access { path: "/other".into(), ..access(9, false, "", 0) };
        assert_eq!(synced(&[access(0, true, "a", 1), other]), Ok(()));
    }

    #[test]
    fn a_watch_tells_once_and_first() {
        use Seen::{Armed, Broken, Read, Told};
        assert_eq!(watch(&[Armed(1), Read(1), Told, Read(2), Armed(2), Armed(2), Told, Armed(5)]), Ok(()));
        assert_eq!(watch(&[Armed(1), Broken, Read(3)]), Ok(()));
        assert!(watch(&[Armed(1), Read(2)]).is_err(), "newer data before the event");
        assert!(watch(&[Armed(1), Armed(2)]).is_err(), "likewise");
        assert!(watch(&[Armed(1), Told, Told]).is_err(), "twice");
        assert!(watch(&[Read(1), Told]).is_err(), "never armed");
    }
}

//! A lock whose holders write with a fence: the revision at which they got it. Two never write in turns.

use std::collections::BTreeMap;

/// Somebody got the lock.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) owner: String,
    /// The revision that made the key: the fence.
    pub(crate) fence: i64,
}

/// A write that was done on condition that the lock's key was made at `fence`.
#[derive(Clone, Debug)]
pub(crate) struct Guarded {
    pub(crate) fence: i64,
    pub(crate) revision: i64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) holds: Vec<Hold>,
    pub(crate) writes: Vec<Guarded>,
}

/// No fence is given twice, and between one holder's guarded writes there is neither another's nor another's coming.
pub(crate) fn check(history: &History) -> Result<(), String> {
    let mut owners: BTreeMap<i64, &str> = BTreeMap::new();
    for hold in &history.holds {
        if let Some(other) = owners.insert(hold.fence, &hold.owner) {
            return Err(format!("{other} and {} both hold the lock since {}", hold.owner, hold.fence));
        }
    }
    for write in &history.writes {
        let Guarded { fence, revision } = *write;
        if revision <= fence {
            return Err(format!("{write:?} was done before its lock was held"));
        }
        if let Some((next, owner)) = owners.range(fence + 1..revision).next() {
            return Err(format!("{write:?} was done although {owner} had the lock since {next}"));
        }
    }
    let mut writes = history.writes.clone();
    writes.sort_by_key(|write| write.revision);
    for pair in writes.windows(2) {
        if pair[1].fence < pair[0].fence || pair[1].revision == pair[0].revision {
            return Err(format!("{:?} was followed by {:?}", pair[0], pair[1]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> History {
        let hold = |owner: &str, fence| Hold { owner: owner.into(), fence };
        let write = |fence, revision| Guarded { fence, revision };
        History {
            holds: vec![hold("a", 2), hold("b", 10), hold("a", 20)],
            writes: vec![write(2, 5), write(10, 12), write(2, 7), write(20, 21)],
        }
    }

    fn spoilt(spoil: impl FnOnce(&mut History)) {
        let mut history = sound();
        spoil(&mut history);
        assert!(check(&history).is_err(), "{history:?}");
    }

    #[test]
    fn a_sound_history_passes() {
        assert_eq!(check(&sound()), Ok(()));
    }

    #[test]
    fn holders_that_overlap_are_found() {
        spoilt(|history| history.writes[2].revision = 11);
        spoilt(|history| history.holds[1].fence = 2);
        spoilt(|history| history.writes.push(Guarded { fence: 20, revision: 19 }));
        // Of a holder whose coming was never acknowledged.
        spoilt(|history| {
            history.writes.extend([Guarded { fence: 30, revision: 40 }, Guarded { fence: 25, revision: 41 }])
        });
    }
}

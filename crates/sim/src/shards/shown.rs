//! What hosts show of divided keys, against what there was to show.

use std::collections::BTreeMap;

use crate::{etcd::Sums, zoo::Wrong};

/// What a host shows after something has happened there: all of its keys as of a revision, in a few numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Show {
    pub(crate) life: u64,
    pub(crate) revision: u64,
    pub(crate) sums: Sums,
}

/// What there was at each revision, and what each host showed last.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// More than one where something happened that takes no revision.
    states: BTreeMap<u64, Vec<Sums>>,
    last: BTreeMap<usize, Show>,
}

impl Shown {
    /// After all that has its place by now it stands so.
    pub(crate) fn stands(&mut self, revision: u64, sums: Sums) {
        let states = self.states.entry(revision).or_default();
        if states.last() != Some(&sums) {
            states.push(sums);
        }
    }

    /// P3, of what a host shows now.
    pub(crate) fn judge(&mut self, host: usize, show: Show) -> Result<(), Wrong> {
        let wrong = |what: String| Err(Wrong::new("P3", what));
        let last = self.last.insert(host, show).filter(|last| last.life == show.life);
        if let Some(last) = last.filter(|last| last.revision > show.revision) {
            return wrong(format!("shows {} after {}", show.revision, last.revision));
        }
        match self.states.get(&show.revision) {
            None => wrong(format!("shows {}, which is not placed", show.revision)),
            Some(states) if !show.sums.may_be_of(states) => {
                let (revision, is) = (show.revision, show.sums);
                wrong(format!("at {revision} the keys are not what the logs say: {is:?}, of {states:?}"))
            }
            Some(_) => Ok(()),
        }
    }

    /// P4, of a host in a cluster that has healed and settled.
    pub(crate) fn shows_all(&self, host: usize) -> Result<(), Wrong> {
        let newest =
            self.states.last_key_value().and_then(|(revision, states)| Some((*revision, *states.last()?)));
        let last = self.last.get(&host).map(|last| (last.revision, last.sums));
        if last == newest {
            return Ok(());
        }
        Err(Wrong::new("P4", format!("shows {last:?} at the end, and {newest:?} is committed and placed")))
    }
}

#[cfg(test)]
mod tests {
    use quorate_service::keyspace::Keyspace;

    use super::*;
    use quorate_consensus::{Position, StateMachine as _};
    use quorate_service::keyspace::{Command, LeaseId, Put};

    /// What there is after so many puts, and a lease.
    fn sums(puts: u64, lease: bool) -> Sums {
        let mut keyspace = Keyspace::new();
        for put in 0..puts {
            let put = Put { key: format!("k{put}").into(), ..Put::default() };
            keyspace.apply(Position::new(1, 1), &Command::Put(put).encode());
        }
        if lease {
            let grant = Command::LeaseGrant { id: LeaseId(1), ttl_s: 5 };
            keyspace.apply(Position::new(1, 2), &grant.encode());
        }
        Sums::of(&keyspace.view())
    }

    #[test]
    fn p3_what_is_shown_was_there_at_that_revision_and_does_not_fall_back() {
        let mut shown = Shown::default();
        shown.stands(1, sums(0, false));
        shown.stands(2, sums(1, false));
        shown.stands(2, sums(1, true));
        let show = |life, revision, sums| Show { life, revision, sums };
        assert_eq!(shown.judge(0, show(1, 2, sums(1, true))), Ok(()));
        assert_eq!(shown.judge(1, show(1, 2, sums(1, false))), Ok(()), "the lease is to be placed there");
        let id = |verdict: Result<(), Wrong>| verdict.map_err(|wrong| wrong.id);
        assert_eq!(id(shown.judge(2, show(1, 2, sums(0, false)))), Err("P3"), "of the revision before");
        assert_eq!(id(shown.judge(2, show(1, 3, sums(1, false)))), Err("P3"), "of one that is not placed");
        assert_eq!(id(shown.judge(0, show(1, 1, sums(0, false)))), Err("P3"), "it falls back");
        assert_eq!(id(shown.judge(1, show(2, 1, sums(0, false)))), Ok(()), "it has begun anew");
        assert_eq!(id(shown.shows_all(1)), Err("P4"));
        assert_eq!(shown.judge(1, show(2, 2, sums(1, true))), Ok(()));
        assert_eq!(shown.shows_all(1), Ok(()));
    }
}

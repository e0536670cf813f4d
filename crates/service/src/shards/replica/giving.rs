//! What a replica does where keys go over: it gives them, or gets them, and is behind the handover then.

use std::sync::Arc;

use quorate_consensus::planted;
use quorate_keyspace::{Keyspace, Shard};
use quorate_order::{Placement, Step, TxnId};

use super::ShardReplica;
use crate::shards::{Handover, Kind};

impl ShardReplica {
    /// It has placed everything before this handover, which has its revision, at or below this one; or the keys have gone over here.
    #[must_use]
    pub fn may_hand_over(&self, txn: TxnId, revision: u64) -> bool {
        let stands = match self.numbered.front() {
            Some((Placement::Txn { txn: next, revision: at, .. }, _)) => *next == txn && *at <= revision,
            _ => false,
        };
        self.handed >= txn || stands
    }

    /// This shard's keys that go to another by this handover, before which it stands; or which it gave before, and somebody has still to get.
    fn give(&mut self, txn: TxnId) -> Option<Keyspace> {
        let Some(handover) = self.enter(txn) else {
            return self.given.get(&txn).map(|(_, keys)| keys.copy());
        };
        let Handover { kind, taker, map, .. } = handover;
        let keys = match kind {
            Kind::Split => self.machine.split_off(|key| map.locate(key).shard == taker),
            Kind::Merge => self.machine.give_up(),
        };
        let copy = keys.copy();
        if !planted!("L08") {
            self.given.insert(txn, (taker, keys));
        }
        Some(copy)
    }

    /// By this handover, before which it stands, it gets these keys.
    fn get(&mut self, txn: TxnId, keys: Option<Keyspace>) {
        let Some(handover) = self.enter(txn) else { return };
        let keys = keys.expect("what the order remembers of a taker is kept where it came from");
        match handover.kind {
            // Whatever it held before it was vacant has gone on long ago, to whom it was merged into.
            Kind::Split => self.machine = Shard::new(keys),
            // A view of the two shows them in the order of their numbers.
            Kind::Merge => self.machine.absorb(&keys, handover.giver < self.shard),
        }
    }

    /// Goes behind a handover, and says which. None: it is behind it.
    fn enter(&mut self, txn: TxnId) -> Option<Handover> {
        if self.handed >= txn {
            return None;
        }
        let (_, place) = self.numbered.pop_front().expect("whoever may hand over stands before it");
        let Some(Step::Ask(_, asked)) = self.steps.front() else { unreachable!("it begins with a barrier") };
        let handover = Handover::of_part(&asked.command).expect("what was taken for a handover is one");
        (self.place, self.handed, self.handing) = (place, txn, false);
        self.map = Arc::clone(&handover.map);
        self.drop_placed();
        Some(handover)
    }
}

/// A handover that the order knows, and the two replicas of a node, both of which have come to it.
///
/// Either may have been restored from a snapshot of behind it, alone.
pub(in crate::shards) fn hand_over(txn: TxnId, giver: &mut ShardReplica, taker: &mut ShardReplica) {
    let keys = giver.give(txn);
    taker.get(txn, keys);
}

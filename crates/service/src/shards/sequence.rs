//! What the shards of a node place, as one sequence.

use quorate_keyspace::News;

use quorate_consensus::ShardId;
use quorate_order::TxnId;

use super::{Numbered, ShardReplica, split::hand_over};

/// A split that may still have to be carried out: which transaction, which shard, which new one.
pub type Handover = (TxnId, ShardId, ShardId);

/// Lets the shards of a node place together, revision by revision.
///
/// Architecture Invariant: a revision comes out whole, and after all those before it. {T puts into A and B at 6; A has it, B has not come to it}: nothing of 6 is
/// placed, and nothing of 7.
#[derive(Debug)]
pub struct Sequence {
    /// All up to here came out.
    out: u64,
}

impl Sequence {
    /// Of a node whose state is as of `revision`.
    #[must_use]
    pub fn new(revision: u64) -> Sequence {
        Sequence { out: revision }
    }

    /// The revision up to which everything came out: what a read on this node sees.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.out
    }

    /// Lets all shards of the node go as far as they can; `order` is the revision that the order has come to, `splits` those that it remembers, in order. What is
    /// placed by that, in order.
    ///
    /// One that is placed may decide what another waits for, in its own shard; so it goes on until nobody does. It ends: each round places something, or is the last.
    pub fn advance(
        &mut self,
        order: u64,
        splits: &[Handover],
        shards: &mut [&mut ShardReplica],
    ) -> Vec<Numbered> {
        let mut out = Vec::new();
        loop {
            shards.iter_mut().for_each(|shard| shard.advance());
            let reached = shards.iter().map(|shard| shard.reached(order)).min().unwrap_or(order);
            self.out = self.out.max(reached);
            let before = out.len();
            shards.iter_mut().for_each(|shard| shard.place_up_to(reached, &mut out));
            let split = splits.iter().any(|split| carry_out(*split, reached, shards));
            if out.len() == before && !split {
                break;
            }
        }
        // The change itself before what was told of it.
        out.sort_by_key(|numbered| (numbered.revision, !numbered.changes, numbered.shard));
        number_changes(&mut out);
        out
    }
}

/// Carries the split out if both of its shards stand before it, or one does and the other is behind it. False: nothing happened.
fn carry_out((txn, shard, child): Handover, reached: u64, shards: &mut [&mut ShardReplica]) -> bool {
    let place = |id: ShardId| shards.iter().position(|shard| shard.shard() == id);
    let (Some(from), Some(to)) = (place(shard), place(child)) else { return false };
    if [from, to].iter().all(|place| shards[*place].split() >= txn) {
        return false;
    }
    if [from, to].iter().any(|place| !shards[*place].may_split(txn, reached)) {
        return false;
    }
    let [from, to] = shards.get_disjoint_mut([from, to]).expect("a shard and its child are two");
    hand_over(txn, from, to);
    true
}

/// Each shard numbers its own changes of a revision from 0; here all of one revision follow each other, shard by shard.
fn number_changes(out: &mut [Numbered]) {
    let (mut revision, mut next) = (0, 0);
    for numbered in out {
        if numbered.revision != revision {
            (revision, next) = (numbered.revision, 0);
        }
        for news in &mut numbered.news {
            if let News::Changed(event) = news {
                event.sub = next;
                next += 1;
            }
        }
    }
}

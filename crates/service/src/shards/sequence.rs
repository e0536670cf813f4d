//! What the shards of a node place, as one sequence.

use quorate_keyspace::News;

use quorate_consensus::{ShardId, planted};
use quorate_order::TxnId;

use super::{
    Handover, Numbered, ShardReplica,
    replica::giving::hand_over,
    standing::{Merges, idle_behind, merges},
};

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

    /// Lets all shards of the node go as far as they can; `order` is the revision that the order has come to, `handovers` those that it remembers, in order. What is
    /// placed by that, in order.
    ///
    /// One that is placed may decide what another waits for, in its own shard; so it goes on until nobody does. It ends: each round places something, or is the last.
    pub fn advance(
        &mut self,
        order: u64,
        handovers: &[(TxnId, &Handover)],
        shards: &mut [&mut ShardReplica],
    ) -> Vec<Numbered> {
        let (mut out, merges) = (Vec::new(), merges(handovers.iter().copied()));
        loop {
            shards.iter_mut().for_each(|shard| shard.advance());
            let reached = reached(order, &merges, shards);
            self.out = self.out.max(reached);
            let before = out.len();
            shards.iter_mut().for_each(|shard| shard.place_up_to(reached, &mut out));
            let went_over =
                handovers.iter().any(|(txn, handover)| carry_out(*txn, handover, reached, shards));
            if out.len() == before && !went_over {
                break;
            }
        }
        // The change itself before what was told of it.
        out.sort_by_key(|numbered| (numbered.revision, !numbered.changes, numbered.shard));
        number_changes(&mut out);
        out
    }
}

/// Up to where all shards have come that anybody needs.
fn reached(order: u64, merges: &Merges<'_>, shards: &[&mut ShardReplica]) -> u64 {
    let handed = |id: ShardId| shards.iter().find(|shard| shard.shard() == id).map(|shard| shard.handed());
    let of_shard = |shard: &&mut ShardReplica| match idle_behind(shard, merges, &handed) {
        // {it is vacant, and a split gives it keys again}: with that it counts once more.
        Some(txn) => shard.reached_behind(txn, order),
        None => shard.reached(order),
    };
    let come = shards.iter().map(of_shard);
    if planted!("L12") { come.max() } else { come.min() }.unwrap_or(order)
}

/// Lets the keys go over if both shards stand before the handover, or one does and the other is behind it. False: nothing happened.
fn carry_out(txn: TxnId, handover: &Handover, reached: u64, shards: &mut [&mut ShardReplica]) -> bool {
    let place = |id: ShardId| shards.iter().position(|shard| shard.shard() == id);
    let (Some(giver), Some(taker)) = (place(handover.giver), place(handover.taker)) else { return false };
    if [giver, taker].iter().all(|place| shards[*place].handed() >= txn) {
        return false;
    }
    if [giver, taker].iter().any(|place| !shards[*place].may_hand_over(txn, reached)) {
        return false;
    }
    let [giver, taker] = shards.get_disjoint_mut([giver, taker]).expect("giver and taker are two");
    hand_over(txn, giver, taker);
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

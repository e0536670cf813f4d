//! How far the shards of a node have come with handovers: whose replica nobody needs, and by which map the keys are shown.
//!
//! Architecture Invariant: a shard that holds nothing holds up nobody. {s5 was merged into s2, and has no leader since; a node starts again, with a snapshot of s2 from behind the
//! merge and one of s5 from before it}: what s5 held is in s2, and s2 alone decides how far the node has come.

use quorate_consensus::ShardId;
use quorate_order::TxnId;

use super::{Handover, Kind, Order, ShardReplica};

/// Handovers that the order remembers, in order.
pub(super) type Handovers<'a> = [(TxnId, &'a Handover)];
/// Those of them that are merges.
pub(super) type Merges<'a> = [(TxnId, &'a Handover)];
/// The last handover that a shard of this node is behind; none where its state is not here.
pub(super) type Handed<'a> = dyn Fn(ShardId) -> Option<TxnId> + 'a;

/// The merges among handovers: most of the time there are none, and whoever asks for each shard asks these.
pub(super) fn merges<'a>(
    handovers: impl Iterator<Item = (TxnId, &'a Handover)>,
) -> Vec<(TxnId, &'a Handover)> {
    handovers.filter(|(_, handover)| handover.kind == Kind::Merge).collect()
}

/// The last merge by which all that this shard held has gone to where it is on this node, whether this shard's own replica has come to it or not; of those behind `before`.
fn spent(before: TxnId, shard: ShardId, merges: &Merges<'_>, handed: &Handed<'_>) -> Option<TxnId> {
    // {s5 went to s2, then s2 to s1, and s1 is behind both}: s2 may be late as well.
    let has = |taker: ShardId, txn: TxnId| {
        handed(taker).is_some_and(|behind| behind >= txn) || spent(txn, taker, merges, handed).is_some()
    };
    let mut later = merges.iter().rev().take_while(|(txn, _)| *txn > before);
    later.find(|(txn, merge)| merge.giver == shard && has(merge.taker, *txn)).map(|(txn, _)| *txn)
}

/// The handover behind which nothing of this replica is needed, up to the next one by which it gets keys. None: it is needed.
pub(super) fn idle_behind(replica: &ShardReplica, merges: &Merges<'_>, handed: &Handed<'_>) -> Option<TxnId> {
    let vacant = replica.is_vacant().then(|| replica.handed());
    let spent = spent(TxnId::default(), replica.shard(), merges, handed);
    vacant.max(spent).filter(|txn| replica.handed() <= *txn)
}

/// Does nobody need this shard, of which there is no state here? It holds nothing by all that the order knows.
pub(super) fn is_idle(shard: ShardId, order: &Order, handed: &Handed<'_>) -> bool {
    let of_shard = order.handovers().filter(|(_, handover)| handover.touches(shard));
    match of_shard.map(|(txn, _)| txn).last() {
        None => order.map().get(shard).is_none(),
        Some(last) => spent(TxnId::default(), shard, &merges(order.handovers()), handed) == Some(last),
    }
}

/// The newest handover by whose map the keys can be shown: each shard of that map has come to where it says, and no further. None: there is no such map for now.
///
/// {s2 was split, its new shard s5 is behind that, and s2 was restored from before}: by the map of before, s2 shows all; by that of behind, s5 shows its own and s2 too much. The
/// one of before is as old as s2 is; and whoever has seen more waits for s2.
pub(super) fn shown(order: &Order, handovers: &Handovers<'_>, handed: &Handed<'_>) -> Option<TxnId> {
    let maps = handovers.iter().rev().map(|(txn, _)| *txn).chain([TxnId::default()]);
    maps.into_iter().find(|txn| {
        order
            .map_behind(*txn)
            .shards()
            .iter()
            .all(|entry| stands_at(entry.shard, *txn, order, handovers, handed))
    })
}

/// Is this shard behind all handovers up to this one in which it has a part, and behind no later one?
fn stands_at(
    shard: ShardId,
    txn: TxnId,
    order: &Order,
    handovers: &Handovers<'_>,
    handed: &Handed<'_>,
) -> bool {
    let Some(behind) = handed(shard) else { return false };
    // {its snapshot is from behind a handover of which the order here has not heard}: the other one of the two is not behind it.
    if behind > order.orderer().last_begun() {
        return false;
    }
    let of_shard = handovers.iter().filter(|(_, handover)| handover.touches(shard)).map(|(txn, _)| *txn);
    of_shard.into_iter().all(|touches| (touches <= txn) == (touches <= behind))
}

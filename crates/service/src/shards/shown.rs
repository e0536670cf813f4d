//! What a node shows of its shards while keys go over from one to another: by which map, and for whom it waits.

use std::sync::Arc;

use quorate_consensus::ShardId;
use quorate_order::{Slice, TxnId};

use super::{
    NodeShards, Order, ShardsOut,
    here::{Group, Owning},
    standing::{self, Handovers, Merges},
};

impl NodeShards {
    /// The last handover that the replica here of a shard is behind; none without its state.
    fn handed(&self, shard: ShardId) -> Option<TxnId> {
        let group = self.group_of(shard).filter(|group| !group.awaits_snapshot)?;
        Some(group.replica.machine().replica().handed())
    }

    /// Has a shard no state here that somebody needs?
    pub(super) fn awaits_snapshot(&self, order: &Order) -> bool {
        let handed = |shard| self.handed(shard);
        let mut awaiting = self.groups.values().filter(|group| group.awaits_snapshot);
        awaiting.any(|group| !standing::is_idle(group.shard, order, &handed))
    }

    /// How far have the handovers been carried out, and by which map are the keys divided that are placed here?
    pub(super) fn look_at_handovers(
        &mut self,
        order: &Order,
        handovers: &Handovers<'_>,
        out: &mut ShardsOut,
    ) {
        let shown = standing::shown(order, handovers, &|shard| self.handed(shard));
        self.torn = shown.is_none();
        if let Some(shown) = shown {
            let map = order.map_behind(shown);
            if map.version() != self.owners.map.version() {
                self.owners = Owning::of(map);
                out.divided = Some(Arc::clone(map));
                // What has gone over is in snapshots of the giver until every member has it behind one of the taker.
                let new = handovers.iter().filter(|(txn, _)| *txn > self.shown && *txn <= shown);
                out.snapshots.extend(new.filter_map(|(_, handover)| self.of_shard.get(&handover.taker)));
            }
            self.shown = shown;
        }
        self.forget_given(out);
        self.answer_handovers(order, out);
    }

    /// A vacant shard whose keys all members have elsewhere by now: {its last snapshot has them still, and nothing else comes into its log}: the next one has nothing.
    fn forget_given(&mut self, out: &mut ShardsOut) {
        for (id, group) in &mut self.groups {
            let replica = group.replica.machine().replica();
            let keeps = replica.given().next().is_some();
            if group.keeps_given && !keeps && replica.is_vacant() {
                out.snapshots.push(*id);
            }
            group.keeps_given = keeps;
        }
    }

    /// How many slices a shard has to have placed here that is as far as the order. None: there is nothing in them that anybody reads.
    pub(super) fn is_to_come_to(&self, order: &Order, merges: &Merges<'_>, group: &Group) -> Option<u64> {
        let (slices, replica) = (order.orderer().slices(group.shard)?, group.replica.machine().replica());
        let handed = |shard| self.handed(shard);
        let idle = if group.awaits_snapshot {
            standing::is_idle(group.shard, order, &handed).then_some(order.orderer().last_begun())
        } else {
            standing::idle_behind(replica, merges, &handed)
        };
        // {it is vacant, a split has been decided that gives it keys, and it has not come to that here}: then it is waited for.
        let gets = |idle| {
            let mut rest = slices.after(replica.place().slice).into_iter().flatten();
            rest.any(|slice| matches!(slice, Slice::Txn { txn, .. } if *txn > idle))
        };
        idle.is_none_or(gets).then_some(slices.end())
    }

    /// How the shards stand here by the order that this node knows, in words: for people who look for what is stuck.
    #[must_use]
    pub fn in_words(&self, order: &Order) -> String {
        let mut words = format!("shown {}", self.sequence.revision());
        if !self.is_whole() {
            words += &format!(", not whole below {} or torn {}", self.floor, self.torn);
        }
        for group in self.groups.values() {
            let replica = group.replica.machine().replica();
            let slices = order.orderer().slices(group.shard).map_or(0, quorate_order::Slices::end);
            words += &format!("; {}{}", group.shard, if group.leads { " led" } else { "" });
            words +=
                &format!(" log {} slices {}/{slices}", group.replica.applied().index, replica.place().slice);
            if let Some(txn) = replica.stands_at() {
                words += &format!(" at the barrier of {}, {} wait", txn.0, replica.waiting());
            }
            if group.awaits_snapshot {
                words += " awaits a snapshot";
            }
        }
        let open: Vec<u64> = order.orderer().open().map(|(txn, _)| txn.0).take(5).collect();
        words
            + &format!(
                "; order {} open {open:?} of {}",
                order.orderer().revision(),
                order.orderer().open().count()
            )
    }
}

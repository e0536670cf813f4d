//! Shards that somebody has split and merged.

use bytes::Bytes;
use quorate_consensus::{GroupId, ShardId};
use quorate_service::{
    KEYS,
    node::{Origin, TaggedCommand, Ticket},
    placement::shards::Command as MapCommand,
    shards,
};

use super::{NODES, Request, Told, World, members};

/// What becomes of shards, as somebody asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Split,
    SplitIntoVacant,
    Merge,
}

impl World {
    /// Somebody has a shard split, as it stands by what this node knows.
    pub(crate) fn asks_split(&mut self) {
        let node = self.pick(NODES as u64 - 1) as usize;
        let Some(map) = self.nodes[node].heard.lock().unwrap().map.clone() else { return };
        let place = self.pick(map.shards().len() as u64) as usize;
        self.asks_split_of(node, map.shards()[place].shard);
    }

    /// A vacant shard gets the keys, if there is one; now and then a new one all the same.
    pub(crate) fn asks_split_of(&mut self, node: usize, shard: ShardId) {
        let map = self.nodes[node].heard.lock().unwrap().map.clone().expect("the keys are divided");
        let (entry, split) = shards::split_at(&map, shard, None, &members()).expect("it can be split");
        let comes_back = map.vacancy(split.taker).is_some();
        if !comes_back || !self.chance(8) {
            let what = if comes_back { Asked::SplitIntoVacant } else { Asked::Split };
            return self.asks_handover(node, &entry, what);
        }
        let begin = MapCommand::BeginSplit {
            shard,
            range_version: map.get(shard).expect("a shard of the map").range_version,
            at: split.map.get(split.taker).expect("it gets keys").from.clone(),
            child: map.next_shard(),
            group: GroupId(map.last_group().0 + 1),
        };
        self.asks_handover(node, &shards::handover_entry(&[begin]), Asked::Split);
    }

    /// Somebody has two shards merged, as they stand by what this node knows.
    pub(crate) fn asks_merge(&mut self) {
        let node = self.pick(NODES as u64 - 1) as usize;
        let Some(map) = self.nodes[node].heard.lock().unwrap().map.clone() else { return };
        if map.shards().len() > 1 {
            let place = self.pick(map.shards().len() as u64 - 1) as usize;
            self.asks_merge_of(node, map.shards()[place].shard);
        }
    }

    pub(crate) fn asks_merge_of(&mut self, node: usize, left: ShardId) {
        let map = self.nodes[node].heard.lock().unwrap().map.clone().expect("the keys are divided");
        let (entry, _) = shards::merge_at(&map, left, None).expect("it has a neighbour");
        self.asks_handover(node, &entry, Asked::Merge);
    }

    fn asks_handover(&mut self, node: usize, entry: &Bytes, what: Asked) {
        let ticket = Ticket(self.requests.len() as u64);
        let origin = Some(Origin { node: self.nodes[node].id, life: 1, ticket });
        let bytes = TaggedCommand::encode(origin, None, |to| to.raw(entry));
        let seen = self.seen();
        self.handovers.push((self.requests.len(), what));
        self.requests.push(Request { command: None, seen, node, granted: Vec::new(), told: None });
        self.proposals.push_back((KEYS, bytes));
    }

    /// So many of these were carried out.
    pub(crate) fn carried_out(&self, what: Asked) -> usize {
        let is_done = |at: usize| matches!(self.requests[at].told, Some(Told::Done(_)));
        self.handovers.iter().filter(|(at, asked)| *asked == what && is_done(*at)).count()
    }
}

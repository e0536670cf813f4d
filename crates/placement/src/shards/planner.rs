//! How a plan of the [balancer](super::plan) is made: step by step, each on what the ones before it left.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{GroupId, Membership, NodeId, ShardId};

use super::{
    BALANCE_GAP_PERCENT, Entry, LEADERS_GAP, Limits, Load, MERGE_SHARE_PERCENT, NodeLoad, NodeState, Phase,
    REPLICA_WEIGHT, Rule, SHARD_WEIGHT, ShardMap, Suggestion, Token,
};

/// A plan in the making.
pub(super) struct Planner<'a> {
    map: &'a ShardMap,
    loads: &'a BTreeMap<ShardId, Load>,
    limits: &'a Limits,
    /// What the replicas of each available node weigh once all that is under way or suggested is done.
    weights: BTreeMap<NodeId, u64>,
    /// How many replicas each node is to receive.
    incoming: BTreeMap<NodeId, usize>,
    /// Shards that are not to be touched any more.
    taken: BTreeSet<ShardId>,
    /// How many changes may still begin.
    room: usize,
    pub(super) suggestions: Vec<Suggestion>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        map: &'a ShardMap,
        loads: &'a BTreeMap<ShardId, Load>,
        nodes: &BTreeMap<NodeId, NodeLoad>,
        limits: &'a Limits,
    ) -> Planner<'a> {
        let available = nodes.iter().filter(|(_, node)| node.state == NodeState::Available);
        let mut planner = Planner {
            map,
            loads,
            limits,
            weights: available.map(|(node, _)| (*node, 0)).collect(),
            incoming: BTreeMap::new(),
            taken: BTreeSet::new(),
            room: usize::from(map.changes_at_once()).saturating_sub(map.changes_under_way()),
            suggestions: Vec::new(),
        };
        for entry in map.shards() {
            if !entry.is_whole() {
                planner.taken.insert(entry.shard);
            }
            let members = match &entry.phase {
                Phase::Moving { to } => {
                    planner.receive(&entry.members, to);
                    to
                }
                Phase::Whole | Phase::Splitting { .. } | Phase::Merging { .. } => &entry.members,
            };
            planner.weigh(members, planner.weight(entry), u64::saturating_add);
        }
        planner
    }

    fn load(&self, entry: &Entry) -> Option<&'a Load> {
        self.loads.get(&entry.shard)
    }

    /// What one replica weighs.
    fn weight(&self, entry: &Entry) -> u64 {
        let share = |part: u64, whole: u64| {
            let share = u128::from(part) * u128::from(SHARD_WEIGHT) / u128::from(whole.max(1));
            u64::try_from(share).unwrap_or(u64::MAX).min(u64::from(u32::MAX))
        };
        self.load(entry).map_or(REPLICA_WEIGHT, |load| {
            REPLICA_WEIGHT
                + share(load.bytes, self.limits.split_bytes)
                + share(load.operations_per_s, self.limits.split_operations_per_s)
        })
    }

    fn weigh(&mut self, members: &Membership, weight: u64, with: impl Fn(u64, u64) -> u64) {
        for member in members.members() {
            if let Some(sum) = self.weights.get_mut(&member) {
                *sum = with(*sum, weight);
            }
        }
    }

    fn receive(&mut self, from: &Membership, to: &Membership) {
        for node in to.members().filter(|node| !from.contains(*node)) {
            *self.incoming.entry(node).or_default() += 1;
        }
    }

    fn may_receive(&self, node: NodeId) -> bool {
        self.incoming.get(&node).copied().unwrap_or_default() < self.limits.moves_to_a_node
    }

    fn is_free(&self, entry: &Entry) -> bool {
        !self.taken.contains(&entry.shard)
    }

    /// Suggests a move, and counts from here on as if it were done.
    fn suggest_move(&mut self, entry: &Entry, members: Membership, because: String) {
        let weight = self.weight(entry);
        self.weigh(&entry.members, weight, u64::saturating_sub);
        self.weigh(&members, weight, u64::saturating_add);
        self.receive(&entry.members, &members);
        self.taken.insert(entry.shard);
        self.room -= 1;
        self.suggestions.push(Suggestion::Move { shard: entry.shard, members, because });
    }

    /// The nodes that can take a replica of the shard, the emptiest first.
    fn takers(&self, entry: &Entry) -> Vec<NodeId> {
        let can = |node: &NodeId| !entry.members.contains(*node) && self.may_receive(*node);
        let mut takers: Vec<NodeId> = self.weights.keys().copied().filter(can).collect();
        takers.sort_by_key(|node| (self.weights[node], *node));
        takers
    }

    /// Replicas leave nodes that are down or draining: one of a shard at a time, so that the others carry it.
    pub(super) fn rescue(&mut self) {
        for entry in self.map.shards() {
            let leaves = entry.members.members().find(|node| !self.weights.contains_key(node));
            let Some(leaves) = leaves.filter(|_| self.is_free(entry)) else { continue };
            match self.takers(entry).first() {
                Some(taker) if self.room > 0 => {
                    let because = format!("node {leaves} is down or to be emptied");
                    self.suggest_move(entry, replaced(&entry.members, leaves, *taker), because);
                }
                // Its turn comes. If nobody could ever take it, it goes on as it is.
                _ if self.weights.keys().any(|node| !entry.members.contains(*node)) => {
                    self.taken.insert(entry.shard);
                }
                _ => {}
            }
        }
    }

    pub(super) fn split(&mut self) {
        for entry in self.map.shards() {
            let Some(load) = self.load(entry).filter(|_| self.is_free(entry)) else { continue };
            let (bytes_max, operations_max) = (self.limits.split_bytes, self.limits.split_operations_per_s);
            let because = if load.bytes > bytes_max {
                format!("it has {} bytes, and {bytes_max} are the most", load.bytes)
            } else if load.operations_per_s > operations_max {
                format!(
                    "it does {} operations a second, and {operations_max} are the most",
                    load.operations_per_s
                )
            } else {
                continue;
            };
            let Some(at) = self.cut(entry, load).filter(|_| self.room > 0) else { continue };
            self.taken.insert(entry.shard);
            self.room -= 1;
            self.suggestions.push(Suggestion::Split { shard: entry.shard, at, because });
        }
    }

    /// Where a shard can be cut: where it was measured; by hash, in the middle.
    fn cut(&self, entry: &Entry, load: &Load) -> Option<Token> {
        let inside = |at: &Token| self.map.rule().is_cut(at) && entry.holds(at) && *at != entry.from;
        let measured = load.middle.clone().filter(inside);
        let number = |token: &Token| <[u8; 8]>::try_from(token.as_bytes()).map_or(0, u64::from_be_bytes);
        let halved = || {
            let from = number(&entry.from);
            let to = entry.to.as_ref().map_or(u64::MAX, number);
            Token::new((from + (to - from) / 2).to_be_bytes().to_vec())
        };
        let by_hash = self.map.rule() == Rule::Hash;
        measured.or_else(|| Some(halved()).filter(|at| by_hash && inside(at)))
    }

    /// Each shard with the neighbour to its right, if the two would be small together.
    pub(super) fn merge(&mut self) {
        let shards = self.map.shards();
        let mut at = 0;
        while at + 1 < shards.len() {
            let (left, right) = (&shards[at], &shards[at + 1]);
            if self.are_small(left, right) && self.is_free(left) && self.is_free(right) {
                self.bring_together(left, right);
                at += 2;
            } else {
                at += 1;
            }
        }
    }

    fn are_small(&self, left: &Entry, right: &Entry) -> bool {
        let (Some(one), Some(other)) = (self.load(left), self.load(right)) else { return false };
        let fits =
            |sum: u64, max: u64| u128::from(sum) * 100 <= u128::from(max) * u128::from(MERGE_SHARE_PERCENT);
        let stays = |entry: &Entry| entry.members.members().all(|node| self.weights.contains_key(&node));
        let like = left.engine == right.engine
            && stays(left)
            && stays(right)
            && left.members.voters().len() == right.members.voters().len()
            && left.members.learners().len() == right.members.learners().len();
        like && fits(one.bytes.saturating_add(other.bytes), self.limits.split_bytes)
            && fits(
                one.operations_per_s.saturating_add(other.operations_per_s),
                self.limits.split_operations_per_s,
            )
    }

    /// Merges the two, or first moves the right one to where the left one is. Neither is moved elsewhere in the meantime, or they
    /// would never meet.
    fn bring_together(&mut self, left: &Entry, right: &Entry) {
        let together = left.members == right.members;
        let received = left.members.members().filter(|node| !right.members.contains(*node));
        let may_move = received.into_iter().all(|node| self.may_receive(node));
        if self.room > 0 && together {
            self.room -= 1;
            let because =
                format!("together they have at most {MERGE_SHARE_PERCENT}% of what a shard may have");
            let (left, right) = (left.shard, right.shard);
            self.suggestions.push(Suggestion::Merge { left, right, because });
        } else if self.room > 0 && may_move {
            let because = format!("it is small, and is to be merged into {}", left.shard);
            self.suggest_move(right, left.members.clone(), because);
        }
        self.taken.extend([left.shard, right.shard]);
    }

    /// Replicas go from full nodes to empty ones, as long as that makes the nodes more alike.
    pub(super) fn spread(&mut self) {
        while self.room > 0 {
            let Some((entry, from, to)) = self.best_move() else { return };
            let members = replaced(&entry.members, from, to);
            let (full, empty) = (self.weights[&from], self.weights[&to]);
            let because = format!("node {from} carries {full}, node {to} {empty}");
            self.suggest_move(entry, members, because);
        }
    }

    /// From the fullest node that can give to the emptiest that can take: the replica that brings the two nearest to each other.
    fn best_move(&self) -> Option<(&'a Entry, NodeId, NodeId)> {
        let mut order: Vec<(u64, NodeId)> = self.weights.iter().map(|(node, sum)| (*sum, *node)).collect();
        order.sort_unstable();
        let mean = order.iter().map(|(sum, _)| u128::from(*sum)).sum::<u128>() / order.len().max(1) as u128;
        let gap_min = mean * u128::from(BALANCE_GAP_PERCENT) / 100;
        for (full, from) in order.iter().rev() {
            for (empty, to) in order.iter().filter(|(_, to)| self.may_receive(*to)) {
                let gap = full.saturating_sub(*empty);
                if u128::from(gap) <= gap_min {
                    break;
                }
                let gives = |entry: &&Entry| {
                    let has = entry.members.contains(*from) && !entry.members.contains(*to);
                    has && self.is_free(entry) && self.weight(entry) < gap
                };
                // The sum of squares falls by twice this.
                let gain = |entry: &&Entry| {
                    let weight = u128::from(self.weight(entry));
                    weight * (u128::from(gap) - weight)
                };
                let given =
                    self.map.shards().iter().filter(gives).max_by_key(|entry| (gain(entry), entry.shard));
                if let Some(entry) = given {
                    return Some((entry, *from, *to));
                }
            }
        }
        None
    }

    /// Leaders leave nodes that are to be emptied, and go from who leads many to who leads few.
    pub(super) fn spread_leaders(&mut self, leaders: &BTreeMap<GroupId, NodeId>) {
        let mut counts: BTreeMap<NodeId, usize> = self.weights.keys().map(|node| (*node, 0)).collect();
        for leader in leaders.values() {
            if let Some(count) = counts.get_mut(leader) {
                *count += 1;
            }
        }
        let mut transfers = 0;
        for entry in self.map.shards() {
            let Some(from) = leaders.get(&entry.group).copied() else { continue };
            if transfers >= self.limits.transfers || !self.is_free(entry) {
                continue;
            }
            let others = entry.members.voters().iter().copied().filter(|voter| *voter != from);
            let few = others.filter_map(|voter| counts.get(&voter).map(|count| (*count, voter))).min();
            let Some((few, to)) = few else { continue };
            let because = match counts.get(&from) {
                None => format!("node {from} is down or to be emptied"),
                Some(many) if *many >= few + LEADERS_GAP => {
                    format!("node {from} leads {many} groups, node {to} {few}")
                }
                Some(_) => continue,
            };
            counts.entry(from).and_modify(|count| *count -= 1);
            counts.entry(to).and_modify(|count| *count += 1);
            transfers += 1;
            self.suggestions.push(Suggestion::TransferLeader { group: entry.group, from, to, because });
        }
    }
}

/// The members with one in another's place, in the same role.
fn replaced(members: &Membership, old: NodeId, new: NodeId) -> Membership {
    let swap = |node: &NodeId| if *node == old { new } else { *node };
    Membership::new(members.voters().iter().map(swap), members.learners().iter().map(swap))
}

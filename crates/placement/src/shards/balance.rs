//! What to split, merge, move and hand over next. A pure function of the map and of what was measured; it only suggests.
//!
//! In this order, as far as the limits reach:
//!
//! 1. replicas leave nodes that are down or to be emptied;
//! 2. a shard that is too large or too busy is split;
//! 3. neighbours that are small together are merged; if they live on other nodes, the right one is first moved to the left one's;
//! 4. replicas go from the fullest node to the emptiest, so that a new node fills by itself;
//! 5. leaders go from nodes that lead many shards to members that lead few.
//!
//! Architecture Invariant: it comes to rest. On a load that stays as it is, what it suggests and is then done leads to a map for which
//! it suggests nothing. A merge leaves at most [`MERGE_SHARE_PERCENT`] of what a split needs: {64 and 60 with a limit of 256 become
//! 124: too little to be split again}. A move makes the sum of the squares of the nodes' weights smaller: {10 and 4, a replica of 5
//! would go: 5 and 9, which is better; of 7: 3 and 11, which is not, and stays}. Leaders likewise, by their number.
//!
//! Architecture Invariant: no two replicas of a shard on one node. Members are a set, and a replica goes only to who is not in it.

use std::collections::BTreeMap;
use std::fmt;

use quorate_consensus::{GroupId, Membership, NodeId, ShardId};

use super::planner::Planner;
use super::{ShardMap, Token};

/// Neighbours are merged if together they have at most so much of what makes a shard too large, in percent. With 100, a merged shard
/// could be split at once.
pub const MERGE_SHARE_PERCENT: u64 = 50;
/// A replica moves only between nodes whose weights differ by more than so much of the mean, in percent.
pub const BALANCE_GAP_PERCENT: u64 = 10;
/// A leader is handed over only between nodes whose numbers of leaders differ by this, or more. With 1, it would go to and fro.
pub const LEADERS_GAP: usize = 2;
/// What a replica of a shard weighs that is as large, and as busy, as a shard may be: so much for its size and so much for its load.
pub const SHARD_WEIGHT: u64 = 1000;
/// What a replica weighs by being there, so that empty shards are spread too.
pub const REPLICA_WEIGHT: u64 = 100;

/// What was measured of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// What it stores, in bytes.
    pub bytes: u64,
    /// Reads and writes a second.
    pub operations_per_s: u64,
    /// A token at which it would fall into two parts that have about as much each, if there is one. By hash none is needed.
    pub middle: Option<Token>,
}

/// May a node take replicas?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeState {
    /// Yes.
    #[default]
    Available,
    /// No, and those it has are to leave.
    Draining,
    /// No, and those it has are lost for as long as it is down; the operator has given it up.
    Down,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeLoad {
    /// May it take replicas?
    pub state: NodeState,
}

/// How far the balancer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A shard with more bytes is split. At least 1.
    pub split_bytes: u64,
    /// A shard with more operations a second is split. At least 1.
    pub split_operations_per_s: u64,
    /// Replicas that one node receives at a time, those under way counted in.
    pub moves_to_a_node: usize,
    /// Leaders that are handed over by one plan.
    pub transfers: usize,
}

impl Default for Limits {
    /// 256 MiB, 3000 operations a second, two replicas to a node, eight leaders.
    fn default() -> Limits {
        Limits { split_bytes: 256 << 20, split_operations_per_s: 3000, moves_to_a_node: 2, transfers: 8 }
    }
}

/// What should be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// Cut a shard in two.
    Split {
        /// Which.
        shard: ShardId,
        /// Where.
        at: Token,
        /// Why.
        because: String,
    },
    /// Make two neighbours one.
    Merge {
        /// Survives.
        left: ShardId,
        /// Goes into it.
        right: ShardId,
        /// Why.
        because: String,
    },
    /// Give a shard other members.
    Move {
        /// Which.
        shard: ShardId,
        /// All of them.
        members: Membership,
        /// Why.
        because: String,
    },
    /// Let another member lead a shard's group.
    TransferLeader {
        /// The group.
        group: GroupId,
        /// Who leads it.
        from: NodeId,
        /// Who is to, one of its voters.
        to: NodeId,
        /// Why.
        because: String,
    },
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Suggestion::Split { shard, at, because } => write!(f, "split {shard} at {at}: {because}"),
            Suggestion::Merge { left, right, because } => write!(f, "merge {right} into {left}: {because}"),
            Suggestion::Move { shard, members, because } => {
                write!(f, "move {shard} to {}: {because}", super::entry::Members(members))
            }
            Suggestion::TransferLeader { group, from, to, because } => {
                write!(f, "let {to} lead {group} instead of {from}: {because}")
            }
        }
    }
}

/// What should be done next, the most urgent first. Nothing that is under way is touched, at most as much begins as
/// [`ShardMap::changes_at_once`] leaves room for, and no shard comes twice.
///
/// `nodes`: all members of the cluster; who is not among them counts as down. `leaders`: as far as known. A shard without a load counts
/// as one of which nothing is known, and is neither split nor merged.
#[must_use]
pub fn plan(
    map: &ShardMap,
    loads: &BTreeMap<ShardId, Load>,
    nodes: &BTreeMap<NodeId, NodeLoad>,
    leaders: &BTreeMap<GroupId, NodeId>,
    limits: &Limits,
) -> Vec<Suggestion> {
    let mut planner = Planner::new(map, loads, nodes, limits);
    planner.rescue();
    planner.split();
    planner.merge();
    planner.spread();
    planner.spread_leaders(leaders);
    planner.suggestions
}

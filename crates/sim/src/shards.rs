//! Keys that are divided among shards, in the runs that have them: groups that come while the run goes on, writes that go to the shard that has their keys, and
//! everything that was committed in all of these groups, executed a second time as one sequence.
//!
//! ```text
//!   client ─ put k ──► front end of a host: whose is k? ─► group of that shard ──┐ committed logs of the shards
//!          ─ txn k, l ──────────────────────────────────► KEYS: the order ───────┤ and of the order
//!                                                                                ▼
//!   what a host shows at a revision ◄── must be ── Ledger ◄── turn by turn ── Placed: who comes when
//!   what a client is answered       ◄── must be ──┘
//! ```
//!
//! | promise | where it is judged |
//! |---|---|
//! | P1 a cut numbers what it says it does, and a transaction comes to what its shards said | `placed` |
//! | P2 a transaction stands in each of its shards where the order has it, and nothing before it is placed after it | `placed` |
//! | P3 what a host shows is the keys at one revision, and never falls back | `shown` |
//! | P4 once the cluster has healed all that was committed is placed, and every host shows it | `shown` |
//!
//! And by whatever judges keys that are not divided: E1, E3, E5, E6, X1, the histories of clients, and the invariants of each group's log.
//!
//! Architecture Invariant: a run without shards draws nothing from here, and is the run that it was before there were any.

mod placed;
mod shown;
mod stage;

use quorate_consensus::{EngineKind, GroupId, Random};

pub(crate) use placed::{Due, Origin, Placed, ShardLog, is_of_order, owns};
pub(crate) use shown::{Show, Shown};
pub(crate) use stage::{By, as_answer};

use crate::{
    faults::{Action, Planned},
    plan::Shape,
    schedule::MILLIS,
};

/// Groups of shards are numbered from here on.
pub(crate) const FIRST: GroupId = GroupId(16);

/// Shards of a run, at most.
pub(crate) const MOST: usize = 8;

/// The shape of a run's shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsShape {
    /// With so many the cluster is founded; with one, the keys that there are by then are divided later.
    pub founded: u16,
    /// What drives them.
    pub engine: EngineKind,
    /// One of so many requests is given to the order, as by a front end that has not heard of the shards.
    pub unaware: u64,
    /// Faults that strike a leader strike that of any group.
    pub aimed: bool,
}

impl ShardsShape {
    pub(crate) fn draw(engine: EngineKind, random: &mut Random) -> ShardsShape {
        let other = match engine {
            EngineKind::Raft => EngineKind::Zab,
            EngineKind::Zab => EngineKind::Raft,
        };
        ShardsShape {
            founded: [1, 1, 2, 3][random.below(4) as usize],
            engine: if random.chance(1, 4) { other } else { engine },
            unaware: [3, 10, 100][random.below(3) as usize],
            aimed: random.chance(1, 2),
        }
    }
}

/// Longest that the keys of a cluster which is founded with one group stay so, in milliseconds.
const DIVIDED_WITHIN_MS: u64 = 9_000;

/// What an operator does to the shards in a run, as [`Action`]s; half of it in the middle of a crash.
pub(crate) fn changes(shape: &Shape, random: &mut Random) -> Vec<Planned> {
    let Some(shards) = &shape.shards else { return Vec::new() };
    let mut planned = Vec::new();
    let mut at = random.between(500, 3_000);
    if shards.founded == 1 {
        at = random.between(500, DIVIDED_WITHIN_MS);
        let (shards, at) = (random.between(2, 3), at * MILLIS);
        planned.push(Planned { at, action: Action::DivideKeys { shards } });
        // Whoever was asked may have been down.
        let again = at + random.between(1_000, 3_000) * MILLIS;
        planned.push(Planned { at: again, action: Action::DivideKeys { shards } });
    }
    let mut splits = 0;
    for _ in 0..random.below(8) {
        at += random.between(200, 4_000);
        let place = random.below(8);
        // A split takes a vacant shard where there is one; where none has become vacant, it founds a group.
        let action = if splits < MOST as u64 - 3 && random.chance(3, 5) {
            splits += 1;
            Action::SplitShard { place }
        } else {
            Action::MergeShards { place }
        };
        planned.push(Planned { at: at * MILLIS, action });
    }
    for place in 0..planned.len() {
        if random.chance(1, 2) {
            let at = planned[place].at + random.below(400 * MILLIS);
            let (skip, moment, down_ms) = (random.below(6), random.below(7), random.between(1, 1_500));
            let who = crate::faults::Who::Leader;
            planned.push(Planned { at, action: Action::CrashAt { who, moment, skip, down_ms } });
        }
    }
    planned.retain(|planned| planned.at < shape.faults_end);
    planned
}

/// Is it the group of a shard?
pub(crate) fn is_shard(group: GroupId) -> bool {
    group >= FIRST
}

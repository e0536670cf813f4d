//! Which shard holds a key, and how that changes while the cluster runs.
//!
//! ```text
//!   operator, balancer ──► Command ──► log of `meta` ──► Shards::evaluate, apply ──► ShardMap
//!                                                                                      │ entries, by refusals
//!   client, node, proxy:  key ──► Router::route ──► Believed ──► check (on the server) ┴──► Router::repair
//! ```
//!
//! | file | says |
//! |---|---|
//! | `token` | where a key stands in the space that shards divide: by range, by prefix, by hash |
//! | `entry` | what is known of one shard, and the change that is under way on it |
//! | `vacancy` | a shard that was merged into another, and holds nothing |
//! | `map` | all shards at one version; who holds a key |
//! | `change` | what the log of `meta` says about shards |
//! | `machine`, `decide` | what becomes of that |
//! | `route` | what travels with a request, and when a server refuses it |
//! | `router` | the map that a client, a node or a proxy keeps, and how refusals repair it |
//! | `explain` | where a key lives and why, for a person |
//! | `balance`, `planner` | what to split, merge, move and hand over next |
//!
//! A change has two entries in the log: one that says what is wanted, one that says that it has been carried out, or is given up.
//! What lies between them is in the map ([`Phase`]), so that whoever leads later goes on with it. Keys change their shard in one
//! version of the map: by the second entry, and by nothing else.
//!
//! Architecture Invariant: at each version of the map every token has one shard. {split of [a, z) at m}: the version that ends it
//! has [a, m) and [m, z), the one before has [a, z); there is none in which m has two shards or none.
//!
//! Architecture Invariant: for every token, the range version of whoever holds it grows with each change of that shard's range, also
//! from shard to shard. {[a, z) at 4 is split: both halves are at 5; [a, m) at 5 and [m, z) at 9 are merged: [a, z) is at 10}: an
//! entry from before never looks newer than one from after.
//!
//! Architecture Invariant: the number of a shard, or of its group, is given once. {child s7 is given up, a late BeginSplit brings s7
//! again}: refused. Numbers are given in order, so that nothing has to be remembered of those that were given up.
//!
//! Architecture Invariant: a group stays. What a merge takes everything from is vacant: it keeps its number, its group and its members,
//! and a later split may give it tokens, under range versions above all that it ever had.
//!
//! Architecture Invariant: a command whose answer was lost may be proposed again, at any later time, without doing its work twice.
//! A split brings a number that is given once, or that of a vacant shard; it, a merge and a move bring the versions they believe, which
//! grow when it ends, and when it is given up unless a number is used up by that; ends name the change that they end. [`Command::SetLimit`] sets a value; the last one in the log wins.
//!
//! Architecture Invariant: a refused command changes nothing and takes no version.
//!
//! Architecture Invariant: a [`Router`] never goes back. {it has learnt s1 [a, m) and s2 [m, z) at version 9; a refusal from version
//! 7 comes late, with s1 [a, z)}: nothing changes.
//!
//! ```
//! use quorate_consensus::{EngineKind, GroupId, Membership, NodeId, ShardId};
//! use quorate_placement::shards::{Command, Repaired, Router, Shards, Token, check};
//!
//! let members = Membership::new([NodeId(1), NodeId(2), NodeId(3)], []);
//! let mut shards = Shards::new(GroupId(1), members, EngineKind::Raft)?;
//! let mut router = Router::new();
//! router.learn(shards.map());
//!
//! let (shard, child, group) = (ShardId(1), ShardId(2), GroupId(5));
//! let split = Command::BeginSplit { shard, range_version: 1, at: Token::from("m"), child, group };
//! for command in [split, Command::EndSplit { shard, child, range_version: 1 }] {
//!     let effect = shards.evaluate(&command)?;
//!     shards.apply(effect);
//! }
//! assert_eq!(shards.map().locate(b"pear").shard, child);
//!
//! // A client that has slept asks s1, is refused, and knows better.
//! let route = router.route(b"pear")?;
//! let span = shards.map().rule().point(b"pear");
//! let stale = check(shards.map(), &route.believed(), &span).expect_err("s1 holds it no more");
//! assert_eq!(router.repair(&stale), Repaired::Learnt);
//! assert_eq!(check(shards.map(), &router.route(b"pear")?.believed(), &span), Ok(()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod balance;
mod change;
mod decide;
mod entry;
mod error;
mod explain;
mod machine;
mod map;
mod planner;
mod route;
mod router;
mod token;
mod vacancy;

pub use balance::{
    BALANCE_GAP_PERCENT, LEADERS_GAP, Limits, Load, MERGE_SHARE_PERCENT, NodeLoad, NodeState, REPLICA_WEIGHT,
    SHARD_WEIGHT, Suggestion, plan,
};
pub use change::{Command, Founder};
pub use entry::{Entry, Phase};
pub use error::ShardError;
pub use explain::Explanation;
pub use machine::{Effect, Shards};
pub use map::{
    CHANGES_AT_ONCE_DEFAULT, CHANGES_AT_ONCE_MAX, GROUP_STEP_MAX, SHARD_MEMBERS_MAX, SHARDS_MAX, ShardMap,
};
pub use route::{Believed, FRESH_MAX, Stale, check};
pub use router::{NeedsMap, Repaired, Route, Router};
pub use token::{CUT_BYTES_MAX, Rule, Span, Token};
pub use vacancy::Vacancy;

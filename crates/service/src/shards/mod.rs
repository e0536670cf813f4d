//! Many shards of keys under one order.
//!
//! ```text
//!   logs of the shards ──► ShardReplica … ──► Numbered ──► Sequence ──► answers, changes: revision by revision
//!                             │ Report            ▲
//!                             ▼                   │ slices
//!                           Scribe ──► order log ─► Orderer
//! ```
//!
//! | file | says |
//! |---|---|
//! | `parts` | a transaction over several shards, taken apart and put together |
//! | `replica` | one shard: evaluates ahead of the order, and places as it says |
//! | `sequence` | what the shards of this node have placed, as one sequence |
//!
//! Not in use yet: a cluster still has one group of keys.

mod parts;
mod replica;
mod sequence;

pub use parts::{Parts, Undivided};
pub use replica::{Asked, Numbered, ShardReplica};
pub use sequence::Sequence;

//! Many shards of keys under one order.
//!
//! ```text
//!   log of KEYS ──► Keys: Order ─ slices ──────────────┐
//!        ▲             │ begun, decided                ▼
//!        │             ▼                        ┌──────────────┐
//!        │      who leads a shard ─ barriers ─► │ShardReplica …│─► Sequence ──► answers, changes: revision by revision
//!        │                          branches    └──────────────┘
//!        │ cuts, decisions             log of each shard │ report
//!      Scribe ◄─────────────────────────────────────────-┘
//! ```
//!
//! | file | says |
//! |---|---|
//! | `order` | the group of keys: one keyspace, or the order over its shards |
//! | `division`, `parts` | a command over several shards, taken apart and put together |
//! | `machine` | a shard's group: its log, its snapshots |
//! | `replica` | one shard: evaluates ahead of the order, and places as it says |
//! | `sequence` | the shards of a node place together |
//! | `here` | the shards of this node: who waits for what, and what leaders do |
//! | `word` | what a node says of its shards to the leader of the order |

mod division;
mod here;
mod machine;
mod order;
mod parts;
mod replica;
mod sequence;
mod word;

pub use division::{Division, sole_owner};
pub use here::{NodeShards, ShardsOut, TICK, turn};
pub use machine::{ShardCommand, ShardMachine, ShardSnapshot};
pub use order::{
    Barrier, Keys, KeysEffect, KeysResponse, KeysSnapshot, Order, Undone, found_entry, order_entry,
};
pub use parts::{Parts, Undivided};
pub use replica::{Asked, Numbered, ShardReplica};
pub use sequence::Sequence;
pub use word::Word;

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
//! | `keys` | the group of keys: one keyspace, or the order over its shards |
//! | `order` | the order over shards |
//! | `division`, `parts` | a command over several shards, taken apart and put together |
//! | `machine` | a shard's group: its log, its snapshots |
//! | `headed` | what both begin their snapshots with |
//! | `replica` | one shard: evaluates ahead of the order, and places as it says |
//! | `sequence` | the shards of a node place together |
//! | `handover` | keys go from one shard to another |
//! | `split`, `merge` | a shard is split, or merged into its neighbour |
//! | `standing`, `shown` | how far a node has come with that, whom nobody needs, and what is shown meanwhile |
//! | `here` | the shards of this node: their replicas, and what is read of them |
//! | `waiting` | clients that wait for transactions over shards |
//! | `lead` | what a node does where it leads a shard, or the order |
//! | `word` | what a node says of its shards to the leader of the order |

mod division;
mod handover;
mod headed;
mod here;
mod keys;
mod lead;
mod machine;
mod merge;
mod order;
mod parts;
mod replica;
mod sequence;
mod shown;
mod split;
mod standing;
mod waiting;
mod word;

pub use division::{Division, sole_owner};
pub use handover::{Handover, Kind, handover_entry};
pub use headed::HeadedSnapshot;
pub(crate) use here::FORGOTTEN;
pub use here::{NodeShards, ShardsOut};
pub use keys::{Keys, KeysEffect};
pub use lead::{TICK, turn};
pub use machine::{ShardCommand, ShardMachine};
pub use merge::merge_at;
pub use order::{Barrier, KeysResponse, Order, Undone, found_entry, order_entry};
pub(crate) use order::{founders, is_new};
pub use parts::{Parts, Undivided};
pub use replica::{Asked, Numbered, ShardReplica};
pub use sequence::Sequence;
pub use split::split_at;
pub use word::Word;

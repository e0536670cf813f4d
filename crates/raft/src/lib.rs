//! Floor 2: Raft, as a value (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014; Ongaro's thesis, 2014).
//!
//! ```text
//!              time-out             quorum of pre-votes        quorum of votes
//!   Follower ───────────► PreCandidate ───────────► Candidate ───────────► Leader
//!      ▲                      │                         │                     │
//!      └──────────────────────┴──── higher term, or a leader of this term ────┘
//!
//!   Leader:  propose ─► append ─┬─► AppendEntries ─► follower's disk ─► AppendAccepted ─┐
//!                               └─► own disk ───────────────────────────────────────────┴─► quorum ─► commit
//! ```
//!
//! The invariants, each argued where it is kept:
//! - **Election safety**: at most one leader a term. One vote a term, durable before it leaves (module `election`).
//! - **Leader append-only, log matching**: entries follow only where the one before agrees (module `replication`).
//! - **Leader completeness**: votes go only to logs at least as new; only entries of the own term are committed by counting (module `commit`).
//! - **Durable before said**: whatever is sent waits for the term that it claims to be durable; an acknowledgement also for its entries.
//! - **Linearizable reads**: a round, begun after the read came, confirms the leader (module `read`).
//! - **Memberships** are in force when appended and leave force when truncated; two adjacent ones share a quorum (module `membership`).
#![forbid(unsafe_code)]

mod commit;
mod config;
mod election;
mod engine;
mod hard_state;
mod log;
mod membership;
mod message;
mod progress;
mod proposal;
mod raft;
mod read;
mod replication;
mod role;
mod snapshot;
mod transfer;

pub use config::{Config, ConfigError, Lease};
pub use hard_state::HardState;
pub use message::Message;
pub use raft::{Raft, TERM_JUMP_MAX};

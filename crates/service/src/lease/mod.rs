//! etcd's leases beside the log: who counts their time, and how a client of any member keeps one alive.
//!
//! ```text
//!   client ─► member: Asks ── word ──► the leader's Steward ── barrier: do I still lead? ──► lives on ── word ──► member ─► client
//!                                            │ nobody asked for long
//!                                            └─ barrier ─► LeaseExpire ─► log ─► every replica ends it
//! ```
//!
//! Granting, revoking and ending a lease are entries of the log; keeping it alive is not. It is a question to the steward, a table beside the leader,
//! which answers only after a quorum has confirmed that it leads and the state has everything that was committed before the question.
//!
//! Architecture Invariant: who is told that a lease lives for its whole time from now on was told so by a leader whose lead was confirmed after the
//! question was asked. A successor begins later, and gives every lease all of its time (E5).
//!
//! Architecture Invariant: a lease is ended by an entry of the epoch in which that was decided, after the lead was confirmed in it (etcd #15247).
//!
//! Architecture Invariant: what a checkpoint in the log says is never less than what a client was promised: a lease with a checkpoint is renewed in the
//! log before its client is told.
mod asks;
mod steward;
mod word;

use quorate_consensus::{Duration, NodeId};
use quorate_keyspace::LeaseId;

pub use asks::Asks;
pub use steward::{EXPIRE_COMMANDS_MAX, Steward};
pub use word::{QUESTIONS_MAX, Word};

/// What is asked of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// That it live for its whole time from now on.
    KeepAlive(LeaseId),
    /// How long it will live.
    TimeToLive(LeaseId),
}

impl Question {
    /// Which lease.
    #[must_use]
    pub fn lease(self) -> LeaseId {
        match self {
            Question::KeepAlive(lease) | Question::TimeToLive(lease) => lease,
        }
    }
}

/// An answer: seconds, rounded down; none if there is no such lease, or none any more.
pub type Remaining = Option<i64>;

/// Who asked what: a member, and its number for a word of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asker {
    /// The member.
    pub member: NodeId,
    /// Its number.
    pub number: u64,
}

/// How long a question waits for its answer before it is asked again: its word, or the answer's, was lost, or the leader was.
pub const ASK_AGAIN: Duration = Duration::from_millis(300);

/// How long after a barrier that failed the next one is begun.
pub const BARRIER_AGAIN: Duration = Duration::from_millis(100);

/// How long an entry that ends leases may take before it is proposed again.
pub const END_AGAIN: Duration = Duration::from_secs(1);

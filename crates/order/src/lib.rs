//! Floor 2: one order over many shards.
//!
//! Shards replicate in parallel, and each evaluates its own log; which revision a change gets is still open. The order group's log says it, a *cut* at a time: so many
//! changes of this shard, so many of that one. Ordering costs a few bytes a cut, not a write.
//!
//! ```text
//!   shard's log ─► Lane ─ turns, evaluated ─► Placer ─► (turn, revision): answered, read, watched from here on
//!                   │ marks, verdicts           ▲ slices
//!                   ▼                           │
//!                 Scribe ─ Command ─► order log ─► Orderer
//! ```
//!
//! | part | runs | does |
//! |---|---|---|
//! | [`Lane`] | on every replica of a shard | puts its log's entries into turns; stops at a barrier |
//! | [`Scribe`] | where the order group is led | gathers what shards report, and says when what is to be proposed |
//! | [`Orderer`] | on every replica of the order group | the state machine: what every turn and every transaction is numbered |
//! | [`Placer`] | on every replica of a shard | numbers turns by the slices of the order that concern it |
//!
//! What a shard's leader reports are facts: they follow from entries that are committed, so whoever leads the shard next would report the same, and a report that comes
//! late, twice or from one who leads no more does no harm. That is why reports carry no epoch.
//!
//! A transaction over several shards is first an entry of the order log, which numbers it for each shard that it touches: its *barrier* there. A shard evaluates
//! nothing behind a barrier before the order log has decided the transaction, by what all of them said of their compares, or that it is void. The entry that decides it
//! also cuts at its barriers, so that the transaction comes last there: {A and B wait at the barriers of T; the decision arrives}: T has its revision, and whatever A and
//! B hold behind T comes later.
//!
//! Architecture Invariant: barriers are taken in the order in which the order log gave them, in every shard. {T before U in A, U before T in B}: each would wait for the
//! other for ever; it cannot be.
//!
//! Architecture Invariant: revisions are dense. Who changes nothing takes none, and is told that of the last change before it.
//!
//! Architecture Invariant: what is placed stays placed. A command that was decided upon old reports changes nothing that stands.
//!
//! ```
//! use quorate_order::{Command, Mark, Orderer, Placement, Placer, ShardId, Turn};
//!
//! let (a, b) = (ShardId(1), ShardId(2));
//! let mut order = Orderer::new(1, [a, b]);
//! // A has evaluated two entries that change something, B one.
//! order.apply(&Command::Cut(vec![(a, Mark { turns: 2, changes: 2 }), (b, Mark { turns: 1, changes: 1 })]))?;
//!
//! let mut placer = Placer::new(b, order.slices(b).expect("a shard of this order").clone());
//! placer.evaluated(Turn { changes: true });
//! assert_eq!(placer.place(), Some(Placement::Turn { turn: 1, revision: 4, changes: true }));
//! # Ok::<(), quorate_order::OrderError>(())
//! ```
#![forbid(unsafe_code)]

mod command;
mod error;
mod lane;
mod lane_codec;
mod orderer;
mod placer;
mod scribe;
mod slice;
mod snapshot;

pub use quorate_consensus::ShardId;

pub use command::{Command, Outcome, TRANSACTION_SHARDS_MAX};
pub use error::OrderError;
pub use lane::{Lane, LaneEntry, Step};
pub use orderer::{Open, Orderer, Part, SLICES_MAX, TRANSACTIONS_MAX};
pub use placer::{Place, Placement, Placer, Turn};
pub use scribe::{Report, Scribe, ScribeConfig, Verdict};
pub use slice::{Slice, Slices};

use std::fmt;

/// A transaction over several shards, by its number in the order log: 1, 2, 3 …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub u64);

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// How far a shard has been evaluated, since it began: a prefix of its turns, and how many of them change something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Turns.
    pub turns: u64,
    /// Those that change something.
    pub changes: u64,
}

impl Mark {
    /// Can this be where the same shard stands later, or still?
    #[must_use]
    pub fn may_follow(self, earlier: Mark) -> bool {
        match (self.turns.checked_sub(earlier.turns), self.changes.checked_sub(earlier.changes)) {
            (Some(turns), Some(changes)) => changes <= turns,
            _ => false,
        }
    }
}

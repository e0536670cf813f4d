//! Why a command of the order log does nothing.

use std::fmt;

use crate::{Mark, ShardId, TxnId};

/// Why a command of the order log does nothing: every replica comes to the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// There is no such shard.
    UnknownShard(ShardId),
    /// The shard is there already.
    KnownShard(ShardId),
    /// A mark that cannot follow the one that is placed: who reported it has another log.
    Impossible {
        /// Whose.
        shard: ShardId,
        /// What is placed.
        placed: Mark,
        /// What was reported.
        reported: Mark,
    },
    /// No such transaction is open: it was decided before, or never begun.
    NotOpen(TxnId),
    /// A decision that does not name the transaction's shards, each once.
    OtherShards(TxnId),
    /// The transaction stands behind another one in this shard, which is not decided yet.
    Behind {
        /// Which.
        txn: TxnId,
        /// Where.
        shard: ShardId,
        /// Behind which.
        first: TxnId,
    },
    /// A transaction touches no shard, one twice, or too many.
    Shards,
    /// So many transactions are open that no more is taken; wait until some are decided.
    TooManyOpen,
    /// A shard has not compacted its log for so long that the order forgets nothing for it; wait until it has.
    TooManySlices(ShardId),
    /// The revision would leave its range.
    Exhausted,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrderError::UnknownShard(shard) => write!(f, "there is no shard {shard}"),
            OrderError::KnownShard(shard) => write!(f, "shard {shard} is there already"),
            OrderError::Impossible { shard, placed, reported } => write!(
                f,
                "shard {shard} cannot stand at {} turns with {} changes: {} with {} are placed",
                reported.turns, reported.changes, placed.turns, placed.changes
            ),
            OrderError::NotOpen(txn) => write!(f, "transaction {txn} is not open"),
            OrderError::OtherShards(txn) => {
                write!(f, "transaction {txn} is decided by all of its shards, each once, and by no other")
            }
            OrderError::Behind { txn, shard, first } => {
                write!(f, "transaction {txn} waits behind {first} in shard {shard}")
            }
            OrderError::Shards => {
                write!(f, "a transaction touches between one shard and as many as may be, each once")
            }
            OrderError::TooManyOpen => {
                write!(f, "too many transactions are open; try again when some are decided")
            }
            OrderError::TooManySlices(shard) => {
                write!(f, "shard {shard} lags behind the order; try again when it has compacted its log")
            }
            OrderError::Exhausted => write!(f, "no revision is left"),
        }
    }
}

impl std::error::Error for OrderError {}

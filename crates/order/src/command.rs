//! What the order log says, and its bytes.
//!
//! ```text
//! command = version (1) · tag · fields            numbers are varints
//! cut     = 1 · count · (shard · turns · changes)…
//! begin   = 2 · count · shard…
//! decide  = 3 · transaction · 0                                   void
//!                           · 1 · branch · changes · count · (shard · turns · changes)…
//! forget  = 4 · shard · slices
//! admit   = 5 · shard
//! ```

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, Writer};

use crate::{Mark, ShardId, TxnId};

const VERSION: u8 = 1;
/// Shards of one transaction, at most: etcd's limit of operations is as high.
pub const TRANSACTION_SHARDS_MAX: usize = 128;

/// An entry of the order log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Everything up to these marks is placed: shard by shard, in the order of their numbers.
    Cut(Vec<(ShardId, Mark)>),
    /// A transaction that touches these shards: the next barrier in each of them is its own.
    Begin(Vec<ShardId>),
    /// What became of a transaction.
    Decide {
        /// Which.
        txn: TxnId,
        /// What.
        outcome: Outcome,
    },
    /// Every replica of a shard has a durable snapshot behind so many of its slices: none will ask for them again.
    Forget {
        /// Which.
        shard: ShardId,
        /// Slices, of all that there ever were.
        slices: u64,
    },
    /// A new shard, without a turn.
    Admit(ShardId),
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All its shards stood at its barrier and said what their compares came to.
    Done {
        /// The branch that is taken: true if all compares held.
        branch: bool,
        /// Does that branch change anything, in any shard?
        changes: bool,
        /// Where its barrier stands in each of its shards: the cut before it.
        barriers: Vec<(ShardId, Mark)>,
    },
    /// It came to nothing, because a shard did not answer in time.
    Void,
}

fn write_marks(to: &mut Writer, marks: &[(ShardId, Mark)]) {
    to.varint(marks.len() as u64);
    for (shard, mark) in marks {
        to.varint(u64::from(shard.0));
        to.varint(mark.turns);
        to.varint(mark.changes);
    }
}

pub(crate) fn read_shard(from: &mut Reader) -> Result<ShardId, DecodeError> {
    u32::try_from(from.varint()?).map(ShardId).map_err(|_| DecodeError::Invalid { what: "shard" })
}

pub(crate) fn read_mark(from: &mut Reader) -> Result<Mark, DecodeError> {
    let mark = Mark { turns: from.varint()?, changes: from.varint()? };
    if mark.may_follow(Mark::default()) { Ok(mark) } else { Err(DecodeError::Invalid { what: "mark" }) }
}

/// In the order of the shards, each once.
fn read_marks(from: &mut Reader) -> Result<Vec<(ShardId, Mark)>, DecodeError> {
    let count = from.count(3)?;
    let mut marks: Vec<(ShardId, Mark)> = Vec::with_capacity(count);
    for _ in 0..count {
        let next = (read_shard(from)?, read_mark(from)?);
        if marks.last().is_some_and(|last| last.0 >= next.0) {
            return Err(DecodeError::Invalid { what: "order of marks" });
        }
        marks.push(next);
    }
    Ok(marks)
}

impl Command {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(VERSION);
        match self {
            Command::Cut(marks) => {
                to.u8(1);
                write_marks(&mut to, marks);
            }
            Command::Begin(shards) => {
                to.u8(2);
                to.varint(shards.len() as u64);
                shards.iter().for_each(|shard| to.varint(u64::from(shard.0)));
            }
            Command::Decide { txn, outcome } => {
                to.u8(3);
                to.varint(txn.0);
                match outcome {
                    Outcome::Void => to.u8(0),
                    Outcome::Done { branch, changes, barriers } => {
                        to.u8(1);
                        to.bool(*branch);
                        to.bool(*changes);
                        write_marks(&mut to, barriers);
                    }
                }
            }
            Command::Forget { shard, slices } => {
                to.u8(4);
                to.varint(u64::from(shard.0));
                to.varint(*slices);
            }
            Command::Admit(shard) => {
                to.u8(5);
                to.varint(u64::from(shard.0));
            }
        }
        to.finish()
    }

    /// The command that these bytes are.
    ///
    /// # Errors
    /// They are none, or a later version's.
    pub fn decode(bytes: &Bytes) -> Result<Command, DecodeError> {
        let mut from = Reader::new(bytes.clone());
        match from.u8()? {
            VERSION => {}
            value => {
                return Err(DecodeError::Unknown {
                    what: "version of an order command",
                    value: value.into(),
                });
            }
        }
        let command = match from.u8()? {
            1 => Command::Cut(read_marks(&mut from)?),
            2 => {
                let count = from.count(1)?;
                Command::Begin((0..count).map(|_| read_shard(&mut from)).collect::<Result<_, _>>()?)
            }
            3 => {
                let txn = TxnId(from.varint()?);
                let outcome = match from.u8()? {
                    0 => Outcome::Void,
                    1 => {
                        let (branch, changes) = (from.bool()?, from.bool()?);
                        Outcome::Done { branch, changes, barriers: read_marks(&mut from)? }
                    }
                    value => return Err(DecodeError::Unknown { what: "outcome", value: value.into() }),
                };
                Command::Decide { txn, outcome }
            }
            4 => Command::Forget { shard: read_shard(&mut from)?, slices: from.varint()? },
            5 => Command::Admit(read_shard(&mut from)?),
            value => return Err(DecodeError::Unknown { what: "order command", value: value.into() }),
        };
        from.finish()?;
        Ok(command)
    }
}

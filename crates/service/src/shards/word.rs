//! What a node says of its shards to the leader of the order. A word may be lost, late or repeated; each is said again.
//!
//! ```text
//! word   = 'S' · version (1) · tag · fields                  numbers are varints
//! tick   = 1
//! report = 2 · shard · turns · changes · (0 | 1 · transaction · holds · change · change)
//! kept   = 3 · shard · slices
//! change = 0 refused  |  1 no  |  2 yes
//! ```

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, ShardId, Writer};
use quorate_order::{Mark, Report, TxnId, Verdict};

/// No other word to the leader of the keys begins so.
const TAG: u8 = b'S';
const VERSION: u8 = 1;

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// From a node to itself: [`TICK`](super::TICK) has passed.
    Tick,
    /// How far a shard is evaluated.
    Report(Report),
    /// This node has a durable snapshot of a shard behind so many slices of the order.
    Kept {
        /// Which.
        shard: ShardId,
        /// Slices, of all that there ever were.
        slices: u64,
    },
}

impl Word {
    /// Is it one?
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.first() == Some(&TAG)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut to = Writer::new();
        to.u8(TAG);
        to.u8(VERSION);
        match self {
            Word::Tick => to.u8(1),
            Word::Report(Report { shard, upto, verdict }) => {
                to.u8(2);
                to.varint(u64::from(shard.0));
                to.varint(upto.turns);
                to.varint(upto.changes);
                to.bool(verdict.is_some());
                if let Some(Verdict { txn, holds, changes }) = verdict {
                    to.varint(txn.0);
                    to.bool(holds);
                    for change in changes {
                        to.u8(change.map_or(0, |change| 1 + u8::from(change)));
                    }
                }
            }
            Word::Kept { shard, slices } => {
                to.u8(3);
                to.varint(u64::from(shard.0));
                to.varint(slices);
            }
        }
        to.finish()
    }

    /// The word that these bytes are. Outside input: whatever does not decode was not said.
    ///
    /// # Errors
    /// They are none, or a later version's.
    pub fn decode(bytes: Bytes) -> Result<Word, DecodeError> {
        let mut from = Reader::new(bytes);
        match (from.u8()?, from.u8()?) {
            (TAG, VERSION) => {}
            (_, value) => {
                return Err(DecodeError::Unknown {
                    what: "version of a word about shards",
                    value: value.into(),
                });
            }
        }
        let word = match from.u8()? {
            1 => Word::Tick,
            2 => {
                let shard = read_shard(&mut from)?;
                let upto = Mark { turns: from.varint()?, changes: from.varint()? };
                if !upto.may_follow(Mark::default()) {
                    return Err(DecodeError::Invalid { what: "mark" });
                }
                let verdict = if from.bool()? { Some(read_verdict(&mut from)?) } else { None };
                Word::Report(Report { shard, upto, verdict })
            }
            3 => Word::Kept { shard: read_shard(&mut from)?, slices: from.varint()? },
            value => return Err(DecodeError::Unknown { what: "word about shards", value: value.into() }),
        };
        from.finish()?;
        Ok(word)
    }
}

fn read_shard(from: &mut Reader) -> Result<ShardId, DecodeError> {
    u32::try_from(from.varint()?).map(ShardId).map_err(|_| DecodeError::Invalid { what: "shard" })
}

fn read_verdict(from: &mut Reader) -> Result<Verdict, DecodeError> {
    let (txn, holds) = (TxnId(from.varint()?), from.bool()?);
    let mut change = || match from.u8()? {
        0 => Ok(None),
        1 => Ok(Some(false)),
        2 => Ok(Some(true)),
        value => Err(DecodeError::Unknown { what: "change", value: value.into() }),
    };
    Ok(Verdict { txn, holds, changes: [change()?, change()?] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_about_shards_reads_back_and_a_part_of_one_does_not() {
        let (shard, upto) = (ShardId(3), Mark { turns: 300, changes: 7 });
        let verdict = Verdict { txn: TxnId(9), holds: true, changes: [None, Some(true)] };
        for word in [
            Word::Tick,
            Word::Report(Report { shard, upto, verdict: None }),
            Word::Report(Report { shard, upto, verdict: Some(verdict) }),
            Word::Kept { shard, slices: 1 << 40 },
        ] {
            let bytes = word.encode();
            assert!(Word::is_one(&bytes));
            assert_eq!(Word::decode(bytes.clone()), Ok(word));
            (0..bytes.len()).for_each(|end| _ = Word::decode(bytes.slice(..end)).unwrap_err());
        }
    }
}

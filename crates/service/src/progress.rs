//! What members ask each other before a learner is promoted: how far it has come is known to the leader alone, and any member may be told to promote it.
//! Outside input: what does not decode was not said.

use bytes::Bytes;
use quorate_consensus::{DecodeError, NodeId, Reader, Writer};

/// No word about leases begins so.
const TAG: u8 = b'P';
const VERSION: u8 = 1;
const ASK: u8 = 1;
const TELL: u8 = 2;

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// To the leader: has this learner caught up?
    Ask {
        /// The asker's number for it.
        number: u64,
        /// Which learner.
        learner: NodeId,
    },
    /// From the leader.
    Tell {
        /// The number of the question.
        number: u64,
        /// Whether it has.
        in_sync: bool,
    },
}

impl Word {
    /// Is this one of these words, or about something else?
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.first() == Some(&TAG)
    }

    /// As it goes out.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(TAG);
        to.u8(VERSION);
        match self {
            Word::Ask { number, learner } => {
                to.u8(ASK);
                to.u64(*number);
                to.u64(learner.0);
            }
            Word::Tell { number, in_sync } => {
                to.u8(TELL);
                to.u64(*number);
                to.bool(*in_sync);
            }
        }
        to.finish()
    }

    /// Reads a word.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(bytes: Bytes) -> Result<Word, DecodeError> {
        let mut from = Reader::new(bytes);
        if from.u8()? != TAG {
            return Err(DecodeError::Invalid { what: "no word about a learner" });
        }
        let version = from.u8()?;
        if version != VERSION {
            let what = "version of a word about a learner";
            return Err(DecodeError::Unknown { what, value: version.into() });
        }
        let kind = from.u8()?;
        let number = from.u64()?;
        let word = match kind {
            ASK => Word::Ask { number, learner: NodeId(from.u64()?) },
            TELL => Word::Tell { number, in_sync: from.bool()? },
            value => return Err(DecodeError::Unknown { what: "word about a learner", value: value.into() }),
        };
        from.finish()?;
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reads_back_and_a_forged_one_is_refused() {
        let words = [
            Word::Ask { number: u64::MAX, learner: NodeId(7) },
            Word::Tell { number: 0, in_sync: true },
            Word::Tell { number: 3, in_sync: false },
        ];
        for word in words {
            let bytes = word.encode();
            assert!(Word::is_one(&bytes));
            assert_eq!(Word::decode(bytes.clone()), Ok(word));
            for length in 0..bytes.len() {
                assert!(Word::decode(bytes.slice(..length)).is_err(), "{length} bytes of it");
            }
        }
        let of_leases = crate::lease::Word::Ask { number: 1, questions: vec![] }.encode();
        assert!(!Word::is_one(&of_leases) && Word::decode(of_leases).is_err());
    }
}

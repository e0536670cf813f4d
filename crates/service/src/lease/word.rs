//! What members say to each other of leases. Outside input: what does not decode was not said.

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, Writer};
use quorate_keyspace::LeaseId;

use super::{Question, Remaining};

/// Questions in a word; more are asked in several.
pub const QUESTIONS_MAX: usize = 1_024;

const VERSION: u8 = 1;
const ASK: u8 = 1;
const TELL: u8 = 2;
const KEEP_ALIVE: u8 = 1;
const TIME_TO_LIVE: u8 = 2;

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// To the leader.
    Ask {
        /// The asker's number for it: larger than those before, in any life of its process.
        number: u64,
        /// At most [`QUESTIONS_MAX`].
        questions: Vec<Question>,
    },
    /// From the leader.
    Tell {
        /// The number of the question.
        number: u64,
        /// What is known of them by now: some may wait for longer than others.
        answers: Vec<(Question, Remaining)>,
    },
}

impl Word {
    /// As it goes out.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(VERSION);
        match self {
            Word::Ask { number, questions } => {
                to.u8(ASK);
                to.u64(*number);
                to.varint(questions.len() as u64);
                questions.iter().for_each(|question| write_question(*question, &mut to));
            }
            Word::Tell { number, answers } => {
                to.u8(TELL);
                to.u64(*number);
                to.varint(answers.len() as u64);
                for (question, remaining) in answers {
                    write_question(*question, &mut to);
                    to.bool(remaining.is_some());
                    remaining.iter().for_each(|seconds| to.u64(*seconds as u64));
                }
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
        let version = from.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown {
                what: "version of a word about leases",
                value: version.into(),
            });
        }
        let kind = from.u8()?;
        let number = from.u64()?;
        let count = from.varint()?;
        if count > QUESTIONS_MAX as u64 {
            return Err(DecodeError::Invalid { what: "a word about too many leases" });
        }
        let word = match kind {
            ASK => {
                let questions = (0..count).map(|_| read_question(&mut from)).collect::<Result<_, _>>()?;
                Word::Ask { number, questions }
            }
            TELL => {
                let answer = |from: &mut Reader| -> Result<(Question, Remaining), DecodeError> {
                    let question = read_question(from)?;
                    let remaining = if from.bool()? { Some(from.u64()? as i64) } else { None };
                    Ok((question, remaining))
                };
                let answers = (0..count).map(|_| answer(&mut from)).collect::<Result<_, _>>()?;
                Word::Tell { number, answers }
            }
            value => return Err(DecodeError::Unknown { what: "word about leases", value: value.into() }),
        };
        from.finish()?;
        Ok(word)
    }
}

fn write_question(question: Question, to: &mut Writer) {
    to.u8(match question {
        Question::KeepAlive(_) => KEEP_ALIVE,
        Question::TimeToLive(_) => TIME_TO_LIVE,
    });
    to.u64(question.lease().0 as u64);
}

fn read_question(from: &mut Reader) -> Result<Question, DecodeError> {
    let kind = from.u8()?;
    let lease = LeaseId(from.u64()? as i64);
    match kind {
        KEEP_ALIVE => Ok(Question::KeepAlive(lease)),
        TIME_TO_LIVE => Ok(Question::TimeToLive(lease)),
        value => Err(DecodeError::Unknown { what: "question about a lease", value: value.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reads_back_and_a_forged_one_is_refused() {
        let (a, b) = (Question::KeepAlive(LeaseId(i64::MAX)), Question::TimeToLive(LeaseId(-7)));
        let words = [
            Word::Ask { number: u64::MAX, questions: vec![a, b] },
            Word::Tell { number: 3, answers: vec![(a, Some(10)), (b, None)] },
            Word::Ask { number: 0, questions: vec![] },
        ];
        for word in words {
            let bytes = word.encode();
            assert_eq!(Word::decode(bytes.clone()), Ok(word));
            for length in 0..bytes.len() {
                assert!(Word::decode(bytes.slice(..length)).is_err(), "{length} bytes of it");
            }
        }
        for kind in 0..=3 {
            let mut forged = Writer::new();
            forged.u8(VERSION);
            forged.u8(kind);
            forged.u64(1);
            forged.varint(u64::MAX);
            assert!(Word::decode(forged.finish()).is_err());
        }
    }
}

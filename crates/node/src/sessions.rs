//! Exactly once (rule R19): what each session has been answered already.
//!
//! The table is part of the replicated state: it changes only by entries, goes into every snapshot, and so says the same on every leader.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate_consensus::{DecodeError, Index, Reader, Writer, planted};

use crate::SessionTag;

/// The most sessions one group remembers; the one silent longest (by log position, never by a clock) is forgotten first.
pub const SESSIONS_MAX: usize = 100_000;
/// The most answers one session may leave unclaimed; the oldest are forgotten, and repeating one of those is refused as expired.
pub const ANSWERS_MAX: usize = 1_024;

/// What the table says of a command before it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not seen before: execute it, then [`Sessions::record`] its answer.
    Execute,
    /// Executed before: this was the answer, encoded by the state machine.
    Answered(Bytes),
    /// The session is unknown and this is not its first command, or the answer was given up: whether it was executed cannot be known any
    /// more, so it is not executed now.
    Expired,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    /// Everything below has been executed and its answer given up.
    forgotten_below: u64,
    /// Answers by sequence, increasing.
    answers: VecDeque<(u64, Bytes)>,
    last_used: Index,
}

/// The table of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    sessions: BTreeMap<u64, Session>,
    by_use: BTreeMap<(Index, u64), ()>,
}

impl Sessions {
    /// How many sessions are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// None is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// May the command be executed?
    ///
    /// Thesis §6.3. An unknown session whose sequence is not 1 is refused: the table may have forgotten it, and executing the command could be
    /// the second time. {a client appends x as sequence 4, the answer is lost, the session is evicted, the client repeats: two x}.
    #[must_use]
    pub fn verdict(&self, tag: &SessionTag) -> Verdict {
        if planted!("X02") {
            return Verdict::Execute;
        }
        let Some(session) = self.sessions.get(&tag.session) else {
            return if tag.sequence == 1 { Verdict::Execute } else { Verdict::Expired };
        };
        if tag.sequence < session.forgotten_below {
            return Verdict::Expired;
        }
        match session.answers.binary_search_by_key(&tag.sequence, |(sequence, _)| *sequence) {
            Ok(at) => Verdict::Answered(session.answers[at].1.clone()),
            Err(_) => Verdict::Execute,
        }
    }

    /// Remembers the answer to a command that [`Verdict::Execute`] allowed.
    pub fn record(&mut self, tag: &SessionTag, at: Index, answer: Bytes) {
        let session = self.sessions.entry(tag.session).or_default();
        self.by_use.remove(&(session.last_used, tag.session));
        session.last_used = at;
        self.by_use.insert((at, tag.session), ());
        session.forgotten_below = session.forgotten_below.max(tag.lowest_wanted.min(tag.sequence));
        while session.answers.front().is_some_and(|(sequence, _)| *sequence < session.forgotten_below) {
            session.answers.pop_front();
        }
        let place = session.answers.partition_point(|(sequence, _)| *sequence < tag.sequence);
        session.answers.insert(place, (tag.sequence, answer));
        while session.answers.len() > ANSWERS_MAX {
            if let Some((sequence, _)) = session.answers.pop_front() {
                session.forgotten_below = sequence + 1;
            }
        }
        while self.sessions.len() > SESSIONS_MAX {
            let Some(((_, oldest), ())) = self.by_use.pop_first() else { break };
            self.sessions.remove(&oldest);
        }
    }

    /// Writes the table.
    pub fn encode(&self, to: &mut Writer) {
        to.varint(self.sessions.len() as u64);
        for (id, session) in &self.sessions {
            to.u64(*id);
            to.varint(session.forgotten_below);
            to.varint(session.last_used.0);
            to.varint(session.answers.len() as u64);
            for (sequence, answer) in &session.answers {
                to.varint(*sequence);
                to.bytes(answer);
            }
        }
    }

    /// Reads what [`Sessions::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input; a session that is there twice.
    pub fn decode(from: &mut Reader) -> Result<Sessions, DecodeError> {
        let mut table = Sessions::default();
        let mut before = None;
        for _ in 0..from.count(11)? {
            let id = from.u64()?;
            // Twice, a session would leave a trace of its first use behind, which would drop it too early.
            if before.replace(id).is_some_and(|before| before >= id) {
                return Err(DecodeError::Invalid { what: "order of sessions" });
            }
            let mut session = Session {
                forgotten_below: from.varint()?,
                last_used: Index(from.varint()?),
                answers: VecDeque::new(),
            };
            for _ in 0..from.count(2)? {
                session.answers.push_back((from.varint()?, from.bytes()?));
            }
            table.by_use.insert((session.last_used, id), ());
            table.sessions.insert(id, session);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(session: u64, sequence: u64, lowest_wanted: u64) -> SessionTag {
        SessionTag { session, sequence, lowest_wanted }
    }

    #[test]
    fn r19_a_repeated_command_gets_the_first_answer_also_after_a_snapshot() {
        let mut table = Sessions::default();
        assert_eq!(table.verdict(&tag(1, 1, 0)), Verdict::Execute);
        table.record(&tag(1, 1, 0), Index(5), Bytes::from_static(b"one"));
        let mut to = Writer::new();
        table.encode(&mut to);
        let restored = Sessions::decode(&mut Reader::new(to.finish())).unwrap();
        assert_eq!(restored.verdict(&tag(1, 1, 0)), Verdict::Answered(Bytes::from_static(b"one")));
        assert_eq!(restored.verdict(&tag(1, 2, 0)), Verdict::Execute);
    }

    #[test]
    fn a_table_with_a_session_twice_is_refused() {
        let mut to = Writer::new();
        to.varint(2);
        for last_used in [0, 3] {
            to.u64(7);
            to.varint(0);
            to.varint(last_used);
            to.varint(0);
        }
        let refused = Sessions::decode(&mut Reader::new(to.finish())).unwrap_err();
        assert_eq!(refused, DecodeError::Invalid { what: "order of sessions" });
    }

    #[test]
    fn r19_an_unknown_session_is_refused_unless_it_begins() {
        let table = Sessions::default();
        assert_eq!(table.verdict(&tag(1, 1, 0)), Verdict::Execute);
        assert_eq!(table.verdict(&tag(1, 2, 0)), Verdict::Expired);
    }

    #[test]
    fn r19_an_answer_given_up_is_never_executed_again() {
        let mut table = Sessions::default();
        table.record(&tag(1, 1, 0), Index(1), Bytes::new());
        table.record(&tag(1, 2, 2), Index(2), Bytes::new());
        assert_eq!(table.verdict(&tag(1, 1, 0)), Verdict::Expired);
        for sequence in 3..=ANSWERS_MAX as u64 + 3 {
            table.record(&tag(1, sequence, 0), Index(sequence), Bytes::new());
        }
        assert_eq!(table.verdict(&tag(1, 2, 0)), Verdict::Expired);
        assert!(table.sessions[&1].answers.len() <= ANSWERS_MAX);
    }

    #[test]
    fn sessions_are_bounded_and_the_one_silent_longest_goes() {
        let mut table = Sessions::default();
        for session in 0..=SESSIONS_MAX as u64 {
            table.record(&tag(session, 1, 0), Index(session + 1), Bytes::new());
        }
        assert_eq!(table.len(), SESSIONS_MAX);
        assert_eq!(table.verdict(&tag(0, 2, 0)), Verdict::Expired);
    }
}

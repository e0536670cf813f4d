//! What engines say to each other: every kind its own variant, with its own fields.

use bytes::Bytes;
use quorate_consensus::{
    DecodeError, Entry, Epoch, Index, NodeId, Position, ProposalId, ReadId, Reader, SnapshotMeta, Writer,
};

/// A message between two engines of one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Could I win an election? Changes nothing at the receiver (thesis §9.6).
    PreVote {
        /// The term that the election would have.
        term: Epoch,
        /// The end of the asker's log.
        last: Position,
        /// Which asking; its answers carry it.
        round: u64,
    },
    /// The answer to a PreVote.
    PreVoteReply {
        /// The responder's own term.
        term: Epoch,
        /// Which asking.
        round: u64,
        /// Yes or no.
        granted: bool,
    },
    /// Vote for me (Raft §5.2).
    RequestVote {
        /// The election's term.
        term: Epoch,
        /// The end of the candidate's log.
        last: Position,
        /// The old leader asked for this election: it does not disturb.
        transfer: bool,
    },
    /// The answer to a RequestVote.
    VoteReply {
        /// The responder's term.
        term: Epoch,
        /// Yes or no.
        granted: bool,
    },
    /// Entries, after the one at `prev` (Raft §5.3).
    AppendEntries {
        /// The leader's term.
        term: Epoch,
        /// Where the entries follow.
        prev: Position,
        /// What the leader knows to be committed.
        commit: Index,
        /// The entries; perhaps none.
        entries: Vec<Entry>,
    },
    /// The log agrees with the leader's, durably, up to here.
    AppendAccepted {
        /// The leader's term.
        term: Epoch,
        /// Up to here.
        matched: Index,
    },
    /// The log does not hold the entry at `prev`.
    AppendRejected {
        /// The leader's term.
        term: Epoch,
        /// The `prev` that was asked for.
        prev: Index,
        /// The last entry here that the leader's log may hold: at or before `prev`, of a term not above `prev`'s.
        hint: Position,
    },
    /// The leader lives.
    Heartbeat {
        /// The leader's term.
        term: Epoch,
        /// Committed, as far as the receiver is known to agree.
        commit: Index,
        /// The read round; the answer carries it.
        round: u64,
    },
    /// The answer to a Heartbeat; with a higher term, the answer to anything of a stale leader.
    HeartbeatReply {
        /// The responder's term.
        term: Epoch,
        /// The read round.
        round: u64,
        /// The responder knows its log to agree with the leader's up to here; after a restart it knows of less than it holds.
        verified: Index,
    },
    /// More is committed; no answer.
    Commit {
        /// The leader's term.
        term: Epoch,
        /// Committed, as far as the receiver is known to agree.
        commit: Index,
    },
    /// A whole snapshot has arrived beside this message (Raft §7).
    InstallSnapshot {
        /// The leader's term.
        term: Epoch,
        /// Which.
        meta: SnapshotMeta,
    },
    /// Campaign at once (thesis §3.10).
    TimeoutNow {
        /// The leader's term.
        term: Epoch,
    },
    /// Proposals for the leader of this very term.
    Forward {
        /// The term they are for; a leader of another refuses them.
        term: Epoch,
        /// Which life of the sender.
        nonce: u64,
        /// Counts the sender's messages of this kind: a duplicate is not taken twice.
        sequence: u64,
        /// The proposals.
        proposals: Vec<(ProposalId, Bytes)>,
    },
    /// These forwarded proposals are in no log.
    ForwardRefused {
        /// The responder's term.
        term: Epoch,
        /// Which life of the sender they came from.
        nonce: u64,
        /// Which.
        ids: Vec<ProposalId>,
    },
    /// From which index is a read linearizable?
    ReadIndex {
        /// The term of the leader that is asked.
        term: Epoch,
        /// Which life of the sender.
        nonce: u64,
        /// Which read.
        id: ReadId,
    },
    /// From this one; `None`: ask again.
    ReadIndexReply {
        /// The responder's term.
        term: Epoch,
        /// Which life of the asker.
        nonce: u64,
        /// Which read.
        id: ReadId,
        /// From here.
        index: Option<Index>,
    },
}

const VERSION: u8 = 1;

impl Message {
    /// The term that the message claims; a PreVote's is that of the election it asks about.
    #[must_use]
    pub fn term(&self) -> Epoch {
        match self {
            Message::PreVote { term, .. }
            | Message::PreVoteReply { term, .. }
            | Message::RequestVote { term, .. }
            | Message::VoteReply { term, .. }
            | Message::AppendEntries { term, .. }
            | Message::AppendAccepted { term, .. }
            | Message::AppendRejected { term, .. }
            | Message::Heartbeat { term, .. }
            | Message::HeartbeatReply { term, .. }
            | Message::Commit { term, .. }
            | Message::InstallSnapshot { term, .. }
            | Message::TimeoutNow { term }
            | Message::Forward { term, .. }
            | Message::ForwardRefused { term, .. }
            | Message::ReadIndex { term, .. }
            | Message::ReadIndexReply { term, .. } => *term,
        }
    }

    /// Only the leader of its term says this.
    #[must_use]
    pub fn is_leaders(&self) -> bool {
        matches!(
            self,
            Message::AppendEntries { .. }
                | Message::Heartbeat { .. }
                | Message::Commit { .. }
                | Message::InstallSnapshot { .. }
                | Message::TimeoutNow { .. }
        )
    }

    /// Does it carry bulk data, so that others must not wait behind it?
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        match self {
            Message::AppendEntries { entries, .. } => !entries.is_empty(),
            Message::Forward { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn encode(&self, to: &mut Writer) {
        to.u8(VERSION);
        let head = |to: &mut Writer, kind: u8, term: &Epoch| {
            to.u8(kind);
            to.varint(term.0);
        };
        let position = |to: &mut Writer, position: &Position| {
            to.varint(position.epoch.0);
            to.varint(position.index.0);
        };
        match self {
            Message::PreVote { term, last, round } => {
                head(to, 1, term);
                position(to, last);
                to.varint(*round);
            }
            Message::PreVoteReply { term, round, granted } => {
                head(to, 2, term);
                to.varint(*round);
                to.bool(*granted);
            }
            Message::RequestVote { term, last, transfer } => {
                head(to, 3, term);
                position(to, last);
                to.bool(*transfer);
            }
            Message::VoteReply { term, granted } => {
                head(to, 4, term);
                to.bool(*granted);
            }
            Message::AppendEntries { term, prev, commit, entries } => {
                head(to, 5, term);
                position(to, prev);
                to.varint(commit.0);
                to.varint(entries.len() as u64);
                for entry in entries {
                    entry.encode(to);
                }
            }
            Message::AppendAccepted { term, matched } => {
                head(to, 6, term);
                to.varint(matched.0);
            }
            Message::AppendRejected { term, prev, hint } => {
                head(to, 7, term);
                to.varint(prev.0);
                position(to, hint);
            }
            Message::Heartbeat { term, commit, round } => {
                head(to, 8, term);
                to.varint(commit.0);
                to.varint(*round);
            }
            Message::HeartbeatReply { term, round, verified } => {
                head(to, 9, term);
                to.varint(*round);
                to.varint(verified.0);
            }
            Message::Commit { term, commit } => {
                head(to, 10, term);
                to.varint(commit.0);
            }
            Message::InstallSnapshot { term, meta } => {
                head(to, 11, term);
                meta.encode(to);
            }
            Message::TimeoutNow { term } => head(to, 12, term),
            Message::Forward { term, nonce, sequence, proposals } => {
                head(to, 13, term);
                to.u64(*nonce);
                to.varint(*sequence);
                to.varint(proposals.len() as u64);
                for (id, command) in proposals {
                    to.varint(id.0);
                    to.bytes(command);
                }
            }
            Message::ForwardRefused { term, nonce, ids } => {
                head(to, 14, term);
                to.u64(*nonce);
                to.varint(ids.len() as u64);
                for id in ids {
                    to.varint(id.0);
                }
            }
            Message::ReadIndex { term, nonce, id } => {
                head(to, 15, term);
                to.u64(*nonce);
                to.varint(id.0);
            }
            Message::ReadIndexReply { term, nonce, id, index } => {
                head(to, 16, term);
                to.u64(*nonce);
                to.varint(id.0);
                to.bool(index.is_some());
                to.varint(index.unwrap_or_default().0);
            }
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<Message, DecodeError> {
        let version = from.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown { what: "message version", value: u64::from(version) });
        }
        let kind = from.u8()?;
        let term = Epoch(from.varint()?);
        let position = |from: &mut Reader| -> Result<Position, DecodeError> {
            Ok(Position { epoch: Epoch(from.varint()?), index: Index(from.varint()?) })
        };
        Ok(match kind {
            1 => Message::PreVote { term, last: position(from)?, round: from.varint()? },
            2 => Message::PreVoteReply { term, round: from.varint()?, granted: from.bool()? },
            3 => Message::RequestVote { term, last: position(from)?, transfer: from.bool()? },
            4 => Message::VoteReply { term, granted: from.bool()? },
            5 => {
                let (prev, commit) = (position(from)?, Index(from.varint()?));
                let count = from.count(3)?;
                let entries = (0..count).map(|_| Entry::decode(from)).collect::<Result<_, _>>()?;
                Message::AppendEntries { term, prev, commit, entries }
            }
            6 => Message::AppendAccepted { term, matched: Index(from.varint()?) },
            7 => Message::AppendRejected { term, prev: Index(from.varint()?), hint: position(from)? },
            8 => Message::Heartbeat { term, commit: Index(from.varint()?), round: from.varint()? },
            9 => Message::HeartbeatReply { term, round: from.varint()?, verified: Index(from.varint()?) },
            10 => Message::Commit { term, commit: Index(from.varint()?) },
            11 => Message::InstallSnapshot { term, meta: SnapshotMeta::decode(from)? },
            12 => Message::TimeoutNow { term },
            13 => {
                let (nonce, sequence) = (from.u64()?, from.varint()?);
                let count = from.count(2)?;
                let proposals = (0..count)
                    .map(|_| Ok((ProposalId(from.varint()?), from.bytes()?)))
                    .collect::<Result<_, DecodeError>>()?;
                Message::Forward { term, nonce, sequence, proposals }
            }
            14 => {
                let nonce = from.u64()?;
                let count = from.count(1)?;
                let ids = (0..count).map(|_| from.varint().map(ProposalId)).collect::<Result<_, _>>()?;
                Message::ForwardRefused { term, nonce, ids }
            }
            15 => Message::ReadIndex { term, nonce: from.u64()?, id: ReadId(from.varint()?) },
            16 => {
                let (nonce, id, some) = (from.u64()?, ReadId(from.varint()?), from.bool()?);
                let index = Index(from.varint()?);
                Message::ReadIndexReply { term, nonce, id, index: some.then_some(index) }
            }
            kind => return Err(DecodeError::Unknown { what: "message kind", value: u64::from(kind) }),
        })
    }
}

/// A peer's name in reasons.
pub(crate) fn name(node: NodeId) -> u64 {
    node.0
}

//! What engines say to each other: every kind its own variant, with its own fields, under ZAB's own names.

use bytes::Bytes;
use quorate_consensus::{Entry, Epoch, Index, NodeId, Position, ProposalId, ReadId, SnapshotMeta};

/// One attempt of a learner to follow a leader: the incarnation of their link. A later attempt of the same life has a larger number; another life of
/// the learner has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId {
    /// Drawn when the learner's process started.
    pub life: u64,
    /// Counts its attempts.
    pub attempt: u64,
}

/// Who speaks, and on which link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Via {
    pub(crate) peer: NodeId,
    pub(crate) link: LinkId,
}

/// A vote: who should lead, and what it is judged by. The order of fields is the order of "better" (rule Z03, N05): the current epoch first, then the
/// end of the log, then the id; and before the id, whether its newest membership lets it vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// The wanted leader's current epoch.
    pub epoch: Epoch,
    /// The end of its log.
    pub last: Position,
    /// The newest membership in its log lets it vote. One that is left out stands until that membership is committed, and its newer history may be needed; but
    /// among equal histories somebody should lead who stays, and who counts for its own quorum: {S3 leads the three to S1 and S2 alone and steps down; by its
    /// id S3 would win again}.
    pub voter: bool,
    /// Who.
    pub leader: NodeId,
}

/// What the sender of a notification is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It looks for a leader.
    Looking,
    /// It follows the one it votes for.
    Following,
    /// It leads; the epoch, once it is established there.
    Leading(Option<Epoch>),
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The leader does not know it, or lost something on it: start again at FOLLOWERINFO.
    Broken,
    /// The node does not lead: look for another leader.
    NotLeading,
    /// This one is about to lead: follow it at once.
    Successor(NodeId),
}

/// What a leader's stream carries, in this order: NEWEPOCH; DIFF, TRUNC or SNAP; the history; NEWLEADER; proposals; and UPTODATE among them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Packet {
    /// Promise this epoch (rule Z05).
    NewEpoch(Epoch),
    /// Your log is a beginning of mine; what follows it comes now.
    Diff(Position),
    /// Drop what is after this; what follows it in my log comes now.
    Trunc(Position),
    /// A whole snapshot has arrived beside this packet; what follows it comes now.
    Snap(SnapshotMeta),
    /// Entries that follow the last ones, and what is committed.
    Propose {
        /// Without a gap.
        entries: Vec<Entry>,
        /// Committed, as far as the leader knows.
        commit: Index,
    },
    /// Entries for an observer: all of them are committed.
    Inform(Vec<Entry>),
    /// The history of this epoch ends at `last`, and all of it has been sent (rule Z06).
    NewLeader {
        /// The leader's epoch.
        epoch: Epoch,
        /// The end of what was sent.
        last: Position,
    },
    /// The leader is established: serve. Committed up to here.
    UpToDate(Index),
}

/// What a learner's log looks like, so that the leader finds where it agrees with its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History {
    /// The epoch under which it was last validated.
    pub current: Epoch,
    /// Its end.
    pub last: Position,
    /// The log begins after this.
    pub compacted: Position,
    /// The first index of each epoch in it, the newest [`History::EPOCHS_MAX`] of them, increasing.
    pub epochs: Vec<(Epoch, Index)>,
}

impl History {
    /// At most so many epochs are told.
    pub const EPOCHS_MAX: usize = 4_096;
}

/// A message between two engines of one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Fast leader election: whom the sender votes for in its round, and what it is doing (rule Z03).
    Notification {
        /// The sender's round.
        round: u64,
        /// What it is doing.
        state: State,
        /// Its vote; none from an observer that has heard of nobody.
        vote: Option<Vote>,
    },
    /// A learner wants to follow (rule Z05).
    FollowerInfo {
        /// The link it opens.
        link: LinkId,
        /// The newest epoch it promised.
        accepted: Epoch,
    },
    /// The leader's stream, in order.
    Stream {
        /// The link.
        link: LinkId,
        /// Counts the packets of the link from zero.
        sequence: u64,
        /// What is said.
        packet: Packet,
    },
    /// The epoch is promised, durably (rule Z05).
    AckEpoch {
        /// The link.
        link: LinkId,
        /// Which epoch.
        epoch: Epoch,
        /// Promised to this leader and to no other; otherwise it does not count, and the learner is synchronised all the same.
        promised: bool,
        /// What it has.
        history: History,
    },
    /// The history is durable, and after it the epoch (rule Z06).
    AckNewLeader {
        /// The link.
        link: LinkId,
        /// The leader's epoch.
        epoch: Epoch,
        /// The log is durable up to here.
        durable: Index,
    },
    /// The log is durable up to here; counts for a commit only after the ACK of NEWLEADER (rule Z07).
    Ack {
        /// The link.
        link: LinkId,
        /// Up to here.
        durable: Index,
    },
    /// More is committed.
    Commit {
        /// The link.
        link: LinkId,
        /// Up to here.
        commit: Index,
    },
    /// The leader lives (rule Z08).
    Ping {
        /// The link.
        link: LinkId,
        /// How many packets of the stream have left.
        sent: u64,
        /// The read round; the answer carries it.
        round: u64,
        /// Committed up to here.
        commit: Index,
    },
    /// The learner lives.
    Pong {
        /// The link.
        link: LinkId,
        /// The read round.
        round: u64,
        /// NEWLEADER was acknowledged.
        acknowledged: bool,
        /// The log is durable up to here.
        durable: Index,
    },
    /// Lead at once: this leader hands over.
    TakeOver {
        /// The link.
        link: LinkId,
    },
    /// The link is no more.
    Close {
        /// Which.
        link: LinkId,
        /// Why.
        why: Ended,
    },
    /// Proposals for the leader of this very epoch.
    Forward {
        /// The epoch they are for.
        epoch: Epoch,
        /// Which life of the sender.
        nonce: u64,
        /// Counts the sender's messages of this kind: a duplicate is not taken twice.
        sequence: u64,
        /// The proposals.
        proposals: Vec<(ProposalId, Bytes)>,
    },
    /// These forwarded proposals are in no log.
    ForwardRefused {
        /// Which life of the sender they came from.
        nonce: u64,
        /// Which.
        ids: Vec<ProposalId>,
    },
    /// From which index is a read linearizable?
    ReadIndex {
        /// The epoch of the leader that is asked.
        epoch: Epoch,
        /// Which life of the sender.
        nonce: u64,
        /// Which read.
        id: ReadId,
    },
    /// From this one; `None`: ask again.
    ReadIndexReply {
        /// Which life of the asker.
        nonce: u64,
        /// Which read.
        id: ReadId,
        /// From here.
        index: Option<Index>,
    },
}

impl Packet {
    /// Bytes of entries in it.
    pub(crate) fn entries_bytes(&self) -> u64 {
        match self {
            Packet::Propose { entries, .. } | Packet::Inform(entries) => {
                entries.iter().map(Entry::size_bytes).sum()
            }
            Packet::NewEpoch(_)
            | Packet::Diff(_)
            | Packet::Trunc(_)
            | Packet::Snap(_)
            | Packet::NewLeader { .. }
            | Packet::UpToDate(_) => 0,
        }
    }
}

impl Message {
    /// Does it carry bulk data, so that others must not wait behind it? The stream does, all of it: its packets must stay in order.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        matches!(self, Message::Stream { .. } | Message::Forward { .. })
    }
}

//! What a node is, with what it needs for it (rule Z02). The names of the phases are ZAB's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_consensus::{
    DiskLag, Duration, Epoch, Index, Instant, NodeId, PersistToken, Position, ProposalId, ReadId,
};

use crate::{
    durable::{EpochDurable, EpochWriting},
    inbound::Inbound,
    link::Link,
    message::{LinkId, State, Vote},
};

/// The role, with its data.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Role {
    /// Looks for a leader.
    Looking(Looking),
    /// Follows one; an observer too.
    Following(Box<Following>),
    /// Leads, or is about to.
    Leading(Box<Leading>),
}

/// Fast leader election (rule Z03).
#[derive(Clone, Debug, Hash)]
pub(crate) struct Looking {
    /// For whom this node votes in this round; none while it knows nobody and may not vote for itself.
    pub(crate) vote: Option<Vote>,
    /// Since when.
    pub(crate) vote_at: Instant,
    /// What others said in this very round.
    pub(crate) ballots: BTreeMap<NodeId, (State, Vote)>,
    /// What those who are not looking said of another round.
    pub(crate) elsewhere: BTreeMap<NodeId, (u64, State, Vote)>,
    /// Who asked, perhaps without being a member as far as this node knows: they hear the vote too.
    pub(crate) asked_by: BTreeSet<NodeId>,
    /// When the vote is told again, and after which pause the next time.
    pub(crate) resend_at: Instant,
    pub(crate) resend_after: Duration,
    /// A quorum agrees: decided then, unless a better vote comes.
    pub(crate) decide_at: Option<Instant>,
    /// Learners that were faster: they decided for this node, which has not decided yet.
    pub(crate) infos: BTreeMap<NodeId, (LinkId, Epoch)>,
}

/// A learner's side of a link.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Following {
    pub(crate) leader: NodeId,
    pub(crate) link: LinkId,
    pub(crate) stage: Stage,
    pub(crate) inbound: Inbound,
    /// FOLLOWERINFO is said again then, while nothing has come back.
    pub(crate) info_at: Instant,
    /// The leader has committed up to here.
    pub(crate) told_commit: Index,
    /// The leader was told that the log is durable up to here.
    pub(crate) told_durable: Index,
}

/// How far a learner is with its leader. Each stage follows from the one before only.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Stage {
    /// FOLLOWERINFO was sent.
    Discovery,
    /// The epoch is promised; ACKEPOCH goes when that is durable.
    Promised(Epoch),
    /// DIFF, TRUNC or SNAP was obeyed; the history comes.
    Synchronizing(Epoch),
    /// NEWLEADER came: the history up to here must become durable.
    History(Epoch, Position),
    /// The history is durable; the current epoch is being written.
    Epoch(EpochWriting),
    /// Both are durable, and NEWLEADER is acknowledged.
    Acknowledged(EpochDurable),
    /// UPTODATE came: the leader is established.
    Broadcast(EpochDurable),
}

impl Stage {
    /// The log is a beginning of the leader's.
    pub(crate) fn agrees(&self) -> bool {
        !matches!(self, Stage::Discovery | Stage::Promised(_))
    }

    pub(crate) fn acknowledged(&self) -> bool {
        matches!(self, Stage::Acknowledged(_) | Stage::Broadcast(_))
    }

    /// The leader's epoch, once it is known.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        match self {
            Stage::Discovery => None,
            Stage::Promised(epoch) | Stage::Synchronizing(epoch) | Stage::History(epoch, _) => Some(*epoch),
            Stage::Epoch(writing) => Some(writing.epoch()),
            Stage::Acknowledged(durable) | Stage::Broadcast(durable) => Some(durable.epoch()),
        }
    }
}

/// A leader's side.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Leading {
    pub(crate) phase: Phase,
    /// The learners that follow.
    pub(crate) links: BTreeMap<NodeId, Link>,
    /// No epoch at or below this one may be chosen.
    pub(crate) above: Epoch,
    pub(crate) heartbeat_at: Instant,
    /// Before a quorum has promised: given up then. Afterwards: looked for a quorum then.
    pub(crate) check_at: Instant,
}

/// How far a leader is.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Phase {
    /// Waits for FOLLOWERINFO of a quorum, to choose an epoch above all.
    Discovery,
    /// NEWEPOCH goes out; waits for a quorum to promise.
    Promise {
        epoch: Epoch,
        /// The own promise counts once this is durable.
        own: PersistToken,
        acks: BTreeSet<NodeId>,
        /// Who has a newer history, and was turned away.
        turned_away: BTreeSet<NodeId>,
    },
    /// A quorum promised: the own history must be durable.
    History(Epoch),
    /// It is: the current epoch is being written.
    Epoch(EpochWriting),
    /// Both are durable: the learners get the history up to `end`, and NEWLEADER.
    Synchronization { durable: EpochDurable, end: Position },
    /// A quorum acknowledged NEWLEADER: established.
    Broadcast(Box<Broadcast>),
}

impl Phase {
    /// The epoch, once it is chosen.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        match self {
            Phase::Discovery => None,
            Phase::Promise { epoch, .. } | Phase::History(epoch) => Some(*epoch),
            Phase::Epoch(writing) => Some(writing.epoch()),
            Phase::Synchronization { durable, .. } => Some(durable.epoch()),
            Phase::Broadcast(broadcast) => Some(broadcast.durable.epoch()),
        }
    }

    /// What lets NEWLEADER be sent.
    pub(crate) fn durable(&self) -> Option<&EpochDurable> {
        match self {
            Phase::Synchronization { durable, .. } => Some(durable),
            Phase::Broadcast(broadcast) => Some(&broadcast.durable),
            Phase::Discovery | Phase::Promise { .. } | Phase::History(_) | Phase::Epoch(_) => None,
        }
    }
}

/// What an established leader keeps.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Broadcast {
    pub(crate) durable: EpochDurable,
    /// The first entry of this epoch: its zxid's counter is 0.
    pub(crate) first: Index,
    /// How long its own disk has been behind; looked at with each wake-up.
    pub(crate) disk_lag: DiskLag,
    pub(crate) reads: LeaderReads,
    pub(crate) transfer: Option<Transfer>,
    /// Sizes of entries not yet committed.
    pub(crate) uncommitted: VecDeque<(Index, u64)>,
    pub(crate) uncommitted_bytes: u64,
    /// Forwarded messages taken in this epoch, by sender and its life.
    pub(crate) forwarded: BTreeMap<(NodeId, u64), Taken>,
}

/// Which of a sender's forwarded messages were taken.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Taken {
    /// Every number below was taken, or is too old to be told from one that was.
    pub(crate) below: u64,
    pub(crate) above: BTreeSet<u64>,
}

/// Leadership is being handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    /// Given up then.
    pub(crate) until: Instant,
}

/// Who waits for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    Local(ReadId),
    Remote { peer: NodeId, nonce: u64, id: ReadId },
}

/// A leader's reads.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct LeaderReads {
    /// The newest round that was begun; monotone.
    pub(crate) round: u64,
    /// The newest round that a quorum confirmed.
    pub(crate) confirmed: u64,
    /// Reads, with the round that must be confirmed and the index they get; rounds increasing.
    pub(crate) waiting: VecDeque<(u64, Reader, Index)>,
}

/// A follower's reads: asked of the leader, answered or given up by then.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct AskedReads {
    pub(crate) asked: BTreeMap<ReadId, Instant>,
}

/// Proposals that a follower sent on.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Forwarded {
    pub(crate) sequence: u64,
    /// Those whose refusal would still be passed on, oldest first; an answer takes a round trip, so the oldest are long in the log.
    pub(crate) ids: VecDeque<ProposalId>,
}

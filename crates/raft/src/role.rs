//! What a node is, with what it needs for it (rule R01).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_consensus::{DiskLag, Index, Instant, NodeId, PersistToken, ProposalId, ReadId};

use crate::progress::Progress;

/// The role, with its data.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Role {
    /// Follows `leader`, or waits for one. A learner is a follower that does not vote.
    Follower {
        /// Who leads this term, once it is known.
        leader: Option<NodeId>,
        /// The log agrees with that leader's up to here.
        verified: Index,
    },
    /// Asks whether it could win.
    PreCandidate {
        /// Which asking.
        round: u64,
        /// Who said yes.
        granted: BTreeSet<NodeId>,
        /// Who said no.
        refused: BTreeSet<NodeId>,
    },
    /// Asks for votes.
    Candidate {
        /// Its own vote counts once this is durable.
        own_vote: PersistToken,
        /// Who voted for it.
        granted: BTreeSet<NodeId>,
        /// Who refused.
        refused: BTreeSet<NodeId>,
    },
    /// Leads.
    Leader(Box<Leader>),
}

/// What a leader keeps.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Leader {
    /// Every peer that receives the log.
    pub(crate) peers: BTreeMap<NodeId, Progress>,
    /// The first entry of this term: the no-op.
    pub(crate) term_start: Index,
    pub(crate) heartbeat_at: Instant,
    pub(crate) check_quorum_at: Instant,
    /// How long its own disk has been behind; looked at with each wake-up.
    pub(crate) disk_lag: DiskLag,
    pub(crate) reads: LeaderReads,
    pub(crate) transfer: Option<Transfer>,
    /// Sizes of entries not yet committed.
    pub(crate) uncommitted: VecDeque<(Index, u64)>,
    pub(crate) uncommitted_bytes: u64,
    /// Forwarded messages taken in this term, by sender and its life.
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
    /// TimeoutNow has left.
    pub(crate) told: bool,
}

/// Who waits for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    Local(ReadId),
    Remote { peer: NodeId, nonce: u64, id: ReadId },
}

/// A leader's reads (rule R17).
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct LeaderReads {
    /// The newest round that was begun; monotone.
    pub(crate) round: u64,
    /// The newest round that a quorum confirmed.
    pub(crate) confirmed: u64,
    /// Reads, with the round that must be confirmed and the index they get; rounds increasing.
    pub(crate) waiting: VecDeque<(u64, Reader, Index)>,
    /// Reads that came before the first commit of the term.
    pub(crate) unready: Vec<Reader>,
    /// When each round not yet confirmed was begun.
    pub(crate) begun: VecDeque<(u64, Instant)>,
    /// Reads need no round until then.
    pub(crate) lease_until: Option<Instant>,
    /// TimeoutNow has left in this term. It may arrive however late, and then others vote without asking for the lease: no lease any more.
    pub(crate) lease_given_away: bool,
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

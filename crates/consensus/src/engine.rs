//! The contract of a consensus protocol: one funnel in, effects out.

use std::{collections::BTreeMap, fmt, hash::Hash};

use bytes::Bytes;

use crate::{
    ChangeRefusal, DecodeError, Entry, Epoch, Incarnation, Index, Instant, Membership, MembershipChange,
    NodeId, Position, ProposalId, ReadId, Reader, Reason, SnapshotMeta, Writer,
};

/// A consensus protocol as a value: no clock, disk, network, thread or randomness of its own.
///
/// The caller owes every effect of every step, in the order of the steps: write what `persist` says and report it with
/// [`Input::Persisted`]; send each message, if it names a token not before that token is durable; answer each fetch. It may write,
/// send and apply in parallel, and it may lose messages. It may crash at any moment; then it starts a new engine from what was durable.
pub trait Engine: Clone + Send + 'static {
    /// A message to a peer's engine of the same group.
    type Message: Clone + fmt::Debug + PartialEq + Hash + Send + 'static;
    /// What must survive a crash beside the log: the engine's own type.
    type HardState: Clone + fmt::Debug + PartialEq + Hash + Send + 'static;

    /// Takes one input at time `now` and adds what it causes to `effects`. Never blocks, never panics on outside input.
    /// `now` never runs backwards between two calls.
    fn step(
        &mut self,
        now: Instant,
        input: Input<Self::Message>,
        effects: &mut Effects<Self::Message, Self::HardState>,
    );

    /// When [`Input::Wake`] is wanted next, if nothing else comes before. Ask again after every step.
    fn poll_timeout(&self) -> Option<Instant>;

    /// How things stand.
    fn status(&self) -> Status;

    /// The entries `from..` that are still in memory, as many as fit into `bytes_max` but at least one; `None` if `from` is not in
    /// memory or lies beyond the log, and the journal must be asked.
    fn entries(&self, from: Index, bytes_max: u64) -> Option<Vec<Entry>>;

    /// The epoch of the entry at `index`; `None` if it was compacted or lies beyond the log. Zero at index zero.
    fn epoch_at(&self, index: Index) -> Option<Epoch>;

    /// A hash of the whole protocol state; two engines with equal fingerprints behave the same.
    fn fingerprint(&self) -> u64;

    /// Must the message not wait behind bulk data? Heartbeats, votes and acknowledgements must not.
    fn is_urgent(message: &Self::Message) -> bool;

    /// Writes a message, its format version first.
    fn encode_message(message: &Self::Message, to: &mut Writer);

    /// Reads a message; the payloads share the input's memory.
    ///
    /// # Errors
    /// Truncated, malformed, or of a version this build does not speak.
    fn decode_message(from: &mut Reader) -> Result<Self::Message, DecodeError>;

    /// Writes the hard state, its format version first.
    fn encode_hard_state(state: &Self::HardState, to: &mut Writer);

    /// Reads a hard state.
    ///
    /// # Errors
    /// Truncated, malformed, or of a version this build does not read.
    fn decode_hard_state(from: &mut Reader) -> Result<Self::HardState, DecodeError>;
}

/// Which protocol replicates a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineKind {
    /// Raft.
    #[default]
    Raft,
    /// ZooKeeper's atomic broadcast.
    Zab,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Raft => "raft",
            EngineKind::Zab => "zab",
        })
    }
}

/// What an engine starts from: what was durable.
#[derive(Clone, Debug)]
pub struct GroupStart<H> {
    /// This node.
    pub node: NodeId,
    /// The hard state last made durable; `None` at birth.
    pub hard_state: Option<H>,
    /// The newest durable snapshot. At birth: position zero with the membership that the group is born with. A node that is to be told its
    /// membership by a leader is born with an empty one, and then neither campaigns nor counts itself.
    pub snapshot: SnapshotMeta,
    /// The log begins after this position, which is at most the snapshot's.
    pub compacted: Position,
    /// The last entry of the log; `compacted` if it is empty.
    pub last: Position,
    /// For each epoch that occurs in the log after `compacted`: its first index there; increasing in both.
    pub epochs: Vec<(Epoch, Index)>,
    /// The membership entries of the log after the snapshot, increasing in index.
    pub memberships: Vec<(Index, Membership)>,
}

/// What can happen to an engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<M> {
    /// A peer's engine says something. The caller has checked that `from` is who it says it is.
    Message {
        /// The sender.
        from: NodeId,
        /// What it says.
        message: M,
    },
    /// Clients want these commands in the log, in this order.
    Propose(Vec<Proposal>),
    /// A reader wants an index from which a read is linearizable.
    ReadBarrier {
        /// Comes back in `reads_safe` or `reads_refused`; never used twice in one life of the process.
        id: ReadId,
    },
    /// An operator wants another membership. Answered in `accepted` (position of the first membership entry) or `refused`.
    ChangeMembership {
        /// Comes back.
        id: ProposalId,
        /// What is wanted.
        change: MembershipChange,
    },
    /// An operator wants another leader; `None` lets the engine choose the most advanced voter. Ignored unless this node leads.
    TransferLeadership {
        /// The wanted leader.
        to: Option<NodeId>,
    },
    /// Everything up to and including `token` is durable. Tokens come in order; a stale one changes nothing.
    Persisted {
        /// The newest durable token.
        token: PersistToken,
    },
    /// The journal answers a [`Fetch`].
    Fetched {
        /// Which.
        token: FetchToken,
        /// What was there.
        outcome: Fetched,
    },
    /// The log up to and including `to` is gone from the journal; a durable snapshot covers it.
    Compacted {
        /// The last dropped entry.
        to: Index,
    },
    /// A snapshot of this node's own state is durable.
    SnapshotTaken {
        /// Which.
        meta: SnapshotMeta,
    },
    /// The snapshot that `install` asked for is durable and in place, and the log was replaced as it asked.
    SnapshotInstalled {
        /// Which.
        meta: SnapshotMeta,
    },
    /// How a snapshot that `snapshot_to` asked for fared.
    SnapshotSent {
        /// To whom.
        peer: NodeId,
        /// How.
        outcome: SnapshotOutcome,
    },
    /// The transport lost the peer, and with it perhaps messages.
    PeerUnreachable {
        /// Whom.
        peer: NodeId,
    },
    /// The node-wide heartbeat vouches for a peer: as good as word from that peer's engine, until `until`.
    PeerVouched {
        /// Whom.
        peer: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
        /// Until when, on this node's clock.
        until: Instant,
    },
    /// Time has passed; see [`Engine::poll_timeout`].
    Wake,
}

/// One command for the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Comes back in `accepted` or `refused`.
    pub id: ProposalId,
    /// The command.
    pub command: Bytes,
    /// If this node does not lead: send it on to the leader (then neither `accepted` nor, once it has left, a certain `refused` follows: its
    /// fate shows in the log), or refuse it with the leader's name?
    pub forward: bool,
}

/// Numbers what was handed over for writing; monotone within one life of an engine, the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistToken(pub u64);

/// Numbers a request for old entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchToken(pub u64);

/// One write: all of it becomes durable together, or none. Writes become durable in the order of their tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Persist<H> {
    /// Reported back by [`Input::Persisted`].
    pub token: PersistToken,
    /// The hard state, if it changed.
    pub hard_state: Option<H>,
    /// Every entry from this index on is to go, in the same atomic write as what is appended. `None`: `append` follows the log's end.
    pub truncate_from: Option<Index>,
    /// Entries to append, without a gap.
    pub append: Vec<Entry>,
}

/// A message with its address.
#[derive(Clone, Debug, PartialEq)]
pub struct Addressed<M> {
    /// The receiver.
    pub to: NodeId,
    /// What to say.
    pub message: M,
    /// Not before this token is durable. `None`: at once.
    pub after: Option<PersistToken>,
}

/// A wish for entries that are no longer in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Comes back.
    pub token: FetchToken,
    /// The first wanted.
    pub from: Index,
    /// The last wanted, inclusive.
    pub to: Index,
    /// At most so many bytes, but at least one entry.
    pub bytes_max: u64,
}

/// What a fetch found.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetched {
    /// Entries from the first wanted on, without a gap; perhaps fewer than wanted, never none.
    Entries(Vec<Entry>),
    /// The first wanted entry was compacted.
    Compacted,
    /// The disk failed; ask again later.
    Failed,
}

/// A wish that the newest durable snapshot be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotSend<M> {
    /// To whom.
    pub peer: NodeId,
    /// The message with which the receiving node hands the snapshot to its engine once all of it has arrived.
    pub message: M,
    /// The snapshot it speaks of.
    pub meta: SnapshotMeta,
}

/// How sending a snapshot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotOutcome {
    /// All of it arrived.
    Delivered,
    /// It did not; the engine tries again by its own pace.
    Failed,
    /// It did not, because this node's own disk did not give it in time.
    Unread,
}

/// Why a proposal was refused. Every refusal is certain: the command is in no log because of this proposal, and may be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// This node does not lead.
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<NodeId>,
    },
    /// Leadership is being handed over; ask the next leader in a moment.
    TransferInProgress,
    /// Too much is waiting to be committed.
    Overloaded {
        /// The limit in bytes.
        uncommitted_bytes_max: u64,
    },
    /// The command is too long.
    TooLarge {
        /// The limit in bytes.
        command_bytes_max: u64,
    },
    /// The membership cannot change so.
    Change(ChangeRefusal),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotLeader { leader: Some(leader) } => write!(f, "not the leader; node {leader} is"),
            Refusal::NotLeader { leader: None } => {
                write!(f, "no leader is known; try again after the election")
            }
            Refusal::TransferInProgress => {
                write!(f, "leadership is being handed over; try again in a moment")
            }
            Refusal::Overloaded { uncommitted_bytes_max } => {
                write!(
                    f,
                    "more than {uncommitted_bytes_max} bytes wait to be committed; slow down and try again"
                )
            }
            Refusal::TooLarge { command_bytes_max } => {
                write!(f, "the command is longer than {command_bytes_max} bytes")
            }
            Refusal::Change(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

/// Why a read barrier cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadRefusal {
    /// No leader is known.
    NoLeader,
    /// The leader lost its lead, or the request to it may be lost; ask again with a new id.
    LeaderChanged,
    /// Too many reads wait.
    Overloaded,
}

/// What a node is in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it could win, without raising the term (PreVote).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Receives the log and does not vote.
    Learner,
}

/// A change of role, epoch or leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoleChange {
    /// This node's role.
    pub role: Role,
    /// The epoch it is in.
    pub epoch: Epoch,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
}

/// What a step causes. One value is reused for many steps; the caller takes out what it has done.
#[derive(Clone, Debug)]
pub struct Effects<M, H> {
    /// Writes, in order.
    pub persist: Vec<Persist<H>>,
    /// Messages. Those of one receiver that may leave at the same time leave in this order.
    pub send: Vec<Addressed<M>>,
    /// Old entries that are wanted.
    pub fetch: Vec<Fetch>,
    /// Snapshots to be sent.
    pub snapshot_to: Vec<SnapshotSend<M>>,
    /// The received snapshot that is to replace state and log: make it durable and in place, drop the log up to it (all of the log unless
    /// `keep_log_after` holds), and report [`Input::SnapshotInstalled`].
    pub install: Option<SnapshotMeta>,
    /// With `install`: the log agrees with the snapshot at its position, so what follows it is kept (rule R21).
    pub keep_log_after: bool,
    /// Proposals that are in the leader's log now, and where. Not yet committed: that shows when the entry at that index is committed with
    /// that epoch; another epoch there means the proposal is certainly lost.
    pub accepted: Vec<(ProposalId, Position)>,
    /// Proposals that are certainly in no log.
    pub refused: Vec<(ProposalId, Refusal)>,
    /// Reads that are linearizable once this index is applied.
    pub reads_safe: Vec<(ReadId, Index)>,
    /// Reads that must be asked for again.
    pub reads_refused: Vec<(ReadId, ReadRefusal)>,
    /// Everything up to this index is committed; never falls.
    pub commit: Option<Index>,
    /// Role, epoch or leader changed; the last change of the step.
    pub role: Option<RoleChange>,
    /// Another membership is in force, brought by the entry at this index (zero: birth), by appending, truncating or a snapshot.
    pub membership: Option<(Index, Membership)>,
    /// Why, if `explain` is set.
    pub reasons: Vec<Reason>,
    /// Are reasons wanted? They cost an allocation each.
    pub explain: bool,
}

impl<M, H> Default for Effects<M, H> {
    fn default() -> Self {
        Effects {
            persist: Vec::new(),
            send: Vec::new(),
            fetch: Vec::new(),
            snapshot_to: Vec::new(),
            install: None,
            keep_log_after: false,
            accepted: Vec::new(),
            refused: Vec::new(),
            reads_safe: Vec::new(),
            reads_refused: Vec::new(),
            commit: None,
            role: None,
            membership: None,
            reasons: Vec::new(),
            explain: false,
        }
    }
}

impl<M, H> Effects<M, H> {
    /// Notes a reason, if reasons are wanted.
    pub fn because(&mut self, rule: &'static str, what: &'static str, values: &[(&'static str, u64)]) {
        if self.explain {
            self.reasons.push(Reason::new(rule, what, values));
        }
    }

    /// Sends at once.
    pub fn send_now(&mut self, to: NodeId, message: M) {
        self.send.push(Addressed { to, message, after: None });
    }

    /// Sends once `token` is durable.
    pub fn send_after(&mut self, to: NodeId, message: M, token: PersistToken) {
        self.send.push(Addressed { to, message, after: Some(token) });
    }
}

/// How an engine stands, for people, policies and checkers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// This node's role.
    pub role: Role,
    /// Its epoch.
    pub epoch: Epoch,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Everything up to here is committed.
    pub commit: Index,
    /// The end of its log, durable or not.
    pub last: Position,
    /// The end of its log that it knows to be durable.
    pub durable: Index,
    /// The log begins after this position.
    pub compacted: Position,
    /// The membership in force.
    pub membership: Membership,
    /// The index of the entry that brought it.
    pub membership_at: Index,
    /// On a leader: how far each member's log is known to match its own, durably; this node included.
    pub matched: BTreeMap<NodeId, Index>,
    /// On a leader: is leadership being handed over, and to whom?
    pub transfer_to: Option<NodeId>,
}

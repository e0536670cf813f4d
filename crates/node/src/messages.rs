//! What goes in and out of a node's two halves.
//!
//! ```text
//!   clients, peers, disk, time ──► Node (engines, journal, links) ──► disk operations, frames, answers
//!                                   │ ToState            ▲ FromState
//!                                   ▼                    │
//!                        state half (replicas: apply, answer, view, snapshot)
//! ```
//! The halves are separate values so that applying and reading can run elsewhere than stepping: no long apply delays a heartbeat or a
//! vote. In production each has a thread; in the simulator each has its own delays.

use std::fmt;

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskOperation, Entry, Epoch, GroupId, Incarnation, Index, Membership, MembershipChange,
    NodeId, Position, Reason, Refusal, RoleChange, SnapshotMeta,
};

use crate::{Channel, FrameRefusal, GroupConfig, Ticket};

/// What can happen to a node.
#[derive(Debug)]
pub enum NodeInput {
    /// A frame arrived from a peer's connection; nothing of it has been checked.
    Frame(Bytes),
    /// The disk ended an operation.
    Disk(DiskCompletion),
    /// A client wants this command (see [`crate::TaggedCommand`]) in a group's log. Answered by the state half once applied, or here in
    /// `answers` if it certainly never will be.
    Propose {
        /// The group.
        group: GroupId,
        /// Who waits; must be the origin's ticket in `command`.
        ticket: Ticket,
        /// The tagged command.
        command: Bytes,
    },
    /// A client wants a linearizable read. The state half releases the ticket when it may be served.
    Read {
        /// The group.
        group: GroupId,
        /// Who waits.
        ticket: Ticket,
    },
    /// A client gave up waiting; what it asked for may still happen.
    Cancel {
        /// The group.
        group: GroupId,
        /// Who waited.
        ticket: Ticket,
    },
    /// The group's membership should change. Only a leader does it; answered in `answers`.
    ChangeMembership {
        /// The group.
        group: GroupId,
        /// Who waits.
        ticket: Ticket,
        /// What is wanted.
        change: MembershipChange,
    },
    /// A word for the state half of another member, such as which clients are alive. It may be lost.
    Relay {
        /// The group.
        group: GroupId,
        /// For whom; `None`: for whoever leads the group.
        to: Option<NodeId>,
        /// The word: short, since heartbeats go the same way.
        bytes: Bytes,
    },
    /// The membership that the cluster's records want for the group, by a linearizable read of them that has just ended: acted upon at once or not at
    /// all. While the group is not there it is asked for again, by [`ToState::Confirm`].
    Desired {
        /// The group.
        group: GroupId,
        /// Of the records that want it: a smaller one is older, and is not listened to.
        version: u64,
        /// What is wanted.
        membership: Membership,
        /// It is a step on the way: once the group is there, ask what comes next.
        more: bool,
    },
    /// The group should be led by another node; the engine chooses if `to` is `None`. Ignored unless this node leads it.
    TransferLeadership {
        /// The group.
        group: GroupId,
        /// The wanted leader.
        to: Option<NodeId>,
    },
    /// A snapshot of the group's state is to be taken now, whatever its log has grown to; ignored if one is under way, or nothing was applied since the last.
    TakeSnapshot {
        /// The group.
        group: GroupId,
    },
    /// The cluster's records have a group that this node is not configured with: it is to run it, from what the journal has of it, or else from its birth.
    ///
    /// Nothing happens if it runs already. The state half says so again in each life, and tells the same birth each time, the one that every other member is told:
    /// see [`GroupConfig::birth`].
    Open(GroupConfig),
    /// The state half reports.
    State(FromState),
    /// The connection to a peer was lost, and with it perhaps frames.
    PeerLost(NodeId),
    /// What the cluster knows of a peer's identity: the disk it registered, or that it was removed.
    PeerKnown {
        /// The peer.
        peer: NodeId,
        /// Its registered disk; `None` leaves what is known.
        incarnation: Option<Incarnation>,
        /// It is no member any more.
        removed: bool,
    },
    /// Time has passed; see [`crate::Node::poll_timeout`].
    Wake,
}

/// What the node's core tells the state half. In order, per group.
#[derive(Debug)]
pub enum ToState {
    /// Committed entries, in order, without a gap.
    Entries {
        /// The group.
        group: GroupId,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// The state is to be replaced by this snapshot.
    Restore {
        /// The group.
        group: GroupId,
        /// What it says of itself.
        meta: SnapshotMeta,
        /// All of its chunks.
        chunks: Vec<Bytes>,
    },
    /// These reads are linearizable once `index` is applied.
    ReadSafe {
        /// The group.
        group: GroupId,
        /// Who waits.
        tickets: Vec<Ticket>,
        /// From where.
        index: Index,
    },
    /// A read of what this replica has, however old: answered at once with a view.
    ReadLocal {
        /// The group.
        group: GroupId,
        /// Who waits.
        ticket: Ticket,
    },
    /// A snapshot of the state is due.
    SnapshotDue {
        /// The group.
        group: GroupId,
    },
    /// Role, epoch or leader changed.
    Role {
        /// The group.
        group: GroupId,
        /// To what.
        change: RoleChange,
    },
    /// A member's state half has a word for this node, or for the leader of the group, which this node is or was taken for; see [`NodeInput::Relay`].
    Relayed {
        /// The group.
        group: GroupId,
        /// Whose.
        from: NodeId,
        /// The word, as it came: outside input.
        bytes: Bytes,
    },
    /// The group is not what the cluster's records were last known to want. Do they still want it? Answered with [`NodeInput::Desired`].
    Confirm {
        /// The group.
        group: GroupId,
    },
    /// A snapshot of the group is durable here. Said by the node's owner, as its notices say it, to a state half whose groups lean on each other; the node itself does not.
    Kept {
        /// The group.
        group: GroupId,
        /// Which.
        position: Position,
        /// The log now begins after this entry.
        compacted: Index,
    },
    /// Another membership is in force (appended, not necessarily committed).
    Membership {
        /// The group.
        group: GroupId,
        /// The entry that brought it.
        index: Index,
        /// Which.
        membership: Membership,
    },
}

/// The half of a node that applies, answers and reads: a value, like the core.
pub trait StateHalf: Send + 'static {
    /// What those who wait are told.
    type Reply: Send + 'static;

    /// Takes one input of the core and adds what it causes to `out`. Inputs of one group come in order.
    fn handle(&mut self, input: ToState, out: &mut StateOutputs<Self::Reply>);
}

/// What the owner of a state half must do. One value is reused; the owner takes out what it has done.
#[derive(Debug)]
pub struct StateOutputs<R> {
    /// For the core, in order.
    pub core: Vec<NodeInput>,
    /// For those who wait.
    pub replies: Vec<(Ticket, R)>,
}

impl<R> Default for StateOutputs<R> {
    fn default() -> Self {
        StateOutputs { core: Vec::new(), replies: Vec::new() }
    }
}

/// A state machine's snapshot on its way to the journal.
pub type Chunks = Box<dyn Iterator<Item = Bytes> + Send>;

/// What the state half tells the core.
pub enum FromState {
    /// A batch of entries, or a snapshot, was applied.
    Applied {
        /// The group.
        group: GroupId,
        /// The last applied entry.
        position: Position,
        /// Tickets of this node that were among them.
        own: Vec<Ticket>,
        /// The size of the state, for the snapshot policy.
        state_bytes: u64,
        /// A snapshot was installed: what it covers was not seen entry by entry.
        jumped: bool,
        /// See [`Replica::followed`](crate::Replica::followed).
        followed: u64,
    },
    /// The snapshot that was due.
    Snapshot {
        /// The group.
        group: GroupId,
        /// What it says of itself.
        meta: SnapshotMeta,
        /// Its chunks, made as they are drawn.
        chunks: Chunks,
    },
    /// A snapshot could not be restored: the replica cannot go on.
    RestoreFailed {
        /// The group.
        group: GroupId,
        /// Why.
        why: String,
    },
    /// A quorum has other data at the same place of the log: nothing here is to be served.
    Differs {
        /// The group.
        group: GroupId,
    },
}

impl fmt::Debug for FromState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FromState::Applied { group, position, .. } => write!(f, "Applied({group} {position})"),
            FromState::Snapshot { group, meta, .. } => write!(f, "Snapshot({group} {})", meta.position),
            FromState::RestoreFailed { group, why } => write!(f, "RestoreFailed({group} {why})"),
            FromState::Differs { group } => write!(f, "Differs({group})"),
        }
    }
}

/// What the core tells those who wait, where the state half never will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Certainly not done, and may be asked again.
    Refused(Refusal),
    /// The disk is full: certainly not done.
    DiskFull,
    /// Too much waits: certainly not done.
    Busy,
    /// It may have been done or not: a snapshot stepped over the place where it would have been seen.
    Unknown,
    /// The membership change is in the leader's log at this position.
    Accepted(Position),
    /// The node has stopped: whether it is done is not known.
    Stopped,
}

/// What the owner of a node must do. One value is reused; the owner takes out what it has done.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Operations for the disk.
    pub disk: Vec<DiskOperation>,
    /// Frames for peers; those for one peer and channel in this order.
    pub frames: Vec<(NodeId, Channel, Bytes)>,
    /// For the state half, in order.
    pub state: Vec<ToState>,
    /// For those who wait.
    pub answers: Vec<(Ticket, Answer)>,
    /// For people, metrics and checkers.
    pub notices: Vec<Notice>,
}

/// What a person, a metric or a checker may want to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The journal was read and the groups run.
    Recovered {
        /// What it found, in words: torn tails cut, files removed.
        notes: Vec<String>,
    },
    /// Role, epoch or leader changed.
    Role {
        /// The group.
        group: GroupId,
        /// To what.
        change: RoleChange,
    },
    /// Another membership is in force.
    Membership {
        /// The group.
        group: GroupId,
        /// The entry that brought it.
        index: Index,
        /// Which.
        membership: Membership,
    },
    /// A peer's frame was refused; said once per peer and reason.
    FrameRefused {
        /// Whose, as far as the frame said.
        sender: Option<NodeId>,
        /// Why.
        why: FrameRefusal,
    },
    /// A peer refuses this node's frames; said once per peer and reason.
    RefusedBy {
        /// Who refuses.
        peer: NodeId,
        /// Why.
        why: FrameRefusal,
    },
    /// A snapshot of this node's state is durable, and the log before `compacted` may go.
    SnapshotTaken {
        /// The group.
        group: GroupId,
        /// Which.
        position: Position,
        /// The log now begins after this entry.
        compacted: Index,
    },
    /// A snapshot from the leader is in place.
    SnapshotInstalled {
        /// The group.
        group: GroupId,
        /// Which.
        position: Position,
    },
    /// The disk is full: client writes are refused; reads and votes go on.
    DiskFull,
    /// There is room again.
    DiskSpaceBack,
    /// Why an engine did what it did, if reasons are wanted.
    Reason {
        /// The group.
        group: GroupId,
        /// Why.
        reason: Reason,
    },
    /// Proposals of an epoch that ended were certainly lost and were proposed again.
    ProposedAgain {
        /// The group.
        group: GroupId,
        /// How many.
        count: usize,
        /// The epoch in which they were lost.
        epoch: Epoch,
    },
    /// The node cannot go on; it answers nobody any more.
    Fatal(Fatal),
}

/// Why a node stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// A write or a sync failed. What was not yet durable may be lost although it can still be read, so nothing may be built on it.
    Disk(String),
    /// Data that was durable has been damaged: the replica must not vote or count until it is repaired or replaced.
    Damaged(String),
    /// A group's engine does not start: its configuration cannot be, or the group is another protocol's.
    Engine(String),
    /// A snapshot does not restore.
    Restore(String),
    /// A quorum of this group's members has other data at the same place of the log.
    Differs(GroupId),
    /// This node was removed, or its disk is not the one its id is known with.
    Refused(FrameRefusal),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fatal::Disk(why) => write!(
                f,
                "the disk failed: {why}. Nothing unsynced can be trusted after that; mend the disk and start the node again"
            ),
            Fatal::Damaged(why) => write!(
                f,
                "durable data is damaged: {why}. The node does not vote with it; remove the member and add it anew with an empty data directory"
            ),
            Fatal::Engine(why) => write!(f, "an engine does not start: {why}"),
            Fatal::Restore(why) => write!(f, "a snapshot does not restore: {why}"),
            Fatal::Differs(group) => write!(
                f,
                "this member's data of group {group} is not what a majority has at the same place of the log, although it reads without an error: something changed it, or \
                 it was applied otherwise. Nothing is served from it; remove the member and add it anew with an empty data directory"
            ),
            Fatal::Refused(why) => write!(f, "the cluster refuses this node: {why}"),
        }
    }
}

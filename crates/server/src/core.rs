//! The core thread: everything that can happen to a node comes here, and all that happened meanwhile is one round.
//!
//! ```text
//!  wait ─► (let others run first) ─► handle each input ─► settle once ─► disk · peers · state half · answers ─► wait
//! ```
//! Nothing here blocks: the disk and the state half are queues, a socket that is full leaves its bytes to its own thread. So heartbeats and
//! votes wait for nothing but the round before.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use quorate_consensus::{GroupId, Index, Instant as NodeInstant, Membership, Position, RoleChange};
use quorate_node::{Fatal, GroupStatus, Node, NodeInput, Notice, Outputs, ToState};
use tokio::sync::{oneshot, watch};

use crate::{
    counters::Counters,
    disk::Disk,
    gather::Gathering,
    inbox::{Inbox, Waited},
    transport::Transport,
    waiters::Waiters,
};

/// What can happen to the core.
#[derive(Debug)]
pub(crate) enum CoreInput {
    /// It concerns the node.
    Node(NodeInput),
    /// Somebody wants to know how a group stands.
    Status(GroupId, oneshot::Sender<Option<GroupStatus>>),
    /// Everything is to end.
    Stop,
}

/// Why a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was asked to.
    Shutdown,
    /// It cannot go on.
    Fatal(Fatal),
    /// One of its own assertions failed, in the named thread. What is durable is not affected.
    Panicked(&'static str),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Shutdown => f.write_str("the node was shut down"),
            Stopped::Fatal(fatal) => fatal.fmt(f),
            Stopped::Panicked(thread) => write!(
                f,
                "an assertion of the node's {thread} thread failed: this is a bug in Quorate or in the embedded state machine; the log \
                 above says which. What is durable is not affected"
            ),
        }
    }
}

/// Called in the core's thread with everything a person, a metric or a checker may want to know; must return at once.
pub type NoticeSink = Box<dyn FnMut(&Notice) + Send>;

/// The node's clock: monotone, and its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub(crate) fn now(self) -> NodeInstant {
        NodeInstant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn moment(self, at: NodeInstant) -> Instant {
        self.start + Duration::from_nanos(at.as_nanos())
    }
}

/// What others may watch.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) roles: watch::Sender<BTreeMap<GroupId, RoleChange>>,
    pub(crate) memberships: watch::Sender<BTreeMap<GroupId, (Index, Membership)>>,
    pub(crate) stopped: watch::Sender<Option<Stopped>>,
}

impl Watched {
    /// The first reason stays.
    pub(crate) fn stop(&self, why: Stopped) {
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            if first {
                *stopped = Some(why);
            }
            first
        });
    }
}

/// The core's thread, as a value.
pub(crate) struct Core<R> {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) inbox: Inbox<CoreInput>,
    pub(crate) state: Inbox<ToState>,
    pub(crate) disk: Disk,
    pub(crate) transport: Transport,
    pub(crate) waiters: Arc<Waiters<R>>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) on_notice: Option<NoticeSink>,
    /// A round that begins this much too late is worth a line in the log.
    pub(crate) late_after: Duration,
}

impl<R> Core<R> {
    /// Runs until it is told to stop, or the node stops.
    pub(crate) fn run(&mut self) -> Stopped {
        let mut outputs = Outputs::default();
        let mut inputs = Vec::new();
        let mut gathering = Gathering::default();
        self.node.settle(self.clock.now(), &mut outputs);
        loop {
            self.hand_out(&mut outputs);
            if let Some(fatal) = self.node.stopped() {
                return Stopped::Fatal(fatal.clone());
            }
            let due = self.node.poll_timeout();
            let until = if self.node.has_work() {
                Some(self.clock.start)
            } else {
                due.map(|due| self.clock.moment(due))
            };
            if self.inbox.wait(&mut inputs, until) == Waited::Closed {
                return Stopped::Shutdown;
            }
            if gathering.let_others_run(inputs.len()) {
                self.inbox.take_more(&mut inputs);
            }
            let now = self.clock.now();
            if let Some(due) = due {
                self.note_lateness(now.since(due));
            }
            self.counters.core_rounds.add(1);
            self.counters.core_inputs.add(inputs.len() as u64);
            for input in inputs.drain(..) {
                match input {
                    CoreInput::Node(input) => self.node.handle(now, input, &mut outputs),
                    CoreInput::Status(group, wanted) => {
                        let _ = wanted.send(self.node.status(group));
                    }
                    CoreInput::Stop => return Stopped::Shutdown,
                }
            }
            self.node.settle(now, &mut outputs);
        }
    }

    /// Peers first: their disks and the way to them are the longest part of a write. Then the own disk, then who waits here.
    fn hand_out(&mut self, outputs: &mut Outputs) {
        self.transport.send(&mut outputs.frames);
        self.disk.submit(&mut outputs.disk);
        if !outputs.state.is_empty() {
            self.state.extend(outputs.state.drain(..));
        }
        if !outputs.answers.is_empty() {
            self.waiters.tell(outputs.answers.drain(..).map(|(ticket, answer)| (ticket, Err(answer))));
        }
        for notice in outputs.notices.drain(..) {
            self.note(&notice);
        }
    }

    fn note_lateness(&self, late: Duration) {
        if late > self.late_after {
            self.counters.core_late.add(1);
            tracing::warn!(
                late_ms = late.as_millis() as u64,
                "the node's timer came late: the machine is overloaded or was suspended; elections may follow"
            );
        }
    }

    /// A state half that has ended needs to know no more.
    fn keeps(&self, group: GroupId, position: Position, compacted: Index) {
        let _ = self.state.push(ToState::Kept { group, position, compacted });
    }

    fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::Recovered { notes } => {
                tracing::info!("the journal has been read; the groups run");
                for note in notes {
                    tracing::info!(note, "recovery");
                }
            }
            Notice::Role { group, change } => {
                let RoleChange { role, epoch, leader } = change;
                tracing::info!(%group, ?role, %epoch, leader = leader.map(tracing::field::display), "role");
                self.watched.roles.send_modify(|roles| {
                    roles.insert(*group, *change);
                });
            }
            Notice::Membership { group, index, membership } => {
                tracing::info!(%group, %index, ?membership, "membership");
                self.watched.memberships.send_modify(|memberships| {
                    memberships.insert(*group, (*index, membership.clone()));
                });
            }
            Notice::FrameRefused { sender, why } => {
                tracing::warn!(sender = sender.map(tracing::field::display), %why, "a peer's frame was refused");
            }
            Notice::RefusedBy { peer, why } => tracing::warn!(%peer, %why, "a peer refuses this node"),
            Notice::Fatal(fatal) => tracing::error!(%fatal, "the node stops"),
            Notice::DiskFull => tracing::error!("the disk is full: writes are refused until there is room"),
            Notice::DiskSpaceBack => tracing::info!("there is room on the disk again"),
            Notice::ProposedAgain { group, count, epoch } => {
                tracing::info!(%group, count, %epoch, "proposals lost with their leader were proposed again");
            }
            Notice::Reason { group, reason } => tracing::trace!(%group, ?reason, "reason"),
            Notice::SnapshotTaken { group, position, compacted } => {
                tracing::info!(%group, %position, %compacted, "a snapshot is durable");
                self.keeps(*group, *position, *compacted);
            }
            Notice::SnapshotInstalled { group, position } => {
                tracing::info!(%group, %position, "the leader's snapshot is in place");
                self.keeps(*group, *position, position.index);
            }
        }
        if let Some(sink) = &mut self.on_notice {
            sink(notice);
        }
    }
}

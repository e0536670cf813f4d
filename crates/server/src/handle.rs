//! The node, to whoever asks it for something.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use quorate_consensus::{
    GroupId, Index, Membership, MembershipChange, NodeId, Position, Role, RoleChange, Writer,
};
use quorate_node::{Answer, GroupStatus, NodeInput, Origin, SessionTag, TaggedCommand, Ticket, ToState};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout_at},
};

use crate::{
    core::{CoreInput, Stopped, Watched},
    counters::Counters,
    inbox::{Inbox, InboxRefusal, lock},
    transport::{PeerAddress, Transport},
    waiters::{NoWaiting, Told, Waiters},
};

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The node says so.
    Answer(Answer),
    /// No answer came in time. What was asked for may still happen.
    TimedOut,
    /// The node has stopped. What was asked for may have happened.
    Stopped,
    /// Too many calls wait on this node: certainly not done.
    TooManyRequests,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Answer(Answer::Refused(refusal)) => refusal.fmt(f),
            CallError::Answer(Answer::DiskFull) => {
                f.write_str("the node's disk is full, nothing was done: free some space and try again")
            }
            CallError::Answer(Answer::Busy) => {
                f.write_str("too much waits, nothing was done: try again more slowly")
            }
            CallError::Answer(Answer::Unknown) => {
                f.write_str("it may have been done or not: look before trying again, or use a session")
            }
            CallError::Answer(Answer::Accepted(position)) => write!(f, "accepted at {position}"),
            CallError::TimedOut => f.write_str("no answer in time; it may have been done or not"),
            CallError::Answer(Answer::Stopped) | CallError::Stopped => {
                f.write_str("the node has stopped; it may have been done or not: ask another node")
            }
            CallError::TooManyRequests => {
                f.write_str("too many requests wait on this node, nothing was done: try again more slowly")
            }
        }
    }
}

impl std::error::Error for CallError {}

impl From<NoWaiting> for CallError {
    fn from(why: NoWaiting) -> Self {
        match why {
            NoWaiting::Full => CallError::TooManyRequests,
            NoWaiting::Closed => CallError::Stopped,
        }
    }
}

impl From<InboxRefusal> for CallError {
    fn from(why: InboxRefusal) -> Self {
        match why {
            InboxRefusal::Full => CallError::TooManyRequests,
            InboxRefusal::Closed => CallError::Stopped,
        }
    }
}

/// A running node. Clones are the same node; it ends with the last of them.
///
/// Calls need a tokio runtime with time enabled, for their deadlines; the node itself has its own threads. A call that is dropped before
/// its answer is cancelled: nobody waits for it any more, though what it asked for may still happen.
pub struct Handle<R> {
    shared: Arc<Shared<R>>,
    timeout: Duration,
}

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Handle { shared: Arc::clone(&self.shared), timeout: self.timeout }
    }
}

impl<R> fmt::Debug for Handle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("node", &self.shared.node).finish_non_exhaustive()
    }
}

struct Shared<R> {
    node: NodeId,
    life: u64,
    core: Inbox<CoreInput>,
    state: Inbox<ToState>,
    waiters: Arc<Waiters<R>>,
    watched: Arc<Watched>,
    counters: Arc<Counters>,
    transport: Transport,
    core_thread: Mutex<Option<JoinHandle<()>>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl<R> Drop for Shared<R> {
    fn drop(&mut self) {
        self.core.extend([CoreInput::Stop]);
    }
}

/// A call that is under way; dropped before it was told, it is cancelled.
struct Call<'a, R> {
    shared: &'a Shared<R>,
    group: GroupId,
    ticket: Ticket,
}

impl<R> Drop for Call<'_, R> {
    fn drop(&mut self) {
        // One that was told has left the table.
        if self.shared.waiters.forget(self.ticket) {
            self.shared.counters.cancelled.add(1);
            let (group, ticket) = (self.group, self.ticket);
            self.shared.core.extend([CoreInput::Node(NodeInput::Cancel { group, ticket })]);
        }
    }
}

impl<R: Send + 'static> Handle<R> {
    #[expect(clippy::too_many_arguments, reason = "they are the handle's fields, put together in one place")]
    pub(crate) fn new(
        node: NodeId,
        life: u64,
        timeout: Duration,
        core: Inbox<CoreInput>,
        state: Inbox<ToState>,
        waiters: Arc<Waiters<R>>,
        watched: Arc<Watched>,
        counters: Arc<Counters>,
        transport: Transport,
        core_thread: JoinHandle<()>,
        threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    ) -> Handle<R> {
        let core_thread = Mutex::new(Some(core_thread));
        let shared =
            Shared { node, life, core, state, waiters, watched, counters, transport, core_thread, threads };
        Handle { shared: Arc::new(shared), timeout }
    }

    /// Hands answers out on the runtime that polls it, a batch at a wake-up instead of a caller at a wake-up; ends with the node. Worth
    /// spawning once by a front end with many callers on one runtime. It does not keep the node alive.
    pub fn deliver(&self) -> impl Future<Output = ()> + Send + use<R> {
        let waiters = Arc::clone(&self.shared.waiters);
        async move { waiters.deliver().await }
    }

    /// The same node, whose calls wait at most `timeout`.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Handle<R> {
        Handle { shared: Arc::clone(&self.shared), timeout }
    }

    /// Which node it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Which life of its process: drawn at each start.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.shared.life
    }

    /// Puts a command into the group's log, whoever leads it; the result comes once this node's own replica has applied it. `encode` writes
    /// the state machine's command; the call is under way when this returns. With `session`, a repetition is not executed again.
    ///
    /// # Errors
    /// See [`CallError`]: which of them mean "certainly not done".
    pub fn propose<F: FnOnce(&mut Writer) + Send>(
        &self,
        group: GroupId,
        session: Option<SessionTag>,
        encode: F,
    ) -> impl Future<Output = Result<R, CallError>> + Send + use<'_, R, F> {
        let begun = self.begin(group, |shared, ticket| {
            shared.counters.proposals.add(1);
            let origin = Origin { node: shared.node, life: shared.life, ticket };
            let command = TaggedCommand::encode(Some(origin), session, encode);
            shared.core.push(CoreInput::Node(NodeInput::Propose { group, ticket, command }))
        });
        let counters = &*self.shared.counters;
        async move {
            let _pending = counters.proposals_pending.one();
            let result = self.result(begun).await;
            counters.proposals_failed.add(result.is_err().into());
            result
        }
    }

    /// A linearizable read: what the state half replies once it has everything that was committed before the call.
    ///
    /// # Errors
    /// See [`CallError`]; a read can always be asked for again.
    pub fn read(&self, group: GroupId) -> impl Future<Output = Result<R, CallError>> + Send + use<'_, R> {
        let begun = self.begin(group, |shared, ticket| {
            shared.counters.reads.add(1);
            shared.core.push(CoreInput::Node(NodeInput::Read { group, ticket }))
        });
        async move {
            let result = self.result(begun).await;
            self.shared.counters.reads_failed.add(result.is_err().into());
            result
        }
    }

    /// A read of what this replica has, however old. Asks neither the core nor a peer.
    ///
    /// # Errors
    /// See [`CallError`]; a read can always be asked for again.
    pub fn read_local(
        &self,
        group: GroupId,
    ) -> impl Future<Output = Result<R, CallError>> + Send + use<'_, R> {
        let begun = self.begin(group, |shared, ticket| {
            shared.counters.reads.add(1);
            shared.state.push(ToState::ReadLocal { group, ticket })
        });
        self.result(begun)
    }

    /// Changes the group's membership. The result is where the change stands in the leader's log; that it is committed shows in
    /// [`status`](Self::status). Only the leader does it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn change_membership(
        &self,
        group: GroupId,
        change: MembershipChange,
    ) -> Result<Position, CallError> {
        let begun = self.begin(group, |shared, ticket| {
            shared.core.push(CoreInput::Node(NodeInput::ChangeMembership { group, ticket, change }))
        });
        match self.told(begun).await? {
            Err(Answer::Accepted(position)) => Ok(position),
            Err(answer) => Err(CallError::Answer(answer)),
            // A state half that answers a ticket that is not its own: whatever it says, it does not say that the change is in the log.
            Ok(_) => Err(CallError::Answer(Answer::Unknown)),
        }
    }

    /// Asks that `to` lead the group, or whom the engine finds best. Nothing happens unless this node leads; see
    /// [`role_changes`](Self::role_changes) for what comes of it.
    ///
    /// # Errors
    /// The node is overloaded or has stopped.
    pub fn transfer_leadership(&self, group: GroupId, to: Option<NodeId>) -> Result<(), CallError> {
        self.input(NodeInput::TransferLeadership { group, to })
    }

    /// Hands the core anything else that it may be told; nothing is answered.
    ///
    /// # Errors
    /// The node is overloaded or has stopped.
    pub fn input(&self, input: NodeInput) -> Result<(), CallError> {
        Ok(self.shared.core.push(CoreInput::Node(input))?)
    }

    /// How a group stands; `None` before the journal has been read, and for a group that is not here.
    ///
    /// # Errors
    /// The node is overloaded, has stopped, or is too slow.
    pub async fn status(&self, group: GroupId) -> Result<Option<GroupStatus>, CallError> {
        let (sender, receiver) = oneshot::channel();
        self.shared.core.push(CoreInput::Status(group, sender))?;
        match timeout_at(self.deadline(), receiver).await {
            Err(_) => Err(CallError::TimedOut),
            Ok(Err(_)) => Err(CallError::Stopped),
            Ok(Ok(status)) => Ok(status),
        }
    }

    /// This node's role, epoch and known leader in each group, now and whenever they change.
    #[must_use]
    pub fn role_changes(&self) -> watch::Receiver<BTreeMap<GroupId, RoleChange>> {
        self.shared.watched.roles.subscribe()
    }

    /// The membership in force in each group, with the entry that brought it, now and whenever it changes.
    #[must_use]
    pub fn memberships(&self) -> watch::Receiver<BTreeMap<GroupId, (Index, Membership)>> {
        self.shared.watched.memberships.subscribe()
    }

    /// Waits until this node knows who leads the group.
    ///
    /// # Errors
    /// Nobody does in time, or the node has stopped.
    pub async fn leader(&self, group: GroupId) -> Result<NodeId, CallError> {
        let leader =
            |roles: &BTreeMap<GroupId, RoleChange>| roles.get(&group).and_then(|change| change.leader);
        let mut roles = self.role_changes();
        let known = tokio::select! {
            known = timeout_at(self.deadline(), roles.wait_for(|roles| leader(roles).is_some())) => known,
            _ = self.stopped() => return Err(CallError::Stopped),
        };
        match known {
            Err(_) => Err(CallError::TimedOut),
            Ok(Err(_)) => Err(CallError::Stopped),
            Ok(Ok(roles)) => leader(&roles).ok_or(CallError::TimedOut),
        }
    }

    /// Tells the transport where the peers listen from now on.
    ///
    /// # Errors
    /// No thread is to be had for a new connection.
    pub fn set_peers(&self, peers: &BTreeMap<NodeId, PeerAddress>) -> io::Result<()> {
        self.shared.transport.set_peers(peers)
    }

    /// Where this node listens for peers; `None` without sockets.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.shared.transport.address()
    }

    /// What the node has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Waits until the node has stopped, and says why it did.
    pub fn stopped(&self) -> impl Future<Output = Stopped> + Send + use<R> {
        let mut stopped = self.shared.watched.stopped.subscribe();
        async move {
            match stopped.wait_for(Option::is_some).await {
                Ok(why) => why.clone().unwrap_or(Stopped::Shutdown),
                Err(_) => Stopped::Shutdown,
            }
        }
    }

    /// Why the node has stopped, if it has.
    #[must_use]
    pub fn why_stopped(&self) -> Option<Stopped> {
        self.shared.watched.stopped.borrow().clone()
    }

    /// Ends the node: hands over whatever it leads, waits at most `grace` until others lead, and stops. When it returns, every thread has
    /// ended and the data directory is free. Calls that still wait are told [`CallError::Stopped`].
    pub async fn shutdown(&self, grace: Duration) {
        self.hand_over(grace).await;
        self.shared.core.extend([CoreInput::Stop]);
        self.stopped().await;
        let core = lock(&self.shared.core_thread).take();
        let threads = Arc::clone(&self.shared.threads);
        let (done, ended) = oneshot::channel();
        let join = move || {
            // The core's first: it leaves the transport's behind.
            let _ = core.map(JoinHandle::join);
            loop {
                let thread = lock(&threads).pop();
                let Some(thread) = thread else { break };
                let _ = thread.join();
            }
            let _ = done.send(());
        };
        if thread::Builder::new().name("quorate-end".into()).spawn(join).is_ok() {
            let _ = ended.await;
        }
    }

    async fn hand_over(&self, grace: Duration) {
        let memberships = self.shared.watched.memberships.borrow().clone();
        let alone =
            |group: &GroupId| memberships.get(group).is_some_and(|(_, members)| members.voters().len() < 2);
        let led: Vec<GroupId> = self
            .shared
            .watched
            .roles
            .borrow()
            .iter()
            .filter(|(group, change)| change.role == Role::Leader && !alone(group))
            .map(|(group, _)| *group)
            .collect();
        let transfers = led
            .iter()
            .map(|group| CoreInput::Node(NodeInput::TransferLeadership { group: *group, to: None }));
        self.shared.core.extend(transfers);
        let mut roles = self.role_changes();
        let own = self.shared.node;
        let handed_over = roles.wait_for(|roles| {
            let led_by_another = |group| {
                roles
                    .get(group)
                    .is_none_or(|change: &RoleChange| change.leader.is_some_and(|leader| leader != own))
            };
            led.iter().all(led_by_another)
        });
        tokio::select! {
            result = timeout_at(Instant::now() + grace, handed_over) => {
                if result.is_err() {
                    tracing::warn!("leadership was not handed over within the grace time; an election follows");
                }
            }
            _ = self.stopped() => {}
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Draws a ticket and hands the request over.
    fn begin(
        &self,
        group: GroupId,
        hand_over: impl FnOnce(&Shared<R>, Ticket) -> Result<(), InboxRefusal>,
    ) -> Result<(Call<'_, R>, oneshot::Receiver<Told<R>>), CallError> {
        let shared = &*self.shared;
        let begun = shared.waiters.register().map_err(CallError::from).and_then(|(ticket, receiver)| {
            if let Err(refusal) = hand_over(shared, ticket) {
                shared.waiters.forget(ticket);
                return Err(CallError::from(refusal));
            }
            Ok((Call { shared, group, ticket }, receiver))
        });
        if matches!(begun, Err(CallError::TooManyRequests)) {
            shared.counters.refused_busy.add(1);
        }
        begun
    }

    async fn told(
        &self,
        begun: Result<(Call<'_, R>, oneshot::Receiver<Told<R>>), CallError>,
    ) -> Result<Told<R>, CallError> {
        let deadline = self.deadline();
        // Held until the end: dropping it before cancels.
        let (_call, receiver) = begun?;
        match timeout_at(deadline, receiver).await {
            Err(_) => Err(CallError::TimedOut),
            Ok(Err(_)) => Err(CallError::Stopped),
            Ok(Ok(told)) => Ok(told),
        }
    }

    async fn result(
        &self,
        begun: Result<(Call<'_, R>, oneshot::Receiver<Told<R>>), CallError>,
    ) -> Result<R, CallError> {
        self.told(begun).await?.map_err(CallError::Answer)
    }
}

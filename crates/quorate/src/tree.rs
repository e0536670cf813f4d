//! Between ZooKeeper's front end and this node: what clients want goes to the `tree` group, and what happens to the tree goes to the clients.
//!
//! ```text
//!   front end ── proposals, syncs ──► drive (one task, one wake-up for all that gathered) ──► Handle
//!             ◄── results ───────────┘
//!   state half ── TreeNews ──► front end          sessions heard of ──► Relay ──► the leader's front end
//! ```

use std::{
    collections::BTreeMap, future::Future, io, net::TcpListener, path::Path, pin::Pin, sync::Arc,
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use quorate_consensus::{GroupId, NodeId, Role, RoleChange, StateMachine, Status};
use quorate_node::{Answer, Outcome};
use quorate_server::{CallError, Handle};
use quorate_service::{
    Reply, TREE, TreeNews, TreeSink,
    znodes::{Response, SessionId, Znodes},
    zookeeper::Standing,
};
use quorate_tls::Tls;
use quorate_zookeeper::{Backend, Facts, Failure, Front, Mode, Options, Proposal, Ticket, Tuning, Whitelist};
use tokio::sync::{mpsc, watch};

use crate::{commands::Failed, config::Settings};

/// A front end of the tree as it is born, and the sink that keeps it up to date.
pub(crate) fn front() -> (Front, TreeSink) {
    let front = Front::new(Znodes::new().view());
    let told = front.clone();
    let sink = Box::new(move |news| match news {
        TreeNews::Applied(view, events) => told.applied(view, events),
        TreeNews::Replaced(view) => told.replaced(view),
        TreeNews::Touched(sessions) => told.touched(sessions),
        TreeNews::Role(RoleChange { role, leader, epoch }) => {
            // Who knows no leader has not heard of one for an election timeout, which is far shorter than any session's.
            told.standing(if leader.is_some() { Standing::Serving } else { Standing::Isolated });
            told.leads((role == Role::Leader).then_some(epoch));
        }
    });
    (front, sink)
}

/// What the front end asks of the node.
pub(crate) struct Node {
    requests: mpsc::UnboundedSender<Request>,
    handle: Handle<Reply>,
    roles: watch::Receiver<BTreeMap<GroupId, RoleChange>>,
    followers: watch::Receiver<Followers>,
    data_directory: String,
}

/// The members of the tree's group, and on its leader: which of them follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Followers {
    members: usize,
    voters: usize,
    /// Members that this leader has a word of, without itself.
    learners: usize,
    synced_voters: usize,
    synced_observers: usize,
}

impl Followers {
    /// One is up to date if it holds, durably, all that is committed.
    fn of(status: &Status, node: NodeId) -> Followers {
        let membership = &status.membership;
        let others = status.matched.iter().filter(|(id, _)| **id != node);
        let synced: Vec<NodeId> =
            others.clone().filter(|(_, matched)| **matched >= status.commit).map(|(id, _)| *id).collect();
        let voters = synced.iter().filter(|id| membership.is_voter(**id)).count();
        Followers {
            members: membership.members().count(),
            voters: membership.voters().len(),
            learners: others.count(),
            synced_voters: voters,
            synced_observers: synced.len() - voters,
        }
    }
}

enum Request {
    Propose(Vec<Proposal>),
    Sync(Vec<Ticket>),
}

impl Node {
    /// With it, what [`drive`] takes.
    pub(crate) fn new(handle: Handle<Reply>, directory: &Path) -> (Node, Requests) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let (told, followers) = watch::channel(Followers::default());
        tokio::spawn(follow(handle.clone(), told));
        let (roles, data_directory) = (handle.role_changes(), directory.display().to_string());
        (Node { requests, handle, roles, followers, data_directory }, Requests(receiver))
    }
}

/// Asks once a second how the group stands, until nobody wants to know.
async fn follow(handle: Handle<Reply>, told: watch::Sender<Followers>) {
    while !told.is_closed() && handle.why_stopped().is_none() {
        if let Ok(Some(status)) = handle.status(TREE).await {
            told.send_replace(Followers::of(&status.engine, handle.node()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How old what `mntr` says of followers may be.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the front end has asked for. Bounded by what it may have under way.
pub(crate) struct Requests(mpsc::UnboundedReceiver<Request>);

impl Backend for Node {
    fn propose(&self, proposals: &mut Vec<Proposal>) {
        // Without a receiver the node is ending, and so are its connections.
        let _ = self.requests.send(Request::Propose(std::mem::take(proposals)));
    }

    fn sync(&self, tickets: &[Ticket]) {
        let _ = self.requests.send(Request::Sync(tickets.to_vec()));
    }

    fn touch(&self, sessions: &[SessionId]) {
        for word in quorate_service::touch(sessions) {
            let _ = self.handle.input(word);
        }
    }

    fn facts(&self) -> Facts {
        let role = self.roles.borrow().get(&TREE).map(|change| change.role);
        let followers = *self.followers.borrow();
        let mode = match role {
            Some(Role::Leader) if followers.members == 1 => Mode::Standalone,
            Some(Role::Leader) => Mode::Leader,
            Some(Role::Learner) => Mode::Observer,
            _ => Mode::Follower,
        };
        // Only a leader knows; it may not have led yet when it was asked last.
        let leads = mode == Mode::Leader;
        let of_leader = |count: usize| if leads { count } else { 0 };
        Facts {
            mode,
            voters: followers.voters,
            learners: of_leader(followers.learners),
            synced_followers: of_leader(followers.synced_voters),
            synced_observers: of_leader(followers.synced_observers),
            data_directory: self.data_directory.clone(),
            ..Facts::default()
        }
    }
}

type Pending<'a> = Pin<Box<dyn Future<Output = Told> + Send + 'a>>;

enum Told {
    Proposed(Ticket, Result<Response, Failure>),
    Synced(Vec<Ticket>, Result<u64, Failure>),
}

/// Most answers that are handed over together.
const TOLD_MAX: usize = 1_024;

/// Carries requests to the node and answers back, until the front end is gone.
pub(crate) async fn drive(handle: Handle<Reply>, mut requests: Requests, front: Front) {
    let mut pending: FuturesUnordered<Pending<'_>> = FuturesUnordered::new();
    loop {
        let first = tokio::select! {
            biased;
            Some(told) = pending.next(), if !pending.is_empty() => Some(told),
            request = requests.0.recv() => match request {
                Some(request) => {
                    begin(&handle, request, &pending);
                    None
                }
                None => return,
            },
        };
        let Some(first) = first else { continue };
        let mut results = Vec::new();
        tell(first, &front, &mut results);
        while results.len() < TOLD_MAX
            && let Some(Some(told)) = futures_util::FutureExt::now_or_never(pending.next())
        {
            tell(told, &front, &mut results);
        }
        front.told_all(results);
    }
}

/// Each call is under way when it is made, so what was said first is proposed first.
fn begin<'a>(handle: &'a Handle<Reply>, request: Request, pending: &FuturesUnordered<Pending<'a>>) {
    match request {
        Request::Propose(proposals) => {
            for Proposal { ticket, command } in proposals {
                let call = handle.propose(TREE, None, move |to| to.raw(&command.encode()));
                pending.push(Box::pin(async move { Told::Proposed(ticket, result(call.await)) }));
            }
        }
        Request::Sync(tickets) => {
            let call = handle.read(TREE);
            pending.push(Box::pin(async move {
                Told::Synced(
                    tickets,
                    match call.await {
                        Ok(Reply::TreeView(view)) => Ok(view.zxid()),
                        // A read changes nothing, whatever became of it.
                        Ok(_) | Err(_) => Err(Failure::Refused),
                    },
                )
            }));
        }
    }
}

fn tell(told: Told, front: &Front, results: &mut Vec<(Ticket, Result<Response, Failure>)>) {
    match told {
        Told::Proposed(ticket, result) => results.push((ticket, result)),
        Told::Synced(tickets, result) => front.synced(tickets, result),
    }
}

fn result(told: Result<Reply, CallError>) -> Result<Response, Failure> {
    match told {
        Ok(Reply::Tree(Outcome::Done(response))) => Ok(response),
        // Without a session of ours there is none to expire, and what this build wrote it can read.
        Ok(_) => Err(Failure::Unknown),
        Err(
            CallError::Answer(Answer::Refused(_) | Answer::DiskFull | Answer::Busy)
            | CallError::TooManyRequests,
        ) => Err(Failure::Refused),
        Err(
            CallError::Answer(Answer::Unknown | Answer::Accepted(_) | Answer::Stopped)
            | CallError::TimedOut
            | CallError::Stopped,
        ) => Err(Failure::Unknown),
    }
}

/// Where the tree is served, as far as it is.
pub(crate) struct Listeners {
    pub(crate) clients: Option<TcpListener>,
    pub(crate) secure: Option<TcpListener>,
    pub(crate) admin: Option<TcpListener>,
}

impl Listeners {
    fn in_tokio(self) -> io::Result<quorate_zookeeper::Listeners> {
        let in_tokio = |listener: Option<TcpListener>| {
            let Some(listener) = listener else { return Ok(None) };
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener).map(Some)
        };
        Ok(quorate_zookeeper::Listeners {
            clients: in_tokio(self.clients)?,
            secure: in_tokio(self.secure)?,
            admin: in_tokio(self.admin)?,
        })
    }
}

/// Serves ZooKeeper's clients, if there is a listener, until it is told to stop. Without one this member still ends silent sessions while it leads the tree.
///
/// In a cluster that has no tree, clients are turned away like those of a member without a leader; so they are until an added one has its first leader.
pub(crate) fn serve(
    settings: &Settings,
    listeners: Listeners,
    front: Front,
    handle: &Handle<Reply>,
    mut stopping: watch::Receiver<bool>,
) -> Result<tokio::task::JoinHandle<()>, Failed> {
    let listeners = listeners.in_tokio().map_err(|error| Failed {
        code: 1,
        message: format!("the sockets for ZooKeeper's clients cannot be used: {error}"),
    })?;
    let tls = settings.zookeeper.tls.clone().map(Tls::load).transpose();
    let tls = tls.map_err(|error| Failed::usage(format!("zookeeper-tls: {error}")))?;
    let (node, requests) = Node::new(handle.clone(), &settings.data_dir);
    let options = Options {
        // What session ids begin with. They hold random bits as well, so two members with the same one do no harm.
        server_id: (handle.node().0 % 127 + 1) as u8,
        tick: settings.zookeeper.tick,
        settings: settings.zookeeper.settings.clone(),
        whitelist: Whitelist::parse(&settings.zookeeper.words),
        tls,
        tls_only: settings.zookeeper.tls_only,
        isolation_grace: isolation_grace(settings.zookeeper.tick, settings.election_timeout_max),
        read_only: settings.zookeeper.read_only,
        tuning: Tuning {
            connections_per_address_max: settings.zookeeper.connections_per_address,
            packet_bytes_max: settings.zookeeper.packet_bytes,
            ..Tuning::default()
        },
        ..Options::default()
    };
    tokio::spawn(drive(handle.clone(), requests, front.clone()));
    Ok(tokio::spawn(async move {
        let stop = async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        if let Err(error) = quorate_zookeeper::serve(listeners, front, Arc::new(node), options, stop).await {
            tracing::error!("ZooKeeper's clients are served no more: {error}");
        }
    }))
}

/// How long a member that has lost its leader serves on.
///
/// A leader ends a session two ticks after it heard of its client at the earliest. It may have heard last a quarter of a tick (the interval of touches) and
/// an election timeout before the loss was noticed here. Of what is left a quarter of a tick stays in reserve, for clocks and busy machines; and half a
/// tick is enough.
fn isolation_grace(tick: Duration, election_timeout_max: Duration) -> Duration {
    (tick * 3 / 2).saturating_sub(election_timeout_max).min(tick / 2)
}

#[cfg(test)]
mod tests {
    use quorate_consensus::{Index, Membership};

    use super::*;

    #[test]
    fn k8_grace_and_all_that_passed_before_end_before_the_shortest_session() {
        for tick in [100, 200, 500, 2_000, 60_000].map(Duration::from_millis) {
            for election in [10, 300, 3_000].map(Duration::from_millis) {
                let grace = isolation_grace(tick, election);
                assert!(grace.is_zero() || grace + tick / 4 + election < tick * 2, "{tick:?} {election:?}");
            }
        }
        assert_eq!(
            isolation_grace(Duration::from_secs(2), Duration::from_millis(300)),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn a_follower_that_lags_is_not_counted_as_up_to_date() {
        let status = Status {
            commit: Index(9),
            membership: Membership::new([1, 2, 3].map(NodeId), [NodeId(4)]),
            matched: [(1, 9), (2, 9), (3, 4), (4, 12)].map(|(id, at)| (NodeId(id), Index(at))).into(),
            ..Status::default()
        };
        let followers = Followers::of(&status, NodeId(1));
        let wanted = Followers { members: 4, voters: 3, learners: 3, synced_voters: 1, synced_observers: 1 };
        assert_eq!(followers, wanted);
    }
}

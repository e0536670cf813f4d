//! Between ZooKeeper's front end and this node: what clients want goes to the `tree` group, and what happens to the tree goes to the clients.
//!
//! ```text
//!   front end ── proposals, syncs ──► drive (one task, one wake-up for all that gathered) ──► Handle
//!             ◄── results ───────────┘
//!   state half ── TreeNews ──► front end          sessions heard of ──► Relay ──► the leader's front end
//! ```

use std::{collections::BTreeMap, future::Future, path::Path, pin::Pin};

use futures_util::stream::{FuturesUnordered, StreamExt};
use quorate_consensus::{GroupId, Index, Membership, Role, RoleChange, StateMachine};
use quorate_node::{Answer, Outcome};
use quorate_server::{CallError, Handle};
use quorate_service::{
    Reply, TREE, TreeNews, TreeSink,
    znodes::{Response, SessionId, Znodes},
    zookeeper::Standing,
};
use quorate_zookeeper::{Backend, Facts, Failure, Front, Mode, Proposal, Ticket};
use tokio::sync::{mpsc, watch};

/// A front end of the tree as it is born, and the sink that keeps it up to date.
pub(crate) fn front() -> (Front, TreeSink) {
    let front = Front::new(Znodes::new().view());
    let told = front.clone();
    let sink = Box::new(move |news| match news {
        TreeNews::Applied(view, events) => told.applied(view, events),
        TreeNews::Replaced(view) => told.replaced(view),
        TreeNews::Touched(sessions) => told.touched(sessions),
        TreeNews::Role(RoleChange { role, leader, .. }) => {
            // Who knows no leader has not heard of one for an election timeout, which is far shorter than any session's.
            told.standing(if leader.is_some() { Standing::Serving } else { Standing::Isolated });
            told.leads(role == Role::Leader);
        }
    });
    (front, sink)
}

/// What the front end asks of the node.
pub(crate) struct Node {
    requests: mpsc::UnboundedSender<Request>,
    handle: Handle<Reply>,
    roles: watch::Receiver<BTreeMap<GroupId, RoleChange>>,
    memberships: watch::Receiver<BTreeMap<GroupId, (Index, Membership)>>,
    data_directory: String,
}

enum Request {
    Propose(Vec<Proposal>),
    Sync(Vec<Ticket>),
}

impl Node {
    /// With it, what [`drive`] takes.
    pub(crate) fn new(handle: Handle<Reply>, directory: &Path) -> (Node, Requests) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let (roles, memberships) = (handle.role_changes(), handle.memberships());
        let data_directory = directory.display().to_string();
        (Node { requests, handle, roles, memberships, data_directory }, Requests(receiver))
    }
}

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
        let role = self.roles.borrow().get(&TREE).copied();
        let membership = self.memberships.borrow().get(&TREE).map(|(_, membership)| membership.clone());
        let voters = membership.as_ref().map_or(0, |membership| membership.voters().len());
        let members = membership.as_ref().map_or(0, |membership| membership.members().count());
        let mode = match role.map(|change| change.role) {
            Some(Role::Leader) if members == 1 => Mode::Standalone,
            Some(Role::Leader) => Mode::Leader,
            Some(Role::Learner) => Mode::Observer,
            _ => Mode::Follower,
        };
        Facts {
            mode,
            voters,
            learners: if mode == Mode::Leader { members - 1 } else { 0 },
            synced_followers: if mode == Mode::Leader { voters.saturating_sub(1) } else { 0 },
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

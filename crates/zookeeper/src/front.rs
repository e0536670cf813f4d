//! What the node tells the front end, from any thread.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;
use quorate_consensus::Epoch;
use quorate_service::{
    znodes::{Event, Response, SessionId, View},
    zookeeper::{ConnectionId, Standing},
};
use tokio::sync::Notify;

use crate::{Failure, Ticket, admin::Asked, serve::Accepted};

/// The front end, to the node that it stands before. Clones are the same.
///
/// What is told here waits in one inbox until the task of [`serve`](crate::serve) takes all of it at once. Nothing blocks and nothing is refused: what
/// waits is bounded by what was asked for (answers), by what connections may send ahead (bytes), and by the task, which never waits for a client.
#[derive(Clone, Debug)]
pub struct Front(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    inbox: Mutex<Inbox>,
    arrived: Notify,
}

#[derive(Debug)]
struct Inbox {
    waiting: Vec<Told>,
    /// Nobody has a connection yet: what is applied only moves this on.
    resting: Option<Resting>,
}

#[derive(Debug)]
pub(crate) struct Resting {
    pub(crate) view: View,
    pub(crate) standing: Standing,
    pub(crate) leads: Option<Epoch>,
}

/// Something that the task is told.
#[derive(Debug)]
pub(crate) enum Told {
    Applied(View, Vec<Event>),
    Replaced(View),
    Answered(Ticket, Result<Response, Failure>),
    Synced(Vec<Ticket>, Result<u64, Failure>),
    Standing(Standing),
    Leads(Option<Epoch>),
    Touched(Vec<SessionId>),
    Accepted(Accepted),
    Asked(Asked),
    Received(ConnectionId, BytesMut),
    HungUp(ConnectionId),
    Writable(ConnectionId),
}

impl Front {
    /// A front end of a node whose tree is `view`, and that has no leader yet: [`Standing::Isolated`] until it is told otherwise.
    #[must_use]
    pub fn new(view: View) -> Front {
        let resting = Resting { view, standing: Standing::Isolated, leads: None };
        let inbox = Mutex::new(Inbox { waiting: Vec::new(), resting: Some(resting) });
        Front(Arc::new(Inner { inbox, arrived: Notify::new() }))
    }

    /// Entries were applied: the tree is now `view`, and `events` is all that happened since the view before, in order. To be told before the answers
    /// to those entries, or after; an answer waits for its view.
    pub fn applied(&self, view: View, events: Vec<Event>) {
        let mut inbox = self.lock();
        if let Some(resting) = &mut inbox.resting {
            resting.view = view;
            return;
        }
        // As one: connections are woken once.
        if let Some(Told::Applied(newest, before)) = inbox.waiting.last_mut() {
            *newest = view;
            before.extend(events);
            return;
        }
        self.push(inbox, Told::Applied(view, events));
    }

    /// The tree was replaced by a snapshot: what happened in between nobody knows. All connections are closed, and their clients come back.
    pub fn replaced(&self, view: View) {
        let mut inbox = self.lock();
        match &mut inbox.resting {
            Some(resting) => resting.view = view,
            None => self.push(inbox, Told::Replaced(view)),
        }
    }

    /// What a proposal came to. On a failure its connection is closed.
    pub fn told(&self, ticket: Ticket, result: Result<Response, Failure>) {
        self.push(self.lock(), Told::Answered(ticket, result));
    }

    /// What several came to, under one lock and with one wake-up.
    pub fn told_all(&self, results: impl IntoIterator<Item = (Ticket, Result<Response, Failure>)>) {
        let mut inbox = self.lock();
        if inbox.resting.is_some() {
            return;
        }
        inbox.waiting.extend(results.into_iter().map(|(ticket, result)| Told::Answered(ticket, result)));
        drop(inbox);
        self.0.arrived.notify_one();
    }

    /// A quorum says that everything committed before these syncs is in the tree as of this zxid.
    pub fn synced(&self, tickets: Vec<Ticket>, result: Result<u64, Failure>) {
        self.push(self.lock(), Told::Synced(tickets, result));
    }

    /// What this server can do changed. Isolated, it answers no ping: to be told before the leader can have expired a session that is served here.
    pub fn standing(&self, standing: Standing) {
        let mut inbox = self.lock();
        match &mut inbox.resting {
            Some(resting) => resting.standing = standing,
            None => self.push(inbox, Told::Standing(standing)),
        }
    }

    /// This node begins to lead the tree's group and has applied what its predecessors committed, or leads it no more. While it leads, the stewards of
    /// sessions, containers and times to live run here; every session has its full timeout from the moment that they begin.
    pub fn leads(&self, leads: Option<Epoch>) {
        let mut inbox = self.lock();
        match &mut inbox.resting {
            Some(resting) => resting.leads = leads,
            None => self.push(inbox, Told::Leads(leads)),
        }
    }

    /// Other servers have heard of these sessions' clients. Means something only on the node that leads.
    pub fn touched(&self, sessions: Vec<SessionId>) {
        self.push(self.lock(), Told::Touched(sessions));
    }

    pub(crate) fn tell(&self, told: Told) {
        self.push(self.lock(), told);
    }

    /// The state from which serving begins; from now on everything waits to be taken. None if it has begun before.
    pub(crate) fn begin(&self) -> Option<Resting> {
        self.lock().resting.take()
    }

    /// Serving has ended: nothing waits any more.
    pub(crate) fn end(&self, resting: Resting) {
        let mut inbox = self.lock();
        inbox.waiting = Vec::new();
        inbox.resting = Some(resting);
    }

    /// Takes all that waits; `taken` is empty, and its room is used again.
    pub(crate) fn take(&self, taken: &mut Vec<Told>) {
        mem::swap(&mut self.lock().waiting, taken);
    }

    /// Until something may have come.
    pub(crate) async fn arrived(&self) {
        self.0.arrived.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut inbox: MutexGuard<'_, Inbox>, told: Told) {
        // Nobody serves: whoever this is about is gone.
        if inbox.resting.is_some() {
            return;
        }
        inbox.waiting.push(told);
        let first = inbox.waiting.len() == 1;
        drop(inbox);
        // The others ride along.
        if first {
            self.0.arrived.notify_one();
        }
    }
}

//! The watches of this server: the hub, who is to be woken, and the task that tells the hub what happens.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use quorate_consensus::Instant;
use quorate_service::{
    KEYS, Reply,
    keyspace::Caller,
    watch::{Hub, Settings, StreamId},
};
use quorate_wire::EtcdError;
use tokio::sync::Notify;

use crate::{
    Backend, Feed,
    front::Serving,
    gate::{self, Shown},
};

/// How often is looked whether somebody is to be told of progress, and whether there is a leader.
const TICK: Duration = Duration::from_millis(500);

/// The watches of one server.
#[derive(Debug)]
pub(crate) struct Watching {
    feed: Feed,
    desk: Mutex<Desk>,
    /// A watch has to be told from history.
    behind: Notify,
    began: tokio::time::Instant,
}

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) hub: Hub,
    wakers: HashMap<StreamId, Waker>,
    /// Streams whose clients want to hear of it when there is no leader; and why a stream ends, if it does.
    streams: HashMap<StreamId, Ends>,
}

#[derive(Clone, Debug)]
struct Ends {
    needs_leader: bool,
    /// What the client shows. None: it is this server itself.
    shown: Option<Shown>,
    /// The name that it had when it was allowed to watch.
    name: Option<String>,
    with: Option<EtcdError>,
}

impl Watching {
    pub(crate) fn new(feed: Feed, settings: Settings) -> Watching {
        let hub = Hub::new(settings, 0);
        let desk = Desk { hub, wakers: HashMap::new(), streams: HashMap::new() };
        Watching { feed, desk: Mutex::new(desk), behind: Notify::new(), began: tokio::time::Instant::now() }
    }

    /// Nothing under this lock waits, and nothing takes long: a step of the hub is bounded.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        Instant::START + self.began.elapsed()
    }

    pub(crate) fn open(&self, needs_leader: bool, shown: Option<Shown>) -> StreamId {
        let mut desk = self.desk();
        let id = desk.hub.open();
        desk.streams.insert(id, Ends { needs_leader, shown, name: None, with: None });
        id
    }

    pub(crate) fn close(&self, id: StreamId) {
        let mut desk = self.desk();
        desk.hub.close(id);
        desk.wakers.remove(&id);
        desk.streams.remove(&id);
    }

    /// Does something for a stream; whoever has something to read then is woken.
    pub(crate) fn with<T>(&self, id: StreamId, act: impl FnOnce(&mut Turn<'_>) -> T) -> T {
        let mut desk = self.desk();
        let now = self.now();
        let done = act(&mut Turn { id, desk: &mut desk, feed: &self.feed, now });
        let behind = desk.hub.is_behind();
        desk.wake();
        drop(desk);
        if behind {
            self.behind.notify_one();
        }
        done
    }

    /// Streams and watches by now.
    pub(crate) fn counted(&self) -> (usize, usize) {
        let desk = self.desk();
        (desk.hub.streams(), desk.hub.watches())
    }

    /// Ends all streams: the server stops.
    pub(crate) fn end_all(&self) {
        self.desk().end(EtcdError::Stopped, |_| true);
    }
}

/// A stream's turn.
pub(crate) struct Turn<'a> {
    id: StreamId,
    desk: &'a mut Desk,
    feed: &'a Feed,
    now: Instant,
}

impl Turn<'_> {
    pub(crate) fn request(&mut self, request: quorate_wire::etcdserverpb::WatchRequest) {
        // What the store has by now is no news to whoever begins now.
        let store = self.feed.watch();
        if self.desk.hub.watches() == 0 {
            self.desk.hub.skipped(store);
        }
        self.desk.hub.request(self.id, request, store, self.now);
    }

    /// The same, and the name by which its client may, if there is auth.
    pub(crate) fn request_of(
        &mut self,
        request: quorate_wire::etcdserverpb::WatchRequest,
        name: Option<String>,
    ) {
        if let Some(ends) = self.desk.streams.get_mut(&self.id)
            && name.is_some()
        {
            ends.name = name;
        }
        self.request(request);
    }

    /// There is no such watch, and why.
    pub(crate) fn refuse(&mut self, reason: String) {
        let store = self.feed.watch();
        self.desk.hub.refuse(self.id, reason, store);
    }

    pub(crate) fn next(&mut self) -> Option<quorate_service::watch::Response> {
        self.desk.hub.next(self.id)
    }

    /// Why the stream ends, if it does.
    pub(crate) fn ends(&self) -> Option<EtcdError> {
        self.desk.streams.get(&self.id).and_then(|ends| ends.with)
    }

    /// There is nothing to read: the stream is to be woken when there is.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        self.desk.wakers.insert(self.id, waker.clone());
    }
}

impl Desk {
    fn wake(&mut self) {
        for id in self.hub.take_woken() {
            if let Some(waker) = self.wakers.remove(&id) {
                waker.wake();
            }
        }
    }

    /// Users have changed: ends the watches of those who may not have them any more.
    fn withdraw<B: Backend>(&mut self, serving: &Serving<B>) {
        let Desk { hub, streams, .. } = self;
        let auth = serving.known().auth();
        for (id, ends) in streams.iter_mut() {
            let Some(shown) = &ends.shown else { continue };
            // By the name that it had: the token may be too old by now, and the watch goes on all the same.
            let caller = match &ends.name {
                Some(name) => Caller::User { name: name.clone(), auth_revision: None },
                None => serving.caller_now(shown),
            };
            hub.withdraw(*id, |key: &[u8], range_end: &[u8]| gate::refusal(&auth, &caller, key, range_end));
            if let (None, Caller::User { name, .. }) = (&ends.name, caller) {
                ends.name = Some(name);
            }
        }
    }

    fn end(&mut self, with: EtcdError, whom: impl Fn(&Ends) -> bool) {
        for (id, ends) in &mut self.streams {
            if whom(ends) {
                ends.with = Some(with);
                if let Some(waker) = self.wakers.remove(id) {
                    waker.wake();
                }
            }
        }
    }
}

/// Tells the hub what happens, until the node stops.
pub(crate) async fn follow<B: Backend>(serving: Serving<B>) {
    let watching = serving.watching();
    let mut leaderless: Option<tokio::time::Instant> = None;
    let mut auth_revision = serving.known().auth().revision();
    loop {
        if !watching.desk().hub.is_behind() {
            tokio::select! {
                () = watching.feed.changed() => {}
                () = watching.behind.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        if serving.leader_known() {
            leaderless = None;
        } else if leaderless.get_or_insert_with(tokio::time::Instant::now).elapsed()
            >= serving.no_leader_after()
        {
            watching.desk().end(EtcdError::NoLeader, |ends| ends.needs_leader);
        }
        let is_behind = {
            let mut desk = watching.desk();
            let watched = desk.hub.watches() > 0;
            let changes = watching.feed.take(watched);
            for change in &changes.waiting {
                desk.hub.changed(change.before, change.revision, &change.events);
            }
            desk.hub.skipped(changes.newest);
            let auth = serving.known().auth();
            if std::mem::replace(&mut auth_revision, auth.revision()) != auth.revision() && auth.is_enabled()
            {
                desk.withdraw(&serving);
            }
            desk.hub.tick(watching.now());
            desk.wake();
            desk.hub.is_behind()
        };
        if is_behind {
            match serving.backend().read_local(KEYS).await {
                Ok(Reply::KeysView(view)) => {
                    let mut desk = watching.desk();
                    desk.hub.catch_up(&view);
                    desk.wake();
                }
                Err(quorate_server::CallError::Stopped) => return,
                // Too busy: history does not run away.
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            // A step is short, and others want to run as well.
            tokio::task::yield_now().await;
        }
    }
}

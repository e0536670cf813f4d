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
    watch::{Hub, Settings, StreamId},
};
use quorate_wire::EtcdError;
use tokio::sync::Notify;

use crate::{Backend, Feed, front::Serving};

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

#[derive(Clone, Copy, Debug)]
struct Ends {
    needs_leader: bool,
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

    pub(crate) fn open(&self, needs_leader: bool) -> StreamId {
        let mut desk = self.desk();
        let id = desk.hub.open();
        desk.streams.insert(id, Ends { needs_leader, with: None });
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

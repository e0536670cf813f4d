//! What the state thread tells this front end of the keys, as they change.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use quorate_consensus::{NodeId, Role, RoleChange};
use quorate_service::{
    KeysNews, KeysSink,
    keyspace::{Event, EventKind, News},
    placement::shards::ShardMap,
};
use tokio::sync::Notify;

use crate::{counts::Count, known::Known};

/// Changes that wait for the watches to be told of them, at most. What comes above that they read from history.
const WAITING_MAX: usize = 1 << 16;

/// What happens to the keys of a node, for its front end: hand [`Feed::sink`] to the node's state, and the feed to the [`Front`](crate::Front).
/// Clones are the same feed.
#[derive(Clone, Debug, Default)]
pub struct Feed(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    changes: Mutex<Changes>,
    changed: Notify,
    leases: Mutex<Leases>,
    applied: Applied,
    told_of_leases: Notify,
    known: Known,
    /// How the keys are divided, once they are.
    shards: RwLock<Option<Arc<ShardMap>>>,
    room: Room,
}

/// What costs less than so many bytes is not past the quota, as far as this node has heard.
#[derive(Debug)]
struct Room(AtomicU64);

impl Default for Room {
    fn default() -> Room {
        Room(AtomicU64::new(u64::MAX))
    }
}

/// What has happened to the keys since this node began to apply: what its log brings again when it starts counts again.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) puts: Count,
    pub(crate) put_bytes: Count,
    pub(crate) deletes: Count,
    pub(crate) granted: Count,
    pub(crate) ended: Count,
}

impl Applied {
    fn count(&self, news: &[News]) {
        let [mut puts, mut put_bytes, mut deletes, mut granted, mut ended] = [0; 5];
        for news in news {
            match news {
                News::Changed(Event { kind: EventKind::Put, kv, .. }) => {
                    puts += 1;
                    put_bytes += (kv.key.len() + kv.value.len()) as u64;
                }
                News::Changed(Event { kind: EventKind::Delete, .. }) => deletes += 1,
                News::Granted(_) => granted += 1,
                News::Ended { .. } => ended += 1,
                News::Checkpointed(_) | News::AuthChanged { .. } | News::Authenticated { .. } => {}
            }
        }
        self.puts.add(puts);
        self.put_bytes.add(put_bytes);
        self.deletes.add(deletes);
        self.granted.add(granted);
        self.ended.add(ended);
    }
}

#[derive(Debug, Default)]
struct Leases {
    /// This node leads the keys, and counts the time of leases.
    leads: bool,
    waiting: Vec<OfLeases>,
}

/// What those are told who deal with leases.
#[derive(Debug)]
pub(crate) enum OfLeases {
    /// A lease was granted, or another thing happened to one.
    News(News),
    /// More happened than could be kept.
    Lost,
    /// Another leads.
    Role(RoleChange),
    /// A member has a word.
    Word(NodeId, Bytes),
}

#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The revision of the store by now.
    pub(crate) newest: u64,
    /// Somebody watches. Without watches, changes need not be kept.
    watched: bool,
    events: usize,
    pub(crate) waiting: Vec<Change>,
}

/// What one batch of entries did.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) before: u64,
    pub(crate) revision: u64,
    pub(crate) events: Vec<Event>,
}

impl Feed {
    /// For [`State::with_keys_sink`](quorate_service::State::with_keys_sink).
    #[must_use]
    pub fn sink(&self) -> KeysSink {
        let feed = self.clone();
        Box::new(move |news| feed.hear(news))
    }

    fn hear(&self, news: KeysNews) {
        match news {
            KeysNews::Applied { before, revision, news } => {
                self.0.applied.count(&news);
                let news = self.hear_of_others(news);
                let mut changes = self.changes();
                changes.newest = revision;
                if !changes.watched {
                    return;
                }
                // Whoever is told of the next change sees by its revision that there was one before.
                if changes.events < WAITING_MAX {
                    changes.events += news.len();
                    changes.waiting.push(Change { before, revision, events: news });
                }
            }
            KeysNews::Replaced { revision, auth } => {
                self.0.known.replaced(auth);
                self.tell_of_leases(OfLeases::Lost);
                self.changes().newest = revision;
            }
            KeysNews::Divided(map) => {
                *self.0.shards.write().unwrap_or_else(PoisonError::into_inner) = Some(map);
            }
            // Nothing else follows from it: who reads an older one proposes what the alarm will stop.
            KeysNews::Room(bytes) => return self.0.room.0.store(bytes, Ordering::Relaxed),
            KeysNews::Role(change) => {
                self.leases().leads = change.role == Role::Leader;
                return self.tell_of_leases(OfLeases::Role(change));
            }
            KeysNews::Word { from, bytes } => return self.tell_of_leases(OfLeases::Word(from, bytes)),
        }
        self.0.changed.notify_one();
    }

    /// Keeps what is for the steward of leases, and what is to be known of users; what is for watches.
    fn hear_of_others(&self, news: Vec<News>) -> Vec<Event> {
        let mut of_leases = Vec::new();
        let changed = |news| match news {
            News::Changed(event) => Some(event),
            News::Granted(_) | News::Checkpointed(_) | News::Ended { .. } => {
                of_leases.push(news);
                None
            }
            News::AuthChanged { auth, forgotten } => {
                self.0.known.changed(auth, forgotten.as_deref());
                None
            }
            News::Authenticated { user, token, index } => {
                self.0.known.authenticated(user, token, index);
                None
            }
        };
        let events = news.into_iter().filter_map(changed).collect();
        if !of_leases.is_empty() && self.leases().leads {
            of_leases.into_iter().for_each(|news| self.tell_of_leases(OfLeases::News(news)));
        }
        events
    }

    fn tell_of_leases(&self, told: OfLeases) {
        let mut leases = self.leases();
        match (&told, leases.waiting.len()) {
            // It would be asked or told again.
            (OfLeases::Word(..), WAITING_MAX..) => return,
            (OfLeases::News(_), WAITING_MAX..) => match leases.waiting.last() {
                Some(OfLeases::Lost) => return,
                _ => leases.waiting.push(OfLeases::Lost),
            },
            _ => leases.waiting.push(told),
        }
        drop(leases);
        self.0.told_of_leases.notify_one();
    }

    /// How the keys are divided into shards, once they are.
    pub(crate) fn shard_map(&self) -> Option<Arc<ShardMap>> {
        self.0.shards.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does this cost so little that it is not past the quota? Always, while the keys are not divided: their own machine judges it.
    pub(crate) fn has_room_for(&self, cost_bytes: u64) -> bool {
        cost_bytes == 0 || cost_bytes < self.0.room.0.load(Ordering::Relaxed)
    }

    /// Are the keys divided into shards, as far as this node has heard?
    #[must_use]
    pub fn is_divided(&self) -> bool {
        self.shard_map().is_some()
    }

    pub(crate) fn known(&self) -> &Known {
        &self.0.known
    }

    pub(crate) fn applied(&self) -> &Applied {
        &self.0.applied
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take_of_leases(&self) -> Vec<OfLeases> {
        mem::take(&mut self.leases().waiting)
    }

    pub(crate) async fn told_of_leases(&self) {
        self.0.told_of_leases.notified().await;
    }

    /// The store's revision, as far as this node has told it to anybody.
    pub(crate) fn revision(&self) -> u64 {
        self.changes().newest
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on changes are kept; the revision of the store by now.
    pub(crate) fn watch(&self) -> u64 {
        let mut changes = self.changes();
        changes.watched = true;
        changes.newest
    }

    /// What has waited. `watched`: is there still anybody to be told?
    pub(crate) fn take(&self, watched: bool) -> Changes {
        let mut changes = self.changes();
        let newest = changes.newest;
        mem::replace(&mut changes, Changes { newest, watched, events: 0, waiting: Vec::new() })
    }

    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

//! What the state thread tells this front end of the keys, as they change.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quorate_service::{KeysNews, KeysSink, keyspace::Event};
use tokio::sync::Notify;

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
            KeysNews::Replaced { revision } => self.changes().newest = revision,
            KeysNews::Role(_) | KeysNews::Word { .. } => return,
        }
        self.0.changed.notify_one();
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

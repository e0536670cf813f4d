//! What the front end of the keys hears of them: changes for watches, and whatever the stewards of leases live on.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{NodeId, RoleChange, StateMachine as _};
use quorate_keyspace::{Auth, Keyspace, News};
use quorate_placement::shards::ShardMap;

use super::State;

/// What happens to the keys on this node, in the order in which it happens.
#[derive(Debug)]
pub enum KeysNews {
    /// Entries were applied.
    Applied {
        /// The store's revision before them.
        before: u64,
        /// And after.
        revision: u64,
        /// All that happened in between, in order.
        news: Vec<News>,
    },
    /// A snapshot took the state's place: nobody knows what happened in between.
    Replaced {
        /// The store's revision now.
        revision: u64,
        /// Its users and roles now.
        auth: Arc<Auth>,
    },
    /// The keys are divided into shards, as this says from here on; what concerns one alone is best proposed to its group.
    Divided(Arc<ShardMap>),
    /// The keys are divided, and all shards together leave room for what costs less than so many bytes ([`Shard::room_bytes`]). No shard knows it: who proposes to one asks first.
    ///
    /// [`Shard::room_bytes`]: crate::keyspace::Shard::room_bytes
    Room(u64),
    /// This node's role in the group changed, or its leader did.
    Role(RoleChange),
    /// A member's front end has a word for this one's; see `NodeInput::Relay`. Outside input.
    Word {
        /// Whose.
        from: NodeId,
        /// As it came.
        bytes: Bytes,
    },
}

/// Hears of what happens to the keys. Called in the state thread; must not wait.
pub type KeysSink = Box<dyn FnMut(KeysNews) + Send>;

/// Who is told, and how far.
#[derive(Default)]
pub(super) struct Listener {
    sink: Option<KeysSink>,
    told: u64,
    /// What was last said of the room, if anything was.
    room_bytes: Option<u64>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("told", &self.told).finish_non_exhaustive()
    }
}

impl Listener {
    pub(super) fn tell(&mut self, news: KeysNews) {
        if let Some(sink) = &mut self.sink {
            sink(news);
        }
    }

    /// All shards together leave so much room.
    pub(super) fn room(&mut self, bytes: u64) {
        if self.room_bytes.replace(bytes) != Some(bytes) {
            self.tell(KeysNews::Room(bytes));
        }
    }

    /// The one keyspace was given entries, of which this came; or jumped.
    pub(super) fn applied(&mut self, keys: &Keyspace, events: &mut Vec<(u64, Vec<News>)>, jumped: bool) {
        let revision = keys.number();
        if jumped {
            events.clear();
            self.told = revision;
            self.tell(KeysNews::Replaced { revision, auth: Arc::clone(keys.view().auth()) });
        } else {
            self.changed(revision, events);
        }
    }

    /// All of this changed, up to this revision.
    pub(super) fn changed(&mut self, revision: u64, events: &mut Vec<(u64, Vec<News>)>) {
        let news: Vec<News> = events.drain(..).flat_map(|(_, events)| events).collect();
        let before = std::mem::replace(&mut self.told, revision);
        if !news.is_empty() {
            self.tell(KeysNews::Applied { before, revision, news });
        }
    }
}

impl State {
    /// What happens to the keys is told to `sink`, which is told first how they stand.
    #[must_use]
    pub fn with_keys_sink(mut self, sink: KeysSink) -> State {
        let revision = self.keys.machine().number();
        self.keys_listener = Listener { sink: Some(sink), told: revision, room_bytes: None };
        let auth = Arc::clone(self.keys.machine().view().auth());
        self.keys_listener.tell(KeysNews::Replaced { revision, auth });
        self
    }
}

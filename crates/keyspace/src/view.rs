//! A stable picture of the keyspace, for readers.
//!
//! One idea a file: here what can be asked; `shards` how several stores answer; `log` their changes in one order; `whole` one store out of them.

mod log;
mod shards;
mod whole;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::{Ask, Auth, AuthError, Caller};
use crate::digest::hash_words;
use crate::range::{At, check_revision};
use crate::record::{Dated, Rev};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree::Iter;
use crate::{
    AlarmMember, Command, Event, KeyValue, KeyspaceError, Lease, LeaseId, Range, RangeReply, Txn, TxnReply,
};
use log::Log;
pub use shards::Owners;
use shards::Shards;

/// The keyspace as it stood when the view was taken. Cheap to copy, safe to keep, readable from any thread; the writer never waits for
/// it. An old view keeps what has been overwritten since in memory.
///
/// It shows one store, or several that are the shards of one keyspace ([`View::of_shards`]); who reads it need not know which.
#[derive(Clone, Debug)]
pub struct View(Kind);

/// What a view shows.
#[derive(Clone, Debug)]
enum Kind {
    One(Arc<Store>),
    Many(Arc<Shards>),
}

/// The hash of the keyspace up to a revision; see [`View::hash_kv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// The hash.
    pub hash: u32,
    /// Hashes may be compared if this is equal.
    pub compact_revision: u64,
    /// The revision up to which was hashed.
    pub hash_revision: u64,
}

impl View {
    pub(crate) fn new(store: Store) -> View {
        View(Kind::One(Arc::new(store)))
    }

    /// Several shards as one keyspace, as it stood at `revision`. Each key is in one part, the one that `owners` names; what is global (leases, alarms, the quota, users and roles,
    /// the compacted revision) is the same in all.
    ///
    /// A part may have been told of revisions up to a lower one only, but all that it has up to `revision` must be in it. The changes of one revision that lie in several
    /// parts are numbered part by part, in the order of `parts`.
    ///
    /// # Panics
    /// If there is no part, if one is itself of several shards, or if one is ahead of `revision`. Its methods panic if `owners` names a part that is not there.
    #[must_use]
    pub fn of_shards(revision: u64, parts: Vec<View>, owners: Arc<dyn Owners>) -> View {
        let stores = parts.into_iter().map(|part| match part.0 {
            Kind::One(store) => store,
            Kind::Many(_) => panic!("a part of a view of shards is one store"),
        });
        View(Kind::Many(Arc::new(Shards::new(revision, stores.collect(), owners))))
    }

    /// A store that knows everything that is global.
    fn global(&self) -> &Store {
        match &self.0 {
            Kind::One(store) => store,
            Kind::Many(shards) => shards.first(),
        }
    }

    /// The store that has this key, if there is one.
    fn of_key(&self, key: &[u8]) -> &Store {
        match &self.0 {
            Kind::One(store) => store,
            Kind::Many(shards) => shards.of_key(key),
        }
    }

    /// Can changes from this revision on be read?
    fn check_changes(&self, from_revision: u64) -> Result<(), KeyspaceError> {
        let compacted = self.compacted();
        if from_revision < compacted { Err(KeyspaceError::Compacted { compacted }) } else { Ok(()) }
    }

    /// The last revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        match &self.0 {
            Kind::One(store) => store.revision,
            Kind::Many(shards) => shards.revision,
        }
    }

    /// The oldest revision that can be read; zero if there was no compaction.
    #[must_use]
    pub fn compacted(&self) -> u64 {
        match &self.0 {
            Kind::One(store) => store.compacted,
            Kind::Many(shards) => shards.compacted,
        }
    }

    /// Answers a range. It should have passed [`check_range`](crate::check_range); an empty key is read as the key that it is, and
    /// found missing.
    ///
    /// # Errors
    /// [`Compacted`](KeyspaceError::Compacted), [`FutureRevision`](KeyspaceError::FutureRevision).
    pub fn range(&self, range: &Range) -> Result<RangeReply, KeyspaceError> {
        match &self.0 {
            Kind::One(store) => store.range(range, store.revision),
            Kind::Many(shards) => shards.range(range),
        }
    }

    /// Answers a transaction that only reads ([`Txn::is_read_only`]).
    ///
    /// # Errors
    /// Those of [`View::range`], and [`NotReadOnly`](KeyspaceError::NotReadOnly).
    pub fn read_only_txn(&self, txn: &Txn) -> Result<TxnReply, KeyspaceError> {
        match &self.0 {
            Kind::One(store) => store.read_only_txn(txn),
            Kind::Many(shards) => shards.read_only_txn(txn),
        }
    }

    /// The key-value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.of_key(key).live(key).map(|record| record.key_value())
    }

    /// The key-value of `key` as it was after `revision`.
    ///
    /// # Errors
    /// [`Compacted`](KeyspaceError::Compacted), [`FutureRevision`](KeyspaceError::FutureRevision).
    pub fn get_at(&self, key: &[u8], revision: u64) -> Result<Option<KeyValue>, KeyspaceError> {
        let store = self.of_key(key);
        store.check_revision(i64::try_from(revision.max(1)).unwrap_or(i64::MAX), self.revision())?;
        Ok(store
            .keys
            .get(key)
            .and_then(|versions| versions.live_at(revision))
            .map(|record| record.key_value()))
    }

    /// The changes from `from_revision` on, in order of (revision, sub), without `prev`: what a watch that starts in the past is told.
    /// Finding the first takes O(log n). A revision that has not happened yet has no changes.
    ///
    /// # Errors
    /// [`Compacted`](KeyspaceError::Compacted) if changes before the compacted revision are asked for; those *at* it are there.
    pub fn changes(&self, from_revision: u64) -> Result<Changes<'_>, KeyspaceError> {
        self.check_changes(from_revision)?;
        Ok(Changes(match &self.0 {
            Kind::One(store) => {
                Source::One(store.log.iter_from(Bound::Included(&Rev::first_of(from_revision))))
            }
            Kind::Many(shards) => Source::Many(shards.log_from(from_revision)),
        }))
    }

    /// The changes of one key from `from_revision` on, as [`View::changes`] shows those of all.
    ///
    /// # Errors
    /// [`Compacted`](KeyspaceError::Compacted), as there.
    pub fn key_changes(
        &self,
        key: &[u8],
        from_revision: u64,
    ) -> Result<impl Iterator<Item = Event> + use<'_>, KeyspaceError> {
        self.check_changes(from_revision)?;
        let records = self.of_key(key).keys.get(key).into_iter().flat_map(move |versions| {
            let older = versions.older.iter_from(Bound::Included(&Rev::first_of(from_revision)));
            let newest = Some(&versions.newest).filter(|newest| newest.rev.main >= from_revision);
            older.map(|dated| &dated.record).chain(newest)
        });
        Ok(records.map(|record| match &self.0 {
            Kind::One(_) => record.event(None),
            Kind::Many(shards) => shards.number(record.event(None)),
        }))
    }

    /// What `prev` of an event shows: the key-value at the revision before the event's. None for the put that creates a key, and
    /// none if that revision has been compacted.
    #[must_use]
    pub fn previous(&self, event: &Event) -> Option<KeyValue> {
        let kv = &event.kv;
        let before = kv.mod_revision.checked_sub(1)?;
        if kv.create_revision == kv.mod_revision || before < self.compacted() {
            return None;
        }
        self.of_key(&kv.key).keys.get(&kv.key[..])?.live_at(before).map(|record| record.key_value())
    }

    /// The alarms that are raised, in order.
    pub fn alarms(&self) -> impl Iterator<Item = AlarmMember> + '_ {
        self.global().alarms.iter().copied()
    }

    /// The quota, if there is one, in bytes.
    #[must_use]
    pub fn quota_bytes(&self) -> Option<u64> {
        self.global().quota_bytes
    }

    /// The size of all versions that are stored, in bytes: [`RECORD_BYTES`](crate::RECORD_BYTES) and the key and the value of each;
    /// and [`LEASE_BYTES`](crate::LEASE_BYTES) for each lease.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match &self.0 {
            Kind::One(store) => store.size_bytes,
            Kind::Many(shards) => shards.size_bytes(),
        }
    }

    /// Would this command reach the quota? To be asked before it is proposed; if so, the answer is
    /// [`NoSpace`](KeyspaceError::NoSpace) and the member raises its alarm.
    #[must_use]
    pub fn would_exceed(&self, command: &Command) -> bool {
        self.has_no_room_for(command.cost_bytes())
    }

    /// The same of what a command [costs](Command::cost_bytes).
    #[must_use]
    pub fn has_no_room_for(&self, cost_bytes: u64) -> bool {
        self.global().would_exceed(self.size_bytes(), cost_bytes)
    }

    /// Do the alarms and the quota let this command through as things stand? Asked before it is proposed, it spares the log an entry
    /// that would be refused.
    ///
    /// # Errors
    /// [`NoSpace`](KeyspaceError::NoSpace), [`Corrupt`](KeyspaceError::Corrupt).
    pub fn admits(&self, command: &Command) -> Result<(), KeyspaceError> {
        self.global().admits_with(self.size_bytes(), command)
    }

    /// The lease with this id, if it was granted and has not ended.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.global().leases.get(&id).copied()
    }

    /// The leases, in the order of their ids.
    pub fn leases(&self) -> impl Iterator<Item = Lease> + '_ {
        self.global().leases.iter().copied()
    }

    /// How many leases there are.
    #[must_use]
    pub fn lease_count(&self) -> u64 {
        self.global().leases.weight() as u64
    }

    /// The keys that hang on a lease, in order.
    pub fn lease_keys(&self, id: LeaseId) -> impl Iterator<Item = Bytes> + '_ {
        let (one, many) = match &self.0 {
            Kind::One(store) => (Some(store.lease_keys(id).cloned()), Vec::new()),
            Kind::Many(shards) => {
                let mut keys: Vec<Bytes> =
                    shards.parts.iter().flat_map(|store| store.lease_keys(id)).cloned().collect();
                keys.sort_unstable();
                (None, keys)
            }
        };
        one.into_iter().flatten().chain(many)
    }

    /// Users and roles.
    #[must_use]
    pub fn auth(&self) -> &Arc<Auth> {
        &self.global().auth
    }

    /// May the caller do this, as things stand?
    ///
    /// # Errors
    /// Those of [`Auth::permits`].
    pub fn permits(&self, caller: &Caller, ask: Ask<'_>) -> Result<(), AuthError> {
        match &self.0 {
            Kind::One(store) => store.auth.verdict(caller, ask, &**store),
            Kind::Many(shards) => shards.first().auth.verdict(caller, ask, &**shards),
        }
    }

    /// How many keys live.
    #[must_use]
    pub fn key_count(&self) -> u64 {
        match &self.0 {
            Kind::One(store) => store.keys.weight() as u64,
            Kind::Many(shards) => shards.key_count(),
        }
    }

    /// Is there something left to remove from the last compaction? While there is, [`Command::Sweep`] makes progress.
    #[must_use]
    pub fn compaction_pending(&self) -> bool {
        self.compaction_backlog() > 0
    }

    /// How many changes the last compaction has still to look at.
    #[must_use]
    pub fn compaction_backlog(&self) -> u64 {
        let backlog = match &self.0 {
            Kind::One(store) => store.sweep_backlog(),
            Kind::Many(shards) => shards.sweep_backlog(),
        };
        backlog as u64
    }

    /// The whole state as bytes, in chunks; [`StateMachine::restore`](quorate_consensus::StateMachine::restore) reads them.
    ///
    /// Of several shards, it is that of one keyspace which has all keys, made in O(n) here and now. What a compaction has still to remove is then left out.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        match &self.0 {
            Kind::One(store) => Snapshot::of(store),
            Kind::Many(shards) => shards.snapshot(),
        }
    }

    /// The digest of the whole state, as [`StateMachine::digest`](quorate_consensus::StateMachine::digest).
    ///
    /// Of several shards, a digest of theirs: equal where the same shards came to the same, and not that of the one keyspace which [`View::snapshot`] makes of them.
    #[must_use]
    pub fn digest(&self) -> u64 {
        match &self.0 {
            Kind::One(store) => store.digest(),
            Kind::Many(shards) => shards.digest(),
        }
    }

    /// A hash of every version at or below `revision` (zero and below: the last) that a compaction left readable, the tombstones at
    /// the compacted revision apart. Equal on replicas that have applied different lengths of one log, if their compacted revisions
    /// are equal; not etcd's function. Takes O(n).
    ///
    /// Of several shards, it is that of the one keyspace which [`View::snapshot`] makes of them. That is the hash of a keyspace which always had all the keys as long as no revision
    /// below the compacted one changed keys of several shards: of those, each shard's own numbers are hashed.
    ///
    /// # Errors
    /// [`Compacted`](KeyspaceError::Compacted), [`FutureRevision`](KeyspaceError::FutureRevision).
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, KeyspaceError> {
        let revision = match check_revision(revision, self.compacted(), self.revision())? {
            At::Latest => self.revision(),
            At::Revision(revision) => revision,
        };
        let compacted = self.compacted();
        let sum = match &self.0 {
            Kind::One(store) => readable_sum(store, revision),
            Kind::Many(shards) => shards.readable_sum(revision),
        };
        let hash = hash_words(0, &[sum, compacted, revision]);
        Ok(HashKv {
            hash: (hash ^ (hash >> 32)) as u32,
            compact_revision: compacted,
            hash_revision: revision,
        })
    }
}

/// The sum of the hashes of all versions that can be read, at or below `revision`.
fn readable_sum(store: &Store, revision: u64) -> u64 {
    let compacted = store.compacted;
    let mut sum = 0u64;
    for versions in store.keys.iter() {
        let kept = versions.live_at(compacted);
        let older =
            versions.older.iter_from(Bound::Excluded(&Rev::last_of(compacted))).map(|dated| &dated.record);
        let newest = Some(&versions.newest).filter(|newest| newest.rev.main > compacted);
        for record in kept.into_iter().chain(older).chain(newest) {
            if record.rev.main <= revision {
                sum = sum.wrapping_add(record.hash);
            }
        }
    }
    sum
}

/// Changes, in order; see [`View::changes`].
pub struct Changes<'a>(Source<'a>);

enum Source<'a> {
    One(Iter<'a, Dated>),
    Many(Log<'a>),
}

impl Iterator for Changes<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        match &mut self.0 {
            Source::One(log) => log.next().map(|dated| dated.record.event(None)),
            Source::Many(log) => log.next().map(|numbered| numbered.event()),
        }
    }
}

impl std::fmt::Debug for Changes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Changes")
    }
}

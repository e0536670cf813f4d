//! A stable picture of the keyspace, for readers.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::{Ask, Auth, AuthError, Caller};
use crate::digest::hash_words;
use crate::range::At;
use crate::record::{Dated, Rev};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree::Iter;
use crate::{
    AlarmMember, Command, Event, KeyValue, KeyspaceError, Lease, LeaseId, Range, RangeReply, Txn, TxnReply,
};

/// The keyspace as it stood when the view was taken. Cheap to copy, safe to keep, readable from any thread; the writer never waits for
/// it. An old view keeps what has been overwritten since in memory.
#[derive(Clone, Debug)]
pub struct View(Arc<Store>);

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
        View(Arc::new(store))
    }

    /// The last revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// The oldest revision that can be read; zero if there was no compaction.
    #[must_use]
    pub fn compacted(&self) -> u64 {
        self.0.compacted
    }

    /// Answers a range. It should have passed [`check_range`](crate::check_range); an empty key is read as the key that it is, and
    /// found missing.
    ///
    /// # Errors
    /// [`Compacted`](KeyspaceError::Compacted), [`FutureRevision`](KeyspaceError::FutureRevision).
    pub fn range(&self, range: &Range) -> Result<RangeReply, KeyspaceError> {
        self.0.range(range, self.0.revision)
    }

    /// Answers a transaction that only reads ([`Txn::is_read_only`]).
    ///
    /// # Errors
    /// Those of [`View::range`], and [`NotReadOnly`](KeyspaceError::NotReadOnly).
    pub fn read_only_txn(&self, txn: &Txn) -> Result<TxnReply, KeyspaceError> {
        self.0.read_only_txn(txn)
    }

    /// The key-value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.0.live(key).map(|record| record.key_value())
    }

    /// The key-value of `key` as it was after `revision`.
    ///
    /// # Errors
    /// [`Compacted`](KeyspaceError::Compacted), [`FutureRevision`](KeyspaceError::FutureRevision).
    pub fn get_at(&self, key: &[u8], revision: u64) -> Result<Option<KeyValue>, KeyspaceError> {
        let store = &self.0;
        store.check_revision(i64::try_from(revision.max(1)).unwrap_or(i64::MAX), store.revision)?;
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
        if from_revision < self.0.compacted {
            return Err(KeyspaceError::Compacted { compacted: self.0.compacted });
        }
        Ok(Changes(self.0.log.iter_from(Bound::Included(&Rev::first_of(from_revision)))))
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
        if from_revision < self.0.compacted {
            return Err(KeyspaceError::Compacted { compacted: self.0.compacted });
        }
        let records = self.0.keys.get(key).into_iter().flat_map(move |versions| {
            let older = versions.older.iter_from(Bound::Included(&Rev::first_of(from_revision)));
            let newest = Some(&versions.newest).filter(|newest| newest.rev.main >= from_revision);
            older.map(|dated| &dated.record).chain(newest)
        });
        Ok(records.map(|record| record.event(None)))
    }

    /// What `prev` of an event shows: the key-value at the revision before the event's. None for the put that creates a key, and
    /// none if that revision has been compacted.
    #[must_use]
    pub fn previous(&self, event: &Event) -> Option<KeyValue> {
        let kv = &event.kv;
        let before = kv.mod_revision.checked_sub(1)?;
        if kv.create_revision == kv.mod_revision || before < self.0.compacted {
            return None;
        }
        self.0.keys.get(&kv.key[..])?.live_at(before).map(|record| record.key_value())
    }

    /// The alarms that are raised, in order.
    pub fn alarms(&self) -> impl Iterator<Item = AlarmMember> + '_ {
        self.0.alarms.iter().copied()
    }

    /// The quota, if there is one, in bytes.
    #[must_use]
    pub fn quota_bytes(&self) -> Option<u64> {
        self.0.quota_bytes
    }

    /// The size of all versions that are stored, in bytes: [`RECORD_BYTES`](crate::RECORD_BYTES) and the key and the value of each;
    /// and [`LEASE_BYTES`](crate::LEASE_BYTES) for each lease.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.0.size_bytes
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
        self.0.would_exceed(cost_bytes)
    }

    /// Do the alarms and the quota let this command through as things stand? Asked before it is proposed, it spares the log an entry
    /// that would be refused.
    ///
    /// # Errors
    /// [`NoSpace`](KeyspaceError::NoSpace), [`Corrupt`](KeyspaceError::Corrupt).
    pub fn admits(&self, command: &Command) -> Result<(), KeyspaceError> {
        self.0.admits(command)
    }

    /// The lease with this id, if it was granted and has not ended.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.0.leases.get(&id).copied()
    }

    /// The leases, in the order of their ids.
    pub fn leases(&self) -> impl Iterator<Item = Lease> + '_ {
        self.0.leases.iter().copied()
    }

    /// How many leases there are.
    #[must_use]
    pub fn lease_count(&self) -> u64 {
        self.0.leases.weight() as u64
    }

    /// The keys that hang on a lease, in order.
    pub fn lease_keys(&self, id: LeaseId) -> impl Iterator<Item = Bytes> + '_ {
        self.0.lease_keys(id).cloned()
    }

    /// Users and roles.
    #[must_use]
    pub fn auth(&self) -> &Arc<Auth> {
        &self.0.auth
    }

    /// May the caller do this, as things stand?
    ///
    /// # Errors
    /// Those of [`Auth::permits`].
    pub fn permits(&self, caller: &Caller, ask: Ask<'_>) -> Result<(), AuthError> {
        self.0.auth.verdict(caller, ask, &*self.0)
    }

    /// How many keys live.
    #[must_use]
    pub fn key_count(&self) -> u64 {
        self.0.keys.weight() as u64
    }

    /// Is there something left to remove from the last compaction? While there is, [`Command::Sweep`] makes progress.
    #[must_use]
    pub fn compaction_pending(&self) -> bool {
        self.0.sweep_backlog() > 0
    }

    /// How many changes the last compaction has still to look at.
    #[must_use]
    pub fn compaction_backlog(&self) -> u64 {
        self.0.sweep_backlog() as u64
    }

    /// The whole state as bytes, in chunks; [`StateMachine::restore`](quorate_consensus::StateMachine::restore) reads them.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.0)
    }

    /// The digest of the whole state, as [`StateMachine::digest`](quorate_consensus::StateMachine::digest).
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.digest()
    }

    /// A hash of every version at or below `revision` (zero and below: the last) that a compaction left readable, the tombstones at
    /// the compacted revision apart. Equal on replicas that have applied different lengths of one log, if their compacted revisions
    /// are equal; not etcd's function. Takes O(n).
    ///
    /// # Errors
    /// [`Compacted`](KeyspaceError::Compacted), [`FutureRevision`](KeyspaceError::FutureRevision).
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, KeyspaceError> {
        let store = &self.0;
        let revision = match store.check_revision(revision, store.revision)? {
            At::Latest => store.revision,
            At::Revision(revision) => revision,
        };
        let compacted = store.compacted;
        let mut sum = 0u64;
        for versions in store.keys.iter() {
            let kept = versions.live_at(compacted);
            let older = versions
                .older
                .iter_from(Bound::Excluded(&Rev::last_of(compacted)))
                .map(|dated| &dated.record);
            let newest = Some(&versions.newest).filter(|newest| newest.rev.main > compacted);
            for record in kept.into_iter().chain(older).chain(newest) {
                if record.rev.main <= revision {
                    sum = sum.wrapping_add(record.hash);
                }
            }
        }
        let hash = hash_words(0, &[sum, compacted, revision]);
        Ok(HashKv {
            hash: (hash ^ (hash >> 32)) as u32,
            compact_revision: compacted,
            hash_revision: revision,
        })
    }
}

/// Changes, in order; see [`View::changes`].
pub struct Changes<'a>(Iter<'a, Dated>);

impl Iterator for Changes<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.next().map(|dated| dated.record.event(None))
    }
}

impl std::fmt::Debug for Changes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Changes")
    }
}

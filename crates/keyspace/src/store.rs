//! The state, and how a put and a deletion change it.
//!
//! ```text
//! keys   key → its versions: the newest, and a tree of the older ones     reads at any revision, counts
//! log    (revision, sub) → the same records                               watchers that start in the past, and compaction
//! leases, attachments                                                     see `lease.rs`
//! ```
//!
//! All of it is persistent trees and small numbers, so a copy costs a few counters, and a copy is what a view is.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::Auth;
use crate::digest::hash_words;
use crate::lease::{Attachment, Lease};
use crate::record::{Dated, Record, Rev, Versions};
use crate::tree::Tree;
use crate::{AlarmKind, AlarmMember, Event, KeyspaceError, LeaseId, Put, QUOTA_BYTES_DEFAULT};

/// The state of the keyspace.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) keys: Tree<Versions>,
    /// Those that have not ended.
    pub(crate) leases: Tree<Lease>,
    /// The living keys of `keys` whose newest version has a lease, which is one of `leases`, and no other.
    pub(crate) attachments: Tree<Attachment>,
    /// Every record of `keys` from [`Store::log_start`] on, and no other.
    pub(crate) log: Tree<Dated>,
    /// The last revision. A store is born with revision 1, which nobody wrote.
    pub(crate) revision: u64,
    /// The oldest revision that can be read; zero if there was no compaction. At most `revision`.
    pub(crate) compacted: u64,
    /// Where the sweep goes on: every change before it, up to `compacted`, has been swept. See `compaction.rs`.
    pub(crate) sweep_at: Rev,
    /// The sum of the hashes of all records in `keys` and all `leases`.
    pub(crate) sum: u64,
    /// The sum of the sizes of all records in `keys` and all `leases`.
    pub(crate) size_bytes: u64,
    /// None: no quota.
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) alarms: Arc<BTreeSet<AlarmMember>>,
    /// Users and roles.
    pub(crate) auth: Arc<Auth>,
}

/// What one write did.
pub(crate) struct Change {
    pub(crate) record: Arc<Record>,
    /// The living version that it replaced: what `prev_kv` of a request shows. A write earlier in the same transaction counts.
    pub(crate) replaced: Option<Arc<Record>>,
    /// The version that lived at the revision before: what `prev_kv` of an event shows.
    before: Option<Arc<Record>>,
}

impl Change {
    pub(crate) fn event(&self) -> Event {
        self.record.event(self.before.as_deref())
    }
}

impl Store {
    pub(crate) fn new() -> Store {
        Store {
            keys: Tree::default(),
            leases: Tree::default(),
            attachments: Tree::default(),
            log: Tree::default(),
            revision: 1,
            compacted: 0,
            sweep_at: Rev::first_of(1),
            sum: 0,
            size_bytes: 0,
            quota_bytes: Some(QUOTA_BYTES_DEFAULT),
            alarms: Arc::default(),
            auth: Arc::default(),
        }
    }

    /// The living version of `key`.
    pub(crate) fn live(&self, key: &[u8]) -> Option<&Arc<Record>> {
        self.keys.get(key).map(|versions| &versions.newest).filter(|record| record.is_live())
    }

    /// Can this put be done now?
    ///
    /// Must be asked of every put before the first write of its command: a transaction that finds out half-way has written half.
    pub(crate) fn check_put(&self, put: &Put) -> Result<(), KeyspaceError> {
        self.check_put_lease(put)?;
        self.check_put_key(put)
    }

    /// The same for a put of a transaction, in the order in which etcd says there what is missing: the key before the lease.
    pub(crate) fn check_put_in_txn(&self, put: &Put) -> Result<(), KeyspaceError> {
        self.check_put_key(put)?;
        self.check_put_lease(put)
    }

    fn check_put_lease(&self, put: &Put) -> Result<(), KeyspaceError> {
        if put.lease == LeaseId::NONE { Ok(()) } else { self.check_lease(put.lease) }
    }

    fn check_put_key(&self, put: &Put) -> Result<(), KeyspaceError> {
        if (put.ignore_value || put.ignore_lease) && self.live(&put.key).is_none() {
            return Err(KeyspaceError::KeyNotFound);
        }
        Ok(())
    }

    /// Puts a key. A key that does not live begins a new generation: created now, version 1.
    ///
    /// `command_bytes` is the length of the command that `put` shares memory with. A value that is a small part of it gets memory of
    /// its own: of a transaction with a hundred values of which ninety-nine are overwritten, the last would else keep all in memory.
    pub(crate) fn put(&mut self, rev: Rev, put: &Put, command_bytes: usize) -> Change {
        let change = self.keys.alter(&put.key[..], |versions| {
            let newest = versions.as_ref().map(|versions| Arc::clone(&versions.newest));
            let before = versions.as_ref().and_then(|versions| versions.live_at(rev.main - 1)).cloned();
            let buried = newest.as_ref().is_some_and(|newest| !newest.is_live());
            let replaced = newest.as_ref().filter(|newest| newest.is_live()).cloned();
            // The key's own memory is made once and shared by all its versions, so that no old command is kept alive by it.
            let key = newest.map_or_else(|| Bytes::copy_from_slice(&put.key), |newest| newest.key.clone());
            let value = match &replaced {
                Some(replaced) if put.ignore_value => replaced.value.clone(),
                _ if put.value.len() * 4 + 512 < command_bytes => Bytes::copy_from_slice(&put.value),
                _ => put.value.clone(),
            };
            let lease = match &replaced {
                Some(replaced) if put.ignore_lease => replaced.lease,
                _ => put.lease,
            };
            let (create, version) = match &replaced {
                Some(replaced) => (replaced.create, replaced.version + 1),
                None if buried && quorate_consensus::planted!("M04") => (rev.main, 2),
                None => (rev.main, 1),
            };
            let record = Arc::new(Record::put(key, value, rev, create, version, lease));
            let change = Change { record: Arc::clone(&record), replaced, before };
            match versions {
                Some(versions) => {
                    versions.push(record);
                    (None, change)
                }
                None => (Some(Versions::new(record)), change),
            }
        });
        self.add(&change.record);
        self.reattach(&change);
        change
    }

    /// Deletes a key, if it lives.
    pub(crate) fn delete(&mut self, rev: Rev, key: &[u8]) -> Option<Change> {
        self.live(key)?;
        let change = self.keys.alter(key, |versions| {
            let Some(versions) = versions else { return (None, None) };
            let before = versions.live_at(rev.main - 1).cloned();
            let record = Arc::new(Record::tombstone(versions.newest.key.clone(), rev));
            let replaced = versions.push(Arc::clone(&record));
            (None, Some(Change { record, replaced: Some(replaced), before }))
        })?;
        self.add(&change.record);
        self.reattach(&change);
        Some(change)
    }

    fn add(&mut self, record: &Arc<Record>) {
        self.log.insert(Dated::new(Arc::clone(record)));
        self.sum = self.sum.wrapping_add(record.hash);
        self.size_bytes += record.size_bytes();
    }

    /// A record has left `keys`.
    pub(crate) fn subtract(&mut self, record: &Record) {
        self.sum = self.sum.wrapping_sub(record.hash);
        self.size_bytes -= record.size_bytes();
    }

    pub(crate) fn has_alarm(&self, kind: AlarmKind) -> bool {
        self.alarms.iter().any(|alarm| alarm.kind == kind)
    }

    /// A digest of all of the state: every record and every lease through `sum`, everything else by itself. `log` and `attachments`
    /// follow from these. Without leases and users it is what it was before there were any: snapshots of that time carry it.
    pub(crate) fn digest(&self) -> u64 {
        self.digest_as_of(self.revision)
    }

    /// The same if the last revision is this one, of which the store need not have been told.
    pub(crate) fn digest_as_of(&self, revision: u64) -> u64 {
        let quota = self.quota_bytes.map_or([0, 0], |bytes| [1, bytes]);
        let words = [
            self.sum,
            self.size_bytes,
            revision,
            self.compacted,
            self.sweep_at.main,
            u64::from(self.sweep_at.sub),
            quota[0],
            quota[1],
            self.alarms.len() as u64,
        ];
        let hash = self
            .alarms
            .iter()
            .fold(hash_words(1, &words), |hash, alarm| hash_words(hash, &[alarm.member, alarm.kind as u64]));
        match self.auth.hash() {
            0 => hash,
            auth => hash_words(hash, &[auth]),
        }
    }
}

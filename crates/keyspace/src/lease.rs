//! Leases: what a key may hang on, and goes with.
//!
//! ```text
//! leases        id → the lease                        granted, checkpointed, ended by commands alone
//! attachments   (lease, key), nothing else            which keys go when the lease ends, in their order
//! ```
//!
//! No clock is read here. Whoever counts the time, the steward beside the leader, decides that a lease is over, and the decision is a
//! command like any other; this file says which decisions count.
//!
//! Architecture Invariant: the attachments are exactly the living keys whose newest version names a lease. So they are in no
//! snapshot and in no digest: they follow from the records.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;
use quorate_consensus::{Position, planted};

use crate::digest::hash_words;
use crate::record::Record;
use crate::store::{Change, Store};
use crate::tree::{Item, Keyed, Probe};
use crate::txn::Writing;
use crate::{KeyspaceError, LEASE_BYTES, LEASE_TTL_S_MAX, LeaseId, News};

/// A lease that was granted and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id, chosen by the client or its front end; never zero, below zero perhaps.
    pub id: LeaseId,
    /// How long it lives without being kept alive, in seconds: 1 to [`LEASE_TTL_S_MAX`](crate::LEASE_TTL_S_MAX).
    pub ttl_s: i64,
    /// The index in the log of the entry that granted it. Tells this grant from an earlier or later one of the same id.
    pub granted: u64,
    /// How much of `ttl_s` was left at its last checkpoint, in seconds: 1 to `ttl_s - 1`. Zero: there was none, or all was left.
    pub remaining_s: i64,
}

impl Lease {
    /// What it adds to the digest. Another seed than those of records and of the digest itself, so that none passes for another.
    pub(crate) fn hash(&self) -> u64 {
        hash_words(2, &[self.id.0 as u64, self.ttl_s as u64, self.granted, self.remaining_s as u64])
    }

    /// Can a lease like this exist? Asked of what a snapshot brings.
    pub(crate) fn is_possible(&self) -> bool {
        self.id != LeaseId::NONE
            && (1..=LEASE_TTL_S_MAX).contains(&self.ttl_s)
            && (0..self.ttl_s).contains(&self.remaining_s)
    }
}

impl Probe for LeaseId {
    const HINTS: bool = false;
}

impl Keyed for Lease {
    type Key = LeaseId;
    type Probe = LeaseId;

    fn key(&self) -> &LeaseId {
        &self.id
    }
}

/// So that the weight of all is their number.
impl Item for Lease {
    fn weight(&self) -> usize {
        1
    }
}

/// A key that hangs on a lease. The key is the memory that its versions share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attachment {
    pub(crate) lease: LeaseId,
    pub(crate) key: Bytes,
}

impl Probe for Attachment {
    const HINTS: bool = false;
}

impl Keyed for Attachment {
    type Key = Attachment;
    type Probe = Attachment;

    fn key(&self) -> &Attachment {
        self
    }
}

impl Item for Attachment {
    fn weight(&self) -> usize {
        1
    }
}

impl Store {
    /// The lease that the entry at `at` would grant.
    pub(crate) fn check_grant(&self, at: Position, id: LeaseId, ttl_s: i64) -> Result<Lease, KeyspaceError> {
        match self.leases.get(&id) {
            Some(_) => Err(KeyspaceError::LeaseExists),
            None => Ok(Lease { id, ttl_s, granted: at.index.0, remaining_s: 0 }),
        }
    }

    pub(crate) fn check_lease(&self, id: LeaseId) -> Result<(), KeyspaceError> {
        self.leases.get(&id).map(|_| ()).ok_or(KeyspaceError::LeaseNotFound(id))
    }

    /// Is the entry at `at` still the word of the steward of its own epoch?
    ///
    /// A leader that was deposed may have a successor that renewed the lease since: S1 counts a lease down to nothing and proposes
    /// its end, S2 takes over, has the entry relayed to it, and meanwhile told the client that the lease lives on. Such an entry
    /// comes into the log under S2's epoch, and is refused (E10).
    pub(crate) fn check_steward(at: Position, epoch: u64) -> Result<(), KeyspaceError> {
        if at.epoch.0 == epoch || planted!("E10") { Ok(()) } else { Err(KeyspaceError::StaleSteward) }
    }

    /// The lease that a steward means, if it is still that one.
    ///
    /// By the index of its grant, not by its id alone: a lease is revoked and granted again under the same id while the end of the
    /// first is on its way, and the second, a moment old, must not end with it (E14).
    pub(crate) fn granted_at(&self, id: LeaseId, granted: u64) -> Option<&Lease> {
        self.leases.get(&id).filter(|lease| lease.granted == granted || planted!("E14"))
    }

    /// Of the leases that a steward says are over, those that are there to end, each once, in its order.
    pub(crate) fn to_end(&self, leases: &[(LeaseId, u64)]) -> Vec<LeaseId> {
        let mut seen = BTreeSet::new();
        let there = leases.iter().filter_map(|(id, granted)| self.granted_at(*id, *granted));
        there.map(|lease| lease.id).filter(|id| seen.insert(*id)).collect()
    }

    /// The keys that hang on a lease, in order.
    pub(crate) fn lease_keys(&self, lease: LeaseId) -> impl Iterator<Item = &Bytes> {
        let first = Attachment { lease, key: Bytes::new() };
        let all = self.attachments.iter_from(Bound::Included(&first));
        all.take_while(move |attachment| attachment.lease == lease).map(|attachment| &attachment.key)
    }

    /// Would its end change anything?
    pub(crate) fn has_keys(&self, lease: LeaseId) -> bool {
        self.lease_keys(lease).next().is_some()
    }

    /// Adds a lease in the place of the one of its id, if there is one.
    pub(crate) fn set_lease(&mut self, lease: Lease) {
        match self.leases.insert(lease) {
            Some(old) => self.sum = self.sum.wrapping_sub(old.hash()),
            None => self.size_bytes += LEASE_BYTES,
        }
        self.sum = self.sum.wrapping_add(lease.hash());
    }

    fn remove_lease(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        self.sum = self.sum.wrapping_sub(lease.hash());
        self.size_bytes -= LEASE_BYTES;
        Some(lease)
    }

    /// Keeps the attachments what the records say, after each change of a key.
    ///
    /// The old lease is that of the version that lived until now, one of the same transaction perhaps. A key without a lease that
    /// is put without one is the common case, and no tree is touched.
    #[inline]
    pub(crate) fn reattach(&mut self, change: &Change) {
        let old = change.replaced.as_ref().map_or(LeaseId::NONE, |replaced| replaced.lease);
        if old != change.record.lease {
            self.move_attachment(old, &change.record);
        }
    }

    fn move_attachment(&mut self, old: LeaseId, record: &Record) {
        let (new, key) = (record.lease, &record.key);
        // Without this, the old lease's end takes a key that has since been put without it (M06).
        if old != LeaseId::NONE && !(record.is_live() && planted!("M06")) {
            self.attachments.remove(&Attachment { lease: old, key: key.clone() });
        }
        if new != LeaseId::NONE {
            self.attachments.insert(Attachment { lease: new, key: key.clone() });
        }
    }
}

impl Writing<'_> {
    pub(crate) fn grant(&mut self, lease: Lease) {
        self.store.set_lease(lease);
        self.news.push(News::Granted(lease));
    }

    /// Ends a lease: its keys are deleted in their order, which is the same on every replica, and then it is gone.
    pub(crate) fn end_lease(&mut self, id: LeaseId) {
        let keys: Vec<Bytes> = self.store.lease_keys(id).cloned().collect();
        for key in keys {
            self.delete(&key);
        }
        if let Some(lease) = self.store.remove_lease(id) {
            self.news.push(News::Ended { id, granted: lease.granted });
        }
    }

    /// Notes what is left of a lease. All of it or nothing is no news to whoever counts: both begin anew.
    pub(crate) fn checkpoint(&mut self, id: LeaseId, granted: u64, remaining_s: i64) {
        let Some(lease) = self.store.granted_at(id, granted) else { return };
        let remaining_s = if remaining_s < lease.ttl_s { remaining_s } else { 0 };
        let lease = Lease { remaining_s, ..*lease };
        self.store.set_lease(lease);
        self.news.push(News::Checkpointed(lease));
    }
}

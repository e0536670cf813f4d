//! A keyspace taken apart: some of its keys go elsewhere, with all of their past.

use bytes::Bytes;
use quorate_consensus::RestoreError;

use crate::lease::Lease;
use crate::record::Versions;
use crate::snapshot;
use crate::store::Store;
use crate::tree::Tree;
use crate::{Keyspace, LEASE_BYTES};

impl Keyspace {
    /// Takes out the keys that `moves` names, with all of their versions and what hangs on leases: a keyspace of their own.
    ///
    /// What concerns no key is in both afterwards: leases, users and roles, alarms, the quota, how far is compacted and swept. What either shows of its keys, at any
    /// revision, is what the whole would have shown of them.
    #[must_use]
    pub fn split_off(&mut self, moves: impl Fn(&[u8]) -> bool) -> Keyspace {
        let leases = &self.store.leases;
        let mut gone = Store {
            keys: Tree::default(),
            attachments: Tree::default(),
            log: Tree::default(),
            sum: leases.iter().map(Lease::hash).fold(0, u64::wrapping_add),
            size_bytes: leases.weight() as u64 * LEASE_BYTES,
            ..self.store.clone()
        };
        let moving: Vec<Versions> =
            self.store.keys.iter().filter(|versions| moves(&versions.newest.key)).cloned().collect();
        for versions in moving {
            for record in versions.older.iter().map(|dated| &dated.record).chain([&versions.newest]) {
                self.store.subtract(record);
                gone.sum = gone.sum.wrapping_add(record.hash);
                gone.size_bytes += record.size_bytes();
            }
            self.store.keys.remove(&versions.newest.key);
            gone.keys.insert(versions);
        }
        let (stays, goes): (Vec<_>, Vec<_>) =
            self.store.log.iter().cloned().partition(|dated| !moves(&dated.record.key));
        self.store.log = tree(stays);
        gone.log = tree(goes);
        let (stays, goes): (Vec<_>, Vec<_>) =
            self.store.attachments.iter().cloned().partition(|attachment| !moves(&attachment.key));
        self.store.attachments = tree(stays);
        gone.attachments = tree(goes);
        Keyspace::from(gone)
    }

    /// The same state once more: trees are shared, and a copy costs a few counters.
    #[must_use]
    pub fn copy(&self) -> Keyspace {
        Keyspace::from(self.store.clone())
    }

    /// Reads a snapshot behind which the chunks go on with something else. It ends where a chunk does.
    ///
    /// # Errors
    /// Those of `restore`.
    pub fn restore_next(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Keyspace, RestoreError> {
        snapshot::restore_next(chunks).map(Keyspace::from)
    }
}

fn tree<T: crate::tree::Item>(items: Vec<T>) -> Tree<T> {
    let mut tree = Tree::default();
    for item in items {
        tree.insert(item);
    }
    tree
}

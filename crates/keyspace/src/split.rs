//! A keyspace taken apart: some of its keys go elsewhere, with all of their past.

use bytes::Bytes;
use quorate_consensus::RestoreError;

use crate::Keyspace;
use crate::lease::Lease;
use crate::snapshot;
use crate::store::Store;
use crate::tree::Tree;

impl Keyspace {
    /// Its keys, with all of their versions and what hangs on leases, divided among so many keyspaces: `owner` says whose a key is, from 0 on.
    ///
    /// What concerns no key is in each: leases, users and roles, alarms, the quota, how far is compacted and swept. What any of them shows of its keys, at any
    /// revision, is what the whole would have shown of them.
    #[must_use]
    pub fn divide(&self, parts: usize, owner: impl Fn(&[u8]) -> usize) -> Vec<Keyspace> {
        let mut stores = vec![self.without_keys().store; parts];
        for versions in self.store.keys.iter() {
            let store = &mut stores[owner(&versions.newest.key)];
            for record in versions.older.iter().map(|dated| &dated.record).chain([&versions.newest]) {
                store.sum = store.sum.wrapping_add(record.hash);
                store.size_bytes += record.size_bytes();
            }
            store.keys.insert(versions.clone());
        }
        for dated in self.store.log.iter() {
            stores[owner(&dated.record.key)].log.insert(dated.clone());
        }
        for attachment in self.store.attachments.iter() {
            stores[owner(&attachment.key)].attachments.insert(attachment.clone());
        }
        stores.into_iter().map(Keyspace::from).collect()
    }

    /// What concerns no key, alone.
    #[must_use]
    pub fn without_keys(&self) -> Keyspace {
        let leases = &self.store.leases;
        Keyspace::from(Store {
            keys: Tree::default(),
            attachments: Tree::default(),
            log: Tree::default(),
            sum: leases.iter().map(Lease::hash).fold(0, u64::wrapping_add),
            size_bytes: self.store.leases_bytes(),
            ..self.store.clone()
        })
    }

    /// Takes out the keys that `moves` names: a keyspace of their own. See [`Keyspace::divide`].
    #[must_use]
    pub fn split_off(&mut self, moves: impl Fn(&[u8]) -> bool) -> Keyspace {
        let mut halves = self.divide(2, |key| usize::from(moves(key)));
        let gone = halves.pop().expect("two parts");
        *self = halves.pop().expect("two parts");
        gone
    }

    /// Is any version of any key there, living or not?
    #[must_use]
    pub fn has_records(&self) -> bool {
        self.store.keys.first().is_some()
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

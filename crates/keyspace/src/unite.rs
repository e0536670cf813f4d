//! Two keyspaces made one: what [`Keyspace::divide`] took apart, or what has come to be apart since, with all of its past.
//!
//! ```text
//!   first    5.0 put a · 5.1 put b · 6.0 put a                    each numbers its own changes of a revision from 0
//!   second   5.0 put k · 5.1 del k ·           7.0 put k
//!   whole    5.0 put a · 5.1 put b · 5.2 put k · 5.3 del k · 6.0 put a · 7.0 put k
//! ```
//!
//! Architecture Invariant: no change that can be read is lost, and none shows that cannot. {a transaction put a and k at 5, each in a store of its own}: both stores have a
//! change 5.0, and one log has one of that number; so the second one's are counted on from the last of the first one's, as a view of both shows them
//! ([`View::of_shards`](crate::View::of_shards)), in the log and among the versions alike.

use std::sync::Arc;

use crate::Keyspace;
use crate::lease::Lease;
use crate::record::{Dated, Record, Rev};
use crate::store::Store;

impl Keyspace {
    /// One keyspace with the keys of two that have none in common. What both changed in one revision comes in the order of the two.
    ///
    /// What concerns no key is the same in both: leases, users and roles, alarms, the quota, how far is compacted. What their compactions have still to remove is removed: how
    /// far each had come with that differs, and of what is half removed there is no numbering. So it takes time in proportion to that, and to the keys of the second.
    #[must_use]
    pub fn unite(first: &Keyspace, second: &Keyspace) -> Keyspace {
        let (mut whole, mut other) = (first.store.clone(), second.store.clone());
        debug_assert!(is_alike(&whole, &other), "what concerns no key is in both: {whole:?} {other:?}");
        whole.sweep(usize::MAX);
        other.sweep(usize::MAX);
        other.count_on_behind(&whole);
        for versions in other.keys.iter() {
            let there = whole.keys.insert(versions.clone());
            debug_assert!(there.is_none(), "a key is in one of the two: {versions:?}");
        }
        other.log.iter().for_each(|dated| _ = whole.log.insert(dated.clone()));
        other.attachments.iter().for_each(|attachment| _ = whole.attachments.insert(attachment.clone()));
        // Both have all leases, and they count once.
        let leases = other.leases.iter().map(Lease::hash).fold(0, u64::wrapping_add);
        whole.sum = whole.sum.wrapping_add(other.sum).wrapping_sub(leases);
        whole.size_bytes += other.keys_bytes();
        // Each was told of its own last change.
        whole.revision = whole.revision.max(other.revision);
        Keyspace::from(whole)
    }
}

impl Store {
    /// Numbers its changes of revisions in which another store has changes too from behind the last one of that.
    fn count_on_behind(&mut self, first: &Store) {
        let mut moved: Vec<(Arc<Record>, u32)> = Vec::new();
        // The revision that was looked at last, and how many numbers the other store takes of it.
        let (mut revision, mut taken) = (0, 0);
        for Dated { rev, record } in self.log.iter() {
            if rev.main != revision {
                let last = first.log.floor(&Rev::last_of(rev.main)).map(|dated| dated.rev);
                // By the last number and not by how many there are: what a later change of its own revision replaced may be swept, see `view/log.rs`.
                taken = last.filter(|last| last.main == rev.main).map_or(0, |last| last.sub + 1);
                revision = rev.main;
            }
            if taken > 0 {
                moved.push((Arc::clone(record), rev.sub + taken));
            }
        }
        // From the last one on: {k has 5.0 and 5.1, and both go up by one}: 5.0 would else take the place of 5.1.
        moved.iter().rev().for_each(|(record, sub)| self.renumber(record, *sub));
    }

    /// The version has another number within its revision, above its own; whichever has that now has moved on before.
    fn renumber(&mut self, record: &Arc<Record>, sub: u32) {
        let new = Record::numbered(record, sub);
        self.sum = self.sum.wrapping_sub(record.hash).wrapping_add(new.hash);
        self.log.remove(&record.rev);
        self.log.insert(Dated::new(Arc::clone(&new)));
        self.keys.alter(&record.key[..], |versions| {
            let versions = versions.expect("a change in the log is a version of its key");
            if versions.newest.rev == record.rev {
                versions.newest = new;
            } else {
                versions.older.remove(&record.rev);
                versions.older.insert(Dated::new(new));
            }
            (None, ())
        });
    }
}

/// Is what concerns no key the same in both?
fn is_alike(one: &Store, other: &Store) -> bool {
    one.leases.iter().eq(other.leases.iter())
        && (one.compacted, one.quota_bytes) == (other.compacted, other.quota_bytes)
        && (&one.alarms, &one.auth) == (&other.alarms, &other.auth)
}

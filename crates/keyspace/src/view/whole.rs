//! One store out of several: its snapshot, its hash, and a digest in the place of its own.

use std::sync::Arc;

use super::shards::Shards;
use crate::digest::hash_words;
use crate::record::{Record, Rev, Versions};
use crate::snapshot::Snapshot;
use crate::store::Store;

impl Shards {
    /// The snapshot of a store that has all that can be read of the parts, in O(n).
    ///
    /// What their compactions have still to remove is not in it: how far the sweeps have come differs from part to part, and of what is half removed there is no
    /// numbering ([`Shards::kept`]). So it is smaller than the parts while a compaction is pending, and in nothing else different.
    ///
    /// The store has no log, nor what hangs on which lease: they are in no snapshot, and whoever restores it finds them in the records.
    pub(super) fn snapshot(&self) -> Snapshot {
        let first = self.first();
        let compacted = self.compacted;
        let mut whole = Store {
            revision: self.revision,
            compacted,
            sweep_at: Rev::first_of(compacted + 1),
            quota_bytes: first.quota_bytes,
            alarms: Arc::clone(&first.alarms),
            auth: Arc::clone(&first.auth),
            ..Store::new()
        };
        first.leases.iter().for_each(|lease| whole.set_lease(*lease));
        self.kept().filter(|record| record.rev.main < compacted).for_each(|record| whole.bring(record));
        for numbered in self.log_from(compacted) {
            whole.bring(Record::numbered(numbered.record, numbered.sub));
        }
        Snapshot::of(&whole)
    }

    /// A digest of all parts, as if each had been told of the last revision. Not that of [`Shards::snapshot`], which would take O(n).
    pub(super) fn digest(&self) -> u64 {
        let parts: Vec<u64> = self.parts.iter().map(|store| store.digest_as_of(self.revision)).collect();
        hash_words(3, &parts)
    }

    /// The sum of the hashes of all versions that can be read, at or below `revision`; see [`View::hash_kv`](crate::View::hash_kv).
    pub(super) fn readable_sum(&self, revision: u64) -> u64 {
        let kept = self.kept().map(|record| record.hash);
        let later = self.log_from(self.compacted + 1);
        let later = later
            .take_while(|numbered| numbered.record.rev.main <= revision)
            .map(|numbered| Record::numbered(numbered.record, numbered.sub).hash);
        kept.chain(later).fold(0, u64::wrapping_add)
    }
}

impl Store {
    /// Adds a version that is the newest of its key.
    fn bring(&mut self, record: Arc<Record>) {
        self.sum = self.sum.wrapping_add(record.hash);
        self.size_bytes += record.size_bytes();
        self.keys.alter(&record.key[..], |versions| match versions {
            Some(versions) => {
                versions.push(Arc::clone(&record));
                (None, ())
            }
            None => (Some(Versions::new(Arc::clone(&record))), ()),
        });
    }
}

//! Compaction: logical at once, physical in small steps.
//!
//! A compaction at C makes everything older than C unreadable there and then. What it makes unreadable is removed by a sweep
//! that walks the log of changes up to C and never looks at a key that did not change: when it comes to a change of a key, that key's
//! older versions are dead; if the change is a deletion before C, so is its own tombstone. A tombstone *at* C is kept, because
//! a watch may still start at C and must see it (etcd#18089, #19179), and goes with the next compaction.
//!
//! ```text
//!           k=1   k=2   del j   k=3   j=9          compact at 4
//! revision   2     3     4       5     6
//! readable from 4 on:   k=2 (lives at 4), j's tombstone, k=3, j=9.   removed: k=1 and what j was before
//! ```
//!
//! The steps are part of applying: each placed entry sweeps a little ([`SWEEP_PER_ENTRY`]), a
//! [`Command::Sweep`](crate::Command::Sweep) more ([`SWEEP_PER_COMMAND`]), which the steward proposes while there is something left. So
//! size and digest are functions of the log, and no entry takes long, however large the store. Nothing is swept by a background
//! task: two replicas would do so at different entries.

use std::ops::Bound;

use quorate_consensus::planted;

use crate::KeyspaceError;
use crate::record::{Dated, Record, Rev};
use crate::store::Store;

/// Changes swept with each entry, for each change it makes, at least for one. More than one, so that the sweep catches up with the
/// writers whose old versions it removes.
pub(crate) const SWEEP_PER_ENTRY: usize = 2;

/// Changes swept with a sweep: a millisecond or two.
pub(crate) const SWEEP_PER_COMMAND: usize = 1024;

impl Store {
    /// May `revision` be compacted?
    pub(crate) fn check_compact(&self, revision: i64) -> Result<u64, KeyspaceError> {
        match u64::try_from(revision) {
            Ok(revision) if revision > self.revision => {
                Err(KeyspaceError::FutureRevision { current: self.revision })
            }
            Ok(revision) if revision > self.compacted => Ok(revision),
            Ok(_) | Err(_) => Err(KeyspaceError::Compacted { compacted: self.compacted }),
        }
    }

    /// The logical side: from here on, nothing older than `revision` can be read.
    pub(crate) fn compact(&mut self, revision: u64) {
        // The changes at the last compaction's revision come up again: their tombstones may go now.
        self.sweep_at = self.log_start();
        self.compacted = revision;
    }

    /// The first change that the log must still have: the sweep's next one, and those at the compacted revision, where a watch may
    /// start.
    pub(crate) fn log_start(&self) -> Rev {
        self.sweep_at.min(Rev::first_of(self.compacted))
    }

    /// How many changes are still to be swept.
    pub(crate) fn sweep_backlog(&self) -> usize {
        let end = Rev::first_of(self.compacted + 1);
        if self.sweep_at >= end {
            return 0;
        }
        self.log.weight_below(&end) - self.log.weight_below(&self.sweep_at)
    }

    /// The physical side: sweeps at most `changes`.
    pub(crate) fn sweep(&mut self, changes: usize) {
        let end = Rev::first_of(self.compacted + 1);
        for _ in 0..changes {
            if self.sweep_at >= end {
                return;
            }
            let next = self.log.iter_from(Bound::Included(&self.sweep_at)).next();
            let Some(Dated { rev, record }) = next.filter(|next| next.rev < end).cloned() else {
                self.sweep_at = end;
                return;
            };
            self.sweep_change(rev, &record);
            if rev.main < self.compacted || planted!("D17") {
                self.log.remove(&rev);
            }
            self.sweep_at = Rev { main: rev.main, sub: rev.sub + 1 };
        }
    }

    /// Removes what the change at `rev` makes unreadable.
    ///
    /// Only what is *older* than a change at or below the compacted revision may go, never the change itself if it lives: put k at
    /// 2, compact at 5, and k must still be readable at 5 and later (M05).
    ///
    /// Nor does what changed *at* the compacted revision, though a later change in the same revision hides it: a watch from there is told of both, and a store that is
    /// restored has both in its log. {a and b are deleted and put again in one transaction at 12, compacted at 12}: were the deletions gone from the records and still in the
    /// log, whoever is restored would have a shorter log, sweep the next compaction at another pace, and have another digest at the same entry.
    fn sweep_change(&mut self, rev: Rev, record: &Record) {
        let compacted = self.compacted;
        let own = !record.is_live() && (rev.main < self.compacted || planted!("D17"));
        let mut removed = Vec::new();
        let empty = self.keys.alter(&record.key[..], |versions| {
            let Some(versions) = versions else { return (None, false) };
            // One at most, because the sweep came to the others before.
            while let Some(oldest) = versions
                .older
                .first()
                .map(|oldest| oldest.rev)
                .filter(|oldest| *oldest < rev && oldest.main < compacted)
            {
                removed.extend(versions.older.remove(&oldest).map(|dated| dated.record));
            }
            let newest = versions.newest.rev == rev;
            if !newest && (own || quorate_consensus::planted!("M05")) {
                removed.extend(versions.older.remove(&rev).map(|dated| dated.record));
            }
            (None, own && newest)
        });
        if empty {
            removed.extend(self.keys.remove(&record.key[..]).map(|versions| versions.newest));
        }
        for record in &removed {
            self.subtract(record);
        }
    }
}

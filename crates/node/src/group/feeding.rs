//! Committed entries on their way to the state half, and how much of the log is kept behind a snapshot.

use quorate_consensus::{Engine as _, Entry, Index, Instant, planted};

use super::{Group, Reading, Surroundings};
use crate::{Limits, ToState};

/// How far apart the marks are at most along which the log is compacted.
const MARK_EVERY_BYTES_MAX: u64 = 64 * 1024;
/// So many marks lie within the part of the log that is kept behind a snapshot.
const MARKS_KEPT: u64 = 16;

impl Group {
    /// Hands committed entries over, as many as the backlog allows.
    pub(super) fn feed(&mut self, around: &mut Surroundings<'_>) {
        let mut pages = 0;
        while self.fed < self.readable() && !self.feeding && (!self.restoring || planted!("D04")) {
            if self.fed.0.saturating_sub(self.applied.index.0) > around.limits.apply_backlog_entries_max {
                return;
            }
            // B16: a page is taken to begin after the entry at which the one before it ended, and that one to be cut off.
            let from = self.fed.next();
            let from = if pages > 0 && planted!("B16") { from.next() } else { from };
            pages += 1;
            match self.engine.entries(from, around.limits.apply_batch_bytes_max) {
                Some(entries) => {
                    let before = self.fed;
                    self.feed_entries(entries, around);
                    if self.fed == before {
                        // An engine that does not have what it said was committed: no reason to ask for ever.
                        return;
                    }
                }
                None => {
                    let bytes_max = around.limits.apply_batch_bytes_max;
                    let token = around.journal.read(self.id, self.fed.next(), self.commit, bytes_max);
                    self.reading.insert(token, Reading::Feed);
                    self.feeding = true;
                }
            }
        }
    }

    /// How far entries may be applied: as far as they are committed.
    fn readable(&self) -> Index {
        if planted!("E20") { self.engine.status().last.index } else { self.commit }
    }

    pub(super) fn feed_entries(&mut self, mut entries: Vec<Entry>, around: &mut Surroundings<'_>) {
        let commit = self.readable();
        let committed = entries.partition_point(|entry| entry.position.index <= commit);
        entries.truncate(committed);
        let Some(last) = entries.last() else { return };
        let last = last.position.index;
        // Close enough that little more is kept than was asked for, however little that is.
        let mark_every = MARK_EVERY_BYTES_MAX.min(around.limits.catch_up_log_bytes / MARKS_KEPT);
        for entry in &entries {
            let size = entry.size_bytes();
            self.log_bytes += size;
            self.fed_bytes += size;
            if self.marks.back().is_none_or(|(_, at)| self.fed_bytes - at >= mark_every) {
                self.marks.push_back((entry.position.index, self.fed_bytes));
            }
        }
        self.fed = last;
        around.out.state.push(ToState::Entries { group: self.id, entries });
    }

    /// Is a snapshot due? Then it is under way from here on.
    pub(crate) fn snapshot_due(&mut self, now: Instant, limits: &Limits) -> bool {
        let due = !self.snapshot_under_way
            && self.snapshot_not_before.is_none_or(|at| at <= now)
            && !self.restoring
            && (self.log_bytes > limits.snapshot_log_bytes_min.max(self.state_bytes)
                || self.snapshot_wanted && self.log_bytes > 0);
        self.snapshot_wanted &= !due;
        self.snapshot_under_way |= due;
        due
    }

    /// How far the log may go once a snapshot at `snapshot` is durable: up to it, but for the last `keep_bytes` before it.
    pub(crate) fn compact_to(&mut self, snapshot: Index, keep_bytes: u64) -> Index {
        let end =
            self.marks.iter().take_while(|(index, _)| *index <= snapshot).last().map_or(0, |(_, at)| *at);
        let mut to = Index::ZERO;
        while let Some((index, at)) = self.marks.front().copied()
            && index <= snapshot
            && end - at >= keep_bytes
        {
            to = index;
            self.marks.pop_front();
        }
        to
    }
}

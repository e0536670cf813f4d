//! How long a leader's own disk has been behind the best of the others', or has owed an answer to a read.

use std::collections::VecDeque;

use crate::{Duration, Index, Instant};

/// A leader whose disk is behind for so many of the longest election timeouts hands over; with the handover it has lost its lead within six (F14).
pub const DISK_LAG_TIMEOUTS_MAX: u32 = 4;

/// What a leader's own disk owes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiskLag {
    /// What another's disk has and this one has not: up to where, and when that was first seen. One mark for each look at which another had more, and none for what is
    /// durable here by now, so there are never more than looks in the time that a leader waits.
    behind: VecDeque<(Index, Instant)>,
    /// Since when old entries have been asked of it, without an answer of any kind.
    reading: Option<Instant>,
}

impl DiskLag {
    /// Looks at both ends. For how long the oldest entry that another has, and that is not durable here, has been so, to within one look; or for how long entries
    /// have been asked of the disk in vain, if that is longer. `reads`: some are being asked of it now.
    ///
    /// By the oldest: {another has 1, then 2; a second later the disk has taken 1, and hangs}: 2 has waited for that second already.
    ///
    /// By reads as well: {the disk hangs while nobody writes; S3 was away, and needs what only the disk has}: no disk is ahead of another, and S3 never gets it. Found
    /// by the simulator. An answer is owed even if nobody waits for it any more: {S3's link comes and goes}: each time it asks anew.
    pub fn look(&mut self, now: Instant, durable: Index, best: Index, reads: bool) -> Duration {
        while self.behind.front().is_some_and(|(index, _)| *index <= durable) {
            self.behind.pop_front();
        }
        if self.behind.back().map_or(durable, |(index, _)| *index) < best {
            self.behind.push_back((best, now));
        }
        if reads {
            self.reading.get_or_insert(now);
        }
        let since = self.behind.front().map(|(_, since)| *since).into_iter().chain(self.reading).min();
        since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// The disk has owed a read for longer than anybody waits.
    pub fn overdue(&mut self) {
        self.reading = Some(Instant::START);
    }

    /// The disk has answered a read, whatever it said.
    pub fn answered(&mut self) {
        self.reading = None;
    }

    /// It counts anew from the next look on.
    pub fn forget(&mut self) {
        *self = DiskLag::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    #[test]
    fn the_oldest_entry_that_the_disk_lacks_counts() {
        let mut lag = DiskLag::default();
        let mut look =
            |millis, durable, commit| lag.look(at(millis), Index(durable), Index(commit), false).as_millis();
        assert_eq!(look(0, 5, 5), 0, "nothing is missing");
        assert_eq!(look(10, 5, 6), 0);
        assert_eq!(look(500, 5, 7), 490);
        assert_eq!(look(900, 6, 8), 400, "7 has waited since 500");
        assert_eq!(look(950, 8, 8), 0);
        assert_eq!(look(2_000, 8, 9), 0, "and what comes after counts from its own time");
        lag.forget();
        assert_eq!(lag.look(at(3_000), Index(8), Index(9), false), Duration::ZERO);
    }

    #[test]
    fn a_read_that_nobody_waits_for_any_more_is_owed_until_the_disk_answers_one() {
        let mut lag = DiskLag::default();
        let look =
            |lag: &mut DiskLag, millis, reads| lag.look(at(millis), Index(5), Index(5), reads).as_millis();
        assert_eq!(look(&mut lag, 0, true), 0);
        assert_eq!(look(&mut lag, 10, false), 10);
        assert_eq!(look(&mut lag, 500, true), 500);
        lag.answered();
        assert_eq!(look(&mut lag, 600, false), 0);
        assert_eq!(look(&mut lag, 700, true), 0);
        assert_eq!(look(&mut lag, 900, true), 200);
        lag.forget();
        assert_eq!(look(&mut lag, 900, true), 0);
        lag.overdue();
        assert_eq!(look(&mut lag, 900, false), 900, "since it began");
    }
}

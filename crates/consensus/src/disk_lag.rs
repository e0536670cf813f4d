//! How long a leader's own disk has been behind the best of the others'.

use std::collections::VecDeque;

use crate::{Duration, Index, Instant};

/// A leader whose disk is behind for so many of the longest election timeouts hands over; with the handover it has lost its lead within six (F14).
pub const DISK_LAG_TIMEOUTS_MAX: u32 = 4;

/// What another's disk has and the leader's own has not: up to where, and when that was first seen. One mark for each look at which another had more, and none for what is
/// durable here by now, so there are never more than looks in the time that a leader waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiskLag(VecDeque<(Index, Instant)>);

impl DiskLag {
    /// Looks at both ends. For how long the oldest entry that another has, and that is not durable here, has been so, to within one look.
    ///
    /// By the oldest: {another has 1, then 2; a second later the disk has taken 1, and hangs}: 2 has waited for that second already.
    pub fn look(&mut self, now: Instant, durable: Index, best: Index) -> Duration {
        while self.0.front().is_some_and(|(index, _)| *index <= durable) {
            self.0.pop_front();
        }
        if self.0.back().map_or(durable, |(index, _)| *index) < best {
            self.0.push_back((best, now));
        }
        self.0.front().map_or(Duration::ZERO, |(_, since)| now.since(*since))
    }

    /// It counts anew from the next look on.
    pub fn forget(&mut self) {
        self.0.clear();
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
            |millis, durable, commit| lag.look(at(millis), Index(durable), Index(commit)).as_millis();
        assert_eq!(look(0, 5, 5), 0, "nothing is missing");
        assert_eq!(look(10, 5, 6), 0);
        assert_eq!(look(500, 5, 7), 490);
        assert_eq!(look(900, 6, 8), 400, "7 has waited since 500");
        assert_eq!(look(950, 8, 8), 0);
        assert_eq!(look(2_000, 8, 9), 0, "and what comes after counts from its own time");
        lag.forget();
        assert_eq!(lag.look(at(3_000), Index(8), Index(9)), Duration::ZERO);
    }
}

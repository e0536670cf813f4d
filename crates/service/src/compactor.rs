//! Compacts by itself: what is older than a time, or than so many revisions (etcd's `--auto-compaction-mode`).

use std::collections::VecDeque;

use quorate_consensus::{Duration, Instant};

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Everything.
    All,
    /// What was there at some time within this long.
    Period(Duration),
    /// So many revisions.
    Revisions(u64),
}

/// How often a store that keeps so many revisions is compacted; etcd's.
const REVISIONS_EVERY: Duration = Duration::from_secs(300);
/// How often one that keeps a period is, at most; etcd's.
const PERIOD_EVERY_MAX: Duration = Duration::from_secs(3_600);
/// Looks at the revision per interval.
const LOOKS: u32 = 10;

/// Decides when to compact, and to which revision. Runs on every member, and speaks on the one that leads.
#[derive(Debug)]
pub struct Compactor {
    retention: Retention,
    /// The revisions of the past, by when they were looked at: as far back as the retention reaches.
    seen: VecDeque<(Instant, u64)>,
    next_look: Instant,
    next_compaction: Instant,
}

impl Compactor {
    /// Begins to look. A period is compacted for the first time once it has passed.
    #[must_use]
    pub fn new(retention: Retention, now: Instant) -> Compactor {
        let first = match retention {
            Retention::All => Duration::ZERO,
            Retention::Period(period) => period,
            Retention::Revisions(_) => REVISIONS_EVERY,
        };
        Compactor { retention, seen: VecDeque::new(), next_look: now, next_compaction: now + first }
    }

    /// When [`Compactor::due`] is to be called next; never, if everything is kept.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.retention != Retention::All).then_some(self.next_look)
    }

    /// The revision to compact to now, if it is time. `revision` is the store's, `compacted` the one it was last compacted to.
    pub fn due(&mut self, now: Instant, revision: u64, compacted: u64) -> Option<u64> {
        if now < self.next_look {
            return None;
        }
        let target = match self.retention {
            Retention::All => return None,
            Retention::Revisions(kept) => {
                self.next_look = now + REVISIONS_EVERY;
                if now < self.next_compaction {
                    return None;
                }
                revision.checked_sub(kept)
            }
            Retention::Period(period) => {
                let every = period.min(PERIOD_EVERY_MAX);
                self.next_look = now + every / LOOKS;
                self.seen.push_back((now, revision));
                // The newest that is old enough stays as the first.
                while self.seen.get(1).is_some_and(|(at, _)| now.since(*at) >= period) {
                    self.seen.pop_front();
                }
                if now < self.next_compaction {
                    return None;
                }
                let (at, then) = self.seen.front().copied()?;
                self.next_compaction = now + every;
                (now.since(at) >= period).then_some(then)
            }
        };
        target.filter(|target| *target > compacted && *target <= revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A store that grows by one revision a second, looked at every second: when it was compacted, and to which revision.
    fn run(retention: Retention, seconds: u64) -> Vec<(u64, u64)> {
        let mut compactor = Compactor::new(retention, Instant::START);
        let mut compacted = 0;
        let mut all = Vec::new();
        for second in 0..seconds {
            let now = Instant::START + Duration::from_secs(second);
            if let Some(target) = compactor.due(now, second, compacted) {
                compacted = target;
                all.push((second, target));
            }
        }
        all
    }

    #[test]
    fn a_period_keeps_what_was_there_within_it_and_no_more_than_a_tenth_of_an_interval_else() {
        let all = run(Retention::Period(10 * MINUTE), 3_600);
        assert_eq!(
            all.len(),
            4,
            "every ten minutes, from the twentieth on: at the tenth nothing was older: {all:?}"
        );
        for (at, target) in all {
            assert!((600..=660).contains(&(at - target)), "{at} {target}");
        }
    }

    #[test]
    fn a_long_period_is_compacted_every_hour() {
        let all = run(Retention::Period(150 * MINUTE), 6 * 3_600);
        assert!((3..=4).contains(&all.len()), "{all:?}");
        for (at, target) in all {
            assert!((9_000..=9_360).contains(&(at - target)), "{at} {target}");
        }
    }

    #[test]
    fn so_many_revisions_are_kept_every_five_minutes() {
        assert_eq!(run(Retention::Revisions(400), 1_000), [(600, 200), (900, 500)]);
    }

    #[test]
    fn everything_is_kept_unless_it_is_asked_otherwise() {
        assert_eq!(run(Retention::All, 100_000), []);
        assert_eq!(Compactor::new(Retention::All, Instant::START).poll_timeout(), None);
    }
}

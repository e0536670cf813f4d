//! The steward of containers and of znodes with a time to live. Runs on the leader of the tree's group.

use quorate_consensus::{Duration, Instant};
use quorate_znodes::{Command, Reap, View};

/// Znodes that one call removes; ZooKeeper's `znode.container.maxPerMinute`.
pub const REAPS_MAX: usize = 10_000;

/// Decides which znodes have had their time.
#[derive(Clone, Debug)]
pub struct Reaper {
    every: Duration,
    unused_ms: i64,
    next_look: Instant,
}

impl Reaper {
    /// Looks `every` so often (ZooKeeper's `znode.container.checkIntervalMs`, a minute), for the first time after that. Containers that never had a
    /// child go when they are older than `unused_ms` (`znode.container.maxNeverUsedIntervalMs`, five minutes); negative: never.
    #[must_use]
    pub fn new(every: Duration, unused_ms: i64, now: Instant) -> Reaper {
        Reaper { every, unused_ms, next_look: now + every }
    }

    /// When [`Reaper::due`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.next_look
    }

    /// The removals that are due. `time_ms` is the time in milliseconds since 1970, which mtimes are in. Each is looked at again when it is carried
    /// out, so one that is asked for twice, or too early by a clock that is wrong, does no harm.
    pub fn due(&mut self, now: Instant, time_ms: i64, view: &View) -> Vec<Command> {
        if now < self.next_look {
            return Vec::new();
        }
        self.next_look = now + self.every;
        let unused_ms = self.unused_ms;
        let is_due =
            move |used: bool, mtime: i64| used || unused_ms >= 0 && time_ms.saturating_sub(mtime) > unused_ms;
        let containers =
            view.empty_containers().filter(|found| is_due(found.used, found.mtime)).map(|found| found.path);
        containers
            .chain(view.due_ttls(time_ms))
            .take(REAPS_MAX)
            .map(|path| Command::Reap(Reap { path: path.to_owned(), time_ms, unused_ms }))
            .collect()
    }
}

//! What the node counts. Plain atomics, read by the front ends' metrics whenever they like.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::peers::Peers;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, until what is returned is dropped.
    pub(crate) fn one(&self) -> One<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(self)
    }
}

/// One of what a gauge counts.
#[derive(Debug)]
pub(crate) struct One<'a>(&'a Gauge);

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Upper bounds of a duration histogram's buckets in microseconds, doubling from 1 ms as etcd's `wal_fsync_duration` does, with finer ones
/// below; what is longer falls into one more.
pub const DURATION_BOUNDS_US: [u64; 18] = [
    62, 125, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000,
    1_024_000, 2_048_000, 4_096_000, 8_192_000,
];

/// How long something took, over and over.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [Counter; DURATION_BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Durations {
    pub(crate) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = DURATION_BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].add(1);
        self.sum_us.add(us);
    }

    /// How many fell into each bucket: those up to each of [`DURATION_BOUNDS_US`] (not cumulative), then the longer ones.
    #[must_use]
    pub fn buckets(&self) -> [u64; DURATION_BOUNDS_US.len() + 1] {
        std::array::from_fn(|i| self.buckets[i].get())
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }

    /// Their sum in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

/// Everything the node counts since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commands taken from callers.
    pub proposals: Counter,
    /// Commands whose callers wait for the result.
    pub proposals_pending: Gauge,
    /// Commands whose callers were told of no result: refused, out of time, or the node stopped.
    pub proposals_failed: Counter,
    /// Linearizable reads that failed likewise.
    pub reads_failed: Counter,
    /// Reads taken from callers.
    pub reads: Counter,
    /// Calls answered with a result.
    pub answered: Counter,
    /// Calls refused by this node's limits.
    pub refused_busy: Counter,
    /// Calls whose caller gave up.
    pub cancelled: Counter,
    /// Batches of entries handed to the state half.
    pub apply_batches: Counter,
    /// Entries handed to the state half.
    pub applied: Counter,
    /// Rounds of the core: batches of inputs that were settled together.
    pub core_rounds: Counter,
    /// Inputs of the core.
    pub core_inputs: Counter,
    /// Rounds that began later than they should have, by more than the limit.
    pub core_late: Counter,
    /// Times the core was woken from sleep by another thread.
    pub core_wakeups: Arc<Counter>,
    /// Times the state thread was woken.
    pub state_wakeups: Arc<Counter>,
    /// Times the disk's writer was woken.
    pub disk_wakeups: Arc<Counter>,
    /// Bytes written to files.
    pub disk_written_bytes: Counter,
    /// File syncs.
    pub disk_syncs: Counter,
    /// How long file syncs took.
    pub disk_sync: Durations,
    /// How long the syncs of the journal's files took.
    pub journal_sync: Durations,
    /// Bytes written to the journal's files.
    pub journal_written_bytes: Counter,
    /// Syncs saved, because a later one of the same batch covers them.
    pub disk_syncs_shared: Counter,
    /// Disk operations that failed.
    pub disk_errors: Counter,
    /// Frames handed over for peers.
    pub frames_sent: Counter,
    /// Their bytes.
    pub frame_bytes_sent: Counter,
    /// Frames from peers.
    pub frames_received: Counter,
    /// Their bytes.
    pub frame_bytes_received: Counter,
    /// Frames dropped because their queue was full or their peer is not known.
    pub frames_dropped: Counter,
    /// Writes to sockets.
    pub socket_writes: Counter,
    /// Reads from sockets that brought bytes.
    pub socket_reads: Counter,
    /// Connections to peers that were lost.
    pub connections_lost: Counter,
    /// Incoming connections that were refused.
    pub connections_refused: Counter,
    /// What went to each peer and came from it.
    pub peers: Peers,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let durations = Durations::default();
        for us in [62, 63, 9_000_000] {
            durations.record(Duration::from_micros(us));
        }
        let buckets = durations.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[DURATION_BOUNDS_US.len()]), (1, 1, 1));
        assert_eq!((durations.count(), durations.sum_us()), (3, 9_000_125));
    }
}

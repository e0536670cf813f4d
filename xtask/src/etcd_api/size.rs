//! How much of everything.

use std::time::Duration;

/// How much of everything.
pub(super) struct Size {
    /// Watchers in all, and streams that carry them.
    pub(super) watches: &'static [(usize, usize)],
    /// Puts that all of these watchers are told of.
    pub(super) shots: usize,
    /// How long a rate is counted.
    pub(super) counted: Duration,
    /// Keys of a range.
    pub(super) keys: usize,
    /// Leases that end together, and when after the first was granted.
    pub(super) leases: usize,
    pub(super) lease_life: Duration,
    /// Nobody waits longer for keys to go.
    pub(super) expiry_wait_max: Duration,
    /// Keys of a full house.
    pub(super) many: usize,
    /// Before its memory is looked at.
    pub(super) settle: Duration,
}

pub(super) const FULL: Size = Size {
    watches: &[(1_000, 100), (1_000, 1_000), (5_000, 100)],
    shots: 200,
    counted: Duration::from_secs(4),
    keys: 10_000,
    leases: 100_000,
    lease_life: Duration::from_secs(90),
    expiry_wait_max: Duration::from_secs(60),
    many: 1_000_000,
    settle: Duration::from_secs(5),
};

pub(super) const QUICK: Size = Size {
    watches: &[(200, 20), (200, 200)],
    shots: 20,
    counted: Duration::from_millis(250),
    keys: 1_000,
    leases: 500,
    lease_life: Duration::from_secs(3),
    expiry_wait_max: Duration::from_secs(5),
    many: 10_000,
    settle: Duration::from_millis(500),
};

//! Time as a value: nanoseconds since a start that only the caller knows.

pub use std::time::Duration;
use std::{fmt, ops};

/// A moment on one node's monotone clock, in nanoseconds since that clock's arbitrary start. Two nodes' instants cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's start.
    pub const START: Instant = Instant(0);
    /// The last moment that can be told: what is set for it never comes.
    pub const END: Instant = Instant(u64::MAX);

    /// The moment `nanos` nanoseconds after the clock's start.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if that lies ahead (a caller's clock is monotone, but callers are many).
    #[must_use]
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, by: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1_000)
    }
}

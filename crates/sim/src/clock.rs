//! A host's own clock: an offset, and a rate that is a little wrong.

use quorate_consensus::Instant;

use crate::schedule::Time;

/// Maps true time to what one host believes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// True time at which `local` was read.
    base: Time,
    local: u64,
    drift_ppm: i64,
}

impl Clock {
    pub(crate) fn new(offset: u64, drift_ppm: i64) -> Clock {
        Clock { base: 0, local: offset, drift_ppm }
    }

    fn rate(&self) -> u128 {
        (1_000_000 + self.drift_ppm).max(1) as u128
    }

    /// What the host's clock shows at `now`.
    pub(crate) fn read(&self, now: Time) -> Instant {
        let passed = u128::from(now.saturating_sub(self.base)) * self.rate() / 1_000_000;
        Instant::from_nanos(self.local + passed as u64)
    }

    /// The first true time at which the clock shows at least `local`.
    pub(crate) fn when(&self, local: Instant) -> Time {
        let ahead = u128::from(local.as_nanos().saturating_sub(self.local)) * 1_000_000;
        self.base + ahead.div_ceil(self.rate()) as u64
    }

    /// From `now` on the clock runs at another rate.
    pub(crate) fn set_drift(&mut self, now: Time, drift_ppm: i64) {
        self.local = self.read(now).as_nanos();
        self.base = now;
        self.drift_ppm = drift_ppm;
    }

    /// The clock jumps ahead; a monotone clock never jumps back.
    pub(crate) fn jump(&mut self, now: Time, by: u64) {
        self.local = self.read(now).as_nanos() + by;
        self.base = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_the_first_moment_that_reads_at_least_so_much() {
        for drift in [-50_000, 0, 333, 50_000] {
            let mut clock = Clock::new(77, drift);
            clock.jump(1_000, 5_000);
            clock.set_drift(10_000, -drift);
            for local in [20_000u64, 999_999, 123_456_789] {
                let at = clock.when(Instant::from_nanos(local));
                assert!(clock.read(at).as_nanos() >= local);
                assert!(clock.read(at - 1).as_nanos() < local);
            }
        }
    }
}

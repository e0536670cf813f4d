//! What clocks showed, so that time may be asked of them afterwards: they drift, and they jump.

use quorate_consensus::{Duration, Instant};

use crate::{host::Host, schedule::Time};

/// A moment, as all clocks had it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moment {
    /// In true time.
    pub(crate) at: Time,
    /// On a clock that runs as fast as the fastest host's at any time, and jumps with every one.
    fast: u64,
    /// On each host's.
    local: Vec<Instant>,
}

impl Moment {
    /// The time from `earlier` to this on one host's clock; on the fastest, if the counting went from host to host.
    pub(crate) fn since(&self, earlier: &Moment, host: Option<usize>) -> Duration {
        let read = |moment: &Moment| host.and_then(|host| moment.local.get(host)).copied();
        match (read(self), read(earlier)) {
            (Some(this), Some(earlier)) => this.since(earlier),
            _ => Duration::from_nanos(self.fast.saturating_sub(earlier.fast)),
        }
    }
}

/// All clocks, followed. To be told before a clock changes its rate or jumps, and after.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    fast: u64,
    local: Vec<Instant>,
}

impl Clocks {
    /// What they show now.
    pub(crate) fn read(&mut self, now: Time, hosts: &[Host]) -> Moment {
        let local: Vec<Instant> = hosts.iter().map(|host| host.clock.read(now)).collect();
        let passed = local.iter().zip(&self.local).map(|(this, before)| this.since(*before).as_nanos());
        self.fast += passed.max().map_or(0, |passed| u64::try_from(passed).unwrap_or(u64::MAX));
        self.local.clone_from(&local);
        Moment { at: now, fast: self.fast, local }
    }
}

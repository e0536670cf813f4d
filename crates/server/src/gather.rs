//! Letting others run first where cores are scarce, so that a round carries more.
//!
//! A thread that is woken by the first of a hundred producers usually runs at once, before the other ninety-nine have had their turn on the
//! same core: a round with one input, a write with one entry, a frame with one entry, a hundred times over. Yielding once before taking the
//! inbox lets whoever is ready on this core hand over first. On an idle core it returns at once: this is batching by load, not by a timer.

use std::time::{Duration, Instant};

/// A yield that takes longer than this means that strangers hold the core. Far below a heartbeat's interval (50 ms).
const YIELD_MAX: Duration = Duration::from_millis(5);
/// For so long nobody is let past after that.
const REFRAIN: Duration = Duration::from_secs(1);

/// Whether to let others run first.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// Until then nobody is let past.
    refrain_until: Option<Instant>,
}

impl Gathering {
    /// Lets others run first, if `inputs` say that there is company and it was not costly the last time.
    ///
    /// The guard is for heartbeats and votes: beside fifty busy strangers on its core, a thread that yields before every round would wait
    /// fifty turns each time, lose its followers, and elections would make matters worse.
    pub(crate) fn let_others_run(&mut self, inputs: usize) -> bool {
        if inputs < 2 {
            return false;
        }
        let begun = Instant::now();
        if self.refrain_until.is_some_and(|until| begun < until) {
            return false;
        }
        std::thread::yield_now();
        let ended = Instant::now();
        self.took(begun, ended);
        true
    }

    fn took(&mut self, begun: Instant, ended: Instant) {
        self.refrain_until = (ended - begun > YIELD_MAX).then(|| ended + REFRAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_costly_yield_is_not_repeated_for_a_while() {
        let mut gathering = Gathering::default();
        let now = Instant::now();
        gathering.took(now, now + YIELD_MAX / 2);
        assert_eq!(gathering.refrain_until, None);
        gathering.took(now, now + YIELD_MAX * 2);
        assert!(!gathering.let_others_run(100), "strangers hold the core");
        gathering.refrain_until = Some(now);
        assert!(gathering.let_others_run(100));
    }

    #[test]
    fn a_lonely_input_waits_for_nobody() {
        assert!(!Gathering::default().let_others_run(1));
    }
}

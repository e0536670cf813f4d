//! What `srvr`, `stat`, `cons` and `mntr` count: packets, and how long requests took.

use std::time::Duration;

/// Counts of one connection, or of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Packets that came.
    pub(crate) received: u64,
    /// Packets that went.
    pub(crate) sent: u64,
    latencies: u64,
    latency_sum_us: u64,
    latency_min_ms: u64,
    latency_max_ms: u64,
    latency_last_ms: u64,
}

impl Stats {
    /// A request was answered after so long.
    pub(crate) fn answered(&mut self, after: Duration) {
        let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.latency_min_ms = if self.latencies == 0 { ms } else { self.latency_min_ms.min(ms) };
        self.latency_max_ms = self.latency_max_ms.max(ms);
        self.latency_last_ms = ms;
        self.latencies += 1;
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.latency_sum_us = self.latency_sum_us.saturating_add(us);
    }

    pub(crate) fn min_ms(&self) -> u64 {
        self.latency_min_ms
    }

    pub(crate) fn max_ms(&self) -> u64 {
        self.latency_max_ms
    }

    pub(crate) fn last_ms(&self) -> u64 {
        self.latency_last_ms
    }

    pub(crate) fn average_ms(&self) -> f64 {
        if self.latencies == 0 { 0.0 } else { self.latency_sum_us as f64 / 1_000.0 / self.latencies as f64 }
    }

    /// The average as ZooKeeper writes it: at most four digits after the point, at least one.
    pub(crate) fn average_text(&self) -> String {
        let text = format!("{:.4}", self.average_ms());
        let text = text.trim_end_matches('0');
        if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_written_as_zookeeper_writes_them() {
        let mut stats = Stats::default();
        assert_eq!(stats.average_text(), "0.0");
        stats.answered(Duration::from_millis(1));
        assert_eq!(stats.average_text(), "1.0");
        stats.answered(Duration::from_millis(2));
        stats.answered(Duration::from_millis(2));
        assert_eq!((stats.average_text().as_str(), stats.min_ms(), stats.max_ms()), ("1.6667", 1, 2));
    }
}

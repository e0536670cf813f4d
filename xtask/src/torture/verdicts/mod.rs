//! One pure function for each workload: a history in, what is wrong with it out.

pub(crate) mod append;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod watch;
pub(crate) mod zookeeper;

/// The greatest of values that were known before a moment: what whoever begins later must not be behind.
pub(crate) struct Known {
    /// (when it was known, the greatest known by then), rising in both.
    at: Vec<(u64, u64)>,
}

impl Known {
    /// Of values, and when each was known.
    pub(crate) fn new(mut facts: Vec<(u64, u64)>) -> Known {
        facts.sort_unstable();
        let mut greatest = 0;
        for (_, value) in &mut facts {
            greatest = greatest.max(*value);
            *value = greatest;
        }
        Known { at: facts }
    }

    /// The greatest that was known before `moment`; 0 if none was.
    pub(crate) fn before(&self, moment: u64) -> u64 {
        let count = self.at.partition_point(|(at, _)| *at < moment);
        count.checked_sub(1).map_or(0, |last| self.at[last].1)
    }
}

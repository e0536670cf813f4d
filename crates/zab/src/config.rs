//! Timing and limits of one group's engine.

use std::{fmt, time::Duration};

/// How an engine is to behave. [`Config::validate`] says what cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A learner gives its leader up after a silence of at least this. Default 150 ms.
    pub election_timeout_min: Duration,
    /// … and of at most this; drawn anew each time, so that not all give up at once. Default 300 ms.
    pub election_timeout_max: Duration,
    /// How often a leader pings its learners. Default 50 ms.
    pub heartbeat_interval: Duration,
    /// How long an election waits for a better vote once a quorum agrees; not at all once everybody agrees. Default 20 ms.
    pub finalize_wait: Duration,
    /// How long a prospective leader waits for a quorum to promise its epoch. Default 600 ms.
    pub init_limit: Duration,
    /// A leader gives up when it has not heard a quorum for this long (ZooKeeper's syncLimit). Default 300 ms.
    pub sync_limit: Duration,
    /// The seed of this engine's random numbers; different on every node, and in every life of it.
    pub seed: u64,
    /// The most bytes of entries in one PROPOSE or INFORM. Default 1 MiB.
    pub message_bytes_max: u64,
    /// The most unacknowledged messages with entries to one learner; also how many that came early a learner keeps. Default 256.
    pub inflight_messages_max: usize,
    /// The most unacknowledged bytes of entries to one learner. Default 16 MiB.
    pub inflight_bytes_max: u64,
    /// Proposals are refused while more bytes than this wait to be committed. Default 64 MiB.
    pub uncommitted_bytes_max: u64,
    /// The longest command. Default 8 MiB.
    pub command_bytes_max: u64,
    /// Entries kept in memory, in bytes, beside those not yet durable or committed. Default 8 MiB.
    pub tail_bytes_max: u64,
    /// The most read barriers that wait. Default 10,000.
    pub reads_waiting_max: usize,
    /// An observer may become a voter once it is at most this many entries behind. Default 1,000.
    pub promotion_lag_max: u64,
    /// The largest counter of a zxid: when it is reached, a new epoch begins (rule Z01). Default 2³² − 1, and never more.
    pub counter_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            election_timeout_min: Duration::from_millis(150),
            election_timeout_max: Duration::from_millis(300),
            heartbeat_interval: Duration::from_millis(50),
            finalize_wait: Duration::from_millis(20),
            init_limit: Duration::from_millis(600),
            sync_limit: Duration::from_millis(300),
            seed: 0,
            message_bytes_max: 1 << 20,
            inflight_messages_max: 256,
            inflight_bytes_max: 16 << 20,
            uncommitted_bytes_max: 64 << 20,
            command_bytes_max: 8 << 20,
            tail_bytes_max: 8 << 20,
            reads_waiting_max: 10_000,
            promotion_lag_max: 1_000,
            counter_max: u64::from(u32::MAX),
        }
    }
}

/// Why a configuration cannot be: the key, its value, and the mend, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What to do.
    pub mend: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.key, self.value, self.mend)
    }
}

impl std::error::Error for ConfigError {}

fn shown(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

impl Config {
    /// Checks the times against each other, and the limits.
    ///
    /// # Errors
    /// The first key that cannot be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_times()?;
        let positive = [
            ("message_bytes_max", self.message_bytes_max),
            ("inflight_messages_max", self.inflight_messages_max as u64),
            ("inflight_bytes_max", self.inflight_bytes_max),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max),
            ("command_bytes_max", self.command_bytes_max),
            ("reads_waiting_max", self.reads_waiting_max as u64),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(ConfigError { key, value: "0".into(), mend: "must be above zero".into() });
            }
        }
        // The first entry of an epoch has counter 0, and the one that ends a joint membership needs a place too.
        if !(3..=u64::from(u32::MAX)).contains(&self.counter_max) {
            let mend = format!("must be from 3 to {}", u32::MAX);
            return Err(ConfigError { key: "counter_max", value: self.counter_max.to_string(), mend });
        }
        Ok(())
    }

    /// Broadcast time ≪ election timeout, as in Raft (rule R24): with a heartbeat as long as the timeout one late ping is an election.
    fn validate_times(&self) -> Result<(), ConfigError> {
        let refuse = |key, value, mend: String| Err(ConfigError { key, value: shown(value), mend });
        let (min, max) = (self.election_timeout_min, self.election_timeout_max);
        if self.heartbeat_interval < Duration::from_millis(1) {
            return refuse("heartbeat_interval", self.heartbeat_interval, "must be at least 1 ms".into());
        }
        if min < self.heartbeat_interval * 2 {
            let mend =
                format!("must be at least twice heartbeat_interval, {}", shown(self.heartbeat_interval * 2));
            return refuse("election_timeout_min", min, mend);
        }
        if max <= min {
            return refuse(
                "election_timeout_max",
                max,
                format!("must be above election_timeout_min, {}", shown(min)),
            );
        }
        if max > Duration::from_secs(50) {
            return refuse("election_timeout_max", max, "must be at most 50,000 ms".into());
        }
        if self.finalize_wait >= min {
            let mend = format!("must be below election_timeout_min, {}", shown(min));
            return refuse("finalize_wait", self.finalize_wait, mend);
        }
        for (key, value) in [("init_limit", self.init_limit), ("sync_limit", self.sync_limit)] {
            if value < min {
                let mend = format!("must be at least election_timeout_min, {}", shown(min));
                return refuse(key, value, mend);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r24_times_are_checked_against_each_other() {
        assert_eq!(Config::default().validate(), Ok(()));
        let ms = Duration::from_millis;
        let error = |config: Config| config.validate().unwrap_err().to_string();
        assert_eq!(
            error(Config { heartbeat_interval: ms(100), ..Config::default() }),
            "election_timeout_min = 150 ms: must be at least twice heartbeat_interval, 200 ms"
        );
        assert_eq!(
            error(Config { election_timeout_max: ms(150), ..Config::default() }),
            "election_timeout_max = 150 ms: must be above election_timeout_min, 150 ms"
        );
        assert_eq!(
            error(Config { sync_limit: ms(100), ..Config::default() }),
            "sync_limit = 100 ms: must be at least election_timeout_min, 150 ms"
        );
        assert_eq!(
            error(Config { counter_max: 1 << 32, ..Config::default() }),
            "counter_max = 4294967296: must be from 3 to 4294967295"
        );
    }
}

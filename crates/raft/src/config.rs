//! Timing and limits of one group's engine.

use std::{fmt, time::Duration};

/// How an engine is to behave. [`Config::validate`] says what cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The shortest election timeout. Default 150 ms (rule R04).
    pub election_timeout_min: Duration,
    /// The longest election timeout; one is drawn anew each time. Default 300 ms.
    pub election_timeout_max: Duration,
    /// How often a leader breaks its silence. Default 50 ms (rule R02).
    pub heartbeat_interval: Duration,
    /// The seed of this engine's random numbers; different on every node, and in every life of it.
    pub seed: u64,
    /// Ask whether an election could be won before the term is raised (thesis §9.6). Default on.
    pub pre_vote: bool,
    /// A leader that does not hear from a quorum for an election timeout steps down (thesis §6.2). Default on.
    pub check_quorum: bool,
    /// The most bytes of entries in one AppendEntries. Default 1 MiB.
    pub message_bytes_max: u64,
    /// The most unanswered AppendEntries to one peer. Default 256.
    pub inflight_messages_max: usize,
    /// The most unanswered bytes of entries to one peer. Default 16 MiB.
    pub inflight_bytes_max: u64,
    /// Proposals are refused while more bytes than this wait to be committed. Default 64 MiB.
    pub uncommitted_bytes_max: u64,
    /// The longest command. Default 8 MiB.
    pub command_bytes_max: u64,
    /// Entries kept in memory, in bytes, beside those not yet durable or committed. Default 32 MiB.
    pub tail_bytes_max: u64,
    /// The most read barriers that wait. Default 10,000.
    pub reads_waiting_max: usize,
    /// A learner may become a voter once it is at most this many entries behind. Default 1,000.
    pub promotion_lag_max: u64,
    /// Reads under a lease, without a round: off unless set.
    pub lease: Option<Lease>,
}

/// A leader's lease on reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// By how much two nodes' clocks may differ in the length of one shortest election timeout. The lease ends this much earlier.
    pub clock_error: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            election_timeout_min: Duration::from_millis(150),
            election_timeout_max: Duration::from_millis(300),
            heartbeat_interval: Duration::from_millis(50),
            seed: 0,
            pre_vote: true,
            check_quorum: true,
            message_bytes_max: 1 << 20,
            inflight_messages_max: 256,
            inflight_bytes_max: 16 << 20,
            uncommitted_bytes_max: 64 << 20,
            command_bytes_max: 8 << 20,
            tail_bytes_max: 32 << 20,
            reads_waiting_max: 10_000,
            promotion_lag_max: 1_000,
            lease: None,
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

impl Config {
    /// Checks the timing rule and the limits.
    ///
    /// Rule R24; Raft §5.6: broadcast time ≪ election timeout. With a heartbeat of 150 ms and a timeout of 150 ms, one late heartbeat is an
    /// election, and the next one too.
    ///
    /// # Errors
    /// The first key that cannot be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key, value: String, mend: String| Err(ConfigError { key, value, mend });
        let shown = |duration: Duration| format!("{} ms", duration.as_millis());
        if self.heartbeat_interval < Duration::from_millis(1) {
            return refuse(
                "heartbeat_interval",
                shown(self.heartbeat_interval),
                "must be at least 1 ms".into(),
            );
        }
        if self.election_timeout_min < self.heartbeat_interval * 2 {
            let least = shown(self.heartbeat_interval * 2);
            let mend = format!("must be at least twice heartbeat_interval, {least}");
            return refuse("election_timeout_min", shown(self.election_timeout_min), mend);
        }
        if self.election_timeout_max <= self.election_timeout_min {
            let mend = format!("must be above election_timeout_min, {}", shown(self.election_timeout_min));
            return refuse("election_timeout_max", shown(self.election_timeout_max), mend);
        }
        if self.election_timeout_max > Duration::from_secs(50) {
            return refuse(
                "election_timeout_max",
                shown(self.election_timeout_max),
                "must be at most 50,000 ms".into(),
            );
        }
        for (key, value) in [
            ("message_bytes_max", self.message_bytes_max),
            ("inflight_messages_max", self.inflight_messages_max as u64),
            ("inflight_bytes_max", self.inflight_bytes_max),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max),
            ("command_bytes_max", self.command_bytes_max),
            ("reads_waiting_max", self.reads_waiting_max as u64),
        ] {
            if value == 0 {
                return refuse(key, "0".into(), "must be above zero".into());
            }
        }
        if let Some(lease) = self.lease {
            if lease.clock_error >= self.election_timeout_min {
                let mend =
                    format!("must be below election_timeout_min, {}", shown(self.election_timeout_min));
                return refuse("lease.clock_error", shown(lease.clock_error), mend);
            }
            if !self.check_quorum {
                return refuse("lease", "set".into(), "needs check_quorum = true".into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r24_timing_is_checked_against_itself() {
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
        let lease = Some(Lease { clock_error: ms(150) });
        assert!(error(Config { lease, ..Config::default() }).starts_with("lease.clock_error"));
    }
}

//! What an operator may choose, and how far a connection's state can grow.

/// Requests of one connection that may wait for their answers before no more are read from it; ZooKeeper's `globalOutstandingLimit`, which there is
/// shared by all.
pub const REQUESTS_WAITING_MAX: usize = 1_000;

/// Bytes of those requests, likewise.
pub const WAITING_BYTES_MAX: usize = 16 << 20;

/// Packets that may wait for a session that is being opened. ZooKeeper reads none of them before.
pub const EARLY_PACKETS_MAX: usize = 64;

/// Bytes of answers that one step makes before it leaves the rest for the next; one answer may be longer.
pub const STEP_BYTES_MAX: usize = 1 << 20;

/// Notifications that may wait for a connection. Past it the connection is closed: its client comes back with its watches and misses nothing that
/// ZooKeeper would not let it miss.
pub const NOTIFICATIONS_WAITING_MAX: usize = 65_536;

/// Watched paths of one connection. Past it what would set a watch fails with `ThrottledOp`; ZooKeeper has no such limit.
pub const WATCHES_MAX: usize = 1 << 20;

/// Bytes of those paths: `exists` leaves a watch on any string that fits into a packet.
pub const WATCH_BYTES_MAX: usize = 64 << 20;

/// What an operator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The shortest session timeout, in milliseconds; `minSessionTimeout`, two ticks by default.
    pub timeout_ms_min: i32,
    /// The longest session timeout, in milliseconds; `maxSessionTimeout`, twenty ticks by default.
    pub timeout_ms_max: i32,
    /// May znodes have a time to live? `extendedTypesEnabled`, which ZooKeeper leaves off by default; on by default here.
    pub ttl: bool,
    /// Are hard quotas enforced? `enforceQuota`, off by default.
    pub enforce_quota: bool,
    /// Whose credentials make one who may do everything, as `user:hash`; `DigestAuthenticationProvider.superDigest`, none by default.
    pub super_digest: Option<String>,
}

impl Settings {
    /// ZooKeeper's defaults for a tick of so many milliseconds.
    #[must_use]
    pub fn with_tick_ms(tick_ms: i32) -> Settings {
        Settings {
            timeout_ms_min: tick_ms.saturating_mul(2),
            timeout_ms_max: tick_ms.saturating_mul(20),
            ttl: true,
            enforce_quota: false,
            super_digest: None,
        }
    }

    /// The timeout for a client that wants this one.
    #[must_use]
    pub fn timeout_ms(&self, wanted: i32) -> i32 {
        wanted.min(self.timeout_ms_max).max(self.timeout_ms_min)
    }
}

/// ZooKeeper's defaults: a tick of three seconds.
impl Default for Settings {
    fn default() -> Settings {
        Settings::with_tick_ms(3_000)
    }
}

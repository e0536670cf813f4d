//! What bytes from outside can do: one target for each thing that reads them.
//!
//! A target must not panic, must not take memory without a limit, and what it read must be written and read again as the same. Three of them go
//! further: the bytes are a schedule for three engines, whose committed entries must agree; or a log of commands for a state machine beside the
//! naive model of its tests; or the files of a data directory.
//!
//! ```text
//! cargo test -p quorate-fuzz                 seeds, what was found before, and some thousand mutations of them, without a fuzzer
//! cargo xtask fuzz [TARGET…] [--seconds N]   libFuzzer, guided by coverage
//! ```
#![forbid(unsafe_code)]

mod engines;
mod journal;
mod machines;
mod mutate;
mod peers;
mod script;
mod wire;

#[path = "../../crates/keyspace/tests/common/auth_oracle.rs"]
mod auth_oracle;
#[allow(dead_code, reason = "the journal's own tests crash it, too")]
#[path = "../../crates/journal/tests/support/disk.rs"]
mod disk;
#[path = "../../crates/journal/tests/support/fixture.rs"]
mod fixture;
#[path = "../../crates/keyspace/tests/common/mod.rs"]
mod keyspace_model;
#[path = "../../crates/znodes/tests/common/mod.rs"]
mod znodes_model;

pub use mutate::mutated;

/// Something that reads bytes from outside.
#[derive(Clone, Copy)]
pub struct Target {
    /// How it is chosen.
    pub name: &'static str,
    /// Gives it these bytes.
    ///
    /// # Panics
    /// If it panics, or what it did was wrong.
    pub run: fn(&[u8]),
    /// Bytes to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "etcd-requests", run: wire::etcd_requests, seeds: wire::etcd_seeds },
    Target { name: "zookeeper-packets", run: wire::zookeeper_packets, seeds: wire::zookeeper_seeds },
    Target { name: "frames", run: peers::frames, seeds: peers::frame_seeds },
    Target { name: "records", run: peers::records, seeds: peers::record_seeds },
    Target { name: "journal", run: journal::files, seeds: journal::seeds },
    Target { name: "raft", run: engines::raft, seeds: engines::raft_seeds },
    Target { name: "zab", run: engines::zab, seeds: engines::zab_seeds },
    Target { name: "keyspace", run: machines::keyspace, seeds: machines::keyspace_seeds },
    Target { name: "znodes", run: machines::znodes, seeds: machines::znodes_seeds },
    Target { name: "verdict", run: machines::verdict, seeds: machines::verdict_seeds },
    Target { name: "snapshots", run: machines::snapshots, seeds: machines::snapshot_seeds },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

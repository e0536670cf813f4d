//! What a journal is told at its start.

use quorate_consensus::{ClusterId, Incarnation, NodeId};

/// The file whose lock keeps a second process out of the data directory; floor 5 takes it.
pub const LOCK_FILE: &str = "LOCK";

/// Sizes and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of a segment, preallocated. Default 64 MiB. A single write larger than this gets a segment of its own size.
    pub segment_bytes: u64,
    /// Sync what is written. Off only in controls, which must then lose data.
    pub sync: bool,
    /// The most bytes that one read of old entries takes from the disk. Default 8 MiB.
    pub read_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config { segment_bytes: 64 << 20, sync: true, read_bytes_max: 8 << 20 }
    }
}

/// Whose journal it is; written into every segment and checked when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// This disk.
    pub incarnation: Incarnation,
}

//! The shards of a cluster's keys, on the command line.

use clap::Subcommand;

use super::Remote;

#[derive(Debug, Subcommand)]
pub(crate) enum Shard {
    /// Show how the keys are divided among groups
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show which shard has a key, and why
    Explain {
        /// The key
        key: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Divide the keys of a cluster that has one group of them among several, each with a leader of its own. Everything goes on meanwhile; it cannot be taken back
    Divide {
        /// How many: 2 to 128
        shards: u32,
        /// The protocol that drives each: raft or zab
        #[arg(long, default_value = "raft")]
        engine: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Split a shard: a new one, with a leader of its own, gets the upper part of its keys. Everything goes on meanwhile
    Split {
        /// Its number, as `quorate shard list` shows it
        shard: u32,
        /// Where the new one begins: a hash as `0x8000000000000000`, or a key where they are divided by range; by hash, the middle if nothing is said
        #[arg(long, value_name = "TOKEN")]
        at: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Merge two shards: one gets all keys of its neighbour, the one that begins where it ends. That one is vacant then, and the next split takes it. Everything goes on meanwhile
    Merge {
        /// The number of the left one, as `quorate shard list` shows it
        left: u32,
        /// Refuse unless this is its neighbour
        #[arg(long, value_name = "SHARD")]
        right: Option<u32>,
        #[command(flatten)]
        remote: Remote,
    },
}

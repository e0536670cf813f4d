//! What a node is told at its start.

use quorate_consensus::{ClusterId, Duration, EngineKind, GroupId, Incarnation, Membership, NodeId};

/// One node's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Its disk's identity.
    pub incarnation: Incarnation,
    /// Drawn anew at each start of the process: tickets of an earlier life are not this one's.
    pub life: u64,
    /// The groups that it runs from its start. Others may come with [`NodeInput::Open`](crate::NodeInput::Open).
    pub groups: Vec<GroupConfig>,
    /// Timing and limits of the engines that speak Raft; each group draws its random numbers from `seed` and its own id.
    pub raft: quorate_raft::Config,
    /// Timing and limits of the engines that speak ZAB, likewise.
    pub zab: quorate_zab::Config,
    /// The journal.
    pub journal: quorate_journal::Config,
    /// What may grow how far.
    pub limits: Limits,
    /// Are engines to give their reasons?
    pub explain: bool,
}

/// One group of a node.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// Which.
    pub id: GroupId,
    /// Its protocol. What it is in `meta`'s records, or, at the birth of a cluster, what is wished for; a group that has promised something in another
    /// one does not start.
    pub engine: EngineKind,
    /// The membership it is born with: the same on every node, or empty on one that is not in it and joins later.
    ///
    /// {1 is told that 1, 2 and 3 founded the group, 4 that it was 1, 4 and 5}: 2 and 3 elect a leader with 1's vote, and 4 and 5 another, with its own.
    pub birth: Membership,
}

/// What may grow how far.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Proposals of this node that wait for their answer, per group. Default 100,000.
    pub proposals_waiting_max: usize,
    /// Reads that wait for their barrier, per group. Default 100,000.
    pub reads_waiting_max: usize,
    /// Committed entries handed to the state half and not yet applied, per group; past it proposals are refused as busy. Default 50,000.
    pub apply_backlog_entries_max: u64,
    /// Bytes of one batch of entries for the state half. Default 4 MiB.
    pub apply_batch_bytes_max: u64,
    /// A snapshot is due when the log since the last one exceeds this, or the state's size if that is more. Default 64 MiB.
    pub snapshot_log_bytes_min: u64,
    /// Log kept behind a snapshot, so that a follower a little behind needs no snapshot. Default 16 MiB.
    pub catch_up_log_bytes: u64,
    /// Pieces of a snapshot under way to one peer. Default 8.
    pub chunks_in_flight_max: u64,
    /// A snapshot's piece is sent again after this long without word. Default 1 s.
    pub chunk_resend_after: Duration,
    /// A snapshot transfer is given up after this long without progress. Default 10 s.
    pub transfer_timeout: Duration,
    /// How long a refused proposal or read rests before it is tried again, unless the leader changes before. Default 20 ms.
    pub retry_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            proposals_waiting_max: 100_000,
            reads_waiting_max: 100_000,
            apply_backlog_entries_max: 50_000,
            apply_batch_bytes_max: 4 << 20,
            snapshot_log_bytes_min: 64 << 20,
            catch_up_log_bytes: 16 << 20,
            chunks_in_flight_max: 8,
            chunk_resend_after: Duration::from_secs(1),
            transfer_timeout: Duration::from_secs(10),
            retry_after: Duration::from_millis(20),
        }
    }
}

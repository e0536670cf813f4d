//! Floor 4: the service, still a value. Which state machine each group runs, how an API request becomes a command or a read, and what the
//! cluster's records want of each node.
//!
//! ```text
//!   etcd request ─ kv::…::request ─► keyspace command ─► (node) ─► log ─► State ─► Reply ─ kv::…::response ─► etcd response
//!                                    read ─► barrier ─► State ─► View ─ query ─►
//!   member change ─► placement command ─► meta group ─► State tells the node what every group should become ─► answered when all are
//! ```
//!
//! Architecture Invariant: a front end converts nothing and decides nothing; what a request means, which errors it gets and in which order they
//! are looked for, is here.
//!
//! Architecture Invariant: no request to `keys` waits for `meta`.
#![forbid(unsafe_code)]

mod agreement;
pub mod auth;
pub mod backup;
pub mod cluster;
pub mod compactor;
mod error;
pub mod kv;
pub mod lease;
pub mod progress;
pub mod shards;
mod state;
pub mod watch;
pub mod zookeeper;

use quorate_consensus::GroupId;

pub use agreement::agreement_tick;
pub use error::{answer_error, auth_error, keyspace_error, placement_error, undone_error};
pub use quorate_keyspace as keyspace;
pub use quorate_node as node;
pub use quorate_placement as placement;
pub use quorate_wire as wire;
pub use quorate_znodes as znodes;
pub use state::{
    Bootstrap, FOUNDED_MAX, Founding, Identity, KeysNews, KeysSink, Reply, State, TOUCHES_MAX, TreeNews,
    TreeSink, founding_entry, shards_tick, touch, tree_word,
};

/// The group that keeps the cluster's own records: members, groups, identities of disks.
pub const META: GroupId = GroupId(1);
/// The group of the etcd API's keys.
pub const KEYS: GroupId = GroupId(2);
/// The group of ZooKeeper's tree.
pub const TREE: GroupId = GroupId(3);

/// What every response's header says beside the revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderBase {
    /// The cluster.
    pub cluster_id: u64,
    /// The member that answers.
    pub member_id: u64,
    /// The term of the `keys` group, as this member knows it.
    pub raft_term: u64,
}

impl HeaderBase {
    /// A header at `revision`.
    #[must_use]
    pub fn at(&self, revision: u64) -> quorate_wire::etcdserverpb::ResponseHeader {
        quorate_wire::etcdserverpb::ResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
            revision: signed(revision),
            raft_term: self.raft_term,
        }
    }
}

/// A count or revision as the wire has it; they stay far below the signed limit.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

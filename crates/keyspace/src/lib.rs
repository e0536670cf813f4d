//! etcd's data model as a pure, deterministic state machine: keys with revisions, transactions, leases, compaction, quota
//! and alarms.
//!
//! ```text
//!   request ──► check ──► Command ──► bytes ──► the log
//!                                                  │
//!                     Keyspace::evaluate ◄─────────┘      decides everything, writes nothing
//!                            │ Effect: does it change anything?
//!   the revision ──► Keyspace::place ──► Response, News: events (in order of revision, sub), leases
//!                            │
//!         View (reads, watches from the past) · Snapshot · digest · size
//! ```
//!
//! One idea a file: `command`, `codec` and `response` are what goes in and out; `check` what is refused; `auth` who may; `tree` the persistent tree
//! that everything is kept in; `record`, `store`, `range`, `txn`, `lease`, `compaction`, `quota` the model; `machine`, `view` and
//! `snapshot` its three faces.
//!
//! Architecture Invariant: what a command does follows from the state and the command's bytes, nothing else. No clock, no
//! configuration of a member, no order of a hash map, no background task.
//!
//! Architecture Invariant: a command does all or nothing. Whatever can fail is found out by `evaluate`, before the first write.
//!
//! Architecture Invariant: a record never changes once it is made. A version is added, or removed by the sweep of a compaction.
//!
//! Architecture Invariant: bytes from outside (the log, a snapshot, an exactly-once table) are refused or answered with an
//! error, never trusted and never a panic.
//!
//! ```
//! use quorate_consensus::{Position, StateMachine};
//! use quorate_keyspace::{Command, Keyspace, News, Put, Range};
//!
//! let mut keyspace = Keyspace::new();
//! let put = Command::Put(Put { key: "name".into(), value: "Ada".into(), ..Put::default() });
//! let placed = keyspace.apply(Position::new(1, 1), &put.encode());
//! assert_eq!(placed.response.revision, 2);
//! assert!(matches!(&placed.events[0], News::Changed(event) if event.kv.version == 1));
//!
//! let view = keyspace.view();
//! let reply = view.range(&Range { key: "name".into(), ..Range::default() }).unwrap();
//! assert_eq!(reply.kvs[0].value, "Ada");
//! ```
#![forbid(unsafe_code)]

mod auth;
mod check;
mod codec;
mod command;
mod compaction;
mod digest;
mod error;
mod lease;
mod machine;
mod merge;
mod quota;
mod range;
mod record;
mod response;
mod shard;
mod snapshot;
mod span;
mod split;
mod store;
mod tree;
mod txn;
mod unite;
mod view;

pub use auth::{
    AUTH_BYTES_MAX, As, Ask, Auth, AuthError, Authenticate, Caller, Change, PasswordHash, Permission,
    PermissionKind, ROOT, TokenDigest, User,
};
pub use check::{Limits, check, check_delete_range, check_lease_grant, check_put, check_range, check_txn};
pub use codec::{OPERATIONS_MAX, TXN_DEPTH_MAX};
pub use command::{
    Alarm, AlarmAction, AlarmKind, AlarmMember, Command, Compact, Compare, CompareResult, CompareTarget,
    DeleteRange, LeaseId, Operation, Put, Range, SetQuota, SortOrder, SortTarget, Txn,
};
pub use error::KeyspaceError;
pub use lease::Lease;
pub use machine::{Effect, Keyspace};
pub use response::{
    DeleteRangeReply, Event, EventKind, KeyValue, News, OperationReply, PutReply, RangeReply, Reply,
    Response, TxnReply,
};
pub use shard::{Shard, Weight};
pub use snapshot::Snapshot;
pub use view::{Changes, HashKv, Owners, View};

/// What a stored version counts besides its key and its value, in bytes: etcd's constant for the cost of a put, and about what our
/// trees and records take.
pub const RECORD_BYTES: u64 = 256;

/// What a lease counts against the quota, in bytes: etcd's constant.
pub const LEASE_BYTES: u64 = 64;

/// The longest time to live of a lease, in seconds: etcd's constant, some 285 years.
pub const LEASE_TTL_S_MAX: i64 = 9_000_000_000;

/// The most leases that one command ends, or checkpoints.
pub const LEASES_PER_COMMAND_MAX: usize = 1024;

/// The quota of a store that was told none, in bytes: etcd's 2 GiB.
pub const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;

/// Alarms that can be raised at a time, over all members.
pub const ALARMS_MAX: usize = 1024;

//! ZooKeeper's data model as a pure, deterministic state machine: the tree, sessions, ephemerals, ACLs, quotas, watches' triggers.
//!
//! ```text
//!   request ──► Command::check ──► Command ──► bytes ──► the log
//!                                                          │
//!                           Znodes::evaluate ◄─────────────┘    decides everything, writes nothing
//!                                  │ Effect: does it change anything?
//!   the zxid ──────► Znodes::place ──► Response, Events (in ZooKeeper's order)
//!                                  │
//!          View (reads, watches that were missed, what the steward asks) · Snapshot · digest · size
//! ```
//!
//! One idea a file: `command`, `codec`, `response`, `event` and `stat` are what goes in and out; `path`, `acl`, `address` and `quota`
//! ZooKeeper's rules about each; `check` what is refused and in which order, `write` what is done; `tree` the persistent tree that
//! everything is kept in, `meta` and `record` a znode and its bytes, `acls` and `index` what stands beside, `store` all of it; `machine`, `view`,
//! `snapshot` and `restore` its faces.
//!
//! Architecture Invariant: what a command does follows from the state and the command's bytes, nothing else. No clock: ctime, mtime
//! and the end of a time to live are decided before the log and stand in the entry.
//!
//! Architecture Invariant: a command does all or nothing. Whatever can fail is found out by `evaluate`, before the first write.
//!
//! Architecture Invariant: an ephemeral's session exists. Sessions end by an entry, which deletes their ephemerals; nothing else
//! takes a session away, and no ephemeral is created without one.
//!
//! Architecture Invariant: bytes from outside (the log, a snapshot, an exactly-once table) are refused or answered with an error,
//! never trusted and never a panic.
//!
//! # Where the rules are kept
//!
//! | rule | code | test |
//! |---|---|---|
//! | Z10 paths | `path::check_path` | `path::tests::z10_paths_are_those_that_zookeeper_accepts` |
//! | Z10 order of checks, codes | `check` | `tests/errors.rs` |
//! | Z10 sequential names, K7 | `check::prepare_create`, `write::create` | `tests/stat.rs#k7_…`, `tests/model.rs` |
//! | Z10 containers, times to live | `check::check_reap`, `View::{empty_containers, due_ttls}` | `tests/sessions.rs#z10_…` |
//! | Z10 quotas | `quota` | `tests/quota.rs` |
//! | K3 a client ahead of its server | `View::admits` | `tests/plants.rs#s05_…`, `tests/sessions.rs#k3_…` |
//! | K5 watches | `event`, `write`, `View::missed` | `tests/watches.rs`, `tests/model.rs` |
//! | K6 ephemeral as long as its session | `write::close_session`, `restore::check_znode` | `tests/sessions.rs#k6_…`, `tests/model.rs` |
//! | K8 no session ends early | `machine::plan_close` | `tests/sessions.rs#k8_…` |
//! | K9 a multi is all or nothing | `machine::try_multi` | `tests/multi.rs#k9_…`, `tests/model.rs` |
//! | K10 stat fields | `meta::Meta::stat`, `write` | `tests/stat.rs#k10_…`, `tests/model.rs` |
//! | K11 ACLs | `acl`, `check::check_acl`, `Event::readable_by` | `acl::tests`, `tests/acls.rs#k11_…` |
//! | Z11, R20 snapshots | `snapshot`, `restore` | `tests/bytes.rs`, `tests/model.rs` |
//!
//! K1, K2 and K4 are about the log and the connection, not about what the log drives.
//!
//! # Where this is not ZooKeeper
//!
//! | what | ZooKeeper | here, and why |
//! |---|---|---|
//! | a refused command, a multi of checks alone | takes a zxid | takes none: nothing changed, and the 32-bit counter of an epoch lasts longer. No client can tell but by counting |
//! | cversion at 2³¹ − 1 | documented to overflow to −2³¹, in truth stops, and sequential creation fails for ever | overflows, as documented |
//! | a quota that is deleted | takes quotas below it along, until a restart | only itself; a restart changes nothing here |
//! | hard quotas in a multi | each operation is held against what was used before the multi | against what those before it leave |
//! | password of a session | follows from its id | drawn before the log |
//! | expiry and reconnect | the leader's memory decides | the log does: an expiry decided before the client came back, or under a leader before this one, is refused |
//! | reaping | what the leader saw is what counts | it is looked at again, and refused if it has been used since |
//! | container flag in a plain `create` | makes a persistent znode | a container: the mode says what it is |
//! | null in an ACL | `MarshallingError` when something stumbles over it, else `InvalidACL` | the empty string, which is nobody: `InvalidACL` |
//! | `setACL` in a multi | the connection breaks | refused as malformed |
//! | times to live | only with `extendedTypesEnabled` | always; a front end may refuse them |
//! | ephemerals of a session that ends | deleted in the order of a hash table | in the order of their paths |
//! | `sasl` in ACLs | if it is configured | not yet |
//! | x509 ids in ACLs | parsed as a distinguished name | `name=value` parts; the match is exact either way |
//! | limits | `jute.maxbuffer` | the constants below, with BadArguments |
//!
//! ```
//! use quorate_consensus::{Position, StateMachine};
//! use quorate_znodes::*;
//!
//! let mut tree = Znodes::new();
//! let at = Position::new(1, 1);
//! let session = CreateSession { session: SessionId(7), timeout_ms: 4000, password: Password([1; 16]), owner: 1 };
//! tree.apply(at, &Command::CreateSession(session).encode());
//!
//! let caller = Caller { session: SessionId(7), owner: 1, time_ms: 1_000, ..Caller::default() };
//! let create = Create {
//!     path: "/a".into(),
//!     acl: vec![Acl::world(Permissions::ALL)],
//!     mode: CreateMode::Ephemeral,
//!     ttl_ms: -1,
//!     ..Create::default()
//! };
//! let placed = tree.apply(at, &Command::Operation(caller, Operation::Create(create)).encode());
//! assert_eq!(placed.response.zxid, 1 << 32 | 2);
//! assert_eq!(placed.events[0].kind, EventKind::Created);
//! assert_eq!(tree.view().exists("/a", &[]).unwrap().ephemeral_owner, SessionId(7));
//! ```
#![forbid(unsafe_code)]

mod acl;
mod acls;
mod address;
mod check;
mod codec;
mod command;
mod digest;
mod error;
mod event;
mod index;
mod limits;
mod machine;
mod meta;
mod path;
mod quota;
mod record;
mod response;
mod restore;
mod session;
mod snapshot;
mod stat;
mod store;
mod tree;
mod view;
mod write;

pub use acl::{Acl, Identity, Permissions, allows};
pub use command::{
    Caller, CloseSession, Command, Create, CreateMode, CreateSession, Expiry, Goodbye, Operation, Reap,
    Reattach,
};
pub use error::{LimitKind, ZnodeError};
pub use event::{Event, EventKind, WatchKind};
pub use limits::{
    ACL_BYTES_MAX, ACL_ENTRIES_MAX, CHILDREN_MAX, COMMAND_BYTES_MAX, DATA_BYTES_MAX, EPHEMERALS_MAX,
    IDENTITIES_MAX, MULTI_OPERATIONS_MAX, PATH_BYTES_MAX, SESSIONS_MAX, TTL_MS_MAX,
};
pub use machine::{Effect, Znodes};
pub use path::check_path;
pub use quota::Quota;
pub use response::{MultiFailure, OperationReply, Reply, Response};
pub use session::{Password, Session, SessionId};
pub use snapshot::Snapshot;
pub use stat::Stat;
pub use view::{EmptyContainer, View};

/// What a znode counts besides its path and its data, in bytes: about what the trees take.
pub const ZNODE_BYTES: u64 = 96;

/// What a session counts, in bytes.
pub const SESSION_BYTES: u64 = 160;

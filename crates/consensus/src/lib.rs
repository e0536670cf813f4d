//! Floor 1: the vocabulary that both protocols share, and the contracts that every other floor is built against.
//!
//! ```text
//!            Input ──► Engine::step(now) ──► Effects          (raft, zab: values, no I/O)
//!   entries committed ──► StateMachine::evaluate, place ──► response, events
//!      operations ──► Disk ──► completions                    (files in `server`, faults in `sim`)
//! ```
//!
//! Architecture Invariant: nothing here, nor on floors 2 to 4, reads a clock, draws a random number that was not seeded by
//! configuration, opens a file or a socket, or walks a map whose order can be seen. Time is passed in ([`Instant`]) and asked
//! for ([`Engine::poll_timeout`]).
//!
//! Architecture Invariant: input that comes from outside (a peer, a client, a disk, an operator) is refused, never asserted.
//! What is asserted are our own invariants, in release builds too where that is cheap.
//!
//! Architecture Invariant: an [`Engine`] names what must be durable before what; it never guesses that something is. Durability
//! is reported back to it by a monotone [`PersistToken`], so a stale report is harmless.
#![forbid(unsafe_code)]

mod codec;
mod disk;
mod disk_lag;
mod engine;
mod entry;
mod fingerprint;
mod ids;
mod membership;
mod plant;
mod random;
mod reason;
mod snapshot;
mod state_machine;
mod time;

pub use codec::{DecodeError, Reader, Writer};
pub use disk::{
    DiskCompletion, DiskError, DiskErrorKind, DiskOperation, DiskOutcome, DiskRequest, OperationId,
};
pub use disk_lag::{DISK_LAG_TIMEOUTS_MAX, DiskLag};
pub use engine::{
    Addressed, Effects, Engine, EngineKind, Fetch, FetchToken, Fetched, GroupStart, Input, Persist,
    PersistToken, Proposal, ReadRefusal, Refusal, Role, RoleChange, SnapshotOutcome, SnapshotSend, Status,
};
pub use entry::{Entry, Payload};
pub use fingerprint::{Fingerprint, FixedMap, FixedSet, fingerprint_of};
pub use ids::{ClusterId, Epoch, GroupId, Incarnation, Index, NodeId, Position, ProposalId, ReadId, ShardId};
pub use membership::{ChangeRefusal, Membership, MembershipChange, majority};
pub use plant::{PLANTS_COMPILED, Plant};
#[cfg(feature = "planted-bugs")]
pub use plant::{activate_plant, hunt_plant, plant_everywhere, plant_is_active, plant_triggers};
pub use random::Random;
pub use reason::Reason;
pub use snapshot::SnapshotMeta;
pub use state_machine::{Placed, RestoreError, StateMachine};
pub use time::{Duration, Instant};

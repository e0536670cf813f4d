//! What can be asked of the keyspace: etcd's requests as our own types, parsed once at the front door.
//!
//! Fields mean what etcd's API reference says they mean, and keep its names. Revisions, limits and filters that a client sends are
//! signed as on the wire, because etcd gives a meaning to numbers below zero; what the store itself hands out is unsigned.

use bytes::Bytes;

use crate::KeyspaceError;
use crate::auth::{As, Authenticate, Change};

/// A lease; zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// No lease.
    pub const NONE: LeaseId = LeaseId(0);
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sets a key.
    Put(Put),
    /// Deletes a key or a range of keys.
    DeleteRange(DeleteRange),
    /// Reads through the log; an ordinary read asks a [`View`](crate::View) instead.
    Range(Range),
    /// Compares, then one of two lists of operations, as one revision.
    Txn(Txn),
    /// Makes what is older than a revision unreadable.
    Compact(Compact),
    /// Raises or lowers an alarm.
    Alarm(Alarm),
    /// Sets the quota of the whole store.
    SetQuota(SetQuota),
    /// Grants a lease. Takes no revision.
    LeaseGrant {
        /// The id that it shall have; never zero.
        id: LeaseId,
        /// Its time to live in seconds, 1 to [`LEASE_TTL_S_MAX`](crate::LEASE_TTL_S_MAX); a front end raises what is too short.
        ttl_s: i64,
    },
    /// Ends a lease at a client's word. Takes a revision if keys hang on it.
    LeaseRevoke {
        /// Which one.
        id: LeaseId,
    },
    /// Ends leases whose time is over, at the word of the steward. Takes a revision if keys hang on one of them.
    LeaseExpire {
        /// The epoch of the leader whose steward it is; refused in any other.
        epoch: u64,
        /// Which ones, and the index of each one's grant: at most [`LEASES_PER_COMMAND_MAX`](crate::LEASES_PER_COMMAND_MAX). One
        /// that is gone, or was granted at another index, is left out.
        leases: Vec<(LeaseId, u64)>,
    },
    /// Notes how much is left of leases, so that the next steward need not begin anew. Takes no revision.
    LeaseCheckpoint {
        /// As in an expiry.
        epoch: u64,
        /// Lease, index of its grant, and the seconds that are left, never below zero; zero, or all of its time, forgets what was
        /// noted. As many as in an expiry, and left out as there.
        checkpoints: Vec<(LeaseId, u64, i64)>,
    },
    /// Carries the physical side of a compaction on, a bounded step; proposed by the steward while
    /// [`View::compaction_pending`](crate::View::compaction_pending) says so and no other entries do the work in passing.
    Sweep,
    /// Changes users, roles or permissions. Takes no revision.
    Auth(Change),
    /// Makes a token known to all members. Takes no revision.
    Authenticate(Authenticate),
    /// Another command, and who gives it.
    As(As),
}

/// Sets a key. Always takes a revision, even if nothing differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// The key; never empty.
    pub key: Bytes,
    /// The value; empty with `ignore_value`.
    pub value: Bytes,
    /// The lease to attach; none detaches. None with `ignore_lease`.
    pub lease: LeaseId,
    /// Answer with the key-value that was there before.
    pub prev_kv: bool,
    /// Keep the value that is there; the key must exist.
    pub ignore_value: bool,
    /// Keep the lease that is there; the key must exist.
    pub ignore_lease: bool,
}

/// Deletes a key or a range of keys. Takes a revision if there was one to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRange {
    /// The key, or the first of the range; never empty.
    pub key: Bytes,
    /// Empty: the key alone. `"\0"`: every key from `key` on. Else: the end of the range, exclusive.
    pub range_end: Bytes,
    /// Answer with the key-values that were deleted.
    pub prev_kv: bool,
}

/// Reads a key or a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The key, or the first of the range; never empty.
    pub key: Bytes,
    /// Empty: the key alone. `"\0"`: every key from `key` on. Else: the end of the range, exclusive.
    pub range_end: Bytes,
    /// At most so many key-values; zero and below: no limit.
    pub limit: i64,
    /// The revision to read at; zero and below: the latest.
    pub revision: i64,
    /// In which order to answer.
    pub sort_order: SortOrder,
    /// By what to order.
    pub sort_target: SortTarget,
    /// Answer without values.
    pub keys_only: bool,
    /// Answer with the count alone.
    pub count_only: bool,
    /// Leaves out keys modified before this revision; zero: off.
    pub min_mod_revision: i64,
    /// Leaves out keys modified after this revision; zero: off.
    pub max_mod_revision: i64,
    /// Leaves out keys created before this revision; zero: off.
    pub min_create_revision: i64,
    /// Leaves out keys created after this revision; zero: off.
    pub max_create_revision: i64,
}

/// The order of a [`Range`]'s answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// As stored: by key. With another target than the key it still sorts ascending, but only what `limit` left over.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Greatest first.
    Descend,
}

impl SortOrder {
    /// The order with this number in etcd's protobuf.
    ///
    /// # Errors
    /// [`KeyspaceError::InvalidSortOption`] for a number that etcd does not know.
    pub fn from_wire(number: i32) -> Result<SortOrder, KeyspaceError> {
        match number {
            0 => Ok(SortOrder::None),
            1 => Ok(SortOrder::Ascend),
            2 => Ok(SortOrder::Descend),
            _ => Err(KeyspaceError::InvalidSortOption),
        }
    }
}

/// What a [`Range`]'s answer is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// How often the key was put since its creation.
    Version,
    /// When the key was created.
    Create,
    /// When the key was last put.
    Mod,
    /// The value.
    Value,
}

impl SortTarget {
    /// The target with this number in etcd's protobuf.
    ///
    /// # Errors
    /// [`KeyspaceError::InvalidSortOption`] for a number that etcd does not know.
    pub fn from_wire(number: i32) -> Result<SortTarget, KeyspaceError> {
        match number {
            0 => Ok(SortTarget::Key),
            1 => Ok(SortTarget::Version),
            2 => Ok(SortTarget::Create),
            3 => Ok(SortTarget::Mod),
            4 => Ok(SortTarget::Value),
            _ => Err(KeyspaceError::InvalidSortOption),
        }
    }
}

/// If all of `compare` hold then `success`, else `failure`, as one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold; an empty list holds.
    pub compare: Vec<Compare>,
    /// Done when they hold.
    pub success: Vec<Operation>,
    /// Done when one does not.
    pub failure: Vec<Operation>,
}

impl Txn {
    /// May this transaction be answered from a view? Only if every operation of both branches is a plain range: as in etcd, a nested
    /// transaction makes it a write, whatever is in it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|operation| matches!(operation, Operation::Range(_)))
    }
}

/// One comparison of a transaction: `key`'s target, on the left, with the given value, on the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key, or the first of the range; never empty.
    pub key: Bytes,
    /// As in [`Range`]; all keys of the range must satisfy the comparison.
    pub range_end: Bytes,
    /// How the two sides must stand to each other.
    pub result: CompareResult,
    /// What is compared, and with what.
    pub target: CompareTarget,
}

/// How the two sides of a comparison must stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    /// Left = right.
    Equal,
    /// Left > right.
    Greater,
    /// Left < right.
    Less,
    /// Left ≠ right.
    NotEqual,
}

/// What a comparison looks at, and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    /// The version; of a missing key, 0.
    Version(i64),
    /// The revision of creation; of a missing key, 0.
    Create(i64),
    /// The revision of the last put; of a missing key, 0.
    Mod(i64),
    /// The value. On a missing key every comparison is false, even "not equal".
    Value(Bytes),
    /// The lease; of a missing key, none.
    Lease(LeaseId),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A request without content. Never in a log: [`check_txn`](crate::check_txn) refuses it.
    Empty,
    /// A read.
    Range(Range),
    /// A put.
    Put(Put),
    /// A deletion.
    DeleteRange(DeleteRange),
    /// A nested transaction. Its comparisons see the state before the outermost one.
    Txn(Txn),
}

/// Makes what is older than `revision` unreadable; `revision` itself stays readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compact {
    /// The oldest revision to keep.
    pub revision: i64,
    /// The caller waits until nothing is left to remove; see [`View::compaction_pending`](crate::View::compaction_pending).
    pub physical: bool,
}

/// An alarm that a member raises or an operator lowers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Raise or lower.
    pub action: AlarmAction,
    /// Which alarm of which member.
    pub alarm: AlarmMember,
}

/// What to do with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmAction {
    /// Raise it.
    Activate,
    /// Lower it.
    Deactivate,
}

/// An alarm of one member. The order is the one in which alarms are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlarmMember {
    /// The member.
    pub member: u64,
    /// What is wrong there.
    pub kind: AlarmKind,
}

/// What is wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// The quota is reached: puts are refused.
    NoSpace,
    /// Replicas differ: all writes are refused.
    Corrupt,
}

/// Sets the quota of the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetQuota {
    /// Bytes, as [`View::size_bytes`](crate::View::size_bytes) counts them. Zero: the default of 2 GiB. Below zero: no quota.
    pub bytes: i64,
}

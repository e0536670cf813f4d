//! Why the keyspace says no. The service maps these to etcd's table of codes and texts.

use std::fmt;

use quorate_consensus::{DecodeError, Reader, Writer};

use crate::{AuthError, LeaseId, codec};

/// Why a request was refused. A refused command changes nothing and takes no revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyspaceError {
    /// A key is empty.
    EmptyKey,
    /// A put that ignores the value brings one.
    ValueProvided,
    /// A put that ignores the lease brings one.
    LeaseProvided,
    /// A transaction has more operations than allowed, nested ones counted in.
    TooManyOperations,
    /// A transaction puts a key twice, or puts and deletes it.
    DuplicateKey,
    /// An order or a target that does not exist.
    InvalidSortOption,
    /// A put that keeps the value or the lease of a key that does not exist; also an empty operation in a transaction.
    KeyNotFound,
    /// The lease of a put does not exist.
    LeaseNotFound(LeaseId),
    /// A lease with this id exists.
    LeaseExists,
    /// The time to live of a lease is above [`LEASE_TTL_S_MAX`](crate::LEASE_TTL_S_MAX).
    LeaseTtlTooLarge,
    /// The word of a steward of leases came into the log in another epoch than its own.
    StaleSteward,
    /// The revision has been compacted.
    Compacted {
        /// The oldest revision that can be read, or watched from.
        compacted: u64,
    },
    /// The revision has not happened yet.
    FutureRevision {
        /// The latest revision.
        current: u64,
    },
    /// The quota is reached, or its alarm is raised: only reads, deletions and compaction go on.
    NoSpace,
    /// A member reported that replicas differ: only reads go on.
    Corrupt,
    /// More alarms than [`ALARMS_MAX`](crate::ALARMS_MAX).
    TooManyAlarms,
    /// A transaction that writes was asked of a view.
    NotReadOnly,
    /// The entry in the log is not a command.
    Malformed,
    /// The command was proposed to a shard that does not have all of its keys: they came to another shard, or have not come to this one yet. Whoever knows better where
    /// they are may propose it there.
    Moved,
    /// Users and roles cannot be changed so, or the caller may not.
    Auth(AuthError),
}

impl KeyspaceError {
    pub(crate) fn encode(self, to: &mut Writer) {
        to.u8(match self {
            KeyspaceError::EmptyKey => 1,
            KeyspaceError::ValueProvided => 2,
            KeyspaceError::LeaseProvided => 3,
            KeyspaceError::TooManyOperations => 4,
            KeyspaceError::DuplicateKey => 5,
            KeyspaceError::InvalidSortOption => 6,
            KeyspaceError::KeyNotFound => 7,
            KeyspaceError::LeaseNotFound(_) => 8,
            KeyspaceError::Compacted { .. } => 9,
            KeyspaceError::FutureRevision { .. } => 10,
            KeyspaceError::NoSpace => 11,
            KeyspaceError::Corrupt => 12,
            KeyspaceError::TooManyAlarms => 13,
            KeyspaceError::NotReadOnly => 14,
            KeyspaceError::Malformed => 15,
            KeyspaceError::LeaseExists => 16,
            KeyspaceError::LeaseTtlTooLarge => 17,
            KeyspaceError::StaleSteward => 18,
            KeyspaceError::Auth(_) => 19,
            KeyspaceError::Moved => 20,
        });
        match self {
            KeyspaceError::LeaseNotFound(lease) => codec::write_signed(to, lease.0),
            KeyspaceError::Auth(error) => error.encode(to),
            KeyspaceError::Compacted { compacted: number }
            | KeyspaceError::FutureRevision { current: number } => {
                to.varint(number);
            }
            KeyspaceError::EmptyKey
            | KeyspaceError::ValueProvided
            | KeyspaceError::LeaseProvided
            | KeyspaceError::TooManyOperations
            | KeyspaceError::DuplicateKey
            | KeyspaceError::InvalidSortOption
            | KeyspaceError::KeyNotFound
            | KeyspaceError::LeaseExists
            | KeyspaceError::LeaseTtlTooLarge
            | KeyspaceError::StaleSteward
            | KeyspaceError::NoSpace
            | KeyspaceError::Corrupt
            | KeyspaceError::TooManyAlarms
            | KeyspaceError::NotReadOnly
            | KeyspaceError::Malformed
            | KeyspaceError::Moved => {}
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<KeyspaceError, DecodeError> {
        Ok(match from.u8()? {
            1 => KeyspaceError::EmptyKey,
            2 => KeyspaceError::ValueProvided,
            3 => KeyspaceError::LeaseProvided,
            4 => KeyspaceError::TooManyOperations,
            5 => KeyspaceError::DuplicateKey,
            6 => KeyspaceError::InvalidSortOption,
            7 => KeyspaceError::KeyNotFound,
            8 => KeyspaceError::LeaseNotFound(LeaseId(codec::read_signed(from)?)),
            9 => KeyspaceError::Compacted { compacted: from.varint()? },
            10 => KeyspaceError::FutureRevision { current: from.varint()? },
            11 => KeyspaceError::NoSpace,
            12 => KeyspaceError::Corrupt,
            13 => KeyspaceError::TooManyAlarms,
            14 => KeyspaceError::NotReadOnly,
            15 => KeyspaceError::Malformed,
            16 => KeyspaceError::LeaseExists,
            17 => KeyspaceError::LeaseTtlTooLarge,
            18 => KeyspaceError::StaleSteward,
            19 => KeyspaceError::Auth(AuthError::decode(from)?),
            20 => KeyspaceError::Moved,
            value => return Err(DecodeError::Unknown { what: "keyspace error", value: value.into() }),
        })
    }
}

impl fmt::Display for KeyspaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyspaceError::EmptyKey => write!(f, "the key is empty; give a key of at least one byte"),
            KeyspaceError::ValueProvided => {
                write!(f, "the put has a value and ignore_value; leave one of them out")
            }
            KeyspaceError::LeaseProvided => {
                write!(f, "the put has a lease and ignore_lease; leave one of them out")
            }
            KeyspaceError::TooManyOperations => {
                write!(f, "the transaction has too many operations, nested ones counted in; split it")
            }
            KeyspaceError::DuplicateKey => {
                write!(
                    f,
                    "the transaction puts a key twice, or puts and deletes it; name each key once in a branch"
                )
            }
            KeyspaceError::InvalidSortOption => write!(f, "the sort order or sort target does not exist"),
            KeyspaceError::KeyNotFound => {
                write!(
                    f,
                    "the put keeps the value or lease of a key that does not exist, or an operation is empty"
                )
            }
            KeyspaceError::LeaseNotFound(lease) => {
                write!(f, "lease {:x} does not exist; grant one and put again", lease.0)
            }
            KeyspaceError::LeaseExists => {
                write!(f, "a lease with this id exists; choose another id, or none and let the server choose")
            }
            KeyspaceError::LeaseTtlTooLarge => {
                write!(
                    f,
                    "the time to live is above {} seconds; choose a shorter one",
                    crate::LEASE_TTL_S_MAX
                )
            }
            KeyspaceError::StaleSteward => {
                write!(f, "the decision on leases is that of an earlier leader; the present one decides anew")
            }
            KeyspaceError::Compacted { compacted } => {
                write!(f, "the revision has been compacted; the oldest that can be read is {compacted}")
            }
            KeyspaceError::FutureRevision { current } => {
                write!(f, "the revision has not happened yet; the latest is {current}")
            }
            KeyspaceError::NoSpace => {
                write!(f, "the quota is reached; delete keys, compact, then disarm the NOSPACE alarm")
            }
            KeyspaceError::Corrupt => {
                write!(f, "a member reported that replicas differ; replace it, then disarm the CORRUPT alarm")
            }
            KeyspaceError::TooManyAlarms => {
                write!(f, "too many alarms are raised; disarm those of members that are gone")
            }
            KeyspaceError::NotReadOnly => write!(f, "the transaction writes; send it through the log"),
            KeyspaceError::Malformed => write!(f, "the entry in the log is not a command of the keyspace"),
            KeyspaceError::Moved => {
                write!(f, "the shard does not have all of these keys: they are moving; try again")
            }
            KeyspaceError::Auth(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeyspaceError {}

impl From<AuthError> for KeyspaceError {
    fn from(error: AuthError) -> KeyspaceError {
        KeyspaceError::Auth(error)
    }
}

//! Why the tree says no.

use std::fmt;

use quorate_consensus::{DecodeError, Reader, Writer};

/// Why a request was refused. A refused command changes nothing and takes no zxid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZnodeError {
    /// A path that is none, a reserved znode, a time to live out of its range, a malformed quota.
    BadArguments,
    /// The znode, or the parent of one to be created, does not exist.
    NoNode,
    /// The ACL does not allow it.
    NoAuth,
    /// The version is not the one that was expected.
    BadVersion,
    /// The parent is an ephemeral.
    NoChildrenForEphemerals,
    /// The znode exists already.
    NodeExists,
    /// The znode has children.
    NotEmpty,
    /// The session is not there, was closed, or the password is not its own.
    SessionExpired,
    /// An ACL is empty or has an entry that is not well formed.
    InvalidAcl,
    /// Somebody else speaks for the session now. A front end closes the connection.
    SessionMoved,
    /// A hard quota would be exceeded.
    QuotaExceeded,
    /// `check` outside a multi.
    Unimplemented,
    /// A limit of ours: ZooKeeper has none there.
    Limit(LimitKind),
    /// A session with this id exists: ids are drawn before the log, and this one was drawn twice.
    SessionExists,
    /// The steward wanted to remove a znode, or end a session, that has changed since it looked.
    NotDue,
    /// The entry in the log is not a command.
    Malformed,
    /// The epoch has no zxid left (rule Z01): the same command passes in the next epoch, which the leader must begin.
    EpochFull,
    /// A write of the same client before this one did not get here, or this one has been here before ([`Caller::sequence`](crate::Caller::sequence)).
    /// A front end closes the connection.
    OutOfOrder,
}

/// Which limit was reached; see the constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// [`PATH_BYTES_MAX`](crate::PATH_BYTES_MAX).
    Path,
    /// [`DATA_BYTES_MAX`](crate::DATA_BYTES_MAX).
    Data,
    /// [`ACL_ENTRIES_MAX`](crate::ACL_ENTRIES_MAX) or [`ACL_BYTES_MAX`](crate::ACL_BYTES_MAX).
    Acl,
    /// [`IDENTITIES_MAX`](crate::IDENTITIES_MAX).
    Identities,
    /// [`CHILDREN_MAX`](crate::CHILDREN_MAX).
    Children,
    /// [`MULTI_OPERATIONS_MAX`](crate::MULTI_OPERATIONS_MAX).
    Operations,
    /// [`COMMAND_BYTES_MAX`](crate::COMMAND_BYTES_MAX).
    Command,
    /// [`SESSIONS_MAX`](crate::SESSIONS_MAX).
    Sessions,
    /// [`EPHEMERALS_MAX`](crate::EPHEMERALS_MAX).
    Ephemerals,
}

/// ZooKeeper's code for an operation of a multi that was not tried because one before it failed.
pub(crate) const RUNTIME_INCONSISTENCY: i32 = -2;

const LIMITS: [LimitKind; 9] = [
    LimitKind::Path,
    LimitKind::Data,
    LimitKind::Acl,
    LimitKind::Identities,
    LimitKind::Children,
    LimitKind::Operations,
    LimitKind::Command,
    LimitKind::Sessions,
    LimitKind::Ephemerals,
];

/// All but the limits, in the order of their tags.
const PLAIN: [ZnodeError; 17] = [
    ZnodeError::BadArguments,
    ZnodeError::NoNode,
    ZnodeError::NoAuth,
    ZnodeError::BadVersion,
    ZnodeError::NoChildrenForEphemerals,
    ZnodeError::NodeExists,
    ZnodeError::NotEmpty,
    ZnodeError::SessionExpired,
    ZnodeError::InvalidAcl,
    ZnodeError::SessionMoved,
    ZnodeError::QuotaExceeded,
    ZnodeError::Unimplemented,
    ZnodeError::SessionExists,
    ZnodeError::NotDue,
    ZnodeError::Malformed,
    ZnodeError::EpochFull,
    ZnodeError::OutOfOrder,
];

impl ZnodeError {
    /// ZooKeeper's number for it, as on its wire.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            ZnodeError::SessionExists => -1,
            // The connection is lost: what ZooKeeper's clients hear when its leader makes way for the next epoch. They connect anew.
            ZnodeError::EpochFull | ZnodeError::OutOfOrder => -4,
            ZnodeError::Malformed => -5,
            ZnodeError::Unimplemented => -6,
            ZnodeError::BadArguments | ZnodeError::Limit(_) => -8,
            ZnodeError::NoNode => -101,
            ZnodeError::NoAuth => -102,
            ZnodeError::BadVersion | ZnodeError::NotDue => -103,
            ZnodeError::NoChildrenForEphemerals => -108,
            ZnodeError::NodeExists => -110,
            ZnodeError::NotEmpty => -111,
            ZnodeError::SessionExpired => -112,
            ZnodeError::InvalidAcl => -114,
            ZnodeError::SessionMoved => -118,
            ZnodeError::QuotaExceeded => -125,
        }
    }

    pub(crate) fn encode(self, to: &mut Writer) {
        let limit = LIMITS.iter().position(|kind| self == ZnodeError::Limit(*kind));
        let plain = PLAIN.iter().position(|error| self == *error);
        match (plain, limit) {
            (Some(tag), _) => to.u8(tag as u8 + 1),
            (None, Some(tag)) => to.u8(tag as u8 + 64),
            (None, None) => unreachable!("every error is in one of the tables"),
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<ZnodeError, DecodeError> {
        let tag = from.u8()?;
        let plain = tag.checked_sub(1).and_then(|at| PLAIN.get(usize::from(at)).copied());
        let limit = tag.checked_sub(64).and_then(|at| LIMITS.get(usize::from(at)).copied());
        plain
            .or(limit.map(ZnodeError::Limit))
            .ok_or(DecodeError::Unknown { what: "error of the tree", value: tag.into() })
    }
}

impl fmt::Display for ZnodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ZnodeError::BadArguments => {
                "the path, the time to live or the quota is not valid, or the znode is reserved"
            }
            ZnodeError::NoNode => "the znode, or the parent of the one to create, does not exist",
            ZnodeError::NoAuth => "the ACL does not allow it; authenticate, or ask who has ADMIN there",
            ZnodeError::BadVersion => "the znode has another version; read it again",
            ZnodeError::NoChildrenForEphemerals => "the parent is ephemeral, and ephemerals have no children",
            ZnodeError::NodeExists => "the znode exists already",
            ZnodeError::NotEmpty => "the znode has children; delete them first",
            ZnodeError::SessionExpired => "the session has expired or never was; connect anew",
            ZnodeError::InvalidAcl => "the ACL is empty, or names a scheme or an id that does not exist",
            ZnodeError::SessionMoved => "the session is served by another connection now",
            ZnodeError::QuotaExceeded => {
                "a hard quota is reached; raise it under /zookeeper/quota, or delete"
            }
            ZnodeError::Unimplemented => "check is an operation of a multi and nothing else",
            ZnodeError::Limit(kind) => return write!(f, "{kind}"),
            ZnodeError::SessionExists => "a session with this id exists; draw another",
            ZnodeError::NotDue => "what was to be removed has been used since; look again later",
            ZnodeError::Malformed => "the entry in the log is not a command of the tree",
            ZnodeError::OutOfOrder => {
                "a write before this one was lost, and this one was not done; connect anew"
            }
            ZnodeError::EpochFull => "the epoch has no zxid left; ask again when the next one has begun",
        })
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, most): (&str, u64) = match self {
            LimitKind::Path => ("the path is longer than % bytes; shorten it", crate::PATH_BYTES_MAX as u64),
            LimitKind::Data => ("the data is longer than % bytes; split it", crate::DATA_BYTES_MAX as u64),
            LimitKind::Acl => {
                return write!(
                    f,
                    "the ACL has more than {} entries or {} bytes",
                    crate::ACL_ENTRIES_MAX,
                    crate::ACL_BYTES_MAX
                );
            }
            LimitKind::Identities => {
                ("the connection has more identities than %", crate::IDENTITIES_MAX as u64)
            }
            LimitKind::Children => ("the parent has % children; spread them", crate::CHILDREN_MAX.into()),
            LimitKind::Operations => {
                ("the multi has more than % operations; split it", crate::MULTI_OPERATIONS_MAX as u64)
            }
            LimitKind::Command => {
                ("the command has more than % bytes; split it", crate::COMMAND_BYTES_MAX as u64)
            }
            LimitKind::Sessions => ("there are % sessions; close some", crate::SESSIONS_MAX),
            LimitKind::Ephemerals => {
                ("the session has % ephemerals; use another", crate::EPHEMERALS_MAX.into())
            }
        };
        f.write_str(&what.replace('%', &most.to_string()))
    }
}

impl std::error::Error for ZnodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_reads_back_and_says_what_to_do() {
        let all = PLAIN.into_iter().chain(LIMITS.map(ZnodeError::Limit));
        let mut codes = std::collections::BTreeSet::new();
        for error in all {
            let mut to = Writer::new();
            error.encode(&mut to);
            assert_eq!(ZnodeError::decode(&mut Reader::new(to.finish())), Ok(error));
            assert!(error.to_string().len() > 20 && !error.to_string().contains('%'), "{error}");
            codes.insert(error.code());
        }
        assert!(codes.contains(&-118) && !codes.contains(&0) && !codes.contains(&RUNTIME_INCONSISTENCY));
        assert!(ZnodeError::decode(&mut Reader::new(vec![0].into())).is_err());
        assert!(ZnodeError::decode(&mut Reader::new(vec![63].into())).is_err());
        assert!(ZnodeError::decode(&mut Reader::new(vec![200].into())).is_err());
    }
}

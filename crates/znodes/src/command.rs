//! What can be asked of the tree.

use bytes::Bytes;
use quorate_consensus::Epoch;

use crate::acl::check_size;
use crate::limits::{
    ACL_BYTES_MAX, COMMAND_BYTES_MAX, DATA_BYTES_MAX, IDENTITIES_MAX, MULTI_OPERATIONS_MAX, PATH_BYTES_MAX,
};
use crate::{Acl, Identity, LimitKind, Password, SessionId, ZnodeError};

/// An entry of the log. Whatever needs a clock, a random number or a configuration was decided before, and stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// One operation of a client.
    Operation(Caller, Operation),
    /// Operations of which all are done, under one zxid, or none.
    Multi(Caller, Vec<Operation>),
    /// A new session.
    CreateSession(CreateSession),
    /// A client takes its session up again, on this connection or on another server.
    Reattach(Reattach),
    /// A session ends, and its ephemerals with it.
    CloseSession(CloseSession),
    /// The steward removes a container or a znode whose time has run out. Looked at again when it is carried out.
    Reap(Reap),
}

/// Who asks, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The session.
    pub session: SessionId,
    /// Who speaks for it; see [`Session::owner`](crate::Session::owner).
    pub owner: u64,
    /// Which of the owner's writes this is, counted from 0. One that does not come in its turn is refused as
    /// [`OutOfOrder`](ZnodeError::OutOfOrder), so that of what a client sent a prefix is done, in order, each once: whatever was lost, repeated or
    /// reordered on the way to the log. None: the order does not matter, and the write has no turn.
    pub sequence: Option<u64>,
    /// What its connection has authenticated as.
    pub identities: Vec<Identity>,
    /// The time, in milliseconds: what ctime and mtime will be.
    pub time_ms: i64,
    /// Are hard quotas enforced (ZooKeeper's `enforceQuota`)?
    pub enforce_quota: bool,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates a znode.
    Create(Create),
    /// Deletes a znode.
    Delete {
        /// Which.
        path: String,
        /// The version it must have; −1 for any.
        version: i32,
    },
    /// Sets the data of a znode.
    SetData {
        /// Of which.
        path: String,
        /// To what. None is ZooKeeper's null.
        data: Option<Bytes>,
        /// The version it must have; −1 for any.
        version: i32,
    },
    /// Sets the ACL of a znode. Not in a multi, which ZooKeeper cannot read with it.
    SetAcl {
        /// Of which.
        path: String,
        /// To what.
        acl: Vec<Acl>,
        /// The aversion it must have; −1 for any.
        version: i32,
    },
    /// Does nothing, if the znode has this version. Only in a multi.
    Check {
        /// Which znode.
        path: String,
        /// The version it must have; −1 for any, so that it only has to exist.
        version: i32,
    },
    /// What the front end cannot make sense of. It fails in its turn: after a failure before it, nobody asks what was wrong with it.
    Refused(ZnodeError),
}

/// Creates a znode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Create {
    /// Where. A sequential name is this path and ten digits.
    pub path: String,
    /// With which data. None is ZooKeeper's null.
    pub data: Option<Bytes>,
    /// With which ACL.
    pub acl: Vec<Acl>,
    /// Of which kind.
    pub mode: CreateMode,
    /// For [`CreateMode::Ttl`] and [`CreateMode::TtlSequential`]: how long it lives, in milliseconds, from 1 to
    /// [`TTL_MS_MAX`](crate::TTL_MS_MAX). For all others negative.
    pub ttl_ms: i64,
}

/// Of which kind a znode is. The numbers are the flags on ZooKeeper's wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreateMode {
    /// Stays until it is deleted.
    #[default]
    Persistent = 0,
    /// Goes with its session.
    Ephemeral = 1,
    /// Stays; its name ends with a number.
    PersistentSequential = 2,
    /// Goes with its session; its name ends with a number.
    EphemeralSequential = 3,
    /// Goes some time after it has lost its last child.
    Container = 4,
    /// Goes when it has no children and was not written for its time to live.
    Ttl = 5,
    /// The same; its name ends with a number.
    TtlSequential = 6,
    /// A container whose name ends with a number. No flags say so: it is what ZooKeeper makes of createContainer with the flags of
    /// something sequential.
    ContainerSequential = 7,
}

impl CreateMode {
    /// The mode with these flags.
    ///
    /// # Errors
    /// [`BadArguments`](ZnodeError::BadArguments) for flags that ZooKeeper does not know.
    pub fn from_flags(flags: i32) -> Result<CreateMode, ZnodeError> {
        Ok(match flags {
            0 => CreateMode::Persistent,
            1 => CreateMode::Ephemeral,
            2 => CreateMode::PersistentSequential,
            3 => CreateMode::EphemeralSequential,
            4 => CreateMode::Container,
            5 => CreateMode::Ttl,
            6 => CreateMode::TtlSequential,
            _ => return Err(ZnodeError::BadArguments),
        })
    }

    /// Does its name end with a number?
    #[must_use]
    pub fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential
                | CreateMode::EphemeralSequential
                | CreateMode::TtlSequential
                | CreateMode::ContainerSequential
        )
    }

    pub(crate) fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Has it a time to live?
    #[must_use]
    pub fn has_ttl(self) -> bool {
        matches!(self, CreateMode::Ttl | CreateMode::TtlSequential)
    }
}

/// A new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateSession {
    /// Its id, drawn before the log.
    pub session: SessionId,
    /// How long it lives without a word from its client, in milliseconds.
    pub timeout_ms: i32,
    /// Its password, drawn before the log.
    pub password: Password,
    /// Who speaks for it.
    pub owner: u64,
}

/// A client takes its session up again. Like ZooKeeper's it takes no zxid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reattach {
    /// Which session.
    pub session: SessionId,
    /// The password that the client showed.
    pub password: Password,
    /// Who speaks for it from now on. Whoever did so before is refused as moved.
    pub owner: u64,
    /// The timeout as negotiated anew, in milliseconds.
    pub timeout_ms: i32,
}

/// A session ends. Not an error if it has ended before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseSession {
    /// Which session.
    pub session: SessionId,
    /// For the steward, that has not heard from it. None for a client that says goodbye.
    pub expiry: Option<Expiry>,
    /// The client's own goodbye, in its turn. None: nobody asks who speaks for the session.
    pub goodbye: Option<Goodbye>,
}

/// What a steward knew when it decided that a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Who spoke for the session. If that is another now, the client has come back in time, and the session lives on.
    pub owner: u64,
    /// In which epoch the steward's node led. It counts in that epoch alone (rule K8): a leader that slept, and wakes to find that it has heard of nobody,
    /// may have been followed by another, to whom all clients are well known; its decision must not get into that one's log.
    pub epoch: Epoch,
}

/// A client's last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// Who says it. A late one of somebody who does not speak for the session any more is refused as moved.
    pub owner: u64,
    /// As [`Caller::sequence`].
    pub sequence: u64,
}

/// The steward removes a znode that has no children: a container that had some, or that was never used for so long, or one whose
/// time to live is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reap {
    /// Which znode.
    pub path: String,
    /// The time, in milliseconds.
    pub time_ms: i64,
    /// A container that never had a child goes when it is older than this; negative: never.
    pub unused_ms: i64,
}

impl Operation {
    /// The path that it is about; empty for one that was refused.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Operation::Create(create) => &create.path,
            Operation::Delete { path, .. }
            | Operation::SetData { path, .. }
            | Operation::SetAcl { path, .. }
            | Operation::Check { path, .. } => path,
            Operation::Refused(_) => "",
        }
    }

    fn check(&self) -> Result<(), ZnodeError> {
        let (data, acl): (Option<&Bytes>, &[Acl]) = match self {
            Operation::Create(create) => (create.data.as_ref(), &create.acl),
            Operation::SetData { data, .. } => (data.as_ref(), &[]),
            Operation::SetAcl { acl, .. } => (None, acl),
            Operation::Delete { .. } | Operation::Check { .. } | Operation::Refused(_) => (None, &[]),
        };
        if self.path().len() > PATH_BYTES_MAX {
            return Err(ZnodeError::Limit(LimitKind::Path));
        }
        if data.is_some_and(|data| data.len() > DATA_BYTES_MAX) {
            return Err(ZnodeError::Limit(LimitKind::Data));
        }
        check_size(acl)
    }
}

impl Command {
    /// Is it within the limits? To be asked before it is proposed, so that what is too large costs the log nothing.
    ///
    /// # Errors
    /// [`Limit`](ZnodeError::Limit), and [`Malformed`](ZnodeError::Malformed) for a multi that sets an ACL.
    pub fn check(&self) -> Result<(), ZnodeError> {
        let identities = |caller: &Caller| {
            let bytes: usize = caller.identities.iter().map(|who| who.scheme.len() + who.id.len()).sum();
            match caller.identities.len() {
                0..=IDENTITIES_MAX if bytes <= ACL_BYTES_MAX => Ok(()),
                _ => Err(ZnodeError::Limit(LimitKind::Identities)),
            }
        };
        match self {
            Command::Operation(caller, operation) => {
                identities(caller)?;
                operation.check()
            }
            Command::Multi(caller, operations) => {
                identities(caller)?;
                if operations.len() > MULTI_OPERATIONS_MAX {
                    return Err(ZnodeError::Limit(LimitKind::Operations));
                }
                if operations.iter().any(|operation| matches!(operation, Operation::SetAcl { .. })) {
                    return Err(ZnodeError::Malformed);
                }
                operations.iter().try_for_each(Operation::check)?;
                match operations.iter().map(Operation::bytes_hint).sum() {
                    0..=COMMAND_BYTES_MAX => Ok(()),
                    _ => Err(ZnodeError::Limit(LimitKind::Command)),
                }
            }
            Command::Reap(reap) if reap.path.len() > PATH_BYTES_MAX => {
                Err(ZnodeError::Limit(LimitKind::Path))
            }
            Command::Reap(_)
            | Command::CreateSession(_)
            | Command::Reattach(_)
            | Command::CloseSession(_) => Ok(()),
        }
    }
}

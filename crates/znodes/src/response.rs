//! What the client is told.

use quorate_consensus::{DecodeError, Reader, Writer};

use crate::codec::{read_i32, write_signed};
use crate::error::RUNTIME_INCONSISTENCY;
use crate::{Stat, ZnodeError};

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The zxid of the change; if there was none, that of the last one.
    pub zxid: u64,
    /// What was done, or why not.
    pub result: Result<Reply, ZnodeError>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of a single operation.
    Operation(OperationReply),
    /// Of a multi that was carried out: one for each operation.
    Multi(Vec<OperationReply>),
    /// Of a multi of which nothing was carried out.
    MultiFailed(MultiFailure),
    /// The session exists now.
    SessionCreated,
    /// The session goes on.
    Reattached {
        /// Its timeout.
        timeout_ms: i32,
    },
    /// The session is gone, with its ephemerals, or was gone before.
    SessionClosed,
    /// The znode is gone.
    Reaped,
}

/// What one operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationReply {
    /// A znode was created.
    Created {
        /// Its path, with the number of a sequential one.
        path: String,
        /// Its stat. ZooKeeper's first `create` shows the path alone, `create2` both.
        stat: Stat,
    },
    /// A znode was deleted.
    Deleted,
    /// Its data was set.
    DataSet(Stat),
    /// Its ACL was set.
    AclSet(Stat),
    /// It has the version.
    Checked,
}

/// Which operation of a multi failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiFailure {
    /// The place of the operation that failed, counted from zero.
    pub at: u32,
    /// Of how many.
    pub operations: u32,
    /// Why.
    pub error: ZnodeError,
}

impl MultiFailure {
    /// The code that each operation's result carries on ZooKeeper's wire: zero for those before the one that failed (which were
    /// not carried out either), its own for that, and the runtime inconsistency −2 for those after it.
    pub fn codes(&self) -> impl Iterator<Item = i32> + use<> {
        let MultiFailure { at, operations, error } = *self;
        (0..operations).map(move |place| match place.cmp(&at) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => error.code(),
            std::cmp::Ordering::Greater => RUNTIME_INCONSISTENCY,
        })
    }
}

impl Response {
    pub(crate) fn encode(&self, to: &mut Writer) {
        to.varint(self.zxid);
        match &self.result {
            Err(error) => {
                to.u8(0);
                error.encode(to);
            }
            Ok(Reply::Operation(reply)) => {
                to.u8(1);
                write_reply(reply, to);
            }
            Ok(Reply::Multi(replies)) => {
                to.u8(2);
                to.varint(replies.len() as u64);
                replies.iter().for_each(|reply| write_reply(reply, to));
            }
            Ok(Reply::MultiFailed(failure)) => {
                to.u8(3);
                to.varint(failure.at.into());
                to.varint(failure.operations.into());
                failure.error.encode(to);
            }
            Ok(Reply::SessionCreated) => to.u8(4),
            Ok(Reply::Reattached { timeout_ms }) => {
                to.u8(5);
                write_signed(to, (*timeout_ms).into());
            }
            Ok(Reply::SessionClosed) => to.u8(6),
            Ok(Reply::Reaped) => to.u8(7),
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<Response, DecodeError> {
        let zxid = from.varint()?;
        let result = match from.u8()? {
            0 => Err(ZnodeError::decode(from)?),
            1 => Ok(Reply::Operation(read_reply(from)?)),
            2 => {
                let count = from.count(1)?;
                Ok(Reply::Multi((0..count).map(|_| read_reply(from)).collect::<Result<_, _>>()?))
            }
            3 => {
                let place = |number: u64| {
                    u32::try_from(number).map_err(|_| DecodeError::Invalid { what: "place in a multi" })
                };
                Ok(Reply::MultiFailed(MultiFailure {
                    at: place(from.varint()?)?,
                    operations: place(from.varint()?)?,
                    error: ZnodeError::decode(from)?,
                }))
            }
            4 => Ok(Reply::SessionCreated),
            5 => Ok(Reply::Reattached { timeout_ms: read_i32(from)? }),
            6 => Ok(Reply::SessionClosed),
            7 => Ok(Reply::Reaped),
            value => return Err(DecodeError::Unknown { what: "reply", value: value.into() }),
        };
        Ok(Response { zxid, result })
    }
}

fn write_reply(reply: &OperationReply, to: &mut Writer) {
    match reply {
        OperationReply::Created { path, stat } => {
            to.u8(1);
            to.bytes(path.as_bytes());
            stat.encode(to);
        }
        OperationReply::Deleted => to.u8(2),
        OperationReply::DataSet(stat) => {
            to.u8(3);
            stat.encode(to);
        }
        OperationReply::AclSet(stat) => {
            to.u8(4);
            stat.encode(to);
        }
        OperationReply::Checked => to.u8(5),
    }
}

fn read_reply(from: &mut Reader) -> Result<OperationReply, DecodeError> {
    Ok(match from.u8()? {
        1 => OperationReply::Created { path: from.string()?, stat: Stat::decode(from)? },
        2 => OperationReply::Deleted,
        3 => OperationReply::DataSet(Stat::decode(from)?),
        4 => OperationReply::AclSet(Stat::decode(from)?),
        5 => OperationReply::Checked,
        value => return Err(DecodeError::Unknown { what: "reply of an operation", value: value.into() }),
    })
}

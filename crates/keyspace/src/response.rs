//! What the keyspace answers, and what it tells watchers.

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, Writer};

use crate::auth::{Auth, TokenDigest};
use crate::codec::{TXN_DEPTH_MAX, read_signed, write_signed};
use crate::{AlarmKind, AlarmMember, KeyspaceError, Lease, LeaseId};

/// A key with its value, as etcd shows it. In the event of a deletion only `key` and `mod_revision` are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision of this generation's first put.
    pub create_revision: u64,
    /// The revision of the last change.
    pub mod_revision: u64,
    /// How often the key was put in this generation, from 1.
    pub version: u64,
    /// The lease that the key hangs on.
    pub lease: LeaseId,
}

/// One change, as watchers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// Which change of its revision, from 0; the revision itself is `kv.mod_revision`.
    pub sub: u32,
    /// The key-value after the change.
    pub kv: KeyValue,
    /// The key-value at the revision before. As in etcd, none for the put that creates a key.
    pub prev: Option<KeyValue>,
}

/// What applying an entry tells whoever listens, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A key was put or deleted: what watchers are told.
    Changed(Event),
    /// A lease was granted.
    Granted(Lease),
    /// It was noted how much is left of a lease.
    Checkpointed(Lease),
    /// A lease ended, revoked or expired; the deletions of its keys were told before.
    Ended {
        /// Which one.
        id: LeaseId,
        /// The index of its grant.
        granted: u64,
    },
    /// Users, roles or permissions changed, or auth was turned on or off.
    AuthChanged {
        /// How they stand now.
        auth: Arc<Auth>,
        /// A user whose tokens are worth nothing any more: it is gone, or its password is another.
        forgotten: Option<String>,
    },
    /// A user authenticated.
    Authenticated {
        /// Which one.
        user: String,
        /// By what its token is known.
        token: TokenDigest,
        /// The index in the log at which it did.
        index: u64,
    },
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key was put.
    Put,
    /// The key was deleted.
    Delete,
}

/// What the client is told about its command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// For the response's header: the command's own revision if it changed something, else the last one before it.
    pub revision: u64,
    /// The answer, or why there is none.
    pub result: Result<Reply, KeyspaceError>,
}

/// The answer to a [`Command`](crate::Command), one variant for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a put.
    Put(PutReply),
    /// To a deletion.
    DeleteRange(DeleteRangeReply),
    /// To a range.
    Range(RangeReply),
    /// To a transaction.
    Txn(TxnReply),
    /// To a compaction.
    Compact,
    /// To an alarm: the alarm that was raised, or the one that was lowered if it was raised.
    Alarm(Option<AlarmMember>),
    /// To a new quota.
    SetQuota,
    /// To a step of the sweep.
    Sweep,
    /// To a grant: the lease.
    LeaseGrant(Lease),
    /// To a revocation.
    LeaseRevoke,
    /// To an expiry: how many leases it ended.
    LeaseExpire(u64),
    /// To a checkpoint.
    LeaseCheckpoint,
    /// To a change of users, roles or permissions.
    Auth,
    /// To who authenticates: the index in the log at which that was.
    Authenticate(u64),
}

/// The answer to a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// What was there before, if that was asked for.
    pub prev_kv: Option<KeyValue>,
}

/// The answer to a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeReply {
    /// How many keys were deleted.
    pub deleted: u64,
    /// What was deleted, in the order of keys, if that was asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// The answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The key-values.
    pub kvs: Vec<KeyValue>,
    /// The limit left some out.
    pub more: bool,
    /// Keys in the range at that revision, whatever the limit and the filters left out.
    pub count: u64,
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// The comparisons held.
    pub succeeded: bool,
    /// The answer to each operation of the branch that was taken.
    pub responses: Vec<OperationReply>,
}

/// The answer to one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationReply {
    /// For the operation's own header. Zero for a nested transaction, whose header etcd leaves empty.
    pub revision: u64,
    /// The answer: a put's, a deletion's, a range's or a transaction's.
    pub reply: Reply,
}

impl Response {
    /// Writes the response.
    pub fn encode(&self, to: &mut Writer) {
        to.varint(self.revision);
        match &self.result {
            Err(error) => {
                to.u8(0);
                error.encode(to);
            }
            Ok(reply) => write_reply(reply, to),
        }
    }

    /// Reads what [`Response::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input.
    pub fn decode(from: &mut Reader) -> Result<Response, DecodeError> {
        let revision = from.varint()?;
        let result = match from.u8()? {
            0 => Err(KeyspaceError::decode(from)?),
            tag => Ok(read_reply(tag, from, 0)?),
        };
        Ok(Response { revision, result })
    }
}

fn write_reply(reply: &Reply, to: &mut Writer) {
    match reply {
        Reply::Put(put) => {
            to.u8(1);
            to.bool(put.prev_kv.is_some());
            if let Some(kv) = &put.prev_kv {
                write_kv(kv, to);
            }
        }
        Reply::DeleteRange(delete) => {
            to.u8(2);
            to.varint(delete.deleted);
            write_kvs(&delete.prev_kvs, to);
        }
        Reply::Range(range) => {
            to.u8(3);
            to.bool(range.more);
            to.varint(range.count);
            write_kvs(&range.kvs, to);
        }
        Reply::Txn(txn) => {
            to.u8(4);
            to.bool(txn.succeeded);
            to.varint(txn.responses.len() as u64);
            for operation in &txn.responses {
                to.varint(operation.revision);
                write_reply(&operation.reply, to);
            }
        }
        Reply::Compact => to.u8(5),
        Reply::Alarm(None) => to.u8(6),
        Reply::Alarm(Some(alarm)) => {
            to.u8(7);
            write_alarm(*alarm, to);
        }
        Reply::SetQuota => to.u8(8),
        Reply::Sweep => to.u8(9),
        Reply::LeaseGrant(lease) => {
            to.u8(10);
            write_lease(lease, to);
        }
        Reply::LeaseRevoke => to.u8(11),
        Reply::LeaseExpire(ended) => {
            to.u8(12);
            to.varint(*ended);
        }
        Reply::LeaseCheckpoint => to.u8(13),
        Reply::Auth => to.u8(14),
        Reply::Authenticate(index) => {
            to.u8(15);
            to.varint(*index);
        }
    }
}

fn read_reply(tag: u8, from: &mut Reader, depth: usize) -> Result<Reply, DecodeError> {
    Ok(match tag {
        1 => Reply::Put(PutReply { prev_kv: if from.bool()? { Some(read_kv(from)?) } else { None } }),
        2 => Reply::DeleteRange(DeleteRangeReply { deleted: from.varint()?, prev_kvs: read_kvs(from)? }),
        3 => Reply::Range(RangeReply { more: from.bool()?, count: from.varint()?, kvs: read_kvs(from)? }),
        4 => {
            if depth >= TXN_DEPTH_MAX {
                return Err(DecodeError::Invalid { what: "nesting of a transaction's reply" });
            }
            let succeeded = from.bool()?;
            let count = from.count(2)?;
            let mut responses = Vec::new();
            for _ in 0..count {
                let revision = from.varint()?;
                let tag = from.u8()?;
                responses.push(OperationReply { revision, reply: read_reply(tag, from, depth + 1)? });
            }
            Reply::Txn(TxnReply { succeeded, responses })
        }
        5 => Reply::Compact,
        6 => Reply::Alarm(None),
        7 => Reply::Alarm(Some(read_alarm(from)?)),
        8 => Reply::SetQuota,
        9 => Reply::Sweep,
        10 => Reply::LeaseGrant(Lease {
            id: LeaseId(read_signed(from)?),
            ttl_s: read_signed(from)?,
            granted: from.varint()?,
            remaining_s: read_signed(from)?,
        }),
        11 => Reply::LeaseRevoke,
        12 => Reply::LeaseExpire(from.varint()?),
        13 => Reply::LeaseCheckpoint,
        14 => Reply::Auth,
        15 => Reply::Authenticate(from.varint()?),
        value => return Err(DecodeError::Unknown { what: "reply", value: value.into() }),
    })
}

fn write_kvs(kvs: &[KeyValue], to: &mut Writer) {
    to.varint(kvs.len() as u64);
    for kv in kvs {
        write_kv(kv, to);
    }
}

fn read_kvs(from: &mut Reader) -> Result<Vec<KeyValue>, DecodeError> {
    let count = from.count(6)?;
    let mut kvs = Vec::new();
    for _ in 0..count {
        kvs.push(read_kv(from)?);
    }
    Ok(kvs)
}

fn write_kv(kv: &KeyValue, to: &mut Writer) {
    to.bytes(&kv.key);
    to.bytes(&kv.value);
    to.varint(kv.create_revision);
    to.varint(kv.mod_revision);
    to.varint(kv.version);
    write_signed(to, kv.lease.0);
}

fn read_kv(from: &mut Reader) -> Result<KeyValue, DecodeError> {
    Ok(KeyValue {
        key: from.bytes()?,
        value: from.bytes()?,
        create_revision: from.varint()?,
        mod_revision: from.varint()?,
        version: from.varint()?,
        lease: LeaseId(read_signed(from)?),
    })
}

pub(crate) fn write_lease(lease: &Lease, to: &mut Writer) {
    write_signed(to, lease.id.0);
    write_signed(to, lease.ttl_s);
    to.varint(lease.granted);
    write_signed(to, lease.remaining_s);
}

pub(crate) fn write_alarm(alarm: AlarmMember, to: &mut Writer) {
    to.varint(alarm.member);
    to.u8(match alarm.kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    });
}

pub(crate) fn read_alarm(from: &mut Reader) -> Result<AlarmMember, DecodeError> {
    let member = from.varint()?;
    let kind = alarm_kind(from.u8()?)?;
    Ok(AlarmMember { member, kind })
}

pub(crate) fn alarm_kind(tag: u8) -> Result<AlarmKind, DecodeError> {
    match tag {
        1 => Ok(AlarmKind::NoSpace),
        2 => Ok(AlarmKind::Corrupt),
        value => Err(DecodeError::Unknown { what: "alarm", value: value.into() }),
    }
}

//! Commands as bytes in the log.
//!
//! ```text
//! command   = version (2) · tag · fields
//! caller    = session · owner · sequence (0 for none | it + 1) · identities (a count, then scheme · id each) · time · enforces quotas
//! operation = tag · path · fields; one that was refused has no path, and its error for a field
//! create    = mode · time to live · data · acl
//! acl       = a count, then permissions · scheme · id each
//! data      = 0 (null) | length + 1 · bytes
//! ```
//!
//! Every value has one encoding, so that equal commands are equal bytes. Decoding is bounded by the input: lengths and counts are
//! checked against what is left, counts against the limits too. Data shares the entry's memory.

use bytes::Bytes;
use quorate_consensus::{DecodeError, Epoch, Reader, Writer};

use crate::limits::{ACL_ENTRIES_MAX, IDENTITIES_MAX, MULTI_OPERATIONS_MAX};
use crate::session::read_password;
use crate::{
    Acl, Caller, CloseSession, Command, Create, CreateMode, CreateSession, Expiry, Goodbye, Identity,
    Operation, Permissions, Reap, Reattach, SessionId, ZnodeError,
};

/// The first byte of every command.
const VERSION: u8 = 2;

impl Command {
    /// The bytes of this command, for the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::with_capacity(self.bytes_hint());
        to.u8(VERSION);
        match self {
            Command::Operation(caller, operation) => {
                to.u8(1);
                write_caller(caller, &mut to);
                write_operation(operation, &mut to);
            }
            Command::Multi(caller, operations) => {
                to.u8(2);
                write_caller(caller, &mut to);
                to.varint(operations.len() as u64);
                operations.iter().for_each(|operation| write_operation(operation, &mut to));
            }
            Command::CreateSession(create) => {
                to.u8(3);
                write_signed(&mut to, create.session.0);
                to.raw(&create.password.0);
                to.varint(create.owner);
                write_signed(&mut to, create.timeout_ms.into());
            }
            Command::Reattach(reattach) => {
                to.u8(4);
                write_signed(&mut to, reattach.session.0);
                to.raw(&reattach.password.0);
                to.varint(reattach.owner);
                write_signed(&mut to, reattach.timeout_ms.into());
            }
            Command::CloseSession(close) => {
                to.u8(5);
                write_signed(&mut to, close.session.0);
                to.bool(close.expiry.is_some());
                if let Some(Expiry { owner, epoch }) = close.expiry {
                    to.varint(owner);
                    to.varint(epoch.0);
                }
                to.bool(close.goodbye.is_some());
                if let Some(Goodbye { owner, sequence }) = close.goodbye {
                    to.varint(owner);
                    to.varint(sequence);
                }
            }
            Command::Reap(reap) => {
                to.u8(6);
                to.bytes(reap.path.as_bytes());
                write_signed(&mut to, reap.time_ms);
                write_signed(&mut to, reap.unused_ms);
            }
        }
        to.finish()
    }

    /// Reads what [`Command::encode`] wrote; data shares `bytes`.
    ///
    /// # Errors
    /// Truncated or malformed input, or another version.
    pub fn decode(bytes: &Bytes) -> Result<Command, DecodeError> {
        let mut from = Reader::new(bytes.clone());
        match from.u8()? {
            VERSION => {}
            value => return Err(DecodeError::Unknown { what: "version of a command", value: value.into() }),
        }
        let command = match from.u8()? {
            1 => Command::Operation(read_caller(&mut from)?, read_operation(&mut from)?),
            2 => {
                let caller = read_caller(&mut from)?;
                let count = read_count(&mut from, 3, MULTI_OPERATIONS_MAX, "number of operations")?;
                Command::Multi(
                    caller,
                    (0..count).map(|_| read_operation(&mut from)).collect::<Result<_, _>>()?,
                )
            }
            3 => Command::CreateSession(CreateSession {
                session: SessionId(read_signed(&mut from)?),
                password: read_password(&mut from)?,
                owner: from.varint()?,
                timeout_ms: read_i32(&mut from)?,
            }),
            4 => Command::Reattach(Reattach {
                session: SessionId(read_signed(&mut from)?),
                password: read_password(&mut from)?,
                owner: from.varint()?,
                timeout_ms: read_i32(&mut from)?,
            }),
            5 => Command::CloseSession(CloseSession {
                session: SessionId(read_signed(&mut from)?),
                expiry: if from.bool()? {
                    Some(Expiry { owner: from.varint()?, epoch: Epoch(from.varint()?) })
                } else {
                    None
                },
                goodbye: if from.bool()? {
                    Some(Goodbye { owner: from.varint()?, sequence: from.varint()? })
                } else {
                    None
                },
            }),
            6 => Command::Reap(Reap {
                path: from.string()?,
                time_ms: read_signed(&mut from)?,
                unused_ms: read_signed(&mut from)?,
            }),
            value => return Err(DecodeError::Unknown { what: "command", value: value.into() }),
        };
        from.finish()?;
        Ok(command)
    }

    fn bytes_hint(&self) -> usize {
        match self {
            Command::Operation(_, operation) => 64 + operation.bytes_hint(),
            Command::Multi(_, operations) => 64 + operations.iter().map(Operation::bytes_hint).sum::<usize>(),
            Command::Reap(reap) => 32 + reap.path.len(),
            Command::CreateSession(_) | Command::Reattach(_) | Command::CloseSession(_) => 64,
        }
    }
}

impl Operation {
    /// About how many bytes it takes.
    pub(crate) fn bytes_hint(&self) -> usize {
        let acl_bytes = |acl: &[Acl]| {
            acl.iter().map(|entry| 12 + entry.identity.scheme.len() + entry.identity.id.len()).sum::<usize>()
        };
        let rest = match self {
            Operation::Create(create) => create.data.as_ref().map_or(0, Bytes::len) + acl_bytes(&create.acl),
            Operation::SetData { data, .. } => data.as_ref().map_or(0, Bytes::len),
            Operation::SetAcl { acl, .. } => acl_bytes(acl),
            Operation::Delete { .. } | Operation::Check { .. } | Operation::Refused(_) => 0,
        };
        24 + self.path().len() + rest
    }
}

/// Zigzag, then a varint: small numbers of either sign are short.
pub(crate) fn write_signed(to: &mut Writer, value: i64) {
    to.varint(((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn read_signed(from: &mut Reader) -> Result<i64, DecodeError> {
    let value = from.varint()?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

pub(crate) fn read_i32(from: &mut Reader) -> Result<i32, DecodeError> {
    i32::try_from(read_signed(from)?).map_err(|_| DecodeError::Invalid { what: "32-bit number" })
}

/// A count of things that take at least `bytes_each` bytes each, of which a command never has more than `most`: what is made of them
/// is larger than they are.
fn read_count(
    from: &mut Reader,
    bytes_each: usize,
    most: usize,
    what: &'static str,
) -> Result<usize, DecodeError> {
    let count = from.count(bytes_each)?;
    if count > most { Err(DecodeError::Invalid { what }) } else { Ok(count) }
}

fn write_identity(identity: &Identity, to: &mut Writer) {
    to.bytes(identity.scheme.as_bytes());
    to.bytes(identity.id.as_bytes());
}

fn read_identity(from: &mut Reader) -> Result<Identity, DecodeError> {
    Ok(Identity { scheme: from.string()?, id: from.string()? })
}

fn write_caller(caller: &Caller, to: &mut Writer) {
    write_signed(to, caller.session.0);
    to.varint(caller.owner);
    // The last number is nobody's: no connection writes that often.
    to.varint(caller.sequence.map_or(0, |sequence| sequence.saturating_add(1)));
    to.varint(caller.identities.len() as u64);
    caller.identities.iter().for_each(|identity| write_identity(identity, to));
    write_signed(to, caller.time_ms);
    to.bool(caller.enforce_quota);
}

fn read_caller(from: &mut Reader) -> Result<Caller, DecodeError> {
    let (session, owner) = (SessionId(read_signed(from)?), from.varint()?);
    let sequence = from.varint()?.checked_sub(1);
    let count = read_count(from, 2, IDENTITIES_MAX, "number of identities")?;
    Ok(Caller {
        session,
        owner,
        sequence,
        identities: (0..count).map(|_| read_identity(from)).collect::<Result<_, _>>()?,
        time_ms: read_signed(from)?,
        enforce_quota: from.bool()?,
    })
}

pub(crate) fn write_acl(acl: &[Acl], to: &mut Writer) {
    to.varint(acl.len() as u64);
    for entry in acl {
        write_signed(to, entry.permissions.0.into());
        write_identity(&entry.identity, to);
    }
}

pub(crate) fn read_acl(from: &mut Reader) -> Result<Vec<Acl>, DecodeError> {
    let count = read_count(from, 3, ACL_ENTRIES_MAX, "number of entries of an ACL")?;
    (0..count)
        .map(|_| Ok(Acl { permissions: Permissions(read_i32(from)?), identity: read_identity(from)? }))
        .collect()
}

fn write_data(data: Option<&Bytes>, to: &mut Writer) {
    match data {
        None => to.varint(0),
        Some(data) => {
            to.varint(data.len() as u64 + 1);
            to.raw(data);
        }
    }
}

fn read_data(from: &mut Reader) -> Result<Option<Bytes>, DecodeError> {
    match from.varint()? {
        0 => Ok(None),
        length => {
            let length = usize::try_from(length - 1).map_err(|_| DecodeError::Truncated)?;
            from.raw(length).map(Some)
        }
    }
}

fn write_operation(operation: &Operation, to: &mut Writer) {
    to.u8(match operation {
        Operation::Create(_) => 1,
        Operation::Delete { .. } => 2,
        Operation::SetData { .. } => 3,
        Operation::SetAcl { .. } => 4,
        Operation::Check { .. } => 5,
        Operation::Refused(_) => 6,
    });
    to.bytes(operation.path().as_bytes());
    match operation {
        Operation::Create(create) => {
            to.u8(create.mode as u8);
            write_signed(to, create.ttl_ms);
            write_data(create.data.as_ref(), to);
            write_acl(&create.acl, to);
        }
        Operation::Delete { version, .. } | Operation::Check { version, .. } => {
            write_signed(to, (*version).into())
        }
        Operation::SetData { data, version, .. } => {
            write_data(data.as_ref(), to);
            write_signed(to, (*version).into());
        }
        Operation::SetAcl { acl, version, .. } => {
            write_acl(acl, to);
            write_signed(to, (*version).into());
        }
        Operation::Refused(error) => error.encode(to),
    }
}

fn read_mode(from: &mut Reader) -> Result<CreateMode, DecodeError> {
    const BEYOND_THE_FLAGS: u8 = CreateMode::ContainerSequential as u8;
    match from.u8()? {
        BEYOND_THE_FLAGS => Ok(CreateMode::ContainerSequential),
        flags => {
            CreateMode::from_flags(flags.into()).map_err(|_| DecodeError::Invalid { what: "mode of a znode" })
        }
    }
}

fn read_operation(from: &mut Reader) -> Result<Operation, DecodeError> {
    let tag = from.u8()?;
    let path = from.string()?;
    Ok(match tag {
        1 => Operation::Create(Create {
            path,
            mode: read_mode(from)?,
            ttl_ms: read_signed(from)?,
            data: read_data(from)?,
            acl: read_acl(from)?,
        }),
        2 => Operation::Delete { path, version: read_i32(from)? },
        3 => Operation::SetData { path, data: read_data(from)?, version: read_i32(from)? },
        4 => Operation::SetAcl { path, acl: read_acl(from)?, version: read_i32(from)? },
        5 => Operation::Check { path, version: read_i32(from)? },
        6 if path.is_empty() => Operation::Refused(ZnodeError::decode(from)?),
        value => return Err(DecodeError::Unknown { what: "operation", value: value.into() }),
    })
}

//! Commands as bytes in the log.
//!
//! ```text
//! command   = version (1) · tag · fields
//! put       = flags · key · value · [lease]              flags: prev_kv 1, ignore_value 2, ignore_lease 4, lease follows 8
//! delete    = flags · key · range_end                    flags: prev_kv 1
//! range     = mask (u16 varint) · key · range_end · the numbers that the mask names, in order
//! txn       = compares · success · failure               each a count, then so many
//! compare   = result | target << 4 · key · range_end · right-hand side
//! operation = tag · fields
//! grant, revoke = lease · [time to live]                 expire, checkpoint = epoch · count · (lease · granted · [remaining])…
//! what has to do with users: `auth/codec.rs`
//! ```
//!
//! Every value has one encoding (a number that is zero is left out by its mask, a present zero is refused), so that equal commands
//! are equal bytes. Decoding is bounded by the input: lengths and counts are checked against what is left, operations against
//! [`OPERATIONS_MAX`], nesting against [`TXN_DEPTH_MAX`]. Keys and values share the entry's memory.

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, Writer};

use crate::auth;
use crate::response::{read_alarm, write_alarm};
use crate::{
    Alarm, AlarmAction, Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange,
    LEASES_PER_COMMAND_MAX, LeaseId, Operation, Put, Range, SetQuota, SortOrder, SortTarget, Txn,
};

/// The first byte of every command.
const VERSION: u8 = 1;

/// The tag of a command in somebody's name.
const AS: u8 = 16;

/// Transactions in transactions, the outermost counted: deeper ones are refused before the log and in it.
pub const TXN_DEPTH_MAX: usize = 64;

/// Comparisons and operations of one command, over all levels and branches. The service's own limit is far below
/// ([`Limits::txn_operations_max`](crate::Limits)); this one bounds what a damaged entry can make a replica allocate.
pub const OPERATIONS_MAX: usize = 1 << 16;

impl Command {
    /// The bytes of this command, for the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::with_capacity(self.bytes_hint());
        to.u8(VERSION);
        self.write(&mut to);
        to.finish()
    }

    /// Without the version.
    fn write(&self, to: &mut Writer) {
        match self {
            Command::Put(put) => {
                to.u8(1);
                write_put(put, to);
            }
            Command::DeleteRange(delete) => {
                to.u8(2);
                write_delete(delete, to);
            }
            Command::Range(range) => {
                to.u8(3);
                write_range(range, to);
            }
            Command::Txn(txn) => {
                to.u8(4);
                write_txn(txn, to);
            }
            Command::Compact(compact) => {
                to.u8(5);
                to.bool(compact.physical);
                write_signed(to, compact.revision);
            }
            Command::Alarm(alarm) => {
                to.u8(match alarm.action {
                    AlarmAction::Activate => 6,
                    AlarmAction::Deactivate => 7,
                });
                write_alarm(alarm.alarm, to);
            }
            Command::SetQuota(quota) => {
                to.u8(8);
                write_signed(to, quota.bytes);
            }
            Command::Sweep => to.u8(9),
            Command::LeaseGrant { id, ttl_s } => {
                to.u8(10);
                write_signed(to, id.0);
                write_signed(to, *ttl_s);
            }
            Command::LeaseRevoke { id } => {
                to.u8(11);
                write_signed(to, id.0);
            }
            Command::LeaseExpire { epoch, leases } => {
                to.u8(12);
                to.varint(*epoch);
                to.varint(leases.len() as u64);
                for (id, granted) in leases {
                    write_signed(to, id.0);
                    to.varint(*granted);
                }
            }
            Command::LeaseCheckpoint { epoch, checkpoints } => {
                to.u8(13);
                to.varint(*epoch);
                to.varint(checkpoints.len() as u64);
                for (id, granted, remaining_s) in checkpoints {
                    write_signed(to, id.0);
                    to.varint(*granted);
                    write_signed(to, *remaining_s);
                }
            }
            Command::Auth(change) => {
                to.u8(14);
                auth::write_change(change, to);
            }
            Command::Authenticate(authenticate) => {
                to.u8(15);
                auth::write_authenticate(authenticate, to);
            }
            Command::As(command) => {
                to.u8(AS);
                auth::write_as(command, to, Command::write);
            }
        }
    }

    /// Reads what [`Command::encode`] wrote; keys and values share `bytes`.
    ///
    /// # Errors
    /// Truncated or malformed input, another version, or more nesting or operations than any command has.
    pub fn decode(bytes: &Bytes) -> Result<Command, DecodeError> {
        let mut from = Reader::new(bytes.clone());
        match from.u8()? {
            VERSION => {}
            value => return Err(DecodeError::Unknown { what: "version of a command", value: value.into() }),
        }
        let command = match from.peek() {
            Some(AS) => {
                from.u8()?;
                Command::As(auth::read_as(&mut from, Command::read)?)
            }
            _ => Command::read(&mut from)?,
        };
        from.finish()?;
        Ok(command)
    }

    /// One that is in nobody's name, without the version: a command in somebody's name is in no other.
    fn read(from: &mut Reader) -> Result<Command, DecodeError> {
        Ok(match from.u8()? {
            1 => Command::Put(read_put(from)?),
            2 => Command::DeleteRange(read_delete(from)?),
            3 => Command::Range(read_range(from)?),
            4 => Command::Txn(read_txn(
                from,
                &mut Budget { operations: OPERATIONS_MAX, depth: TXN_DEPTH_MAX },
            )?),
            5 => Command::Compact(Compact { physical: from.bool()?, revision: read_signed(from)? }),
            6 => Command::Alarm(Alarm { action: AlarmAction::Activate, alarm: read_alarm(from)? }),
            7 => Command::Alarm(Alarm { action: AlarmAction::Deactivate, alarm: read_alarm(from)? }),
            8 => Command::SetQuota(SetQuota { bytes: read_signed(from)? }),
            9 => Command::Sweep,
            10 => Command::LeaseGrant { id: LeaseId(read_signed(from)?), ttl_s: read_signed(from)? },
            11 => Command::LeaseRevoke { id: LeaseId(read_signed(from)?) },
            12 => Command::LeaseExpire {
                epoch: from.varint()?,
                leases: read_leases(from, 2, |from| Ok((LeaseId(read_signed(from)?), from.varint()?)))?,
            },
            13 => Command::LeaseCheckpoint {
                epoch: from.varint()?,
                checkpoints: read_leases(from, 3, |from| {
                    Ok((LeaseId(read_signed(from)?), from.varint()?, read_signed(from)?))
                })?,
            },
            14 => Command::Auth(auth::read_change(from)?),
            15 => Command::Authenticate(auth::read_authenticate(from)?),
            value => return Err(DecodeError::Unknown { what: "command", value: value.into() }),
        })
    }

    fn bytes_hint(&self) -> usize {
        match self {
            Command::Put(put) => put.key.len() + put.value.len() + 24,
            Command::DeleteRange(delete) => delete.key.len() + delete.range_end.len() + 16,
            Command::Range(_) | Command::Txn(_) => 256,
            Command::LeaseExpire { leases, .. } => leases.len() * 16 + 16,
            Command::LeaseCheckpoint { checkpoints, .. } => checkpoints.len() * 20 + 16,
            Command::LeaseGrant { .. } | Command::LeaseRevoke { .. } => 24,
            Command::Compact(_) | Command::Alarm(_) | Command::SetQuota(_) | Command::Sweep => 16,
            Command::Auth(_) | Command::Authenticate(_) => 128,
            Command::As(command) => command.caller.len() + 16 + command.command.bytes_hint(),
        }
    }
}

/// What a command may still contain.
struct Budget {
    operations: usize,
    depth: usize,
}

impl Budget {
    fn take(&mut self, operations: usize) -> Result<(), DecodeError> {
        self.operations = self
            .operations
            .checked_sub(operations)
            .ok_or(DecodeError::Invalid { what: "number of operations in a transaction" })?;
        Ok(())
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

fn read_signed_not_zero(from: &mut Reader) -> Result<i64, DecodeError> {
    match read_signed(from)? {
        0 => Err(DecodeError::Invalid { what: "zero that should be left out" }),
        value => Ok(value),
    }
}

/// A list of at most [`LEASES_PER_COMMAND_MAX`], each of at least `bytes_min`.
fn read_leases<T>(
    from: &mut Reader,
    bytes_min: usize,
    mut read: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = from.count(bytes_min)?;
    if count > LEASES_PER_COMMAND_MAX {
        return Err(DecodeError::Invalid { what: "number of leases in a command" });
    }
    (0..count).map(|_| read(from)).collect()
}

fn write_put(put: &Put, to: &mut Writer) {
    let lease = put.lease != LeaseId::NONE;
    to.u8(u8::from(put.prev_kv)
        | u8::from(put.ignore_value) << 1
        | u8::from(put.ignore_lease) << 2
        | u8::from(lease) << 3);
    to.bytes(&put.key);
    to.bytes(&put.value);
    if lease {
        write_signed(to, put.lease.0);
    }
}

fn read_put(from: &mut Reader) -> Result<Put, DecodeError> {
    let flags = from.u8()?;
    if flags >= 16 {
        return Err(DecodeError::Invalid { what: "flags of a put" });
    }
    Ok(Put {
        key: from.bytes()?,
        value: from.bytes()?,
        lease: if flags & 8 != 0 { LeaseId(read_signed_not_zero(from)?) } else { LeaseId::NONE },
        prev_kv: flags & 1 != 0,
        ignore_value: flags & 2 != 0,
        ignore_lease: flags & 4 != 0,
    })
}

fn write_delete(delete: &DeleteRange, to: &mut Writer) {
    to.bool(delete.prev_kv);
    to.bytes(&delete.key);
    to.bytes(&delete.range_end);
}

fn read_delete(from: &mut Reader) -> Result<DeleteRange, DecodeError> {
    Ok(DeleteRange { prev_kv: from.bool()?, key: from.bytes()?, range_end: from.bytes()? })
}

/// Bits 0 and 1: flags. 2–3: order. 4–6: target. From 7 on: which numbers follow.
fn write_range(range: &Range, to: &mut Writer) {
    let numbers = range_numbers(range);
    let order = match range.sort_order {
        SortOrder::None => 0,
        SortOrder::Ascend => 1,
        SortOrder::Descend => 2,
    };
    let target = match range.sort_target {
        SortTarget::Key => 0,
        SortTarget::Version => 1,
        SortTarget::Create => 2,
        SortTarget::Mod => 3,
        SortTarget::Value => 4,
    };
    let mut mask = u64::from(range.keys_only) | u64::from(range.count_only) << 1 | order << 2 | target << 4;
    for (bit, number) in numbers.iter().enumerate() {
        mask |= u64::from(*number != 0) << (7 + bit);
    }
    to.varint(mask);
    to.bytes(&range.key);
    to.bytes(&range.range_end);
    for number in numbers.into_iter().filter(|number| *number != 0) {
        write_signed(to, number);
    }
}

fn range_numbers(range: &Range) -> [i64; 6] {
    [
        range.limit,
        range.revision,
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ]
}

fn read_range(from: &mut Reader) -> Result<Range, DecodeError> {
    let invalid = DecodeError::Invalid { what: "mask of a range" };
    let mask = from.varint()?;
    if mask >= 1 << 13 {
        return Err(invalid);
    }
    let sort_order = SortOrder::from_wire((mask >> 2 & 3) as i32).map_err(|_| invalid)?;
    let sort_target = SortTarget::from_wire((mask >> 4 & 7) as i32).map_err(|_| invalid)?;
    let key = from.bytes()?;
    let range_end = from.bytes()?;
    let mut number = |bit: u64| if mask >> (7 + bit) & 1 == 1 { read_signed_not_zero(from) } else { Ok(0) };
    Ok(Range {
        key,
        range_end,
        limit: number(0)?,
        revision: number(1)?,
        sort_order,
        sort_target,
        keys_only: mask & 1 != 0,
        count_only: mask & 2 != 0,
        min_mod_revision: number(2)?,
        max_mod_revision: number(3)?,
        min_create_revision: number(4)?,
        max_create_revision: number(5)?,
    })
}

fn write_txn(txn: &Txn, to: &mut Writer) {
    to.varint(txn.compare.len() as u64);
    for compare in &txn.compare {
        write_compare(compare, to);
    }
    for branch in [&txn.success, &txn.failure] {
        to.varint(branch.len() as u64);
        for operation in branch {
            write_operation(operation, to);
        }
    }
}

fn read_txn(from: &mut Reader, budget: &mut Budget) -> Result<Txn, DecodeError> {
    budget.depth =
        budget.depth.checked_sub(1).ok_or(DecodeError::Invalid { what: "nesting of transactions" })?;
    let count = from.count(4)?;
    budget.take(count)?;
    let mut compare = Vec::new();
    for _ in 0..count {
        compare.push(read_compare(from)?);
    }
    let success = read_branch(from, budget)?;
    let failure = read_branch(from, budget)?;
    budget.depth += 1;
    Ok(Txn { compare, success, failure })
}

fn read_branch(from: &mut Reader, budget: &mut Budget) -> Result<Vec<Operation>, DecodeError> {
    let count = from.count(4)?;
    budget.take(count)?;
    let mut branch = Vec::new();
    for _ in 0..count {
        branch.push(match from.u8()? {
            1 => Operation::Put(read_put(from)?),
            2 => Operation::DeleteRange(read_delete(from)?),
            3 => Operation::Range(read_range(from)?),
            4 => Operation::Txn(read_txn(from, budget)?),
            value => return Err(DecodeError::Unknown { what: "operation", value: value.into() }),
        });
    }
    Ok(branch)
}

fn write_operation(operation: &Operation, to: &mut Writer) {
    match operation {
        Operation::Empty => to.u8(0),
        Operation::Put(put) => {
            to.u8(1);
            write_put(put, to);
        }
        Operation::DeleteRange(delete) => {
            to.u8(2);
            write_delete(delete, to);
        }
        Operation::Range(range) => {
            to.u8(3);
            write_range(range, to);
        }
        Operation::Txn(txn) => {
            to.u8(4);
            write_txn(txn, to);
        }
    }
}

fn write_compare(compare: &Compare, to: &mut Writer) {
    let result = match compare.result {
        CompareResult::Equal => 0,
        CompareResult::Greater => 1,
        CompareResult::Less => 2,
        CompareResult::NotEqual => 3,
    };
    let target = match compare.target {
        CompareTarget::Version(_) => 0,
        CompareTarget::Create(_) => 1,
        CompareTarget::Mod(_) => 2,
        CompareTarget::Value(_) => 3,
        CompareTarget::Lease(_) => 4,
    };
    to.u8(result | target << 4);
    to.bytes(&compare.key);
    to.bytes(&compare.range_end);
    match &compare.target {
        CompareTarget::Version(number) | CompareTarget::Create(number) | CompareTarget::Mod(number) => {
            write_signed(to, *number);
        }
        CompareTarget::Value(value) => to.bytes(value),
        CompareTarget::Lease(lease) => write_signed(to, lease.0),
    }
}

fn read_compare(from: &mut Reader) -> Result<Compare, DecodeError> {
    let kind = from.u8()?;
    let result = match kind & 15 {
        0 => CompareResult::Equal,
        1 => CompareResult::Greater,
        2 => CompareResult::Less,
        3 => CompareResult::NotEqual,
        value => return Err(DecodeError::Unknown { what: "result of a compare", value: value.into() }),
    };
    let key = from.bytes()?;
    let range_end = from.bytes()?;
    let target = match kind >> 4 {
        0 => CompareTarget::Version(read_signed(from)?),
        1 => CompareTarget::Create(read_signed(from)?),
        2 => CompareTarget::Mod(read_signed(from)?),
        3 => CompareTarget::Value(from.bytes()?),
        4 => CompareTarget::Lease(LeaseId(read_signed(from)?)),
        value => return Err(DecodeError::Unknown { what: "target of a compare", value: value.into() }),
    };
    Ok(Compare { key, range_end, result, target })
}

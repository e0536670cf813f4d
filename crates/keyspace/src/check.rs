//! What is refused before it reaches the log, and again, by the same rules, when it comes out of it.
//!
//! The second time is not distrust of ourselves alone: a replica that applied half of a bad transaction and one that refused it
//! would differ for ever. So what a member can be configured to (the number of operations) is checked before the log only, and
//! everything else in both places.

use std::collections::BTreeSet;

use quorate_consensus::planted;

use crate::codec::{OPERATIONS_MAX, TXN_DEPTH_MAX};
use crate::span::{Span, SpanSet};
use crate::{
    Command, DeleteRange, KeyspaceError, LEASE_TTL_S_MAX, LEASES_PER_COMMAND_MAX, LeaseId, Operation, Put,
    Range, Txn,
};

/// What a member allows. Not part of the state: members may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Comparisons, or operations of a branch, in one transaction; what nests inside shares what is left. At most
    /// [`OPERATIONS_MAX`].
    pub txn_operations_max: usize,
}

impl Default for Limits {
    /// etcd's: 128.
    fn default() -> Limits {
        Limits { txn_operations_max: 128 }
    }
}

impl Limits {
    /// What the log itself allows.
    pub(crate) const OF_THE_LOG: Limits = Limits { txn_operations_max: OPERATIONS_MAX };
}

/// May this command be proposed?
///
/// # Errors
/// Those of the functions below.
pub fn check(command: &Command, limits: &Limits) -> Result<(), KeyspaceError> {
    match command {
        Command::Put(put) => check_put(put),
        Command::DeleteRange(delete) => check_delete_range(delete),
        Command::Range(range) => check_range(range),
        Command::Txn(txn) => check_txn(txn, limits),
        Command::LeaseGrant { id, ttl_s } => check_lease_grant(*id, *ttl_s),
        Command::LeaseExpire { leases, .. } => well_formed(leases.len() <= LEASES_PER_COMMAND_MAX),
        Command::LeaseCheckpoint { checkpoints, .. } => {
            let count = checkpoints.len() <= LEASES_PER_COMMAND_MAX;
            well_formed(count && checkpoints.iter().all(|(_, _, remaining_s)| *remaining_s >= 0))
        }
        Command::LeaseRevoke { .. }
        | Command::Compact(_)
        | Command::Alarm(_)
        | Command::SetQuota(_)
        | Command::Auth(_)
        | Command::Authenticate(_)
        | Command::Sweep => Ok(()),
        Command::As(command) => check(&command.command, limits),
    }
}

fn well_formed(is: bool) -> Result<(), KeyspaceError> {
    if is { Ok(()) } else { Err(KeyspaceError::Malformed) }
}

/// May this grant be proposed? A lease without an id gets one, and a time to live that is too short is raised, before this is asked.
///
/// # Errors
/// [`LeaseTtlTooLarge`](KeyspaceError::LeaseTtlTooLarge); [`Malformed`](KeyspaceError::Malformed) for no id or less than a second.
pub fn check_lease_grant(id: LeaseId, ttl_s: i64) -> Result<(), KeyspaceError> {
    if ttl_s > LEASE_TTL_S_MAX && !planted!("E15") {
        return Err(KeyspaceError::LeaseTtlTooLarge);
    }
    well_formed(id != LeaseId::NONE && ttl_s >= 1)
}

/// May this put be proposed?
///
/// # Errors
/// [`EmptyKey`](KeyspaceError::EmptyKey), [`ValueProvided`](KeyspaceError::ValueProvided),
/// [`LeaseProvided`](KeyspaceError::LeaseProvided).
pub fn check_put(put: &Put) -> Result<(), KeyspaceError> {
    if put.key.is_empty() {
        Err(KeyspaceError::EmptyKey)
    } else if put.ignore_value && !put.value.is_empty() {
        Err(KeyspaceError::ValueProvided)
    } else if put.ignore_lease && put.lease != LeaseId::NONE {
        Err(KeyspaceError::LeaseProvided)
    } else {
        Ok(())
    }
}

/// May this deletion be proposed?
///
/// # Errors
/// [`EmptyKey`](KeyspaceError::EmptyKey).
pub fn check_delete_range(delete: &DeleteRange) -> Result<(), KeyspaceError> {
    if delete.key.is_empty() { Err(KeyspaceError::EmptyKey) } else { Ok(()) }
}

/// May this range be asked for? (Its order and target are parsed before: [`SortOrder::from_wire`](crate::SortOrder::from_wire).)
///
/// # Errors
/// [`EmptyKey`](KeyspaceError::EmptyKey).
pub fn check_range(range: &Range) -> Result<(), KeyspaceError> {
    if range.key.is_empty() { Err(KeyspaceError::EmptyKey) } else { Ok(()) }
}

/// May this transaction be proposed?
///
/// # Errors
/// [`TooManyOperations`](KeyspaceError::TooManyOperations), [`DuplicateKey`](KeyspaceError::DuplicateKey),
/// [`KeyNotFound`](KeyspaceError::KeyNotFound) for an empty operation (etcd's odd choice), and those of its operations.
pub fn check_txn(txn: &Txn, limits: &Limits) -> Result<(), KeyspaceError> {
    check_operations(txn, limits.txn_operations_max.min(OPERATIONS_MAX), TXN_DEPTH_MAX)?;
    if count_operations(txn) > OPERATIONS_MAX {
        // The budget is shared from level to level but not between neighbours, so a tree of transactions holds more than its
        // budget, and the log counts all of it.
        return Err(KeyspaceError::TooManyOperations);
    }
    for branch in [&txn.success, &txn.failure] {
        if may_collide(branch) {
            Footprint::of(branch)?;
        }
    }
    Ok(())
}

/// Are there two operations that could meet? In most transactions there are not.
fn may_collide(branch: &[Operation]) -> bool {
    let writes = branch.iter().filter(|operation| !matches!(operation, Operation::Range(_))).count();
    writes > 1 || branch.iter().any(|operation| matches!(operation, Operation::Txn(_)))
}

fn check_operations(txn: &Txn, operations_max: usize, depth: usize) -> Result<(), KeyspaceError> {
    let most = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if most > operations_max || depth == 0 {
        return Err(KeyspaceError::TooManyOperations);
    }
    if txn.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(KeyspaceError::EmptyKey);
    }
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            Operation::Empty => return Err(KeyspaceError::KeyNotFound),
            Operation::Range(range) => check_range(range)?,
            Operation::Put(put) => check_put(put)?,
            Operation::DeleteRange(delete) => check_delete_range(delete)?,
            Operation::Txn(nested) => check_operations(nested, operations_max - most, depth - 1)?,
        }
    }
    Ok(())
}

fn count_operations(txn: &Txn) -> usize {
    let own = txn.compare.len() + txn.success.len() + txn.failure.len();
    let nested = txn.success.iter().chain(&txn.failure).map(|operation| match operation {
        Operation::Txn(nested) => count_operations(nested),
        Operation::Empty | Operation::Range(_) | Operation::Put(_) | Operation::DeleteRange(_) => 0,
    });
    own + nested.sum::<usize>()
}

/// What a branch may write.
#[derive(Default)]
struct Footprint<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: SpanSet<'a>,
}

impl<'a> Footprint<'a> {
    /// No key is put twice in a branch, nor put and deleted: all of a transaction is one revision, and a revision shows one value of a
    /// key. The two branches of one nested transaction exclude each other, and may both put a key.
    ///
    /// etcd's rule (`v3rpc/key.go`, `checkIntervals`), in its order, with what that order lets through: a nested transaction may
    /// delete what an *earlier* nested one puts, though not the other way round. `[txn(put a), txn(delete a)]` passes and leaves no
    /// `a`; `[txn(delete a), txn(put a)]` is refused. One difference, on purpose: etcd does not see that a deletion of "every key from
    /// `a` on" contains `b`, and lets `[delete a.., put b]` through, where a put that keeps its value then finds none and stops the
    /// server; we refuse it as what it is.
    fn of(branch: &'a [Operation]) -> Result<Footprint<'a>, KeyspaceError> {
        let mut footprint = Footprint::default();
        for operation in branch {
            if let Operation::DeleteRange(delete) = operation {
                footprint.deletes.insert(Span::new(&delete.key, &delete.range_end));
            }
        }
        for operation in branch {
            if let Operation::Txn(nested) = operation {
                let success = Footprint::of(&nested.success)?;
                let failure = Footprint::of(&nested.failure)?;
                for key in success.puts.iter().chain(failure.puts.difference(&success.puts)) {
                    footprint.put(key)?;
                }
                footprint.deletes.union(&success.deletes);
                footprint.deletes.union(&failure.deletes);
            }
        }
        for operation in branch {
            if let Operation::Put(put) = operation {
                footprint.put(&put.key)?;
            }
        }
        Ok(footprint)
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), KeyspaceError> {
        if self.deletes.contains(key) || !self.puts.insert(key) {
            Err(KeyspaceError::DuplicateKey)
        } else {
            Ok(())
        }
    }
}

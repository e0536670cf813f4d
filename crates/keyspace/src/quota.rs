//! What a command costs, and when there is no more room.

use std::sync::Arc;

use crate::store::Store;
use crate::{
    Alarm, AlarmAction, AlarmKind, AlarmMember, Command, KeyspaceError, LEASE_BYTES, Operation, Put,
    RECORD_BYTES, Txn,
};

impl Command {
    /// What this command may add to the size of the store, at most, in bytes; etcd's formula (256 and the key and the value of each
    /// put, of a transaction's costlier branch; 64 of a grant). Zero for what needs no room: a deletion is let through although its tombstone takes
    /// some, or nobody could ever get below the quota again.
    #[must_use]
    pub fn cost_bytes(&self) -> u64 {
        match self {
            Command::Put(put) => cost_of_put(put),
            Command::Txn(txn) => cost_of_txn(txn),
            Command::LeaseGrant { .. } => LEASE_BYTES,
            Command::DeleteRange(_)
            | Command::Range(_)
            | Command::Compact(_)
            | Command::Alarm(_)
            | Command::SetQuota(_)
            | Command::LeaseRevoke { .. }
            | Command::LeaseExpire { .. }
            | Command::LeaseCheckpoint { .. }
            | Command::Auth(_)
            | Command::Authenticate(_)
            | Command::Sweep => 0,
            Command::As(command) => command.command.cost_bytes(),
        }
    }
}

fn cost_of_put(put: &Put) -> u64 {
    RECORD_BYTES + put.key.len() as u64 + put.value.len() as u64
}

fn cost_of_txn(txn: &Txn) -> u64 {
    let cost = |branch: &[Operation]| -> u64 {
        branch
            .iter()
            .map(|operation| match operation {
                Operation::Put(put) => cost_of_put(put),
                Operation::Txn(nested) => cost_of_txn(nested),
                Operation::Empty | Operation::Range(_) | Operation::DeleteRange(_) => 0,
            })
            .sum()
    };
    cost(&txn.success).max(cost(&txn.failure))
}

impl Store {
    /// Raises or lowers an alarm; the alarm, unless it was to be lowered and was not raised.
    pub(crate) fn set_alarm(&mut self, alarm: Alarm) -> Option<AlarmMember> {
        let alarms = Arc::make_mut(&mut self.alarms);
        match alarm.action {
            AlarmAction::Activate => {
                alarms.insert(alarm.alarm);
                Some(alarm.alarm)
            }
            AlarmAction::Deactivate => alarms.take(&alarm.alarm),
        }
    }

    /// The size of the versions that are stored, without leases: each of several shards has all of those, and they count once.
    pub(crate) fn keys_bytes(&self) -> u64 {
        self.size_bytes - self.leases_bytes()
    }

    pub(crate) fn leases_bytes(&self) -> u64 {
        self.leases.weight() as u64 * LEASE_BYTES
    }

    /// Would a command with this cost reach the quota, where `size_bytes` are stored? Those of all shards together, if there are several: the quota is theirs.
    pub(crate) fn would_exceed(&self, size_bytes: u64, cost_bytes: u64) -> bool {
        cost_bytes > 0 && self.quota_bytes.is_some_and(|quota| size_bytes.saturating_add(cost_bytes) >= quota)
    }

    /// Do the alarms and the quota let this command through?
    ///
    /// NOSPACE refuses what may put, and grants: by the worst branch of a transaction, not by the one it takes, as in etcd. CORRUPT refuses all
    /// that writes; what is left of a lease may be noted, as in etcd, or it would live longer for it. Past the quota a put is refused and changes nothing. (etcd applies it and reports the error nevertheless; a
    /// client that believes the error would be wrong.)
    pub(crate) fn admits(&self, command: &Command) -> Result<(), KeyspaceError> {
        self.admits_with(self.size_bytes, command)
    }

    /// The same where `size_bytes` are stored in all.
    pub(crate) fn admits_with(&self, size_bytes: u64, command: &Command) -> Result<(), KeyspaceError> {
        let writes = match command {
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Compact(_)
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::LeaseExpire { .. } => true,
            Command::Txn(txn) => !txn.is_read_only(),
            Command::Range(_)
            | Command::Alarm(_)
            | Command::SetQuota(_)
            | Command::LeaseCheckpoint { .. }
            | Command::Auth(_)
            | Command::Authenticate(_)
            | Command::Sweep => false,
            Command::As(command) => return self.admits_with(size_bytes, &command.command),
        };
        if writes && !self.alarms.is_empty() && self.has_alarm(AlarmKind::Corrupt) {
            return Err(KeyspaceError::Corrupt);
        }
        let cost = command.cost_bytes();
        if cost > 0 && (self.has_alarm(AlarmKind::NoSpace) || self.would_exceed(size_bytes, cost)) {
            return Err(KeyspaceError::NoSpace);
        }
        Ok(())
    }
}

//! The committed log of the keys, executed a second time as plainly as it can be said, with all of its past: which change every revision made, which leases
//! there were, and what every command was to be answered.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{NodeId, Position, fingerprint_of};
use quorate_service::keyspace::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, DeleteRangeReply, EventKind, KeyValue,
    KeyspaceError, Lease, LeaseId, Operation, OperationReply, Put, PutReply, Range, RangeReply, Reply,
    Response, TxnReply, View,
};

use super::Wrong;
use crate::half::After;

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: EventKind,
    /// What it is now, the revision among it.
    pub(crate) kv: KeyValue,
    /// What it was.
    pub(crate) prev: Option<KeyValue>,
}

impl Change {
    pub(crate) fn revision(&self) -> u64 {
        self.kv.mod_revision
    }
}

/// What became of a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Granted,
    /// It was noted how much is left.
    Checkpointed,
    /// A client ended it.
    Revoked,
    /// The steward of an epoch ended it.
    Expired {
        epoch: u64,
    },
}

/// Something happened to a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened {
    pub(crate) fate: Fate,
    /// As it stood then.
    pub(crate) lease: Lease,
    /// How many keys went with it.
    pub(crate) keys: usize,
}

/// A state in a few numbers: two that agree are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    keys: u64,
    leases: u64,
    compacted: u64,
    at_compacted: u64,
}

/// Every key from the first on.
const ALL: &[u8] = &[0];

type Row<'a> = (&'a [u8], &'a [u8], u64, u64, u64, i64);

fn sum_of<'a>(keys: impl Iterator<Item = &'a KeyValue>) -> u64 {
    let row = |kv: &'a KeyValue| -> Row<'a> {
        (&kv.key, &kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease.0)
    };
    fingerprint_of(&keys.map(row).collect::<Vec<_>>())
}

fn sum_of_leases(leases: impl Iterator<Item = (Lease, Vec<Bytes>)>) -> u64 {
    let row = |(lease, keys): (Lease, Vec<Bytes>)| {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        (lease.id.0, lease.ttl_s, lease.granted, lease.remaining_s, keys)
    };
    fingerprint_of(&leases.map(row).collect::<Vec<_>>())
}

impl Sums {
    /// Can a replica of divided keys show this, which stood so, one after the other, at that revision?
    ///
    /// {a lease is granted, then a compaction comes; neither takes a revision; the second shard here has come to both, and the first to neither}: leases are as in the first, and
    /// what is gone in any is gone.
    pub(crate) fn may_be_of(&self, states: &[Sums]) -> bool {
        let is_one = |like: fn(&Sums) -> (u64, u64)| states.iter().any(|state| like(self) == like(state));
        is_one(|sums| (sums.keys, sums.leases)) && is_one(|sums| (sums.compacted, sums.at_compacted))
    }

    /// Of what a replica shows.
    pub(crate) fn of(view: &View) -> Sums {
        let range = |revision: i64| {
            let (key, range_end) = (Bytes::from_static(ALL), Bytes::from_static(ALL));
            view.range(&Range { key, range_end, revision, ..Range::default() })
        };
        let keys = |revision| range(revision).map_or(0, |reply| sum_of(reply.kvs.iter()));
        let compacted = view.compacted();
        Sums {
            keys: keys(0),
            leases: sum_of_leases(view.leases().map(|lease| (lease, view.lease_keys(lease.id).collect()))),
            compacted,
            at_compacted: if compacted == 0 { 0 } else { keys(compacted as i64) },
        }
    }
}

/// The second execution.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) revision: u64,
    /// The oldest revision that can be read.
    pub(crate) compacted: u64,
    keys: BTreeMap<Bytes, KeyValue>,
    changes: Vec<Change>,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    happened: Vec<Happened>,
    at_compacted: u64,
    /// By index, from 1 on.
    sums: Vec<Sums>,
    /// The keys are divided among shards.
    pub(crate) is_divided: bool,
    /// What a command came to, by who asked.
    answers: BTreeMap<(NodeId, u64, u64), Response>,
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger { revision: 1, ..Ledger::default() }
    }

    /// What became of leases, in order, from the first that was not looked at.
    pub(crate) fn happened(&self, from: usize) -> &[Happened] {
        &self.happened[from..]
    }

    /// The changes from a revision on.
    pub(crate) fn changes(&self, from: u64) -> &[Change] {
        &self.changes[self.changes.partition_point(|change| change.revision() < from)..]
    }

    /// What a command was to be answered.
    pub(crate) fn answer(&self, origin: (NodeId, u64, u64)) -> Option<&Response> {
        self.answers.get(&origin)
    }

    /// Is the state after an entry another than it should be?
    pub(crate) fn differs(&self, state: &After) -> Option<Wrong> {
        let should = self.sums.get(state.position.index.0.checked_sub(1)? as usize)?;
        let is = state.keys.as_ref()?;
        let (id, what) = if is.leases != should.leases {
            ("E5", "the leases, or the keys that hang on them, are not what the log says")
        } else if is.keys != should.keys {
            ("E1", "the keys are not what the log says")
        } else if is.compacted != should.compacted {
            ("E6", "another revision is the oldest that can be read")
        } else if is.at_compacted != should.at_compacted {
            ("E6", "the keys are not what they were at the oldest revision that can be read")
        } else {
            return None;
        };
        Some(Wrong::new(id, what.to_owned()))
    }

    /// An entry that is none of a client's, or was executed before.
    pub(crate) fn skip(&mut self) {
        self.sums.push(self.sums_now());
    }

    /// A command was refused before it had a place.
    pub(crate) fn refuse(&mut self, origin: (NodeId, u64, u64), response: Response) {
        self.answers.insert(origin, response);
    }

    /// How it stands.
    pub(crate) fn sums_now(&self) -> Sums {
        let leases = self.leases.values().map(|lease| (*lease, self.keys_of(lease.id)));
        Sums {
            keys: sum_of(self.keys.values()),
            leases: sum_of_leases(leases),
            compacted: self.compacted,
            at_compacted: self.at_compacted,
        }
    }

    /// Executes a command; true if who asked for it has had it executed before.
    pub(crate) fn execute(&mut self, at: Position, origin: (NodeId, u64, u64), command: &Bytes) -> bool {
        let result = match Command::decode(command) {
            Ok(command) => self.run(at, &command),
            Err(_) => Err(KeyspaceError::Malformed),
        };
        let response = Response { revision: self.revision, result };
        let twice = self.answers.insert(origin, response).is_some();
        self.skip();
        twice
    }

    fn run(&mut self, at: Position, command: &Command) -> Result<Reply, KeyspaceError> {
        let mut step = Step { number: self.revision + 1, changes: 0 };
        let reply = match command {
            Command::Put(put) => {
                self.may_put(put)?;
                Reply::Put(self.put(put, &mut step))
            }
            Command::DeleteRange(delete) => Reply::DeleteRange(self.delete_range(delete, &mut step)),
            Command::Range(range) => Reply::Range(self.range(range)),
            Command::Txn(txn) => {
                let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
                let branch = if succeeded { &txn.success } else { &txn.failure };
                for operation in branch {
                    if let Operation::Put(put) = operation {
                        self.may_put(put)?;
                    }
                }
                Reply::Txn(self.txn(branch, succeeded, &mut step))
            }
            Command::Compact(compact) => {
                let revision = compact.revision.max(0) as u64;
                if revision > self.revision {
                    return Err(KeyspaceError::FutureRevision { current: self.revision });
                }
                if revision <= self.compacted {
                    return Err(KeyspaceError::Compacted { compacted: self.compacted });
                }
                self.compacted = revision;
                self.at_compacted = sum_of(self.at(revision).values());
                Reply::Compact
            }
            Command::LeaseGrant { id, ttl_s } => {
                if self.leases.contains_key(id) {
                    return Err(KeyspaceError::LeaseExists);
                }
                let lease = Lease { id: *id, ttl_s: *ttl_s, granted: at.index.0, remaining_s: 0 };
                self.leases.insert(*id, lease);
                self.happened.push(Happened { fate: Fate::Granted, lease, keys: 0 });
                Reply::LeaseGrant(lease)
            }
            Command::LeaseRevoke { id } => {
                if !self.leases.contains_key(id) {
                    return Err(KeyspaceError::LeaseNotFound(*id));
                }
                self.end(*id, Fate::Revoked, &mut step);
                Reply::LeaseRevoke
            }
            Command::LeaseExpire { epoch, leases } => {
                if at.epoch.0 != *epoch {
                    return Err(KeyspaceError::StaleSteward);
                }
                let mut ended = 0;
                for (id, granted) in leases {
                    if self.leases.get(id).is_some_and(|lease| lease.granted == *granted) {
                        self.end(*id, Fate::Expired { epoch: *epoch }, &mut step);
                        ended += 1;
                    }
                }
                Reply::LeaseExpire(ended)
            }
            Command::LeaseCheckpoint { epoch, checkpoints } => {
                if at.epoch.0 != *epoch {
                    return Err(KeyspaceError::StaleSteward);
                }
                for (id, granted, remaining_s) in checkpoints {
                    if let Some(lease) = self.leases.get_mut(id).filter(|lease| lease.granted == *granted) {
                        lease.remaining_s = if *remaining_s < lease.ttl_s { *remaining_s } else { 0 };
                        let lease = *lease;
                        self.happened.push(Happened { fate: Fate::Checkpointed, lease, keys: 0 });
                    }
                }
                Reply::LeaseCheckpoint
            }
            Command::Alarm(_)
            | Command::SetQuota(_)
            | Command::Sweep
            | Command::Auth(_)
            | Command::Authenticate(_)
            | Command::As(_) => {
                return Err(KeyspaceError::Malformed);
            }
        };
        if step.changes > 0 {
            self.revision = step.number;
        }
        Ok(reply)
    }

    fn txn(&mut self, branch: &[Operation], succeeded: bool, step: &mut Step) -> TxnReply {
        let mut responses = Vec::new();
        for operation in branch {
            let reply = match operation {
                Operation::Range(range) => Reply::Range(self.range(range)),
                Operation::Put(put) => Reply::Put(self.put(put, step)),
                Operation::DeleteRange(delete) => Reply::DeleteRange(self.delete_range(delete, step)),
                // No simulated client asks for these.
                Operation::Empty | Operation::Txn(_) => continue,
            };
            let revision = if step.changes > 0 { step.number } else { self.revision };
            responses.push(OperationReply { revision, reply });
        }
        TxnReply { succeeded, responses }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found = self.keys.get(&compare.key);
        let number = |of: fn(&KeyValue) -> u64| found.map_or(0, |kv| of(kv) as i64);
        let order = match &compare.target {
            CompareTarget::Version(right) => number(|kv| kv.version).cmp(right),
            CompareTarget::Create(right) => number(|kv| kv.create_revision).cmp(right),
            CompareTarget::Mod(right) => number(|kv| kv.mod_revision).cmp(right),
            CompareTarget::Lease(right) => found.map_or(LeaseId::NONE, |kv| kv.lease).cmp(right),
            CompareTarget::Value(right) => match found {
                Some(kv) => kv.value.cmp(right),
                None => return false,
            },
        };
        match compare.result {
            CompareResult::Equal => order.is_eq(),
            CompareResult::Greater => order.is_gt(),
            CompareResult::Less => order.is_lt(),
            CompareResult::NotEqual => order.is_ne(),
        }
    }

    fn may_put(&self, put: &Put) -> Result<(), KeyspaceError> {
        if (put.ignore_lease || put.ignore_value) && !self.keys.contains_key(&put.key) {
            return Err(KeyspaceError::KeyNotFound);
        }
        if put.lease != LeaseId::NONE && !self.leases.contains_key(&put.lease) {
            return Err(KeyspaceError::LeaseNotFound(put.lease));
        }
        Ok(())
    }

    fn put(&mut self, put: &Put, step: &mut Step) -> PutReply {
        let prev = self.keys.get(&put.key).cloned();
        let kept = |keep: bool| prev.as_ref().filter(|_| keep);
        let kv = KeyValue {
            key: put.key.clone(),
            value: kept(put.ignore_value).map_or_else(|| put.value.clone(), |kv| kv.value.clone()),
            create_revision: prev.as_ref().map_or(step.number, |kv| kv.create_revision),
            mod_revision: step.number,
            version: prev.as_ref().map_or(1, |kv| kv.version + 1),
            lease: kept(put.ignore_lease).map_or(put.lease, |kv| kv.lease),
        };
        self.keys.insert(put.key.clone(), kv.clone());
        self.changes.push(Change { kind: EventKind::Put, kv, prev: prev.clone() });
        step.changes += 1;
        PutReply { prev_kv: prev.filter(|_| put.prev_kv) }
    }

    fn delete(&mut self, key: &Bytes, step: &mut Step) -> Option<KeyValue> {
        let prev = self.keys.remove(key)?;
        let kv = KeyValue { key: key.clone(), mod_revision: step.number, ..KeyValue::default() };
        self.changes.push(Change { kind: EventKind::Delete, kv, prev: Some(prev.clone()) });
        step.changes += 1;
        Some(prev)
    }

    fn delete_range(&mut self, delete: &DeleteRange, step: &mut Step) -> DeleteRangeReply {
        let inside = |key: &&Bytes| is_inside(key, &delete.key, &delete.range_end);
        let keys: Vec<Bytes> = self.keys.keys().filter(inside).cloned().collect();
        let deleted: Vec<KeyValue> = keys.iter().filter_map(|key| self.delete(key, step)).collect();
        DeleteRangeReply {
            deleted: deleted.len() as u64,
            prev_kvs: if delete.prev_kv { deleted } else { Vec::new() },
        }
    }

    /// Of the newest revision, without limit and order: clients here ask for no more.
    fn range(&self, range: &Range) -> RangeReply {
        let inside = |kv: &&KeyValue| is_inside(&kv.key, &range.key, &range.range_end);
        let kvs: Vec<KeyValue> = self.keys.values().filter(inside).cloned().collect();
        RangeReply { more: false, count: kvs.len() as u64, kvs }
    }

    fn keys_of(&self, lease: LeaseId) -> Vec<Bytes> {
        let of_it = self.keys.values().filter(|kv| kv.lease == lease);
        of_it.map(|kv| kv.key.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn end(&mut self, id: LeaseId, fate: Fate, step: &mut Step) {
        let keys = self.keys_of(id);
        keys.iter().for_each(|key| _ = self.delete(key, step));
        if let Some(lease) = self.leases.remove(&id) {
            self.happened.push(Happened { fate, lease, keys: keys.len() });
        }
    }

    /// What lived after a revision.
    fn at(&self, revision: u64) -> BTreeMap<Bytes, KeyValue> {
        let mut keys = BTreeMap::new();
        for change in self.changes.iter().take_while(|change| change.revision() <= revision) {
            match change.kind {
                EventKind::Put => keys.insert(change.kv.key.clone(), change.kv.clone()),
                EventKind::Delete => keys.remove(&change.kv.key),
            };
        }
        keys
    }
}

/// A command under way: the revision that its changes have.
struct Step {
    number: u64,
    changes: usize,
}

/// As in etcd: no end is the key alone, an end of one zero byte is no bound.
pub(crate) fn is_inside(key: &[u8], from: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == from,
        [0] => key >= from,
        end => key >= from && key < end,
    }
}

//! The oracle: the keyspace written down a second time, as simply as possible. Every revision is a whole map; nothing is shared with
//! the crate but the types of requests and answers.
#![allow(dead_code, unreachable_pub, reason = "shared by tests, each of which uses its part")]

pub mod generate;
mod leases;
pub mod shards;
pub mod shell;

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::Position;
use quorate_keyspace::*;

pub type State = BTreeMap<Bytes, KeyValue>;

pub struct Model {
    /// The state after each revision; those of 0 and 1 are empty.
    pub states: Vec<State>,
    /// The events of each revision.
    pub events: Vec<Vec<Event>>,
    pub compacted: u64,
    pub alarms: Vec<AlarmMember>,
    pub leases: BTreeMap<LeaseId, Lease>,
}

struct Work {
    before: State,
    now: State,
    old: u64,
    events: Vec<Event>,
    /// The events, and what else there is to tell.
    news: Vec<News>,
}

impl Work {
    fn new(before: State, old: u64) -> Work {
        Work { now: before.clone(), before, old, events: vec![], news: vec![] }
    }

    fn tell(&mut self, event: Event) {
        self.events.push(event.clone());
        self.news.push(News::Changed(event));
    }
}

type Answer<T> = Result<T, KeyspaceError>;

impl Model {
    pub fn new() -> Model {
        Model {
            states: vec![State::new(); 2],
            events: vec![vec![]; 2],
            compacted: 0,
            alarms: vec![],
            leases: BTreeMap::new(),
        }
    }

    pub fn revision(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    pub fn apply(&mut self, at: Position, command: &Command) -> (Response, Vec<News>) {
        let before = self.states.last().unwrap().clone();
        let mut work = Work::new(before, self.revision());
        let result = self.run(at, command, &mut work);
        if result.is_ok() && !work.events.is_empty() {
            self.states.push(work.now);
            self.events.push(work.events);
        }
        if result.is_err() {
            work.news.clear();
        }
        (Response { revision: self.revision(), result }, work.news)
    }

    fn run(&mut self, at: Position, command: &Command, work: &mut Work) -> Answer<Reply> {
        self.gate(command)?;
        match command {
            Command::Put(put) => {
                shape(&Operation::Put(put.clone()))?;
                self.check_put_now(&work.before, put)?;
                Ok(Reply::Put(put_now(work, put)))
            }
            Command::DeleteRange(delete) => {
                shape(&Operation::DeleteRange(delete.clone()))?;
                Ok(Reply::DeleteRange(delete_now(work, delete)))
            }
            Command::Range(range) => {
                shape(&Operation::Range(range.clone()))?;
                Ok(Reply::Range(self.range(range, &work.now)?))
            }
            Command::Txn(txn) => {
                shape(&Operation::Txn(txn.clone()))?;
                if collides(&txn.success) || collides(&txn.failure) {
                    return Err(KeyspaceError::DuplicateKey);
                }
                self.check_txn_now(txn, &work.before)?;
                Ok(Reply::Txn(self.txn_now(txn, work)?))
            }
            Command::Compact(compact) => {
                if compact.revision <= self.compacted as i64 {
                    return Err(KeyspaceError::Compacted { compacted: self.compacted });
                }
                if compact.revision > self.revision() as i64 {
                    return Err(KeyspaceError::FutureRevision { current: self.revision() });
                }
                self.compacted = compact.revision as u64;
                Ok(Reply::Compact)
            }
            Command::Alarm(Alarm { action: AlarmAction::Activate, alarm }) => {
                if !self.alarms.contains(alarm) {
                    self.alarms.push(*alarm);
                }
                Ok(Reply::Alarm(Some(*alarm)))
            }
            Command::Alarm(Alarm { action: AlarmAction::Deactivate, alarm }) => {
                let there = self.alarms.contains(alarm);
                self.alarms.retain(|other| other != alarm);
                Ok(Reply::Alarm(there.then_some(*alarm)))
            }
            Command::SetQuota(_) => Ok(Reply::SetQuota),
            Command::Sweep => Ok(Reply::Sweep),
            Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::LeaseExpire { .. }
            | Command::LeaseCheckpoint { .. } => self.run_lease(at, command, work),
            // They have an oracle of their own, in `verdict.rs`.
            Command::Auth(_) | Command::Authenticate(_) | Command::As(_) => panic!("not of this oracle"),
        }
    }

    fn gate(&self, command: &Command) -> Answer<()> {
        fn puts(operations: &[Operation]) -> bool {
            operations.iter().any(|operation| match operation {
                Operation::Put(_) => true,
                Operation::Txn(txn) => puts(&txn.success) || puts(&txn.failure),
                _ => false,
            })
        }
        let plain = |operations: &[Operation]| operations.iter().all(|op| matches!(op, Operation::Range(_)));
        let raised = |kind| self.alarms.iter().any(|alarm| alarm.kind == kind);
        let (writes, grows) = match command {
            Command::Put(_) | Command::LeaseGrant { .. } => (true, true),
            Command::DeleteRange(_) | Command::Compact(_) => (true, false),
            Command::LeaseRevoke { .. } | Command::LeaseExpire { .. } => (true, false),
            Command::Txn(txn) => {
                (!(plain(&txn.success) && plain(&txn.failure)), puts(&txn.success) || puts(&txn.failure))
            }
            _ => (false, false),
        };
        if writes && raised(AlarmKind::Corrupt) {
            Err(KeyspaceError::Corrupt)
        } else if grows && raised(AlarmKind::NoSpace) {
            Err(KeyspaceError::NoSpace)
        } else {
            Ok(())
        }
    }

    fn check_revision(&self, revision: i64) -> Answer<()> {
        if revision <= 0 {
            Ok(())
        } else if revision > self.revision() as i64 {
            Err(KeyspaceError::FutureRevision { current: self.revision() })
        } else if revision < self.compacted as i64 {
            Err(KeyspaceError::Compacted { compacted: self.compacted })
        } else {
            Ok(())
        }
    }

    /// A range, when the newest state is `now`.
    pub fn range(&self, range: &Range, now: &State) -> Answer<RangeReply> {
        self.check_revision(range.revision)?;
        let state = if range.revision > 0 { &self.states[range.revision as usize] } else { now };
        let mut kvs = inside(state, &range.key, &range.range_end);
        let count = kvs.len() as u64;
        if range.count_only {
            return Ok(RangeReply { kvs: vec![], more: false, count });
        }
        let filters = [
            range.min_mod_revision,
            range.max_mod_revision,
            range.min_create_revision,
            range.max_create_revision,
        ];
        let by_key = range.sort_target == SortTarget::Key;
        let early = range.sort_order == SortOrder::None || (by_key && range.sort_order == SortOrder::Ascend);
        if range.limit > 0 && early && filters == [0; 4] {
            kvs.truncate(range.limit as usize + 1);
        }
        kvs.retain(|kv| {
            let (modified, created) = (kv.mod_revision as i64, kv.create_revision as i64);
            (filters[0] == 0 || filters[0] <= modified)
                && (filters[1] == 0 || modified <= filters[1])
                && (filters[2] == 0 || filters[2] <= created)
                && (filters[3] == 0 || created <= filters[3])
        });
        let descend = range.sort_order == SortOrder::Descend;
        match range.sort_target {
            SortTarget::Key if descend => kvs.reverse(),
            SortTarget::Key => {}
            target => {
                // Insertion sort, so that equals stay in the order of keys whichever way it goes.
                let worth = |kv: &KeyValue| match target {
                    SortTarget::Version => (kv.version, Bytes::new()),
                    SortTarget::Create => (kv.create_revision, Bytes::new()),
                    SortTarget::Mod => (kv.mod_revision, Bytes::new()),
                    _ => (0, kv.value.clone()),
                };
                for end in 1..kvs.len() {
                    let mut at = end;
                    while at > 0 {
                        let (left, right) = (worth(&kvs[at - 1]), worth(&kvs[at]));
                        if (descend && left < right) || (!descend && left > right) {
                            kvs.swap(at - 1, at);
                            at -= 1;
                        } else {
                            break;
                        }
                    }
                }
            }
        }
        let more = range.limit > 0 && kvs.len() as i64 > range.limit;
        if more {
            kvs.truncate(range.limit as usize);
        }
        if range.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(RangeReply { kvs, more, count })
    }

    fn check_put_now(&self, state: &State, put: &Put) -> Answer<()> {
        self.check_put_lease(put)?;
        self.check_put_key(state, put)
    }

    fn check_put_lease(&self, put: &Put) -> Answer<()> {
        if put.lease.0 != 0 && !self.leases.contains_key(&put.lease) {
            Err(KeyspaceError::LeaseNotFound(put.lease))
        } else {
            Ok(())
        }
    }

    fn check_put_key(&self, state: &State, put: &Put) -> Answer<()> {
        if (put.ignore_value || put.ignore_lease) && !state.contains_key(&put.key) {
            Err(KeyspaceError::KeyNotFound)
        } else {
            Ok(())
        }
    }

    /// All puts, then all ranges.
    fn check_txn_now(&self, txn: &Txn, before: &State) -> Answer<()> {
        self.check_branch_now(txn, before, false)?;
        self.check_branch_now(txn, before, true)
    }

    fn check_branch_now(&self, txn: &Txn, before: &State, ranges: bool) -> Answer<()> {
        let holds = txn.compare.iter().all(|compare| holds(before, compare));
        for operation in if holds { &txn.success } else { &txn.failure } {
            match operation {
                Operation::Range(range) if ranges && range.revision < 0 => {
                    return Err(KeyspaceError::Compacted { compacted: self.compacted });
                }
                Operation::Range(range) if ranges => self.check_revision(range.revision)?,
                Operation::Put(put) if !ranges => {
                    self.check_put_key(before, put)?;
                    self.check_put_lease(put)?;
                }
                Operation::Txn(nested) => self.check_branch_now(nested, before, ranges)?,
                Operation::Range(_) | Operation::Put(_) | Operation::DeleteRange(_) | Operation::Empty => {}
            }
        }
        Ok(())
    }

    fn txn_now(&self, txn: &Txn, work: &mut Work) -> Answer<TxnReply> {
        let succeeded = txn.compare.iter().all(|compare| holds(&work.before, compare));
        let mut responses = vec![];
        for operation in if succeeded { &txn.success } else { &txn.failure } {
            let reply = match operation {
                Operation::Range(range) => Reply::Range(self.range(range, &work.now)?),
                Operation::Put(put) => Reply::Put(put_now(work, put)),
                Operation::DeleteRange(delete) => Reply::DeleteRange(delete_now(work, delete)),
                Operation::Txn(nested) => Reply::Txn(self.txn_now(nested, work)?),
                Operation::Empty => unreachable!(),
            };
            let revision = match operation {
                Operation::Txn(_) => 0,
                _ if work.events.is_empty() => work.old,
                _ => work.old + 1,
            };
            responses.push(OperationReply { revision, reply });
        }
        Ok(TxnReply { succeeded, responses })
    }

    /// A read-only transaction against the last state.
    pub fn read_only(&self, txn: &Txn) -> Answer<TxnReply> {
        let before = self.states.last().unwrap().clone();
        self.check_txn_now(txn, &before)?;
        self.txn_now(txn, &mut Work::new(before, self.revision()))
    }

    /// What the versions that a finished compaction leaves weigh: of its own revision all, also what a later change of it hides.
    pub fn size_bytes(&self) -> u64 {
        let mut kept = 0;
        let mut last: BTreeMap<&Bytes, &Event> = BTreeMap::new();
        let weight = |event: &Event| RECORD_BYTES + (event.kv.key.len() + event.kv.value.len()) as u64;
        for event in self.events.iter().flatten() {
            if event.kv.mod_revision >= self.compacted {
                kept += weight(event);
            }
            if event.kv.mod_revision <= self.compacted {
                last.insert(&event.kv.key, event);
            }
        }
        for event in last.values() {
            if event.kind == EventKind::Put && event.kv.mod_revision < self.compacted {
                kept += weight(event);
            }
        }
        kept + LEASE_BYTES * self.leases.len() as u64
    }
}

pub fn contains(key: &[u8], range_end: &[u8], candidate: &[u8]) -> bool {
    if range_end.is_empty() {
        candidate == key
    } else if range_end == [0] {
        candidate >= key
    } else {
        candidate >= key && candidate < range_end
    }
}

fn inside(state: &State, key: &[u8], range_end: &[u8]) -> Vec<KeyValue> {
    state.values().filter(|kv| contains(key, range_end, &kv.key)).cloned().collect()
}

fn holds(state: &State, compare: &Compare) -> bool {
    let mut kvs = inside(state, &compare.key, &compare.range_end);
    if kvs.is_empty() {
        if matches!(compare.target, CompareTarget::Value(_)) {
            return false;
        }
        kvs.push(KeyValue::default());
    }
    kvs.iter().all(|kv| {
        let ordering = match &compare.target {
            CompareTarget::Version(right) => (kv.version as i64).cmp(right),
            CompareTarget::Create(right) => (kv.create_revision as i64).cmp(right),
            CompareTarget::Mod(right) => (kv.mod_revision as i64).cmp(right),
            CompareTarget::Lease(right) => kv.lease.cmp(right),
            CompareTarget::Value(right) => kv.value.cmp(right),
        };
        match compare.result {
            CompareResult::Equal => ordering.is_eq(),
            CompareResult::Greater => ordering.is_gt(),
            CompareResult::Less => ordering.is_lt(),
            CompareResult::NotEqual => ordering.is_ne(),
        }
    })
}

fn put_now(work: &mut Work, put: &Put) -> PutReply {
    let revision = work.old + 1;
    let old = work.now.get(&put.key).cloned();
    let mut kv = KeyValue {
        key: put.key.clone(),
        value: put.value.clone(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: put.lease,
    };
    if let Some(old) = &old {
        kv.create_revision = old.create_revision;
        kv.version = old.version + 1;
        if put.ignore_value {
            kv.value = old.value.clone();
        }
        if put.ignore_lease {
            kv.lease = old.lease;
        }
    }
    work.now.insert(put.key.clone(), kv.clone());
    let prev = if kv.create_revision == revision { None } else { work.before.get(&put.key).cloned() };
    work.tell(Event { kind: EventKind::Put, sub: work.events.len() as u32, kv, prev });
    PutReply { prev_kv: if put.prev_kv { old } else { None } }
}

fn delete_now(work: &mut Work, delete: &DeleteRange) -> DeleteRangeReply {
    let gone = inside(&work.now, &delete.key, &delete.range_end);
    for old in &gone {
        work.now.remove(&old.key);
        let kv = KeyValue { key: old.key.clone(), mod_revision: work.old + 1, ..KeyValue::default() };
        let prev = work.before.get(&old.key).cloned();
        work.tell(Event { kind: EventKind::Delete, sub: work.events.len() as u32, kv, prev });
    }
    DeleteRangeReply { deleted: gone.len() as u64, prev_kvs: if delete.prev_kv { gone } else { vec![] } }
}

fn shape(operation: &Operation) -> Answer<()> {
    match operation {
        Operation::Empty => Err(KeyspaceError::KeyNotFound),
        Operation::Range(Range { key, .. }) | Operation::DeleteRange(DeleteRange { key, .. })
            if key.is_empty() =>
        {
            Err(KeyspaceError::EmptyKey)
        }
        Operation::Range(_) | Operation::DeleteRange(_) => Ok(()),
        Operation::Put(put) if put.key.is_empty() => Err(KeyspaceError::EmptyKey),
        Operation::Put(put) if put.ignore_value && !put.value.is_empty() => Err(KeyspaceError::ValueProvided),
        Operation::Put(put) if put.ignore_lease && put.lease.0 != 0 => Err(KeyspaceError::LeaseProvided),
        Operation::Put(_) => Ok(()),
        Operation::Txn(txn) => {
            if txn.compare.iter().any(|compare| compare.key.is_empty()) {
                return Err(KeyspaceError::EmptyKey);
            }
            txn.success.iter().chain(&txn.failure).try_for_each(shape)
        }
    }
}

/// Does a branch put a key twice, or put and delete it? Looks at each pair of writes and at where their ways part: in the two
/// branches of one transaction they exclude each other; in two operations of one list they do not, except that a nested transaction
/// may delete what an earlier nested one put.
pub fn collides(branch: &[Operation]) -> bool {
    struct Write<'a> {
        /// (place in the list, branch of the nested transaction there), from the outermost list in.
        way: Vec<(usize, Option<bool>)>,
        put: bool,
        key: &'a [u8],
        range_end: &'a [u8],
    }
    fn collect<'a>(branch: &'a [Operation], way: &mut Vec<(usize, Option<bool>)>, to: &mut Vec<Write<'a>>) {
        for (at, operation) in branch.iter().enumerate() {
            match operation {
                Operation::Put(put) => {
                    way.push((at, None));
                    to.push(Write { way: way.clone(), put: true, key: &put.key, range_end: &[] });
                    way.pop();
                }
                Operation::DeleteRange(delete) => {
                    way.push((at, None));
                    to.push(Write {
                        way: way.clone(),
                        put: false,
                        key: &delete.key,
                        range_end: &delete.range_end,
                    });
                    way.pop();
                }
                Operation::Txn(txn) => {
                    for (which, branch) in [(true, &txn.success), (false, &txn.failure)] {
                        way.push((at, Some(which)));
                        collect(branch, way, to);
                        way.pop();
                    }
                }
                Operation::Range(_) | Operation::Empty => {}
            }
        }
    }
    let mut writes = vec![];
    collect(branch, &mut vec![], &mut writes);
    writes.iter().enumerate().any(|(index, put)| {
        writes.iter().enumerate().any(|(other_index, other)| {
            if !put.put || index == other_index || !contains(other.key, other.range_end, put.key) {
                return false;
            }
            let part = put.way.iter().zip(&other.way).position(|(a, b)| a != b).unwrap();
            let ((at, branch), (other_at, other_branch)) = (put.way[part], other.way[part]);
            let exclusive = at == other_at;
            let later_nested = branch.is_some() && other_branch.is_some() && at < other_at;
            !exclusive && (other.put || !later_nested)
        })
    })
}

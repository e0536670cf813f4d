//! A keyspace with short words for its commands, for examples that fit on a line.

use bytes::Bytes;
use quorate_consensus::{Position, StateMachine};
use quorate_keyspace::*;

/// A keyspace with short words for its commands.
pub struct Shell {
    pub keyspace: Keyspace,
    pub index: u64,
}

pub fn put(key: &'static str, value: &'static str) -> Put {
    Put { key: key.into(), value: value.into(), ..Put::default() }
}

/// A put that hangs the key on a lease.
pub fn hang(key: &'static str, lease: i64) -> Put {
    Put { lease: LeaseId(lease), ..put(key, "") }
}

pub fn revoke(id: i64) -> Command {
    Command::LeaseRevoke { id: LeaseId(id) }
}

/// The steward of `epoch` says that these are over.
pub fn expire(epoch: u64, leases: &[Lease]) -> Command {
    Command::LeaseExpire { epoch, leases: leases.iter().map(|lease| (lease.id, lease.granted)).collect() }
}

/// The steward of `epoch` says how much is left.
pub fn checkpoint(epoch: u64, lease: Lease, remaining_s: i64) -> Command {
    Command::LeaseCheckpoint { epoch, checkpoints: vec![(lease.id, lease.granted, remaining_s)] }
}

pub fn unhex(hex: &str) -> Bytes {
    let digits = hex.as_bytes().chunks(2).map(|two| str::from_utf8(two).unwrap());
    digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
}

pub fn range(key: &'static str, range_end: &'static str) -> Range {
    Range { key: key.into(), range_end: range_end.into(), ..Range::default() }
}

pub fn delete(key: &'static str, range_end: &'static str) -> DeleteRange {
    DeleteRange { key: key.into(), range_end: range_end.into(), prev_kv: false }
}

pub fn compare(key: &'static str, result: CompareResult, target: CompareTarget) -> Compare {
    Compare { key: key.into(), range_end: Bytes::new(), result, target }
}

pub fn then(success: Vec<Operation>) -> Txn {
    Txn { success, ..Txn::default() }
}

pub fn nested(success: Vec<Operation>) -> Operation {
    Operation::Txn(then(success))
}

impl Shell {
    pub fn new() -> Shell {
        Shell { keyspace: Keyspace::new(), index: 0 }
    }

    pub fn with(puts: &[(&'static str, &'static str)]) -> Shell {
        let mut shell = Shell::new();
        for (key, value) in puts {
            shell.ok(Command::Put(put(key, value)));
        }
        shell
    }

    pub fn apply(&mut self, command: Command) -> (Response, Vec<Event>) {
        let (response, news) = self.apply_at(1, command);
        let events = news.into_iter().filter_map(|news| match news {
            News::Changed(event) => Some(event),
            News::Granted(_)
            | News::Checkpointed(_)
            | News::Ended { .. }
            | News::AuthChanged { .. }
            | News::Authenticated { .. } => None,
        });
        (response, events.collect())
    }

    /// Applies a command in an epoch; all that it tells.
    pub fn apply_at(&mut self, epoch: u64, command: Command) -> (Response, Vec<News>) {
        self.index += 1;
        let placed = self.keyspace.apply(Position::new(epoch, self.index), &command.encode());
        (placed.response, placed.events)
    }

    pub fn ok(&mut self, command: Command) -> Reply {
        self.apply(command).0.result.unwrap()
    }

    pub fn refused(&mut self, command: Command) -> KeyspaceError {
        let before = (self.keyspace.number(), self.keyspace.size_bytes(), self.keyspace.view().lease_count());
        let (response, news) = self.apply_at(1, command);
        assert!(news.is_empty());
        let after = (self.keyspace.number(), self.keyspace.size_bytes(), self.keyspace.view().lease_count());
        assert_eq!(after, before, "a refused command changes nothing");
        response.result.unwrap_err()
    }

    pub fn grant(&mut self, id: i64, ttl_s: i64) -> Lease {
        match self.ok(Command::LeaseGrant { id: LeaseId(id), ttl_s }) {
            Reply::LeaseGrant(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    /// The keys that hang on a lease, with a space after each.
    pub fn attached(&self, id: i64) -> String {
        let view = self.keyspace.view();
        view.lease_keys(LeaseId(id)).map(|key| format!("{} ", str::from_utf8(&key).unwrap())).collect()
    }

    pub fn restored(&self) -> Keyspace {
        Keyspace::restore(&mut self.keyspace.snapshot()).unwrap()
    }

    pub fn compact(&mut self, revision: i64) -> Result<Reply, KeyspaceError> {
        self.apply(Command::Compact(Compact { revision, physical: false })).0.result
    }

    pub fn swept(&mut self) {
        while self.keyspace.view().compaction_pending() {
            self.ok(Command::Sweep);
        }
    }

    pub fn keys(&self, range: Range) -> Vec<Bytes> {
        self.keyspace.view().range(&range).unwrap().kvs.into_iter().map(|kv| kv.key).collect()
    }

    pub fn get(&self, key: &str) -> Option<KeyValue> {
        self.keyspace.view().get(key.as_bytes())
    }

    pub fn succeeds(&mut self, compare: Vec<Compare>) -> bool {
        match self.ok(Command::Txn(Txn { compare, ..Txn::default() })) {
            Reply::Txn(reply) => reply.succeeded,
            other => panic!("{other:?}"),
        }
    }
}

pub fn alarm(action: AlarmAction, kind: AlarmKind) -> Command {
    Command::Alarm(Alarm { action, alarm: AlarmMember { member: 1, kind } })
}

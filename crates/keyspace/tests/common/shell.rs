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
            News::Granted(_) | News::Checkpointed(_) | News::Ended { .. } => None,
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

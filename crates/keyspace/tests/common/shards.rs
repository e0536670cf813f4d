//! One keyspace, and shards that have its keys among them, to which the same happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use quorate_consensus::{Position, StateMachine};
use quorate_keyspace::*;

use super::shell;

/// Whose the keys are.
#[derive(Clone, Debug)]
pub enum Cut {
    /// Each part begins with one of these keys; the first has what is below.
    At(Vec<&'static [u8]>),
    /// Among so many parts by the bytes of the key, so that neighbours are in different ones.
    Scattered(usize),
}

impl Cut {
    fn parts(&self) -> usize {
        match self {
            Cut::At(begins) => begins.len() + 1,
            Cut::Scattered(parts) => *parts,
        }
    }
}

impl Owners for Cut {
    fn owner(&self, key: &[u8]) -> usize {
        match self {
            Cut::At(begins) => begins.partition_point(|begin| *begin <= key),
            Cut::Scattered(parts) => key.iter().map(|byte| usize::from(*byte)).sum::<usize>() % parts,
        }
    }

    fn owners(&self, key: &[u8], range_end: &[u8]) -> Vec<usize> {
        match (self, range_end) {
            (_, b"") => vec![self.owner(key)],
            (_, end) if end != b"\0" && end <= key => vec![],
            (Cut::At(begins), b"\0") => (self.owner(key)..=begins.len()).collect(),
            (Cut::At(begins), end) => {
                (self.owner(key)..=begins.partition_point(|begin| *begin < end)).collect()
            }
            // In no order.
            (Cut::Scattered(parts), _) => (0..*parts).rev().collect(),
        }
    }
}

pub fn cut() -> impl Strategy<Value = Cut> {
    let at: [&[&'static [u8]]; 5] = [&[], &[b"b"], &[b"a\0", b"c"], &[b"ab", b"c", b"d"], &[b"aa", b"z"]];
    prop_oneof![
        3 => (0..at.len()).prop_map(move |which| Cut::At(at[which].to_vec())),
        2 => (2..5usize).prop_map(Cut::Scattered),
    ]
}

/// One keyspace, and several that have its keys among them.
pub struct Both {
    pub cut: Arc<Cut>,
    pub one: Keyspace,
    pub parts: Vec<Shard>,
    pub index: u64,
    /// The changes, numbered part by part.
    pub changes: Vec<Event>,
}

pub fn then(success: Vec<Operation>) -> Command {
    Command::Txn(shell::then(success))
}

/// What a transaction did, in its order. Each by itself in a nested one: there a key may be deleted that another has put.
fn done(txn: &Txn, reply: &TxnReply, to: &mut Vec<Operation>) {
    let branch = if reply.succeeded { &txn.success } else { &txn.failure };
    for (operation, response) in branch.iter().zip(&reply.responses) {
        match (operation, &response.reply) {
            (Operation::Txn(nested), Reply::Txn(reply)) => done(nested, reply, to),
            (Operation::Put(_) | Operation::DeleteRange(_), _) => {
                to.push(shell::nested(vec![operation.clone()]));
            }
            _ => {}
        }
    }
}

impl Both {
    pub fn new(cut: Cut) -> Both {
        let parts = (0..cut.parts()).map(|_| Shard::new(Keyspace::new())).collect();
        Both { cut: Arc::new(cut), one: Keyspace::new(), parts, index: 0, changes: vec![] }
    }

    /// The owners of the keys that a command which was carried out names, and what each is to do.
    fn parts_of(&self, command: &Command, reply: &Reply) -> BTreeMap<usize, Command> {
        let each = |owners: Vec<usize>| owners.into_iter().map(|owner| (owner, command.clone())).collect();
        match (command, reply) {
            (Command::Put(put), _) => each(vec![self.cut.owner(&put.key)]),
            (Command::DeleteRange(delete), _) => each(self.cut.owners(&delete.key, &delete.range_end)),
            (Command::Range(_), _) => BTreeMap::new(),
            (Command::Txn(txn), Reply::Txn(reply)) => {
                let mut all = vec![];
                done(txn, reply, &mut all);
                let mut parts: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
                for operation in all {
                    let Operation::Txn(Txn { success, .. }) = &operation else { unreachable!() };
                    let owners = match &success[0] {
                        Operation::Put(put) => vec![self.cut.owner(&put.key)],
                        Operation::DeleteRange(delete) => self.cut.owners(&delete.key, &delete.range_end),
                        other => panic!("{other:?}"),
                    };
                    owners
                        .into_iter()
                        .for_each(|owner| parts.entry(owner).or_default().push(operation.clone()));
                }
                parts.into_iter().map(|(owner, operations)| (owner, then(operations))).collect()
            }
            _ => each((0..self.parts.len()).collect()),
        }
    }

    pub fn apply(&mut self, command: &Command) -> Result<Reply, KeyspaceError> {
        self.index += 1;
        let at = Position::new(1, self.index);
        let named = |view: &View, command: &Command| match command {
            Command::LeaseExpire { .. }
            | Command::LeaseCheckpoint { .. }
            | Command::SetQuota(_)
            | Command::Sweep => command.encode(),
            command => view.auth().as_root(command.clone()).encode(),
        };
        let view = self.one.view();
        let placed = self.one.apply(at, &named(&view, command));
        let events = placed.events.into_iter().filter_map(|news| match news {
            News::Changed(event) => Some(event),
            _ => None,
        });
        let mut events: Vec<Event> = events.collect();
        events.sort_by_key(|event| self.cut.owner(&event.kv.key));
        events.iter_mut().zip(0..).for_each(|(event, sub)| event.sub = sub);
        self.changes.extend(events.into_iter().map(|event| Event { prev: None, ..event }));
        if let Ok(reply) = &placed.response.result {
            let revision = placed.response.revision;
            for (part, command) in self.parts_of(command, reply) {
                self.parts[part].evaluate(at, &named(&view, &command)).expect("nothing is open");
                let placed = self.parts[part].place(revision);
                assert!(placed.response.result.is_ok(), "{command:?}: {placed:?}");
            }
        }
        placed.response.result
    }

    /// Every other part has heard of the last revision, the others of what they were told.
    pub fn many(&self) -> View {
        let revision = self.one.number();
        let views =
            self.parts.iter().enumerate().map(|(part, shard)| {
                if part % 2 == 0 { shard.placed().view() } else { shard.view(revision) }
            });
        View::of_shards(revision, views.collect(), self.cut.clone())
    }

    pub fn sweep(&mut self) {
        while self.one.view().compaction_pending() || self.many().compaction_pending() {
            self.apply(&Command::Sweep).unwrap();
        }
    }
}

//! Who comes when: the committed logs of the order and of the shards as one sequence.
//!
//! The order's log is carried out on a replica of its state machine that belongs to no host. What that says of cuts and decisions is all that is believed; which
//! command that is, and what it comes to, is found out here, from the shards' logs and by whoever executes them one after another.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use quorate_consensus::{Entry, GroupId, Membership, NodeId, Payload, Position, ShardId};
use quorate_node::TaggedCommand;
use quorate_order::{Command as OrderCommand, Mark, Orderer, Outcome, TxnId};
use quorate_service::{
    keyspace::{Command, Compact, Operation},
    placement::shards::{Command as MapCommand, ShardMap, Shards},
    shards::{Division, Handover, ShardCommand},
};

use crate::zoo::Wrong;

/// Who asked: node, life, ticket.
pub(crate) type Origin = (NodeId, u64, u64);

/// With this the entries of the order begin, and no command of the keyspace does.
const ORDER: u8 = 0xC0;
const FOUND: u8 = 1;
const COMMAND: u8 = 2;
const CHANGE: u8 = 3;

/// The committed log of a shard's group, as far as it was looked at.
#[derive(Debug, Default)]
pub(crate) struct ShardLog {
    last: u64,
    /// What nobody has taken yet.
    new: Vec<Item>,
}

impl ShardLog {
    /// The last entry.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn execute(&mut self, entry: &Entry) {
        self.last = entry.position.index.0;
        let Payload::Command(bytes) = &entry.payload else { return };
        let Ok(tagged) = TaggedCommand::decode(bytes.clone()) else { return };
        let origin = tagged.origin.map(|origin| (origin.node, origin.life, origin.ticket.0));
        match ShardCommand::decode(tagged.command) {
            Ok(ShardCommand::Turn(command)) => {
                self.new.push(Item::Turn { at: entry.position, origin, command });
            }
            Ok(ShardCommand::Barrier { txn, .. }) => self.new.push(Item::Barrier(txn)),
            Ok(ShardCommand::Branch(..)) | Err(_) => {}
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.new)
    }
}

/// What stands in a shard's log and takes its place in the sequence.
#[derive(Debug)]
pub(crate) enum Item {
    Turn { at: Position, origin: Option<Origin>, command: Bytes },
    Barrier(TxnId),
}

/// A shard.
#[derive(Debug)]
struct Lane {
    group: GroupId,
    /// Who has which keys, as far as it has come.
    map: Arc<ShardMap>,
    items: VecDeque<Item>,
    /// The newest barrier in its log.
    newest: TxnId,
    placed: Mark,
}

/// A transaction that has begun.
#[derive(Debug)]
struct Begun {
    at: Position,
    origin: Option<Origin>,
    command: Bytes,
    /// Behind it the keys are divided so.
    map: Option<Arc<ShardMap>>,
}

/// What the order has decided and is not executed yet.
#[derive(Debug)]
enum Todo {
    Turns { shard: ShardId, upto: Mark },
    Txn { txn: TxnId, branch: bool, changes: bool, shards: Vec<ShardId> },
}

/// What is to be executed next.
#[derive(Debug)]
pub(crate) enum Due {
    /// A command of one shard alone.
    Turn { shard: ShardId, map: Arc<ShardMap>, at: Position, origin: Option<Origin>, command: Bytes },
    /// One over several.
    Txn { at: Position, origin: Option<Origin>, command: Bytes, branch: bool, changes: bool },
    /// Keys go from one shard to another.
    Change,
    /// A compaction of what is to come is refused where it stands.
    Refused { current: u64, origin: Option<Origin> },
}

/// The sequence.
#[derive(Debug)]
pub(crate) struct Placed {
    orderer: Orderer,
    map: Arc<ShardMap>,
    lanes: BTreeMap<ShardId, Lane>,
    begun: BTreeMap<TxnId, Begun>,
    todo: VecDeque<Todo>,
    refused: Vec<Due>,
    /// Groups that have come, and nobody has been told of yet.
    born: Vec<(GroupId, Membership)>,
    /// How often two shards have become one.
    pub(crate) merges: u64,
    /// Whoever asked for what came to nothing.
    pub(crate) void: BTreeSet<Origin>,
    wrong: Vec<Wrong>,
}

impl Placed {
    /// The sequence that begins with this entry of the group of keys, if it founds shards.
    pub(crate) fn found(command: &Bytes, revision: u64, members: &Membership) -> Option<Placed> {
        if (command.first(), command.get(1)) != (Some(&ORDER), Some(&FOUND)) {
            return None;
        }
        let found = MapCommand::decode(&command.slice(2..)).ok()?;
        let MapCommand::Found { shards, .. } = &found else { return None };
        let first = shards.iter().find(|founder| founder.shard == ShardId(1))?;
        if shards.iter().any(|founder| founder.members != *members) {
            return None;
        }
        let mut map = Shards::new(first.group, first.members.clone(), first.engine).ok()?;
        map.apply(map.evaluate(&found).ok()?);
        let map = Arc::new(map.map().clone());
        let mut placed = Placed {
            orderer: Orderer::new(revision, map.shards().iter().map(|entry| entry.shard)),
            map,
            lanes: BTreeMap::new(),
            begun: BTreeMap::new(),
            todo: VecDeque::new(),
            refused: Vec::new(),
            born: Vec::new(),
            merges: 0,
            void: BTreeSet::new(),
            wrong: Vec::new(),
        };
        placed.open();
        Some(placed)
    }

    /// Lanes for the shards that have come.
    fn open(&mut self) {
        let map = Arc::clone(&self.map);
        for entry in map.shards() {
            self.lanes.entry(entry.shard).or_insert_with(|| {
                self.born.push((entry.group, entry.members.clone()));
                let (map, group, items) = (Arc::clone(&map), entry.group, VecDeque::new());
                Lane { group, map, items, newest: TxnId::default(), placed: Mark::default() }
            });
        }
    }

    /// The revision that the order has given last.
    pub(crate) fn revision(&self) -> u64 {
        self.orderer.revision()
    }

    /// Is all that the order has decided executed?
    pub(crate) fn is_done(&self) -> bool {
        self.todo.is_empty()
    }

    pub(crate) fn take_born(&mut self) -> Vec<(GroupId, Membership)> {
        std::mem::take(&mut self.born)
    }

    pub(crate) fn take_wrong(&mut self) -> Vec<Wrong> {
        std::mem::take(&mut self.wrong)
    }

    fn wrong(&mut self, id: &'static str, what: String) {
        self.wrong.push(Wrong::new(id, what));
    }

    /// What a shard's log goes on with. {a barrier is logged twice, by one leader and the next}: the first one counts.
    pub(crate) fn take_items(&mut self, group: GroupId, items: Vec<Item>) {
        let Some(lane) = self.lanes.values_mut().find(|lane| lane.group == group) else { return };
        for item in items {
            if let Item::Barrier(txn) = &item {
                if *txn <= lane.newest {
                    continue;
                }
                lane.newest = *txn;
            }
            lane.items.push_back(item);
        }
    }

    // ── the order's log ─────────────────────────────────────────────────────────────────────────────────────────────

    /// The next entry of the order's log.
    pub(crate) fn take(
        &mut self,
        at: Position,
        origin: Option<Origin>,
        command: &Bytes,
        members: &Membership,
    ) {
        match (command.first(), command.get(1)) {
            (Some(&ORDER), Some(&COMMAND)) => {
                if let Ok(command) = OrderCommand::decode(&command.slice(2..)) {
                    self.order(&self.in_its_epoch(at, command));
                }
            }
            (Some(&ORDER), Some(&CHANGE)) => self.change(at, origin, command, members),
            (Some(&ORDER), _) => {}
            _ => self.begin(at, origin, command),
        }
    }

    /// What a steward of leases has begun comes to nothing if it is decided in a later epoch than its own.
    fn in_its_epoch(&self, at: Position, command: OrderCommand) -> OrderCommand {
        let OrderCommand::Decide { txn, .. } = &command else { return command };
        let begun = self.begun.get(txn).and_then(|begun| Command::decode(&begun.command).ok());
        match begun {
            Some(Command::LeaseExpire { epoch, .. } | Command::LeaseCheckpoint { epoch, .. })
                if epoch != at.epoch.0 =>
            {
                OrderCommand::Decide { txn: *txn, outcome: Outcome::Void }
            }
            _ => command,
        }
    }

    fn order(&mut self, command: &OrderCommand) {
        let before: BTreeMap<ShardId, Mark> = self.marks();
        let is_change = |txn: &TxnId| self.begun.get(txn).is_some_and(|begun| begun.map.is_some());
        match command {
            OrderCommand::Begin(_) | OrderCommand::Admit(_) => return,
            OrderCommand::Decide { txn, outcome: Outcome::Void } if is_change(txn) => return,
            _ => {}
        }
        if self.orderer.apply(command).is_err() {
            return;
        }
        for (shard, upto) in self.marks() {
            if before[&shard].turns < upto.turns {
                self.todo.push_back(Todo::Turns { shard, upto });
            }
        }
        match command {
            OrderCommand::Decide { txn, outcome: Outcome::Void } => {
                let origin = self.begun.remove(txn).and_then(|begun| begun.origin);
                self.void.extend(origin);
            }
            OrderCommand::Decide { txn, outcome: Outcome::Done { branch, changes, barriers } } => {
                let shards = barriers.iter().map(|(shard, _)| *shard).collect();
                self.todo.push_back(Todo::Txn { txn: *txn, branch: *branch, changes: *changes, shards });
            }
            _ => {}
        }
    }

    fn marks(&self) -> BTreeMap<ShardId, Mark> {
        self.orderer.shards().filter_map(|shard| Some((shard, self.orderer.placed(shard)?))).collect()
    }

    fn begin(&mut self, at: Position, origin: Option<Origin>, bytes: &Bytes) {
        let Ok(command) = Command::decode(bytes) else { return };
        let current = self.orderer.revision();
        if let Command::Compact(Compact { revision, .. }) = &command
            && u64::try_from(*revision).is_ok_and(|revision| revision > current)
        {
            return self.refused.push(Due::Refused { current, origin });
        }
        let Ok(division) = Division::of(&command, &self.map) else { return };
        let begun = self.orderer.apply(&OrderCommand::Begin(division.shards().collect()));
        if let Ok(Some(txn)) = begun {
            self.begun.insert(txn, Begun { at, origin, command: bytes.clone(), map: None });
        }
    }

    /// Keys are to go from one shard to another: one such change at a time.
    fn change(&mut self, at: Position, origin: Option<Origin>, bytes: &Bytes, members: &Membership) {
        let is_open = |txn: &TxnId| self.orderer.waits_for(*txn);
        if self.begun.iter().any(|(txn, begun)| begun.map.is_some() && is_open(txn)) {
            return;
        }
        let Some(handover) = Handover::of_entry(bytes, &self.map) else { return };
        let Handover { giver, taker, map, .. } = handover;
        let is_new = !self.lanes.contains_key(&taker);
        if is_new && map.get(taker).is_none_or(|entry| entry.members != *members) {
            return;
        }
        let admitted = if is_new { self.orderer.apply(&OrderCommand::Admit(taker)) } else { Ok(None) };
        let begun = admitted.and_then(|_| self.orderer.apply(&OrderCommand::Begin(vec![giver, taker])));
        let Ok(Some(txn)) = begun else {
            return self.wrong("P1", format!("keys cannot go from {giver} to {taker}: {begun:?}"));
        };
        if !is_new && map.get(giver).is_none() {
            self.merges += 1;
        }
        self.map = Arc::clone(&map);
        self.begun.insert(txn, Begun { at, origin, command: Bytes::new(), map: Some(map) });
        self.open();
    }

    // ── the sequence ────────────────────────────────────────────────────────────────────────────────────────────────

    /// What comes next; none if that is not decided, or stands in a log that was not looked at so far.
    pub(crate) fn next(&mut self) -> Option<Due> {
        if let Some(refused) = self.refused.pop() {
            return Some(refused);
        }
        loop {
            match self.todo.front()? {
                Todo::Turns { shard, upto } => {
                    let (shard, upto) = (*shard, *upto);
                    let lane = self.lanes.get_mut(&shard).expect("the order's shards have lanes");
                    if lane.placed.turns == upto.turns {
                        let placed = lane.placed;
                        self.todo.pop_front();
                        if placed != upto {
                            let what =
                                format!("{shard} is placed up to {upto:?}, its log comes to {placed:?}");
                            self.wrong("P1", what);
                        }
                        continue;
                    }
                    match lane.items.pop_front()? {
                        // Void, or it would have been placed before what stands behind it.
                        Item::Barrier(txn) if self.begun.contains_key(&txn) => {
                            self.wrong(
                                "P2",
                                format!("turns of {shard} behind the barrier of {txn:?} come before it"),
                            );
                        }
                        Item::Barrier(_) => {}
                        Item::Turn { at, origin, command } => {
                            lane.placed.turns += 1;
                            let map = Arc::clone(&lane.map);
                            return Some(Due::Turn { shard, map, at, origin, command });
                        }
                    }
                }
                Todo::Txn { .. } => return self.txn(),
            }
        }
    }

    fn txn(&mut self) -> Option<Due> {
        let Some(Todo::Txn { txn, branch, changes, shards }) = self.todo.front() else { return None };
        let (txn, branch, changes, shards) = (*txn, *branch, *changes, shards.clone());
        for shard in &shards {
            let lane = self.lanes.get_mut(shard).expect("the order's shards have lanes");
            while matches!(lane.items.front(), Some(Item::Barrier(other)) if *other < txn) {
                lane.items.pop_front();
            }
            let front = lane.items.front()?;
            if !matches!(front, Item::Barrier(other) if *other == txn) {
                let what = format!("{shard} should stand at the barrier of {txn:?}, and stands at {front:?}");
                self.wrong("P2", what);
                return None;
            }
        }
        self.todo.pop_front();
        let begun = self.begun.remove(&txn).expect("what is decided has begun");
        for shard in &shards {
            let lane = self.lanes.get_mut(shard).expect("just seen");
            lane.items.pop_front();
            if let Some(map) = &begun.map {
                lane.map = Arc::clone(map);
            }
        }
        let Begun { at, origin, command, map } = begun;
        Some(match map {
            Some(_) => Due::Change,
            None => Due::Txn { at, origin, command, branch, changes },
        })
    }

    /// The turn that was given last changes something.
    pub(crate) fn changed(&mut self, shard: ShardId) {
        self.lanes.get_mut(&shard).expect("it had a turn").placed.changes += 1;
    }
}

/// Is it an entry of the order, and no command of the keyspace?
pub(crate) fn is_of_order(command: &Bytes) -> bool {
    command.first() == Some(&ORDER)
}

/// Has the shard, by this map, every key that the command names?
pub(crate) fn owns(shard: ShardId, map: &ShardMap, command: &Bytes) -> bool {
    let spans = match Command::decode(command) {
        Ok(Command::Put(put)) => vec![(put.key, Bytes::new())],
        Ok(Command::DeleteRange(delete)) => vec![(delete.key, delete.range_end)],
        Ok(Command::Txn(txn)) => {
            let compared = txn.compare.into_iter().map(|compare| (compare.key, compare.range_end));
            let done = txn.success.into_iter().chain(txn.failure).filter_map(|operation| match operation {
                Operation::Put(put) => Some((put.key, Bytes::new())),
                Operation::DeleteRange(delete) => Some((delete.key, delete.range_end)),
                Operation::Range(range) => Some((range.key, range.range_end)),
                Operation::Empty | Operation::Txn(_) => None,
            });
            compared.chain(done).collect()
        }
        Ok(_) | Err(_) => Vec::new(),
    };
    spans.into_iter().all(|(key, end)| match &end[..] {
        [] => map.locate(&key).shard == shard,
        [0] => map.locate_range(&key, None).all(|entry| entry.shard == shard),
        end => map.locate_range(&key, Some(end)).all(|entry| entry.shard == shard),
    })
}

#[cfg(test)]
mod tests;

//! One journal on one crashing disk, and the naive model: a list of what was handed over, and a Vec of entries per group.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, Entry, Epoch, Fetched, GroupId, Incarnation, Index, Membership, NodeId, Payload, Position,
    Random, SnapshotMeta,
};
use quorate_journal::{
    Config, GroupWrite, Identity, Journal, JournalEvent, ReadToken, SnapshotId, SnapshotPiece, WriteToken,
};

use super::disk::{Crash, Disk};

pub(crate) const GROUPS: u64 = 3;

pub(crate) fn identity() -> Identity {
    Identity { cluster: ClusterId(7), node: NodeId(1), incarnation: Incarnation(9) }
}

pub(crate) fn config() -> Config {
    Config { segment_bytes: 8 << 10, ..Config::default() }
}

/// A group as it should be; everything but the newest snapshot, which has an order of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) hard_state: Option<Bytes>,
    pub(crate) compacted: Position,
    pub(crate) entries: Vec<Entry>,
    /// The newest snapshot that was installed from a leader.
    pub(crate) installed: Position,
}

impl Model {
    pub(crate) fn last(&self) -> Position {
        self.entries.last().map_or(self.compacted, |entry| entry.position)
    }

    pub(crate) fn at(&self, index: Index) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.compacted.index.0 + 1)?;
        self.entries.get(offset as usize)
    }

    fn position_at(&self, index: Index) -> Option<Position> {
        if index == self.compacted.index {
            Some(self.compacted)
        } else {
            self.at(index).map(|entry| entry.position)
        }
    }

    fn keep_after(&mut self, at: Position) {
        self.entries.retain(|entry| entry.position.index > at.index);
        self.compacted = at;
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Write(GroupId, GroupWrite),
    Compact(GroupId, Position),
    Install(GroupId, SnapshotMeta, bool),
}

pub(crate) fn apply(models: &mut BTreeMap<GroupId, Model>, op: &Op) {
    match op {
        Op::Write(group, write) => {
            let model = models.entry(*group).or_default();
            if let Some(hard_state) = &write.hard_state {
                model.hard_state = Some(hard_state.clone());
            }
            if let Some(from) = write.truncate_from {
                model.entries.retain(|entry| entry.position.index < from);
            }
            model.entries.extend(write.entries.iter().cloned());
        }
        Op::Compact(group, to) => {
            let model = models.entry(*group).or_default();
            if to.index > model.compacted.index {
                model.keep_after(*to);
            }
        }
        Op::Install(group, meta, keep) => {
            let model = models.entry(*group).or_default();
            if !keep {
                model.entries.clear();
            }
            model.keep_after(meta.position);
            model.installed = meta.position;
        }
    }
}

pub(crate) fn meta(position: Position) -> SnapshotMeta {
    SnapshotMeta {
        position,
        membership: Membership::new([NodeId(1), NodeId(2)], []),
        membership_at: Index(0),
        size_bytes: 10,
        digest: position.index.0,
    }
}

/// The pieces of the snapshot of `group` at `position`, the same whenever asked.
pub(crate) fn pieces(group: GroupId, at: Position) -> Vec<Bytes> {
    let mut random = Random::new(group.0 << 40 | at.epoch.0 << 20 | at.index.0);
    let count = random.between(1, 4);
    (0..count).map(|_| Bytes::from(vec![random.next_u64() as u8; random.below(3000) as usize])).collect()
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) disk: Disk,
    pub(crate) journal: Journal,
    pub(crate) events: Vec<JournalEvent>,
    /// The state before `ops`.
    pub(crate) base: BTreeMap<GroupId, Model>,
    pub(crate) ops: Vec<(WriteToken, Op)>,
    /// The state after `ops`.
    pub(crate) now: BTreeMap<GroupId, Model>,
    pub(crate) durable: WriteToken,
    /// Every entry that was ever handed over.
    pub(crate) ever: BTreeMap<(GroupId, Position), Entry>,
    pub(crate) epoch: u64,
    /// Nothing at or below is ever truncated: a snapshot covers it.
    pub(crate) committed: BTreeMap<GroupId, Index>,
    pub(crate) snapshots_durable: BTreeMap<GroupId, Index>,
    taking: BTreeMap<SnapshotId, (GroupId, SnapshotMeta)>,
    staging: BTreeMap<SnapshotId, (GroupId, SnapshotMeta, bool)>,
    reading: BTreeMap<ReadToken, (GroupId, Index)>,
    /// Started again, and not yet compared with what was promised.
    unchecked: bool,
    pub(crate) recovered: bool,
    pub(crate) failed: bool,
    pub(crate) damaged: Option<String>,
    pub(crate) full: bool,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World::on(Disk::new(seed ^ 0x5555), seed, config())
    }

    pub(crate) fn on(disk: Disk, seed: u64, config: Config) -> World {
        World {
            random: Random::new(seed),
            disk,
            journal: Journal::open(config, identity()),
            events: Vec::new(),
            base: BTreeMap::new(),
            ops: Vec::new(),
            now: BTreeMap::new(),
            durable: WriteToken(0),
            ever: BTreeMap::new(),
            epoch: 1,
            committed: BTreeMap::new(),
            snapshots_durable: BTreeMap::new(),
            taking: BTreeMap::new(),
            staging: BTreeMap::new(),
            reading: BTreeMap::new(),
            unchecked: false,
            recovered: false,
            failed: false,
            damaged: None,
            full: false,
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// One step of the disk.
    pub(crate) fn step(&mut self) {
        self.disk.submit(self.journal.operations());
        if let Some(completion) = self.disk.step() {
            let mut events = std::mem::take(&mut self.events);
            self.journal.complete(completion, &mut events);
            for event in events.drain(..) {
                self.event(event);
            }
            self.events = events;
        }
        self.disk.submit(self.journal.operations());
    }

    /// Until nothing is under way.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200_000 {
            self.step();
            if self.disk.is_idle() {
                return;
            }
        }
        let under_way = (0..30).map(|_| {
            self.step();
            self.disk.last.clone()
        });
        panic!("the journal never comes to rest: {:#?}", under_way.collect::<Vec<_>>());
    }

    pub(crate) fn recover(&mut self) {
        self.settle();
        assert!(self.recovered || self.failed || self.damaged.is_some(), "recovery ends in nothing");
    }

    fn event(&mut self, event: JournalEvent) {
        match event {
            JournalEvent::Recovered(_) => self.recovered = true,
            // Another life's tokens: what it moved and dropped while it started.
            JournalEvent::Durable { .. } if self.unchecked => {}
            JournalEvent::Durable { token } => {
                assert!(!self.failed, "durable after a failure");
                assert!(token >= self.durable, "tokens fall");
                self.durable = token;
            }
            JournalEvent::Read { group, token, outcome } => {
                let (expected, from) = self.reading.remove(&token).expect("asked for");
                assert_eq!(expected, group);
                if let Fetched::Entries(entries) = outcome {
                    self.count("read");
                    for (offset, entry) in entries.iter().enumerate() {
                        assert_eq!(entry.position.index.0, from.0 + offset as u64);
                        assert_eq!(self.ever.get(&(group, entry.position)), Some(entry), "never written");
                    }
                }
            }
            JournalEvent::SnapshotDurable { group, id, meta } => {
                if let Some((expected, _)) = self.taking.remove(&id) {
                    assert_eq!(expected, group);
                    let floor = self.snapshots_durable.entry(group).or_default();
                    *floor = (*floor).max(meta.position.index);
                    self.count("snapshot");
                } else if let Some((group, meta, keep)) = self.staging.remove(&id) {
                    let committed = self.committed.get(&group).copied().unwrap_or_default();
                    let agrees = self.now.entry(group).or_default().position_at(meta.position.index)
                        == Some(meta.position);
                    if meta.position.index <= committed || (keep && !agrees) {
                        self.journal.abort_snapshot(id);
                    } else {
                        let token = self.journal.install_snapshot(group, id, keep);
                        self.committed.insert(group, meta.position.index);
                        self.epoch += 1;
                        self.push(token, Op::Install(group, meta, keep));
                        self.count("install");
                    }
                }
            }
            JournalEvent::SnapshotFailed { id, .. } => {
                self.taking.remove(&id);
                self.staging.remove(&id);
                self.count("snapshot failed");
            }
            JournalEvent::SnapshotRead { .. } => {}
            JournalEvent::Full => self.full = true,
            JournalEvent::SpaceBack => self.full = false,
            JournalEvent::Failed(_) => self.failed = true,
            JournalEvent::Damaged(report) => self.damaged = Some(report.to_string()),
        }
    }

    pub(crate) fn push(&mut self, token: WriteToken, op: Op) {
        apply(&mut self.now, &op);
        self.ops.push((token, op));
    }

    pub(crate) fn write(&mut self, group: GroupId, write: GroupWrite) -> WriteToken {
        for entry in &write.entries {
            self.ever.insert((group, entry.position), entry.clone());
        }
        let token = self.journal.append(group, write.clone());
        self.push(token, Op::Write(group, write));
        token
    }

    /// The state that was reported durable.
    pub(crate) fn durable_state(&self) -> BTreeMap<GroupId, Model> {
        let mut state = self.base.clone();
        self.ops
            .iter()
            .take_while(|(token, _)| *token <= self.durable)
            .for_each(|(_, op)| apply(&mut state, op));
        state
    }

    /// Something happens.
    pub(crate) fn act(&mut self) {
        let group = GroupId(self.random.between(1, GROUPS));
        // The third group is nearly idle: what it has stays in old segments.
        let group = if group.0 == GROUPS && self.random.chance(3, 4) { GroupId(1) } else { group };
        let model = self.now.entry(group).or_default().clone();
        let committed = self.committed.get(&group).copied().unwrap_or_default().max(model.compacted.index);
        match self.random.below(100) {
            0..45 => {
                let truncates = self.random.chance(1, 4) && model.last().index > committed;
                let (mut next, mut truncate_from) = (model.last().index.next(), None);
                if truncates {
                    next = Index(self.random.between(committed.0 + 1, model.last().index.0));
                    truncate_from = Some(next);
                    self.epoch += 1;
                    self.count("truncate");
                }
                let count = self.random.between(u64::from(!truncates), 5);
                let mut entries = Vec::new();
                for _ in 0..count {
                    let payload = match self.random.below(20) {
                        0 => Payload::Noop,
                        1 => Payload::Membership(Membership::new([NodeId(next.0), NodeId(next.0 + 1)], [])),
                        2 => Payload::Command(Bytes::from(vec![self.random.next_u64() as u8; 2500])),
                        _ => {
                            let length = self.random.below(300) as usize;
                            Payload::Command(Bytes::from(vec![self.random.next_u64() as u8; length]))
                        }
                    };
                    entries.push(Entry::new(Epoch(self.epoch), next, payload));
                    next = next.next();
                }
                let hard_state = truncates.then(|| Bytes::from(self.epoch.to_le_bytes().to_vec()));
                self.write(group, GroupWrite { hard_state, truncate_from, entries });
            }
            45..55 => {
                let hard_state = Some(Bytes::from(self.random.next_u64().to_le_bytes().to_vec()));
                self.write(group, GroupWrite { hard_state, ..GroupWrite::default() });
            }
            55..75 => self.journal.flush(),
            75..85 => {
                let to = model.last().index;
                if to > model.compacted.index {
                    let from = Index(self.random.between(model.compacted.index.0 + 1, to.0));
                    let token = self.journal.read(group, from, to, self.random.below(4000));
                    self.reading.insert(token, (group, from));
                }
            }
            85..91 => self.take_snapshot(group, &model, committed),
            91..97 => {
                let snapshot = self.snapshots_durable.get(&group).copied().unwrap_or_default();
                let to = Index(
                    self.random.between(model.compacted.index.0, snapshot.0.max(model.compacted.index.0)),
                );
                if let Some(position) = model.position_at(to)
                    && to > model.compacted.index
                    && snapshot >= to
                {
                    self.compact(group, position);
                }
            }
            97.. => {
                let keep = self.random.chance(1, 2);
                let position = if keep {
                    let to = Index(self.random.between(committed.0, model.last().index.0.max(committed.0)));
                    model.position_at(to).filter(|at| at.index > committed)
                } else {
                    let index = Index(committed.0 + self.random.between(1, 20));
                    self.epoch += 1;
                    Some(Position { epoch: Epoch(self.epoch), index })
                };
                if let Some(position) = position {
                    let id = self.write_snapshot(group, position, false);
                    self.staging.insert(id, (group, meta(position), keep));
                }
            }
        }
    }

    /// A snapshot of the group's own state at `at`, to become current.
    pub(crate) fn snapshot(&mut self, group: GroupId, at: Position) {
        self.committed.insert(group, at.index);
        let id = self.write_snapshot(group, at, true);
        self.taking.insert(id, (group, meta(at)));
    }

    /// Tokens are handed out one by one, so the next append would get the next number: a compaction sits between two.
    pub(crate) fn compact(&mut self, group: GroupId, to: Position) {
        let token = self.journal.append(group, GroupWrite::default());
        self.journal.compact(group, to);
        self.push(WriteToken(token.0 + 1), Op::Compact(group, to));
        self.count("compact");
    }

    fn take_snapshot(&mut self, group: GroupId, model: &Model, committed: Index) {
        let durable = self.durable_state().remove(&group).unwrap_or_default();
        let to = Index(self.random.between(committed.0, model.last().index.0.max(committed.0)));
        if let Some(position) = model.position_at(to)
            && durable.position_at(to) == Some(position)
            && to > Index::ZERO
        {
            self.snapshot(group, position);
        }
    }

    fn write_snapshot(&mut self, group: GroupId, position: Position, make_current: bool) -> SnapshotId {
        let id = self.journal.begin_snapshot(group, meta(position));
        for piece in pieces(group, position) {
            self.journal.write_chunk(id, piece);
        }
        self.journal.finish_snapshot(id, make_current);
        id
    }

    /// The machine dies and starts again; what is found is compared with what was promised.
    pub(crate) fn crash_and_check(&mut self, how: Crash) {
        self.disk.submit(self.journal.operations());
        self.disk.crash(how);
        self.restart();
        self.recover();
        assert!(!self.failed, "recovery failed");
        assert_eq!(self.damaged, None, "no fault was injected, but damage is reported");
        self.check();
    }

    pub(crate) fn restart(&mut self) {
        self.journal = Journal::open(config(), identity());
        self.unchecked = true;
        self.taking.clear();
        self.staging.clear();
        self.reading.clear();
        (self.recovered, self.failed, self.damaged, self.full) = (false, false, None, false);
    }

    /// What was recovered is the state after some prefix of the operations, and the prefix contains all that was reported durable.
    pub(crate) fn check(&mut self) {
        let found = self.read_all();
        let least = self.ops.iter().take_while(|(token, _)| *token <= self.durable).count();
        let mut state = self.base.clone();
        let mut matched = None;
        for number in 0..=self.ops.len() {
            if number > 0 {
                apply(&mut state, &self.ops[number - 1].1);
            }
            if number >= least && same(&state, &found) {
                matched = Some((number, state.clone()));
            }
        }
        let Some((number, state)) = matched else {
            let mut durable = self.base.clone();
            self.ops[..least].iter().for_each(|(_, op)| apply(&mut durable, op));
            let show = |models: &BTreeMap<GroupId, Model>| {
                models
                    .iter()
                    .map(|(id, m)| (id.0, m.hard_state.clone(), m.compacted, m.last()))
                    .collect::<Vec<_>>()
            };
            panic!(
                "recovered {:?}\nis no prefix of what was written; durable was {:?}\nand in all {:?}",
                show(&found),
                show(&durable),
                show(&self.now)
            );
        };
        for (group, model) in &state {
            let snapshot =
                self.journal.group(*group).and_then(|g| g.snapshot.as_ref()).map(|meta| meta.position.index);
            let floor =
                self.snapshots_durable.get(group).copied().unwrap_or_default().max(model.installed.index);
            assert!(snapshot.unwrap_or_default() >= floor, "{group}: a durable snapshot was lost");
            assert!(
                snapshot.unwrap_or_default() >= model.compacted.index,
                "{group}: no snapshot covers what was compacted"
            );
        }
        let lost = self.ops.len() - number;
        if lost > 0 {
            self.count("lost a suffix");
        }
        self.ops.clear();
        // What was lost may be written again, but by another leader: an epoch and an index name one entry for ever.
        self.epoch += 1;
        self.base = state.clone();
        self.now = state;
        self.durable = WriteToken(0);
        self.unchecked = false;
        self.committed.clear();
        self.snapshots_durable.clear();
        for group in (1..=GROUPS).map(GroupId) {
            let snapshot = self.journal.group(group).and_then(|g| g.snapshot.as_ref());
            let index = snapshot.map(|meta| meta.position.index).unwrap_or_default();
            self.committed.insert(group, index);
            self.snapshots_durable.insert(group, index);
        }
    }

    /// Everything that can be read of the journal, entry by entry and piece by piece.
    fn read_all(&mut self) -> BTreeMap<GroupId, Model> {
        let mut found = BTreeMap::new();
        for group in (1..=GROUPS).map(GroupId) {
            let Some(state) = self.journal.group(group).cloned() else { continue };
            let mut model = Model {
                hard_state: state.hard_state.clone(),
                compacted: state.compacted,
                ..Model::default()
            };
            while model.last().index < state.last.index {
                let from = model.last().index.next();
                match self.read_now(group, from, state.last.index) {
                    Fetched::Entries(entries) => model.entries.extend(entries),
                    other => panic!("{group}: entry {from} of {} does not read back: {other:?}", state.last),
                }
            }
            assert_eq!(model.last(), state.last);
            let mut epochs: Vec<(Epoch, Index)> = Vec::new();
            for entry in &model.entries {
                if epochs.last().is_none_or(|(epoch, _)| *epoch < entry.position.epoch) {
                    epochs.push((entry.position.epoch, entry.position.index));
                }
            }
            assert_eq!(epochs, state.epochs, "{group}");
            let covered = state.snapshot.as_ref().map(|meta| meta.position.index).unwrap_or_default();
            let memberships: Vec<(Index, Membership)> = model
                .entries
                .iter()
                .filter_map(|entry| match &entry.payload {
                    Payload::Membership(membership) => Some((entry.position.index, membership.clone())),
                    _ => None,
                })
                .filter(|(index, _)| *index > covered)
                .collect();
            assert_eq!(memberships, state.memberships, "{group}");
            if let Some(meta) = &state.snapshot {
                for (number, expected) in pieces(group, meta.position).into_iter().enumerate() {
                    let token = self.journal.read_snapshot(group, meta.position, number as u64);
                    let piece = self.until(|event| match event {
                        JournalEvent::SnapshotRead { token: found, outcome } if *found == token => {
                            Some(outcome.clone())
                        }
                        _ => None,
                    });
                    assert!(
                        matches!(&piece, SnapshotPiece::Chunk { data, .. } if *data == expected),
                        "{group}: piece {number} of the snapshot at {} is not what was written",
                        meta.position
                    );
                }
            }
            found.insert(group, model);
        }
        found
    }

    pub(crate) fn read_now(&mut self, group: GroupId, from: Index, to: Index) -> Fetched {
        let token = self.journal.read(group, from, to, 1 << 20);
        self.until(|event| match event {
            JournalEvent::Read { token: found, outcome, .. } if *found == token => Some(outcome.clone()),
            _ => None,
        })
    }

    fn until<T>(&mut self, wanted: impl Fn(&JournalEvent) -> Option<T>) -> T {
        for _ in 0..100_000 {
            self.disk.submit(self.journal.operations());
            if let Some(completion) = self.disk.step() {
                let mut events = Vec::new();
                self.journal.complete(completion, &mut events);
                let found = events.iter().find_map(&wanted);
                for event in events {
                    if !matches!(event, JournalEvent::Read { .. } | JournalEvent::SnapshotRead { .. }) {
                        self.event(event);
                    }
                }
                if let Some(found) = found {
                    return found;
                }
            }
        }
        panic!("a read is never answered");
    }
}

fn same(model: &BTreeMap<GroupId, Model>, found: &BTreeMap<GroupId, Model>) -> bool {
    let groups: BTreeSet<GroupId> = model.keys().chain(found.keys()).copied().collect();
    groups.iter().all(|group| {
        let empty = Model::default();
        let (a, b) = (model.get(group).unwrap_or(&empty), found.get(group).unwrap_or(&empty));
        a.hard_state == b.hard_state && a.compacted == b.compacted && a.entries == b.entries
    })
}

/// One seed: lives of random length, each ended by a crash of a random kind. Returns what happened how often.
pub(crate) fn run(seed: u64, lives: u64, prepare: impl Fn(&mut World, u64)) -> BTreeMap<&'static str, u64> {
    let mut world = World::new(seed);
    world.recover();
    for life in 0..lives {
        prepare(&mut world, life);
        let length = world.random.between(1, 400);
        for _ in 0..length {
            if world.failed || world.damaged.is_some() {
                break;
            }
            if world.random.chance(1, 4) {
                world.act();
            } else {
                world.step();
            }
        }
        if world.random.chance(1, 5) && !world.failed {
            world.journal.flush();
            world.settle();
        }
        world.disk.fail_sync = None;
        let how = if world.random.chance(1, 3) { Crash::Process } else { Crash::Power };
        world.crash_and_check(how);
    }
    world.counts
}

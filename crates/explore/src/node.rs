//! A member of a world: its engine, and what its disk holds.

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
};

use quorate_consensus::{
    Engine, Entry, Epoch, Fetched, Fingerprint, GroupStart, Index, Instant, Membership, NodeId, Payload,
    Persist, PersistToken, Position, SnapshotMeta,
};
use quorate_raft::Raft;
use quorate_zab::Zab;

/// An engine that can be explored.
pub trait Explored: Engine<Message: Sync, HardState: Send + Sync> + Sync {
    /// One that starts from a disk.
    fn start(start: GroupStart<Self::HardState>, now: Instant, seed: u64) -> Self;
}

impl Explored for Raft {
    fn start(start: GroupStart<Self::HardState>, now: Instant, seed: u64) -> Raft {
        let config = quorate_raft::Config { seed, ..quorate_raft::Config::default() };
        Raft::new(config, start, now).expect("the default configuration is valid")
    }
}

impl Explored for Zab {
    fn start(start: GroupStart<Self::HardState>, now: Instant, seed: u64) -> Zab {
        let config = quorate_zab::Config { seed, ..quorate_zab::Config::default() };
        Zab::new(config, start, now).expect("the default configuration is valid")
    }
}

#[derive(Clone)]
pub(crate) struct Node<E: Engine> {
    pub(crate) engine: E,
    /// Its own time.
    pub(crate) now: Instant,
    pub(crate) hard_state: Option<E::HardState>,
    pub(crate) snapshot: SnapshotMeta,
    pub(crate) log: Vec<Entry>,
    pub(crate) writes: VecDeque<Persist<E::HardState>>,
    /// Messages that wait for a write to be durable.
    pub(crate) held: Vec<(PersistToken, NodeId, E::Message)>,
    pub(crate) installing: Option<(SnapshotMeta, bool)>,
    pub(crate) lives: u64,
    pub(crate) commit: Index,
    pub(crate) leads: bool,
    pub(crate) fingerprint: u64,
}

pub(crate) fn birth(voters: u64) -> SnapshotMeta {
    SnapshotMeta {
        position: Position::ZERO,
        membership: Membership::new((1..=voters).map(NodeId), []),
        membership_at: Index::ZERO,
        size_bytes: 0,
        digest: 0,
    }
}

impl<E: Engine> Node<E> {
    /// What it must make durable, or put in place.
    pub(crate) fn waits_for_disk(&self) -> bool {
        !self.writes.is_empty() || self.installing.is_some()
    }

    /// Is the entry on its disk?
    pub(crate) fn holds(&self, position: Position) -> bool {
        self.snapshot.position.index >= position.index
            || self.log.iter().any(|entry| entry.position == position)
    }

    pub(crate) fn fetched(&self, from: Index, to: Index) -> Fetched {
        let found = self.log.iter().filter(|e| from <= e.position.index && e.position.index <= to);
        let entries: Vec<Entry> = found.cloned().collect();
        match entries.first() {
            Some(first) if first.position.index == from => Fetched::Entries(entries),
            Some(_) | None => Fetched::Compacted,
        }
    }

    /// Its hash, after a step.
    pub(crate) fn note(&mut self) {
        let mut hasher = Fingerprint::default();
        hasher.write_u64(self.engine.fingerprint());
        let disk = (&self.hard_state, &self.snapshot, &self.log);
        (self.now, disk, &self.held, &self.installing, self.lives, self.commit, self.leads).hash(&mut hasher);
        for write in &self.writes {
            (write.token, &write.hard_state, write.truncate_from, &write.append).hash(&mut hasher);
        }
        self.fingerprint = hasher.finish();
    }
}

impl<E: Explored> Node<E> {
    pub(crate) fn boot(
        id: NodeId,
        now: Instant,
        lives: u64,
        hard_state: Option<E::HardState>,
        snapshot: SnapshotMeta,
        log: Vec<Entry>,
    ) -> Node<E> {
        let mut epochs: Vec<(Epoch, Index)> = Vec::new();
        let mut memberships = Vec::new();
        for entry in &log {
            if epochs.last().is_none_or(|(epoch, _)| *epoch < entry.position.epoch) {
                epochs.push((entry.position.epoch, entry.position.index));
            }
            if let Payload::Membership(membership) = &entry.payload {
                memberships.push((entry.position.index, membership.clone()));
            }
        }
        let start = GroupStart {
            node: id,
            hard_state: hard_state.clone(),
            snapshot: snapshot.clone(),
            compacted: snapshot.position,
            last: log.last().map_or(snapshot.position, |entry| entry.position),
            epochs,
            memberships,
        };
        let engine = E::start(start, now, lives << 8 | id.0);
        let commit = snapshot.position.index;
        let mut node = Node {
            engine,
            now,
            hard_state,
            snapshot,
            log,
            writes: VecDeque::new(),
            held: Vec::new(),
            installing: None,
            lives,
            commit,
            leads: false,
            fingerprint: 0,
        };
        node.note();
        node
    }
}

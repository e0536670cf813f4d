//! One node: an engine, a disk that holds for certain what was synced, and what waits for it.

use quorate_consensus::{
    Engine, Entry, Epoch, GroupStart, Index, Instant, Membership, NodeId, Payload, Persist, PersistToken,
    Position, SnapshotMeta,
};
use quorate_zab::{Config, HardState, Message, Zab};

/// What a disk holds for certain.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) hard: Option<HardState>,
    pub(crate) snapshot: SnapshotMeta,
    pub(crate) log: Vec<Entry>,
}

impl Disk {
    pub(crate) fn last(&self) -> Position {
        self.log.last().map_or(self.snapshot.position, |entry| entry.position)
    }

    pub(crate) fn holds(&self, at: Position) -> bool {
        self.snapshot.position.index >= at.index || self.log.iter().any(|entry| entry.position == at)
    }
}

pub(crate) struct Host {
    pub(crate) engine: Zab,
    pub(crate) disk: Disk,
    pub(crate) writes: Vec<Persist<HardState>>,
    pub(crate) held: Vec<(PersistToken, NodeId, Message)>,
    pub(crate) durable: PersistToken,
    pub(crate) installing: Option<(SnapshotMeta, bool)>,
    /// What it called committed so far was compared with what others did.
    pub(crate) told: Index,
    pub(crate) up: bool,
}

impl Host {
    /// The entries `from..=to`, from memory or from the disk, wherever they are.
    pub(crate) fn entries(&self, from: Index, to: Index) -> Vec<Entry> {
        let on_disk = |at: Index| self.disk.log.iter().find(|entry| entry.position.index == at).cloned();
        let in_memory = |at: Index| self.engine.entries(at, 1).and_then(|entries| entries.first().cloned());
        (from.0..=to.0).filter_map(|at| in_memory(Index(at)).or_else(|| on_disk(Index(at)))).collect()
    }
}

pub(crate) fn birth(count: u64) -> SnapshotMeta {
    SnapshotMeta {
        position: Position::ZERO,
        membership: Membership::new((1..=count).map(NodeId), []),
        membership_at: Index::ZERO,
        size_bytes: 0,
        digest: 0,
    }
}

pub(crate) fn start(node: NodeId, disk: &Disk, seed: u64, counter_max: u64, now: Instant) -> Zab {
    let at = disk.snapshot.position;
    let mut epochs: Vec<(Epoch, Index)> = Vec::new();
    let mut memberships = Vec::new();
    for entry in &disk.log {
        if epochs.last().is_none_or(|(epoch, _)| *epoch < entry.position.epoch) {
            epochs.push((entry.position.epoch, entry.position.index));
        }
        if let Payload::Membership(membership) = &entry.payload {
            memberships.push((entry.position.index, membership.clone()));
        }
    }
    let start = GroupStart {
        node,
        hard_state: disk.hard,
        snapshot: disk.snapshot.clone(),
        compacted: at,
        last: disk.last(),
        epochs,
        memberships,
    };
    let config = Config {
        seed,
        counter_max,
        tail_bytes_max: 400,
        message_bytes_max: 200,
        inflight_messages_max: 4,
        ..Config::default()
    };
    Zab::new(config, start, now).expect("a valid configuration")
}

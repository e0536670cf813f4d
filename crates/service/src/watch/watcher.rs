//! One watch, and all of them.

use bytes::Bytes;
use quorate_keyspace::EventKind;

use super::StreamId;
use super::index::Slot;
use super::span::Span;

/// One watch.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) stream: StreamId,
    pub(super) id: i64,
    pub(super) span: Span,
    /// Its place among those with the same span.
    pub(super) place: usize,
    pub(super) wants: Wants,
    pub(super) standing: Standing,
    pub(super) pending: Pending,
    /// It was told something since the last time that progress was.
    pub(super) told: bool,
}

/// How a watch wants to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) puts: bool,
    pub(super) deletes: bool,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
    pub(super) progress: bool,
}

impl Wants {
    pub(super) fn kind(self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => self.puts,
            EventKind::Delete => self.deletes,
        }
    }
}

/// How far a watch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It hears of each change as it happens, from this revision on, which may lie ahead.
    Synced { from: u64 },
    /// From this revision on it is told from history.
    Behind { next: u64 },
    /// The same, once its client has read what waits for it.
    Parked { next: u64 },
}

/// What a watch is to be told once a whole revision is together.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) events: Vec<Bytes>,
    pub(super) bytes: usize,
    /// The revision of the first.
    pub(super) first: u64,
}

impl Pending {
    pub(super) fn push(&mut self, revision: u64, event: Bytes) {
        if self.events.is_empty() {
            self.first = revision;
        }
        self.bytes += event.len();
        self.events.push(event);
    }
}

/// All watches of a server, each in a slot of its own.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    slots: Vec<Option<Watcher>>,
    free: Vec<Slot>,
}

impl Watchers {
    /// The slot that the next one will have.
    pub(super) fn next_slot(&self) -> Slot {
        self.free.last().copied().unwrap_or_else(|| {
            Slot(u32::try_from(self.slots.len()).expect("watches are limited to far fewer"))
        })
    }

    pub(super) fn insert(&mut self, watcher: Watcher) -> Slot {
        let slot = self.next_slot();
        match self.free.pop() {
            Some(free) => self.slots[free.0 as usize] = Some(watcher),
            None => self.slots.push(Some(watcher)),
        }
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Watcher> {
        let watcher = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.free.push(slot);
        Some(watcher)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Watcher> {
        self.slots.get(slot.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Watcher> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.slots.len() as u32).map(Slot)
    }
}

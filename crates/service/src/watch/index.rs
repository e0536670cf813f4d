//! Who is to hear of a change of a key.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::span::Span;
use super::spans::Spans;

/// A watcher's place in the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u32);

/// Those who listen to the same keys. Each knows its place here, so that ten thousand on one key come and go in constant time.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<Slot>);

impl Listeners {
    pub(super) fn add(&mut self, slot: Slot) -> usize {
        self.0.push(slot);
        self.0.len() - 1
    }

    /// Removes the one at `place`; the one that stands there then, if one does.
    pub(super) fn remove(&mut self, place: usize) -> Option<Slot> {
        self.0.swap_remove(place);
        self.0.get(place).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn tell(&self, into: &mut Vec<Slot>) {
        into.extend_from_slice(&self.0);
    }
}

/// All watchers of a server, by what they watch.
#[derive(Debug, Default)]
pub(super) struct Index {
    points: BTreeMap<Bytes, Listeners>,
    spans: Spans,
}

impl Index {
    /// Adds a watcher; its place among those with the same span.
    pub(super) fn add(&mut self, span: &Span, slot: Slot) -> usize {
        match span {
            Span::Point(key) => match self.points.get_mut(key) {
                Some(listeners) => listeners.add(slot),
                None => self.points.entry(key.clone()).or_default().add(slot),
            },
            Span::Range(start, end) => self.spans.add(start, end, slot),
        }
    }

    /// Removes the watcher at `place`; the one that has its place now, if another has.
    pub(super) fn remove(&mut self, span: &Span, place: usize) -> Option<Slot> {
        match span {
            Span::Point(key) => {
                let listeners = self.points.get_mut(key)?;
                let moved = listeners.remove(place);
                if listeners.is_empty() {
                    self.points.remove(key);
                }
                moved
            }
            Span::Range(start, end) => self.spans.remove(start, end, place),
        }
    }

    /// Adds those who watch `key`, each once.
    pub(super) fn matching(&self, key: &[u8], into: &mut Vec<Slot>) {
        if let Some(listeners) = self.points.get(key) {
            listeners.tell(into);
        }
        self.spans.matching(key, into);
    }

    /// Adds those who watch a range that `key` is in.
    pub(super) fn ranges(&self, key: &[u8], into: &mut Vec<Slot>) {
        self.spans.matching(key, into);
    }
}

//! What the journal knows of each group: everything but the entries, and where those are.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{Entry, Epoch, Index, Membership, Position, SnapshotMeta};

use crate::{GroupWrite, record};

/// Where a run of entries stands: in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) last: Index,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// One group, as of what has been handed to the disk.
#[derive(Clone, Debug, Default)]
pub struct GroupState {
    /// The hard state last written, in the engine's encoding.
    pub hard_state: Option<Bytes>,
    /// The log begins after this position.
    pub compacted: Position,
    /// The last entry.
    pub last: Position,
    /// For each epoch in the log: its first index there.
    pub epochs: Vec<(Epoch, Index)>,
    /// The membership entries after the snapshot.
    pub memberships: Vec<(Index, Membership)>,
    /// The newest durable snapshot.
    pub snapshot: Option<SnapshotMeta>,
    spans: BTreeMap<Index, Span>,
}

impl GroupState {
    pub(crate) fn write(&mut self, write: &GroupWrite, segment: u64, offset: u64, length: u64) {
        if let Some(hard_state) = &write.hard_state {
            self.hard_state = Some(hard_state.clone());
        }
        if let Some(from) = write.truncate_from {
            self.truncate(from);
        }
        let (Some(first), Some(last)) = (write.entries.first(), write.entries.last()) else { return };
        self.truncate(first.position.index);
        for entry in &write.entries {
            let Position { epoch, index } = entry.position;
            if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
                self.epochs.push((epoch, index));
            }
        }
        self.memberships.extend(record::memberships(&write.entries));
        self.last = last.position;
        self.spans.insert(first.position.index, Span { last: last.position.index, segment, offset, length });
    }

    /// Entries written again further on: only their place changes.
    pub(crate) fn moved(&mut self, entries: &[Entry], segment: u64, offset: u64, length: u64) {
        let live: Vec<&Entry> = entries
            .iter()
            .filter(|entry| self.epoch_at(entry.position.index) == Some(entry.position.epoch))
            .collect();
        let (Some(first), Some(last)) = (live.first(), live.last()) else { return };
        let (first, last) = (first.position.index, last.position.index);
        // No two runs overlap. A run that began below `first` keeps only what stands there and still lives: left as it was, it would hold its old
        // segment for ever (compacted from 4 to 5 while 4..=6 was being copied, only 6 is copied), and be copied again and again.
        if let Some((start, span)) =
            self.spans.range(..first).next_back().map(|(start, span)| (*start, *span))
            && span.last >= first
        {
            let keeps = first.previous();
            self.spans.remove(&start);
            if keeps > self.compacted.index {
                self.spans.insert(start, Span { last: keeps, ..span });
            }
            if span.last > last {
                self.spans.insert(last.next(), span);
            }
        }
        let covered: Vec<(Index, Span)> =
            self.spans.range(first..=last).map(|(start, span)| (*start, *span)).collect();
        for (start, span) in covered {
            self.spans.remove(&start);
            if span.last > last {
                self.spans.insert(last.next(), span);
            }
        }
        self.spans.insert(first, Span { last, segment, offset, length });
    }

    /// Does a write that is read back fit onto this log? What a checksum vouches for may still be nonsense, by a bug or by malice.
    pub(crate) fn admits(&self, write: &GroupWrite) -> bool {
        let compacted = self.compacted.index;
        let end = write.truncate_from.map_or(self.last.index, |from| from.previous().min(self.last.index));
        write.truncate_from.is_none_or(|from| from > compacted)
            && write
                .entries
                .first()
                .is_none_or(|first| first.position.index > compacted && first.position.index <= end.next())
    }

    pub(crate) fn epoch_at(&self, index: Index) -> Option<Epoch> {
        if index <= self.compacted.index || index > self.last.index {
            return None;
        }
        let at = self.epochs.partition_point(|(_, first)| *first <= index);
        at.checked_sub(1).and_then(|at| self.epochs.get(at)).map(|(epoch, _)| *epoch)
    }

    fn truncate(&mut self, from: Index) {
        if from > self.last.index {
            return;
        }
        let last = from.previous();
        self.spans.split_off(&from);
        if let Some(mut entry) = self.spans.last_entry()
            && entry.get().last > last
        {
            entry.get_mut().last = last;
        }
        let epoch =
            if last == self.compacted.index { Some(self.compacted.epoch) } else { self.epoch_at(last) };
        self.last = Position { epoch: epoch.unwrap_or_default(), index: last };
        self.epochs.retain(|(_, first)| *first < from);
        self.memberships.retain(|(index, _)| *index < from);
    }

    pub(crate) fn compact(&mut self, to: Position) {
        if to.index <= self.compacted.index || to.index > self.last.index {
            return;
        }
        self.compacted = to;
        self.spans.retain(|_, span| span.last > to.index);
        let next = to.index.next();
        // A run begins where the log does. Left as 1..=5 after compacting to 1, it would be 1..=1 after truncating from 2: nothing lives in it, but it
        // would keep its segment for ever.
        if let Some((first, span)) = self.spans.first_key_value().map(|(first, span)| (*first, *span))
            && first < next
        {
            self.spans.remove(&first);
            self.spans.insert(next, span);
        }
        while self.epochs.len() > 1 && self.epochs[1].1 <= next {
            self.epochs.remove(0);
        }
        if to.index >= self.last.index {
            self.epochs.clear();
        } else if let Some((_, first)) = self.epochs.first_mut() {
            *first = (*first).max(next);
        }
    }

    pub(crate) fn snapshot(&mut self, meta: &SnapshotMeta, install: bool, keep_log_after: bool) {
        let at = meta.position;
        if install && keep_log_after {
            self.compact(at);
        } else if install {
            self.spans.clear();
            self.epochs.clear();
            self.memberships.clear();
            self.compacted = at;
            self.last = at;
        }
        self.memberships.retain(|(index, _)| *index > at.index);
        self.snapshot = Some(meta.clone());
    }

    /// The frames that hold `from..=to`, in order.
    pub(crate) fn frames(&self, from: Index, to: Index) -> Vec<(Index, Span)> {
        let start = self.spans.range(..=from).next_back().map_or(from, |(first, _)| *first);
        let within = self.spans.range(start..=to.max(start));
        within.filter(|(_, span)| span.last >= from).map(|(first, span)| (*first, *span)).collect()
    }

    /// Is every entry of the log in some frame?
    pub(crate) fn gap(&self) -> Option<Index> {
        let mut next = self.compacted.index.next();
        for (first, span) in &self.spans {
            if *first > next {
                return Some(next);
            }
            next = next.max(span.last.next());
        }
        (next <= self.last.index).then_some(next)
    }

    pub(crate) fn uses(&self, segment: u64) -> bool {
        self.spans.values().any(|span| span.segment == segment)
    }

    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span> + '_ {
        self.spans.values()
    }

    /// The runs that stand in `segment`, with their bytes.
    pub(crate) fn runs_in(&self, segment: u64) -> impl Iterator<Item = (Index, Span)> + '_ {
        self.spans
            .iter()
            .filter(move |(_, span)| span.segment == segment)
            .map(|(first, span)| (*first, *span))
    }
}

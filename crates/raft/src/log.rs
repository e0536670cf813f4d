//! What an engine knows of its log: where it begins and ends, where each term begins, and a bounded tail of entries. The rest is fetched.

use std::collections::VecDeque;

use quorate_consensus::{Entry, Epoch, GroupStart, Index, PersistToken, Position};

/// The log of one group.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Log {
    /// The log begins after this position.
    compacted: Position,
    /// The last entry.
    last: Position,
    /// For each term in the log: its first index; increasing in both.
    terms: VecDeque<(Epoch, Index)>,
    /// The last entries, without a gap, ending at `last`; perhaps none.
    tail: VecDeque<Entry>,
    tail_bytes: u64,
    /// Everything up to here is durable.
    durable: Index,
    /// Writes under way: once the token is durable, so is the log up to the index.
    writing: VecDeque<(PersistToken, Index)>,
}

impl Log {
    pub(crate) fn new<H>(start: &GroupStart<H>) -> Log {
        Log {
            compacted: start.compacted,
            last: start.last,
            terms: start.epochs.iter().copied().collect(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            durable: start.last.index,
            writing: VecDeque::new(),
        }
    }

    pub(crate) fn compacted(&self) -> Position {
        self.compacted
    }

    pub(crate) fn last(&self) -> Position {
        self.last
    }

    pub(crate) fn durable(&self) -> Index {
        self.durable
    }

    /// The term of the entry at `index`; `None` before the log's beginning and beyond its end.
    pub(crate) fn term_at(&self, index: Index) -> Option<Epoch> {
        if index == self.compacted.index && !(quorate_consensus::planted!("D06") && index > Index::ZERO) {
            return Some(self.compacted.epoch);
        }
        if index <= self.compacted.index || index > self.last.index {
            return None;
        }
        let at = self.terms.partition_point(|(_, first)| *first <= index);
        at.checked_sub(1).and_then(|at| self.terms.get(at)).map(|(term, _)| *term)
    }

    pub(crate) fn holds(&self, position: Position) -> bool {
        self.term_at(position.index) == Some(position.epoch)
    }

    /// The last position at or before `index` whose term is not above `term`: where two logs may agree at best.
    ///
    /// At most one probe per term: entries of a term above `term` cannot be in a log whose entry at that place has `term`, so all of them are
    /// stepped over at once.
    pub(crate) fn agree_at_best(&self, index: Index, term: Epoch) -> Position {
        let index = index.min(self.last.index);
        if index <= self.compacted.index {
            return self.compacted;
        }
        let at = self.terms.partition_point(|(t, first)| *t <= term && *first <= index);
        let Some((found, _)) = at.checked_sub(1).and_then(|at| self.terms.get(at)).copied() else {
            return self.compacted;
        };
        let end = self.terms.get(at).map_or(self.last.index, |(_, first)| first.previous());
        Position { epoch: found, index: index.min(end) }
    }

    /// Entries from `from` on that are in memory: as many as fit, at least one. `None` if `from` is not in memory.
    pub(crate) fn entries(&self, from: Index, to: Index, bytes_max: u64) -> Option<Vec<Entry>> {
        let first = self.tail.front()?.position.index;
        if from < first || from > self.last.index {
            return None;
        }
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in self.tail.range((from.0 - first.0) as usize..) {
            bytes += entry.size_bytes();
            if entry.position.index > to || (bytes > bytes_max && !entries.is_empty()) {
                break;
            }
            entries.push(entry.clone());
        }
        Some(entries)
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        debug_assert_eq!(entry.position.index, self.last.index.next());
        if self.terms.back().is_none_or(|(term, _)| *term < entry.position.epoch) {
            self.terms.push_back((entry.position.epoch, entry.position.index));
        }
        self.last = entry.position;
        self.tail_bytes += entry.size_bytes();
        self.tail.push_back(entry);
    }

    /// Drops every entry from `from` on.
    ///
    /// Writes under way lose what lay beyond: their completion may still come, but it must not make durable what another write puts there now
    /// (the ABA of asynchronous storage: append 5 in term 1, truncate, append another 5 in term 2; the first write's completion says nothing of
    /// the second 5).
    pub(crate) fn truncate(&mut self, from: Index) {
        let last = from.previous();
        while self.tail.back().is_some_and(|entry| entry.position.index >= from) {
            if let Some(entry) = self.tail.pop_back() {
                self.tail_bytes -= entry.size_bytes();
            }
        }
        let epoch = self.term_at(last).unwrap_or_default();
        while self.terms.back().is_some_and(|(_, first)| *first >= from) {
            self.terms.pop_back();
        }
        self.last = Position { epoch, index: last };
        if quorate_consensus::planted!("B10") {
            return;
        }
        self.durable = self.durable.min(last);
        for (_, index) in &mut self.writing {
            *index = (*index).min(last);
        }
    }

    /// The log's present end is being written under `token`.
    pub(crate) fn writing(&mut self, token: PersistToken) {
        self.writing.push_back((token, self.last.index));
    }

    pub(crate) fn persisted(&mut self, token: PersistToken) {
        while let Some((written, index)) = self.writing.front().copied()
            && written <= token
        {
            self.writing.pop_front();
            self.durable = self.durable.max(index.min(self.last.index));
        }
    }

    /// Entries up to `to` are gone from the journal.
    pub(crate) fn compact(&mut self, to: Index) {
        let Some(epoch) = self.term_at(to) else { return };
        if to <= self.compacted.index {
            return;
        }
        self.compacted = Position { epoch, index: to };
        while self.terms.len() > 1 && self.terms[1].1 <= to.next() {
            self.terms.pop_front();
        }
        if to >= self.last.index {
            self.terms.clear();
        } else if let Some((_, first)) = self.terms.front_mut() {
            *first = (*first).max(to.next());
        }
        self.trim(0, to);
    }

    /// The whole log is replaced by a snapshot at `position`.
    pub(crate) fn reset(&mut self, position: Position) {
        self.compacted = position;
        self.last = position;
        self.terms.clear();
        self.tail.clear();
        self.tail_bytes = 0;
        self.durable = position.index;
        self.writing.clear();
    }

    /// Lets go of the oldest entries in memory while they take more than `bytes_max`, but of none beyond `up_to`.
    pub(crate) fn trim(&mut self, bytes_max: u64, up_to: Index) {
        while self.tail_bytes > bytes_max
            && self.tail.front().is_some_and(|entry| entry.position.index <= up_to)
        {
            if let Some(entry) = self.tail.pop_front() {
                self.tail_bytes -= entry.size_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::{Membership, Payload, SnapshotMeta};

    fn log(terms: &[u64]) -> Log {
        let snapshot = SnapshotMeta {
            position: Position::ZERO,
            membership: Membership::default(),
            membership_at: Index::ZERO,
            size_bytes: 0,
            digest: 0,
        };
        let start: GroupStart<()> = GroupStart {
            node: quorate_consensus::NodeId(1),
            hard_state: None,
            snapshot,
            compacted: Position::ZERO,
            last: Position::ZERO,
            epochs: vec![],
            memberships: vec![],
        };
        let mut log = Log::new(&start);
        for (n, term) in terms.iter().enumerate() {
            log.append(Entry::new(Epoch(*term), Index(n as u64 + 1), Payload::Noop));
        }
        log
    }

    #[test]
    fn terms_are_known_without_the_entries() {
        let mut log = log(&[1, 1, 2, 5, 5]);
        log.trim(0, Index(4));
        let terms: Vec<_> = (0..7).map(|n| log.term_at(Index(n)).map(|t| t.0)).collect();
        assert_eq!(terms, [Some(0), Some(1), Some(1), Some(2), Some(5), Some(5), None]);
        assert_eq!(log.entries(Index(4), Index(9), 99), None);
        assert_eq!(log.entries(Index(5), Index(9), 1).unwrap().len(), 1);
        log.compact(Index(3));
        let terms: Vec<_> = (2..6).map(|n| log.term_at(Index(n)).map(|t| t.0)).collect();
        assert_eq!(terms, [None, Some(2), Some(5), Some(5)]);
        log.truncate(Index(5));
        assert_eq!(log.last(), Position::new(5, 4));
        log.truncate(Index(4));
        assert_eq!(log.last(), Position::new(2, 3));
    }

    #[test]
    fn r13_a_hint_steps_over_whole_terms() {
        let log = log(&[1, 1, 1, 4, 4, 6, 6]);
        assert_eq!(log.agree_at_best(Index(7), Epoch(5)), Position::new(4, 5));
        assert_eq!(log.agree_at_best(Index(9), Epoch(3)), Position::new(1, 3));
        assert_eq!(log.agree_at_best(Index(2), Epoch(9)), Position::new(1, 2));
        assert_eq!(log.agree_at_best(Index(7), Epoch(0)), Position::ZERO);
    }

    #[test]
    fn b10_a_completion_says_nothing_of_what_was_written_over_it() {
        let mut log = log(&[1, 1]);
        log.writing(PersistToken(1));
        log.truncate(Index(2));
        log.append(Entry::new(Epoch(2), Index(2), Payload::Noop));
        log.writing(PersistToken(2));
        log.persisted(PersistToken(1));
        assert_eq!(log.durable(), Index(1));
        log.persisted(PersistToken(2));
        assert_eq!(log.durable(), Index(2));
    }
}

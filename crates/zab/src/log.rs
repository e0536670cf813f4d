//! What an engine knows of its log: where it begins and ends, where each epoch begins, and a bounded tail of entries. The rest is fetched.

use std::collections::VecDeque;

use quorate_consensus::{Entry, Epoch, GroupStart, Index, PersistToken, Position, planted};

use crate::message::History;

/// Where two logs agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// Up to here, and no further.
    At(Position),
    /// Only where this log was compacted.
    Compacted,
    /// The other's log has more epochs than it can tell, and none of those it told.
    Untold,
}

/// The log of one group.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Log {
    /// The log begins after this position.
    compacted: Position,
    /// The last entry.
    last: Position,
    /// For each epoch in the log: its first index; increasing in both.
    epochs: VecDeque<(Epoch, Index)>,
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
            epochs: start.epochs.iter().copied().collect(),
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

    /// The epoch of the entry at `index`; `None` before the log's beginning and beyond its end.
    pub(crate) fn epoch_at(&self, index: Index) -> Option<Epoch> {
        if index == self.compacted.index {
            return Some(self.compacted.epoch);
        }
        if index <= self.compacted.index || index > self.last.index {
            return None;
        }
        let at = self.epochs.partition_point(|(_, first)| *first <= index);
        at.checked_sub(1).and_then(|at| self.epochs.get(at)).map(|(epoch, _)| *epoch)
    }

    pub(crate) fn holds(&self, position: Position) -> bool {
        self.epoch_at(position.index) == Some(position.epoch)
    }

    /// What this log looks like to another.
    pub(crate) fn history(&self, current: Epoch) -> History {
        let skip = self.epochs.len().saturating_sub(History::EPOCHS_MAX);
        let epochs = self.epochs.iter().skip(skip).copied().collect();
        History { current, last: self.last, compacted: self.compacted, epochs }
    }

    /// From where to where does this log hold entries of `epoch`? What was compacted last counts as one.
    fn run_of(&self, epoch: Epoch) -> Option<(Index, Index)> {
        let at = self.epochs.iter().position(|(known, _)| *known == epoch);
        let end = |at: usize| self.epochs.get(at + 1).map_or(self.last.index, |(_, first)| first.previous());
        if epoch == self.compacted.epoch {
            return Some((self.compacted.index, at.map_or(self.compacted.index, end)));
        }
        at.and_then(|at| self.epochs.get(at).map(|(_, first)| (*first, end(at))))
    }

    /// The last position that this log and the other hold both.
    ///
    /// One leader makes the entries of an epoch, each position once, and entries follow only where the one before agrees; so logs that share a position
    /// agree up to it, and within an epoch that both hold they agree up to where the shorter one ends. To agree by index alone is not enough: {S3 logged
    /// 1.5 alone, S1 leads epoch 2 and wrote 2.5}: S3 would keep 1.5 for ever (ZOOKEEPER-1154, H11). To cut more than what differs is worse: {S3 holds
    /// 1.5, which S1 and S3 committed; S2 tells S3 to cut to 1.3; S1 dies, then S2, before S3 has 1.5 again}: gone.
    pub(crate) fn agreement(&self, other: &History) -> Agreement {
        if planted!("H11") && other.last.index <= self.last.index {
            return Agreement::At(other.last);
        }
        let mut end = other.last.index;
        for (epoch, first) in other.epochs.iter().rev() {
            if let Some((own_first, own_end)) = self.run_of(*epoch) {
                let common = end.min(own_end);
                if common >= (*first).max(own_first) {
                    return Agreement::At(Position { epoch: *epoch, index: common });
                }
            }
            end = first.previous();
        }
        if other.epochs.len() >= History::EPOCHS_MAX {
            return Agreement::Untold;
        }
        if self.holds(other.compacted) { Agreement::At(other.compacted) } else { Agreement::Compacted }
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
        if self.epochs.back().is_none_or(|(epoch, _)| *epoch < entry.position.epoch) {
            self.epochs.push_back((entry.position.epoch, entry.position.index));
        }
        self.last = entry.position;
        self.tail_bytes += entry.size_bytes();
        self.tail.push_back(entry);
    }

    /// Drops every entry from `from` on.
    ///
    /// Writes under way lose what lay beyond: their completion may still come, but it must not make durable what another write puts there now
    /// (the ABA of asynchronous storage: append 5 in epoch 1, truncate, append another 5 in epoch 2; the first write's completion says nothing of
    /// the second 5).
    pub(crate) fn truncate(&mut self, from: Index) {
        let last = from.previous();
        while self.tail.back().is_some_and(|entry| entry.position.index >= from) {
            if let Some(entry) = self.tail.pop_back() {
                self.tail_bytes -= entry.size_bytes();
            }
        }
        let epoch = self.epoch_at(last).unwrap_or_default();
        while self.epochs.back().is_some_and(|(_, first)| *first >= from) {
            self.epochs.pop_back();
        }
        self.last = Position { epoch, index: last };
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
        let Some(epoch) = self.epoch_at(to) else { return };
        if to <= self.compacted.index {
            return;
        }
        self.compacted = Position { epoch, index: to };
        while self.epochs.len() > 1 && self.epochs[1].1 <= to.next() {
            self.epochs.pop_front();
        }
        if to >= self.last.index {
            self.epochs.clear();
        } else if let Some((_, first)) = self.epochs.front_mut() {
            *first = (*first).max(to.next());
        }
        self.trim(0, to);
    }

    /// The whole log is replaced by a snapshot at `position`.
    pub(crate) fn reset(&mut self, position: Position) {
        self.compacted = position;
        self.last = position;
        self.epochs.clear();
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

    fn log(epochs: &[u64]) -> Log {
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
        for (n, term) in epochs.iter().enumerate() {
            log.append(Entry::new(Epoch(*term), Index(n as u64 + 1), Payload::Noop));
        }
        log
    }

    #[test]
    fn epochs_are_known_without_the_entries() {
        let mut log = log(&[1, 1, 2, 5, 5]);
        log.trim(0, Index(4));
        let epochs: Vec<_> = (0..7).map(|n| log.epoch_at(Index(n)).map(|t| t.0)).collect();
        assert_eq!(epochs, [Some(0), Some(1), Some(1), Some(2), Some(5), Some(5), None]);
        assert_eq!(log.entries(Index(4), Index(9), 99), None);
        assert_eq!(log.entries(Index(5), Index(9), 1).unwrap().len(), 1);
        log.compact(Index(3));
        let epochs: Vec<_> = (2..6).map(|n| log.epoch_at(Index(n)).map(|t| t.0)).collect();
        assert_eq!(epochs, [None, Some(2), Some(5), Some(5)]);
        log.truncate(Index(5));
        assert_eq!(log.last(), Position::new(5, 4));
        log.truncate(Index(4));
        assert_eq!(log.last(), Position::new(2, 3));
    }

    #[test]
    fn z06_h11_logs_agree_where_epochs_do() {
        let own = log(&[1, 1, 1, 4, 4, 6, 6]);
        let at = |epochs: &[u64]| own.agreement(&log(epochs).history(Epoch(9)));
        assert_eq!(at(&[1, 1]), Agreement::At(Position::new(1, 2)));
        assert_eq!(at(&[1, 1, 1, 2, 2]), Agreement::At(Position::new(1, 3)));
        assert_eq!(at(&[1, 1, 1, 1, 1, 1, 1, 1]), Agreement::At(Position::new(1, 3)));
        assert_eq!(at(&[1, 1, 1, 4, 4, 4, 4, 5]), Agreement::At(Position::new(4, 5)));
        assert_eq!(at(&[1, 1, 1, 4, 4, 6, 6, 6]), Agreement::At(Position::new(6, 7)));
        assert_eq!(at(&[]), Agreement::At(Position::ZERO));
    }

    #[test]
    fn z06_a_compacted_log_agrees_from_where_it_begins() {
        let mut own = log(&[1, 1, 1, 4, 4, 6, 6]);
        own.compact(Index(5));
        let at = |log: &Log| own.agreement(&log.history(Epoch(9)));
        assert_eq!(at(&log(&[1, 1])), Agreement::Compacted);
        assert_eq!(at(&log(&[1, 1, 1, 4, 4])), Agreement::At(Position::new(4, 5)));
        assert_eq!(at(&log(&[1, 1, 1, 4, 4, 5])), Agreement::At(Position::new(4, 5)));
        assert_eq!(at(&log(&[1, 1, 1, 5, 5, 5])), Agreement::Compacted);
        let mut other = log(&[1, 1, 1, 4, 4, 6]);
        other.compact(Index(6));
        assert_eq!(at(&other), Agreement::At(Position::new(6, 6)));
        // A log that begins behind this one's end has dropped what they could agree on.
        let mut beyond = log(&[1, 1, 1, 4, 4, 6, 6, 6, 6]);
        beyond.compact(Index(8));
        assert_eq!(at(&beyond), Agreement::Compacted);
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

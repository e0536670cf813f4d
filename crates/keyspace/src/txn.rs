//! Transactions: compare, decide, check, and only then write.

use std::sync::Arc;

use crate::range::At;
use crate::record::{Record, Rev};
use crate::span::Span;
use crate::store::{Change, Store};
use crate::{
    Compare, CompareResult, CompareTarget, DeleteRange, DeleteRangeReply, EventKind, KeyspaceError, LeaseId,
    News, Operation, OperationReply, Put, PutReply, Range, RangeReply, Reply, Txn, TxnReply,
};

/// Which branch each transaction on the way takes, in the order in which execution comes to them.
pub(crate) type Path = Vec<bool>;

impl Store {
    /// Decides every comparison that matters, all against the state before the transaction.
    ///
    /// Nested ones too, before anything is written: in `[put a, txn(if version(a) = 0 then X else Y)]` with no `a` before, X happens.
    pub(crate) fn decide(&self, txn: &Txn, path: &mut Path) {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        path.push(succeeded);
        for operation in branch(txn, succeeded) {
            if let Operation::Txn(nested) = operation {
                self.decide(nested, path);
            }
        }
    }

    /// The same in a shard of many, where the revisions above `placed` are still open. False if a comparison is open with them; what `path` holds then is nothing.
    pub(crate) fn decide_open(&self, txn: &Txn, placed: u64, path: &mut Path) -> bool {
        let Some(succeeded) = self.all_hold(&txn.compare, placed) else { return false };
        path.push(succeeded);
        branch(txn, succeeded).iter().all(|operation| match operation {
            Operation::Txn(nested) => self.decide_open(nested, placed, path),
            _ => true,
        })
    }

    /// Do all hold? One that does not is enough, whatever is open.
    pub(crate) fn all_hold(&self, compares: &[Compare], placed: u64) -> Option<bool> {
        let mut verdict = Some(true);
        for compare in compares {
            match self.holds_open(compare, placed) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => verdict = None,
            }
        }
        verdict
    }

    /// Does a comparison hold, whatever the open revisions will be? None: that depends on them.
    ///
    /// All that is known of an open revision is that it is above every placed one: {a was put at an open revision, the last placed one is 57}: `mod(a) > 56` and
    /// `mod(a) != 57` hold, `mod(a) = 60` may come to be true.
    fn holds_open(&self, compare: &Compare, placed: u64) -> Option<bool> {
        let (right, of): (i64, fn(&Record) -> u64) = match compare.target {
            CompareTarget::Create(right) => (right, |record| record.create),
            CompareTarget::Mod(right) => (right, |record| record.rev.main),
            CompareTarget::Version(_) | CompareTarget::Lease(_) | CompareTarget::Value(_) => {
                return Some(self.holds(compare));
            }
        };
        // What stands in for an open revision here is above `placed` too.
        if right <= placed as i64 {
            return Some(self.holds(compare));
        }
        let mut keys = self.live_in(Span::new(&compare.key, &compare.range_end), At::Latest).peekable();
        if keys.peek().is_none() {
            return Some(holds_for(compare, None));
        }
        let mut verdict = Some(true);
        for record in keys {
            if of(record) > placed {
                verdict = None;
            } else if !holds_for(compare, Some(record)) {
                return Some(false);
            }
        }
        verdict
    }

    /// Does a comparison hold? For a range, if it holds for every key in it; for no key at all, as for one with zeros everywhere,
    /// except that no value is neither equal nor unequal to anything.
    fn holds(&self, compare: &Compare) -> bool {
        self.holds_for_keys(compare).unwrap_or_else(|| holds_for(compare, None))
    }

    /// Does a comparison hold for every key that it names? None: there is no such key here.
    pub(crate) fn holds_for_keys(&self, compare: &Compare) -> Option<bool> {
        let mut keys = self.live_in(Span::new(&compare.key, &compare.range_end), At::Latest).peekable();
        keys.peek()?;
        Some(keys.all(|record| holds_for(compare, Some(record))))
    }

    /// Checks all that `path` will do against the state before it, and finds out whether it changes anything. What a put gets wrong is said before what a
    /// range does, wherever they stand, as in etcd.
    ///
    /// A put always does. A deletion does if one of its keys lives; one that an earlier put of the same transaction would make alive
    /// does not matter here, because then there is that put.
    pub(crate) fn check_path(
        &self,
        txn: &Txn,
        path: &mut impl Iterator<Item = bool>,
    ) -> Result<bool, KeyspaceError> {
        let mut unreadable = None;
        let changes = self.check_branch(txn, path, &mut unreadable)?;
        unreadable.map_or(Ok(changes), Err)
    }

    fn check_branch(
        &self,
        txn: &Txn,
        path: &mut impl Iterator<Item = bool>,
        unreadable: &mut Option<KeyspaceError>,
    ) -> Result<bool, KeyspaceError> {
        let mut changes = false;
        for operation in branch(txn, path.next().unwrap_or_default()) {
            match operation {
                Operation::Empty => return Err(KeyspaceError::KeyNotFound),
                Operation::Range(range) => {
                    if !quorate_consensus::planted!("M02")
                        && let Err(error) = self.check_revision_in_txn(range.revision, self.revision)
                    {
                        unreadable.get_or_insert(error);
                    }
                }
                Operation::Put(put) => {
                    self.check_put_in_txn(put)?;
                    changes = true;
                }
                Operation::DeleteRange(delete) => {
                    let span = Span::new(&delete.key, &delete.range_end);
                    changes = changes || self.live_in(span, At::Latest).next().is_some();
                }
                Operation::Txn(nested) => changes |= self.check_branch(nested, path, unreadable)?,
            }
        }
        Ok(changes)
    }

    /// The answer to a transaction that only reads.
    pub(crate) fn read_only_txn(&self, txn: &Txn) -> Result<TxnReply, KeyspaceError> {
        let range = |range: &Range| {
            self.check_revision_in_txn(range.revision, self.revision)?;
            self.range(range, self.revision)
        };
        read_only_txn(txn, self.revision, |compare| self.holds(compare), range)
    }
}

/// The answer to a transaction that only reads, of one store or of several that stand at `revision`: they say which comparisons hold, and answer the ranges.
pub(crate) fn read_only_txn(
    txn: &Txn,
    revision: u64,
    holds: impl Fn(&Compare) -> bool,
    answer: impl Fn(&Range) -> Result<RangeReply, KeyspaceError>,
) -> Result<TxnReply, KeyspaceError> {
    if !txn.is_read_only() {
        return Err(KeyspaceError::NotReadOnly);
    }
    let succeeded = txn.compare.iter().all(holds);
    let ranges = branch(txn, succeeded).iter().filter_map(|operation| match operation {
        Operation::Range(range) => Some(range),
        Operation::Empty | Operation::Put(_) | Operation::DeleteRange(_) | Operation::Txn(_) => None,
    });
    let responses = ranges
        .map(|range| Ok(OperationReply { revision, reply: Reply::Range(answer(range)?) }))
        .collect::<Result<_, KeyspaceError>>()?;
    Ok(TxnReply { succeeded, responses })
}

fn branch(txn: &Txn, succeeded: bool) -> &[Operation] {
    if succeeded { &txn.success } else { &txn.failure }
}

/// Does it hold for this key, or for none?
pub(crate) fn holds_for(compare: &Compare, record: Option<&Arc<Record>>) -> bool {
    let number = |of: fn(&Record) -> u64| record.map_or(0, |record| of(record) as i64);
    let ordering = match &compare.target {
        CompareTarget::Version(right) => number(|record| record.version).cmp(right),
        CompareTarget::Create(right) => number(|record| record.create).cmp(right),
        CompareTarget::Mod(right) => number(|record| record.rev.main).cmp(right),
        CompareTarget::Lease(right) => record.map_or(LeaseId::NONE, |record| record.lease).cmp(right),
        CompareTarget::Value(right) => match record {
            Some(record) => record.value.cmp(right),
            None => return false,
        },
    };
    match compare.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
        CompareResult::NotEqual => ordering.is_ne(),
    }
}

/// A command that is being carried out: one revision, its changes numbered from 0.
pub(crate) struct Writing<'a> {
    pub(crate) store: &'a mut Store,
    /// The revision of the changes, if there are any.
    pub(crate) number: u64,
    /// The length of the command, see [`Store::put`].
    pub(crate) command_bytes: usize,
    pub(crate) news: Vec<News>,
    /// Changes of keys among the news.
    pub(crate) changes: usize,
}

impl Writing<'_> {
    /// The revision for a header now, and the last one that a range may see: that of the command once it has changed something.
    fn current(&self) -> u64 {
        if self.changes == 0 { self.store.revision } else { self.number }
    }

    fn next(&self) -> Rev {
        // A revision with more than four thousand million changes does not fit in memory.
        Rev { main: self.number, sub: self.changes as u32 }
    }

    fn tell(&mut self, change: &Change) {
        self.news.push(News::Changed(change.event()));
        self.changes += 1;
    }

    pub(crate) fn put(&mut self, put: &Put) -> PutReply {
        let change = self.store.put(self.next(), put, self.command_bytes);
        self.tell(&change);
        PutReply { prev_kv: change.replaced.filter(|_| put.prev_kv).map(|record| record.key_value()) }
    }

    pub(crate) fn delete_range(&mut self, delete: &DeleteRange) -> DeleteRangeReply {
        let span = Span::new(&delete.key, &delete.range_end);
        let keys: Vec<_> = self.store.live_in(span, At::Latest).map(|record| record.key.clone()).collect();
        let mut reply = DeleteRangeReply::default();
        for key in keys {
            if let Some(change) = self.delete(&key) {
                reply.deleted += 1;
                reply
                    .prev_kvs
                    .extend(change.replaced.filter(|_| delete.prev_kv).map(|record| record.key_value()));
            }
        }
        reply
    }

    /// Deletes a key, if it lives.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Option<Change> {
        let change = self.store.delete(self.next(), key)?;
        self.tell(&change);
        Some(change)
    }

    /// M01: does a range not see that the change before it was a deletion?
    fn overlooks_deletion(&self) -> bool {
        matches!(self.news.last(), Some(News::Changed(event)) if event.kind == EventKind::Delete)
            && quorate_consensus::planted!("M01")
    }

    pub(crate) fn range(&self, range: &Range) -> Result<Reply, KeyspaceError> {
        if (quorate_consensus::planted!("M02") || self.overlooks_deletion()) && range.revision == 0 {
            let before = Range { revision: self.store.revision as i64, ..range.clone() };
            return self.store.range(&before, self.store.revision).map(Reply::Range);
        }
        self.store.range(range, self.current()).map(Reply::Range)
    }

    /// Carries the transaction out on its path. It was checked: an error here would be half a transaction.
    pub(crate) fn txn(
        &mut self,
        txn: &Txn,
        path: &mut impl Iterator<Item = bool>,
    ) -> Result<TxnReply, KeyspaceError> {
        let succeeded = path.next().unwrap_or_default();
        let mut responses = Vec::with_capacity(branch(txn, succeeded).len());
        for operation in branch(txn, succeeded) {
            let reply = match operation {
                Operation::Empty => return Err(KeyspaceError::KeyNotFound),
                Operation::Range(range) => self.range(range)?,
                Operation::Put(put) => Reply::Put(self.put(put)),
                Operation::DeleteRange(delete) => Reply::DeleteRange(self.delete_range(delete)),
                Operation::Txn(nested) => Reply::Txn(self.txn(nested, path)?),
            };
            let revision = if matches!(operation, Operation::Txn(_)) { 0 } else { self.current() };
            responses.push(OperationReply { revision, reply });
        }
        Ok(TxnReply { succeeded, responses })
    }
}

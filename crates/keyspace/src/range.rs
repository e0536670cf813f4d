//! Reading a range, with every option etcd has and the results etcd gives.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::record::Record;
use crate::span::Span;
use crate::store::Store;
use crate::tree::Keyed;
use crate::{KeyValue, KeyspaceError, Range, RangeReply, SortOrder, SortTarget};

/// Which state a read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The newest, with the writes of a transaction that is being carried out.
    Latest,
    /// As it was after this revision.
    Revision(u64),
}

impl Store {
    /// Can `revision` be read, when `current` is the last one?
    ///
    /// The ranges of a transaction must all be asked about before its first write, with the revision before it: a member that found
    /// out half-way wrote half, or stopped (etcd#18667).
    pub(crate) fn check_revision(&self, revision: i64, current: u64) -> Result<At, KeyspaceError> {
        check_revision(revision, self.compacted, current)
    }

    /// The same for a range of a transaction: there a revision below zero is not the latest one but compacted, as in etcd.
    pub(crate) fn check_revision_in_txn(&self, revision: i64, current: u64) -> Result<(), KeyspaceError> {
        check_revision_in_txn(revision, self.compacted, current)
    }

    /// The keys of `span` that live, in order.
    pub(crate) fn live_in<'a>(
        &'a self,
        span: Span<'a>,
        at: At,
    ) -> Box<dyn Iterator<Item = &'a Arc<Record>> + 'a> {
        let from = Bound::Included(span.start());
        match (span, at) {
            (Span::Point(key), At::Latest) => Box::new(self.live(key).into_iter()),
            (Span::Point(key), At::Revision(revision)) => {
                Box::new(self.keys.get(key).and_then(|versions| versions.live_at(revision)).into_iter())
            }
            (Span::From(_) | Span::Between(..), At::Latest) => Box::new(
                self.keys
                    .weighty_from(from)
                    .take_while(move |versions| span.ends_after(versions.key()))
                    .map(|versions| &versions.newest),
            ),
            (Span::From(_) | Span::Between(..), At::Revision(revision)) => Box::new(
                self.keys
                    .iter_from(from)
                    .take_while(move |versions| span.ends_after(versions.key()))
                    .filter_map(move |versions| versions.live_at(revision)),
            ),
        }
    }

    /// How many keys of `span` live: in O(log n) now, in O(n) in the past.
    pub(crate) fn count(&self, span: Span<'_>, at: At) -> u64 {
        let count = match (span, at) {
            (Span::From(start), At::Latest) => self.keys.weight() - self.keys.weight_below(start),
            (Span::Between(start, end), At::Latest) => {
                self.keys.weight_below(end).saturating_sub(self.keys.weight_below(start))
            }
            (Span::Point(_), _) | (_, At::Revision(_)) => self.live_in(span, at).count(),
        };
        count as u64
    }

    /// Answers a range, when `current` is the last revision it may see.
    ///
    /// The result is etcd's in its odd corners too: `count` knows neither limit nor filters; the limit is applied *before* sorting if the
    /// order is "none", so that {a: mod 3, b: mod 2, c: mod 1} with limit 1 by mod and order "none" finds b (the better of the first
    /// limit + 1 keys, of which the last was only fetched to know whether there are more), with order "ascending" c.
    pub(crate) fn range(&self, range: &Range, current: u64) -> Result<RangeReply, KeyspaceError> {
        let at = self.check_revision(range.revision, current)?;
        let span = Span::new(&range.key, &range.range_end);
        if range.count_only {
            return Ok(RangeReply { count: self.count(span, at), ..RangeReply::default() });
        }

        let limit = usize::try_from(range.limit).unwrap_or(0);
        let fetch = if range.takes_first_keys() { limit.saturating_add(1) } else { usize::MAX };

        let mut fetched = 0;
        let mut living = self.live_in(span, at);
        let mut records: Vec<&Arc<Record>> = living
            .by_ref()
            .take(fetch)
            .inspect(|_| fetched += 1)
            .filter(|record| passes(range, record))
            .collect();
        // What the limit left unread still counts.
        let count = match at {
            _ if fetched < fetch => fetched as u64,
            At::Latest => self.count(span, at),
            At::Revision(_) => (fetched + living.count()) as u64,
        };

        sort(&mut records, range);
        let more = limit > 0 && records.len() > limit;
        if more {
            records.truncate(limit);
        }
        Ok(RangeReply { kvs: records.into_iter().map(|record| show(record, range)).collect(), more, count })
    }
}

fn passes(range: &Range, record: &Record) -> bool {
    // Revisions are below 2^63, so as signed numbers they are the same.
    let (modified, created) = (record.rev.main as i64, record.create as i64);
    (range.min_mod_revision == 0 || modified >= range.min_mod_revision)
        && (range.max_mod_revision == 0 || modified <= range.max_mod_revision)
        && (range.min_create_revision == 0 || created >= range.min_create_revision)
        && (range.max_create_revision == 0 || created <= range.max_create_revision)
}

/// Sorts by the target; among equals, by key. Another target than the key means ascending if no order is given.
fn sort(records: &mut [&Arc<Record>], range: &Range) {
    let compare: fn(&Record, &Record) -> Ordering = match (range.sort_target, range.sort_order) {
        (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => return,
        (SortTarget::Key, SortOrder::Descend) => return records.reverse(),
        (SortTarget::Version, _) => |a, b| a.version.cmp(&b.version),
        (SortTarget::Create, _) => |a, b| a.create.cmp(&b.create),
        (SortTarget::Mod, _) => |a, b| a.rev.main.cmp(&b.rev.main),
        (SortTarget::Value, _) => |a, b| a.value.cmp(&b.value),
    };
    match range.sort_order {
        SortOrder::None | SortOrder::Ascend => records.sort_by(|a, b| compare(a, b)),
        SortOrder::Descend => records.sort_by(|a, b| compare(b, a)),
    }
}

fn show(record: &Record, range: &Range) -> KeyValue {
    let mut kv = record.key_value();
    if range.keys_only {
        // The value alone: the lease stays, as it did before etcd 3.7 (etcd#22209).
        kv.value = Bytes::new();
    }
    kv
}

/// Which revision is asked for, where everything below `compacted` is gone?
pub(crate) fn check_revision(revision: i64, compacted: u64, current: u64) -> Result<At, KeyspaceError> {
    match u64::try_from(revision) {
        Ok(0) | Err(_) => Ok(At::Latest),
        Ok(revision) if revision > current => Err(KeyspaceError::FutureRevision { current }),
        Ok(revision) if revision < compacted => Err(KeyspaceError::Compacted { compacted }),
        Ok(revision) => Ok(At::Revision(revision)),
    }
}

/// See [`Store::check_revision_in_txn`].
pub(crate) fn check_revision_in_txn(
    revision: i64,
    compacted: u64,
    current: u64,
) -> Result<(), KeyspaceError> {
    if revision < 0 {
        return Err(KeyspaceError::Compacted { compacted });
    }
    check_revision(revision, compacted, current).map(|_| ())
}

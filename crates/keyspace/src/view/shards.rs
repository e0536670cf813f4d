//! Several stores, each of which has some of the keys, as one keyspace.
//!
//! ```text
//! a key             → its owner                                  get, previous, the changes of one key
//! a range of keys   → each of its owners, merged                 range, comparisons
//! everything        → all, in order of (revision, part) or key   changes, keys of a lease, snapshot, hash
//! what is global    → the first: each has a full copy            leases, alarms, quota, users and roles
//! how far is gone   → the part in which most is                  the compacted revision
//! ```
//!
//! Architecture Invariant: nothing is read that is gone in any part. {a compaction takes no revision; it is placed in the second part, and not yet in the first}: by what the first
//! says, a watch from before it would be told of what the first still has, and never miss the rest. Found by the simulator (E3).
//!
//! Architecture Invariant: what may be read is decided by the revision of the whole, never by that of a part. {the whole stands at 60, this part was last told of 57}: 58
//! can be read there, and shows what 57 does.

use std::fmt;
use std::sync::Arc;

use crate::auth::Attached;
use crate::range::{check_revision, check_revision_in_txn};
use crate::record::{Record, Rev};
use crate::store::Store;
use crate::txn::{holds_for, read_only_txn};
use crate::{Compare, Event, KeyspaceError, LeaseId, Range, RangeReply, Txn, TxnReply};

/// Says which part of several has which keys; see [`View::of_shards`](crate::View::of_shards).
///
/// Each key has one owner, and the answers never change: a view is a picture, and whose the keys were when it was taken is part of it.
pub trait Owners: fmt::Debug + Send + Sync {
    /// The part that has this key, by its place among the parts.
    fn owner(&self, key: &[u8]) -> usize;

    /// The parts whose keys can lie in the range, each once. By etcd's conventions: an empty `range_end` means `key` alone, `"\0"` every key from `key` on, any other
    /// is where the range ends, exclusive. None for a range that ends before it begins.
    fn owners(&self, key: &[u8], range_end: &[u8]) -> Vec<usize>;
}

/// The stores, and what they are together.
#[derive(Debug)]
pub(super) struct Shards {
    /// At or above that of every part.
    pub(super) revision: u64,
    /// The oldest revision that can be read in all of them; zero if none was compacted.
    pub(super) compacted: u64,
    /// Never empty.
    pub(super) parts: Vec<Arc<Store>>,
    owners: Arc<dyn Owners>,
}

impl Shards {
    pub(super) fn new(revision: u64, parts: Vec<Arc<Store>>, owners: Arc<dyn Owners>) -> Shards {
        assert!(!parts.is_empty(), "a view of shards has at least one");
        assert!(
            parts.iter().all(|part| part.revision <= revision),
            "a picture of shards is taken when none is ahead of it"
        );
        let most = parts.iter().map(|part| part.compacted).fold(0, u64::max);
        let compacted = if quorate_consensus::planted!("L20") { parts[0].compacted } else { most };
        Shards { revision, compacted, parts, owners }
    }

    /// A store that knows everything that is global.
    pub(super) fn first(&self) -> &Store {
        &self.parts[0]
    }

    /// The store that has this key.
    pub(super) fn of_key(&self, key: &[u8]) -> &Store {
        &self.parts[self.owners.owner(key)]
    }

    /// The stores whose keys can lie in the range.
    fn of_range(&self, key: &[u8], range_end: &[u8]) -> Vec<&Store> {
        let owners = self.owners.owners(key, range_end);
        owners.into_iter().map(|part| &*self.parts[part]).collect()
    }

    pub(super) fn range(&self, range: &Range) -> Result<RangeReply, KeyspaceError> {
        check_revision(range.revision, self.compacted, self.revision)?;
        match self.of_range(&range.key, &range.range_end)[..] {
            [only] => only.range(range, self.revision),
            ref several => {
                let part = range.part();
                let replies = several.iter().map(|store| store.range(&part, self.revision));
                Ok(range.merge(replies.collect::<Result<Vec<_>, _>>()?))
            }
        }
    }

    pub(super) fn read_only_txn(&self, txn: &Txn) -> Result<TxnReply, KeyspaceError> {
        let range = |range: &Range| {
            check_revision_in_txn(range.revision, self.compacted, self.revision)?;
            self.range(range)
        };
        read_only_txn(txn, self.revision, |compare| self.holds(compare), range)
    }

    /// Does a comparison hold? That there is no key in its range, none of the stores knows alone: a store without one has no say unless all are.
    fn holds(&self, compare: &Compare) -> bool {
        let stores = self.of_range(&compare.key, &compare.range_end);
        let verdicts = stores.into_iter().filter_map(|store| store.holds_for_keys(compare));
        verdicts.reduce(|all, holds| all && holds).unwrap_or_else(|| holds_for(compare, None))
    }

    /// A change that its part has numbered, numbered as among those of all.
    pub(super) fn number(&self, event: Event) -> Event {
        let before = self.changes_before(self.owners.owner(&event.kv.key), event.kv.mod_revision);
        Event { sub: before.saturating_add(event.sub), ..event }
    }

    /// How many numbers the parts before this one take of a revision: one more than their last changes have.
    ///
    /// Asked of a revision that can be read, so that no sweep has taken anything of it out of the logs but what a later change of the same revision replaced.
    fn changes_before(&self, part: usize, revision: u64) -> u32 {
        let numbers = |store: &Arc<Store>| {
            let last = store.log.floor(&Rev::last_of(revision)).map(|dated| dated.rev);
            last.filter(|last| last.main == revision).map_or(0, |last| last.sub.saturating_add(1))
        };
        self.parts[..part].iter().map(numbers).fold(0, u32::saturating_add)
    }

    /// The records that live at the compacted revision, numbered as in [`Shards::changes_before`] if they are of that very revision.
    ///
    /// Architecture Invariant: what is older keeps the number that its own shard gave it. {T puts a and b at 5, each in a shard of its own; compacted at 7}: whether `a` had a
    /// change at 5 is forgotten with the sweep, sooner on one replica than on another, and the number of `b` must not follow from it.
    pub(super) fn kept(&self) -> impl Iterator<Item = Arc<Record>> + '_ {
        let compacted = self.compacted;
        let parts = self.parts.iter().enumerate();
        parts.flat_map(move |(part, store)| {
            let before = self.changes_before(part, compacted);
            let kept = store.keys.iter().filter_map(move |versions| versions.live_at(compacted));
            kept.map(move |record| match record.rev {
                Rev { main, sub } if main == compacted => {
                    Record::numbered(record, before.saturating_add(sub))
                }
                _ => Arc::clone(record),
            })
        })
    }

    /// Each part has all leases, and they count once. {a lease is granted, which takes no revision, and has not come to the second part}: at one revision they may
    /// have different ones, so that from each its own are taken.
    pub(super) fn size_bytes(&self) -> u64 {
        let keys = self.parts.iter().map(|store| store.keys_bytes());
        self.first().leases_bytes() + keys.sum::<u64>()
    }

    pub(super) fn key_count(&self) -> u64 {
        self.parts.iter().map(|store| store.keys.weight() as u64).sum()
    }

    pub(super) fn sweep_backlog(&self) -> usize {
        self.parts.iter().map(|store| store.sweep_backlog()).sum()
    }
}

impl Attached for Shards {
    fn all(&self, lease: Option<LeaseId>, is_so: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.parts.iter().all(|store| store.all(lease, is_so))
    }
}

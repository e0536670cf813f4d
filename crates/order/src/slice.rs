//! What one shard has to know of the order.

use std::collections::{BTreeMap, VecDeque};

use crate::{Mark, TxnId};

/// A step of the order that concerns a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// The turns from the mark before up to this one are placed; the first change among them is one above `before`.
    Turns {
        /// Up to here.
        upto: Mark,
        /// The last revision that was given before them.
        before: u64,
    },
    /// A transaction stands behind the turns so far. (One that is void stands nowhere.)
    Txn {
        /// Which.
        txn: TxnId,
        /// The branch that is taken.
        branch: bool,
        /// Its own revision if it changes anything; otherwise that of the last change before it.
        revision: u64,
        /// Does it change anything, in any shard?
        changes: bool,
    },
}

impl Slice {
    fn branch(&self) -> Option<(TxnId, bool)> {
        match self {
            Slice::Turns { .. } => None,
            Slice::Txn { txn, branch, .. } => Some((*txn, *branch)),
        }
    }
}

/// The slices of a shard that are still remembered, oldest first, and where they begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    /// Everything up to here was forgotten.
    pub(crate) from: Mark,
    /// So many slices were forgotten.
    pub(crate) first: u64,
    pub(crate) list: VecDeque<Slice>,
    /// The branches of the transactions in `list`, so that whoever asks for one need not walk all.
    branches: BTreeMap<TxnId, bool>,
}

impl Slices {
    pub(crate) fn new(from: Mark, first: u64, list: VecDeque<Slice>) -> Slices {
        let branches = list.iter().filter_map(Slice::branch).collect();
        Slices { from, first, list, branches }
    }

    pub(crate) fn push(&mut self, slice: Slice) {
        self.branches.extend(slice.branch());
        self.list.push_back(slice);
    }

    /// The branch that is taken of a transaction, if it is remembered.
    #[must_use]
    pub fn branch(&self, txn: TxnId) -> Option<bool> {
        self.branches.get(&txn).copied()
    }

    /// Everything up to here is forgotten: a replica that has not placed it needs a snapshot.
    #[must_use]
    pub fn from(&self) -> Mark {
        self.from
    }

    /// The slices behind the first `seen` that there ever were: for a replica that follows. None if some of them are forgotten: it needs a snapshot.
    #[must_use]
    pub fn after(&self, seen: u64) -> Option<impl Iterator<Item = &Slice>> {
        let skipped = usize::try_from(seen.checked_sub(self.first)?).ok()?;
        Some(self.list.iter().skip(skipped))
    }

    /// The slices, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Slice> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets the first slices that there ever were, up to so many.
    pub(crate) fn forget(&mut self, slices: u64) {
        while self.first < slices
            && let Some(slice) = self.list.pop_front()
        {
            self.first += 1;
            match slice {
                Slice::Turns { upto, .. } => self.from = upto,
                Slice::Txn { txn, .. } => _ = self.branches.remove(&txn),
            }
        }
    }

    /// How many there ever were.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.list.len() as u64
    }

    /// So many were forgotten.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.first
    }
}

//! Numbers the turns of a shard's replica, as the order says.

use std::collections::VecDeque;

use crate::{Mark, ShardId, Slice, Slices, TxnId};

/// A turn that was evaluated: its revision is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Does it change anything?
    pub changes: bool,
}

/// What has its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A turn of this shard.
    Turn {
        /// Which: 1, 2, 3 …
        turn: u64,
        /// Its own revision if it changes anything; otherwise that of the last change before it, for the header of its answer.
        revision: u64,
        /// Does it change anything?
        changes: bool,
    },
    /// A transaction over several shards, behind the turns so far.
    Txn {
        /// Which.
        txn: TxnId,
        /// The branch that is taken.
        branch: bool,
        /// Its own revision if it changes anything; otherwise that of the last change before it.
        revision: u64,
        /// Does it change anything, here or elsewhere?
        changes: bool,
    },
}

/// How far a replica has placed its shard: what its snapshot says, so that it goes on from there when it is restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What is placed.
    pub placed: Mark,
    /// Slices that lie whole before the next turn, of all that there ever were.
    pub slice: u64,
    /// Changes of the next slice that are placed already.
    pub inside: u64,
}

/// Waits for turns on the one side and for slices of the order on the other, and gives each turn its number once both are there.
#[derive(Clone, Debug)]
pub struct Placer {
    shard: ShardId,
    placed: Mark,
    evaluated: VecDeque<Turn>,
    /// Those that are not placed to their ends.
    slices: VecDeque<Slice>,
    /// Changes of the first of them that are placed.
    inside: u64,
    /// Slices that there were before the one that is asked for next.
    seen: u64,
}

impl Placer {
    /// Of a replica that has placed what `slices` does not remember: nothing yet.
    #[must_use]
    pub fn new(shard: ShardId, slices: Slices) -> Placer {
        let seen = slices.first + slices.list.len() as u64;
        Placer {
            shard,
            placed: slices.from,
            evaluated: VecDeque::new(),
            slices: slices.list,
            inside: 0,
            seen,
        }
    }

    /// Of a replica that was restored; it has seen no slice yet, see [`follow`](Self::follow).
    #[must_use]
    pub fn resumed(shard: ShardId, place: Place) -> Placer {
        Placer {
            shard,
            placed: place.placed,
            evaluated: VecDeque::new(),
            slices: VecDeque::new(),
            inside: place.inside,
            seen: place.slice,
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// What is placed.
    #[must_use]
    pub fn placed(&self) -> Mark {
        self.placed
    }

    /// From where a replica goes on that has placed just as much.
    #[must_use]
    pub fn place_now(&self) -> Place {
        Place { placed: self.placed, slice: self.seen - self.slices.len() as u64, inside: self.inside }
    }

    /// How far the shard is evaluated, placed or not: what a leader reports.
    #[must_use]
    pub fn evaluated_to(&self) -> Mark {
        let changes = self.evaluated.iter().filter(|turn| turn.changes).count() as u64;
        Mark {
            turns: self.placed.turns + self.evaluated.len() as u64,
            changes: self.placed.changes + changes,
        }
    }

    /// The next turn was evaluated.
    pub fn evaluated(&mut self, turn: Turn) {
        self.evaluated.push_back(turn);
    }

    /// Takes the slices that it has not seen. False if some of them are forgotten: the replica needs a snapshot.
    pub fn follow(&mut self, slices: &Slices) -> bool {
        let Some(new) = slices.after(self.seen) else { return false };
        let before = self.slices.len();
        self.slices.extend(new);
        self.seen += (self.slices.len() - before) as u64;
        true
    }

    /// Up to this revision all of this shard has its number. None: as far as the order has come.
    #[must_use]
    pub fn reached(&self) -> Option<u64> {
        self.slices.iter().zip([self.inside].into_iter().chain(std::iter::repeat(0))).find_map(
            |(slice, inside)| match slice {
                Slice::Turns { upto, before } => (upto.turns > self.placed.turns).then_some(*before + inside),
                Slice::Txn { revision, changes, .. } => Some(revision - u64::from(*changes)),
            },
        )
    }

    /// The same if neither turns count, which change nothing, nor what stands before this transaction.
    #[must_use]
    pub fn reached_behind(&self, before: TxnId) -> Option<u64> {
        self.slices.iter().find_map(|slice| match slice {
            Slice::Txn { txn, revision, changes, .. } if *txn > before => {
                Some(revision - u64::from(*changes))
            }
            Slice::Turns { .. } | Slice::Txn { .. } => None,
        })
    }

    /// Places what comes next, if both sides have come so far.
    pub fn place(&mut self) -> Option<Placement> {
        loop {
            let placed = match self.slices.front()? {
                Slice::Turns { upto, .. } if upto.turns == self.placed.turns => None,
                Slice::Turns { upto, before } => {
                    let Turn { changes } = self.evaluated.pop_front()?;
                    self.placed.turns += 1;
                    self.placed.changes += u64::from(changes);
                    self.inside += u64::from(changes);
                    let revision = before + self.inside;
                    if upto.turns == self.placed.turns {
                        self.slices.pop_front();
                        self.inside = 0;
                    }
                    return Some(Placement::Turn { turn: self.placed.turns, revision, changes });
                }
                Slice::Txn { txn, branch, revision, changes } => Some(Placement::Txn {
                    txn: *txn,
                    branch: *branch,
                    revision: *revision,
                    changes: *changes,
                }),
            };
            self.slices.pop_front();
            self.inside = 0;
            if placed.is_some() {
                return placed;
            }
        }
    }
}

//! Puts the entries of a shard's log into turns.
//!
//! ```text
//!   log    a   b   [T   c   d   T: true]   e
//!   turns  1   2    ask         branch, 3 = c, 4 = d, 5 = e
//! ```
//!
//! Behind a barrier nothing is evaluated before the transaction is decided: what the log holds there waits, and takes its turns after it.
//!
//! What became of a transaction whose barrier waits there can be known already: that it is void. Its shard's leader logs that at once, and the lane does not stop for it.
//! {forty transactions are void while their barriers wait behind another's; each is told of when the lane stands at it, and costs a round of the log}: what comes
//! meanwhile waits too long, and is void as well, for ever. Found by the simulator.

use std::collections::{BTreeSet, VecDeque};

use quorate_consensus::planted;

use crate::TxnId;

/// What a shard's log holds, as far as the order cares. What a command is, `C`, it does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneEntry<C> {
    /// A command of this shard alone.
    Command(C),
    /// A transaction over several shards stands here; this is its part in this one.
    Barrier(TxnId, C),
    /// What became of it: the branch, or none if it is void. Logged behind the barrier, so that a replay asks nobody.
    Branch(TxnId, Option<bool>),
}

/// What is to be evaluated next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<C> {
    /// A command, which takes the next turn.
    Turn(C),
    /// The compares of a transaction, and what each of its branches would change; the leader reports both.
    Ask(TxnId, C),
    /// A branch of the transaction asked last is carried out; what changed has the transaction's own revision.
    Branch(TxnId, bool),
    /// The transaction asked last came to nothing.
    Void(TxnId),
}

/// A shard's log, in turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane<C> {
    /// The newest transaction whose barrier was taken.
    pub(crate) taken: TxnId,
    /// It waits at this one's barrier.
    pub(crate) stands_at: Option<TxnId>,
    /// What stands in the log behind that barrier.
    pub(crate) waiting: VecDeque<LaneEntry<C>>,
    /// Transactions whose barriers are to come, and which are void by the log.
    pub(crate) void: BTreeSet<TxnId>,
}

impl<C> Default for Lane<C> {
    fn default() -> Lane<C> {
        Lane { taken: TxnId::default(), stands_at: None, waiting: VecDeque::new(), void: BTreeSet::new() }
    }
}

impl<C> Lane<C> {
    /// The barrier at which it stands.
    #[must_use]
    pub fn stands_at(&self) -> Option<TxnId> {
        self.stands_at
    }

    /// The transactions at whose barriers it will stand next, in order: those that are not known to be void.
    pub fn next_barriers(&self) -> impl Iterator<Item = TxnId> {
        let waiting = self.waiting.iter().filter_map(|entry| match entry {
            LaneEntry::Barrier(txn, _) => Some(*txn),
            LaneEntry::Command(_) | LaneEntry::Branch(..) => None,
        });
        waiting.filter(|txn| *txn > self.taken && !self.void.contains(txn))
    }

    /// The newest transaction whose barrier stands in the log as far as it was read: what its leader logs next is above it.
    #[must_use]
    pub fn newest(&self) -> TxnId {
        let waiting = self.waiting.iter().filter_map(|entry| match entry {
            LaneEntry::Barrier(txn, _) => Some(*txn),
            LaneEntry::Command(_) | LaneEntry::Branch(..) => None,
        });
        waiting.chain([self.taken]).max().unwrap_or_default()
    }

    /// How many entries wait behind the barrier: who leads takes no more above a limit.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the next committed entry of the log; what is to be evaluated because of it goes to `steps`, in order.
    pub fn take(&mut self, entry: LaneEntry<C>, steps: &mut Vec<Step<C>>) {
        match (entry, self.stands_at) {
            (LaneEntry::Branch(txn, branch), Some(at)) if txn == at => {
                self.stands_at = None;
                steps.push(branch.map_or(Step::Void(txn), |branch| Step::Branch(txn, branch)));
                self.go_on(steps);
            }
            // Whatever a lane stands at, this one will never be done.
            (LaneEntry::Branch(txn, None), Some(_)) if txn > self.taken => _ = self.void.insert(txn),
            // Of a leader that did not know of the one before: {two leaders log the branch, one after the other}.
            (LaneEntry::Branch(..), _) => {}
            (entry, Some(_)) => self.waiting.push_back(entry),
            (entry, None) => self.turn(entry, steps),
        }
    }

    fn turn(&mut self, entry: LaneEntry<C>, steps: &mut Vec<Step<C>>) {
        match entry {
            LaneEntry::Command(command) => steps.push(Step::Turn(command)),
            // Between the two lie only transactions that are void, or touch others. One that is not newer was logged twice.
            LaneEntry::Barrier(txn, part) if txn > self.taken => {
                self.taken = txn;
                steps.push(Step::Ask(txn, part));
                let is_void = self.void.contains(&txn);
                self.void.retain(|void| *void > txn);
                if is_void {
                    steps.push(Step::Void(txn));
                } else if !planted!("L13") {
                    self.stands_at = Some(txn);
                }
            }
            LaneEntry::Barrier(..) | LaneEntry::Branch(..) => {}
        }
    }

    fn go_on(&mut self, steps: &mut Vec<Step<C>>) {
        while self.stands_at.is_none()
            && let Some(entry) = self.waiting.pop_front()
        {
            self.turn(entry, steps);
        }
    }
}

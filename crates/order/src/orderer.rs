//! The state machine of the order group: what every turn and every transaction is numbered.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Command, Mark, OrderError, Outcome, ShardId, Slice, Slices, TRANSACTION_SHARDS_MAX, TxnId};

/// Transactions that are open at a time, at most.
pub const TRANSACTIONS_MAX: usize = 4096;
/// Slices that are remembered for a shard, at most: then its log has to be compacted first.
pub const SLICES_MAX: usize = 1 << 20;
/// etcd's revisions are signed.
const REVISION_MAX: u64 = i64::MAX as u64;

/// How the order stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orderer {
    /// The last revision that was given.
    pub(crate) revision: u64,
    pub(crate) shards: BTreeMap<ShardId, Shard>,
    pub(crate) open: BTreeMap<TxnId, Open>,
    pub(crate) last_txn: TxnId,
}

/// What stands of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) placed: Mark,
    pub(crate) slices: Slices,
}

/// A transaction that is not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub(crate) shards: BTreeSet<ShardId>,
}

impl Open {
    /// Whom it touches.
    #[must_use]
    pub fn shards(&self) -> &BTreeSet<ShardId> {
        &self.shards
    }
}

/// What the order knows of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It waits for the shards' verdicts.
    Open,
    /// It is placed: this branch is taken.
    Done {
        /// The branch.
        branch: bool,
    },
    /// It came to nothing; or it is done and the shard that asks has compacted it away.
    Void,
}

impl Orderer {
    /// An order that begins behind `revision`, over these shards.
    #[must_use]
    pub fn new(revision: u64, shards: impl IntoIterator<Item = ShardId>) -> Orderer {
        let shards = shards.into_iter().map(|shard| (shard, Shard::default())).collect();
        Orderer { revision, shards, open: BTreeMap::new(), last_txn: TxnId(0) }
    }

    /// The last revision that was given.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The shards.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.shards.keys().copied()
    }

    /// What of a shard is placed.
    #[must_use]
    pub fn placed(&self, shard: ShardId) -> Option<Mark> {
        self.shards.get(&shard).map(|shard| shard.placed)
    }

    /// What a shard's replicas have to know.
    #[must_use]
    pub fn slices(&self, shard: ShardId) -> Option<&Slices> {
        self.shards.get(&shard).map(|shard| &shard.slices)
    }

    /// May more of this shard be placed? Not while it has compacted so little that as much is remembered for it as may be. It then waits, and nobody else does.
    #[must_use]
    pub fn has_room(&self, shard: ShardId) -> bool {
        self.slices(shard).is_some_and(|slices| slices.len() < SLICES_MAX)
    }

    /// The transactions that wait for verdicts, oldest first.
    pub fn open(&self) -> impl Iterator<Item = (TxnId, &Open)> {
        self.open.iter().map(|(txn, open)| (*txn, open))
    }

    /// The transaction that was begun last; 0 if none was.
    #[must_use]
    pub fn last_begun(&self) -> TxnId {
        self.last_txn
    }

    /// Is the transaction still to be decided, or even to begin?
    #[must_use]
    pub fn waits_for(&self, txn: TxnId) -> bool {
        self.open.contains_key(&txn) || txn > self.last_txn
    }

    /// What became of a transaction, for one of its shards.
    #[must_use]
    pub fn part(&self, shard: ShardId, txn: TxnId) -> Part {
        if self.waits_for(txn) {
            return Part::Open;
        }
        let branch = self.shards.get(&shard).and_then(|shard| shard.slices.branch(txn));
        branch.map_or(Part::Void, |branch| Part::Done { branch })
    }

    /// Carries out an entry of the order log. With [`Command::Begin`]: the number of the transaction.
    ///
    /// # Errors
    /// The command does nothing: it was decided upon what stands no more, or cannot be. Every replica comes to the same.
    pub fn apply(&mut self, command: &Command) -> Result<Option<TxnId>, OrderError> {
        match command {
            Command::Cut(marks) => self.cut(marks).map(|()| None),
            Command::Begin(shards) => self.begin(shards).map(Some),
            Command::Decide { txn, outcome } => self.decide(*txn, outcome).map(|()| None),
            Command::Forget { shard, slices } => {
                self.shard(*shard)?.slices.forget(*slices);
                Ok(None)
            }
            Command::Admit(shard) => {
                if self.shards.contains_key(shard) {
                    return Err(OrderError::KnownShard(*shard));
                }
                self.shards.insert(*shard, Shard::default());
                Ok(None)
            }
        }
    }

    fn shard(&mut self, shard: ShardId) -> Result<&mut Shard, OrderError> {
        self.shards.get_mut(&shard).ok_or(OrderError::UnknownShard(shard))
    }

    /// The marks that go beyond what is placed. A mark that is not newer says nothing that is not known; one that cannot follow fails the command whole.
    fn fresh(&self, marks: &[(ShardId, Mark)]) -> Result<BTreeMap<ShardId, Mark>, OrderError> {
        let mut fresh = BTreeMap::new();
        for (shard, reported) in marks {
            let known = self.shards.get(shard).ok_or(OrderError::UnknownShard(*shard))?;
            let placed = known.placed;
            let impossible = OrderError::Impossible { shard: *shard, placed, reported: *reported };
            if reported.turns > placed.turns {
                if !reported.may_follow(placed) || fresh.insert(*shard, *reported).is_some() {
                    return Err(impossible);
                }
            } else if !placed.may_follow(*reported) {
                return Err(impossible);
            }
        }
        Ok(fresh)
    }

    fn cut(&mut self, marks: &[(ShardId, Mark)]) -> Result<(), OrderError> {
        let mut fresh = self.fresh(marks)?;
        fresh.retain(|shard, _| self.has_room(*shard));
        self.check_end(&fresh)?;
        self.place(fresh);
        Ok(())
    }

    /// Is the last revision that these marks take in range, and one more?
    fn check_end(&self, fresh: &BTreeMap<ShardId, Mark>) -> Result<(), OrderError> {
        let changes = |(shard, mark): (&ShardId, &Mark)| mark.changes - self.shards[shard].placed.changes;
        let taken = fresh.iter().map(changes).try_fold(0u64, u64::checked_add);
        let end = taken.and_then(|taken| self.revision.checked_add(taken));
        end.filter(|end| *end < REVISION_MAX).map(|_| ()).ok_or(OrderError::Exhausted)
    }

    /// Earlier cuts first, then shard by shard, then turn by turn.
    fn place(&mut self, fresh: BTreeMap<ShardId, Mark>) {
        for (id, upto) in fresh {
            let shard = self.shards.get_mut(&id).expect("looked at before");
            shard.slices.push(Slice::Turns { upto, before: self.revision });
            self.revision += upto.changes - shard.placed.changes;
            shard.placed = upto;
        }
    }

    fn begin(&mut self, shards: &[ShardId]) -> Result<TxnId, OrderError> {
        let touched: BTreeSet<ShardId> = shards.iter().copied().collect();
        if touched.len() != shards.len() || shards.is_empty() || shards.len() > TRANSACTION_SHARDS_MAX {
            return Err(OrderError::Shards);
        }
        if let Some(unknown) = touched.iter().find(|shard| !self.shards.contains_key(shard)) {
            return Err(OrderError::UnknownShard(*unknown));
        }
        if self.open.len() >= TRANSACTIONS_MAX {
            return Err(OrderError::TooManyOpen);
        }
        self.last_txn = TxnId(self.last_txn.0 + 1);
        self.open.insert(self.last_txn, Open { shards: touched });
        Ok(self.last_txn)
    }

    /// The first word counts: {T is void, for B was silent; B's verdict arrives}: T stays void, and the other way round.
    fn decide(&mut self, txn: TxnId, outcome: &Outcome) -> Result<(), OrderError> {
        let open = self.open.get(&txn).ok_or(OrderError::NotOpen(txn))?;
        if let Outcome::Done { branch, changes, barriers } = outcome {
            if !barriers.iter().map(|(shard, _)| shard).eq(&open.shards) {
                return Err(OrderError::OtherShards(txn));
            }
            for (shard, _) in barriers {
                let before = self.open.range(..txn).find(|(_, other)| other.shards.contains(shard));
                if let Some((first, _)) = before {
                    return Err(OrderError::Behind { txn, shard: *shard, first: *first });
                }
            }
            // A shard evaluates nothing behind a barrier, so nothing behind it is placed.
            if let Some((shard, reported)) =
                barriers.iter().find(|(shard, at)| at.turns < self.shards[shard].placed.turns)
            {
                let placed = self.shards[shard].placed;
                return Err(OrderError::Impossible { shard: *shard, placed, reported: *reported });
            }
            if let Some((shard, _)) = barriers.iter().find(|(shard, _)| !self.has_room(*shard)) {
                return Err(OrderError::TooManySlices(*shard));
            }
            let fresh = self.fresh(barriers)?;
            self.check_end(&fresh)?;
            self.place(fresh);
            self.revision += u64::from(*changes);
            for (shard, _) in barriers {
                let slice = Slice::Txn { txn, branch: *branch, revision: self.revision, changes: *changes };
                self.shards.get_mut(shard).expect("looked at before").slices.push(slice);
            }
        }
        self.open.remove(&txn);
        Ok(())
    }
}

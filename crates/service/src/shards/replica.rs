//! A shard's replica on this node: its log on the one side, the order on the other.
//!
//! ```text
//!   entries ─► Lane ─► steps ─ evaluate ─► Placer ◄─ slices of the order
//!                        │                   │ numbered: it has its revision
//!                        └────── place ◄─────┘ once all shards of the node have come as far
//! ```
//!
//! One idea a file: here how it goes on; `giving` what it does where keys go over; `head` what its snapshots say.

pub(super) mod giving;
mod head;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use quorate_consensus::{DecodeError, Position, Reader, ShardId, Writer, planted};
use quorate_keyspace::{Keyspace, News, Response, Shard, Weight};
use quorate_order::{
    Lane, LaneEntry, Orderer, Part, Place, Placement, Placer, Report, Step, Turn, TxnId, Verdict,
};
use quorate_placement::shards::ShardMap;

use super::{Handover, division::has_all};

/// What is asked of a shard by an entry of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where it stands: a command of this shard alone in its log; its part of a transaction in the order's, where the transaction began, so that all parts
    /// come to the same (the id of a lease, the epoch of who ends one).
    pub at: Position,
    /// A command of the keyspace.
    pub command: Bytes,
    /// For this shard's part of a transaction: where the store stood when it began.
    pub known: u64,
    /// The index of the entry in this shard's log.
    pub entry: u64,
}

impl Asked {
    /// Writes it.
    pub fn encode(&self, to: &mut Writer) {
        to.varint(self.at.epoch.0);
        to.varint(self.at.index.0);
        to.bytes(&self.command);
        to.varint(self.known);
        to.varint(self.entry);
    }

    /// Reads what [`Asked::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input.
    pub fn decode(from: &mut Reader) -> Result<Asked, DecodeError> {
        let at = Position::new(from.varint()?, from.varint()?);
        Ok(Asked { at, command: from.bytes()?, known: from.varint()?, entry: from.varint()? })
    }
}

/// What has its revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered {
    /// The shard.
    pub shard: ShardId,
    /// Its own revision if it changes anything; otherwise that of the last change before it.
    pub revision: u64,
    /// Does it change anything, in this shard or, for a transaction, in another?
    pub changes: bool,
    /// It is this shard's part of a transaction, of which this branch was taken.
    pub txn: Option<(TxnId, bool)>,
    /// The index of its entry in the shard's log; for a part of a transaction, that of the barrier.
    pub entry: u64,
    /// What it came to.
    pub response: Response,
    /// What changed, in order.
    pub news: Vec<News>,
}

/// A replica of one shard.
///
/// Architecture Invariant: nothing leaves it without a revision. {a put is committed, evaluated, and in no cut}: nobody is answered, nothing is read, no watcher told.
///
/// Architecture Invariant: nothing is placed before all shards of the node have placed what stands before it ([`ShardReplica::place_up_to`]). So at any moment the
/// stores of a node's shards are one store, as it was at one revision. {B's log is late, A has revision 60 and B may have 59}: A waits with it, and evaluates on.
#[derive(Debug)]
pub struct ShardReplica {
    shard: ShardId,
    machine: Shard,
    /// Who has which keys, as far as this shard has come.
    map: Arc<ShardMap>,
    /// The last handover in which it had a part, and whose keys have gone over here.
    handed: TxnId,
    /// What it gave to others, and may still have to be found here.
    given: BTreeMap<TxnId, (ShardId, Keyspace)>,
    /// It stands behind a handover whose keys have not gone over: nothing is evaluated.
    handing: bool,
    lane: Lane<Asked>,
    placer: Placer,
    /// Given by the lane and not placed, oldest first.
    steps: VecDeque<Step<Asked>>,
    /// So many of them are evaluated; the next one waits for a revision that is open.
    evaluated: usize,
    /// Turns, and branches of transactions, that are evaluated and have no revision.
    unnumbered: usize,
    /// What has its revision and is not placed, and from where a replica goes on that has placed it.
    numbered: VecDeque<(Placement, Place)>,
    /// What is placed.
    place: Place,
    /// What it says at the barrier at which it stands.
    weight: Option<(TxnId, Weight)>,
    /// The same of the last barrier, also behind it.
    weighed: Option<(TxnId, Weight)>,
    /// The order has placed a transaction, and what became of it is not in this log yet.
    held: Option<Placement>,
}

impl ShardReplica {
    /// A replica at the beginning of its log. One that `map` does not know has no key before it gets some.
    #[must_use]
    pub fn new(shard: ShardId, machine: Shard, map: Arc<ShardMap>) -> ShardReplica {
        ShardReplica::of(shard, machine, map, Lane::default(), VecDeque::new(), Place::default())
    }

    fn of(
        shard: ShardId,
        machine: Shard,
        map: Arc<ShardMap>,
        lane: Lane<Asked>,
        steps: VecDeque<Step<Asked>>,
        place: Place,
    ) -> ShardReplica {
        ShardReplica {
            shard,
            machine,
            map,
            handed: TxnId::default(),
            given: BTreeMap::new(),
            handing: false,
            lane,
            placer: Placer::resumed(shard, place),
            steps,
            evaluated: 0,
            unnumbered: 0,
            numbered: VecDeque::new(),
            place,
            weight: None,
            weighed: None,
            held: None,
        }
    }

    /// Which shard.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The placed state, to look at.
    #[must_use]
    pub fn machine(&self) -> &Shard {
        &self.machine
    }

    /// The barrier at which it stands.
    #[must_use]
    pub fn stands_at(&self) -> Option<TxnId> {
        self.lane.stands_at()
    }

    /// The newest transaction whose barrier is in the log as far as it was read.
    #[must_use]
    pub fn newest(&self) -> TxnId {
        self.lane.newest()
    }

    /// The transactions at whose barriers it will stand next, in order.
    pub fn next_barriers(&self) -> impl Iterator<Item = TxnId> {
        self.lane.next_barriers()
    }

    /// Entries that wait behind the barrier.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lane.waiting()
    }

    /// What this shard's part of the transaction came to, if its barrier is the last one that was taken.
    #[must_use]
    pub fn weighed(&self, txn: TxnId) -> Option<Weight> {
        self.weighed.filter(|(weighed, _)| *weighed == txn).map(|(_, weight)| weight)
    }

    /// Up to this revision everything of this shard has its number here; `order` is the revision that the order has come to.
    #[must_use]
    pub fn reached(&self, order: u64) -> u64 {
        match &self.held {
            Some(Placement::Txn { revision, changes, .. }) => revision - u64::from(*changes),
            _ => self.placer.reached().unwrap_or(order),
        }
    }

    /// The same if nothing counts that stands before this transaction, and none of its own turns up to the next one: it holds nothing there, or what others have.
    ///
    /// {it is vacant, stands before a split that gives it keys at 5, and has a put behind that at 6; the giver is restored from behind the split}: 5 is as far as it has come, and not
    /// all that the order has; the put counts as soon as it has the keys.
    #[must_use]
    pub fn reached_behind(&self, txn: TxnId, order: u64) -> u64 {
        let numbered = self.numbered.iter().map(|(placement, _)| placement);
        let next = numbered.chain(&self.held).find_map(|placement| match placement {
            Placement::Txn { txn: next, revision, changes, .. } if *next > txn => {
                Some(revision - u64::from(*changes))
            }
            Placement::Txn { .. } | Placement::Turn { .. } => None,
        });
        next.or_else(|| self.placer.reached_behind(txn)).unwrap_or(order)
    }

    /// What this shard's leader reports: facts, which another replica that has come as far would report as well.
    #[must_use]
    pub fn report(&self) -> Report {
        let verdict = self.weight.map(|(txn, weight)| Verdict {
            txn,
            holds: weight.holds,
            changes: weight.changes.map(Result::ok),
        });
        Report { shard: self.shard, upto: self.placer.evaluated_to(), verdict }
    }

    /// What is placed.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Takes the next committed entry of the shard's log.
    pub fn take(&mut self, entry: LaneEntry<Asked>) {
        let mut steps = Vec::new();
        self.lane.take(entry, &mut steps);
        self.steps.extend(steps);
    }

    /// The last handover in which it had a part, and whose keys have gone over here.
    #[must_use]
    pub fn handed(&self) -> TxnId {
        self.handed
    }

    /// Does it hold nothing, as far as it has come? What it is asked is refused then, and changes nothing.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.map.get(self.shard).is_none()
    }

    /// What it gave to others, and is kept for replicas of those that have still to get it.
    pub fn given(&self) -> impl Iterator<Item = (TxnId, ShardId, &Keyspace)> {
        self.given.iter().map(|(txn, (taker, keys))| (*txn, *taker, keys))
    }

    /// Takes what is new in the order. False: some of that was forgotten, and the replica needs a snapshot.
    #[must_use]
    pub fn follow(&mut self, order: &Orderer) -> bool {
        // What the order has forgotten of the taker, each member has in a snapshot of that one.
        self.given.retain(|txn, (taker, _)| order.part(*taker, *txn) != Part::Void);
        order.slices(self.shard).is_some_and(|slices| self.placer.follow(slices))
    }

    /// Evaluates, and gives revisions, as far as both the log and the order have come.
    pub fn advance(&mut self) {
        while self.evaluate_one() {}
        while self.number_one() {}
    }

    /// False: nothing is left, or the next one waits for a revision that is open.
    fn evaluate_one(&mut self) -> bool {
        if self.handing {
            return false;
        }
        let Some(step) = self.steps.get(self.evaluated) else { return false };
        match step {
            Step::Turn(asked) => {
                let (shard, map) = (self.shard, &self.map);
                let evaluated = self.machine.evaluate_own(asked.at, &asked.command, |own| {
                    has_all(shard, map, own) || planted!("L04")
                });
                let Some(changes) = evaluated else { return false };
                self.placer.evaluated(Turn { changes });
                self.unnumbered += 1;
            }
            Step::Ask(txn, asked) if Handover::is_one(&asked.command) => {
                self.weight = Some((*txn, Weight { holds: true, changes: [Ok(false); 2] }));
                self.weighed = self.weight;
            }
            Step::Branch(..) | Step::Void(_) if self.is_handover(self.evaluated - 1) => {
                self.weight = None;
                self.unnumbered += usize::from(matches!(step, Step::Branch(..)));
                self.handing = matches!(step, Step::Branch(..));
            }
            Step::Ask(txn, asked) => {
                let weight = self.machine.weigh(asked.at, &asked.command, asked.known);
                let Some(weight) = weight else { return false };
                self.weight = Some((*txn, weight));
                self.weighed = self.weight;
            }
            Step::Branch(_, branch) => {
                self.machine.decide(Some(*branch));
                self.weight = None;
                self.unnumbered += 1;
            }
            Step::Void(_) => {
                self.machine.decide(None);
                self.weight = None;
            }
        }
        self.evaluated += 1;
        self.drop_void();
        true
    }

    fn number_one(&mut self) -> bool {
        let Some(placement) = self.held.take().or_else(|| self.placer.place()) else { return false };
        // Its branch is logged behind the barrier, and may not have come yet.
        if matches!(placement, Placement::Txn { .. }) && self.unnumbered == 0 {
            self.held = Some(placement);
            return false;
        }
        self.unnumbered -= 1;
        self.numbered.push_back((placement, self.placer.place_now()));
        true
    }

    /// Does a handover begin with this step?
    fn is_handover(&self, step: usize) -> bool {
        matches!(self.steps.get(step), Some(Step::Ask(_, asked)) if Handover::is_one(&asked.command))
    }

    /// Places what has its revision, up to this one, and up to a handover.
    pub fn place_up_to(&mut self, revision: u64, out: &mut Vec<Numbered>) {
        while let Some((placement, place)) = self.numbered.front().copied() {
            let (at, changes, txn) = match placement {
                Placement::Turn { revision, changes, .. } => (revision, changes, None),
                Placement::Txn { txn, branch, revision, changes } => (revision, changes, Some((txn, branch))),
            };
            if at > revision || self.is_handover(0) {
                return;
            }
            self.numbered.pop_front();
            self.place = place;
            let entry = self.drop_placed();
            let placed = self.machine.place(at);
            let (response, news) = (placed.response, placed.events);
            out.push(Numbered { shard: self.shard, revision: at, changes, txn, entry, response, news });
        }
    }

    /// The first steps are placed, and need not be told to whoever is restored; the index of their entry.
    fn drop_placed(&mut self) -> u64 {
        let first = self.steps.pop_front();
        self.evaluated -= 1;
        let entry = match first {
            Some(Step::Turn(asked)) => asked.entry,
            Some(Step::Ask(_, asked)) => {
                let branch = self.steps.pop_front();
                debug_assert!(
                    matches!(branch, Some(Step::Branch(..))),
                    "a transaction that is placed was decided"
                );
                self.evaluated -= 1;
                asked.entry
            }
            other => unreachable!("what is placed begins with a turn or a barrier: {other:?}"),
        };
        self.drop_void();
        entry
    }

    /// A transaction that came to nothing leaves nothing behind, once it is the oldest that is not placed.
    fn drop_void(&mut self) {
        while self.evaluated >= 2 && matches!(self.steps.get(1), Some(Step::Void(_))) {
            self.steps.drain(..2);
            self.evaluated -= 2;
        }
    }
}

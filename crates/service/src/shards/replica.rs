//! A shard's replica on this node: its log on the one side, the order on the other.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_consensus::{Position, ShardId};
use quorate_keyspace::{News, Response, Shard, View, Weight};
use quorate_node::Ticket;
use quorate_order::{
    Lane, LaneEntry, Mark, Orderer, Placement, Placer, Report, Slices, Step, Turn, TxnId, Verdict,
};

/// What is asked of a shard by an entry of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where the entry stands.
    pub at: Position,
    /// A command of the keyspace.
    pub command: Bytes,
    /// For this shard's part of a transaction: where the store stood when it began.
    pub known: u64,
    /// Who waits for it on this node.
    pub ticket: Option<Ticket>,
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
    /// Who waits for it on this node.
    pub ticket: Option<Ticket>,
    /// What it came to.
    pub response: Response,
    /// What changed, in order.
    pub news: Vec<News>,
}

/// A replica of one shard.
///
/// Architecture Invariant: nothing leaves it without a revision. {a put is committed, evaluated, and in no cut}: nobody is answered, nothing is read, no watcher told.
#[derive(Debug)]
pub struct ShardReplica {
    shard: ShardId,
    machine: Shard,
    lane: Lane<Asked>,
    placer: Placer,
    /// Given by the lane and not evaluated: the first one waits for a revision that is open.
    steps: VecDeque<Step<Asked>>,
    /// Who waits for what is evaluated and has no revision, oldest first.
    waiting: VecDeque<Option<Ticket>>,
    /// What it says at the barrier at which it stands.
    weight: Option<(TxnId, Weight)>,
    /// The order has placed a transaction, and what became of it is not in this log yet.
    held: Option<Placement>,
    /// Who waits for the transaction at whose barrier it stands.
    asks: Option<Ticket>,
}

impl ShardReplica {
    /// A replica whose state is that of the end of what `slices` have forgotten: the beginning, or a snapshot's.
    #[must_use]
    pub fn new(shard: ShardId, machine: Shard, slices: Slices) -> ShardReplica {
        ShardReplica {
            shard,
            machine,
            lane: Lane::default(),
            placer: Placer::new(shard, slices),
            steps: VecDeque::new(),
            waiting: VecDeque::new(),
            weight: None,
            held: None,
            asks: None,
        }
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

    /// What this shard's part of the transaction comes to, at whose barrier it stands.
    #[must_use]
    pub fn weight(&self) -> Option<(TxnId, Weight)> {
        self.weight
    }

    /// A picture as of `revision`, up to which all shards have their numbers here.
    #[must_use]
    pub fn view(&self, revision: u64) -> View {
        self.machine.view(revision)
    }

    /// Up to this revision everything of this shard has its number here; `order` is the revision that the order has come to.
    #[must_use]
    pub fn reached(&self, order: u64) -> u64 {
        match &self.held {
            Some(Placement::Txn { revision, changes, .. }) => revision - u64::from(*changes),
            _ => self.placer.reached().unwrap_or(order),
        }
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

    /// How far it is placed.
    #[must_use]
    pub fn placed(&self) -> Mark {
        self.placer.placed()
    }

    /// Takes the next committed entry of the shard's log.
    pub fn take(&mut self, entry: LaneEntry<Asked>, out: &mut Vec<Numbered>) {
        let mut steps = Vec::new();
        self.lane.take(entry, &mut steps);
        self.steps.extend(steps);
        self.go_on(out);
    }

    /// Takes what is new in the order. False: some of that was forgotten, and the replica needs a snapshot.
    #[must_use]
    pub fn follow(&mut self, order: &Orderer, out: &mut Vec<Numbered>) -> bool {
        let there = order.slices(self.shard).is_some_and(|slices| self.placer.follow(slices));
        self.go_on(out);
        there
    }

    /// Evaluates and places, as far as both the log and the order have come. Either may let the other go on.
    fn go_on(&mut self, out: &mut Vec<Numbered>) {
        while self.evaluate_one() || self.place_one(out) {}
    }

    /// False: nothing is left, or the next one waits for a revision that is open.
    fn evaluate_one(&mut self) -> bool {
        let Some(step) = self.steps.front() else { return false };
        match step {
            Step::Turn(asked) => {
                let Some(changes) = self.machine.evaluate(asked.at, &asked.command) else { return false };
                self.placer.evaluated(Turn { changes });
                self.waiting.push_back(asked.ticket);
            }
            Step::Ask(txn, asked) => {
                let weight = self.machine.weigh(asked.at, &asked.command, asked.known);
                let Some(weight) = weight else { return false };
                (self.weight, self.asks) = (Some((*txn, weight)), asked.ticket);
            }
            Step::Branch(_, branch) => {
                self.machine.decide(Some(*branch));
                self.weight = None;
                self.waiting.push_back(self.asks.take());
            }
            Step::Void(_) => {
                self.machine.decide(None);
                (self.weight, self.asks) = (None, None);
            }
        }
        self.steps.pop_front();
        true
    }

    fn place_one(&mut self, out: &mut Vec<Numbered>) -> bool {
        let Some(placement) = self.held.take().or_else(|| self.placer.place()) else { return false };
        let (revision, changes, txn) = match placement {
            Placement::Turn { revision, changes, .. } => (revision, changes, None),
            // Its branch is logged behind the barrier, and may not have come yet.
            Placement::Txn { .. } if self.waiting.is_empty() => {
                self.held = Some(placement);
                return false;
            }
            Placement::Txn { txn, branch, revision, changes } => (revision, changes, Some((txn, branch))),
        };
        let placed = self.machine.place(revision);
        let ticket = self.waiting.pop_front().expect("what is placed was evaluated");
        let (response, news) = (placed.response, placed.events);
        out.push(Numbered { shard: self.shard, revision, changes, txn, ticket, response, news });
        true
    }
}

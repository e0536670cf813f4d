//! Clients of this node that wait for transactions over shards.

use std::collections::{BTreeMap, VecDeque};

use quorate_consensus::ShardId;
use quorate_keyspace::{KeyspaceError, Reply, Response, Weight};
use quorate_node::Ticket;
use quorate_order::{Part, TxnId};

use super::{Division, NodeShards, Numbered, Order, ShardsOut, Undone};

/// A transaction that is void, and of which no shard here says why, is answered after so many.
const SILENT_TICKS: u64 = 3;

/// A client of this node that waits for a transaction over shards.
#[derive(Debug)]
pub(super) struct Waiting {
    /// More than one, if a command came again that was not to be done twice.
    tickets: Vec<Ticket>,
    division: Division,
    results: BTreeMap<ShardId, Result<Reply, KeyspaceError>>,
    standing: Standing,
    /// It may be asked again, by whoever was not told.
    once: bool,
}

/// What is known of a transaction that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is to be decided.
    Open,
    /// It is done, and will be placed here. Looked at no more: a node that starts again waits for thousands of them.
    Done,
    /// It is void, as is known since this tick.
    Void(u64),
}

/// Answers to commands that are to be done once only, at most; older ones are forgotten, and whoever asks again is told that its session has expired.
const ANSWERS_MAX: usize = 4_096;

/// What commands came to that are to be done once only, as every node has seen it since it started.
#[derive(Debug, Default)]
pub(super) struct Answers(VecDeque<(TxnId, Result<Response, Undone>)>);

impl Answers {
    fn keep(&mut self, txn: TxnId, answer: Result<Response, Undone>) {
        self.0.push_back((txn, answer));
        if self.0.len() > ANSWERS_MAX {
            self.0.pop_front();
        }
    }
}

impl Waiting {
    fn of(division: Division, once: bool) -> Waiting {
        Waiting { tickets: Vec::new(), division, results: BTreeMap::new(), standing: Standing::Open, once }
    }

    fn tell(&self, answer: &Result<Response, Undone>, out: &mut ShardsOut) {
        out.replies.extend(self.tickets.iter().map(|ticket| (*ticket, answer.clone())));
    }
}

impl NodeShards {
    /// A handover that a client of this node waits for has begun.
    pub fn handover_begun(&mut self, ticket: Ticket, txn: TxnId) {
        self.handing.entry(txn).or_default().push(ticket);
    }

    /// Handovers that have been carried out here, or that nobody remembers any more, which is later.
    pub(super) fn answer_handovers(&mut self, order: &Order, out: &mut ShardsOut) {
        let (revision, shown) = (self.sequence.revision(), self.shown);
        self.handing.retain(|txn, tickets| {
            let waits = *txn > shown && order.is_handover(*txn);
            if !waits {
                let done = Response { revision, result: Ok(Reply::Compact) };
                out.replies.extend(tickets.drain(..).map(|ticket| (ticket, Ok(done.clone()))));
            }
            waits
        });
    }

    /// A transaction that a client of this node waits for has begun.
    pub fn begun(&mut self, ticket: Ticket, txn: TxnId, division: Division) {
        let waiting = Waiting::of(division, false);
        self.waiting.entry(txn).or_insert(waiting).tickets.push(ticket);
    }

    /// A transaction has begun that is to be done once only: what it comes to is kept for whoever asks again.
    pub fn expect(&mut self, txn: TxnId, division: Division) {
        self.waiting.insert(txn, Waiting::of(division, true));
    }

    /// What a command came to that was to be done once only, if it is kept.
    #[must_use]
    pub fn answer_of(&self, txn: TxnId) -> Option<Result<Response, Undone>> {
        self.answers.0.iter().find(|(answered, _)| *answered == txn).map(|(_, answer)| answer.clone())
    }

    /// Has the client told as well, if the transaction is still waited for here.
    pub fn waits_for(&mut self, ticket: Ticket, txn: TxnId) -> bool {
        let waiting = self.waiting.get_mut(&txn);
        waiting.map(|waiting| waiting.tickets.push(ticket)).is_some()
    }

    fn told(&mut self, txn: TxnId, waiting: &Waiting, answer: Result<Response, Undone>, out: &mut ShardsOut) {
        waiting.tell(&answer, out);
        if waiting.once {
            self.answers.keep(txn, answer);
        }
    }

    /// Transactions that came to nothing: whoever waits is told why, if a shard here knows.
    pub(super) fn answer_void(&mut self, order: &Order, out: &mut ShardsOut) {
        let (ticks, revision) = (self.ticks, self.sequence.revision());
        let mut done = Vec::new();
        for (txn, waiting) in &mut self.waiting {
            if waiting.standing == Standing::Open && !order.orderer().waits_for(*txn) {
                let void = |shard| order.orderer().part(shard, *txn) == Part::Void;
                let is_void = waiting.division.shards().all(void) && waiting.results.is_empty();
                waiting.standing = if is_void { Standing::Void(ticks) } else { Standing::Done };
            }
            let Standing::Void(since) = waiting.standing else { continue };
            let of = |shard| {
                let group = self.groups.get(self.of_shard.get(&shard)?)?;
                group.replica.machine().replica().weighed(*txn)
            };
            let weights: Option<Vec<Weight>> = waiting.division.shards().map(of).collect();
            if let Some(error) = weights.and_then(|weights| refusal(&weights)) {
                done.push((*txn, Ok(Response { revision, result: Err(error) })));
            } else if ticks >= since + SILENT_TICKS {
                done.push((*txn, Err(Undone::Silent)));
            }
        }
        for (txn, answer) in done {
            let waiting = self.waiting.remove(&txn).expect("just seen");
            self.told(txn, &waiting, answer, out);
        }
    }

    /// A snapshot took a shard's place here: what became of transactions that it may hold will not be seen, and once the order has forgotten them they would look void.
    pub(super) fn lose_sight(&mut self, shard: ShardId, out: &mut ShardsOut) {
        let touches = |waiting: &Waiting| waiting.division.shards().any(|touched| touched == shard);
        let lost = self.waiting.iter().filter(|(_, waiting)| touches(waiting)).map(|(txn, _)| *txn);
        for txn in lost.collect::<Vec<_>>() {
            if let Some(waiting) = self.waiting.remove(&txn) {
                waiting.tell(&Err(Undone::Unknown), out);
            }
        }
    }

    pub(super) fn answer(&mut self, numbered: Numbered, out: &mut ShardsOut) {
        let Numbered { shard, revision, changes, txn, entry, response, .. } = numbered;
        let Some((txn, branch)) = txn else {
            if let Some(ticket) = self.group_of_mut(shard).and_then(|group| group.tickets.remove(&entry)) {
                out.replies.push((ticket, Ok(response)));
            }
            return;
        };
        let Some(waiting) = self.waiting.get_mut(&txn) else { return };
        waiting.results.insert(shard, response.result);
        if waiting.results.len() < waiting.division.len() {
            return;
        }
        let waiting = self.waiting.remove(&txn).expect("just seen");
        let result = waiting.division.assemble(branch, (revision, changes), &waiting.results);
        let answer = result.map(|result| Response { revision, result }).ok_or(Undone::Unknown);
        self.told(txn, &waiting, answer, out);
    }
}

/// Why a transaction came to nothing of which all shards have said this: one of them refuses the branch that would have been taken. None: it took too long.
///
/// What a put gets wrong is said before what a range does, in whichever shards they are, as one store says it.
fn refusal(weights: &[Weight]) -> Option<KeyspaceError> {
    let branch = weights.iter().all(|weight| weight.holds);
    let errors = weights.iter().filter_map(|weight| weight.changes[usize::from(!branch)].err());
    errors.min_by_key(|error| {
        matches!(error, KeyspaceError::Compacted { .. } | KeyspaceError::FutureRevision { .. })
    })
}

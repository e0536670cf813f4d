//! Clients of this node that wait for transactions over shards.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::ShardId;
use quorate_keyspace::{Command, KeyspaceError, Reply, Response, Weight};
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
    /// Since which tick it is known to be void.
    void_since: Option<u64>,
}

impl Waiting {
    fn tell(&self, answer: &Result<Response, Undone>, out: &mut ShardsOut) {
        out.replies.extend(self.tickets.iter().map(|ticket| (*ticket, answer.clone())));
    }
}

impl NodeShards {
    /// A transaction that a client of this node waits for has begun.
    pub fn begun(&mut self, ticket: Ticket, txn: TxnId, command: &Bytes) {
        let Ok(command) = Command::decode(command) else { return };
        let Ok(division) = Division::of(&command, &self.owners.map) else { return };
        let waiting = Waiting { tickets: Vec::new(), division, results: BTreeMap::new(), void_since: None };
        self.waiting.entry(txn).or_insert(waiting).tickets.push(ticket);
    }

    /// Transactions that came to nothing: whoever waits is told why, if a shard here knows.
    pub(super) fn answer_void(&mut self, order: &Order, out: &mut ShardsOut) {
        let (ticks, revision) = (self.ticks, self.sequence.revision());
        let mut done = Vec::new();
        for (txn, waiting) in &mut self.waiting {
            let void = |shard| order.orderer().part(shard, *txn) == Part::Void;
            if !waiting.division.shards().all(void) || !waiting.results.is_empty() {
                continue;
            }
            let since = *waiting.void_since.get_or_insert(ticks);
            let of = |shard| {
                let group = self.groups.get(&self.owners.map.get(shard)?.group)?;
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
            waiting.tell(&answer, out);
        }
    }

    pub(super) fn answer(&mut self, numbered: Numbered, out: &mut ShardsOut) {
        let Numbered { shard, revision, changes, txn, entry, response, .. } = numbered;
        let Some((txn, branch)) = txn else {
            if let Some(ticket) = self.group_of(shard).and_then(|group| group.tickets.remove(&entry)) {
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
        waiting.tell(&answer, out);
    }
}

/// Why a transaction came to nothing of which all shards have said this: one of them refuses the branch that would have been taken. None: it took too long.
fn refusal(weights: &[Weight]) -> Option<KeyspaceError> {
    let branch = weights.iter().all(|weight| weight.holds);
    weights.iter().find_map(|weight| weight.changes[usize::from(!branch)].err())
}

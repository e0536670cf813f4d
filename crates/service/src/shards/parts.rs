//! A transaction over several shards: the part of each, and one answer of theirs.
//!
//! Every compare and every operation goes to whoever has its keys; a range of keys that lie in several shards goes to each of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use quorate_consensus::ShardId;
use quorate_keyspace::{
    DeleteRangeReply, Operation, OperationReply, Range, RangeReply, Reply, Txn, TxnReply,
};
use quorate_placement::shards::ShardMap;

/// The parts of a transaction, and how their answers come together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    parts: BTreeMap<ShardId, Txn>,
    /// For either branch, the one that is taken if all compares hold first: who does each of its operations, and as which one of its own.
    places: [Vec<Vec<(ShardId, usize)>>; 2],
}

/// Why a transaction cannot be done over several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undivided {
    /// A compare of a range whose keys lie in several shards: whether there is any key at all, none of them knows alone.
    RangeCompare,
    /// A nested transaction whose own keys lie in several shards.
    Nested,
}

impl fmt::Display for Undivided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undivided::RangeCompare => write!(
                f,
                "a compare of the transaction is of a range whose keys lie in several shards; compare single keys, or a range within one shard"
            ),
            Undivided::Nested => write!(
                f,
                "a nested transaction has keys in several shards; lay it out flat, or keep its keys in one shard"
            ),
        }
    }
}

impl std::error::Error for Undivided {}

/// Whose keys lie in the range? By etcd's conventions for its end.
pub(super) fn owners(map: &ShardMap, key: &[u8], end: &[u8]) -> Vec<ShardId> {
    match end {
        b"" => vec![map.locate(key).shard],
        b"\0" => map.locate_range(key, None).map(|entry| entry.shard).collect(),
        end => map.locate_range(key, Some(end)).map(|entry| entry.shard).collect(),
    }
}

/// Everyone whose keys a transaction names.
pub(super) fn touched(map: &ShardMap, txn: &Txn) -> BTreeSet<ShardId> {
    let compares = txn.compare.iter().flat_map(|compare| owners(map, &compare.key, &compare.range_end));
    let operations =
        txn.success.iter().chain(&txn.failure).flat_map(|operation| of_operation(map, operation));
    compares.chain(operations).collect()
}

fn of_operation(map: &ShardMap, operation: &Operation) -> Vec<ShardId> {
    match operation {
        Operation::Empty => Vec::new(),
        Operation::Put(put) => owners(map, &put.key, b""),
        Operation::Range(range) => owners(map, &range.key, &range.range_end),
        Operation::DeleteRange(delete) => owners(map, &delete.key, &delete.range_end),
        Operation::Txn(nested) => touched(map, nested).into_iter().collect(),
    }
}

impl Parts {
    /// Takes a transaction apart, as the map says. One that names no key has no part.
    ///
    /// # Errors
    /// [`Undivided`].
    pub fn of(txn: &Txn, map: &ShardMap) -> Result<Parts, Undivided> {
        let mut parts = Parts { parts: BTreeMap::new(), places: [Vec::new(), Vec::new()] };
        for compare in &txn.compare {
            let [owner] = owners(map, &compare.key, &compare.range_end)[..] else {
                return Err(Undivided::RangeCompare);
            };
            parts.part(owner).compare.push(compare.clone());
        }
        for (number, operations) in [&txn.success, &txn.failure].into_iter().enumerate() {
            for operation in operations {
                let owners = of_operation(map, operation);
                if matches!(operation, Operation::Txn(_)) && owners.len() > 1 {
                    return Err(Undivided::Nested);
                }
                let asked = match operation {
                    Operation::Range(range) if owners.len() > 1 => Operation::Range(range.part()),
                    other => other.clone(),
                };
                let places = owners.into_iter().map(|owner| {
                    let part = parts.parts.entry(owner).or_default();
                    let branch = if number == 0 { &mut part.success } else { &mut part.failure };
                    branch.push(asked.clone());
                    (owner, branch.len() - 1)
                });
                let places = places.collect();
                parts.places[number].push(places);
            }
        }
        Ok(parts)
    }

    fn part(&mut self, owner: ShardId) -> &mut Txn {
        self.parts.entry(owner).or_default()
    }

    /// The part of each shard.
    pub fn iter(&self) -> impl Iterator<Item = (ShardId, &Txn)> {
        self.parts.iter().map(|(shard, txn)| (*shard, txn))
    }

    /// How many shards it touches. With one, it is a turn of that shard and no transaction over several.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// It names no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// One answer, of what the shards' parts came to. `revision` is the transaction's own if it `changes` anything.
    ///
    /// None: the answers are not those of these parts.
    #[must_use]
    pub fn assemble(
        &self,
        txn: &Txn,
        branch: bool,
        (revision, changes): (u64, bool),
        replies: &BTreeMap<ShardId, TxnReply>,
    ) -> Option<TxnReply> {
        let operations = if branch { &txn.success } else { &txn.failure };
        let places = &self.places[usize::from(!branch)];
        // What a header says before the first change, and from then on.
        let mut current = revision - u64::from(changes);
        let mut responses = Vec::with_capacity(operations.len());
        for (operation, places) in operations.iter().zip(places) {
            let of =
                |(shard, place): &(ShardId, usize)| Some(&replies.get(shard)?.responses.get(*place)?.reply);
            let replies: Vec<&Reply> = places.iter().map(of).collect::<Option<_>>()?;
            let mut reply = merge(operation, &replies)?;
            if let Reply::Txn(nested) = &mut reply {
                renumber(nested, &mut current, revision);
            }
            if changed(&reply) {
                current = revision;
            }
            let header = if matches!(operation, Operation::Txn(_)) { 0 } else { current };
            responses.push(OperationReply { revision: header, reply });
        }
        Some(TxnReply { succeeded: branch, responses })
    }
}

/// What was said within a nested transaction of revisions was said by its shard alone, which may not have been the first to change something.
fn renumber(nested: &mut TxnReply, current: &mut u64, revision: u64) {
    for response in &mut nested.responses {
        if let Reply::Txn(inner) = &mut response.reply {
            renumber(inner, current, revision);
        } else {
            if changed(&response.reply) {
                *current = revision;
            }
            response.revision = *current;
        }
    }
}

fn changed(reply: &Reply) -> bool {
    match reply {
        Reply::Put(_) => true,
        Reply::DeleteRange(reply) => reply.deleted > 0,
        Reply::Txn(reply) => reply.responses.iter().any(|response| changed(&response.reply)),
        _ => false,
    }
}

/// One reply of those to the parts of one operation.
fn merge(operation: &Operation, replies: &[&Reply]) -> Option<Reply> {
    if let [only] = replies {
        return Some((*only).clone());
    }
    match operation {
        Operation::Range(range) => merge_ranges(range, replies),
        Operation::DeleteRange(_) => merge_deletions(replies),
        Operation::Txn(nested) if replies.is_empty() => Some(Reply::Txn(of_no_key(nested))),
        Operation::Empty | Operation::Put(_) | Operation::Txn(_) => None,
    }
}

/// What a nested transaction comes to that names no key, so that nobody was asked: it has no compare that could fail, and nothing in it but others like it.
fn of_no_key(txn: &Txn) -> TxnReply {
    let nested = txn.success.iter().filter_map(|operation| match operation {
        Operation::Txn(nested) => Some(OperationReply { revision: 0, reply: Reply::Txn(of_no_key(nested)) }),
        _ => None,
    });
    TxnReply { succeeded: true, responses: nested.collect() }
}

fn merge_ranges(range: &Range, replies: &[&Reply]) -> Option<Reply> {
    let replies = replies.iter().map(|reply| match reply {
        Reply::Range(reply) => Some(reply.clone()),
        _ => None,
    });
    Some(Reply::Range(range.merge(replies.collect::<Option<Vec<RangeReply>>>()?)))
}

fn merge_deletions(replies: &[&Reply]) -> Option<Reply> {
    let mut merged = DeleteRangeReply::default();
    for reply in replies {
        let Reply::DeleteRange(reply) = reply else { return None };
        merged.deleted += reply.deleted;
        merged.prev_kvs.extend(reply.prev_kvs.iter().cloned());
    }
    merged.prev_kvs.sort_by(|one, other| one.key.cmp(&other.key));
    Some(Reply::DeleteRange(merged))
}

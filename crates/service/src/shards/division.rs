//! A command over several shards: whom it touches, the part of each, and one answer of theirs.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::ShardId;
use quorate_keyspace::{As, Command, KeyspaceError, Operation, Reply, Txn};
use quorate_placement::shards::ShardMap;

use super::{
    Parts, Undivided,
    parts::{owners, touched},
};

/// How a command is divided among shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Division {
    parts: BTreeMap<ShardId, Command>,
    whole: Whole,
}

/// How the answers of the parts become one.
#[derive(Clone, Debug, PartialEq)]
enum Whole {
    /// One shard does it all, or each does the same: the first one's answer is that of all.
    Any,
    Txn(Txn, Parts),
    /// A put or a deletion, as a transaction of one operation.
    Operation(Txn, Parts),
}

impl Division {
    /// Divides a command. What concerns no key (leases, users, alarms, compaction) concerns every shard: each has all of it.
    ///
    /// # Errors
    /// [`Undivided`].
    pub fn of(command: &Command, map: &ShardMap) -> Result<Division, Undivided> {
        match command {
            Command::As(named) => {
                let mut division = Division::of(&named.command, map)?;
                for part in division.parts.values_mut() {
                    let command = Box::new(std::mem::replace(part, Command::Sweep));
                    *part = Command::As(As {
                        caller: named.caller.clone(),
                        auth_revision: named.auth_revision,
                        command,
                    });
                }
                Ok(division)
            }
            Command::Txn(txn) => Division::of_txn(command, txn.clone(), map, Whole::Txn),
            Command::Put(put) => {
                Division::of_txn(command, only(Operation::Put(put.clone())), map, Whole::Operation)
            }
            Command::DeleteRange(delete) => {
                Division::of_txn(command, only(Operation::DeleteRange(delete.clone())), map, Whole::Operation)
            }
            Command::Range(range) => {
                Division::of_txn(command, only(Operation::Range(range.clone())), map, Whole::Operation)
            }
            _ => {
                let parts = map.shards().iter().map(|entry| (entry.shard, command.clone())).collect();
                Ok(Division { parts, whole: Whole::Any })
            }
        }
    }

    fn of_txn(
        command: &Command,
        txn: Txn,
        map: &ShardMap,
        whole: fn(Txn, Parts) -> Whole,
    ) -> Result<Division, Undivided> {
        let parts = Parts::of(&txn, map)?;
        if parts.len() > 1 {
            let each = parts.iter().map(|(shard, txn)| (shard, Command::Txn(txn.clone()))).collect();
            return Ok(Division { parts: each, whole: whole(txn, parts) });
        }
        // One that names no key is anybody's.
        let owner = parts.iter().next().map_or(map.shards()[0].shard, |(shard, _)| shard);
        Ok(Division { parts: BTreeMap::from([(owner, command.clone())]), whole: Whole::Any })
    }

    /// Whom it touches.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.parts.keys().copied()
    }

    /// How many it touches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// It touches none: that cannot be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// A shard's part: a command of the keyspace.
    #[must_use]
    pub fn part(&self, shard: ShardId) -> Option<Bytes> {
        self.parts.get(&shard).map(Command::encode)
    }

    /// One answer, of what the parts came to. `revision` is the transaction's own if it `changes` anything. None: a part's answer is missing, or is none to it.
    #[must_use]
    pub fn assemble(
        &self,
        branch: bool,
        (revision, changes): (u64, bool),
        results: &BTreeMap<ShardId, Result<Reply, KeyspaceError>>,
    ) -> Option<Result<Reply, KeyspaceError>> {
        let (txn, parts, is_txn) = match &self.whole {
            Whole::Any => {
                let mut result = results.values().next().cloned()?;
                // A shard carries a branch out without its compares, as one that is taken.
                if let Ok(Reply::Txn(reply)) = &mut result {
                    reply.succeeded = branch;
                }
                return Some(result);
            }
            Whole::Txn(txn, parts) => (txn, parts, true),
            Whole::Operation(txn, parts) => (txn, parts, false),
        };
        let mut replies = BTreeMap::new();
        for (shard, result) in results {
            match result {
                Ok(Reply::Txn(reply)) => _ = replies.insert(*shard, reply.clone()),
                Ok(_) => return None,
                Err(error) => return Some(Err(*error)),
            }
        }
        let mut reply = parts.assemble(txn, branch, (revision, changes), &replies)?;
        if is_txn { Some(Ok(Reply::Txn(reply))) } else { reply.responses.pop().map(|only| Ok(only.reply)) }
    }
}

fn only(operation: Operation) -> Txn {
    Txn { compare: Vec::new(), success: vec![operation], failure: Vec::new() }
}

/// The shard that does the command alone, if there is one, and if it need not go by the order log.
///
/// {a transaction asks for a range at revision 58; its shard has heard of 57}: it would be refused there. So whoever asks for a revision goes by the order log, which
/// knows how far the store had come.
#[must_use]
pub fn sole_owner(command: &Command, map: &ShardMap) -> Option<ShardId> {
    let inner = match command {
        Command::As(named) => &*named.command,
        command => command,
    };
    let txn = match inner {
        Command::Put(put) => return Some(map.locate(&put.key).shard),
        Command::DeleteRange(delete) => only(Operation::DeleteRange(delete.clone())),
        Command::Txn(txn) if !asks_for_the_past(txn) => txn.clone(),
        _ => return None,
    };
    let parts = Parts::of(&txn, map).ok()?;
    if parts.len() == 1 { parts.iter().next().map(|(shard, _)| shard) } else { None }
}

/// Has this shard, by this map, all of the keys that a command names? One that holds nothing does nothing, not even what names no key: {it is vacant, and a compaction comes into
/// its log}: it would be there that far, and be behind the others' when it has keys again.
pub(super) fn has_all(shard: ShardId, map: &ShardMap, command: &Command) -> bool {
    map.get(shard).is_some() && names_none_but_of(shard, map, command)
}

fn names_none_but_of(shard: ShardId, map: &ShardMap, command: &Command) -> bool {
    let is_own = |holders: Vec<ShardId>| holders.into_iter().all(|holder| holder == shard);
    match command {
        Command::As(named) => names_none_but_of(shard, map, &named.command),
        Command::Put(put) => map.locate(&put.key).shard == shard,
        Command::DeleteRange(delete) => is_own(owners(map, &delete.key, &delete.range_end)),
        Command::Range(range) => is_own(owners(map, &range.key, &range.range_end)),
        Command::Txn(txn) => touched(map, txn).into_iter().all(|holder| holder == shard),
        _ => true,
    }
}

fn asks_for_the_past(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|operation| match operation {
        Operation::Range(range) => range.revision > 0,
        Operation::Txn(nested) => asks_for_the_past(nested),
        Operation::Empty | Operation::Put(_) | Operation::DeleteRange(_) => false,
    })
}

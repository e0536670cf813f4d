//! A shard that is split: its keys from a token on go to a new one, while everything goes on.
//!
//! ```text
//!   log of KEYS:  … t7 │ t8: split s2 │ t9 …            t9 is divided by the map that t8 brings
//!   log of s2:    … b7 …  b8 · branch │ put k: refused if k has gone to s5
//!   log of s5:            b8 · branch │ put k
//!   a node:       both have come to t8 ─► s2 gives its keys, s5 has them; from here on keys are read where the map of t8 says
//! ```
//!
//! A split is a transaction over two shards, the one that is split and the new one. Its entry brings the new map, by which every transaction behind it is divided; the
//! barriers that it has in both logs part what each does with the old map from what it does with the new one. So whoever proposes a command to the wrong one of
//! the two, for it knows an older map or a newer one, is refused, on every replica, and proposes it once more.
//!
//! Nothing is sent. A node has a replica of both, and both stand at the same place of the order when the keys go over: the state that the new shard begins with is on
//! every node already, and the same on each.
//!
//! Architecture Invariant: keys are in one shard of a node at every revision that is shown. The keys go over in both replicas at once; behind the barrier neither
//! evaluates anything before that.
//!
//! Architecture Invariant: what has gone over is kept where it was, and is in the snapshots of it, until the order has forgotten the split for the new shard. {a
//! newcomer is sent a snapshot of s2 from behind t8, and the log of s5 from its beginning}: it finds in that snapshot what s5 begins with.
//!
//! Architecture Invariant: a split is never void. {s2 has no leader for a while}: transactions behind it, which are divided by its map, would be wrong. Such a
//! transaction waits, or is void itself; a shard without a quorum holds up nobody but its child.

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{DecodeError, GroupId, Membership, Reader, ShardId, Writer};
use quorate_order::TxnId;
use quorate_placement::shards::{
    Command as MapCommand, Entry, Rule, ShardError, ShardMap, Shards, Span, Token,
};

use super::{ShardReplica, order::ORDER};

pub(super) const SPLIT: u8 = 3;

/// The entry of the order's log that splits a shard at a token, or in the middle of its hashes: the shard that comes of it has these members. And the map that it leads to,
/// if nothing changes meanwhile.
///
/// # Errors
/// The map, or its rule, has something against it.
pub fn split_at(
    map: &ShardMap,
    shard: ShardId,
    at: Option<Token>,
    members: &Membership,
) -> Result<(Bytes, Split), ShardError> {
    let entry = map.get(shard).ok_or(ShardError::NoShard(shard))?;
    let at = match at {
        Some(at) => at,
        None if map.rule() == Rule::Hash => middle(&entry.span()),
        None => return Err(ShardError::NotCut),
    };
    let (child, group) = (map.next_shard(), GroupId(map.last_group().0 + 1));
    let range_version = entry.range_version;
    let mut changes = vec![MapCommand::BeginSplit { shard, range_version, at, child, group }];
    let mut shards = Shards::decode(&map.encode()).expect("a map reads back");
    let mut split = carry_out(&changes, &mut shards)?;
    if entry.members != *members {
        // The new one gets the members that there are; who the first ones of the old one were is part of how that began.
        let config_version = split.child_entry().config_version;
        changes.push(MapCommand::Move { shard: child, config_version, members: members.clone() });
        changes.push(MapCommand::Moved { shard: child, config_version, members: members.clone() });
        shards = Shards::decode(&map.encode()).expect("a map reads back");
        split = carry_out(&changes, &mut shards)?;
    }
    Ok((split_entry(&changes), split))
}

/// The token in the middle of a span of hashes.
fn middle(span: &Span) -> Token {
    let hash = |token: &Token| token.as_bytes().try_into().map_or(0, u64::from_be_bytes);
    let (from, to) = (hash(&span.from), span.to.as_ref().map_or(u64::MAX, hash));
    Token::new((from + (to - from) / 2).to_be_bytes().to_vec())
}

/// The entry of the order's log that splits a shard: changes of the map, of which the first is a [`MapCommand::BeginSplit`], and what follows concerns the new shard
/// behind it.
#[must_use]
pub fn split_entry(changes: &[MapCommand]) -> Bytes {
    let mut to = Writer::new();
    to.u8(ORDER);
    to.u8(SPLIT);
    to.varint(changes.len() as u64);
    changes.iter().for_each(|change| to.bytes(&change.encode()));
    to.finish()
}

/// A split: which shard, which new one, and who holds what from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Loses keys.
    pub shard: ShardId,
    /// Gets them; it was not there before.
    pub child: ShardId,
    /// The map behind it.
    pub map: Arc<ShardMap>,
}

impl Split {
    /// What the entry comes to on top of a map. None: the map is not as whoever proposed it took it to be.
    pub(super) fn of_entry(entry: &Bytes, map: &ShardMap) -> Option<Split> {
        let mut from = Reader::new(entry.slice(2..));
        let mut changes = Vec::new();
        for _ in 0..from.count(1).ok()? {
            changes.push(MapCommand::decode(&from.bytes().ok()?).ok()?);
        }
        from.finish().ok()?;
        carry_out(&changes, &mut Shards::decode(&map.encode()).ok()?).ok()
    }

    /// The new shard, in the map behind it.
    #[must_use]
    pub fn child_entry(&self) -> &Entry {
        self.map.get(self.child).expect("the map behind a split has the new shard")
    }

    /// Is this one of its two shards?
    #[must_use]
    pub fn touches(&self, shard: ShardId) -> bool {
        shard == self.shard || shard == self.child
    }

    /// Is this its part of a shard, rather than a command of the keyspace? What begins like one and makes no sense is none, and is refused as a command.
    pub(super) fn is_one(part: &Bytes) -> bool {
        part.first() == Some(&ORDER) && Split::of_part(part).is_ok()
    }

    /// The part of either shard: what a barrier in its log says.
    pub(super) fn part(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(ORDER);
        to.u8(SPLIT);
        self.encode(&mut to);
        to.finish()
    }

    /// Reads what [`Split::part`] wrote.
    pub(super) fn of_part(part: &Bytes) -> Result<Split, DecodeError> {
        let mut from = Reader::new(part.clone());
        if (from.u8()?, from.u8()?) != (ORDER, SPLIT) {
            return Err(DecodeError::Invalid { what: "part of a split" });
        }
        let split = Split::decode(&mut from)?;
        from.finish()?;
        Ok(split)
    }

    pub(super) fn encode(&self, to: &mut Writer) {
        to.varint(u64::from(self.shard.0));
        to.varint(u64::from(self.child.0));
        to.bytes(&self.map.encode());
    }

    pub(super) fn decode(from: &mut Reader) -> Result<Split, DecodeError> {
        let mut shard =
            || u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid { what: "shard" }).map(ShardId);
        let (shard, child) = (shard()?, shard()?);
        Ok(Split { shard, child, map: Arc::new(ShardMap::decode(&from.bytes()?)?) })
    }
}

/// The changes of the map that an entry brings.
fn carry_out(changes: &[MapCommand], shards: &mut Shards) -> Result<Split, ShardError> {
    let Some(MapCommand::BeginSplit { shard, child, .. }) = changes.first() else {
        return Err(ShardError::NotCut);
    };
    let (shard, child) = (*shard, *child);
    let end = MapCommand::EndSplit { shard, child };
    let rest = changes[1..].iter().filter(|change| match change {
        MapCommand::Move { shard, .. } | MapCommand::Moved { shard, .. } => *shard == child,
        _ => false,
    });
    for change in changes.iter().take(1).chain([&end]).chain(rest) {
        let effect = shards.evaluate(change)?;
        shards.apply(effect);
    }
    Ok(Split { shard, child, map: Arc::new(shards.map().clone()) })
}

/// A split that the order knows, and how far the two replicas of a node have come with it.
///
/// Either may have been restored from a snapshot of behind it, alone.
pub(super) fn hand_over(txn: TxnId, shard: &mut ShardReplica, child: &mut ShardReplica) {
    let moved = shard.give(txn);
    child.begin(txn, moved);
}

#[cfg(test)]
mod tests {
    use quorate_consensus::{EngineKind, NodeId};

    use super::*;

    fn members(ids: [u64; 3]) -> Membership {
        Membership::new(ids.map(NodeId), [])
    }

    /// By hash, one shard with everything.
    fn map() -> ShardMap {
        let mut shards = Shards::new(GroupId(16), members([1, 2, 3]), EngineKind::Raft).unwrap();
        let effect = shards.evaluate(&MapCommand::SetRule { rule: Rule::Hash, range_version: 1 }).unwrap();
        shards.apply(effect);
        shards.map().clone()
    }

    #[test]
    fn a_shard_is_split_in_the_middle_and_the_new_one_has_the_members_of_now() {
        let map = map();
        let (entry, split) = split_at(&map, ShardId(1), None, &members([1, 2, 4])).unwrap();
        assert_eq!((split.shard, split.child), (ShardId(1), ShardId(2)));
        let child = split.child_entry();
        assert_eq!((child.group, &child.members), (GroupId(17), &members([1, 2, 4])));
        assert_eq!(child.from.as_bytes(), (u64::MAX / 2).to_be_bytes());
        let shard = split.map.get(ShardId(1)).unwrap();
        assert_eq!((&shard.to, &shard.members), (&Some(child.from.clone()), &members([1, 2, 3])));
        assert_eq!(Split::of_entry(&entry, &map), Some(split.clone()));
        assert_eq!(Split::of_part(&split.part()), Ok(split.clone()));
        assert_eq!(Split::of_entry(&entry, &split.map), None, "it is split already");
        assert_eq!(
            split_at(&map, ShardId(9), None, &members([1, 2, 3])),
            Err(ShardError::NoShard(ShardId(9)))
        );
        let (entry, again) = split_at(&split.map, ShardId(2), None, &members([1, 2, 4])).unwrap();
        assert_eq!(again.child_entry().from.as_bytes(), (u64::MAX / 2 + u64::MAX / 4 + 1).to_be_bytes());
        (0..entry.len())
            .for_each(|end| assert_eq!(Split::of_entry(&entry.slice(..end.max(2)), &split.map), None));
    }

    #[test]
    fn an_entry_moves_nobody_but_the_new_shard() {
        let map = map();
        let (_, split) = split_at(&map, ShardId(1), None, &members([1, 2, 3])).unwrap();
        let begin = MapCommand::BeginSplit {
            shard: ShardId(1),
            range_version: map.get(ShardId(1)).unwrap().range_version,
            at: split.child_entry().from.clone(),
            child: ShardId(2),
            group: GroupId(17),
        };
        let other = MapCommand::Move { shard: ShardId(1), config_version: 1, members: members([4, 5, 6]) };
        assert_eq!(Split::of_entry(&split_entry(&[begin.clone(), other.clone()]), &map), Some(split));
        assert_eq!(Split::of_entry(&split_entry(&[other, begin]), &map), None, "it begins with the split");
        assert_eq!(Split::of_entry(&split_entry(&[]), &map), None);
    }
}

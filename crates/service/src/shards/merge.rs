//! A shard is merged into the neighbour to its left, which gets all of its keys. How keys go over is said in `handover`.
//!
//! The right one is **vacant** from then on: its group goes on, with a log and a leader, and it holds nothing. All that it is asked is refused, and it holds up nobody
//! (`standing`). A later split gives it keys again.

use bytes::Bytes;
use quorate_consensus::{Membership, ShardId};
use quorate_placement::shards::{Command as MapCommand, Entry, ShardError, ShardMap, Shards};

use super::{Handover, handover_entry};

/// The entry of the order's log that merges the right neighbour of a shard into it, and what it comes to if nothing changes meanwhile. Where the neighbour is named, it has to be that
/// one.
///
/// # Errors
/// The map has something against it.
pub fn merge_at(
    map: &ShardMap,
    left: ShardId,
    right: Option<ShardId>,
) -> Result<(Bytes, Handover), ShardError> {
    let entry = map.get(left).ok_or(ShardError::NoShard(left))?;
    if let Some(right) = right.filter(|right| map.get(*right).is_none()) {
        return Err(ShardError::NoShard(right));
    }
    let not_neighbours = || ShardError::NotNeighbours { fresh: Box::new(entry.clone()) };
    let neighbour = entry.to.as_ref().map(|to| map.locate_token(to)).ok_or_else(not_neighbours)?;
    if right.is_some_and(|right| right != neighbour.shard) {
        return Err(not_neighbours());
    }
    let begin = MapCommand::BeginMerge {
        left,
        right: neighbour.shard,
        left_version: entry.range_version,
        right_version: neighbour.range_version,
    };
    let merge = Handover::of(std::slice::from_ref(&begin), map)?;
    Ok((handover_entry(&[begin]), merge))
}

/// The changes of the map that an entry brings: a merge, begun and ended.
///
/// The map merges only shards with the same members, so that nothing has to be sent; and here all shards are on all nodes, and the map's members are those that each group was
/// born with. {s1 was founded by 1, 2, 3; 3 was replaced by 4, then s5 came of it}: the map is told that s1 goes to where s5 is, and back: what a group was born with does not
/// change.
pub(super) fn carry_out(begin: &MapCommand, shards: &mut Shards) -> Result<(), ShardError> {
    let MapCommand::BeginMerge { left, right, left_version, .. } = begin else {
        return Err(ShardError::NotCut);
    };
    let (left, right, left_version) = (*left, *right, *left_version);
    let members = |shards: &Shards, shard| members_of(shards.map(), shard);
    let (own, others) = (members(shards, left)?, members(shards, right)?);
    change_members(left, &others, shards)?;
    for change in [begin, &MapCommand::EndMerge { left, right, left_version }] {
        let effect = shards.evaluate(change)?;
        shards.apply(effect);
    }
    change_members(left, &own, shards)
}

fn members_of(map: &ShardMap, shard: ShardId) -> Result<Membership, ShardError> {
    map.get(shard).map(|entry| entry.members.clone()).ok_or(ShardError::NoShard(shard))
}

/// Nothing, if it has them.
fn change_members(shard: ShardId, members: &Membership, shards: &mut Shards) -> Result<(), ShardError> {
    let Entry { config_version, members: now, .. } =
        shards.map().get(shard).ok_or(ShardError::NoShard(shard))?;
    if now == members {
        return Ok(());
    }
    let (config_version, members) = (*config_version, members.clone());
    let moved = MapCommand::Moved { shard, config_version, members: members.clone() };
    for change in [MapCommand::Move { shard, config_version, members }, moved] {
        let effect = shards.evaluate(&change)?;
        shards.apply(effect);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use quorate_consensus::{EngineKind, GroupId, NodeId};
    use quorate_placement::shards::{Founder, Rule, Token};

    use super::*;
    use crate::shards::{Kind, split_at};

    fn members(ids: [u64; 3]) -> Membership {
        Membership::new(ids.map(NodeId), [])
    }

    /// Four shards by hash, the last one of another engine.
    fn map() -> ShardMap {
        let mut shards = Shards::new(GroupId(16), members([1, 2, 3]), EngineKind::Raft).unwrap();
        let founder = |place: u8| Founder {
            shard: ShardId(u32::from(place) + 1),
            group: GroupId(16 + u64::from(place)),
            from: Token::new(if place == 0 { vec![] } else { vec![place * 64, 0, 0, 0, 0, 0, 0, 0] }),
            members: members([1, 2, 3]),
            engine: if place == 3 { EngineKind::Zab } else { EngineKind::Raft },
        };
        let found = MapCommand::Found { rule: Rule::Hash, shards: (0..4).map(founder).collect() };
        let effect = shards.evaluate(&found).unwrap();
        shards.apply(effect);
        shards.map().clone()
    }

    #[test]
    fn the_left_one_gets_what_its_right_neighbour_has() {
        let map = map();
        let (entry, merge) = merge_at(&map, ShardId(2), None).unwrap();
        assert_eq!((merge.kind, merge.giver, merge.taker), (Kind::Merge, ShardId(3), ShardId(2)));
        assert_eq!((merge.stays(), merge.comes_or_goes()), (ShardId(2), ShardId(3)));
        let left = merge.map.get(ShardId(2)).unwrap();
        assert_eq!(left.to, map.get(ShardId(3)).unwrap().to);
        assert_eq!(merge.map.vacancies().map(|vacancy| vacancy.group).collect::<Vec<_>>(), [GroupId(18)]);
        assert_eq!(merge_at(&map, ShardId(2), Some(ShardId(3))), Ok((entry.clone(), merge.clone())));
        assert_eq!(Handover::of_entry(&entry, &map), Some(merge.clone()));
        assert_eq!(Handover::of_part(&merge.part()), Ok(merge.clone()));
        assert_eq!(Handover::of_entry(&entry, &merge.map), None, "it is merged already");
        (0..entry.len())
            .for_each(|end| assert_eq!(Handover::of_entry(&entry.slice(..end.max(2)), &map), None));
    }

    #[test]
    fn what_cannot_be_merged_is_refused() {
        let map = map();
        let entry = |shard| Box::new(map.get(ShardId(shard)).unwrap().clone());
        for (left, right, error) in [
            (9, None, ShardError::NoShard(ShardId(9))),
            (1, Some(9), ShardError::NoShard(ShardId(9))),
            (1, Some(3), ShardError::NotNeighbours { fresh: entry(1) }),
            (2, Some(1), ShardError::NotNeighbours { fresh: entry(2) }),
            (4, None, ShardError::NotNeighbours { fresh: entry(4) }),
            (3, None, ShardError::OtherEngine),
        ] {
            assert_eq!(merge_at(&map, ShardId(left), right.map(ShardId)), Err(error));
        }
        let begin = MapCommand::BeginMerge {
            left: ShardId(1),
            right: ShardId(2),
            left_version: map.get(ShardId(1)).unwrap().range_version,
            right_version: map.get(ShardId(2)).unwrap().range_version,
        };
        let of = |changes: &[MapCommand]| Handover::of_entry(&handover_entry(changes), &map);
        assert!(of(std::slice::from_ref(&begin)).is_some());
        assert_eq!(of(&[begin.clone(), begin]), None, "one at a time");
    }

    /// {a member was replaced between the founding and the split}: what each group was born with stays, for whoever opens it.
    #[test]
    fn shards_that_were_born_with_other_members_are_merged_and_keep_them() {
        let (_, split) = split_at(&map(), ShardId(2), None, &members([1, 2, 4])).unwrap();
        let child = split.map.get(split.taker).unwrap().clone();
        assert_eq!(child.members, members([1, 2, 4]));
        let (entry, merge) = merge_at(&split.map, ShardId(2), None).unwrap();
        assert_eq!(Handover::of_entry(&entry, &split.map), Some(merge.clone()));
        assert_eq!(merge.map.get(ShardId(2)).unwrap().members, members([1, 2, 3]));
        assert_eq!(merge.map.vacancy(child.shard).unwrap().members, members([1, 2, 4]));
    }
}

//! A shard is split: its keys from a token on go to a new one, or to a vacant one. How keys go over is said in `handover`.

use bytes::Bytes;
use quorate_consensus::{GroupId, Membership, ShardId};
use quorate_placement::shards::{
    Command as MapCommand, Rule, ShardError, ShardMap, Shards, Span, Token, Vacancy,
};

use super::{Handover, handover_entry};

/// The entry of the order's log that splits a shard at a token, or in the middle of its hashes, and what it comes to if nothing changes meanwhile.
///
/// A vacant shard gets the keys, if there is one: its group is there, and has had a leader. A new one has these members.
///
/// # Errors
/// The map, or its rule, has something against it.
pub fn split_at(
    map: &ShardMap,
    shard: ShardId,
    at: Option<Token>,
    members: &Membership,
) -> Result<(Bytes, Handover), ShardError> {
    let entry = map.get(shard).ok_or(ShardError::NoShard(shard))?;
    let at = match at {
        Some(at) => at,
        None if map.rule() == Rule::Hash => middle(&entry.span()),
        None => return Err(ShardError::NotCut),
    };
    let vacancy = map.vacancies().find(|vacancy| vacancy.engine == entry.engine);
    let (child, group) = vacancy.map_or_else(
        || (map.next_shard(), GroupId(map.last_group().0 + 1)),
        |Vacancy { shard, group, .. }| (*shard, *group),
    );
    let range_version = entry.range_version;
    let mut changes = vec![MapCommand::BeginSplit { shard, range_version, at, child, group }];
    if vacancy.is_none() && entry.members != *members {
        // A new one gets the members that there are; who the first ones of the old one were is part of how that began.
        let config_version = entry.config_version;
        changes.push(MapCommand::Move { shard: child, config_version, members: members.clone() });
        changes.push(MapCommand::Moved { shard: child, config_version, members: members.clone() });
    }
    let split = Handover::of(&changes, map)?;
    Ok((handover_entry(&changes), split))
}

/// The token in the middle of a span of hashes.
fn middle(span: &Span) -> Token {
    let hash = |token: &Token| token.as_bytes().try_into().map_or(0, u64::from_be_bytes);
    let (from, to) = (hash(&span.from), span.to.as_ref().map_or(u64::MAX, hash));
    Token::new((from + (to - from) / 2).to_be_bytes().to_vec())
}

/// The changes of the map that an entry brings: a split, begun and ended, and who has the new shard. One that was vacant has its members.
pub(super) fn carry_out(
    begin: &MapCommand,
    rest: &[MapCommand],
    shards: &mut Shards,
) -> Result<(), ShardError> {
    let MapCommand::BeginSplit { shard, child, range_version, .. } = begin else {
        return Err(ShardError::NotCut);
    };
    let (child, is_new) = (*child, shards.map().vacancy(*child).is_none());
    let end = MapCommand::EndSplit { shard: *shard, child, range_version: *range_version };
    let rest = rest.iter().filter(|change| match change {
        MapCommand::Move { shard, .. } | MapCommand::Moved { shard, .. } => is_new && *shard == child,
        _ => false,
    });
    for change in [begin, &end].into_iter().chain(rest) {
        let effect = shards.evaluate(change)?;
        shards.apply(effect);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use quorate_consensus::{EngineKind, NodeId};

    use quorate_placement::shards::Entry;

    use super::*;
    use crate::shards::{Kind, merge_at};

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

    fn child(split: &Handover) -> &Entry {
        split.map.get(split.taker).unwrap()
    }

    #[test]
    fn a_shard_is_split_in_the_middle_and_the_new_one_has_the_members_of_now() {
        let map = map();
        let (entry, split) = split_at(&map, ShardId(1), None, &members([1, 2, 4])).unwrap();
        assert_eq!((split.kind, split.giver, split.taker), (Kind::Split, ShardId(1), ShardId(2)));
        assert_eq!((split.stays(), split.comes_or_goes()), (ShardId(1), ShardId(2)));
        assert_eq!((child(&split).group, &child(&split).members), (GroupId(17), &members([1, 2, 4])));
        assert_eq!(child(&split).from.as_bytes(), (u64::MAX / 2).to_be_bytes());
        let shard = split.map.get(ShardId(1)).unwrap();
        assert_eq!((&shard.to, &shard.members), (&Some(child(&split).from.clone()), &members([1, 2, 3])));
        assert_eq!(Handover::of_entry(&entry, &map), Some(split.clone()));
        assert_eq!(Handover::of_part(&split.part()), Ok(split.clone()));
        assert_eq!(Handover::of_entry(&entry, &split.map), None, "it is split already");
        assert_eq!(
            split_at(&map, ShardId(9), None, &members([1, 2, 3])),
            Err(ShardError::NoShard(ShardId(9)))
        );
        let (entry, again) = split_at(&split.map, ShardId(2), None, &members([1, 2, 4])).unwrap();
        assert_eq!(child(&again).from.as_bytes(), (u64::MAX / 2 + u64::MAX / 4 + 1).to_be_bytes());
        (0..entry.len())
            .for_each(|end| assert_eq!(Handover::of_entry(&entry.slice(..end.max(2)), &split.map), None));
    }

    #[test]
    fn an_entry_moves_nobody_but_the_new_shard() {
        let map = map();
        let (_, split) = split_at(&map, ShardId(1), None, &members([1, 2, 3])).unwrap();
        let begin = MapCommand::BeginSplit {
            shard: ShardId(1),
            range_version: map.get(ShardId(1)).unwrap().range_version,
            at: child(&split).from.clone(),
            child: ShardId(2),
            group: GroupId(17),
        };
        let other = MapCommand::Move { shard: ShardId(1), config_version: 1, members: members([4, 5, 6]) };
        let of = |changes: &[MapCommand]| Handover::of_entry(&handover_entry(changes), &map);
        assert_eq!(of(&[begin.clone(), other.clone()]), Some(split));
        assert_eq!(of(&[other, begin]), None, "it begins with the split");
        assert_eq!(of(&[]), None);
    }

    /// A vacant shard goes on in its group, with the members of its birth, whoever the members are by now.
    #[test]
    fn a_vacant_shard_gets_the_keys_before_a_new_one_is_founded() {
        let (_, split) = split_at(&map(), ShardId(1), None, &members([1, 2, 3])).unwrap();
        let (_, merged) = merge_at(&split.map, ShardId(1), None).unwrap();
        let (entry, again) = split_at(&merged.map, ShardId(1), None, &members([1, 2, 4])).unwrap();
        assert_eq!((again.taker, child(&again).group), (ShardId(2), GroupId(17)));
        assert_eq!(child(&again).members, members([1, 2, 3]));
        assert!(child(&again).range_version > child(&split).range_version);
        assert_eq!(Handover::of_entry(&entry, &merged.map), Some(again.clone()));
        let (_, more) = split_at(&again.map, ShardId(1), None, &members([1, 2, 4])).unwrap();
        assert_eq!((more.taker, child(&more).group), (ShardId(3), GroupId(18)));
        // Nobody moves a group that is there.
        let begin = MapCommand::BeginSplit {
            shard: ShardId(1),
            range_version: merged.map.get(ShardId(1)).unwrap().range_version,
            at: child(&again).from.clone(),
            child: ShardId(2),
            group: GroupId(17),
        };
        let moves = MapCommand::Move { shard: ShardId(2), config_version: 1, members: members([4, 5, 6]) };
        assert_eq!(Handover::of(&[begin, moves], &merged.map), Ok(again));
    }
}

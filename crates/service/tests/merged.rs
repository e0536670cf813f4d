//! Shards are merged, and what is left of the right one holds up nobody.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "sharded/world.rs"]
mod world;

use quorate_consensus::{GroupId, ShardId};
use quorate_service::{
    KEYS as KEYS_GROUP,
    keyspace::{Command, Compact, KeyspaceError, LeaseId, Operation, Put, Range, Response, Txn, View},
    placement::shards::ShardMap,
};
use world::{Asked, NODES, SHARDS, Told, World};

const KEYS: usize = 24;
/// The one that begins anew, and of which no client waits for an answer.
const LAST: usize = NODES - 1;

fn key(place: usize) -> String {
    format!("k{place}")
}

fn put(place: usize, value: &str) -> Command {
    Command::Put(Put { key: key(place).into(), value: value.to_owned().into(), ..Put::default() })
}

fn map(world: &World) -> ShardMap {
    (**world.nodes[0].heard.lock().unwrap().map.as_ref().unwrap()).clone()
}

/// Nothing is lost, every key is there, and the second shard from the left is to get what the third one has: the two, and the group of the right one.
fn world() -> (World, ShardId, ShardId, GroupId) {
    let mut world = World::new(3);
    put_all(&mut world, "before", |_| true);
    world.settles();
    let map = map(&world);
    let (left, right) = (&map.shards()[1], &map.shards()[2]);
    (world, left.shard, right.shard, right.group)
}

/// Puts all keys whose shard is one of these; how many are done some time later.
fn put_all(world: &mut World, value: &str, is_asked: impl Fn(ShardId) -> bool) -> (usize, usize) {
    let map = map(world);
    let asked: Vec<usize> =
        (0..KEYS).filter(|place| is_asked(map.locate(key(*place).as_bytes()).shard)).collect();
    let first = world.requests.len();
    for place in &asked {
        let group = map.locate(key(*place).as_bytes()).group;
        world.asks_in(group, put(*place, value));
    }
    (0..40).for_each(|_| world.calm_step());
    (asked.len(), world.requests[first..].iter().filter(|request| is_done(&request.told)).count())
}

fn is_done(told: &Option<Told>) -> bool {
    matches!(told, Some(Told::Done(Response { result: Ok(_), .. })))
}

fn merges(world: &mut World, left: ShardId) -> usize {
    world.asks_merge_of(0, left);
    world.requests.len() - 1
}

/// What a node says that is asked what it has, or to be as new as the order.
fn looks(world: &mut World, node: usize) -> Option<View> {
    world.asks_view_of(node, false);
    (0..3).for_each(|_| world.calm_step());
    match &world.requests.last().unwrap().told {
        Some(Told::View(view)) => Some(view.clone()),
        _ => None,
    }
}

fn values(view: &View) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    let range = Range { key: "k".into(), range_end: "l".into(), ..Range::default() };
    view.range(&range).unwrap().kvs.into_iter().map(|kv| (kv.key, kv.value)).collect()
}

/// Do all nodes have all keys, and say the same of every revision?
fn agree(world: &mut World) {
    let views: Vec<View> = (0..NODES).map(|node| looks(world, node).expect("it answers")).collect();
    for view in &views {
        assert_eq!(values(view).len(), KEYS);
        assert_eq!((values(view), view.revision()), (values(&views[0]), views[0].revision()));
        assert_eq!(view.hash_kv(0), views[0].hash_kv(0));
        let changes = |view: &View| view.changes(1).unwrap().collect::<Vec<_>>();
        assert_eq!(changes(view), changes(&views[0]));
    }
}

#[test]
fn shards_are_merged_down_to_one_and_split_again() {
    let (mut world, ..) = world();
    let leftmost = map(&world).shards()[0].shard;
    for _ in 1..SHARDS {
        let merge = merges(&mut world, leftmost);
        world.settles();
        assert!(is_done(&world.requests[merge].told));
        assert_eq!(put_all(&mut world, "between", |_| true), (KEYS, KEYS));
        agree(&mut world);
    }
    assert_eq!((map(&world).shards().len(), map(&world).vacancies().count()), (1, 3));
    for _ in 0..4 {
        let (world, node) = (&mut world, 0);
        let most = map(world).shards().iter().map(|entry| entry.shard).min().unwrap();
        world.asks_split_of(node, most);
        world.settles();
        assert_eq!(put_all(world, "after", |_| true), (KEYS, KEYS));
        agree(world);
    }
    assert_eq!((map(&world).shards().len(), map(&world).vacancies().count()), (5, 0));
    assert!(world.carried_out(Asked::SplitIntoVacant) >= 2, "vacant shards get keys again");
}

/// {the right one has no leader when it is to be merged}: the left one goes on with all that it has, and so do all others; the merge is carried out when there is one.
#[test]
fn the_left_one_goes_on_while_the_right_one_has_no_leader() {
    let (mut world, left, right, group) = world();
    world.without_leader = Some(group);
    let merge = merges(&mut world, left);
    let (asked, done) = put_all(&mut world, "meanwhile", |shard| shard != right);
    assert!(asked > 10 && done == asked, "{done} of {asked}");
    let (asked, done) = put_all(&mut world, "meanwhile", |shard| shard == left);
    assert!(asked > 2 && done == asked, "{done} of {asked}");
    assert!(world.requests[merge].told.is_none(), "a merge is never given up");
    assert_eq!(map(&world).shards().len(), usize::from(SHARDS));
    world.without_leader = None;
    world.settles();
    assert!(is_done(&world.requests[merge].told));
    assert_eq!(put_all(&mut world, "after", |_| true), (KEYS, KEYS));
    agree(&mut world);
}

/// One handover at a time; and who asks by a map that is old by then is told so.
#[test]
fn a_second_merge_waits_and_a_late_one_is_refused() {
    use quorate_service::shards::Undone;
    let (mut world, left, _, group) = world();
    world.without_leader = Some(group);
    let first = merges(&mut world, left);
    (0..5).for_each(|_| world.calm_step());
    let leftmost = map(&world).shards()[0].shard;
    let second = merges(&mut world, leftmost);
    world.asks_split_of(0, leftmost);
    (0..5).for_each(|_| world.calm_step());
    for request in [second, second + 1] {
        assert!(matches!(world.requests[request].told, Some(Told::Undone(Undone::Busy))));
    }
    world.without_leader = None;
    // Asked on what is known now, and in the log behind the first one.
    world.settles();
    assert!(is_done(&world.requests[first].told));
    let again = [merges(&mut world, left), merges(&mut world, left)];
    world.settles();
    assert!(is_done(&world.requests[again[0]].told));
    let late = &world.requests[again[1]].told;
    assert!(matches!(late, Some(Told::Undone(Undone::Busy | Undone::Unfit))), "{late:?}");
    agree(&mut world);
}

#[test]
fn a_vacant_shard_refuses_whatever_it_is_asked() {
    let (mut world, left, _, group) = world();
    merges(&mut world, left);
    world.settles();
    let first = world.requests.len();
    (0..KEYS).for_each(|place| world.asks_in(group, put(place, "stray")));
    // What names no key as well: it would be in one shard and in no other.
    world.asks_in(group, Command::LeaseGrant { id: LeaseId(7), ttl_s: 10 });
    world.asks_in(group, Command::Compact(Compact { revision: 5, physical: false }));
    world.settles();
    for request in &world.requests[first..] {
        let moved =
            matches!(request.told, Some(Told::Done(Response { result: Err(KeyspaceError::Moved), .. })));
        assert!(moved, "{:?}: {:?}", request.command, request.told);
    }
    agree(&mut world);
    assert_eq!(looks(&mut world, 0).unwrap().compacted(), 0);
}

/// {the vacant one loses its leader, and a node has not read what came into its log last}: nobody waits for it, and a split that would give it keys waits alone.
#[test]
fn a_vacant_shard_without_a_leader_holds_up_nobody() {
    let (mut world, left, right, group) = world();
    merges(&mut world, left);
    world.settles();
    world.unread = vec![(LAST, group)];
    (0..KEYS).for_each(|place| world.asks_in(group, put(place, "stray")));
    world.settles();
    world.without_leader = Some(group);
    assert_eq!(put_all(&mut world, "after", |_| true), (KEYS, KEYS));
    agree(&mut world);
    // The vacant one is to get keys: whose they are goes on with them, on every node.
    world.asks_split_of(0, left);
    let split = world.requests.len() - 1;
    assert_eq!(put_all(&mut world, "meanwhile", |_| true), (KEYS, KEYS));
    agree(&mut world);
    assert!(world.requests[split].told.is_none());
    // It has a leader again, and keys; the node that has not read of it shows nothing that it cannot know.
    world.without_leader = None;
    (0..40).for_each(|_| world.calm_step());
    assert!(is_done(&world.requests[split].told));
    assert_eq!(put_all(&mut world, "behind", |_| true), (KEYS, KEYS));
    // The last write is one of its own, which no other shard's place tells of.
    let (asked, done) = put_all(&mut world, "last", |shard| shard == right);
    assert!(asked > 0 && done == asked);
    assert!(looks(&mut world, LAST).is_none(), "a read waits for what has keys by now");
    // And for all that came to it since: the node reads one entry after the other.
    let asked = world.requests.len() - 1;
    world.unread.clear();
    while world.requests[asked].told.is_none() {
        assert!(world.reads(LAST, group, 1), "there is more to read");
    }
    let Some(Told::View(view)) = &world.requests[asked].told else { panic!("a view") };
    assert_eq!(values(view).iter().filter(|(_, value)| value == "last").count(), done);
    assert_eq!(view.revision(), world.seen());
    world.settles();
    agree(&mut world);
}

/// A node starts again with one snapshot from before the merge and one from behind it.
#[test]
fn snapshots_of_before_and_behind_a_merge_go_together() {
    for is_left in [true, false] {
        for seed in 0..10 {
            let (mut world, left, _, right_group) = world();
            let left_group = map(&world).get(left).unwrap().group;
            world.takes_snapshot(LAST, left_group);
            world.takes_snapshot(LAST, right_group);
            put_all(&mut world, "later", |_| true);
            merges(&mut world, left);
            (0..10 + seed).for_each(|_| world.calm_step());
            world.takes_snapshot(LAST, if is_left { left_group } else { right_group });
            put_all(&mut world, "after", |_| true);
            world.begins_anew(LAST);
            world.settles();
            agree(&mut world);
            // And it goes on like all others: into the vacant one and out of it.
            world.asks_split_of(0, left);
            world.settles();
            world.begins_anew(LAST);
            put_all(&mut world, "again", |_| true);
            world.settles();
            merges(&mut world, left);
            world.settles();
            agree(&mut world);
        }
    }
}

/// {a node starts again with a snapshot of the left one from behind the merge, and reads nothing of the right one's log, which has no leader to say what is committed in it}: all that
/// the right one had is in the left one.
#[test]
fn a_node_that_knows_only_the_left_one_shows_all() {
    let (mut world, left, _, group) = world();
    let left_group = map(&world).get(left).unwrap().group;
    world.takes_snapshot(LAST, group);
    put_all(&mut world, "later", |_| true);
    merges(&mut world, left);
    world.settles();
    world.takes_snapshot(LAST, left_group);
    (world.unread, world.without_leader) = (vec![(LAST, group)], Some(group));
    world.begins_anew(LAST);
    assert_eq!(put_all(&mut world, "after", |_| true), (KEYS, KEYS));
    let since = world.nodes[LAST].heard.lock().unwrap().since;
    agree(&mut world);
    // Once it reads on, it comes to what the left one has had for long: nobody is told of that again.
    world.unread.clear();
    world.settles();
    agree(&mut world);
    let heard = world.nodes[LAST].heard.lock().unwrap();
    assert!(heard.events.iter().all(|event| event.kv.mod_revision > since && event.kv.value != "later"));
}

/// One transaction over all shards, and two of them merged: a watch from before is told of each change once, and in the order in which it was told.
#[test]
fn what_a_watch_is_told_of_the_past_stays_as_it_was() {
    for by_number in [true, false] {
        let (mut world, mut left, ..) = world();
        if !by_number {
            // The child of the leftmost one has a higher number than the one to its right.
            let leftmost = map(&world).shards()[0].shard;
            world.asks_split_of(0, leftmost);
            world.settles();
            left = map(&world).shards()[1].shard;
        }
        let all =
            (0..KEYS).map(|place| Put { key: key(place).into(), value: "together".into(), ..Put::default() });
        let success = all.map(Operation::Put).collect();
        world.asks(Command::Txn(Txn { success, ..Txn::default() }));
        world.settles();
        let before = map(&world);
        let at = before.shards().iter().position(|entry| entry.shard == left).unwrap();
        let right = before.shards()[at + 1].shard;
        assert_eq!(left < right, by_number);
        let told = |world: &mut World| {
            let view = looks(world, 0).unwrap();
            let of_both = |key: &[u8]| [left, right].contains(&before.locate(key).shard);
            let changes = view.changes(1).unwrap().filter(|event| of_both(&event.kv.key));
            let changes: Vec<_> = changes.map(|event| (event.kv.mod_revision, event.kv.key)).collect();
            (changes, view.hash_kv(0).unwrap())
        };
        let (changes, hash) = told(&mut world);
        assert!(changes.len() > 6, "{changes:?}");
        merges(&mut world, left);
        world.settles();
        let (since, hash_since) = told(&mut world);
        assert_eq!(since, changes);
        // With no other shard's number between those of the two, nothing at all has changed.
        assert_eq!(hash == hash_since, by_number);
        agree(&mut world);
    }
}

/// {the new shard stands before its split, and the node has not read of the puts behind that; the giver is sent a snapshot of behind it}: the node has come to the split at once, and not to the puts.
#[test]
fn what_comes_behind_a_split_is_not_shown_before_it_is_placed() {
    let (mut world, giver, ..) = world();
    let giver_group = map(&world).get(giver).unwrap().group;
    world.unread = vec![(LAST, giver_group)];
    world.asks_split_of(0, giver);
    (0..40).for_each(|_| world.calm_step());
    let child = map(&world).shards().iter().map(|entry| entry.shard).max().unwrap();
    let child_group = map(&world).get(child).unwrap().group;
    world.unread.push((LAST, child_group));
    let (asked, done) = put_all(&mut world, "child's", |shard| shard == child);
    assert!(asked > 0 && done == asked);
    let (asked, done) = put_all(&mut world, "other's", |shard| shard != child && shard != giver);
    assert!(asked > 0 && done == asked);
    while world.leader(giver_group) == LAST {
        world.elects(giver_group);
    }
    let leader = world.leader(giver_group);
    world.takes_snapshot(leader, giver_group);
    world.is_sent_a_snapshot(LAST, giver_group);
    // It was asked what it has.
    let Some(Told::View(view)) = world.requests.last().unwrap().told.clone() else { panic!("it answers") };
    let there = looks(&mut world, 0).unwrap();
    let range = Range {
        key: "k".into(),
        range_end: "l".into(),
        revision: view.revision() as i64,
        ..Range::default()
    };
    assert_eq!(view.range(&range).unwrap().kvs, there.range(&range).unwrap().kvs);
    world.unread.clear();
    world.settles();
    agree(&mut world);
}

/// {a node has not heard of a split or a merge, and is sent a snapshot of behind it}: it shows nothing until it has heard.
#[test]
fn a_snapshot_of_behind_what_a_node_has_not_heard_of_waits_for_it() {
    for is_split in [true, false] {
        let (mut world, left, ..) = world();
        let group = map(&world).get(left).unwrap().group;
        world.unread = vec![(LAST, KEYS_GROUP), (LAST, group)];
        if is_split {
            world.asks_split_of(0, left);
        } else {
            world.asks_merge_of(0, left);
        }
        (0..40).for_each(|_| world.calm_step());
        while world.leader(group) == LAST {
            world.elects(group);
        }
        let leader = world.leader(group);
        world.takes_snapshot(leader, group);
        world.is_sent_a_snapshot(LAST, group);
        // It was asked what it has.
        let asked = world.requests.len() - 1;
        (0..3).for_each(|_| world.calm_step());
        assert!(
            world.requests[asked].told.is_none(),
            "by the map of before, keys would be missing, or there twice"
        );
        world.unread.clear();
        world.settles();
        let Some(Told::View(view)) = &world.requests[asked].told else { panic!("it answers") };
        assert_eq!(values(view).len(), KEYS);
        agree(&mut world);
    }
}

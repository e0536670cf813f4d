//! A cluster whose keys are divided is one etcd: whatever its clients are told, one keyspace would have told them.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "sharded/commands.rs"]
mod commands;
#[path = "sharded/judge.rs"]
mod judge;
#[path = "sharded/world.rs"]
mod world;

use commands::{asks, asks_of_keys};
use judge::{Counts, judge};
use quorate_consensus::{GroupId, ShardId};
use quorate_service::keyspace::{
    self, Command, KeyspaceError, LeaseId, Operation, Put, Range, Response, Txn,
};
use world::{SHARDS, Told, World};

#[test]
fn a_cluster_whose_keys_are_divided_is_one_etcd() {
    let mut counts = Counts::default();
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..1_500 {
            if world.chance(12) {
                asks(&mut world);
            }
            if world.chance(40) {
                let serializable = world.chance(3);
                world.asks_view(serializable);
            }
            if seed % 3 > 0 && world.chance(250) {
                world.asks_split();
            }
            if seed % 3 > 1 && world.chance(300) {
                world.asks_merge();
            }
            world.step();
        }
        world.settles();
        judge(seed, &world, &mut counts);
    }
    let Counts { done, silent, views, restored, moved, shards, merged, .. } = counts;
    assert!(done > 15_000 && silent > 100 && views > 5_000 && restored > 100 && moved > 500, "{counts:?}");
    assert!(shards > 150 && merged > 40, "{counts:?}");
}

/// Hardly anything is written, so that much happens at one revision; and one split follows the other. Without leases: many changes of them at one revision have more
/// orders than [`replay`] tries.
#[test]
fn shards_that_are_split_again_and_again_are_one_etcd() {
    let mut counts = Counts::default();
    for seed in 1_000..1_300 {
        let mut world = World::new(seed);
        world.is_careful();
        for _ in 0..1_500 {
            if world.chance(40) {
                asks_of_keys(&mut world);
            }
            if world.chance(20) {
                world.asks_view(true);
            }
            if world.chance(60) {
                world.asks_split();
            }
            world.step();
        }
        world.settles();
        judge(seed, &world, &mut counts);
    }
    let Counts { views, restored, moved, shards, .. } = counts;
    assert!(views > 5_000 && restored > 100 && moved > 100 && shards > 500, "{counts:?}");
}

/// Splits and merges follow each other, down to one shard and up again, and vacant shards get keys again. Here too hardly anything is written in every other world; in the others
/// much, of all kinds.
#[test]
fn shards_that_are_split_and_merged_again_and_again_are_one_etcd() {
    let mut counts = Counts::default();
    for seed in 3_000..3_300 {
        let mut world = World::new(seed);
        let (quiet, eager) = (seed % 2 == 0, 1 + seed % 4);
        if quiet {
            world.is_careful();
        }
        for _ in 0..1_500 {
            if quiet && world.chance(40) {
                asks_of_keys(&mut world);
            }
            if !quiet && world.chance(12) {
                asks(&mut world);
            }
            if world.chance(25) {
                let serializable = world.chance(2);
                world.asks_view(serializable);
            }
            if world.chance(30 * eager) {
                world.asks_merge();
            }
            if world.chance(40 * eager) {
                world.asks_split();
            }
            world.step();
            // Now and then all goes well for a while, and what has begun comes to its end.
            if world.chance(60) {
                (0..2).for_each(|_| world.calm_step());
            }
        }
        world.settles();
        judge(seed, &world, &mut counts);
    }
    let Counts { done, views, restored, moved, merged, taken, .. } = counts;
    assert!(done > 5_000 && views > 5_000 && restored > 100 && moved > 200, "{counts:?}");
    assert!(merged > 500 && taken > 200, "{counts:?}");
}

#[test]
fn every_front_end_is_told_what_room_all_shards_together_leave_below_the_quota() {
    let quota = 100_000;
    let mut world = World::new(3);
    world.asks(Command::SetQuota(keyspace::SetQuota { bytes: quota as i64 }));
    world.asks(Command::LeaseGrant { id: LeaseId(101), ttl_s: 10 });
    for place in 0..40 {
        let put = Put { key: format!("k{place}").into(), value: vec![0; 100].into(), ..Put::default() };
        world.asks(Command::Put(put));
    }
    world.settles();
    for node in &world.nodes {
        let size = node.state.shards().unwrap().view().size_bytes();
        assert!(size > 40 * 356, "all shards' keys are counted: {size}");
        assert_eq!(node.heard.lock().unwrap().room_bytes, quota - size);
    }
}

/// {the new shard has no leader for a while}: the shard that is split goes on with all of its keys, and the split is carried out when there is one.
#[test]
fn a_shard_goes_on_while_the_one_that_is_split_off_has_no_leader() {
    let mut world = World::new(3);
    world.settles();
    let map = world.nodes[0].heard.lock().unwrap().map.clone().unwrap();
    world.without_leader = Some(GroupId(map.last_group().0 + 1));
    // The shard that has most of the keys that are put.
    let most = |shard: &ShardId| {
        (0..12).filter(|place| map.locate(format!("k{place}").as_bytes()).shard == *shard).count()
    };
    let shard = map.shards().iter().map(|entry| entry.shard).max_by_key(most).unwrap();
    assert!(most(&shard) > 2);
    world.asks_split_of(0, shard);
    let split = world.requests.len() - 1;
    (0..10).for_each(|_| world.calm_step());
    let put_all = |world: &mut World| {
        for place in 0..12 {
            world.asks(Command::Put(Put {
                key: format!("k{place}").into(),
                value: "v".into(),
                ..Put::default()
            }));
        }
        (0..30).for_each(|_| world.calm_step());
        let is_done = |told: &Option<Told>| matches!(told, Some(Told::Done(Response { result: Ok(_), .. })));
        world.requests.iter().rev().take(12).filter(|request| is_done(&request.told)).count()
    };
    assert_eq!(put_all(&mut world), 12);
    assert!(world.requests[split].told.is_none());
    let divided = |world: &World| world.nodes[0].heard.lock().unwrap().map.clone().unwrap().shards().len();
    assert_eq!(divided(&world), usize::from(SHARDS));
    world.without_leader = None;
    world.settles();
    assert!(matches!(world.requests[split].told, Some(Told::Done(_))));
    assert_eq!((divided(&world), put_all(&mut world)), (usize::from(SHARDS) + 1, 12));
}

/// Keys, leases and history that one group has are divided among shards while clients go on.
#[test]
fn a_cluster_whose_keys_are_divided_later_is_one_etcd() {
    let mut counts = Counts::default();
    for seed in 2_000..2_200 {
        let mut world = World::alone(seed, None);
        for step in 0..1_500 {
            if world.chance(12) {
                asks(&mut world);
            }
            if world.chance(40) {
                let serializable = world.chance(3);
                world.asks_view(serializable);
            }
            if step >= 400 && step % 200 == 0 {
                world.founds();
            }
            if world.chance(150) {
                world.asks_split();
            }
            world.step();
        }
        world.settles();
        judge(seed, &world, &mut counts);
    }
    let Counts { done, views, restored, shards, .. } = counts;
    assert!(done > 10_000 && views > 3_000 && restored > 70 && shards > 50, "{counts:?}");
}

/// {keys are divided, and one of the new groups takes its time to elect a leader}: a lease, which concerns all of them, is granted when it has one.
#[test]
fn whoever_asks_while_first_leaders_are_elected_is_not_refused() {
    for (ticks, granted) in [(60, true), (130, false)] {
        let mut world = World::alone(3, None);
        world.without_leader = Some(GroupId(17));
        world.founds();
        (0..5).for_each(|_| world.calm_step());
        world.asks(Command::LeaseGrant { id: LeaseId(101), ttl_s: 10 });
        (0..ticks).for_each(|_| world.calm_step());
        world.without_leader = None;
        world.settles();
        let told = world.requests[0].told.as_ref().unwrap();
        assert_eq!(matches!(told, Told::Done(Response { result: Ok(_), .. })), granted, "{ticks}: {told:?}");
    }
}

/// As one store says it: what a put gets wrong before what a range does, whichever of their shards comes first.
#[test]
fn what_a_put_gets_wrong_is_said_before_what_a_range_does() {
    let mut world = World::new(3);
    let map = world.nodes[0].heard.lock().unwrap().map.clone().unwrap();
    let keys: Vec<String> = (0..12).map(|place| format!("k{place}")).collect();
    for (range, put) in keys.iter().zip(keys.iter().rev()) {
        let range = Range { key: range.clone().into(), revision: 1 << 40, ..Range::default() };
        let put = Put { key: put.clone().into(), ignore_lease: true, ..Put::default() };
        let success = vec![Operation::Range(range), Operation::Put(put)];
        world.asks(Command::Txn(Txn { success, ..Txn::default() }));
        (0..10).for_each(|_| world.calm_step());
    }
    world.settles();
    let of_several = keys
        .iter()
        .zip(keys.iter().rev())
        .filter(|(one, other)| map.locate(one.as_bytes()).shard < map.locate(other.as_bytes()).shard);
    assert!(of_several.count() > 2);
    for request in &world.requests {
        let told = request.told.as_ref().unwrap();
        let refused = Err(KeyspaceError::KeyNotFound);
        assert!(matches!(told, Told::Done(Response { result, .. }) if *result == refused), "{told:?}");
    }
}

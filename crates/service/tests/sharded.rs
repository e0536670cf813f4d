//! A cluster whose keys are divided is one etcd: whatever its clients are told, one keyspace would have told them.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "sharded/world.rs"]
mod world;

use std::{collections::BTreeMap, sync::Arc};

use quorate_consensus::{GroupId, Position, ShardId, StateMachine as _};
use quorate_service::{
    keyspace::{
        self, Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, Event, Keyspace,
        KeyspaceError, LeaseId, Operation, Put, Range, Response, Txn, View,
    },
    shards::Undone,
};
use world::{NODES, SHARDS, Told, World};

fn key(world: &mut World) -> String {
    format!("k{}", world.pick(12))
}

fn end(world: &mut World) -> &'static str {
    ["", "", "\0", "k5", "l"][world.pick(5) as usize]
}

fn put(world: &mut World) -> Put {
    let lease = if world.chance(4) { LeaseId(1 + world.pick(3) as i64) } else { LeaseId(0) };
    let value = format!("{}", world.pick(5)).into();
    Put { key: key(world).into(), value, lease, prev_kv: world.chance(2), ..Put::default() }
}

fn delete(world: &mut World) -> DeleteRange {
    DeleteRange { key: key(world).into(), range_end: end(world).into(), prev_kv: world.chance(2) }
}

fn txn(world: &mut World) -> Txn {
    let seen = world.seen();
    let compare = (0..world.pick(3)).map(|_| {
        let target = match world.pick(3) {
            0 => CompareTarget::Mod(world.pick(seen + 6) as i64),
            1 => CompareTarget::Version(world.pick(4) as i64),
            _ => CompareTarget::Value("1".into()),
        };
        let result =
            [CompareResult::Equal, CompareResult::Greater, CompareResult::Less][world.pick(3) as usize];
        Compare { key: key(world).into(), range_end: "".into(), result, target }
    });
    let compare = compare.collect();
    let branch = |world: &mut World| {
        let operation = |world: &mut World| match world.pick(6) {
            0..3 => Operation::Put(put(world)),
            3 => Operation::DeleteRange(delete(world)),
            _ => {
                let revision = if world.chance(3) { (seen - world.pick(seen.min(3))) as i64 } else { 0 };
                let range_end = end(world).into();
                Operation::Range(Range { key: key(world).into(), range_end, revision, ..Range::default() })
            }
        };
        (0..world.pick(4)).map(|_| operation(world)).collect()
    };
    Txn { compare, success: branch(world), failure: branch(world) }
}

fn asks(world: &mut World) {
    let command = command(world);
    // What fails by itself is refused before anything is proposed.
    if keyspace::check(&command, &keyspace::Limits::default()).is_ok() {
        world.asks(command);
    }
}

fn command(world: &mut World) -> Command {
    match world.pick(20) {
        0..9 => Command::Put(put(world)),
        9..12 => Command::DeleteRange(delete(world)),
        12..16 => Command::Txn(txn(world)),
        // One key, as it was at a revision of which its shard may not have heard.
        16 => {
            let (put, revision) = (put(world), (world.seen() - world.pick(world.seen().min(3))) as i64);
            let range = Range { key: put.key.clone(), revision, ..Range::default() };
            let success = vec![Operation::Range(range), Operation::Put(put)];
            Command::Txn(Txn { success, ..Txn::default() })
        }
        // One that nobody revokes.
        17 if world.chance(3) => {
            Command::LeaseGrant { id: LeaseId(101 + world.requests.len() as i64), ttl_s: 10 }
        }
        17 => Command::LeaseGrant { id: LeaseId(1 + world.pick(3) as i64), ttl_s: 10 },
        18 => Command::LeaseRevoke { id: LeaseId(1 + world.pick(3) as i64) },
        _ => {
            let revision = world.seen() as i64 + 3 - world.pick(20) as i64;
            Command::Compact(Compact { revision, physical: false })
        }
    }
}

/// The state after each revision; more than one, where something happened that takes none.
struct Oracle {
    states: BTreeMap<u64, Vec<View>>,
}

fn evaluate(view: &View, command: &Command) -> (Response, View) {
    let mut state = Keyspace::restore(&mut view.snapshot()).unwrap();
    let placed = state.apply(Position::new(1, 1), &command.encode());
    (placed.response, state.view())
}

/// Leases remember the entry that granted them, which is another one here.
fn alike(one: &Response, other: &Response) -> bool {
    let plain = |response: &Response| {
        let mut plain = response.clone();
        match &mut plain.result {
            Ok(keyspace::Reply::LeaseGrant(lease)) => lease.granted = 0,
            // Of two leases that are missing, in two shards, either is named.
            Err(KeyspaceError::LeaseNotFound(lease)) => *lease = LeaseId(0),
            _ => {}
        }
        plain
    };
    plain(one) == plain(other)
}

fn takes_a_revision(before: &View, response: &Response, command: &Command) -> bool {
    let (said, after) = evaluate(before, command);
    after.revision() > before.revision() && alike(&said, response)
}

/// Has each answer follow from the states that the answers before it made, and says what they were.
fn replay(world: &World) -> Oracle {
    let mut done: Vec<(&Command, &Response)> = Vec::new();
    let mut refused: Vec<(u64, &Command, &Response)> = Vec::new();
    for request in &world.requests {
        if let (Some(command), Some(Told::Done(response))) = (&request.command, &request.told) {
            assert!(response.revision >= request.seen, "asked after {} was seen: {response:?}", request.seen);
            match &response.result {
                // Nothing was done; a front end asks once more.
                Err(KeyspaceError::Moved) => {}
                Ok(_) => done.push((command, response)),
                Err(_) => refused.push((request.seen, command, response)),
            }
        }
    }
    let last = done.iter().map(|(_, response)| response.revision).max().unwrap_or(1);
    let mut states = BTreeMap::from([(1, vec![Keyspace::new().view()])]);
    for revision in 1..=last {
        if revision > 1 {
            let at = states[&(revision - 1)].clone();
            let here = |(command, response): &(&Command, &Response)| {
                response.revision == revision
                    && at.iter().any(|before| takes_a_revision(before, response, command))
            };
            let mut places: Vec<usize> = (0..done.len()).filter(|place| here(&done[*place])).collect();
            // {a lease's last key is deleted, and the lease revoked}: the answers do not say which of the two took the revision, but that was the deletion.
            if places.len() > 1 {
                places.retain(|place| !matches!(done[*place].0, Command::LeaseRevoke { .. }));
            }
            let [place] = places[..] else {
                let candidates: Vec<_> = done.iter().filter(|(_, r)| r.revision == revision).collect();
                panic!("revision {revision} was given to {}: {candidates:#?}", places.len());
            };
            let (command, response) = done.remove(place);
            // Of states that differ in nothing that has a revision, the last one that comes to this.
            let before = at.iter().rfind(|before| takes_a_revision(before, response, command)).unwrap();
            states.insert(revision, vec![evaluate(before, command).1]);
        }
        // What changed nothing that has a revision may have changed leases; some order of them explains all of it.
        let mut rest: Vec<(&Command, &Response)> = Vec::new();
        done.retain(|told| {
            let here = told.1.revision == revision;
            if here {
                rest.push(*told);
            }
            !here
        });
        while !rest.is_empty() {
            let now = states[&revision].last().unwrap().clone();
            let fits = |view: &View, (command, response): &(&Command, &Response)| {
                let (said, after) = evaluate(view, command);
                after.revision() == revision && alike(&said, response)
            };
            let changes =
                |(command, _): &(&Command, &Response)| evaluate(&now, command).1.digest() != now.digest();
            let before = rest.len();
            rest.retain(|told| !fits(&now, told) || changes(told));
            if rest.len() == before {
                let place = rest.iter().position(|told| fits(&now, told));
                let Some(place) = place else { panic!("at {revision} nothing explains {rest:#?}") };
                let (command, _) = rest.remove(place);
                states.get_mut(&revision).unwrap().push(evaluate(&now, command).1);
            }
        }
    }
    // A refusal changes nothing, and may be told some time after it was found out; or, by a shard that weighed it with what is evaluated and not placed, before all of
    // that is placed where it is told. No client is told a revision with it.
    for (seen, command, response) in refused {
        let explained = states.range(seen..).flat_map(|(_, views)| views).any(|view| {
            let (said, _) = evaluate(view, command);
            alike(&Response { revision: response.revision, ..said }, response)
        });
        assert!(explained, "nothing explains why {command:?} is refused: {response:?}, asked after {seen}");
    }
    Oracle { states }
}

fn all(view: &View, revision: u64) -> Vec<keyspace::KeyValue> {
    let range =
        Range { key: "k".into(), range_end: "\0".into(), revision: revision as i64, ..Range::default() };
    view.range(&range).unwrap().kvs
}

/// The events of each revision, by key: their order within it is the shards'.
fn by_revision(events: &[Event], since: u64) -> BTreeMap<u64, Vec<(bytes::Bytes, u64)>> {
    let mut told: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    let mut last = (0, 0);
    for event in events {
        assert!(
            (event.kv.mod_revision, event.sub) > last,
            "since {since}: {:?}",
            events.iter().map(|e| (e.kv.mod_revision, e.sub)).collect::<Vec<_>>()
        );
        last = (event.kv.mod_revision, event.sub);
        if event.kv.mod_revision > since {
            told.entry(event.kv.mod_revision).or_default().push((event.kv.key.clone(), event.kv.version));
        }
    }
    told.values_mut().for_each(|events| events.sort());
    told
}

/// What happened in some runs.
#[derive(Debug, Default)]
struct Counts {
    done: usize,
    silent: usize,
    views: usize,
    restored: usize,
    moved: usize,
    shards: usize,
}

/// Is all that anybody was told, and all that nodes have come to, what one keyspace would have come to?
fn judge(seed: u64, world: &World, counts: &mut Counts) {
    let oracle = replay(world);
    let last = *oracle.states.last_key_value().unwrap().0;
    for request in &world.requests {
        let Some(told) = &request.told else {
            assert!(
                world.has_begun_anew(request.node),
                "seed {seed}: {:?} is never answered",
                request.command
            );
            continue;
        };
        match told {
            Told::Done(Response { result: Err(KeyspaceError::Moved), .. }) => counts.moved += 1,
            Told::Done(_) => counts.done += 1,
            Told::Undone(Undone::Silent | Undone::Busy | Undone::Undivided(_) | Undone::Unfit) => {
                counts.silent += 1
            }
            Told::Undone(Undone::Unknown) => panic!("nobody jumped on node {}", request.node),
            Told::View(view) => {
                counts.views += 1;
                assert!(view.revision() >= request.seen, "{} {}", view.revision(), request.seen);
                let missing = request.granted.iter().find(|lease| view.lease(**lease).is_none());
                assert_eq!(missing, None, "seed {seed}: a lease that had been granted");
                let there = oracle.states[&view.revision()].last().unwrap();
                assert_eq!(all(view, 0), all(there, 0), "seed {seed} at {}", view.revision());
            }
        }
    }
    let end = oracle.states[&last].last().unwrap();
    let map = world.nodes[0].heard.lock().unwrap().map.clone().unwrap();
    counts.shards += map.shards().len() - usize::from(SHARDS);
    let whole = by_revision(&world.nodes[0].heard.lock().unwrap().events, 1);
    for node in 0..NODES {
        let heard = world.nodes[node].heard.lock().unwrap();
        assert_eq!(heard.revision, last, "seed {seed}: node {node}");
        assert_eq!(heard.map, Some(Arc::clone(&map)), "seed {seed}: node {node}");
        let mut expected = whole.clone();
        expected.retain(|revision, _| *revision > heard.since);
        assert_eq!(by_revision(&heard.events, heard.since), expected, "seed {seed}: node {node}");
        counts.restored += usize::from(heard.since > 1);
        let view = world.nodes[node].state.shards().unwrap().view();
        assert_eq!((all(&view, 0), view.revision()), (all(end, 0), last), "seed {seed}: node {node}");
        assert_eq!(view.compacted(), end.compacted(), "seed {seed}: node {node}");
        let leases = |view: &View| -> Vec<_> {
            view.leases().map(|l| (l.id, view.lease_keys(l.id).collect::<Vec<_>>())).collect()
        };
        assert_eq!(leases(&view), leases(end), "seed {seed}: node {node}");
    }
    // And at every revision of before, whichever shard had the keys then.
    let view = world.nodes[0].state.shards().unwrap().view();
    for revision in view.compacted().max(1)..=last {
        let there = oracle.states[&revision].last().unwrap();
        assert_eq!(all(&view, revision), all(there, 0), "seed {seed} at {revision}, by {:?}", map.version());
    }
}

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
            world.step();
        }
        world.settles();
        judge(seed, &world, &mut counts);
    }
    let Counts { done, silent, views, restored, moved, shards } = counts;
    assert!(
        done > 15_000 && silent > 100 && views > 5_000 && restored > 100 && moved > 500 && shards > 150,
        "{counts:?}"
    );
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
                let command = match world.pick(3) {
                    0 => Command::Put(put(&mut world)),
                    1 => Command::DeleteRange(delete(&mut world)),
                    _ => Command::Txn(txn(&mut world)),
                };
                if keyspace::check(&command, &keyspace::Limits::default()).is_ok() {
                    world.asks(command);
                }
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

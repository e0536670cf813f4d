//! Routers with whatever they have heard, servers with whatever map they have: who asks arrives, and only at the owner.

mod shards_common;

use proptest::prelude::*;
use quorate_consensus::{GroupId, NodeId, ShardId};
use quorate_placement::shards::{
    Believed, NeedsMap, Repaired, Route, Router, Rule, ShardMap, Stale, Token, check,
};
use shards_common::{
    abort_merge, begin_merge, begin_split, changed, cut_at, end_merge, end_split, history, intents, keys,
    move_to, moved, one,
};

fn learnt(map: &ShardMap) -> Router {
    let mut router = Router::new();
    router.learn(map);
    router
}

/// What a server with this map says to a request for the key.
fn ask(router: &Router, map: &ShardMap, key: &[u8]) -> Result<ShardId, Stale> {
    let believed = router.route(key).map_or(Believed::default(), |route| route.believed());
    check(map, &believed, &map.rule().point(key)).map(|()| believed.shard)
}

/// What a router has heard in its life: whole maps and refusals, from versions in any order.
fn lives() -> impl Strategy<Value = Vec<(bool, usize, usize)>> {
    prop::collection::vec((prop::bool::weighted(0.2), any::<usize>(), any::<usize>()), 0..12)
}

fn live(
    router: &mut Router,
    maps: &[&ShardMap],
    life: &[(bool, usize, usize)],
    each: impl Fn(&Router, &Router),
) {
    for (whole, version, key) in life {
        let map = maps[version % maps.len()];
        let before = router.clone();
        if *whole {
            router.learn(map);
        } else if let Err(stale) = ask(router, map, &keys()[key % 64]) {
            router.repair(&stale);
        }
        each(&before, router);
    }
}

proptest! {
    /// However old what it knows: asked a server with the newest map, it arrives with the second question; and when the servers that
    /// it asks are late themselves, it arrives as soon as one is not.
    #[test]
    fn who_asks_arrives(intents in intents(80), life in lives(), late in prop::collection::vec(any::<usize>(), 0..6), key in 0usize..64) {
        let (states, _) = history(&intents);
        let maps: Vec<&ShardMap> = states.iter().map(|shards| shards.map()).collect();
        let (newest, key) = (maps[maps.len() - 1], &keys()[key]);
        let mut router = Router::new();
        live(&mut router, &maps, &life, |_, _| {});
        for version in &late {
            if let Err(stale) = ask(&router, maps[version % maps.len()], key) {
                router.repair(&stale);
            }
        }
        let mut questions = 1;
        let shard = loop {
            match ask(&router, newest, key) {
                Ok(shard) => break shard,
                Err(stale) => prop_assert_eq!(router.repair(&stale), Repaired::Learnt),
            }
            questions += 1;
            prop_assert!(questions <= 2);
        };
        prop_assert_eq!(shard, newest.locate(key).shard);
    }

    /// A server of any version serves a key only for whom it takes for the owner, and for whoever believes of it what it believes.
    #[test]
    fn only_the_owner_is_asked_with_success(intents in intents(80), life in lives()) {
        let (states, _) = history(&intents);
        let maps: Vec<&ShardMap> = states.iter().map(|shards| shards.map()).collect();
        let mut router = Router::new();
        live(&mut router, &maps, &life, |_, _| {});
        for map in &maps {
            for key in keys() {
                let Ok(shard) = ask(&router, map, &key) else { continue };
                let (owner, believed) = (map.locate(&key), router.route(&key).expect("asked").entry);
                prop_assert_eq!(shard, owner.shard);
                prop_assert_eq!((&believed.from, &believed.to), (&owner.from, &owner.to));
                prop_assert_eq!(believed.range_version, owner.range_version);
            }
        }
    }

    /// If every part of a range is served, then all who hold a part were asked, and nobody else.
    #[test]
    fn a_range_is_served_by_all_who_hold_it(intents in intents(80), life in lives(), one in 0usize..64, two in 0usize..65) {
        let (states, _) = history(&intents);
        let maps: Vec<&ShardMap> = states.iter().map(|shards| shards.map()).collect();
        let mut router = Router::new();
        live(&mut router, &maps, &life, |_, _| {});
        let (from, to) = (keys()[one].clone(), keys().get(two).cloned());
        for map in &maps {
            let span = map.rule().covers(&from, to.as_deref());
            let served = |route: &Route<'_>| check(map, &route.believed(), &span).is_ok();
            match router.route_range(&from, to.as_deref()) {
                Ok(routes) if routes.iter().all(served) => {
                    let asked: Vec<ShardId> = routes.iter().map(|route| route.entry.shard).collect();
                    let hold: Vec<ShardId> = map.locate_range(&from, to.as_deref()).map(|entry| entry.shard).collect();
                    prop_assert_eq!(asked, hold);
                }
                Ok(_) => {}
                Err(NeedsMap { token }) => prop_assert!(router.rule().covers(&from, to.as_deref()).holds(&token)),
            }
        }
        router.learn(maps[maps.len() - 1]);
        prop_assert!(router.route_range(&from, to.as_deref()).is_ok());
    }

    /// Whatever comes, and however late: what is known of a key is never replaced by what is older.
    #[test]
    fn a_router_never_goes_back(intents in intents(80), life in lives()) {
        let (states, _) = history(&intents);
        let maps: Vec<&ShardMap> = states.iter().map(|shards| shards.map()).collect();
        live(&mut Router::new(), &maps, &life, |before, after| {
            assert!(after.map_version() >= before.map_version());
            for key in keys() {
                if let (Ok(old), Ok(new)) = (before.route(&key), after.route(&key)) {
                    assert!(new.believed().map_version >= old.believed().map_version);
                    assert!(before.rule() != after.rule() || new.entry.range_version >= old.entry.range_version);
                }
            }
        });
    }
}

#[test]
fn who_knows_nothing_asks_anybody_and_is_told() {
    let (shards, mut router) = (cut_at(&["h", "p"]), Router::new());
    assert_eq!(router.route(b"k"), Err(NeedsMap { token: Token::from("k") }));
    let stale = ask(&router, shards.map(), b"k").expect_err("it believes nothing");
    assert_eq!(stale.fresh.iter().map(|entry| entry.shard.0).collect::<Vec<_>>(), [2]);
    assert_eq!(router.repair(&stale), Repaired::Learnt);
    assert_eq!(ask(&router, shards.map(), b"k"), Ok(ShardId(2)));
}

/// L04: what has been given away is not served, though the key was there.
#[test]
fn l04_a_shard_that_was_split_serves_nobody_who_has_not_heard_of_it() {
    let mut shards = one();
    let mut router = learnt(shards.map());
    changed(&mut shards, &begin_split(1, 1, "m", 2));
    assert_eq!(
        ask(&router, shards.map(), b"a"),
        Ok(ShardId(1)),
        "a split that only begins changes nothing for anybody"
    );
    changed(&mut shards, &end_split(1, 1, 2));
    for key in [b"a", b"m", b"z"] {
        let stale = ask(&router, shards.map(), key).expect_err("the range is another");
        let mut router = router.clone();
        assert_eq!(router.repair(&stale), Repaired::Learnt);
        assert_eq!(ask(&router, shards.map(), key), Ok(shards.map().locate(key).shard));
    }
    // Who is asked for the child's key tells of both halves.
    let stale = ask(&router, shards.map(), b"z").expect_err("the range is another");
    assert_eq!(stale.fresh.len(), 2);
    router.repair(&stale);
    assert_eq!(router.route_range(b"a", None).expect("no hole").len(), 2);
}

/// L04, after a merge.
#[test]
fn l04_a_shard_that_was_merged_serves_nobody_who_has_not_heard_of_it() {
    let mut shards = cut_at(&["m"]);
    let router = learnt(shards.map());
    changed(&mut shards, &begin_merge(1, 2, 2, 2));
    assert_eq!(ask(&router, shards.map(), b"z"), Ok(ShardId(2)));
    changed(&mut shards, &end_merge(1, 2, 2));
    for key in [b"a", b"z"] {
        let stale = ask(&router, shards.map(), key).expect_err("the range is another");
        assert_eq!(stale.fresh.len(), 1);
    }
}

#[test]
fn a_server_that_is_late_serves_nobody_who_knows_more_and_teaches_them_nothing() {
    let mut shards = one();
    let late = shards.map().clone();
    changed(&mut shards, &begin_split(1, 1, "m", 2));
    changed(&mut shards, &end_split(1, 1, 2));
    let mut router = learnt(shards.map());
    for key in [b"a", b"z"] {
        let stale = ask(&router, &late, key).expect_err("it does not know what s1 is at 2");
        let before = router.clone();
        assert_eq!(router.repair(&stale), Repaired::Nothing);
        assert_eq!(router, before);
        assert_eq!(ask(&router, shards.map(), key), Ok(shards.map().locate(key).shard));
    }
}

#[test]
fn one_half_of_a_split_leaves_a_hole_that_is_told_of() {
    let mut shards = one();
    let mut router = learnt(shards.map());
    changed(&mut shards, &begin_split(1, 1, "m", 2));
    changed(&mut shards, &end_split(1, 1, 2));
    let half = Stale {
        map_version: shards.map().version(),
        rule: Rule::Range,
        fresh: vec![shards.map().locate(b"m").clone()],
    };
    let late = check(shards.map(), &Believed::default(), &Rule::Range.point(b"m"));
    assert_eq!(late, Err(half.clone()));
    router.repair(&half);
    assert_eq!(router.route(b"z").expect("learnt").entry.shard, ShardId(2));
    assert_eq!(router.route(b"a"), Err(NeedsMap { token: Token::from("a") }));
    assert_eq!(router.route_range(b"b", Some(b"y")), Err(NeedsMap { token: Token::from("b") }));
    assert_eq!(router.route_range(b"n", None).expect("learnt").len(), 1);
    // The old entry comes again, late, and does not fill the hole.
    let old = Stale { map_version: 1, rule: Rule::Range, fresh: vec![one().map().shards()[0].clone()] };
    assert_eq!(router.repair(&old), Repaired::Nothing);
    assert!(router.route(b"a").is_err());
    router.learn(shards.map());
    assert_eq!(router.route_range(b"", None).expect("whole").len(), 2);
}

#[test]
fn who_believes_in_members_of_before_is_told_and_who_knows_newer_ones_is_served() {
    let mut shards = one();
    let before = shards.map().clone();
    let old = learnt(&before);
    changed(&mut shards, &move_to(1, 1, &[4, 5, 6]));
    assert_eq!(ask(&old, shards.map(), b"a"), Ok(ShardId(1)));
    changed(&mut shards, &moved(1, 1, &[4, 5, 6]));
    let stale = ask(&old, shards.map(), b"a").expect_err("the members are others");
    assert_eq!(stale.fresh[0].config_version, 2);
    // What the shard holds is the same, so a late server need not refuse.
    assert_eq!(ask(&learnt(shards.map()), &before, b"a"), Ok(ShardId(1)));
}

#[test]
fn another_rule_makes_a_router_forget_and_a_late_refusal_does_not_bring_the_old_one_back() {
    let mut shards = one();
    let before = shards.map().clone();
    let mut router = learnt(&before);
    router.leader_is(GroupId(1), NodeId(2));
    let rule = Rule::Hash;
    changed(&mut shards, &quorate_placement::shards::Command::SetRule { rule, range_version: 1 });
    let stale = ask(&router, shards.map(), b"a").expect_err("tokens are others");
    assert_eq!(router.repair(&stale), Repaired::Learnt);
    assert_eq!(router.rule(), Rule::Hash);
    let late =
        check(&before, &Believed::default(), &before.rule().point(b"a")).expect_err("nothing is believed");
    let knows = router.clone();
    assert_eq!(router.repair(&late), Repaired::Nothing);
    assert_eq!(router, knows);
}

#[test]
fn leaders_are_remembered_as_long_as_their_group_is() {
    let mut shards = cut_at(&["m"]);
    let mut router = learnt(shards.map());
    let (left, right) = (GroupId(1), GroupId(102));
    router.leader_is(left, NodeId(1));
    router.leader_is(right, NodeId(2));
    router.leader_is(GroupId(9), NodeId(3));
    assert_eq!(router.route(b"z").expect("known").leader, Some(NodeId(2)));
    router.leader_was_not(right, NodeId(1));
    assert_eq!(router.route(b"z").expect("known").leader, Some(NodeId(2)), "another was asked");
    router.leader_was_not(right, NodeId(2));
    assert_eq!(router.route(b"z").expect("known").leader, None);

    router.leader_is(right, NodeId(2));
    changed(&mut shards, &begin_merge(1, 2, 2, 2));
    changed(&mut shards, &end_merge(1, 2, 2));
    router.learn(shards.map());
    let route = router.route(b"z").expect("known");
    assert_eq!((route.entry.group, route.leader), (left, Some(NodeId(1))));
    let mut fresh = learnt(shards.map());
    fresh.leader_is(left, NodeId(1));
    assert_eq!(router, fresh, "nothing is kept of a group that is no more");
}

#[test]
fn a_merge_that_is_given_up_is_told_to_whoever_believed_in_the_time_before() {
    let mut shards = cut_at(&["m"]);
    let router = learnt(shards.map());
    changed(&mut shards, &begin_merge(1, 2, 2, 2));
    changed(&mut shards, &abort_merge(1, 2, 2));
    for key in [b"a", b"z"] {
        let stale = ask(&router, shards.map(), key).expect_err("the versions have grown");
        assert_eq!(stale.fresh[0].range_version, 3);
    }
}

/// By hash a range concerns everybody, and a refusal holds only so much of it; the rest is a hole, and that is told.
#[test]
fn a_refusal_holds_no_more_than_it_may() {
    let cuts: Vec<String> = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).collect();
    let shards = cut_at(&cuts.iter().map(String::as_str).collect::<Vec<_>>());
    let stale = check(shards.map(), &Believed::default(), &Rule::Range.covers(b"", None))
        .expect_err("nothing is believed");
    assert_eq!(stale.fresh.len(), quorate_placement::shards::FRESH_MAX);
    let mut router = Router::new();
    router.repair(&stale);
    assert_eq!(router.route_range(b"", None), Err(NeedsMap { token: Token::from("p") }));
}

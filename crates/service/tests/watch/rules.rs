//! What a client of a watch may rely on, one promise a test (E3, and etcd's own answers).

use quorate_consensus::Duration;
use quorate_keyspace::{Command, Compact, Operation, Txn};
use quorate_service::watch::{NO_WATCH, Settings};
use quorate_wire::etcdserverpb as pb;

use crate::common::{NOW, World, bytes, delete, put, puts, shown, watch, watch_range};

fn world() -> World {
    World::new(Settings::default())
}

/// One that parks a watcher after a few events.
fn narrow() -> World {
    World::new(Settings { queue_bytes_max: 600, response_bytes_max: 200, ..Settings::default() })
}

fn compact(world: &mut World, revision: i64) {
    world.apply(&Command::Compact(Compact { revision, physical: false }));
}

fn all_shown(responses: &[pb::WatchResponse]) -> Vec<String> {
    responses.iter().flat_map(shown).collect()
}

#[test]
fn e3_a_watch_says_that_it_is_there_before_it_tells_of_anything() {
    let mut world = world();
    let stream = world.hub.open();
    world.create(stream, watch("a"));
    world.put("a", "1");
    world.put("b", "1");
    world.delete("a");
    let responses = world.read(stream);
    assert!(responses[0].created && responses[0].watch_id == 0 && responses[0].events.is_empty());
    assert_eq!(responses[0].header.unwrap().revision, 1);
    assert_eq!(all_shown(&responses), ["a@2", "-a@4"]);
    let gone = responses[2].events[0].kv.clone().unwrap();
    assert_eq!(
        (gone.create_revision, gone.version, gone.value.len()),
        (0, 0, 0),
        "key and mod_revision alone"
    );
}

#[test]
fn w09_ids_are_drawn_from_zero_and_each_can_be_canceled() {
    let mut world = world();
    let stream = world.hub.open();
    world.create(stream, pb::WatchCreateRequest { watch_id: 1, ..watch("a") });
    world.create(stream, watch("a"));
    world.create(stream, watch("a"));
    world.create(stream, pb::WatchCreateRequest { watch_id: 1, ..watch("a") });
    world.create(stream, pb::WatchCreateRequest { watch_id: NO_WATCH, ..watch("a") });
    let ids: Vec<(i64, bool)> =
        world.read(stream).iter().map(|response| (response.watch_id, response.canceled)).collect();
    assert_eq!(ids, [(1, false), (0, false), (2, false), (-1, true), (-1, true)]);
    world.cancel(stream, 0);
    world.cancel(stream, 77);
    world.put("a", "1");
    let responses = world.read(stream);
    assert!(responses[0].canceled && responses[0].watch_id == 0);
    let told: Vec<i64> = responses[1..].iter().map(|response| response.watch_id).collect();
    assert_eq!(told.len(), 2, "the two others, and nothing of 77");
    assert!(told.contains(&1) && told.contains(&2));
}

#[test]
fn refusals_are_etcds() {
    let mut world = world();
    let stream = world.hub.open();
    world.create(stream, pb::WatchCreateRequest { watch_id: 5, ..watch("a") });
    world.create(stream, pb::WatchCreateRequest { watch_id: 5, ..watch("a") });
    world.create(stream, watch_range("b", "a"));
    world.create(stream, pb::WatchCreateRequest { watch_id: 5, ..watch_range("b", "b") });
    world.create(stream, pb::WatchCreateRequest { start_revision: -1, ..watch("a") });
    let reasons: Vec<String> = world.read(stream)[1..]
        .iter()
        .map(|response| {
            assert!(response.created && response.canceled && response.watch_id == -1);
            response.cancel_reason.clone()
        })
        .collect();
    let empty = "mvcc: watcher range is empty";
    let duplicate = "mvcc: duplicate watch ID provided on the WatchStream";
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(reasons, [duplicate, empty, empty, compacted]);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn w09b_a_watch_from_a_revision_below_zero_is_found_planted() {
    quorate_consensus::hunt_plant("W09b", "E3", [()], |()| refusals_are_etcds());
}

#[test]
fn a_watch_of_an_empty_key_is_one_of_the_smallest_and_a_zero_byte_is_no_bound() {
    let mut world = world();
    let stream = world.hub.open();
    world.create(stream, watch(""));
    world.create(stream, pb::WatchCreateRequest { range_end: bytes("\0"), ..watch("") });
    world.put("\0", "1");
    world.put("zz", "1");
    let mut told: Vec<(i64, Vec<String>)> =
        world.read(stream)[2..].iter().map(|response| (response.watch_id, shown(response))).collect();
    told.sort();
    let wanted = [(0, vec!["\0@2"]), (1, vec!["\0@2"]), (1, vec!["zz@3"])];
    assert_eq!(told, wanted.map(|(id, keys)| (id, keys.into_iter().map(str::to_owned).collect())));
}

#[test]
fn e3_a_start_in_the_past_tells_everything_from_there_and_then_what_happens() {
    let mut world = world();
    for value in ["1", "2", "3"] {
        world.put("a", value);
        world.put("b", value);
    }
    let stream = world.hub.open();
    world.create(stream, pb::WatchCreateRequest { start_revision: 4, ..watch("a") });
    world.create(stream, pb::WatchCreateRequest { start_revision: 4, ..watch_range("a", "c") });
    world.put("a", "4");
    let responses = world.read(stream);
    let of = |id| -> Vec<String> {
        responses.iter().filter(|response| response.watch_id == id).flat_map(shown).collect()
    };
    assert_eq!(of(0), ["a@4", "a@6", "a@8"]);
    assert_eq!(of(1), ["a@4", "b@5", "a@6", "b@7", "a@8"]);
}

#[test]
fn w03_a_start_in_the_future_says_nothing_until_then() {
    let mut world = world();
    let stream = world.hub.open();
    world.create(stream, pb::WatchCreateRequest { start_revision: 4, ..watch("a") });
    world.progress(stream);
    world.put("a", "1");
    world.put("a", "2");
    world.put("a", "3");
    assert_eq!(all_shown(&world.read(stream)), ["a@4"]);
    world.progress(stream);
    let progress = world.read(stream);
    assert_eq!((progress[0].watch_id, progress[0].header.unwrap().revision), (-1, 4));
}

#[test]
fn w05_a_start_that_is_compacted_ends_the_watch_and_one_at_the_compacted_revision_does_not() {
    let mut world = world();
    world.put("a", "1");
    world.put("a", "2");
    world.delete("a");
    world.put("b", "1");
    compact(&mut world, 4);
    let stream = world.hub.open();
    world.create(stream, pb::WatchCreateRequest { start_revision: 3, ..watch("a") });
    world.create(stream, pb::WatchCreateRequest { start_revision: 4, ..watch("a") });
    world.create(stream, pb::WatchCreateRequest { start_revision: 4, ..watch_range("a", "c") });
    let responses = world.read(stream);
    let gone = responses.iter().find(|response| response.canceled).unwrap();
    assert_eq!((gone.watch_id, gone.compact_revision, gone.created), (0, 4, false));
    assert_eq!(gone.cancel_reason, "");
    assert!(responses[0].created && responses[0].watch_id == 0, "first it is there");
    let of = |id| -> Vec<String> {
        responses.iter().filter(|response| response.watch_id == id).flat_map(shown).collect()
    };
    assert_eq!(of(1), ["-a@4"]);
    assert_eq!(of(2), ["-a@4", "b@5"]);
}

#[test]
fn w10_prev_kv_is_what_was_there_before_and_nothing_for_a_key_that_is_new() {
    let mut world = world();
    let stream = world.hub.open();
    let create = |start_revision| pb::WatchCreateRequest { prev_kv: true, start_revision, ..watch("a") };
    world.create(stream, create(0));
    world.put("a", "1");
    world.put("a", "2");
    world.delete("a");
    world.create(stream, create(1));
    world.create(stream, pb::WatchCreateRequest { range_end: bytes("b"), ..create(1) });
    let responses = world.read(stream);
    for id in 0..3 {
        let prevs: Vec<Option<String>> = responses
            .iter()
            .filter(|response| response.watch_id == id)
            .flat_map(|response| &response.events)
            .map(|event| event.prev_kv.as_ref().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
            .collect();
        assert_eq!(prevs, [None, Some("1".to_owned()), Some("2".to_owned())], "watch {id}");
    }
}

#[test]
fn filters_drop_what_is_not_wanted_and_an_empty_response_is_not_sent() {
    let mut world = world();
    let stream = world.hub.open();
    world.create(stream, pb::WatchCreateRequest { filters: vec![0], ..watch("a") });
    world.create(stream, pb::WatchCreateRequest { filters: vec![1], ..watch("a") });
    world.create(stream, pb::WatchCreateRequest { filters: vec![0, 1], ..watch("a") });
    world.put("a", "1");
    world.delete("a");
    let mut told: Vec<(i64, Vec<String>)> =
        world.read(stream)[3..].iter().map(|response| (response.watch_id, shown(response))).collect();
    told.sort();
    assert_eq!(told, [(0, vec!["-a@3".to_owned()]), (1, vec!["a@2".to_owned()])]);
}

#[test]
fn w07_the_events_of_one_revision_come_together() {
    let mut world = world();
    let stream = world.hub.open();
    world.create(stream, watch_range("a", "z"));
    world.apply(&puts(&[("a", "1"), ("b", "1"), ("c", "1")]));
    world.tell();
    world.create(stream, pb::WatchCreateRequest { start_revision: 2, ..watch_range("a", "z") });
    let responses = world.read(stream);
    let told: Vec<Vec<String>> =
        responses.iter().filter(|response| !response.events.is_empty()).map(shown).collect();
    assert_eq!(told, vec![vec!["a@2", "b@2", "c@2"]; 2]);
}

#[test]
fn w07_a_large_revision_is_sent_in_parts_to_those_who_want_that_and_whole_to_others() {
    let mut world = World::new(Settings { fragment_bytes: 100, ..Settings::default() });
    let stream = world.hub.open();
    world.create(stream, pb::WatchCreateRequest { fragment: true, ..watch_range("a", "z") });
    world.create(stream, watch_range("a", "z"));
    let value = "x".repeat(60);
    world.apply(&puts(&[("a", &value), ("b", &value), ("c", &value)]));
    world.tell();
    let responses = world.read(stream);
    let parts: Vec<bool> = responses[2..]
        .iter()
        .filter(|response| response.watch_id == 0)
        .map(|response| response.fragment)
        .collect();
    assert_eq!(parts, [true, true, false]);
    let whole: Vec<&pb::WatchResponse> =
        responses[2..].iter().filter(|response| response.watch_id == 1).collect();
    assert_eq!((whole.len(), whole[0].events.len(), whole[0].fragment), (1, 3, false));
}

#[test]
fn w04_a_client_that_does_not_read_loses_nothing_and_costs_a_bounded_queue() {
    let mut world = narrow();
    let (slow, quick) = (world.hub.open(), world.hub.open());
    world.create(slow, watch_range("a", "z"));
    world.create(slow, watch("a"));
    world.create(quick, watch("a"));
    for value in 0..500 {
        world.put("a", &value.to_string());
        assert!(world.next(quick).is_some(), "a slow one does not hold a quick one up");
    }
    assert!(!world.hub.is_behind(), "whoever is not read is not looked at");
    let responses = world.read(slow);
    for id in 0..2 {
        let told: Vec<String> =
            responses.iter().filter(|response| response.watch_id == id).flat_map(shown).collect();
        let wanted: Vec<String> = (2..502).map(|revision| format!("a@{revision}")).collect();
        assert_eq!(told, wanted, "watch {id}");
    }
}

#[test]
fn w04_compaction_under_a_slow_client_is_said_and_never_passed_over() {
    let mut world = narrow();
    let stream = world.hub.open();
    world.create(stream, watch("a"));
    for value in 0..100 {
        world.put("a", &value.to_string());
    }
    compact(&mut world, 90);
    let responses = world.read(stream);
    let told = all_shown(&responses);
    assert_eq!(told, (2..2 + told.len()).map(|revision| format!("a@{revision}")).collect::<Vec<_>>());
    let last = responses.last().unwrap();
    assert!(last.canceled && last.compact_revision == 90, "{last:?}");
}

#[test]
fn w01_progress_never_overtakes_events() {
    let mut world = narrow();
    let stream = world.hub.open();
    world.create(stream, watch("a"));
    for value in 0..50 {
        world.put("a", &value.to_string());
    }
    world.progress(stream);
    let responses = world.read(stream);
    let at =
        responses.iter().position(|response| response.watch_id == -1).expect("it is told once it is there");
    assert_eq!(responses[at].header.unwrap().revision, 51);
    assert_eq!(all_shown(&responses[..at]).last().unwrap(), "a@51");
}

#[test]
fn progress_of_no_watch_is_not_told() {
    let mut world = world();
    let stream = world.hub.open();
    world.progress(stream);
    assert_eq!(world.read(stream), []);
}

#[test]
fn quiet_watches_that_want_it_are_told_how_far_they_have_come() {
    let interval = Duration::from_secs(10);
    let mut world = World::new(Settings { progress_interval: interval, ..Settings::default() });
    let stream = world.hub.open();
    world.create(stream, pb::WatchCreateRequest { progress_notify: true, ..watch("a") });
    world.create(stream, pb::WatchCreateRequest { progress_notify: true, ..watch("b") });
    world.create(stream, watch("c"));
    world.create(stream, pb::WatchCreateRequest { progress_notify: true, start_revision: 9, ..watch("b") });
    world.put("a", "1");
    world.read(stream);
    let due = world.hub.poll_timeout().unwrap();
    assert!(due.since(NOW) >= interval && due.since(NOW) <= interval.mul_f64(1.1));
    world.hub.tick(NOW + interval.mul_f64(0.9));
    assert_eq!(world.read(stream), []);
    world.hub.tick(due);
    let ids = |responses: Vec<pb::WatchResponse>| -> Vec<(i64, i64)> {
        responses.iter().map(|response| (response.watch_id, response.header.unwrap().revision)).collect()
    };
    assert_eq!(ids(world.read(stream)), [(1, 2)], "not one that was told something meanwhile");
    world.hub.tick(world.hub.poll_timeout().unwrap());
    assert_eq!(ids(world.read(stream)), [(0, 2), (1, 2)]);
}

#[test]
fn w08_w02_a_snapshot_makes_nobody_miss_or_repeat_anything() {
    let mut world = world();
    let stream = world.hub.open();
    world.create(stream, watch("a"));
    world.create(stream, watch_range("a", "c"));
    world.put("a", "1");
    assert_eq!(all_shown(&world.read(stream)), ["a@2", "a@2"]);
    world.apply(&put("a", "2"));
    world.apply(&Command::DeleteRange(delete("a")));
    // The store is there, how it got there is not known.
    world.untold.clear();
    world.told_to = world.revision();
    world.hub.skipped(world.told_to);
    world.put("a", "3");
    let responses = world.read(stream);
    for id in 0..2 {
        let told: Vec<String> =
            responses.iter().filter(|response| response.watch_id == id).flat_map(shown).collect();
        assert_eq!(told, ["a@3", "-a@4", "a@5"]);
    }
}

#[test]
fn changes_that_were_not_handed_over_are_found_in_history() {
    let mut world = world();
    let stream = world.hub.open();
    world.create(stream, watch("a"));
    world.apply(&put("a", "1"));
    world.untold.clear();
    world.told_to = 2;
    world.put("a", "2");
    assert_eq!(all_shown(&world.read(stream)), ["a@2", "a@3"]);
}

#[test]
fn a_watch_from_now_on_tells_nothing_that_was_done_before_even_if_the_hub_has_not_heard_of_it() {
    let mut world = world();
    world.apply(&put("a", "1"));
    let stream = world.hub.open();
    world.create(stream, watch("a"));
    world.tell();
    world.put("a", "2");
    assert_eq!(all_shown(&world.read(stream)), ["a@3"]);
}

#[test]
fn w06_a_transaction_of_many_operations_is_told_once() {
    let mut world = world();
    for _ in 0..3 {
        let mut txn = Txn::default();
        for key in ["a", "b"] {
            txn.success.push(Operation::DeleteRange(delete(key)));
        }
        world.apply(&puts(&[("a", "1"), ("b", "1")]));
        world.apply(&Command::Txn(txn));
    }
    world.tell();
    let stream = world.hub.open();
    world.create(stream, pb::WatchCreateRequest { start_revision: 1, ..watch_range("a", "c") });
    let told = all_shown(&world.read(stream));
    assert_eq!(told.len(), 12);
    assert_eq!(&told[..4], ["a@2", "b@2", "-a@3", "-b@3"]);
}

#[test]
fn a_member_takes_so_many_watches_and_no_more() {
    let mut world = World::new(Settings { watches_max: 2, ..Settings::default() });
    let stream = world.hub.open();
    for _ in 0..3 {
        world.create(stream, watch("a"));
    }
    let responses = world.read(stream);
    assert!(responses[2].canceled && responses[2].cancel_reason.contains("2 watches"), "{:?}", responses[2]);
    world.hub.close(stream);
    assert_eq!((world.hub.watches(), world.hub.streams()), (0, 0));
}

//! What a lease's client may rely on, one promise a test.

use quorate_consensus::{Duration, Instant, StateMachine as _};
use quorate_keyspace::{Command, LeaseId};
use quorate_service::lease::{ASK_AGAIN, Asks, BARRIER_AGAIN, EXPIRE_COMMANDS_MAX, Word};

use crate::common::{World, keep_alive, time_to_live};

#[test]
fn e5_a_lease_ends_when_its_time_is_up_and_its_keys_with_it_and_not_before() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 10);
    world.put("a", 7);
    world.put("b", 7);
    world.put("c", 0);
    world.pass(9.9);
    world.settle();
    assert!(world.lives(7) && world.has("a"));
    world.pass(0.1);
    let before = world.store.view().revision();
    world.settle();
    assert!(!world.lives(7) && !world.has("a") && !world.has("b") && world.has("c"));
    assert_eq!(world.store.view().revision(), before + 1, "its keys go in one revision");
}

#[test]
fn e5_a_lease_that_is_kept_alive_lives_for_its_whole_time_from_then() {
    let mut world = World::new();
    world.grant(7, 10);
    for number in 0..5 {
        world.pass(4.0);
        world.ask(number, keep_alive(7));
        world.settle();
        assert_eq!(world.answers(), [(number, Some(10))]);
    }
    world.pass(9.9);
    world.settle();
    assert!(world.lives(7));
    world.pass(0.2);
    world.settle();
    assert!(!world.lives(7));
}

#[test]
fn an_unknown_lease_is_no_error_and_time_to_live_changes_nothing() {
    let mut world = World::new();
    world.grant(7, 10);
    world.settle();
    world.pass(3.5);
    world.ask(1, keep_alive(8));
    world.ask(2, time_to_live(8));
    world.ask(3, time_to_live(7));
    world.settle();
    assert_eq!(world.answers(), [(1, None), (2, None), (3, Some(6))]);
    world.pass(6.5);
    world.settle();
    assert!(!world.lives(7));
}

#[test]
fn e11_a_lease_that_is_over_is_not_kept_alive_but_answered_when_it_has_ended() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 10);
    world.pass(10.0);
    assert!(world.barrier(), "its end is decided");
    world.ask(1, keep_alive(7));
    assert!(world.barrier());
    assert_eq!(world.answers(), [], "nobody knows yet whether it ends");
    world.commit();
    assert_eq!(world.answers(), [(1, None)]);
    assert!(!world.lives(7));
}

#[test]
fn a_question_that_came_before_the_end_was_decided_is_answered_first() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 10);
    world.pass(9.99);
    world.ask(1, keep_alive(7));
    assert!(world.steward.wants_barrier(world.now));
    // It takes long, and another asks meanwhile.
    world.pass(0.2);
    world.ask(2, keep_alive(7));
    let commands = world.steward.barrier_done(&world.store.view(), world.now);
    assert_eq!(commands, []);
    world.settle();
    assert_eq!(world.answers(), [(1, Some(10)), (2, Some(10))]);
}

#[test]
fn e14_the_end_of_a_lease_is_not_that_of_another_of_its_id() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 10);
    world.pass(10.0);
    assert!(world.barrier());
    world.apply(&Command::LeaseRevoke { id: LeaseId(7) }).0.unwrap();
    world.grant(7, 10);
    world.commit();
    assert!(world.lives(7), "the second has just begun");
    world.pass(10.0);
    world.settle();
    assert!(!world.lives(7));
}

#[test]
fn e10_what_a_leader_decided_counts_in_its_epoch_alone() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 10);
    world.pass(10.0);
    assert!(world.barrier());
    let stale = world.proposed.clone();
    world.elect();
    for command in stale {
        assert!(world.apply(&command).0.is_err());
    }
    assert!(world.lives(7));
}

/// The storm cannot find these: it has one steward at a time, and its model lets every leader begin anew.
#[cfg(feature = "planted-bugs")]
#[test]
fn what_the_storm_cannot_find_is_found_by_its_rule() {
    let rules: [(&str, fn()); 2] = [
        ("E12", e12_nobody_is_answered_by_a_barrier_that_failed_and_the_next_is_not_begun_at_once),
        ("E13", e13_a_lease_ends_in_spite_of_repeated_elections),
    ];
    for (id, rule) in rules {
        quorate_consensus::activate_plant(id);
        let found = std::panic::catch_unwind(rule).is_err();
        quorate_consensus::activate_plant("");
        assert!(found, "{id} was not found");
    }
}

#[test]
fn e13_a_lease_ends_in_spite_of_repeated_elections() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 100);
    let began = world.now;
    // Nobody keeps it alive, and nobody leads for longer than ten seconds: without checkpoints it would begin anew each time.
    while world.lives(7) {
        for _ in 0..100 {
            world.pass(0.6);
            world.settle();
        }
        world.elect();
        assert!(world.now.since(began) < Duration::from_secs(400), "it never ends");
    }
    assert!(world.now.since(began) >= Duration::from_secs(100));
}

#[test]
fn e5_what_a_client_was_promised_outlives_the_leader_and_its_checkpoints() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 100);
    world.pass(60.0);
    world.settle();
    let left = world.store.view().lease(LeaseId(7)).unwrap().remaining_s;
    assert_eq!(left, 40, "half of it has gone");
    world.ask(1, keep_alive(7));
    assert!(world.barrier());
    assert_eq!(world.answers(), [], "the log says less than would be promised");
    world.commit();
    assert_eq!(world.answers(), [(1, Some(100))]);
    world.elect();
    world.pass(99.0);
    world.settle();
    assert!(world.lives(7));
}

#[test]
fn a_checkpoint_that_is_on_its_way_is_taken_back_as_well() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 100);
    world.pass(60.0);
    assert!(world.barrier(), "a checkpoint is proposed");
    world.ask(1, keep_alive(7));
    assert!(world.barrier());
    assert_eq!(world.answers(), []);
    world.commit();
    assert_eq!(world.answers(), [(1, Some(100))]);
    assert_eq!(world.store.view().lease(LeaseId(7)).unwrap().remaining_s, 0);
}

#[test]
fn a_lease_that_was_granted_unheard_is_known_by_its_view() {
    let mut world = World::new();
    world.settle();
    world.apply(&Command::LeaseGrant { id: LeaseId(7), ttl_s: 10 }).0.unwrap();
    // A steward that has heard nothing of it yet, of the same epoch.
    let mut deaf = quorate_service::lease::Steward::new(quorate_consensus::Epoch(1));
    std::mem::swap(&mut world.steward, &mut deaf);
    world.settle();
    world.ask(1, keep_alive(7));
    world.settle();
    assert_eq!(world.answers(), [(1, Some(10))]);
}

#[test]
fn as_many_leases_as_there_are_end_together() {
    let mut world = World::new();
    world.settle();
    for id in 1..=40_000 {
        world.grant(id, 5);
    }
    world.pass(5.0);
    assert!(world.barrier());
    assert_eq!(world.proposed.len(), EXPIRE_COMMANDS_MAX);
    world.commit();
    world.settle();
    assert_eq!(world.store.view().lease_count(), 0);
}

#[test]
fn e12_nobody_is_answered_by_a_barrier_that_failed_and_the_next_is_not_begun_at_once() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 10);
    world.ask(1, keep_alive(7));
    assert!(world.steward.wants_barrier(world.now));
    world.steward.barrier_failed(world.now);
    world.ask(2, keep_alive(7));
    assert!(!world.steward.wants_barrier(world.now));
    let next = world.steward.poll_timeout().expect("it is wanted");
    assert_eq!(next.since(world.now), BARRIER_AGAIN);
    world.now = next;
    world.settle();
    assert_eq!(world.answers(), [(2, Some(10))], "whoever asked before asks again");
}

#[test]
fn an_end_that_is_lost_is_proposed_again() {
    let mut world = World::new();
    world.settle();
    world.grant(7, 5);
    world.pass(5.0);
    assert!(world.barrier());
    world.proposed.clear();
    assert!(!world.barrier(), "not at once");
    world.pass(1.0);
    world.settle();
    assert!(!world.lives(7));
}

#[test]
fn questions_gather_and_are_asked_again_until_they_are_answered() {
    let mut asks = Asks::new(3);
    let now = Instant::START;
    asks.ask(keep_alive(1), 10);
    asks.ask(keep_alive(1), 11);
    asks.ask(time_to_live(2), 12);
    let words = asks.words(now);
    let [Word::Ask { number, questions }] = &words[..] else { panic!("{words:?}") };
    assert_eq!(*questions, [keep_alive(1), time_to_live(2)]);
    assert_eq!(asks.words(now), []);
    assert_eq!(asks.told(*number, vec![(keep_alive(1), Some(5))]), [(10, Some(5)), (11, Some(5))]);
    let again = asks.words(now + ASK_AGAIN);
    let [Word::Ask { number: second, questions }] = &again[..] else { panic!("{again:?}") };
    assert_eq!(*questions, [time_to_live(2)]);
    assert_eq!(asks.told(*number, vec![(time_to_live(2), None)]), [], "an answer to what is asked no more");
    asks.leader_changed();
    let third = asks.words(now + ASK_AGAIN);
    let [Word::Ask { number: third, .. }] = &third[..] else { panic!("{third:?}") };
    assert!(third > second);
    asks.forget(12);
    assert_eq!(asks.poll_timeout(), None);
    assert_eq!(asks.words(now + ASK_AGAIN * 9), []);
}

#[test]
fn more_questions_than_a_word_holds_go_in_several() {
    let mut asks = Asks::new(0);
    (0..2_500).for_each(|id| asks.ask(keep_alive(id), id as u64));
    let words = asks.words(Instant::START);
    assert_eq!(words.len(), 3);
    for word in words {
        assert_eq!(Word::decode(word.encode()), Ok(word));
    }
}

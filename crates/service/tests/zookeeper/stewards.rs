//! Whose time is over.

use quorate_consensus::{Duration, Epoch, Instant};
use quorate_service::wire::zookeeper::*;
use quorate_service::znodes::{self, Command, SessionId};
use quorate_service::zookeeper::*;

use crate::common::*;

fn at_ms(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn expiry(session: i64, owner: u64) -> Command {
    let expiry = Some(znodes::Expiry { owner, epoch: EPOCH });
    Command::CloseSession(znodes::CloseSession { session: SessionId(session), expiry, goodbye: None })
}

/// What the tests' logs are in.
const EPOCH: Epoch = Epoch(1);

const TICK: Duration = Duration::from_millis(2_000);

#[test]
fn k8_a_session_is_never_ended_before_its_timeout_and_a_touch_gives_it_all_of_it_again() {
    let mut world = World::new();
    world.client(); // 101, 10 s
    let mut sessions = Sessions::new(EPOCH, TICK, world.hub.view(), at_ms(500));
    let look = |sessions: &mut Sessions, ms| sessions.due(at_ms(ms), world.hub.view());
    assert_eq!(look(&mut sessions, 10_499), []);
    sessions.touch(SessionId(101), at_ms(9_000));
    assert_eq!(look(&mut sessions, 19_000), []);
    assert_eq!(look(&mut sessions, 20_000), [expiry(101, 1)], "rounded up to a tick");
    assert_eq!(look(&mut sessions, 20_001), [], "it is on its way");
    assert_eq!(look(&mut sessions, 22_000), [expiry(101, 1)], "the entry may be lost");
    sessions.touch(SessionId(7), at_ms(22_000));
    assert_eq!(sessions.len(), 1, "nobody knows such a session");
}

/// {the log takes minutes for what many sessions have left behind}: the ends that it is told of grow with the logarithm of that, and do not fill it.
#[test]
fn an_end_that_does_not_come_is_asked_for_ever_more_seldom() {
    let mut world = World::new();
    world.client(); // 101, 10 s
    let mut sessions = Sessions::new(EPOCH, TICK, world.hub.view(), at_ms(0));
    let asked = |sessions: &mut Sessions, from_s: u64, to_s: u64| -> Vec<u64> {
        let at = |second: &u64| !sessions.due(at_ms(second * 1_000), world.hub.view()).is_empty();
        (from_s..to_s).filter(at).collect()
    };
    assert_eq!(asked(&mut sessions, 0, 300), [12, 14, 18, 26, 42, 74, 138, 202, 266]);
    sessions.touch(SessionId(101), at_ms(300_000));
    assert_eq!(asked(&mut sessions, 300, 320), [312, 314, 318], "its client was heard: from the beginning");
}

#[test]
fn k8_sessions_opened_later_are_found_and_those_that_came_back_have_their_full_time() {
    let mut world = World::new();
    let mut sessions = Sessions::new(EPOCH, TICK, world.hub.view(), at_ms(0));
    assert!(sessions.is_empty());
    world.client();
    assert!(sessions.poll_timeout() <= at_ms(2_000));
    assert_eq!(sessions.due(at_ms(2_000), world.hub.view()), []);
    assert_eq!(sessions.len(), 1);
    let new = world.socket();
    let password = Secret(Some(bytes::Bytes::from_static(&PASSWORD)));
    world.connect(
        new,
        &ConnectRequest { session: 101, timeout_ms: 10_000, password, ..ConnectRequest::default() },
    );
    world.settle();
    assert_eq!(sessions.due(at_ms(14_000), world.hub.view()), [], "owner 2 speaks for it now");
    assert_eq!(sessions.due(at_ms(23_999), world.hub.view()), []);
    let ends = sessions.due(at_ms(26_000), world.hub.view());
    assert_eq!(ends, [expiry(101, 2)]);
    world.apply(&ends[0]);
    assert_eq!(sessions.due(at_ms(28_000), world.hub.view()), []);
    assert!(sessions.is_empty());
}

#[test]
fn z10_containers_and_times_to_live_are_reaped_when_they_are_due() {
    let mut world = World::new();
    let id = world.client();
    world.call(id, Request::CreateContainer(create_with("/c", 4))).unwrap();
    world.call(id, create("/c/x")).unwrap();
    world.call(id, delete("/c/x")).unwrap();
    world.call(id, Request::CreateContainer(create_with("/unused", 4))).unwrap();
    world
        .call(id, Request::CreateTtl(CreateTtlRequest { create: create_with("/t", 5), ttl_ms: 500 }))
        .unwrap();
    let minute = Duration::from_millis(60_000);
    let mut reaper = Reaper::new(minute, 300_000, at_ms(0));
    assert_eq!(reaper.due(at_ms(59_999), i64::MAX, world.hub.view()), []);
    let paths = |commands: Vec<Command>| -> Vec<String> {
        commands
            .into_iter()
            .map(|command| match command {
                Command::Reap(reap) => reap.path,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    assert_eq!(paths(reaper.due(at_ms(60_000), 1_400, world.hub.view())), ["/c"]);
    assert_eq!(paths(reaper.due(at_ms(60_001), 1_501, world.hub.view())), [""; 0]);
    assert_eq!(paths(reaper.due(at_ms(120_000), 1_501, world.hub.view())), ["/c", "/t"]);
    assert_eq!(paths(reaper.due(reaper.poll_timeout(), 301_001, world.hub.view())), ["/c", "/unused", "/t"]);
}

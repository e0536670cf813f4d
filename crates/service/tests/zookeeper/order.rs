//! One queue, in order, and what a read may see.

use bytes::Bytes;
use quorate_consensus::{Random, StateMachine};
use quorate_service::wire::zookeeper::*;
use quorate_service::znodes::Command;
use quorate_service::zookeeper::*;

use crate::common::*;

#[test]
fn answers_come_in_the_order_of_requests_pings_and_errors_too() {
    let mut world = World::new();
    let id = world.client();
    let first = world.send(id, create("/a"));
    let second = world.send(id, get("/nowhere", false));
    world.send(id, Request::Ping(()));
    let fourth = world.send(id, create("/b"));
    assert!(world.of(id).got.is_empty(), "all wait for the first");
    world.settle();
    let xids: Vec<i32> = std::iter::from_fn(|| world.next(id)).map(|got| got.xid).collect();
    assert_eq!(xids, [first, second, XID_PING, fourth]);
}

#[test]
fn k2_a_read_sees_the_writes_before_it_and_none_after_it() {
    let mut world = World::new();
    let id = world.client();
    world.call(id, create("/a")).unwrap();
    world.send(id, set("/a", "1"));
    world.send(id, get("/a", false));
    world.send(id, set("/a", "2"));
    world.send(id, set("/a", "3"));
    world.send(id, get("/a", false));
    assert_eq!(world.of(id).wants.len(), 1, "a write behind a read is held back");
    let answer = world.carry_out(id);
    world.step(id, answer);
    assert_eq!(world.of(id).wants.len(), 2, "both writes between the reads");
    world.settle();
    let read: Vec<Bytes> = std::iter::from_fn(|| world.next(id))
        .filter_map(|got| match Response::decode(OpCode::GetData, got.rest) {
            Ok(Response::Data(response)) => response.data,
            _ => None,
        })
        .collect();
    assert_eq!(read, ["1", "3"]);
}

#[test]
fn writes_alone_are_proposed_without_waiting_and_answered_in_order_whatever_comes_first() {
    let mut world = World::new();
    let id = world.client();
    let sent: Vec<i32> = ["/a", "/b", "/c"].map(|path| world.send(id, create(path))).into();
    assert_eq!(world.of(id).wants.len(), 3);
    let mut answers: Vec<Input> = (0..3).map(|_| world.carry_out(id)).collect();
    while let Some(answer) = answers.pop() {
        assert!(world.of(id).got.is_empty());
        world.step(id, answer);
    }
    assert_eq!(std::iter::from_fn(|| world.next(id)).map(|got| got.xid).collect::<Vec<_>>(), sent);
}

#[test]
fn an_answer_waits_until_this_server_has_applied_what_it_says() {
    let mut world = World::new();
    let id = world.client();
    world.send(id, create("/a"));
    let Some(Output::Propose { request, command }) = world.of(id).wants.pop_front() else { panic!() };
    let placed = world.tree.apply(quorate_consensus::Position::new(1, 1), &command.encode());
    world.step(id, Input::Answered { request, response: placed.response });
    world.send(id, get("/a", false));
    assert!(world.of(id).got.is_empty(), "the hub does not have it yet");
    let woken = world.hub.applied(world.tree.view(), &placed.events);
    assert_eq!(woken, [id]);
    world.step(id, Input::Wake);
    assert_eq!(world.next(id).unwrap().error, 0);
    assert_eq!(world.next(id).unwrap().error, 0, "and the read sees it");
}

#[test]
fn sync_is_a_barrier_that_waits_for_the_hub() {
    let mut world = World::new();
    let (id, other) = (world.client(), world.client());
    world.send(id, Request::Sync(SyncRequest { path: "/x".into() }));
    world.send(id, exists("/a", false));
    let Some(Output::Sync { request }) = world.of(id).wants.pop_front() else { panic!() };
    let zxid = world.tree.number() + 1;
    world.step(id, Input::Synced { request, zxid });
    assert!(world.of(id).got.is_empty());
    world.call(other, create("/a")).unwrap();
    let got = world.next(id).unwrap();
    let path = Response::Path(PathResponse { path: "/x".into() });
    assert_eq!(Response::decode(OpCode::Sync, got.rest), Ok(path));
    assert_eq!(world.next(id).unwrap().error, 0);
}

#[test]
fn what_became_of_a_request_is_not_known_so_the_connection_ends() {
    let mut world = World::new();
    let id = world.client();
    world.send(id, create("/a"));
    let Some(Output::Propose { request, .. }) = world.of(id).wants.pop_front() else { panic!() };
    world.step(id, Input::Lost { request });
    assert_eq!(world.of(id).closed, Some(CloseReason::Lost));
    world.step(id, Input::Wake);
}

#[test]
fn k2_writes_are_numbered_and_one_out_of_its_turn_ends_the_connection() {
    let mut world = World::new();
    let id = world.client();
    for path in ["/a", "/b", "/c"] {
        world.send(id, create(path));
    }
    let proposals: Vec<_> = std::mem::take(&mut world.of(id).wants).into();
    let sequences = proposals.iter().map(|output| match output {
        Output::Propose { command: Command::Operation(caller, _), .. } => caller.sequence,
        other => panic!("{other:?} is no write"),
    });
    assert_eq!(sequences.collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    // The second is lost on the way, and the log takes the third.
    for at in [0, 2] {
        let Output::Propose { request, command } = &proposals[at] else { panic!() };
        let response = world.apply(command);
        world.step(id, Input::Answered { request: *request, response });
    }
    assert_eq!(world.of(id).got.len(), 1);
    assert_eq!(world.of(id).closed, Some(CloseReason::Lost));
    assert!(world.tree.view().look("/a").is_some() && world.tree.view().look("/c").is_none());
}

#[test]
fn whoever_sends_on_regardless_is_cut_off() {
    let mut world = World::new();
    let id = world.client();
    let mut sent = 0;
    while world.of(id).closed.is_none() {
        world.send(id, create("/a"));
        sent += 1;
        assert_eq!(world.of(id).connection.wants_packets(), sent < REQUESTS_WAITING_MAX);
    }
    assert_eq!(world.of(id).closed, Some(CloseReason::Overloaded));
    assert_eq!(sent, 2 * REQUESTS_WAITING_MAX + 1);
}

#[test]
fn a_step_makes_no_more_answers_than_fit_and_the_next_goes_on() {
    let mut world = World::new();
    let id = world.client();
    world.call(id, create("/a")).unwrap();
    let large = SetDataRequest { path: "/a".into(), data: Some(vec![1; 700_000].into()), version: -1 };
    world.send(id, Request::SetData(large));
    for _ in 0..5 {
        world.send(id, get("/a", false));
    }
    world.settle();
    assert_eq!(world.of(id).got.len(), 3, "the write, and two reads are beyond a MiB");
    while world.of(id).connection.has_more() {
        world.step(id, Input::Wake);
    }
    assert_eq!(world.of(id).got.len(), 6);
}

/// Whatever packets come, in whatever state: an answer or the end, never a panic.
#[test]
fn no_packet_breaks_a_connection() {
    let mut random = Random::new(7);
    for _ in 0..300 {
        let mut world = World::new();
        let id = if random.chance(1, 10) { world.socket() } else { world.client() };
        for _ in 0..40 {
            let ops = OpCode::ALL;
            let op = ops[random.below(ops.len() as u64) as usize].number();
            let mut bytes = [1_i32.to_be_bytes(), op.to_be_bytes()].concat();
            for _ in 0..random.below(12) {
                let word = [0, 0, 1, 2, 3, 47, -1, i32::MAX][random.below(8) as usize];
                bytes.extend_from_slice(&word.to_be_bytes());
                if random.chance(1, 3) {
                    bytes.extend_from_slice(b"/a\0"[..random.below(4) as usize].as_ref());
                }
            }
            world.packet(id, bytes.into());
            if random.chance(1, 3) {
                world.settle();
            }
        }
        world.settle();
        let client = world.of(id);
        assert!(
            client.closed.is_some() || client.connection.waiting() == 0 || !client.connection.is_connected()
        );
    }
}

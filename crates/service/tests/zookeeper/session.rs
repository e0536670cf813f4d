//! Handshake, re-attach, moving, read-only, and the end.

use bytes::Bytes;
use quorate_consensus::StateMachine as _;
use quorate_service::wire::zookeeper::*;
use quorate_service::znodes::SessionId;
use quorate_service::zookeeper::*;

use crate::common::*;

fn reattach(session: i64, password: &[u8]) -> ConnectRequest {
    ConnectRequest {
        timeout_ms: 10_000,
        session,
        password: Secret(Some(Bytes::copy_from_slice(password))),
        ..ConnectRequest::default()
    }
}

#[test]
fn a_new_session_has_a_clamped_timeout_and_the_read_only_byte_only_if_the_client_sent_one() {
    let mut world = World::new();
    for (wanted, given, read_only) in
        [(1, 6_000, None), (i32::MAX, 60_000, Some(false)), (7_000, 7_000, Some(true))]
    {
        let id = world.socket();
        world.connect(id, &ConnectRequest { timeout_ms: wanted, read_only, ..ConnectRequest::default() });
        assert!(!world.of(id).connection.wants_packets(), "nothing is read before the session is there");
        world.settle();
        let response = world.greeting(id);
        assert_eq!(response.timeout_ms, given);
        assert_eq!(response.password.0.as_deref(), Some(&PASSWORD[..]));
        assert_eq!(response.read_only, read_only.map(|_| false));
        assert_eq!(world.of(id).connection.session(), Some(SessionId(response.session)));
    }
}

#[test]
fn k3_a_client_that_has_seen_more_is_closed_without_an_answer() {
    let mut world = World::new();
    let id = world.socket();
    world.connect(id, &ConnectRequest { last_zxid_seen: 1, ..ConnectRequest::default() });
    assert_eq!(world.of(id).closed, Some(CloseReason::ClientAhead));
    assert!(world.of(id).got.is_empty());
}

#[test]
fn what_is_sent_before_the_session_is_there_waits_for_it() {
    let mut world = World::new();
    let id = world.socket();
    world.connect(id, &ConnectRequest::default());
    world.send(id, create("/a"));
    world.send(id, get("/a", false));
    assert!(world.of(id).got.is_empty());
    world.settle();
    world.greeting(id);
    assert_eq!(world.next(id).unwrap().error, 0);
    assert_eq!(world.next(id).unwrap().error, 0);
}

#[test]
fn a_session_is_taken_up_with_its_password_and_the_connection_before_is_closed() {
    let mut world = World::new();
    let old = world.client();
    let new = world.socket();
    world.connect(new, &reattach(101, &PASSWORD));
    world.settle();
    assert_eq!(world.greeting(new).session, 101);
    assert!(world.call(new, create("/a")).is_ok());
    world.send(old, get("/a", false));
    assert_eq!(world.of(old).closed, Some(CloseReason::SessionMoved));
    assert!(world.of(old).got.is_empty(), "the code is never sent");
}

#[test]
fn a_write_of_a_session_that_has_moved_closes_the_connection() {
    let mut world = World::new();
    let old = world.client();
    world.send(old, create("/a"));
    let new = world.socket();
    world.connect(new, &reattach(101, &PASSWORD));
    let answer = world.carry_out(new);
    world.step(new, answer);
    world.settle();
    assert_eq!(world.of(old).closed, Some(CloseReason::SessionMoved));
    world.greeting(new);
    assert_eq!(world.call(new, exists("/a", false)), Err(ErrorCode::NoNode.number()));
}

#[test]
fn a_wrong_password_or_an_unknown_session_is_answered_as_expired() {
    let mut world = World::new();
    world.client();
    for (session, password) in [(101, &[0_u8; 16][..]), (101, b""), (101, &[0; 17]), (999, &PASSWORD)] {
        let id = world.socket();
        world.connect(id, &reattach(session, password));
        world.settle();
        let response = world.greeting(id);
        assert_eq!((response.session, response.timeout_ms), (0, 0));
        assert_eq!(response.password.0.as_deref(), Some(&[0; 16][..]));
        assert_eq!(world.of(id).closed, Some(CloseReason::SessionExpired));
    }
}

#[test]
fn k6_closing_a_session_answers_takes_its_ephemerals_and_closes() {
    let mut world = World::new();
    let (id, other) = (world.client(), world.client());
    let created = world.call(id, Request::Create(create_with("/e", 1)));
    assert_eq!(created, Ok(Response::Path(PathResponse { path: "/e".into() })));
    let ephemerals = world.call(id, Request::GetEphemerals(GetEphemeralsRequest { prefix: "/".into() }));
    assert_eq!(ephemerals, Ok(Response::Names(NamesResponse { names: vec!["/e".into()] })));
    world.send(id, set("/e", "y"));
    world.send(id, get("/e", false));
    world.send(id, Request::CloseSession(()));
    world.send(id, create("/never"));
    world.settle();
    for _ in 0..3 {
        assert_eq!(world.next(id).unwrap().error, 0, "what was asked before is answered before");
    }
    assert_eq!(world.next(id), None);
    assert_eq!(world.of(id).closed, Some(CloseReason::Farewell));
    for gone in ["/e", "/never"] {
        assert_eq!(world.call(other, exists(gone, false)), Err(ErrorCode::NoNode.number()));
    }
}

#[test]
fn an_expired_session_closes_its_connection() {
    let mut world = World::new();
    let id = world.client();
    let close = quorate_service::znodes::CloseSession { session: SessionId(101), ..Default::default() };
    world.apply(&quorate_service::znodes::Command::CloseSession(close));
    world.send(id, Request::Ping(()));
    assert_eq!(world.of(id).closed, Some(CloseReason::SessionExpired));
    let id = world.client();
    world.step(id, Input::Expired);
    assert_eq!(world.of(id).closed, Some(CloseReason::SessionExpired));
}

#[test]
fn a_server_that_only_reads_takes_clients_that_want_it_and_no_writes() {
    let mut world = World::new();
    let writer = world.client();
    world.call(writer, create("/a")).unwrap();
    world.hub.set_standing(Standing::ReadOnly);
    world.send(writer, get("/a", false));
    assert_eq!(world.of(writer).closed, Some(CloseReason::StandingChanged));

    let id = world.socket();
    world.connect(id, &ConnectRequest { read_only: Some(false), ..ConnectRequest::default() });
    assert_eq!(world.of(id).closed, Some(CloseReason::NotReadOnlyClient));
    let id = world.socket();
    world.connect(id, &ConnectRequest { read_only: Some(true), ..ConnectRequest::default() });
    assert_eq!(world.greeting(id).read_only, Some(true));
    assert_eq!(data(world.call(id, get("/a", false))), "x");
    for write in [create("/b"), set("/a", "y"), delete("/a"), Request::Sync(SyncRequest { path: "/".into() })]
    {
        assert_eq!(world.call(id, write), Err(ErrorCode::NotReadOnly.number()));
    }
    world.send(id, Request::CloseSession(()));
    assert_eq!(world.next(id).unwrap().error, 0);
    assert_eq!(world.of(id).closed, Some(CloseReason::Farewell), "a session of this server alone");

    let id = world.socket();
    world.connect(id, &ConnectRequest { read_only: Some(true), ..reattach(101, &PASSWORD) });
    assert_eq!(world.greeting(id).session, 101);
    assert_eq!(world.call(id, Request::CloseSession(())), Err(ErrorCode::NotReadOnly.number()));
    world.hub.set_standing(Standing::Serving);
    world.send(id, Request::Ping(()));
    assert_eq!(world.of(id).closed, Some(CloseReason::StandingChanged));
}

#[test]
fn a_session_taken_up_is_not_taken_for_moved_while_the_view_is_older_than_the_answer() {
    let mut world = World::new();
    world.client();
    let id = world.socket();
    world.connect(id, &reattach(101, &PASSWORD));
    let Some(Output::Propose { request, command }) = world.of(id).wants.pop_front() else { panic!() };
    let response = world.tree.apply(quorate_consensus::Position::new(1, 1), &command.encode()).response;
    world.step(id, Input::Answered { request, response });
    world.greeting(id);
    world.send(id, exists("/", false));
    assert_eq!(
        world.next(id).unwrap().error,
        0,
        "the hub has not been told, and there is no zxid to wait for"
    );
}

#[test]
fn a_server_without_its_leader_answers_no_ping() {
    let mut world = World::new();
    let id = world.client();
    world.hub.set_standing(Standing::Isolated);
    world.send(id, Request::Ping(()));
    assert_eq!(world.of(id).closed, Some(CloseReason::Isolated));
    assert!(world.of(id).got.is_empty());
}

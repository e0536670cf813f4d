//! Sessions: taken up again, refused, expired, lost.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use quorate_consensus::{Epoch, Position, StateMachine as _};
use quorate_service::{
    znodes::{Command, CreateSession, Password, SessionId, Znodes},
    zookeeper::{Settings, Standing},
};
use quorate_wire::zookeeper::*;
use quorate_zookeeper::Options;
use tokio::time::{sleep, timeout};

use crate::common::*;

#[tokio::test]
async fn a_session_is_taken_up_on_another_connection() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask(create("/e", b"", 1)).await.expect("made");
    let (session, password) = (client.session, client.password.clone());
    drop(client);
    let (mut client, response) = server.again(session, password.clone()).await;
    assert_eq!(response.session, session);
    assert!(client.ask(get("/e", false)).await.is_ok(), "its ephemeral is there");
    // And again, while the one before still stands: that one is closed.
    let (mut newest, response) = server.again(session, password).await;
    assert_eq!(response.session, session);
    assert_eq!(client.packet().await, None);
    assert!(newest.ask(create("/f", b"", 1)).await.is_ok());
}

#[tokio::test]
async fn a_wrong_password_is_answered_as_an_expired_session() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let session = client.session;
    let (mut thief, response) = server.again(session, Secret(Some(Bytes::from_static(&[9; 16])))).await;
    assert_eq!((response.session, response.timeout_ms), (0, 0));
    assert_eq!(response.password.0.as_deref(), Some(&[0; 16][..]));
    assert_eq!(thief.packet().await, None);
    assert!(client.ask(create("/a", b"", 0)).await.is_ok(), "the owner notices nothing");
}

#[tokio::test]
async fn a_leader_ends_silent_sessions_and_hears_those_that_ping() {
    let tick = Duration::from_millis(100);
    let settings = Settings { timeout_ms_min: 200, timeout_ms_max: 400, ..Settings::default() };
    let server = Server::with(Options { tick, settings, ..Options::default() }, None).await;
    server.node.front.leads(Some(Epoch(1)));
    let (mut silent, mut alive) = (server.client().await, server.client().await);
    silent.ask(create("/s", b"", 1)).await.expect("made");
    alive.ask(create("/l", b"", 1)).await.expect("made");
    for _ in 0..30 {
        sleep(Duration::from_millis(50)).await;
        alive.send(&Request::Ping(())).await;
        assert_eq!(alive.got().await.expect("a pong").xid, XID_PING);
    }
    assert_eq!(alive.ask(get("/s", false)).await, Err(-101));
    assert!(alive.ask(get("/l", false)).await.is_ok());
    assert_eq!(silent.packet().await, None, "the connection of a session that is over is closed");
    let (_, response) = server.again(silent.session, silent.password.clone()).await;
    assert_eq!(response.session, 0);
}

/// Of three members one serves no client of ZooKeeper's and leads: the sessions of the other two must end all the same.
#[tokio::test]
async fn a_leader_that_serves_nobody_ends_silent_sessions() {
    let mut tree = Znodes::new();
    let open =
        CreateSession { session: SessionId(7), timeout_ms: 200, password: Password([1; 16]), owner: 3 };
    tree.apply(Position::new(1, 1), &Command::CreateSession(open).encode());
    let server = Server::deaf(tree, Options { tick: Duration::from_millis(100), ..Options::default() });
    assert_eq!(server.node.sessions(), 1);
    server.node.front.leads(Some(Epoch(1)));
    for _ in 0..100 {
        sleep(Duration::from_millis(50)).await;
        if server.node.sessions() == 0 {
            return;
        }
    }
    panic!("the session never ended");
}

#[tokio::test]
async fn whoever_does_not_lead_hands_touches_on() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(&Request::Ping(())).await;
    client.got().await.expect("a pong");
    for _ in 0..100 {
        sleep(Duration::from_millis(50)).await;
        if server.node.touched.lock().unwrap().contains(&SessionId(client.session)) {
            return;
        }
    }
    panic!("the session was never touched");
}

#[tokio::test]
async fn k2_after_what_is_lost_nothing_comes() {
    // This backend loses one and takes the next, which the tree refuses.
    let server = Server::with(Options::default(), Some(Duration::from_millis(20))).await;
    let mut client = server.client().await;
    client.send(&create("/before", b"", 0)).await;
    assert_eq!(client.got().await.expect("an answer").error, 0);
    server.node.loses.store(true, Ordering::SeqCst);
    for path in ["/a", "/b", "/c"] {
        client.send(&create(path, b"", 0)).await;
    }
    assert_eq!(client.packet().await, None);
    let (mut client, response) = server.again(client.session, client.password.clone()).await;
    assert_eq!(response.session, client.session);
    assert!(client.ask(get("/before", false)).await.is_ok());
    for path in ["/a", "/b", "/c"] {
        assert_eq!(client.ask(get(path, false)).await, Err(-101), "{path}");
    }
}

#[tokio::test]
async fn an_isolated_server_answers_no_ping() {
    let server = Server::start().await;
    let mut client = server.client().await;
    server.node.front.standing(Standing::Isolated);
    client.send(&Request::Ping(())).await;
    assert_eq!(client.packet().await, None);
    assert_eq!(server.socket().await.connect(0, Secret::default()).await, None);
}

#[tokio::test]
async fn k8_a_short_election_is_not_noticed_and_a_long_one_is_in_time() {
    let options = Options { isolation_grace: Duration::from_millis(300), ..Options::default() };
    let server = Server::with(options, None).await;
    let mut client = server.client().await;
    for _ in 0..2 {
        server.node.front.standing(Standing::Isolated);
        client.send(&Request::Ping(())).await;
        assert!(client.got().await.is_some(), "it is not long ago");
        server.node.front.standing(Standing::Serving);
        sleep(Duration::from_millis(350)).await;
        client.send(&Request::Ping(())).await;
        assert!(client.got().await.is_some(), "there is a leader again");
    }
    server.node.front.standing(Standing::Isolated);
    sleep(Duration::from_millis(200)).await;
    // Told again: the time runs from the loss.
    server.node.front.standing(Standing::Isolated);
    sleep(Duration::from_millis(200)).await;
    client.send(&Request::Ping(())).await;
    assert_eq!(client.packet().await, None);
}

#[tokio::test]
async fn a_server_without_a_leader_lets_those_read_who_will_do_with_that_and_never_before_a_while() {
    let options = Options { read_only: true, tick: Duration::from_millis(100), ..Options::default() };
    let server = Server::with(options, None).await;
    let mut writer = server.client().await;
    writer.ask(create("/a", b"1", 0)).await.expect("made");
    server.node.front.standing(Standing::Isolated);
    assert_eq!(server.socket().await.connect(0, Secret::default()).await, None, "not at once");
    let mut reader = timeout(SOON, async {
        loop {
            let mut reader = server.socket().await;
            if reader.connect_read_only().await.is_some() {
                break reader;
            }
            // As a candidate's front end is, at each attempt.
            server.node.front.standing(Standing::Isolated);
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("being told again does not begin the wait again");
    server.node.front.standing(Standing::Isolated);
    assert_eq!(server.socket().await.connect(0, Secret::default()).await, None, "it would write");
    assert!(reader.ask(get("/a", false)).await.is_ok());
    assert_eq!(reader.ask(create("/b", b"", 0)).await, Err(ErrorCode::NotReadOnly.number()));
    server.node.front.standing(Standing::Serving);
    reader.send(&get("/a", false)).await;
    assert_eq!(reader.packet().await, None, "there are servers that write now");
    assert!(server.client().await.ask(create("/b", b"", 0)).await.is_ok());
}

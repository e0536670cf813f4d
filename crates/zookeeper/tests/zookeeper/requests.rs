//! What honest clients do.

use std::time::Duration;

use bytes::Bytes;
use quorate_wire::{
    jute::{Jute as _, Reader},
    zookeeper::*,
};
use quorate_zookeeper::{Options, Tuning};
use tokio::io::AsyncWriteExt as _;

use crate::common::*;

#[tokio::test]
async fn a_znode_is_made_read_changed_and_deleted() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let made = client.ask(create("/a", b"1", 0)).await;
    assert_eq!(made, Ok(Response::Path(PathResponse { path: "/a".into() })));
    assert_eq!(data(client.ask(get("/a", false)).await), "1");
    assert!(client.ask(set("/a", "2".into())).await.is_ok());
    assert_eq!(data(client.ask(get("/a", false)).await), "2");
    assert_eq!(client.ask(create("/a", b"", 0)).await, Err(-110));
    let delete = Request::Delete(DeleteRequest { path: "/a".into(), version: 7 });
    assert_eq!(client.ask(delete).await, Err(-103));
    let delete = Request::Delete(DeleteRequest { path: "/a".into(), version: -1 });
    assert_eq!(client.ask(delete).await, Ok(Response::Empty));
    assert_eq!(client.ask(get("/a", false)).await, Err(-101));
    assert!(client.ask(Request::Sync(SyncRequest { path: "/".into() })).await.is_ok());
    client.send(&Request::Ping(())).await;
    assert_eq!(client.got().await.expect("a pong").xid, XID_PING);
    assert_eq!(client.ask(Request::CloseSession(())).await, Ok(Response::Empty));
    assert_eq!(client.packet().await, None, "the server closes after a goodbye");
}

#[tokio::test]
async fn k5_a_client_is_told_of_a_change_before_it_is_shown_it() {
    let server = Server::with(Options::default(), Some(Duration::from_millis(5))).await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.ask(create("/a", b"0", 0)).await.expect("made");
    for round in 1..20_u32 {
        let before = data(two.ask(get("/a", true)).await);
        let new = Bytes::from(round.to_string());
        one.send(&set("/a", new.clone())).await;
        // Reads until it sees the change; the notification must have come by then.
        let mut told = false;
        loop {
            two.send(&get("/a", false)).await;
            let mut got = two.got().await.expect("an answer");
            if got.xid == XID_NOTIFICATION {
                told = true;
                let event = WatcherEvent::read(&mut Reader::new(got.rest)).expect("an event");
                assert_eq!((event.kind, event.path.as_str()), (3, "/a"));
                got = two.got().await.expect("an answer");
            }
            let seen = data(Response::decode(OpCode::GetData, got.rest).map_err(|_| 0));
            assert_eq!(told, seen == new, "round {round}: {before:?}, then {seen:?}");
            if told {
                break;
            }
        }
        assert_eq!(one.got().await.expect("an answer").error, 0);
    }
}

#[tokio::test]
async fn k2_pipelined_requests_are_answered_in_order() {
    for in_flight_max in [1, 1_000] {
        let tuning = Tuning { in_flight_max, ..Tuning::default() };
        let options = Options { tuning, ..Options::default() };
        let server = Server::with(options, Some(Duration::from_millis(1))).await;
        let mut client = server.client().await;
        client.ask(create("/a", b"", 0)).await.expect("made");
        let mut all = Vec::new();
        for value in 0..200_u32 {
            all.extend_from_slice(&client.encode(&set("/a", Bytes::from(value.to_string()))));
            if value % 5 == 0 {
                all.extend_from_slice(&client.encode(&get("/a", false)));
            }
        }
        client.stream.write_all(&all).await.expect("sent");
        let mut xid = 1;
        for value in 0..200_u32 {
            xid += 1;
            assert_eq!(client.got().await.map(|got| (got.xid, got.error)), Some((xid, 0)));
            if value % 5 == 0 {
                xid += 1;
                let got = client.got().await.expect("an answer");
                assert_eq!(got.xid, xid);
                let seen = data(Response::decode(OpCode::GetData, got.rest).map_err(|_| 0));
                assert_eq!(seen, value.to_string(), "in flight {in_flight_max}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from_and_loses_nothing() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let large = Bytes::from(vec![7; 500_000]);
    client.ask(create("/a", b"", 0)).await.expect("made");
    client.ask(set("/a", large.clone())).await.expect("set");
    for _ in 0..60 {
        client.send(&get("/a", false)).await;
    }
    // Others are served meanwhile.
    let mut other = server.client().await;
    assert_eq!(data(other.ask(get("/a", false)).await), large);
    for _ in 0..60 {
        let got = client.got().await.expect("an answer");
        assert_eq!(data(Response::decode(OpCode::GetData, got.rest).map_err(|_| 0)), large);
    }
}

#[tokio::test]
async fn many_clients_at_once() {
    let tuning = Tuning { connections_per_address_max: 0, ..Tuning::default() };
    let options = Options { tuning, ..Options::default() };
    let server = Server::with(options, Some(Duration::from_millis(2))).await;
    server.client().await.ask(create("/a", b"x", 0)).await.expect("made");
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(server.client().await);
    }
    for client in &mut clients {
        for _ in 0..10 {
            client.send(&set("/a", "y".into())).await;
            client.send(&get("/a", false)).await;
        }
    }
    for client in &mut clients {
        for _ in 0..20 {
            assert_eq!(client.got().await.expect("an answer").error, 0);
        }
    }
}

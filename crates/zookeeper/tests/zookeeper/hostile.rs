//! What no honest client does: ZooKeeper's own answer or a closed connection, and everybody else goes on.

use std::time::Duration;

use quorate_wire::zookeeper::*;
use quorate_zookeeper::{Options, Tuning};
use tokio::{io::AsyncWriteExt as _, time::sleep};

use crate::common::*;

#[tokio::test]
async fn lengths_that_are_none_close_the_connection() {
    let server = Server::start().await;
    let mut other = server.client().await;
    for length in [-1, i32::MIN, i32::MAX, 0x10_0000] {
        let mut client = server.client().await;
        client.stream.write_all(&length.to_be_bytes()).await.expect("sent");
        assert_eq!(client.packet().await, None, "{length}");
        let mut fresh = server.socket().await;
        fresh.stream.write_all(&length.to_be_bytes()).await.expect("sent");
        assert_eq!(fresh.packet().await, None, "{length}, before the handshake");
    }
    assert!(other.ask(create("/a", b"", 0)).await.is_ok());
}

#[tokio::test]
async fn garbage_closes_the_connection() {
    let server = Server::start().await;
    let mut other = server.client().await;
    for length in [0_i32, 1, 7, 43, 100] {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(std::iter::repeat_n(0xff, length as usize));
        let mut client = server.client().await;
        client.stream.write_all(&bytes).await.expect("sent");
        assert_eq!(client.rest().await.len() % 20, 0, "nothing, or an error and the end");
        let mut fresh = server.socket().await;
        fresh.stream.write_all(&bytes).await.expect("sent");
        // From 28 bytes on it is a handshake, with a session and a password that nobody has.
        let answer = fresh.rest().await;
        match length {
            0..28 => assert_eq!(answer, b"", "{length}, before the handshake"),
            _ => assert_eq!(answer[..8], [0, 0, 0, 37, 0, 0, 0, 0], "expired: {answer:?}"),
        }
    }
    assert!(other.ask(create("/a", b"", 0)).await.is_ok());
}

#[tokio::test]
async fn the_largest_packet_is_taken_piece_by_piece() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask(create("/a", b"", 0)).await.expect("made");
    let overhead = 8 + 4 + 2 + 4 + 4;
    let data = vec![1; FRAME_BYTES_MAX - overhead];
    let bytes = client.encode(&set("/a", data.into()));
    for piece in bytes.chunks(100_000) {
        client.stream.write_all(piece).await.expect("sent");
        sleep(Duration::from_millis(1)).await;
    }
    assert!(client.got().await.is_some_and(|got| got.error == 0 || got.error == -8));
}

#[tokio::test]
async fn half_open_connections_are_bounded_and_closed() {
    let tuning = Tuning {
        connections_max: 80,
        connections_per_address_max: 0,
        handshake_timeout: Duration::from_millis(700),
        ..Tuning::default()
    };
    let server = Server::with(Options { tuning, ..Options::default() }, None).await;
    let mut client = server.client().await;
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(server.socket().await);
    }
    assert!(client.ask(create("/a", b"", 0)).await.is_ok(), "whoever is in is served");
    for mut socket in idle {
        assert_eq!(socket.packet().await, None);
    }
    let mut late = server.client().await;
    assert!(late.ask(get("/a", false)).await.is_ok(), "there is room again");
}

#[tokio::test]
async fn an_address_has_sixty_connections() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(server.client().await);
    }
    let mut one_more = server.socket().await;
    assert_eq!(one_more.packet().await, None);
    clients.pop();
    for _ in 0..100 {
        sleep(Duration::from_millis(20)).await;
        let mut socket = server.socket().await;
        let _ = socket.stream.write_all(b"ruok").await;
        if socket.rest().await == b"imok" {
            return;
        }
    }
    panic!("a connection that was closed still counts");
}

#[tokio::test]
async fn a_client_that_goes_in_the_middle_hurts_nobody() {
    let server = Server::with(Options::default(), Some(Duration::from_millis(5))).await;
    let mut other = server.client().await;
    for cut in [1, 4, 20, 40] {
        let mut client = server.client().await;
        let bytes = client.encode(&create("/never", b"some data", 0));
        client.stream.write_all(&bytes[..cut]).await.expect("sent");
        drop(client);
        let mut client = server.client().await;
        client.send(&create(&format!("/sent{cut}"), b"", 0)).await;
        drop(client);
    }
    assert_eq!(other.ask(get("/never", false)).await, Err(-101));
    assert!(other.ask(create("/a", b"", 0)).await.is_ok());
}

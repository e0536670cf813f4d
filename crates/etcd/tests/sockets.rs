//! Whatever comes in on the port, other clients go on.

use std::{future::pending, time::Duration};

use crate::support::{Cluster, TOKEN};
use quorate_client::{Client, Options};
use quorate_etcd::{Front, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn address(cluster: &Cluster) -> &str {
    cluster.nodes[0].url.strip_prefix("http://").unwrap()
}

async fn send(cluster: &Cluster, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address(cluster)).await.unwrap();
    // The server may hang up in the middle; that is its right.
    let _ = stream.write_all(bytes).await;
    stream
}

async fn http1(cluster: &Cluster, request: &str) -> String {
    let mut stream = send(cluster, request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_hurts_nobody_else() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    client.put("a", "1").await.unwrap();

    let mut garbage: Vec<Vec<u8>> = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 24) as u8
    };
    for length in [1, 3, 9, 100, 10_000, 1_000_000] {
        garbage.push((0..length).map(|_| byte()).collect());
        garbage.push(PREFACE.iter().copied().chain((0..length).map(|_| byte())).collect());
    }
    garbage.push(b"PR".to_vec());
    garbage.push(PREFACE[..10].to_vec());
    garbage.push(PREFACE.to_vec());
    // A frame that announces 16 MiB and sends nothing; one that ends in the middle; a stream of settings; data on a stream that is none.
    garbage.push([PREFACE, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat());
    garbage.push([PREFACE, &[0, 0, 100, 1, 4, 0, 0, 0, 1, 0x82]].concat());
    garbage.push([PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(10_000)].concat());
    garbage.push([PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 1, 0, 0, 0, 0, 0, 9, 7]].concat());
    let mut held = Vec::new();
    for bytes in &garbage {
        held.push(send(&cluster, bytes).await);
        timeout(Duration::from_secs(5), client.put("a", "2")).await.expect("in time").unwrap();
    }
    // All still open, and the server answers others.
    assert_eq!(client.get("a").await.unwrap().unwrap().value, "2");
    drop(held);
    assert_eq!(client.get("a").await.unwrap().unwrap().value, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_are_refused_and_the_connection_goes_on() {
    use quorate_client::tonic::{Code, Request, client::Grpc};
    let cluster = Cluster::start(1).await;
    let mut grpc = Grpc::new(cluster.channel(0));
    for path in [
        "/etcdserverpb.KV/Put",
        "/etcdserverpb.KV/Txn",
        "/etcdserverpb.KV/Range",
        "/etcdserverpb.Maintenance/Status",
    ] {
        for bytes in
            [&b"\xff"[..], b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"]
        {
            grpc.ready().await.unwrap();
            let codec = raw::Raw;
            let path = http::uri::PathAndQuery::from_static(path);
            let sent = grpc.unary(Request::new(bytes.to_vec()), path.clone(), codec).await;
            assert_eq!(sent.unwrap_err().code(), Code::Internal, "{path} {bytes:?}");
        }
    }
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/no.such/Service");
    assert_eq!(
        grpc.unary(Request::new(Vec::new()), path, raw::Raw).await.unwrap_err().code(),
        Code::Unimplemented
    );
    cluster.kv(0).put(crate::support::put("a", "1")).await.unwrap();
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let health = grpc.unary(Request::new(Vec::new()), path, raw::Raw).await.unwrap().into_inner();
    assert_eq!(health, [8, 1], "SERVING");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_over_http_1_are_answered() {
    let cluster = Cluster::start(1).await;
    let health = http1(&cluster, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(
        health.starts_with("HTTP/1.1 200") && health.ends_with(r#"{"health":"true","reason":""}"#),
        "{health}"
    );
    let version = http1(&cluster, "GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let expected = r#"{"etcdserver":"3.6.6","etcdcluster":"3.6.0","storage":"3.6.0"}"#;
    assert!(version.starts_with("HTTP/1.1 200") && version.ends_with(expected), "{version}");
}

/// {400 connections that say nothing, room for 50 of them and for 60 connections}: the first are closed for the last, and whoever speaks comes in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_push_each_other_out() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let mut front = Front::new(node.handle.clone(), cluster.cluster.0, node.id.0, TOKEN);
    (front.tuning.silent_max, front.tuning.connections_max) = (50, 60);
    front.tuning.first_bytes_timeout = Duration::from_secs(600);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    tokio::spawn(serve(socket, front, pending()));
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap());
    }
    for stream in &mut silent[..300] {
        let read = timeout(Duration::from_secs(20), stream.read(&mut [0])).await.expect("closed in time");
        assert!(!matches!(read, Ok(1)), "nothing is said to who says nothing");
    }
    let client = Client::connect([url], Options::default()).unwrap();
    timeout(Duration::from_secs(20), client.put("a", "1")).await.expect("in time").unwrap();
    let last = silent.last_mut().unwrap();
    assert!(timeout(Duration::from_millis(50), last.read(&mut [0])).await.is_err(), "there is room for it");
}

mod raw {
    use bytes::{Buf, BufMut};
    use quorate_client::tonic::{
        Status,
        codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    };

    /// Bytes as they are.
    #[derive(Clone, Copy)]
    pub(crate) struct Raw;

    impl Codec for Raw {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Raw;
        type Decoder = Raw;

        fn encoder(&mut self) -> Raw {
            Raw
        }

        fn decoder(&mut self) -> Raw {
            Raw
        }
    }

    impl Encoder for Raw {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
            to.put_slice(&item);
            Ok(())
        }
    }

    impl Decoder for Raw {
        type Item = Vec<u8>;
        type Error = Status;

        fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            let mut bytes = vec![0; from.remaining()];
            from.copy_to_slice(&mut bytes);
            Ok(Some(bytes))
        }
    }
}

//! The service Lease, from a client's side, against a cluster of three.

use std::time::Duration;

use crate::support::{Cluster, assert_error, put, range};
use quorate_client::{
    rpc::LeaseClient,
    tonic::{Code, Streaming, codegen::tokio_stream::wrappers::ReceiverStream, transport::Channel},
    wire::etcdserverpb as pb,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

fn leases(cluster: &Cluster, node: usize) -> LeaseClient<Channel> {
    LeaseClient::new(cluster.channel(node))
}

fn grant(id: i64, ttl: i64) -> pb::LeaseGrantRequest {
    pb::LeaseGrantRequest { ttl, id }
}

struct KeepAlive {
    requests: mpsc::Sender<pb::LeaseKeepAliveRequest>,
    answers: Streaming<pb::LeaseKeepAliveResponse>,
}

impl KeepAlive {
    async fn open(cluster: &Cluster, node: usize) -> KeepAlive {
        let (requests, receiver) = mpsc::channel(10_000);
        let answers = leases(cluster, node).lease_keep_alive(ReceiverStream::new(receiver)).await;
        KeepAlive { requests, answers: answers.expect("a stream").into_inner() }
    }

    async fn ask(&self, id: i64) {
        self.requests.send(pb::LeaseKeepAliveRequest { id }).await.expect("the stream is there");
    }

    async fn next(&mut self) -> pb::LeaseKeepAliveResponse {
        let next = timeout(Duration::from_secs(20), self.answers.message()).await.expect("in time");
        next.expect("no error").expect("the stream goes on")
    }
}

async fn there(cluster: &Cluster, node: usize, key: &str) -> bool {
    cluster.kv(node).range(range(key, "")).await.expect("a range").into_inner().count > 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_revocations_and_their_errors_are_etcds() {
    let cluster = Cluster::start(3).await;
    let mut client = leases(&cluster, 0);
    let granted = client.lease_grant(grant(0, 60)).await.unwrap().into_inner();
    assert!(granted.id > 0 && granted.ttl == 60 && granted.error.is_empty());
    assert_eq!(granted.header.unwrap().revision, 1, "no key has changed");
    let short = client.lease_grant(grant(77, -5)).await.unwrap().into_inner();
    assert_eq!((short.id, short.ttl), (77, 2), "raised to the shortest");
    let exists = "etcdserver: lease already exists";
    assert_error("again", client.lease_grant(grant(77, 5)).await, Code::FailedPrecondition, exists);
    let large = "etcdserver: too large lease TTL";
    assert_error("ttl", client.lease_grant(grant(78, 9_000_000_001)).await, Code::OutOfRange, large);
    let unknown = "etcdserver: requested lease not found";
    let revoke = |id| pb::LeaseRevokeRequest { id };
    assert_error("revoke", client.lease_revoke(revoke(5)).await, Code::NotFound, unknown);
    let with_lease = |key: &str, lease| pb::PutRequest { lease, ..put(key, "1") };
    assert_error("put", cluster.kv(1).put(with_lease("a", 5)).await, Code::NotFound, unknown);

    let mut kv = cluster.kv(2);
    kv.put(with_lease("b", granted.id)).await.unwrap();
    kv.put(with_lease("a", granted.id)).await.unwrap();
    let ask = pb::LeaseTimeToLiveRequest { id: granted.id, keys: true };
    let left = leases(&cluster, 1).lease_time_to_live(ask).await.unwrap().into_inner();
    assert!((58..=60).contains(&left.ttl) && left.granted_ttl == 60, "{left:?}");
    assert_eq!(left.keys, ["a", "b"]);
    let ids: Vec<i64> = client
        .lease_leases(pb::LeaseLeasesRequest {})
        .await
        .unwrap()
        .into_inner()
        .leases
        .iter()
        .map(|lease| lease.id)
        .collect();
    assert!(ids.contains(&granted.id));

    let revoked = leases(&cluster, 1).lease_revoke(revoke(granted.id)).await.unwrap().into_inner();
    assert_eq!(revoked.header.unwrap().revision, 4, "both keys in one revision");
    assert!(!there(&cluster, 1, "a").await && !there(&cluster, 1, "b").await);
    let gone = client.lease_time_to_live(ask).await.unwrap().into_inner();
    assert_eq!((gone.ttl, gone.granted_ttl, gone.id), (-1, 0, granted.id));
}

/// Through any member, over a change of the leader, and no longer than asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e5_a_lease_lives_while_it_is_kept_alive_and_ends_when_it_is_not() {
    let cluster = Cluster::start(3).await;
    leases(&cluster, 0).lease_grant(grant(7, 2)).await.unwrap();
    cluster.kv(0).put(pb::PutRequest { lease: 7, ..put("a", "1") }).await.unwrap();
    let mut streams = Vec::new();
    for node in 0..3 {
        streams.push(KeepAlive::open(&cluster, node).await);
    }
    let began = Instant::now();
    let mut last = began;
    let mut moved = false;
    while began.elapsed() < Duration::from_secs(5) {
        for stream in &mut streams {
            stream.ask(7).await;
            let answer = stream.next().await;
            assert_eq!((answer.id, answer.ttl), (7, 2), "after {:?}", began.elapsed());
            last = Instant::now();
        }
        if !moved && began.elapsed() > Duration::from_secs(2) {
            moved = true;
            let leader = cluster.leader().await;
            let to = cluster.nodes[(leader + 1) % 3].id;
            cluster.nodes[leader].handle.transfer_leadership(quorate_service::KEYS, Some(to)).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    while there(&cluster, 1, "a").await {
        assert!(last.elapsed() < Duration::from_secs(10), "it lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(last.elapsed() > Duration::from_millis(1_900), "{:?}", last.elapsed());
    for stream in &mut streams {
        stream.ask(7).await;
        assert_eq!(stream.next().await.ttl, 0, "no error: it is gone");
    }
}

/// A client asks for all of its leases at once, and is answered in that order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keep_alives_of_one_stream_are_answered_in_order() {
    let cluster = Cluster::start(3).await;
    let mut client = leases(&cluster, 0);
    for id in 1..=300 {
        client.lease_grant(grant(id, 100)).await.unwrap();
    }
    let mut stream = KeepAlive::open(&cluster, 1).await;
    for round in 0..10 {
        for id in 1..=301 {
            stream.ask(id).await;
        }
        for id in 1..=301 {
            let answer = stream.next().await;
            assert_eq!((answer.id, answer.ttl), (id, if id == 301 { 0 } else { 100 }), "round {round}");
        }
    }
}

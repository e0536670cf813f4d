//! Lock, Election and RangeStream, from a client's side, against a cluster of three.

use std::time::Duration;

use crate::support::{Cluster, assert_error, put, range};
use quorate_client::{
    rpc::{ElectionClient, LeaseClient, LockClient},
    tonic::Code,
    wire::{etcdserverpb as pb, v3electionpb as election, v3lockpb as lock},
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const NOT_YET: Duration = Duration::from_millis(300);

async fn lease(cluster: &Cluster, id: i64, ttl: i64) {
    LeaseClient::new(cluster.channel(0))
        .lease_grant(pb::LeaseGrantRequest { id, ttl })
        .await
        .expect("a lease");
}

async fn end(cluster: &Cluster, id: i64) {
    LeaseClient::new(cluster.channel(1)).lease_revoke(pb::LeaseRevokeRequest { id }).await.expect("it ends");
}

fn lock_of(name: &str, lease: i64) -> lock::LockRequest {
    lock::LockRequest { name: name.to_owned().into(), lease }
}

fn campaign(name: &str, lease: i64, value: &str) -> election::CampaignRequest {
    election::CampaignRequest { name: name.to_owned().into(), lease, value: value.to_owned().into() }
}

fn of(name: &str) -> election::LeaderRequest {
    election::LeaderRequest { name: name.to_owned().into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_held_by_one_and_goes_to_the_one_that_waited_longest() {
    let cluster = Cluster::start(3).await;
    for id in 1..=4 {
        lease(&cluster, id, 600).await;
    }
    let mut first = LockClient::new(cluster.channel(0));
    let held = first.lock(lock_of("door", 1)).await.unwrap().into_inner();
    assert_eq!(held.key, "door/1");
    let again =
        timeout(SOON, first.lock(lock_of("door", 1))).await.expect("it has it already").unwrap().into_inner();
    assert_eq!(again.key, held.key);

    let mut waiting = Vec::new();
    for (node, id) in [(1, 2), (2, 3), (1, 4)] {
        let mut client = LockClient::new(cluster.channel(node));
        waiting.push(tokio::spawn(async move { client.lock(lock_of("door", id)).await }));
        // They queue in this order.
        while cluster.kv(0).range(range("door/", "door0")).await.unwrap().into_inner().count < id {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    tokio::time::sleep(NOT_YET).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    // The second loses its lease while it waits, and learns of it when its turn would have come; the third gives up.
    end(&cluster, 2).await;
    let third = waiting.remove(1);
    third.abort();
    while cluster.kv(0).range(range("door/3", "")).await.unwrap().into_inner().count > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.unlock(lock::UnlockRequest { key: held.key }).await.unwrap();
    let fourth = timeout(SOON, waiting.pop().unwrap())
        .await
        .expect("its turn has come")
        .unwrap()
        .unwrap()
        .into_inner();
    assert_eq!(fourth.key, "door/4");
    let second = timeout(SOON, waiting.pop().unwrap()).await.expect("it is told").unwrap();
    assert_error("second", second, Code::Unknown, "mutex: session is expired");
    let unknown = first.lock(lock_of("door", 77)).await;
    assert_error("no lease", unknown, Code::NotFound, "etcdserver: requested lease not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_has_one_leader_and_its_observers_follow() {
    let cluster = Cluster::start(3).await;
    for id in 1..=2 {
        lease(&cluster, id, 600).await;
    }
    let mut client = ElectionClient::new(cluster.channel(0));
    assert_error("nobody", client.leader(of("mayor")).await, Code::Unknown, "election: no leader");
    let mut told = ElectionClient::new(cluster.channel(2)).observe(of("mayor")).await.unwrap().into_inner();

    let ada = client.campaign(campaign("mayor", 1, "ada")).await.unwrap().into_inner().leader.unwrap();
    assert_eq!((ada.key.clone(), ada.name.clone(), ada.lease), ("mayor/1".into(), "mayor".into(), 1));
    let says =
        |response: election::LeaderResponse| String::from_utf8(response.kv.unwrap().value.to_vec()).unwrap();
    assert_eq!(says(client.leader(of("mayor")).await.unwrap().into_inner()), "ada");
    assert_eq!(says(timeout(SOON, told.message()).await.unwrap().unwrap().unwrap()), "ada");

    let mut other = ElectionClient::new(cluster.channel(1));
    let bob = tokio::spawn(async move { other.campaign(campaign("mayor", 2, "bob")).await });
    client
        .proclaim(election::ProclaimRequest { leader: Some(ada.clone()), value: "ada, again".into() })
        .await
        .unwrap();
    assert_eq!(says(timeout(SOON, told.message()).await.unwrap().unwrap().unwrap()), "ada, again");
    tokio::time::sleep(NOT_YET).await;
    assert!(!bob.is_finished());

    client.resign(election::ResignRequest { leader: Some(ada.clone()) }).await.unwrap();
    let bob = timeout(SOON, bob).await.unwrap().unwrap().unwrap().into_inner().leader.unwrap();
    assert!(bob.rev > ada.rev, "what fences off whoever led before");
    assert_eq!(says(timeout(SOON, told.message()).await.unwrap().unwrap().unwrap()), "bob");

    let late = election::ProclaimRequest { leader: Some(ada), value: "ada, still".into() };
    assert_error("late", client.proclaim(late).await, Code::Unknown, "election: not leader");
    let nobody = election::ProclaimRequest { leader: None, value: "x".into() };
    assert_error("nobody", client.proclaim(nobody).await, Code::Unknown, "\"leader\" field must be provided");
    let nobody = election::ResignRequest { leader: None };
    assert_error("nobody", client.resign(nobody).await, Code::Unknown, "\"leader\" field must be provided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_in_chunks_is_the_range() {
    let cluster = Cluster::start(3).await;
    let mut kv = cluster.kv(0);
    for key in 0..300 {
        kv.put(put(&format!("k{key:03}"), &"x".repeat(key * 10))).await.unwrap();
    }
    let requests = [
        range("k", "l"),
        range("k100", ""),
        range("nothing", "o"),
        pb::RangeRequest { limit: 47, ..range("k", "\0") },
        pb::RangeRequest { limit: 300, ..range("k", "l") },
        pb::RangeRequest { keys_only: true, revision: 100, ..range("k", "l") },
        pb::RangeRequest { count_only: true, ..range("k", "l") },
    ];
    for request in requests {
        let whole = kv.range(request.clone()).await.unwrap().into_inner();
        let mut chunks = kv.range_stream(request).await.unwrap().into_inner();
        let (mut kvs, mut last, mut count) = (Vec::new(), None, 0);
        while let Some(chunk) = chunks.message().await.unwrap() {
            let chunk = chunk.range_response.unwrap();
            assert!(last.is_none(), "nothing after the last");
            kvs.extend(chunk.kvs.clone());
            last = chunk.header.is_some().then_some(chunk);
            count += 1;
        }
        let last = last.expect("a last chunk");
        assert_eq!((kvs.len(), last.count, last.more), (whole.kvs.len(), whole.count, whole.more));
        assert_eq!(kvs, whole.kvs);
        assert!(count > 1 || whole.kvs.len() < 47, "in chunks");
    }
    let sorted = pb::RangeRequest { sort_order: 2, ..range("k", "l") };
    let text = "RangeStream does not support custom sort orders";
    assert_error("sorted", kv.range_stream(sorted).await, Code::Unimplemented, text);
    let filtered = pb::RangeRequest { min_mod_revision: 2, ..range("k", "l") };
    let text = "RangeStream does not support revision filters";
    assert_error("filtered", kv.range_stream(filtered).await, Code::Unimplemented, text);
    let future = pb::RangeRequest { revision: 10_000, ..range("k", "l") };
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert_error("future", kv.range_stream(future).await, Code::OutOfRange, text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_that_has_nothing_to_do_says_so_as_etcd_does() {
    let cluster = Cluster::start(1).await;
    let mut client = cluster.maintenance(0);
    assert_eq!(client.defragment(pb::DefragmentRequest {}).await.unwrap().into_inner().header, None);
    let ask = |action: i32, version: &str| pb::DowngradeRequest { action, version: version.to_owned() };
    let valid = client.downgrade(ask(0, "3.5")).await.unwrap().into_inner();
    assert_eq!(valid.version, "3.6.0");
    let wrong = "etcdserver: wrong downgrade target version format";
    assert_error("format", client.downgrade(ask(0, "three")).await, Code::InvalidArgument, wrong);
    let invalid = "etcdserver: invalid downgrade target version";
    assert_error("target", client.downgrade(ask(1, "3.4")).await, Code::InvalidArgument, invalid);
    let none = "etcdserver: no inflight downgrade job";
    assert_error("cancel", client.downgrade(ask(2, "")).await, Code::FailedPrecondition, none);
    let enable = client.downgrade(ask(1, "3.5.0")).await.unwrap_err();
    assert_eq!(enable.code(), Code::FailedPrecondition);
}

//! Shards that are merged, and split again, while clients write, read and watch.

use quorate_client::{
    Client, Error, Options,
    rpc::LeaseClient,
    wire::{Code, etcdserverpb as pb},
};

use crate::{
    split::{KEYS, writers},
    support::{Cluster, Watched, put, range},
};

async fn code<T: std::fmt::Debug>(answer: impl Future<Output = Result<T, Error>>) -> (Code, String) {
    match answer.await.expect_err("it cannot be") {
        Error::Refused { error, .. } => (error.code(), error.to_string()),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_shards_are_merged_and_listed() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    for number in 0..KEYS {
        client.put_request(put(&format!("k{number:03}"), "before")).await.expect("a put");
    }
    let before = client.shards().await.expect("a list").shards;
    let (left, right) = (&before[2], &before[3]);

    // What makes no sense is refused, and says why.
    let last = before.last().expect("eight shards").id;
    for (left, right, why) in [
        (99, None, "there is no shard"),
        (last, None, "is the last one"),
        (left.id, Some(last), "only neighbours"),
        (right.id, Some(left.id), "only neighbours"),
    ] {
        let (code, text) = code(client.merge(left, right)).await;
        assert!(code == Code::FailedPrecondition && text.contains(why), "{text}");
    }

    let merged = client.merge(left.id, Some(right.id)).await.expect("a merge");
    let (shard, vacant) = (merged.shard.expect("the left one"), merged.vacant.expect("the right one"));
    assert_eq!((shard.id, &shard.from, &shard.to), (left.id, &left.from, &right.to));
    assert!(shard.range_version > left.range_version.max(right.range_version));
    assert_eq!((vacant.id, vacant.group), (right.id, right.group));
    for node in &cluster.nodes {
        let there = Client::connect([node.url.clone()], Options::default()).expect("a client");
        let all = there.range(range("k", "l")).await.expect("a range").kvs;
        assert_eq!((all.len(), all.iter().filter(|kv| kv.value == "before").count()), (KEYS, KEYS));
        let listed = there.shards().await.expect("a list");
        assert_eq!((listed.shards.len(), listed.vacant.len()), (7, 1));
        assert_eq!((listed.vacant[0].id, listed.vacant[0].members.len()), (right.id, 3));
    }
    // Who asks for what has been done is told so.
    let (code, text) = code(client.merge(left.id, Some(right.id))).await;
    assert!(code == Code::FailedPrecondition && text.contains("was merged into another"), "{text}");

    // The vacant one is the next that gets keys.
    let split = client.split(before[0].id, "").await.expect("a split").child.expect("its child");
    assert_eq!((split.id, split.group), (right.id, right.group));
    let listed = client.shards().await.expect("a list");
    assert_eq!((listed.shards.len(), listed.vacant.len()), (8, 0));
    let old = pb::RangeRequest { revision: 1 + KEYS as i64, ..range("k", "l") };
    assert_eq!(client.range(old).await.expect("a range of before").kvs.len(), KEYS);
}

/// Writers through every member, one reader, one watcher, leases; shards are merged down to one, and split again: nothing is lost, nothing is told twice, nobody is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_shards_are_merged() {
    let cluster = Cluster::start(3).await;
    let mut watched = Watched::of(&cluster, 0).await;
    let writers = writers(&cluster);
    let client = cluster.client();
    let mut leases = LeaseClient::new(cluster.channel(1));
    leases.lease_grant(pb::LeaseGrantRequest { id: 7, ttl: 100 }).await.expect("a lease");
    for number in 0..20 {
        let attached = pb::PutRequest { lease: 7, ..put(&format!("leased-{number:02}"), "v") };
        client.put_request(attached).await.expect("a put");
    }

    for _ in 0..7 {
        let leftmost = client.shards().await.expect("a list").shards[0].id;
        client.merge(leftmost, None).await.expect("a merge");
    }
    let listed = client.shards().await.expect("a list");
    assert_eq!((listed.shards.len(), listed.vacant.len()), (1, 7));
    let left = pb::LeaseTimeToLiveRequest { id: 7, keys: true };
    assert_eq!(leases.lease_time_to_live(left).await.expect("what is left").into_inner().keys.len(), 20);
    for round in 0..3 {
        for shard in client.shards().await.expect("a list").shards {
            client.split(shard.id, "").await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
    }
    let listed = client.shards().await.expect("a list");
    assert_eq!((listed.shards.len(), listed.vacant.len()), (8, 0), "the same eight groups");

    for writer in writers {
        writer.await.expect("every write is done, and read back");
    }
    let all = client.range(range("k", "l")).await.expect("a range").kvs;
    assert_eq!(all.len(), 3 * KEYS);
    let told = watched.revisions(3 * KEYS).await;
    assert!(told.windows(2).all(|two| two[0] < two[1]), "each write once, in order");
    leases.lease_revoke(pb::LeaseRevokeRequest { id: 7 }).await.expect("its end");
    assert!(client.range(range("leased", "m")).await.expect("a range").kvs.is_empty());
}

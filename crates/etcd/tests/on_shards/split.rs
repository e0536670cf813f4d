//! The service Shards, and shards that are split while clients write, read and watch.

use quorate_client::{
    Client, Error, Options,
    wire::{Code, etcdserverpb as pb, quoratepb::Shard},
};

use tokio::task::JoinHandle;

use crate::support::{Cluster, Watched, put, range};

/// Keys of a writer, and those that there are before.
pub(crate) const KEYS: usize = 200;

async fn put_all(client: &Client, value: &str) {
    for number in 0..KEYS {
        client.put_request(put(&format!("k{number:03}"), value)).await.expect("a put");
    }
}

/// One writer through each member, which reads back what it wrote: [`KEYS`] keys of its own.
pub(crate) fn writers(cluster: &Cluster) -> Vec<JoinHandle<()>> {
    let write = |writer: usize| {
        let url = cluster.nodes[writer].url.clone();
        tokio::spawn(async move {
            let client = Client::connect([url], Options::default()).expect("a client");
            for number in 0..KEYS {
                let key = format!("k{writer}-{number:03}");
                client.put_request(put(&key, "v")).await.expect("a put");
                assert_eq!(client.get(key).await.expect("a read").expect("the key").version, 1);
            }
        })
    };
    (0..3).map(write).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_are_listed_explained_and_split() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    put_all(&client, "before").await;
    let listed = client.shards().await.expect("a list");
    assert_eq!((listed.shards.len(), &*listed.rule), (8, "hash"));
    assert!(listed.shards.windows(2).all(|two| two[0].to == two[1].from), "one behind the other: {listed:?}");
    let members: Vec<u64> = cluster.nodes.iter().map(|node| node.id.0).collect();
    assert!(listed.shards.iter().all(|shard| members.iter().all(|id| shard.members.contains(id))));
    assert!(
        listed.shards.iter().all(|shard| members.contains(&shard.leader)),
        "each has a leader: {listed:?}"
    );

    let explained = client.explain("k007").await.expect("a reason");
    let owner = explained.shard.expect("its shard");
    let holds =
        |shard: &Shard| shard.from <= explained.token && (shard.to.is_empty() || explained.token < shard.to);
    assert!(holds(&owner) && explained.token.len() == 8, "{owner:?}");

    // The key goes to the new shard, whose first token is its own.
    let split = client.split(owner.id, explained.token.clone()).await.expect("a split");
    let (shard, child) = (split.shard.expect("the shard"), split.child.expect("the new one"));
    assert_eq!((shard.id, &shard.to, &child.from), (owner.id, &explained.token, &explained.token));
    for node in &cluster.nodes {
        let there = Client::connect([node.url.clone()], Options::default()).expect("a client");
        // Whoever is asked for a linearizable read has come as far as the split.
        assert_eq!(there.get("k007").await.expect("a read").expect("the key").value, "before");
        let listed = there.shards().await.expect("a list");
        assert_eq!(listed.shards.len(), 9);
        assert_eq!(there.explain("k007").await.expect("a reason").shard.expect("its shard").id, child.id);
    }
    put_all(&client, "after").await;
    let all = client.range(range("k", "l")).await.expect("a range").kvs;
    assert_eq!((all.len(), all.iter().filter(|kv| kv.value == "after").count()), (KEYS, KEYS));
    assert!(all.iter().all(|kv| kv.version == 2), "what they were before has gone with them");
    let old = pb::RangeRequest { revision: 1 + KEYS as i64, ..range("k", "l") };
    let old = client.range(old).await.expect("a range of before").kvs;
    assert_eq!((old.len(), old.iter().filter(|kv| kv.value == "before").count()), (KEYS, KEYS));

    // What makes no sense is refused, and says why.
    for (shard, at) in [(99, "".into()), (shard.id, explained.token.clone()), (child.id, "short".into())] {
        match client.split(shard, at).await.expect_err("it cannot be") {
            Error::Refused { error, .. } => assert_eq!(error.code(), Code::FailedPrecondition, "{error}"),
            other => panic!("{other}"),
        }
    }
}

/// Writers through every member, one reader, one watcher, and every shard is split: nothing is lost, nothing is told twice, nobody is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_shards_are_split() {
    let cluster = Cluster::start(3).await;
    let mut watched = Watched::of(&cluster, 0).await;

    let writers = writers(&cluster);
    let client = cluster.client();
    for shard in 1..=8 {
        client.split(shard, "").await.expect("a split");
    }
    for writer in writers {
        writer.await.expect("every write is done, and read back");
    }
    assert_eq!(client.shards().await.expect("a list").shards.len(), 16);
    let all = client.range(range("k", "l")).await.expect("a range").kvs;
    assert_eq!(all.len(), 3 * KEYS);
    let told = watched.revisions(3 * KEYS).await;
    assert!(told.windows(2).all(|two| two[0] + 1 == two[1]), "each write once, in order, without a gap");
}

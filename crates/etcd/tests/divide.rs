//! Keys of one group are divided among many while clients go on.

use quorate_client::{
    Client, Error, Options,
    rpc::LeaseClient,
    wire::{Code, etcdserverpb as pb},
};

use crate::support::{Cluster, Watched, put, range};

const KEYS: usize = 200;

async fn code<T: std::fmt::Debug>(answer: impl Future<Output = Result<T, Error>>) -> Code {
    match answer.await.expect_err("it cannot be") {
        Error::Refused { error, .. } => error.code(),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_divided_while_clients_go_on() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let listed = client.shards().await.expect("a list");
    assert!(listed.shards.is_empty() && listed.header.is_some());
    assert_eq!(code(client.explain("k")).await, Code::FailedPrecondition);
    assert_eq!(code(client.split(1, "")).await, Code::FailedPrecondition);
    assert_eq!(code(client.divide(1, "")).await, Code::InvalidArgument);
    assert_eq!(code(client.divide(129, "")).await, Code::InvalidArgument);
    assert_eq!(code(client.divide(4, "paxos")).await, Code::InvalidArgument);

    let mut leases = LeaseClient::new(cluster.channel(1));
    let grant = pb::LeaseGrantRequest { ttl: 3_600, id: 7 };
    leases.lease_grant(grant).await.expect("a lease");
    for number in 0..KEYS {
        let lease = if number % 10 == 0 { 7 } else { 0 };
        let request = pb::PutRequest { lease, ..put(&format!("k{number:03}"), "before") };
        client.put_request(request).await.expect("a put");
    }
    let mut watched = Watched::of(&cluster, 0).await;

    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let url = cluster.nodes[writer].url.clone();
            tokio::spawn(async move {
                let client = Client::connect([url], Options::default()).expect("a client");
                for number in (writer..KEYS).step_by(3) {
                    let key = format!("k{number:03}");
                    client.put_request(put(&key, "after")).await.expect("a put");
                    assert_eq!(client.get(key).await.expect("a read").expect("the key").value, "after");
                }
            })
        })
        .collect();
    let divided = client.divide(4, "").await.expect("four shards");
    assert_eq!(divided.shards.len(), 4);
    assert!(divided.shards.iter().all(|shard| shard.leader != 0), "{divided:?}");
    for writer in writers {
        writer.await.expect("every write is done, and read back");
    }
    let all = client.range(range("k", "l")).await.expect("a range").kvs;
    assert_eq!((all.len(), all.iter().filter(|kv| kv.version == 2).count()), (KEYS, KEYS));
    let old = pb::RangeRequest { revision: 1 + KEYS as i64, ..range("k", "l") };
    let old = client.range(old).await.expect("a range of before").kvs;
    assert_eq!((old.len(), old.iter().filter(|kv| kv.value == "before").count()), (KEYS, KEYS));

    let told = watched.revisions(KEYS).await;
    assert!(told.windows(2).all(|two| two[0] + 1 == two[1]), "each write once, in order, without a gap");

    // A lease of before, with keys of its own in every shard.
    client.put_request(pb::PutRequest { lease: 7, ..put("k999", "new") }).await.expect("a put");
    let left = pb::LeaseTimeToLiveRequest { id: 7, keys: true };
    assert_eq!(leases.lease_time_to_live(left).await.expect("what is left").into_inner().keys, ["k999"]);
    leases.lease_revoke(pb::LeaseRevokeRequest { id: 7 }).await.expect("its end");
    assert!(client.get("k999").await.expect("a read").is_none());

    assert_eq!(code(client.divide(8, "")).await, Code::FailedPrecondition);
    client.split(2, "").await.expect("a split");
    assert_eq!(client.shards().await.expect("a list").shards.len(), 5);
}

//! The service Watch, from a client's side, against a cluster of three.

use std::time::Duration;

use crate::support::{Cluster, put, range};
use quorate_client::{
    rpc::WatchClient,
    tonic::{Code, Request, Status, Streaming, codegen::tokio_stream::wrappers::ReceiverStream},
    wire::etcdserverpb::{self as pb, watch_request::RequestUnion},
};
use tokio::{sync::mpsc, time::timeout};

/// A stream of watches, and its client's half.
struct Stream {
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Stream {
    async fn open(cluster: &Cluster, node: usize) -> Stream {
        let (requests, receiver) = mpsc::channel(1_000);
        let mut client = WatchClient::new(cluster.channel(node));
        let responses = client.watch(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
        Stream { requests, responses }
    }

    async fn ask(&self, union: RequestUnion) {
        self.requests
            .send(pb::WatchRequest { request_union: Some(union) })
            .await
            .expect("the stream is there");
    }

    async fn create(&self, create: pb::WatchCreateRequest) {
        self.ask(RequestUnion::CreateRequest(create)).await;
    }

    async fn next(&mut self) -> pb::WatchResponse {
        self.try_next().await.expect("no error")
    }

    async fn try_next(&mut self) -> Result<pb::WatchResponse, Status> {
        let next = timeout(Duration::from_secs(20), self.responses.message()).await.expect("in time");
        next.map(|response| response.expect("the stream goes on"))
    }
}

fn watch(key: &str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: key.to_owned().into(), ..Default::default() }
}

fn revisions(response: &pb::WatchResponse) -> Vec<i64> {
    response.events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision).collect()
}

/// What is written through one member is told by each, in order, with what was there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_every_member_tells_its_watchers_of_every_write() {
    let cluster = Cluster::start(3).await;
    let mut streams = Vec::new();
    for node in 0..3 {
        let mut stream = Stream::open(&cluster, node).await;
        stream.create(pb::WatchCreateRequest { prev_kv: true, ..watch("a") }).await;
        let created = stream.next().await;
        let header = created.header.unwrap();
        assert!(created.created && created.watch_id == 0 && created.events.is_empty());
        assert_eq!((header.cluster_id, header.member_id), (cluster.cluster.0, cluster.nodes[node].id.0));
        streams.push(stream);
    }
    let mut kv = cluster.kv(0);
    let mut written = Vec::new();
    for value in 0..50 {
        let put = put("a", &value.to_string());
        written.push(kv.put(put).await.unwrap().into_inner().header.unwrap().revision);
    }
    for stream in &mut streams {
        let mut told = Vec::new();
        let mut value = 0;
        while told.len() < written.len() {
            let response = stream.next().await;
            assert!(response.header.unwrap().revision >= *revisions(&response).last().unwrap());
            told.extend(revisions(&response));
            for event in &response.events {
                let prev = event.prev_kv.as_ref().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
                assert_eq!(prev, (value > 0).then(|| (value - 1).to_string()));
                value += 1;
            }
        }
        assert_eq!(told, written);
    }
}

/// Its own write is over, its watch from now on is of what comes after: however far the hub had come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_now_on_begins_after_what_its_client_wrote() {
    let cluster = Cluster::start(3).await;
    let (mut kv, mut stream) = (cluster.kv(1), Stream::open(&cluster, 1).await);
    for _ in 0..100 {
        let before = kv.put(put("a", "1")).await.unwrap().into_inner().header.unwrap().revision;
        stream.create(watch("a")).await;
        let created = stream.next().await;
        assert!(created.created && created.header.unwrap().revision >= before);
        kv.put(put("a", "2")).await.unwrap();
        let response = stream.next().await;
        assert!(revisions(&response)[0] > before);
        stream.ask(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: created.watch_id })).await;
        assert!(stream.next().await.canceled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_compaction_and_progress_are_etcds() {
    let cluster = Cluster::start(3).await;
    let mut kv = cluster.kv(0);
    let mut revisions_written = Vec::new();
    for value in 0..10 {
        revisions_written
            .push(kv.put(put("a", &value.to_string())).await.unwrap().into_inner().header.unwrap().revision);
    }
    let newest = revisions_written[9];
    kv.compact(pb::CompactionRequest { revision: revisions_written[5], physical: true }).await.unwrap();
    let mut stream = Stream::open(&cluster, 0).await;

    stream.create(pb::WatchCreateRequest { start_revision: revisions_written[7], ..watch("a") }).await;
    assert!(stream.next().await.created);
    let mut told = Vec::new();
    while told.len() < 3 {
        told.extend(revisions(&stream.next().await));
    }
    assert_eq!(told, revisions_written[7..]);

    stream.ask(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).await;
    let progress = stream.next().await;
    assert_eq!((progress.watch_id, progress.header.unwrap().revision), (-1, newest));

    stream.create(pb::WatchCreateRequest { start_revision: revisions_written[4], ..watch("a") }).await;
    let created = stream.next().await;
    assert!(created.created && created.watch_id == 1);
    let gone = stream.next().await;
    assert!(gone.canceled && !gone.created);
    assert_eq!((gone.watch_id, gone.compact_revision, &*gone.cancel_reason), (1, revisions_written[5], ""));
}

/// etcd goes on telling a client that has closed its half: so the JSON gateway works, and `curl`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_nothing_more_to_ask_is_told_on() {
    let cluster = Cluster::start(1).await;
    let stream = Stream::open(&cluster, 0).await;
    stream.create(watch("a")).await;
    let Stream { requests, responses } = stream;
    drop(requests);
    let (requests, _) = mpsc::channel(1);
    let mut stream = Stream { requests, responses };
    assert!(stream.next().await.created);
    cluster.kv(0).put(put("a", "1")).await.unwrap();
    assert_eq!(revisions(&stream.next().await).len(), 1);
}

/// Others are told at once, and the slow one is told everything in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w04_a_client_that_does_not_read_holds_nobody_up_and_misses_nothing() {
    let cluster = Cluster::start(1).await;
    let (mut slow, mut quick) = (Stream::open(&cluster, 0).await, Stream::open(&cluster, 0).await);
    for stream in [&mut slow, &mut quick] {
        stream.create(watch("a")).await;
        assert!(stream.next().await.created);
    }
    let mut kv = cluster.kv(0);
    let value = "x".repeat(100_000);
    let mut written = Vec::new();
    for _ in 0..300 {
        let put = put("a", &value);
        written.push(kv.put(put).await.unwrap().into_inner().header.unwrap().revision);
        assert_eq!(revisions(&quick.next().await), [*written.last().unwrap()]);
    }
    let mut told = Vec::new();
    while told.len() < written.len() {
        told.extend(revisions(&slow.next().await));
    }
    assert_eq!(told, written);
}

/// Ten thousand on one key, on one stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_watches_of_one_key_are_all_told() {
    let cluster = Cluster::start(1).await;
    let mut stream = Stream::open(&cluster, 0).await;
    let requests = stream.requests.clone();
    tokio::spawn(async move {
        for _ in 0..10_000 {
            let union = Some(RequestUnion::CreateRequest(watch("a")));
            let _ = requests.send(pb::WatchRequest { request_union: union }).await;
        }
    });
    for id in 0..10_000 {
        let created = stream.next().await;
        assert!(created.created && created.watch_id == id);
    }
    cluster.kv(0).put(put("a", "1")).await.unwrap();
    let mut told = vec![false; 10_000];
    for _ in 0..10_000 {
        let response = stream.next().await;
        assert_eq!(response.events.len(), 1);
        assert!(!std::mem::replace(&mut told[response.watch_id as usize], true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_wants_a_leader_is_told_when_there_is_none_for_long() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let mut client = WatchClient::new(cluster.channel(leader));
    let (requests, receiver) = mpsc::channel(10);
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    let responses = client.watch(request).await.expect("a stream").into_inner();
    let mut needs = Stream { requests, responses };
    needs.create(watch("a")).await;
    assert!(needs.next().await.created);
    let mut stays = Stream::open(&cluster, leader).await;
    stays.create(watch("a")).await;
    assert!(stays.next().await.created);
    // The others stop, and this one alone is no majority.
    for (number, node) in cluster.nodes.iter().enumerate() {
        if number != leader {
            node.handle.shutdown(Duration::ZERO).await;
        }
    }
    let ended = needs.try_next().await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "etcdserver: no leader"));
    assert!(
        timeout(Duration::from_millis(50), stays.responses.message()).await.is_err(),
        "it did not ask for that"
    );
    let serializable = pb::RangeRequest { serializable: true, ..range("a", "") };
    cluster.kv(leader).range(serializable).await.expect("and what needs no leader goes on");
    cluster.nodes.clear();
}

//! What streams of watches tell, by watcher, until both sides have told the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_client::{
    rpc::WatchClient,
    tonic::{codegen::tokio_stream::wrappers::ReceiverStream, transport::Channel},
    wire::{
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        mvccpb,
    },
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::system::plain_header;

/// Requests that may wait to be sent.
const WAITING_MAX: usize = 64;

/// What was told, by watcher; what belongs to none, under −1.
pub(super) type Told = BTreeMap<i64, Vec<String>>;

/// An open stream. Dropped, its client has gone.
pub(super) struct Stream {
    /// The member that serves it.
    pub(super) at: usize,
    requests: mpsc::Sender<pb::WatchRequest>,
    told: Arc<Mutex<Told>>,
    /// Watchers that were asked for, and those that were answered.
    created: (AtomicU64, Arc<AtomicU64>),
    listening: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Stream {
    /// etcd says nothing at all before it has been asked for something: so nobody waits here.
    pub(super) fn open(channel: Channel, at: usize, member: u64, cluster: u64) -> Stream {
        let (requests, receiver) = mpsc::channel(WAITING_MAX);
        let mut client = WatchClient::new(channel).max_decoding_message_size(usize::MAX);
        let told = Arc::new(Mutex::new(Told::new()));
        let heard = Arc::clone(&told);
        let answered = Arc::new(AtomicU64::new(0));
        let created = (AtomicU64::new(0), Arc::clone(&answered));
        let listening = tokio::spawn(async move {
            let mut listener =
                Listener { heard, answered, member, cluster, last: BTreeMap::new(), live: BTreeSet::new() };
            let mut responses = match client.watch(ReceiverStream::new(receiver)).await {
                Ok(responses) => responses.into_inner(),
                Err(status) => return listener.tell(-1, format!("the stream was refused: {status}")),
            };
            loop {
                match responses.message().await {
                    Ok(Some(response)) => listener.hear(response),
                    Ok(None) => return listener.tell(-1, "the stream ended".to_owned()),
                    Err(status) => return listener.tell(-1, format!("the stream ended: {status}")),
                }
            }
        });
        Stream { at, requests, told, created, listening }
    }

    /// Returns when it was answered: what is put then it is told of.
    pub(super) async fn create(&self, create: pb::WatchCreateRequest) {
        let asked = 1 + self.created.0.fetch_add(1, Ordering::Relaxed);
        self.ask(RequestUnion::CreateRequest(create)).await;
        while self.created.1.load(Ordering::Relaxed) < asked && !self.listening.is_finished() {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }

    /// Asks for a watcher that nobody can have, and is refused: then all is done that was asked before.
    async fn barrier(&self) {
        let create = pb::WatchCreateRequest { key: "b".into(), range_end: "a".into(), ..Default::default() };
        self.create(create).await;
    }

    pub(super) async fn cancel(&self, watch_id: i64) {
        self.ask(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id })).await;
        self.barrier().await;
    }

    pub(super) async fn progress(&self) {
        self.ask(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).await;
        self.barrier().await;
    }

    async fn ask(&self, union: RequestUnion) {
        // A stream that ended says so where its answers are compared.
        let _ = self.requests.send(pb::WatchRequest { request_union: Some(union) }).await;
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Do both tell the same, but for the order of what changed in one revision? With the keys in several shards that comes shard by shard.
pub(super) fn are_alike_by_revision(ours: &Told, theirs: &Told) -> bool {
    let by_revision = |told: &Told| -> Told {
        let in_order = |lines: &Vec<String>| {
            let mut lines = lines.clone();
            lines
                .chunk_by_mut(|one, other| revision(one).is_some() && revision(one) == revision(other))
                .for_each(<[String]>::sort);
            lines
        };
        told.iter().map(|(id, lines)| (*id, in_order(lines))).collect()
    };
    by_revision(ours) == by_revision(theirs)
}

/// `m743` of the line of an event.
fn revision(line: &str) -> Option<&str> {
    let (event, _) = line.split_once(" before: ")?;
    event.split(' ').rev().find(|word| word.starts_with('m'))
}

struct Listener {
    heard: Arc<Mutex<Told>>,
    answered: Arc<AtomicU64>,
    member: u64,
    cluster: u64,
    /// Of each watcher: the revision that it was told of last, and whether more of the same response is to come.
    last: BTreeMap<i64, (i64, bool)>,
    live: BTreeSet<i64>,
}

impl Listener {
    fn tell(&self, id: i64, line: String) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().push(line);
    }

    fn hear(&mut self, mut response: pb::WatchResponse) {
        let id = response.watch_id;
        plain_header(&mut response.header, self.cluster, self.member);
        let header = response.header.unwrap_or_default();
        if (header.cluster_id, header.member_id, header.raft_term) != (1, 1, 1) {
            self.tell(id, format!("a header of {header:?}"));
        }
        if response.created {
            self.last.remove(&id);
            if !response.canceled {
                self.live.insert(id);
            }
            self.tell(id, "created".to_owned());
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        if !response.created && !response.canceled && response.events.is_empty() && !response.fragment {
            self.tell(id, format!("progress at {}", header.revision));
        }
        for event in &response.events {
            self.tell(id, self::event(event));
        }
        self.whole(&response, header.revision);
        // etcd answers a cancel of a watcher that has ended by itself, for once.
        if response.canceled && (response.created || self.live.remove(&id)) {
            let (compacted, reason) = (response.compact_revision, &response.cancel_reason);
            self.tell(id, format!("canceled, compacted at {compacted}, reason {reason:?}"));
        }
    }

    /// How events may be split over responses differs; that no revision is split, unless by fragments, must not.
    fn whole(&mut self, response: &pb::WatchResponse, store: i64) {
        let revision = |event: &mvccpb::Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        let (Some(first), Some(end)) = (response.events.first(), response.events.last()) else { return };
        let id = response.watch_id;
        if let Some((last, more)) = self.last.get(&id)
            && !more
            && revision(first) <= *last
        {
            self.tell(id, format!("the events of revision {last} were split, or told twice"));
        }
        if store < revision(end) {
            self.tell(id, format!("a header of revision {store} before the event's {}", revision(end)));
        }
        self.last.insert(id, (revision(end), response.fragment));
    }
}

fn event(event: &mvccpb::Event) -> String {
    let kv = |kv: &Option<mvccpb::KeyValue>| match kv {
        None => "nothing".to_owned(),
        Some(kv) => format!(
            "{:?}={} c{} m{} v{} l{}",
            kv.key,
            short(&kv.value),
            kv.create_revision,
            kv.mod_revision,
            kv.version,
            kv.lease
        ),
    };
    format!("{} {} before: {}", event.r#type, kv(&event.kv), kv(&event.prev_kv))
}

/// A value that may be very long.
fn short(value: &[u8]) -> String {
    match value.len() {
        0..=64 => format!("{:?}", bytes::Bytes::copy_from_slice(value)),
        length => format!("{length} bytes"),
    }
}

//! One key, many watchers: from a put's sending to the last event.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use http::uri::PathAndQuery;
use quorate_client::{
    rpc::KvClient,
    tonic::{Request, client::Grpc, codegen::tokio_stream::wrappers::ReceiverStream, transport::Channel},
    wire::etcdserverpb::{self as pb, watch_request::RequestUnion},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    calls::{self, Meter, Outcome},
    figure::{Figure, percentile_ms},
    lazy::{Lazy, fields},
    size::Size,
};
use crate::{Fallible, cluster::Cluster};

const KEY: &str = "watched";
/// Of all members together; etcd and we allow hundreds of streams on each.
const CONNECTIONS: usize = 30;
/// Number of the field `events` of a `WatchResponse`.
const EVENTS: u64 = 11;
/// Whoever is not told within this never is.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Puts before those that count.
const WARM_UP: usize = 10;

/// What all streams of one measurement have been told, together.
struct Told {
    created: Cell<usize>,
    events: Cell<usize>,
    /// Events after which the time is taken.
    wanted: Cell<usize>,
    done: mpsc::UnboundedSender<Instant>,
}

impl Told {
    fn hear(&self, message: &[u8]) {
        let events = fields(message, EVENTS);
        if events == 0 {
            self.created.set(self.created.get() + 1);
            return;
        }
        let before = self.events.get();
        self.events.set(before + events);
        if before < self.wanted.get() && self.events.get() >= self.wanted.get() {
            // Nobody waits any more when the measurement is over.
            let _ = self.done.send(Instant::now());
        }
    }
}

pub(super) fn run(cluster: &Cluster, size: &Size) -> Fallible<Vec<Figure>> {
    let (leader, mut figures) = (calls::leader(cluster), Vec::new());
    for (watchers, streams) in size.watches {
        let what = format!("watch: put to the last of {watchers} watchers' events, {streams} streams");
        let meter = Meter::start(cluster);
        let outcome = calls::block_on(fan_out(cluster, &leader, *watchers, *streams, size.shots))?;
        figures.push(Figure::milliseconds(format!("{what}, p50"), percentile_ms(&outcome.latency, 50.0)));
        figures.push(Figure::milliseconds(format!("{what}, p99"), percentile_ms(&outcome.latency, 99.0)));
        figures.extend(meter.figures(&what, "event", ((size.shots + WARM_UP) * watchers) as u64));
    }
    Ok(figures)
}

async fn fan_out(
    cluster: &Cluster,
    leader: &str,
    watchers: usize,
    streams: usize,
    shots: usize,
) -> Fallible<Outcome> {
    let endpoints = cluster.endpoints();
    let mut channels = Vec::new();
    for endpoint in &endpoints {
        channels.push(calls::connect(endpoint, CONNECTIONS / endpoints.len()).await?);
    }
    let (done, mut finished) = mpsc::unbounded_channel();
    let told = Rc::new(Told { created: Cell::new(0), events: Cell::new(0), wanted: Cell::new(0), done });
    let mut tasks = JoinSet::new();
    for n in 0..streams {
        let member = &channels[n % channels.len()];
        let channel = member[n / channels.len() % member.len()].clone();
        let of_this = watchers / streams;
        tasks.spawn_local(listen(channel, of_this, Rc::clone(&told)));
    }
    let begun = Instant::now();
    while told.created.get() < watchers {
        if begun.elapsed() > WAIT_MAX {
            let created = told.created.get();
            return Err(format!("only {created} of {watchers} watchers came about").into());
        }
        sleep(Duration::from_millis(5)).await;
    }
    let writer = calls::connect(leader, 1).await?;
    let mut kv = KvClient::new(writer[0].clone());
    let mut outcome = Outcome::none()?;
    for shot in 0..WARM_UP + shots {
        told.wanted.set(told.events.get() + watchers);
        let put = pb::PutRequest { key: KEY.into(), value: vec![b'x'; 64].into(), ..Default::default() };
        let sent = Instant::now();
        let (answer, last) = tokio::join!(kv.put(put), timeout(WAIT_MAX, finished.recv()));
        answer?;
        let Ok(Some(last)) = last else {
            let missing = told.wanted.get() - told.events.get();
            return Err(format!("{missing} of {watchers} watchers were not told within {WAIT_MAX:?}").into());
        };
        if shot >= WARM_UP {
            outcome.record(last.duration_since(sent), true);
        }
    }
    Ok(outcome)
}

/// One stream with so many watchers, for as long as its task lives.
async fn listen(channel: Channel, watchers: usize, told: Rc<Told>) -> Fallible<()> {
    let (requests, receiver) = mpsc::channel(watchers);
    for _ in 0..watchers {
        let create = pb::WatchCreateRequest { key: KEY.into(), ..Default::default() };
        let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.send(request).await?;
    }
    let mut client = Grpc::new(channel);
    client.ready().await?;
    let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    let stream = Request::new(ReceiverStream::new(receiver));
    let mut messages =
        client.streaming(stream, path, Lazy::<pb::WatchRequest>::default()).await?.into_inner();
    while let Some(message) = messages.message().await? {
        told.hear(&message);
    }
    drop(requests);
    Ok(())
}

//! Connections, clients that ask again when they are answered, and what that costs whom.

use std::{
    cell::RefCell,
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate_client::{
    Client, Http2, Options,
    rpc::KvClient,
    tonic::transport::Channel,
    wire::etcdserverpb::{self as pb, request_op},
};
use tokio::task::{JoinSet, LocalSet};

use super::figure::{Better, Figure};
use crate::{Fallible, client, cluster::Cluster, process};

/// No more connections to one member.
const CONNECTIONS_MAX: usize = 100;
/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Operations of one transaction that loads keys; etcd allows 128.
const BATCH: usize = 100;
/// Such transactions under way.
const LOADERS: usize = 16;

/// Runs on a runtime of this thread, tasks that share things without locks included.
pub(super) fn block_on<T>(work: impl Future<Output = Fallible<T>>) -> Fallible<T> {
    LocalSet::new().block_on(&client::runtime()?, work)
}

/// The endpoint that leads, or the first.
pub(super) fn leader(cluster: &Cluster) -> String {
    let endpoints = cluster.endpoints();
    endpoints[client::leader(&endpoints).unwrap_or(0)].clone()
}

/// So many connections to one member, made before any clock starts.
pub(super) async fn connect(endpoint: &str, count: usize) -> Fallible<Vec<Channel>> {
    let http2 = Http2 { keepalive_interval: None, ..Http2::default() };
    let options = Options { http2, call_timeout: Duration::from_secs(60), ..Options::default() };
    let mut channels = Vec::new();
    for _ in 0..count.min(CONNECTIONS_MAX) {
        let client = Client::connect([endpoint], options.clone())?;
        client.range(pb::RangeRequest { key: "\0".into(), serializable: true, ..Default::default() }).await?;
        channels.extend(client.channel(0));
    }
    Ok(channels)
}

/// What came of a load.
pub(super) struct Outcome {
    /// Microseconds.
    pub(super) latency: Histogram<u64>,
    /// Answers that were what the caller hoped for.
    pub(super) successes: u64,
    pub(super) took: Duration,
}

impl Outcome {
    pub(super) fn none() -> Fallible<Outcome> {
        Ok(Outcome {
            latency: Histogram::new_with_max(LATENCY_MAX_US, 3)?,
            successes: 0,
            took: Duration::ZERO,
        })
    }

    pub(super) fn record(&mut self, took: Duration, success: bool) {
        self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        self.successes += u64::from(success);
    }

    pub(super) fn per_second(&self) -> f64 {
        self.latency.len() as f64 / self.took.as_secs_f64()
    }
}

/// So many clients, each of which asks again as soon as it is answered, until that time. An error ends all.
///
/// `client` makes a client; a call says whether it was what the client hoped for.
pub(super) async fn repeat<C, F>(
    clients: usize,
    time: Duration,
    client: impl Fn(usize) -> C,
) -> Fallible<Outcome>
where
    C: FnMut() -> F + 'static,
    F: Future<Output = Fallible<bool>> + 'static,
{
    let outcome = Rc::new(RefCell::new(Outcome::none()?));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for n in 0..clients {
        let (mut call, outcome) = (client(n), Rc::clone(&outcome));
        tasks.spawn_local(async move {
            while begun.elapsed() < time {
                let sent = Instant::now();
                let success = call().await?;
                outcome.borrow_mut().record(sent.elapsed(), success);
            }
            Fallible::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    outcome.borrow_mut().took = begun.elapsed();
    Ok(Rc::try_unwrap(outcome).map_err(|_| "a client still counts")?.into_inner())
}

/// What the servers, and this process, took meanwhile.
pub(super) struct Meter<'a> {
    cluster: &'a Cluster,
    servers: Duration,
    load: Duration,
    begun: Instant,
}

impl Meter<'_> {
    pub(super) fn start(cluster: &Cluster) -> Meter<'_> {
        let load = process::cpu_time(std::process::id());
        Meter { cluster, servers: cluster.cpu(), load, begun: Instant::now() }
    }

    /// What each of so many operations took of the servers' time, and which share of a core the load took.
    pub(super) fn figures(&self, what: &str, operation: &str, operations: u64) -> [Figure; 2] {
        let each = (self.cluster.cpu() - self.servers).as_secs_f64() * 1e6 / operations.max(1) as f64;
        let load = (process::cpu_time(std::process::id()) - self.load).as_secs_f64();
        let share = 100.0 * load / self.begun.elapsed().as_secs_f64();
        [
            Figure::new(format!("{what}: servers' CPU per {operation}"), each, " µs", Better::Less),
            Figure::new(format!("{what}: the load's share of a core"), share, " %", Better::Neither),
        ]
    }
}

/// Puts so many keys, by transactions of many puts.
pub(super) async fn load(
    channels: &[Channel],
    count: usize,
    put: impl Fn(usize) -> pb::PutRequest + Clone + 'static,
) -> Fallible<()> {
    let next = Rc::new(RefCell::new(0));
    let mut tasks = JoinSet::new();
    for n in 0..LOADERS {
        let mut kv = KvClient::new(channels[n % channels.len()].clone());
        let (put, next) = (put.clone(), Rc::clone(&next));
        tasks.spawn_local(async move {
            loop {
                let from = next.replace_with(|from| *from + BATCH);
                if from >= count {
                    return Fallible::Ok(());
                }
                let success = (from..count.min(from + BATCH)).map(|n| operation(put(n))).collect();
                kv.txn(pb::TxnRequest { success, ..Default::default() }).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

pub(super) fn operation(put: pb::PutRequest) -> pb::RequestOp {
    pb::RequestOp { request: Some(request_op::Request::RequestPut(put)) }
}

/// How many keys begin with this, by one member's own word.
pub(super) async fn count(channel: &Channel, prefix: &'static str) -> Fallible<u64> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    let request = pb::RangeRequest {
        key: Bytes::from_static(prefix.as_bytes()),
        range_end: end.into(),
        count_only: true,
        serializable: true,
        ..Default::default()
    };
    let answer = KvClient::new(channel.clone()).range(request).await?;
    Ok(u64::try_from(answer.into_inner().count)?)
}

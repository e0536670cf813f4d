//! What a put costs in the front end alone: sockets, HTTP/2, gRPC and protobuf in front of a node that answers at once.
//!
//! `cargo run --release -p quorate-etcd --example front_bench [--workers N] [--seconds N] [CLIENTS…]`
//!
//! Per number of clients (each with one call under way, ten to a connection): puts per second, CPU time per put of the server's threads
//! and of the client's, and the server's switches of context per put.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures, so it has a clock")]

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate_client::{Options, endpoint, rpc::KvClient, wire::etcdserverpb::PutRequest};
use quorate_consensus::{Epoch, GroupId, NodeId, Role, RoleChange, Writer};
use quorate_etcd::{Backend, Front, runtime, serve};
use quorate_server::CallError;
use quorate_service::{
    KEYS, Reply,
    keyspace::{Keyspace, PutReply, Reply as KeysReply, Response},
    node::{GroupStatus, Outcome, SessionTag},
};
use tokio::sync::watch;

/// Answers every proposal at once, having encoded it as a node would.
#[derive(Clone)]
struct Nothing {
    revision: Arc<AtomicU64>,
    roles: Arc<watch::Sender<BTreeMap<GroupId, RoleChange>>>,
}

impl Nothing {
    fn new() -> Nothing {
        let role = RoleChange { role: Role::Leader, epoch: Epoch(1), leader: Some(NodeId(1)) };
        Nothing {
            revision: Arc::default(),
            roles: Arc::new(watch::Sender::new(BTreeMap::from([(KEYS, role)]))),
        }
    }
}

impl Backend for Nothing {
    fn propose<F: FnOnce(&mut Writer) + Send>(
        &self,
        _: GroupId,
        _: Option<SessionTag>,
        encode: F,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send {
        let mut to = Writer::with_capacity(64);
        encode(&mut to);
        let revision = self.revision.fetch_add(1, Ordering::Relaxed);
        let result = Ok(KeysReply::Put(PutReply { prev_kv: None }));
        std::future::ready(Ok(Reply::Keys(Outcome::Done(Response { revision, result }))))
    }

    fn read(&self, _: GroupId) -> impl Future<Output = Result<Reply, CallError>> + Send {
        use quorate_consensus::StateMachine as _;
        std::future::ready(Ok(Reply::KeysView(Keyspace::new().view())))
    }

    fn read_local(&self, group: GroupId) -> impl Future<Output = Result<Reply, CallError>> + Send {
        self.read(group)
    }

    fn status(&self, _: GroupId) -> impl Future<Output = Result<Option<GroupStatus>, CallError>> + Send {
        std::future::ready(Ok(None))
    }

    fn transfer_leadership(&self, _: GroupId, _: NodeId) -> Result<(), CallError> {
        Ok(())
    }

    fn relay(&self, _: Option<NodeId>, _: Bytes) {}

    fn role_changes(&self) -> watch::Receiver<BTreeMap<GroupId, RoleChange>> {
        self.roles.subscribe()
    }
}

/// CPU time in nanoseconds and switches of context, over all threads of this process whose name begins with `name`.
fn spent(name: &str) -> (u64, u64) {
    let (mut nanoseconds, mut switches) = (0, 0);
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return (0, 0) };
    for task in tasks.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if !read("comm").starts_with(name) {
            continue;
        }
        nanoseconds +=
            read("schedstat").split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        for line in read("status").lines().filter(|line| line.contains("ctxt_switches")) {
            switches += line.split_whitespace().last().and_then(|last| last.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    (nanoseconds, switches)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut workers, mut seconds, mut clients) = (1, 3, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--workers" => workers = arguments.next().ok_or("--workers wants a number")?.parse()?,
            "--seconds" => seconds = arguments.next().ok_or("--seconds wants a number")?.parse()?,
            number => clients.push(number.parse::<usize>()?),
        }
    }
    if clients.is_empty() {
        clients = vec![1, 10, 100, 1000];
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::Builder::new().name("quorate-etcd".into()).spawn(move || {
        let serving = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serve(listener, Front::new(Nothing::new(), 1, 1, "bench"), std::future::pending()).await
        };
        runtime(workers).and_then(|runtime| runtime.block_on(serving))
    })?;
    println!("server: {workers} worker(s)");
    println!(
        "{:>8} {:>12} {:>14} {:>14} {:>16}",
        "clients", "puts/s", "server µs/put", "client µs/put", "switches/put"
    );
    let client = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("load")
        .enable_all()
        .build()?;
    for count in clients {
        client.block_on(measure(&url, count, Duration::from_secs(seconds)))?;
    }
    Ok(())
}

async fn measure(url: &str, clients: usize, duration: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::default();
    let mut channels = Vec::new();
    for _ in 0..clients.div_ceil(10) {
        channels.push(endpoint(url, &options)?.connect().await?);
    }
    let (stop, puts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for number in 0..clients {
        let mut kv = KvClient::new(channels[number % channels.len()].clone());
        let (stop, puts) = (Arc::clone(&stop), Arc::clone(&puts));
        tasks.push(tokio::spawn(async move {
            let request =
                PutRequest { key: vec![7; 16].into(), value: vec![7; 100].into(), ..Default::default() };
            while !stop.load(Ordering::Relaxed) {
                if kv.put(request.clone()).await.is_ok() {
                    puts.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let look = || (Instant::now(), puts.load(Ordering::Relaxed), spent("quorate-etcd"), spent("load"));
    let before = look();
    tokio::time::sleep(duration).await;
    let after = look();
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await?;
    }
    let done = (after.1 - before.1).max(1) as f64;
    let elapsed = (after.0 - before.0).as_secs_f64();
    let each = |from: u64, to: u64| (to - from) as f64 / done;
    println!(
        "{clients:>8} {:>12.0} {:>14.2} {:>14.2} {:>16.3}",
        done / elapsed,
        each(before.2.0, after.2.0) / 1000.0,
        each(before.3.0, after.3.0) / 1000.0,
        each(before.2.1, after.2.1),
    );
    Ok(())
}

//! What a write costs: three nodes in this process, over loopback TCP, with real files and real syncs.
//!
//! `cargo run --release -p quorate-server --example counter_bench [--memory] [--hub] [--no-sync] [--dir PATH] [--seconds N] [CLIENTS…]`
//!
//! Per number of clients: writes per second, latency at the middle and at the 99th percentile, and what one write cost in wake-ups, rounds,
//! system calls and syncs, all three nodes together. Clients wait for each answer before they ask again, all at the leader.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures, so it has a clock")]

mod support;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use quorate_consensus::{ClusterId, GroupId, Membership, NodeId};
use quorate_server::{
    Counters, Handle, Hub, Network, Options, PeerAddress, Replicas, Reply, Security, Storage, start,
};
use support::{Counter, config};

const GROUP: GroupId = GroupId(1);
/// Beside the counter's eight bytes: what a small key and value would weigh.
const PADDING: [u8; 100] = [7; 100];

/// What is left out, to see what it costs.
#[derive(Clone, Copy, Default)]
struct Setup {
    /// Disks in memory.
    memory: bool,
    /// No sockets.
    hub: bool,
    /// Files without syncs.
    no_sync: bool,
}

type Node = Handle<Reply<Counter>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut setup, mut clients, mut seconds) = (Setup::default(), Vec::new(), 3);
    let mut directory = std::env::temp_dir().join(format!("quorate-counter-bench-{}", std::process::id()));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--memory" => setup.memory = true,
            "--hub" => setup.hub = true,
            "--no-sync" => setup.no_sync = true,
            "--dir" => directory = arguments.next().ok_or("--dir wants a path")?.into(),
            "--seconds" => seconds = arguments.next().ok_or("--seconds wants a number")?.parse()?,
            number => clients.push(number.parse::<usize>()?),
        }
    }
    if clients.is_empty() {
        clients = vec![1, 10, 100, 1000];
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    let result = runtime.block_on(bench(setup, &directory, &clients, Duration::from_secs(seconds)));
    let _ = std::fs::remove_dir_all(&directory);
    result
}

async fn bench(
    setup: Setup,
    directory: &std::path::Path,
    clients: &[usize],
    time: Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    let nodes = cluster(setup, directory)?;
    let leader = nodes[0].leader(GROUP).await?;
    let leading = nodes.iter().find(|node| node.node() == leader).ok_or("the leader is one of them")?;
    println!(
        "clients     writes/s   p50 us   p99 us | per write: core-wakes state-wakes disk-wakes rounds sock-writes sock-reads syncs"
    );
    for &count in clients {
        run(leading, count, Duration::from_millis(500)).await;
        let before = Costs::of(&nodes);
        let (writes, mut latencies, took) = run(leading, count, time).await;
        let costs = Costs::of(&nodes).since(&before);
        latencies.sort_unstable();
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0) / 1000;
        print!("{count:7} {:12.0} {:8} {:8} |", writes as f64 / took.as_secs_f64(), at(50), at(99));
        for cost in costs.0 {
            print!(" {:10.3}", cost as f64 / writes as f64);
        }
        println!();
    }
    let durations = leading.counters().disk_sync.buckets();
    println!("syncs of the leader by duration (bounds 62 us, doubling): {durations:?}");
    for node in &nodes {
        node.shutdown(Duration::from_secs(1)).await;
    }
    Ok(())
}

fn cluster(setup: Setup, directory: &std::path::Path) -> Result<Vec<Node>, Box<dyn std::error::Error>> {
    let members = Membership::new([1, 2, 3].map(NodeId), []);
    let hub = Hub::new();
    let mut listeners = BTreeMap::new();
    let mut peers = BTreeMap::new();
    for id in [1, 2, 3].map(NodeId) {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        peers.insert(id, PeerAddress(listener.local_addr()?.to_string()));
        listeners.insert(id, listener);
    }
    let mut nodes = Vec::new();
    for (id, listener) in listeners {
        let place: PathBuf = directory.join(id.to_string());
        let storage = if setup.memory { Storage::Memory } else { Storage::Directory(place) };
        let network = if setup.hub {
            Network::InProcess(hub.clone())
        } else {
            Network::Tcp { listener, peers: peers.clone(), security: Security::Plaintext }
        };
        let mut options = Options::new(storage, network);
        options.unsafe_no_sync = setup.no_sync;
        let config = config(ClusterId(1), id, GROUP, &members);
        nodes.push(start(options, config, |config| Replicas::new(config, |_| Counter::default()))?);
    }
    Ok(nodes)
}

/// Runs `count` clients for `time`: writes, latencies in nanoseconds, the time it really took.
async fn run(node: &Node, count: usize, time: Duration) -> (u64, Vec<u64>, Duration) {
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let clients: Vec<_> = (0..count)
        .map(|_| {
            let (node, stop) = (node.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let answer = node.propose(GROUP, None, |to| {
                        to.u64(1);
                        to.raw(&PADDING);
                    });
                    match answer.await {
                        Ok(_) => latencies.push(began.elapsed().as_nanos() as u64),
                        Err(error) => eprintln!("{error}"),
                    }
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await.unwrap_or_default());
    }
    (latencies.len() as u64, latencies, began.elapsed())
}

struct Costs([u64; 7]);

impl Costs {
    fn of(nodes: &[Node]) -> Costs {
        let sum = |count: fn(&Counters) -> u64| nodes.iter().map(|node| count(node.counters())).sum();
        Costs([
            sum(|c| c.core_wakeups.get()),
            sum(|c| c.state_wakeups.get()),
            sum(|c| c.disk_wakeups.get()),
            sum(|c| c.core_rounds.get()),
            sum(|c| c.socket_writes.get()),
            sum(|c| c.socket_reads.get()),
            sum(|c| c.disk_syncs.get()),
        ])
    }

    fn since(&self, before: &Costs) -> Costs {
        Costs(std::array::from_fn(|i| self.0[i] - before.0[i]))
    }
}

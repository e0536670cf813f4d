//! Ours and etcd in turn, on the same machine, data on the same disk, syncs on, with the same client; and what the machine itself costs.

use std::{
    fmt::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use quorate_client::Client;
use serde_json::Value;

use crate::{
    Fallible,
    client::{impatient, leader, runtime},
    cluster::{Cluster, Kind, Options, Scratch, binary},
    floor, ledger,
    torture::Mixer,
};

/// One kind of load.
struct Row {
    name: &'static str,
    arguments: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        name: "put, 1 client",
        arguments: &["put", "--clients", "1", "--connections", "1", "--total", "4000"],
    },
    Row {
        name: "put, 1,000 clients",
        arguments: &["put", "--clients", "1000", "--connections", "100", "--total", "150000"],
    },
    Row {
        name: "linearizable get, 1 client",
        arguments: &["range", "--clients", "1", "--connections", "1", "--total", "6000"],
    },
    Row {
        name: "linearizable get, 1,000 clients",
        arguments: &["range", "--clients", "1000", "--connections", "100", "--total", "150000"],
    },
    Row {
        name: "serializable get, 1,000 clients",
        arguments: &[
            "range",
            "--serializable",
            "--clients",
            "1000",
            "--connections",
            "100",
            "--total",
            "150000",
        ],
    },
];

#[derive(Clone, Copy, Default)]
struct Measured {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

struct Side {
    rows: Vec<Measured>,
    memory_rest: u64,
    memory_loaded: u64,
    failover: Vec<Duration>,
}

pub(crate) fn run(kills: u64) -> Fallible<()> {
    let version = Command::new("etcd")
        .arg("--version")
        .output()
        .map_err(|_| "etcd is not installed; Debian has it in the package etcd-server")?;
    let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
    let scratch = Scratch::new("compare")?;
    let (sync, trip) = (floor::sync(&scratch.0)?, floor::round_trip()?);
    println!(
        "floor: one sync p50 {:.2?} p99 {:.2?}; one loopback round trip p50 {:.2?}",
        sync.p50, sync.p99, trip.p50
    );
    let ours = side(Kind::Quorate, kills)?;
    let theirs = side(Kind::Etcd, kills)?;
    let mut text = String::new();
    writeln!(text, "Commit {}, {version}, `cargo xtask compare`.", ledger::commit())?;
    writeln!(
        text,
        "Floor in the same run: one sync p50 {:.2?} (p99 {:.2?}), one loopback round trip p50 {:.2?}.\n",
        sync.p50, sync.p99, trip.p50
    )?;
    writeln!(
        text,
        "| work | ours /s | etcd /s | ratio | ours p50 | etcd p50 | ours p99 | etcd p99 | ours CPU/op | etcd CPU/op |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
    for (row, (us, they)) in ROWS.iter().zip(ours.rows.iter().zip(&theirs.rows)) {
        writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.2} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | {:.0} µs | {:.0} µs |",
            row.name,
            us.per_second,
            they.per_second,
            us.per_second / they.per_second,
            us.p50_us / 1e3,
            they.p50_us / 1e3,
            us.p99_us / 1e3,
            they.p99_us / 1e3,
            us.cpu_us,
            they.cpu_us
        )?;
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(text, "\n| | ours | etcd |\n|---|---|---|")?;
    writeln!(
        text,
        "| memory of a server at rest | {:.0} MiB | {:.0} MiB |",
        mib(ours.memory_rest),
        mib(theirs.memory_rest)
    )?;
    writeln!(
        text,
        "| memory of the largest server after the load | {:.0} MiB | {:.0} MiB |",
        mib(ours.memory_loaded),
        mib(theirs.memory_loaded)
    )?;
    let (us, they) = (floor::spread(ours.failover), floor::spread(theirs.failover));
    writeln!(
        text,
        "| kill -9 of the leader to the next successful put, {kills} kills: median (worst) | {:.0?} ({:.0?}) | {:.0?} ({:.0?}) |",
        us.p50, us.p99, they.p50, they.p99
    )?;
    println!("\n{text}");
    std::fs::write(
        "docs/comparison.md",
        format!(
            "# Comparison with etcd\n\nWritten by `cargo xtask compare`; see [performance.md](performance.md) for what it means.\n\n{text}"
        ),
    )?;
    ledger::add("cargo xtask compare", "docs/comparison.md")
}

fn side(kind: Kind, kills: u64) -> Fallible<Side> {
    let scratch = Scratch::new("side")?;
    let mut cluster = Cluster::start(kind, &scratch.directories(3)?, &Options::default())?;
    let endpoints = cluster.endpoints().join(",");
    std::thread::sleep(Duration::from_secs(2));
    let memory_rest = cluster.resident_bytes_max();
    let mut rows = Vec::new();
    for row in ROWS {
        bench(&endpoints, row, true)?;
        let before = cluster.cpu();
        let mut measured = bench(&endpoints, row, false)?;
        let requests: f64 = row.arguments.last().and_then(|total| total.parse().ok()).unwrap_or(1.0);
        measured.cpu_us = (cluster.cpu() - before).as_secs_f64() * 1e6 / requests;
        println!(
            "{kind:?} {}: {:.0}/s, p50 {:.0} µs, p99 {:.0} µs, {:.1} µs CPU",
            row.name, measured.per_second, measured.p50_us, measured.p99_us, measured.cpu_us
        );
        rows.push(measured);
    }
    let memory_loaded = cluster.resident_bytes_max();
    let failover = failover(&mut cluster, kills)?;
    Ok(Side { rows, memory_rest, memory_loaded, failover })
}

fn bench(endpoints: &str, row: &Row, warm_up: bool) -> Fallible<Measured> {
    let mut command = Command::new(binary());
    command.arg("bench").args(row.arguments).args([
        "--endpoints",
        endpoints,
        "--target",
        "leader",
        "-o",
        "json",
    ]);
    if warm_up {
        let plain: Vec<&str> =
            row.arguments.iter().copied().take_while(|argument| *argument != "--total").collect();
        command = Command::new(binary());
        command.arg("bench").args(plain).args([
            "--total",
            "1000",
            "--endpoints",
            endpoints,
            "--target",
            "leader",
            "-o",
            "json",
        ]);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("bench: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let latency = &report["latency_us"];
    Ok(Measured {
        per_second: number(&report["per_second"]),
        p50_us: number(&latency["p50"]),
        p99_us: number(&latency["p99"]),
        cpu_us: 0.0,
    })
}

/// Kills the leader under load, again and again: how long until a put succeeds?
fn failover(cluster: &mut Cluster, kills: u64) -> Fallible<Vec<Duration>> {
    let endpoints = cluster.endpoints();
    let load = crate::workload::Load::start(&endpoints, 8, 7);
    let mut random = Mixer(1);
    let mut times = Vec::new();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(1500 + random.below(500)));
        let Some(victim) = leader(&endpoints) else { continue };
        let others: Vec<String> =
            endpoints.iter().enumerate().filter(|(n, _)| *n != victim).map(|(_, e)| e.clone()).collect();
        cluster.servers[victim].kill();
        let killed = Instant::now();
        times.push(first_put(&others, killed)?);
        cluster.servers[victim].start()?;
        cluster.servers[victim].wait_until_it_answers(Duration::from_secs(30))?;
    }
    load.stop();
    Ok(times)
}

fn first_put(endpoints: &[String], killed: Instant) -> Fallible<Duration> {
    runtime()?.block_on(async {
        let clients = endpoints
            .iter()
            .map(|endpoint| Client::connect([endpoint.clone()], impatient(Duration::from_secs(10))))
            .collect::<Result<Vec<_>, _>>()?;
        let mut set = tokio::task::JoinSet::new();
        for client in clients {
            set.spawn(async move {
                // A put every few milliseconds, none waiting for another: the first that succeeds ends the measurement.
                let mut puts = tokio::task::JoinSet::new();
                loop {
                    let one = client.clone();
                    puts.spawn(async move { one.put("failover", "x").await.is_ok() });
                    tokio::select! {
                        Some(Ok(true)) = puts.join_next() => return Instant::now(),
                        () = tokio::time::sleep(Duration::from_millis(10)) => {}
                    }
                    if killed.elapsed() > Duration::from_secs(60) {
                        return Instant::now();
                    }
                }
            });
        }
        let first = set.join_next().await.ok_or("no put")??;
        set.abort_all();
        Ok(first - killed)
    })
}

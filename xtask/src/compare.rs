//! Ours and etcd in turn, on the same machine, data on the same disk, syncs on, with the same client; and what the machine itself costs.
//!
//! A virtual machine's speed drifts within minutes. So the sides take turns in several rounds, and each number is the median of its rounds.

use std::{
    fmt::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch, binary},
    failover::failover,
    floor, ledger, nothing,
};

/// One kind of load.
struct Row {
    name: &'static str,
    work: &'static [&'static str],
    clients: u32,
    total: u32,
}

const ROWS: &[Row] = &[
    Row { name: "put, 1 client", work: &["put", "--value-size", "256"], clients: 1, total: 4_000 },
    Row { name: "put, 1,000 clients", work: &["put", "--value-size", "256"], clients: 1_000, total: 150_000 },
    Row { name: "linearizable get, 1 client", work: &["range"], clients: 1, total: 6_000 },
    Row { name: "linearizable get, 1,000 clients", work: &["range"], clients: 1_000, total: 150_000 },
    Row { name: "serializable get, 1 client", work: &["range", "--serializable"], clients: 1, total: 6_000 },
    Row {
        name: "serializable get, 1,000 clients",
        work: &["range", "--serializable"],
        clients: 1_000,
        total: 150_000,
    },
];

#[derive(Clone, Copy, Default)]
struct Measured {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Of all servers, per request.
    cpu_us: f64,
}

/// What one side came to.
#[derive(Default)]
struct Side {
    /// Per row, one measurement a round.
    rows: Vec<Vec<Measured>>,
    /// Bytes of the largest server, one a round.
    at_rest: Vec<f64>,
    loaded: Vec<f64>,
    failover: Vec<Duration>,
}

/// Compares, in so many rounds, with so many kills of a leader on each side at the end.
pub(crate) fn run(rounds: u64, kills: u64) -> Fallible<()> {
    let version = etcd_version()?;
    let scratch = Scratch::new("compare")?;
    let (mut ours, mut theirs, mut nothing) = (Side::default(), Side::default(), Side::default());
    let (mut syncs, mut trips) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        println!("round {} of {rounds}", round + 1);
        syncs.push(floor::sync(&scratch.0)?.p50);
        trips.push(floor::round_trip()?.p50);
        servers(Kind::Quorate, &mut ours)?;
        servers(Kind::Etcd, &mut theirs)?;
        does_nothing(&mut nothing)?;
    }
    for (kind, side) in [(Kind::Quorate, &mut ours), (Kind::Etcd, &mut theirs)] {
        let scratch = Scratch::new("failover")?;
        let mut cluster = Cluster::start(kind, &scratch.directories(3)?, &Options::default())?;
        side.failover = failover(&mut cluster, kills)?;
        println!("{kind:?}: failover {:?}", side.failover);
    }
    let (sync, trip) = (floor::spread(syncs).p50, floor::spread(trips).p50);
    let head = format!(
        "Commit {}, {version}, `cargo xtask compare --rounds {rounds} --kills {kills}`.",
        ledger::commit()
    );
    let text = format!("{head}\n\n{}", report(&ours, &theirs, &nothing, sync, trip)?);
    println!("\n{text}");
    std::fs::write(
        "docs/comparison.md",
        format!(
            "# Comparison with etcd\n\nWritten by `cargo xtask compare`; see [performance.md](performance.md) for what it means.\n\n{text}"
        ),
    )?;
    ledger::add(&format!("cargo xtask compare --rounds {rounds} --kills {kills}"), "docs/comparison.md")
}

pub(crate) fn etcd_version() -> Fallible<String> {
    let version = Command::new("etcd")
        .arg("--version")
        .output()
        .map_err(|_| "etcd is not installed; Debian has it in the package etcd-server")?;
    Ok(String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned())
}

fn servers(kind: Kind, side: &mut Side) -> Fallible<()> {
    let scratch = Scratch::new("side")?;
    let cluster = Cluster::start(kind, &scratch.directories(3)?, &Options::default())?;
    std::thread::sleep(Duration::from_secs(2));
    side.at_rest.push(cluster.resident_bytes_max() as f64);
    load(&format!("{kind:?}"), &cluster.endpoints().join(","), "leader", side, || cluster.cpu())?;
    side.loaded.push(cluster.resident_bytes_max() as f64);
    Ok(())
}

fn does_nothing(side: &mut Side) -> Fallible<()> {
    let process = nothing::Process::start()?;
    load("nothing", &process.endpoints[0], "all", side, || process.cpu())
}

/// Every row once, each after a warm-up.
fn load(
    name: &str,
    endpoints: &str,
    target: &str,
    side: &mut Side,
    cpu: impl Fn() -> Duration,
) -> Fallible<()> {
    side.rows.resize(ROWS.len(), Vec::new());
    for (row, measured) in ROWS.iter().zip(&mut side.rows) {
        bench(endpoints, target, row, row.total.min(1_000))?;
        let (before, begun) = (cpu(), Instant::now());
        let mut one = bench(endpoints, target, row, row.total)?;
        one.cpu_us = (cpu() - before).as_secs_f64() * 1e6 / f64::from(row.total);
        println!(
            "  {name} {}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} µs CPU, {:.0?}",
            row.name,
            one.per_second,
            one.p50_ms,
            one.p99_ms,
            one.cpu_us,
            begun.elapsed()
        );
        measured.push(one);
    }
    Ok(())
}

fn bench(endpoints: &str, target: &str, row: &Row, total: u32) -> Fallible<Measured> {
    let (clients, connections) = (row.clients.to_string(), row.clients.min(100).to_string());
    let output = Command::new(binary())
        .arg("bench")
        .args(row.work)
        .args(["--clients", &clients, "--connections", &connections, "--total", &total.to_string()])
        .args(["--endpoints", endpoints, "--target", target, "-o", "json"])
        .output()?;
    if !output.status.success() {
        return Err(format!("bench: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let latency = &report["latency_us"];
    Ok(Measured {
        per_second: number(&report["per_second"]),
        p50_ms: number(&latency["p50"]) / 1e3,
        p99_ms: number(&latency["p99"]) / 1e3,
        cpu_us: 0.0,
    })
}

// ── the report ──────────────────────────────────────────────────────────────────────────────────────────────────────

pub(crate) fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = of.collect();
    all.sort_by(f64::total_cmp);
    let middle = |at: usize| all.get(at).copied().unwrap_or_default();
    f64::midpoint(middle(all.len() / 2), middle(all.len().saturating_sub(1) / 2))
}

fn middle(rounds: &[Measured]) -> Measured {
    Measured {
        per_second: median(rounds.iter().map(|m| m.per_second)),
        p50_ms: median(rounds.iter().map(|m| m.p50_ms)),
        p99_ms: median(rounds.iter().map(|m| m.p99_ms)),
        cpu_us: median(rounds.iter().map(|m| m.cpu_us)),
    }
}

fn report(ours: &Side, theirs: &Side, nothing: &Side, sync: Duration, trip: Duration) -> Fallible<String> {
    let mut text = String::new();
    writeln!(
        text,
        "| work | ours /s | etcd /s | ratio | ours p50 | etcd p50 | ours p99 | etcd p99 | ours CPU/op | etcd CPU/op |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
    for (at, row) in ROWS.iter().enumerate() {
        let (us, they) = (middle(&ours.rows[at]), middle(&theirs.rows[at]));
        writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.2} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | {:.0} µs | {:.0} µs |",
            row.name,
            us.per_second,
            they.per_second,
            us.per_second / they.per_second,
            us.p50_ms,
            they.p50_ms,
            us.p99_ms,
            they.p99_ms,
            us.cpu_us,
            they.cpu_us
        )?;
    }
    writeln!(text, "\n| | ours | etcd |\n|---|---|---|")?;
    let mib = |bytes: &[f64]| median(bytes.iter().copied()) / f64::from(1 << 20);
    for (what, us, they) in [
        ("memory of the largest server at rest", &ours.at_rest, &theirs.at_rest),
        ("memory of the largest server after the load", &ours.loaded, &theirs.loaded),
    ] {
        writeln!(text, "| {what} | {:.0} MiB | {:.0} MiB |", mib(us), mib(they))?;
    }
    let (us, they) = (floor::spread(ours.failover.clone()), floor::spread(theirs.failover.clone()));
    writeln!(
        text,
        "| kill -9 of the leader to the next successful put, {} kills: median (worst) | {:.0?} ({:.0?}) | {:.0?} ({:.0?}) |",
        ours.failover.len(),
        us.p50,
        us.p99,
        they.p50,
        they.p99
    )?;
    bounds(ours, nothing, sync, trip, &mut text)?;
    Ok(text)
}

/// What no server here can do better than.
fn bounds(ours: &Side, nothing: &Side, sync: Duration, trip: Duration, text: &mut String) -> Fallible<()> {
    writeln!(
        text,
        "\nThe ceiling: a server that answers at once, over the same gRPC library, on one thread.\n"
    )?;
    writeln!(text, "| work | that server /s | its p50 | its CPU/op | we reach |\n|---|---|---|---|---|")?;
    for (at, row) in ROWS.iter().enumerate() {
        let (us, ceiling) = (middle(&ours.rows[at]), middle(&nothing.rows[at]));
        writeln!(
            text,
            "| {} | {:.0} | {:.2} ms | {:.0} µs | {:.0} % |",
            row.name,
            ceiling.per_second,
            ceiling.p50_ms,
            ceiling.cpu_us,
            100.0 * us.per_second / ceiling.per_second
        )?;
    }
    let call = middle(&nothing.rows[0]).p50_ms;
    let floor = call + (sync + trip).as_secs_f64() * 1e3;
    let put = middle(&ours.rows[0]).p50_ms;
    writeln!(
        text,
        "\nThe floor under a put of one client: one sync (p50 {sync:.0?}), one loopback round trip to a peer ({trip:.0?}) and one call to the server \
         that answers at once ({call:.2} ms) are {floor:.2} ms; ours takes {put:.2} ms, {:.1} times that.",
        put / floor
    )?;
    Ok(())
}

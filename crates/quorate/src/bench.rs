//! `quorate bench`: so many clients, each of which waits for its answer before it asks again, over so many connections.
//!
//! All of it runs on one thread, because it often shares a machine with what it measures.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use quorate_client::{
    rpc::KvClient,
    tonic::transport::Channel,
    wire::etcdserverpb::{PutRequest, RangeRequest},
};
use serde_json::json;

use crate::{
    cli::{Bench, Load, Output, Target},
    commands::{Failed, endpoints, trust},
    output::{print, print_json},
    remote,
};

/// What one client asks for.
#[derive(Clone, Debug)]
enum Work {
    Put(Bytes),
    Range { serializable: bool },
}

/// What all clients share.
#[derive(Debug)]
struct Tally {
    /// Requests that may still begin; without a limit, as many as there are numbers.
    left: AtomicU64,
    stop: AtomicBool,
    found: Mutex<Found>,
    done: AtomicU64,
}

#[derive(Debug)]
struct Found {
    /// Microseconds.
    latency: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

/// One hour, in microseconds: the longest latency that is told apart.
const LATENCY_MAX_US: u64 = 3_600_000_000;
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99)];

impl Tally {
    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// May one more request begin?
    fn take(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
    }
}

/// A client's own random numbers (xorshift64*): which key is next, quickly.
#[derive(Debug)]
struct Keys {
    state: u64,
    space: u64,
    size: usize,
}

impl Keys {
    fn next(&mut self) -> Bytes {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let mut number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) % self.space;
        let mut key = vec![b'0'; self.size];
        for digit in key.iter_mut().rev() {
            *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
            number /= 36;
        }
        key.into()
    }
}

async fn client(
    mut connection: KvClient<Channel>,
    work: Work,
    mut keys: Keys,
    timeout: Duration,
    tally: Arc<Tally>,
) {
    while tally.take() {
        let key = keys.next();
        let start = Instant::now();
        let answer = match &work {
            Work::Put(value) => {
                let request = PutRequest { key, value: value.clone(), ..Default::default() };
                tokio::time::timeout(timeout, connection.put(request)).await.map(|answer| answer.map(|_| ()))
            }
            Work::Range { serializable } => {
                let request = RangeRequest { key, serializable: *serializable, ..Default::default() };
                tokio::time::timeout(timeout, connection.range(request))
                    .await
                    .map(|answer| answer.map(|_| ()))
            }
        };
        match answer {
            Ok(Ok(())) => {
                let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                tally.found().latency.saturating_record(took.max(1));
                tally.done.fetch_add(1, Ordering::Relaxed);
            }
            failed => {
                let why = match failed {
                    Ok(Err(status)) => remote::innermost(&status),
                    _ => format!("no answer within {timeout:?}"),
                };
                *tally.found().errors.entry(why).or_default() += 1;
                // A server that is down answers at once; asking it in a tight loop would only take its processor.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// The endpoints to ask: all, or the leader's.
async fn targets(load: &Load) -> Result<Vec<String>, Failed> {
    let named = endpoints(&load.remote);
    if load.target == Target::All {
        return Ok(named);
    }
    let all = remote::connect(&named, load.remote.timeout, &trust(&load.remote)?)?.statuses().await;
    let leader = all.iter().find(|(_, status)| {
        status
            .as_ref()
            .is_ok_and(|s| s.leader != 0 && s.header.as_ref().is_some_and(|h| h.member_id == s.leader))
    });
    match leader {
        Some((endpoint, _)) => Ok(vec![remote::short(endpoint).to_string()]),
        None => Err(Failed {
            code: 3,
            message: format!(
                "none of {} leads; name the leader's endpoint, or take --target=all",
                named.join(", ")
            ),
        }),
    }
}

pub(crate) async fn bench(bench: Bench) -> Result<ExitCode, Failed> {
    let (load, work, operation) = match bench {
        Bench::Put { load, value_size } => (load, Work::Put(vec![b'x'; value_size].into()), "put"),
        Bench::Range { load, serializable } => (load, Work::Range { serializable }, "range"),
    };
    let size = usize::from(load.key_size);
    if 36_u64.checked_pow(u32::from(load.key_size)).is_some_and(|most| most < load.key_space) {
        return Err(Failed::usage(format!(
            "--key-space {} has more keys than --key-size {size} can tell apart; take longer keys or fewer",
            load.key_space
        )));
    }
    let targets = targets(&load).await?;
    let (timeout, trust) = (load.remote.timeout, trust(&load.remote)?);
    // A client of its own for each connection; they are made before the clock starts.
    let mut connections = Vec::new();
    for n in 0..load.connections {
        let endpoint = &targets[n % targets.len()];
        let client = remote::connect(std::slice::from_ref(endpoint), timeout, &trust)?;
        let request = RangeRequest { key: "\0".into(), serializable: true, ..Default::default() };
        client.range(request).await?;
        connections.extend(client.fast(0));
    }

    let total = load.duration.is_none().then(|| load.total.unwrap_or(10_000));
    let tally = Arc::new(Tally {
        left: AtomicU64::new(total.unwrap_or(u64::MAX)),
        stop: AtomicBool::new(false),
        found: Mutex::new(Found {
            latency: Histogram::new_with_max(LATENCY_MAX_US, 3)
                .map_err(|error| Failed { code: 1, message: format!("no histogram: {error}") })?,
            errors: BTreeMap::new(),
        }),
        done: AtomicU64::new(0),
    });
    let start = Instant::now();
    let mut clients = Vec::new();
    for n in 0..load.clients {
        let keys =
            Keys { state: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(n as u64 + 1), space: load.key_space, size };
        let connection = connections[n % connections.len()].clone();
        clients.push(tokio::spawn(client(connection, work.clone(), keys, timeout, Arc::clone(&tally))));
    }
    watch(&tally, start, total, load.duration, &mut clients, load.remote.output).await;
    let took = start.elapsed();
    Ok(report(&tally, &load, operation, &targets, took))
}

/// Waits until the clients are done, showing how far they are. Ctrl-C ends the measurement, not the report.
async fn watch(
    tally: &Tally,
    start: Instant,
    total: Option<u64>,
    duration: Option<Duration>,
    clients: &mut [tokio::task::JoinHandle<()>],
    output: Output,
) {
    let bar = (output == Output::Text && std::io::stderr().is_terminal()).then(|| {
        let bar = ProgressBar::new(total.unwrap_or_else(|| duration.unwrap_or_default().as_millis() as u64));
        let template = "{wide_bar} {percent}%  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    });
    let deadline = duration.map(|duration| tokio::time::Instant::from_std(start + duration));
    let mut tick = tokio::time::interval(Duration::from_millis(if bar.is_some() { 200 } else { 1000 }));
    let mut last = (0, start);
    let all = async {
        for client in clients {
            let _ = client.await;
        }
    };
    tokio::pin!(all);
    loop {
        tokio::select! {
            () = &mut all => break,
            _ = tokio::signal::ctrl_c() => tally.stop.store(true, Ordering::Relaxed),
            () = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            }, if !tally.stop.load(Ordering::Relaxed) => tally.stop.store(true, Ordering::Relaxed),
            _ = tick.tick() => {
                if let Some(bar) = &bar {
                    let (done, now) = (tally.done.load(Ordering::Relaxed), Instant::now());
                    let seconds = now.duration_since(last.1).as_secs_f64().max(0.001);
                    bar.set_message(format!("{:.0}/s", (done - last.0) as f64 / seconds));
                    bar.set_position(if total.is_some() { done } else { start.elapsed().as_millis() as u64 });
                    last = (done, now);
                }
            }
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn report(tally: &Tally, load: &Load, operation: &str, targets: &[String], took: Duration) -> ExitCode {
    let found = tally.found();
    let done = found.latency.len();
    let errors: u64 = found.errors.values().sum();
    let rate = done as f64 / took.as_secs_f64();
    let milliseconds = |us: u64| format!("{:.2} ms", us as f64 / 1000.0);
    match load.remote.output {
        Output::Json => {
            let mut latency = serde_json::Map::new();
            latency.insert("mean".into(), found.latency.mean().round().into());
            latency.insert("min".into(), if done == 0 { 0 } else { found.latency.min() }.into());
            for (name, percentile) in PERCENTILES {
                latency.insert(name.into(), found.latency.value_at_percentile(percentile).into());
            }
            latency.insert("max".into(), found.latency.max().into());
            print_json(&json!({
                "operation": operation,
                "endpoints": targets,
                "clients": load.clients,
                "connections": load.connections,
                "requests": done,
                "errors": errors,
                "error_messages": found.errors,
                "seconds": took.as_secs_f64(),
                "per_second": rate,
                "latency_us": latency,
            }));
        }
        Output::Text => {
            let mut text = format!(
                "{done} {operation}s in {:.2} s: {rate:.0}/s  ({} clients, {} connections, {})\n",
                took.as_secs_f64(),
                load.clients,
                load.connections,
                targets.join(",")
            );
            if done > 0 {
                text.push_str(&format!("latency  mean {}", milliseconds(found.latency.mean() as u64)));
                for (name, percentile) in PERCENTILES {
                    text.push_str(&format!(
                        "  {name} {}",
                        milliseconds(found.latency.value_at_percentile(percentile))
                    ));
                }
                text.push_str(&format!("  max {}\n", milliseconds(found.latency.max())));
            }
            for (message, count) in &found.errors {
                text.push_str(&format!("{count} failed: {message}\n"));
            }
            print(text.as_bytes());
        }
    }
    if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_length_and_stay_in_their_space() {
        let mut keys = Keys { state: 1, space: 40, size: 3 };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            let key = keys.next();
            assert_eq!(key.len(), 3);
            seen.insert(key);
        }
        assert_eq!(seen.len(), 40);
    }

    #[test]
    fn no_more_requests_begin_than_were_wanted() {
        let latency = Histogram::new_with_max(LATENCY_MAX_US, 3).unwrap();
        let tally = Tally {
            left: AtomicU64::new(2),
            stop: AtomicBool::new(false),
            found: Mutex::new(Found { latency, errors: BTreeMap::new() }),
            done: AtomicU64::new(0),
        };
        assert_eq!([tally.take(), tally.take(), tally.take()], [true, true, false]);
    }
}

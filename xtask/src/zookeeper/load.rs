//! The load: one thread, all connections on it, each with its share of the outstanding requests on their way all the time.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::task::{JoinSet, LocalSet};

use super::{
    connection::Connection,
    packets::{Operation, Template, numbered},
};
use crate::{Fallible, client, process};

/// What to do, and how much of it at a time.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) operation: Operation,
    pub(crate) connections: usize,
    /// Of all connections together.
    pub(crate) outstanding: usize,
    pub(crate) until: Until,
    /// Whose children are worked on; of creates, each connection has a parent of its own below it, named by its number.
    pub(crate) parent: String,
}

/// When it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// So long, after a time that is not counted.
    Time { warm: Duration, counted: Duration },
    /// So many requests of each connection.
    Each(u64),
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) took: Duration,
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Processor time of all servers, and of the load, meanwhile.
    pub(crate) servers_cpu: Duration,
    pub(crate) load_cpu: Duration,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn percentile_ms(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1e6
    }

    /// Microseconds for each operation.
    pub(crate) fn each_us(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }
}

/// Not counted yet, counted, over.
#[derive(Default)]
struct Phase(AtomicU8);

impl Phase {
    const COUNTED: u8 = 1;
    const OVER: u8 = 2;

    fn set(&self, phase: u8) {
        self.0.store(phase, Ordering::Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs it against these addresses, connections spread over them; `cpu` says what the servers have taken so far.
pub(crate) fn run(addresses: &[String], plan: &Plan, cpu: impl Fn() -> Duration) -> Fallible<Outcome> {
    let phase = Arc::new(Phase::default());
    let (ready, connected) = mpsc::channel();
    thread::scope(|scope| {
        let load = scope.spawn(|| play(addresses, plan.clone(), Arc::clone(&phase), ready));
        // Without a word it has failed, and says why when it is joined.
        let _ = connected.recv();
        if let Until::Time { warm, .. } = plan.until {
            thread::sleep(warm);
        }
        let costs = || (cpu(), process::cpu_time(std::process::id()));
        let (before, begun) = (costs(), Instant::now());
        phase.set(Phase::COUNTED);
        let mut took = None;
        if let Until::Time { counted, .. } = plan.until {
            thread::sleep(counted);
            took = Some((begun.elapsed(), costs()));
            phase.set(Phase::OVER);
        }
        let latency = load.join().map_err(|_| "the load panics")??;
        let (took, after) = took.unwrap_or_else(|| (begun.elapsed(), costs()));
        Ok(Outcome {
            operations: latency.len(),
            took,
            latency,
            servers_cpu: after.0.saturating_sub(before.0),
            load_cpu: after.1.saturating_sub(before.1),
        })
    })
}

/// What the connections share.
struct Shared {
    plan: Plan,
    phase: Arc<Phase>,
    latency: RefCell<Histogram<u64>>,
}

/// The whole load, on this thread; `ready` once every connection has its session.
fn play(
    addresses: &[String],
    plan: Plan,
    phase: Arc<Phase>,
    ready: mpsc::Sender<()>,
) -> Fallible<Histogram<u64>> {
    let shared = Rc::new(Shared { plan, phase, latency: RefCell::new(histogram()?) });
    LocalSet::new().block_on(&client::runtime()?, async {
        let connections = connect(addresses, shared.plan.connections).await?;
        let _ = ready.send(());
        let mut drives = JoinSet::new();
        for (n, connection) in connections.into_iter().enumerate() {
            drives.spawn_local(drive(connection, n, Rc::clone(&shared)));
        }
        while let Some(ended) = drives.join_next().await {
            ended??;
        }
        Ok(shared.latency.replace(histogram()?))
    })
}

/// So many connections, the first to the first address, the second to the second, and around.
pub(crate) async fn connect(addresses: &[String], count: usize) -> Fallible<Vec<Connection>> {
    let mut opening = JoinSet::new();
    for n in 0..count {
        let address = addresses[n % addresses.len()].clone();
        opening.spawn(async move { (n, Connection::open(&address).await) });
    }
    let mut opened = Vec::with_capacity(count);
    while let Some(one) = opening.join_next().await {
        let (n, connection) = one?;
        opened.push((n, connection?));
    }
    opened.sort_unstable_by_key(|(n, _)| *n);
    Ok(opened.into_iter().map(|(_, connection)| connection).collect())
}

async fn drive(mut connection: Connection, n: usize, shared: Rc<Shared>) -> Fallible<()> {
    let plan = &shared.plan;
    let window = share(plan.outstanding, plan.connections, n);
    let mut template = match plan.operation {
        Operation::Create => Template::new(plan.operation, &numbered(&plan.parent, n as u64))?,
        Operation::SetData | Operation::GetData | Operation::Sync => {
            Template::new(plan.operation, &plan.parent)?
        }
    };
    // Connections begin at znodes far from each other.
    let first = if plan.operation == Operation::Create { 0 } else { n as u64 * 379 };
    let mut now = Instant::now();
    loop {
        let phase = shared.phase.get();
        let more = match plan.until {
            Until::Time { .. } => phase != Phase::OVER,
            Until::Each(requests) => connection.requests() < requests,
        };
        while more && connection.outstanding() < window {
            connection.ask(&mut template, first + connection.requests(), now);
        }
        if connection.outstanding() == 0 {
            return connection.close().await;
        }
        connection.exchange().await?;
        now = Instant::now();
        let mut latency = shared.latency.borrow_mut();
        connection.take(|asked| {
            if phase == Phase::COUNTED {
                latency.saturating_record(nanos(now.duration_since(asked)));
            }
        })?;
    }
}

/// Nanoseconds, from a microsecond to a minute.
fn histogram() -> Fallible<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?)
}

/// The `n`th connection's part of what all are to have on their way.
fn share(outstanding: usize, connections: usize, n: usize) -> usize {
    outstanding / connections + usize::from(n < outstanding % connections)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

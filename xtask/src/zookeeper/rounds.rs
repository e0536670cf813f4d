//! The comparison: rounds in which the systems take turns, then a million znodes and the kills, once for each.

use std::{io, thread, time::Duration};

use super::{
    failover, fanout,
    load::{self, Outcome, Plan, Until},
    packets::Operation,
    single,
    system::{Engine, Running, System},
};
use crate::{
    Fallible,
    cluster::Scratch,
    floor::{self, Spread},
};

/// One kind of load.
pub(crate) struct Row {
    pub(crate) operation: Operation,
    pub(crate) connections: usize,
    pub(crate) outstanding: usize,
}

const fn row(operation: Operation, connections: usize, outstanding: usize) -> Row {
    Row { operation, connections, outstanding }
}

/// Creates come last: the others work in a small tree.
pub(crate) const ROWS: &[Row] = &[
    row(Operation::SetData, 1, 1),
    row(Operation::SetData, 1, 1_000),
    row(Operation::SetData, 100, 1_000),
    row(Operation::SetData, 1_000, 1_000),
    row(Operation::GetData, 1, 1),
    row(Operation::GetData, 1, 1_000),
    row(Operation::GetData, 100, 1_000),
    row(Operation::GetData, 1_000, 1_000),
    row(Operation::Sync, 1, 1),
    row(Operation::Sync, 100, 1_000),
    row(Operation::Create, 1, 1),
    row(Operation::Create, 1, 1_000),
    row(Operation::Create, 100, 1_000),
    row(Operation::Create, 1_000, 1_000),
];

/// Of each operation, once for each start of a system, before anything is measured: Java compiles what is hot.
pub(crate) const WARM_UP: Duration = Duration::from_secs(5);
/// Before each row.
pub(crate) const WARM: Duration = Duration::from_secs(1);
pub(crate) const COUNTED: Duration = Duration::from_secs(4);
pub(crate) const SHOTS: usize = 30;
pub(crate) const MANY: u64 = 1_000_000;
/// After the last create, before the memory is looked at.
pub(crate) const SETTLE: Duration = Duration::from_secs(10);

/// One row in one round.
#[derive(Clone, Copy, Default)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Of all servers, per operation.
    pub(crate) cpu_us: f64,
    /// Of the load, likewise.
    pub(crate) load_us: f64,
}

/// What one system came to.
#[derive(Default)]
pub(crate) struct Side {
    /// Per row, one measurement a round.
    pub(crate) rows: Vec<Vec<Measured>>,
    pub(crate) fanout: Vec<Duration>,
    /// Bytes of the largest server, one a round.
    pub(crate) at_rest: Vec<f64>,
    /// The same with a million znodes, and how long those took.
    pub(crate) with_many: f64,
    pub(crate) many_took: Duration,
    pub(crate) failover: Vec<Duration>,
    /// How often a row lost a connection.
    pub(crate) lost: u32,
}

/// Everything.
pub(crate) struct Results {
    pub(crate) ours: Side,
    pub(crate) theirs: Side,
    pub(crate) nothing: Side,
    pub(crate) sync: Spread,
    pub(crate) trip: Spread,
}

/// Measures, in so many rounds, with so many kills of a leader at the end.
pub(crate) fn run(engine: Engine, rounds: u64, kills: u64) -> Fallible<Results> {
    let systems = [System::Quorate(engine), System::ZooKeeper, System::Nothing];
    let mut sides: [Side; 3] = Default::default();
    let (mut syncs, mut trips) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        println!("round {} of {rounds}", round + 1);
        let scratch = Scratch::new("floor")?;
        syncs.push(floor::sync(&scratch.0)?.p50);
        trips.push(floor::round_trip()?.p50);
        for (system, side) in systems.iter().zip(&mut sides) {
            one_round(*system, side)?;
        }
    }
    for (system, side) in systems.iter().zip(&mut sides).filter(|(system, _)| **system != System::Nothing) {
        println!("{}", system.name());
        many(&Running::start(*system)?, side)?;
        side.failover = failover::run(&mut Running::start(*system)?, kills)?;
        println!("failover {:?}", side.failover);
    }
    let [ours, theirs, nothing] = sides;
    Ok(Results { ours, theirs, nothing, sync: floor::spread(syncs), trip: floor::spread(trips) })
}

/// Everything that is measured in every round, on servers of its own.
fn one_round(system: System, side: &mut Side) -> Fallible<()> {
    let running = Running::start(system)?;
    thread::sleep(Duration::from_secs(2));
    side.at_rest.push(running.resident_bytes_max() as f64);
    running.populate()?;
    if system != System::Nothing {
        for operation in Operation::ALL {
            let warm_up = Row { operation, connections: 100, outstanding: 1_000 };
            measure(&running, &warm_up, "warm-up", Duration::ZERO, WARM_UP)?;
        }
    }
    side.rows.resize(ROWS.len(), Vec::new());
    for (at, row) in ROWS.iter().enumerate() {
        let outcome = measure_again(&running, row, &at.to_string(), side)?;
        println!(
            "  {}: {}",
            system.name(),
            single::line(row.operation, row.connections, row.outstanding, &outcome)
        );
        side.rows[at].push(Measured::of(&outcome));
    }
    if system != System::Nothing {
        let shots = fanout::run(&running.addresses, SHOTS)?;
        println!("  {}: fan-out {:.1?}", system.name(), floor::spread(shots.clone()));
        side.fanout.extend(shots);
    }
    Ok(())
}

/// A row that loses a connection is measured again: how often is counted, and stands on the page. Any other error ends the run.
fn measure_again(running: &Running, row: &Row, name: &str, side: &mut Side) -> Fallible<Outcome> {
    const TRIES: u32 = 5;
    let mut again = 0;
    loop {
        match measure(running, row, &format!("{name}-{again}"), WARM, COUNTED) {
            Err(error) if again + 1 < TRIES && error.is::<io::Error>() => {
                println!("  a connection is lost: {error}");
                again += 1;
                side.lost += 1;
                thread::sleep(Duration::from_secs(1));
            }
            other => return other,
        }
    }
}

fn measure(running: &Running, row: &Row, name: &str, warm: Duration, counted: Duration) -> Fallible<Outcome> {
    let Row { operation, connections, outstanding } = *row;
    let parent = running.place(operation, name, connections)?;
    let plan = Plan { operation, connections, outstanding, until: Until::Time { warm, counted }, parent };
    load::run(&running.addresses, &plan, || running.cpu())
}

/// Servers with a million znodes.
pub(super) fn many(running: &Running, side: &mut Side) -> Fallible<()> {
    const CONNECTIONS: usize = 100;
    running.populate()?;
    let plan = Plan {
        operation: Operation::Create,
        connections: CONNECTIONS,
        outstanding: 1_000,
        until: Until::Each(MANY / CONNECTIONS as u64),
        parent: running.place(Operation::Create, "many", CONNECTIONS)?,
    };
    side.many_took = load::run(&running.addresses, &plan, || running.cpu())?.took;
    thread::sleep(SETTLE);
    side.with_many = running.resident_bytes_max() as f64;
    println!("a million znodes in {:.0?}, {:.0} MiB", side.many_took, side.with_many / f64::from(1 << 20));
    Ok(())
}

impl Measured {
    fn of(outcome: &Outcome) -> Measured {
        Measured {
            per_second: outcome.per_second(),
            p50_ms: outcome.percentile_ms(50.0),
            p99_ms: outcome.percentile_ms(99.0),
            cpu_us: outcome.each_us(outcome.servers_cpu),
            load_us: outcome.each_us(outcome.load_cpu),
        }
    }
}

//! How many times faster than the world the simulator is, on one core: runs with all their faults and every invariant, and a cluster with nothing to do.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "measures how fast it is")]

use std::{collections::BTreeMap, time::Instant};

use quorate_sim::{EngineKind, Report, Shape, run_actions, run_seed, shape_of};

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEEDS: std::ops::Range<u64> = 30_001..30_101;

#[derive(Default)]
struct Sum {
    runs: u64,
    simulated: f64,
    spent: f64,
    operations: u64,
    events: u64,
}

impl Sum {
    fn add(&mut self, report: &Report, spent: f64) {
        self.runs += 1;
        self.simulated += report.simulated as f64 / 1e9;
        self.spent += spent;
        self.operations += report.operations;
        self.events += report.events;
    }

    fn say(&self, what: &str) {
        println!(
            "{what}: {:.0}× real time; {} runs, of {} operations and {} events on average, {:.2} µs an event",
            self.simulated / self.spent,
            self.runs,
            self.operations / self.runs,
            self.events / self.runs,
            self.spent * 1e6 / self.events as f64
        );
    }
}

fn main() {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        for seed in SEEDS {
            let begun = Instant::now();
            let report = run_seed(engine, seed, false);
            let spent = begun.elapsed().as_secs_f64();
            let with = match (&report.shape.tree, &report.shape.keys) {
                (None, None) => "alone",
                (None, Some(_)) => "with watches and leases",
                (Some(_), None) => "with a tree",
                (Some(_), Some(_)) => "with both",
            };
            for key in [format!("dense, {engine}, {with}"), format!("dense, {engine}")] {
                sums.entry(key).or_default().add(&report, spent);
            }
        }
    }
    for voters in [3, 5] {
        let shape = Shape { voters, spares: 0, clients: 0, tree: None, keys: None, ..shape_of(1) };
        let begun = Instant::now();
        let report = run_actions(1, shape, Vec::new(), false);
        sums.entry(format!("idle, {voters} voters")).or_default().add(&report, begun.elapsed().as_secs_f64());
    }
    sums.iter().for_each(|(what, sum)| sum.say(what));
}

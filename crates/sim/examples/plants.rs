//! Hunts planted bugs from the command line: `plants [--seeds-max N] [--jobs N] [--known PAGE] [--write PAGE] [--verbose] [ID…]`.

use std::{collections::BTreeMap, process::ExitCode};

use quorate_sim::{EngineKind, Shape, catalogue, plants::run_plants};

fn main() -> ExitCode {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut seeds_max, mut jobs, mut verbose, mut ids) = (1_000, jobs, false, Vec::new());
    let (mut known, mut page) = (BTreeMap::new(), None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut next = || args.next().expect("a value after it");
        match arg.as_str() {
            "--seeds-max" => seeds_max = next().parse().expect("a number"),
            "--jobs" => jobs = next().parse().expect("a number"),
            "--known" => known = catalogue::known(&std::fs::read_to_string(next()).unwrap_or_default()),
            "--write" => page = Some(next()),
            "--verbose" => verbose = true,
            "--clean" => return clean(next().parse().expect("a number"), |_| true),
            "--lasting" => return clean(next().parse().expect("a number"), |shape| shape.lasting.is_some()),
            _ => ids.push(arg),
        }
    }
    // A panic is a finding like any other.
    std::panic::set_hook(Box::new(|_| {}));
    let hunts = run_plants(&ids, seeds_max, jobs, &known, &mut |hunt| {
        println!("{hunt}");
        if verbose {
            println!("    {}", hunt.what);
        }
    });
    if let Some(path) = page {
        std::fs::write(path, catalogue::page(&hunts, seeds_max)).expect("the page can be written");
    }
    let found = hunts.iter().filter(|hunt| hunt.succeeded()).count();
    println!("{found} of {} found", hunts.len());
    if found == hunts.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the seeds 1 to `last` of both engines without a bug, if their shape is wanted.
fn clean(last: u64, wanted: fn(&Shape) -> bool) -> ExitCode {
    let (mut runs, mut unclean) = (0, 0);
    for (seed, engine) in
        (1..=last).flat_map(|seed| [EngineKind::Raft, EngineKind::Zab].map(|engine| (seed, engine)))
    {
        if !wanted(&quorate_sim::shape_of(seed)) {
            continue;
        }
        runs += 1;
        let report = quorate_sim::run_seed(engine, seed, false);
        if let Some(first) = report.violations.first() {
            println!("{engine} seed {seed}, {:?}: {}: {}", report.shape.lasting, first.id, first.what);
            unclean += 1;
        }
    }
    println!("{unclean} of {runs} runs not clean");
    if unclean == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

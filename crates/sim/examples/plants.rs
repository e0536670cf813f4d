//! Hunts planted bugs from the command line: `plants [--seeds-max N] [--jobs N] [--known PAGE] [--said FILE] [--write PAGE] [ID…]`; a file of
//! `--said` has what the tests of crates said. Or says which these are: `plants --crate-tests [ID…]`.

use std::{collections::BTreeMap, fs, process::ExitCode};

use quorate_sim::{EngineKind, Shape, page, plants::run_plants};

fn main() -> ExitCode {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut seeds_max, mut jobs, mut ids) = (1_000, jobs, Vec::new());
    let (mut known, mut said, mut write, mut crate_tests) = (BTreeMap::new(), BTreeMap::new(), None, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut next = || args.next().expect("a value after it");
        match arg.as_str() {
            "--seeds-max" => seeds_max = next().parse().expect("a number"),
            "--jobs" => jobs = next().parse().expect("a number"),
            "--known" => known = page::known(&fs::read_to_string(next()).unwrap_or_default()),
            "--said" => said = page::said(&fs::read_to_string(next()).expect("a file that can be read")),
            "--write" => write = Some(next()),
            "--crate-tests" => crate_tests = true,
            "--clean" => return clean(next().parse().expect("a number"), |_| true),
            "--lasting" => return clean(next().parse().expect("a number"), |shape| shape.lasting.is_some()),
            _ => ids.push(arg),
        }
    }
    if crate_tests {
        for test in page::crate_tests(&ids) {
            println!("-p {} {} -- {}", test.package, test.target, test.filter);
        }
        return ExitCode::SUCCESS;
    }
    // A panic is a finding like any other.
    std::panic::set_hook(Box::new(|_| {}));
    let hunts = run_plants(&ids, seeds_max, jobs, &known, &mut |hunt| {
        eprintln!("{hunt}\n    {}", hunt.what);
    });
    let rows = page::rows(&ids, &hunts, &said);
    if let Some(path) = write {
        fs::write(path, page::page(&rows, seeds_max)).expect("the page can be written");
    }
    for row in &rows {
        println!("{row}");
    }
    println!("{}", page::summary(&rows));
    let known_all = ids.iter().all(|id| rows.iter().any(|row| row.is(id)));
    if known_all && !rows.iter().any(page::Row::missed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

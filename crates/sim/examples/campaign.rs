//! Runs seeds from the command line: `campaign [--engine NAME] [--seeds N] [--first-seed S] [--jobs J] [--plant ID] [--shards] [--trace] [--require-all] [--actions]`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "reports how fast it was")]

use std::{io::Write, time::Instant};

use quorate_sim::{EngineKind, Options, campaign};

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut options = Options { seeds: 1, jobs: 1, ..Options::default() };
    let mut actions = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse::<u64>().ok()).expect("a number");
        match arg.as_str() {
            "--seeds" => options.seeds = number(),
            "--first-seed" => options.first_seed = number(),
            "--jobs" => options.jobs = number() as usize,
            "--engine" => {
                let name = args.next();
                let named = |engine: &EngineKind| Some(engine.to_string()) == name;
                options.engine =
                    [EngineKind::Raft, EngineKind::Zab].into_iter().find(named).expect("raft or zab");
            }
            "--plant" => options.plant = args.next(),
            "--shards" => options.shards = true,
            "--trace" => options.trace = true,
            "--require-all" => options.require_all = true,
            "--actions" => actions = true,
            other => panic!("unknown argument {other}"),
        }
    }
    let begun = Instant::now();
    let trace = options.trace;
    let mut last = String::new();
    let summary = campaign(&options, &mut |progress| {
        if trace {
            for line in &progress.report.lines {
                println!("{line}");
            }
        }
        if actions {
            print!("{}", progress.report.actions_text());
        }
        if !progress.report.violations.is_empty() {
            last = format!("seed {}: {}", progress.report.seed, progress.report.violations[0].id);
            eprintln!("{last}");
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    print!("{summary}");
    println!("{seconds:.1} s, {:.0}× real time", summary.simulated as f64 / 1e9 / seconds);
    let _ = std::io::stdout().flush();
    if !summary.is_clean() {
        std::process::exit(1);
    }
}

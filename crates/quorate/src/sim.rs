//! `quorate sim`: campaigns of the simulator, which runs the very same node under faults on virtual time.

use std::{io::IsTerminal, path::Path, process::ExitCode};

use indicatif::{ProgressBar, ProgressStyle};
use quorate_sim::{EngineKind, Found, Options, Summary, campaign};

use crate::{cli::Sim, commands::Failed, lab::to_watch, output::print};

/// So many seeds reach everything that is worth reaching; what they do not reach has gone missing.
const SEEDS_REACH_ALL: u64 = 200;

/// Writes the first failure, with as few actions as it takes, as `crates/sim/tests/found` keeps them.
fn shrink(summary: &Summary, plant: Option<&str>, path: &Path) -> Result<(), Failed> {
    let Some(mut found) = summary.failures.first().and_then(Found::of) else {
        print(b"nothing failed, so there is nothing to shrink\n");
        return Ok(());
    };
    #[cfg(feature = "planted-bugs")]
    quorate_consensus::activate_plant(plant.unwrap_or_default());
    #[cfg(not(feature = "planted-bugs"))]
    let _ = plant;
    let before = found.actions.len();
    found.shrink(&mut |left| print(format!("{left} actions\n").as_bytes()));
    std::fs::write(path, found.to_text())
        .map_err(|error| Failed { code: 1, message: format!("cannot write {}: {error}", path.display()) })?;
    let (seed, left) = (found.seed, found.actions.len());
    print(
        format!(
            "seed {seed} still breaks {} with {left} of {before} actions: {}\n",
            found.invariant,
            path.display()
        )
        .as_bytes(),
    );
    Ok(())
}

/// Failing runs whose link is printed.
const LINKS_MAX: usize = 3;

pub(crate) fn sim(wanted: &Sim) -> Result<ExitCode, Failed> {
    if wanted.plant.is_some() && !quorate_consensus::PLANTS_COMPILED {
        return Err(Failed::usage(
            "--plant: this binary has no planted bugs in it; build one that has: cargo build -p quorate --features planted-bugs",
        ));
    }
    let options = Options {
        seeds: wanted.seeds,
        first_seed: wanted.first_seed,
        engine: if wanted.engine == "zab" { EngineKind::Zab } else { EngineKind::Raft },
        shards: wanted.shards,
        plant: wanted.plant.clone(),
        trace: wanted.trace,
        require_all: wanted.require_all || wanted.seeds >= SEEDS_REACH_ALL,
        twice: wanted.twice,
        jobs: wanted.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
    };
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(options.seeds);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds  {msg}  {eta} left") {
            bar.set_style(style);
        }
        bar
    });
    let mut failed = 0_u64;
    let summary = campaign(&options, &mut |progress| {
        failed += u64::from(!progress.report.violations.is_empty());
        if let Some(bar) = &bar {
            bar.set_position(progress.done);
            if failed > 0 {
                bar.set_message(format!("{failed} failed"));
            }
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let mut text = String::new();
    if options.trace {
        for report in &summary.failures {
            for line in &report.lines {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text.push_str(&summary.to_string());
    // The Lab shows no shards.
    for report in summary.failures.iter().filter(|_| !wanted.shards).take(LINKS_MAX) {
        text.push_str(&to_watch(&wanted.engine, report.seed, wanted.plant.as_deref()));
    }
    print(text.as_bytes());
    if let Some(path) = &wanted.shrink {
        shrink(&summary, wanted.plant.as_deref(), path)?;
    }
    Ok(if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

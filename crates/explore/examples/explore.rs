//! `explore raft|zab [--scenario NAME] [--worlds N] [--threads N] [--plant ID]`: tries every order of events, and says what was found.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a command tells how long it took")]

use std::process::ExitCode;

use quorate_consensus::PLANTS_COMPILED;
use quorate_explore::{Explored, Limits, RAFT, Report, Scenario, ZAB, explore};
use quorate_raft::Raft;
use quorate_zab::Zab;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(clean) if clean => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("explore: {wrong}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut limits, mut scenario) = (Limits { worlds: 1_000_000, threads, plant: None }, None);
    let mut rest = arguments.iter();
    let engine = rest.next().ok_or("which engine: raft or zab?")?;
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{option} needs a value"))?;
        let number =
            || value.parse::<u64>().map_err(|_| format!("{option} {value}: a whole number is wanted"));
        match option.as_str() {
            "--scenario" => scenario = Some(value.as_str()),
            "--worlds" => limits.worlds = number()?,
            "--threads" => limits.threads = number()? as usize,
            "--plant" => limits.plant = Some(plant(value)?),
            _ => {
                return Err(format!(
                    "{option} is no option; there are --scenario, --worlds, --threads, --plant"
                ));
            }
        }
    }
    match engine.as_str() {
        "raft" => all::<Raft>("raft", RAFT, scenario, limits),
        "zab" => all::<Zab>("zab", ZAB, scenario, limits),
        other => Err(format!("{other} is no engine: raft or zab")),
    }
}

fn plant(id: &str) -> Result<&'static str, String> {
    match PLANTS_COMPILED {
        true => Ok(String::leak(id.to_owned())),
        false => Err("this build has no planted bugs; build it with --features planted-bugs".into()),
    }
}

fn all<E: Explored>(
    engine: &str,
    scenarios: &[Scenario],
    only: Option<&str>,
    limits: Limits,
) -> Result<bool, String> {
    let mut total = Report::default();
    let chosen: Vec<_> =
        scenarios.iter().filter(|scenario| only.is_none_or(|name| name == scenario.name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
        return Err(format!("no such scenario; {engine} has {}", names.join(", ")));
    }
    for scenario in chosen {
        let begin = std::time::Instant::now();
        let report = explore::<E>(scenario, limits);
        let seconds = begin.elapsed().as_secs_f64();
        let end = if report.is_exhausted { "all there are" } else { "and more" };
        println!(
            "{engine} {}: {} worlds ({end}), {} steps, longest life {}, commit {}, two leaders in {}; {seconds:.1} s",
            scenario.name, report.worlds, report.steps, report.depth, report.commit, report.two_leaders
        );
        if let Some((violation, way)) = &report.violation {
            println!("VIOLATED {}: {}", violation.invariant, violation.text);
            way.iter().enumerate().for_each(|(number, step)| println!("{:>4} {step}", number + 1));
            return Ok(false);
        }
        total.worlds += report.worlds;
        total.steps += report.steps;
    }
    println!("{engine}: {} worlds, {} steps, nothing violated", total.worlds, total.steps);
    Ok(true)
}

//! A campaign of the simulator, into the ledger.

use std::process::{Command, Stdio};

use crate::{Fallible, cluster::binary, ledger};

/// Runs so many seeds from the first on; fails if one fails, or if anything that should be reached never was.
pub(crate) fn run(engine: String, seeds: u64, first_seed: u64, shards: bool) -> Fallible<()> {
    let shards = if shards { Some("--shards") } else { None };
    let (seeds, first) = (seeds.to_string(), first_seed.to_string());
    let output = Command::new(binary())
        .args(["sim", "--engine", &engine, "--seeds", &seeds, "--first-seed", &first, "--require-all"])
        .args(shards)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    // The first two lines say how much was run; what was never reached has lines of its own.
    let mut result: Vec<&str> = text.lines().take(2).collect();
    result
        .extend(text.lines().filter(|line| line.starts_with("never reached") || line.contains(" failed; ")));
    let result: String = result.join("; ").replace('|', "/").chars().take(600).collect();
    let of_shards = shards.map(|shards| format!(" {shards}")).unwrap_or_default();
    ledger::add(
        &format!("cargo xtask sim --engine {engine} --seeds {seeds} --first-seed {first}{of_shards}"),
        &result,
    )?;
    if output.status.success() { Ok(()) } else { Err("the campaign is not clean".into()) }
}

//! The real engines in small worlds, every order of events: an example of `quorate-explore`, built for speed.

use std::process::Command;

use crate::Fallible;

/// Bugs that are within reach of these worlds, by engine.
const WITHIN_REACH: &[(&str, &[&str])] = &[
    ("raft", &["A01", "B02", "B03", "B06", "B07", "B10", "B21", "B23", "C05", "C10"]),
    ("zab", &["H01", "H04", "H05", "H06", "H08", "H15", "H18", "H20"]),
];

/// `raft|zab [--scenario NAME] [--worlds N]`, into the ledger; or `--plants [--worlds N]`: each bug that is within reach must be found.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    if let Some((_, rest)) = arguments.split_first().filter(|(first, _)| *first == "--plants") {
        return plants(rest);
    }
    let (said, clean) = explore(&[], arguments)?;
    let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or("nothing was said").to_owned();
    let result = if clean { last } else { format!("FAILED: {}", violated(&said)) };
    crate::ledger::add(&format!("cargo xtask explore {}", arguments.join(" ")), &result)?;
    if clean { Ok(()) } else { Err(result.into()) }
}

fn plants(rest: &[String]) -> Fallible<()> {
    let mut missed = Vec::new();
    let all: Vec<(&str, &str)> =
        WITHIN_REACH.iter().flat_map(|(engine, ids)| ids.iter().map(move |id| (*engine, *id))).collect();
    for (engine, id) in &all {
        let given = [&[(*engine).to_owned(), "--plant".to_owned(), (*id).to_owned()], rest].concat();
        let (said, clean) = explore(&["--features", "planted-bugs"], &given)?;
        if clean {
            missed.push(*id);
        }
        println!("{id}: {}", if clean { "MISSED".to_owned() } else { violated(&said) });
    }
    let found = all.len() - missed.len();
    let missed = if missed.is_empty() { "none".to_owned() } else { missed.join(", ") };
    let result = format!("{found} of {} planted bugs found; missed: {missed}", all.len());
    crate::ledger::add(&format!("cargo xtask explore --plants {}", rest.join(" ")), &result)?;
    if found == all.len() { Ok(()) } else { Err(result.into()) }
}

fn violated(said: &str) -> String {
    said.lines().find(|line| line.starts_with("VIOLATED")).unwrap_or("it ended without a result").to_owned()
}

/// What it said, and whether nothing was violated.
fn explore(features: &[&str], arguments: &[String]) -> Fallible<(String, bool)> {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--package", "quorate-explore", "--example", "explore"])
        .args(features)
        .arg("--")
        .args(arguments)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{said}");
    match output.status.code() {
        Some(0) => Ok((said, true)),
        Some(1) => Ok((said, false)),
        _ => Err("it did not run".into()),
    }
}

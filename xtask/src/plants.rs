//! Every planted bug must be found by its named checker.
//!
//! The hunt is an example of the simulator's, built with its feature `planted-bugs`: only the few crates that have bugs to plant are compiled a
//! second time, into the same target folder as everything else.

use std::{fs, process::Command};

use crate::Fallible;

/// Written by a hunt for all bugs, and read by the smoke, which begins at the seeds in it.
const TABLE: &str = "docs/plants.md";

/// Hunts the bugs with these ids; without any, all, and writes the table.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    if arguments.iter().any(|argument| argument == "--smoke") {
        return smoke();
    }
    if !arguments.is_empty() {
        return hunt(&["--release"], arguments);
    }
    let done = hunt(&["--release"], &["--write".to_owned(), TABLE.to_owned()]);
    let table = fs::read_to_string(TABLE)?;
    let result = table.lines().find(|line| line.ends_with("seeds each.")).unwrap_or("no result");
    crate::ledger::add("cargo xtask plants", result)?;
    done
}

/// Bugs of every group that are found at once, from the seeds that found them before: the checkers still look.
pub(crate) fn smoke() -> Fallible<()> {
    let ids = ["A02", "B01", "B21", "C04", "D01", "E07", "H02", "H11", "H16"].map(str::to_owned);
    // Beside the tests' build, which has compiled all but the crates with bugs in them.
    hunt(&[], &[&["--seeds-max".to_owned(), "100".to_owned()], ids.as_slice()].concat())
}

fn hunt(profile: &[&str], arguments: &[String]) -> Fallible<()> {
    let status = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--package",
            "quorate-sim",
            "--features",
            "planted-bugs",
            "--example",
            "plants",
        ])
        .args(profile)
        .args(["--", "--known", TABLE])
        .args(arguments)
        .status()?;
    if status.success() { Ok(()) } else { Err("a planted bug was not found".into()) }
}

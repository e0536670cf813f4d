//! Every planted bug must be found by its named checker.
//!
//! ```text
//!   tests of crates, one after the other ─► what they said ─┐
//!                                                           ├─► rows, docs/plants.md
//!   the simulator, seed after seed ─────────────────────────┘
//! ```
//! The hunt is an example of the simulator's, built with its feature `planted-bugs`: only the few crates that have bugs to plant are compiled a
//! second time, into the same target folder as everything else. The example has the catalogue, so it says which tests of crates there are.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::Fallible;

/// Written by a hunt for all bugs, and read by hunts for some, which begin at the seeds in it.
const TABLE: &str = "docs/plants.md";
/// What the tests of crates said.
const SAID: &str = "target/plants-said.txt";

/// Hunts the bugs with these ids; without any, all, and writes the table.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    if arguments.iter().any(|argument| argument == "--smoke") {
        return smoke();
    }
    if !arguments.is_empty() {
        return hunt(&["--release"], &["--known", TABLE], arguments);
    }
    // No seed is known: what a bug took is told as it was.
    let done = hunt(&["--release"], &["--write", TABLE], &[]);
    let table = fs::read_to_string(TABLE)?;
    let result = table.lines().rev().find(|line| line.starts_with("plants: ")).unwrap_or("no result");
    crate::ledger::add("cargo xtask plants", result)?;
    done
}

/// Bugs of every group that are found at once, by seeds that found them before and by a crate's test: the checkers still look.
pub(crate) fn smoke() -> Fallible<()> {
    let ids = ["A02", "B01", "B21", "C04", "D01", "E07", "H02", "H11", "H16", "F04", "P01"];
    // Beside the tests' build, which has compiled all but the crates with bugs in them.
    hunt(&[], &["--known", TABLE, "--seeds-max", "100"], &ids.map(str::to_owned))
}

fn hunt(profile: &[&str], options: &[&str], ids: &[String]) -> Fallible<()> {
    let tests = plants(profile).arg("--crate-tests").args(ids).stdout(Stdio::piped()).output()?;
    if !tests.status.success() {
        return Err("the hunt does not compile".into());
    }
    let mut said = String::new();
    for line in String::from_utf8(tests.stdout)?.lines() {
        said.push_str(&said_by(line)?);
    }
    fs::write(SAID, said)?;
    let status = plants(profile).args(["--said", SAID]).args(options).args(ids).status()?;
    if status.success() { Ok(()) } else { Err("a planted bug was not found".into()) }
}

/// The simulator's example.
fn plants(profile: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "quorate-sim", "--features", "planted-bugs"]);
    command.args(["--example", "plants"]).args(profile).arg("--");
    command
}

/// What a crate's test said of the bugs that it found: nothing, if it failed.
fn said_by(test: &str) -> Fallible<String> {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--features", "planted-bugs"])
        .args(test.split_whitespace())
        .arg("--nocapture")
        .env("RUST_BACKTRACE", "0")
        .stderr(Stdio::piped())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    // Most of the panics in it are the bugs' own.
    eprintln!("{test}: failed: {}\n{said}", String::from_utf8_lossy(&output.stderr));
    Ok(String::new())
}

//! `docs/ledger.md`: one line per campaign, with commit, command and result.

use std::{fs, process::Command};

use crate::Fallible;

const HEADER: &str = "# Ledger\n\nWhat was run, on which commit, with which command, and what came of it. Lines are added by `cargo xtask`; none is ever changed.\n\n\
| date (UTC) | commit | command | result |\n|---|---|---|---|\n";

/// Adds a line.
pub(crate) fn add(command: &str, result: &str) -> Fallible<()> {
    let path = "docs/ledger.md";
    let mut text = fs::read_to_string(path).unwrap_or_else(|_| HEADER.to_owned());
    text.push_str(&format!(
        "| {} | {} | `{command}` | {result} |\n",
        output("date", &["-u", "+%F %H:%M"]),
        commit()
    ));
    fs::write(path, text)?;
    println!("ledger: {command}: {result}");
    Ok(())
}

/// The commit that is being run, and whether the tree differs from it.
pub(crate) fn commit() -> String {
    let head = output("git", &["rev-parse", "--short=10", "HEAD"]);
    let changed = !output("git", &["status", "--porcelain", "--untracked-files=no", "--", "crates", "xtask"])
        .is_empty();
    if changed { format!("{head}+changes") } else { head }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

//! Ours beside Debian's ZooKeeper, in one run, on one machine, with one client; and beside a server that does nothing.
//!
//! ```text
//!   rounds ──► system: three servers, started alike ◄── single: one load, to look at it
//!      │          ▲
//!      ├──► load ─┤  many connections, each with requests made beforehand (packets, connection)
//!      ├──► fanout, failover
//!      └──► table ──► docs/comparison-zookeeper.md
//! ```

mod connection;
mod failover;
mod fanout;
mod load;
pub(crate) mod nothing;
mod packets;
pub(crate) mod real;
mod rounds;
mod session;
mod single;
mod system;
mod table;

use std::fs;

use self::system::Engine;
use crate::{Fallible, ledger};

const PAGE: &str = "docs/comparison-zookeeper.md";

/// `cargo xtask compare-zookeeper`, and what stands after it.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    if value(arguments, "--only").is_some() {
        return single::run(arguments);
    }
    let engine = match value(arguments, "--engine") {
        None | Some("zab") => Engine::Zab,
        Some("raft") => Engine::Raft,
        Some(other) => return Err(format!("there is no engine {other}; there are zab and raft").into()),
    };
    let (rounds, kills) = (number(arguments, "--rounds", 3)?.max(1), number(arguments, "--kills", 20)?);
    let mut command = format!("cargo xtask compare-zookeeper --rounds {rounds} --kills {kills}");
    if engine == Engine::Raft {
        command.push_str(" --engine raft");
    }
    real::version()?;
    let text = table::page(&rounds::run(engine, rounds, kills)?, engine, &command)?;
    println!("\n{text}");
    if engine == Engine::Raft {
        return Ok(());
    }
    let title = "# Comparison with ZooKeeper\n\nWritten by `cargo xtask compare-zookeeper`; see [performance.md](performance.md) for what it means.";
    fs::write(PAGE, format!("{title}\n\n{text}"))?;
    ledger::add(&command, PAGE)
}

/// What stands behind this flag.
fn value<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == flag)?;
    arguments.get(at + 1).map(String::as_str)
}

/// The number behind this flag.
fn number(arguments: &[String], flag: &str, default: u64) -> Fallible<u64> {
    value(arguments, flag).map_or(Ok(default), |text| {
        text.parse().map_err(|_| format!("{flag} takes a number, not {text}").into())
    })
}

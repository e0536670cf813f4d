//! The binary `quorate`.
//!
//! ```text
//!   cli ──► serve     config (flags, environment, file) ──► quorate_server::start, quorate_etcd::serve
//!       ├─► zookeeper  zoo_cfg, what a ZooKeeper configuration says in the words of `serve` ──► serve
//!       ├─► etcd      etcd_flags, what etcd's flags, variables and file say in the words of `serve` ──► serve
//!       ├─► dev       so many `serve` processes, watched over
//!       ├─► commands  put, get, del, txn, status, member, move-leader ──► quorate_client
//!       ├─► snapshot  service::backup; quorate_server::seed
//!       ├─► bench     quorate_client's bare connections
//!       └─► sim       quorate_sim
//! ```
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the front door lives in the real world: it has the clock, the environment and the processes that the pure floors are kept from"
)]

mod bench;
mod cli;
mod commands;
mod config;
mod dev;
mod etcd;
mod etcd_flags;
mod lab;
mod members;
mod output;
mod remote;
mod serve;
mod shards;
mod sim;
mod snapshot;
mod tree;
mod txn;
mod zoo_cfg;
mod zookeeper;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{
    cli::{Cli, Command},
    commands::Failed,
};

/// Bytes of a request are taken by one thread and given back by another, all the time; the system's allocator pays for that with locks.
/// Measured in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Which bug is planted in this process, in a build that has bugs to plant: for the controls of `cargo xtask torture`.
#[cfg(feature = "planted-bugs")]
const PLANT: &str = "QUORATE_PLANT";

fn main() -> ExitCode {
    #[cfg(feature = "planted-bugs")]
    if let Ok(id) = std::env::var(PLANT) {
        quorate_consensus::plant_everywhere(&id);
        eprintln!("quorate: the bug {id} is planted, as {PLANT} says");
    }
    if etcd::is_called_etcd() {
        let arguments: Vec<String> = std::env::args_os().skip(1).map(lossy).collect();
        return ended(etcd::etcd(&arguments));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            if error.kind() == ErrorKind::InvalidSubcommand {
                let command = Cli::command();
                let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
                eprintln!("\nCommands: {}", names.join(", "));
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Command::Dev(dev) => wait(dev::dev(dev)),
        Command::Serve(given) => serve::serve(&given, &config::Below::new(), &[]),
        Command::Zookeeper(wanted) => zookeeper::zookeeper(&wanted),
        Command::Etcd(wanted) => etcd::etcd(&wanted.arguments.into_iter().map(lossy).collect::<Vec<_>>()),
        Command::Put(put) => wait(commands::put(put)),
        Command::Get(get) => wait(commands::get(get)),
        Command::Del(del) => wait(commands::del(del)),
        Command::Txn(txn) => wait(commands::txn(txn)),
        Command::Status(remote) => wait(commands::status(remote)),
        Command::Member(member) => wait(members::member(member)),
        Command::Shard(wanted) => wait(shards::shard(wanted)),
        Command::Snapshot(wanted) => wait(snapshot::snapshot(wanted)),
        Command::MoveLeader(wanted) => wait(commands::move_leader(wanted)),
        Command::Bench(bench) => wait(bench::bench(bench)),
        Command::Sim(wanted) => sim::sim(&wanted),
        Command::Lab(wanted) => wait(lab::lab(wanted)),
    };
    ended(done)
}

fn ended(done: Result<ExitCode, Failed>) -> ExitCode {
    done.unwrap_or_else(|failed| {
        eprintln!("quorate: {}", failed.message);
        ExitCode::from(failed.code)
    })
}

/// An argument as text; what is no text is no value of any flag either.
fn lossy(argument: std::ffi::OsString) -> String {
    argument.to_string_lossy().into_owned()
}

/// Runs a command on one thread. `dev` needs that one to be the main thread: a child that is to die with its parent dies with the thread that
/// made it.
fn wait(command: impl Future<Output = Result<ExitCode, Failed>>) -> Result<ExitCode, Failed> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| Failed {
            code: 1,
            message: format!("cannot start: {error}; is a limit on open files or memory reached?"),
        })?;
    runtime.block_on(command)
}

//! The same random operations against ours and against a real ZooKeeper, Debian's: the first difference ends it.

use std::process::Command;

use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch},
    kazoo, ledger,
};

const SCRIPT: &str = "foreign/kazoo/differential.py";

/// What ZooKeeper calls properties. It looks for empty containers so seldom that none goes while we play.
const PROPERTIES: [&str; 2] =
    ["-Dzookeeper.extendedTypesEnabled=true", "-Dznode.container.checkIntervalMs=1000000000"];

/// So patient that nobody else is elected while a busy machine lets a server wait: its clients would lose their connections.
const CALM: [&str; 2] = ["--election-timeout-min=2s", "--election-timeout-max=3s"];

/// So many operations, split between `seeds` seeds from `first_seed` on; a line in the ledger if there are enough of them to be worth one.
pub(crate) fn run(operations: u64, seeds: u64, first_seed: u64, into_ledger: bool) -> Fallible<()> {
    let (seeds, mut failed) = (seeds.max(1), None);
    let each = operations.div_ceil(seeds);
    let mut clean = 0;
    for seed in first_seed..first_seed + seeds {
        failed = play(each, seed).err();
        if failed.is_some() {
            break;
        }
        clean += each;
    }
    let result = match &failed {
        None => format!("{clean} operations over {seeds} seeds, no difference from Debian's ZooKeeper"),
        Some(error) => format!("FAILED after {clean} operations: {error}"),
    };
    let command = format!(
        "cargo xtask differential --operations {operations} --seeds {seeds} --first-seed {first_seed}"
    );
    if into_ledger {
        ledger::add(&command, &result)?;
    } else {
        println!("{result}");
    }
    failed.map_or(Ok(()), Err)
}

/// Enough to see that all of it works, in a quarter of a minute; not for the ledger.
pub(crate) fn smoke(first_seed: u64) -> Fallible<()> {
    run(1500, 1, first_seed, false)
}

/// Fresh servers, and one run of the script.
fn play(operations: u64, seed: u64) -> Fallible<()> {
    let python = kazoo::install()?;
    let scratch = Scratch::new("differential")?;
    // What is compared is what is answered: not what survives a power loss, nor who leads on a machine that is busy.
    let options = Options { zookeeper: true, no_sync: true, ..Options::default() };
    let properties = PROPERTIES.map(str::to_owned).into();
    let alone = [scratch.0.join("zookeeper")];
    let real = Cluster::start(Kind::ZooKeeper, &alone, &Options { flags: properties, ..options.clone() })?;
    let options = Options { flags: CALM.map(str::to_owned).into(), ..options };
    let cluster = Cluster::start(Kind::Quorate, &scratch.directories(3)?, &options)?;
    let ours: Vec<&str> = cluster.servers.iter().map(|server| server.zookeeper.as_str()).collect();
    let status = Command::new(python)
        .args([SCRIPT, "--real", &real.servers[0].zookeeper, "--ours", &ours.join(",")])
        .args(["--operations", &operations.to_string(), "--seed", &seed.to_string()])
        .status()
        .map_err(|error| format!("cannot start {SCRIPT}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("seed {seed} ends with a difference").into()) }
}

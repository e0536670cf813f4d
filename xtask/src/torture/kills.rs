//! Real processes, killed at any moment and started again, under load: no acknowledged write is lost, no read is stale.
//!
//! Kill -9 proves recovery only: the page cache outlives the process. Syncs are proved by [`crate::power`] and by the storm and by the simulated disk.

use std::time::{Duration, Instant};

use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch},
    history, ledger,
    torture::{Mixer, membership},
    workload::{Load, read_all},
};

/// A shard is split, or two are merged, with every so many kills, so often at most.
const CHANGE_EVERY: u64 = 3;
const CHANGES_MAX: u64 = 60;

/// Kills and restarts servers `kills` times, whose keys are in so many shards.
pub(crate) fn run(kills: u64, shards: u64, record: bool) -> Fallible<()> {
    let scratch = Scratch::new("torture")?;
    let options = Options { flags: vec![format!("--keys-shards={shards}")], ..Options::default() };
    let mut cluster = Cluster::start(Kind::Quorate, &scratch.directories(3)?, &options)?;
    let endpoints = cluster.endpoints();
    let load = Load::start(&endpoints, 4, 0);
    let mut random = Mixer(0x5eed);
    let begun = Instant::now();
    let mut changes = 0;
    for kill in 0..kills {
        // While servers die, now and then a shard is split, or merged with its neighbour.
        if shards > 1 && kill % CHANGE_EVERY == 0 && changes < CHANGES_MAX {
            changes += 1;
            membership::split_or_merge(&endpoints, random.below(u64::MAX));
        }
        // Mostly one, now and then two, or all at once.
        let victims = match random.below(10) {
            0 => vec![0, 1, 2],
            1 => vec![random.below(3) as usize, random.below(3) as usize],
            _ => vec![random.below(3) as usize],
        };
        for victim in &victims {
            cluster.servers[*victim].kill();
        }
        std::thread::sleep(Duration::from_millis(random.below(200)));
        for victim in victims {
            if cluster.servers[victim].pid().is_none() {
                cluster.servers[victim].start()?;
            }
        }
        std::thread::sleep(Duration::from_millis(random.below(400)));
        for server in &mut cluster.servers {
            if server.has_ended() {
                return Err(format!("{} ended by itself:\n{}", server.name, server.tail()).into());
            }
        }
        if kill % 50 == 49 {
            println!("{} kills, {} acknowledged puts, {:.0?}", kill + 1, load.puts(), begun.elapsed());
        }
    }
    for server in &cluster.servers {
        server.wait_until_it_answers(Duration::from_secs(30))?;
    }
    let mut calls = load.stop();
    calls.extend(read_all(&endpoints)?);
    let verdict = history::check(&calls);
    let result = match &verdict {
        Ok(()) if shards > 1 => {
            let now = membership::shards(&endpoints).unwrap_or_default();
            format!(
                "{kills} kills, {shards} shards split and merged into {now}, {} calls, no acknowledged write lost, no stale read",
                calls.len()
            )
        }
        Ok(()) => format!("{kills} kills, {} calls, no acknowledged write lost, no stale read", calls.len()),
        Err(error) => format!("{kills} kills: FAILED: {error}"),
    };
    if record {
        ledger::add(&format!("cargo xtask torture --kills {kills} --shards {shards}"), &result)?;
    } else {
        println!("torture: {result}");
    }
    verdict.map_err(Into::into)
}

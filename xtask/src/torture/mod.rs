//! Real servers in a storm: killed, paused, cut off, slowed, lied to about the time, with disks that fill up, fail, hang and lose their power, while
//! members come and go. Clients of both APIs write down what they saw, and every history is checked.
//!
//! ```text
//!   plan (a seed) ──► storm ──► nodes: one server each in a network namespace, on an ext4 of its own, under the shim
//!                       │          ▲ packets: switch      ▲ what they may not notice: clock, syncs
//!                       │          │
//!   workloads ──────────┼──────────┘ clients, all at once
//!       │ histories     └──► journal of what was done
//!       ▼
//!   verdicts ──► a line for the segment, or everything kept in a folder
//! ```
//!
//! What a machine lacks ([`machine`]) is named and left out. [`controls`] prove that the verdicts can say no.

mod controls;
mod disks;
mod kills;
mod machine;
mod membership;
mod network;
mod nodes;
mod plan;
mod random;
mod segment;
mod shim;
mod storm;
mod switch;
mod verdicts;
mod workloads;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

pub(crate) use random::Mixer;

use self::{
    machine::Machine,
    nodes::Kind,
    plan::Fault,
    segment::{Campaign, Totals},
};
use crate::{
    Fallible,
    cluster::{Scratch, binary},
    ledger,
};

const SEGMENT: Duration = Duration::from_secs(60);
/// A part of every smoke: short, on one engine after the other.
const SMOKE: Duration = Duration::from_secs(22);

/// `cargo xtask torture`, and what stands after it.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let number = |flag: &str, default: u64| {
        value(flag).map_or(Ok(default), |text| {
            text.parse().map_err(|_| format!("{flag} takes a number, not {text}"))
        })
    };
    if arguments.iter().any(|argument| argument == "--controls") {
        return controls::run(value("--only"), value("--only").is_none());
    }
    if value("--minutes").is_none() {
        return kills::run(number("--kills", 1000)?, number("--shards", 1)?, true);
    }
    let minutes = number("--minutes", 8)?;
    let engines: &[&'static str] = match value("--engine").unwrap_or("both") {
        "raft" => &["raft"],
        "zab" => &["zab"],
        "both" => &["raft", "zab"],
        other => return Err(format!("there is no engine {other}; there are raft, zab and both").into()),
    };
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = number("--seed", clock)?;
    let faults = match value("--faults") {
        Some(names) => Fault::parse(names)?,
        None => Fault::ALL.into_iter().collect(),
    };
    let mut command = format!("cargo xtask torture --minutes {minutes} --seed {seed}");
    for flag in ["--engine", "--shards", "--faults"] {
        if let Some(text) = value(flag) {
            command.push_str(&format!(" {flag} {text}"));
        }
    }
    println!("torture: {command}");
    let each = Duration::from_secs(minutes * 60) / u32::try_from(engines.len())?;
    let mut results = Vec::new();
    for engine in engines {
        let totals = campaign(engine, number("--shards", 1)?, seed, &faults, SEGMENT, Instant::now() + each);
        let failed = totals.as_ref().err().map(ToString::to_string);
        results.push(match &totals {
            Ok(totals) => format!("{engine}: {totals}"),
            Err(error) => format!("{engine}: FAILED: {}", short(&error.to_string())),
        });
        if let Some(error) = failed {
            ledger::add(&command, &results.join("; "))?;
            return Err(error.into());
        }
    }
    ledger::add(&command, &results.join("; "))
}

/// A short storm of everything on each engine, for the smoke.
pub(crate) fn smoke() -> Fallible<()> {
    let faults = Fault::ALL.into_iter().collect();
    for (engine, seed) in [("raft", 1), ("zab", 2)] {
        campaign(engine, 1, seed, &faults, SMOKE, Instant::now())?;
    }
    kills::run(10, 1, false)?;
    kills::run(10, 8, false)
}

/// Segments until this moment, one at least.
fn campaign(
    engine: &'static str,
    shards: u64,
    seed: u64,
    faults: &BTreeSet<Fault>,
    length: Duration,
    until: Instant,
) -> Fallible<Totals> {
    let scratch = Scratch::new("storm")?;
    let machine = Machine::look(&scratch.0)?;
    let mut random = Mixer(seed);
    let founders = if random.once_in(3) { 3 } else { 5 };
    let lease_reads = random.once_in(3);
    let kind = Kind { binary: binary(), engine, shards, no_sync: false, lease_reads, plant: None };
    let faults = faults.iter().copied().filter(|fault| machine.can(*fault)).collect();
    let mut campaign = Campaign::start(&scratch.0, &machine, kind, founders, faults, seed)?;
    loop {
        campaign.segment(length)?;
        if Instant::now() + length > until {
            return Ok(campaign.totals);
        }
    }
}

/// For one cell of the ledger.
fn short(text: &str) -> String {
    text.replace('\n', " ").replace('|', "/").chars().take(300).collect()
}

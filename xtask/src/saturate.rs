//! As much load as the machine can make, for long: the leader must stay, however busy everyone is.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use quorate_client::Client;

use crate::{
    Fallible,
    client::{impatient, runtime},
    cluster::{Cluster, Kind, Options, Scratch, binary},
    ledger,
};

/// Saturates three servers with puts for `seconds`; fails if a term ends meanwhile.
pub(crate) fn run(seconds: u64) -> Fallible<()> {
    let scratch = Scratch::new("saturate")?;
    let cluster = Cluster::start(Kind::Quorate, &scratch.directories(3)?, &Options::default())?;
    let endpoints = cluster.endpoints();
    let before = terms(&endpoints)?;
    let output = Command::new(binary())
        .args(["bench", "put", "--clients", "1000", "--connections", "100", "--value-size", "64"])
        // Few enough keys and bytes that ten minutes fit into memory, and their history into the quota of 2 GiB.
        .args(["--key-space", "10000", "-o", "json", "--duration", &format!("{seconds}s")])
        .args(["--endpoints", &endpoints.join(",")])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        return Err(format!("the load failed: {}", said.trim()).into());
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let after = terms(&endpoints)?;
    let command = format!("cargo xtask saturate --seconds {seconds}");
    let load = format!(
        "{:.0} puts/s, p99 {:.0} ms, errors {}",
        report["per_second"].as_f64().unwrap_or_default(),
        report["latency_us"]["p99"].as_f64().unwrap_or_default() / 1e3,
        report["errors"]
    );
    if before != after {
        let result = format!("FAILED: the term went from {before:?} to {after:?}; {load}");
        ledger::add(&command, &result)?;
        return Err(result.into());
    }
    ledger::add(&command, &format!("no change of leader; {load}"))
}

/// The newest term that any server has seen.
fn terms(endpoints: &[String]) -> Fallible<u64> {
    runtime()?.block_on(async {
        let client = Client::connect(endpoints.to_vec(), impatient(Duration::from_secs(10)))?;
        let statuses = client.statuses().await;
        let terms = statuses.iter().filter_map(|(_, status)| Some(status.as_ref().ok()?.raft_term));
        terms.max().ok_or_else(|| "no server says its term".into())
    })
}

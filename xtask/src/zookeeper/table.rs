//! What stands in docs/comparison-zookeeper.md.

use std::{fmt::Write as _, time::Duration};

use super::{
    failover, fanout,
    packets::{DATA_BYTES, ZNODES},
    real,
    rounds::{COUNTED, Measured, ROWS, Results, SETTLE, SHOTS, Side, WARM, WARM_UP},
    system::{Engine, SERVERS},
};
use crate::{Fallible, compare::median, floor, ledger, process};

/// The whole page below its title; `command` is what was run.
pub(crate) fn page(results: &Results, engine: Engine, command: &str) -> Fallible<String> {
    let mut text = String::new();
    head(engine, command, &mut text)?;
    work(results, &mut text)?;
    rest(results, &mut text)?;
    ceiling(results, &mut text)?;
    bounds(results, &mut text)?;
    Ok(text)
}

fn head(engine: Engine, command: &str, text: &mut String) -> Fallible<()> {
    let version = real::version()?;
    writeln!(text, "Commit {}, {version}, `{command}`. {}\n", ledger::commit(), process::machine())?;
    let engine = match engine {
        Engine::Zab => "ZAB",
        Engine::Raft => "Raft",
    };
    let configuration = real::CONFIGURATION.trim_end().replace('\n', ", ");
    writeln!(
        text,
        "{SERVERS} servers each, on loopback, their data on one disk, every write synced before it counts: ZooKeeper as it comes (`forceSync` on), with \
         {configuration} and its scripts' heap (`{}`); ours with the tree on {engine}, as it comes but for \
         `--zookeeper-connections-per-address=0`. The load is one thread of this command, which sends requests made beforehand, and reads the \
         headers of answers alone; an answer with an error ends the run. Its connections are spread over the servers. Data is {DATA_BYTES} bytes; \
         setData and getData go round {ZNODES} znodes, create makes children of one parent for each connection.\n",
        real::HEAP
    )?;
    writeln!(
        text,
        "In every round each system starts empty, is warmed up for {WARM_UP:?} with each operation, so that Java has compiled what is hot, and then \
         takes one row after the other: {WARM:?} that does not count, {COUNTED:?} that do. What stands here are medians of rounds.\n"
    )?;
    Ok(())
}

fn middle(rounds: &[Measured]) -> Measured {
    let median = |of: fn(&Measured) -> f64| median(rounds.iter().map(of));
    Measured {
        per_second: median(|m| m.per_second),
        p50_ms: median(|m| m.p50_ms),
        p99_ms: median(|m| m.p99_ms),
        cpu_us: median(|m| m.cpu_us),
        load_us: median(|m| m.load_us),
    }
}

fn name(at: usize) -> String {
    let row = &ROWS[at];
    let each = row.outstanding / row.connections;
    format!("{}, {} × {each}", row.operation.name(), row.connections)
}

fn work(results: &Results, text: &mut String) -> Fallible<()> {
    writeln!(text, "Connections × outstanding requests on each:\n")?;
    writeln!(
        text,
        "| work | ours /s | ZooKeeper /s | ratio | ours p50 | ZooKeeper p50 | ours p99 | ZooKeeper p99 | ours CPU/op | ZooKeeper CPU/op |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
    for at in 0..ROWS.len() {
        let (us, they) = (middle(&results.ours.rows[at]), middle(&results.theirs.rows[at]));
        writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.2} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | {:.1} µs | {:.1} µs |",
            name(at),
            us.per_second,
            they.per_second,
            us.per_second / they.per_second,
            us.p50_ms,
            they.p50_ms,
            us.p99_ms,
            they.p99_ms,
            us.cpu_us,
            they.cpu_us
        )?;
    }
    Ok(())
}

/// What is not requests a second.
fn rest(results: &Results, text: &mut String) -> Fallible<()> {
    writeln!(
        text,
        "\nA row that lost a connection was measured again: {} of ours, {} of ZooKeeper's, {} of the server that does nothing.",
        results.ours.lost, results.theirs.lost, results.nothing.lost
    )?;
    writeln!(text, "\n| | ours | ZooKeeper | ratio |\n|---|---|---|---|")?;
    let (us, they) = (&results.ours, &results.theirs);
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let mut memory = |what: &str, of: fn(&Side) -> f64| {
        let (us, they) = (mib(of(us)), mib(of(they)));
        writeln!(text, "| {what} | {us:.0} MiB | {they:.0} MiB | {:.2} |", us / they)
    };
    memory("memory of the largest server at rest", |side| median(side.at_rest.iter().copied()))?;
    memory("… with a million znodes", |side| side.with_many)?;
    let mut times = |what: &str, us: Duration, they: Duration| {
        writeln!(text, "| {what} | {us:.1?} | {they:.1?} | {:.2} |", us.as_secs_f64() / they.as_secs_f64())
    };
    times("making the million, 100 × 10", us.many_took, they.many_took)?;
    let (our_events, their_events) = (floor::spread(us.fanout.clone()), floor::spread(they.fanout.clone()));
    let watchers = fanout::WATCHERS;
    times(
        &format!("setData to the last of {watchers} sessions' events, p50"),
        our_events.p50,
        their_events.p50,
    )?;
    times("… p99", our_events.p99, their_events.p99)?;
    let (our_kills, their_kills) = (floor::spread(us.failover.clone()), floor::spread(they.failover.clone()));
    let kills = us.failover.len();
    let killed = format!("kill -9 of the leader to the next successful setData, median of {kills} kills");
    times(&killed, our_kills.p50, their_kills.p50)?;
    times("… worst", our_kills.p99, their_kills.p99)?;
    writeln!(
        text,
        "\nThe memory is looked at {SETTLE:?} after the last create; Java keeps what its collector has not yet given back. Events were waited for {SHOTS} times \
         a round. While leaders are killed, {} sessions write; the one whose write counts asks each server that is left for a new session every 10 ms, \
         and waits for none before it asks again.",
        failover::WRITERS
    )?;
    Ok(())
}

fn ceiling(results: &Results, text: &mut String) -> Fallible<()> {
    writeln!(
        text,
        "\nThe ceiling: a server that answers at once, on one thread, with the same load; and what the load itself takes.\n"
    )?;
    writeln!(
        text,
        "| work | that server /s | its p50 | its CPU/op | load's CPU/op | we reach | ZooKeeper reaches |\n|---|---|---|---|---|---|---|"
    )?;
    for at in 0..ROWS.len() {
        let ceiling = middle(&results.nothing.rows[at]);
        let reached = |side: &Side| 100.0 * middle(&side.rows[at]).per_second / ceiling.per_second;
        writeln!(
            text,
            "| {} | {:.0} | {:.2} ms | {:.1} µs | {:.1} µs | {:.0} % | {:.0} % |",
            name(at),
            ceiling.per_second,
            ceiling.p50_ms,
            ceiling.cpu_us,
            ceiling.load_us,
            reached(&results.ours),
            reached(&results.theirs)
        )?;
    }
    Ok(())
}

/// What no server here can do better than.
fn bounds(results: &Results, text: &mut String) -> Fallible<()> {
    let (sync, trip) = (results.sync.p50, results.trip.p50);
    let one = |side: &Side| middle(&side.rows[0]).p50_ms;
    let call = one(&results.nothing);
    let floor = call + (sync + trip).as_secs_f64() * 1e3;
    writeln!(
        text,
        "\nThe floor under one setData: one sync (p50 {sync:.0?}, {:.0} a second one after the other), one loopback round trip to a peer ({trip:.0?}) and \
         one call to the server that answers at once ({call:.2} ms) are {floor:.2} ms; ours takes {:.2} ms, {:.1} times that, ZooKeeper {:.2} ms, {:.1} times.",
        1.0 / sync.as_secs_f64(),
        one(&results.ours),
        one(&results.ours) / floor,
        one(&results.theirs),
        one(&results.theirs) / floor
    )?;
    Ok(())
}

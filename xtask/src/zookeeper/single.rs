//! One load on one system, to look at it: with a profiler, for example.

use std::time::Duration;

use super::{
    failover, fanout,
    load::{self, Outcome, Plan, Until},
    number,
    packets::Operation,
    rounds::{self, Side},
    system::{Running, System},
    value,
};
use crate::{Fallible, floor};

const WARM: Duration = Duration::from_secs(2);

/// What is not said is 100 connections with 10 requests each, setData, for five seconds.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    let name = value(arguments, "--only").unwrap_or("quorate");
    let system = System::from_name(name).ok_or_else(|| format!("there is no system {name}"))?;
    let connections = usize::try_from(number(arguments, "--connections", 100)?.max(1))?;
    let outstanding = usize::try_from(number(arguments, "--outstanding", 1_000)?)?.max(connections);
    let counted = Duration::from_secs(number(arguments, "--seconds", 5)?.max(1));
    let until = Until::Time { warm: WARM, counted };
    let mut running = Running::start(system)?;
    println!("{name} serves at {}, as {:?}", running.addresses.join(","), running.pids());
    running.populate()?;
    for what in value(arguments, "--what").unwrap_or("setdata").split(',') {
        match what {
            "fanout" => {
                println!("fan-out: {:.1?}", floor::spread(fanout::run(&running.addresses, rounds::SHOTS)?))
            }
            "failover" => {
                println!("failover: {:.0?}", failover::run(&mut running, number(arguments, "--kills", 5)?)?)
            }
            "million" => rounds::many(&running, &mut Side::default())?,
            other => {
                let operation = Operation::from_name(other);
                let operation = operation.ok_or_else(|| format!("there is no operation {other}"))?;
                let parent = running.place(operation, operation.name(), connections)?;
                let plan = Plan { operation, connections, outstanding, until, parent };
                let outcome = load::run(&running.addresses, &plan, || running.cpu())?;
                println!("{}", line(operation, connections, outstanding, &outcome));
            }
        }
    }
    Ok(())
}

/// An outcome on one line.
pub(crate) fn line(
    operation: Operation,
    connections: usize,
    outstanding: usize,
    outcome: &Outcome,
) -> String {
    format!(
        "{}, {connections} connections, {outstanding} outstanding: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} µs CPU of the servers, {:.1} of the load",
        operation.name(),
        outcome.per_second(),
        outcome.percentile_ms(50.0),
        outcome.percentile_ms(99.0),
        outcome.each_us(outcome.servers_cpu),
        outcome.each_us(outcome.load_cpu),
    )
}

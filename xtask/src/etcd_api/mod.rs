//! The rest of etcd's API, beside etcd itself: watches, leases, transactions, ranges, and a million keys.
//!
//! ```text
//!   part ──► cluster of three, ours or etcd's, in turn
//!     ├── watch, lease, txn, range    in every round, on one cluster: medians
//!     ├── expiry, million             once, each on a cluster of its own
//!     └──► figures ──► table ──► docs/comparison-api.md
//! ```
//!
//! What a plain put and a plain get cost is [`crate::compare`]'s.

mod calls;
mod expiry;
mod figure;
mod lazy;
mod lease;
mod million;
mod range;
mod size;
mod table;
mod txn;
mod watch;

use std::{fs, thread, time::Duration};

use self::{
    figure::{Figure, Side},
    size::Size,
};
use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch},
    compare, ledger,
};

const PAGE: &str = "docs/comparison-api.md";

/// What can be asked for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Watch,
    Lease,
    Txn,
    Range,
    Expiry,
    Million,
}

impl Part {
    const ALL: [Part; 6] = [Part::Watch, Part::Lease, Part::Txn, Part::Range, Part::Expiry, Part::Million];

    fn name(self) -> &'static str {
        match self {
            Part::Watch => "watch",
            Part::Lease => "lease",
            Part::Txn => "txn",
            Part::Range => "range",
            Part::Expiry => "expiry",
            Part::Million => "million",
        }
    }

    /// These take minutes, and need servers that hold nothing else.
    fn once(self) -> bool {
        matches!(self, Part::Expiry | Part::Million)
    }

    fn measure(self, cluster: &mut Cluster, scratch: &Scratch, size: &Size) -> Fallible<Vec<Figure>> {
        match self {
            Part::Watch => watch::run(cluster, size),
            Part::Lease => lease::run(cluster, size),
            Part::Txn => txn::run(cluster, size),
            Part::Range => range::run(cluster, size),
            Part::Expiry => expiry::run(cluster, size),
            Part::Million => million::run(cluster, scratch, size),
        }
    }
}

/// `cargo xtask compare-api`, and what stands after it.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let rounds: u64 = match value("--rounds") {
        Some(text) => text.parse().map_err(|_| format!("--rounds takes a number, not {text}"))?,
        None if quick => 1,
        None => 3,
    };
    let parts = parts(value("--only"))?;
    let size = if quick { &size::QUICK } else { &size::FULL };
    compare::etcd_version()?;
    let (ours, theirs) = measure(&parts, rounds.max(1), size)?;
    let command = format!("cargo xtask compare-api --rounds {}", rounds.max(1));
    let text = table::page(&ours, &theirs, &command, size)?;
    println!("\n{text}");
    if quick || parts.len() < Part::ALL.len() {
        return Ok(());
    }
    let title = "# Comparison with etcd: the rest of the API\n\nWritten by `cargo xtask compare-api`; see [performance.md](performance.md) for what it means.";
    fs::write(PAGE, format!("{title}\n\n{text}"))?;
    ledger::add(&command, PAGE)
}

/// The parts of this list, in our order; all of them if there is none.
fn parts(only: Option<&str>) -> Fallible<Vec<Part>> {
    let Some(only) = only else { return Ok(Part::ALL.to_vec()) };
    let names: Vec<&str> = only.split(',').collect();
    let known = Part::ALL.map(Part::name);
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(
            format!("there is nothing called {unknown} to compare; there are {}", known.join(", ")).into()
        );
    }
    Ok(Part::ALL.into_iter().filter(|part| names.contains(&part.name())).collect())
}

fn measure(parts: &[Part], rounds: u64, size: &Size) -> Fallible<(Side, Side)> {
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    let (once, again): (Vec<Part>, Vec<Part>) = parts.iter().partition(|part| part.once());
    for round in 0..if again.is_empty() { 0 } else { rounds } {
        println!("round {} of {rounds}", round + 1);
        // Who comes first has the disk's cache to himself: so the order turns round.
        let mut sides = [(Kind::Quorate, &mut ours), (Kind::Etcd, &mut theirs)];
        if round % 2 == 1 {
            sides.reverse();
        }
        for (kind, side) in sides {
            on_a_cluster(kind, &again, size, side)?;
        }
    }
    for part in once {
        for (kind, side) in [(Kind::Quorate, &mut ours), (Kind::Etcd, &mut theirs)] {
            on_a_cluster(kind, &[part], size, side)?;
        }
    }
    Ok((ours, theirs))
}

fn on_a_cluster(kind: Kind, parts: &[Part], size: &Size, side: &mut Side) -> Fallible<()> {
    let scratch = Scratch::new("compare-api")?;
    let mut cluster = Cluster::start(kind, &scratch.directories(3)?, &Options::default())?;
    thread::sleep(Duration::from_millis(500));
    for part in parts {
        let figures = part
            .measure(&mut cluster, &scratch, size)
            .map_err(|error| format!("{kind:?}, {}: {error}", part.name()))?;
        for figure in figures {
            println!("  {kind:?} {}: {}", figure.what, figure.show(figure.value));
            side.add(figure);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_our_order_and_unknown_ones_are_refused() {
        assert_eq!(parts(Some("range,watch")).unwrap(), [Part::Watch, Part::Range]);
        assert_eq!(parts(None).unwrap(), Part::ALL);
        assert!(parts(Some("watch,wash")).unwrap_err().to_string().contains("wash"));
    }
}

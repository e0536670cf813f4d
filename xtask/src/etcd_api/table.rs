//! What stands in docs/comparison-api.md.

use std::fmt::Write as _;

use super::{
    figure::{Better, Side},
    size::Size,
};
use crate::{Fallible, compare, ledger, process};

/// The page below its title; `command` is what was run.
pub(super) fn page(ours: &Side, theirs: &Side, command: &str, size: &Size) -> Fallible<String> {
    let mut text = String::new();
    writeln!(
        text,
        "Commit {}, {}, `{command}`. {}\n",
        ledger::commit(),
        compare::etcd_version()?,
        process::machine()
    )?;
    writeln!(
        text,
        "Three members each, on loopback, their data on one disk, every write synced before it counts, both as they come. The load is one thread of this \
         command, on the same cores; what it has only to count it does not decode. It talks to the leader; streams of watches are spread over the members. \
         Each side starts empty in each round and takes one row after the other, each after a warm-up; what is counted by the second is counted for \
         {:?}, a watch is shot at {} times. Medians of rounds; `expiry` and the row of many keys are measured once, on members of their own. \
         Leases that end together are granted with ever shorter lives, so that all end within the same second. The memory is looked at {:?} after the \
         last put. The ratio is ours to etcd's.\n",
        size.counted, size.shots, size.settle
    )?;
    writeln!(text, "| what | ours | etcd | ratio | better is |\n|---|---|---|---|---|")?;
    for figure in ours.figures() {
        let (Some(us), Some(they)) = (ours.middle(&figure.what), theirs.middle(&figure.what)) else {
            continue;
        };
        let (ratio, better) = match figure.better {
            Better::More => (format!("{:.2}", us / they), "more"),
            Better::Less => (format!("{:.2}", us / they), "less"),
            Better::Neither => (String::new(), ""),
        };
        let (us, they) = (figure.show(us), figure.show(they));
        writeln!(text, "| {} | {us} | {they} | {ratio} | {better} |", figure.what)?;
    }
    Ok(text)
}

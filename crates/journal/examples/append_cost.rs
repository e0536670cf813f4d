//! What an entry of 300 bytes costs the core, queued and flushed: `cargo run --release -p quorate-journal --example append_cost`. The disk is in
//! memory and drops what it is given, so this is the price of encoding, checksums and the index alone.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a measurement reads the clock")]

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, DiskCompletion, DiskOutcome, DiskRequest, Entry, Epoch, GroupId, Incarnation, Index, NodeId,
    Payload,
};
use quorate_journal::{Config, GroupWrite, Identity, Journal};

fn serve(journal: &mut Journal) {
    let mut events = Vec::new();
    loop {
        let operations = journal.operations();
        if operations.is_empty() {
            return;
        }
        for operation in operations {
            let outcome = match operation.request {
                DiskRequest::List { .. } => DiskOutcome::Listed(Vec::new()),
                _ => DiskOutcome::Done,
            };
            journal.complete(DiskCompletion { id: operation.id, outcome: Ok(outcome) }, &mut events);
        }
        events.clear();
    }
}

fn main() {
    let identity = Identity { cluster: ClusterId(1), node: NodeId(1), incarnation: Incarnation(1) };
    let command = Bytes::from(vec![7; 300]);
    for per_flush in [1u64, 10, 100, 1000] {
        let mut journal = Journal::open(Config::default(), identity);
        serve(&mut journal);
        let total = 300_000;
        let start = std::time::Instant::now();
        for index in 1..=total {
            let entries = vec![Entry::new(Epoch(1), Index(index), Payload::Command(command.clone()))];
            journal.append(GroupId(1), GroupWrite { entries, ..GroupWrite::default() });
            if index % per_flush == 0 {
                journal.flush();
                serve(&mut journal);
            }
        }
        let nanos = start.elapsed().as_nanos() / u128::from(total);
        println!("{per_flush:>5} entries a flush: {nanos} ns an entry of 300 bytes");
    }
}

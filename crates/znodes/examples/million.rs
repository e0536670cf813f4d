//! What a million znodes cost: `cargo run --release -p quorate-znodes --example million [how many]`.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use quorate_consensus::{Position, StateMachine};
use quorate_znodes::*;

/// Numbers below `below`, scattered.
fn scatter(step: u64, below: u64) -> u64 {
    (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % below
}

fn caller(step: u64) -> Caller {
    Caller { session: SessionId(1), owner: 1, time_ms: 1_790_000_000_000 + step as i64, ..Caller::default() }
}

/// `/services/service-042/instance-00004711`: a thousand directories.
fn path(number: u64) -> String {
    format!("/services/service-{:03}/instance-{number:08}", number % 1000)
}

fn create(step: u64, path: String, mode: CreateMode, data: usize) -> Bytes {
    let acl = vec![Acl::world(Permissions::ALL)];
    let create = Create { path, data: Some(vec![7; data].into()), acl, mode, ttl_ms: -1 };
    Command::Operation(caller(step), Operation::Create(create)).encode()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

fn measure(name: &str, steps: u64, mut body: impl FnMut(u64)) {
    let start = Instant::now();
    (0..steps).for_each(&mut body);
    let each = start.elapsed().as_nanos() as f64 / steps as f64;
    println!("{name:<58} {each:>8.0} ns {:>12.0} /s", 1e9 / each);
}

fn grow(data: usize, count: u64, scattered: bool) -> Znodes {
    let at = Position::new(1, 1);
    let mut tree = Znodes::new();
    let session =
        CreateSession { session: SessionId(1), timeout_ms: 4000, password: Password([1; 16]), owner: 1 };
    tree.apply(at, &Command::CreateSession(session).encode());
    tree.apply(at, &create(0, "/services".into(), CreateMode::Persistent, 0));
    for number in 0..1000 {
        tree.apply(at, &create(0, format!("/services/service-{number:03}"), CreateMode::Persistent, 0));
    }
    let order = if scattered { "scattered" } else { "ascending" };
    let before = resident_bytes();
    measure(&format!("create, {data} bytes of data, names {order}"), count, |step| {
        let number = if scattered { scatter(step, u64::MAX) } else { step };
        black_box(tree.apply(at, &create(step, path(number), CreateMode::Persistent, data)));
    });
    let made = tree.view().znode_count() - 1005;
    println!("{:<58} {:>8}", "    znodes", made);
    println!("{:<58} {:>8} bytes", "    resident memory for each", (resident_bytes() - before) / made);
    println!("{:<58} {:>8} bytes", "    of which its name and data", 17 + data);
    tree
}

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    // One after the other, each kept: memory given back would hide what the next one takes.
    let empty = grow(0, count, false);
    let scattered = grow(0, count, true);
    let mut tree = grow(100, count, false);
    drop((empty, scattered));

    let at = Position::new(1, 1);
    let set = |step: u64| {
        let path = path(scatter(step, count));
        let operation = Operation::SetData { path, data: Some(vec![8; 100].into()), version: -1 };
        Command::Operation(caller(step), operation).encode()
    };
    measure("set data, scattered", count, |step| drop(black_box(tree.apply(at, &set(step)))));
    let mut view = tree.view();
    measure("set data, scattered, a view every 64", count, |step| {
        black_box(tree.apply(at, &set(step + 77)));
        if step % 64 == 0 {
            view = tree.view();
        }
    });
    measure("get data, scattered", count, |step| {
        black_box(view.get_data(&path(scatter(step, count)), &[])).expect("it exists");
    });
    measure("get children of a thousandth", 1000, |step| {
        black_box(view.get_children(&format!("/services/service-{step:03}"), &[])).expect("it exists");
    });
    let multi: Vec<Bytes> = (0..10_000)
        .map(|step| {
            let checks = (0..4)
                .map(|place| Operation::Check { path: path(scatter(step * 4 + place, count)), version: -1 });
            let set = Operation::SetData { path: path(scatter(step, count)), data: None, version: -1 };
            Command::Multi(caller(step), checks.chain([set]).collect()).encode()
        })
        .collect();
    measure("multi of four checks and a set", 10_000, |step| {
        drop(black_box(tree.apply(at, &multi[step as usize])))
    });

    let start = Instant::now();
    let taken = tree.snapshot();
    println!("{:<58} {:>8} ns", "taking a snapshot", start.elapsed().as_nanos());
    let chunks: Vec<Bytes> = taken.collect();
    println!("{:<58} {:>8} ms", "writing it out", start.elapsed().as_millis());
    println!("{:<58} {:>8} MiB", "    its size", chunks.iter().map(Bytes::len).sum::<usize>() >> 20);
    let start = Instant::now();
    let restored = Znodes::restore(&mut chunks.into_iter()).expect("it is whole");
    println!("{:<58} {:>8} ms", "restoring it", start.elapsed().as_millis());
    assert_eq!(restored.digest(), tree.digest());
}

//! What one operation costs on 100 000 keys with values of 256 bytes: `cargo bench -p quorate-keyspace`.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use quorate_consensus::{Position, StateMachine};
use quorate_keyspace::{
    Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, Keyspace, Operation, Put, Range,
    Txn,
};

const KEYS: u64 = 100_000;
const WRITES: u64 = 300_000;

fn key(number: u64) -> Bytes {
    Bytes::from(format!("/registry/pods/namespace-{:03}/pod-{number:08}", number % 200))
}

/// Numbers below `below`, scattered.
fn scatter(step: u64, below: u64) -> u64 {
    (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % below
}

fn put(number: u64) -> Bytes {
    Command::Put(Put { key: key(number), value: vec![number as u8; 256].into(), ..Put::default() }).encode()
}

fn measure<T>(name: &str, inputs: Vec<T>, mut body: impl FnMut(&T)) {
    let start = Instant::now();
    for input in &inputs {
        body(input);
    }
    let each = start.elapsed().as_nanos() / inputs.len() as u128;
    println!("{name:<58} {each:>9} ns");
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // `cargo test --benches` should not take long.
    }
    let at = Position::new(1, 1);
    let mut keyspace = Keyspace::new();

    let fresh: Vec<_> = (0..KEYS).map(|step| put(scatter(step, u64::MAX) % KEYS * 2 + step % 2)).collect();
    measure("put, mostly new keys", fresh, |command| drop(black_box(keyspace.apply(at, command))));
    println!("{:<58} {:>9}", "keys", keyspace.view().key_count());
    println!("{:<58} {:>9} bytes", "resident memory per key", resident_bytes() / keyspace.view().key_count());

    let overwrite = |seed: u64| (0..WRITES).map(|step| put(scatter(step + seed, KEYS))).collect::<Vec<_>>();
    measure("put, scattered keys, nobody reads", overwrite(0), |command| {
        drop(black_box(keyspace.apply(at, command)))
    });
    let mut kept = keyspace.view();
    let mut step = 0;
    measure("put, a view every 64 puts", overwrite(1 << 20), |command| {
        black_box(keyspace.apply(at, command));
        step += 1;
        if step % 64 == 0 {
            kept = keyspace.view();
        }
    });
    measure("put, a view with each", overwrite(1 << 21), |command| {
        black_box(keyspace.apply(at, command));
        kept = keyspace.view();
    });
    drop(kept);
    let hot = (0..WRITES).map(|_| put(7)).collect();
    measure("put, one key over and over", hot, |command| drop(black_box(keyspace.apply(at, command))));

    let create = (0..WRITES / 3).map(|step| {
        let key = key(1 << 40 | step);
        let value = vec![1; 256].into();
        Command::Txn(Txn {
            compare: vec![Compare {
                key: key.clone(),
                range_end: Bytes::new(),
                result: CompareResult::Equal,
                target: CompareTarget::Mod(0),
            }],
            success: vec![Operation::Put(Put { key: key.clone(), value, ..Put::default() })],
            failure: vec![Operation::Range(Range { key, ..Range::default() })],
        })
        .encode()
    });
    measure("txn: create if missing", create.collect(), |command| {
        drop(black_box(keyspace.apply(at, command)))
    });
    let delete = (0..WRITES / 3).map(|step| {
        Command::DeleteRange(DeleteRange { key: key(1 << 40 | step), ..DeleteRange::default() }).encode()
    });
    measure("delete", delete.collect(), |command| drop(black_box(keyspace.apply(at, command))));

    let view = keyspace.view();
    let scattered = || (0..WRITES).map(|step| key(scatter(step, KEYS))).collect::<Vec<_>>();
    measure("get", scattered(), |key| drop(black_box(view.get(key))));
    let range = |limit, revision| {
        move |key: Bytes| Range {
            key,
            range_end: Bytes::from_static(b"\0"),
            limit,
            revision,
            ..Range::default()
        }
    };
    let latest: Vec<_> = scattered().into_iter().map(range(10, 0)).collect();
    measure("range, limit 10, with count", latest, |range| drop(black_box(view.range(range).unwrap())));
    let point = |key| Range { key, revision: 200_000, ..Range::default() };
    let old: Vec<_> = scattered().into_iter().map(point).collect();
    measure("get at an old revision", old, |range| drop(black_box(view.range(range).unwrap())));
    let hot = |step| Range { key: key(7), revision: 1_000_001 + (step % WRITES) as i64, ..Range::default() };
    let hot: Vec<_> = (0..WRITES).map(hot).collect();
    measure("get an old version of the hot key", hot, |range| drop(black_box(view.range(range).unwrap())));
    let all = Range { key: b"\0"[..].into(), range_end: b"\0"[..].into(), ..Range::default() };
    measure("range over everything", vec![all; 5], |range| drop(black_box(view.range(range).unwrap())));
    measure("view", vec![(); 100_000], |()| drop(black_box(keyspace.view())));
    measure("digest", vec![(); 100_000], |()| {
        black_box(keyspace.digest());
    });

    let start = Instant::now();
    let chunks: Vec<_> = keyspace.snapshot().collect();
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    println!("{:<58} {:>9} MB/s", "snapshot", bytes as u128 * 1000 / start.elapsed().as_nanos());
    let start = Instant::now();
    let restored = Keyspace::restore(&mut chunks.into_iter()).unwrap();
    println!("{:<58} {:>9} MB/s", "restore", bytes as u128 * 1000 / start.elapsed().as_nanos());
    assert_eq!(restored.digest(), keyspace.digest());
    drop((restored, view));

    // The allocator tidies up after what was dropped with the next allocation; that is not to be counted below.
    keyspace.apply(at, &put(1));
    let revision = keyspace.number() as i64;
    let start = Instant::now();
    keyspace.apply(at, &Command::Compact(Compact { revision, physical: false }).encode());
    println!("{:<58} {:>9} ns", "compaction, the entry itself", start.elapsed().as_nanos());
    let backlog = keyspace.view().compaction_backlog();
    let sweeping: Vec<_> = (0..WRITES).map(|step| put(scatter(step, KEYS))).collect();
    measure("put, while old versions are swept", sweeping, |command| {
        drop(black_box(keyspace.apply(at, command)))
    });
    let rest = keyspace.view().compaction_backlog();
    println!("{:<58} {backlog:>9} to {rest}", "changes to sweep, before and after that");
    let sweep = Command::Sweep.encode();
    let mut steps = 0;
    let start = Instant::now();
    while keyspace.view().compaction_pending() {
        keyspace.apply(at, &sweep);
        steps += 1;
    }
    println!("{:<58} {:>9} ns", "one sweep of 1024 changes", start.elapsed().as_nanos() / steps.max(1));
}

/// Of this process, as Linux counts it.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

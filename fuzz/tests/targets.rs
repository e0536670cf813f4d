//! Every target, without a fuzzer: its seeds, what a fuzzer found once, and mutations of them.

use std::{fs, path::Path};

use quorate_consensus::Random;
use quorate_fuzz::{TARGETS, Target, mutated};

const MUTATIONS: u64 = 1_500;

fn mutations(target: &Target) {
    let seeds = (target.seeds)();
    for seed in &seeds {
        (target.run)(seed);
    }
    let mut random = Random::new(1);
    for n in 0..MUTATIONS {
        let pick = |random: &mut Random| &seeds[random.below(seeds.len() as u64) as usize];
        let (seed, other) = (pick(&mut random), pick(&mut random));
        let bytes = mutated(seed, other, &mut random);
        let caught = std::panic::catch_unwind(|| (target.run)(&bytes));
        assert!(caught.is_ok(), "target {}, mutation {n}: {bytes:02x?}", target.name);
    }
}

macro_rules! each {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                mutations(quorate_fuzz::target($name).expect("a target"));
            }
        )*

        #[test]
        fn every_target_is_tried() {
            let named = [$($name),*];
            assert!(TARGETS.iter().all(|target| named.contains(&target.name)));
        }
    };
}

each! {
    etcd_requests: "etcd-requests",
    zookeeper_packets: "zookeeper-packets",
    frames: "frames",
    records: "records",
    journal_files: "journal",
    raft_schedules: "raft",
    zab_schedules: "zab",
    keyspace_logs: "keyspace",
    znode_logs: "znodes",
    verdicts: "verdict",
    snapshots: "snapshots",
}

/// `found/TARGET/FILE`: bytes that a fuzzer found a fault with.
#[test]
fn what_was_found_once_is_mended() {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    for target in TARGETS {
        for file in fs::read_dir(found.join(target.name)).into_iter().flatten() {
            let bytes = fs::read(file.expect("an entry").path()).expect("it reads");
            (target.run)(&bytes);
        }
    }
}

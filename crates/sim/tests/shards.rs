//! Divided keys under the storm: runs are clean, are the same each time, and reach what they are there for.

use quorate_sim::{EngineKind, Mark, Marks, run_sharded_seed};

#[test]
fn runs_of_divided_keys_are_clean_and_do_what_they_are_there_for() {
    let mut marks = Marks::default();
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        for seed in 1..=10 {
            let report = run_sharded_seed(engine, seed, false);
            assert_eq!(report.violations, [], "{engine}, seed {seed}");
            marks.join(&report.marks);
        }
    }
    let wanted = [
        Mark::ShardBorn,
        Mark::ShardsChanged,
        Mark::ShardChangeTold,
        Mark::TurnProposed,
        Mark::TurnPlaced,
        Mark::TurnMoved,
        Mark::TxnPlaced,
        Mark::TxnRefused,
        Mark::WatchTold,
        Mark::LeaseEndedWithKeys,
        Mark::DuplicateAnswered,
    ];
    for mark in wanted {
        assert!(marks.get(mark) > 0, "never reached: {}", mark.name());
    }
}

#[test]
fn i23_a_run_of_divided_keys_is_the_same_each_time() {
    for seed in [2, 5] {
        let report = run_sharded_seed(EngineKind::Raft, seed, false);
        let again = run_sharded_seed(EngineKind::Raft, seed, true);
        assert_eq!((again.trace_hash, again.events), (report.trace_hash, report.events));
    }
}

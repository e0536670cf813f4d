//! etcd's watches and leases under the storm: runs that have them are clean, are the same each time, and reach what they are there for.

use quorate_sim::{EngineKind, Mark, Marks, Report, run_seed};

/// The first seeds whose runs have watches and leases.
fn with_keys(engine: EngineKind, count: usize) -> Vec<Report> {
    let reports = (1..).map(|seed| run_seed(engine, seed, false));
    reports.filter(|report| report.shape.keys.is_some()).take(count).collect()
}

#[test]
fn runs_with_watches_and_leases_are_clean_and_do_what_they_are_there_for() {
    let mut marks = Marks::default();
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        for report in with_keys(engine, 6) {
            assert_eq!(report.violations, [], "seed {}", report.seed);
            marks.join(&report.marks);
        }
    }
    let wanted = [
        Mark::WatchMade,
        Mark::WatchResumed,
        Mark::WatchTold,
        Mark::WatchInParts,
        Mark::WatchCaughtUp,
        Mark::WatchProgress,
        Mark::WatchNotified,
        Mark::WatchCanceled,
        Mark::WatchCompacted,
        Mark::WatchedReplaced,
        Mark::KeysCompacted,
        Mark::LeaseGranted,
        Mark::LeaseKept,
        Mark::LeaseOutlivedLeader,
        Mark::LeaseRevoked,
        Mark::LeaseEndedWithKeys,
        Mark::LeaseGone,
        Mark::PutWithoutLease,
    ];
    for mark in wanted {
        assert!(marks.get(mark) > 0, "never reached: {}", mark.name());
    }
}

#[test]
fn i23_a_run_with_watches_and_leases_is_the_same_each_time() {
    for report in with_keys(EngineKind::Raft, 2) {
        let again = run_seed(EngineKind::Raft, report.seed, true);
        assert_eq!((again.trace_hash, again.events), (report.trace_hash, report.events));
    }
}

//! ZooKeeper's tree under the storm: runs that have it are clean, are the same each time, and reach what they are there for.

use quorate_sim::{EngineKind, Mark, Marks, Report, run_seed};

/// The first seeds whose runs have the tree.
fn with_tree(count: usize) -> Vec<Report> {
    let reports = (1..).map(|seed| run_seed(EngineKind::Raft, seed, false));
    reports.filter(|report| report.shape.tree.is_some()).take(count).collect()
}

#[test]
fn runs_with_the_tree_are_clean_and_do_what_they_are_there_for() {
    let mut marks = Marks::default();
    for report in with_tree(8) {
        assert_eq!(report.violations, [], "seed {}", report.seed);
        marks.join(&report.marks);
    }
    let wanted = [
        Mark::TreeWriteAcknowledged,
        Mark::TreeSynced,
        Mark::TreeWatchTold,
        Mark::TreeWatchCaughtUp,
        Mark::TreeSessionMoved,
        Mark::TreeSessionExpired,
        Mark::TreeSessionClosed,
        Mark::TreeMultiFailed,
        Mark::TreeClientAhead,
        Mark::TreeReaped,
    ];
    for mark in wanted {
        assert!(marks.get(mark) > 0, "never reached: {}", mark.name());
    }
}

/// The cluster was founded without the tree. Its hosts are upgraded one by one; then the tree is added, amid crashes, partitions and changes of members, and serves,
/// with every judge of the tree at work.
#[test]
fn a_cluster_that_was_founded_without_the_tree_gets_it_under_the_storm_and_serves_it() {
    let mut marks = Marks::default();
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        let reports = (1..).filter(|seed| quorate_sim::shape_of(*seed).tree.is_some_and(|tree| tree.late));
        for report in reports.map(|seed| run_seed(engine, seed, false)).take(4) {
            assert_eq!(report.violations, [], "seed {}", report.seed);
            marks.join(&report.marks);
        }
    }
    let wanted = [
        Mark::TreeAdded,
        Mark::TreeAddedAndStruck,
        Mark::TreeLearnedAndCrashed,
        Mark::TreeWriteAcknowledged,
        Mark::TreeSynced,
        Mark::TreeWatchTold,
        Mark::MembershipChanged,
    ];
    for mark in wanted {
        assert!(marks.get(mark) > 0, "never reached: {}", mark.name());
    }
}

#[test]
fn i23_a_run_with_the_tree_is_the_same_each_time() {
    for report in with_tree(2) {
        let again = run_seed(EngineKind::Raft, report.seed, true);
        assert_eq!((again.trace_hash, again.events), (report.trace_hash, report.events));
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_the_tree_are_found_by_the_checkers_named_for_them() {
    let ids = ["S01", "S04", "S08", "S10"].map(str::to_owned);
    for hunt in quorate_sim::plants::run_plants(&ids, 60, 2, &Default::default(), &mut |_| {}) {
        assert!(hunt.succeeded(), "{hunt}");
    }
}

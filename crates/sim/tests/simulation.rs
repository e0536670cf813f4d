//! A smoke of the whole: seeds run clean, and the same seed is the same run.

use quorate_sim::{EngineKind, Options, actions_from_text, campaign, run_actions, run_seed};

#[test]
fn twenty_seeds_run_clean() {
    let options = Options { seeds: 20, first_seed: 1, jobs: 2, ..Options::default() };
    let summary = campaign(&options, &mut |_| {});
    assert!(summary.is_clean(), "{summary}");
    assert_eq!(summary.thin, 0, "{summary}");
}

#[test]
fn i23_the_same_seed_is_the_same_run() {
    for seed in [3, 8] {
        let (one, two) = (run_seed(EngineKind::Raft, seed, false), run_seed(EngineKind::Raft, seed, false));
        assert_eq!((one.trace_hash, one.events), (two.trace_hash, two.events));
        assert_eq!(
            one.trace_hash,
            run_seed(EngineKind::Raft, seed, true).trace_hash,
            "telling of it changes nothing"
        );
    }
    assert_ne!(
        run_seed(EngineKind::Raft, 3, false).trace_hash,
        run_seed(EngineKind::Raft, 4, false).trace_hash
    );
}

#[test]
fn i23_the_same_seeds_are_the_same_campaign_with_one_job_or_two_and_in_another_process() {
    let run = |jobs| {
        let options = Options { seeds: 4, first_seed: 30, jobs, ..Options::default() };
        campaign(&options, &mut |_| {}).hash
    };
    let hash = run(1);
    assert_eq!(hash, run(2));
    // The child runs this very test and prints its hash instead of starting a grandchild.
    if std::env::args().any(|arg| arg == "--nocapture") {
        println!("campaign hash {hash:016x}");
        return;
    }
    let this = std::env::current_exe().expect("a test has a path");
    let name = "i23_the_same_seeds_are_the_same_campaign_with_one_job_or_two_and_in_another_process";
    let output =
        std::process::Command::new(this).args([name, "--exact", "--nocapture"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("campaign hash {hash:016x}")), "{text}");
}

#[test]
fn a_run_is_its_recorded_actions() {
    let report = run_seed(EngineKind::Raft, 5, false);
    let actions = actions_from_text(&report.actions_text()).expect("what was written reads back");
    let again = run_actions(5, report.shape.clone(), actions, false);
    assert_eq!(again.trace_hash, report.trace_hash);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_are_found_by_the_checkers_named_for_them() {
    let ids = ["A02", "A21", "B01", "B21"].map(str::to_owned);
    for hunt in quorate_sim::plants::run_plants(&ids, 60, 2, &Default::default(), &mut |_| {}) {
        assert!(hunt.succeeded(), "{hunt}");
    }
}

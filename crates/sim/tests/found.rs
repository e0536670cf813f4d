//! What a campaign found once, with as few actions as it took: `quorate sim --shrink FILE` writes such a file, and each must run clean from then on.

use std::{fs, path::Path};

use quorate_sim::{EngineKind, Found, run_seed};

#[test]
fn what_was_found_once_is_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/found");
    for file in fs::read_dir(folder).into_iter().flatten() {
        let path = file.expect("an entry").path();
        let found =
            Found::from_text(&fs::read_to_string(&path).expect("it reads")).expect("it was written by us");
        let report = found.run(false);
        assert!(report.violations.is_empty(), "{}: {:?}", path.display(), report.violations);
    }
}

#[test]
fn a_file_reads_back_and_a_clean_run_has_nothing_to_shrink() {
    let report = run_seed(EngineKind::Zab, 5, false);
    assert_eq!(Found::of(&report), None);
    let found = Found {
        engine: EngineKind::Zab,
        shards: false,
        seed: 5,
        invariant: "I7".into(),
        actions: report.actions,
    };
    assert_eq!(Found::from_text(&found.to_text()).as_ref(), Ok(&found));
    let sharded = Found { shards: true, ..found };
    assert_eq!(Found::from_text(&sharded.to_text()), Ok(sharded));
    for wrong in
        ["", "engine raft seed 5 broke I7", "engine paxos seed 5 broke I7\n", "engine raft seed x broke I7\n"]
    {
        assert!(Found::from_text(wrong).is_err(), "{wrong:?}");
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_planted_bug_is_found_with_far_fewer_actions() {
    quorate_consensus::activate_plant("A02");
    let mut found =
        (1..60).find_map(|seed| Found::of(&run_seed(EngineKind::Raft, seed, false))).expect("it is found");
    let (before, invariant) = (found.actions.len(), found.invariant.clone());
    found.shrink(&mut |_| {});
    let report = found.run(false);
    assert_eq!(report.violations.first().map(|first| first.id.to_owned()), Some(invariant));
    assert!(found.actions.len() * 4 < before, "{} of {before} are left", found.actions.len());
    // Not one of them can be left out.
    for at in 0..found.actions.len() {
        let mut less = found.clone();
        less.actions.remove(at);
        let broke = less.run(false).violations.first().map(|first| first.id.to_owned());
        assert_ne!(broke.as_deref(), Some(found.invariant.as_str()), "{at}");
    }
    quorate_consensus::activate_plant("");
}

//! Every scenario, a little of it; the command goes further.

use quorate_explore::{Explored, Limits, RAFT, Scenario, ZAB, explore};
use quorate_raft::Raft;
use quorate_zab::Zab;

fn first_worlds<E: Explored>(scenarios: &[Scenario]) {
    for scenario in scenarios {
        let report = explore::<E>(scenario, Limits { worlds: 30_000, threads: 2, plant: None });
        if let Some((violation, way)) = report.violation {
            panic!("{}: {}: {}\n{}", scenario.name, violation.invariant, violation.text, way.join("\n"));
        }
        assert!(report.worlds >= 30_000 || report.is_exhausted, "{}: {report:?}", scenario.name);
        assert!(report.steps > report.worlds, "{}: different ways lead to the same world", scenario.name);
    }
}

#[test]
fn raft_keeps_its_promises_in_the_first_worlds_of_every_scenario() {
    first_worlds::<Raft>(RAFT);
}

#[test]
fn zab_keeps_its_promises_in_the_first_worlds_of_every_scenario() {
    first_worlds::<Zab>(ZAB);
}

/// Fewer things may happen, and a world of two members ends: every last order was tried.
#[test]
fn a_world_that_is_small_enough_ends() {
    let small = Scenario {
        voters: 2,
        members: 2,
        budget: quorate_explore::Budget { wakes: 2, proposals: 0, crashes: 0, ..RAFT[1].budget },
        ..RAFT[1].clone()
    };
    let limits = Limits { worlds: 1_000_000, threads: 2, plant: None };
    let (one, two) =
        (explore::<Raft>(&small, limits), explore::<Raft>(&small, Limits { threads: 1, ..limits }));
    assert!(one.is_exhausted && one.violation.is_none(), "{one:?}");
    // However the work was shared, the worlds are the same.
    assert_eq!((one.worlds, one.steps), (two.worlds, two.steps));
}

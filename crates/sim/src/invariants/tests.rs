//! I1, I2, I5 to I12, I16 and T1 to T4 are broken once each: a checker that cannot fail says nothing. What is durable is nothing at all, on every host.

use quorate_consensus::{Epoch, Index, Membership, NodeId, Position, Random, Role, Status};
use quorate_service::KEYS;

use super::{Oracle, Scene, refines::Change};
use crate::{
    half::After,
    plan::{KEYS_PLACE, Shape},
    run::shape_of,
    world::World,
};

/// The hosts of a run of three voters that has not begun, and the oracle of its keys.
struct Stage(World);

impl Stage {
    fn new(engine: quorate_consensus::EngineKind) -> Stage {
        let shape = Shape { engine, voters: 3, spares: 2, tree: None, keys: None, ..shape_of(1) };
        Stage(World::new(shape, Vec::new(), &Random::new(1), false))
    }

    fn raft() -> Stage {
        Stage::new(quorate_consensus::EngineKind::Raft)
    }

    /// Lets `look` look at a host, and says what it found.
    fn finds(&mut self, host: usize, look: impl FnOnce(&mut Oracle, &mut Scene<'_>)) -> Vec<&'static str> {
        let World { hosts, origins, checker, marks, .. } = &mut self.0;
        let super::Checker { findings, disks, oracles } = checker;
        let oracle = &mut oracles[KEYS_PLACE];
        look(oracle, &mut Scene { group: KEYS, host, hosts, origins, disks, findings, marks });
        std::mem::take(&mut findings.violations).into_iter().map(|violation| violation.id).collect()
    }

    fn oracle(&mut self) -> &mut Oracle {
        &mut self.0.checker.oracles[KEYS_PLACE]
    }

    /// Gives a host a log, without a look.
    fn log(&mut self, host: usize, epochs: &[u64]) {
        self.oracle().watches[host].mirror.epochs = epochs.iter().map(|epoch| Epoch(*epoch)).collect();
    }
}

fn three() -> Membership {
    Membership::new([NodeId(1), NodeId(2), NodeId(3)], [])
}

fn status(role: Role, epoch: u64, last: (u64, u64), commit: u64) -> Status {
    let last = Position { epoch: Epoch(last.0), index: Index(last.1) };
    Status {
        role,
        epoch: Epoch(epoch),
        last,
        commit: Index(commit),
        membership: three(),
        ..Status::default()
    }
}

fn follower(epoch: u64, last: (u64, u64), commit: u64) -> Status {
    status(Role::Follower, epoch, last, commit)
}

fn leader(epoch: u64, last: (u64, u64), commit: u64) -> Status {
    status(Role::Leader, epoch, last, commit)
}

/// Nothing changed in a log that ends at `last`.
fn still(last: u64) -> Change {
    Change { old_last: last, same: last, dropped: None, compacted: false }
}

#[test]
fn i1_two_lead_one_term() {
    let mut stage = Stage::raft();
    let lead = |oracle: &mut Oracle, scene: &mut Scene<'_>| {
        oracle.roles(&follower(1, (0, 0), 0), &leader(2, (0, 0), 0), scene);
    };
    assert_eq!(stage.finds(0, lead), [""; 0]);
    assert_eq!(stage.finds(1, lead), ["I1"]);
}

#[test]
fn i2_i9_what_only_grows_falls() {
    let none = (Position::default(), Position::default());
    let mut stage = Stage::raft();
    let mut ordering = |before: Status, after: Status| {
        stage.finds(0, |oracle, scene| oracle.ordering(&before, &after, none, scene))
    };
    assert_eq!(ordering(follower(2, (1, 3), 2), follower(3, (1, 3), 3)), [""; 0]);
    assert_eq!(ordering(follower(3, (1, 3), 2), follower(2, (1, 3), 2)), ["I2"]);
    assert_eq!(ordering(follower(2, (1, 3), 2), follower(2, (1, 3), 1)), ["I9"]);
    assert_eq!(ordering(follower(2, (1, 3), 2), follower(2, (1, 3), 4)), ["I9"], "commit ≤ last");
    let ahead = (Position { epoch: Epoch(1), index: Index(3) }, Position::default());
    let (before, after) = (follower(2, (1, 3), 2), follower(2, (1, 3), 2));
    let found = stage.finds(0, |oracle, scene| oracle.ordering(&before, &after, ahead, scene));
    assert_eq!(found, ["I9"], "applied ≤ commit");
}

#[test]
fn i5_a_leader_lacks_what_was_committed_in_an_earlier_term() {
    let mut stage = Stage::raft();
    stage.log(0, &[1, 1]);
    stage.log(1, &[1]);
    stage.finds(0, |oracle, scene| oracle.commit_one(1, Epoch(1), Epoch(1), scene));
    stage.finds(0, |oracle, scene| oracle.commit_one(2, Epoch(1), Epoch(1), scene));
    let lead = |epoch| {
        move |oracle: &mut Oracle, scene: &mut Scene<'_>| {
            oracle.roles(&follower(1, (1, 1), 0), &leader(epoch, (1, 1), 0), scene);
        }
    };
    assert_eq!(stage.finds(0, lead(2)), [""; 0]);
    assert_eq!(stage.finds(1, lead(3)), ["I5"]);
}

#[test]
fn i6_another_entry_is_committed_at_an_index() {
    let mut stage = Stage::raft();
    let commit = |epoch| {
        move |oracle: &mut Oracle, scene: &mut Scene<'_>| oracle.commit_one(1, Epoch(epoch), Epoch(2), scene)
    };
    assert_eq!(stage.finds(0, commit(1)), [""; 0]);
    assert_eq!(stage.finds(1, commit(1)), [""; 0]);
    assert_eq!(stage.finds(2, commit(2)), ["I6"]);
}

#[test]
fn i7_i8_commits_without_a_durable_quorum_and_of_an_earlier_term_by_counting() {
    let mut stage = Stage::raft();
    stage.log(0, &[1, 2]);
    let commits = |commit| {
        move |oracle: &mut Oracle, scene: &mut Scene<'_>| {
            oracle.commits(&leader(2, (2, 2), 0), &leader(2, (2, 2), commit), scene);
        }
    };
    assert_eq!(stage.finds(0, commits(2)), ["I7"]);
    let mut stage = Stage::raft();
    stage.log(0, &[1, 2]);
    assert_eq!(stage.finds(0, commits(1)), ["I8", "I7"]);
}

/// {2 and 3 say that they have 2, and are replaced before the leader counts}: what they said in this term counts; what they said in an earlier one may be gone.
#[test]
fn i7_what_a_replaced_member_had_said_counts_in_the_term_in_which_it_said_it() {
    for (said_in, finds) in [(2, vec![]), (1, vec!["I7"])] {
        let mut stage = Stage::raft();
        stage.log(0, &[1, 2]);
        stage.0.hosts[1].id = NodeId(7);
        stage.0.hosts[2].id = NodeId(8);
        let commits = |oracle: &mut Oracle, scene: &mut Scene<'_>| {
            for node in [2, 3] {
                oracle.acknowledged(NodeId(node), Epoch(said_in), Index(2));
            }
            oracle.commits(&leader(2, (2, 2), 0), &leader(2, (2, 2), 2), scene);
        };
        assert_eq!(stage.finds(0, commits), finds);
    }
}

#[test]
fn i10_i16_the_same_entry_two_states() {
    let mut stage = Stage::raft();
    let mut after = |host, digest, restored| {
        let position = Position { epoch: Epoch(1), index: Index(1) };
        let state = After { group: KEYS, position, digest, number: 0, restored, view: None, keys: None };
        stage.finds(host, |oracle, scene| {
            oracle.after_apply(host, &state, scene.findings, scene.marks);
        })
    };
    assert!(!after(0, 7, false).contains(&"I10"));
    assert!(after(1, 8, false).contains(&"I10"));
    assert!(after(2, 8, true).contains(&"I16"));
}

#[test]
fn i11_a_leader_believes_what_is_not_so() {
    let mut stage = Stage::raft();
    stage.log(0, &[2, 2]);
    let matched = |index| Status { matched: [(NodeId(2), Index(index))].into(), ..leader(2, (2, 2), 0) };
    let found = stage.finds(0, |oracle, scene| oracle.progress(&leader(2, (2, 2), 0), &matched(2), scene));
    assert_eq!(found, ["I11"], "nothing is durable there");
    let found = stage.finds(0, |oracle, scene| oracle.progress(&matched(1), &matched(0), scene));
    assert_eq!(found, ["I11"], "it fell");
}

#[test]
fn i12_memberships_whose_quorums_are_apart_or_that_are_not_in_the_log() {
    let mut stage = Stage::raft();
    let next = |members: &[u64]| Membership::new(members.iter().copied().map(NodeId), []);
    let mut committed =
        |index, membership| stage.finds(0, |oracle, scene| oracle.config_committed(index, membership, scene));
    assert_eq!(committed(1, next(&[1, 2, 3, 4])), [""; 0]);
    assert_eq!(committed(2, next(&[3, 4, 5])), ["I12"]);
    let mut stage = Stage::raft();
    let acts = Status { membership: next(&[1, 2]), membership_at: Index(5), ..follower(1, (1, 1), 0) };
    stage.log(0, &[1]);
    assert_eq!(stage.finds(0, |oracle, scene| oracle.memberships(&acts, scene)), ["I12"]);
}

#[test]
fn t1_an_epoch_that_nobody_has_asked_for() {
    let mut stage = Stage::raft();
    let mut learn = |before, after| {
        stage.finds(0, |oracle, scene| {
            oracle.refines(&follower(before, (0, 0), 0), &follower(after, (0, 0), 0), still(0), scene)
        })
    };
    assert_eq!(learn(1, 2), ["T1"]);
    stage.oracle().asks(1, NodeId(2), Epoch(3));
    let (before, after) = (follower(2, (0, 0), 0), follower(3, (0, 0), 0));
    assert_eq!(stage.finds(0, |oracle, scene| oracle.refines(&before, &after, still(0), scene)), [""; 0]);
}

#[test]
fn t2_a_leader_whom_no_quorum_has_promised() {
    let mut stage = Stage::raft();
    let (before, after) = (status(Role::Candidate, 2, (0, 0), 0), leader(2, (0, 0), 0));
    assert_eq!(stage.finds(0, |oracle, scene| oracle.refines(&before, &after, still(0), scene)), ["T2"]);
}

#[test]
fn t3_a_log_changes_as_no_leader_has_it() {
    let mut stage = Stage::raft();
    stage.log(1, &[1, 2]);
    stage.oracle().asks(1, NodeId(2), Epoch(3));
    let mut step = |log: &[u64], change| {
        stage.log(0, log);
        let (before, after) = (follower(3, (1, 1), 0), follower(3, (1, 1), 0));
        stage.finds(0, |oracle, scene| oracle.refines(&before, &after, change, scene))
    };
    let takes = Change { old_last: 1, same: 1, dropped: None, compacted: false };
    assert_eq!(step(&[1, 2], takes), [""; 0]);
    assert_eq!(step(&[1, 3], takes), ["T3"], "it stands otherwise there");
    assert_eq!(step(&[1, 2, 3], takes), ["T3"], "nobody has proposed that");
    let drops = |epoch| Change { old_last: 2, same: 1, dropped: Some(Epoch(epoch)), compacted: false };
    assert_eq!(step(&[1], drops(1)), [""; 0]);
    assert_eq!(step(&[1], drops(2)), ["T3"], "the leader has it as well");
    let (on, change) = (leader(3, (1, 1), 0), drops(1));
    let found = stage.finds(1, |oracle, scene| oracle.refines(&on, &on, change, scene));
    assert!(found.contains(&"T3"), "a leader cuts its own log");
}

#[test]
fn t4_a_vote_for_a_log_that_lacks_something() {
    let mut stage = Stage::raft();
    stage.log(0, &[1, 2]);
    stage.log(1, &[1, 1, 1]);
    stage.oracle().asks(1, NodeId(2), Epoch(3));
    assert!(stage.oracle().may_promise(0, NodeId(2), Epoch(3)).is_err(), "longer, and of an earlier term");
    assert!(stage.oracle().may_promise(0, NodeId(3), Epoch(3)).is_err(), "it never asked");
    stage.log(0, &[1, 1]);
    assert!(stage.oracle().may_promise(0, NodeId(2), Epoch(3)).is_ok());
    stage.log(0, &[1, 1, 1, 1]);
    assert!(stage.oracle().may_promise(0, NodeId(2), Epoch(3)).is_err(), "longer");
}

//! Known bugs of ZooKeeper's, planted: `cargo test -p quorate-znodes --features planted-bugs`. Each must be reached, and must make the
//! tree differ from the oracle; without the plant the same log must not.
#![cfg(feature = "planted-bugs")]

mod common;

use common::shell::{checking, create, making, setting};
use common::{generate, model::Model};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use quorate_consensus::{Position, StateMachine, activate_plant, hunt_plant};
use quorate_znodes::*;

/// The counters that only 2³¹ writes would bring about: of which path, to what.
type Counters = Option<(&'static str, i32, i32)>;

/// Does the tree answer as the oracle does, and end up with what the oracle has?
fn agrees(log: &[Command], counters: Counters) -> bool {
    let (mut tree, mut model) = (Znodes::new(), Model::new());
    for (index, command) in log.iter().enumerate() {
        if index == 2
            && let Some((path, version, created)) = counters
        {
            tree.set_counters(path, version, created);
            let node = model.nodes.get_mut(path).unwrap();
            (node.stat.version, node.stat.aversion, node.creations) = (version, version, created);
            node.stat.cversion = created.wrapping_mul(2);
        }
        let placed = tree.apply(Position::new(1, index as u64 + 1), &command.encode());
        if (placed.response, placed.events) != model.apply(command) {
            return false;
        }
    }
    let view = tree.view();
    // K3: a client is admitted by a tree that has all that it has seen, and by no other.
    let admits = view.admits(model.zxid as i64) && !view.admits(model.zxid as i64 + 1);
    // K6: an ephemeral is there if and only if its session is.
    let owned = view.ephemerals().all(|(session, _)| view.session(session).is_some());
    let same = model.nodes.keys().all(|path| view.look(path).map(|(stat, _)| stat) == model.stat(path));
    admits && owned && same && view.znode_count() == model.nodes.len() as u64
}

fn is_found(plant: &str, checker: &str, log: &[Command], counters: Counters) {
    hunt_plant(plant, checker, [log], |log| assert!(agrees(log, counters)));
}

/// Random logs, as the model test has them, find it too: so many of a hundred.
fn finders(plant: &str) -> usize {
    let mut runner = TestRunner::deterministic();
    let mut found = 0;
    for _ in 0..100 {
        let log = generate::log(60).new_tree(&mut runner).unwrap().current();
        activate_plant("");
        assert!(agrees(&log, None), "without the plant all is well");
        activate_plant(plant);
        found += usize::from(!agrees(&log, None));
    }
    activate_plant("");
    found
}

fn begin() -> Command {
    let (session, password) = (SessionId(1), Password([1; 16]));
    Command::CreateSession(CreateSession { session, timeout_ms: 4000, password, owner: 1 })
}

fn ask(operation: Operation) -> Command {
    Command::Operation(caller(), operation)
}

fn caller() -> Caller {
    Caller { session: SessionId(1), owner: 1, time_ms: 5, ..Caller::default() }
}

fn close() -> Command {
    Command::CloseSession(CloseSession { session: SessionId(1), ..CloseSession::default() })
}

#[test]
fn s01_an_ephemeral_that_outlives_its_session_is_found() {
    let ephemeral = Operation::Create(create("/e", CreateMode::Ephemeral));
    is_found("S01", "K6", &[begin(), ask(ephemeral), close()], None);
    assert!(finders("S01") > 0);
}

#[test]
fn s04_an_event_that_comes_after_its_answer_is_found() {
    is_found("S04", "K5", &[begin(), ask(making("/a")), ask(setting("/a", "x", -1))], None);
    assert!(finders("S04") > 0);
}

#[test]
fn s05_a_client_that_is_ahead_of_its_server_and_admitted_is_found() {
    is_found("S05", "K3", &[begin(), ask(making("/a"))], None);
}

#[test]
fn s08_a_version_that_wraps_to_minus_one_is_found() {
    let log = [begin(), ask(making("/a")), ask(setting("/a", "x", -1)), ask(setting("/a", "y", 0))];
    is_found("S08", "K10", &log, Some(("/a", -2, 0)));
    let acl = |version| {
        ask(Operation::SetAcl { path: "/a".into(), acl: vec![Acl::world(Permissions::ALL)], version })
    };
    is_found("S08", "K10", &[begin(), ask(making("/a")), acl(-1), acl(0)], Some(("/a", -2, 0)));
}

#[test]
fn s08b_names_that_come_again_past_the_largest_number_are_found() {
    hunt_plant("S08b", "K7", [()], |()| counters_go_on_past_the_largest_number());
}

/// {Two znodes with one list, restored from a snapshot, and one of them goes}: the other keeps its list.
#[test]
fn s11_a_table_of_acls_that_is_not_counted_anew_is_found() {
    hunt_plant("S11", "K11", [()], |()| {
        let acl = vec![Acl::world(Permissions::READ)];
        let made = |path: &str| {
            ask(Operation::Create(Create { acl: acl.clone(), ..create(path, CreateMode::Persistent) }))
        };
        let mut tree = Znodes::new();
        let mut log = [begin(), made("/a"), made("/b")].into_iter().zip(1..);
        log.by_ref()
            .for_each(|(command, index)| drop(tree.apply(Position::new(1, index), &command.encode())));
        let mut tree = Znodes::restore(&mut tree.snapshot()).unwrap();
        let delete = ask(Operation::Delete { path: "/a".into(), version: -1 });
        tree.apply(Position::new(1, 4), &delete.encode());
        assert_eq!(tree.view().get_acl("/b", &[]).unwrap().0, acl);
    });
}

#[test]
fn s08_counters_go_on_past_the_largest_number() {
    counters_go_on_past_the_largest_number();
}

fn counters_go_on_past_the_largest_number() {
    let number = || ask(Operation::Create(create("/a/n-", CreateMode::PersistentSequential)));
    let log = [
        begin(),
        ask(making("/a")),
        number(),
        number(),
        number(),
        ask(setting("/a", "x", i32::MAX)),
        ask(setting("/a", "y", i32::MIN)),
    ];
    assert!(agrees(&log, Some(("/a", i32::MAX, i32::MAX - 1))));
    let mut tree = Znodes::new();
    for (index, command) in log.iter().enumerate() {
        if index == 2 {
            tree.set_counters("/a", i32::MAX, i32::MAX - 1);
        }
        tree.apply(Position::new(1, index as u64 + 1), &command.encode());
    }
    let names = ["n--2147483648", "n-2147483646", "n-2147483647"];
    assert_eq!(tree.view().get_children("/a", &[]).unwrap().0, names);
    assert_eq!(tree.view().look("/a").unwrap().0.version, i32::MIN + 1);
    assert_eq!(Znodes::restore(&mut tree.snapshot()).unwrap().digest(), tree.digest());
}

#[test]
fn s10_a_multi_of_which_a_part_is_left_is_found() {
    let multi = Command::Multi(caller(), vec![making("/a"), making("/a/b"), checking("/none", -1)]);
    is_found("S10", "K9", &[begin(), multi, ask(making("/a"))], None);
    assert!(finders("S10") > 0);
}

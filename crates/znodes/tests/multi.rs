//! A multi is all or nothing, under one zxid (rule K9).

mod common;

use common::shell::{Shell, checking, create, deleting, making, setting};
use quorate_consensus::StateMachine;
use quorate_znodes::*;

#[test]
fn k9_operations_see_what_those_before_them_did() {
    let mut shell = Shell::new();
    let sequential = || Operation::Create(create("/a/n-", CreateMode::PersistentSequential));
    let zxid = shell.tree.number() + 1;
    let reply = shell.multi(vec![
        making("/a"),
        sequential(),
        sequential(),
        setting("/a", "x", 0),
        checking("/a", 1),
        deleting("/a/n-0000000000", 0),
    ]);
    let Ok(Reply::Multi(replies)) = reply else { panic!("{reply:?}") };
    let paths: Vec<_> = replies
        .iter()
        .filter_map(|reply| match reply {
            OperationReply::Created { path, stat } => Some((path.as_str(), stat.czxid, stat.num_children)),
            _ => None,
        })
        .collect();
    assert_eq!(paths, [("/a", zxid, 0), ("/a/n-0000000000", zxid, 0), ("/a/n-0000000001", zxid, 0)]);
    assert_eq!(replies[4..], [OperationReply::Checked, OperationReply::Deleted]);
    let stat = shell.stat("/a");
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid, stat.version, stat.cversion), (zxid, zxid, zxid, 1, 3));
    assert_eq!(shell.tree.number(), zxid);
    assert_eq!(
        shell.told(),
        [
            "Created /a",
            "ChildrenChanged /",
            "Created /a/n-0000000000",
            "ChildrenChanged /a",
            "Created /a/n-0000000001",
            "ChildrenChanged /a",
            "DataChanged /a",
            "Deleted /a/n-0000000000",
            "ChildrenChanged /a"
        ]
    );
    assert!(shell.events.iter().all(|event| event.zxid == zxid));
}

#[test]
fn k9_after_a_failure_nothing_is_left_and_every_operation_has_its_code() {
    let mut shell = Shell::new();
    shell.ask(making("/a")).unwrap();
    let (digest, zxid) = (shell.tree.digest(), shell.tree.number());
    let failing =
        vec![making("/b"), setting("/a", "x", -1), checking("/a", 0), deleting("/b", -1), making("/c")];
    let reply = shell.multi(failing);
    let Ok(Reply::MultiFailed(failure)) = reply else { panic!("{reply:?}") };
    assert_eq!(failure, MultiFailure { at: 2, operations: 5, error: ZnodeError::BadVersion });
    assert_eq!(failure.codes().collect::<Vec<_>>(), [0, 0, -103, -2, -2]);
    assert_eq!((shell.tree.digest(), shell.tree.number()), (digest, zxid));
    assert!(shell.events.is_empty() && !shell.has("/b"));
    // The number of a sequential name that was rolled back is given again (ZOOKEEPER-1624).
    let sequential = Operation::Create(create("/a/n-", CreateMode::PersistentSequential));
    shell.multi(vec![sequential, checking("/none", -1)]).unwrap();
    assert_eq!(shell.make("/a/n-", CreateMode::PersistentSequential), Ok("/a/n-0000000000".into()));
}

#[test]
fn k9_what_the_front_end_refused_fails_in_its_turn_and_what_cannot_be_read_fails_the_whole() {
    let mut shell = Shell::new();
    let refused = Operation::Refused;
    let fails = |at, error| Ok(Reply::MultiFailed(MultiFailure { at, operations: 2, error }));
    let reply = shell.multi(vec![making("/a"), refused(ZnodeError::Unimplemented)]);
    assert_eq!(reply, fails(1, ZnodeError::Unimplemented));
    let reply = shell.multi(vec![checking("/none", -1), refused(ZnodeError::Malformed)]);
    assert_eq!(reply, fails(0, ZnodeError::NoNode));
    let reply = shell.multi(vec![making("/a"), refused(ZnodeError::Malformed)]);
    assert_eq!(reply, Err(ZnodeError::Malformed));
    assert!(!shell.has("/a"));
}

#[test]
fn k9_a_multi_that_only_checks_changes_nothing() {
    let mut shell = Shell::new();
    let zxid = shell.tree.number();
    assert_eq!(shell.multi(vec![]), Ok(Reply::Multi(vec![])));
    assert_eq!(shell.multi(vec![checking("/", -1)]), Ok(Reply::Multi(vec![OperationReply::Checked])));
    assert_eq!(shell.tree.number(), zxid);
}

#[test]
fn k9_ephemerals_of_a_multi_belong_to_its_session() {
    let mut shell = Shell::new();
    let ephemeral = |path| Operation::Create(create(path, CreateMode::Ephemeral));
    shell.multi(vec![making("/d"), ephemeral("/d/a"), ephemeral("/d/b"), deleting("/d/a", -1)]).unwrap();
    assert_eq!(shell.tree.view().get_ephemerals(SessionId(1), ""), ["/d/b"]);
    shell.close(1).unwrap();
    assert!(shell.has("/d") && !shell.has("/d/b"));
}

#[test]
fn k9_a_session_that_is_gone_fails_the_first_operation() {
    let mut shell = Shell::new();
    shell.caller.session = SessionId(9);
    let reply = shell.multi(vec![making("/a"), making("/b")]);
    let failure = MultiFailure { at: 0, operations: 2, error: ZnodeError::SessionExpired };
    assert_eq!(reply, Ok(Reply::MultiFailed(failure)));
}

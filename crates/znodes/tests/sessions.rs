//! Sessions and what goes with them: ephemerals (rule K6), whose end is near (K8), containers and times to live.

mod common;

use common::shell::{Shell, create, deleting, making, setting};
use quorate_consensus::{Epoch, StateMachine};
use quorate_znodes::*;

fn reattach(session: i64, password: u8, owner: u64) -> Command {
    let (session, password) = (SessionId(session), Password([password; 16]));
    Command::Reattach(Reattach { session, password, owner, timeout_ms: 9000 })
}

fn expire_in(epoch: u64, session: i64, owner: u64) -> Command {
    let expiry = Some(Expiry { owner, epoch: Epoch(epoch) });
    Command::CloseSession(CloseSession { session: SessionId(session), expiry, goodbye: None })
}

fn expire(session: i64, owner: u64) -> Command {
    expire_in(1, session, owner)
}

#[test]
fn k6_ephemerals_go_with_their_session_in_one_entry() {
    let mut shell = Shell::new();
    shell.session(2).unwrap();
    shell.ask(making("/d")).unwrap();
    for path in ["/d/b", "/d/a", "/c"] {
        shell.make(path, CreateMode::Ephemeral).unwrap();
    }
    shell.caller.session = SessionId(2);
    shell.make("/d/other", CreateMode::Ephemeral).unwrap();
    assert_eq!(shell.tree.view().get_ephemerals(SessionId(1), "/d"), ["/d/a", "/d/b"]);
    assert_eq!(shell.tree.view().get_ephemerals(SessionId(1), " / "), ["/c", "/d/a", "/d/b"]);
    // Control characters are blank to Java's `trim`.
    assert_eq!(shell.tree.view().get_ephemerals(SessionId(1), "/\u{1f}"), ["/c", "/d/a", "/d/b"]);

    let before = shell.tree.number();
    assert_eq!(shell.close(1), Ok(Reply::SessionClosed));
    assert_eq!(shell.tree.number(), before + 1);
    assert_eq!(
        shell.told(),
        [
            "Deleted /c",
            "ChildrenChanged /",
            "Deleted /d/a",
            "ChildrenChanged /d",
            "Deleted /d/b",
            "ChildrenChanged /d"
        ]
    );
    assert!(!shell.has("/c") && !shell.has("/d/a") && shell.has("/d/other"));
    let stat = shell.stat("/d");
    assert_eq!((stat.pzxid, stat.cversion, stat.num_children), (before + 1, 5, 1));
    assert!(shell.tree.view().session(SessionId(1)).is_none());
    // Once more: nothing to do, nobody to blame.
    assert_eq!(shell.close(1), Ok(Reply::SessionClosed));
    assert_eq!(shell.tree.number(), before + 1);
    shell.caller.session = SessionId(1);
    assert_eq!(shell.make("/late", CreateMode::Ephemeral), Err(ZnodeError::SessionExpired));
}

#[test]
fn k6_an_ephemeral_that_was_deleted_or_made_anew_goes_with_its_last_owner() {
    let mut shell = Shell::new();
    shell.session(2).unwrap();
    shell.make("/e", CreateMode::Ephemeral).unwrap();
    shell.ask(deleting("/e", -1)).unwrap();
    shell.caller.session = SessionId(2);
    shell.make("/e", CreateMode::Ephemeral).unwrap();
    shell.close(1).unwrap();
    assert!(shell.has("/e"));
    let mut restored = Shell { tree: shell.restored(), ..shell };
    restored.close(2).unwrap();
    assert!(!restored.has("/e"));
}

#[test]
fn k8_a_client_that_came_back_is_not_expired_by_an_older_decision() {
    let mut shell = Shell::new();
    shell.make("/e", CreateMode::Ephemeral).unwrap();
    let zxid = shell.tree.number();
    assert_eq!(shell.apply(&reattach(1, 1, 2)).result, Ok(Reply::Reattached { timeout_ms: 9000 }));
    assert_eq!(shell.tree.number(), zxid, "taking a session up again takes no zxid");
    assert_eq!(shell.apply(&expire(1, 1)).result, Err(ZnodeError::NotDue));
    assert!(shell.has("/e"));
    assert_eq!(shell.apply(&expire(1, 2)).result, Ok(Reply::SessionClosed));
    assert!(!shell.has("/e"));
}

/// Found by the simulator: a leader sleeps, another is elected and hears of all clients, the first one wakes, takes all its sessions for silent, and what it
/// decides is sent on to its successor.
#[test]
fn k8_a_client_is_not_expired_by_a_decision_of_another_epoch() {
    let mut shell = Shell::new();
    shell.make("/e", CreateMode::Ephemeral).unwrap();
    for epoch in [0, 2] {
        assert_eq!(shell.apply(&expire_in(epoch, 1, 1)).result, Err(ZnodeError::NotDue));
    }
    assert!(shell.has("/e"));
}

#[test]
fn k8_who_speaks_for_a_session_is_the_last_who_showed_its_password() {
    let mut shell = Shell::new();
    let digest = shell.tree.digest();
    assert_eq!(shell.apply(&reattach(1, 2, 2)).result, Err(ZnodeError::SessionExpired), "wrong password");
    assert_eq!(shell.apply(&reattach(5, 5, 2)).result, Err(ZnodeError::SessionExpired), "no such session");
    assert_eq!(shell.tree.digest(), digest);
    shell.apply(&reattach(1, 1, 2)).result.unwrap();
    assert_ne!(shell.tree.digest(), digest, "replicas must agree on who speaks");
    assert_eq!(shell.ask(making("/a")), Err(ZnodeError::SessionMoved));
    assert_eq!(shell.multi(vec![making("/a")]), Err(ZnodeError::SessionMoved));
    shell.caller.owner = 2;
    assert!(shell.ask(making("/a")).is_ok());
    assert_eq!(shell.session(1), Err(ZnodeError::SessionExists));
    let session = shell.restored().view().session(SessionId(1)).cloned().unwrap();
    assert_eq!((session.owner, session.timeout_ms), (2, 9000));
    assert!(session.accepts(&Password([1; 16])) && !session.accepts(&Password([2; 16])));
}

#[test]
fn k3_a_client_that_has_seen_more_is_not_admitted() {
    let mut shell = Shell::new();
    shell.ask(making("/a")).unwrap();
    let view = shell.tree.view();
    assert!(view.admits(0) && view.admits(view.zxid() as i64));
    assert!(!view.admits(view.zxid() as i64 + 1));
}

#[test]
fn z10_a_container_goes_when_it_has_lost_its_last_child() {
    let mut shell = Shell::new();
    shell.make("/c", CreateMode::Container).unwrap();
    let seen = |shell: &Shell| {
        shell
            .tree
            .view()
            .empty_containers()
            .map(|it| (it.path.to_owned(), it.used, it.mtime))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(&shell), [("/c".to_owned(), false, 100)]);
    assert_eq!(shell.reap("/c", 1_000_000, -1), Err(ZnodeError::NotDue), "nobody has used it yet");
    assert_eq!(shell.reap("/c", 400, 300), Err(ZnodeError::NotDue), "not long enough");
    shell.ask(making("/c/x")).unwrap();
    assert_eq!(seen(&shell), []);
    assert_eq!(shell.reap("/c", 1_000_000, -1), Err(ZnodeError::NotEmpty));
    shell.ask(deleting("/c/x", -1)).unwrap();
    assert_eq!(seen(&shell), [("/c".to_owned(), true, 100)]);
    assert_eq!(shell.reap("/c", 0, -1), Ok(Reply::Reaped));
    assert_eq!(shell.told(), ["Deleted /c", "ChildrenChanged /"]);
    assert_eq!(seen(&shell), []);
    assert_eq!(shell.reap("/c", 0, -1), Err(ZnodeError::NoNode));
    assert_eq!(shell.make("/never", CreateMode::ContainerSequential), Ok("/never0000000001".into()));
    assert_eq!(shell.reap("/never0000000001", 401, 300), Ok(Reply::Reaped));
}

#[test]
fn z10_a_time_to_live_runs_from_the_last_write_while_there_are_no_children() {
    let mut shell = Shell::new();
    shell.make("/t", CreateMode::Ttl).unwrap(); // At 100, for 10.
    let due = |shell: &Shell, now| shell.tree.view().due_ttls(now).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((due(&shell, 110), due(&shell, 111)), (vec![], vec!["/t".to_owned()]));
    assert_eq!(shell.tree.view().next_ttl_ms(), Some(110));
    assert_eq!(shell.reap("/t", 110, -1), Err(ZnodeError::NotDue));
    shell.caller.time_ms = 105;
    shell.ask(setting("/t", "x", -1)).unwrap();
    assert_eq!(shell.reap("/t", 111, -1), Err(ZnodeError::NotDue), "it was written since the steward looked");
    shell.caller.time_ms = 200;
    shell.ask(making("/t/x")).unwrap();
    assert_eq!((due(&shell, 999), shell.tree.view().next_ttl_ms()), (vec![], None));
    assert_eq!(shell.reap("/t", 999, -1), Err(ZnodeError::NotEmpty));
    shell.ask(deleting("/t/x", -1)).unwrap();
    assert_eq!(shell.tree.view().next_ttl_ms(), Some(115), "children do not count as writing");
    assert_eq!(shell.restored().view().next_ttl_ms(), Some(115));
    assert_eq!(shell.reap("/t", 116, -1), Ok(Reply::Reaped));
}

#[test]
fn z10_nothing_else_is_reaped() {
    let mut shell = Shell::new();
    shell.ask(making("/p")).unwrap();
    shell.make("/e", CreateMode::Ephemeral).unwrap();
    for (path, error) in [
        ("/p", ZnodeError::NotDue),
        ("/e", ZnodeError::NotDue),
        ("/", ZnodeError::BadArguments),
        ("/zookeeper", ZnodeError::BadArguments),
        ("p", ZnodeError::BadArguments),
    ] {
        assert_eq!(shell.reap(path, i64::MAX, 0), Err(error), "{path}");
    }
}

#[test]
fn s09_ids_may_be_negative() {
    let mut shell = Shell::new();
    for id in [-5, i64::MIN, i64::MAX] {
        shell.session(id).unwrap();
    }
    shell.caller.session = SessionId(i64::MIN);
    shell.ask(Operation::Create(create("/e", CreateMode::Ephemeral))).unwrap();
    assert_eq!(shell.stat("/e").ephemeral_owner, SessionId(i64::MIN));
    let ids: Vec<i64> = shell.restored().view().sessions().map(|session| session.id.0).collect();
    assert_eq!(ids, [i64::MIN, -5, 1, i64::MAX]);
    shell.close(i64::MIN).unwrap();
    assert!(!shell.has("/e"));
}

fn numbered(shell: &mut Shell, sequence: u64, operation: Operation) -> Result<OperationReply, ZnodeError> {
    shell.caller.sequence = Some(sequence);
    shell.ask(operation)
}

#[test]
fn k2_of_what_a_client_sent_a_prefix_is_done_in_order_and_each_once() {
    let mut shell = Shell::new();
    let out_of_order = Err(ZnodeError::OutOfOrder);
    assert!(numbered(&mut shell, 0, making("/a")).is_ok());
    assert_eq!(numbered(&mut shell, 0, making("/again")), out_of_order, "it came twice");
    assert_eq!(numbered(&mut shell, 2, making("/c")), out_of_order, "the one before it is not here");
    // One that is refused for what it wants has had its turn.
    assert_eq!(numbered(&mut shell, 1, making("/a")), Err(ZnodeError::NodeExists));
    shell.caller.sequence = Some(2);
    assert!(matches!(shell.multi(vec![making("/m"), deleting("/none", -1)]), Ok(Reply::MultiFailed(_))));
    assert!(numbered(&mut shell, 3, making("/d")).is_ok());
    assert!(!shell.has("/again") && !shell.has("/c") && shell.has("/d"));
    assert_eq!(shell.tree.view().session(SessionId(1)).unwrap().next, 4);
    assert_eq!(
        shell.restored().view().session(SessionId(1)).unwrap().next,
        4,
        "a snapshot knows whose turn it is"
    );
    assert_eq!(shell.restored().digest(), shell.tree.digest());
}

#[test]
fn k2_whoever_takes_a_session_up_counts_anew_and_late_writes_of_the_other_are_refused() {
    let mut shell = Shell::new();
    assert!(numbered(&mut shell, 0, making("/a")).is_ok());
    shell.apply(&reattach(1, 1, 2)).result.unwrap();
    assert_eq!(numbered(&mut shell, 1, making("/b")), Err(ZnodeError::SessionMoved));
    shell.caller.owner = 2;
    assert!(numbered(&mut shell, 0, making("/b")).is_ok());
}

#[test]
fn k2_a_goodbye_waits_for_its_turn_and_a_late_one_of_another_connection_ends_nothing() {
    let mut shell = Shell::new();
    let goodbye = |owner, sequence| {
        let goodbye = Some(Goodbye { owner, sequence });
        Command::CloseSession(CloseSession { session: SessionId(1), goodbye, ..CloseSession::default() })
    };
    assert_eq!(shell.apply(&goodbye(1, 1)).result, Err(ZnodeError::OutOfOrder));
    assert!(numbered(&mut shell, 0, making("/a")).is_ok());
    shell.apply(&reattach(1, 1, 2)).result.unwrap();
    assert_eq!(shell.apply(&goodbye(1, 1)).result, Err(ZnodeError::SessionMoved));
    assert_eq!(shell.apply(&goodbye(2, 0)).result, Ok(Reply::SessionClosed));
}

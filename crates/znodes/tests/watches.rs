//! What watchers are told, in which order (rule K5).

mod common;

use common::shell::{Shell, create, deleting, making, setting};
use quorate_consensus::StateMachine;
use quorate_znodes::*;

#[test]
fn k5_each_change_is_told_as_zookeeper_tells_it() {
    let mut shell = Shell::new();
    assert_eq!(shell.told(), [] as [&str; 0], "a session is nothing to watch");
    shell.ask(making("/a")).unwrap();
    assert_eq!(shell.told(), ["Created /a", "ChildrenChanged /"]);
    shell.ask(making("/a/b")).unwrap();
    assert_eq!(shell.told(), ["Created /a/b", "ChildrenChanged /a"]);
    shell.ask(setting("/a/b", "x", -1)).unwrap();
    assert_eq!(shell.told(), ["DataChanged /a/b"]);
    shell
        .ask(Operation::SetAcl { path: "/a".into(), acl: vec![Acl::world(Permissions::ALL)], version: -1 })
        .unwrap();
    assert_eq!(shell.told(), [] as [&str; 0]);
    shell.ask(deleting("/a/b", -1)).unwrap();
    assert_eq!(shell.told(), ["Deleted /a/b", "ChildrenChanged /a"]);
    assert!(shell.ask(deleting("/a/b", -1)).is_err());
    assert_eq!(shell.told(), [] as [&str; 0]);
    assert_eq!(shell.events.len(), 0);
    assert_eq!([EventKind::Created as i32, EventKind::Deleted as i32], [1, 2]);
    assert_eq!([EventKind::DataChanged as i32, EventKind::ChildrenChanged as i32], [3, 4]);
}

#[test]
fn k5_an_event_comes_with_the_answer_to_its_change() {
    let mut shell = Shell::new();
    let response = shell.apply(&Command::Operation(shell.caller.clone(), making("/a")));
    assert!(shell.events.iter().all(|event| event.zxid == response.zxid));
    assert_eq!(shell.events.len(), 2);
}

#[test]
fn k5_s03_a_client_that_was_away_learns_what_its_watches_missed() {
    let mut shell = Shell::new();
    for path in ["/a", "/b", "/c", "/gone"] {
        shell.ask(making(path)).unwrap();
    }
    shell.make("/c/e", CreateMode::Ephemeral).unwrap();
    let since = shell.tree.view().zxid() as i64;
    shell.ask(setting("/a", "x", -1)).unwrap();
    shell.ask(deleting("/gone", -1)).unwrap();
    shell.ask(making("/new")).unwrap();
    shell.close(1).unwrap();

    // Also from a replica that came up from a snapshot meanwhile.
    for tree in [&shell.tree, &shell.restored()] {
        let view = tree.view();
        let missed = |kind, path| view.missed(kind, path, since);
        assert_eq!(missed(WatchKind::Data, "/a"), Some(EventKind::DataChanged));
        assert_eq!(missed(WatchKind::Children, "/a"), None);
        assert_eq!(missed(WatchKind::Data, "/b"), None);
        assert_eq!(missed(WatchKind::Data, "/gone"), Some(EventKind::Deleted));
        assert_eq!(missed(WatchKind::Children, "/gone"), Some(EventKind::Deleted));
        assert_eq!(missed(WatchKind::Exists, "/gone"), None);
        assert_eq!(missed(WatchKind::Exists, "/new"), Some(EventKind::Created));
        assert_eq!(
            missed(WatchKind::Children, "/c"),
            Some(EventKind::ChildrenChanged),
            "the session's end counts"
        );
        assert_eq!(missed(WatchKind::Children, "/"), Some(EventKind::ChildrenChanged));
        assert_eq!(missed(WatchKind::Data, "/"), None);
    }
}

#[test]
fn k5_the_acl_of_an_event_is_that_of_its_moment() {
    let mut shell = Shell::new();
    shell.ask(Operation::Create(create("/a", CreateMode::Persistent))).unwrap();
    let before = shell.events[0].clone();
    shell.caller.identities = vec![Identity::new("digest", "u:h")];
    let acl = vec![Acl::new(Permissions::ALL, "digest", "u:h")];
    shell.ask(Operation::SetAcl { path: "/a".into(), acl, version: -1 }).unwrap();
    shell.ask(setting("/a", "x", -1)).unwrap();
    assert!(before.readable_by(&[]) && !shell.events[0].readable_by(&[]));
}

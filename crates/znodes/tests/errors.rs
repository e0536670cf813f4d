//! Every error, and which comes first when there are several (rule Z10): clients are written against both.

mod common;

use common::shell::{Shell, checking, create, deleting, making, open, setting};
use quorate_consensus::StateMachine;
use quorate_znodes::*;

/// A caller of whom everything is wrong at once, and what is put right one after the other: the error that shows each time.
fn with(shell: &mut Shell, change: impl FnOnce(&mut Caller), operation: Operation) -> ZnodeError {
    let caller = shell.caller.clone();
    change(&mut shell.caller);
    let error = shell.ask(operation).unwrap_err();
    shell.caller = caller;
    error
}

fn stranger(caller: &mut Caller) {
    caller.session = SessionId(99);
}

/// A tree with a znode that nobody may touch, one that is ephemeral, and one with a child.
fn scene() -> Shell {
    let mut shell = Shell::new();
    shell.ask(making("/full")).unwrap();
    shell.ask(making("/full/child")).unwrap();
    shell.make("/ephemeral", CreateMode::Ephemeral).unwrap();
    let acl = vec![Acl::new(Permissions::ALL, "digest", "u:h")];
    let closed = Create { acl, ..create("/closed", CreateMode::Persistent) };
    shell.caller.identities = vec![Identity::new("digest", "u:h")];
    shell.ask(Operation::Create(closed)).unwrap();
    shell.ask(making("/closed/child")).unwrap();
    shell.caller.identities.clear();
    shell
}

#[test]
fn z10_a_creation_is_checked_in_zookeepers_order() {
    let mut shell = scene();
    let bad_acl = vec![Acl::new(Permissions::ALL, "nobody", "")];
    let make = |path: &str, acl: &[Acl], ttl_ms| {
        Operation::Create(Create { acl: acl.to_vec(), ttl_ms, ..create(path, CreateMode::Persistent) })
    };
    // Time to live, session, path, ACL, parent, CREATE, path with its number, exists.
    assert_eq!(with(&mut shell, stranger, make("x", &bad_acl, 5)), ZnodeError::BadArguments);
    assert_eq!(with(&mut shell, stranger, make("x", &bad_acl, -1)), ZnodeError::SessionExpired);
    assert_eq!(
        with(&mut shell, |caller| caller.owner = 9, make("x", &bad_acl, -1)),
        ZnodeError::SessionMoved
    );
    assert_eq!(shell.ask(make("x", &bad_acl, -1)), Err(ZnodeError::BadArguments));
    assert_eq!(shell.ask(make("/none/a\0", &bad_acl, -1)), Err(ZnodeError::BadArguments));
    assert_eq!(shell.ask(make("/none/..", &bad_acl, -1)), Err(ZnodeError::InvalidAcl));
    assert_eq!(shell.ask(make("/none/..", &open(), -1)), Err(ZnodeError::NoNode));
    assert_eq!(shell.ask(make("/closed/..", &open(), -1)), Err(ZnodeError::NoAuth));
    assert_eq!(shell.ask(make("/closed/child", &open(), -1)), Err(ZnodeError::NoAuth));
    assert_eq!(shell.ask(make("/full/..", &open(), -1)), Err(ZnodeError::BadArguments));
    assert_eq!(shell.ask(make("/full/child", &open(), -1)), Err(ZnodeError::NodeExists));
    assert_eq!(shell.ask(make("/ephemeral/..", &open(), -1)), Err(ZnodeError::BadArguments));
    assert_eq!(shell.ask(make("/ephemeral/a", &open(), -1)), Err(ZnodeError::NoChildrenForEphemerals));
    assert_eq!(shell.ask(make("/", &open(), -1)), Err(ZnodeError::NodeExists));
    assert_eq!(shell.ask(make("/full/", &open(), -1)), Err(ZnodeError::BadArguments));
}

#[test]
fn z10_a_sequential_name_may_be_nothing_but_its_number() {
    let mut shell = scene();
    assert_eq!(shell.make("/full/", CreateMode::PersistentSequential), Ok("/full/0000000001".into()));
    assert_eq!(shell.make("/", CreateMode::PersistentSequential), Ok("/0000000003".into()));
}

#[test]
fn z10_times_to_live_have_a_range() {
    let mut shell = Shell::new();
    for (mode, ttl_ms, fits) in [
        (CreateMode::Ttl, 0, false),
        (CreateMode::Ttl, -1, false),
        (CreateMode::Ttl, TTL_MS_MAX + 1, false),
        (CreateMode::Ttl, TTL_MS_MAX, true),
        (CreateMode::Persistent, 0, false),
        (CreateMode::Container, 7, false),
        (CreateMode::ContainerSequential, 7, false),
    ] {
        let create = Create { ttl_ms, ..create("/ttl", mode) };
        let result = shell.ask(Operation::Create(create));
        assert_eq!(result.err(), (!fits).then_some(ZnodeError::BadArguments), "{mode:?} {ttl_ms}");
    }
    assert_eq!(CreateMode::from_flags(7), Err(ZnodeError::BadArguments));
    assert_eq!(CreateMode::from_flags(-1), Err(ZnodeError::BadArguments));
}

#[test]
fn z10_a_deletion_is_checked_in_zookeepers_order() {
    let mut shell = scene();
    // Session, path, reserved, parent, DELETE, znode, version, children.
    assert_eq!(with(&mut shell, stranger, deleting("/zookeeper", 7)), ZnodeError::SessionExpired);
    assert_eq!(with(&mut shell, |caller| caller.owner = 9, deleting("x", 7)), ZnodeError::SessionMoved);
    for path in ["x", "/x\0", "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
        assert_eq!(shell.ask(deleting(path, 7)), Err(ZnodeError::BadArguments), "{path}");
    }
    assert_eq!(shell.ask(deleting("/none/x", 7)), Err(ZnodeError::NoNode));
    assert_eq!(shell.ask(deleting("/closed/none", 7)), Err(ZnodeError::NoAuth));
    assert_eq!(shell.ask(deleting("/closed/child", 7)), Err(ZnodeError::NoAuth));
    assert_eq!(shell.ask(deleting("/none", 7)), Err(ZnodeError::NoNode));
    assert_eq!(shell.ask(deleting("/full", 7)), Err(ZnodeError::BadVersion));
    assert_eq!(shell.ask(deleting("/full", 0)), Err(ZnodeError::NotEmpty));
    assert_eq!(shell.ask(deleting("/full/child", 0)), Ok(OperationReply::Deleted));
    // What counts is the parent: a znode that nobody may touch can be deleted, if it has no children.
    assert_eq!(shell.ask(deleting("/closed", -1)), Err(ZnodeError::NotEmpty));
}

#[test]
fn z10_setting_data_is_checked_in_zookeepers_order() {
    let mut shell = scene();
    assert_eq!(with(&mut shell, stranger, setting("x", "", 7)), ZnodeError::SessionExpired);
    assert_eq!(shell.ask(setting("/none/..", "", 7)), Err(ZnodeError::BadArguments));
    assert_eq!(shell.ask(setting("/none", "", 7)), Err(ZnodeError::NoNode));
    assert_eq!(shell.ask(setting("/closed", "", 7)), Err(ZnodeError::NoAuth));
    assert_eq!(shell.ask(setting("/full", "", 7)), Err(ZnodeError::BadVersion));
    assert!(shell.ask(setting("/full", "", 0)).is_ok());
    assert_eq!(shell.ask(setting("/full", "", 0)), Err(ZnodeError::BadVersion));
    assert!(shell.ask(setting("/full", "", -1)).is_ok());
    assert_eq!(shell.ask(setting("/zookeeper/config", "", -1)), Err(ZnodeError::NoAuth));
}

#[test]
fn z10_setting_an_acl_is_checked_in_zookeepers_order() {
    let mut shell = scene();
    let set = |path: &str, acl: Vec<Acl>, version| Operation::SetAcl { path: path.into(), acl, version };
    assert_eq!(with(&mut shell, stranger, set("x", vec![], 7)), ZnodeError::SessionExpired);
    assert_eq!(shell.ask(set("x", vec![], 7)), Err(ZnodeError::BadArguments));
    assert_eq!(shell.ask(set("/none", vec![], 7)), Err(ZnodeError::InvalidAcl));
    assert_eq!(shell.ask(set("/none", open(), 7)), Err(ZnodeError::NoNode));
    assert_eq!(shell.ask(set("/closed", open(), 7)), Err(ZnodeError::NoAuth));
    assert_eq!(shell.ask(set("/full", open(), 7)), Err(ZnodeError::BadVersion));
    assert!(matches!(
        shell.ask(set("/full", open(), 0)),
        Ok(OperationReply::AclSet(Stat { aversion: 1, version: 0, .. }))
    ));
}

#[test]
fn z10_a_check_is_checked_in_zookeepers_order_and_stands_in_a_multi_alone() {
    let mut shell = scene();
    assert_eq!(shell.ask(checking("/full", 0)), Err(ZnodeError::Unimplemented));
    let error = |shell: &mut Shell, operation| match shell.multi(vec![operation]).unwrap() {
        Reply::MultiFailed(failure) => Some(failure.error),
        _ => None,
    };
    assert_eq!(error(&mut shell, checking("x", 7)), Some(ZnodeError::BadArguments));
    assert_eq!(error(&mut shell, checking("/none", 7)), Some(ZnodeError::NoNode));
    assert_eq!(error(&mut shell, checking("/closed", 7)), Some(ZnodeError::NoAuth));
    assert_eq!(error(&mut shell, checking("/full", 7)), Some(ZnodeError::BadVersion));
    assert_eq!(error(&mut shell, checking("/full", 0)), None);
    shell.caller.session = SessionId(99);
    assert_eq!(error(&mut shell, checking("x", 7)), Some(ZnodeError::SessionExpired));
}

#[test]
fn limits_are_refused_before_the_log_and_in_it() {
    let mut shell = Shell::new();
    let limit = |command: &Command| match command.check() {
        Err(ZnodeError::Limit(kind)) => kind,
        other => panic!("{other:?} is no limit"),
    };
    let long =
        Create { path: format!("/{}", "x".repeat(PATH_BYTES_MAX)), ..create("/", CreateMode::Persistent) };
    let big =
        Operation::SetData { path: "/".into(), data: Some(vec![0; DATA_BYTES_MAX + 1].into()), version: -1 };
    let acl = (0..=ACL_ENTRIES_MAX as i32).map(|bits| Acl::world(Permissions(bits))).collect();
    let crowd = Caller {
        identities: vec![Identity::new("x509", "CN=a"); IDENTITIES_MAX + 1],
        ..shell.caller.clone()
    };
    let caller = shell.caller.clone();
    let heavy =
        vec![
            Operation::SetData { path: "/".into(), data: Some(vec![0; DATA_BYTES_MAX].into()), version: -1 };
            5
        ];
    for (command, kind) in [
        (Command::Operation(caller.clone(), Operation::Create(long)), LimitKind::Path),
        (Command::Operation(caller.clone(), big), LimitKind::Data),
        (
            Command::Operation(caller.clone(), Operation::SetAcl { path: "/".into(), acl, version: -1 }),
            LimitKind::Acl,
        ),
        (Command::Operation(crowd, making("/a")), LimitKind::Identities),
        (
            Command::Multi(caller.clone(), vec![checking("/", -1); MULTI_OPERATIONS_MAX + 1]),
            LimitKind::Operations,
        ),
        (Command::Multi(caller.clone(), heavy), LimitKind::Command),
    ] {
        assert_eq!(limit(&command), kind);
        // In the log, counts past the limits are not even read.
        let counted = matches!(kind, LimitKind::Acl | LimitKind::Identities | LimitKind::Operations);
        let error = if counted { ZnodeError::Malformed } else { ZnodeError::Limit(kind) };
        assert_eq!(shell.apply(&command).result, Err(error));
    }
    let most = Create {
        path: format!("/{}", "x".repeat(PATH_BYTES_MAX - 1)),
        ..create("/", CreateMode::Persistent)
    };
    let number = Create { mode: CreateMode::PersistentSequential, ..most.clone() };
    assert_eq!(shell.ask(Operation::Create(number)), Err(ZnodeError::Limit(LimitKind::Path)));
    assert!(shell.ask(Operation::Create(most)).is_ok());
    let acl = Operation::SetAcl { path: "/".into(), acl: open(), version: -1 };
    assert_eq!(shell.multi(vec![acl]), Err(ZnodeError::Malformed));
}

#[test]
fn a_refused_command_changes_nothing_and_takes_no_zxid() {
    let mut shell = scene();
    let (digest, zxid) = (shell.tree.digest(), shell.tree.number());
    let response = shell.apply(&Command::Operation(shell.caller.clone(), making("/full")));
    assert_eq!((response.zxid, response.result), (zxid, Err(ZnodeError::NodeExists)));
    assert!(shell.events.is_empty());
    assert_eq!((shell.tree.digest(), shell.tree.number()), (digest, zxid));
}

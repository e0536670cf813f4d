//! Who may do what, and who learns what (rule K11).

mod common;

use common::shell::{Shell, create, deleting, making, setting};
use quorate_consensus::StateMachine;
use quorate_znodes::*;

fn only(permissions: Permissions) -> Vec<Acl> {
    vec![Acl::world(permissions)]
}

fn made_with(acl: Vec<Acl>) -> Shell {
    let mut shell = Shell::new();
    shell.ask(making("/p")).unwrap();
    shell.ask(making("/p/child")).unwrap();
    shell.ask(Operation::SetAcl { path: "/p".into(), acl, version: -1 }).unwrap();
    shell
}

/// Which of the operations are allowed by an ACL of one permission each.
#[test]
fn k11_each_permission_allows_its_own_and_nothing_else() {
    let all =
        [Permissions::READ, Permissions::WRITE, Permissions::CREATE, Permissions::DELETE, Permissions::ADMIN];
    for permission in all {
        let ask =
            |operation: Operation| made_with(only(permission)).ask(operation) != Err(ZnodeError::NoAuth);
        let view = made_with(only(permission)).tree.view();
        let is = |other: Permissions| permission == other;
        assert_eq!(ask(making("/p/new")), is(Permissions::CREATE));
        assert_eq!(ask(deleting("/p/child", -1)), is(Permissions::DELETE));
        assert_eq!(ask(setting("/p", "x", -1)), is(Permissions::WRITE));
        assert_eq!(
            ask(Operation::SetAcl { path: "/p".into(), acl: only(Permissions::ALL), version: -1 }),
            is(Permissions::ADMIN)
        );
        assert_eq!(view.exists("/p", &[]).is_ok(), is(Permissions::READ));
        assert_eq!(view.get_data("/p", &[]).is_ok(), is(Permissions::READ));
        assert_eq!(view.get_children("/p", &[]).is_ok(), is(Permissions::READ));
        assert_eq!(view.get_all_children_number("/p", &[]).is_ok(), is(Permissions::READ));
        assert_eq!(view.get_acl("/p", &[]).is_ok(), is(Permissions::READ) || is(Permissions::ADMIN));
        // A child's ACL is its own.
        assert!(view.get_data("/p/child", &[]).is_ok() && ask(setting("/p/child", "x", -1)));
        // The super user may do everything.
        let mut shell = made_with(only(permission));
        shell.caller.identities = vec![Identity::new("super", "")];
        assert!(shell.ask(making("/p/new")).is_ok() && shell.ask(deleting("/p/new", -1)).is_ok());
    }
}

#[test]
fn k11_auth_becomes_whoever_asks() {
    let mut shell = Shell::new();
    let acl = vec![Acl::new(Permissions::ALL, "auth", ""), Acl::new(Permissions::READ, "ip", "10.0.0.0/8")];
    let mine = Create { acl, ..create("/mine", CreateMode::Persistent) };
    shell.caller.identities = vec![Identity::new("ip", "10.1.1.1")];
    assert_eq!(
        shell.ask(Operation::Create(mine.clone())),
        Err(ZnodeError::InvalidAcl),
        "an address is no user"
    );
    let user = Identity::new("digest", "ann:hash");
    shell.caller.identities.push(user.clone());
    shell.ask(Operation::Create(mine)).unwrap();
    let view = shell.tree.view();
    let stored =
        [Acl::new(Permissions::ALL, "digest", "ann:hash"), Acl::new(Permissions::READ, "ip", "10.0.0.0/8")];
    assert_eq!(view.get_acl("/mine", &[user]).unwrap().0, stored);
    let neighbour = [Identity::new("ip", "10.2.2.2")];
    let masked = [Acl::new(Permissions::ALL, "digest", "ann:x"), stored[1].clone()];
    assert_eq!(view.get_acl("/mine", &neighbour).unwrap().0, masked, "who may only read sees no hash");
    assert_eq!(view.get_acl("/mine", &[]), Err(ZnodeError::NoAuth));
}

#[test]
fn k11_events_are_for_those_who_may_read() {
    let mut shell = Shell::new();
    shell.caller.identities = vec![Identity::new("digest", "u:h")];
    let acl = vec![Acl::new(Permissions::ALL, "digest", "u:h")];
    shell.ask(Operation::Create(Create { acl, ..create("/secret", CreateMode::Persistent) })).unwrap();
    let readable = |shell: &Shell, who: &[Identity]| {
        shell.events.iter().map(|event| event.readable_by(who)).collect::<Vec<_>>()
    };
    let owner = shell.caller.identities.clone();
    // The znode's own ACL counts for itself, the parent's for the parent.
    assert_eq!((readable(&shell, &[]), readable(&shell, &owner)), (vec![false, true], vec![true, true]));
    shell.ask(setting("/secret", "x", -1)).unwrap();
    assert_eq!((readable(&shell, &[]), readable(&shell, &owner)), (vec![false], vec![true]));
    shell.ask(deleting("/secret", -1)).unwrap();
    assert_eq!((readable(&shell, &[]), readable(&shell, &owner)), (vec![false, true], vec![true, true]));
}

#[test]
fn k11_only_read_lets_one_be_told() {
    let told_with = |permissions| {
        let mut shell = Shell::new();
        let create = Create { acl: only(permissions), ..create("/a", CreateMode::Persistent) };
        shell.ask(Operation::Create(create)).unwrap();
        shell.events[0].readable_by(&[])
    };
    assert!(told_with(Permissions::READ) && !told_with(Permissions(30)));
}

#[test]
fn s11_the_table_of_acls_survives_a_snapshot() {
    let mut shell = made_with(only(Permissions(17)));
    let other = vec![Acl::new(Permissions::READ, "x509", "CN=a"), Acl::world(Permissions::ALL)];
    let create = Create { acl: other.clone(), ..create("/q", CreateMode::Persistent) };
    shell.ask(Operation::Create(create)).unwrap();
    assert_eq!(shell.tree.view().acl_count(), 4, "open, the configuration's, and two");
    let mut restored = Shell { tree: shell.restored(), ..shell };
    assert_eq!(restored.tree.view().get_acl("/q", &[]).unwrap().0, other);
    restored.ask(deleting("/q", -1)).unwrap();
    assert_eq!(restored.tree.view().acl_count(), 3);
}

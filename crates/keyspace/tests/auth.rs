//! Users, roles and who may what, rule by rule, each with the smallest example. Section numbers are those of etcd's API reference as the
//! project keeps it (`reference/etcd.md`, 1.8); P, W and E numbers those of the catalogue of known bugs.

mod common;

use bytes::Bytes;
use common::shell::{Shell, compare, delete, hang, nested, put, range, then, unhex};
use quorate_consensus::{DecodeError, RestoreError, StateMachine};
use quorate_keyspace::*;

const HASH: &str = "$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

fn hash() -> PasswordHash {
    PasswordHash::new(HASH).unwrap()
}

fn user_add(name: &str) -> Command {
    Command::Auth(Change::UserAdd { name: name.into(), password: Some(hash()) })
}

fn role_add(name: &str) -> Command {
    Command::Auth(Change::RoleAdd { name: name.into() })
}

fn grant_role(user: &str, role: &str) -> Command {
    Command::Auth(Change::UserGrantRole { user: user.into(), role: role.into() })
}

fn permission(kind: PermissionKind, key: &str, end: &str) -> Permission {
    Permission { kind, key: key.to_owned().into(), range_end: end.to_owned().into() }
}

fn allow(role: &str, kind: PermissionKind, key: &str, end: &str) -> Command {
    Command::Auth(Change::RoleGrantPermission { role: role.into(), permission: permission(kind, key, end) })
}

const ENABLE: Command = Command::Auth(Change::Enable);
const DISABLE: Command = Command::Auth(Change::Disable);

use PermissionKind::{Read, ReadWrite, Write};

/// A store with auth on; `u` has role `r`, which has these permissions.
fn guarded(permissions: &[(PermissionKind, &str, &str)]) -> Shell {
    let mut shell = Shell::new();
    for lease in [7, 8] {
        shell.grant(lease, 60);
    }
    guard(&mut shell, permissions);
    shell
}

fn guard(shell: &mut Shell, permissions: &[(PermissionKind, &str, &str)]) {
    for command in
        [user_add("root"), grant_role("root", "root"), user_add("u"), role_add("r"), grant_role("u", "r")]
    {
        shell.ok(command);
    }
    for (kind, key, end) in permissions {
        shell.ok(allow("r", *kind, key, end));
    }
    shell.ok(ENABLE);
}

fn by(shell: &Shell, caller: &str, command: Command) -> Command {
    let auth_revision = shell.keyspace.view().auth().revision();
    Command::As(As { caller: caller.into(), auth_revision, command: Box::new(command) })
}

#[track_caller]
fn may(shell: &mut Shell, caller: &str, command: Command) -> bool {
    let wrapped = by(shell, caller, command);
    match shell.apply(wrapped).0.result {
        Err(KeyspaceError::Auth(AuthError::PermissionDenied)) => false,
        Ok(_) => true,
        Err(error) => panic!("{error}"),
    }
}

fn asks(shell: &Shell, name: &str, ask: Ask<'_>) -> Result<(), AuthError> {
    shell.keyspace.view().permits(&Caller::User { name: name.into(), auth_revision: None }, ask)
}

#[track_caller]
fn refused(shell: &mut Shell, command: Command, error: AuthError) {
    let before = shell.keyspace.digest();
    assert_eq!(shell.refused(command), KeyspaceError::Auth(error));
    assert_eq!(shell.keyspace.digest(), before, "a refused change changes nothing");
}

// Users and roles.

#[test]
fn users_roles_and_permissions_come_and_go_each_with_its_errors() {
    let mut shell = Shell::new();
    refused(&mut shell, user_add(""), AuthError::UserEmpty);
    refused(&mut shell, role_add(""), AuthError::RoleEmpty);
    shell.ok(user_add("u"));
    refused(&mut shell, user_add("u"), AuthError::UserExists);
    refused(&mut shell, grant_role("u", "r"), AuthError::RoleNotFound);
    refused(&mut shell, grant_role("v", "r"), AuthError::UserNotFound);
    shell.ok(role_add("r"));
    refused(&mut shell, role_add("r"), AuthError::RoleExists);
    shell.ok(grant_role("u", "r"));
    let revoke = |user: &str, role: &str| {
        Command::Auth(Change::UserRevokeRole { user: user.into(), role: role.into() })
    };
    refused(&mut shell, revoke("v", "r"), AuthError::UserNotFound);
    refused(&mut shell, revoke("u", "s"), AuthError::RoleNotGranted);
    refused(&mut shell, allow("s", Read, "a", ""), AuthError::RoleNotFound);
    let forbid = |role: &str, key: &str, end: &str| {
        let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
        Command::Auth(Change::RoleRevokePermission { role: role.into(), key, range_end })
    };
    refused(&mut shell, forbid("s", "a", ""), AuthError::RoleNotFound);
    refused(&mut shell, forbid("r", "a", ""), AuthError::PermissionNotGranted);
    shell.ok(allow("r", Write, "b", "c"));
    shell.ok(allow("r", Read, "a", ""));
    shell.ok(allow("r", ReadWrite, "b", ""));
    shell.ok(allow("r", ReadWrite, "a", ""));
    let view = shell.keyspace.view();
    let sorted = [("a", "", ReadWrite), ("b", "", ReadWrite), ("b", "c", Write)];
    let sorted = sorted.map(|(key, end, kind)| permission(kind, key, end));
    assert_eq!(view.auth().permissions("r").unwrap(), sorted, "sorted, one for each interval");
    assert_eq!(view.auth().permissions("s"), None);
    shell.ok(forbid("r", "b", "c"));
    refused(&mut shell, forbid("r", "b", "c"), AuthError::PermissionNotGranted);

    shell.ok(Command::Auth(Change::RoleDelete { name: "r".into() }));
    refused(&mut shell, Command::Auth(Change::RoleDelete { name: "r".into() }), AuthError::RoleNotFound);
    let view = shell.keyspace.view();
    assert_eq!(view.auth().user("u").unwrap().roles().count(), 0, "a role that is gone is nobody's");
    shell.ok(Command::Auth(Change::UserDelete { name: "u".into() }));
    refused(&mut shell, Command::Auth(Change::UserDelete { name: "u".into() }), AuthError::UserNotFound);
    let change = Change::UserChangePassword { name: "u".into(), password: hash() };
    refused(&mut shell, Command::Auth(change), AuthError::UserNotFound);
    assert_eq!(shell.keyspace.number(), 1, "none of it took a revision of the store");
}

#[test]
fn each_change_takes_an_auth_revision_and_what_changes_nothing_does_not() {
    let mut shell = Shell::new();
    let revision = |shell: &Shell| shell.keyspace.view().auth().revision();
    assert_eq!(revision(&shell), 1);
    let changes =
        [user_add("root"), grant_role("root", "root"), role_add("r"), allow("r", Read, "a", ""), ENABLE];
    for (number, change) in changes.into_iter().enumerate() {
        shell.ok(change);
        assert_eq!(revision(&shell), number as u64 + 2);
    }
    for nothing in [ENABLE, grant_role("root", "root")] {
        let (response, news) = {
            let command = by(&shell, "root", nothing);
            shell.apply_at(1, command)
        };
        assert_eq!((response.result, news), (Ok(Reply::Auth), vec![]));
        assert_eq!(revision(&shell), 6);
    }
    let disable = by(&shell, "root", DISABLE);
    shell.ok(disable);
    assert_eq!(revision(&shell), 7);
    shell.ok(DISABLE);
    assert_eq!(revision(&shell), 7);
}

#[test]
fn root_cannot_be_locked_out() {
    let mut shell = Shell::new();
    refused(&mut shell, ENABLE, AuthError::RootUserNotExist);
    shell.ok(user_add("root"));
    refused(&mut shell, ENABLE, AuthError::RootRoleNotExist);
    shell.ok(grant_role("root", "root"));
    shell.ok(role_add("root"));
    shell.ok(ENABLE);
    for change in [
        Change::UserDelete { name: "root".into() },
        Change::RoleDelete { name: "root".into() },
        Change::UserRevokeRole { user: "root".into(), role: "root".into() },
    ] {
        let command = by(&shell, "root", Command::Auth(change));
        refused(&mut shell, command, AuthError::InvalidAuthManagement);
    }
    let everything = permission(ReadWrite, "", "\0");
    assert_eq!(shell.keyspace.view().auth().permissions("root").unwrap(), [everything]);
    let disable = by(&shell, "root", DISABLE);
    shell.ok(disable);
    shell.ok(Command::Auth(Change::UserDelete { name: "root".into() }));
}

/// P06, etcd #15619.
#[test]
fn an_interval_that_names_no_key_is_no_permission() {
    let mut shell = Shell::new();
    shell.ok(role_add("r"));
    for (key, end) in [("b", "a"), ("b", "b"), ("", ""), ("", "\0"), ("", "b")] {
        refused(&mut shell, allow("r", Read, key, end), AuthError::InvalidAuthManagement);
    }
    for (key, end) in [("b", "\0"), ("\0", "\0"), ("b", "b\0")] {
        shell.ok(allow("r", Read, key, end));
    }
}

/// P10, P11: what is not a hash does not get in, and nothing shows what is.
#[test]
fn a_password_is_in_no_command_and_its_hash_in_no_text() {
    for password in ["", "hunter2", "$2b$10$short", &HASH.replace('b', "é"), &HASH[..59], &format!("{HASH}1")]
    {
        assert_eq!(PasswordHash::new(password), None, "{password}");
    }
    let token = Authenticate { user: "u".into(), token: TokenDigest([0xab; 32]), auth_revision: 3 };
    let mut shell = Shell::new();
    let (_, news) = shell.apply_at(1, user_add("u"));
    let shown =
        format!("{:?} {news:?} {:?} {:?}", user_add("u"), shell.keyspace, Command::Authenticate(token));
    assert!(!shown.contains(&HASH[7..]) && !shown.contains("171") && !shown.contains("0xab"), "{shown}");
}

#[test]
fn a_user_without_a_password_stays_without() {
    let mut shell = Shell::new();
    shell.ok(Command::Auth(Change::UserAdd { name: "u".into(), password: None }));
    shell.ok(Command::Auth(Change::UserChangePassword { name: "u".into(), password: hash() }));
    assert_eq!(shell.keyspace.view().auth().user("u").unwrap().password(), None);
}

// Who asks.

/// etcd #14571: a write that was proposed before auth was turned on, and comes after it in the log.
#[test]
fn with_auth_on_a_command_in_nobodys_name_is_refused_except_the_clusters_own() {
    let mut shell = guarded(&[]);
    let alarm =
        |action| Command::Alarm(Alarm { action, alarm: AlarmMember { member: 1, kind: AlarmKind::NoSpace } });
    for command in [
        Command::Put(put("a", "1")),
        Command::DeleteRange(delete("a", "")),
        Command::Range(range("a", "")),
        Command::Txn(Txn::default()),
        Command::Compact(Compact::default()),
        Command::LeaseGrant { id: LeaseId(9), ttl_s: 5 },
        Command::LeaseRevoke { id: LeaseId(7) },
        alarm(AlarmAction::Deactivate),
        user_add("v"),
        DISABLE,
        by(&shell, "", Command::Put(put("a", "1"))),
    ] {
        refused(&mut shell, command, AuthError::UserEmpty);
    }
    for own in [
        Command::Sweep,
        Command::SetQuota(SetQuota { bytes: 1 << 40 }),
        Command::LeaseExpire { epoch: 1, leases: vec![(LeaseId(8), 2)] },
        Command::LeaseCheckpoint { epoch: 1, checkpoints: vec![] },
        alarm(AlarmAction::Activate),
    ] {
        shell.ok(own);
    }
    assert_eq!(shell.keyspace.view().lease_count(), 1);
}

#[test]
fn what_is_the_clusters_own_is_in_nobodys_name_not_even_roots() {
    let mut shell = guarded(&[]);
    for own in [
        Command::Sweep,
        Command::SetQuota(SetQuota { bytes: 1 }),
        Command::LeaseExpire { epoch: 1, leases: vec![] },
    ] {
        assert!(!may(&mut shell, "root", own));
    }
    let token = Authenticate { user: "u".into(), token: TokenDigest([1; 32]), auth_revision: 1 };
    assert!(!may(&mut shell, "root", Command::Authenticate(token)));
    let twice = by(&shell, "root", Command::Put(put("a", "1")));
    let twice = by(&shell, "root", twice);
    assert_eq!(shell.refused(twice), KeyspaceError::Malformed);
}

/// P05, etcd #14571: users change between the question who it is and the place in the log.
#[test]
fn a_command_of_an_older_auth_revision_is_refused_where_it_stands_in_the_log() {
    let mut shell = guarded(&[(ReadWrite, "a", "")]);
    let write = by(&shell, "u", Command::Put(put("a", "1")));
    shell.ok(write.clone());
    let change = by(&shell, "root", user_add("v"));
    shell.ok(change);
    refused(&mut shell, write.clone(), AuthError::AuthOldRevision);
    let Command::As(mut newer) = write.clone() else { panic!("{write:?}") };
    newer.auth_revision += 2;
    refused(&mut shell, Command::As(newer), AuthError::AuthOldRevision);
    // With auth off it does not matter who it was.
    let disable = by(&shell, "root", DISABLE);
    shell.ok(disable);
    shell.ok(write);
}

#[test]
fn a_caller_that_is_no_user_may_nothing() {
    let shell = guarded(&[]);
    let view = shell.keyspace.view();
    let range = range("a", "");
    let ask = Ask::Range(&range);
    assert_eq!(view.permits(&Caller::Nobody, ask), Err(AuthError::UserEmpty));
    assert_eq!(view.permits(&Caller::Unknown, ask), Err(AuthError::InvalidAuthToken));
    for name in ["nobody", "ROOT", "r"] {
        assert_eq!(asks(&shell, name, Ask::Status), Err(AuthError::PermissionDenied));
    }
    for free in [Ask::AuthStatus, Ask::Authenticate] {
        assert_eq!(view.permits(&Caller::Unknown, free), Ok(()));
    }
}

#[test]
fn a_token_is_told_of_if_the_password_was_compared_with_the_hash_that_counts() {
    let mut shell = Shell::new();
    let authenticate = |user: &str, auth_revision| {
        Command::Authenticate(Authenticate { user: user.into(), token: TokenDigest([5; 32]), auth_revision })
    };
    refused(&mut shell, authenticate("u", 1), AuthError::AuthNotEnabled);
    guard(&mut shell, &[]);
    let revision = shell.keyspace.view().auth().revision();
    refused(&mut shell, authenticate("v", revision), AuthError::AuthFailed);
    refused(&mut shell, authenticate("u", revision - 1), AuthError::AuthOldRevision);
    let (response, news) = shell.apply_at(1, authenticate("u", revision));
    let told = News::Authenticated { user: "u".into(), token: TokenDigest([5; 32]), index: shell.index };
    assert_eq!((response.result, news), (Ok(Reply::Authenticate(shell.index)), vec![told]));
    let change = Change::UserChangePassword { name: "u".into(), password: hash() };
    let change = by(&shell, "root", Command::Auth(change));
    let (_, news) = shell.apply_at(1, change);
    let auth = shell.keyspace.view().auth().clone();
    assert_eq!(news, [News::AuthChanged { auth, forgotten: Some("u".into()) }]);
}

// E8: who may what.

#[test]
fn e8_keys_of_several_roles_add_up_and_touching_intervals_are_one() {
    let mut shell = guarded(&[(Read, "a", "c"), (ReadWrite, "e", "\0"), (Read, "d", "")]);
    for command in [role_add("s"), allow("s", Read, "b", "d"), grant_role("u", "s")] {
        let command = by(&shell, "root", command);
        shell.ok(command);
    }
    let reads = |shell: &Shell, key, end| asks(shell, "u", Ask::Range(&range(key, end))).is_ok();
    // [a, d), d, [e, ∞).
    assert!(
        reads(&shell, "a", "d")
            && reads(&shell, "a", "d\0")
            && reads(&shell, "d", "")
            && reads(&shell, "e", "\0")
    );
    assert!(
        !reads(&shell, "a", "e")
            && !reads(&shell, "d\0", "")
            && !reads(&shell, "a", "\0")
            && !reads(&shell, "\0", "a")
    );
    assert!(reads(&shell, "zz", "") && reads(&shell, "f", "g"));
    // One that names no key is as its first.
    assert!(reads(&shell, "a", "\x01") && !reads(&shell, "d\0", "b"));
    assert!(
        !may(&mut shell, "u", Command::Put(put("a", "1")))
            && may(&mut shell, "u", Command::Put(put("e", "1")))
    );
}

/// W09's third part, GHSA-xg4h-6gfc-h4m8.
#[test]
fn w09_a_permission_on_one_key_is_none_on_all_from_it_on() {
    let shell = guarded(&[(Read, "a", "")]);
    let watch = |key: &'static str, end: &'static str| {
        let ask = Ask::Watch { key: key.as_bytes(), range_end: end.as_bytes() };
        let auth = shell.keyspace.view().auth().clone();
        auth.permits(&Caller::User { name: "u".into(), auth_revision: None }, ask).is_ok()
    };
    assert!(watch("a", "") && watch("a", "a\0"));
    assert!(!watch("a", "\0") && !watch("a", "b") && !watch("", "") && !watch("", "\0"));
    for end in ["\0", "b"] {
        assert_eq!(asks(&shell, "u", Ask::Range(&range("a", end))), Err(AuthError::PermissionDenied));
    }
}

#[test]
fn what_was_there_before_is_read() {
    let mut shell = guarded(&[(Write, "a", "c"), (Read, "b", "")]);
    let prev = |key| Command::Put(Put { prev_kv: true, ..put(key, "1") });
    assert!(may(&mut shell, "u", Command::Put(put("a", "1"))) && !may(&mut shell, "u", prev("a")));
    assert!(may(&mut shell, "u", prev("b")));
    let prev = |key, end| Command::DeleteRange(DeleteRange { prev_kv: true, ..delete(key, end) });
    assert!(
        may(&mut shell, "u", Command::DeleteRange(delete("a", "c"))) && !may(&mut shell, "u", prev("a", "c"))
    );
    assert!(
        may(&mut shell, "u", prev("b", "")) && !may(&mut shell, "u", Command::DeleteRange(delete("a", "d")))
    );
}

#[test]
fn a_lease_is_touched_by_whoever_may_write_all_that_hangs_on_it() {
    let mut shell = Shell::new();
    for lease in [7, 8, 9] {
        shell.grant(lease, 60);
    }
    shell.ok(Command::Put(hang("a", 7)));
    shell.ok(Command::Put(hang("z", 7)));
    shell.ok(Command::Put(hang("a1", 8)));
    guard(&mut shell, &[(ReadWrite, "a", "b")]);
    assert!(
        !may(&mut shell, "u", Command::Put(hang("a", 7))) && may(&mut shell, "u", Command::Put(hang("a", 8)))
    );
    for (lease, is) in [(7, false), (8, true), (9, true), (99, true)] {
        let id = LeaseId(lease);
        assert_eq!(asks(&shell, "u", Ask::LeaseKeepAlive(id)).is_ok(), is);
        assert_eq!(asks(&shell, "u", Ask::LeaseTimeToLive { id, keys: true }).is_ok(), is);
        assert!(asks(&shell, "u", Ask::LeaseTimeToLive { id, keys: false }).is_ok());
    }
    assert!(asks(&shell, "u", Ask::LeaseLeases).is_err() && asks(&shell, "root", Ask::LeaseLeases).is_ok());
    assert!(!may(&mut shell, "u", Command::LeaseRevoke { id: LeaseId(7) }));
    assert!(may(&mut shell, "u", Command::LeaseRevoke { id: LeaseId(8) }));
    assert!(may(&mut shell, "u", Command::LeaseGrant { id: LeaseId(10), ttl_s: 5 }));
    let remove = by(&shell, "root", Command::LeaseRevoke { id: LeaseId(7) });
    shell.ok(remove);
    assert!(asks(&shell, "u", Ask::LeaseLeases).is_ok());
}

/// P01, CVE-2026-33343; P02, CVE-2026-44283.
#[test]
fn cve_2026_33343_a_transaction_is_looked_at_with_all_that_is_nested_in_it() {
    let mut shell = Shell::new();
    shell.grant(7, 60);
    shell.ok(Command::Put(hang("z", 7)));
    guard(&mut shell, &[(ReadWrite, "a", ""), (Write, "w", "")]);
    let read = |key| Operation::Range(range(key, ""));
    let write = |key| Operation::Put(put(key, "1"));
    let looks = |key| Txn {
        compare: vec![compare(key, CompareResult::Equal, CompareTarget::Version(9))],
        ..Txn::default()
    };
    let otherwise = |failure| Txn { failure: vec![failure], ..Txn::default() };
    let good = [then(vec![read("a"), write("a")]), then(vec![write("w")]), looks("a"), Txn::default()];
    let bad = [
        then(vec![read("b")]),
        then(vec![write("b")]),
        otherwise(read("b")),
        otherwise(write("b")),
        looks("b"),
        looks("w"),
        then(vec![read("w")]),
        then(vec![Operation::DeleteRange(delete("a", "c"))]),
        then(vec![Operation::Put(Put { prev_kv: true, ..put("w", "1") })]),
        then(vec![Operation::DeleteRange(DeleteRange { prev_kv: true, ..delete("w", "") })]),
        then(vec![Operation::Put(hang("a", 7))]),
    ];
    for (txns, is) in [(&good[..], true), (&bad[..], false)] {
        for txn in txns {
            let mut txn = txn.clone();
            for depth in 0..4 {
                assert_eq!(may(&mut shell, "u", Command::Txn(txn.clone())), is, "{depth} deep: {txn:?}");
                assert_eq!(asks(&shell, "u", Ask::Txn(&txn)).is_ok(), is, "{depth} deep: {txn:?}");
                txn = if depth % 2 == 0 {
                    otherwise(Operation::Txn(txn))
                } else {
                    then(vec![Operation::Txn(txn)])
                };
            }
        }
    }
    assert!(may(&mut shell, "root", Command::Txn(then(vec![nested(vec![write("b")])]))));
}

/// P03, CVE-2026-33413.
#[test]
fn cve_2026_33413_what_only_the_operator_does_needs_role_root() {
    let mut shell = guarded(&[(ReadWrite, "\0", "\0")]);
    let raise =
        |action| Command::Alarm(Alarm { action, alarm: AlarmMember { member: 1, kind: AlarmKind::NoSpace } });
    for command in [
        Command::Compact(Compact { revision: 2, physical: false }),
        raise(AlarmAction::Activate),
        raise(AlarmAction::Deactivate),
        user_add("v"),
        grant_role("u", "root"),
        Command::Auth(Change::UserChangePassword { name: "u".into(), password: hash() }),
        allow("r", Read, "a", ""),
        DISABLE,
        ENABLE,
    ] {
        assert!(!may(&mut shell, "u", command.clone()), "{command:?}");
    }
    for ask in [Ask::Operate, Ask::UserList, Ask::RoleList, Ask::UserGet("root"), Ask::RoleGet("root")] {
        assert_eq!(asks(&shell, "u", ask), Err(AuthError::PermissionDenied), "{ask:?}");
        assert_eq!(asks(&shell, "root", ask), Ok(()), "{ask:?}");
    }
    for ask in
        [Ask::Status, Ask::AlarmList, Ask::MemberList, Ask::UserGet("u"), Ask::RoleGet("r"), Ask::LeaseLeases]
    {
        assert_eq!(asks(&shell, "u", ask), Ok(()), "{ask:?}");
    }
}

// State and bytes.

/// D12, etcd #14648.
#[test]
fn a_snapshot_carries_users_roles_and_whether_they_count() {
    let mut shell = guarded(&[(Read, "a", "c"), (ReadWrite, "b", "")]);
    let mut restored = shell.restored();
    assert_eq!(
        (restored.digest(), restored.view().auth()),
        (shell.keyspace.digest(), shell.keyspace.view().auth())
    );
    let (at, command) =
        (quorate_consensus::Position::new(1, 99), by(&shell, "u", Command::Put(put("b", "1"))).encode());
    assert_eq!(restored.apply(at, &command), shell.keyspace.apply(at, &command));
    let other = by(&shell, "root", user_add("v"));
    shell.ok(other);
    assert_ne!(restored.digest(), shell.keyspace.digest(), "users are in the digest");
}

#[test]
fn users_that_could_not_have_come_about_are_in_no_snapshot() {
    let restore = |auth: &str| {
        let auth = unhex(&auth.replace(' ', ""));
        let head = [&unhex("03 02 00 01 00 00 00".replace(' ', "").as_str())[..], &[auth.len() as u8], &auth]
            .concat();
        let bytes = [&head[..], &unhex("00000000000000000000")].concat();
        Keyspace::restore(&mut std::iter::once(Bytes::from(bytes))).map(|_| ())
    };
    // On · revision · users · roles. 7500: user u without a password, and no roles.
    assert!(
        matches!(restore("00 02 01 0175 00 00 00"), Err(RestoreError::Digest { .. })),
        "only the digest is wrong"
    );
    let wrong = |what| Err(RestoreError::Malformed(DecodeError::Invalid { what }));
    assert_eq!(restore("00 01 00 00"), wrong("users and roles"), "a revision that no change has taken");
    assert_eq!(restore("01 02 01 0175 00 00 00"), wrong("users and roles"), "on, without root");
    assert_eq!(
        restore("00 02 01 0175 00 01 0172 00"),
        wrong("users and roles"),
        "a role that does not exist"
    );
    assert_eq!(restore("00 02 01 00 00 00 00"), wrong("name"));
    assert_eq!(restore("00 02 02 0175 00 00 0175 00 00 00"), wrong("order of users and roles"));
    assert_eq!(restore("00 02 00 01 0172 01 00 0162 0161"), wrong("interval of a permission"));
    assert_eq!(restore("00 02 01 0175 01 0161 00 00"), wrong("hash of a password"));
}

#[test]
fn the_bytes_of_commands_stay_what_they_are() {
    let name = || "u".to_owned();
    let hashed = format!("3c{}", HASH.bytes().map(|byte| format!("{byte:02x}")).collect::<String>());
    let authenticate = Authenticate { user: name(), token: TokenDigest([0xab; 32]), auth_revision: 3 };
    for (command, hex) in [
        (ENABLE, "010e01".to_owned()),
        (DISABLE, "010e02".to_owned()),
        (user_add("u"), format!("010e03017501{hashed}")),
        (Command::Auth(Change::UserAdd { name: name(), password: None }), "010e03017500".to_owned()),
        (Command::Auth(Change::UserDelete { name: name() }), "010e040175".to_owned()),
        (
            Command::Auth(Change::UserChangePassword { name: name(), password: hash() }),
            format!("010e050175{hashed}"),
        ),
        (grant_role("u", "r"), "010e0601750172".to_owned()),
        (
            Command::Auth(Change::UserRevokeRole { user: name(), role: "r".into() }),
            "010e0701750172".to_owned(),
        ),
        (role_add("r"), "010e080172".to_owned()),
        (Command::Auth(Change::RoleDelete { name: "r".into() }), "010e090172".to_owned()),
        (allow("r", ReadWrite, "a", "b"), "010e0a01720201610162".to_owned()),
        (
            Command::Auth(Change::RoleRevokePermission {
                role: "r".into(),
                key: "a".into(),
                range_end: "\0".into(),
            }),
            "010e0b017201610100".to_owned(),
        ),
        (Command::Authenticate(authenticate), format!("010f0175{}03", "ab".repeat(32))),
        (
            Command::As(As { caller: name(), auth_revision: 300, command: Box::new(Command::Sweep) }),
            "01100175ac0209".to_owned(),
        ),
    ] {
        assert_eq!(command.encode(), unhex(&hex), "{command:?}");
        assert_eq!(Command::decode(&command.encode()).as_ref(), Ok(&command));
    }
}

#[test]
fn users_and_roles_are_bounded() {
    let mut shell = Shell::new();
    let name = |number: usize| format!("{number}{}", "x".repeat(1 << 20));
    for number in 0..3 {
        shell.ok(role_add(&name(number)));
    }
    refused(&mut shell, role_add(&name(3)), AuthError::TooLarge);
    shell.ok(Command::Auth(Change::RoleDelete { name: name(0) }));
    shell.ok(role_add(&name(3)));
}

/// Quota, alarms and checks look at the command within.
#[test]
fn a_command_in_somebodys_name_is_bounded_like_any_other() {
    let mut shell = guarded(&[(ReadWrite, "a", "")]);
    let write = by(&shell, "u", Command::Put(put("a", "1")));
    assert_eq!(write.cost_bytes(), RECORD_BYTES + 2);
    shell.ok(Command::SetQuota(SetQuota { bytes: 10 }));
    assert_eq!(shell.refused(write.clone()), KeyspaceError::NoSpace);
    assert_eq!(shell.keyspace.view().admits(&write), Err(KeyspaceError::NoSpace));
    let empty = by(&shell, "root", Command::Put(put("", "")));
    assert_eq!(quorate_keyspace::check(&empty, &Limits::default()), Err(KeyspaceError::EmptyKey));
    let create = by(&shell, "root", Command::LeaseGrant { id: LeaseId::NONE, ttl_s: 1 });
    shell.ok(Command::SetQuota(SetQuota { bytes: -1 }));
    assert_eq!(shell.refused(create), KeyspaceError::Malformed);
}

//! Known bugs of etcd's, planted: `cargo test -p quorate-keyspace --features planted-bugs`. Each must be reached, and must make the
//! keyspace differ from the oracle; without the plant the same log must not.
#![cfg(feature = "planted-bugs")]

#[path = "common/auth_oracle.rs"]
mod auth_oracle;
mod common;

use bytes::Bytes;
use common::Model;
use quorate_consensus::{Position, StateMachine, hunt_plant};
use quorate_keyspace::*;

/// Is each done if and only if the oracle of who may what lets it?
fn is_found_by_the_oracle(
    plant: &str,
    permissions: &[(PermissionKind, &str, &str)],
    asks: &[auth_oracle::Asked],
) {
    hunt_plant(plant, "E8", asks, |asked| assert!(auth_oracle::agrees(permissions, asked)));
}

/// Does the keyspace answer as the oracle does, and end up with what the oracle has? And does a replica that was restored half-way stay
/// equal to it?
fn agrees(log: &[Command]) -> bool {
    let (mut keyspace, mut model) = (Keyspace::new(), Model::new());
    let mut restored = Keyspace::new();
    for (index, command) in log.iter().enumerate() {
        let at = Position::new(1, index as u64 + 1);
        let placed = keyspace.apply(at, &command.encode());
        if (placed.response, placed.events) != model.apply(at, command) {
            return false;
        }
        if index == log.len() / 2 {
            restored = Keyspace::restore(&mut keyspace.snapshot()).unwrap();
        } else {
            restored.apply(at, &command.encode());
        }
        if restored.digest() != keyspace.digest() {
            return false;
        }
    }
    let zero = Bytes::from_static(b"\0");
    (model.compacted.max(1)..=model.revision()).all(|revision| {
        let range = Range {
            key: zero.clone(),
            range_end: zero.clone(),
            revision: revision as i64,
            ..Range::default()
        };
        keyspace.view().range(&range) == model.range(&range, &model.states[revision as usize])
    })
}

fn is_found(plant: &str, checker: &str, log: &[Command]) {
    hunt_plant(plant, checker, [log], |log| assert!(agrees(log)));
}

fn put(key: &'static str, value: &'static str) -> Command {
    Command::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
}

fn delete(key: &'static str) -> Command {
    Command::DeleteRange(DeleteRange { key: key.into(), ..DeleteRange::default() })
}

fn compact(revision: i64) -> Command {
    Command::Compact(Compact { revision, physical: true })
}

fn grant(id: i64) -> Command {
    Command::LeaseGrant { id: LeaseId(id), ttl_s: 10 }
}

fn hang(key: &'static str, lease: i64) -> Command {
    Command::Put(Put { key: key.into(), lease: LeaseId(lease), ..Put::default() })
}

#[test]
fn m01_a_range_that_does_not_see_the_deletion_before_it_is_found() {
    let deletion = Operation::DeleteRange(DeleteRange { key: "a".into(), ..DeleteRange::default() });
    let read = Operation::Range(Range { key: "a".into(), ..Range::default() });
    let txn = Command::Txn(Txn { success: vec![deletion, read], ..Txn::default() });
    is_found("M01", "E1", &[put("a", "1"), txn]);
}

#[test]
fn m02_a_range_at_a_compacted_revision_within_a_transaction_is_found() {
    let read = Operation::Range(Range { key: "a".into(), revision: 2, ..Range::default() });
    let write = Operation::Put(Put { key: "b".into(), ..Put::default() });
    let txn = Command::Txn(Txn { success: vec![write, read], ..Txn::default() });
    is_found("M02", "E1", &[put("a", "1"), put("a", "2"), compact(3), txn]);
}

#[test]
fn m03_a_revision_taken_by_a_transaction_that_only_reads_is_found() {
    is_found("M03", "E2", &[put("a", "1"), Command::Txn(Txn::default()), put("a", "2")]);
}

#[test]
fn m04_a_generation_that_does_not_begin_at_version_1_is_found() {
    is_found("M04", "E7", &[put("a", "1"), delete("a"), put("a", "2")]);
}

#[test]
fn m05_a_compaction_that_takes_the_living_version_is_found() {
    is_found("M05", "E6", &[put("a", "1"), put("b", "1"), put("a", "2"), compact(3), Command::Sweep]);
}

#[test]
fn m06_a_key_deleted_by_the_lease_that_it_hung_on_once_is_found() {
    for again in [put("a", "1"), hang("a", 8)] {
        is_found(
            "M06",
            "E5",
            &[grant(7), grant(8), hang("a", 7), again, Command::LeaseRevoke { id: LeaseId(7) }],
        );
    }
}

#[test]
fn m07_a_sweep_at_a_replicas_own_pace_is_found() {
    let mut log = vec![put("a", "1"); 30];
    log.push(compact(31));
    log.extend(vec![put("a", "2"); 6]);
    is_found("M07", "I10", &log);
}

#[test]
fn e10_a_lease_ended_by_the_steward_of_an_earlier_leader_is_found() {
    is_found("E10", "I19", &[grant(7), Command::LeaseExpire { epoch: 0, leases: vec![(LeaseId(7), 1)] }]);
}

#[test]
fn e14_a_lease_ended_by_a_decision_on_an_earlier_one_of_its_id_is_found() {
    let (revoke, expire) = (
        Command::LeaseRevoke { id: LeaseId(7) },
        Command::LeaseExpire { epoch: 1, leases: vec![(LeaseId(7), 1)] },
    );
    is_found("E14", "E5", &[grant(7), revoke, grant(7), hang("a", 7), expire]);
}

/// {The last change is a deletion, a compaction at its revision takes it along, and the node starts again}: of what is left, the newest is older.
#[test]
fn d17_a_revision_that_is_found_anew_in_what_a_compaction_left_is_found() {
    is_found(
        "D17",
        "E2",
        &[put("a", "1"), delete("a"), compact(3), Command::Sweep, put("b", "1"), put("b", "2")],
    );
}

#[test]
fn d15_a_snapshot_whose_revision_is_not_that_of_its_records_is_found() {
    is_found("D15", "I16", &[put("a", "1"), put("a", "2"), put("a", "3"), put("a", "4")]);
}

#[test]
fn e15_a_lease_that_outlives_every_clock_is_found() {
    is_found("E15", "E5", &[Command::LeaseGrant { id: LeaseId(-7), ttl_s: i64::MAX }]);
}

/// Whatever is logged of a command, the hash of a password is not in it.
#[test]
fn p10_a_hash_that_a_log_could_show_is_found() {
    let hash = format!("$2b$10${}", "x".repeat(53));
    let password = PasswordHash::new(hash.clone()).map(Box::new);
    let add = |password: &Option<Box<PasswordHash>>| password.as_deref().cloned();
    hunt_plant("P10", "E8", [()], |()| {
        let command = Command::Auth(Change::UserAdd { name: "u".into(), password: add(&password) });
        assert!(!format!("{command:?}").contains(&hash[7..]));
    });
}

use auth_oracle::Asked;
use quorate_keyspace::PermissionKind::{Read, ReadWrite};

#[test]
fn p01_a_nested_transaction_that_nobody_looks_at_is_found() {
    let read = Operation::Range(Range { key: "b".into(), ..Range::default() });
    let inner = Operation::Txn(Txn { success: vec![read], ..Txn::default() });
    let txn = Command::Txn(Txn { failure: vec![inner], ..Txn::default() });
    is_found_by_the_oracle("P01", &[(Read, "a", "")], &[Asked::Command(txn)]);
}

#[test]
fn p02_the_lease_of_a_nested_put_that_nobody_looks_at_is_found() {
    let put = Put { key: "a".into(), lease: LeaseId(7), ..Put::default() };
    let inner = Operation::Txn(Txn { success: vec![Operation::Put(put)], ..Txn::default() });
    let txn = Command::Txn(Txn { success: vec![inner], ..Txn::default() });
    is_found_by_the_oracle("P02", &[(ReadWrite, "a", "")], &[Asked::Command(txn)]);
}

#[test]
fn p03_a_compaction_by_anybody_is_found() {
    is_found_by_the_oracle("P03", &[], &[Asked::Command(compact(1))]);
}

#[test]
fn p04_the_keys_of_a_lease_told_to_anybody_are_found() {
    is_found_by_the_oracle("P04", &[(Read, "a", "")], &[Asked::TimeToLive(7, true)]);
}

#[test]
fn w09_a_watch_of_all_from_a_key_on_by_a_permission_on_that_key_is_found() {
    let watch = Asked::Watch("a".into(), "\0".into());
    is_found_by_the_oracle("W09c", &[(Read, "a", "")], &[watch]);
}

#[test]
fn p05_a_command_of_an_older_auth_revision_is_found() {
    let late = |()| {
        let mut shell = auth_oracle::guarded(&[(ReadWrite, "a", "")]);
        let write = shell.by("u", put("a", "1"));
        let change = shell.by("root", Command::Auth(Change::RoleAdd { name: "s".into() }));
        shell.apply(&change).unwrap();
        assert_eq!(shell.apply(&write), Err(KeyspaceError::Auth(AuthError::AuthOldRevision)));
    };
    hunt_plant("P05", "E8", [()], late);
}

#[test]
fn p06_a_permission_on_an_interval_that_ends_before_it_begins_is_found() {
    let permission = Permission { kind: Read, key: "b".into(), range_end: "a".into() };
    let grant = Command::Auth(Change::RoleGrantPermission { role: "r".into(), permission });
    hunt_plant("P06", "E8", [()], |()| {
        let mut shell = auth_oracle::guarded(&[]);
        let grant = shell.by("root", grant.clone());
        assert_eq!(shell.apply(&grant), Err(KeyspaceError::Auth(AuthError::InvalidAuthManagement)));
    });
}

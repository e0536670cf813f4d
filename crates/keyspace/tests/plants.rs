//! Known bugs of etcd's, planted: `cargo test -p quorate-keyspace --features planted-bugs`. Each must be reached, and must make the
//! keyspace differ from the oracle; without the plant the same log must not.
#![cfg(feature = "planted-bugs")]

mod common;

use bytes::Bytes;
use common::Model;
use quorate_consensus::{Position, StateMachine, activate_plant, plant_triggers};
use quorate_keyspace::*;

/// Does the keyspace answer as the oracle does, and end up with what the oracle has?
fn agrees(log: &[Command]) -> bool {
    let (mut keyspace, mut model) = (Keyspace::new(), Model::new());
    for (index, command) in log.iter().enumerate() {
        let at = Position::new(1, index as u64 + 1);
        let placed = keyspace.apply(at, &command.encode());
        if (placed.response, placed.events) != model.apply(at, command) {
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

fn is_found(plant: &str, log: &[Command]) {
    activate_plant("");
    assert!(agrees(log), "without the plant all is well");
    activate_plant(plant);
    assert!(!agrees(log), "{plant} was not found");
    assert!(plant_triggers() > 0, "{plant} was not reached");
    activate_plant("");
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

#[test]
fn m02_a_range_at_a_compacted_revision_within_a_transaction_is_found() {
    let read = Operation::Range(Range { key: "a".into(), revision: 2, ..Range::default() });
    let write = Operation::Put(Put { key: "b".into(), ..Put::default() });
    let txn = Command::Txn(Txn { success: vec![write, read], ..Txn::default() });
    is_found("M02", &[put("a", "1"), put("a", "2"), compact(3), txn]);
}

#[test]
fn m03_a_revision_taken_by_a_transaction_that_only_reads_is_found() {
    is_found("M03", &[put("a", "1"), Command::Txn(Txn::default()), put("a", "2")]);
}

#[test]
fn m04_a_generation_that_does_not_begin_at_version_1_is_found() {
    is_found("M04", &[put("a", "1"), delete("a"), put("a", "2")]);
}

#[test]
fn m05_a_compaction_that_takes_the_living_version_is_found() {
    is_found("M05", &[put("a", "1"), put("b", "1"), put("a", "2"), compact(3), Command::Sweep]);
}

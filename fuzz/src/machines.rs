//! The state machines: logs of commands beside the naive models of their tests, snapshots, and who may do what beside its oracle.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use quorate_consensus::{Position, StateMachine};
use quorate_keyspace::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, Keyspace, LeaseId, Operation, Permission,
    PermissionKind, Put, Range, Txn,
};
use quorate_placement::Placement;
use quorate_znodes::Znodes;

use crate::{
    auth_oracle::{self, Asked, Oracle},
    keyspace_model,
    script::{Script, write_piece},
    znodes_model,
};

/// Commands of a log; the models look at everything each time.
const COMMANDS_MAX: u64 = 60;

/// What a strategy of the tests draws, always the same.
fn drawn<T>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).expect("it draws").current()).collect()
}

fn pieces<T>(log: &[T], encode: impl Fn(&T) -> Bytes) -> Vec<u8> {
    let mut bytes = Vec::new();
    log.iter().for_each(|command| write_piece(&mut bytes, &encode(command)));
    bytes
}

pub(crate) fn keyspace(bytes: &[u8]) {
    let (mut script, mut keyspace, mut model) =
        (Script::new(bytes), Keyspace::new(), keyspace_model::Model::new());
    for index in 1..=COMMANDS_MAX {
        if script.is_over() {
            break;
        }
        let (bytes, at) = (script.piece(), Position::new(1, index));
        match Command::decode(&bytes) {
            // Users have an oracle of their own.
            Ok(Command::Auth(_) | Command::Authenticate(_) | Command::As(_)) => {
                let placed = restored(&keyspace).apply(at, &bytes);
                assert_eq!(
                    keyspace.apply(at, &bytes),
                    placed,
                    "a replica that was restored answers otherwise"
                );
                break;
            }
            Ok(command) => {
                let placed = keyspace.apply(at, &bytes);
                let (response, news) = model.apply(at, &command);
                assert_eq!((&placed.response, &placed.events), (&response, &news), "{command:?}");
            }
            // No replica executes it, and none dies of it.
            Err(_) => drop(keyspace.apply(at, &bytes)),
        }
    }
    assert_eq!(restored(&keyspace).digest(), keyspace.digest());
}

fn restored<S: StateMachine>(machine: &S) -> S {
    S::restore(&mut machine.snapshot()).expect("its own snapshot")
}

pub(crate) fn keyspace_seeds() -> Vec<Vec<u8>> {
    drawn(keyspace_model::generate::log(), 40).iter().map(|log| pieces(log, Command::encode)).collect()
}

pub(crate) fn znodes(bytes: &[u8]) {
    let (mut script, mut znodes, mut model) =
        (Script::new(bytes), Znodes::new(), znodes_model::model::Model::new());
    for index in 1..=COMMANDS_MAX {
        if script.is_over() {
            break;
        }
        let (bytes, at) = (script.piece(), Position::new(1, index));
        let placed = znodes.apply(at, &bytes);
        if let Ok(command) = quorate_znodes::Command::decode(&bytes) {
            let (response, events) = model.apply(&command);
            assert_eq!((&placed.response, &placed.events), (&response, &events), "{command:?}");
        }
    }
    assert_eq!(restored(&znodes).digest(), znodes.digest());
}

pub(crate) fn znodes_seeds() -> Vec<Vec<u8>> {
    let logs = drawn(znodes_model::generate::log(40), 40);
    logs.iter().map(|log| pieces(log, quorate_znodes::Command::encode)).collect()
}

/// A snapshot's chunks; the first byte says whose. Either it is refused, or it is a state, which is as good as any other.
pub(crate) fn snapshots(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    match script.below(4) {
        0 => snapshot::<Keyspace>(script),
        1 => snapshot::<Znodes>(script),
        2 => snapshot::<Placement>(script),
        _ => drop(quorate_service::backup::read(&Bytes::copy_from_slice(bytes))),
    }
}

fn snapshot<S: StateMachine>(mut script: Script<'_>) {
    let mut chunks = Vec::new();
    while !script.is_over() {
        chunks.push(script.piece());
    }
    if let Ok(machine) = S::restore(&mut chunks.into_iter()) {
        assert_eq!(restored(&machine).digest(), machine.digest());
    }
}

pub(crate) fn snapshot_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for log in drawn(keyspace_model::generate::log(), 6) {
        let mut keyspace = Keyspace::new();
        for (command, index) in log.iter().zip(1..) {
            keyspace.apply(Position::new(1, index), &command.encode());
        }
        seeds.push([vec![0], pieces(&keyspace.snapshot().collect::<Vec<_>>(), Bytes::clone)].concat());
    }
    for log in drawn(znodes_model::generate::log(40), 6) {
        let mut znodes = Znodes::new();
        for (command, index) in log.iter().zip(1..) {
            znodes.apply(Position::new(1, index), &command.encode());
        }
        seeds.push([vec![1], pieces(&znodes.snapshot().collect::<Vec<_>>(), Bytes::clone)].concat());
    }
    seeds
}

/// Grants, leases and a request, all of them spelled by the script, over the alphabet of the oracle.
pub(crate) fn verdict(bytes: &[u8]) {
    let script = &mut Script::new(bytes);
    let mut oracle = Oracle { is_root: script.below(16) == 15, ..Oracle::default() };
    for lease in [7, 8, 9].into_iter().take(script.below(4)) {
        let keys: BTreeSet<Bytes> = (0..script.below(3)).map(|_| bound(script)).collect();
        // A key hangs on one lease.
        oracle
            .attached
            .values_mut()
            .for_each(|others: &mut BTreeSet<Bytes>| others.retain(|key| !keys.contains(key)));
        oracle.attached.insert(lease, keys);
    }
    let roles: Vec<Vec<Permission>> = (0..script.below(3)).map(|_| role(script)).collect();
    roles.iter().flatten().for_each(|permission| oracle.grant(permission));
    let guarded = auth_oracle::with(&oracle.attached, &roles, oracle.is_root);
    for _ in 0..4 {
        let asked = asked(script);
        assert_eq!(
            auth_oracle::verdict(&guarded, &asked),
            Ok(oracle.allows(&asked)),
            "{asked:?} under {roles:?}"
        );
    }
}

/// What a role may. A later grant of the same keys takes the place of an earlier one.
fn role(script: &mut Script<'_>) -> Vec<Permission> {
    let mut role: Vec<Permission> = Vec::new();
    for permission in (0..script.below(4)).filter_map(|_| permission(script)).collect::<Vec<_>>() {
        role.retain(|other| (&other.key, &other.range_end) != (&permission.key, &permission.range_end));
        role.push(permission);
    }
    role
}

/// One or two letters of three.
fn bound(script: &mut Script<'_>) -> Bytes {
    (0..=script.below(2)).map(|_| b"\0ab"[script.below(3)]).collect::<Vec<u8>>().into()
}

fn interval(script: &mut Script<'_>) -> (Bytes, Bytes) {
    let key = bound(script);
    let end = match script.below(4) {
        0 => Bytes::new(),
        1 => Bytes::from_static(b"\0"),
        2 => [&key[..], b"\0"].concat().into(),
        _ => bound(script),
    };
    (key, end)
}

fn permission(script: &mut Script<'_>) -> Option<Permission> {
    let kind = [PermissionKind::Read, PermissionKind::Write, PermissionKind::ReadWrite][script.below(3)];
    let (key, range_end) = interval(script);
    let names_a_key = range_end.is_empty() || range_end == b"\0"[..] || key < range_end;
    names_a_key.then_some(Permission { kind, key, range_end })
}

fn asked(script: &mut Script<'_>) -> Asked {
    let lease = [0, 7, 8, 9, 99][script.below(5)];
    match script.below(10) {
        0 => {
            let (key, end) = interval(script);
            Asked::Watch(key, end)
        }
        1 => Asked::KeepAlive(lease),
        2 => Asked::TimeToLive(lease, script.below(2) == 1),
        3 => Asked::Leases,
        4 => Asked::Command(Command::LeaseRevoke { id: LeaseId(lease) }),
        5 => Asked::Status,
        _ => Asked::Command(match operation(script, 0) {
            Operation::Put(put) => Command::Put(put),
            Operation::Range(range) => Command::Range(range),
            Operation::DeleteRange(delete) => Command::DeleteRange(delete),
            Operation::Txn(txn) => Command::Txn(txn),
            Operation::Empty => Command::LeaseGrant { id: LeaseId(lease), ttl_s: 5 },
        }),
    }
}

fn operation(script: &mut Script<'_>, depth: usize) -> Operation {
    let (flags, (key, range_end)) = (script.byte(), interval(script));
    let flag = |bit: u8| flags & 1 << bit != 0;
    match script.below(4) {
        0 => Operation::Range(Range {
            key,
            range_end,
            keys_only: flag(0),
            count_only: flag(1),
            ..Range::default()
        }),
        1 => Operation::DeleteRange(DeleteRange { key, range_end, prev_kv: flag(0) }),
        2 if depth < 4 => {
            let compare =
                Compare { key, range_end, result: CompareResult::Equal, target: CompareTarget::Version(0) };
            let branch = |script: &mut Script<'_>| {
                (0..script.below(3)).map(|_| operation(script, depth + 1)).collect()
            };
            let compare = if flag(0) { vec![compare] } else { Vec::new() };
            Operation::Txn(Txn { compare, success: branch(script), failure: branch(script) })
        }
        _ => {
            let lease = LeaseId(if flag(1) { 0 } else { [0, 7, 8, 9, 99][script.below(5)] });
            let (prev_kv, ignore_value, ignore_lease) = (flag(0), flag(2), flag(1));
            Operation::Put(Put { key, lease, prev_kv, ignore_value, ignore_lease, ..Put::default() })
        }
    }
}

pub(crate) fn verdict_seeds() -> Vec<Vec<u8>> {
    let mut random = quorate_consensus::Random::new(7);
    (0..60).map(|_| (0..120).map(|_| random.next_u64() as u8).collect()).collect()
}

//! etcd's rules on compaction, quota and alarms, and the state as a whole, one by one, each with the smallest example. Section numbers are those of etcd's API reference as the
//! project keeps it (`reference/etcd.md`); M numbers those of the catalogue of known bugs.

mod common;

use bytes::Bytes;
use common::shell::{Shell, alarm, compare, delete, nested, put, range, then, unhex};
use quorate_consensus::{Position, StateMachine};
use quorate_keyspace::*;

// Compaction.

#[test]
fn a_compaction_moves_forward_only_and_not_past_the_last_revision() {
    let mut shell = Shell::with(&[("a", "2"), ("a", "3")]);
    assert_eq!(shell.compact(4), Err(KeyspaceError::FutureRevision { current: 3 }));
    shell.compact(2).unwrap();
    assert_eq!(shell.compact(2), Err(KeyspaceError::Compacted { compacted: 2 }));
    assert_eq!(shell.compact(-1), Err(KeyspaceError::Compacted { compacted: 2 }));
    shell.compact(3).unwrap();
    assert_eq!(shell.keyspace.number(), 3);
}

/// M05.
#[test]
fn the_value_that_lives_at_the_compacted_revision_stays() {
    let mut shell = Shell::with(&[("k", "2"), ("j", "3"), ("k", "4"), ("j", "5"), ("k", "6")]);
    shell.compact(4).unwrap();
    shell.swept();
    for (revision, k, j) in [(4, "4", "3"), (5, "4", "5"), (6, "6", "5")] {
        let view = shell.keyspace.view();
        assert_eq!(view.get_at(b"k", revision).unwrap().unwrap().value, k);
        assert_eq!(view.get_at(b"j", revision).unwrap().unwrap().value, j);
    }
}

/// etcd#18089, #19179: a watch that starts at the compacted revision must see a deletion there.
#[test]
fn a_deletion_at_the_compacted_revision_can_still_be_watched_and_goes_with_the_next_compaction() {
    let mut shell = Shell::with(&[("a", "1"), ("b", "1")]);
    shell.ok(Command::DeleteRange(delete("a", "")));
    shell.compact(4).unwrap();
    shell.swept();
    let view = shell.keyspace.view();
    let seen: Vec<_> = view.changes(4).unwrap().map(|event| (event.kind, event.kv.key)).collect();
    assert_eq!(seen, [(EventKind::Delete, "a".into())]);
    assert_eq!(view.size_bytes(), 2 * RECORD_BYTES + 3);
    assert_eq!(view.changes(3).err(), Some(KeyspaceError::Compacted { compacted: 4 }));

    shell.ok(Command::Put(put("b", "2")));
    shell.compact(5).unwrap();
    shell.swept();
    assert_eq!(shell.keyspace.size_bytes(), RECORD_BYTES + 2);
}

#[test]
fn a_long_compaction_goes_step_by_step_and_a_restored_replica_goes_on_with_it() {
    let mut shell = Shell::new();
    for round in 0..3 {
        for key in 0..1500 {
            let (key, value) = (format!("key {key}"), format!("round {round}"));
            shell.ok(Command::Put(Put { key: key.into(), value: value.into(), ..Put::default() }));
        }
    }
    let size = shell.keyspace.size_bytes();
    shell.compact(4501).unwrap();
    let view = shell.keyspace.view();
    assert!(view.compaction_backlog() > 4000, "the entry of a compaction removes next to nothing");
    assert!(view.changes(4500).is_err(), "but what it compacts is unreadable at once");
    assert!(shell.keyspace.size_bytes() > size / 10 * 9);

    let mut other = Keyspace::restore(&mut shell.keyspace.snapshot()).unwrap();
    assert_eq!(other.digest(), shell.keyspace.digest());
    let mut steps = 0;
    while shell.keyspace.view().compaction_pending() {
        shell.ok(Command::Sweep);
        other.apply(Position::new(1, shell.index), &Command::Sweep.encode());
        assert_eq!(other.digest(), shell.keyspace.digest());
        assert_eq!(other.size_bytes(), shell.keyspace.size_bytes());
        steps += 1;
    }
    assert!((4..=6).contains(&steps));
    assert_eq!(shell.keyspace.size_bytes() / 3 * 10, size / 9 * 10);
    assert_eq!(shell.keyspace.view().key_count(), 1500);
}

/// {a is put and deleted in one transaction, and that revision compacted}: the put was gone from the records and stood in the log, and whoever was restored had a shorter
/// log, swept the next compaction at another pace, and had another digest at the same entry: a member that is sound would be taken for damaged.
#[test]
fn what_a_revision_hides_of_itself_stays_until_the_next_compaction_and_a_restored_replica_has_it() {
    let mut shell = Shell::with(&[("b", "1"), ("a", "1")]);
    let put = nested(vec![Operation::Put(put("a", "2"))]);
    let deletion = nested(vec![Operation::DeleteRange(delete("a", ""))]);
    shell.ok(Command::Txn(then(vec![put, deletion])));
    let at = shell.keyspace.number();
    shell.compact(at as i64).unwrap();
    shell.swept();
    let changes = |keyspace: &Keyspace| keyspace.view().changes(at).unwrap().count();
    let mut restored = Keyspace::restore(&mut shell.keyspace.snapshot()).unwrap();
    assert_eq!((changes(&shell.keyspace), changes(&restored)), (2, 2));
    let commands = [
        Command::Put(common::shell::put("b", "2")),
        Command::Compact(Compact { revision: at as i64 + 1, physical: false }),
    ];
    for (turn, command) in commands.iter().enumerate() {
        let (at, bytes) = (Position::new(1, 100 + turn as u64), command.encode());
        shell.keyspace.apply(at, &bytes);
        restored.apply(at, &bytes);
        assert_eq!(restored.view().compaction_backlog(), shell.keyspace.view().compaction_backlog());
        assert_eq!(restored.digest(), shell.keyspace.digest(), "{command:?}");
    }
}

#[test]
fn writers_alone_finish_a_compaction() {
    let mut shell = Shell::new();
    let write = |shell: &mut Shell| drop(shell.ok(Command::Put(put("a", "1"))));
    (0..100).for_each(|_| write(&mut shell));
    shell.compact(101).unwrap();
    (0..60).for_each(|_| write(&mut shell));
    assert!(!shell.keyspace.view().compaction_pending());
}

// Quota and alarms.

#[test]
fn while_nospace_is_raised_only_what_might_put_is_refused() {
    let mut shell = Shell::with(&[("a", "1"), ("b", "1")]);
    let raised = AlarmMember { member: 1, kind: AlarmKind::NoSpace };
    let raise = alarm(AlarmAction::Activate, AlarmKind::NoSpace);
    assert_eq!(shell.ok(raise.clone()), Reply::Alarm(Some(raised)));
    assert_eq!(shell.ok(raise), Reply::Alarm(Some(raised)));
    assert_eq!(shell.keyspace.view().alarms().collect::<Vec<_>>(), [raised]);

    assert_eq!(shell.refused(Command::Put(put("a", "2"))), KeyspaceError::NoSpace);
    // By its worst branch, though the other one is taken.
    let might = Txn { failure: vec![nested(vec![Operation::Put(put("a", "2"))])], ..Txn::default() };
    assert_eq!(shell.refused(Command::Txn(might)), KeyspaceError::NoSpace);
    shell.ok(Command::Txn(then(vec![Operation::DeleteRange(delete("a", ""))])));
    shell.ok(Command::DeleteRange(delete("b", "")));
    shell.compact(3).unwrap();

    let lower = alarm(AlarmAction::Deactivate, AlarmKind::NoSpace);
    assert_eq!(shell.ok(lower.clone()), Reply::Alarm(Some(raised)));
    assert_eq!(shell.ok(lower), Reply::Alarm(None));
    shell.ok(Command::Put(put("a", "2")));
}

#[test]
fn while_corrupt_is_raised_nothing_is_written() {
    let mut shell = Shell::with(&[("a", "1")]);
    shell.ok(alarm(AlarmAction::Activate, AlarmKind::Corrupt));
    for command in [
        Command::Put(put("a", "2")),
        Command::DeleteRange(delete("a", "")),
        Command::Txn(then(vec![nested(vec![])])),
        Command::Compact(Compact { revision: 2, physical: false }),
    ] {
        assert_eq!(shell.refused(command), KeyspaceError::Corrupt);
    }
    shell.ok(Command::Range(range("a", "")));
    shell.ok(Command::Txn(then(vec![Operation::Range(range("a", ""))])));
    shell.ok(alarm(AlarmAction::Deactivate, AlarmKind::Corrupt));
    shell.ok(Command::Put(put("a", "2")));
}

#[test]
fn past_the_quota_a_put_changes_nothing_and_a_compaction_makes_room() {
    let mut shell = Shell::new();
    shell.ok(Command::SetQuota(SetQuota { bytes: 1000 }));
    let write = Command::Put(put("a", "1"));
    assert_eq!(write.cost_bytes(), 258);
    for _ in 0..3 {
        assert!(!shell.keyspace.view().would_exceed(&write));
        shell.ok(write.clone());
    }
    assert_eq!(shell.keyspace.size_bytes(), 774);
    assert!(shell.keyspace.view().would_exceed(&write));
    assert_eq!(shell.keyspace.view().admits(&write), Err(KeyspaceError::NoSpace));
    assert_eq!(shell.refused(write.clone()), KeyspaceError::NoSpace);
    assert!(!shell.keyspace.view().would_exceed(&Command::DeleteRange(delete("a", ""))));

    shell.compact(4).unwrap();
    shell.swept();
    assert_eq!(shell.keyspace.size_bytes(), 258);
    shell.ok(write);
    shell.ok(Command::SetQuota(SetQuota { bytes: 0 }));
    assert_eq!(shell.keyspace.view().quota_bytes(), Some(QUOTA_BYTES_DEFAULT));
    shell.ok(Command::SetQuota(SetQuota { bytes: -1 }));
    assert_eq!(shell.keyspace.view().quota_bytes(), None);
}

#[test]
fn a_transaction_costs_its_costlier_branch_with_all_that_nests_in_it() {
    let txn = Command::Txn(Txn {
        compare: vec![],
        success: vec![Operation::Put(put("a", "1")), nested(vec![Operation::Put(put("bb", "22"))])],
        failure: vec![Operation::Put(put("c", "333"))],
    });
    assert_eq!(txn.cost_bytes(), 258 + 260);
}

#[test]
fn alarms_have_a_limit() {
    let mut shell = Shell::new();
    let raise = |member| {
        Command::Alarm(Alarm {
            action: AlarmAction::Activate,
            alarm: AlarmMember { member, kind: AlarmKind::NoSpace },
        })
    };
    for member in 0..ALARMS_MAX as u64 {
        shell.ok(raise(member));
    }
    assert_eq!(shell.refused(raise(u64::MAX)), KeyspaceError::TooManyAlarms);
    shell.ok(raise(0));
}

// The state as a whole.

#[test]
fn the_digest_covers_every_part_of_the_state() {
    let state = |commands: &[Command]| {
        let mut shell = Shell::with(&[("a", "1"), ("a", "2"), ("b", "1")]);
        for command in commands {
            shell.ok(command.clone());
        }
        shell.keyspace.digest()
    };
    let compact = |revision| Command::Compact(Compact { revision, physical: true });
    let digests = [
        state(&[]),
        state(&[Command::Put(put("a", "3"))]),
        state(&[Command::Put(put("a", "4"))]),
        state(&[Command::Put(put("c", "3"))]),
        state(&[Command::DeleteRange(delete("b", ""))]),
        state(&[compact(2)]),
        state(&[compact(3)]),
        state(&[compact(4)]),
        state(&[compact(4), Command::Sweep]),
        state(&[alarm(AlarmAction::Activate, AlarmKind::NoSpace)]),
        state(&[alarm(AlarmAction::Activate, AlarmKind::Corrupt)]),
        state(&[Command::SetQuota(SetQuota { bytes: 1 })]),
        state(&[Command::SetQuota(SetQuota { bytes: -1 })]),
    ];
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
    let back = [
        alarm(AlarmAction::Activate, AlarmKind::Corrupt),
        alarm(AlarmAction::Deactivate, AlarmKind::Corrupt),
    ];
    assert_eq!(state(&back), state(&[]));
}

#[test]
fn a_small_value_of_a_large_transaction_does_not_keep_all_of_it_in_memory() {
    let mut shell = Shell::new();
    let large = Put { key: "large".into(), value: vec![1; 100_000].into(), ..Put::default() };
    let command = Command::Txn(then(vec![Operation::Put(large), Operation::Put(put("small", "1"))])).encode();
    let (start, end) = (command.as_ptr(), command.as_ptr().wrapping_add(command.len()));
    shell.keyspace.apply(Position::new(1, 1), &command);
    let inside = |bytes: &Bytes| (start..end).contains(&bytes.as_ptr());
    let (small, large) = (shell.get("small").unwrap(), shell.get("large").unwrap());
    assert!(inside(&large.value), "a large value is not copied");
    assert!(!inside(&small.value) && !inside(&small.key) && !inside(&large.key));
}

#[test]
fn hashes_agree_between_replicas_at_different_entries_if_their_compactions_do() {
    let mut ahead = Shell::with(&[("a", "1"), ("b", "1"), ("a", "2")]);
    ahead.ok(Command::DeleteRange(delete("b", "")));
    ahead.compact(4).unwrap();
    let mut behind = Keyspace::restore(&mut ahead.keyspace.snapshot()).unwrap();
    for _ in 0..10 {
        ahead.ok(Command::Put(put("c", "1")));
    }
    let (left, right) = (ahead.keyspace.view().hash_kv(5).unwrap(), behind.view().hash_kv(0).unwrap());
    assert_eq!((left, left.compact_revision, left.hash_revision), (right, 4, 5));
    behind.apply(Position::new(1, 6), &Command::Put(put("c", "other")).encode());
    assert_ne!(ahead.keyspace.view().hash_kv(6).unwrap().hash, behind.view().hash_kv(6).unwrap().hash);
    assert_eq!(behind.view().hash_kv(3), Err(KeyspaceError::Compacted { compacted: 4 }));
}

/// Logs and snapshots outlive builds: these bytes must always read as what they were.
#[test]
fn the_formats_of_commands_and_snapshots_stay_readable() {
    let txn = Txn {
        compare: vec![compare("k", CompareResult::Greater, CompareTarget::Mod(300))],
        success: vec![
            Operation::Put(Put { prev_kv: true, ..put("k", "v") }),
            Operation::DeleteRange(delete("x", "\0")),
        ],
        failure: vec![
            Operation::Range(Range { limit: 3, sort_target: SortTarget::Mod, ..range("k", "l") }),
            nested(vec![]),
        ],
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&Command::Txn(txn).encode()), TXN);
    assert_eq!(hex(&Command::Put(Put { lease: LeaseId(-2), ..put("k", "v") }).encode()), PUT);

    let mut shell = Shell::with(&[("a", "1"), ("b", "1"), ("a", "2")]);
    shell.ok(Command::DeleteRange(delete("b", "")));
    shell.ok(alarm(AlarmAction::Activate, AlarmKind::NoSpace));
    shell.compact(3).unwrap();
    let bytes: Vec<u8> = shell.keyspace.snapshot().flatten().collect();
    assert_eq!(hex(&bytes), SNAPSHOT);
    for snapshot in [SNAPSHOT, SNAPSHOT_VERSION_2, SNAPSHOT_VERSION_1] {
        let restored = Keyspace::restore(&mut std::iter::once(unhex(snapshot))).unwrap();
        assert_eq!(restored.digest(), shell.keyspace.digest());
    }
}

const TXN: &str = "01040121016b00d804020101016b01760200017801000203b001016b016c0604000000";
const PUT: &str = "010108016b017603";
const SNAPSHOT: &str = "03050303010180808080080101010000010161020001020001310204000202000132010162030001030001310205000000d75df3d45b8124eb";
/// Before there were users.
const SNAPSHOT_VERSION_2: &str = "020503030101808080800801010100010161020001020001310204000202000132010162030001030001310205000000d75df3d45b8124eb";
/// Before there were leases.
const SNAPSHOT_VERSION_1: &str = "0105030301018080808008010101010161020001020001310204000202000132010162030001030001310205000000d75df3d45b8124eb";

#[test]
fn a_snapshot_of_many_chunks_is_whole_wherever_it_is_cut() {
    let mut shell = Shell::new();
    for round in 0..4usize {
        for key in 0..300usize {
            // Lengths that put the cuts everywhere: within values, between a key's versions, between keys.
            let bytes = if (round, key) == (2, 100) { 300_000 } else { (key * 977 + round * 131) % 5000 };
            let (key, value) = (format!("key {key:03}"), vec![round as u8; bytes]);
            shell.ok(Command::Put(Put { key: key.into(), value: value.into(), ..Put::default() }));
        }
        shell.ok(Command::DeleteRange(delete("key 2", "key 21")));
    }
    let snapshot = shell.keyspace.snapshot();
    let digest = shell.keyspace.digest();
    // Applying goes on.
    shell.ok(Command::DeleteRange(delete("\0", "\0")));
    let chunks: Vec<_> = snapshot.collect();
    let (last, full) = chunks.split_last().unwrap();
    assert!(full.len() > 40 && full.iter().all(|chunk| chunk.len() == Keyspace::CHUNK_BYTES_MAX));
    assert!(last.len() <= Keyspace::CHUNK_BYTES_MAX);
    let restored = Keyspace::restore(&mut chunks.into_iter()).unwrap();
    assert_eq!(restored.digest(), digest);
    assert_eq!(restored.view().get_at(b"key 100", restored.number()).unwrap().unwrap().version, 4);
    assert_eq!(restored.view().changes(2).unwrap().count(), 1240);
}

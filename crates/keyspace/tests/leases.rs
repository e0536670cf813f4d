//! Leases, rule by rule, each with the smallest example. Section numbers are those of etcd's API reference as the project keeps it
//! (`reference/etcd.md`); M and E numbers those of the catalogue of known bugs.

mod common;

use bytes::Bytes;
use common::shell::{Shell, alarm, checkpoint, delete, expire, hang, nested, put, revoke, then, unhex};
use quorate_consensus::{DecodeError, RestoreError, StateMachine};
use quorate_keyspace::*;

const ID: LeaseId = LeaseId(7);

fn grant(id: i64, ttl_s: i64) -> Command {
    Command::LeaseGrant { id: LeaseId(id), ttl_s }
}

/// What an entry told, a word or two each.
fn told(news: &[News]) -> Vec<String> {
    let word = |news: &News| match news {
        News::Changed(event) => {
            format!("{:?} {} {}", event.kind, str::from_utf8(&event.kv.key).unwrap(), event.sub)
        }
        News::Granted(lease) => format!("granted {}", lease.id.0),
        News::Checkpointed(lease) => format!("left of {}: {}", lease.id.0, lease.remaining_s),
        News::Ended { id, granted } => format!("ended {} of {granted}", id.0),
        other => format!("{other:?}"),
    };
    news.iter().map(word).collect()
}

// Grants.

#[test]
fn a_grant_is_the_lease_of_its_entry_and_takes_no_revision() {
    let mut shell = Shell::with(&[("a", "1")]);
    let (response, news) = shell.apply_at(3, grant(7, 60));
    let lease = Lease { id: ID, ttl_s: 60, granted: 2, remaining_s: 0 };
    assert_eq!(response, Response { revision: 2, result: Ok(Reply::LeaseGrant(lease)) });
    assert_eq!(news, [News::Granted(lease)]);
    let view = shell.keyspace.view();
    assert_eq!((view.lease(ID), view.lease(LeaseId(8)), view.revision()), (Some(lease), None, 2));
    assert_eq!(shell.refused(grant(7, 60)), KeyspaceError::LeaseExists);
}

/// E15.
#[test]
fn a_grant_needs_an_id_and_a_time_to_live_that_can_be() {
    let mut shell = Shell::new();
    assert_eq!(shell.refused(grant(0, 60)), KeyspaceError::Malformed);
    for ttl_s in [0, -1, i64::MIN] {
        assert_eq!(shell.refused(grant(7, ttl_s)), KeyspaceError::Malformed);
    }
    for ttl_s in [LEASE_TTL_S_MAX + 1, i64::MAX] {
        assert_eq!(shell.refused(grant(7, ttl_s)), KeyspaceError::LeaseTtlTooLarge);
    }
    shell.grant(-7, 1);
    shell.grant(i64::MAX, LEASE_TTL_S_MAX);
    shell.grant(i64::MIN, 1);
    let ids: Vec<i64> = shell.keyspace.view().leases().map(|lease| lease.id.0).collect();
    assert_eq!(ids, [i64::MIN, -7, i64::MAX]);
    assert_eq!(shell.keyspace.view().lease_count(), 3);
}

// Attachments.

#[test]
fn a_put_hangs_its_key_on_its_lease_and_each_put_says_anew_on_which() {
    let mut shell = Shell::new();
    shell.grant(7, 60);
    shell.grant(8, 60);
    shell.ok(Command::Put(hang("b", 7)));
    shell.ok(Command::Put(hang("a", 7)));
    assert_eq!((&*shell.attached(7), &*shell.attached(8)), ("a b ", ""));
    // The same again.
    shell.ok(Command::Put(hang("a", 7)));
    assert_eq!(shell.attached(7), "a b ");
    // Another.
    shell.ok(Command::Put(hang("a", 8)));
    assert_eq!((&*shell.attached(7), &*shell.attached(8)), ("b ", "a "));
    // None.
    shell.ok(Command::Put(put("a", "1")));
    assert_eq!((&*shell.attached(7), &*shell.attached(8)), ("b ", ""));
    assert_eq!(shell.get("a").unwrap().lease, LeaseId::NONE);
    // The one that is there.
    shell.ok(Command::Put(Put { ignore_lease: true, ..put("b", "2") }));
    assert_eq!((shell.attached(7), shell.get("b").unwrap().lease), ("b ".into(), ID));
    shell.ok(Command::Put(Put { ignore_lease: true, ..put("a", "2") }));
    assert_eq!(shell.attached(7), "b ");
    // Dead keys hang on nothing.
    shell.ok(Command::DeleteRange(delete("a", "\0")));
    assert_eq!(shell.attached(7), "");
}

/// M06.
#[test]
fn a_key_does_not_go_with_a_lease_that_it_hung_on_once() {
    for again in [put("a", "2"), hang("a", 8)] {
        let mut shell = Shell::new();
        shell.grant(7, 60);
        shell.grant(8, 60);
        shell.ok(Command::Put(hang("a", 7)));
        shell.ok(Command::Put(again.clone()));
        let (response, news) = shell.apply_at(1, revoke(7));
        assert_eq!((response.revision, told(&news)), (3, vec!["ended 7 of 1".into()]));
        assert_eq!(shell.get("a").unwrap().lease, again.lease);
    }
}

#[test]
fn a_put_on_a_lease_that_does_not_exist_is_refused_before_the_first_write_of_its_transaction() {
    let mut shell = Shell::new();
    assert_eq!(shell.refused(Command::Put(hang("a", 7))), KeyspaceError::LeaseNotFound(ID));
    let txn = then(vec![Operation::Put(put("a", "1")), nested(vec![Operation::Put(hang("b", 7))])]);
    assert_eq!(shell.refused(Command::Txn(txn)), KeyspaceError::LeaseNotFound(ID));
    // On the branch that is not taken it does not matter.
    let txn =
        Txn { failure: vec![Operation::Put(hang("b", 7))], ..then(vec![Operation::Put(put("a", "1"))]) };
    shell.ok(Command::Txn(txn));
    shell.grant(7, 60);
    shell.ok(revoke(7));
    assert_eq!(shell.refused(Command::Put(hang("a", 7))), KeyspaceError::LeaseNotFound(ID));
}

#[test]
fn what_a_transaction_puts_and_deletes_again_hangs_on_nothing() {
    let mut shell = Shell::new();
    shell.grant(7, 60);
    shell.grant(8, 60);
    shell.ok(Command::Put(hang("a", 8)));
    let both = then(vec![
        nested(vec![Operation::Put(hang("a", 7)), Operation::Put(hang("b", 7))]),
        nested(vec![Operation::DeleteRange(delete("a", ""))]),
    ]);
    shell.ok(Command::Txn(both));
    assert_eq!((&*shell.attached(7), &*shell.attached(8)), ("b ", ""));
}

// Ends.

/// §1.5: in one revision, in the order of keys, so that replicas agree.
#[test]
fn a_revocation_deletes_the_keys_in_their_order_in_one_revision() {
    let mut shell = Shell::new();
    shell.grant(7, 60);
    shell.grant(8, 60);
    for key in ["c", "a", "b"] {
        shell.ok(Command::Put(hang(key, 7)));
    }
    shell.ok(Command::Put(hang("aa", 8)));
    shell.ok(Command::Put(put("ab", "1")));
    let (response, news) = shell.apply_at(1, revoke(7));
    assert_eq!(response, Response { revision: 7, result: Ok(Reply::LeaseRevoke) });
    assert_eq!(told(&news), ["Delete a 0", "Delete b 1", "Delete c 2", "ended 7 of 1"]);
    assert_eq!((shell.keyspace.view().lease(ID), shell.keyspace.view().key_count()), (None, 2));
    assert_eq!(shell.refused(revoke(7)), KeyspaceError::LeaseNotFound(ID));
    assert_eq!(shell.refused(revoke(0)), KeyspaceError::LeaseNotFound(LeaseId::NONE));
}

#[test]
fn the_end_of_a_lease_without_keys_takes_no_revision() {
    let mut shell = Shell::with(&[("a", "1")]);
    let lease = shell.grant(7, 60);
    let (response, news) = shell.apply_at(1, expire(1, &[lease]));
    assert_eq!(response, Response { revision: 2, result: Ok(Reply::LeaseExpire(1)) });
    assert_eq!(told(&news), ["ended 7 of 2"]);
    assert_eq!(shell.apply_at(1, expire(1, &[lease])).0.result, Ok(Reply::LeaseExpire(0)));
    assert_eq!(shell.keyspace.number(), 2);
}

#[test]
fn an_expiry_of_many_leases_is_one_revision() {
    let mut shell = Shell::new();
    let leases = [8, 7, 9].map(|id| shell.grant(id, 60));
    for (key, id) in [("d", 7), ("a", 8), ("c", 8), ("b", 7)] {
        shell.ok(Command::Put(hang(key, id)));
    }
    // One of them is named twice, one is gone.
    let gone = Lease { id: LeaseId(1), ..leases[0] };
    let over = [leases[0], gone, leases[1], leases[0]];
    let (response, news) = shell.apply_at(1, expire(1, &over));
    assert_eq!(response, Response { revision: 6, result: Ok(Reply::LeaseExpire(2)) });
    let expected = ["Delete a 0", "Delete c 1", "ended 8 of 1", "Delete b 2", "Delete d 3", "ended 7 of 2"];
    assert_eq!(told(&news), expected);
    assert_eq!(shell.keyspace.view().leases().collect::<Vec<_>>(), [leases[2]]);
}

/// E10, E12: the entry's own epoch is the leader's that took it into the log.
#[test]
fn the_word_of_an_earlier_leaders_steward_does_not_count() {
    let mut shell = Shell::new();
    let lease = shell.grant(7, 60);
    for (entry, steward) in [(2, 1), (1, 2), (1, 0)] {
        for word in [expire(steward, &[lease]), checkpoint(steward, lease, 5)] {
            let (response, news) = shell.apply_at(entry, word);
            assert_eq!((response.result, news), (Err(KeyspaceError::StaleSteward), vec![]));
        }
    }
    assert_eq!(shell.keyspace.view().lease(ID), Some(lease));
    assert_eq!(shell.apply_at(2, expire(2, &[lease])).0.result, Ok(Reply::LeaseExpire(1)));
}

/// E14.
#[test]
fn a_steward_that_means_an_earlier_grant_of_the_id_ends_and_notes_nothing() {
    let mut shell = Shell::new();
    let first = shell.grant(7, 60);
    shell.ok(revoke(7));
    let second = shell.grant(7, 60);
    shell.ok(Command::Put(hang("a", 7)));
    assert_eq!(shell.ok(expire(1, &[first])), Reply::LeaseExpire(0));
    shell.ok(checkpoint(1, first, 5));
    assert_eq!((shell.keyspace.view().lease(ID), &*shell.attached(7)), (Some(second), "a "));
}

#[test]
fn a_lease_granted_again_begins_without_keys() {
    let mut shell = Shell::new();
    shell.grant(7, 60);
    shell.ok(Command::Put(hang("a", 7)));
    shell.ok(revoke(7));
    shell.ok(Command::Put(put("a", "1")));
    shell.grant(7, 60);
    assert_eq!(shell.attached(7), "");
}

// Checkpoints.

#[test]
fn a_checkpoint_notes_what_is_left_and_takes_no_revision() {
    let mut shell = Shell::with(&[("a", "1")]);
    let lease = shell.grant(7, 60);
    let (response, news) = shell.apply_at(1, checkpoint(1, lease, 59));
    assert_eq!(response, Response { revision: 2, result: Ok(Reply::LeaseCheckpoint) });
    assert_eq!(news, [News::Checkpointed(Lease { remaining_s: 59, ..lease })]);
    assert_eq!(shell.keyspace.view().lease(ID), Some(Lease { remaining_s: 59, ..lease }));
    for all_or_nothing in [60, 61, i64::MAX, 0] {
        shell.ok(checkpoint(1, lease, 1));
        assert_eq!(told(&shell.apply_at(1, checkpoint(1, lease, all_or_nothing)).1), ["left of 7: 0"]);
        assert_eq!(shell.keyspace.view().lease(ID), Some(lease));
    }
    assert_eq!(shell.refused(checkpoint(1, lease, -1)), KeyspaceError::Malformed);
    // One that is gone is left out.
    shell.ok(revoke(7));
    assert!(shell.apply_at(1, checkpoint(1, lease, 5)).1.is_empty());
}

#[test]
fn a_command_on_leases_has_a_limit() {
    let mut shell = Shell::new();
    let lease = shell.grant(7, 60);
    let expiry = |count| Command::LeaseExpire { epoch: 1, leases: vec![(ID, lease.granted); count] };
    let checkpoints = |count| Command::LeaseCheckpoint { epoch: 1, checkpoints: vec![(ID, 1, 5); count] };
    for too_long in [expiry(LEASES_PER_COMMAND_MAX + 1), checkpoints(LEASES_PER_COMMAND_MAX + 1)] {
        assert_eq!(check(&too_long, &Limits::default()), Err(KeyspaceError::Malformed));
        assert!(Command::decode(&too_long.encode()).is_err());
        assert_eq!(shell.refused(too_long), KeyspaceError::Malformed);
    }
    shell.ok(checkpoints(LEASES_PER_COMMAND_MAX));
    assert_eq!(shell.ok(expiry(LEASES_PER_COMMAND_MAX)), Reply::LeaseExpire(1));
}

// Quota and alarms, §1.7.

#[test]
fn a_lease_counts_64_bytes_against_the_quota_until_it_ends() {
    let mut shell = Shell::new();
    assert_eq!(grant(7, 60).cost_bytes(), LEASE_BYTES);
    shell.ok(Command::SetQuota(SetQuota { bytes: 129 }));
    let lease = shell.grant(7, 60);
    shell.ok(checkpoint(1, lease, 5));
    shell.grant(8, 60);
    assert_eq!(shell.keyspace.size_bytes(), 128);
    assert!(shell.keyspace.view().would_exceed(&grant(9, 60)));
    assert_eq!(shell.refused(grant(9, 60)), KeyspaceError::NoSpace);
    shell.ok(revoke(7));
    shell.ok(expire(1, &[Lease { id: LeaseId(8), granted: 4, ..lease }]));
    assert_eq!(shell.keyspace.size_bytes(), 0);
}

#[test]
fn nospace_lets_leases_end_but_not_begin() {
    let mut shell = Shell::new();
    let leases = [7, 8].map(|id| shell.grant(id, 60));
    shell.ok(Command::Put(hang("a", 7)));
    shell.ok(alarm(AlarmAction::Activate, AlarmKind::NoSpace));
    assert_eq!(shell.refused(grant(9, 60)), KeyspaceError::NoSpace);
    shell.ok(checkpoint(1, leases[0], 5));
    shell.ok(revoke(7));
    assert_eq!(shell.ok(expire(1, &leases)), Reply::LeaseExpire(1));
}

#[test]
fn while_corrupt_is_raised_no_lease_begins_or_ends() {
    let mut shell = Shell::new();
    let lease = shell.grant(7, 60);
    shell.ok(alarm(AlarmAction::Activate, AlarmKind::Corrupt));
    for command in [grant(8, 60), revoke(7), expire(1, &[lease])] {
        assert_eq!(shell.keyspace.view().admits(&command), Err(KeyspaceError::Corrupt));
        assert_eq!(shell.refused(command), KeyspaceError::Corrupt);
    }
    shell.ok(checkpoint(1, lease, 5));
}

// The state as a whole.

#[test]
fn the_digest_covers_leases() {
    let state = |commands: &[Command]| {
        let mut shell = Shell::new();
        commands.iter().for_each(|command| drop(shell.ok(command.clone())));
        shell.keyspace.digest()
    };
    let lease = Lease { id: ID, ttl_s: 60, granted: 1, remaining_s: 0 };
    let left = |remaining_s| checkpoint(1, lease, remaining_s);
    let digests = [
        state(&[]),
        state(&[grant(7, 60)]),
        state(&[grant(7, 61)]),
        state(&[grant(8, 60)]),
        state(&[grant(7, 60), left(5)]),
        state(&[grant(7, 60), left(6)]),
        state(&[grant(7, 60), revoke(7), grant(7, 60)]),
        state(&[grant(7, 60), grant(8, 60)]),
    ];
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
    assert_eq!(state(&[grant(7, 60), left(5), left(0)]), digests[1]);
    assert_eq!(state(&[grant(7, 60), left(5), revoke(7)]), digests[0]);
}

#[test]
fn hash_kv_does_not_look_at_leases() {
    let mut shell = Shell::with(&[("a", "1")]);
    let hash = shell.keyspace.view().hash_kv(0);
    shell.grant(7, 60);
    assert_eq!(shell.keyspace.view().hash_kv(0), hash);
}

#[test]
fn a_view_shows_the_leases_of_its_time() {
    let mut shell = Shell::new();
    let lease = shell.grant(7, 60);
    shell.ok(Command::Put(hang("a", 7)));
    let view = shell.keyspace.view();
    shell.ok(checkpoint(1, lease, 5));
    shell.ok(revoke(7));
    assert_eq!(view.lease(ID), Some(lease));
    assert_eq!(view.lease_keys(ID).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_restored_replica_knows_every_lease_and_what_hangs_on_it() {
    let mut shell = Shell::new();
    // Enough for several chunks of leases alone.
    let leases: Vec<Lease> = (1..=20_000).map(|id| shell.grant(id, LEASE_TTL_S_MAX - id)).collect();
    let half = |lease: &Lease| (lease.id, lease.granted, lease.ttl_s / 2);
    for some in leases.chunks(LEASES_PER_COMMAND_MAX) {
        let checkpoints = some.iter().step_by(2).map(half).collect();
        shell.ok(Command::LeaseCheckpoint { epoch: 1, checkpoints });
    }
    for number in 0..3000 {
        let (key, lease) = (format!("key {number}").into(), LeaseId(number * 7 % 50 + 1));
        shell.ok(Command::Put(Put { key, lease, ..Put::default() }));
    }
    shell.ok(Command::DeleteRange(delete("key 1", "key 2")));
    shell.ok(revoke(3));
    let restored = shell.restored();
    assert_eq!(restored.digest(), shell.keyspace.digest());
    assert_eq!(restored.size_bytes(), shell.keyspace.size_bytes());
    let (view, other) = (shell.keyspace.view(), restored.view());
    assert!(view.leases().eq(other.leases()) && view.lease_count() == 19_999);
    for id in (0..60).map(LeaseId) {
        assert!(view.lease_keys(id).eq(other.lease_keys(id)));
    }
    assert!(view.lease_keys(LeaseId(1)).count() > 10);
}

/// Logs and snapshots outlive builds: these bytes must always read as what they were.
#[test]
fn the_formats_of_leases_stay_readable() {
    let mut shell = Shell::new();
    let lease = shell.grant(7, 60);
    shell.grant(-1, 5);
    shell.ok(Command::Put(hang("a", 7)));
    shell.ok(checkpoint(1, lease, 30));
    for (command, hex) in [
        (grant(-2, 300), "010a03d804"),
        (revoke(7), "010b0e"),
        (expire(9, &[lease]), "010c09010e01"),
        (checkpoint(9, lease, 30), "010d09010e013c"),
    ] {
        assert_eq!(command.encode(), unhex(hex));
    }
    let bytes = shell.keyspace.snapshot().fold(vec![], |all, chunk| [&all[..], &chunk].concat());
    assert_eq!(Bytes::from(bytes), unhex(SNAPSHOT));
    let restored = Keyspace::restore(&mut std::iter::once(unhex(SNAPSHOT_VERSION_2))).unwrap();
    assert_eq!(restored.digest(), shell.keyspace.digest());
}

const SNAPSHOT: &str = "0302000100018080808008000002010a02000e78013c010161020001020e0000cb54cd6726af2eaf";
/// Before there were users.
const SNAPSHOT_VERSION_2: &str =
    "02020001000180808080080002010a02000e78013c010161020001020e0000cb54cd6726af2eaf";

/// A snapshot by hand: revision 2, no quota, no alarms, then these leases and a key `a`, which hangs on lease 7 (written 0e), and a
/// digest of nothing.
fn forged(version: &str, leases: &str, lease_of_a: &str) -> Result<(), RestoreError> {
    let head = "02 00 01 00 00 00";
    let record = format!("01 0161 02 00 01 02 {lease_of_a} 00");
    let hex = [version, head, leases, &record, "00", "0000000000000000"].concat().replace(' ', "");
    Keyspace::restore(&mut std::iter::once(unhex(&hex))).map(|_| ())
}

#[test]
fn a_forged_snapshot_is_refused_for_what_is_wrong_with_it() {
    let wrong = |what| Err(RestoreError::Malformed(DecodeError::Invalid { what }));
    let is_digest = |result| matches!(result, Err(RestoreError::Digest { .. }));
    // Nothing but the digest is wrong with these.
    assert!(is_digest(forged("02", "01 0e78013c", "0e")));
    assert!(is_digest(forged("02", "02 0e780100 10780100", "00")));
    assert!(is_digest(forged("01", "", "00")));

    assert_eq!(forged("02", "00", "0e"), wrong("lease of a key"));
    assert_eq!(forged("02", "01 10780100", "0e"), wrong("lease of a key"));
    assert_eq!(forged("01", "", "0e"), wrong("lease of a key"));
    assert_eq!(forged("02", "02 0e780100 0e780100", "0e"), wrong("order of leases"));
    assert_eq!(forged("02", "02 10780100 0e780100", "0e"), wrong("order of leases"));
    for (lease, why) in [
        ("00780100", "no id"),
        ("0e000100", "no time to live"),
        ("0e010100", "less than none"),
        ("0e82e88887430100", "more than the most"),
        ("0e780178", "all of it left"),
        ("0e780101", "less than nothing left"),
    ] {
        assert_eq!(forged("02", &format!("01 {lease}"), "0e"), wrong("lease"), "{why}");
    }
    assert_eq!(forged("04", "00", "00"), Err(RestoreError::Version(4)));
    assert_eq!(forged("00", "00", "00"), Err(RestoreError::Version(0)));
}

//! etcd's rules on revisions, ranges and puts, one by one, each with the smallest example. Section numbers are those of etcd's API reference as the
//! project keeps it (`reference/etcd.md`); M numbers those of the catalogue of known bugs.

mod common;

use common::shell::{Shell, delete, nested, put, range, then};
use quorate_consensus::StateMachine;
use quorate_keyspace::*;

// Revisions.

#[test]
fn a_store_is_born_at_revision_1_and_every_put_takes_one_even_if_nothing_differs() {
    let mut shell = Shell::new();
    assert_eq!(shell.keyspace.number(), 1);
    for revision in 2..5 {
        assert_eq!(shell.apply(Command::Put(put("a", "same"))).0.revision, revision);
    }
    let kv = shell.get("a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 4, 3));
}

#[test]
fn deleting_nothing_and_reading_take_no_revision() {
    let mut shell = Shell::with(&[("a", "1")]);
    let read_only = Txn { success: vec![Operation::Range(range("a", ""))], ..Txn::default() };
    let futile = then(vec![Operation::DeleteRange(delete("x", "z"))]);
    for command in [
        Command::DeleteRange(delete("b", "")),
        Command::Range(range("a", "")),
        Command::Txn(Txn::default()),
        Command::Txn(read_only),
        Command::Txn(futile),
        Command::Sweep,
        Command::SetQuota(SetQuota { bytes: 0 }),
    ] {
        let (response, events) = shell.apply(command);
        assert_eq!((response.revision, events.len()), (2, 0));
    }
}

#[test]
fn a_deleted_key_begins_again_at_version_1() {
    let mut shell = Shell::with(&[("a", "1"), ("a", "2")]);
    shell.ok(Command::DeleteRange(delete("a", "")));
    assert_eq!(shell.get("a"), None);
    shell.ok(Command::Put(put("a", "3")));
    let kv = shell.get("a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (5, 5, 1));
}

#[test]
fn a_transaction_is_one_revision_and_its_changes_are_numbered() {
    let mut shell = Shell::with(&[("a", "1"), ("b", "1"), ("c", "1")]);
    let txn = then(vec![
        Operation::Put(put("z", "1")),
        Operation::DeleteRange(delete("b", "d")),
        nested(vec![Operation::Put(put("a", "2"))]),
    ]);
    let (response, events) = shell.apply(Command::Txn(txn));
    assert_eq!(response.revision, 5);
    let seen: Vec<_> =
        events.iter().map(|event| (event.kv.mod_revision, event.sub, event.kv.key.clone())).collect();
    assert_eq!(seen, [(5, 0, "z".into()), (5, 1, "b".into()), (5, 2, "c".into()), (5, 3, "a".into())]);
    let prev: Vec<_> = events.iter().map(|event| event.prev.as_ref().map(|kv| kv.value.clone())).collect();
    assert_eq!(prev, [None, Some("1".into()), Some("1".into()), Some("1".into())]);
    assert_eq!(events[1].kv, KeyValue { key: "b".into(), mod_revision: 5, ..KeyValue::default() });
}

#[test]
fn what_an_event_shows_as_previous_is_the_state_before_its_revision() {
    let mut shell = Shell::with(&[("a", "old")]);
    // Put and deleted in one revision: whoever watches `a` had "old" before it, not "new".
    let txn = then(vec![
        nested(vec![Operation::Put(put("a", "new"))]),
        nested(vec![Operation::DeleteRange(delete("a", ""))]),
    ]);
    let (_, events) = shell.apply(Command::Txn(txn));
    assert!(events.iter().all(|event| event.prev.as_ref().unwrap().value == "old"));
    let view = shell.keyspace.view();
    assert!(view.changes(3).unwrap().all(|event| view.previous(&event).unwrap().value == "old"));
    assert_eq!(shell.get("a"), None);
}

#[test]
fn the_headers_of_operations_turn_with_the_first_change() {
    let mut shell = Shell::with(&[("a", "1")]);
    let txn = then(vec![
        Operation::Range(range("a", "")),
        Operation::DeleteRange(delete("x", "")),
        Operation::Put(put("a", "2")),
        Operation::Range(range("a", "")),
        nested(vec![]),
    ]);
    let Reply::Txn(reply) = shell.ok(Command::Txn(txn)) else { panic!() };
    let revisions: Vec<_> = reply.responses.iter().map(|operation| operation.revision).collect();
    assert_eq!(revisions, [2, 2, 3, 3, 0]);
    let Reply::Range(after) = &reply.responses[3].reply else { panic!() };
    assert_eq!((after.kvs[0].value.clone(), after.kvs[0].mod_revision), ("2".into(), 3));
}

// Ranges.

#[test]
fn the_end_of_a_range_is_none_open_or_exclusive() {
    let shell = Shell::with(&[("a", ""), ("a\0", ""), ("ab", ""), ("b", ""), ("\u{7f}", "")]);
    assert_eq!(shell.keys(range("a", "")), ["a"]);
    assert_eq!(shell.keys(range("a", "b")), ["a", "a\0", "ab"]);
    assert_eq!(shell.keys(range("ab", "\0")), ["ab", "b", "\u{7f}"]);
    assert_eq!(shell.keys(range("\0", "\0")).len(), 5);
    assert!(shell.keys(range("b", "a")).is_empty());
    assert!(shell.keys(range("b", "b")).is_empty());
    assert_eq!(shell.keyspace.view().range(&range("b", "a")).unwrap().count, 0);
}

#[test]
fn a_limit_says_that_there_is_more_and_does_not_touch_the_count() {
    let shell = Shell::with(&[("a", ""), ("b", ""), ("c", "")]);
    let view = shell.keyspace.view();
    for (limit, more, keys) in
        [(0, false, 3), (1, true, 1), (2, true, 2), (3, false, 3), (4, false, 3), (-1, false, 3)]
    {
        let reply = view.range(&Range { limit, ..range("a", "z") }).unwrap();
        assert_eq!((reply.more, reply.kvs.len(), reply.count), (more, keys, 3), "limit {limit}");
    }
    let reply = view.range(&Range { limit: i64::MAX, ..range("a", "z") }).unwrap();
    assert_eq!((reply.more, reply.count), (false, 3));
    let reply = view.range(&Range { limit: 1, count_only: true, ..range("a", "z") }).unwrap();
    assert_eq!((reply.more, reply.kvs.len(), reply.count), (false, 0, 3));
}

/// §1.3: the limit is tested against the order as it was sent. With "none" it cuts before the sort, after limit + 1 keys.
#[test]
fn sorting_without_an_order_sorts_what_the_limit_left() {
    let shell = Shell::with(&[("c", "1"), ("b", "2"), ("a", "3")]);
    let by_mod = |sort_order| Range { limit: 1, sort_order, sort_target: SortTarget::Mod, ..range("a", "z") };
    assert_eq!(shell.keys(by_mod(SortOrder::Ascend)), ["c"]);
    assert_eq!(shell.keys(by_mod(SortOrder::Descend)), ["a"]);
    assert_eq!(shell.keys(by_mod(SortOrder::None)), ["b"]);
    assert_eq!(shell.keys(Range { limit: 0, ..by_mod(SortOrder::None) }), ["c", "b", "a"]);
}

#[test]
fn filters_leave_keys_out_but_count_them_and_the_limit_comes_after() {
    let shell = Shell::with(&[("a", "1"), ("b", "1"), ("c", "1"), ("a", "2")]);
    let view = shell.keyspace.view();
    let filtered = Range { min_mod_revision: 4, limit: 1, ..range("a", "z") };
    let reply = view.range(&filtered).unwrap();
    assert_eq!((reply.kvs[0].key.clone(), reply.more, reply.count), ("a".into(), true, 3));
    assert_eq!(shell.keys(Range { min_mod_revision: 3, max_mod_revision: 4, ..range("a", "z") }), ["b", "c"]);
    assert_eq!(shell.keys(Range { max_create_revision: 2, ..range("a", "z") }), ["a"]);
    assert_eq!(shell.keys(Range { min_create_revision: 3, ..range("a", "z") }), ["b", "c"]);
    assert!(shell.keys(Range { max_mod_revision: -1, ..range("a", "z") }).is_empty());
}

#[test]
fn keys_only_leaves_values_out_but_sorts_by_them() {
    let shell = Shell::with(&[("a", "2"), ("b", "1")]);
    let request = Range {
        keys_only: true,
        sort_target: SortTarget::Value,
        sort_order: SortOrder::Ascend,
        ..range("a", "z")
    };
    let reply = shell.keyspace.view().range(&request).unwrap();
    assert_eq!(reply.kvs.iter().map(|kv| kv.key.clone()).collect::<Vec<_>>(), ["b", "a"]);
    assert!(reply.kvs.iter().all(|kv| kv.value.is_empty() && kv.version == 1));
}

#[test]
fn a_revision_is_readable_from_the_compacted_to_the_last() {
    let mut shell = Shell::with(&[("a", "2"), ("a", "3"), ("a", "4")]);
    shell.compact(3).unwrap();
    shell.swept();
    let view = shell.keyspace.view();
    let at =
        |revision| view.range(&Range { revision, ..range("a", "") }).map(|reply| reply.kvs[0].value.clone());
    assert_eq!(at(2), Err(KeyspaceError::Compacted { compacted: 3 }));
    assert_eq!(at(3).unwrap(), "3");
    assert_eq!(at(4).unwrap(), "4");
    assert_eq!(at(0).unwrap(), "4");
    assert_eq!(at(-7).unwrap(), "4");
    assert_eq!(at(5), Err(KeyspaceError::FutureRevision { current: 4 }));
    assert_eq!(view.get_at(b"a", 3).unwrap().unwrap().value, "3");
    assert!(view.get_at(b"a", 2).is_err());
    assert!(view.get_at(b"a", u64::MAX).is_err());
}

// Puts.

#[test]
fn a_put_may_keep_what_is_there_if_there_is_something() {
    let mut shell = Shell::with(&[("a", "1")]);
    let keep =
        |key: &'static str| Put { key: key.into(), ignore_value: true, prev_kv: true, ..Put::default() };
    let Reply::Put(reply) = shell.ok(Command::Put(keep("a"))) else { panic!() };
    assert_eq!(reply.prev_kv.unwrap().version, 1);
    assert_eq!((shell.get("a").unwrap().value, shell.get("a").unwrap().version), ("1".into(), 2));
    assert_eq!(shell.refused(Command::Put(keep("b"))), KeyspaceError::KeyNotFound);
    let lease = Put { key: "b".into(), ignore_lease: true, ..Put::default() };
    assert_eq!(shell.refused(Command::Put(lease)), KeyspaceError::KeyNotFound);
    let none = Put { prev_kv: true, ..put("c", "1") };
    assert_eq!(shell.ok(Command::Put(none)), Reply::Put(PutReply { prev_kv: None }));
}

#[test]
fn a_lease_that_does_not_exist_is_not_found_and_stops_a_whole_transaction() {
    let mut shell = Shell::new();
    let leased = Put { lease: LeaseId(7), ..put("a", "1") };
    assert_eq!(shell.refused(Command::Put(leased.clone())), KeyspaceError::LeaseNotFound(LeaseId(7)));
    let txn = then(vec![Operation::Put(put("b", "1")), nested(vec![Operation::Put(leased)])]);
    assert_eq!(shell.refused(Command::Txn(txn)), KeyspaceError::LeaseNotFound(LeaseId(7)));
    assert_eq!(shell.get("b"), None);
}

/// etcd looks for the lease first in a put by itself, and for the key first in a transaction; of two puts of one, the first goes first.
#[test]
fn of_a_key_and_a_lease_that_are_both_missing_a_transaction_says_the_key() {
    let mut shell = Shell::new();
    let both = Put { lease: LeaseId(7), ignore_value: true, ..put("a", "") };
    assert_eq!(shell.refused(Command::Put(both.clone())), KeyspaceError::LeaseNotFound(LeaseId(7)));
    let txn = then(vec![Operation::Put(both.clone())]);
    assert_eq!(shell.refused(Command::Txn(txn)), KeyspaceError::KeyNotFound);
    let leased = Put { lease: LeaseId(8), ..put("b", "1") };
    let txn = then(vec![Operation::Put(leased), nested(vec![Operation::Put(both)])]);
    assert_eq!(shell.refused(Command::Txn(txn)), KeyspaceError::LeaseNotFound(LeaseId(8)));
}

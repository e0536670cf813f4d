//! etcd's rules on transactions, one by one, each with the smallest example. Section numbers are those of etcd's API reference as the
//! project keeps it (`reference/etcd.md`); M numbers those of the catalogue of known bugs.

mod common;

use bytes::Bytes;
use common::generate;
use common::shell::{Shell, compare, delete, nested, put, range, then};
use proptest::prelude::*;
use quorate_consensus::StateMachine;
use quorate_keyspace::*;

// Transactions.

#[test]
fn comparing_the_value_of_a_missing_key_is_always_false_and_of_anything_else_is_against_zero() {
    let mut shell = Shell::new();
    use CompareResult::{Equal, Greater, Less, NotEqual};
    for result in [Equal, Greater, Less, NotEqual] {
        for value in ["", "1"] {
            assert!(!shell.succeeds(vec![compare("a", result, CompareTarget::Value(value.into()))]));
        }
    }
    for target in [
        CompareTarget::Version(0),
        CompareTarget::Create(0),
        CompareTarget::Mod(0),
        CompareTarget::Lease(LeaseId::NONE),
    ] {
        assert!(shell.succeeds(vec![compare("a", Equal, target.clone())]));
        assert!(!shell.succeeds(vec![compare("a", NotEqual, target)]));
    }
    assert!(shell.succeeds(vec![compare("a", Less, CompareTarget::Version(1))]));
    assert!(shell.succeeds(vec![compare("a", Greater, CompareTarget::Version(-1))]));
}

#[test]
fn a_range_satisfies_a_comparison_if_every_key_in_it_does() {
    let mut shell = Shell::with(&[("a", "1"), ("b", "1"), ("b", "1")]);
    let over = |end: &'static str, target| Compare {
        range_end: end.into(),
        ..compare("a", CompareResult::Less, target)
    };
    assert!(shell.succeeds(vec![over("b", CompareTarget::Version(2))]));
    assert!(!shell.succeeds(vec![over("c", CompareTarget::Version(2))]));
    assert!(shell.succeeds(vec![over("c", CompareTarget::Version(3))]));
    let empty = |target| Compare { range_end: "z".into(), ..compare("x", CompareResult::Equal, target) };
    assert!(shell.succeeds(vec![empty(CompareTarget::Version(0))]));
    assert!(!shell.succeeds(vec![empty(CompareTarget::Value(Bytes::new()))]));
}

#[test]
fn nested_comparisons_see_the_state_before_the_outermost_transaction() {
    let mut shell = Shell::new();
    let inner = Txn {
        compare: vec![compare("a", CompareResult::Equal, CompareTarget::Version(0))],
        success: vec![Operation::Put(put("seen", "before"))],
        failure: vec![Operation::Put(put("seen", "after"))],
    };
    shell.ok(Command::Txn(then(vec![Operation::Put(put("a", "1")), Operation::Txn(inner)])));
    assert_eq!(shell.get("seen").unwrap().value, "before");
}

/// M01, etcd#17230.
#[test]
fn a_range_sees_what_its_transaction_deleted_before_it() {
    let mut shell = Shell::with(&[("a", "1"), ("b", "1")]);
    let read = || Operation::Range(range("a", "c"));
    let txn = then(vec![read(), Operation::DeleteRange(delete("a", "")), read(), nested(vec![read()])]);
    let Reply::Txn(reply) = shell.ok(Command::Txn(txn)) else { panic!("no answer to a transaction") };
    let count = |reply: &Reply| match reply {
        Reply::Range(range) => range.count,
        other => panic!("{other:?}"),
    };
    let Reply::Txn(inner) = &reply.responses[3].reply else { panic!("no answer to the nested one") };
    let counts = [&reply.responses[0], &reply.responses[2], &inner.responses[0]]
        .map(|response| count(&response.reply));
    assert_eq!(counts, [2, 1, 1]);
}

/// M02, etcd#18667: an unreadable revision is found out before the first write, at every depth, on the branch that is taken.
#[test]
fn a_transaction_with_an_unreadable_range_writes_nothing() {
    let mut shell = Shell::with(&[("a", "2"), ("a", "3"), ("a", "4")]);
    shell.compact(3).unwrap();
    let unreadable = |revision| Operation::Range(Range { revision, ..range("a", "") });
    let txn = |revision| then(vec![Operation::Put(put("b", "1")), nested(vec![unreadable(revision)])]);
    assert_eq!(shell.refused(Command::Txn(txn(2))), KeyspaceError::Compacted { compacted: 3 });
    // Also the revision that the transaction itself would make.
    assert_eq!(shell.refused(Command::Txn(txn(5))), KeyspaceError::FutureRevision { current: 4 });
    assert_eq!(shell.get("b"), None);
    shell.ok(Command::Txn(txn(4)));
    let untaken = Txn { failure: vec![unreadable(2)], ..Txn::default() };
    shell.ok(Command::Txn(untaken));
}

#[test]
fn a_nested_transaction_makes_it_a_write_whatever_is_in_it() {
    let plain = Txn { success: vec![Operation::Range(range("a", ""))], ..Txn::default() };
    assert!(plain.is_read_only());
    let wrapped = then(vec![Operation::Txn(plain.clone())]);
    assert!(!wrapped.is_read_only());
    let shell = Shell::with(&[("a", "1")]);
    let view = shell.keyspace.view();
    assert_eq!(view.read_only_txn(&wrapped), Err(KeyspaceError::NotReadOnly));
    assert_eq!(view.read_only_txn(&plain).unwrap().responses[0].revision, 2);
}

// What is refused before the log.

#[test]
fn a_request_without_a_key_or_with_too_much_is_refused() {
    let limits = Limits::default();
    assert_eq!(check_put(&Put::default()), Err(KeyspaceError::EmptyKey));
    assert_eq!(check_range(&Range::default()), Err(KeyspaceError::EmptyKey));
    assert_eq!(check_delete_range(&DeleteRange::default()), Err(KeyspaceError::EmptyKey));
    assert_eq!(check_put(&Put { ignore_value: true, ..put("a", "1") }), Err(KeyspaceError::ValueProvided));
    assert_eq!(
        check_put(&Put { ignore_lease: true, lease: LeaseId(1), ..put("a", "1") }),
        Err(KeyspaceError::LeaseProvided)
    );
    assert_eq!(check_txn(&then(vec![Operation::Empty]), &limits), Err(KeyspaceError::KeyNotFound));
    let empty =
        Txn { compare: vec![compare("", CompareResult::Equal, CompareTarget::Mod(0))], ..Txn::default() };
    assert_eq!(check_txn(&empty, &limits), Err(KeyspaceError::EmptyKey));
    assert_eq!(SortOrder::from_wire(3), Err(KeyspaceError::InvalidSortOption));
    assert_eq!(SortTarget::from_wire(-1), Err(KeyspaceError::InvalidSortOption));
}

#[test]
fn nested_transactions_share_the_budget_of_operations() {
    let limits = Limits { txn_operations_max: 4 };
    let ranges = |count| vec![Operation::Range(range("a", "")); count];
    assert_eq!(check_txn(&then(ranges(4)), &limits), Ok(()));
    assert_eq!(check_txn(&then(ranges(5)), &limits), Err(KeyspaceError::TooManyOperations));
    // One operation at the top leaves three below; neighbours each get them.
    let two = |inner| then(vec![nested(ranges(inner)), nested(ranges(inner))]);
    assert_eq!(check_txn(&two(2), &limits), Ok(()));
    assert_eq!(check_txn(&two(3), &limits), Err(KeyspaceError::TooManyOperations));
    let compares =
        Txn { compare: vec![compare("a", CompareResult::Equal, CompareTarget::Mod(0)); 5], ..Txn::default() };
    assert_eq!(check_txn(&compares, &limits), Err(KeyspaceError::TooManyOperations));
}

#[test]
fn what_is_accepted_before_the_log_comes_out_of_it_again() {
    let generous = Limits { txn_operations_max: usize::MAX };
    let deep = |depth| (1..depth).fold(then(vec![]), |inner, _| then(vec![Operation::Txn(inner)]));
    assert_eq!(check_txn(&deep(TXN_DEPTH_MAX), &generous), Ok(()));
    let command = Command::Txn(deep(TXN_DEPTH_MAX));
    assert_eq!(Command::decode(&command.encode()), Ok(command));
    assert_eq!(check_txn(&deep(TXN_DEPTH_MAX + 1), &generous), Err(KeyspaceError::TooManyOperations));
    assert!(Command::decode(&Command::Txn(deep(TXN_DEPTH_MAX + 1)).encode()).is_err());

    let wide = |count| then(vec![nested(vec![Operation::Range(range("a", "")); count]); 2]);
    assert_eq!(check_txn(&wide(OPERATIONS_MAX / 2 - 1), &generous), Ok(()));
    let command = Command::Txn(wide(OPERATIONS_MAX / 2 - 1));
    assert!(Command::decode(&command.encode()).is_ok());
    assert_eq!(check_txn(&wide(OPERATIONS_MAX / 2), &generous), Err(KeyspaceError::TooManyOperations));
    assert!(Command::decode(&Command::Txn(wide(OPERATIONS_MAX / 2)).encode()).is_err());
}

#[test]
fn no_key_is_put_twice_or_put_and_deleted_in_one_branch() {
    let refused = |branch: Vec<Operation>| {
        let success = check_txn(&then(branch.clone()), &Limits::default());
        let failure = check_txn(&Txn { failure: branch, ..Txn::default() }, &Limits::default());
        assert_eq!(success, failure);
        success == Err(KeyspaceError::DuplicateKey)
    };
    let a = || Operation::Put(put("a", "1"));
    let del = |end| Operation::DeleteRange(delete("a", end));
    let either = |success, failure| Operation::Txn(Txn { compare: vec![], success, failure });

    assert!(refused(vec![a(), a()]));
    assert!(refused(vec![a(), del("")]));
    assert!(refused(vec![del("b"), a()]));
    assert!(refused(vec![del("\0"), Operation::Put(put("b", "1"))]));
    assert!(refused(vec![a(), nested(vec![a()])]));
    assert!(refused(vec![nested(vec![del("")]), a()]));
    assert!(refused(vec![nested(vec![a()]), del("")]));
    assert!(refused(vec![nested(vec![a()]), nested(vec![a()])]));
    assert!(refused(vec![nested(vec![del("")]), nested(vec![a()])]));
    assert!(refused(vec![either(vec![a()], vec![a()]), nested(vec![a()])]));
    assert!(refused(vec![a(), either(vec![], vec![nested(vec![del("b")])])]));

    assert!(!refused(vec![del(""), del("b")]));
    assert!(!refused(vec![a(), Operation::Range(range("a", ""))]));
    assert!(!refused(vec![either(vec![a()], vec![a()])]));
    assert!(!refused(vec![either(vec![a()], vec![del("")])]));
    assert!(!refused(vec![a(), Operation::DeleteRange(delete("b", "c"))]));
    // etcd's order of looking lets this one through.
    assert!(!refused(vec![nested(vec![a()]), nested(vec![del("")])]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn the_duplicate_rule_is_that_of_looking_at_every_pair(txn in generate::txn()) {
        let collides = common::collides(&txn.success) || common::collides(&txn.failure);
        match check_txn(&txn, &Limits::default()) {
            Err(KeyspaceError::DuplicateKey) => prop_assert!(collides),
            Ok(()) => prop_assert!(!collides),
            Err(_) => {}
        }
    }
}

/// What etcd says of it: it looks at all puts first, then at all ranges, and knows no "latest" below zero there.
#[test]
fn in_a_transaction_puts_are_checked_before_ranges_and_a_revision_below_zero_is_compacted() {
    let mut shell = Shell::with(&[("a", "1")]);
    let negative = || Operation::Range(Range { revision: -1, ..range("a", "") });
    let lost = Operation::Put(Put { lease: LeaseId(7), ..put("b", "1") });
    let mut refused = |operations| shell.refused(Command::Txn(then(operations)));
    assert!(matches!(refused(vec![nested(vec![negative()])]), KeyspaceError::Compacted { .. }));
    assert!(matches!(refused(vec![nested(vec![negative()]), lost]), KeyspaceError::LeaseNotFound(_)));
}

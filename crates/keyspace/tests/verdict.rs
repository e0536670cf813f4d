//! Who may what, against the oracle: every call, nesting, flag and shape of a permission over a tiny alphabet. And the codec against
//! bytes that nobody wrote.

#[path = "common/auth_oracle.rs"]
mod auth_oracle;

use std::collections::{BTreeMap, BTreeSet};

use auth_oracle::{Asked, Oracle, universe, verdict, with};
use bytes::Bytes;
use proptest::prelude::*;
use quorate_keyspace::*;

/// A bound: one or two letters.
fn bound() -> impl Strategy<Value = Bytes> {
    let letter = || prop_oneof![1 => Just(b'\0'), 2 => Just(b'a'), 2 => Just(b'b')];
    prop::collection::vec(letter(), 1..3).prop_map(Bytes::from)
}

/// The key alone, all from it on, an interval; of a request perhaps one that names nothing.
fn interval() -> impl Strategy<Value = (Bytes, Bytes)> {
    let end = prop_oneof![
        4 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(b"\0")),
        4 => bound(),
    ];
    // Just past a key, too: the interval that is as the key alone.
    (bound(), end, 0..8u8).prop_map(|(key, end, odd)| match odd {
        0 => (key.clone(), [&key[..], b"\0"].concat().into()),
        _ => (key, end),
    })
}

fn permission() -> impl Strategy<Value = Permission> {
    let kind =
        prop_oneof![Just(PermissionKind::Read), Just(PermissionKind::Write), Just(PermissionKind::ReadWrite)];
    (kind, interval())
        .prop_filter("names a key", |(_, (key, end))| end.is_empty() || end == &b"\0"[..] || key < end)
        .prop_map(|(kind, (key, range_end))| Permission { kind, key, range_end })
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0i64), 2 => Just(7), 1 => Just(8), 1 => Just(9), 1 => Just(99)]
}

fn leaf() -> impl Strategy<Value = Operation> + Clone {
    let put = (bound(), lease(), any::<bool>(), 0..6u8).prop_map(|(key, lease, prev_kv, odd)| {
        let (ignore_value, ignore_lease) = (odd == 0, odd == 1);
        let lease = LeaseId(if ignore_lease { 0 } else { lease });
        Operation::Put(Put { key, lease, prev_kv, ignore_value, ignore_lease, ..Put::default() })
    });
    let delete = (interval(), any::<bool>()).prop_map(|((key, range_end), prev_kv)| {
        Operation::DeleteRange(DeleteRange { key, range_end, prev_kv })
    });
    let range =
        (interval(), any::<bool>(), any::<bool>()).prop_map(|((key, range_end), keys_only, count_only)| {
            Operation::Range(Range { key, range_end, keys_only, count_only, ..Range::default() })
        });
    prop_oneof![3 => put, 2 => delete, 3 => range].boxed()
}

fn txn_of(operation: impl Strategy<Value = Operation> + Clone) -> impl Strategy<Value = Txn> {
    let compare = (interval(), -1..3i64).prop_map(|((key, range_end), version)| Compare {
        key,
        range_end,
        result: CompareResult::Equal,
        target: CompareTarget::Version(version),
    });
    (
        prop::collection::vec(compare, 0..2),
        prop::collection::vec(operation.clone(), 0..3),
        prop::collection::vec(operation, 0..3),
    )
        .prop_map(|(compare, success, failure)| Txn { compare, success, failure })
}

fn asked() -> impl Strategy<Value = Asked> {
    let operation = leaf().boxed().prop_recursive(4, 10, 2, |inner| txn_of(inner).prop_map(Operation::Txn));
    let command = operation.prop_map(|operation| match operation {
        Operation::Put(put) => Command::Put(put),
        Operation::DeleteRange(delete) => Command::DeleteRange(delete),
        Operation::Range(range) => Command::Range(range),
        Operation::Txn(txn) => Command::Txn(txn),
        Operation::Empty => Command::Sweep,
    });
    let other = prop_oneof![
        Just(Command::Compact(Compact { revision: 1, physical: false })),
        Just(Command::Auth(Change::RoleAdd { name: "new".into() })),
        Just(Command::Auth(Change::Disable)),
        Just(Command::Sweep),
        Just(Command::SetQuota(SetQuota { bytes: 1 << 40 })),
        Just(Command::LeaseGrant { id: LeaseId(55), ttl_s: 5 }),
        lease().prop_map(|id| Command::LeaseRevoke { id: LeaseId(id) }),
    ];
    prop_oneof![
        12 => command.prop_map(Asked::Command),
        3 => other.prop_map(Asked::Command),
        3 => interval().prop_map(|(key, end)| Asked::Watch(key, end)),
        1 => lease().prop_map(Asked::KeepAlive),
        1 => (lease(), any::<bool>()).prop_map(|(id, keys)| Asked::TimeToLive(id, keys)),
        1 => Just(Asked::Leases),
        1 => prop_oneof![Just(Asked::Operate), Just(Asked::Status)],
    ]
}

fn attached() -> impl Strategy<Value = BTreeMap<i64, BTreeSet<Bytes>>> {
    let keys = || prop::collection::btree_set(prop::sample::select(universe()), 0..3);
    [keys(), keys(), keys()].prop_map(|[seven, eight, nine]| {
        // A key hangs on one.
        let eight = &eight - &seven;
        let nine = &(&nine - &seven) - &eight;
        BTreeMap::from([(7, seven), (8, eight), (9, nine)])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// The verdict is the oracle's; and out of the log, what is allowed is done as if there were no auth, and what is not changes nothing.
    #[test]
    fn every_verdict_is_the_oracles(
        attached in attached(),
        roles in prop::collection::vec(prop::collection::vec(permission(), 0..4), 0..3),
        is_root in prop::bool::weighted(0.05),
        asks in prop::collection::vec(asked(), 60),
    ) {
        let mut oracle = Oracle { is_root, attached: attached.clone(), ..Oracle::default() };
        for role in &roles {
            // One on the same interval takes the place of the one before.
            let of = |permission: &Permission| ((permission.key.clone(), permission.range_end.clone()), permission.clone());
            let last: BTreeMap<_, _> = role.iter().map(of).collect();
            last.values().for_each(|permission| oracle.grant(permission));
        }
        let guarded = with(&attached, &roles, is_root);
        for asked in &asks {
            let expected = oracle.allows(asked);
            prop_assert_eq!(verdict(&guarded, asked), Ok(expected), "{:?}", asked);
        }
        for asked in asks.iter().take(6) {
            let Asked::Command(command) = asked else { continue };
            let (mut guarded, mut free) = (with(&attached, &roles, is_root), with(&attached, &roles, is_root));
            let off = free.by("root", Command::Auth(Change::Disable));
            free.apply(&off).unwrap();
            let before = quorate_consensus::StateMachine::digest(&guarded.keyspace);
            let got = guarded.apply(&guarded.by("u", command.clone()));
            if oracle.allows(asked) {
                if !matches!(command, Command::LeaseGrant { .. }) {
                    prop_assert_eq!(got, free.apply(command), "{:?}", command);
                }
            } else {
                prop_assert_eq!(got, Err(KeyspaceError::Auth(AuthError::PermissionDenied)), "{:?}", command);
                prop_assert_eq!(quorate_consensus::StateMachine::digest(&guarded.keyspace), before);
            }
        }
    }

    /// Bytes that nobody wrote are an error, or a command that has just these bytes; and applying them does not break anything.
    #[test]
    fn bytes_are_a_command_in_one_way_or_in_none(
        tag in 14..18u8,
        bytes in prop::collection::vec(prop_oneof![3 => 0..20u8, 1 => any::<u8>()], 0..40),
        command in asked(),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut all = vec![Bytes::from([&[1, tag], &bytes[..]].concat())];
        if let Asked::Command(command) = command {
            let named = As { caller: "u".into(), auth_revision: 9, command: Box::new(command) };
            let mut written = Command::As(named.clone()).encode().to_vec();
            prop_assert_eq!(Command::decode(&Bytes::from(written.clone())), Ok(Command::As(named)));
            let at = flip.0.index(written.len());
            written[at] ^= flip.1;
            all.push(written.into());
        }
        for bytes in all {
            if let Ok(command) = Command::decode(&bytes) {
                prop_assert_eq!(command.encode(), bytes.clone());
            }
            let mut guarded = with(&BTreeMap::new(), &[], false);
            guarded.keyspace.apply(quorate_consensus::Position::new(1, 999), &bytes);
        }
    }

    /// A snapshot with other bytes in its users is refused.
    #[test]
    fn a_snapshot_with_other_users_is_refused(
        roles in prop::collection::vec(prop::collection::vec(permission(), 0..3), 1..3),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let guarded = with(&BTreeMap::new(), &roles, false);
        let mut bytes: Vec<u8> = quorate_consensus::StateMachine::snapshot(&guarded.keyspace).flatten().collect();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let restored: Result<Keyspace, _> =
            quorate_consensus::StateMachine::restore(&mut std::iter::once(Bytes::from(bytes)));
        prop_assert!(restored.is_err());
    }
}

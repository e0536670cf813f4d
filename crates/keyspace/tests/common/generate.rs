//! Random commands over few keys and few revisions, so that they meet.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_consensus::Position;
use quorate_keyspace::*;

use super::Model;

fn pick(of: &'static [&'static [u8]]) -> impl Strategy<Value = Bytes> {
    (0..of.len()).prop_map(move |at| Bytes::from_static(of[at]))
}

pub fn key() -> impl Strategy<Value = Bytes> {
    pick(&[b"a", b"a\0", b"ab", b"b", b"c", b"ca", b"d", b"\xff", b"\0"])
}

fn some_key() -> impl Strategy<Value = Bytes> {
    prop_oneof![60 => key(), 1 => Just(Bytes::new())]
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(b"\0")),
        3 => pick(&[b"b", b"c", b"cb", b"d", b"\xff\xff"]),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => pick(&[b"", b"1", b"2", b"3", b"30"]),
        1 => (0..3000usize).prop_map(|bytes| Bytes::from(vec![7; bytes])),
    ]
}

/// The ids of leases; zero is none.
pub const LEASES: [i64; 5] = [i64::MIN, -7, 0, 7, 8];

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![1 => Just(0), 8 => Just(7), 4 => Just(8), 2 => Just(-7), 1 => Just(i64::MIN)]
}

/// Commands on leases. A `granted` of zero stands for the grant that is there, see [`with_grants`].
fn lease_command() -> impl Strategy<Value = Command> {
    let id = || lease().prop_map(LeaseId);
    let ttl_s =
        prop_oneof![20 => 1..20i64, 1 => Just(0), 1 => 9_000_000_000..9_000_000_002i64, 1 => any::<i64>()];
    let epoch = || prop_oneof![8 => Just(1u64), 1 => 0..3u64];
    let granted = || prop_oneof![3 => Just(0u64), 1 => 1..60u64];
    let remaining_s = prop_oneof![20 => 0..20i64, 1 => any::<i64>()];
    prop_oneof![
        12 => (id(), ttl_s).prop_map(|(id, ttl_s)| Command::LeaseGrant { id, ttl_s }),
        3 => id().prop_map(|id| Command::LeaseRevoke { id }),
        3 => (epoch(), prop::collection::vec((id(), granted()), 0..4))
            .prop_map(|(epoch, leases)| Command::LeaseExpire { epoch, leases }),
        4 => (epoch(), prop::collection::vec((id(), granted(), remaining_s), 0..4))
            .prop_map(|(epoch, checkpoints)| Command::LeaseCheckpoint { epoch, checkpoints }),
    ]
}

/// Writes into what a steward says the grants that it would know of.
fn with_grants(mut log: Vec<Command>) -> Vec<Command> {
    let mut model = Model::new();
    for (index, command) in log.iter_mut().enumerate() {
        let there = |id: LeaseId| model.leases.get(&id).map_or(1, |lease| lease.granted);
        match command {
            Command::LeaseExpire { leases, .. } => {
                for (id, granted) in leases.iter_mut().filter(|(_, granted)| *granted == 0) {
                    *granted = there(*id);
                }
            }
            Command::LeaseCheckpoint { checkpoints, .. } => {
                for (id, granted, _) in checkpoints.iter_mut().filter(|(_, granted, _)| *granted == 0) {
                    *granted = there(*id);
                }
            }
            _ => {}
        }
        model.apply(Position::new(1, index as u64 + 1), command);
    }
    log
}

pub fn put() -> impl Strategy<Value = Put> {
    let lease = prop_oneof![30 => Just(0), 25 => lease(), 1 => Just(99)];
    (some_key(), value(), lease, any::<bool>(), 0..20u8).prop_map(|(key, value, lease, prev_kv, odd)| Put {
        key,
        value: if odd == 0 { Bytes::new() } else { value },
        lease: LeaseId(lease),
        prev_kv,
        ignore_value: odd <= 1,
        ignore_lease: odd == 2,
    })
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (some_key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRange {
        key,
        range_end,
        prev_kv,
    })
}

fn sometimes(of: std::ops::Range<i64>) -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 1 => of]
}

pub fn range() -> impl Strategy<Value = Range> {
    let bounds = [-1..30i64, -1..30, -1..30, -1..30].map(|of| prop_oneof![6 => Just(0), 1 => of]);
    (some_key(), range_end(), sometimes(-1..6), sometimes(-1..40), (0..3, 0..5), (0..4u8, 0..6u8), bounds)
        .prop_map(|(key, range_end, limit, revision, (order, target), (keys_only, count_only), bounds)| {
            Range {
                key,
                range_end,
                limit,
                revision,
                sort_order: SortOrder::from_wire(order).unwrap(),
                sort_target: SortTarget::from_wire(target).unwrap(),
                keys_only: keys_only == 0,
                count_only: count_only == 0,
                min_mod_revision: bounds[0],
                max_mod_revision: bounds[1],
                min_create_revision: bounds[2],
                max_create_revision: bounds[3],
            }
        })
}

fn compare() -> impl Strategy<Value = Compare> {
    let result = prop_oneof![
        Just(CompareResult::Equal),
        Just(CompareResult::Greater),
        Just(CompareResult::Less),
        Just(CompareResult::NotEqual),
    ];
    let target = prop_oneof![
        (0..4i64).prop_map(CompareTarget::Version),
        (0..20i64).prop_map(CompareTarget::Create),
        (0..20i64).prop_map(CompareTarget::Mod),
        value().prop_map(CompareTarget::Value),
        lease().prop_map(|lease| CompareTarget::Lease(LeaseId(lease))),
    ];
    let end = prop_oneof![3 => Just(Bytes::new()), 1 => range_end()];
    (some_key(), end, result, target).prop_map(|(key, range_end, result, target)| Compare {
        key,
        range_end,
        result,
        target,
    })
}

fn txn_of(operation: impl Strategy<Value = Operation> + Clone) -> impl Strategy<Value = Txn> {
    (
        prop::collection::vec(compare(), 0..3),
        prop::collection::vec(operation.clone(), 0..4),
        prop::collection::vec(operation, 0..4),
    )
        .prop_map(|(compare, success, failure)| Txn { compare, success, failure })
}

fn leaf_operations() -> impl Strategy<Value = Operation> + Clone {
    prop_oneof![
        3 => put().prop_map(Operation::Put),
        2 => delete().prop_map(Operation::DeleteRange),
        3 => range().prop_map(Operation::Range),
    ]
    .boxed()
}

pub fn txn() -> impl Strategy<Value = Txn> {
    let leaf = leaf_operations();
    let operation =
        leaf.clone().boxed().prop_recursive(3, 16, 3, |inner| txn_of(inner).prop_map(Operation::Txn));
    prop_oneof![
        3 => txn_of(operation),
        // Something happens, and then a nested transaction compares what happened before.
        1 => (leaf, txn_of(leaf_operations())).prop_map(|(first, nested)| Txn {
            compare: vec![],
            success: vec![first, Operation::Txn(nested)],
            failure: vec![],
        }),
    ]
}

pub fn read_only_txn() -> impl Strategy<Value = Txn> {
    txn_of(range().prop_map(Operation::Range).boxed())
}

fn alarm() -> impl Strategy<Value = Alarm> {
    (any::<bool>(), 1..3u64, any::<bool>()).prop_map(|(raise, member, space)| Alarm {
        action: if raise { AlarmAction::Activate } else { AlarmAction::Deactivate },
        alarm: AlarmMember { member, kind: if space { AlarmKind::NoSpace } else { AlarmKind::Corrupt } },
    })
}

/// Lowers every alarm that [`alarm`] raises.
fn all_clear() -> impl Strategy<Value = Vec<Command>> {
    Just(
        [1, 2]
            .into_iter()
            .flat_map(|member| {
                [AlarmKind::NoSpace, AlarmKind::Corrupt].map(|kind| AlarmMember { member, kind })
            })
            .map(|alarm| Command::Alarm(Alarm { action: AlarmAction::Deactivate, alarm }))
            .collect(),
    )
}

pub fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        10 => put().prop_map(Command::Put),
        5 => delete().prop_map(Command::DeleteRange),
        3 => range().prop_map(Command::Range),
        8 => txn().prop_map(Command::Txn),
        2 => (-1..40i64, any::<bool>())
            .prop_map(|(revision, physical)| Command::Compact(Compact { revision, physical })),
        1 => any::<i64>().prop_map(|bytes| Command::SetQuota(SetQuota { bytes: bytes.saturating_abs().max(1 << 40) })),
        1 => Just(Command::Sweep),
        7 => lease_command(),
    ]
}

/// A log: mostly commands, and now and then a stretch under an alarm.
pub fn log() -> impl Strategy<Value = Vec<Command>> {
    let stretch = prop_oneof![
        6 => prop::collection::vec(command(), 1..25),
        1 => (alarm(), prop::collection::vec(command(), 0..5), all_clear()).prop_map(|(alarm, commands, clear)| {
            [vec![Command::Alarm(alarm)], commands, clear].concat()
        }),
    ];
    prop::collection::vec(stretch, 1..5).prop_map(|stretches| with_grants(stretches.concat()))
}

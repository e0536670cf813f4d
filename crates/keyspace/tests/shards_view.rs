//! A view of several shards shows what a view of one keyspace shows that has all the keys.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::shards::{Both, Cut, cut, then};
use common::{generate, shell};
use proptest::prelude::*;
use quorate_consensus::{Position, StateMachine};
use quorate_keyspace::*;

fn everything(revision: i64) -> Range {
    let zero = Bytes::from_static(b"\0");
    Range { key: zero.clone(), range_end: zero, revision, ..Range::default() }
}

/// A view of several shards, the one that it must agree with, and all changes of the store, numbered part by part.
struct Pictures<'a> {
    many: &'a View,
    one: &'a View,
    changes: &'a [Event],
}

impl Pictures<'_> {
    fn agree(&self) {
        let Pictures { many, one, .. } = self;
        assert_eq!(many.revision(), one.revision());
        assert_eq!(many.compacted(), one.compacted());
        assert_eq!(many.key_count(), one.key_count());
        assert_eq!(many.auth(), one.auth());
        assert_eq!(many.quota_bytes(), one.quota_bytes());
        assert_eq!(many.alarms().collect::<Vec<_>>(), one.alarms().collect::<Vec<_>>());
        assert_eq!(many.compaction_pending(), many.compaction_backlog() > 0);
        if !many.compaction_pending() && !one.compaction_pending() {
            assert_eq!(many.size_bytes(), one.size_bytes());
        }
        self.agree_on_leases();
        for revision in 0..=one.revision() + 2 {
            self.agree_at(revision);
        }
    }

    fn agree_on_leases(&self) {
        let Pictures { many, one, .. } = self;
        assert_eq!(many.leases().collect::<Vec<_>>(), one.leases().collect::<Vec<_>>());
        assert_eq!(many.lease_count(), one.lease_count());
        for id in generate::LEASES.map(LeaseId) {
            assert_eq!(many.lease(id), one.lease(id));
            assert_eq!(many.lease_keys(id).collect::<Vec<_>>(), one.lease_keys(id).collect::<Vec<_>>());
        }
    }

    fn agree_at(&self, revision: u64) {
        let Pictures { many, one, .. } = self;
        let range = everything(revision as i64);
        assert_eq!(many.range(&range), one.range(&range), "at {revision}");
        for key in generate_keys() {
            assert_eq!(many.get(&key), one.get(&key));
            assert_eq!(many.get_at(&key, revision), one.get_at(&key, revision), "{key:?} at {revision}");
        }
        let (changes, of_one) = match (many.changes(revision), one.changes(revision)) {
            (Ok(changes), Ok(of_one)) => (changes.collect::<Vec<_>>(), of_one.count()),
            (many_says, one_says) => {
                assert_eq!(many_says.err(), one_says.err());
                assert_eq!(many.key_changes(b"a", revision).err(), one.key_changes(b"a", revision).err());
                return;
            }
        };
        let known = |event: &&Event| (revision..=one.revision()).contains(&event.kv.mod_revision);
        let expected: Vec<Event> = self.changes.iter().filter(known).cloned().collect();
        assert_eq!(changes, expected, "changes from {revision}");
        // What a later change of the compacted revision replaced may be swept, and is not in a keyspace that was restored then.
        if revision != one.compacted() {
            assert_eq!(changes.len(), of_one);
        }
        for event in &changes {
            assert_eq!(many.previous(event), one.previous(event), "{event:?}");
        }
        for key in generate_keys() {
            let of_key = |event: &Event| event.kv.key == key && event.kv.mod_revision > one.compacted();
            let expected: Vec<Event> = changes.iter().filter(|event| of_key(event)).cloned().collect();
            let found = many.key_changes(&key, revision).unwrap();
            assert_eq!(found.filter(of_key).collect::<Vec<_>>(), expected, "{key:?} from {revision}");
        }
    }
}

fn generate_keys() -> Vec<Bytes> {
    let keys: [&[u8]; 10] = [b"", b"a", b"a\0", b"ab", b"b", b"c", b"ca", b"d", b"\xff", b"\0"];
    keys.into_iter().map(Bytes::from_static).collect()
}

/// What is asked about rights.
fn asks<'a>(command: &'a Command, range: &'a Range, txn: &'a Txn) -> Vec<Ask<'a>> {
    let mut asks = vec![
        Ask::Command(command),
        Ask::Range(range),
        Ask::Txn(txn),
        Ask::Watch { key: &range.key, range_end: &range.range_end },
        Ask::LeaseLeases,
        Ask::Operate,
        Ask::Status,
    ];
    for id in generate::LEASES.map(LeaseId) {
        asks.push(Ask::LeaseKeepAlive(id));
        asks.push(Ask::LeaseTimeToLive { id, keys: true });
    }
    asks
}

/// Users and roles; each is tried now and then, and refused where it makes no sense.
fn change() -> impl Strategy<Value = Command> {
    let permission = |kind, key: &'static str, end: &'static str| Permission {
        kind,
        key: key.into(),
        range_end: end.into(),
    };
    let of = |change: Change| Command::Auth(change);
    let user = |name: &str| of(Change::UserAdd { name: name.into(), password: None });
    let grant = |permission| of(Change::RoleGrantPermission { role: "r".into(), permission });
    let all = vec![
        user("root"),
        user("u"),
        of(Change::RoleAdd { name: "root".into() }),
        of(Change::RoleAdd { name: "r".into() }),
        of(Change::UserGrantRole { user: "root".into(), role: "root".into() }),
        of(Change::UserGrantRole { user: "u".into(), role: "r".into() }),
        grant(permission(PermissionKind::ReadWrite, "a", "b")),
        grant(permission(PermissionKind::Read, "b", "\0")),
        grant(permission(PermissionKind::ReadWrite, "c", "d")),
        of(Change::UserDelete { name: "u".into() }),
        of(Change::Disable),
    ];
    (0..all.len()).prop_map(move |which| all[which].clone())
}

/// A log with changes of users and roles in it, and auth on from somewhere on, or not.
fn log() -> impl Strategy<Value = Vec<Command>> {
    let place = any::<prop::sample::Index>;
    (generate::log(), prop::collection::vec((place(), change()), 0..4), any::<bool>(), place()).prop_map(
        |(mut log, changes, auth, from)| {
            for (place, change) in changes {
                log.insert(place.index(log.len() + 1), change);
            }
            if auth {
                let from = from.index(log.len() + 1);
                log.splice(from..from, with_auth());
            }
            log
        },
    )
}

/// Turns auth on: `root` may everything, `u` may read and write from `a` up to `b`.
fn with_auth() -> Vec<Command> {
    let user = |name: &str| Change::UserAdd { name: name.into(), password: None };
    let role = |name: &str| Change::RoleAdd { name: name.into() };
    let grant = |user: &str, role: &str| Change::UserGrantRole { user: user.into(), role: role.into() };
    let permission = Permission { kind: PermissionKind::ReadWrite, key: "a".into(), range_end: "b".into() };
    let permission = Change::RoleGrantPermission { role: "r".into(), permission };
    let all = [user("root"), user("u"), role("root"), role("r"), grant("root", "root"), grant("u", "r")];
    all.into_iter().chain([permission, Change::Enable]).map(Command::Auth).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_view_of_shards_shows_what_one_store_would(
        cut in cut(),
        log in log(),
        ranges in prop::collection::vec(generate::range(), 30),
        reads in prop::collection::vec(generate::read_only_txn(), 15),
        asked in prop::collection::vec((generate::command(), generate::range(), generate::txn()), 3),
        quota in 1..20_000i64,
    ) {
        let mut both = Both::new(cut);
        let mut kept = vec![];
        for (index, command) in log.iter().enumerate() {
            let _ = both.apply(command);
            if index % 9 == 0 {
                kept.push((both.many(), both.one.view(), both.changes.len()));
            }
        }
        both.apply(&Command::SetQuota(SetQuota { bytes: quota })).unwrap();
        kept.push((both.many(), both.one.view(), both.changes.len()));
        both.sweep();
        kept.push((both.many(), both.one.view(), both.changes.len()));
        for (many, one, changes) in &kept {
            Pictures { many, one, changes: &both.changes[..*changes] }.agree();
            for range in &ranges {
                prop_assert_eq!(many.range(range), one.range(range), "{:?}", range);
            }
            for txn in &reads {
                prop_assert_eq!(many.read_only_txn(txn), one.read_only_txn(txn), "{:?}", txn);
            }
            for (command, range, txn) in &asked {
                prop_assert_eq!(
                    many.read_only_txn(txn).err() == Some(KeyspaceError::NotReadOnly),
                    !txn.is_read_only()
                );
                let user = |name: &str| Caller::User { name: name.to_owned(), auth_revision: None };
                for caller in [Caller::Nobody, user("root"), user("u")] {
                    for ask in asks(command, range, txn) {
                        prop_assert_eq!(many.permits(&caller, ask), one.permits(&caller, ask), "{:?}", ask);
                    }
                }
            }
        }
        let (many, one, _) = kept.last().unwrap();
        let size = one.size_bytes();
        for cost in [0, 1, 300, (quota as u64).saturating_sub(size), (quota as u64 - 1).saturating_sub(size)] {
            prop_assert_eq!(many.has_no_room_for(cost), one.has_no_room_for(cost));
        }
        for (command, ..) in &asked {
            prop_assert_eq!(many.would_exceed(command), one.would_exceed(command));
            prop_assert_eq!(many.admits(command), one.admits(command));
        }
    }

    /// A snapshot of the whole is one keyspace that answers like it, and goes on like it.
    #[test]
    fn a_snapshot_of_shards_is_one_keyspace_that_answers_like_them(
        cut in cut(),
        log in log(),
        more in generate::log(),
        ranges in prop::collection::vec(generate::range(), 10),
    ) {
        let mut both = Both::new(cut);
        for command in &log {
            let _ = both.apply(command);
        }
        let many = both.many();
        let mut restored = Keyspace::restore(&mut many.snapshot()).expect("a snapshot");
        let whole = restored.view();
        Pictures { many: &many, one: &whole, changes: &both.changes }.agree();
        prop_assert!(!whole.compaction_pending());
        for range in &ranges {
            prop_assert_eq!(many.range(range), whole.range(range), "{:?}", range);
        }
        for revision in -1..=many.revision() as i64 + 1 {
            prop_assert_eq!(many.hash_kv(revision), whole.hash_kv(revision), "at {}", revision);
        }
        if whole.compacted() > 0 {
            prop_assert!(whole.changes(whole.compacted() - 1).is_err());
        }

        // Sweeps, and what shards were told meanwhile, are nothing that it shows.
        let hash = many.hash_kv(0);
        both.sweep();
        prop_assert_eq!(both.many().hash_kv(0), hash);
        let again = Keyspace::restore(&mut both.many().snapshot()).expect("a snapshot");
        prop_assert_eq!(again.digest(), restored.digest());
        prop_assert_eq!(again.size_bytes(), both.many().size_bytes());

        // And so on from there.
        for command in &more {
            let before = both.index + 1;
            let view = both.one.view();
            let expected = both.apply(command);
            if !view.auth().is_enabled() {
                let placed = restored.apply(Position::new(1, before), &command.encode());
                prop_assert_eq!(placed.response.result, expected);
            }
        }
    }

    /// As long as the changes of a revision come shard by shard, hashes are those of a keyspace that was never parted.
    #[test]
    fn the_hash_of_shards_is_that_of_one_store_if_changes_came_shard_by_shard(
        cut in cut(),
        single in prop::collection::vec((generate::key(), 0..3u8), 1..20),
        several in prop::collection::vec(prop::collection::btree_set(generate::key(), 1..5), 0..15),
        compact in 0..30i64,
    ) {
        let mut both = Both::new(cut);
        for (key, what) in single {
            let _ = both.apply(&match what {
                0 => Command::DeleteRange(DeleteRange { key, ..DeleteRange::default() }),
                _ => Command::Put(Put { key, value: "v".into(), ..Put::default() }),
            });
        }
        let alone = both.one.number();
        for keys in several {
            let mut keys: Vec<Bytes> = keys.into_iter().collect();
            keys.sort_by_key(|key| both.cut.owner(key));
            let puts = keys.into_iter().map(|key| Operation::Put(Put { key, value: "w".into(), ..Put::default() }));
            both.apply(&then(puts.collect())).unwrap();
        }
        let digest = both.many().digest();
        for round in 0..3 {
            let (many, one) = (both.many(), both.one.view());
            for revision in 0..=one.revision() as i64 + 1 {
                prop_assert_eq!(many.hash_kv(revision), one.hash_kv(revision), "at {}", revision);
            }
            match round {
                0 => drop(both.apply(&Command::Compact(Compact { revision: compact.min(alone as i64 + 1), physical: false }))),
                _ => both.sweep(),
            }
        }
        prop_assert_eq!(both.many().digest() == digest, both.one.view().compacted() == 0);
    }
}

/// Two shards: `a` up to `m`, and the rest.
fn two() -> Both {
    Both::new(Cut::At(vec![b"m"]))
}

#[test]
fn changes_of_one_revision_in_several_shards_are_numbered_shard_by_shard() {
    let mut both = two();
    let puts = ["z", "a", "y", "b"].map(|key| Operation::Put(shell::put(key, "v")));
    both.apply(&then(puts.into())).unwrap();
    let numbers = |changes: Vec<Event>| -> Vec<(u32, Bytes)> {
        changes.into_iter().map(|event| (event.sub, event.kv.key)).collect()
    };
    let view = both.many();
    let expected = [(0, "a"), (1, "b"), (2, "z"), (3, "y")].map(|(sub, key)| (sub, key.into()));
    assert_eq!(numbers(view.changes(2).unwrap().collect()), expected);
    assert_eq!(numbers(view.key_changes(b"y", 0).unwrap().collect()), [(3, "y".into())]);
}

#[test]
fn a_revision_is_read_by_what_the_whole_has_come_to_and_not_a_part() {
    let mut both = two();
    both.apply(&Command::Put(shell::put("a", "1"))).unwrap();
    for _ in 0..3 {
        both.apply(&Command::Put(shell::put("z", "2"))).unwrap();
    }
    let view = both.many();
    assert_eq!(view.revision(), 5);
    assert_eq!(view.get_at(b"a", 4).unwrap().unwrap().value, "1");
    let asked = |revision| Range { revision, ..shell::range("a", "") };
    assert_eq!(view.range(&asked(5)).unwrap().count, 1);
    assert_eq!(view.range(&asked(6)), Err(KeyspaceError::FutureRevision { current: 5 }));
    let reply = view.read_only_txn(&shell::then(vec![Operation::Range(asked(4))])).unwrap();
    assert_eq!(reply.responses[0].revision, 5, "the header says what the whole has come to");
}

#[test]
fn a_comparison_of_a_range_asks_whether_any_shard_has_a_key_in_it() {
    let mut both = two();
    both.apply(&Command::Put(shell::put("z", "1"))).unwrap();
    let view = both.many();
    let holds = |key: &'static str, end: &'static str, target| {
        let compare = Compare { range_end: end.into(), ..shell::compare(key, CompareResult::Equal, target) };
        view.read_only_txn(&Txn { compare: vec![compare], ..Txn::default() }).unwrap().succeeded
    };
    assert!(holds("a", "\0", CompareTarget::Version(1)), "the first shard has none, and no say");
    assert!(!holds("a", "\0", CompareTarget::Version(0)), "there is one in the second");
    assert!(holds("a", "x", CompareTarget::Version(0)), "there is none at all");
    assert!(!holds("a", "x", CompareTarget::Value("1".into())), "no value is equal to nothing");
}

#[test]
fn a_lease_counts_once_and_has_its_keys_in_all_shards() {
    let mut both = two();
    both.apply(&Command::LeaseGrant { id: LeaseId(7), ttl_s: 10 }).unwrap();
    for key in ["z", "b", "y", "a"] {
        both.apply(&Command::Put(shell::hang(key, 7))).unwrap();
    }
    let view = both.many();
    assert_eq!(view.lease_keys(LeaseId(7)).collect::<Vec<_>>(), ["a", "b", "y", "z"]);
    assert_eq!(view.size_bytes(), 4 * (RECORD_BYTES + 1) + LEASE_BYTES);
    both.apply(&shell::revoke(7)).unwrap();
    assert_eq!(both.many().key_count(), 0);
    assert_eq!(both.many().changes(6).unwrap().map(|event| event.sub).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn the_hash_does_not_follow_from_how_far_a_sweep_has_come() {
    let mut both = two();
    for _ in 0..10 {
        both.apply(&Command::Put(shell::put("b", "v"))).unwrap();
    }
    let puts = ["a", "z"].map(|key| Operation::Put(shell::put(key, "v")));
    both.apply(&then(puts.into())).unwrap();
    both.apply(&Command::Put(shell::put("a", "w"))).unwrap();
    both.apply(&Command::Put(shell::put("q", "w"))).unwrap();
    both.apply(&Command::Compact(Compact { revision: 14, physical: false })).unwrap();
    let before = both.many();
    both.sweep();
    assert!(before.compaction_pending());
    assert!(both.many().size_bytes() < before.size_bytes());
    assert_eq!(both.many().hash_kv(0), before.hash_kv(0));
}

#[test]
fn what_was_replaced_within_the_compacted_revision_is_told_and_in_the_snapshot() {
    let mut both = two();
    for _ in 0..10 {
        both.apply(&Command::Put(shell::put("b", "v"))).unwrap();
    }
    let put = shell::nested(vec![Operation::Put(shell::put("a", "v"))]);
    let delete = shell::nested(vec![Operation::DeleteRange(shell::delete("a", ""))]);
    let both_shards = Operation::Put(shell::put("z", "v"));
    both.apply(&then(vec![put, delete, both_shards])).unwrap();
    both.apply(&Command::Compact(Compact { revision: 12, physical: false })).unwrap();
    let before = both.many();
    both.sweep();
    let restored = |view: &View| Keyspace::restore(&mut view.snapshot()).expect("a snapshot");
    assert!(before.compaction_pending());
    assert_eq!(restored(&before).digest(), restored(&both.many()).digest());
    assert_eq!(restored(&before).size_bytes(), both.many().size_bytes());
    assert_eq!(both.many().changes(12).unwrap().map(|event| event.sub).collect::<Vec<_>>(), [0, 1, 2]);
    both.parts[0] = Shard::restore(&mut both.parts[0].snapshot()).expect("a snapshot");
    assert_eq!(both.many().changes(12).unwrap().map(|event| event.sub).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(both.many().hash_kv(0), before.hash_kv(0));
}

#[test]
fn the_digest_is_of_what_the_shards_have_and_not_of_what_they_were_told() {
    let mut both = two();
    for key in ["a", "z", "z"] {
        both.apply(&Command::Put(shell::put(key, "1"))).unwrap();
    }
    let of = |views: [View; 2]| View::of_shards(4, views.into(), both.cut.clone()).digest();
    let [a, z] = [&both.parts[0], &both.parts[1]];
    let digest = of([a.view(4), z.view(4)]);
    assert_eq!(of([a.placed().view(), z.placed().view()]), digest);
    assert_ne!(of([a.view(4), a.view(4)]), digest);
}

#[test]
#[should_panic(expected = "none is ahead of it")]
fn a_picture_of_shards_is_not_taken_while_one_is_ahead() {
    let mut both = two();
    both.apply(&Command::Put(shell::put("a", "1"))).unwrap();
    let views = both.parts.iter().map(|shard| shard.placed().view());
    let _ = View::of_shards(1, views.collect(), both.cut.clone());
}

#[test]
#[should_panic(expected = "at least one")]
fn a_view_of_no_shards_is_none() {
    let _ = View::of_shards(1, vec![], Arc::new(Cut::Scattered(2)));
}

#[test]
fn a_lease_that_one_part_has_and_another_has_not_yet_is_taken_from_the_size_of_those_that_have_it() {
    let part = |leased: bool| {
        let mut keyspace = Keyspace::new();
        keyspace.apply(Position::new(1, 1), &Command::Put(shell::put("a", "v")).encode());
        if leased {
            let grant = Command::LeaseGrant { id: LeaseId(7), ttl_s: 10 };
            keyspace.apply(Position::new(1, 2), &grant.encode());
        }
        keyspace.view()
    };
    let (with, without) = (part(true).size_bytes(), part(false).size_bytes());
    assert_eq!(with, without + LEASE_BYTES);
    for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
        let many = View::of_shards(2, vec![part(first), part(second)], Arc::new(Cut::At(vec![b"b"])));
        assert_eq!(many.size_bytes(), 2 * without + u64::from(first) * LEASE_BYTES, "{first} {second}");
    }
}

/// {a compaction takes no revision; it is placed in one shard of a node, and not yet in another}: what is gone in either is gone.
#[test]
fn what_is_compacted_in_one_part_cannot_be_read_in_any() {
    let part = |key: &'static str, compacted: bool| {
        let mut keyspace = Keyspace::new();
        for value in ["1", "2", "3"] {
            keyspace.apply(Position::new(1, 1), &Command::Put(shell::put(key, value)).encode());
        }
        if compacted {
            let compact = Command::Compact(Compact { revision: 3, physical: true });
            keyspace.apply(Position::new(1, 2), &compact.encode());
        }
        keyspace.view()
    };
    for (first, second) in [(true, false), (false, true), (true, true)] {
        let parts = vec![part("a", first), part("c", second)];
        let many = View::of_shards(4, parts, Arc::new(Cut::At(vec![b"b"])));
        let gone = KeyspaceError::Compacted { compacted: 3 };
        assert_eq!(many.compacted(), 3, "{first} {second}");
        assert_eq!(many.changes(2).map(Iterator::count), Err(gone));
        assert_eq!(many.range(&everything(2)), Err(gone));
        for key in ["a", "c"] {
            assert_eq!(many.key_changes(key.as_bytes(), 2).map(Iterator::count), Err(gone));
            let range = Range { key: key.into(), revision: 2, ..Range::default() };
            assert_eq!(many.range(&range), Err(gone), "also where it is there still");
            let txn = Txn { success: vec![Operation::Range(range)], ..Txn::default() };
            assert_eq!(many.read_only_txn(&txn), Err(gone));
        }
        assert_eq!(many.hash_kv(2), Err(gone));
        assert_eq!(many.hash_kv(0).map(|hash| hash.compact_revision), Ok(3));
        assert_eq!(many.changes(3).map(Iterator::count), Ok(4), "two of each key are left");
        let restored = Keyspace::restore(&mut many.snapshot()).unwrap();
        assert_eq!(
            (restored.view().compacted(), restored.view().range(&everything(3))),
            (3, many.range(&everything(3)))
        );
    }
}

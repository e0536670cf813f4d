//! Keyspaces that are made one show what they showed together.

mod common;

use std::sync::Arc;

use common::shards::{Both, Cut, cut, then};
use common::{generate, shell};
use proptest::prelude::*;
use quorate_consensus::{Position, StateMachine};
use quorate_keyspace::*;

fn everything(revision: u64) -> Range {
    let zero = bytes::Bytes::from_static(b"\0");
    Range { key: zero.clone(), range_end: zero, revision: revision as i64, ..Range::default() }
}

fn put(key: &str) -> Put {
    Put { key: key.to_owned().into(), value: "v".into(), ..Put::default() }
}

fn delete(key: &str) -> DeleteRange {
    DeleteRange { key: key.to_owned().into(), ..DeleteRange::default() }
}

/// All parts as one keyspace, one after another.
fn united(parts: &[Shard]) -> Keyspace {
    let whole = parts[0].placed().copy();
    parts[1..].iter().fold(whole, |whole, part| Keyspace::unite(&whole, part.placed()))
}

/// One keyspace against several that it was made of.
fn agree(whole: &View, many: &View) {
    assert_eq!((whole.revision(), whole.compacted()), (many.revision(), many.compacted()));
    assert_eq!((whole.auth(), whole.quota_bytes()), (many.auth(), many.quota_bytes()));
    assert_eq!(whole.alarms().collect::<Vec<_>>(), many.alarms().collect::<Vec<_>>());
    assert_eq!(whole.key_count(), many.key_count());
    if !many.compaction_pending() && !whole.compaction_pending() {
        assert_eq!(whole.size_bytes(), many.size_bytes());
    }
    assert_eq!(whole.leases().collect::<Vec<_>>(), many.leases().collect::<Vec<_>>());
    for id in generate::LEASES.map(LeaseId) {
        assert_eq!(whole.lease_keys(id).collect::<Vec<_>>(), many.lease_keys(id).collect::<Vec<_>>());
    }
    for revision in 0..=whole.revision() + 1 {
        let kvs = |view: &View| view.range(&everything(revision)).map(|reply| reply.kvs);
        assert_eq!(kvs(whole), kvs(many), "at {revision}");
        // Each change once, in one order, under one number.
        let changes = |view: &View| view.changes(revision).map(Iterator::collect::<Vec<Event>>);
        assert_eq!(changes(whole), changes(many), "changes from {revision}");
        assert_eq!(whole.hash_kv(revision as i64), many.hash_kv(revision as i64), "at {revision}");
        for event in changes(whole).unwrap_or_default() {
            assert_eq!(whole.previous(&event), many.previous(&event), "{event:?}");
            let of_key = |view: &View| -> Vec<Event> {
                view.key_changes(&event.kv.key, revision).expect("it can be read").collect()
            };
            assert_eq!(of_key(whole), of_key(many), "{:?} from {revision}", event.kv.key);
        }
    }
}

/// What a snapshot carries of its own, sums, sizes and what hangs on leases, is what follows from the records; and so is the log, so that whoever is restored sweeps at the same
/// pace.
fn is_sound(keyspace: &Keyspace) {
    let mut restored = Keyspace::restore(&mut keyspace.snapshot()).expect("a snapshot");
    agree(&restored.view(), &keyspace.view());
    let mut own = keyspace.copy();
    for index in 50_000..50_040 {
        assert_eq!((restored.digest(), restored.size_bytes()), (own.digest(), own.size_bytes()));
        apply(&mut restored, index, &Command::Put(put("a")));
        apply(&mut own, index, &Command::Put(put("a")));
    }
}

fn apply(keyspace: &mut Keyspace, index: u64, command: &Command) {
    keyspace.apply(Position::new(1, index), &command.encode());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Random commands, keys among random owners, transactions over several of them, compactions that some have swept further than others.
    #[test]
    fn keyspaces_made_one_show_what_they_showed_together(
        (log, more, cut) in (generate::log(), generate::log(), cut()),
        (compacts, sweeps) in (any::<prop::sample::Index>(), 0..3u8),
    ) {
        let mut both = Both::new(cut);
        for command in &log {
            let _ = both.apply(command);
        }
        let revision = 1 + compacts.index(both.one.number() as usize) as i64;
        let _ = both.apply(&Command::Compact(Compact { revision, physical: false }));
        if sweeps == 2 {
            both.sweep();
        }
        let many = both.many();
        let mut whole = united(&both.parts);
        // Whoever was told last knows of the last revision; nobody else need.
        let told = View::of_shards(both.one.number(), vec![Shard::new(whole.copy()).view(both.one.number())], Arc::new(Cut::At(vec![])));
        agree(&told, &many);
        is_sound(&whole);

        // And so on from there, as one keyspace that always had all keys.
        let mut one = Keyspace::restore(&mut many.snapshot()).expect("a snapshot");
        apply(&mut one, 10_000, &Command::Put(put("d")));
        apply(&mut whole, 10_000, &Command::Put(put("d")));
        if whole.number() == one.number() {
            for (index, command) in (10_001..).zip(&more) {
                apply(&mut one, index, command);
                apply(&mut whole, index, command);
            }
            for index in 20_000..20_100 {
                apply(&mut one, index, &Command::Sweep);
                apply(&mut whole, index, &Command::Sweep);
            }
            let (one, whole) = (one.view(), whole.view());
            prop_assert_eq!(whole.revision(), one.revision());
            prop_assert_eq!(whole.size_bytes(), one.size_bytes());
            prop_assert_eq!(whole.digest(), one.digest());
            agree(&whole, &one);
        }
    }

    /// What is taken apart and made one again is what it was; but for the numbers within a revision, of which the first half's come first.
    #[test]
    fn what_is_split_and_united_is_whole_again(log in generate::log(), compacts in any::<prop::sample::Index>()) {
        let mut whole = Keyspace::new();
        for (index, command) in (1..).zip(&log) {
            apply(&mut whole, index, command);
        }
        let revision = 1 + compacts.index(whole.number() as usize) as i64;
        apply(&mut whole, 1_000, &Command::Compact(Compact { revision, physical: false }));
        let owners = Cut::Scattered(2);
        let halves = whole.divide(2, |key| owners.owner(key));
        let again = Keyspace::unite(&halves[0], &halves[1]);
        let views = halves.iter().map(Keyspace::view).collect();
        agree(&again.view(), &View::of_shards(whole.number(), views, Arc::new(owners)));
        is_sound(&again);
        let kvs = |keyspace: &Keyspace, revision| keyspace.view().range(&everything(revision)).map(|reply| reply.kvs);
        for revision in whole.view().compacted()..=whole.number() {
            prop_assert_eq!(kvs(&again, revision), kvs(&whole, revision));
        }
        let numbers = |keyspace: &Keyspace| keyspace.view().changes(keyspace.view().compacted()).expect("all").count();
        prop_assert_eq!(numbers(&again), numbers(&whole));
    }
}

/// {a transaction changes a and b at 2, each in a store of its own}: both have a change 2.0.
#[test]
fn changes_of_one_revision_are_counted_on() {
    let mut both = Both::new(Cut::At(vec![b"b"]));
    let twice = |key: &str| {
        [Operation::Put(put(key)), Operation::DeleteRange(delete(key))].map(|one| shell::nested(vec![one]))
    };
    both.apply(&then([twice("b"), twice("a")].concat())).expect("a transaction");
    both.apply(&Command::Put(put("c"))).expect("a put");
    let whole = united(&both.parts).view();
    let told: Vec<(u64, u32, &[u8])> =
        [(2, 0, &b"a"[..]), (2, 1, b"a"), (2, 2, b"b"), (2, 3, b"b"), (3, 0, b"c")].to_vec();
    let changes: Vec<Event> = whole.changes(2).expect("all").collect();
    let numbers = changes.iter().map(|event| (event.kv.mod_revision, event.sub, &event.kv.key[..]));
    assert_eq!(numbers.collect::<Vec<_>>(), told);
    agree(&whole, &both.many());
    // The other way round, they come the other way round.
    let other = Keyspace::unite(both.parts[1].placed(), both.parts[0].placed());
    let keys: Vec<_> = other.view().changes(2).expect("all").map(|event| event.kv.key).collect();
    assert_eq!(keys, ["b", "b", "a", "a", "c"]);
}

/// {one store has swept what a compaction left, the other has hardly begun}: nothing that was compacted shows, and nothing that stays is lost.
#[test]
fn stores_that_have_swept_unequally_far_are_made_one() {
    let mut both = Both::new(Cut::At(vec![b"b"]));
    for round in 0..40 {
        // Versions that stay, though they are older than what is compacted.
        both.apply(&Command::Put(put(&format!("a{round}")))).expect("a put");
        both.apply(&then(vec![Operation::Put(put("a")), Operation::Put(put("b"))])).expect("a transaction");
        both.apply(&Command::DeleteRange(delete(if round % 2 == 0 { "a" } else { "b" })))
            .expect("a deletion");
    }
    both.apply(&Command::Compact(Compact { revision: 100, physical: false })).expect("a compaction");
    // Only the first is written from here on, and sweeps meanwhile.
    for _ in 0..60 {
        both.apply(&Command::Put(put("a"))).expect("a put");
    }
    let backlogs = both.parts.each_backlog();
    assert!(backlogs[0] == 0 && backlogs[1] > 20, "{backlogs:?}");
    let (whole, revision) = (united(&both.parts), both.one.number());
    assert!(!whole.view().compaction_pending());
    let as_of = Shard::new(whole.copy()).view(revision);
    agree(&as_of, &both.many());
    is_sound(&whole);
    is_sound(&Keyspace::unite(both.parts[1].placed(), both.parts[0].placed()));
    both.sweep();
    assert_eq!(whole.size_bytes(), both.one.size_bytes());
    // And the next compaction goes over all of it.
    let mut whole = whole;
    apply(&mut whole, 1_000, &Command::Compact(Compact { revision: 150, physical: false }));
    both.apply(&Command::Compact(Compact { revision: 150, physical: false })).expect("a compaction");
    both.sweep();
    (0..100).for_each(|index| apply(&mut whole, 2_000 + index, &Command::Sweep));
    assert_eq!(whole.size_bytes(), both.one.size_bytes());
}

trait Backlogs {
    fn each_backlog(&self) -> Vec<u64>;
}

impl Backlogs for Vec<Shard> {
    fn each_backlog(&self) -> Vec<u64> {
        self.iter().map(|shard| shard.placed().view().compaction_backlog()).collect()
    }
}

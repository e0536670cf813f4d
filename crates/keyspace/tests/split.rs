//! The halves of a keyspace show what the whole would have shown of their keys.

mod common;

use common::generate;
use proptest::prelude::*;
use quorate_consensus::{Position, StateMachine};
use quorate_keyspace::*;

/// Does the key go?
fn goes(key: &[u8]) -> bool {
    key.iter().map(|byte| usize::from(*byte)).sum::<usize>() % 2 == 1
}

fn apply(keyspace: &mut Keyspace, index: u64, command: &Command) {
    keyspace.apply(Position::new(1, index), &command.encode());
}

/// A half against the whole, with which it was one until now.
fn agree(half: &View, whole: &View, has: impl Fn(&[u8]) -> bool) {
    assert_eq!(half.revision(), whole.revision());
    assert_eq!(half.compacted(), whole.compacted());
    assert_eq!(half.auth(), whole.auth());
    assert_eq!(half.quota_bytes(), whole.quota_bytes());
    assert_eq!(half.alarms().collect::<Vec<_>>(), whole.alarms().collect::<Vec<_>>());
    assert_eq!(half.leases().collect::<Vec<_>>(), whole.leases().collect::<Vec<_>>());
    for id in generate::LEASES.map(LeaseId) {
        let own: Vec<_> = whole.lease_keys(id).filter(|key| has(key)).collect();
        assert_eq!(half.lease_keys(id).collect::<Vec<_>>(), own);
    }
    for revision in whole.compacted()..=whole.revision() {
        let range = Range {
            key: b"\0".as_slice().into(),
            range_end: b"\0".as_slice().into(),
            revision: revision as i64,
            ..Range::default()
        };
        let own = |view: &View| view.range(&range).map(|reply| reply.kvs);
        let expected = own(whole).map(|kvs| kvs.into_iter().filter(|kv| has(&kv.key)).collect());
        assert_eq!(own(half), expected, "at {revision}");
        let changes = |view: &View| view.changes(revision).map(Iterator::collect::<Vec<Event>>);
        let expected =
            changes(whole).map(|events| events.into_iter().filter(|event| has(&event.kv.key)).collect());
        assert_eq!(changes(half), expected, "changes from {revision}");
    }
    // What a snapshot carries of its own, sizes and what hangs on leases, is what follows from the records.
    let restored = Keyspace::restore(&mut half.snapshot()).expect("a snapshot").view();
    assert_eq!(restored.size_bytes(), half.size_bytes());
    assert_eq!(restored.digest(), half.digest());
    assert_eq!(restored.key_count(), half.key_count());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn two_halves_show_what_the_whole_does(log in generate::log(), compacts in any::<prop::sample::Index>()) {
        let mut whole = Keyspace::new();
        for (index, command) in log.iter().enumerate() {
            apply(&mut whole, index as u64 + 1, command);
        }
        let before = whole.view();
        let mut stays = whole.copy();
        let gone = stays.split_off(goes);
        agree(&stays.view(), &before, |key| !goes(key));
        agree(&gone.view(), &before, goes);
        let leases = before.lease_count() * LEASE_BYTES;
        prop_assert_eq!(stays.size_bytes() + gone.size_bytes(), whole.size_bytes() + leases);

        // Divided among more, each has its own.
        for (part, third) in whole.divide(3, |key| key.len() % 3).iter().enumerate() {
            agree(&third.view(), &before, |key| key.len() % 3 == part);
        }

        // And so on from there: each sweeps its own.
        let revision = 1 + compacts.index(before.revision() as usize) as i64;
        let mut all = [whole, stays, gone];
        for half in &mut all {
            apply(half, 1_000, &Command::Compact(Compact { revision, physical: false }));
            for sweep in 0..100 {
                apply(half, 1_001 + sweep, &Command::Sweep);
            }
        }
        let [whole, stays, gone] = all.each_ref().map(Keyspace::view);
        agree(&stays, &whole, |key| !goes(key));
        agree(&gone, &whole, goes);
    }
}

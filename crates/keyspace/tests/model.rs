//! The keyspace against the oracle.

mod common;

use bytes::Bytes;
use common::{Model, generate};
use proptest::prelude::*;
use quorate_consensus::{Position, Reader, StateMachine, Writer};
use quorate_keyspace::*;

fn everything(revision: i64) -> Range {
    let zero = Bytes::from_static(b"\0");
    Range { key: zero.clone(), range_end: zero, revision, ..Range::default() }
}

/// Compares all that a view shows of the past with the oracle.
fn same_history(view: &View, model: &Model) {
    let now = model.states.last().unwrap();
    assert_eq!(view.revision(), model.revision());
    assert_eq!(view.compacted(), model.compacted);
    assert_eq!(view.key_count() as usize, now.len());
    same_leases(view, model);
    for revision in 0..=model.revision() + 1 {
        let range = everything(revision as i64);
        assert_eq!(view.range(&range), model.range(&range, now), "at revision {revision}");
        let from = view.changes(revision).map(|changes| {
            changes.map(|event| Event { prev: view.previous(&event), ..event }).collect::<Vec<_>>()
        });
        if revision < model.compacted {
            assert!(from.is_err());
            continue;
        }
        let expected: Vec<Event> = model.events.iter().skip(revision as usize).flatten().cloned().collect();
        let expected = expected.into_iter().map(|event| match event.kv.mod_revision {
            first if first <= model.compacted => Event { prev: None, ..event },
            _ => event,
        });
        assert_eq!(from.unwrap(), expected.collect::<Vec<_>>(), "changes from revision {revision}");
    }
}

/// Compares the leases and what hangs on them with the oracle.
fn same_leases(view: &View, model: &Model) {
    let leases: Vec<Lease> = model.leases.values().copied().collect();
    assert_eq!(view.leases().collect::<Vec<_>>(), leases);
    assert_eq!(view.lease_count() as usize, leases.len());
    for id in generate::LEASES.map(LeaseId) {
        assert_eq!(view.lease(id), model.leases.get(&id).copied());
        assert_eq!(view.lease_keys(id).collect::<Vec<_>>(), model.lease_keys(id), "keys of lease {id:?}");
    }
}

fn restore(chunks: Vec<Bytes>) -> Keyspace {
    assert!(chunks.iter().all(|chunk| chunk.len() <= Keyspace::CHUNK_BYTES_MAX));
    Keyspace::restore(&mut chunks.into_iter()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Responses, events and every readable revision are the oracle's; a replica that holds views and snapshots, and one that was
    /// restored on the way, stay equal to one that does neither, digest by digest.
    #[test]
    fn every_answer_is_the_oracles_and_replicas_stay_equal(
        log in generate::log(),
        ranges in prop::collection::vec(generate::range(), 20),
        reads in prop::collection::vec(generate::read_only_txn(), 10),
        restore_at in 0..40usize,
    ) {
        let mut model = Model::new();
        let (mut plain, mut busy) = (Keyspace::new(), Keyspace::new());
        let mut restored: Option<Keyspace> = None;
        let mut views = vec![];
        let mut slow = None;
        for (index, command) in log.iter().enumerate() {
            let at = Position::new(1, index as u64 + 1);
            let bytes = command.encode();
            prop_assert_eq!(&Command::decode(&bytes).unwrap(), command);

            let expected = model.apply(at, command);
            let placed = plain.apply(at, &bytes);
            prop_assert_eq!(&placed.response, &expected.0, "{:?}", command);
            prop_assert_eq!(&placed.events, &expected.1, "{:?}", command);
            prop_assert_eq!(plain.number(), model.revision());
            prop_assert_eq!(&busy.apply(at, &bytes), &placed);
            prop_assert_eq!(busy.digest(), plain.digest());
            same_leases(&busy.view(), &model);
            prop_assert_eq!(busy.size_bytes(), plain.size_bytes());
            if let Some(restored) = &mut restored {
                prop_assert_eq!(&restored.apply(at, &bytes), &placed);
                prop_assert_eq!(restored.digest(), plain.digest());
                prop_assert_eq!(restored.size_bytes(), plain.size_bytes());
                same_leases(&restored.view(), &model);
            }

            let mut to = Writer::new();
            Keyspace::encode_response(&placed.response, &mut to);
            let mut from = Reader::new(to.finish());
            prop_assert_eq!(&Keyspace::decode_response(&mut from).unwrap(), &placed.response);
            prop_assert_eq!(from.finish(), Ok(()));

            if index % 3 == 0 {
                views.push((busy.view(), model.revision(), model.compacted, model.leases.clone()));
            }
            if index % 17 == 0 {
                slow = Some((busy.snapshot(), busy.digest()));
            }
            if index == restore_at {
                restored = Some(restore(busy.snapshot().collect()));
                prop_assert_eq!(restored.as_ref().unwrap().digest(), plain.digest());
            }
        }

        for keyspace in [Some(&plain), Some(&busy), restored.as_ref()].into_iter().flatten() {
            same_history(&keyspace.view(), &model);
        }
        let (view, now) = (plain.view(), model.states.last().unwrap().clone());
        for range in &ranges {
            prop_assert_eq!(view.range(range), model.range(range, &now), "{:?}", range);
        }
        for txn in &reads {
            prop_assert_eq!(view.read_only_txn(txn), model.read_only(txn), "{:?}", txn);
        }
        // Pictures of the past have not moved.
        for (view, revision, compacted, leases) in views {
            prop_assert_eq!(view.revision(), revision);
            prop_assert_eq!(view.compacted(), compacted);
            let kvs: Vec<KeyValue> = model.states[revision as usize].values().cloned().collect();
            prop_assert_eq!(view.range(&everything(0)).unwrap().kvs, kvs);
            prop_assert_eq!(view.leases().collect::<Vec<_>>(), leases.into_values().collect::<Vec<_>>());
            for id in generate::LEASES.map(LeaseId) {
                let state = &model.states[revision as usize];
                let keys = state.values().filter(|kv| id.0 != 0 && kv.lease == id).map(|kv| kv.key.clone());
                prop_assert_eq!(view.lease_keys(id).collect::<Vec<_>>(), keys.collect::<Vec<_>>());
            }
        }
        if let Some((snapshot, digest)) = slow {
            prop_assert_eq!(restore(snapshot.collect()).digest(), digest);
        }

        // When the sweep is through, exactly the readable versions are left, and hashes of the past agree with those before.
        let hash = plain.view().hash_kv(0).unwrap();
        let mut index = log.len() as u64;
        while plain.view().compaction_pending() {
            index += 1;
            plain.apply(Position::new(1, index), &Command::Sweep.encode());
        }
        plain.apply(Position::new(1, index + 1), &Command::Sweep.encode());
        prop_assert_eq!(plain.size_bytes(), model.size_bytes());
        prop_assert_eq!(plain.view().hash_kv(0).unwrap(), hash);
        same_history(&plain.view(), &model);
    }

    #[test]
    fn bytes_from_outside_are_refused_or_answered_and_never_a_panic(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        commands in prop::collection::vec((generate::command(), any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..20),
    ) {
        let mut keyspace = Keyspace::new();
        let mut twin = Keyspace::new();
        for (index, (command, place, with, how)) in commands.into_iter().enumerate() {
            let mut bytes = command.encode().to_vec();
            match how {
                0 => bytes.truncate(place.index(bytes.len())),
                1 => { let at = place.index(bytes.len()); bytes[at] = with; }
                _ => bytes.insert(place.index(bytes.len() + 1), with),
            }
            let bytes = Bytes::from(bytes);
            let at = Position::new(1, index as u64 + 1);
            let placed = keyspace.apply(at, &bytes);
            prop_assert_eq!(&twin.apply(at, &bytes), &placed);
            match Command::decode(&bytes) {
                // One value, one encoding.
                Ok(command) => prop_assert_eq!(command.encode(), bytes),
                Err(_) => prop_assert_eq!(placed.response.result, Err(KeyspaceError::Malformed)),
            }
        }
        prop_assert_eq!(keyspace.digest(), twin.digest());

        let noise = Bytes::from(noise);
        let digest = keyspace.digest();
        if Command::decode(&noise).is_err() {
            let placed = keyspace.apply(Position::new(1, 100), &noise);
            prop_assert_eq!(placed.response.result, Err(KeyspaceError::Malformed));
            prop_assert_eq!(keyspace.digest(), digest);
        }
        let _ = Response::decode(&mut Reader::new(noise.clone()));
        let _ = Keyspace::restore(&mut std::iter::once(noise));
    }

    #[test]
    fn a_damaged_snapshot_is_refused(
        log in generate::log(),
        place in any::<prop::sample::Index>(),
        flip in 1..=255u8,
        cut in 1..100usize,
    ) {
        let mut keyspace = Keyspace::new();
        for (index, command) in log.iter().enumerate() {
            keyspace.apply(Position::new(1, index as u64 + 1), &command.encode());
        }
        let whole = keyspace.snapshot().fold(Vec::new(), |mut all, chunk| { all.extend_from_slice(&chunk); all });
        // However it is cut into chunks, it is the same snapshot.
        let chunks = whole.chunks(cut).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        prop_assert_eq!(Keyspace::restore(&mut chunks.into_iter()).unwrap().digest(), keyspace.digest());

        let mut damaged = whole.clone();
        damaged[place.index(whole.len())] ^= flip;
        prop_assert!(Keyspace::restore(&mut std::iter::once(damaged.into())).is_err());
        let short = Bytes::copy_from_slice(&whole[..place.index(whole.len())]);
        prop_assert!(Keyspace::restore(&mut std::iter::once(short)).is_err());
        let long = [&whole[..], b"x"].concat();
        prop_assert!(Keyspace::restore(&mut std::iter::once(long.into())).is_err());
    }
}

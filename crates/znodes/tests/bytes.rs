//! Bytes from outside: commands, answers and snapshots.

mod common;

use bytes::Bytes;
use common::generate;
use common::shell::{Shell, create, making, setting};
use proptest::prelude::*;
use quorate_consensus::{Position, Reader, RestoreError, StateMachine, Writer};
use quorate_znodes::*;

fn run(log: &[Command]) -> Znodes {
    let mut tree = Znodes::new();
    for (index, command) in log.iter().enumerate() {
        tree.apply(Position::new(1, index as u64 + 1), &command.encode());
    }
    tree
}

fn whole(tree: &Znodes) -> Vec<u8> {
    tree.snapshot().collect::<Vec<_>>().concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn bytes_from_outside_are_refused_or_answered_and_never_a_panic(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        commands in prop::collection::vec((generate::command(), any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..20),
        epochs in prop::collection::vec(prop_oneof![Just(1), 0..1_u64 << 33, any::<u64>()], 20),
    ) {
        let (mut tree, mut twin) = (Znodes::new(), Znodes::new());
        for (index, (command, place, with, how)) in commands.into_iter().enumerate() {
            let mut bytes = command.encode().to_vec();
            match how {
                0 => bytes.truncate(place.index(bytes.len())),
                1 => { let at = place.index(bytes.len()); bytes[at] = with; }
                _ => bytes.insert(place.index(bytes.len() + 1), with),
            }
            let bytes = Bytes::from(bytes);
            let at = Position::new(epochs[index], index as u64 + 1);
            let placed = tree.apply(at, &bytes);
            prop_assert_eq!(&twin.apply(at, &bytes), &placed);
            match Command::decode(&bytes) {
                // One value, one encoding.
                Ok(command) => prop_assert_eq!(command.encode(), bytes),
                Err(_) => prop_assert_eq!(placed.response.result, Err(ZnodeError::Malformed)),
            }
        }
        prop_assert_eq!(tree.digest(), twin.digest());

        let noise = Bytes::from(noise);
        let digest = tree.digest();
        if Command::decode(&noise).is_err() {
            let placed = tree.apply(Position::new(1, 100), &noise);
            prop_assert_eq!(placed.response.result, Err(ZnodeError::Malformed));
            prop_assert_eq!(tree.digest(), digest);
        }
        let _ = Znodes::decode_response(&mut Reader::new(noise.clone()));
        let _ = Znodes::restore(&mut std::iter::once(noise));
    }

    #[test]
    fn every_cut_of_a_command_and_of_an_answer_is_refused(log in generate::log(12), cut: prop::sample::Index) {
        let mut tree = Znodes::new();
        for (index, command) in log.iter().enumerate() {
            let bytes = command.encode();
            prop_assert!(Command::decode(&bytes.slice(..cut.index(bytes.len()))).is_err());
            let placed = tree.apply(Position::new(1, index as u64 + 1), &bytes);
            let mut to = Writer::new();
            Znodes::encode_response(&placed.response, &mut to);
            let bytes = to.finish();
            let mut from = Reader::new(bytes.slice(..cut.index(bytes.len())));
            prop_assert!(Znodes::decode_response(&mut from).is_err());
        }
    }

    #[test]
    fn a_damaged_snapshot_is_refused(
        log in generate::log(60),
        place in any::<prop::sample::Index>(),
        flip in 1..=255u8,
        cut in 1..100usize,
    ) {
        let tree = run(&log);
        let whole = whole(&tree);
        // However it is cut into chunks, it is the same snapshot.
        let chunks = whole.chunks(cut).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        prop_assert_eq!(Znodes::restore(&mut chunks.into_iter()).unwrap().digest(), tree.digest());

        let mut damaged = whole.clone();
        damaged[place.index(whole.len())] ^= flip;
        if let Ok(other) = Znodes::restore(&mut std::iter::once(damaged.clone().into())) {
            // A number that nobody can see: the last one that was given to a directory or an ACL.
            prop_assert!(place.index(whole.len()) < 20);
            prop_assert_eq!(other.digest(), tree.digest());
        }
        let short = Bytes::copy_from_slice(&whole[..place.index(whole.len())]);
        prop_assert!(Znodes::restore(&mut std::iter::once(short)).is_err());
        let long = [&whole[..], b"x"].concat();
        prop_assert!(Znodes::restore(&mut std::iter::once(long.into())).is_err());
    }

    /// The digest is of what can be seen. In one multi the order of operations decides which numbers directories and ACLs get, and
    /// nothing else.
    #[test]
    fn equal_states_have_equal_digests_however_they_were_reached(order in Just((0..12).collect::<Vec<i32>>()).prop_shuffle()) {
        let tree_of = |order: &[i32]| {
            let mut shell = Shell::new();
            let directories = order.iter().map(|name| making(&format!("/d{name}"))).collect();
            shell.multi(directories).unwrap();
            let child = |name: &i32| {
                let acl = vec![Acl::world(Permissions(*name + 1))];
                Operation::Create(Create { acl, ..create(&format!("/d{name}/child"), CreateMode::Ephemeral) })
            };
            shell.multi(order.iter().map(child).collect()).unwrap();
            shell.tree
        };
        let straight: Vec<i32> = (0..12).collect();
        let (straight, shuffled) = (tree_of(&straight), tree_of(&order));
        prop_assert_eq!(straight.digest(), shuffled.digest());
        prop_assert_eq!(straight.view().digest(), straight.digest());
        let restored = Znodes::restore(&mut shuffled.snapshot()).unwrap();
        prop_assert_eq!(restored.digest(), straight.digest());
        prop_assert_eq!(straight.view().look("/d7/child"), restored.view().look("/d7/child"));
    }
}

#[test]
fn every_field_counts_in_the_digest() {
    let base = || {
        let mut shell = Shell::new();
        shell.ask(making("/a")).unwrap();
        shell
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut differs = |change: &mut dyn FnMut(&mut Shell)| {
        let mut shell = base();
        change(&mut shell);
        assert!(seen.insert(shell.tree.digest()), "a change that the digest does not see");
        assert_eq!(shell.restored().digest(), shell.tree.digest());
    };
    differs(&mut |_| {});
    differs(&mut |shell| drop(shell.ask(setting("/a", "x", -1))));
    differs(&mut |shell| drop(shell.ask(setting("/a", "y", -1))));
    differs(&mut |shell| {
        shell.caller.time_ms += 1;
        drop(shell.ask(setting("/a", "x", -1)));
    });
    differs(&mut |shell| drop(shell.ask(Operation::SetData { path: "/a".into(), data: None, version: -1 })));
    for bits in [1, 31] {
        let acl = vec![Acl::world(Permissions(bits))];
        differs(&mut |shell| {
            drop(shell.ask(Operation::SetAcl { path: "/a".into(), acl: acl.clone(), version: -1 }))
        });
    }
    for mode in [0, 1, 4, 5] {
        let mode = CreateMode::from_flags(mode).unwrap();
        differs(&mut |shell| drop(shell.make("/a/b", mode)));
        differs(&mut |shell| drop(shell.make("/a/c", mode)));
        differs(&mut |shell| drop(shell.make("/b", mode)));
    }
    differs(&mut |shell| drop(shell.session(2)));
    differs(&mut |shell| drop(shell.session(3)));
}

#[test]
fn z11_a_snapshot_shows_the_moment_of_its_taking_however_slowly_it_is_read() {
    let mut shell = Shell::new();
    for number in 0..9000 {
        shell.ask(making(&format!("/n{number}"))).unwrap();
    }
    shell
        .ask(Operation::SetData { path: "/n7".into(), data: Some(vec![9; 200_000].into()), version: -1 })
        .unwrap();
    let (digest, view) = (shell.tree.digest(), shell.tree.view());
    let mut chunks = Vec::new();
    let snapshot = shell.tree.snapshot();
    let mut number = 0;
    for chunk in snapshot {
        assert!(chunk.len() <= Znodes::CHUNK_BYTES_MAX);
        chunks.push(chunk);
        for _ in 0..500 {
            let path = format!("/n{}", number % 9000);
            match number % 3 {
                0 => drop(shell.ask(setting(&path, "changed", -1))),
                1 => drop(shell.ask(Operation::Delete { path, version: -1 })),
                _ => drop(shell.make(&format!("{path}/below"), CreateMode::Ephemeral)),
            }
            number += 1;
        }
    }
    assert!(chunks.len() > 4 && shell.tree.digest() != digest);
    let restored = Znodes::restore(&mut chunks.into_iter()).unwrap();
    assert_eq!((restored.digest(), restored.view().znode_count()), (digest, view.znode_count()));
    assert_eq!(restored.view().get_data("/n7", &[]), view.get_data("/n7", &[]));
    assert_eq!(restored.size_bytes(), 9004 * ZNODE_BYTES + SESSION_BYTES + view.data_bytes());
}

#[test]
fn z11_sessions_and_acls_that_fill_chunks_of_their_own_are_all_there() {
    let mut shell = Shell::new();
    for id in 2..4000 {
        shell.session(id).unwrap();
        let acl = vec![Acl::new(Permissions::ALL, "digest", &format!("user{id}:0123456789"))];
        let create = Create { acl, ..create(&format!("/n{id}"), CreateMode::Ephemeral) };
        shell.caller.session = SessionId(id);
        shell.ask(Operation::Create(create)).unwrap();
    }
    let chunks: Vec<Bytes> = shell.tree.snapshot().collect();
    assert!(chunks.len() > 4 && chunks.iter().all(|chunk| chunk.len() <= Znodes::CHUNK_BYTES_MAX));
    let restored = Znodes::restore(&mut chunks.into_iter()).unwrap();
    assert_eq!(restored.digest(), shell.tree.digest());
    let view = restored.view();
    assert_eq!((view.session_count(), view.ephemeral_count(), view.acl_count()), (3999, 3998, 4000));
}

#[test]
fn hostile_snapshots_are_refused_quickly() {
    let head = |zxid: u64, directories: u64| {
        let mut to = Writer::new();
        [2, zxid, directories, 0].into_iter().for_each(|number| to.varint(number));
        to
    };
    let refused = |to: Writer| Znodes::restore(&mut std::iter::once(to.finish())).expect_err("it is refused");
    let mut version = Writer::new();
    version.varint(1);
    assert_eq!(refused(version), RestoreError::Version(1));
    // A length that promises gigabytes allocates nothing.
    let mut long = head(1, 1);
    long.u8(3);
    long.varint(1 << 60);
    assert!(matches!(refused(long), RestoreError::Malformed(_)));
    let mut rootless = head(1, 1);
    rootless.u8(0);
    rootless.u64(0);
    assert!(matches!(refused(rootless), RestoreError::Malformed(_)));
    assert_eq!(refused(Writer::new()), RestoreError::Incomplete);
    assert!(matches!(refused(head(u64::MAX, 1)), RestoreError::Malformed(_)));
}

#[test]
fn a_large_command_does_not_keep_small_data_alive_nor_is_large_data_copied_for_readers() {
    let mut shell = Shell::new();
    shell
        .ask(Operation::Create(Create {
            data: Some(vec![1; 100_000].into()),
            ..create("/big", CreateMode::Persistent)
        }))
        .unwrap();
    let view = shell.tree.view();
    let (first, second) =
        (view.get_data("/big", &[]).unwrap().0.unwrap(), view.get_data("/big", &[]).unwrap().0.unwrap());
    assert_eq!(first.as_ptr(), second.as_ptr());
    shell.ask(setting("/big", "small", -1)).unwrap();
    assert_eq!(first.len(), 100_000);
}

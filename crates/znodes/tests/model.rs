//! The tree against the oracle.

mod common;

use bytes::Bytes;
use common::generate;
use common::model::{Kind, Model};
use common::rules::valid;
use proptest::prelude::*;
use quorate_consensus::{Position, Reader, StateMachine, Writer};
use quorate_znodes::*;

fn restore(chunks: Vec<Bytes>) -> Znodes {
    assert!(chunks.iter().all(|chunk| chunk.len() <= Znodes::CHUNK_BYTES_MAX));
    Znodes::restore(&mut chunks.into_iter()).unwrap()
}

/// Compares everything that can be seen, by somebody who may see everything.
fn same(view: &View, model: &Model) {
    let root = [Identity::new("super", "")];
    assert_eq!(view.zxid(), model.zxid);
    assert_eq!(view.znode_count(), model.nodes.len() as u64);
    let mut bytes = 0;
    for (path, node) in &model.nodes {
        let stat = model.stat(path).unwrap();
        bytes += path.len() + stat.data_length as usize;
        assert_eq!(view.exists(path, &root), Ok(stat), "{path}");
        assert_eq!(view.get_data(path, &root), Ok((node.data.clone(), stat)), "{path}");
        assert_eq!(view.get_children(path, &root), Ok((model.children(path), stat)), "{path}");
        assert_eq!(view.get_acl(path, &root), Ok((node.acl.clone(), stat)), "{path}");
        assert_eq!(view.get_all_children_number(path, &root), Ok(model.below(path) as u64), "{path}");
    }
    assert_eq!(view.data_bytes(), bytes as u64);
    let sessions: Vec<_> =
        view.sessions().map(|session| (session.id, session.timeout_ms, session.owner)).collect();
    let expected = model.sessions.iter().map(|(id, session)| (*id, session.timeout_ms, session.owner));
    assert_eq!(sessions, expected.collect::<Vec<_>>());
    assert_eq!(view.session_count(), model.sessions.len() as u64);
    let mut ephemerals = 0;
    for session in view.sessions() {
        let paths = model.ephemerals(session.id);
        assert_eq!(session.ephemerals as usize, paths.len());
        assert_eq!(view.get_ephemerals(session.id, ""), paths);
        ephemerals += paths.len();
    }
    // K6: an ephemeral is there if and only if its session is.
    assert_eq!(
        model.nodes.values().filter(|node| matches!(node.kind, Kind::Ephemeral(_))).count(),
        ephemerals
    );
    assert_eq!((view.ephemeral_count(), view.ephemerals().count()), (ephemerals as u64, ephemerals));
    let acls: std::collections::BTreeSet<_> = model
        .nodes
        .values()
        .map(|node| &node.acl)
        .filter(|acl| **acl != [Acl::world(Permissions::ALL)])
        .collect();
    assert_eq!(view.acl_count(), acls.len() as u64 + 1);
    same_for_steward(view, model);
}

fn same_for_steward(view: &View, model: &Model) {
    let empty = |path: &String| model.children(path).is_empty();
    let containers: Vec<_> =
        view.empty_containers().map(|it| (it.path.to_owned(), it.used, it.mtime)).collect();
    let expected = model.nodes.iter().filter(|(path, node)| node.kind == Kind::Container && empty(path));
    let expected: Vec<_> =
        expected.map(|(path, node)| (path.clone(), node.creations != 0, node.stat.mtime)).collect();
    assert_eq!(containers, expected);
    let mut ttls: Vec<(i64, String)> = Vec::new();
    for (path, node) in &model.nodes {
        if let Kind::Ttl(ms) = node.kind
            && empty(path)
        {
            ttls.push((node.stat.mtime + ms, path.clone()));
        }
    }
    ttls.sort();
    assert_eq!(view.next_ttl_ms(), ttls.first().map(|(over, _)| *over));
    for now in [0, 10, 30, 100] {
        let due: Vec<_> =
            ttls.iter().filter(|(over, _)| *over < now).map(|(_, path)| path.as_str()).collect();
        assert_eq!(view.due_ttls(now).collect::<Vec<_>>(), due);
    }
}

/// A client that has every kind of watch on `path` and is told at once, against one that names its watches later (rule K5).
fn same_watches(view: &View, path: &str, since: u64, existed: bool, events: &[Event]) {
    let on =
        |kinds: &[EventKind]| events.iter().any(|event| &*event.path == path && kinds.contains(&event.kind));
    let exists = view.look(path).is_some();
    let missed = |kind| view.missed(kind, path, since as i64);
    if existed {
        // Deleted and created again looks like written, which is what has happened to its data.
        let told = on(&[EventKind::Deleted, EventKind::DataChanged]);
        assert_eq!(missed(WatchKind::Data).is_some(), told, "data of {path}");
        let told = on(&[EventKind::Deleted, EventKind::ChildrenChanged]);
        assert_eq!(missed(WatchKind::Children).is_some(), told, "children of {path}");
    } else {
        assert_eq!(missed(WatchKind::Exists).is_some(), exists, "existence of {path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Responses, events and every look at the tree are the oracle's; a replica that holds views and snapshots, and one that was
    /// restored on the way, stay equal to one that does neither, digest by digest.
    #[test]
    fn every_answer_is_the_oracles_and_replicas_stay_equal(log in generate::log(60), restore_at in 0..50usize) {
        let mut model = Model::new();
        let (mut plain, mut busy) = (Znodes::new(), Znodes::new());
        let mut restored: Option<Znodes> = None;
        let (mut views, mut slow) = (Vec::new(), None);
        let (mut all, mut begin) = (Vec::new(), None);
        for (index, command) in log.iter().enumerate() {
            let at = Position::new(1, index as u64 + 1);
            let bytes = command.encode();
            prop_assert_eq!(&Command::decode(&bytes).unwrap(), command);
            let placed = plain.apply(at, &bytes);
            let (response, events) = model.apply(command);
            prop_assert_eq!(&placed.response, &response, "{:?}", command);
            prop_assert_eq!(&placed.events, &events, "{:?}", command);
            prop_assert_eq!(plain.number(), model.zxid);
            all.extend(events);
            for replica in [Some(&mut busy), restored.as_mut()].into_iter().flatten() {
                prop_assert_eq!(&replica.apply(at, &bytes), &placed);
                prop_assert_eq!(replica.digest(), plain.digest());
                prop_assert_eq!(replica.size_bytes(), plain.size_bytes());
            }
            let mut to = Writer::new();
            Znodes::encode_response(&placed.response, &mut to);
            let mut from = Reader::new(to.finish());
            prop_assert_eq!(&Znodes::decode_response(&mut from).unwrap(), &placed.response);
            prop_assert_eq!(from.finish(), Ok(()));

            if index % 7 == 0 {
                same(&plain.view(), &model);
                views.push((busy.view(), model.clone()));
            }
            if index % 17 == 0 {
                slow = Some((busy.snapshot(), busy.digest()));
            }
            if index == restore_at {
                restored = Some(restore(busy.snapshot().collect()));
                prop_assert_eq!(restored.as_ref().unwrap().digest(), plain.digest());
                all.clear();
                begin = Some(model.clone());
            }
        }
        for tree in [Some(&plain), Some(&busy), restored.as_ref()].into_iter().flatten() {
            same(&tree.view(), &model);
        }
        // Equal states give equal bytes, also after a restore.
        let bytes = |tree: &Znodes| tree.snapshot().collect::<Vec<_>>().concat();
        prop_assert_eq!(bytes(&plain), bytes(restored.as_ref().unwrap_or(&busy)));
        // Pictures of the past have not moved.
        for (view, model) in &views {
            same(view, model);
        }
        if let Some((snapshot, digest)) = slow {
            prop_assert_eq!(restore(snapshot.collect()).digest(), digest);
        }
        if let Some(begin) = begin {
            for path in ["/", "/a", "/a/b", "/b", "/a/b/c", "/zookeeper/quota/a"] {
                same_watches(&plain.view(), path, begin.zxid, begin.nodes.contains_key(path), &all);
            }
        }
    }

    #[test]
    fn k11_reads_show_what_the_acl_allows_and_nothing_else(log in generate::log(40), who in generate::identities()) {
        let (mut tree, mut model) = (Znodes::new(), Model::new());
        for (index, command) in log.iter().enumerate() {
            tree.apply(Position::new(1, index as u64 + 1), &command.encode());
            model.apply(command);
        }
        let view = tree.view();
        for (path, node) in &model.nodes {
            let may = |bits: i32| allows(&node.acl, Permissions(bits), &who);
            let ok = |may: bool| if may { Ok(()) } else { Err(ZnodeError::NoAuth) };
            prop_assert_eq!(view.exists(path, &who).map(drop), ok(may(1)));
            prop_assert_eq!(view.get_data(path, &who).map(drop), ok(may(1)));
            prop_assert_eq!(view.get_children(path, &who).map(drop), ok(may(1)));
            prop_assert_eq!(view.get_all_children_number(path, &who).map(drop), ok(may(1)));
            prop_assert_eq!(view.get_acl(path, &who).map(drop), ok(may(17)));
            if let Ok((acl, _)) = view.get_acl(path, &who) {
                let hashes = acl.iter().any(|entry| entry.identity.scheme == "digest" && !entry.identity.id.ends_with(":x"));
                prop_assert!(may(16) || !hashes);
            }
        }
        prop_assert_eq!(view.get_data("/nowhere", &who), Err(ZnodeError::NoNode));
    }

    #[test]
    fn z10_paths_are_valid_as_in_java(path in "[/.a\u{0}\u{1f}\u{7f}\u{a0}\u{d7ff}\u{e000}\u{f900}\u{fff0}😀]{0,8}") {
        prop_assert_eq!(check_path(&path).is_ok(), valid(&path), "{:?}", path);
    }
}

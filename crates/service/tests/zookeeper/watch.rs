//! Watches: what fires them, and in which order a client hears of it.

use quorate_consensus::StateMachine as _;
use quorate_service::wire::zookeeper::*;
use quorate_service::zookeeper::*;

use crate::common::*;

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

#[test]
fn k5_a_client_hears_of_a_change_before_its_own_write_is_answered() {
    let mut world = World::new();
    let id = world.client();
    assert_eq!(world.call(id, exists("/a", true)), Err(ErrorCode::NoNode.number()));
    world.call(id, children("/", true)).unwrap();
    let xid = world.send(id, create("/a"));
    world.settle();
    let zxid = world.hub.zxid();
    assert_eq!(world.event(id), Some((CREATED, "/a".into(), zxid)));
    assert_eq!(world.event(id), Some((CHILDREN_CHANGED, "/".into(), zxid)));
    assert_eq!(world.next(id).unwrap().xid, xid);
    world.call(id, delete("/a")).unwrap();
    assert_eq!(world.next(id), None, "they were told once");
}

#[test]
fn k5_a_client_hears_of_a_change_before_it_reads_it() {
    let mut world = World::new();
    let (id, other) = (world.client(), world.client());
    world.call(other, create("/a")).unwrap();
    world.call(id, get("/a", true)).unwrap();
    // Applied, but the connection is not woken before its client asks.
    world.send(other, set("/a", "new"));
    let Some(Output::Propose { command, .. }) = world.of(other).wants.pop_front() else { panic!() };
    let placed = world.tree.apply(quorate_consensus::Position::new(1, 1), &command.encode());
    let view = world.tree.view();
    assert_eq!(world.hub.applied(view, &placed.events), [id]);
    world.send(id, get("/a", false));
    assert_eq!(world.event(id).map(|event| event.0), Some(DATA_CHANGED));
    let got = world.next(id).unwrap();
    assert_eq!(data(Response::decode(OpCode::GetData, got.rest).map_err(|_| 0)), "new");
}

#[test]
fn k5_reads_that_fail_leave_no_watch_but_exists_does() {
    let mut world = World::new();
    let id = world.client();
    world.call(id, get("/a", true)).unwrap_err();
    world.call(id, children("/a", true)).unwrap_err();
    assert_eq!(world.hub.watches().count(), 0);
    world.call(id, exists("/a", true)).unwrap_err();
    assert!(world.hub.watches().has(id, "/a", Kinds::DATA));
    world.step(id, Input::HungUp);
    assert_eq!(world.hub.watches().count(), 0, "they go with their connection");
}

#[test]
fn k5_persistent_and_recursive_watches_stay_until_they_are_taken_back() {
    let mut world = World::new();
    let id = world.client();
    let add = |path: &str, mode| Request::AddWatch(AddWatchRequest { path: path.into(), mode });
    let added = Ok(Response::Number(NumberResponse { number: 0 }));
    assert_eq!(world.call(id, add("/a", 0)), added);
    assert_eq!(world.call(id, add("/", 1)), added);
    for request in [create("/a"), create("/a/b"), set("/a/b", "y"), delete("/a/b"), delete("/a")] {
        world.send(id, request);
    }
    world.settle();
    let mut events = Vec::new();
    while let Some(got) = world.of(id).got.front().cloned() {
        if got[4..8] == [255; 4] {
            events.extend(world.event(id).map(|(kind, path, _)| (kind, path)));
        } else {
            world.next(id);
        }
    }
    let expected = [
        (CREATED, "/a"),
        (CREATED, "/a/b"),
        (CHILDREN_CHANGED, "/a"),
        (DATA_CHANGED, "/a/b"),
        (DELETED, "/a/b"),
        (CHILDREN_CHANGED, "/a"),
        (DELETED, "/a"),
    ];
    assert_eq!(events, expected.map(|(kind, path)| (kind, path.to_owned())));
    let of = |path: &str, kind| WatchesRequest { path: path.into(), kind };
    assert_eq!(world.call(id, Request::CheckWatches(of("/a", 4))), Ok(Response::Empty));
    assert_eq!(world.call(id, Request::CheckWatches(of("/a", 5))), Err(-121));
    assert_eq!(world.call(id, Request::RemoveWatches(of("/a", 3))), Ok(Response::Empty));
    assert_eq!(world.call(id, Request::RemoveWatches(of("/", 5))), Ok(Response::Empty));
    world.call(id, create("/a")).unwrap();
    assert_eq!(world.next(id), None);
}

#[test]
fn k5_watches_brought_along_tell_what_was_missed_before_they_are_answered() {
    let mut world = World::new();
    let (old, writer) = (world.client(), world.client());
    for path in ["/changed", "/same", "/parent", "/gone"] {
        world.call(old, create(path)).unwrap();
    }
    let relative_zxid = world.hub.zxid();
    world.step(old, Input::HungUp);
    for request in [set("/changed", "y"), create("/parent/child"), delete("/gone"), create("/new")] {
        world.call(writer, request).unwrap();
    }
    let id = world.client();
    let list = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    let watches = SetWatches {
        relative_zxid,
        data: list(&["/changed", "/same", "/gone"]),
        exist: list(&["/new", "/never"]),
        child: list(&["/parent", "/same"]),
    };
    let (persistent, persistent_recursive) = (list(&["/p"]), list(&["/r"]));
    world.send(id, Request::SetWatches2(SetWatches2 { watches, persistent, persistent_recursive }));
    for (kind, path) in
        [(DATA_CHANGED, "/changed"), (DELETED, "/gone"), (CREATED, "/new"), (CHILDREN_CHANGED, "/parent")]
    {
        assert_eq!(world.event(id), Some((kind, path.into(), -1)));
    }
    let got = world.next(id).unwrap();
    assert_eq!((got.xid, got.error, got.zxid), (XID_SET_WATCHES, 0, world.hub.zxid()));
    for (path, kinds) in [
        ("/same", Kinds::DATA),
        ("/same", Kinds::CHILDREN),
        ("/never", Kinds::DATA),
        ("/p", Kinds::PERSISTENT),
        ("/r", Kinds::RECURSIVE),
    ] {
        assert!(world.hub.watches().has(id, path, kinds), "{path}");
    }
    assert_eq!(world.hub.watches().count(), 4);
}

#[test]
fn k11_who_may_not_read_a_znode_hears_nothing_of_it() {
    let mut world = World::new();
    let (id, owner) = (world.client(), world.client());
    let auth = AuthPacket { kind: 0, scheme: "digest".into(), credentials: Secret(Some("u:p".into())) };
    world.send(owner, Request::Auth(auth));
    world.next(owner).unwrap();
    world.call(id, exists("/secret", true)).unwrap_err();
    let acl = vec![Acl { permissions: 31, id: Id::new("auth", "") }];
    world.call(owner, Request::Create(CreateRequest { acl, ..create_with("/secret", 0) })).unwrap();
    assert_eq!(world.next(id), None);
    let watches = SetWatches { exist: vec!["/secret".into()], ..SetWatches::default() };
    world.send(id, Request::SetWatches(watches));
    assert_eq!(world.next(id).unwrap().xid, XID_SET_WATCHES);
}

#[test]
fn too_many_notifications_or_a_replaced_tree_send_the_client_away_to_come_back() {
    let mut world = World::new();
    let id = world.client();
    let watch = AddWatchRequest { path: "/".into(), mode: 1 };
    world.call(id, Request::AddWatch(watch)).unwrap();
    let view = world.hub.view().clone();
    let event = quorate_service::znodes::Event {
        zxid: 1,
        kind: quorate_service::znodes::EventKind::Created,
        path: "/a".into(),
        acl: [].into(),
    };
    let events = vec![event; NOTIFICATIONS_WAITING_MAX + 1];
    assert_eq!(world.hub.applied(view.clone(), &events), [id]);
    world.step(id, Input::Wake);
    assert_eq!(world.of(id).closed, Some(CloseReason::MailLost));
    let id = world.client();
    assert_eq!(world.hub.replaced(view), [id]);
    world.step(id, Input::Wake);
    assert_eq!(world.of(id).closed, Some(CloseReason::MailLost));
}

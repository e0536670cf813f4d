//! What requests become, and the codes of those that fail.

use bytes::Bytes;
use quorate_service::wire::zookeeper::*;
use quorate_service::zookeeper::*;

use crate::common::*;

#[test]
fn z10_each_error_has_its_code() {
    let mut world = World::new();
    let id = world.client();
    world.call(id, create("/a")).unwrap();
    world.call(id, create("/a/b")).unwrap();
    world.call(id, Request::Create(create_with("/e", 1))).unwrap();
    let no_acl = CreateRequest { acl: vec![], ..create_with("/z", 0) };
    let version = |version| DeleteRequest { path: "/a/b".into(), version };
    let reconfig = ReconfigRequest { version: -1, ..ReconfigRequest::default() };
    let with_ttl = |create, ttl_ms| Request::CreateTtl(CreateTtlRequest { create, ttl_ms });
    for (request, code) in [
        (create("/a"), ErrorCode::NodeExists),
        (create("/no/a"), ErrorCode::NoNode),
        (create("a"), ErrorCode::BadArguments),
        (create("/e/c"), ErrorCode::NoChildrenForEphemerals),
        (Request::Create(no_acl), ErrorCode::InvalidAcl),
        (Request::Create(create_with("/z", 7)), ErrorCode::BadArguments),
        (Request::Create(create_with("/z", 5)), ErrorCode::BadArguments),
        (with_ttl(create_with("/z", 5), 0), ErrorCode::BadArguments),
        (with_ttl(create_with("/z", 0), 5), ErrorCode::BadArguments),
        (with_ttl(create_with("/z", 2), -1), ErrorCode::BadArguments),
        (Request::CreateContainer(create_with("/z", 5)), ErrorCode::BadArguments),
        (Request::CreateContainer(create_with("/z", 7)), ErrorCode::BadArguments),
        (delete("/a"), ErrorCode::NotEmpty),
        (delete("/zookeeper"), ErrorCode::BadArguments),
        (Request::Delete(version(7)), ErrorCode::BadVersion),
        (set("/no", "x"), ErrorCode::NoNode),
        (get("/no", true), ErrorCode::NoNode),
        (exists("/\0", true), ErrorCode::BadArguments),
        (Request::Reconfig(reconfig), ErrorCode::ReconfigDisabled),
        (Request::RemoveWatches(WatchesRequest { path: "/a".into(), kind: 3 }), ErrorCode::NoWatcher),
        (Request::CheckWatches(WatchesRequest { path: "/a".into(), kind: 9 }), ErrorCode::MarshallingError),
        (Request::AddWatch(AddWatchRequest { path: "/a".into(), mode: 2 }), ErrorCode::MarshallingError),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(world.call(id, request), Err(code.number()), "{shown}");
    }
}

#[test]
fn times_to_live_can_be_switched_off() {
    let mut world = World::new();
    world.settings.ttl = false;
    let id = world.client();
    let request = CreateTtlRequest { create: create_with("/t", 5), ttl_ms: 10 };
    assert_eq!(world.call(id, Request::CreateTtl(request)), Err(ErrorCode::Unimplemented.number()));
    assert_eq!(world.of(id).closed, None);
}

#[test]
fn k10_create2_shows_the_stat_and_sequences_their_number() {
    let mut world = World::new();
    let id = world.client();
    let Ok(Response::Create2(created)) = world.call(id, Request::Create2(create_with("/s-", 3))) else {
        panic!()
    };
    assert_eq!(created.path, "/s-0000000000");
    assert_eq!(created.stat.ephemeral_owner, 101);
    assert_eq!((created.stat.ctime, created.stat.data_length), (1_000, 1));
    assert_eq!(created.stat.czxid, world.hub.zxid());
    let Ok(Response::Stat(found)) = world.call(id, exists("/s-0000000000", false)) else { panic!() };
    assert_eq!(found.stat, created.stat);
}

#[test]
fn k9_a_multi_answers_each_operation_and_a_failed_one_says_which() {
    let mut world = World::new();
    let id = world.client();
    let check = |path: &str| MultiOperation::Check(CheckVersionRequest { path: path.into(), version: -1 });
    let all = vec![
        MultiOperation::Create(create_with("/a", 0)),
        MultiOperation::Create2(create_with("/b", 0)),
        MultiOperation::CreateContainer(create_with("/c", 4)),
        check("/a"),
        MultiOperation::SetData(SetDataRequest { path: "/a".into(), data: None, version: 0 }),
        MultiOperation::Delete(DeleteRequest { path: "/a".into(), version: 1 }),
    ];
    let Ok(Response::Multi(MultiResponse(results))) = world.call(id, Request::Multi(MultiRequest(all)))
    else {
        panic!()
    };
    // As from ZooKeeper: create2 has no stat in a multi, a container has one.
    assert!(matches!(
        &results[..],
        [
            MultiResult::Create { .. },
            MultiResult::Create { .. },
            MultiResult::Create2 { .. },
            MultiResult::Check,
            MultiResult::SetData { .. },
            MultiResult::Delete
        ]
    ));
    // Flags that do not exist fail in their turn, not before the others.
    let bad_flags = || MultiOperation::Create2(create_with("/f", 9));
    for (operations, codes) in [
        (vec![check("/c"), bad_flags(), check("/c")], [0, -8, -2]),
        (vec![check("/c"), check("/no"), bad_flags()], [0, -101, -2]),
    ] {
        let failed = MultiResponse(codes.map(MultiResult::Error).into());
        assert_eq!(world.call(id, Request::Multi(MultiRequest(operations))), Ok(Response::Multi(failed)));
    }
    let empty = world.call(id, Request::Multi(MultiRequest(vec![])));
    assert_eq!(empty, Ok(Response::Multi(MultiResponse(vec![]))));
}

#[test]
fn k9_in_a_multi_the_flags_say_what_is_created_and_a_time_to_live_that_is_missing_spoils_the_whole() {
    let mut world = World::new();
    let id = world.client();
    let check = || MultiOperation::Check(CheckVersionRequest { path: "/no".into(), version: -1 });
    let with_ttl = |path, flags, ttl_ms| {
        MultiOperation::CreateTtl(CreateTtlRequest { create: create_with(path, flags), ttl_ms })
    };
    let mut multi = |operations| world.call(id, Request::Multi(MultiRequest(operations)));
    let failed = |codes: &[i32]| {
        Response::Multi(MultiResponse(codes.iter().copied().map(MultiResult::Error).collect()))
    };
    let done = multi(vec![
        with_ttl("/a", 0, 5),
        with_ttl("/b-", 2, -1),
        MultiOperation::CreateContainer(create_with("/c", 0)),
        MultiOperation::Create(create_with("/d", 4)),
        with_ttl("/e", 5, 5),
    ]);
    let Ok(Response::Multi(MultiResponse(results))) = done else { panic!("{done:?}") };
    let path = |path: &str| MultiResult::Create { path: path.into() };
    assert_eq!(results[..3], [path("/a"), path("/b-0000000001"), path("/c")]);
    assert!(matches!(&results[3..], [MultiResult::Create2 { .. }, MultiResult::Create2 { .. }]));
    for flags in [5, 6] {
        let missing = || MultiOperation::Create(create_with("/f", flags));
        assert_eq!(multi(vec![missing()]), Err(ErrorCode::MarshallingError.number()));
        assert_eq!(multi(vec![check(), missing()]), Ok(failed(&[-101, -2])), "not looked at");
        assert_eq!(multi(vec![with_ttl("/f", flags, 0)]), Ok(failed(&[-8])));
    }
}

#[test]
fn z10_create_container_makes_a_container_whatever_its_flags_say() {
    let mut world = World::new();
    let id = world.client();
    for (flags, path) in [(0, "/c"), (1, "/d"), (2, "/s0000000002"), (3, "/s0000000003"), (4, "/e")] {
        let name = if flags & 2 == 0 { path } else { "/s" };
        let done = world.call(id, Request::CreateContainer(create_with(name, flags)));
        let Ok(Response::Create2(created)) = done else { panic!("{flags}: {done:?}") };
        assert_eq!((&*created.path, created.stat.ephemeral_owner), (path, 0));
    }
    let view = world.hub.view();
    assert_eq!(view.empty_containers().count(), 5);
}

#[test]
fn z10_a_null_is_refused_where_zookeeper_looks_at_it() {
    let mut world = World::new();
    let id = world.client();
    let null = (-1_i32).to_be_bytes();
    let any = (-1_i32).to_be_bytes();
    // setData and setACL look for a path, create and delete stumble over a null.
    for (op, body, code) in [
        (OpCode::SetData, [null, null, any].concat(), ErrorCode::BadArguments),
        (OpCode::SetAcl, [null, null, any].concat(), ErrorCode::BadArguments),
        (OpCode::Create, [null, null, null, [0; 4]].concat(), ErrorCode::MarshallingError),
        (OpCode::Delete, [null, any].concat(), ErrorCode::MarshallingError),
    ] {
        let header = [7_i32.to_be_bytes(), op.number().to_be_bytes()].concat();
        world.packet(id, [header, body].concat().into());
        world.settle();
        assert_eq!(world.next(id).unwrap().error, code.number(), "{op:?}");
    }
    let nobody =
        |scheme: Option<&str>| Acl { permissions: 31, id: Id { scheme: scheme.map(Into::into), id: None } };
    for scheme in [None, Some("world"), Some("digest"), Some("ip"), Some("nothing")] {
        let with_acl =
            |path| Request::Create(CreateRequest { acl: vec![nobody(scheme)], ..create_with(path, 0) });
        assert_eq!(world.call(id, with_acl("/n")), Err(ErrorCode::InvalidAcl.number()), "{scheme:?}");
        assert_eq!(world.call(id, with_acl("n")), Err(ErrorCode::BadArguments.number()), "the path first");
    }
}

#[test]
fn a_multi_of_reads_has_a_result_for_each() {
    let mut world = World::new();
    let id = world.client();
    world.call(id, create("/a")).unwrap();
    let data = |path: &str| ReadOperation::GetData(GetDataRequest { path: path.into(), watch: true });
    let children = ReadOperation::GetChildren(GetChildrenRequest { path: "/".into(), watch: false });
    let request = Request::MultiRead(MultiReadRequest(vec![data("/a"), data("/no"), children]));
    let Ok(Response::Multi(MultiResponse(results))) = world.call(id, request) else { panic!() };
    assert!(matches!(&results[0], MultiResult::GetData { data: Some(data), .. } if data == "x"));
    assert_eq!(results[1], MultiResult::Error(-101));
    let MultiResult::GetChildren { children } = &results[2] else { panic!() };
    assert_eq!(children, &["a", "zookeeper"]);
    assert_eq!(world.hub.watches().count(), 0, "watches are not looked at");
}

#[test]
fn what_no_server_offers_is_answered_and_ends_the_connection_after_what_came_before() {
    for op in [13, 10, 20, -10, 0, 102, 12_345] {
        let mut world = World::new();
        let id = world.client();
        world.send(id, create("/a"));
        let body = [9_i32.to_be_bytes(), i32::to_be_bytes(op), [0; 4], [0; 4]].concat();
        world.packet(id, body.into());
        world.settle();
        assert_eq!(world.next(id).unwrap().error, 0);
        let last = Got { xid: 9, zxid: -1, error: -6, rest: Bytes::new() };
        assert_eq!(world.next(id), Some(last), "{op}");
        assert_eq!(world.of(id).closed, Some(CloseReason::Unimplemented));
    }
}

#[test]
fn a_malformed_request_is_answered_and_a_malformed_header_ends_the_connection() {
    let mut world = World::new();
    let id = world.client();
    world.packet(id, [5_i32.to_be_bytes(), 4_i32.to_be_bytes(), [0x7f; 4]].concat().into());
    assert_eq!(world.next(id).unwrap().error, ErrorCode::MarshallingError.number());
    world.packet(id, Bytes::from_static(b"\0\0\0"));
    assert!(matches!(world.of(id).closed, Some(CloseReason::Malformed(_))));
}

#[test]
fn k11_credentials_count_from_where_they_stand_and_bad_ones_end_the_connection() {
    let mut world = World::new();
    let (id, other) = (world.client(), world.client());
    let auth = |scheme: &str| {
        let credentials = Secret(Some("bob:secret".into()));
        Request::Auth(AuthPacket { kind: 0, scheme: scheme.into(), credentials })
    };
    world.send(id, auth("digest"));
    assert_eq!(world.next(id), Some(Got { xid: XID_AUTH, zxid: 0, error: 0, rest: Bytes::new() }));
    let mine = Acl { permissions: 31, id: Id::new("auth", "") };
    world.call(id, Request::Create(CreateRequest { acl: vec![mine], ..create_with("/mine", 0) })).unwrap();
    assert_eq!(data(world.call(id, get("/mine", false))), "x");
    let no_auth = Err(ErrorCode::NoAuth.number());
    assert_eq!(world.call(other, get("/mine", false)), no_auth);
    assert_eq!(world.call(other, set("/mine", "y")), no_auth);
    assert_eq!(world.call(other, exists("/mine", true)), no_auth);
    let Ok(Response::WhoAmI(who)) = world.call(id, Request::WhoAmI(())) else { panic!() };
    let users: Vec<_> = who.clients.iter().map(|client| (&*client.scheme, &*client.user)).collect();
    assert_eq!(users, [("ip", "10.0.0.1"), ("digest", "bob")]);

    world.send(other, auth("kerberos"));
    let failed = Got { xid: XID_AUTH, zxid: 0, error: -115, rest: Bytes::new() };
    assert_eq!(world.next(other), Some(failed));
    assert_eq!(world.of(other).closed, Some(CloseReason::AuthFailed));
}

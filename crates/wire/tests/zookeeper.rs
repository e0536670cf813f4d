//! ZooKeeper's wire: bytes written by hand, from `zookeeper.jute` and not from our encoder; and everything reads back.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_wire::jute::{Jute, Reader, Writer};
use quorate_wire::zookeeper::*;

fn read<T: Jute>(bytes: &[u8]) -> T {
    T::read(&mut Reader::new(Bytes::copy_from_slice(bytes))).expect("well formed")
}

fn written(value: &impl Jute) -> Bytes {
    let mut to = Writer::new();
    value.write(&mut to);
    to.finish()
}

/// The value has these bytes, and the bytes this value.
fn is<T: Jute + PartialEq + std::fmt::Debug>(value: &T, bytes: &[&[u8]]) {
    let bytes = bytes.concat();
    assert_eq!(written(value), bytes);
    assert_eq!(&read::<T>(&bytes), value);
}

const PASSWORD: &[u8; 16] = b"0123456789abcdef";

#[test]
fn golden_handshake_with_and_without_the_read_only_byte() {
    let password = Secret(Some(Bytes::from_static(PASSWORD)));
    let mut request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0x1_0000_0002,
        timeout_ms: 30_000,
        session: 0x1122_3344_5566_7788,
        password: password.clone(),
        read_only: None,
    };
    let old: &[&[u8]] = &[
        &[0, 0, 0, 0],
        &[0, 0, 0, 1, 0, 0, 0, 2],
        &[0, 0, 0x75, 0x30],
        &[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88],
        &[0, 0, 0, 16],
        PASSWORD,
    ];
    assert_eq!(old.concat().len(), 44);
    is(&request, old);
    request.read_only = Some(true);
    is(&request, &[&old.concat(), &[1]]);

    let mut response =
        ConnectResponse { protocol_version: 0, timeout_ms: 4_000, session: -2, password, read_only: None };
    let old: &[&[u8]] = &[
        &[0, 0, 0, 0],
        &[0, 0, 0x0f, 0xa0],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe],
        &[0, 0, 0, 16],
        PASSWORD,
    ];
    is(&response, old);
    response.read_only = Some(false);
    is(&response, &[&old.concat(), &[0]]);
    assert!(!format!("{request:?}{response:?}").contains("48"), "nobody sees a password");
}

#[test]
fn golden_headers_and_stat() {
    is(&RequestHeader { xid: -2, op: 11 }, &[&[0xff, 0xff, 0xff, 0xfe], &[0, 0, 0, 11]]);
    let reply = ReplyHeader { xid: 1, zxid: 5, error: -101 };
    is(&reply, &[&[0, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 0, 5], &[0xff, 0xff, 0xff, 0x9b]]);
    assert_eq!(reply.packet()[..4], [0, 0, 0, 16]);
    let stat = Stat {
        czxid: 1,
        mzxid: 2,
        ctime: 3,
        mtime: 4,
        version: 5,
        cversion: 6,
        aversion: 7,
        ephemeral_owner: 8,
        data_length: 9,
        num_children: 10,
        pzxid: 11,
    };
    let long = |byte: u8| [0, 0, 0, 0, 0, 0, 0, byte];
    let int = |byte: u8| [0, 0, 0, byte];
    is(
        &stat,
        &[
            &long(1),
            &long(2),
            &long(3),
            &long(4),
            &int(5),
            &int(6),
            &int(7),
            &long(8),
            &int(9),
            &int(10),
            &long(11),
        ],
    );
    assert_eq!(Stat::BYTES, 68);
}

#[test]
fn golden_create_and_its_answers() {
    let acl = vec![Acl { permissions: 31, id: Id::new("world", "anyone") }];
    let create = CreateRequest { path: "/a".into(), data: None, acl, flags: 3 };
    let bytes: &[&[u8]] = &[
        b"\0\0\0\x02/a",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x01",
        b"\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone",
        b"\0\0\0\x03",
    ];
    is(&create, bytes);
    is(&CreateTtlRequest { create: create.clone(), ttl_ms: 256 }, &[&bytes.concat(), b"\0\0\0\0\0\0\x01\0"]);
    let packet = Request::Create(create).packet(9).unwrap();
    assert_eq!(packet[4..12], *b"\0\0\0\x09\0\0\0\x01");
    assert_eq!(packet[12..], bytes.concat());

    let answer = Response::Path(PathResponse { path: "/a0000000000".into() });
    let expected = b"\0\0\0\x20\0\0\0\x09\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x0c/a0000000000";
    assert_eq!(&answer.packet(9, 7).unwrap()[..], expected);
}

#[test]
fn golden_notification() {
    let event = WatcherEvent { kind: 4, state: WatcherEvent::CONNECTED, path: "/a".into() };
    let expected = b"\0\0\0\x1e\xff\xff\xff\xff\0\0\0\0\0\0\0\x2a\0\0\0\0\0\0\0\x04\0\0\0\x03\0\0\0\x02/a";
    assert_eq!(&event.packet(42).unwrap()[..], expected);
}

#[test]
fn golden_multi_and_its_answers() {
    let multi = MultiRequest(vec![
        MultiOperation::Check(CheckVersionRequest { path: "/a".into(), version: -1 }),
        MultiOperation::Delete(DeleteRequest { path: "/b".into(), version: 2 }),
    ]);
    let header = |op: u8| [0, 0, 0, op, 0, 0xff, 0xff, 0xff, 0xff];
    let end: &[u8] = b"\xff\xff\xff\xff\x01\xff\xff\xff\xff";
    is(&multi, &[&header(13), b"\0\0\0\x02/a\xff\xff\xff\xff", &header(2), b"\0\0\0\x02/b\0\0\0\x02", end]);
    let failed = MultiResponse(vec![
        MultiResult::Error(0),
        ErrorCode::NotEmpty.into(),
        ErrorCode::RuntimeInconsistency.into(),
    ]);
    let error = |code: [u8; 4]| [&b"\xff\xff\xff\xff\0"[..], &code, &code].concat();
    is(&failed, &[&error([0; 4]), &error([255, 255, 255, 0x91]), &error([255, 255, 255, 254]), end]);
    let done = MultiResponse(vec![MultiResult::Check, MultiResult::Create { path: "/a".into() }]);
    is(&done, &[b"\0\0\0\x0d\0\0\0\0\0", b"\0\0\0\x01\0\0\0\0\0\0\0\0\x02/a", end]);
    is(&MultiRequest(vec![]), &[end]);
}

#[test]
fn golden_watches_and_auth() {
    let watches = SetWatches {
        relative_zxid: 1,
        data: vec!["/a".into()],
        exist: vec![],
        child: vec!["/b".into(), "/c".into()],
    };
    let bytes: &[&[u8]] = &[
        b"\0\0\0\0\0\0\0\x01",
        b"\0\0\0\x01\0\0\0\x02/a",
        b"\0\0\0\0",
        b"\0\0\0\x02\0\0\0\x02/b\0\0\0\x02/c",
    ];
    is(&watches, bytes);
    let persistent = SetWatches2 { watches, persistent: vec!["/d".into()], persistent_recursive: vec![] };
    is(&persistent, &[&bytes.concat(), b"\0\0\0\x01\0\0\0\x02/d\0\0\0\0"]);
    let auth = AuthPacket {
        kind: 0,
        scheme: "digest".into(),
        credentials: Secret(Some(Bytes::from_static(b"u:p"))),
    };
    is(&auth, &[b"\0\0\0\0\0\0\0\x06digest\0\0\0\x03u:p"]);
    is(&AddWatchRequest { path: "/".into(), mode: 1 }, &[b"\0\0\0\x01/\0\0\0\x01"]);
    let reconfig =
        ReconfigRequest { joining: None, leaving: Some("3".into()), new_members: None, version: -1 };
    is(&reconfig, &[b"\xff\xff\xff\xff\0\0\0\x013\xff\xff\xff\xff", &[255; 8]]);
}

#[test]
fn bytes_after_a_record_are_ignored_and_bytes_missing_are_not() {
    let exists = Request::Exists(ExistsRequest { path: "/a".into(), watch: true });
    let bytes = exists.packet(1).unwrap().slice(12..);
    let longer: Bytes = [&bytes[..], b"more"].concat().into();
    assert_eq!(Request::decode(OpCode::Exists, longer), Ok(exists));
    assert!(Request::decode(OpCode::Exists, bytes.slice(..bytes.len() - 1)).is_err());
}

#[test]
fn a_multi_holds_writes_a_multi_of_reads_reads_and_neither_a_multi() {
    let one = |op: i32, rest: &[u8]| -> Bytes {
        [&op.to_be_bytes()[..], &[0, 255, 255, 255, 255], rest, b"\xff\xff\xff\xff\x01\xff\xff\xff\xff"]
            .concat()
            .into()
    };
    let get = one(4, b"\0\0\0\x02/a\0");
    assert!(Request::decode(OpCode::MultiRead, get.clone()).is_ok());
    assert!(Request::decode(OpCode::Multi, get).is_err());
    let delete = one(2, b"\0\0\0\x02/a\0\0\0\0");
    assert!(Request::decode(OpCode::Multi, delete.clone()).is_ok());
    assert!(Request::decode(OpCode::MultiRead, delete).is_err());
    for op in [OpCode::Multi, OpCode::SetAcl, OpCode::Exists] {
        assert!(Request::decode(OpCode::Multi, one(op.number(), &[0; 64])).is_err(), "{op:?}");
    }
}

// ── whatever is written reads back ──────────────────────────────────────────────────────────────────────────────────

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "/", "ü", "\u{fffd}", "\0"]), 0..6)
        .prop_map(|all| all.concat())
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 0..4)
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from))
}

fn acl() -> impl Strategy<Value = Vec<Acl>> {
    let one = (any::<i32>(), prop::option::of(text()), prop::option::of(text()))
        .prop_map(|(permissions, scheme, id)| Acl { permissions, id: Id { scheme, id } });
    prop::collection::vec(one, 0..3)
}

fn create() -> impl Strategy<Value = CreateRequest> {
    (text(), data(), acl(), any::<i32>()).prop_map(|(path, data, acl, flags)| CreateRequest {
        path,
        data,
        acl,
        flags,
    })
}

fn create_ttl() -> impl Strategy<Value = CreateTtlRequest> {
    (create(), any::<i64>()).prop_map(|(create, ttl_ms)| CreateTtlRequest { create, ttl_ms })
}

fn operation() -> impl Strategy<Value = MultiOperation> {
    prop_oneof![
        create().prop_map(MultiOperation::Create),
        create().prop_map(MultiOperation::Create2),
        create().prop_map(MultiOperation::CreateContainer),
        create_ttl().prop_map(MultiOperation::CreateTtl),
        (text(), any::<i32>())
            .prop_map(|(path, version)| MultiOperation::Delete(DeleteRequest { path, version })),
        (text(), data(), any::<i32>()).prop_map(|(path, data, version)| MultiOperation::SetData(
            SetDataRequest { path, data, version }
        )),
        (text(), any::<i32>())
            .prop_map(|(path, version)| MultiOperation::Check(CheckVersionRequest { path, version })),
    ]
}

fn read_operation() -> impl Strategy<Value = ReadOperation> {
    prop_oneof![
        (text(), any::<bool>())
            .prop_map(|(path, watch)| ReadOperation::GetData(GetDataRequest { path, watch })),
        (text(), any::<bool>())
            .prop_map(|(path, watch)| ReadOperation::GetChildren(GetChildrenRequest { path, watch })),
    ]
}

fn set_watches() -> impl Strategy<Value = SetWatches> {
    (any::<i64>(), texts(), texts(), texts()).prop_map(|(relative_zxid, data, exist, child)| SetWatches {
        relative_zxid,
        data,
        exist,
        child,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let writes =
        prop_oneof![
            create().prop_map(Request::Create),
            create().prop_map(Request::Create2),
            create().prop_map(Request::CreateContainer),
            create_ttl().prop_map(Request::CreateTtl),
            (text(), any::<i32>())
                .prop_map(|(path, version)| Request::Delete(DeleteRequest { path, version })),
            (text(), data(), any::<i32>())
                .prop_map(|(path, data, version)| Request::SetData(SetDataRequest { path, data, version })),
            (text(), acl(), any::<i32>()).prop_map(|(path, acl, version)| Request::SetAcl(SetAclRequest {
                path,
                acl,
                version
            })),
            (text(), any::<i32>())
                .prop_map(|(path, version)| Request::Check(CheckVersionRequest { path, version })),
            prop::collection::vec(operation(), 0..5).prop_map(|all| Request::Multi(MultiRequest(all))),
            (prop::option::of(text()), prop::option::of(text()), prop::option::of(text()), any::<i64>())
                .prop_map(|(joining, leaving, new_members, version)| {
                    Request::Reconfig(ReconfigRequest { joining, leaving, new_members, version })
                }),
        ];
    let reads = prop_oneof![
        (text(), any::<bool>()).prop_map(|(path, watch)| Request::Exists(ExistsRequest { path, watch })),
        (text(), any::<bool>()).prop_map(|(path, watch)| Request::GetData(GetDataRequest { path, watch })),
        (text(), any::<bool>())
            .prop_map(|(path, watch)| Request::GetChildren(GetChildrenRequest { path, watch })),
        (text(), any::<bool>())
            .prop_map(|(path, watch)| Request::GetChildren2(GetChildrenRequest { path, watch })),
        text().prop_map(|path| Request::GetAcl(GetAclRequest { path })),
        text().prop_map(|path| Request::Sync(SyncRequest { path })),
        text().prop_map(|prefix| Request::GetEphemerals(GetEphemeralsRequest { prefix })),
        text().prop_map(|path| Request::GetAllChildrenNumber(GetAllChildrenNumberRequest { path })),
        prop::collection::vec(read_operation(), 0..5)
            .prop_map(|all| Request::MultiRead(MultiReadRequest(all))),
    ];
    let others = prop_oneof![
        prop::sample::select(vec![Request::Ping(()), Request::WhoAmI(()), Request::CloseSession(())]),
        (text(), any::<i32>()).prop_map(|(path, kind)| Request::CheckWatches(WatchesRequest { path, kind })),
        (text(), any::<i32>()).prop_map(|(path, kind)| Request::RemoveWatches(WatchesRequest { path, kind })),
        (text(), any::<i32>()).prop_map(|(path, mode)| Request::AddWatch(AddWatchRequest { path, mode })),
        set_watches().prop_map(Request::SetWatches),
        (set_watches(), texts(), texts()).prop_map(|(watches, persistent, persistent_recursive)| {
            Request::SetWatches2(SetWatches2 { watches, persistent, persistent_recursive })
        }),
        (any::<i32>(), text(), data()).prop_map(|(kind, scheme, credentials)| {
            Request::Auth(AuthPacket { kind, scheme, credentials: Secret(credentials) })
        }),
        data().prop_map(|token| Request::Sasl(SaslToken { token: Secret(token) })),
    ];
    prop_oneof![writes, reads, others]
}

fn stat() -> impl Strategy<Value = Stat> {
    any::<(i64, i32)>().prop_map(|(long, int)| Stat {
        czxid: long,
        mzxid: !long,
        version: int,
        num_children: !int,
        pzxid: 1,
        ..Stat::default()
    })
}

fn multi_result() -> impl Strategy<Value = MultiResult> {
    prop_oneof![
        text().prop_map(|path| MultiResult::Create { path }),
        (text(), stat()).prop_map(|(path, stat)| MultiResult::Create2 { path, stat }),
        prop::sample::select(vec![MultiResult::Delete, MultiResult::Check, MultiResult::Error(0)]),
        stat().prop_map(|stat| MultiResult::SetData { stat }),
        (data(), stat()).prop_map(|(data, stat)| MultiResult::GetData { data, stat }),
        texts().prop_map(|children| MultiResult::GetChildren { children }),
        any::<i32>().prop_map(MultiResult::Error),
    ]
}

/// An answer, and to what.
fn response() -> impl Strategy<Value = (OpCode, Response)> {
    prop_oneof![
        text().prop_map(|path| (OpCode::Create, Response::Path(PathResponse { path }))),
        (text(), stat())
            .prop_map(|(path, stat)| (OpCode::CreateTtl, Response::Create2(Create2Response { path, stat }))),
        stat().prop_map(|stat| (OpCode::SetAcl, Response::Stat(StatResponse { stat }))),
        (data(), stat())
            .prop_map(|(data, stat)| (OpCode::GetData, Response::Data(DataResponse { data, stat }))),
        (acl(), stat()).prop_map(|(acl, stat)| (OpCode::GetAcl, Response::Acl(AclResponse { acl, stat }))),
        texts().prop_map(|names| (OpCode::GetEphemerals, Response::Names(NamesResponse { names }))),
        (texts(), stat()).prop_map(|(children, stat)| {
            (OpCode::GetChildren2, Response::Children2(Children2Response { children, stat }))
        }),
        any::<i32>()
            .prop_map(|number| (OpCode::GetAllChildrenNumber, Response::Number(NumberResponse { number }))),
        prop::collection::vec(multi_result(), 0..6)
            .prop_map(|all| (OpCode::MultiRead, Response::Multi(MultiResponse(all)))),
        (text(), text()).prop_map(|(scheme, user)| {
            (OpCode::WhoAmI, Response::WhoAmI(WhoAmIResponse { clients: vec![ClientInfo { scheme, user }] }))
        }),
        data().prop_map(|token| (OpCode::Sasl, Response::Sasl(SaslToken { token: Secret(token) }))),
        Just((OpCode::Delete, Response::Empty)),
    ]
}

proptest! {
    #[test]
    fn every_request_reads_back(request in request(), xid in any::<i32>()) {
        let packet = request.packet(xid).unwrap();
        let mut from = Reader::new(packet.slice(4..));
        let header = RequestHeader::read(&mut from).unwrap();
        prop_assert_eq!(&header, &RequestHeader { xid, op: request.op().number() });
        prop_assert_eq!(packet.len() - 4, i32::from_be_bytes(packet[..4].try_into().unwrap()) as usize);
        prop_assert_eq!(Request::decode(request.op(), from.rest()), Ok(request));
    }

    #[test]
    fn every_answer_reads_back((op, response) in response(), xid in any::<i32>(), zxid in any::<i64>()) {
        let packet = response.packet(xid, zxid).unwrap();
        let mut from = Reader::new(packet.slice(4..));
        prop_assert_eq!(ReplyHeader::read(&mut from), Ok(ReplyHeader { xid, zxid, error: 0 }));
        prop_assert_eq!(Response::decode(op, from.rest()), Ok(response));
    }

    #[test]
    fn a_request_cut_short_is_refused(request in request(), cut in 0..64usize) {
        let bytes = request.packet(1).unwrap().slice(12..);
        prop_assume!(cut < bytes.len());
        prop_assert!(Request::decode(request.op(), bytes.slice(..cut)).is_err());
    }
}

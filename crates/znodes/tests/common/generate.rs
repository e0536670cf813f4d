//! Random commands over few paths, few sessions and few moments, so that they meet.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_consensus::Epoch;
use quorate_znodes::*;

pub fn path() -> impl Strategy<Value = String> {
    let name = || prop_oneof![5 => Just("a"), 3 => Just("b"), 1 => Just("c")];
    let depth = prop_oneof![4 => Just(1), 5 => Just(2), 2 => Just(3usize)];
    let names = depth.prop_flat_map(move |depth| prop::collection::vec(name(), depth));
    prop_oneof![
        30 => names.prop_map(|names| format!("/{}", names.join("/"))),
        4 => prop::sample::select(vec![
            "/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_limits", "/zookeeper/quota/a/zookeeper_stats",
            "/zookeeper/quota/a/b", "/zookeeper/quota/a/b/zookeeper_limits", "/zookeeper/quota/a/b/zookeeper_stats",
        ]).prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/a0000000000", "/a/b0000000001",
            "/zookeeper/quota/zookeeper_limits",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "", "a", "//", "/a/", "/a//b", "/a/.", "/a/../b", "/a\0", "a/b", "/a/\u{e000}", "/😀", "/a/b\u{7f}", "/a/",
        ]).prop_map(str::to_owned),
    ]
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    prop_oneof![
        1 => Just(None),
        6 => prop::sample::select(vec!["", "x", "yyyyy"]).prop_map(|text| Some(Bytes::from_static(text.as_bytes()))),
        4 => prop::sample::select(vec![
            "count=3,bytes=9", "count=-1,bytes=-1=;byteHardLimit=8;countHardLimit=3", "countHardLimit=2", "count=,bytes=1",
        ]).prop_map(|text| Some(Bytes::from_static(text.as_bytes()))),
        1 => (1000..3000usize).prop_map(|bytes| Some(Bytes::from(vec![7; bytes]))),
    ]
}

fn version() -> impl Strategy<Value = i32> {
    prop_oneof![5 => Just(-1), 3 => 0..3i32, 1 => Just(i32::MIN)]
}

pub fn identities() -> impl Strategy<Value = Vec<Identity>> {
    let all = [("digest", "u:h"), ("digest", "v:i"), ("ip", "10.1.2.3"), ("x509", "CN=a"), ("super", "")];
    let one =
        prop_oneof![8 => 0..4usize, 1 => Just(4)].prop_map(move |at| Identity::new(all[at].0, all[at].1));
    prop::collection::vec(one, 0..3)
}

fn acl() -> impl Strategy<Value = Vec<Acl>> {
    let rule = prop::sample::select(vec![
        ("world", "anyone"),
        ("auth", ""),
        ("digest", "u:h"),
        ("digest", "v:i"),
        ("ip", "10.0.0.0/8"),
        ("ip", "10.1.2.3"),
        ("x509", "CN=a"),
    ]);
    let wrong = prop::sample::select(vec![
        ("world", "me"),
        ("digest", "u"),
        ("ip", "10.1"),
        ("sasl", "x"),
        ("super", ""),
    ]);
    let rule = prop_oneof![30 => rule, 1 => wrong];
    let permissions = prop_oneof![2 => Just(31), 1 => 0..32i32];
    let entry = (permissions, rule).prop_map(|(bits, (scheme, id))| Acl::new(Permissions(bits), scheme, id));
    prop_oneof![
        6 => Just(vec![Acl::world(Permissions::ALL)]),
        3 => prop::collection::vec(entry, 0..4),
    ]
}

fn session() -> impl Strategy<Value = SessionId> {
    prop_oneof![20 => Just(1), 6 => Just(-2), 1 => Just(3i64)].prop_map(SessionId)
}

fn owner() -> impl Strategy<Value = u64> {
    prop_oneof![30 => Just(1u64), 1 => Just(2)]
}

/// In its turn now and then: after a session was taken up, the first few are.
fn sequence() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![4 => Just(None), 2 => Just(Some(0)), 2 => Just(Some(1)), 1 => (2..5u64).prop_map(Some)]
}

fn caller() -> impl Strategy<Value = Caller> {
    (session(), owner(), sequence(), identities(), 0..40i64, any::<bool>()).prop_map(
        |(session, owner, sequence, identities, time_ms, enforce_quota)| Caller {
            session,
            owner,
            sequence,
            identities,
            time_ms,
            enforce_quota,
        },
    )
}

pub fn create() -> impl Strategy<Value = Create> {
    let flags = prop_oneof![4 => Just(0), 3 => Just(1), 2 => Just(2), 2 => Just(3), 2 => Just(4), 2 => Just(5), 1 => Just(6)];
    let mode = flags.prop_map(|flags| CreateMode::from_flags(flags).unwrap());
    let mode = prop_oneof![16 => mode, 1 => Just(CreateMode::ContainerSequential)];
    let ttl = prop_oneof![8 => 1..20i64, 1 => Just(0), 1 => Just(1 << 40)];
    (path(), data(), acl(), mode, ttl, 0..30u8).prop_map(|(path, data, acl, mode, ttl, odd)| {
        let timed = matches!(mode, CreateMode::Ttl | CreateMode::TtlSequential);
        Create { path, data, acl, mode, ttl_ms: if timed != (odd == 0) { ttl } else { -1 } }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => create().prop_map(Operation::Create),
        3 => (path(), version()).prop_map(|(path, version)| Operation::Delete { path, version }),
        3 => (path(), data(), version()).prop_map(|(path, data, version)| Operation::SetData { path, data, version }),
    ]
}

fn operation_of_multi() -> impl Strategy<Value = Operation> {
    let check = (path(), version()).prop_map(|(path, version)| Operation::Check { path, version });
    let refused =
        prop_oneof![Just(ZnodeError::BadArguments), Just(ZnodeError::Malformed)].prop_map(Operation::Refused);
    prop_oneof![27 => operation(), 6 => check, 1 => refused]
}

pub fn command() -> impl Strategy<Value = Command> {
    let password = || prop_oneof![9 => Just(1u8), 1 => Just(2)].prop_map(|byte| Password([byte; 16]));
    prop_oneof![
        24 => (caller(), operation()).prop_map(|(caller, operation)| Command::Operation(caller, operation)),
        2 => (caller(), path(), acl(), version())
            .prop_map(|(caller, path, acl, version)| Command::Operation(caller, Operation::SetAcl { path, acl, version })),
        6 => (caller(), prop::collection::vec(operation_of_multi(), 0..5)).prop_map(|(caller, all)| Command::Multi(caller, all)),
        2 => (session(), 1..9i32, password(), owner()).prop_map(|(session, timeout_ms, password, owner)| {
            Command::CreateSession(CreateSession { session, timeout_ms, password, owner })
        }),
        1 => (session(), 1..9i32, password(), owner()).prop_map(|(session, timeout_ms, password, owner)| {
            Command::Reattach(Reattach { session, password, owner, timeout_ms })
        }),
        1 => (session(), prop::option::of((owner(), 1..3u64)), owner(), sequence()).prop_map(|(session, expiry, owner, sequence)| {
            let expiry = expiry.map(|(owner, epoch)| Expiry { owner, epoch: Epoch(epoch) });
            let goodbye = sequence.map(|sequence| Goodbye { owner, sequence });
            Command::CloseSession(CloseSession { session, expiry, goodbye })
        }),
        4 => (path(), 0..80i64, -1..30i64)
            .prop_map(|(path, time_ms, unused_ms)| Command::Reap(Reap { path, time_ms, unused_ms })),
    ]
}

/// Something for the rest to meet: what to create first, if it is drawn.
fn scene() -> impl Strategy<Value = Vec<Command>> {
    let paths = [
        "/a",
        "/a/a",
        "/b",
        "/zookeeper/quota/a",
        "/zookeeper/quota/a/zookeeper_limits",
        "/zookeeper/quota/a/zookeeper_stats",
    ];
    let data = prop::sample::select(vec!["countHardLimit=4", "byteHardLimit=7", "count=1,bytes=1"]);
    (
        prop::collection::vec(prop::bool::weighted(0.7), paths.len()),
        data,
        prop_oneof![3 => Just(0), 1 => Just(4), 1 => Just(5)],
    )
        .prop_map(move |(drawn, limits, mode)| {
            let caller = Caller { session: SessionId(1), owner: 1, time_ms: 3, ..Caller::default() };
            let create = |path: &str| {
                let quota = path.ends_with("_limits") || path.ends_with("_stats");
                let mode = if path == "/b" { mode } else { 0 };
                Create {
                    path: path.to_owned(),
                    data: Some(if quota { limits.into() } else { Bytes::new() }),
                    acl: vec![Acl::world(Permissions::ALL)],
                    mode: CreateMode::from_flags(mode).unwrap(),
                    ttl_ms: if mode == 5 { 10 } else { -1 },
                }
            };
            let drawn = paths.iter().zip(drawn).filter(|(_, drawn)| *drawn);
            drawn
                .map(|(path, _)| Command::Operation(caller.clone(), Operation::Create(create(path))))
                .collect()
        })
}

/// A log that begins with two sessions and some znodes, so that not everything is refused.
pub fn log(length: usize) -> impl Strategy<Value = Vec<Command>> {
    (scene(), prop::collection::vec(command(), 1..length)).prop_map(|(scene, rest)| {
        let begin = [1, -2].map(|id| {
            let (session, password) = (SessionId(id), Password([1; 16]));
            Command::CreateSession(CreateSession { session, timeout_ms: 5, password, owner: 1 })
        });
        begin.into_iter().chain(scene).chain(rest).collect()
    })
}

//! The service Auth and the gate before every other one, from a client's side, against a cluster of three.

use std::time::Duration;

use crate::support::{Cluster, assert_error, delete, op, put, range};
use quorate_client::{
    rpc::{
        AuthClient, LeaseClient, WatchClient, v3electionpb::election_client::ElectionClient,
        v3lockpb::lock_client::LockClient,
    },
    tonic::{
        self, Code, IntoRequest, Request, Response, Status, codegen::tokio_stream::wrappers::ReceiverStream,
        transport::Channel,
    },
    wire::{authpb, etcdserverpb as pb, v3electionpb, v3lockpb},
};
use tokio::{sync::mpsc, time::timeout};

const DENIED: &str = "etcdserver: permission denied";
const EMPTY: &str = "etcdserver: user name is empty";
const BAD_TOKEN: &str = "etcdserver: invalid auth token";
const OLD: &str = "etcdserver: revision of auth store is old";

fn auth(cluster: &Cluster, node: usize) -> AuthClient<Channel> {
    AuthClient::new(cluster.channel(node))
}

/// A request in somebody's name.
fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = message.into_request();
    if !token.is_empty() {
        request.metadata_mut().insert("token", token.parse().expect("a token is text"));
    }
    request
}

fn user(name: &str, password: &str) -> pb::AuthUserAddRequest {
    pb::AuthUserAddRequest { name: name.into(), password: password.into(), ..Default::default() }
}

fn permission(kind: authpb::permission::Type, key: &str, end: &str) -> authpb::Permission {
    authpb::Permission {
        perm_type: kind.into(),
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
    }
}

use authpb::permission::Type::{Read, Readwrite};

async fn grant(cluster: &Cluster, token: &str, role: &str, perm: authpb::Permission) {
    let request = pb::AuthRoleGrantPermissionRequest { name: role.into(), perm: Some(perm) };
    auth(cluster, 0).role_grant_permission(by(token, request)).await.expect("granted");
}

async fn login(cluster: &Cluster, node: usize, name: &str, password: &str) -> Result<String, Status> {
    let request = pb::AuthenticateRequest { name: name.into(), password: password.into() };
    auth(cluster, node).authenticate(request).await.map(|response| response.into_inner().token)
}

/// P10, P11 (CVE-2021-28235, TOB-012): neither passwords nor tokens are on any disk, nor their random parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_and_no_token_is_in_any_file() {
    no_secret_is_in_any_file().await;
}

/// On this very thread, which is the one with the bug.
#[cfg(feature = "planted-bugs")]
#[test]
fn p11_tokens_that_are_written_down_as_they_are_are_found_planted() {
    quorate_consensus::hunt_plant("P11", "E8", [()], |()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(no_secret_is_in_any_file());
    });
}

async fn no_secret_is_in_any_file() {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    fn files(directory: &std::path::Path, all: &mut Vec<u8>) {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => files(&path, all),
                false => all.extend(std::fs::read(&path).expect("a file")),
            }
        }
    }
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let name = format!("{}-auth-{process}-{number}", env!("CARGO_CRATE_NAME"));
    let directory = std::env::temp_dir().join(name);
    let cluster = Cluster::start_in(1, Some(directory.clone())).await;
    let mut client = auth(&cluster, 0);
    for name in ["root", "somebody"] {
        client.user_add(user(name, "hunter2-the-first")).await.unwrap();
    }
    client
        .user_grant_role(pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() })
        .await
        .unwrap();
    client.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
    let root = login(&cluster, 0, "root", "hunter2-the-first").await.unwrap();
    let name = "somebody".to_owned();
    let change =
        pb::AuthUserChangePasswordRequest { name, password: "hunter2-the-next".into(), ..Default::default() };
    client.user_change_password(by(&root, change)).await.unwrap();
    let token = login(&cluster, 0, "somebody", "hunter2-the-next").await.unwrap();
    cluster.kv(0).put(by(&root, put("a", "what-is-written"))).await.unwrap();
    let mut all = Vec::new();
    files(&directory, &mut all);
    let there = |text: &str| all.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(there("what-is-written") && there("somebody") && there("$2b$10$"), "these are the files");
    for secret in ["hunter2", &root[..16], &token[..16]] {
        assert!(!there(secret), "{secret}");
    }
    drop(cluster);
    let _ = std::fs::remove_dir_all(&directory);
}

/// Auth on; root's token. User `u` (password `pu`) has role `r`: everything under `a/`.
async fn guarded() -> (Cluster, String) {
    let cluster = Cluster::start(3).await;
    let mut client = auth(&cluster, 0);
    for (name, password) in [("root", "pr"), ("u", "pu")] {
        client.user_add(user(name, password)).await.expect("added");
    }
    for (user, role) in [("root", "root"), ("u", "r")] {
        client.role_add(pb::AuthRoleAddRequest { name: role.into() }).await.expect("added");
        let request = pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
        client.user_grant_role(request).await.expect("granted");
    }
    grant(&cluster, "", "r", permission(Readwrite, "a/", "a0")).await;
    client.auth_enable(pb::AuthEnableRequest {}).await.expect("on");
    let token = login(&cluster, 1, "root", "pr").await.expect("a token");
    (cluster, token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_roles_and_their_errors_are_etcds() {
    let cluster = Cluster::start(3).await;
    let mut client = auth(&cluster, 0);
    let status = client.auth_status(pb::AuthStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.enabled, status.auth_revision), (false, 1));
    let failed = Code::FailedPrecondition;
    let name = "etcdserver: user name is empty";
    assert_error("no name", client.user_add(user("", "p")).await, Code::InvalidArgument, name);
    client.user_add(user("u", "p")).await.unwrap();
    assert_error(
        "twice",
        client.user_add(user("u", "p")).await,
        failed,
        "etcdserver: user name already exists",
    );
    let role = |name: &str| pb::AuthRoleAddRequest { name: name.into() };
    assert_error(
        "no role",
        client.role_add(role("")).await,
        Code::InvalidArgument,
        "etcdserver: role name is empty",
    );
    client.role_add(role("r")).await.unwrap();
    assert_error("twice", client.role_add(role("r")).await, failed, "etcdserver: role name already exists");
    let give = |user: &str, role: &str| pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
    assert_error(
        "role",
        client.user_grant_role(give("u", "s")).await,
        failed,
        "etcdserver: role name not found",
    );
    assert_error(
        "user",
        client.user_grant_role(give("v", "r")).await,
        failed,
        "etcdserver: user name not found",
    );
    let take = pb::AuthUserRevokeRoleRequest { name: "u".into(), role: "r".into() };
    let not = "etcdserver: role is not granted to the user";
    assert_error("revoke", client.user_revoke_role(take).await, failed, not);
    let none = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm: None };
    let text = "etcdserver: permission not given";
    assert_error("none", client.role_grant_permission(none).await, Code::InvalidArgument, text);
    let wrong =
        pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm: Some(permission(Read, "b", "a")) };
    let text = "etcdserver: invalid auth management";
    assert_error("interval", client.role_grant_permission(wrong).await, Code::InvalidArgument, text);
    let gone =
        pb::AuthRoleRevokePermissionRequest { role: "r".into(), key: "a".into(), ..Default::default() };
    let text = "etcdserver: permission is not granted to the role";
    assert_error("gone", client.role_revoke_permission(gone).await, failed, text);
    let enable = || pb::AuthEnableRequest {};
    assert_error("root", client.auth_enable(enable()).await, failed, "etcdserver: root user does not exist");
    client.user_add(user("root", "p")).await.unwrap();
    let text = "etcdserver: root user does not have root role";
    assert_error("role", client.auth_enable(enable()).await, failed, text);
    let off = "etcdserver: authentication is not enabled";
    assert_error("off", login(&cluster, 0, "u", "p").await, failed, off);

    client.user_grant_role(give("u", "r")).await.unwrap();
    client.user_grant_role(give("root", "root")).await.unwrap();
    grant(&cluster, "", "r", permission(Readwrite, "b", "")).await;
    grant(&cluster, "", "r", permission(Read, "a", "c")).await;
    let mut other = auth(&cluster, 2);
    let users = other.user_list(pb::AuthUserListRequest {}).await.unwrap().into_inner().users;
    let roles = other.role_list(pb::AuthRoleListRequest {}).await.unwrap().into_inner().roles;
    assert_eq!((users, roles), (vec!["root".to_owned(), "u".to_owned()], vec!["r".to_owned()]));
    let shown = other.role_get(pb::AuthRoleGetRequest { role: "r".into() }).await.unwrap().into_inner().perm;
    assert_eq!(shown, [permission(Read, "a", "c"), permission(Readwrite, "b", "")]);
    let shown = other.user_get(pb::AuthUserGetRequest { name: "u".into() }).await.unwrap().into_inner().roles;
    assert_eq!(shown, ["r"]);
    let missing = other.user_get(pb::AuthUserGetRequest { name: "v".into() }).await;
    assert_error("user", missing, failed, "etcdserver: user name not found");
    let missing = other.role_get(pb::AuthRoleGetRequest { role: "v".into() }).await;
    assert_error("role", missing, failed, "etcdserver: role name not found");

    // Hashes of one's own, users without a password, and passwords that bcrypt would cut.
    let hashed = "JDJiJDA0JGFiY2RlZmdoaWprbG1ub3BxcnN0dXVBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWjAxMjM0";
    let own =
        pb::AuthUserAddRequest { name: "h".into(), hashed_password: hashed.into(), ..Default::default() };
    client.user_add(own).await.unwrap();
    let bad =
        pb::AuthUserAddRequest { name: "i".into(), hashed_password: "hunter2".into(), ..Default::default() };
    assert_eq!(client.user_add(bad).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.user_add(user("i", &"x".repeat(73))).await.unwrap_err().code(), Code::InvalidArgument);
    let options = Some(authpb::UserAddOptions { no_password: true });
    client.user_add(pb::AuthUserAddRequest { options, ..user("n", "") }).await.unwrap();

    client.auth_enable(enable()).await.unwrap();
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    for (name, password) in [("u", "q"), ("u", ""), ("nobody", "p"), ("n", ""), ("h", "hunter2"), ("", "")] {
        assert_error(name, login(&cluster, 1, name, password).await, Code::InvalidArgument, failed);
    }
    let token = login(&cluster, 1, "u", "p").await.unwrap();
    let (letters, index) = token.split_once('.').unwrap();
    assert!(letters.len() == 16 && index.parse::<u64>().is_ok(), "{token}");
    let root = login(&cluster, 2, "root", "p").await.unwrap();
    for token in ["", &token, &root] {
        let status = client.auth_status(by(token, pb::AuthStatusRequest {})).await.unwrap().into_inner();
        assert!(status.enabled, "whoever asks");
    }
    let invalid = "etcdserver: invalid auth management";
    let delete = pb::AuthUserDeleteRequest { name: "root".into() };
    assert_error("root", client.user_delete(by(&root, delete)).await, Code::InvalidArgument, invalid);
    let disable = client.auth_disable(by(&token, pb::AuthDisableRequest {})).await;
    assert_error("disable", disable, Code::PermissionDenied, DENIED);
    client.auth_disable(by(&root, pb::AuthDisableRequest {})).await.unwrap();
    cluster.kv(1).put(put("z", "1")).await.expect("as before");
}

/// Every call that the protocol has, by its description: what is added to it is asked here too.
///
/// P03, CVE-2026-33413.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_but_two_is_answered_without_a_token_or_with_one_that_is_none() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Key {
        #[prost(bytes = "vec", tag = "1")]
        key: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Leader {
        #[prost(message, optional, tag = "1")]
        leader: Option<Key>,
    }
    async fn call<M: prost::Message + Default + 'static>(
        channel: Channel,
        path: String,
        token: &str,
        message: M,
    ) -> Result<Response<()>, Status> {
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready().await.expect("a channel");
        let path = path.parse().expect("a path");
        grpc.unary(by(token, message), path, tonic_prost::ProstCodec::<M, ()>::default()).await
    }
    let (cluster, _) = guarded().await;
    let described = [
        ("etcdserverpb", include_str!("../../wire/proto/rpc.proto")),
        ("v3lockpb", include_str!("../../wire/proto/lock.proto")),
        ("v3electionpb", include_str!("../../wire/proto/election.proto")),
    ];
    let mut calls = 0;
    for (package, text) in described {
        let mut service = "";
        for line in text.lines() {
            let mut words = line.split([' ', '(', '{']).filter(|word| !word.is_empty());
            match (words.next(), words.next()) {
                (Some("service"), Some(name)) => service = name,
                (Some("rpc"), Some(name)) => {
                    calls += 1;
                    let path = format!("/{package}.{service}/{name}");
                    for (token, code, text) in [
                        ("", Code::InvalidArgument, EMPTY),
                        ("abcdefghijklmnop.1", Code::Unauthenticated, BAD_TOKEN),
                        ("nonsense", Code::Unauthenticated, BAD_TOKEN),
                    ] {
                        let channel = cluster.channel(calls % 3);
                        let answer = match name {
                            // Streams of requests, tried below.
                            "Watch" => continue,
                            "AuthStatus" => {
                                call(channel, path.clone(), token, ()).await.expect("whoever asks");
                                continue;
                            }
                            "Authenticate" => {
                                let failed = "etcdserver: authentication failed, invalid user ID or password";
                                let answer = call(channel, path.clone(), token, ()).await;
                                assert_error(&path, answer, Code::InvalidArgument, failed);
                                continue;
                            }
                            // What they need is looked at first.
                            "Range" | "RangeStream" | "Put" | "DeleteRange" => {
                                call(channel, path.clone(), token, Key { key: b"a/".to_vec() }).await
                            }
                            "UserAdd" => call(channel, path.clone(), token, Key { key: b"w".to_vec() }).await,
                            "Proclaim" | "Resign" => {
                                call(channel, path.clone(), token, Leader { leader: Some(Key::default()) })
                                    .await
                            }
                            _ => call(channel, path.clone(), token, ()).await,
                        };
                        assert_error(&path, answer, code, text);
                    }
                }
                _ => {}
            }
        }
    }
    assert_eq!(calls, 49);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e8_a_user_may_what_its_roles_say_through_every_member_and_nothing_else() {
    let (cluster, root) = guarded().await;
    let given_by = login(&cluster, 2, "u", "pu").await.unwrap();
    let denied = Code::PermissionDenied;
    cluster.kv(0).put(by(&root, put("b", "1"))).await.unwrap();
    let mut leases = LeaseClient::new(cluster.channel(0));
    for (id, key) in [(7, "a/7"), (8, "b8")] {
        leases.lease_grant(by(&root, pb::LeaseGrantRequest { id, ttl: 100 })).await.unwrap();
        cluster.kv(0).put(by(&root, pb::PutRequest { lease: id, ..put(key, "1") })).await.unwrap();
    }
    for node in 0..3 {
        let u = given_by.as_str();
        let (mut kv, mut maintenance, mut members) =
            (cluster.kv(node), cluster.maintenance(node), cluster.members(node));
        let (mut leases, mut auth) = (LeaseClient::new(cluster.channel(node)), auth(&cluster, node));
        // KV.
        kv.put(by(u, put("a/1", "1"))).await.unwrap();
        assert_eq!(kv.range(by(u, range("a/", "a0"))).await.unwrap().into_inner().count, 2);
        assert_error("put", kv.put(by(u, put("b", "2"))).await, denied, DENIED);
        for (key, end) in [("b", ""), ("a/", "a00"), ("a/1", "\0"), ("\0", "\0")] {
            assert_error(key, kv.range(by(u, range(key, end))).await, denied, DENIED);
            let serializable = pb::RangeRequest { serializable: true, ..range(key, end) };
            assert_error(key, kv.range(by(u, serializable)).await, denied, DENIED);
            assert_error(key, kv.range_stream(by(u, range(key, end))).await.map(drop), denied, DENIED);
            assert_error(key, kv.delete_range(by(u, delete(key, end))).await, denied, DENIED);
        }
        // CVE-2026-33343: nested, in the branch that is not taken; a read, and so without the log, and a write.
        let read = op(pb::request_op::Request::RequestRange(range("b", "")));
        let write = op(pb::request_op::Request::RequestPut(put("b", "2")));
        for operation in [read, write] {
            let plain = pb::TxnRequest { failure: vec![operation], ..Default::default() };
            let nested = op(pb::request_op::Request::RequestTxn(plain.clone()));
            let nested = pb::TxnRequest { success: vec![nested], ..Default::default() };
            assert_error("txn", kv.txn(by(u, plain)).await, denied, DENIED);
            assert_error("nested", kv.txn(by(u, nested)).await, denied, DENIED);
        }
        let compare = pb::Compare { key: "b".into(), ..Default::default() };
        let looks = pb::TxnRequest { compare: vec![compare], ..Default::default() };
        assert_error("compare", kv.txn(by(u, looks)).await, denied, DENIED);
        assert_error(
            "compact",
            kv.compact(by(u, pb::CompactionRequest { revision: 2, physical: false })).await,
            denied,
            DENIED,
        );
        // Leases.
        let live = |id| pb::LeaseTimeToLiveRequest { id, keys: true };
        assert_eq!(leases.lease_time_to_live(by(u, live(7))).await.unwrap().into_inner().keys, ["a/7"]);
        assert_error("keys", leases.lease_time_to_live(by(u, live(8))).await, denied, DENIED);
        assert_error("leases", leases.lease_leases(by(u, pb::LeaseLeasesRequest {})).await, denied, DENIED);
        assert_error(
            "revoke",
            leases.lease_revoke(by(u, pb::LeaseRevokeRequest { id: 8 })).await,
            denied,
            DENIED,
        );
        assert_error(
            "hang",
            kv.put(by(u, pb::PutRequest { lease: 8, ..put("a/2", "1") })).await,
            denied,
            DENIED,
        );
        for (id, is) in [(7, true), (8, false)] {
            let (requests, receiver) = mpsc::channel(1);
            requests.send(pb::LeaseKeepAliveRequest { id }).await.unwrap();
            let stream = leases.lease_keep_alive(by(u, ()).map(|()| ReceiverStream::new(receiver))).await;
            let answer = match stream {
                Ok(stream) => stream.into_inner().message().await,
                Err(status) => Err(status),
            };
            match is {
                true => assert_eq!(answer.unwrap().unwrap().ttl, 100),
                false => assert_error("keep alive", answer, denied, DENIED),
            }
        }
        // Members and maintenance.
        members.member_list(by(u, pb::MemberListRequest::default())).await.unwrap();
        assert_error(
            "member",
            members.member_remove(by(u, pb::MemberRemoveRequest { id: 1 })).await,
            denied,
            DENIED,
        );
        maintenance.status(by(u, pb::StatusRequest {})).await.unwrap();
        maintenance.alarm(by(u, pb::AlarmRequest::default())).await.unwrap();
        let raise = pb::AlarmRequest { action: 1, member_id: 1, alarm: 1 };
        assert_error("alarm", maintenance.alarm(by(u, raise)).await, denied, DENIED);
        assert_error("hash", maintenance.hash_kv(by(u, pb::HashKvRequest::default())).await, denied, DENIED);
        assert_error(
            "backup",
            maintenance.snapshot(by(u, pb::SnapshotRequest {})).await.map(drop),
            denied,
            DENIED,
        );
        assert_error(
            "defragment",
            maintenance.defragment(by(u, pb::DefragmentRequest {})).await,
            denied,
            DENIED,
        );
        // Users and roles.
        auth.user_get(by(u, pb::AuthUserGetRequest { name: "u".into() })).await.unwrap();
        auth.role_get(by(u, pb::AuthRoleGetRequest { role: "r".into() })).await.unwrap();
        assert_error(
            "other",
            auth.user_get(by(u, pb::AuthUserGetRequest { name: "root".into() })).await,
            denied,
            DENIED,
        );
        assert_error("list", auth.user_list(by(u, pb::AuthUserListRequest {})).await, denied, DENIED);
        assert_error("add", auth.user_add(by(u, user("w", "p"))).await, denied, DENIED);
        // Recipes.
        let lock = |name: &str| v3lockpb::LockRequest { name: name.to_owned().into(), lease: 0 };
        let mut locks = LockClient::new(cluster.channel(node));
        let locked = locks.lock(by(u, lock(&format!("a/lock{node}")))).await.unwrap().into_inner().key;
        locks.unlock(by(u, v3lockpb::UnlockRequest { key: locked })).await.unwrap();
        assert_error("lock", locks.lock(by(u, lock("b"))).await, denied, DENIED);
        let mut elections = ElectionClient::new(cluster.channel(node));
        let leader = v3electionpb::LeaderRequest { name: "b".into() };
        assert_error("leader", elections.leader(by(u, leader)).await, denied, DENIED);
        // Root.
        kv.range(by(&root, range("\0", "\0"))).await.unwrap();
        kv.range(request_with("authorization", &format!("Bearer {root}"), range("b", ""))).await.unwrap();
        leases.lease_leases(by(&root, pb::LeaseLeasesRequest {})).await.unwrap();
        maintenance.hash_kv(by(&root, pb::HashKvRequest::default())).await.unwrap();
        kv.delete_range(by(u, delete("a/1", ""))).await.unwrap();
    }
}

fn request_with<T>(name: &'static str, value: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(name, value.parse().expect("text"));
    request
}

/// A token works at once at members that have not heard of it, and not any more once its user is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_known_to_all_members_until_the_password_changes_or_the_user_goes() {
    let (cluster, root) = guarded().await;
    let u = login(&cluster, 0, "u", "pu").await.unwrap();
    for round in 0..10 {
        let token = login(&cluster, round % 3, "u", "pu").await.unwrap();
        cluster.kv((round + 1) % 3).put(by(&token, put("a/1", "1"))).await.expect("known there");
        cluster.kv((round + 2) % 3).range(by(&token, range("a/1", ""))).await.expect("known there");
    }
    let forged = format!("{}.{}", &u[..16], u[17..].parse::<u64>().unwrap() + 1);
    assert_error(
        "forged",
        cluster.kv(0).put(by(&forged, put("a/1", "1"))).await,
        Code::Unauthenticated,
        BAD_TOKEN,
    );
    // Another change of users does not touch it.
    auth(&cluster, 1).role_add(by(&root, pb::AuthRoleAddRequest { name: "s".into() })).await.unwrap();
    let still = async |node| loop {
        // A member that has not heard of the change says that its revision is old.
        match cluster.kv(node).put(by(&u, put("a/1", "2"))).await {
            Err(status) if status.message() == OLD => tokio::time::sleep(Duration::from_millis(10)).await,
            answer => return answer,
        }
    };
    for node in 0..3 {
        still(node).await.unwrap();
    }
    let other =
        pb::AuthUserChangePasswordRequest { name: "u".into(), password: "new".into(), ..Default::default() };
    auth(&cluster, 0).user_change_password(by(&root, other)).await.unwrap();
    for node in 0..3 {
        assert_error("changed", still(node).await, Code::Unauthenticated, BAD_TOKEN);
        assert_error(
            "changed",
            cluster.kv(node).range(by(&u, range("a/1", ""))).await,
            Code::Unauthenticated,
            BAD_TOKEN,
        );
    }
    assert!(login(&cluster, 0, "u", "pu").await.is_err());
    let again = login(&cluster, 0, "u", "new").await.unwrap();
    cluster.kv(0).put(by(&again, put("a/1", "3"))).await.unwrap();
    auth(&cluster, 0).user_delete(by(&root, pb::AuthUserDeleteRequest { name: "u".into() })).await.unwrap();
    assert_error(
        "gone",
        cluster.kv(0).put(by(&again, put("a/1", "3"))).await,
        Code::Unauthenticated,
        BAD_TOKEN,
    );
}

struct Watching {
    requests: mpsc::Sender<pb::WatchRequest>,
    answers: tonic::Streaming<pb::WatchResponse>,
}

impl Watching {
    async fn open(cluster: &Cluster, node: usize, token: &str) -> Watching {
        let (requests, receiver) = mpsc::channel(10);
        let mut client = WatchClient::new(cluster.channel(node));
        let answers = client.watch(by(token, ()).map(|()| ReceiverStream::new(receiver))).await;
        Watching { requests, answers: answers.expect("a stream").into_inner() }
    }

    async fn ask(&mut self, key: &str, end: &str) -> pb::WatchResponse {
        let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
        let create = pb::WatchCreateRequest { key, range_end, ..Default::default() };
        let request_union = Some(pb::watch_request::RequestUnion::CreateRequest(create));
        self.requests.send(pb::WatchRequest { request_union }).await.expect("the stream is there");
        self.next().await
    }

    async fn next(&mut self) -> pb::WatchResponse {
        let next = timeout(Duration::from_secs(20), self.answers.message()).await.expect("in time");
        next.expect("no error").expect("the stream goes on")
    }
}

/// W09's third part, GHSA-xg4h-6gfc-h4m8; and the permission is needed for as long as the watch lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w09_a_watch_needs_the_permission_on_all_its_keys_from_its_first_to_its_last_moment() {
    let (cluster, root) = guarded().await;
    grant(&cluster, &root, "r", permission(Read, "b", "")).await;
    let u = login(&cluster, 0, "u", "pu").await.unwrap();
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    let mut streams = Vec::new();
    for node in 0..3 {
        // Until this member has heard of all that was changed.
        cluster.kv(node).range(by(&u, range("b", ""))).await.unwrap();
        let mut watch = Watching::open(&cluster, node, &u).await;
        for (key, end) in [("b", "\0"), ("b", "c"), ("", ""), ("", "\0"), ("c", ""), ("a/", "a00")] {
            let answer = watch.ask(key, end).await;
            assert!(answer.created && answer.canceled && answer.watch_id == -1, "{key} {end}: {answer:?}");
            assert_eq!(answer.cancel_reason, denied, "{key} {end}");
        }
        for (id, (key, end)) in [("b", ""), ("a/", "a0")].into_iter().enumerate() {
            let answer = watch.ask(key, end).await;
            assert!(answer.created && !answer.canceled && answer.watch_id == id as i64, "{answer:?}");
        }
        streams.push(watch);
        for (token, reason) in [
            ("", "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"),
            ("abcdefghijklmnop.1", "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"),
        ] {
            let answer = Watching::open(&cluster, node, token).await.ask("b", "").await;
            assert!(answer.created && answer.canceled && answer.watch_id == -1);
            assert_eq!(answer.cancel_reason, reason);
        }
    }
    let take =
        pb::AuthRoleRevokePermissionRequest { role: "r".into(), key: "b".into(), ..Default::default() };
    auth(&cluster, 0).role_revoke_permission(by(&root, take)).await.unwrap();
    for watch in &mut streams {
        let answer = watch.next().await;
        assert!(answer.canceled && !answer.created && answer.watch_id == 0, "{answer:?}");
        assert_eq!(answer.cancel_reason, denied);
    }
    // The root token's revision is that of the member where it is used, which may not have heard of the change.
    while let Err(status) = cluster.kv(0).put(by(&root, put("a/1", "1"))).await {
        assert_eq!(status.message(), OLD);
    }
    for watch in &mut streams {
        assert_eq!(watch.next().await.events.len(), 1, "the other goes on");
    }
}

/// Watches of the time before auth was turned on end: nobody knows whose they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_nobodys_ends_when_auth_is_turned_on() {
    let cluster = Cluster::start(3).await;
    let mut watch = Watching::open(&cluster, 1, "").await;
    assert!(watch.ask("b", "").await.created);
    let mut client = auth(&cluster, 0);
    client.user_add(user("root", "pr")).await.unwrap();
    client
        .user_grant_role(pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() })
        .await
        .unwrap();
    client.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
    let answer = watch.next().await;
    assert!(answer.canceled && answer.watch_id == 0);
    assert_eq!(
        answer.cancel_reason,
        "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
    );
}

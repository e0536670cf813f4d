//! Signed tokens, from a client's side, against a cluster of three: the first member signs for ten minutes, the second for one second, and the third has
//! the public key alone.

use std::{path::PathBuf, time::Duration};

use crate::support::{Cluster, assert_error, put, range};
use quorate_client::{
    rpc::{AuthClient, LeaseClient, WatchClient},
    tonic::{Code, IntoRequest, Request, Status, transport::Channel},
    wire::{authpb, etcdserverpb as pb},
};
use quorate_etcd::{Jwt, JwtFiles};

const BAD_TOKEN: &str = "etcdserver: invalid auth token";
const OLD: &str = "etcdserver: revision of auth store is old";

fn jwt(private: Option<&str>, seconds: u64) -> Jwt {
    let path = |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name);
    let files = JwtFiles {
        sign_method: "RS256".parse().expect("a method"),
        public_key: Some(path("rsa.pub.pem")),
        private_key: private.map(path),
        ttl: Duration::from_secs(seconds),
    };
    Jwt::load(&files).expect("keys")
}

fn auth(cluster: &Cluster, node: usize) -> AuthClient<Channel> {
    AuthClient::new(cluster.channel(node))
}

fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = message.into_request();
    request.metadata_mut().insert("token", token.parse().expect("a token is text"));
    request
}

async fn login(cluster: &Cluster, node: usize, name: &str) -> Result<String, Status> {
    let request = pb::AuthenticateRequest { name: name.into(), password: format!("p{name}") };
    auth(cluster, node).authenticate(request).await.map(|response| response.into_inner().token)
}

async fn add_user(cluster: &Cluster, name: &str, token: Option<&str>) -> Result<(), Status> {
    let user =
        pb::AuthUserAddRequest { name: name.into(), password: format!("p{name}"), ..Default::default() };
    let request = token.map_or_else(|| Request::new(user.clone()), |token| by(token, user.clone()));
    auth(cluster, 0).user_add(request).await.map(drop)
}

/// Auth on. User `u` has role `r`: everything under `a/`.
async fn guarded() -> Cluster {
    let jwts = vec![jwt(Some("rsa.pem"), 600), jwt(Some("rsa.pem"), 1), jwt(None, 600)];
    let cluster = Cluster::start_signing(3, None, jwts).await;
    let mut client = auth(&cluster, 0);
    for (user, role) in [("root", "root"), ("u", "r")] {
        add_user(&cluster, user, None).await.expect("added");
        client.role_add(pb::AuthRoleAddRequest { name: role.into() }).await.expect("added");
        let request = pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
        client.user_grant_role(request).await.expect("granted");
    }
    let (key, range_end) = ("a/".into(), "a0".into());
    let perm = authpb::Permission { perm_type: authpb::permission::Type::Readwrite.into(), key, range_end };
    let grant = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm: Some(perm) };
    client.role_grant_permission(grant).await.expect("granted");
    client.auth_enable(pb::AuthEnableRequest {}).await.expect("on");
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_token_is_known_everywhere_until_its_time_is_over_or_users_change() {
    let cluster = guarded().await;
    let token = login(&cluster, 0, "u").await.unwrap();
    assert_eq!(token.split('.').count(), 3, "{token}");
    for node in 0..3 {
        cluster.kv(node).put(by(&token, put("a/x", "1"))).await.unwrap();
        cluster.kv(node).range(by(&token, range("a/x", ""))).await.unwrap();
        let beyond = cluster.kv(node).put(by(&token, put("b", "1"))).await;
        assert_error("beyond its role", beyond, Code::PermissionDenied, "etcdserver: permission denied");
    }
    let lease = pb::LeaseGrantRequest { ttl: 60, id: 0 };
    LeaseClient::new(cluster.channel(2)).lease_grant(by(&token, lease)).await.unwrap();
    let create = pb::WatchCreateRequest { key: "a/".into(), range_end: "a0".into(), ..Default::default() };
    let create =
        pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) };
    let watch = |token: &str| {
        let mut request = Request::new(futures_util::stream::iter([create.clone()]));
        request.metadata_mut().insert("token", token.parse().expect("a token is text"));
        let mut client = WatchClient::new(cluster.channel(1));
        async move {
            let mut told = client.watch(request).await.expect("a stream").into_inner();
            told.message().await.expect("an answer").expect("a message")
        }
    };
    let created = watch(&token).await;
    assert!(created.created && !created.canceled, "{created:?}");

    // Whoever has the public key alone gives no tokens away.
    let text = "auth: token signing attempted with verify-only key";
    assert_error("nothing to sign with", login(&cluster, 2, "u").await, Code::Unknown, text);

    let brief = login(&cluster, 1, "u").await.unwrap();
    cluster.kv(0).put(by(&brief, put("a/x", "2"))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    for node in 0..3 {
        let late = cluster.kv(node).put(by(&brief, put("a/x", "3"))).await;
        assert_error("its time is over", late, Code::Unauthenticated, BAD_TOKEN);
    }
    for wrong in [format!("{token}x"), token.replace('.', "-"), "abcdefghijklmnop.7".to_owned()] {
        let refused = cluster.kv(0).range(by(&wrong, range("a/x", ""))).await;
        assert_error(&wrong, refused, Code::Unauthenticated, BAD_TOKEN);
    }

    // Any change of users makes every token old, on each member, for reads, writes and watches.
    let root = login(&cluster, 0, "root").await.unwrap();
    add_user(&cluster, "another", Some(&root)).await.unwrap();
    for node in 0..3 {
        let write = cluster.kv(node).put(by(&token, put("a/x", "4"))).await;
        assert_error("a write", write, Code::InvalidArgument, OLD);
        let read = cluster.kv(node).range(by(&token, range("a/x", ""))).await;
        assert_error("a read", read, Code::InvalidArgument, OLD);
    }
    let refused = watch(&token).await;
    assert!(
        refused.canceled && refused.cancel_reason.contains("revision of auth store is old"),
        "{refused:?}"
    );
    assert_error("root's, too", add_user(&cluster, "x", Some(&root)).await, Code::InvalidArgument, OLD);

    // The next one is good on each member at once, however far that has come.
    for n in 0..5 {
        let root = login(&cluster, 0, "root").await.unwrap();
        add_user(&cluster, &format!("user-{n}"), Some(&root)).await.unwrap();
        let token = login(&cluster, 0, "u").await.unwrap();
        for node in 0..3 {
            let local = pb::RangeRequest { serializable: true, ..range("a/x", "") };
            cluster.kv(node).range(by(&token, local)).await.unwrap();
            cluster.kv(node).put(by(&token, put("a/x", "5"))).await.unwrap();
        }
    }
}

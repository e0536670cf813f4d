//! What is served where.

use std::{
    future::{pending, poll_fn},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use quorate_client::{Client, Options, rpc::ClusterClient, tonic::body::Body, wire::etcdserverpb as pb};
use quorate_etcd::{Front, Listener, Serves, serve_all};
use tokio::net::TcpListener;
use tower_service::Service as _;

use super::{
    http1::{get, post, request},
    support::{Cluster, TOKEN},
};

/// One more front end of the cluster's first node, at these listeners. It waits for no slow client.
async fn listen(cluster: &Cluster, serves: &[Serves]) -> Vec<String> {
    let mut listeners = Vec::new();
    let mut urls = Vec::new();
    for serves in serves {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at: SocketAddr = socket.local_addr().unwrap();
        urls.push(format!("http://{at}"));
        listeners.push(Listener { socket, secure: false, serves: *serves });
    }
    let node = &cluster.nodes[0];
    let mut front = Front::new(node.handle.clone(), cluster.cluster.0, node.id.0, TOKEN);
    front.tuning.body_timeout = Duration::from_millis(300);
    tokio::spawn(serve_all(listeners, front, pending()));
    urls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_listener_serves_its_own_and_nothing_else() {
    let cluster = Cluster::start(1).await;
    let urls = listen(&cluster, &[Serves::Grpc, Serves::Http, Serves::Metrics]).await;
    let speaks_grpc = async |url: &String| {
        let channel = Client::connect([url.clone()], Options::default()).unwrap().channel(0).unwrap();
        ClusterClient::new(channel).member_list(pb::MemberListRequest::default()).await.is_ok()
    };
    let statuses = async |url: &String| {
        let range = post(url, "/v3/kv/range", r#"{"key":"YQ=="}"#).await.status;
        let mut all = vec![range];
        for path in ["/version", "/health", "/livez", "/readyz/non_learner", "/metrics"] {
            all.push(get(url, path).await.status);
        }
        all
    };
    assert!(speaks_grpc(&urls[0]).await);
    assert_eq!(statuses(&urls[0]).await, [404; 6]);
    assert!(!speaks_grpc(&urls[1]).await);
    assert_eq!(statuses(&urls[1]).await, [200; 6]);
    assert!(!speaks_grpc(&urls[2]).await);
    assert_eq!(statuses(&urls[2]).await, [404, 404, 200, 200, 200, 200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_waited_for_so_long_and_no_longer() {
    let cluster = Cluster::start(1).await;
    let urls = listen(&cluster, &[Serves::All]).await;
    let half = b"POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"key\":";
    let answer = request(&urls[0], half).await;
    assert_eq!(answer.status, 408, "{}", answer.body);
    assert!(answer.body.contains("did not come"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_grpc_is_answered_over_http_2_as_over_http_1() {
    let cluster = Cluster::start(1).await;
    let urls = listen(&cluster, &[Serves::Http]).await;
    let ask = async |method: &str, path: &str, body: &'static str| {
        let mut channel = Client::connect([urls[0].clone()], Options::default()).unwrap().channel(0).unwrap();
        poll_fn(|context| channel.poll_ready(context)).await.unwrap();
        let request = http::Request::builder().method(method).uri(path);
        let body = Body::new(Full::new(Bytes::from_static(body.as_bytes())));
        let answer = channel.call(request.body(body).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap())
    };
    let (status, body) = ask("POST", "/v3/kv/range", r#"{"key":"YQ=="}"#).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.starts_with(r#"{"header":{"cluster_id":""#), "{body}");
    assert_eq!(ask("GET", "/livez", "").await, (200, "ok\n".to_owned()));
}

//! What is served where.

use std::{future::pending, net::SocketAddr};

use quorate_client::{Client, Options, rpc::ClusterClient, wire::etcdserverpb as pb};
use quorate_etcd::{Front, Listener, Serves, serve_all};
use tokio::net::TcpListener;

use crate::{
    http1::{get, post},
    support::{Cluster, TOKEN},
};

/// One more front end of the cluster's first node, at these listeners.
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
    let front = Front::new(node.handle.clone(), cluster.cluster.0, node.id.0, TOKEN);
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

//! A cluster in this process: real nodes over an in-process network, each behind a real socket for clients.
#![allow(dead_code, unreachable_pub, reason = "shared by several tests, each of which uses a part")]

use std::{collections::BTreeMap, time::Duration};

use quorate_client::{
    Client, Options,
    rpc::{ClusterClient, KvClient, MaintenanceClient, WatchClient},
    tonic::{Status, Streaming, codegen::tokio_stream::wrappers::ReceiverStream, transport::Channel},
    wire::etcdserverpb as pb,
};
use quorate_consensus::{ClusterId, Incarnation, Membership, NodeId};
use quorate_etcd::{Feed, Front, Jwt, serve};
use quorate_server::{Handle, Hub};
use quorate_service::{
    Bootstrap, Founding, Identity, KEYS, META, Reply, State,
    node::{Config, GroupConfig, JournalConfig, Limits, RaftConfig, ZabConfig},
    placement::{Command, EngineKind, GroupKind, GroupPlace, Member, cluster_id, member_id},
    shards, shards_tick,
};
use tokio::{net::TcpListener, sync::mpsc};

pub const TOKEN: &str = "test-cluster";

pub struct Node {
    pub id: NodeId,
    pub url: String,
    pub handle: Handle<Reply>,
    serving: tokio::task::JoinHandle<()>,
    ticking: tokio::task::JoinHandle<()>,
}

pub struct Cluster {
    hub: Hub,
    /// Where nodes keep what must survive. None: in memory.
    directory: Option<std::path::PathBuf>,
    /// What each node signs tokens with; whoever has none gives simple ones.
    jwts: Vec<Jwt>,
    pub cluster: ClusterId,
    pub nodes: Vec<Node>,
}

pub fn peer_urls(number: usize) -> Vec<String> {
    vec![format!("http://10.0.0.{}:2380", number + 1)]
}

/// What drives a group: `on_zab` is the same suite with the keys on ZAB.
fn engine_of(group: quorate_consensus::GroupId) -> EngineKind {
    if group == KEYS && env!("CARGO_CRATE_NAME") == "on_zab" { EngineKind::Zab } else { EngineKind::Raft }
}

/// Among how many shards the keys are divided: `on_shards` is the same suite with eight.
fn shard_count() -> u16 {
    if env!("CARGO_CRATE_NAME") == "on_shards" { 8 } else { 1 }
}

impl Cluster {
    pub async fn start(size: usize) -> Cluster {
        Cluster::start_in(size, None).await
    }

    pub async fn start_in(size: usize, directory: Option<std::path::PathBuf>) -> Cluster {
        Cluster::start_signing(size, directory, Vec::new()).await
    }

    pub async fn start_signing(
        size: usize,
        directory: Option<std::path::PathBuf>,
        jwts: Vec<Jwt>,
    ) -> Cluster {
        let ids: Vec<NodeId> = (0..size).map(|number| member_id(&peer_urls(number), TOKEN, 0)).collect();
        let cluster = cluster_id(ids.iter().copied());
        let members =
            ids.iter().enumerate().map(|(number, id)| Member::new(*id, peer_urls(number), false)).collect();
        let groups = BTreeMap::from([
            (META, GroupPlace { kind: GroupKind::Meta, engine: EngineKind::Raft }),
            (KEYS, GroupPlace { kind: GroupKind::Keys, engine: engine_of(KEYS) }),
        ]);
        let birth = Membership::new(ids.iter().copied(), []);
        let bootstrap = Bootstrap { initialise: Command::Initialise { cluster, members, groups }, birth };
        let mut all = Cluster { hub: Hub::new(), directory, jwts, cluster, nodes: Vec::new() };
        for id in ids {
            all.add_node(id, Some(bootstrap.clone())).await;
        }
        for node in &all.nodes {
            node.handle.leader(KEYS).await.expect("a leader of keys");
            node.handle.leader(META).await.expect("a leader of meta");
        }
        for node in &all.nodes {
            while shard_count() > 1 && !is_divided(&node.handle) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        // Until every member has published its name, it counts as not started.
        let client = all.client();
        for _ in 0..500 {
            let members = client.member_list(true).await.expect("members").members;
            if members.len() == size && members.iter().all(|member| !member.name.is_empty()) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("members did not publish their names");
    }

    /// A node of this cluster; without `bootstrap` one that joins.
    pub async fn add_node(&mut self, id: NodeId, bootstrap: Option<Bootstrap>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let birth = bootstrap.as_ref().map(|bootstrap| bootstrap.birth.clone()).unwrap_or_default();
        let config = Config {
            cluster: self.cluster,
            node: id,
            incarnation: Incarnation(0),
            life: 0,
            groups: [META, KEYS]
                .map(|group| GroupConfig { id: group, engine: engine_of(group), birth: birth.clone() })
                .to_vec(),
            raft: RaftConfig { seed: id.0, ..RaftConfig::default() },
            zab: ZabConfig::default(),
            journal: JournalConfig::default(),
            limits: Limits::default(),
            explain: false,
        };
        let client_url = url.clone();
        let feed = Feed::default();
        let sink = feed.sink();
        let handle = quorate_server::start(self.options(id), config, move |config| {
            let identity = Identity {
                cluster: config.cluster,
                node: config.node,
                incarnation: config.incarnation,
                life: config.life,
                name: format!("node-{}", config.node),
                client_urls: vec![client_url],
            };
            let founding = Founding { shards: shard_count(), engine: EngineKind::Raft };
            State::new(identity, bootstrap.clone())
                .with_keys_sink(sink)
                .with_founding(bootstrap.map(|_| founding))
        })
        .expect("the node starts");
        let ticking = tokio::spawn(tick(handle.clone()));
        let mut front =
            Front { feed, life: handle.life(), ..Front::new(handle.clone(), self.cluster.0, id.0, TOKEN) };
        front.jwt = self.jwts.get(self.nodes.len()).cloned();
        let serving = tokio::spawn(async move {
            serve(listener, front, std::future::pending()).await.expect("serving goes on");
        });
        self.nodes.push(Node { id, url, handle, serving, ticking });
    }

    fn options(&self, id: NodeId) -> quorate_server::Options {
        let Some(directory) = &self.directory else { return quorate_server::Options::in_process(&self.hub) };
        let storage = quorate_server::Storage::Directory(directory.join(id.to_string()));
        quorate_server::Options::new(storage, quorate_server::Network::InProcess(self.hub.clone()))
    }

    pub fn client(&self) -> Client {
        Client::connect(self.nodes.iter().map(|node| node.url.clone()), Options::default()).expect("a client")
    }

    pub fn channel(&self, node: usize) -> Channel {
        let client = Client::connect([self.nodes[node].url.clone()], Options::default()).expect("a client");
        client.channel(0).expect("its channel")
    }

    pub fn kv(&self, node: usize) -> KvClient<Channel> {
        KvClient::new(self.channel(node))
    }

    pub fn members(&self, node: usize) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel(node))
    }

    pub fn maintenance(&self, node: usize) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel(node))
    }

    pub async fn leader(&self) -> usize {
        for _ in 0..500 {
            for (number, node) in self.nodes.iter().enumerate() {
                let roles = node.handle.role_changes();
                if roles.borrow().get(&KEYS).is_some_and(|role| role.leader == Some(node.id)) {
                    return number;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody leads");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
        self.ticking.abort();
    }
}

/// Tells a node's state half how time passes.
async fn tick(handle: Handle<Reply>) {
    let mut ticks = tokio::time::interval(shards::TICK);
    loop {
        ticks.tick().await;
        let _ = handle.input(shards_tick(handle.node()));
    }
}

/// The groups of its shards have leaders, as far as this node knows.
fn is_divided(handle: &Handle<Reply>) -> bool {
    let roles = handle.role_changes();
    let roles = roles.borrow();
    roles.iter().filter(|(group, role)| group.0 >= 16 && role.leader.is_some()).count()
        == usize::from(shard_count())
}

#[track_caller]
pub fn assert_error<T: std::fmt::Debug>(
    what: &str,
    got: Result<T, Status>,
    code: quorate_client::tonic::Code,
    text: &str,
) {
    match got {
        Ok(response) => panic!("{what}: no error but {response:?}"),
        Err(status) => assert_eq!((status.code(), status.message()), (code, text), "{what}"),
    }
}

pub fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

pub fn range(key: &str, end: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into(), range_end: end.to_owned().into(), ..Default::default() }
}

pub fn delete(key: &str, end: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        ..Default::default()
    }
}

pub fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// A watch of all keys from `k` up to `l`.
pub struct Watched {
    /// Whoever drops it ends the stream.
    _requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Watched {
    pub async fn of(cluster: &Cluster, node: usize) -> Watched {
        let (requests, receiver) = mpsc::channel(10);
        let create = pb::WatchCreateRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
        let union = pb::watch_request::RequestUnion::CreateRequest(create);
        let create = pb::WatchRequest { request_union: Some(union) };
        requests.send(create).await.expect("the stream is there");
        let mut client = WatchClient::new(cluster.channel(node));
        let mut responses = client.watch(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
        assert!(responses.message().await.expect("no error").expect("an answer").created);
        Watched { _requests: requests, responses }
    }

    /// The revisions of the next so many changes, as they come.
    pub async fn revisions(&mut self, changes: usize) -> Vec<i64> {
        let mut told = Vec::new();
        while told.len() < changes {
            let next = tokio::time::timeout(Duration::from_secs(20), self.responses.message());
            let next = next.await.expect("in time").expect("no error").expect("the stream goes on");
            told.extend(next.events.into_iter().map(|event| event.kv.expect("a key").mod_revision));
        }
        told
    }
}

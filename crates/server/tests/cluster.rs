//! Whole nodes: three of them in this process, over the hub or over TCP with real files.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "real nodes, real time")]

#[path = "../../tls/tests/support/mod.rs"]
mod certificates;
#[path = "../examples/support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_consensus::{ClusterId, GroupId, Membership, MembershipChange, NodeId};
use quorate_node::{Answer, SessionTag, StateHalf, StateOutputs, ToState};
use quorate_server::{
    CallError, Handle, Hub, Network, Options, PeerAddress, Replicas, Reply, Security, StartError, Stopped,
    Storage, start,
};
use quorate_tls::{Authorities, MemberFiles, Members};
use support::{Counter, config};

const GROUP: GroupId = GroupId(1);
const CLUSTER: ClusterId = ClusterId(1);
const GRACE: Duration = Duration::from_secs(5);
/// Only bounds a failure: nothing takes that long.
const PATIENCE: Duration = Duration::from_secs(30);

type Node = Handle<Reply<Counter>>;

fn members(ids: &[u64]) -> Membership {
    Membership::new(ids.iter().copied().map(NodeId), [])
}

fn node(options: Options, id: u64, all: &[u64]) -> Result<Node, StartError> {
    let config = config(CLUSTER, NodeId(id), GROUP, &members(all));
    let node = start(options, config, |config| Replicas::new(config, |_| Counter::default()))?;
    Ok(node.within(PATIENCE))
}

fn in_process(hub: &Hub) -> Vec<Node> {
    [1, 2, 3].map(|id| node(Options::in_process(hub), id, &[1, 2, 3]).unwrap()).into()
}

async fn add(node: &Node, by: u64) -> Result<u64, CallError> {
    Ok(node.propose(GROUP, None, |to| to.u64(by)).await?.response().unwrap())
}

async fn sum(node: &Node) -> u64 {
    node.read(GROUP).await.unwrap().view().unwrap().sum
}

/// Takes the leader out of `nodes`.
async fn take_leader(nodes: &mut Vec<Node>) -> Node {
    let leader = nodes[0].leader(GROUP).await.unwrap();
    let at = nodes.iter().position(|node| node.node() == leader).unwrap();
    nodes.remove(at)
}

/// A directory of a test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("quorate-cluster-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Three nodes over TCP with their files under `root`.
fn over_tcp(root: &Path) -> Vec<Node> {
    over(root, &|_| Security::Plaintext)
}

/// The same, each protected as this says.
fn over(root: &Path, security: &dyn Fn(u64) -> Security) -> Vec<Node> {
    let listeners = [1, 2, 3].map(|id| (id, TcpListener::bind("127.0.0.1:0").unwrap()));
    let peers: BTreeMap<NodeId, PeerAddress> = listeners
        .iter()
        .map(|(id, listener)| (NodeId(*id), PeerAddress(listener.local_addr().unwrap().to_string())))
        .collect();
    let start = |(id, listener): (u64, TcpListener)| {
        let network = Network::Tcp { listener, peers: peers.clone(), security: security(id) };
        let storage = Storage::Directory(root.join(id.to_string()));
        node(Options::new(storage, network), id, &[1, 2, 3]).unwrap()
    };
    listeners.map(start).into()
}

#[tokio::test]
async fn a_write_through_any_node_is_read_through_every_node() {
    let nodes = in_process(&Hub::new());
    for (node, expected) in nodes.iter().zip([1, 2, 3]) {
        assert_eq!(add(node, 1).await, Ok(expected));
        for node in &nodes {
            assert_eq!(sum(node).await, expected, "linearizable at node {}", node.node());
        }
        let own = node.read_local(GROUP).await.unwrap().view().unwrap();
        assert_eq!(own.sum, expected, "a client reads its own write where it wrote");
    }
    let status = nodes[0].status(GROUP).await.unwrap().unwrap();
    assert_eq!(status.engine.leader, Some(nodes[0].leader(GROUP).await.unwrap()));
    assert!(nodes[0].status(GroupId(9)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_cluster_survives_a_leader_that_is_cut_off() {
    let hub = Hub::new();
    let mut nodes = in_process(&hub);
    assert_eq!(add(&nodes[0], 5).await, Ok(5));
    let leader = take_leader(&mut nodes).await;
    for other in &nodes {
        hub.cut(leader.node(), other.node(), true);
        hub.cut(other.node(), leader.node(), true);
    }
    for (node, expected) in nodes.iter().zip([6, 7]) {
        assert_eq!(add(node, 1).await, Ok(expected));
    }
    for other in &nodes {
        hub.cut(leader.node(), other.node(), false);
        hub.cut(other.node(), leader.node(), false);
    }
    assert_eq!(sum(&leader).await, 7, "back, it has what it missed");
}

#[tokio::test]
async fn a_leader_that_shuts_down_hands_over_first() {
    let mut nodes = in_process(&Hub::new());
    assert_eq!(add(&nodes[0], 5).await, Ok(5));
    let leader = take_leader(&mut nodes).await;
    let roles = leader.role_changes();
    leader.shutdown(GRACE).await;
    assert_ne!(roles.borrow()[&GROUP].leader, Some(leader.node()), "another led before it ended");
    assert_eq!(leader.stopped().await, Stopped::Shutdown);
    assert_eq!(add(&leader, 1).await, Err(CallError::Stopped));
    assert_eq!(add(&nodes[0], 1).await, Ok(6));
}

#[tokio::test]
async fn what_was_answered_survives_a_restart_of_everything() {
    let scratch = Scratch::new("restart");
    for round in 1..=3 {
        let nodes = over_tcp(&scratch.0);
        for node in &nodes {
            add(node, 1).await.unwrap();
        }
        assert_eq!(sum(&nodes[round as usize - 1]).await, 3 * round);
        for node in &nodes {
            node.shutdown(Duration::ZERO).await;
        }
    }
}

#[tokio::test]
async fn through_tls_a_cluster_elects_replicates_and_goes_on_without_its_leader_and_after_a_restart() {
    let (scratch, issuer) = (Scratch::new("tls"), certificates::authority());
    let folder = certificates::Folder::new("cluster");
    let security = |id: u64| {
        let signed = certificates::sign_for(&issuer, &format!("n{id}"), id, &["127.0.0.1"]);
        let files = MemberFiles {
            certificate: folder.put(&format!("{id}.pem"), &signed.pem),
            key: folder.put(&format!("{id}.key"), &signed.key_pem),
            to_dial: None,
            authorities: Authorities {
                certificates: folder.put("authority.pem", &issuer.pem()),
                revoked: None,
            },
            names: Vec::new(),
        };
        Security::Tls(Members::load(files).unwrap())
    };
    let mut nodes = over(&scratch.0, &security);
    for (node, expected) in nodes.iter().zip([1, 2, 3]) {
        assert_eq!(add(node, 1).await, Ok(expected));
    }
    let leader = take_leader(&mut nodes).await;
    leader.shutdown(Duration::ZERO).await;
    assert_eq!(add(&nodes[0], 1).await, Ok(4));
    assert_eq!(sum(&nodes[1]).await, 4);
    for node in &nodes {
        node.shutdown(Duration::ZERO).await;
    }
    let nodes = over(&scratch.0, &security);
    for node in &nodes {
        assert_eq!(sum(node).await, 4);
    }
    // Many at once fill records and sockets.
    let calls: Vec<_> = (0..1000).map(|_| nodes[0].propose(GROUP, None, |to| to.u64(1))).collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(sum(&nodes[2]).await, 1004);
}

#[tokio::test]
async fn a_thousand_writes_at_once_share_their_syncs() {
    let scratch = Scratch::new("shared");
    let mut nodes = over_tcp(&scratch.0);
    let leader = take_leader(&mut nodes).await;
    let before = leader.counters().disk_syncs.get();
    let calls: Vec<_> = (0..1000).map(|_| leader.propose(GROUP, None, |to| to.u64(1))).collect();
    let mut sums = Vec::new();
    for call in calls {
        sums.push(call.await.unwrap().response().unwrap());
    }
    assert_eq!(sums, (1..=1000).collect::<Vec<u64>>(), "in the order of the calls");
    let syncs = leader.counters().disk_syncs.get() - before;
    assert!(syncs < 500, "{syncs} syncs for a thousand writes");
}

#[tokio::test]
async fn a_repeated_command_of_a_session_gets_its_first_answer() {
    let nodes = in_process(&Hub::new());
    let tag = SessionTag { session: 77, sequence: 1, lowest_wanted: 1 };
    for node in &nodes {
        let answer = node.propose(GROUP, Some(tag), |to| to.u64(4)).await.unwrap();
        assert_eq!(answer.response(), Some(4));
    }
    assert_eq!(sum(&nodes[0]).await, 4);
}

#[tokio::test]
async fn without_a_majority_calls_time_out_and_leave_nothing_behind() {
    let hub = Hub::new();
    let lonely = node(Options::in_process(&hub), 1, &[1, 2, 3]).unwrap().within(Duration::from_millis(20));
    assert_eq!(add(&lonely, 1).await, Err(CallError::TimedOut));
    assert_eq!(lonely.read(GROUP).await.unwrap_err(), CallError::TimedOut);
    assert_eq!(lonely.leader(GROUP).await, Err(CallError::TimedOut));
    assert_eq!(lonely.counters().cancelled.get(), 2);
}

#[tokio::test]
async fn too_many_calls_are_refused_and_the_others_answered() {
    let mut options = Options::in_process(&Hub::new());
    options.calls_waiting_max = 2;
    let node = node(options, 1, &[1]).unwrap();
    // The state thread may answer them meanwhile; whoever is refused is refused at once, and says so.
    let calls: Vec<_> = (0..100).map(|_| node.propose(GROUP, None, |to| to.u64(1))).collect();
    let mut answered = 0;
    for call in calls {
        match call.await {
            Ok(_) => answered += 1,
            Err(error) => assert_eq!(error, CallError::TooManyRequests),
        }
    }
    assert!(answered >= 2);
    assert_eq!(node.counters().refused_busy.get(), 100 - answered);
    assert_eq!(sum(&node).await, answered, "what was refused was not done");
}

#[tokio::test]
async fn only_the_leader_changes_the_membership() {
    let hub = Hub::new();
    let mut nodes = in_process(&hub);
    add(&nodes[0], 1).await.unwrap();
    let leader = take_leader(&mut nodes).await;
    let change = MembershipChange::Remove(nodes[0].node());
    let refused = nodes[1].change_membership(GROUP, change.clone()).await;
    assert!(matches!(refused, Err(CallError::Answer(Answer::Refused(_)))), "{refused:?}");
    let position = leader.change_membership(GROUP, change).await.unwrap();
    assert!(position.index.0 > 0);
    let mut memberships = nodes[1].memberships();
    let gone = |(_, members): &(_, Membership)| !members.is_joint() && members.voters().len() == 2;
    memberships.wait_for(|memberships| gone(&memberships[&GROUP])).await.unwrap();
    assert_eq!(add(&nodes[1], 1).await, Ok(2));
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_free_after_a_shutdown() {
    let scratch = Scratch::new("in-use");
    let options = || Options::new(Storage::Directory(scratch.0.clone()), Network::InProcess(Hub::new()));
    let first = node(options(), 1, &[1]).unwrap();
    assert_eq!(add(&first, 3).await, Ok(3));
    let error = node(options(), 1, &[1]).unwrap_err();
    assert!(error.to_string().contains("another process uses the data directory"), "{error}");
    first.shutdown(GRACE).await;
    let second = node(options(), 1, &[1]).unwrap();
    assert_eq!(sum(&second).await, 3);
}

/// Panics at the first entry.
struct Broken;

impl StateHalf for Broken {
    type Reply = ();

    fn handle(&mut self, input: ToState, _: &mut StateOutputs<()>) {
        assert!(!matches!(input, ToState::Entries { .. }), "a bug in somebody's state machine");
    }
}

#[tokio::test]
async fn a_panic_in_the_state_half_stops_the_node_and_says_where() {
    let options = Options::in_process(&Hub::new());
    let config = config(CLUSTER, NodeId(1), GROUP, &members(&[1]));
    let node = start(options, config, |_| Broken).unwrap();
    let call = node.propose(GROUP, None, |to| to.u64(1)).await;
    assert_eq!(call, Err(CallError::Stopped));
    assert_eq!(node.stopped().await, Stopped::Panicked("state"));
    node.shutdown(GRACE).await;
}

#[tokio::test]
async fn a_dropped_handle_ends_the_node() {
    let node = node(Options::in_process(&Hub::new()), 1, &[1]).unwrap();
    let stopped = node.stopped();
    drop(node);
    assert_eq!(stopped.await, Stopped::Shutdown);
}

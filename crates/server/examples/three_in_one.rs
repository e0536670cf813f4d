//! Three nodes and a state machine of one's own, in one process.

mod support;

use std::time::Duration;

use quorate_consensus::{ClusterId, GroupId, Membership, NodeId};
use quorate_server::{Hub, Options, Replicas, start};
use support::{Counter, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (hub, group) = (Hub::new(), GroupId(1));
    let members = Membership::new([1, 2, 3].map(NodeId), []);
    let mut nodes = Vec::new();
    for id in [1, 2, 3] {
        let config = config(ClusterId(1), NodeId(id), group, &members);
        nodes.push(start(Options::in_process(&hub), config, |config| {
            Replicas::new(config, |_| Counter::default())
        })?);
    }
    println!("node {} leads", nodes[0].leader(group).await?);
    for (by, node) in [1, 2, 3].into_iter().zip(&nodes) {
        let sum = node.propose(group, None, |to| to.u64(by)).await?.response();
        println!("through node {}: the sum is {sum:?}", node.node());
    }
    let seen = nodes[2].read(group).await?.view();
    println!("node 3 sees {seen:?}");
    for node in nodes {
        node.shutdown(Duration::ZERO).await;
    }
    Ok(())
}

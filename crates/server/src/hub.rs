//! A network within one process: for embedding several nodes, for examples and tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use quorate_consensus::{ClusterId, NodeId};
use quorate_node::{Channel, NodeInput};

use crate::{core::CoreInput, counters::Counters, inbox::Inbox, transport::Local};

/// Joins the nodes that are started with clones of it.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    nodes: Arc<RwLock<Nodes>>,
}

#[derive(Debug, Default)]
struct Nodes {
    here: BTreeMap<(ClusterId, NodeId), Place>,
    /// Ordered pairs between which nothing passes.
    cut: BTreeSet<(NodeId, NodeId)>,
}

#[derive(Debug)]
struct Place {
    inbox: Inbox<CoreInput>,
    counters: Arc<Counters>,
}

impl Hub {
    /// A network without nodes.
    #[must_use]
    pub fn new() -> Hub {
        Hub::default()
    }

    /// Lets nothing pass from `from` to `to` any more, or lets it pass again.
    pub fn cut(&self, from: NodeId, to: NodeId, cut: bool) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if cut {
            nodes.cut.insert((from, to));
        } else {
            nodes.cut.remove(&(from, to));
        }
    }

    pub(crate) fn join(&self, local: Local, inbox: Inbox<CoreInput>, counters: Arc<Counters>) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.here.insert((local.cluster, local.node), Place { inbox, counters });
    }

    pub(crate) fn leave(&self, local: Local) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if nodes.here.remove(&(local.cluster, local.node)).is_none() {
            return;
        }
        // As a closed connection would: the others learn of it at once.
        for ((cluster, _), place) in &nodes.here {
            if *cluster == local.cluster {
                place.inbox.extend([CoreInput::Node(NodeInput::PeerLost(local.node))]);
            }
        }
    }

    /// Delivers at once. A receiver that is full, gone or cut off gets nothing.
    pub(crate) fn send(&self, local: Local, frames: &mut Vec<(NodeId, Channel, Bytes)>) {
        frames.sort_by_key(|(peer, channel, _)| (*peer, *channel));
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let own = nodes.here.get(&(local.cluster, local.node));
        for frames in frames.chunk_by(|(a, ..), (b, ..)| a == b) {
            let peer = frames[0].0;
            let bytes = frames.iter().map(|(_, _, frame)| frame.len() as u64).sum();
            let inputs = frames.iter().map(|(_, _, frame)| CoreInput::Node(NodeInput::Frame(frame.clone())));
            let Some(place) = nodes.here.get(&(local.cluster, peer)) else { continue };
            if !nodes.cut.contains(&(local.node, peer)) && place.inbox.try_extend(inputs, bytes) {
                place.counters.frames_received.add(frames.len() as u64);
                place.counters.frame_bytes_received.add(bytes);
                place.counters.peers.of(local.node).received_bytes.add(bytes);
                if let Some(own) = own {
                    own.counters.peers.of(peer).sent_bytes.add(bytes);
                }
            } else {
                place.counters.frames_dropped.add(frames.len() as u64);
            }
        }
        drop(nodes);
        frames.clear();
    }
}

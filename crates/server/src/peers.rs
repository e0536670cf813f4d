//! What is counted of each peer.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use quorate_consensus::NodeId;

use crate::counters::{Counter, Gauge};

/// What went to a peer and came from it.
#[derive(Debug, Default)]
pub struct PeerCounters {
    /// Bytes written to its sockets.
    pub sent_bytes: Counter,
    /// Frames for it that were dropped: its queue was full, or nobody listened.
    pub sent_failures: Counter,
    /// Bytes of frames that it sent.
    pub received_bytes: Counter,
    /// Connections to it that stand, of two.
    pub connections: Gauge,
    /// Connections to it that were lost.
    pub connections_lost: Counter,
}

/// All peers that this node has had to do with.
#[derive(Debug, Default)]
pub struct Peers(RwLock<BTreeMap<NodeId, Arc<PeerCounters>>>);

impl Peers {
    /// One of them. Whoever counts keeps it, and looks it up once.
    pub(crate) fn of(&self, peer: NodeId) -> Arc<PeerCounters> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&peer) {
            return Arc::clone(known);
        }
        Arc::clone(self.0.write().unwrap_or_else(PoisonError::into_inner).entry(peer).or_default())
    }

    /// All of them, by their ids.
    #[must_use]
    pub fn all(&self) -> Vec<(NodeId, Arc<PeerCounters>)> {
        let peers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        peers.iter().map(|(id, counters)| (*id, Arc::clone(counters))).collect()
    }
}

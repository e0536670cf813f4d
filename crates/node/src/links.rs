//! What this node knows of its peers' identities, and the frames it is filling for them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{ClusterId, GroupId, Incarnation, NodeId, Writer};

use crate::{Address, Channel, FrameRefusal, FrameWriter, PeerMessage};

/// A frame that has grown past this is sent and another begun.
const FRAME_BYTES_SOFT: usize = 8 << 20;

#[derive(Debug, Default)]
struct Link {
    incarnation: Option<Incarnation>,
    removed: bool,
    refused: BTreeSet<FrameRefusal>,
    refused_by: BTreeSet<FrameRefusal>,
}

/// All peers.
#[derive(Debug)]
pub(crate) struct Links {
    cluster: ClusterId,
    node: NodeId,
    incarnation: Incarnation,
    links: BTreeMap<NodeId, Link>,
    strangers_refused: BTreeSet<FrameRefusal>,
    open: BTreeMap<(NodeId, Channel), FrameWriter>,
    full: Vec<(NodeId, Channel, Bytes)>,
}

impl Links {
    pub(crate) fn new(cluster: ClusterId, node: NodeId, incarnation: Incarnation) -> Links {
        Links {
            cluster,
            node,
            incarnation,
            links: BTreeMap::new(),
            strangers_refused: BTreeSet::new(),
            open: BTreeMap::new(),
            full: Vec::new(),
        }
    }

    /// What the cluster's records say of a peer.
    pub(crate) fn know(&mut self, peer: NodeId, incarnation: Option<Incarnation>, removed: bool) {
        let link = self.links.entry(peer).or_default();
        if incarnation.is_some() && link.incarnation != incarnation {
            link.incarnation = incarnation;
            link.refused.clear();
        }
        link.removed = removed;
    }

    /// May a frame under this envelope be heard?
    ///
    /// An old id with another disk has forgotten its votes and acknowledgements: in {1,2,3}, 1 and 2 commit x, 2 comes back empty, and 2 and 3
    /// could elect a leader without x (C14). A sender whose disk is on no record yet is believed, and bound to it from then on.
    pub(crate) fn admit(&mut self, address: &Address) -> Result<(), FrameRefusal> {
        if address.cluster != self.cluster {
            return Err(FrameRefusal::Cluster);
        }
        if address.receiver != self.node || address.sender == self.node {
            return Err(FrameRefusal::Receiver);
        }
        let link = self.links.entry(address.sender).or_default();
        if link.removed {
            return Err(FrameRefusal::Removed);
        }
        let known = *link.incarnation.get_or_insert(address.incarnation);
        if known != address.incarnation && !quorate_consensus::planted!("C14") {
            return Err(FrameRefusal::Incarnation);
        }
        Ok(())
    }

    /// True the first time this refusal is to be said.
    pub(crate) fn say_once(&mut self, sender: Option<NodeId>, why: FrameRefusal) -> bool {
        match sender.and_then(|sender| self.links.get_mut(&sender)) {
            Some(link) => link.refused.insert(why),
            None => self.strangers_refused.insert(why),
        }
    }

    /// True the first time a peer's refusal is to be said.
    pub(crate) fn hear_once(&mut self, peer: NodeId, why: FrameRefusal) -> bool {
        self.links.entry(peer).or_default().refused_by.insert(why)
    }

    pub(crate) fn engine(
        &mut self,
        to: NodeId,
        channel: Channel,
        group: GroupId,
        write: impl FnOnce(&mut Writer),
    ) {
        self.frame(to, channel, |frame| frame.engine(group, write));
    }

    pub(crate) fn message(&mut self, to: NodeId, channel: Channel, group: GroupId, message: &PeerMessage) {
        self.frame(to, channel, |frame| frame.message(group, message));
    }

    fn frame(&mut self, to: NodeId, channel: Channel, write: impl FnOnce(&mut FrameWriter)) {
        let address =
            Address { cluster: self.cluster, sender: self.node, incarnation: self.incarnation, receiver: to };
        let frame = self.open.entry((to, channel)).or_insert_with(|| FrameWriter::new(&address));
        write(frame);
        if frame.len() >= FRAME_BYTES_SOFT
            && let Some(frame) = self.open.remove(&(to, channel))
        {
            self.full.push((to, channel, frame.finish()));
        }
    }

    /// All frames with something in them.
    pub(crate) fn take(&mut self, frames: &mut Vec<(NodeId, Channel, Bytes)>) {
        frames.append(&mut self.full);
        for ((to, channel), frame) in std::mem::take(&mut self.open) {
            if !frame.is_empty() {
                frames.push((to, channel, frame.finish()));
            }
        }
    }
}

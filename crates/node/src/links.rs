//! What this node knows of its peers' identities, and the frames it is filling for them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{ClusterId, GroupId, Incarnation, NodeId, Writer};

use crate::{
    Address, Channel, FrameRefusal, FrameWriter, PeerMessage,
    disks::{Disks, Meeting},
};

/// A frame that has grown past this is sent and another begun.
const FRAME_BYTES_SOFT: usize = 8 << 20;

#[derive(Debug, Default)]
struct Link {
    removed: bool,
    refused: BTreeSet<FrameRefusal>,
    refused_by: BTreeSet<FrameRefusal>,
}

/// When a frame may be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Now,
    /// When the disk that its sender is known by has been kept.
    WhenKept,
}

/// All peers.
#[derive(Debug)]
pub(crate) struct Links {
    cluster: ClusterId,
    node: NodeId,
    incarnation: Incarnation,
    links: BTreeMap<NodeId, Link>,
    pub(crate) disks: Disks,
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
            disks: Disks::default(),
            strangers_refused: BTreeSet::new(),
            open: BTreeMap::new(),
            full: Vec::new(),
        }
    }

    /// What the cluster's records say of a peer.
    pub(crate) fn know(&mut self, peer: NodeId, incarnation: Option<Incarnation>, removed: bool) {
        let link = self.links.entry(peer).or_default();
        link.removed = removed;
        if removed {
            self.disks.forget(peer);
        } else if incarnation.is_some_and(|incarnation| self.disks.register(peer, incarnation)) {
            link.refused.clear();
        }
    }

    /// May a frame under this envelope be heard, now or later?
    pub(crate) fn admit(&mut self, address: &Address) -> Result<Admission, FrameRefusal> {
        if address.cluster != self.cluster {
            return Err(FrameRefusal::Cluster);
        }
        if address.receiver != self.node || address.sender == self.node {
            return Err(FrameRefusal::Receiver);
        }
        if self.links.get(&address.sender).is_some_and(|link| link.removed) {
            return Err(FrameRefusal::Removed);
        }
        let meant = address.receiver_disk.is_none_or(|disk| disk == self.incarnation);
        if !meant && !quorate_consensus::planted!("C14") {
            return Err(FrameRefusal::ReceiverDisk);
        }
        match self.disks.meet(address.sender, address.incarnation) {
            Meeting::Known => Ok(Admission::Now),
            Meeting::New => Ok(Admission::WhenKept),
            Meeting::Another if quorate_consensus::planted!("C14") => Ok(Admission::Now),
            Meeting::Another => Err(FrameRefusal::Incarnation),
            Meeting::TooMany => Err(FrameRefusal::Strangers),
        }
    }

    /// True the first time this refusal is to be said.
    pub(crate) fn say_once(&mut self, sender: Option<NodeId>, why: FrameRefusal) -> bool {
        match sender {
            // Whoever is known by another disk is one of few.
            Some(sender) if why == FrameRefusal::Incarnation || self.links.contains_key(&sender) => {
                self.links.entry(sender).or_default().refused.insert(why)
            }
            Some(_) | None => self.strangers_refused.insert(why),
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
        let frame = self.open.entry((to, channel)).or_insert_with(|| {
            FrameWriter::new(&Address {
                cluster: self.cluster,
                sender: self.node,
                incarnation: self.incarnation,
                receiver: to,
                receiver_disk: self.disks.known(to),
            })
        });
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

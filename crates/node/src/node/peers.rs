//! Frames of peers: who is heard, who is refused, and what each message is for.

use bytes::Bytes;
use quorate_consensus::{Engine, GroupId, Instant, NodeId};

use super::Node;
use crate::{
    Channel, Fatal, Frame, FrameRefusal, GroupEngine, Notice, Outputs, PeerMessage, ToState, group::Leftover,
    links::Admission,
};

impl Node {
    pub(super) fn frame(&mut self, now: Instant, bytes: Bytes, out: &mut Outputs) {
        let frame = match Frame::parse(bytes.clone()) {
            Ok(frame) => frame,
            Err(why) => return self.refuse(None, why, out),
        };
        let from = frame.address.sender;
        match self.links.admit(&frame.address) {
            Ok(Admission::Now) => {}
            Ok(Admission::WhenKept) => return self.links.disks.wait(bytes),
            Err(why) => {
                if why == FrameRefusal::ReceiverDisk {
                    self.hear_that_it_is_not_believed(from, frame, out);
                }
                return self.refuse(Some(from), why, out);
            }
        }
        let Ok(messages) = frame.messages() else {
            return self.refuse(Some(from), FrameRefusal::Malformed, out);
        };
        for (group, message) in messages {
            match message {
                PeerMessage::Engine(bytes) => self.engine_message(now, group, from, bytes, out),
                PeerMessage::Chunk(chunk) => self.chunk(now, group, from, chunk, out),
                PeerMessage::ChunkAck(ack) => self.chunk_ack(now, group, from, ack, out),
                PeerMessage::Refused(why) => self.refused_by(from, why, out),
                PeerMessage::Desired(desired) => {
                    self.step(group, now, out, |group, around| group.told(desired, around));
                }
                PeerMessage::Hello => {}
                PeerMessage::Relay(bytes) => {
                    out.state.push(ToState::Relayed { group, from, bytes });
                }
            }
        }
    }

    /// Of what was said to another disk under this id, one thing is for this one all the same: that it is not believed. People are told; nothing else comes of it, for who
    /// says so has not been looked at as the sender of a frame that is heard.
    fn hear_that_it_is_not_believed(&mut self, from: NodeId, frame: Frame, out: &mut Outputs) {
        let not_believed = PeerMessage::Refused(FrameRefusal::Incarnation);
        if frame.messages().unwrap_or_default().iter().any(|(_, message)| *message == not_believed) {
            self.refused_by(from, FrameRefusal::Incarnation, out);
        }
    }

    /// A word of this node's state half, for that of another or of whoever leads the group; lost, as frames may be, if nobody is known to.
    pub(super) fn relay(&mut self, group: GroupId, to: Option<NodeId>, bytes: Bytes, out: &mut Outputs) {
        let leader = || self.groups.get(&group).and_then(|group| group.role.leader);
        match to.or_else(leader) {
            Some(own) if own == self.config.node => {
                out.state.push(ToState::Relayed { group, from: own, bytes });
            }
            Some(other) => {
                self.links.message(other, Channel::Urgent, group, &PeerMessage::Relay(bytes));
            }
            None => {}
        }
    }

    pub(super) fn engine_message(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        bytes: Bytes,
        out: &mut Outputs,
    ) {
        // Entries that may have to wait for space are lost, as messages may be: a vote would have to wait behind them. Heartbeats and votes go on, and
        // so do entries while there is room in the last segment: without a new leader's first one nobody could read.
        if !self.journal.has_room_for(4 * bytes.len() as u64) && self.is_bulk(&bytes) {
            return;
        }
        let mut malformed = false;
        self.step(group, now, out, |group, around| match group.message(from, bytes, around) {
            Ok(left) => left,
            Err(()) => {
                malformed = true;
                Leftover::default()
            }
        });
        if malformed {
            self.refuse(Some(from), FrameRefusal::Malformed, out);
        }
    }

    pub(super) fn is_bulk(&self, bytes: &Bytes) -> bool {
        let mut reader = quorate_consensus::Reader::new(bytes.clone());
        GroupEngine::decode_message(&mut reader).is_ok_and(|message| !GroupEngine::is_urgent(&message))
    }

    /// Says once to people that a frame was refused; to its sender, if it is one who should know, each time: the word may be lost like any other.
    pub(super) fn refuse(&mut self, sender: Option<NodeId>, why: FrameRefusal, out: &mut Outputs) {
        if let Some(sender) = sender
            && matches!(why, FrameRefusal::Incarnation | FrameRefusal::Removed)
        {
            self.links.message(sender, Channel::Urgent, GroupId(0), &PeerMessage::Refused(why));
        }
        if self.links.say_once(sender, why) {
            out.notices.push(Notice::FrameRefused { sender, why });
        }
    }

    pub(super) fn refused_by(&mut self, peer: NodeId, why: FrameRefusal, out: &mut Outputs) {
        if self.links.hear_once(peer, why) {
            out.notices.push(Notice::RefusedBy { peer, why });
        }
        // A peer says so only by the cluster's committed records, once every group has followed them; this node may never hear of that otherwise.
        if why == FrameRefusal::Removed {
            self.stop(Fatal::Refused(why), out);
        }
    }

    pub(super) fn peer_known(
        &mut self,
        peer: NodeId,
        incarnation: Option<quorate_consensus::Incarnation>,
        removed: bool,
        out: &mut Outputs,
    ) {
        if peer != self.config.node {
            return self.links.know(peer, incarnation, removed);
        }
        if removed {
            self.stop(Fatal::Refused(FrameRefusal::Removed), out);
        } else if incarnation.is_some_and(|known| known != self.config.incarnation) {
            self.stop(Fatal::Refused(FrameRefusal::Incarnation), out);
        }
    }
}

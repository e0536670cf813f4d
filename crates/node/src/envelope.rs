//! What travels between two nodes: frames of messages, each frame under one envelope.
//!
//! ```text
//! frame    := version u8 · crc32 u32 (of all that follows) · cluster u64 · sender u64 · incarnation u64 · receiver u64 · its disk u64 (0: any) · message*
//! message  := group varint · kind u8 · length varint · payload
//! ```
//! The transport adds the frame's length before it. Whatever does not parse, or speaks of another cluster, receiver or incarnation, is
//! refused as a whole: nothing of it reaches an engine.

use std::fmt;

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, DecodeError, GroupId, Incarnation, Index, Membership, NodeId, Position, Reader, Writer,
};

/// The format version that this build writes, and the only one it reads.
pub const FRAME_VERSION: u8 = 2;
/// The most bytes of one frame; a longer one is refused before it is read.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

const PREFIX_BYTES: usize = 5;

/// Which of the two connections of a pair of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Heartbeats, votes, acknowledgements: never behind bulk data.
    Urgent,
    /// Entries and snapshot chunks.
    Bulk,
}

/// Whose frame, for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The cluster that both are in.
    pub cluster: ClusterId,
    /// Who speaks.
    pub sender: NodeId,
    /// Which life of the sender's disk.
    pub incarnation: Incarnation,
    /// Who listens.
    pub receiver: NodeId,
    /// By which disk the sender knows it; none, if it has not met it yet. What was said to another disk is no word for this one: {2 asks 1 for its vote, loses its disk, comes
    /// back empty, and 1's grant arrives}: 2 would count it for a log that it does not have.
    pub receiver_disk: Option<Incarnation>,
}

/// One message of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// For the group's engine, in the engine's own encoding.
    Engine(Bytes),
    /// A piece of a snapshot.
    Chunk(Chunk),
    /// How much of a snapshot has arrived.
    ChunkAck(ChunkAck),
    /// Your frame was refused.
    Refused(FrameRefusal),
    /// The cluster's records want this membership for the group, said to its leader.
    Desired(Desired),
    /// Nothing was heard in the group for long. Whoever is no member any more is answered, as to any frame, that it was removed.
    Hello,
    /// A word between the state halves of the group, for whoever leads it.
    Relay(Bytes),
}

/// What the cluster's records want of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Of the records.
    pub version: u64,
    /// What they want.
    pub membership: Membership,
    /// It is a step on the way: once the group is there, the records are asked what comes next.
    pub more: bool,
}

/// A piece of a snapshot, in a transfer that can be resumed at any chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which snapshot.
    pub position: Position,
    /// Which piece, from 0.
    pub number: u64,
    /// The snapshot's description and the engine's message, with the first piece only.
    pub head: Option<Bytes>,
    /// No piece follows.
    pub last: bool,
    /// The piece.
    pub data: Bytes,
}

/// How much of a snapshot has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkAck {
    /// Which snapshot.
    pub position: Position,
    /// The next piece wanted.
    pub next: u64,
    /// Whole, verified, and handed to the engine; or not wanted any more.
    pub end: bool,
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameRefusal {
    /// The bytes are not a frame.
    Malformed,
    /// Another format version.
    Version,
    /// Another cluster.
    Cluster,
    /// Meant for another node.
    Receiver,
    /// The sender is known with another disk: it has forgotten what it promised, and must be replaced.
    Incarnation,
    /// The sender was removed from the cluster.
    Removed,
    /// More senders have come than a cluster has members.
    Strangers,
    /// Meant for another disk under this node's id.
    ReceiverDisk,
}

impl fmt::Display for FrameRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameRefusal::Malformed => "the bytes are not a frame of this protocol",
            FrameRefusal::Version => "it speaks another version of the peer protocol; upgrade the older side",
            FrameRefusal::Cluster => "it belongs to another cluster; check --initial-cluster and the cluster token",
            FrameRefusal::Receiver => "it takes this node for another; check the peer addresses",
            FrameRefusal::Incarnation => {
                "it came back with an empty or foreign disk under an old id; remove the member and add it anew"
            }
            FrameRefusal::Removed => "it was removed from the cluster; start it with an empty data directory as a new member",
            FrameRefusal::Strangers => {
                "it is one of more senders than any cluster has; only members should reach the peer port"
            }
            FrameRefusal::ReceiverDisk => {
                "it knows this node with another disk: this one is empty or foreign under an old id; remove this member and add it anew"
            }
        })
    }
}

const ENGINE: u8 = 1;
const CHUNK: u8 = 2;
const CHUNK_ACK: u8 = 3;
const REFUSED: u8 = 4;
const DESIRED: u8 = 5;
const HELLO: u8 = 6;
const RELAY: u8 = 7;

const REFUSALS: [FrameRefusal; 8] = [
    FrameRefusal::Malformed,
    FrameRefusal::Version,
    FrameRefusal::Cluster,
    FrameRefusal::Receiver,
    FrameRefusal::Incarnation,
    FrameRefusal::Removed,
    FrameRefusal::Strangers,
    FrameRefusal::ReceiverDisk,
];

/// Gathers messages for one receiver into one frame.
#[derive(Debug)]
pub struct FrameWriter {
    to: Writer,
    body: Writer,
    messages: usize,
}

impl FrameWriter {
    /// An empty frame.
    #[must_use]
    pub fn new(address: &Address) -> FrameWriter {
        let mut to = Writer::with_capacity(1024);
        to.u8(FRAME_VERSION);
        to.u32(0);
        to.u64(address.cluster.0);
        to.u64(address.sender.0);
        to.u64(address.incarnation.0);
        to.u64(address.receiver.0);
        to.u64(address.receiver_disk.map_or(0, |disk| disk.0));
        FrameWriter { to, body: Writer::new(), messages: 0 }
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.to.len()
    }

    /// No message yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Adds an engine's message, written by `write`.
    pub fn engine(&mut self, group: GroupId, write: impl FnOnce(&mut Writer)) {
        self.add(group, ENGINE, write);
    }

    /// Adds any message.
    pub fn message(&mut self, group: GroupId, message: &PeerMessage) {
        match message {
            PeerMessage::Engine(bytes) => self.add(group, ENGINE, |to| to.raw(bytes)),
            PeerMessage::Chunk(chunk) => self.add(group, CHUNK, |to| {
                position(chunk.position, to);
                to.varint(chunk.number);
                to.bool(chunk.last);
                to.bool(chunk.head.is_some());
                if let Some(head) = &chunk.head {
                    to.bytes(head);
                }
                to.raw(&chunk.data);
            }),
            PeerMessage::ChunkAck(ack) => self.add(group, CHUNK_ACK, |to| {
                position(ack.position, to);
                to.varint(ack.next);
                to.bool(ack.end);
            }),
            PeerMessage::Desired(desired) => self.add(group, DESIRED, |to| {
                to.varint(desired.version);
                desired.membership.encode(to);
                to.bool(desired.more);
            }),
            PeerMessage::Hello => self.add(group, HELLO, |_| {}),
            PeerMessage::Relay(bytes) => self.add(group, RELAY, |to| to.raw(bytes)),
            PeerMessage::Refused(why) => {
                self.add(group, REFUSED, |to| {
                    to.u8(REFUSALS.iter().position(|r| r == why).unwrap_or(0) as u8)
                });
            }
        }
    }

    fn add(&mut self, group: GroupId, kind: u8, write: impl FnOnce(&mut Writer)) {
        self.messages += 1;
        self.body.clear();
        write(&mut self.body);
        self.to.varint(group.0);
        self.to.u8(kind);
        self.to.bytes(self.body.as_slice());
    }

    /// The finished frame.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        let crc = crc32fast::hash(&self.to.as_slice()[PREFIX_BYTES..]);
        self.to.as_mut_slice()[1..PREFIX_BYTES].copy_from_slice(&crc.to_le_bytes());
        self.to.finish()
    }
}

fn position(position: Position, to: &mut Writer) {
    to.varint(position.epoch.0);
    to.varint(position.index.0);
}

/// A frame that parsed as far as its envelope.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Whose, for whom.
    pub address: Address,
    body: Reader,
}

impl Frame {
    /// Reads a frame's envelope and checks that all of it is as it was sent.
    ///
    /// # Errors
    /// Another version, or not a frame.
    pub fn parse(bytes: Bytes) -> Result<Frame, FrameRefusal> {
        let version = *bytes.first().ok_or(FrameRefusal::Malformed)?;
        if version != FRAME_VERSION {
            return Err(FrameRefusal::Version);
        }
        let mut from = Reader::new(bytes.slice(1..));
        let malformed = |_: DecodeError| FrameRefusal::Malformed;
        let crc = from.u32().map_err(malformed)?;
        if crc32fast::hash(&bytes[PREFIX_BYTES..]) != crc {
            return Err(FrameRefusal::Malformed);
        }
        let address = Address {
            cluster: ClusterId(from.u64().map_err(malformed)?),
            sender: NodeId(from.u64().map_err(malformed)?),
            incarnation: Incarnation(from.u64().map_err(malformed)?),
            receiver: NodeId(from.u64().map_err(malformed)?),
            receiver_disk: Some(Incarnation(from.u64().map_err(malformed)?)).filter(|disk| disk.0 != 0),
        };
        Ok(Frame { address, body: from })
    }

    /// Its messages, in order; all of them parse, or none is given.
    ///
    /// # Errors
    /// The first that does not parse.
    pub fn messages(mut self) -> Result<Vec<(GroupId, PeerMessage)>, DecodeError> {
        let mut messages = Vec::new();
        while self.body.remaining() > 0 {
            let group = GroupId(self.body.varint()?);
            let kind = self.body.u8()?;
            let mut from = Reader::new(self.body.bytes()?);
            let at = |from: &mut Reader| -> Result<Position, DecodeError> {
                Ok(Position::new(from.varint()?, Index(from.varint()?).0))
            };
            let message = match kind {
                ENGINE => PeerMessage::Engine(from.rest()),
                CHUNK => PeerMessage::Chunk(Chunk {
                    position: at(&mut from)?,
                    number: from.varint()?,
                    last: from.bool()?,
                    head: if from.bool()? { Some(from.bytes()?) } else { None },
                    data: from.rest(),
                }),
                CHUNK_ACK => {
                    let ack = ChunkAck { position: at(&mut from)?, next: from.varint()?, end: from.bool()? };
                    from.finish()?;
                    PeerMessage::ChunkAck(ack)
                }
                REFUSED => {
                    let why = from.u8()?;
                    let why = REFUSALS
                        .get(usize::from(why))
                        .ok_or(DecodeError::Unknown { what: "refusal", value: u64::from(why) })?;
                    PeerMessage::Refused(*why)
                }
                DESIRED => {
                    let desired = Desired {
                        version: from.varint()?,
                        membership: Membership::decode(&mut from)?,
                        more: from.bool()?,
                    };
                    from.finish()?;
                    PeerMessage::Desired(desired)
                }
                HELLO => {
                    from.finish()?;
                    PeerMessage::Hello
                }
                RELAY => PeerMessage::Relay(from.rest()),
                kind => return Err(DecodeError::Unknown { what: "message kind", value: u64::from(kind) }),
            };
            messages.push((group, message));
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address {
            cluster: ClusterId(1),
            sender: NodeId(2),
            incarnation: Incarnation(3),
            receiver: NodeId(4),
            receiver_disk: Some(Incarnation(5)),
        }
    }

    fn all() -> Vec<(GroupId, PeerMessage)> {
        let position = Position::new(3, 400);
        let head = Some(Bytes::from_static(b"head"));
        vec![
            (GroupId(1), PeerMessage::Engine(Bytes::from_static(b"vote"))),
            (
                GroupId(2),
                PeerMessage::Chunk(Chunk {
                    position,
                    number: 0,
                    head,
                    last: false,
                    data: Bytes::from_static(b"x"),
                }),
            ),
            (
                GroupId(2),
                PeerMessage::Chunk(Chunk { position, number: 9, head: None, last: true, data: Bytes::new() }),
            ),
            (GroupId(300), PeerMessage::ChunkAck(ChunkAck { position, next: 7, end: true })),
            (GroupId(1), PeerMessage::Refused(FrameRefusal::Incarnation)),
            (
                GroupId(2),
                PeerMessage::Desired(Desired {
                    version: 300,
                    membership: Membership::new([NodeId(1), NodeId(2)], [NodeId(3)]),
                    more: true,
                }),
            ),
            (GroupId(2), PeerMessage::Hello),
            (GroupId(3), PeerMessage::Relay(Bytes::from_static(b"alive"))),
        ]
    }

    fn frame() -> Bytes {
        let mut frame = FrameWriter::new(&address());
        for (group, message) in &all() {
            frame.message(*group, message);
        }
        frame.finish()
    }

    #[test]
    fn a_frame_reads_back() {
        let parsed = Frame::parse(frame()).unwrap();
        assert_eq!(parsed.address, address());
        assert_eq!(parsed.messages().unwrap(), all());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let frame = frame();
        for bit in 0..frame.len() * 8 {
            let mut bytes = frame.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::parse(Bytes::from(bytes)).is_err(), "bit {bit}");
        }
        for end in 0..frame.len() {
            assert!(Frame::parse(frame.slice(..end)).is_err(), "cut at {end}");
        }
    }
}

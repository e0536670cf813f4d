//! What members send to each other, and what stands in the log.

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, DecodeError, Engine, Entry, Epoch, GroupId, Incarnation, Index, Membership, NodeId, Payload,
    Position, Reader, SnapshotMeta, StateMachine, Writer,
};
use quorate_keyspace::Keyspace;
use quorate_node::{Address, Chunk, ChunkAck, Frame, FrameWriter, PeerMessage, Sessions, TaggedCommand};
use quorate_placement::Placement;
use quorate_raft::Raft;
use quorate_service::{lease, progress};
use quorate_zab::Zab;
use quorate_znodes::Znodes;

use crate::script::Script;

/// A frame, as it is and with its checksum made right.
pub(crate) fn frames(bytes: &[u8]) {
    frame(Bytes::copy_from_slice(bytes));
    if let Some(rest) = bytes.get(5..) {
        let mut right = Writer::new();
        right.u8(bytes[0]);
        right.u32(crc32fast::hash(rest));
        right.raw(rest);
        frame(right.finish());
    }
}

fn frame(bytes: Bytes) {
    let Ok(frame) = Frame::parse(bytes) else { return };
    let address = frame.address;
    let Ok(messages) = frame.messages() else { return };
    let mut to = FrameWriter::new(&address);
    for (group, message) in &messages {
        to.message(*group, message);
    }
    let again = Frame::parse(to.finish()).expect("a frame that we wrote");
    assert_eq!(again.messages().as_ref(), Ok(&messages));
    for (_, message) in messages {
        if let PeerMessage::Engine(bytes) = message {
            engine::<Raft>(bytes.clone());
            engine::<Zab>(bytes);
        }
    }
}

fn engine<E: Engine>(bytes: Bytes) {
    let Ok(message) = E::decode_message(&mut Reader::new(bytes)) else { return };
    let mut to = Writer::new();
    E::encode_message(&message, &mut to);
    assert_eq!(E::decode_message(&mut Reader::new(to.finish())).as_ref(), Ok(&message));
}

pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    let address = Address {
        cluster: ClusterId(1),
        sender: NodeId(2),
        incarnation: Incarnation(3),
        receiver: NodeId(4),
        receiver_disk: None,
    };
    let position = Position::new(3, 9);
    let chunk = Chunk { position, number: 2, head: Some("head".into()), last: true, data: "data".into() };
    let messages = [
        PeerMessage::Engine("engine".into()),
        PeerMessage::Chunk(chunk),
        PeerMessage::ChunkAck(ChunkAck { position, next: 3, end: false }),
        PeerMessage::Hello,
        PeerMessage::Relay("relay".into()),
    ];
    let whole = |messages: &[PeerMessage]| {
        let mut to = FrameWriter::new(&address);
        messages.iter().for_each(|message| to.message(GroupId(1), message));
        to.finish().to_vec()
    };
    let mut seeds: Vec<Vec<u8>> =
        messages.iter().map(|message| whole(std::slice::from_ref(message))).collect();
    seeds.push(whole(&messages));
    seeds
}

/// The first byte says what it is read as; what reads is written and reads as the same.
pub(crate) fn records(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let which = script.below(RECORDS.len());
    RECORDS[which](Bytes::copy_from_slice(bytes.get(1..).unwrap_or_default()));
}

const RECORDS: &[fn(Bytes)] = &[
    |bytes| same(bytes, Entry::decode, Entry::encode),
    |bytes| same(bytes, Membership::decode, Membership::encode),
    |bytes| same(bytes, SnapshotMeta::decode, SnapshotMeta::encode),
    |bytes| same(bytes, Sessions::decode, |sessions, to| sessions.encode(to)),
    |bytes| same(bytes, Raft::decode_hard_state, Raft::encode_hard_state),
    |bytes| same(bytes, Zab::decode_hard_state, Zab::encode_hard_state),
    |bytes| same(bytes, Keyspace::decode_response, Keyspace::encode_response),
    |bytes| same(bytes, Znodes::decode_response, Znodes::encode_response),
    |bytes| same(bytes, Placement::decode_response, Placement::encode_response),
    |bytes| drop(TaggedCommand::decode(bytes)),
    |bytes| {
        let Ok(word) = lease::Word::decode(bytes) else { return };
        assert_eq!(lease::Word::decode(word.encode()), Ok(word));
    },
    |bytes| {
        let Ok(word) = progress::Word::decode(bytes) else { return };
        assert_eq!(progress::Word::decode(word.encode()), Ok(word));
    },
    |bytes| {
        let Ok(command) = quorate_placement::Command::decode(&bytes) else { return };
        let _ = command.check();
        assert_eq!(quorate_placement::Command::decode(&command.encode()), Ok(command));
    },
    |bytes| {
        engine::<Raft>(bytes.clone());
        engine::<Zab>(bytes);
    },
];

fn same<T: PartialEq + std::fmt::Debug>(
    bytes: Bytes,
    decode: impl Fn(&mut Reader) -> Result<T, DecodeError>,
    encode: impl Fn(&T, &mut Writer),
) {
    let Ok(read) = decode(&mut Reader::new(bytes)) else { return };
    let mut to = Writer::new();
    encode(&read, &mut to);
    let mut from = Reader::new(to.finish());
    assert_eq!(decode(&mut from).as_ref(), Ok(&read));
    assert_eq!(from.finish(), Ok(()), "more was written than is read");
}

pub(crate) fn record_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut add = |which: u8, write: &dyn Fn(&mut Writer)| {
        let mut to = Writer::new();
        to.u8(which);
        write(&mut to);
        seeds.push(to.finish().to_vec());
    };
    let membership = Membership::new([1, 2, 3].map(NodeId), [NodeId(4)]);
    let meta = SnapshotMeta {
        position: Position::new(3, 9),
        membership: membership.clone(),
        membership_at: Index(4),
        size_bytes: 5,
        digest: 6,
    };
    add(0, &|to| Entry::new(Epoch(2), Index(3), Payload::Command("put".into())).encode(to));
    add(0, &|to| Entry::new(Epoch(2), Index(3), Payload::Membership(membership.clone())).encode(to));
    add(1, &|to| membership.encode(to));
    add(2, &|to| meta.encode(to));
    // The others begin as small numbers.
    for which in 3..RECORDS.len() as u8 {
        for first in 0..8 {
            add(which, &|to| to.raw(&[first, 1, 2, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        }
    }
    seeds
}

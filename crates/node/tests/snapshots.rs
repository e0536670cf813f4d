//! Snapshots that arrive in pieces.

mod support;

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, Duration, EngineKind, Incarnation, Index, Membership, NodeId, Position, SnapshotMeta, Writer,
};
use quorate_node::{Address, Chunk, ChunkAck, Frame, FrameWriter, GroupConfig, Node, NodeInput, PeerMessage};
use support::{Disk, GROUP, World, config};

/// A node of two, that waits for the other.
fn world() -> World {
    let mut world = World::new(Disk::default());
    let birth = Membership::new([NodeId(1), NodeId(2)], []);
    let groups = vec![GroupConfig { id: GROUP, engine: EngineKind::Raft, birth }];
    world.node = Node::new(quorate_node::Config { groups, ..config() }, world.now);
    (0..3).for_each(|_| world.settle(Duration::from_millis(1)));
    world
}

/// A piece of the snapshot at this index, as the other node sends it.
fn piece(index: u64, number: u64) -> NodeInput {
    let position = Position::new(1, index);
    let meta = SnapshotMeta {
        position,
        membership: Membership::new([NodeId(1), NodeId(2)], []),
        membership_at: Index::ZERO,
        size_bytes: 3,
        digest: 0,
    };
    let head = (number == 0).then(|| {
        let mut head = Writer::new();
        meta.encode(&mut head);
        head.bytes(b"");
        head.finish()
    });
    let address = Address {
        cluster: ClusterId(7),
        sender: NodeId(2),
        incarnation: Incarnation(2),
        receiver: NodeId(1),
        receiver_disk: None,
    };
    let mut frame = FrameWriter::new(&address);
    let chunk = Chunk { position, number, head, last: false, data: Bytes::from_static(b"one") };
    frame.message(GROUP, &PeerMessage::Chunk(chunk));
    NodeInput::Frame(frame.finish())
}

/// What it has answered to pieces, in order.
fn answers(world: &mut World, input: NodeInput) -> Vec<ChunkAck> {
    world.out.frames.clear();
    world.node.handle(world.now, input, &mut world.out);
    (0..3).for_each(|_| world.settle(Duration::from_millis(1)));
    let frames = world.out.frames.iter().filter_map(|(_, _, bytes)| Frame::parse(bytes.clone()).ok());
    let messages = frames.filter_map(|frame| frame.messages().ok()).flatten();
    let ack = |(_, message)| match message {
        PeerMessage::ChunkAck(ack) => Some(ack),
        _ => None,
    };
    messages.filter_map(ack).collect()
}

/// D11: {one leader's snapshot has begun to arrive, and the next leader's second piece comes before its first}: it is none of what was begun.
#[test]
fn d11_a_piece_of_one_snapshot_never_continues_another() {
    let mut world = world();
    let wants = |index, next| vec![ChunkAck { position: Position::new(1, index), next, end: false }];
    assert_eq!(answers(&mut world, piece(5, 0)), wants(5, 1));
    assert_eq!(answers(&mut world, piece(9, 1)), wants(9, 0), "I16: two snapshots are mixed");
    assert_eq!(answers(&mut world, piece(5, 1)), wants(5, 2), "what was begun goes on");
    assert_eq!(answers(&mut world, piece(9, 0)), wants(9, 1), "and a first piece begins anew");
    assert_eq!(answers(&mut world, piece(5, 2)), wants(5, 0));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_caught_by_its_story() {
    let story = d11_a_piece_of_one_snapshot_never_continues_another;
    quorate_consensus::hunt_plant("D11", "I16", [()], |()| story());
}

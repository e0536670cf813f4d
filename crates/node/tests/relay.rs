//! A word for the state half of whoever leads the group.

mod support;

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, Duration, Engine as _, EngineKind, Epoch, Incarnation, Membership, NodeId, Writer,
};
use quorate_node::{
    Address, EngineMessage, Frame, FrameWriter, GroupConfig, GroupEngine, Node, NodeInput, PeerMessage,
    ToState,
};
use support::{Disk, GROUP, World, config};

const WORD: &[u8] = b"alive: 7";

fn relay(world: &mut World) {
    let bytes = Bytes::from_static(WORD);
    world.node.handle(world.now, NodeInput::Relay { group: GROUP, to: None, bytes }, &mut world.out);
    world.settle(Duration::from_millis(1));
}

fn relayed(world: &mut World) -> Vec<(NodeId, Bytes)> {
    let said = std::mem::take(&mut world.out.state);
    let words = said.into_iter().filter_map(|input| match input {
        ToState::Relayed { group, from, bytes } if group == GROUP => Some((from, bytes)),
        _ => None,
    });
    words.collect()
}

/// Words in the frames for a peer.
fn sent(world: &mut World, to: NodeId) -> usize {
    let frames = std::mem::take(&mut world.out.frames);
    let messages = frames
        .into_iter()
        .filter(|(peer, ..)| *peer == to)
        .flat_map(|(_, _, bytes)| Frame::parse(bytes).unwrap().messages().unwrap());
    messages.filter(|(_, message)| matches!(message, PeerMessage::Relay(word) if word == WORD)).count()
}

#[test]
fn whoever_leads_hears_its_own_word() {
    let mut world = World::new(Disk::default());
    (0..3).for_each(|_| world.settle(Duration::from_millis(400)));
    assert!(world.leads());
    relay(&mut world);
    assert_eq!(relayed(&mut world), [(NodeId(1), Bytes::from_static(WORD))]);
}

#[test]
fn a_follower_sends_it_to_the_leader_that_it_knows_and_to_nobody_if_it_knows_none() {
    let mut world = World::new(Disk::default());
    let birth = Membership::new([NodeId(1), NodeId(2)], []);
    let groups = vec![GroupConfig { id: GROUP, engine: EngineKind::Raft, birth }];
    world.node = Node::new(quorate_node::Config { groups, ..config() }, world.now);
    (0..3).for_each(|_| world.settle(Duration::from_millis(1)));
    relay(&mut world);
    assert_eq!((relayed(&mut world), sent(&mut world, NodeId(2))), (vec![], 0));

    let address = Address {
        cluster: ClusterId(7),
        sender: NodeId(2),
        incarnation: Incarnation(2),
        receiver: NodeId(1),
        receiver_disk: None,
    };
    let message = EngineMessage::Raft(quorate_raft::Message::Heartbeat {
        term: Epoch(1),
        commit: quorate_consensus::Index::ZERO,
        round: 0,
    });
    let mut to = Writer::new();
    GroupEngine::encode_message(&message, &mut to);
    let mut frame = FrameWriter::new(&address);
    frame.message(GROUP, &PeerMessage::Engine(to.finish()));
    frame.message(GROUP, &PeerMessage::Relay(Bytes::from_static(WORD)));
    world.node.handle(world.now, NodeInput::Frame(frame.finish()), &mut world.out);
    (0..3).for_each(|_| world.settle(Duration::from_millis(1)));
    assert_eq!(relayed(&mut world), [(NodeId(2), Bytes::from_static(WORD))], "what another says is heard");
    relay(&mut world);
    assert_eq!((relayed(&mut world), sent(&mut world, NodeId(2))), (vec![], 1));
}

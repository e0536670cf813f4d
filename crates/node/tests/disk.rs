//! A node alone, on a disk that is full, and on one that holds nonsense; what it keeps of snapshots, and of its peers' disks.

mod support;

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, Duration, Incarnation, Index, Membership, NodeId, Position, SnapshotMeta,
};
use quorate_journal::{GroupWrite, Identity, Journal};
use quorate_node::{
    Address, Answer, Fatal, Frame, FrameRefusal, FrameWriter, FromState, NodeInput, Notice, PeerMessage,
    ToState,
};
use support::{Disk, GROUP, World, config};

/// F13: proposals are refused, certainly not done, as long as the disk is full, and the node goes on leading, also from a start on that disk.
#[test]
fn f13_a_full_disk_refuses_proposals_and_nothing_else() {
    let mut world = World::new(Disk::default());
    world.settle(Duration::from_secs(1));
    world.settle(Duration::from_secs(1));
    assert!(world.leads());
    world.disk.full = true;
    let refused = (1..100).find_map(|ticket| world.propose(ticket));
    assert_eq!(refused, Some(Answer::DiskFull));
    assert!(world.out.notices.contains(&Notice::DiskFull) && world.leads());

    for start in 0..3 {
        let mut again = World::new(std::mem::take(&mut world.disk));
        again.settle(Duration::from_secs(1));
        again.settle(Duration::from_secs(1));
        assert!(again.leads(), "start {start}: {:?}", again.node);
        assert_eq!(again.propose(1), Some(Answer::DiskFull));
        world = again;
    }
    world.disk.full = false;
    world.settle(Duration::from_secs(2));
    assert!(world.out.notices.contains(&Notice::DiskSpaceBack));
    assert_eq!(world.propose(200), None);
}

/// A hard state that does not decode is damage. Were it taken for none, a vote would be given twice.
#[test]
fn f20_a_hard_state_that_does_not_decode_is_damage() {
    let mut disk = Disk::default();
    let identity = Identity { cluster: ClusterId(7), node: NodeId(1), incarnation: Incarnation(9) };
    let mut journal = Journal::open(config().journal, identity);
    let hard_state = Some(Bytes::from_static(&[0xff; 40]));
    let mut written = false;
    loop {
        let operations = journal.operations();
        if operations.is_empty() && written {
            break;
        }
        for operation in operations {
            journal.complete(disk.execute(operation), &mut Vec::new());
        }
        if !written && journal.has_reserve() {
            journal.append(GROUP, GroupWrite { hard_state: hard_state.clone(), ..GroupWrite::default() });
            journal.flush();
            written = true;
        }
    }
    let mut world = World::new(disk);
    world.settle(Duration::from_secs(1));
    assert!(
        matches!(world.node.stopped(), Some(Fatal::Damaged(why)) if why.contains("hard state")),
        "{:?}",
        world.node.stopped()
    );
}

/// A member that joined and has not reached the entry that says who votes keeps no snapshot that says nobody does: no peer would take it.
#[test]
fn r21_a_snapshot_that_knows_no_voter_is_not_kept() {
    let mut world = World::new(Disk::default());
    world.settle(Duration::from_secs(1));
    world.settle(Duration::from_secs(1));
    assert!(world.leads());
    let mut keeps = |voters: &[NodeId]| {
        let meta = SnapshotMeta {
            position: Position::new(1, 1),
            membership: Membership::new(voters.iter().copied(), []),
            membership_at: Index(0),
            size_bytes: 1,
            digest: 0,
        };
        let chunks = Box::new(std::iter::once(Bytes::from_static(b"state")));
        let report = FromState::Snapshot { group: GROUP, meta, chunks };
        world.node.handle(world.now, NodeInput::State(report), &mut world.out);
        world.settle(Duration::from_millis(1));
        world.out.notices.iter().any(|notice| matches!(notice, Notice::SnapshotTaken { .. }))
    };
    assert!(!keeps(&[]));
    assert!(keeps(&[NodeId(1)]));
}

/// A peer's frame that says nothing, from this disk of it.
fn hello(sender: u64, incarnation: u64) -> NodeInput {
    let (cluster, incarnation) = (ClusterId(7), Incarnation(incarnation));
    let address =
        Address { cluster, sender: NodeId(sender), incarnation, receiver: NodeId(1), receiver_disk: None };
    let mut frame = FrameWriter::new(&address);
    frame.message(GROUP, &PeerMessage::Refused(FrameRefusal::Version));
    NodeInput::Frame(frame.finish())
}

/// C14: {a peer is met, this node starts again, and the first that it hears comes from another disk under the peer's id}: that disk is refused, although no
/// record has been applied; and the peer was not heard before its disk was durable here.
#[test]
fn c14_a_peer_is_believed_by_the_disk_that_is_durable_here_and_no_other() {
    let heard = |world: &World| {
        world.out.notices.iter().any(|notice| matches!(notice, Notice::RefusedBy { peer: NodeId(3), .. }))
    };
    let mut world = World::new(Disk::default());
    world.settle(Duration::from_secs(1));
    world.node.handle(world.now, hello(3, 0xa), &mut world.out);
    assert!(!heard(&world), "nothing is durable yet");
    world.settle(Duration::from_millis(1));
    assert!(heard(&world));

    let mut again = World::new(world.disk);
    again.settle(Duration::from_secs(1));
    again.node.handle(again.now, hello(3, 0xb), &mut again.out);
    again.settle(Duration::from_millis(1));
    assert!(!heard(&again));
    let refused = Notice::FrameRefused { sender: Some(NodeId(3)), why: FrameRefusal::Incarnation };
    assert!(again.out.notices.contains(&refused), "{:?}", again.out.notices);
    again.node.handle(again.now, hello(3, 0xa), &mut again.out);
    assert!(heard(&again), "the disk that is known is heard at once");
}

/// C14: {2 asks 1 for its vote, loses its disk, comes back empty, and the grant arrives}: 1 knew it by the disk that is gone, and says so; what was said to that one
/// is no word for this one. Found by the simulator (I5).
#[test]
fn c14_what_was_said_to_the_disk_before_is_not_heard_by_the_one_after_it() {
    let told = |receiver_disk: Option<u64>, message: &PeerMessage| {
        let mut world = World::new(Disk::default());
        world.settle(Duration::from_secs(1));
        let address = Address {
            cluster: ClusterId(7),
            sender: NodeId(3),
            incarnation: Incarnation(0xa),
            receiver: NodeId(1),
            receiver_disk: receiver_disk.map(Incarnation),
        };
        let mut frame = FrameWriter::new(&address);
        frame.message(GROUP, message);
        world.node.handle(world.now, NodeInput::Frame(frame.finish()), &mut world.out);
        world.settle(Duration::from_millis(1));
        world
    };
    let word = PeerMessage::Relay(Bytes::from_static(b"word"));
    let heard = |world: &World| world.out.state.iter().any(|input| matches!(input, ToState::Relayed { .. }));
    let own = config().incarnation.0;
    assert!(heard(&told(None, &word)), "its sender has not met it");
    assert!(heard(&told(Some(own), &word)));
    let other = told(Some(own + 1), &word);
    assert!(!heard(&other));
    let refused = Notice::FrameRefused { sender: Some(NodeId(3)), why: FrameRefusal::ReceiverDisk };
    assert!(other.out.notices.contains(&refused));
    // But that it is not believed it hears; and from such a frame nothing that would end it.
    let by = |why| Notice::RefusedBy { peer: NodeId(3), why };
    let refused = |why| told(Some(own + 1), &PeerMessage::Refused(why));
    assert!(refused(FrameRefusal::Incarnation).out.notices.contains(&by(FrameRefusal::Incarnation)));
    let removed = refused(FrameRefusal::Removed);
    assert!(!removed.out.notices.contains(&by(FrameRefusal::Removed)) && removed.node.stopped().is_none());
}

/// C14, the other side: what a node says to a peer whose disk it knows is said to that disk.
#[test]
fn c14_a_node_says_to_which_disk_it_speaks() {
    let mut world = World::new(Disk::default());
    world.settle(Duration::from_secs(1));
    let speaks_to = |world: &mut World| {
        world.out.frames.clear();
        let (to, bytes) = (Some(NodeId(3)), Bytes::from_static(b"word"));
        world.node.handle(world.now, NodeInput::Relay { group: GROUP, to, bytes }, &mut world.out);
        world.settle(Duration::from_millis(1));
        let (_, _, frame) = world.out.frames.first().expect("a frame").clone();
        Frame::parse(frame).expect("whole").address.receiver_disk
    };
    assert_eq!(speaks_to(&mut world), None, "it has not met it yet");
    world.node.handle(world.now, hello(3, 0xa), &mut world.out);
    world.settle(Duration::from_millis(1));
    assert_eq!(speaks_to(&mut world), Some(Incarnation(0xa)));
}

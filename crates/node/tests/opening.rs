//! A group that the cluster's records bring while the node runs.

mod support;

use bytes::Bytes;
use quorate_consensus::{Duration, EngineKind, GroupId, Membership, NodeId, Role};
use quorate_node::{GroupConfig, GroupStatus, NodeInput, Ticket, ToState};
use support::{Disk, World};

const ADDED: GroupId = GroupId(9);

fn open(world: &mut World, engine: EngineKind, birth: &[u64]) {
    let birth = Membership::new(birth.iter().copied().map(NodeId), []);
    let group = GroupConfig { id: ADDED, engine, birth };
    world.node.handle(world.now, NodeInput::Open(group), &mut world.out);
    (0..3).for_each(|_| world.settle(Duration::from_millis(400)));
}

fn running() -> World {
    let mut world = World::new(Disk::default());
    (0..3).for_each(|_| world.settle(Duration::from_millis(400)));
    world
}

fn status(world: &World) -> GroupStatus {
    world.node.status(ADDED).expect("it runs")
}

#[test]
fn a_group_opens_while_the_node_runs_and_serves() {
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        let mut world = running();
        assert!(world.node.status(ADDED).is_none());
        open(&mut world, engine, &[1]);
        assert_eq!(status(&world).engine.role, Role::Leader);
        let (ticket, command) = (Ticket(1), Bytes::from_static(b"what"));
        let before = status(&world).engine.commit;
        world.node.handle(world.now, NodeInput::Propose { group: ADDED, ticket, command }, &mut world.out);
        world.settle(Duration::from_millis(1));
        assert!(status(&world).engine.commit > before, "{engine}");
        let told = |input: &ToState| matches!(input, ToState::Membership { group, .. } if *group == ADDED);
        assert!(world.out.state.iter().any(told));
    }
}

/// A node that crashed after it had opened the group, and perhaps voted in it, goes on from there: the birth is only for one that has nothing yet.
#[test]
fn a_group_that_was_opened_in_an_earlier_life_goes_on_from_the_journal() {
    let mut world = running();
    open(&mut world, EngineKind::Raft, &[1]);
    let before = status(&world).engine;
    let mut world = World::new(std::mem::take(&mut world.disk));
    (0..3).for_each(|_| world.settle(Duration::from_millis(400)));
    assert!(world.node.status(ADDED).is_none(), "the state half has not said so yet");
    open(&mut world, EngineKind::Raft, &[1]);
    let after = status(&world).engine;
    assert!(after.epoch > before.epoch && after.last.index > before.last.index, "{before:?} {after:?}");
}

/// The records are read again and again, and each time they name the group.
#[test]
fn a_group_that_runs_is_not_opened_a_second_time() {
    let mut world = running();
    open(&mut world, EngineKind::Raft, &[1]);
    let before = status(&world).engine;
    for engine in [EngineKind::Raft, EngineKind::Zab] {
        open(&mut world, engine, &[1, 2, 3]);
        assert!(world.node.stopped().is_none(), "{engine:?}");
        let after = status(&world).engine;
        assert_eq!((before.epoch, before.role), (after.epoch, after.role), "{engine:?}");
        assert_eq!(before.membership, after.membership, "{engine:?}");
    }
}

/// A vote under one protocol means nothing to another: rather no group than that one.
#[test]
fn a_group_that_has_promised_something_under_another_protocol_is_not_opened() {
    let mut world = running();
    open(&mut world, EngineKind::Raft, &[1]);
    let mut world = World::new(std::mem::take(&mut world.disk));
    open(&mut world, EngineKind::Zab, &[1]);
    assert!(world.node.stopped().is_some());
}

/// What is said while the journal is still being read is done afterwards.
#[test]
fn a_group_is_opened_once_the_journal_has_been_read() {
    let mut world = World::new(Disk::default());
    open(&mut world, EngineKind::Raft, &[1]);
    assert_eq!(status(&world).engine.role, Role::Leader);
}

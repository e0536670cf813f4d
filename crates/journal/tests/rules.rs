//! One rule a test, by hand.

mod support;

use bytes::Bytes;
use quorate_consensus::{Entry, Epoch, Fetched, GroupId, Index, Payload, Position};
use quorate_journal::{GroupWrite, JournalEvent};
use support::{
    disk::{Crash, Disk},
    world::{World, meta},
};

const ONE: GroupId = GroupId(1);
const TWO: GroupId = GroupId(2);
const THREE: GroupId = GroupId(3);

fn world() -> World {
    let mut disk = Disk::new(1);
    disk.orderly = true;
    let mut world = World::on(disk, 1, support::world::config());
    world.recover();
    world
}

fn settle(world: &mut World) -> Vec<JournalEvent> {
    let mut events = Vec::new();
    world.journal.flush();
    world.disk.submit(world.journal.operations());
    while let Some(completion) = world.disk.step() {
        world.journal.complete(completion, &mut events);
        world.disk.submit(world.journal.operations());
    }
    events
}

fn fill(world: &mut World, group: GroupId, indices: std::ops::RangeInclusive<u64>) {
    for index in indices {
        let entries = vec![Entry::new(Epoch(1), Index(index), Payload::Command(Bytes::from(vec![7; 500])))];
        world.write(group, GroupWrite { entries, ..GroupWrite::default() });
        settle(world);
    }
}

fn snapshot(
    world: &mut World,
    group: GroupId,
    at: Position,
    make_current: bool,
) -> quorate_journal::SnapshotId {
    let id = world.journal.begin_snapshot(group, meta(at));
    support::world::pieces(group, at).into_iter().for_each(|piece| world.journal.write_chunk(id, piece));
    world.journal.finish_snapshot(id, make_current);
    id
}

fn segments(world: &World) -> usize {
    world.disk.files().keys().filter(|name| name.ends_with(".seg")).count()
}

/// L02: three groups in one log. Group 1 holds an entry in the first segment; group 2 votes once, in a later one, in which soon nothing else lives;
/// group 3 moves on. The vote must survive every segment that goes.
#[test]
fn a_vote_survives_the_segment_that_it_was_written_to() {
    let mut world = world();
    fill(&mut world, ONE, 1..=12);
    world.write(TWO, GroupWrite { hard_state: Some(Bytes::from_static(b"vote")), ..GroupWrite::default() });
    fill(&mut world, THREE, 1..=60);
    snapshot(&mut world, THREE, Position::new(1, 55), true);
    settle(&mut world);
    world.journal.compact(THREE, Position::new(1, 55));
    settle(&mut world);
    world.disk.crash(Crash::Power);
    world.restart();
    world.recover();
    assert_eq!(world.damaged, None);
    assert_eq!(world.journal.group(TWO).unwrap().hard_state.as_deref(), Some(&b"vote"[..]));
    assert_eq!(world.journal.group(ONE).unwrap().last, Position::new(1, 12));
}

/// An idle group keeps no old segment: what little lives in the oldest is copied forward, and reads as before.
#[test]
fn an_idle_group_does_not_keep_old_segments() {
    let mut world = world();
    fill(&mut world, ONE, 1..=1);
    for round in 1..=20 {
        fill(&mut world, TWO, (round * 20 - 19)..=(round * 20));
        let to = Position::new(1, round * 20);
        snapshot(&mut world, TWO, to, true);
        settle(&mut world);
        world.journal.compact(TWO, to);
        settle(&mut world);
        assert!(segments(&world) <= 6, "{} segments in round {round}", segments(&world));
    }
    world.disk.crash(Crash::Power);
    world.restart();
    world.recover();
    assert!(
        matches!(world.read_now(ONE, Index(1), Index(1)), Fetched::Entries(entries) if entries.len() == 1)
    );
    assert_eq!(world.journal.group(TWO).unwrap().compacted, Position::new(1, 400));
}

/// D14: a leader's snapshot is refused whose position is that of this node's own; the own one's file stays.
#[test]
fn a_refused_snapshot_does_not_take_the_current_one_of_its_position_with_it() {
    let mut world = world();
    fill(&mut world, ONE, 1..=5);
    let at = Position::new(1, 5);
    let staged = snapshot(&mut world, ONE, at, false);
    settle(&mut world);
    snapshot(&mut world, ONE, at, true);
    settle(&mut world);
    world.journal.abort_snapshot(staged);
    settle(&mut world);
    assert!(world.disk.files().keys().any(|name| name.ends_with(".snap")));
    world.disk.crash(Crash::Power);
    world.restart();
    world.recover();
    assert_eq!(world.damaged, None);
    assert_eq!(world.journal.group(ONE).unwrap().snapshot, Some(meta(at)));
}

/// D03: this node's own snapshot at 3 is finished just when a leader's at 9 is installed; the older one must not become current after it.
#[test]
fn an_own_snapshot_that_was_overtaken_does_not_become_current() {
    let mut world = world();
    fill(&mut world, ONE, 1..=5);
    let staged = snapshot(&mut world, ONE, Position::new(2, 9), false);
    settle(&mut world);
    let own = snapshot(&mut world, ONE, Position::new(1, 3), true);
    world.journal.install_snapshot(ONE, staged, false);
    let events = settle(&mut world);
    assert!(
        events.iter().any(|event| matches!(event, JournalEvent::SnapshotFailed { id, .. } if *id == own))
    );
    world.disk.crash(Crash::Power);
    world.restart();
    world.recover();
    let state = world.journal.group(ONE).unwrap();
    assert_eq!(state.snapshot, Some(meta(Position::new(2, 9))));
    assert_eq!((state.compacted, state.last), (Position::new(2, 9), Position::new(2, 9)));
}

/// D05: nothing is compacted that no durable snapshot covers.
#[test]
fn compaction_without_a_snapshot_is_refused() {
    let mut world = world();
    fill(&mut world, ONE, 1..=5);
    world.journal.compact(ONE, Position::new(1, 3));
    settle(&mut world);
    assert_eq!(world.journal.group(ONE).unwrap().compacted, Position::ZERO);
}

/// {1 to 6 of epoch 1 on the disk, 6 of epoch 2 queued}: the old 6 is not handed out. A follower that learns by one message that its 6 is another
/// leader's and committed would apply it.
#[test]
fn what_a_queued_write_replaces_is_not_read() {
    let mut world = world();
    fill(&mut world, ONE, 1..=6);
    let entries = vec![Entry::new(Epoch(2), Index(6), Payload::Noop)];
    let write = GroupWrite { truncate_from: Some(Index(6)), entries, ..GroupWrite::default() };
    world.journal.append(ONE, write);
    world.journal.read(ONE, Index(6), Index(6), u64::MAX);
    // The answer comes while the write still waits.
    world.disk.submit(world.journal.operations());
    let mut events = Vec::new();
    while let Some(completion) = world.disk.step() {
        world.journal.complete(completion, &mut events);
    }
    let old = |event: &JournalEvent| matches!(event, JournalEvent::Read { outcome: Fetched::Entries(_), .. });
    assert!(!events.iter().any(old), "{events:?}");
}

/// A piece that is too long, as a broken peer might send, fails its snapshot and nothing else.
#[test]
fn a_piece_that_is_too_long_fails_its_snapshot() {
    let mut world = world();
    fill(&mut world, ONE, 1..=2);
    let id = world.journal.begin_snapshot(ONE, meta(Position::new(1, 2)));
    world.journal.write_chunk(id, Bytes::from(vec![1; 65_537]));
    world.journal.finish_snapshot(id, true);
    let events = settle(&mut world);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, JournalEvent::SnapshotFailed { id: failed, .. } if *failed == id))
    );
    assert_eq!(world.journal.group(ONE).unwrap().snapshot, None);
}

/// A checkpoint longer than a segment, or a write that is: every segment takes at least one batch, and nothing spins.
#[test]
fn what_is_longer_than_a_segment_is_written_all_the_same() {
    let mut world = world();
    let big =
        |index| vec![Entry::new(Epoch(1), Index(index), Payload::Command(Bytes::from(vec![3; 20_000])))];
    world.write(ONE, GroupWrite { hard_state: Some(Bytes::from(vec![9; 9_000])), ..GroupWrite::default() });
    for index in 1..=5 {
        let token = world.write(ONE, GroupWrite { entries: big(index), ..GroupWrite::default() });
        let events = settle(&mut world);
        assert!(events.contains(&JournalEvent::Durable { token }));
    }
    world.disk.crash(Crash::Power);
    world.restart();
    world.recover();
    assert_eq!(world.damaged, None);
    assert!(
        matches!(world.read_now(ONE, Index(5), Index(5)), Fetched::Entries(entries) if entries == big(5))
    );
}

//! Each planted bug is found by the test that is there for it, and was really reached.
#![cfg(feature = "planted-bugs")]

mod support;

use bytes::Bytes;
use quorate_consensus::{DiskRequest, Entry, Epoch, GroupId, Index, Payload, Position, hunt_plant};
use quorate_journal::{GroupWrite, Journal, JournalEvent};
use support::{
    disk::Disk,
    world::{World, config, identity, meta, run},
};

/// Lives that end in crashes, seed after seed.
fn found_by_crashes(plant: &str, checker: &str, prepare: impl Fn(&mut World, u64) + Copy) {
    hunt_plant(plant, checker, 0..2000, |seed| drop(run(seed, 12, prepare)));
}

#[test]
fn f01_a_sync_left_out_is_found() {
    found_by_crashes("F01", "I13", |_, _| {});
}

#[test]
fn f02_a_failed_sync_that_is_ignored_is_found() {
    found_by_crashes("F02", "I15", |world, _| world.disk.fail_sync = Some(world.random.below(20)));
}

#[test]
fn f08_a_directory_that_is_not_synced_is_found() {
    found_by_crashes("F08", "I17", |_, _| {});
}

#[test]
fn b07_a_truncation_apart_from_its_append_is_found() {
    found_by_crashes("B07", "I13", |_, _| {});
}

#[test]
fn l01_b23_a_token_of_the_next_batch_that_is_acknowledged_is_found() {
    found_by_crashes("L01", "I15", |_, _| {});
}

#[test]
fn d01_a_snapshot_that_is_named_before_it_is_there_is_found() {
    found_by_crashes("D01", "I17", |_, _| {});
}

fn rest(journal: &mut Journal, disk: &mut Disk) -> Vec<JournalEvent> {
    let mut events = Vec::new();
    disk.orderly = true;
    loop {
        disk.submit(journal.operations());
        match disk.step() {
            Some(completion) => journal.complete(completion, &mut events),
            None if journal.wants_mark() => journal.mark(),
            None => return events,
        }
    }
}

/// A journal with three batches of one entry each.
fn three_batches() -> (Journal, Disk) {
    let mut disk = Disk::new(1);
    let mut journal = Journal::open(config(), identity());
    rest(&mut journal, &mut disk);
    for index in 1..=3 {
        let entries =
            vec![Entry::new(Epoch(1), Index(index), Payload::Command(Bytes::from_static(b"an entry")))];
        journal.append(GroupId(1), GroupWrite { entries, ..GroupWrite::default() });
        journal.flush();
        rest(&mut journal, &mut disk);
    }
    (journal, disk)
}

/// Flips a bit of the first entry: synced long ago. Says whether it was found.
fn flip_is_found(bit_of: &[u8], back: usize) -> bool {
    let (_, disk) = three_batches();
    let mut files = disk.files();
    let content = files.values_mut().next().unwrap();
    let at = content.windows(bit_of.len()).position(|window| window == bit_of).unwrap();
    content[at - back] ^= 1;
    let mut disk = Disk::with_files(1, &files);
    let events = rest(&mut Journal::open(config(), identity()), &mut disk);
    events.iter().any(|event| matches!(event, JournalEvent::Damaged(_)))
}

/// A bit of the first entry flips: it was synced long ago, and more was after it.
#[test]
fn f04_damage_taken_for_a_torn_tail_is_found() {
    hunt_plant("F04", "I17", [()], |()| assert!(flip_is_found(b"an entry", 0)));
}

/// {A write becomes a mark by one changed byte}: the frame is believed, and the entry is gone.
#[test]
fn f05_a_checksum_that_leaves_out_the_header_is_found() {
    // Before the entry's text stand its length, kind, index and epoch; their count; no truncation; no hard state; the group; then the frame's kind.
    let kind = 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1;
    hunt_plant("F05", "I17", [()], |()| {
        let (_, disk) = three_batches();
        let mut files = disk.files();
        let content = files.values_mut().next().unwrap();
        let at = content.windows(8).position(|window| window == b"an entry").unwrap();
        content[at - kind] = 4;
        let mut disk = Disk::with_files(1, &files);
        let events = rest(&mut Journal::open(config(), identity()), &mut disk);
        // What such a checksum lets through, the order of the log still stops: entry 2 does not follow upon nothing. But it comes to that.
        let damage = events.iter().find_map(|event| match event {
            JournalEvent::Damaged(report) => Some(report.what.clone()),
            _ => None,
        });
        assert!(!damage.expect("it is noticed").contains("does not fit"));
    });
}

#[test]
fn d05_a_log_compacted_before_its_snapshot_is_durable_is_found() {
    hunt_plant("D05", "I17", [()], |()| {
        let (mut journal, mut disk) = three_batches();
        let id = journal.begin_snapshot(GroupId(1), meta(Position::new(1, 2)));
        journal.write_chunk(id, Bytes::from_static(b"state"));
        journal.compact(GroupId(1), Position::new(1, 2));
        journal.flush();
        rest(&mut journal, &mut disk);
        disk.now(DiskRequest::FreeSpace);
        assert_eq!(journal.group(GroupId(1)).unwrap().compacted.index, Index(0));
    });
}

//! Each planted bug is found by the test that is there for it, and was really reached.
#![cfg(feature = "planted-bugs")]

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskError, DiskErrorKind, DiskOperation, DiskOutcome, DiskRequest, Entry, Epoch, Fetched,
    GroupId, Index, Payload, Position, hunt_plant,
};
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

#[test]
fn f09_zeros_that_pass_for_a_record_are_found() {
    found_by_crashes("F09", "I17", |_, _| {});
}

/// {A snapshot's file is removed when the next one is there, and the power fails before the log says so}: the log names a file that is gone.
#[test]
fn f19_a_log_that_names_a_snapshot_that_was_replaced_is_found() {
    found_by_crashes("F19", "I17", |_, _| {});
}

/// What a new segment takes over leaves the hard states out: with the old segment, epoch and vote are gone.
#[test]
fn f24_an_epoch_that_a_new_segment_does_not_take_over_is_found() {
    found_by_crashes("F24", "Z1", |_, _| {});
}

#[test]
fn l02_a_segment_that_one_group_does_not_need_and_another_does_is_found() {
    found_by_crashes("L02", "I17", |_, _| {});
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
    batches(None)
}

/// The same; but one of the writes is lost, although the disk says that it is done.
fn batches(lost: Option<u64>) -> (Journal, Disk) {
    let mut disk = Disk::new(1);
    let mut journal = Journal::open(config(), identity());
    rest(&mut journal, &mut disk);
    for index in 1..=3 {
        let entries =
            vec![Entry::new(Epoch(1), Index(index), Payload::Command(Bytes::from_static(b"an entry")))];
        journal.append(GroupId(1), GroupWrite { entries, ..GroupWrite::default() });
        journal.flush();
        if lost == Some(index) {
            for DiskOperation { id, .. } in journal.operations() {
                journal.complete(DiskCompletion { id, outcome: Ok(DiskOutcome::Done) }, &mut Vec::new());
            }
        }
        rest(&mut journal, &mut disk);
    }
    (journal, disk)
}

/// Frames of a segment: where each begins, and what it is all in all.
fn frames(content: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let (mut at, mut frames) = (0, Vec::new());
    while let Some(header) = content.get(at..at + 25).filter(|header| header[8..16] != [0; 8]) {
        let end = at + 25 + u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        frames.push((at, content[at..end].to_vec()));
        at = end;
    }
    frames
}

/// A frame at `offset` of segment `sequence`, as the journal writes it.
fn framed(sequence: u64, offset: usize, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_le_bytes().to_vec();
    frame.extend([0; 4]);
    frame.extend(sequence.to_le_bytes());
    frame.extend((offset as u64).to_le_bytes());
    frame.push(kind);
    frame.extend(payload);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..4]);
    hasher.update(&frame[8..]);
    frame[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
    frame
}

/// Three entries were acknowledged: they are there, or it is said that they are not.
fn nothing_is_silently_lost(files: &BTreeMap<String, Vec<u8>>) {
    let mut disk = Disk::with_files(1, files);
    let mut journal = Journal::open(config(), identity());
    let events = rest(&mut journal, &mut disk);
    let said = events.iter().any(|event| matches!(event, JournalEvent::Damaged(_)));
    let last = journal.group(GroupId(1)).map(|group| group.last.index);
    assert!(said || last == Some(Index(3)), "{last:?} is the last, and nothing is said");
}

/// The second entry's write goes to where the third's should.
#[test]
fn f06_a_record_in_the_wrong_place_that_is_believed_is_found() {
    hunt_plant("F06", "I17", [()], |()| {
        let (_, disk) = three_batches();
        let mut files = disk.files();
        let content = files.values_mut().next().unwrap();
        let of_entries = |(_, frame): &(usize, Vec<u8>)| frame.ends_with(b"an entry");
        let writes: Vec<_> = frames(content).into_iter().filter(of_entries).collect();
        let (at, second) = (writes[2].0, &writes[1].1);
        content[at..at + second.len()].copy_from_slice(second);
        nothing_is_silently_lost(&files);
    });
}

/// The disk says that it wrote the second entry, and wrote nothing.
#[test]
fn f07_a_lost_write_that_passes_for_the_end_is_found() {
    hunt_plant("F07", "I17", [()], |()| {
        let (_, disk) = batches(Some(2));
        nothing_is_silently_lost(&disk.files());
    });
}

/// {Two groups' hard states in one batch, never synced, and the first torn; the next life, on a full disk, writes another in its place}: what is behind
/// it must not come back. Of any length, for one of them is as long as what was torn.
#[test]
fn f10_what_an_earlier_life_left_behind_the_end_is_found() {
    let state = |length: usize| GroupWrite {
        hard_state: Some(Bytes::from(vec![7; length])),
        ..GroupWrite::default()
    };
    hunt_plant("F10", "I17", 50..150, |length| {
        let mut disk = Disk::new(1);
        let mut journal = Journal::open(config(), identity());
        rest(&mut journal, &mut disk);
        journal.append(GroupId(1), state(100));
        journal.append(GroupId(2), state(50));
        journal.flush();
        journal.operations().into_iter().for_each(|operation| drop(disk.now(operation.request)));
        let mut files = disk.files();
        files.remove("log/reserve");
        let content = files.values_mut().next().unwrap();
        let torn = content.windows(50).position(|window| window == [7; 50]).unwrap();
        content[torn] = 0;
        let mut disk = Disk::with_files(1, &files);
        disk.space = files.values().map(Vec::len).sum();
        let mut journal = Journal::open(config(), identity());
        rest(&mut journal, &mut disk);
        assert!(journal.group(GroupId(2)).is_none());
        journal.append(GroupId(1), state(length));
        journal.flush();
        journal.operations().into_iter().for_each(|operation| drop(disk.now(operation.request)));
        let mut disk = Disk::with_files(1, &disk.files());
        let mut journal = Journal::open(config(), identity());
        rest(&mut journal, &mut disk);
        assert!(journal.group(GroupId(2)).is_none(), "what was gone is back");
        assert_eq!(journal.group(GroupId(1)).unwrap().hard_state.as_ref().map(Bytes::len), Some(length));
    });
}

/// {The disk has no room for one group's snapshot}: the others vote and write as before.
#[test]
fn f15_one_groups_trouble_with_the_disk_that_ends_the_others_is_found() {
    hunt_plant("F15", "I20", [()], |()| {
        let (mut journal, mut disk) = three_batches();
        disk.space = disk.files().values().map(Vec::len).sum();
        let id = journal.begin_snapshot(GroupId(1), meta(Position::new(1, 2)));
        journal.write_chunk(id, Bytes::from_static(b"more than there is room for"));
        journal.finish_snapshot(id, true);
        let events = rest(&mut journal, &mut disk);
        let given_up = |event: &JournalEvent| matches!(event, JournalEvent::SnapshotFailed { .. });
        assert!(events.iter().any(given_up), "{events:?}");
        let hard_state = Some(Bytes::from_static(b"a vote"));
        let token = journal.append(GroupId(2), GroupWrite { hard_state, ..GroupWrite::default() });
        journal.flush();
        assert!(rest(&mut journal, &mut disk).contains(&JournalEvent::Durable { token }));
    });
}

/// An entry's byte changes while the node runs.
#[test]
fn f22_a_read_that_is_not_checked_is_found() {
    hunt_plant("F22", "I10", [()], |()| {
        let (mut journal, mut disk) = three_batches();
        let (path, content) = disk.files().pop_first().unwrap();
        let at = content.windows(8).position(|window| window == b"an entry").unwrap() as u64;
        let pieces = vec![Bytes::from_static(b"AN")];
        disk.now(DiskRequest::WriteAt { path: path.into(), offset: at, pieces });
        journal.read(GroupId(1), Index(1), Index(3), 1 << 20);
        let events = rest(&mut journal, &mut disk);
        assert!(events.iter().any(|event| matches!(event, JournalEvent::Damaged(_))));
        let read = |event| match event {
            JournalEvent::Read { outcome: Fetched::Entries(entries), .. } => entries,
            _ => Vec::new(),
        };
        let entry = Payload::Command(Bytes::from_static(b"an entry"));
        assert!(events.into_iter().flat_map(read).all(|read| read.payload == entry));
    });
}

/// {A header that says how long the segment before is: longer than any disk}: nobody asks for more than is there.
#[test]
fn f23_a_length_that_is_believed_before_it_is_looked_at_is_found() {
    hunt_plant("F23", "I22", [()], |()| {
        let (_, disk) = three_batches();
        let mut disk = Disk::with_files(1, &disk.files());
        rest(&mut Journal::open(config(), identity()), &mut disk);
        let mut files = disk.files();
        let (name, content) = files.iter_mut().rfind(|(name, _)| name.ends_with(".seg")).unwrap();
        let sequence = u64::from_str_radix(&name[4..20], 16).unwrap();
        let found = frames(content);
        // Version, identity, how many, which, and then its length.
        let mut header = found[0].1[25..25 + 27].to_vec();
        header.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        let mut forged = framed(sequence, 0, found[0].1[24], &header);
        forged.extend(framed(sequence, forged.len(), found[1].1[24], &found[1].1[25..]));
        content.fill(0);
        content[..forged.len()].copy_from_slice(&forged);
        let longest = files.values().map(Vec::len).max().unwrap().max(64 << 10) as u64;
        let mut disk = Disk::with_files(1, &files);
        let mut journal = Journal::open(config(), identity());
        let mut events = Vec::new();
        while events.is_empty() {
            let operations = journal.operations();
            assert!(!operations.is_empty(), "it comes to nothing");
            for operation in operations {
                if let DiskRequest::Read { length, .. } = operation.request {
                    assert!(length <= longest, "{length} bytes are asked for");
                }
                let outcome = disk.now(operation.request).outcome;
                journal.complete(DiskCompletion { id: operation.id, outcome }, &mut events);
            }
        }
        assert!(matches!(events[..], [JournalEvent::Damaged(_)]), "{events:?}");
    });
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

/// The second entry's byte changes in a segment that another follows: the node knows that it is damaged, and takes part in nothing.
#[test]
fn f20_a_damaged_log_that_counts_for_what_is_left_of_it_is_found() {
    hunt_plant("F20", "I13", [()], |()| {
        let (_, disk) = three_batches();
        let mut disk = Disk::with_files(1, &disk.files());
        rest(&mut Journal::open(config(), identity()), &mut disk);
        let mut files = disk.files();
        let segments = || files.iter().filter(|(name, _)| name.ends_with(".seg"));
        assert_eq!(segments().count(), 2);
        let name = segments().next().unwrap().0.clone();
        let content = files.get_mut(&name).unwrap();
        let entries = (0..content.len()).filter(|at| content[*at..].starts_with(b"an entry"));
        let second = entries.collect::<Vec<_>>()[1];
        content[second] ^= 1;
        nothing_is_silently_lost(&files);
    });
}

/// {The newest snapshot's file is gone, or empty}: the node says so, and does not begin with an empty state.
#[test]
fn d13_a_snapshot_that_is_not_there_and_passes_for_an_empty_state_is_found() {
    hunt_plant("D13", "I17", [None, Some(Vec::new())], |left| {
        let (mut journal, mut disk) = three_batches();
        let at = Position::new(1, 2);
        let id = journal.begin_snapshot(GroupId(1), meta(at));
        journal.write_chunk(id, Bytes::from_static(b"state"));
        journal.finish_snapshot(id, true);
        rest(&mut journal, &mut disk);
        journal.compact(GroupId(1), at);
        journal.flush();
        rest(&mut journal, &mut disk);
        assert_eq!(journal.group(GroupId(1)).unwrap().compacted, at);
        let mut files = disk.files();
        let name = files.keys().find(|name| name.ends_with(".snap")).unwrap().clone();
        files.remove(&name);
        files.extend(left.map(|content| (name, content)));
        let mut disk = Disk::with_files(1, &files);
        let events = rest(&mut Journal::open(config(), identity()), &mut disk);
        assert!(matches!(events[..], [JournalEvent::Damaged(_)]), "{events:?}");
    });
}

/// {An entry that is longer than a segment, and no room on the disk to make its segment longer}: it waits, and is not acknowledged.
#[test]
fn f13_a_full_disk_that_passes_for_a_write_that_was_done_is_found() {
    hunt_plant("F13", "I15", [()], |()| {
        let (mut journal, mut disk) = three_batches();
        disk.space = disk.files().values().map(Vec::len).sum();
        let payload = Payload::Command(Bytes::from(vec![7; 2 * config().segment_bytes as usize]));
        let entries = vec![Entry::new(Epoch(1), Index(4), payload)];
        let token = journal.append(GroupId(1), GroupWrite { entries, ..GroupWrite::default() });
        journal.flush();
        let events = rest(&mut journal, &mut disk);
        assert!(!events.contains(&JournalEvent::Durable { token }), "it is not on the disk");
        assert_eq!(events, [JournalEvent::Full], "a full disk is an answer");
    });
}

/// {One read of the start ends with an error of input and output}: the node does not start, above all not with what it has not read as if it were not
/// there.
#[test]
fn f16_an_unreadable_log_that_passes_for_an_absent_one_is_found() {
    hunt_plant("F16", "I13", 0..4, |failing| {
        let (_, disk) = three_batches();
        let mut disk = Disk::with_files(1, &disk.files());
        disk.orderly = true;
        let mut journal = Journal::open(config(), identity());
        let (mut reads, mut events) = (0, Vec::new());
        while events.is_empty() {
            for DiskOperation { id, request } in journal.operations() {
                let reading = matches!(request, DiskRequest::List { .. } | DiskRequest::Read { .. });
                reads += u32::from(reading);
                let broken =
                    || DiskError { kind: DiskErrorKind::Failed, message: "input/output error".into() };
                let outcome = match reading && reads == failing + 1 {
                    true => Err(broken()),
                    false => disk.now(request).outcome,
                };
                journal.complete(DiskCompletion { id, outcome }, &mut events);
            }
        }
        assert!(reads > failing, "there are no more than {reads} reads");
        assert!(matches!(events[..], [JournalEvent::Failed(_)]), "{events:?}");
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

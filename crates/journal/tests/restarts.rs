//! Restarts do not eat the disk, and what they begin and cut loses nothing.

mod support;

use bytes::Bytes;
use quorate_consensus::{DiskRequest, Entry, Epoch, GroupId, Index, Payload};
use quorate_journal::GroupWrite;
use support::{
    disk::{Crash, Disk},
    world::{World, config},
};

const ONE: GroupId = GroupId(1);

fn write(world: &mut World, bytes: usize) {
    let last = world.now.get(&ONE).map(|model| model.last().index).unwrap_or_default();
    let payload = Payload::Command(Bytes::from(vec![last.0 as u8; bytes]));
    let entries = vec![Entry::new(Epoch(world.epoch), last.next(), payload)];
    let hard_state = Some(Bytes::from(last.0.to_le_bytes().to_vec()));
    world.write(ONE, GroupWrite { hard_state, entries, ..GroupWrite::default() });
    world.journal.flush();
    world.settle();
}

/// After `first` entries of 700 bytes each, 1,000 starts with one small entry each. The most files and bytes that there were.
fn thousand_starts(first: usize) -> (usize, u64, World) {
    let mut disk = Disk::new(1);
    disk.orderly = true;
    let mut world = World::on(disk, 1, config());
    world.recover();
    (0..first).for_each(|_| write(&mut world, 700));
    let (mut files_max, mut bytes_max) = (0, 0);
    for start in 0..1000u64 {
        write(&mut world, 10);
        let how = if start % 3 == 0 { Crash::Process } else { Crash::Power };
        world.crash_and_check(how);
        world.settle();
        let files = world.disk.files();
        files_max = files_max.max(files.len());
        bytes_max = bytes_max.max(files.values().map(|content| content.len() as u64).sum());
    }
    (files_max, bytes_max, world)
}

#[test]
fn a_thousand_starts_keep_the_disk_as_it_was() {
    let (files, bytes, mut world) = thousand_starts(0);
    let live = 1000 * 80;
    println!("{files} files, {bytes} bytes");
    // A segment being written, one in reserve, and what lives, with its checkpoints.
    assert!(files <= 16 + 2 + 2 * live / 8192, "{files} files");
    assert!(bytes <= (2 * 8192 + 3 * live) as u64, "{bytes} bytes");
    assert_eq!(world.journal.group(ONE).unwrap().last.index, Index(1000));
    world.crash_and_check(Crash::Power);
}

/// {Three segments full of entries, and then 1,000 restarts with one entry each}: the full ones hold all behind them until they are copied.
#[test]
fn a_thousand_starts_behind_full_segments_keep_the_disk_as_it_was() {
    let (files, bytes, world) = thousand_starts(40);
    let live = 40 * 800 + 1000 * 80;
    println!("{files} files, {bytes} bytes");
    assert!(files <= 16 + 4 + 2 * live / 8192, "{files} files");
    assert!(bytes <= (2 * 8192 + 3 * live) as u64, "{bytes} bytes");
    assert_eq!(world.journal.group(ONE).unwrap().last.index, Index(1040));
}

/// A segment that is full when the next one begins, and one that is abandoned by a crash, end where their seals do.
#[test]
fn what_a_segment_does_not_use_is_given_back() {
    let mut disk = Disk::new(1);
    disk.orderly = true;
    let mut world = World::on(disk, 1, config());
    world.recover();
    write(&mut world, 5_000);
    world.crash_and_check(Crash::Power);
    world.settle();
    write(&mut world, 5_000);
    write(&mut world, 7_000);
    let files = world.disk.files();
    let lengths: Vec<usize> =
        files.iter().filter(|(name, _)| name.ends_with(".seg")).map(|(_, content)| content.len()).collect();
    assert!(lengths.len() >= 3, "{lengths:?}");
    assert!(lengths[..lengths.len() - 1].iter().all(|length| *length < 6_500), "{lengths:?}");
    world.crash_and_check(Crash::Power);
}

/// {The power fails when only the header of the second segment is on the disk, which then is full: the second goes on without room for a third; later there is
/// room, and nothing lives in the first any more}: the second stands by itself then, so it must have got the checkpoint that it never had.
#[test]
fn a_segment_that_goes_on_without_its_checkpoint_gets_it_first() {
    const FIRST: &str = "log/0000000000000001.seg";
    const SECOND: &str = "log/0000000000000002.seg";
    let mut disk = Disk::new(1);
    disk.orderly = true;
    let mut world = World::on(disk, 1, config());
    world.recover();
    (0..3).for_each(|_| write(&mut world, 100));
    world.crash_and_check(Crash::Process);
    world.settle();
    let second = world.disk.files()[SECOND].clone();
    let header = 25 + u32::from_le_bytes(second[..4].try_into().unwrap()) as usize;
    let torn = Bytes::from(vec![0; second.len() - header]);
    world.disk.now(DiskRequest::WriteAt { path: SECOND.into(), offset: header as u64, pieces: vec![torn] });
    world.disk.now(DiskRequest::Remove { path: "log/reserve".into() });
    world.disk.full_while = 0..u64::MAX;
    world.crash_and_check(Crash::Process);
    assert!(world.full && !world.disk.files().contains_key("log/0000000000000003.seg"));
    (0..3).for_each(|_| write(&mut world, 1000));
    world.disk.full_while = 0..0;
    world.journal.retry_reserve();
    for _ in 0..100 {
        write(&mut world, 200);
        if !world.disk.files().contains_key(FIRST) {
            break;
        }
    }
    assert!(!world.disk.files().contains_key(FIRST), "what lived in the first has moved");
    assert!(world.disk.files().contains_key(SECOND), "what lives in the second has not");
    world.crash_and_check(Crash::Process);
}

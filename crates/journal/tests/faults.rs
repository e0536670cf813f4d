//! Failing syncs, full disks, damaged and hostile bytes.

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskError, DiskErrorKind, DiskRequest, Entry, Epoch, Fetched, GroupId, Index, Payload,
    Position, Random,
};
use quorate_journal::{Config, GroupWrite, Journal, JournalEvent, SnapshotPiece};
use support::{
    disk::{Crash, Disk},
    world::{World, identity, meta, run},
};

#[test]
fn f02_a_failed_sync_is_final_and_what_it_lost_was_never_promised() {
    let mut failed = 0;
    for seed in 0..400 {
        let mut world = World::new(seed);
        world.recover();
        for life in 0..6 {
            world.disk.fail_sync = Some(world.random.below(20));
            for _ in 0..400 {
                if world.failed {
                    break;
                }
                if world.random.chance(1, 4) {
                    world.act();
                } else {
                    world.step();
                }
            }
            if world.failed {
                failed += 1;
                // Nothing more is done, whatever the disk says next.
                let before = world.durable;
                world.journal.flush();
                world.settle();
                assert_eq!(world.durable, before);
            }
            world.disk.fail_sync = None;
            let how = if life % 2 == 0 { Crash::Process } else { Crash::Power };
            world.crash_and_check(how);
        }
    }
    assert!(failed > 300, "only {failed} syncs failed");
}

#[test]
fn f13_a_full_disk_is_an_answer_and_votes_still_fit() {
    let group = GroupId(1);
    let mut world = World::new(1);
    world.recover();
    world.settle();
    // Room for the segment and the reserve that are there, and nothing else.
    world.disk.space = world.disk.files().values().map(Vec::len).sum::<usize>() + 100;
    let mut next = 1;
    while !world.full {
        assert!(next < 1000, "the disk is never said to be full");
        let payload = Payload::Command(Bytes::from(vec![1; 200]));
        let entries = vec![Entry::new(Epoch(1), Index(next), payload)];
        world.write(group, GroupWrite { entries, ..GroupWrite::default() });
        world.journal.flush();
        world.settle();
        next += 1;
    }
    let token = world
        .write(group, GroupWrite { hard_state: Some(Bytes::from_static(b"vote")), ..GroupWrite::default() });
    world.journal.flush();
    world.settle();
    assert!(world.durable >= token && !world.failed, "a vote must fit");
    // However much comes, it waits; it never fails.
    let mut token = token;
    for _ in 0..100 {
        let payload = Payload::Command(Bytes::from(vec![2; 700]));
        let entries = vec![Entry::new(Epoch(1), Index(next), payload)];
        token = world.write(group, GroupWrite { entries, ..GroupWrite::default() });
        world.journal.flush();
        world.settle();
        next += 1;
    }
    assert!(world.durable < token && !world.failed && world.full);
    world.disk.space = usize::MAX;
    world.journal.retry_reserve();
    world.settle();
    assert!(world.durable >= token && !world.full, "space is back, and what waited is durable");
    world.crash_and_check(Crash::Power);
}

#[test]
fn f13_full_disks_lose_nothing() {
    let mut full = 0;
    for seed in 1000..1200 {
        run(seed, 1, |_, _| {});
        let mut world = World::new(seed);
        world.recover();
        world.disk.space = world.disk.files().values().map(Vec::len).sum::<usize>() + 20_000;
        for _ in 0..3000 {
            if world.random.chance(1, 4) {
                world.act();
            } else {
                world.step();
            }
            full += u32::from(world.full);
        }
        assert!(!world.failed, "seed {seed}: a full disk is no failure");
        world.disk.space = usize::MAX;
        world.crash_and_check(Crash::Power);
    }
    assert!(full > 0);
}

fn small() -> Config {
    Config { segment_bytes: 1200, ..Config::default() }
}

/// Runs the journal on an orderly disk until it rests.
fn rest(journal: &mut Journal, disk: &mut Disk, events: &mut Vec<JournalEvent>) {
    disk.orderly = true;
    for _ in 0..10_000 {
        disk.submit(journal.operations());
        match disk.step() {
            Some(completion) => journal.complete(completion, events),
            None if journal.wants_mark() => journal.mark(),
            None => return,
        }
    }
    panic!("the journal never comes to rest");
}

type Found = BTreeMap<u64, (Option<Bytes>, Position, Vec<Entry>)>;

/// A small data directory, and what it says.
fn small_directory() -> (BTreeMap<String, Vec<u8>>, Found) {
    let mut disk = Disk::new(1);
    let mut journal = Journal::open(small(), identity());
    let mut events = Vec::new();
    rest(&mut journal, &mut disk, &mut events);
    for index in 1..=16u64 {
        let group = GroupId(1 + index % 2);
        let at = index.div_ceil(2);
        let entries =
            vec![Entry::new(Epoch(index), Index(at), Payload::Command(Bytes::from(vec![index as u8; 20])))];
        let hard_state = Some(Bytes::from(vec![index as u8; 8]));
        journal.append(group, GroupWrite { hard_state, truncate_from: None, entries });
        journal.flush();
        rest(&mut journal, &mut disk, &mut events);
        if index == 12 {
            let id = journal.begin_snapshot(group, meta(Position::new(index - 2, 5)));
            journal.write_chunk(id, Bytes::from_static(b"one"));
            journal.write_chunk(id, Bytes::from_static(b"two"));
            journal.finish_snapshot(id, true);
            rest(&mut journal, &mut disk, &mut events);
        }
        if index == 13 {
            journal.compact(GroupId(1), Position::new(4, 2));
        }
    }
    assert!(!events.iter().any(|event| matches!(event, JournalEvent::Failed(_) | JournalEvent::Damaged(_))));
    let all = found(&mut journal, &mut disk).unwrap();
    (disk.files(), all)
}

/// What a journal gives back: `None` if it says that it is damaged.
fn found(journal: &mut Journal, disk: &mut Disk) -> Option<Found> {
    let mut found = Found::new();
    for group in [GroupId(1), GroupId(2)] {
        let Some(state) = journal.group(group).cloned() else { continue };
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = state.compacted.index.next();
        while next <= state.last.index {
            let token = journal.read(group, next, state.last.index, 1 << 20);
            let mut events = Vec::new();
            rest(journal, disk, &mut events);
            let damaged = events.iter().any(|event| matches!(event, JournalEvent::Damaged(_)));
            let read = events.into_iter().find_map(|event| match event {
                JournalEvent::Read { token: t, outcome, .. } if t == token => Some(outcome),
                _ => None,
            });
            match read.expect("every read is answered") {
                Fetched::Entries(more) => {
                    entries.extend(more);
                    next = entries.last().map_or(next, |entry| entry.position.index.next());
                }
                Fetched::Failed if damaged => return None,
                other => panic!("{other:?}"),
            }
        }
        found.insert(group.0, (state.hard_state, state.compacted, entries));
    }
    Some(found)
}

fn open(files: &BTreeMap<String, Vec<u8>>) -> (Journal, Disk, Vec<JournalEvent>) {
    let mut disk = Disk::with_files(1, files);
    let mut journal = Journal::open(small(), identity());
    let mut events = Vec::new();
    rest(&mut journal, &mut disk, &mut events);
    (journal, disk, events)
}

/// F18, D13, F16: every file of the directory, missing.
#[test]
fn f18_every_missing_file_that_is_needed_is_noticed() {
    let (files, all) = small_directory();
    for name in files.keys() {
        let mut fewer = files.clone();
        fewer.remove(name);
        let (mut journal, mut disk, events) = open(&fewer);
        let noticed =
            events.iter().any(|event| matches!(event, JournalEvent::Damaged(_) | JournalEvent::Failed(_)));
        assert!(noticed || name.ends_with("/reserve"), "{name}");
        if !noticed {
            assert_eq!(found(&mut journal, &mut disk), Some(all.clone()), "{name}");
        }
    }
    let only_snapshots = files.into_iter().filter(|(name, _)| name.ends_with(".snap")).collect();
    let (_, _, events) = open(&only_snapshots);
    assert!(matches!(events[..], [JournalEvent::Damaged(_)]), "{events:?}");
}

/// F16: {a founder writes its first segment, and somebody deletes it}. There was never a snapshot; the reserve alone tells that this is no new node.
#[test]
fn f16_a_log_whose_only_segment_is_gone_is_not_begun_anew() {
    let (files, _) = small_directory();
    let reserve = files.into_iter().filter(|(name, _)| name.ends_with("/reserve")).collect();
    let (_, _, events) = open(&reserve);
    assert!(matches!(events[..], [JournalEvent::Damaged(_)]), "{events:?}");
}

/// F23 (CVE-2020-15106, CVE-2020-15112): bytes that a checksum vouches for and that are nonsense all the same; and bytes that are no journal.
#[test]
fn f23_hostile_bytes_neither_panic_nor_allocate() {
    let (files, _) = small_directory();
    let mut random = Random::new(3);
    for round in 0..20_000u64 {
        let mut files = files.clone();
        let names: Vec<String> = files.keys().filter(|name| name.ends_with(".seg")).cloned().collect();
        let name = &names[random.below(names.len() as u64) as usize];
        let content = files.get_mut(name).unwrap();
        if round % 10 == 0 {
            let length = random.below(300) as usize;
            *content = (0..length).map(|_| random.next_u64() as u8).collect();
        } else {
            forge(content, &mut random);
        }
        let (mut journal, mut disk, events) = open(&files);
        if events.iter().any(|event| matches!(event, JournalEvent::Recovered(_))) {
            for group in [GroupId(1), GroupId(2)] {
                journal.read(group, Index(1), Index(u64::MAX / 4), u64::MAX);
                journal.read_snapshot(group, Position::new(10, 5), u64::MAX);
            }
            rest(&mut journal, &mut disk, &mut Vec::new());
        }
    }
}

/// Changes a few bytes of one frame's payload, and makes its checksum right again.
fn forge(content: &mut [u8], random: &mut Random) {
    const HEADER: usize = 25;
    let mut starts = Vec::new();
    let mut at = 0;
    while at + HEADER <= content.len() {
        let length = u32::from_le_bytes(content[at..at + 4].try_into().unwrap()) as usize;
        if content[at + 8..at + 16] == [0; 8] || at + HEADER + length > content.len() {
            break;
        }
        starts.push((at, length));
        at += HEADER + length;
    }
    let Some((at, length)) = starts.get(random.below(starts.len().max(1) as u64) as usize).copied() else {
        return;
    };
    for _ in 0..random.between(1, 4) {
        let place = at + HEADER - 1 + random.below(length as u64 + 1) as usize;
        content[place] = if random.chance(1, 3) { 0xff } else { random.next_u64() as u8 };
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&content[at..at + 4]);
    hasher.update(&content[at + 8..at + HEADER + length]);
    let crc = hasher.finalize();
    content[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Another node's data directory is refused, and nothing in it is touched.
#[test]
fn a_foreign_directory_is_refused() {
    let (files, _) = small_directory();
    let mut disk = Disk::with_files(1, &files);
    let mut other = identity();
    other.node.0 += 1;
    let mut journal = Journal::open(small(), other);
    let mut events = Vec::new();
    rest(&mut journal, &mut disk, &mut events);
    assert!(
        matches!(&events[..], [JournalEvent::Damaged(report)] if report.what.contains("--data-dir")),
        "{events:?}"
    );
    assert_eq!(disk.files(), files);
}

/// F22: what was right at the start and is wrong when it is read is said to be damaged, and is not handed out.
#[test]
fn f22_a_flip_after_the_start_is_found_by_the_read() {
    let (files, _) = small_directory();
    let (mut journal, mut disk, _) = open(&files);
    let state = journal.group(GroupId(1)).unwrap().clone();
    for (name, content) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
        for at in 0..content.len() as u64 {
            let pieces = vec![Bytes::from(vec![content[at as usize] ^ 1])];
            disk.now(DiskRequest::WriteAt { path: name.as_str().into(), offset: at, pieces });
        }
    }
    journal.read(GroupId(1), state.compacted.index.next(), state.last.index, 1 << 20);
    let mut events = Vec::new();
    rest(&mut journal, &mut disk, &mut events);
    assert!(events.iter().any(|event| matches!(event, JournalEvent::Damaged(_))));
    assert!(events.iter().any(|event| matches!(event, JournalEvent::Read { outcome: Fetched::Failed, .. })));
}

/// {Entries are being written and already read, and the disk refuses the write; the read's answer comes first}: the disk failed, and nothing is damaged.
#[test]
fn f02_a_read_of_what_the_disk_refuses_to_write_finds_no_damage() {
    let (files, _) = small_directory();
    let (mut journal, mut disk, _) = open(&files);
    let last = journal.group(GroupId(1)).unwrap().last;
    let entry = Entry::new(last.epoch, last.index.next(), Payload::Command(Bytes::from_static(b"refused")));
    journal.append(GroupId(1), GroupWrite { entries: vec![entry], ..GroupWrite::default() });
    journal.flush();
    let writes = journal.operations();
    assert!(matches!(writes[0].request, DiskRequest::WriteAt { .. }));
    journal.read(GroupId(1), last.index.next(), last.index.next(), 1 << 20);
    let mut events = Vec::new();
    for operation in journal.operations() {
        let outcome = disk.now(operation.request).outcome;
        journal.complete(DiskCompletion { id: operation.id, outcome }, &mut events);
    }
    assert!(matches!(events[..], [JournalEvent::Read { outcome: Fetched::Failed, .. }]), "{events:?}");
    let error = DiskError { kind: DiskErrorKind::Failed, message: "input/output error".into() };
    journal.complete(DiskCompletion { id: writes[0].id, outcome: Err(error) }, &mut events);
    assert!(matches!(events[..], [_, JournalEvent::Failed(_)]), "{events:?}");
}

/// D13, D14: the newest snapshot with any bit flipped, cut anywhere, empty or missing: the node says so before it takes part in anything, and removes
/// nothing, an older snapshot above all.
#[test]
fn d13_d14_a_damaged_newest_snapshot_is_found_at_the_start_and_nothing_is_removed() {
    let (mut files, _) = small_directory();
    let name = files.keys().find(|name| name.ends_with(".snap")).unwrap().clone();
    // One that a crash kept from being removed.
    files.insert("snapshots/1-1-1.snap".into(), files[&name].clone());
    let whole = files[&name].clone();
    let mut damaged: Vec<Option<Vec<u8>>> = vec![None];
    damaged.extend((0..whole.len()).map(|end| Some(whole[..end].to_vec())));
    let of_pieces = |bit: &usize| bit / 8 % 66_048 < 25 + 2 + 3;
    damaged.extend((0..whole.len() * 8).filter(of_pieces).map(|bit| {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Some(bytes)
    }));
    let count = damaged.len();
    // Every cut is tried where it matters; between the pieces, where there are zeros, now and then.
    let matters =
        |at: &usize| *at < 200 || *at > count - 1_000 || at.is_multiple_of(500) || *at >= whole.len();
    for (_, content) in damaged.into_iter().enumerate().filter(|(at, _)| matters(at)) {
        let mut files = files.clone();
        match content {
            Some(content) => files.insert(name.clone(), content),
            None => files.remove(&name),
        };
        let (_, disk, events) = open(&files);
        assert!(matches!(&events[..], [JournalEvent::Damaged(report)] if report.path == name), "{events:?}");
        assert_eq!(disk.files(), files);
    }
    let (_, disk, events) = open(&files);
    assert!(matches!(events[0], JournalEvent::Recovered(_)));
    assert!(!disk.files().contains_key("snapshots/1-1-1.snap"), "what is of no use goes, once all is well");
}

/// F22: a snapshot that was whole at the start and is read later, for a peer.
#[test]
fn f22_a_snapshot_that_is_damaged_after_the_start_is_found_by_the_read() {
    let (files, _) = small_directory();
    let (mut journal, mut disk, _) = open(&files);
    let position = journal.group(GroupId(1)).unwrap().snapshot.clone().unwrap().position;
    let name = files.keys().find(|name| name.ends_with(".snap")).unwrap();
    let pieces = vec![Bytes::from(vec![files[name][28] ^ 1])];
    let read = |journal: &mut Journal, disk: &mut Disk, number| {
        let mut events = Vec::new();
        journal.read_snapshot(GroupId(1), position, number);
        rest(journal, disk, &mut events);
        events
    };
    let beyond = read(&mut journal, &mut disk, 2);
    assert!(
        matches!(beyond[..], [JournalEvent::SnapshotRead { outcome: SnapshotPiece::Gone, .. }]),
        "{beyond:?}"
    );
    disk.now(DiskRequest::WriteAt { path: name.as_str().into(), offset: 28, pieces });
    let events = read(&mut journal, &mut disk, 0);
    assert!(events.iter().any(|event| matches!(event, JournalEvent::Damaged(_))), "{events:?}");
}

/// {A vote, and nothing else, in the only segment}: any flipped bit of it is found. Were its beginning taken for one that was never finished, the vote
/// would be forgotten, and given again.
#[test]
fn f04_a_vote_in_the_only_segment_is_not_forgotten() {
    let mut disk = Disk::new(1);
    let mut journal = Journal::open(small(), identity());
    rest(&mut journal, &mut disk, &mut Vec::new());
    let hard_state = Some(Bytes::from_static(b"vote"));
    journal.append(GroupId(1), GroupWrite { hard_state, ..GroupWrite::default() });
    journal.flush();
    rest(&mut journal, &mut disk, &mut Vec::new());
    // The next life's segment has the vote in its checkpoint, and the first one goes.
    let (_, disk, _) = open(&disk.files());
    let files = disk.files();
    let segments: Vec<&String> = files.keys().filter(|name| name.ends_with(".seg")).collect();
    assert_eq!(segments.len(), 1);
    let used = files[segments[0]].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut found = 0;
    for bit in 0..used * 8 {
        let mut files = files.clone();
        files.get_mut(segments[0]).unwrap()[bit / 8] ^= 1 << (bit % 8);
        let (journal, _, events) = open(&files);
        let kept = journal.group(GroupId(1)).is_some_and(|g| g.hard_state.as_deref() == Some(b"vote"));
        let damaged = events.iter().any(|event| matches!(event, JournalEvent::Damaged(_)));
        assert!(kept || damaged, "bit {bit}");
        found += usize::from(damaged);
    }
    assert!(found > 100);
}

/// What a frame cannot hold is never acknowledged: read back, it would be no frame, and all behind it gone.
#[test]
fn a_write_longer_than_a_frame_may_be_is_refused() {
    let mut disk = Disk::new(1);
    let mut journal = Journal::open(Config::default(), identity());
    rest(&mut journal, &mut disk, &mut Vec::new());
    let piece = Bytes::from(vec![0; 64 << 20]);
    let entries =
        (1..=5).map(|index| Entry::new(Epoch(1), Index(index), Payload::Command(piece.clone()))).collect();
    let token = journal.append(GroupId(1), GroupWrite { entries, ..GroupWrite::default() });
    journal.flush();
    journal.read(GroupId(1), Index(1), Index(1), 1);
    let mut events = Vec::new();
    rest(&mut journal, &mut disk, &mut events);
    assert!(events.iter().any(|event| matches!(event, JournalEvent::Failed(_))), "{events:?}");
    assert!(!events.contains(&JournalEvent::Durable { token }));
}

/// Hard states in a row are one: what waits for a disk that hangs does not grow with every election.
#[test]
fn hard_states_that_wait_are_one() {
    let mut disk = Disk::new(1);
    let mut journal = Journal::open(small(), identity());
    rest(&mut journal, &mut disk, &mut Vec::new());
    let mut newest = None;
    for vote in 0..100_000u64 {
        let hard_state = Some(Bytes::from(vote.to_le_bytes().to_vec()));
        newest = Some(journal.append(GroupId(1), GroupWrite { hard_state, ..GroupWrite::default() }));
    }
    journal.flush();
    let mut events = Vec::new();
    rest(&mut journal, &mut disk, &mut events);
    assert_eq!(events, [JournalEvent::Durable { token: newest.unwrap() }]);
    let (journal, disk, _) = open(&disk.files());
    assert_eq!(journal.group(GroupId(1)).unwrap().hard_state.as_deref(), Some(&99_999u64.to_le_bytes()[..]));
    assert!(disk.files().len() <= 3);
}

//! F04, F05, I17: every single bit of a small data directory, flipped. It is said to be damage; or it is harmless, now and later: nothing that was
//! acknowledged is missing, nothing that was never written appears, and what is written next is there after the next start.
//!
//! The directory has every kind of file and of record: three groups with hard states and memberships, a log that was truncated, one that was compacted,
//! snapshots of the node's own and of a leader, segments of two lives, a reserve. (Files beside the journal's, `identity`, `peers` and `forced`, have such a
//! test where they are read; `LOCK` is empty.)

mod support;
use support::disk;

#[path = "support/fixture.rs"]
mod fixture;

use std::collections::BTreeMap;

use bytes::Bytes;
use disk::Disk;
use fixture::{config, entry, identity, meta, rest};
use quorate_consensus::{Entry, Epoch, Fetched, GroupId, Index, Membership, Payload, Position, SnapshotMeta};
use quorate_journal::{GroupWrite, Journal, JournalEvent, SnapshotPiece};

/// Bytes between the beginnings of two pieces of a snapshot.
const STRIDE: usize = 66_048;
const GROUPS: [GroupId; 3] = [GroupId(1), GroupId(2), GroupId(3)];

type Files = BTreeMap<String, Vec<u8>>;

/// All that can be asked of a group.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    hard_state: Option<Bytes>,
    compacted: Position,
    last: Position,
    epochs: Vec<(Epoch, Index)>,
    memberships: Vec<(Index, Membership)>,
    snapshot: Option<SnapshotMeta>,
    entries: Vec<Entry>,
    pieces: Vec<Bytes>,
}

/// The node says that its disk is damaged.
#[derive(Debug)]
struct Damaged;

fn open(files: &Files) -> Result<(Journal, Disk), Damaged> {
    let mut disk = Disk::with_files(1, files);
    let mut journal = Journal::open(config(), identity());
    let events = run(&mut journal, &mut disk)?;
    assert!(events.iter().any(|event| matches!(event, JournalEvent::Recovered(_))), "{events:?}");
    Ok((journal, disk))
}

fn run(journal: &mut Journal, disk: &mut Disk) -> Result<Vec<JournalEvent>, Damaged> {
    let events = rest(journal, disk);
    let said = events.iter().any(|event| matches!(event, JournalEvent::Damaged(_) | JournalEvent::Failed(_)));
    if said { Err(Damaged) } else { Ok(events) }
}

/// All that a node has, read back.
fn all(journal: &mut Journal, disk: &mut Disk) -> Result<BTreeMap<GroupId, Group>, Damaged> {
    let mut found = BTreeMap::new();
    for group in GROUPS {
        let Some(state) = journal.group(group).cloned() else { continue };
        let (mut entries, mut pieces): (Vec<Entry>, Vec<Bytes>) = (Vec::new(), Vec::new());
        let mut next = state.compacted.index.next();
        while next <= state.last.index {
            journal.read(group, next, state.last.index, 1 << 20);
            for event in run(journal, disk)? {
                if let JournalEvent::Read { outcome, .. } = event {
                    let Fetched::Entries(more) = outcome else { panic!("{group}: {next} is {outcome:?}") };
                    entries.extend(more);
                }
            }
            next = entries.last().map_or(next, |entry| entry.position.index.next());
        }
        let mut whole = state.snapshot.is_none();
        while let Some(SnapshotMeta { position, .. }) = state.snapshot.as_ref().filter(|_| !whole) {
            journal.read_snapshot(group, *position, pieces.len() as u64);
            for event in run(journal, disk)? {
                if let JournalEvent::SnapshotRead { outcome, .. } = event {
                    let SnapshotPiece::Chunk { data, last } = outcome else { panic!("{group}: {outcome:?}") };
                    pieces.push(data);
                    whole = last;
                }
            }
        }
        let quorate_journal::GroupState {
            hard_state, compacted, last, epochs, memberships, snapshot, ..
        } = state;
        found.insert(
            group,
            Group { hard_state, compacted, last, epochs, memberships, snapshot, entries, pieces },
        );
    }
    Ok(found)
}

fn write(journal: &mut Journal, disk: &mut Disk, group: GroupId, write: GroupWrite) -> Result<(), Damaged> {
    let token = journal.append(group, write);
    journal.flush();
    let events = run(journal, disk)?;
    let durable = |event: &JournalEvent| matches!(event, JournalEvent::Durable { token: t } if *t >= token);
    assert!(events.iter().any(durable), "{events:?}");
    Ok(())
}

/// The fixture's directory after another life.
fn directory() -> Files {
    let (mut journal, mut disk) = open(&fixture::make()).unwrap();
    let hard_state = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    // The second is a membership.
    let entries = vec![entry(2, 2), entry(2, 3), entry(2, 4)];
    let of_three = GroupWrite { hard_state: hard_state("a vote"), truncate_from: None, entries };
    write(&mut journal, &mut disk, GroupId(3), of_three).unwrap();
    // So much that it takes more than one segment.
    for index in 5..10 {
        let payload = Payload::Command(Bytes::from(vec![index as u8; 250]));
        let entries = vec![Entry::new(Epoch(2), Index(index), payload)];
        write(&mut journal, &mut disk, GroupId(3), GroupWrite { entries, ..GroupWrite::default() }).unwrap();
    }
    let truncated =
        GroupWrite { truncate_from: Some(Index(42)), entries: vec![entry(7, 42)], ..GroupWrite::default() };
    write(&mut journal, &mut disk, GroupId(2), truncated).unwrap();
    let at = journal.group(GroupId(2)).unwrap().last;
    let id = journal.begin_snapshot(GroupId(2), meta(at));
    journal.write_chunk(id, Bytes::from_static(b"piece one"));
    journal.write_chunk(id, Bytes::from_static(b"piece two"));
    journal.finish_snapshot(id, true);
    run(&mut journal, &mut disk).unwrap();
    journal.compact(GroupId(2), Position::new(6, 41));
    write(
        &mut journal,
        &mut disk,
        GroupId(1),
        GroupWrite { hard_state: hard_state("voted"), ..GroupWrite::default() },
    )
    .unwrap();
    disk.files()
}

/// What comes of a directory: it equals what was written, and a life later that and what that life wrote.
fn harmless(files: &Files, written: &BTreeMap<GroupId, Group>) -> Result<(), Damaged> {
    let (mut journal, mut disk) = open(files)?;
    assert!(&all(&mut journal, &mut disk)? == written, "it is not what was written");
    let mut more = written.clone();
    let group = more.get_mut(&GroupId(1)).unwrap();
    group.hard_state = Some(Bytes::from_static(b"voted again"));
    let next =
        Entry::new(Epoch(9), group.last.index.next(), Payload::Command(Bytes::from_static(b"what follows")));
    group.last = next.position;
    group.epochs.push((Epoch(9), next.position.index));
    group.entries.push(next.clone());
    let what = GroupWrite { hard_state: group.hard_state.clone(), truncate_from: None, entries: vec![next] };
    write(&mut journal, &mut disk, GroupId(1), what)?;
    let (mut journal, mut disk) = open(&disk.files())?;
    assert!(all(&mut journal, &mut disk)? == more, "a life later, it is not what was written");
    Ok(())
}

#[test]
fn every_flipped_bit_is_said_or_harmless_for_ever() {
    let files = directory();
    let (mut journal, mut disk) = open(&files).unwrap();
    let written = all(&mut journal, &mut disk).unwrap();
    assert!(written.values().all(|group| group.hard_state.is_some() && !group.entries.is_empty()));
    assert!(written[&GroupId(3)].memberships.len() == 1 && written[&GroupId(2)].pieces.len() == 2);
    assert!(written.values().filter(|group| group.compacted.index > Index(0)).count() == 2);
    let kinds = |end: &str| files.keys().filter(|name| name.ends_with(end)).count();
    assert_eq!(
        (kinds(".seg") > 2, kinds(".snap"), kinds("reserve"), files.len()),
        (true, 2, 1, kinds(".seg") + 3)
    );
    harmless(&files, &written).expect("nothing is flipped");

    let (mut said, mut unheard) = (0, 0);
    for (name, content) in &files {
        let in_a_piece = |at: usize| !name.ends_with(".snap") || at % STRIDE < 64;
        for at in (0..content.len()).filter(|at| in_a_piece(*at)) {
            for bit in 0..8 {
                let mut files = files.clone();
                files.get_mut(name).unwrap()[at] ^= 1 << bit;
                let judged = std::panic::catch_unwind(|| harmless(&files, &written));
                match judged.unwrap_or_else(|_| panic!("{name}, byte {at}, bit {bit}")) {
                    Ok(()) => unheard += 1,
                    Err(Damaged) => said += 1,
                }
            }
        }
        // Between two pieces nothing is ever looked at: whatever stands there is harmless.
        let mut files = files.clone();
        for at in (0..content.len()).filter(|at| !in_a_piece(*at)) {
            files.get_mut(name).unwrap()[at] = 0xff;
        }
        harmless(&files, &written).expect("nothing is read between two pieces");
    }
    assert!(said > 10_000 && unheard > 1_000, "{said} {unheard}");
    println!("{said} flips are said to be damage, {unheard} are harmless");
}

/// {A write of nothing but a vote becomes, by one bit, a record that says nothing}: without the header in the checksum, the vote is gone.
#[cfg(feature = "planted-bugs")]
#[test]
fn f05_a_checksum_that_leaves_out_the_header_is_found_planted() {
    quorate_consensus::hunt_plant("F05", "I17", [()], |()| every_flipped_bit_is_said_or_harmless_for_ever());
}

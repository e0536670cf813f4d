//! Files of every format version that was ever written stay readable.

mod support;
use support::disk;

#[path = "support/fixture.rs"]
mod fixture;

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use quorate_consensus::{Epoch, Fetched, GroupId, Index, Payload, Position};
use quorate_journal::{Journal, JournalEvent, SnapshotPiece};

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["log", "snapshots"] {
        for entry in std::fs::read_dir(directory.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn version_1_stays_readable() {
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1"));
    let mut disk = disk::Disk::with_files(1, &files);
    let mut journal = Journal::open(fixture::config(), fixture::identity());
    let events = fixture::rest(&mut journal, &mut disk);
    assert!(matches!(events[0], JournalEvent::Recovered(_)), "{events:?}");
    // What little lives in the oldest segment is copied forward at once.
    assert!(events[1..].iter().all(|event| matches!(event, JournalEvent::Durable { .. })), "{events:?}");
    let one = journal.group(GroupId(1)).unwrap().clone();
    assert_eq!(one.hard_state, Some(Bytes::from_static(b"hard state 1")));
    assert_eq!((one.compacted, one.last), (Position::new(1, 7), Position::new(6, 12)));
    assert_eq!(one.epochs, [(Epoch(1), Index(8)), (Epoch(2), Index(9)), (Epoch(6), Index(12))]);
    assert_eq!(one.snapshot, Some(fixture::meta(Position::new(1, 8))));
    let two = journal.group(GroupId(2)).unwrap().clone();
    assert_eq!((two.compacted, two.last), (Position::new(5, 40), Position::new(6, 42)));
    assert_eq!(two.snapshot, Some(fixture::meta(Position::new(5, 40))));
    assert_eq!(journal.group(GroupId(3)).unwrap().last, Position::new(1, 1));
    journal.read(GroupId(1), Index(8), Index(12), 1 << 20);
    journal.read_snapshot(GroupId(2), Position::new(5, 40), 1);
    for event in fixture::rest(&mut journal, &mut disk) {
        match event {
            JournalEvent::Read { outcome: Fetched::Entries(entries), .. } => {
                assert_eq!(entries.len(), 5);
                assert_eq!(entries[1].payload, Payload::Command(Bytes::from_static(b"command 2.9")));
            }
            JournalEvent::SnapshotRead { outcome: SnapshotPiece::Chunk { data, last }, .. } => {
                assert_eq!((&data[..], last), (&b"state"[..], true));
            }
            other => panic!("{other:?}"),
        }
    }
}

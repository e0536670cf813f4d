//! A small data directory with every kind of record in it.
#![allow(dead_code, reason = "the test reads what the example makes")]

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, Entry, Epoch, GroupId, Incarnation, Index, Membership, NodeId, Payload, Position, SnapshotMeta,
};
use quorate_journal::{Config, GroupWrite, Identity, Journal, JournalEvent};

use crate::disk::Disk;

pub(crate) fn config() -> Config {
    Config { segment_bytes: 1400, ..Config::default() }
}

pub(crate) fn identity() -> Identity {
    Identity { cluster: ClusterId(0xc1), node: NodeId(0xa1), incarnation: Incarnation(0xd1) }
}

pub(crate) fn meta(position: Position) -> SnapshotMeta {
    let membership = Membership::new([NodeId(1), NodeId(2), NodeId(3)], [NodeId(4)]);
    SnapshotMeta { position, membership, membership_at: Index(1), size_bytes: 8, digest: 0xfeed }
}

/// Runs a journal on an orderly disk until it rests.
pub(crate) fn rest(journal: &mut Journal, disk: &mut Disk) -> Vec<JournalEvent> {
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

pub(crate) fn entry(epoch: u64, index: u64) -> Entry {
    let payload = match index {
        1 => Payload::Noop,
        2 => Payload::Membership(Membership::new([NodeId(1), NodeId(2)], [NodeId(3)])),
        _ => Payload::Command(Bytes::from(format!("command {epoch}.{index}"))),
    };
    Entry::new(Epoch(epoch), Index(index), payload)
}

pub(crate) fn make() -> BTreeMap<String, Vec<u8>> {
    let mut disk = Disk::new(1);
    let mut journal = Journal::open(config(), identity());
    rest(&mut journal, &mut disk);
    let mut write = |journal: &mut Journal, group: u64, truncate: Option<u64>, entries: Vec<Entry>| {
        let hard_state = Some(Bytes::from(format!("hard state {group}")));
        journal
            .append(GroupId(group), GroupWrite { hard_state, truncate_from: truncate.map(Index), entries });
        journal.flush();
        rest(journal, &mut disk);
    };
    write(&mut journal, 3, None, vec![entry(1, 1)]);
    for index in 1..=10 {
        write(&mut journal, 1, None, vec![entry(1, index)]);
    }
    write(&mut journal, 1, Some(9), vec![entry(2, 9), entry(2, 10), entry(2, 11)]);
    write(&mut journal, 2, None, vec![entry(4, 1)]);
    let mut snapshot = |journal: &mut Journal, group: u64, at: Position, make_current: bool| {
        let id = journal.begin_snapshot(GroupId(group), meta(at));
        journal.write_chunk(id, Bytes::from_static(b"some"));
        journal.write_chunk(id, Bytes::from_static(b"state"));
        journal.finish_snapshot(id, make_current);
        rest(journal, &mut disk);
        if !make_current {
            journal.install_snapshot(GroupId(group), id, false);
            journal.flush();
            rest(journal, &mut disk);
        }
    };
    snapshot(&mut journal, 1, Position::new(1, 8), true);
    journal.compact(GroupId(1), Position::new(1, 7));
    journal.flush();
    snapshot(&mut journal, 2, Position::new(5, 40), false);
    let mut write = |group: u64, entries: Vec<Entry>| {
        journal.append(GroupId(group), GroupWrite { entries, ..GroupWrite::default() });
        journal.flush();
        rest(&mut journal, &mut disk);
    };
    write(2, vec![entry(6, 41), entry(6, 42)]);
    write(1, vec![entry(6, 12)]);
    disk.files()
}

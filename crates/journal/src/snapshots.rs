//! The snapshot store: one file a snapshot, its pieces at fixed places, each framed and checksummed.
//!
//! A snapshot is written under a name that ends in `.part`, synced, renamed, its directory synced, and only then does a record in the log make it
//! current. A crash in between leaves the one before in force (D01); the one before is removed only after the record is durable (D14).

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskError, DiskErrorKind, DiskOutcome, DiskRequest, GroupId, Position, Reader,
    SnapshotMeta, Writer, planted,
};

use crate::{
    Journal, JournalEvent, ReadToken, SnapshotPiece, WriteToken, frame,
    journal::{Purpose, Queued},
    record::SnapshotRecord,
};

pub(crate) const FOLDER: &str = "snapshots";
/// Distance between two pieces in a file: a piece of 64 KiB with its frame, in whole disk sectors.
const STRIDE: u64 = 66_048;
const PIECE: u8 = 1;
/// The most bytes of one piece.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Names a snapshot that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub u64);

#[derive(Debug)]
struct Writing {
    group: GroupId,
    meta: SnapshotMeta,
    /// The last piece handed over: whether one follows is known only when it comes, or does not.
    held: Option<Bytes>,
    pieces: u64,
    pending: u32,
    stage: Stage,
    /// It is to become the group's current one as soon as it is durable.
    make_current: bool,
    /// What went wrong: said once nothing of it is under way any more.
    trouble: Trouble,
}

/// What went wrong with a snapshot. Completions come in any order, so it is judged when all are there.
#[derive(Debug)]
enum Trouble {
    None,
    /// A file was not found. It is fatal, unless it could not be made for want of room.
    Missing(DiskError),
    /// No room, or a piece that was too long: the snapshot fails, and nothing else.
    GivenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Pieces,
    Sync,
    Rename,
    Name,
    /// Durable, waiting for its record or for its owner's word.
    Durable,
}

/// Snapshots that are being written.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    next: u64,
    writing: BTreeMap<SnapshotId, Writing>,
    /// Own snapshots that were overtaken; said with the next completion.
    failed: Vec<(GroupId, SnapshotId)>,
    /// Each group's current snapshot: the file that goes when the next one is current.
    pub(crate) current: BTreeMap<GroupId, Position>,
}

pub(crate) fn name(group: GroupId, at: Position) -> String {
    format!("{:x}-{:x}-{:x}.snap", group.0, at.epoch.0, at.index.0)
}

fn path(group: GroupId, at: Position) -> Arc<str> {
    format!("{FOLDER}/{}", name(group, at)).into()
}

fn part_path(id: SnapshotId) -> Arc<str> {
    format!("{FOLDER}/{:x}.part", id.0).into()
}

/// What a piece's frame calls its segment: snapshots of different positions do not mix (D11).
fn sequence(group: GroupId, at: Position) -> u64 {
    quorate_consensus::fingerprint_of(&(group, at)).max(1)
}

impl Journal {
    /// Begins a snapshot of `group` that `meta` describes.
    pub fn begin_snapshot(&mut self, group: GroupId, meta: SnapshotMeta) -> SnapshotId {
        self.snapshots.next += 1;
        let id = SnapshotId(self.snapshots.next);
        let writing = Writing {
            group,
            meta,
            held: None,
            pieces: 0,
            pending: 1,
            stage: Stage::Pieces,
            make_current: false,
            trouble: Trouble::None,
        };
        self.snapshots.writing.insert(id, writing);
        self.submit(DiskRequest::Remove { path: part_path(id) }, Purpose::Ignored);
        self.submit(DiskRequest::Create { path: part_path(id) }, Purpose::Snapshot(id));
        id
    }

    /// The next piece, of at most 64 KiB. A longer one, which only a broken peer sends, fails the snapshot: its end would lie under the next piece.
    pub fn write_chunk(&mut self, id: SnapshotId, piece: Bytes) {
        let Some(writing) = self.snapshots.writing.get_mut(&id) else { return };
        if !matches!(writing.trouble, Trouble::None) {
            return;
        }
        if piece.len() > PIECE_BYTES_MAX {
            writing.trouble = Trouble::GivenUp;
            writing.pending += 1;
            // Said with a completion, like everything.
            self.submit(DiskRequest::FreeSpace, Purpose::Snapshot(id));
            return;
        }
        if let Some(before) = writing.held.replace(piece) {
            self.write_piece(id, &before, false);
        }
    }

    fn write_piece(&mut self, id: SnapshotId, piece: &Bytes, last: bool) {
        let Some(writing) = self.snapshots.writing.get_mut(&id) else { return };
        let (number, at) = (writing.pieces, writing.pieces * STRIDE);
        writing.pieces += 1;
        writing.pending += 1;
        let mut to = Writer::with_capacity(piece.len() + 64);
        frame::write(&mut to, at, sequence(writing.group, writing.meta.position), PIECE, |to| {
            to.varint(number);
            to.bool(last);
            to.raw(piece);
        });
        let request = DiskRequest::WriteAt { path: part_path(id), offset: at, pieces: vec![to.finish()] };
        self.submit(request, Purpose::Snapshot(id));
    }

    /// All pieces were handed over. [`JournalEvent::SnapshotDurable`] follows; with `make_current` the snapshot is then the group's newest, and its log
    /// may be compacted up to it.
    pub fn finish_snapshot(&mut self, id: SnapshotId, make_current: bool) {
        let Some(writing) = self.snapshots.writing.get_mut(&id) else { return };
        if !matches!(writing.trouble, Trouble::None) {
            return;
        }
        writing.make_current = make_current;
        let last = writing.held.take().unwrap_or_default();
        self.write_piece(id, &last, true);
        if let Some(writing) = self.snapshots.writing.get_mut(&id) {
            writing.stage = Stage::Sync;
            writing.pending += 1;
            // D14: the one before goes as soon as this one is written, and nobody knows yet that it will be whole.
            let old = self.snapshots.current.get(&writing.group).copied();
            let old = old.filter(|at| make_current && *at != writing.meta.position && planted!("D14"));
            let gone = old.map(|at| path(writing.group, at));
            if planted!("D01") && make_current {
                let (group, meta) = (writing.group, writing.meta.clone());
                self.enqueue(Queued::Snapshot(SnapshotRecord {
                    group,
                    meta,
                    install: false,
                    keep_log_after: false,
                }));
            }
            if let Some(path) = gone {
                self.submit(DiskRequest::Remove { path }, Purpose::Ignored);
            }
        }
        self.submit(DiskRequest::SyncFile { path: part_path(id) }, Purpose::Snapshot(id));
    }

    /// The snapshot is not wanted any more. One whose record is queued already becomes current all the same: the record must not name a file that
    /// is gone.
    pub fn abort_snapshot(&mut self, id: SnapshotId) {
        let noted = |writing: &Writing| writing.make_current && writing.stage == Stage::Durable;
        if self.snapshots.writing.get(&id).is_none_or(noted) {
            return;
        }
        let Some(writing) = self.snapshots.writing.remove(&id) else { return };
        match writing.stage {
            Stage::Pieces | Stage::Sync => {
                self.submit(DiskRequest::Remove { path: part_path(id) }, Purpose::Ignored);
            }
            Stage::Rename | Stage::Name | Stage::Durable => {
                self.remove_unless_named(writing.group, writing.meta.position)
            }
        }
    }

    /// Removes a snapshot's file, unless a record names it, written or queued, or another snapshot of the same position is about to have one.
    ///
    /// A follower may take a snapshot of its own at the very position of the one that its leader sends; the refused one's file is then the current
    /// one's.
    fn remove_unless_named(&mut self, group: GroupId, at: Position) {
        let state = self.groups.get(&group).and_then(|state| state.snapshot.as_ref());
        let named = state.is_some_and(|meta| meta.position == at)
            || self.snapshots.current.get(&group) == Some(&at)
            || self.snapshots.writing.values().any(|w| w.group == group && w.meta.position == at)
            || self.queue.iter().any(|(_, queued)| {
                matches!(queued, Queued::Snapshot(record) if record.group == group && record.meta.position == at)
            });
        if !named {
            self.submit(DiskRequest::Remove { path: path(group, at) }, Purpose::Ignored);
        }
    }

    /// Is a snapshot of this node's own state at `at` newer than the one in force? A leader's may have been installed meanwhile, and an older one
    /// must not take its place: the log no longer reaches back to it (D03).
    pub(crate) fn is_newer_snapshot(&self, group: GroupId, at: Position) -> bool {
        let state = self.groups.get(&group);
        state.is_none_or(|state| {
            state.compacted.index <= at.index
                && state.snapshot.as_ref().is_none_or(|meta| meta.position.index < at.index)
        })
    }

    /// An own snapshot was overtaken while its record waited: it is as if it had failed.
    pub(crate) fn overtaken(&mut self, group: GroupId, at: Position) {
        let found = self.snapshots.writing.iter().find(|(_, writing)| {
            writing.stage == Stage::Durable
                && writing.make_current
                && writing.group == group
                && writing.meta.position == at
        });
        if let Some(id) = found.map(|(id, _)| *id) {
            self.snapshots.writing.remove(&id);
            self.snapshots.failed.push((group, id));
            self.remove_unless_named(group, at);
        }
    }

    pub(crate) fn say_failed(&mut self, events: &mut Vec<JournalEvent>) {
        let failed = self.snapshots.failed.drain(..);
        events.extend(failed.map(|(group, id)| JournalEvent::SnapshotFailed { group, id }));
    }

    /// A leader's snapshot, durable already, replaces the group's state and log: all of the log, or, with `keep_log_after`, only what it covers. Both at
    /// once, when the returned token is durable.
    pub fn install_snapshot(&mut self, group: GroupId, id: SnapshotId, keep_log_after: bool) -> WriteToken {
        let Some(writing) = self.snapshots.writing.remove(&id) else { return self.newest_token };
        self.enqueue(Queued::Snapshot(SnapshotRecord {
            group,
            meta: writing.meta,
            install: true,
            keep_log_after,
        }))
    }

    pub(crate) fn snapshot_step(
        &mut self,
        id: SnapshotId,
        completion: DiskCompletion,
        events: &mut Vec<JournalEvent>,
    ) {
        let Some(writing) = self.snapshots.writing.get_mut(&id) else { return };
        if let Err(error) = completion.outcome {
            match (error.kind, &writing.trouble) {
                (DiskErrorKind::Full, _) => writing.trouble = Trouble::GivenUp,
                (DiskErrorKind::NotFound, Trouble::None) => writing.trouble = Trouble::Missing(error),
                (DiskErrorKind::NotFound, _) => {}
                _ => return self.fail("writing a snapshot", error, events),
            }
        }
        writing.pending -= 1;
        if writing.pending > 0 {
            return;
        }
        match &writing.trouble {
            Trouble::None => {}
            Trouble::Missing(error) => {
                let error = error.clone();
                return self.fail("writing a snapshot", error, events);
            }
            Trouble::GivenUp if planted!("F15") => {
                let error = DiskError { kind: DiskErrorKind::Full, message: String::new() };
                return self.fail("writing a snapshot", error, events);
            }
            Trouble::GivenUp => return self.give_up(id, events),
        }
        match writing.stage {
            Stage::Pieces | Stage::Durable => {}
            Stage::Sync => {
                writing.stage = Stage::Rename;
                writing.pending = 1;
                let to = path(writing.group, writing.meta.position);
                self.submit(DiskRequest::Rename { from: part_path(id), to }, Purpose::Snapshot(id));
            }
            Stage::Rename => {
                // Only now: nothing is ordered across a file and its directory (F08).
                writing.stage = Stage::Name;
                writing.pending = 2;
                self.submit(DiskRequest::SyncDirectory { path: FOLDER.into() }, Purpose::Snapshot(id));
                self.submit(DiskRequest::SyncDirectory { path: "".into() }, Purpose::Snapshot(id));
            }
            Stage::Name => {
                writing.stage = Stage::Durable;
                let (group, meta) = (writing.group, writing.meta.clone());
                if writing.make_current {
                    let record = SnapshotRecord { group, meta, install: false, keep_log_after: false };
                    self.enqueue(Queued::Snapshot(record));
                    if planted!("F19")
                        && let Some(old) = self.snapshots.current.get(&group).copied()
                    {
                        self.submit(DiskRequest::Remove { path: path(group, old) }, Purpose::Ignored);
                    }
                } else {
                    events.push(JournalEvent::SnapshotDurable { group, id, meta });
                }
            }
        }
    }

    /// Whatever there is of the snapshot goes; its owner may try again.
    fn give_up(&mut self, id: SnapshotId, events: &mut Vec<JournalEvent>) {
        let Some(writing) = self.snapshots.writing.remove(&id) else { return };
        self.submit(DiskRequest::Remove { path: part_path(id) }, Purpose::Ignored);
        if !matches!(writing.stage, Stage::Pieces | Stage::Sync) {
            self.remove_unless_named(writing.group, writing.meta.position);
        }
        events.push(JournalEvent::SnapshotFailed { group: writing.group, id });
    }

    /// A snapshot's record is durable: it is current, and every other of the group goes.
    pub(crate) fn snapshot_current(&mut self, record: &SnapshotRecord, events: &mut Vec<JournalEvent>) {
        if let Some(old) = self.snapshots.current.remove(&record.group)
            && old != record.meta.position
        {
            self.submit(DiskRequest::Remove { path: path(record.group, old) }, Purpose::Ignored);
        }
        self.snapshots.current.insert(record.group, record.meta.position);
        let written = self.snapshots.writing.iter().find(|(_, writing)| {
            writing.stage == Stage::Durable
                && writing.group == record.group
                && writing.meta.position == record.meta.position
                && writing.make_current
        });
        if let Some((id, _)) = written {
            let id = *id;
            self.snapshots.writing.remove(&id);
            let (group, meta) = (record.group, record.meta.clone());
            events.push(JournalEvent::SnapshotDurable { group, id, meta });
        }
    }

    /// Reads piece `number` of the group's current snapshot, if that is the one at `position`. Answered by [`JournalEvent::SnapshotRead`].
    pub fn read_snapshot(&mut self, group: GroupId, position: Position, number: u64) -> ReadToken {
        let token = self.new_read();
        let meta = self.groups.get(&group).and_then(|g| g.snapshot.clone());
        match meta.filter(|meta| meta.position == position) {
            Some(_) => {
                let request = DiskRequest::Read {
                    path: path(group, position),
                    offset: number.saturating_mul(STRIDE),
                    length: STRIDE,
                };
                self.submit(request, Purpose::Piece { token, group, position, number });
            }
            // Answered with a completion, like every other read.
            None => {
                self.submit(DiskRequest::FreeSpace, Purpose::Piece { token, group, position, number });
            }
        }
        token
    }

    pub(crate) fn piece_read(
        &mut self,
        token: ReadToken,
        (group, position, number): (GroupId, Position, u64),
        completion: DiskCompletion,
        events: &mut Vec<JournalEvent>,
    ) {
        let found = match completion.outcome {
            Ok(DiskOutcome::Read(bytes)) => Found::in_bytes(bytes, group, position, number),
            Ok(_) | Err(_) => Found::Nothing,
        };
        let in_force = self.groups.get(&group).and_then(|g| g.snapshot.as_ref());
        let outcome = match found {
            Found::Piece { data, last } => SnapshotPiece::Chunk { data, last },
            // It was whole when the node started, so the disk changed it (F22). A peer would ask for it for ever, and a restart would find it.
            Found::Damage if in_force.is_some_and(|meta| meta.position == position) => {
                self.damaged_piece(group, position, number, events);
                SnapshotPiece::Gone
            }
            Found::Damage | Found::Nothing => SnapshotPiece::Gone,
        };
        events.push(JournalEvent::SnapshotRead { token, outcome });
    }

    /// One piece after the other, a snapshot that is in force is read at the start, before the node takes part in anything.
    ///
    /// A damaged one is damage of the node, and nothing is removed (D13, D14). There is no older one to fall back to: {snapshot 5, snapshot 9, the log
    /// from 8 on}: once 9 is current the log is compacted behind it, and 5 would leave a hole. A peer's copy of the whole state is what mends it.
    pub(crate) fn verify_piece(&mut self, group: GroupId, position: Position, number: u64) {
        let request = DiskRequest::Read {
            path: path(group, position),
            offset: number.saturating_mul(STRIDE),
            length: STRIDE,
        };
        self.submit(request, Purpose::Recovery);
    }

    /// Was it the last piece? `None` if it is damaged, which is then said.
    pub(crate) fn piece_verified(
        &mut self,
        (group, position, number): (GroupId, Position, u64),
        bytes: Bytes,
        events: &mut Vec<JournalEvent>,
    ) -> Option<bool> {
        if let Found::Piece { last, .. } = Found::in_bytes(bytes, group, position, number) {
            return Some(last);
        }
        self.damaged_piece(group, position, number, events);
        None
    }

    fn damaged_piece(&mut self, group: GroupId, at: Position, number: u64, events: &mut Vec<JournalEvent>) {
        let what = format!(
            "piece {number} of the newest snapshot of group {group} does not read back, and the log does not reach back before it"
        );
        self.damaged(&path(group, at), number.saturating_mul(STRIDE), what, events);
    }
}

/// What stands at a piece's place.
enum Found {
    Piece {
        data: Bytes,
        last: bool,
    },
    /// The file ends before.
    Nothing,
    Damage,
}

impl Found {
    fn in_bytes(bytes: Bytes, group: GroupId, position: Position, number: u64) -> Found {
        if bytes.is_empty() {
            return Found::Nothing;
        }
        let frame = frame::read_at(bytes, number.saturating_mul(STRIDE), sequence(group, position));
        let piece = frame.filter(|frame| frame.kind == PIECE).and_then(|frame| {
            let mut from = Reader::new(frame.payload);
            let right = from.varint().ok()? == number;
            let last = from.bool().ok()?;
            right.then(|| Found::Piece { data: from.rest(), last })
        });
        piece.unwrap_or(Found::Damage)
    }
}

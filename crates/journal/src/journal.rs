//! The journal's state, and its way in and out.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskError, DiskErrorKind, DiskOperation, DiskRequest, Entry, Fetched, GroupId, Index,
    OperationId, Payload, Position, SnapshotMeta, planted,
};

use crate::{
    Config, GroupState, Identity, SnapshotId,
    forward::Part,
    frame,
    index::Span,
    record::{self, SnapshotRecord},
    recovery::Recovering,
    snapshots::Snapshots,
    writer::Writer,
};

/// Numbers what was appended, over all groups; monotone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteToken(pub u64);

/// Numbers reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// What one group writes at once: all of it survives a crash, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupWrite {
    /// The engine's hard state, if it changed.
    pub hard_state: Option<Bytes>,
    /// Every entry from here on goes.
    pub truncate_from: Option<Index>,
    /// Then these are appended.
    pub entries: Vec<Entry>,
}

/// What the journal tells its owner.
#[derive(Clone, Debug, PartialEq)]
pub enum JournalEvent {
    /// The log was read; groups are known and writes may begin.
    Recovered(Recovery),
    /// All writes up to this token are durable.
    Durable {
        /// The newest.
        token: WriteToken,
    },
    /// Old entries.
    Read {
        /// Whose.
        group: GroupId,
        /// Which read.
        token: ReadToken,
        /// What was there.
        outcome: Fetched,
    },
    /// A snapshot is durable; if it was finished to become current, it is.
    SnapshotDurable {
        /// Whose.
        group: GroupId,
        /// Which.
        id: SnapshotId,
        /// What it says of itself.
        meta: SnapshotMeta,
    },
    /// A snapshot could not be written, for want of space.
    SnapshotFailed {
        /// Whose.
        group: GroupId,
        /// Which.
        id: SnapshotId,
    },
    /// A piece of a snapshot.
    SnapshotRead {
        /// Which read.
        token: ReadToken,
        /// What was there.
        outcome: SnapshotPiece,
    },
    /// No space for another segment: what is small still fits, clients' writes should wait.
    Full,
    /// There is space again.
    SpaceBack,
    /// A write or sync failed: final.
    Failed(JournalFailure),
    /// Durable data is damaged: nothing may be built on it.
    Damaged(DamageReport),
}

/// What recovery found, beside the groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// In words, for people.
    pub notes: Vec<String>,
}

/// A piece of a snapshot, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotPiece {
    /// The piece.
    Chunk {
        /// Its bytes.
        data: Bytes,
        /// No piece follows.
        last: bool,
    },
    /// There is no such piece, or it is damaged.
    Gone,
}

/// A write or sync that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFailure {
    /// What was being done.
    pub doing: &'static str,
    /// What the disk said.
    pub error: DiskError,
}

impl fmt::Display for JournalFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.error)
    }
}

/// Where durable data is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamageReport {
    /// In which file.
    pub path: String,
    /// At which byte.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for DamageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.path, self.offset, self.what)
    }
}

/// The most frames that one read of old entries takes: each is an operation of its own.
const FRAMES_PER_READ_MAX: usize = 1024;

/// Something that waits to be written, in order.
#[derive(Clone, Debug)]
pub(crate) enum Queued {
    Write(GroupId, GroupWrite),
    Compact(GroupId, Position),
    Snapshot(SnapshotRecord),
    Moved(GroupId, Vec<Entry>),
    Drop(u64),
}

impl Queued {
    /// No more bytes than this does its frame take.
    pub(crate) fn bytes_max(&self) -> u64 {
        let entries = |entries: &[Entry]| entries.iter().map(|entry| 24 + entry.size_bytes()).sum::<u64>();
        let payload = match self {
            Queued::Write(_, write) => {
                write.hard_state.as_ref().map_or(0, |bytes| bytes.len() as u64) + entries(&write.entries)
            }
            Queued::Moved(_, moved) => entries(moved),
            Queued::Snapshot(record) => 256 + 8 * record.meta.membership.members().count() as u64 * 3,
            Queued::Compact(..) | Queued::Drop(_) => 0,
        };
        frame::HEADER_BYTES as u64 + 64 + payload
    }

    /// May it take the last bytes of the last segment? Votes, and what makes room. So may what an engine writes of its own accord: without a new
    /// leader's empty entry nothing could be read, and a membership change is how a member with a full disk is replaced.
    pub(crate) fn is_essential(&self) -> bool {
        match self {
            Queued::Write(_, write) => {
                !write.entries.iter().any(|entry| matches!(entry.payload, Payload::Command(_)))
            }
            Queued::Compact(..) | Queued::Snapshot(_) | Queued::Drop(_) => true,
            Queued::Moved(..) => false,
        }
    }

    /// Is it a hard state and nothing else?
    fn is_hard_state_of(&self, group: GroupId) -> bool {
        matches!(self, Queued::Write(id, write)
            if *id == group && write.hard_state.is_some() && write.truncate_from.is_none() && write.entries.is_empty())
    }
}

/// Why an operation was asked for: what its completion means.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    Recovery,
    Batch,
    Begin,
    Reserve,
    Grow,
    IdleMark,
    Ignored,
    Snapshot(SnapshotId),
    Entries(ReadToken, usize),
    Piece { token: ReadToken, group: GroupId, position: Position, number: u64 },
    Forward(Part),
}

/// One durable log for all groups, and their snapshots.
#[derive(Debug)]
pub struct Journal {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) groups: BTreeMap<GroupId, GroupState>,
    pub(crate) recovering: Option<Recovering>,
    pub(crate) writer: Writer,
    pub(crate) snapshots: Snapshots,
    pub(crate) queue: VecDeque<(WriteToken, Queued)>,
    /// Bytes that all of `queue` takes at most.
    pub(crate) queued_bytes: u64,
    /// Something was handed over that is longer than a frame may be.
    pub(crate) too_long: Option<u64>,
    pub(crate) newest_token: WriteToken,
    pub(crate) stopped: bool,
    reads: BTreeMap<ReadToken, EntriesRead>,
    next_read: u64,
    next_operation: u64,
    purposes: BTreeMap<OperationId, Purpose>,
    operations: Vec<DiskOperation>,
}

/// A read of old entries, frame by frame.
#[derive(Debug)]
struct EntriesRead {
    group: GroupId,
    from: Index,
    to: Index,
    frames: Vec<(Index, Span)>,
    found: Vec<Option<Bytes>>,
    missing: usize,
}

impl Journal {
    /// A journal that begins to read what is there: run its operations.
    #[must_use]
    pub fn open(config: Config, identity: Identity) -> Journal {
        let mut journal = Journal {
            config,
            identity,
            groups: BTreeMap::new(),
            recovering: None,
            writer: Writer::default(),
            snapshots: Snapshots::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            too_long: None,
            newest_token: WriteToken::default(),
            stopped: false,
            reads: BTreeMap::new(),
            next_read: 0,
            next_operation: 0,
            purposes: BTreeMap::new(),
            operations: Vec::new(),
        };
        journal.begin_recovery();
        journal
    }

    /// What the disk must do now.
    pub fn operations(&mut self) -> Vec<DiskOperation> {
        std::mem::take(&mut self.operations)
    }

    /// One group, as of what has been handed to the disk.
    #[must_use]
    pub fn group(&self, group: GroupId) -> Option<&GroupState> {
        self.groups.get(&group)
    }

    /// Queues a group's write. It leaves with the next [`flush`](Self::flush) that finds the disk free.
    pub fn append(&mut self, group: GroupId, write: GroupWrite) -> WriteToken {
        let queued = Queued::Write(group, write);
        // Of hard states in a row only the last is ever read, so what waits does not grow: {the disk hangs for a day, and every second an election}.
        if queued.is_hard_state_of(group)
            && let Some((_, last)) = self.queue.pop_back_if(|(_, last)| last.is_hard_state_of(group))
        {
            self.queued_bytes = self.queued_bytes.saturating_sub(last.bytes_max());
        }
        self.enqueue(queued)
    }

    /// The group's log up to `to` is not needed any more. A snapshot that covers it must be current: otherwise this does nothing (D05).
    pub fn compact(&mut self, group: GroupId, to: Position) {
        let covered = self
            .groups
            .get(&group)
            .and_then(|g| g.snapshot.as_ref())
            .is_some_and(|meta| meta.position.index >= to.index);
        if covered || planted!("D05") {
            self.enqueue(Queued::Compact(group, to));
        }
    }

    pub(crate) fn enqueue(&mut self, queued: Queued) -> WriteToken {
        self.newest_token = WriteToken(self.newest_token.0 + 1);
        self.queued_bytes += queued.bytes_max();
        // Written, it would be no frame to whoever reads it back, and everything behind it would be gone.
        if queued.bytes_max() > frame::PAYLOAD_BYTES_MAX as u64 {
            self.too_long = Some(queued.bytes_max());
        }
        self.queue.push_back((self.newest_token, queued));
        self.newest_token
    }

    /// Reads old entries: from `from` on, up to `to`, as many as fit into `bytes_max` but at least one. Answered by [`JournalEvent::Read`].
    pub fn read(&mut self, group: GroupId, from: Index, to: Index, bytes_max: u64) -> ReadToken {
        self.next_read += 1;
        let token = ReadToken(self.next_read);
        let bytes_max = bytes_max.min(self.config.read_bytes_max);
        // What the disk holds from where a queued write begins is not the log any more: {5 and 6 of epoch 1 on the disk, 6 of epoch 2 queued here and
        // committed elsewhere: whoever reads 5 to 6 must not get the old 6}. Found by the simulator (I10).
        let queued = self.queue.iter().filter_map(|(_, queued)| match queued {
            Queued::Write(id, write) if *id == group => {
                write.truncate_from.or(write.entries.first().map(|entry| entry.position.index))
            }
            Queued::Snapshot(snapshot) if snapshot.group == group && snapshot.install => Some(Index::ZERO),
            Queued::Write(..)
            | Queued::Compact(..)
            | Queued::Snapshot(_)
            | Queued::Moved(..)
            | Queued::Drop(_) => None,
        });
        let to = queued.min().map_or(to, |first| to.min(first.previous()));
        let mut frames = self.groups.get(&group).map(|g| g.frames(from, to)).unwrap_or_default();
        let mut bytes = 0;
        let fits = frames.iter().take_while(|(_, span)| {
            bytes += span.length;
            bytes <= bytes_max
        });
        let fits = fits.count().max(1);
        frames.truncate(fits.min(FRAMES_PER_READ_MAX));
        let count = frames.len();
        for (at, (_, span)) in frames.iter().enumerate() {
            let request = DiskRequest::Read {
                path: crate::segments::segment_path(span.segment),
                offset: span.offset,
                length: span.length,
            };
            self.submit(request, Purpose::Entries(token, at));
        }
        let read = EntriesRead { group, from, to, frames, found: vec![None; count], missing: count };
        if count == 0 {
            // Nothing on the disk holds it: answered with the next completion, like every other read.
            let request = DiskRequest::FreeSpace;
            self.submit(request, Purpose::Entries(token, 0));
        }
        self.reads.insert(token, read);
        token
    }

    /// The disk ended an operation.
    pub fn complete(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        let Some(purpose) = self.purposes.remove(&completion.id) else { return };
        if self.stopped {
            return;
        }
        let full = |error: &DiskError| error.kind == DiskErrorKind::Full;
        // F13: no room on the disk is no error.
        let completion = match completion.outcome.as_ref().is_err_and(full) && planted!("F13") {
            true => DiskCompletion { outcome: Ok(quorate_consensus::DiskOutcome::Done), ..completion },
            false => completion,
        };
        match purpose {
            Purpose::Recovery => self.recovery_step(completion, events),
            Purpose::Begin => self.begin_step(completion, events),
            Purpose::Batch => self.batch_step(completion, events),
            Purpose::Reserve => self.reserve_step(completion, events),
            Purpose::Grow => self.grown(completion, events),
            Purpose::Snapshot(id) => self.snapshot_step(id, completion, events),
            Purpose::Entries(token, at) => self.entries_read(token, at, completion, events),
            Purpose::Piece { token, group, position, number } => {
                self.piece_read(token, (group, position, number), completion, events);
            }
            Purpose::Forward(part) => self.forward(part, completion, events),
            Purpose::IdleMark => {
                if let Err(error) = completion.outcome {
                    self.fail("writing the log", error, events);
                }
            }
            Purpose::Ignored => {}
        }
        if let Some(bytes) = self.too_long.filter(|_| !self.stopped) {
            let message = format!("a write of {bytes} bytes; it was not acknowledged");
            let error = DiskError { kind: DiskErrorKind::Failed, message };
            return self.fail("writing what could not be read back", error, events);
        }
        if !self.stopped {
            self.flush();
        }
    }

    fn entries_read(
        &mut self,
        token: ReadToken,
        at: usize,
        completion: DiskCompletion,
        events: &mut Vec<JournalEvent>,
    ) {
        let Some(read) = self.reads.get_mut(&token) else { return };
        if let Some(place) = read.found.get_mut(at) {
            read.missing -= 1;
            *place = match completion.outcome {
                Ok(quorate_consensus::DiskOutcome::Read(bytes)) => Some(bytes),
                Ok(_) | Err(_) => None,
            };
        }
        if read.missing > 0 {
            return;
        }
        let Some(read) = self.reads.remove(&token) else { return };
        let group = read.group;
        let mut damage = None;
        let outcome = self.assemble(read, &mut damage);
        // What is not synced yet may be what the disk refuses to write: its answer is still to come, and says so. Found by the simulator (I17).
        let synced = |span: &Span| {
            span.segment != self.writer.sequence || span.offset + span.length <= self.writer.synced
        };
        if let Some(span) = damage.filter(synced) {
            // No byte of a segment is ever written twice, so what was there and is no frame now was changed by the disk.
            events.push(JournalEvent::Damaged(DamageReport {
                path: crate::segments::segment_path(span.segment).to_string(),
                offset: span.offset,
                what: format!("entries of group {group} do not read back"),
            }));
        }
        events.push(JournalEvent::Read { group, token, outcome });
    }

    /// The entries that were asked for, each frame checked again (F22).
    ///
    /// An entry that was truncated while the disk read is not handed out: what an older epoch left at that index is not the log any more.
    fn assemble(&self, read: EntriesRead, damage: &mut Option<Span>) -> Fetched {
        let Some(group) = self.groups.get(&read.group) else { return Fetched::Compacted };
        if read.from <= group.compacted.index {
            return Fetched::Compacted;
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = read.from;
        for ((_, span), bytes) in read.frames.iter().zip(read.found) {
            let Some(bytes) = bytes else { break };
            let frame = match planted!("F22") {
                true => frame::believed(&bytes),
                false => frame::read_at(bytes, span.offset, span.segment),
            };
            let Some(frame) = frame else {
                *damage = Some(*span);
                break;
            };
            let Some(decoded) = record::entries_of(frame) else { break };
            for entry in decoded {
                let live = group.epoch_at(next) == Some(entry.position.epoch);
                if entry.position.index == next && next <= read.to && next <= span.last && live {
                    next = next.next();
                    entries.push(entry);
                }
            }
        }
        if entries.is_empty() { Fetched::Failed } else { Fetched::Entries(entries) }
    }

    pub(crate) fn new_read(&mut self) -> ReadToken {
        self.next_read += 1;
        ReadToken(self.next_read)
    }

    pub(crate) fn submit(&mut self, request: DiskRequest, purpose: Purpose) -> OperationId {
        self.next_operation += 1;
        let id = OperationId(self.next_operation);
        self.purposes.insert(id, purpose);
        self.operations.push(DiskOperation { id, request });
        id
    }

    pub(crate) fn fail(&mut self, doing: &'static str, error: DiskError, events: &mut Vec<JournalEvent>) {
        self.stopped = true;
        events.push(JournalEvent::Failed(JournalFailure { doing, error }));
    }

    pub(crate) fn damaged(&mut self, path: &str, offset: u64, what: String, events: &mut Vec<JournalEvent>) {
        self.stopped = true;
        events.push(JournalEvent::Damaged(DamageReport { path: path.to_owned(), offset, what }));
    }
}

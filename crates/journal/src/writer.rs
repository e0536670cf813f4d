//! Group commit: everything that waits goes into one write and one sync; what comes meanwhile is the next batch.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskErrorKind, DiskOutcome, DiskRequest, GroupId, Writer as Buffer, planted,
};

use crate::{
    GroupWrite, Journal, JournalEvent, WriteToken, frame,
    index::GroupState,
    journal::{Purpose, Queued},
    record::{self, SegmentHeader},
};

/// Room that is kept at the end of a segment for what must never wait for space: votes. In small segments an eighth.
const HEADROOM_BYTES: u64 = 64 * 1024;
/// A mark is no longer than this.
const MARK_BYTES_MAX: u64 = frame::HEADER_BYTES as u64 + 10;
const SEAL_BYTES: u64 = frame::HEADER_BYTES as u64;
/// Live bytes of the oldest segment that are worth copying forward so that it can go.
const FORWARD_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Default, PartialEq, Eq)]
enum Reserve {
    #[default]
    Missing,
    Making,
    Ready,
    /// The disk had no room for it.
    Full,
}

/// The segment being written, and the one in reserve.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The present segment; zero before the first.
    sequence: u64,
    /// Where the next frame goes.
    end: u64,
    /// Where the first frame after its checkpoint stands.
    start: u64,
    /// Everything before is synced.
    synced: u64,
    /// Older segments that are still needed, with their lengths.
    pub(crate) before: BTreeMap<u64, u64>,
    /// Operations of the batch under way.
    pending: u32,
    in_flight: Option<WriteToken>,
    rotating: bool,
    /// The name of the segment that is being begun is on its way to the disk, or there.
    named: bool,
    reserve: Reserve,
    full_said: bool,
    reserve_steps: u32,
    /// Segments whose Drop record is in the batch under way: removed once it is durable.
    pub(crate) dropping: Vec<u64>,
    /// The segment before this one, and where its seal goes once this one is durable.
    sealing: Option<(u64, u64)>,
    snapshots_in_flight: Vec<crate::record::SnapshotRecord>,
    forwarding: bool,
}

impl Writer {
    /// The segment right before the present one, with its length.
    pub(crate) fn newest_before(&self) -> Option<(u64, u64)> {
        let (sequence, length) = self.before.last_key_value()?;
        (sequence + 1 == self.sequence).then_some((*sequence, *length))
    }
}

pub(crate) const LOG: &str = "log";
const RESERVE: &str = "log/reserve";

pub(crate) fn segment_path(sequence: u64) -> Arc<str> {
    format!("{LOG}/{sequence:016x}.seg").into()
}

impl Journal {
    /// Begins the first segment of this life of the process, after the highest that exists.
    pub(crate) fn begin_segment(&mut self, sequence: u64) {
        self.writer.sequence = sequence;
        let path = segment_path(sequence);
        self.submit(DiskRequest::Create { path: path.clone() }, Purpose::Opening);
        self.submit(
            DiskRequest::Allocate { path: path.clone(), length: self.config.segment_bytes },
            Purpose::Opening,
        );
        let start = self.segment_start(sequence);
        self.writer.end = start.len() as u64;
        self.writer.start = self.writer.end;
        self.submit(
            DiskRequest::WriteAt { path: path.clone(), offset: 0, pieces: vec![start] },
            Purpose::Opening,
        );
        self.submit(DiskRequest::SyncFile { path }, Purpose::Opening);
        self.writer.pending = 4;
    }

    /// What every segment begins with: whose it is, what came before, and all groups as they stand.
    fn segment_start(&self, sequence: u64) -> Bytes {
        let mut to = Buffer::with_capacity(4096);
        let before = self.writer.before.iter().map(|(sequence, length)| (*sequence, *length)).collect();
        let header = SegmentHeader { identity: self.identity, before };
        frame::write(&mut to, 0, sequence, record::HEADER, |to| header.encode(to));
        frame::write(&mut to, 0, sequence, record::CHECKPOINT, |to| {
            record::encode_checkpoint(self.groups.iter(), to)
        });
        to.finish()
    }

    /// Recovery is over once the first segment of this life stands.
    pub(crate) fn opened(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        if let Err(error) = completion.outcome {
            return self.fail("beginning a segment of the log", error, events);
        }
        self.writer.pending -= 1;
        if self.writer.pending == 0 && !self.writer.named && !planted!("F08") {
            // Only now: nothing is ordered across a file and its directory, so a directory synced meanwhile might not know the file yet, and a
            // power loss would take it with everything in it (F08).
            self.writer.named = true;
            self.submit(DiskRequest::SyncDirectory { path: LOG.into() }, Purpose::Opening);
            self.submit(DiskRequest::SyncDirectory { path: "".into() }, Purpose::Opening);
            self.writer.pending = 2;
        } else if self.writer.pending == 0 {
            self.writer.synced = self.writer.end;
            let Some(recovering) = self.recovering.take() else { return };
            self.writer.sealing =
                self.writer.before.last_key_value().map(|(sequence, length)| (*sequence, *length));
            self.writer.sealing = self
                .writer
                .sealing
                .filter(|(sequence, length)| recovering.has_room(*sequence, length + SEAL_BYTES));
            self.seal();
            for path in recovering.leftover {
                self.submit(DiskRequest::Remove { path: path.into() }, Purpose::Ignored);
            }
            self.make_reserve();
            events.push(JournalEvent::Recovered(crate::Recovery { notes: recovering.notes }));
        }
    }

    /// Everything that waits goes to the disk, if the disk is free; otherwise as soon as it is.
    pub fn flush(&mut self) {
        let ready = self.recovering.is_none() && self.writer.in_flight.is_none() && !self.writer.rotating;
        if !ready || self.stopped || self.queue.is_empty() {
            return;
        }
        // At least one batch goes into each segment: with a checkpoint as long as a segment, nothing else would ever be written.
        let fresh = self.writer.end == self.writer.start;
        let ready = self.writer.reserve == Reserve::Ready;
        if self.writer.end >= self.room() && ready && !fresh {
            return self.rotate();
        }
        // Nothing is written beyond what was allocated, where a full disk would be a failed write, and final. What does not fit waits for the next
        // segment.
        if !self.next_fits(self.writer.end + MARK_BYTES_MAX) && !fresh {
            if ready {
                self.rotate();
            }
            return;
        }
        self.write_batch();
    }

    /// Does what waits longest fit into the present segment, behind byte `end`?
    fn next_fits(&self, end: u64) -> bool {
        let bytes = self.queue.front().map_or(0, |(_, queued)| queued.bytes_max());
        end + bytes <= self.config.segment_bytes
    }

    fn room(&self) -> u64 {
        self.config.segment_bytes - HEADROOM_BYTES.min(self.config.segment_bytes / 8)
    }

    fn write_batch(&mut self) {
        let (sequence, base) = (self.writer.sequence, self.writer.end);
        let mut buffer = Buffer::with_capacity(16 * 1024);
        if self.config.sync {
            // Without syncs a mark would lie.
            let synced = self.writer.synced;
            frame::write(&mut buffer, base, sequence, record::MARK, |to| to.varint(synced));
        }
        let mut token = WriteToken::default();
        while let Some((next, queued)) = self.queue.pop_front() {
            token = next;
            self.encode(queued, base, &mut buffer);
            let end = base + buffer.len() as u64;
            if end >= self.room() || !self.next_fits(end) {
                break;
            }
        }
        self.writer.end = base + buffer.len() as u64;
        self.writer.in_flight = Some(token);
        let path = segment_path(sequence);
        let pieces = vec![buffer.finish()];
        self.submit(DiskRequest::WriteAt { path: path.clone(), offset: base, pieces }, Purpose::Batch);
        self.writer.pending = 1;
        if self.config.sync && !planted!("F01") {
            self.submit(DiskRequest::SyncFile { path }, Purpose::Batch);
            self.writer.pending += 1;
        }
    }

    fn encode(&mut self, queued: Queued, base: u64, buffer: &mut Buffer) {
        let sequence = self.writer.sequence;
        let start = buffer.len();
        let place = |buffer: &Buffer| (base + start as u64, (buffer.len() - start) as u64);
        match queued {
            Queued::Write(group, mut write)
                if planted!("B07") && write.truncate_from.is_some() && !write.entries.is_empty() =>
            {
                let entries = std::mem::take(&mut write.entries);
                self.encode(Queued::Write(group, write), base, buffer);
                self.encode(
                    Queued::Write(group, GroupWrite { entries, ..GroupWrite::default() }),
                    base,
                    buffer,
                );
            }
            Queued::Write(group, write) => {
                debug_assert!(
                    self.state(group).admits(&write),
                    "a write that does not fit onto the log of group {group}"
                );
                frame::write(buffer, base, sequence, record::WRITE, |to| {
                    record::encode_write(group, &write, to)
                });
                let (offset, length) = place(buffer);
                self.state(group).write(&write, sequence, offset, length);
            }
            Queued::Compact(group, to_position) => {
                frame::write(buffer, base, sequence, record::COMPACT, |to| {
                    record::encode_compact(group, to_position, to);
                });
                self.state(group).compact(to_position);
                self.drop_segments();
            }
            Queued::Snapshot(snapshot)
                if !snapshot.install && !self.is_newer_snapshot(snapshot.group, snapshot.meta.position) =>
            {
                self.overtaken(snapshot.group, snapshot.meta.position);
            }
            Queued::Snapshot(snapshot) => {
                frame::write(buffer, base, sequence, record::SNAPSHOT, |to| snapshot.encode(to));
                self.state(snapshot.group).snapshot(
                    &snapshot.meta,
                    snapshot.install,
                    snapshot.keep_log_after,
                );
                self.writer.snapshots_in_flight.push(snapshot);
                self.drop_segments();
            }
            Queued::Moved(group, entries) => {
                frame::write(buffer, base, sequence, record::MOVED, |to| {
                    record::encode_moved(group, &entries, to)
                });
                let (offset, length) = place(buffer);
                self.state(group).moved(&entries, sequence, offset, length);
                self.writer.forwarding = false;
                self.drop_segments();
                self.forward_oldest();
            }
            Queued::Drop(dropped) => {
                frame::write(buffer, base, sequence, record::DROP, |to| to.varint(dropped));
                self.writer.dropping.push(dropped);
            }
        }
    }

    pub(crate) fn state(&mut self, group: GroupId) -> &mut GroupState {
        self.groups.entry(group).or_default()
    }

    /// Older segments that hold nothing live go, oldest first: first a record says so, and when that is durable the file is removed.
    ///
    /// Never one from the middle. It holds more than entries: a vote of one group in segment 2, an entry of another in segment 1 that keeps
    /// that one alive. Were 2 dropped, replaying 1 and then 3 would never meet the vote, and the node would vote twice.
    fn drop_segments(&mut self) {
        while let Some(oldest) = self.writer.before.keys().next().copied()
            && self.groups.values().all(|group| !group.uses(oldest))
        {
            self.writer.before.remove(&oldest);
            self.enqueue(Queued::Drop(oldest));
        }
    }

    pub(crate) fn batch_step(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        if let Err(error) = completion.outcome
            && !planted!("F02")
        {
            return self.fail("writing the log", error, events);
        }
        self.writer.pending -= 1;
        if self.writer.pending > 0 {
            return;
        }
        let Some(token) = self.writer.in_flight.take() else { return };
        self.writer.synced = self.writer.end;
        let token = if planted!("L01") { self.newest_token } else { token };
        events.push(JournalEvent::Durable { token });
        for segment in std::mem::take(&mut self.writer.dropping) {
            self.submit(DiskRequest::Remove { path: segment_path(segment) }, Purpose::Ignored);
            self.retry_reserve();
        }
        self.say_failed(events);
        for snapshot in std::mem::take(&mut self.writer.snapshots_in_flight) {
            self.snapshot_current(&snapshot, events);
        }
        self.mark_when_idle();
        self.writer_says(events);
    }

    /// Behind the end of the segment before, a seal says that this one was durably begun. Should this one's file ever be missing, or its header be
    /// damaged, the one before would look like the newest, and all that came after it would silently be gone (F18).
    fn seal(&mut self) {
        let Some((sequence, base)) = self.writer.sealing.take().filter(|_| self.config.sync) else { return };
        let mut buffer = Buffer::with_capacity(SEAL_BYTES as usize);
        frame::write(&mut buffer, base, sequence, record::SEAL, |_| {});
        let path = segment_path(sequence);
        let pieces = vec![buffer.finish()];
        self.submit(DiskRequest::WriteAt { path: path.clone(), offset: base, pieces }, Purpose::IdleMark);
        self.submit(DiskRequest::SyncFile { path }, Purpose::IdleMark);
    }

    /// With nothing to write, a mark alone says how far the sync reached. It is not synced itself: lost, it was not needed. Without it a flipped bit
    /// in the last batch before a long rest would look like a torn tail, and what was acknowledged would silently be gone.
    fn mark_when_idle(&mut self) {
        let (sequence, base, synced) = (self.writer.sequence, self.writer.end, self.writer.synced);
        if !self.queue.is_empty()
            || !self.config.sync
            || base + 2 * MARK_BYTES_MAX > self.config.segment_bytes
        {
            return;
        }
        let mut buffer = Buffer::with_capacity(MARK_BYTES_MAX as usize);
        frame::write(&mut buffer, base, sequence, record::MARK, |to| to.varint(synced));
        self.writer.end += buffer.len() as u64;
        let pieces = vec![buffer.finish()];
        self.submit(
            DiskRequest::WriteAt { path: segment_path(sequence), offset: base, pieces },
            Purpose::IdleMark,
        );
    }

    // ── segments ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The present segment is full and all of it synced: the reserve takes its place.
    fn rotate(&mut self) {
        self.writer.rotating = true;
        self.writer.reserve = Reserve::Missing;
        let next = self.writer.sequence + 1;
        self.writer.named = false;
        self.submit(DiskRequest::Rename { from: RESERVE.into(), to: segment_path(next) }, Purpose::Rotate);
        self.writer.pending = 1;
    }

    pub(crate) fn rotated(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        if let Err(error) = completion.outcome {
            return self.fail("beginning the next segment of the log", error, events);
        }
        self.writer.pending -= 1;
        if self.writer.pending > 0 {
            return;
        }
        if self.writer.rotating && !self.writer.named && !planted!("F08") {
            self.writer.named = true;
            self.submit(DiskRequest::SyncDirectory { path: LOG.into() }, Purpose::Rotate);
            self.writer.pending = 1;
            return;
        }
        if self.writer.rotating {
            // The name is durable: now the segment gets its beginning, and that is made durable before anything follows.
            self.writer.rotating = false;
            // Not to the end: an idle mark there is not synced, and may be torn.
            let (old, length) = (self.writer.sequence, self.writer.synced);
            self.writer.before.insert(old, length);
            let end = self.writer.end;
            self.writer.sealing = Some((old, end)).filter(|_| end + SEAL_BYTES <= self.config.segment_bytes);
            self.writer.sequence = old + 1;
            let path = segment_path(old + 1);
            let start = self.segment_start(old + 1);
            self.writer.end = start.len() as u64;
            self.writer.start = self.writer.end;
            self.writer.in_flight = Some(WriteToken::default());
            self.submit(
                DiskRequest::WriteAt { path: path.clone(), offset: 0, pieces: vec![start] },
                Purpose::Rotate,
            );
            self.submit(DiskRequest::SyncFile { path }, Purpose::Rotate);
            self.writer.pending = 2;
            return;
        }
        self.writer.in_flight = None;
        self.writer.synced = self.writer.end;
        self.seal();
        self.make_reserve();
        self.forward_oldest();
    }

    fn make_reserve(&mut self) {
        self.writer.reserve = Reserve::Making;
        let path: Arc<str> = RESERVE.into();
        self.submit(DiskRequest::Remove { path: path.clone() }, Purpose::Ignored);
        self.submit(DiskRequest::Create { path: path.clone() }, Purpose::Reserve);
        self.submit(
            DiskRequest::Allocate { path: path.clone(), length: self.config.segment_bytes },
            Purpose::Reserve,
        );
        self.submit(DiskRequest::SyncFile { path }, Purpose::Reserve);
        self.writer.reserve_steps = 3;
    }

    /// Tries again to make a reserve that the disk had no room for. Owners call it now and then while the disk is full.
    pub fn retry_reserve(&mut self) {
        if self.writer.reserve == Reserve::Full && self.writer.reserve_steps == 0 && !self.stopped {
            self.make_reserve();
        }
    }

    pub(crate) fn reserve_step(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        self.writer.reserve_steps = self.writer.reserve_steps.saturating_sub(1);
        match completion.outcome {
            Ok(_) => {
                if self.writer.reserve_steps == 0 && self.writer.reserve == Reserve::Making {
                    self.writer.reserve = Reserve::Ready;
                }
            }
            Err(error) if error.kind == DiskErrorKind::Full => {
                self.writer.reserve = Reserve::Full;
                self.submit(DiskRequest::Remove { path: RESERVE.into() }, Purpose::Ignored);
            }
            Err(_) if self.writer.reserve == Reserve::Full => {}
            Err(error) => return self.fail("keeping a segment in reserve", error, events),
        }
        self.writer_says(events);
    }

    /// A full disk is an answer: it is said once, and once that it is over.
    fn writer_says(&mut self, events: &mut Vec<JournalEvent>) {
        match self.writer.reserve {
            Reserve::Full if !self.writer.full_said => {
                self.writer.full_said = true;
                events.push(JournalEvent::Full);
            }
            Reserve::Ready if self.writer.full_said => {
                self.writer.full_said = false;
                events.push(JournalEvent::SpaceBack);
            }
            Reserve::Missing | Reserve::Making | Reserve::Ready | Reserve::Full => {}
        }
    }

    // ── copying forward ─────────────────────────────────────────────────────────────────────────────────────────────

    /// A group that alone holds an old segment has its live entries copied forward, if they are few.
    fn forward_oldest(&mut self) {
        if self.writer.forwarding || self.writer.before.len() < 2 {
            return;
        }
        let Some(oldest) = self.writer.before.keys().next().copied() else { return };
        let live: u64 =
            self.groups.values().flat_map(|g| g.runs_in(oldest)).map(|(_, span)| span.length).sum();
        // At most a quarter of a segment, so that copying always frees more than it fills.
        if live == 0 || live > FORWARD_BYTES_MAX.min(self.config.segment_bytes / 4) {
            return;
        }
        let Some(run) = self.groups.values().find_map(|group| group.runs_in(oldest).next()) else { return };
        self.writer.forwarding = true;
        let (_, span) = run;
        let request =
            DiskRequest::Read { path: segment_path(oldest), offset: span.offset, length: span.length };
        self.submit(request, Purpose::Forward(oldest));
    }

    pub(crate) fn forward(&mut self, segment: u64, completion: DiskCompletion) {
        self.writer.forwarding = false;
        let Ok(DiskOutcome::Read(bytes)) = completion.outcome else { return };
        let found =
            self.groups.iter().find_map(|(id, group)| group.runs_in(segment).next().map(|run| (*id, run)));
        let Some((group, (first, span))) = found else { return };
        let Some(frame) = frame::read_at(bytes, span.offset, segment) else { return };
        let entries = match frame.kind {
            record::WRITE => record::decode_write(frame.payload).map(|(_, write)| write.entries),
            record::MOVED => record::decode_moved(frame.payload).map(|(_, entries)| entries),
            _ => return,
        };
        let Ok(entries) = entries else { return };
        let live = entries.into_iter().filter(|e| e.position.index >= first && e.position.index <= span.last);
        self.writer.forwarding = true;
        self.enqueue(Queued::Moved(group, live.collect()));
    }
}

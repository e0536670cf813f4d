//! Group commit: everything that waits goes into one write and one sync; what comes meanwhile is the next batch.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskErrorKind, DiskOutcome, DiskRequest, GroupId, Writer as Buffer, planted,
};

use crate::{
    Journal, JournalEvent, WriteToken,
    frame,
    index::GroupState,
    journal::{Purpose, Queued},
    record::{self, SegmentHeader},
};

/// Room that is kept at the end of a segment for what must never wait for space: votes.
const HEADROOM_BYTES: u64 = 64 * 1024;
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
    /// Everything before is synced.
    synced: u64,
    /// Older segments that are still needed, with their lengths.
    pub(crate) before: BTreeMap<u64, u64>,
    /// Operations of the batch under way.
    pending: u32,
    in_flight: Option<WriteToken>,
    rotating: bool,
    reserve: Reserve,
    full_said: bool,
    reserve_steps: u32,
    /// Segments whose Drop record is in the batch under way: removed once it is durable.
    dropping: Vec<u64>,
    snapshots_in_flight: Vec<crate::record::SnapshotRecord>,
    forwarding: bool,
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
        self.submit(DiskRequest::Allocate { path: path.clone(), length: self.config.segment_bytes }, Purpose::Opening);
        let start = self.segment_start(sequence);
        self.writer.end = start.len() as u64;
        self.submit(DiskRequest::WriteAt { path: path.clone(), offset: 0, pieces: vec![start] }, Purpose::Opening);
        self.submit(DiskRequest::SyncFile { path }, Purpose::Opening);
        self.submit(DiskRequest::SyncDirectory { path: LOG.into() }, Purpose::Opening);
        self.submit(DiskRequest::SyncDirectory { path: "".into() }, Purpose::Opening);
        self.writer.pending = 6;
    }

    /// What every segment begins with: whose it is, what came before, and all groups as they stand.
    fn segment_start(&self, sequence: u64) -> Bytes {
        let mut to = Buffer::with_capacity(4096);
        let before = self.writer.before.iter().map(|(sequence, length)| (*sequence, *length)).collect();
        let header = SegmentHeader { identity: self.identity, before };
        frame::write(&mut to, 0, sequence, record::HEADER, |to| header.encode(to));
        frame::write(&mut to, 0, sequence, record::CHECKPOINT, |to| record::encode_checkpoint(self.groups.iter(), to));
        to.finish()
    }

    /// Recovery is over once the first segment of this life stands.
    pub(crate) fn opened(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        if let Err(error) = completion.outcome {
            return self.fail("beginning a segment of the log", error, events);
        }
        self.writer.pending -= 1;
        if self.writer.pending == 0 {
            self.writer.synced = self.writer.end;
            let recovery = self.recovering.take().map(|recovering| recovering.notes).unwrap_or_default();
            self.make_reserve();
            events.push(JournalEvent::Recovered(crate::Recovery { notes: recovery }));
        }
    }

    /// Everything that waits goes to the disk, if the disk is free; otherwise as soon as it is.
    pub fn flush(&mut self) {
        let ready = self.recovering.is_none() && self.writer.in_flight.is_none() && !self.writer.rotating;
        if !ready || self.stopped || self.queue.is_empty() {
            return;
        }
        let room = self.config.segment_bytes.saturating_sub(HEADROOM_BYTES);
        if self.writer.end >= room && self.writer.reserve == Reserve::Ready {
            return self.rotate();
        }
        if self.writer.end >= self.config.segment_bytes && self.writer.reserve != Reserve::Ready {
            return;
        }
        self.write_batch();
    }

    fn write_batch(&mut self) {
        let (sequence, base) = (self.writer.sequence, self.writer.end);
        let mut buffer = Buffer::with_capacity(16 * 1024);
        let synced = self.writer.synced;
        frame::write(&mut buffer, base, sequence, record::MARK, |to| to.varint(synced));
        let mut token = WriteToken::default();
        while let Some((next, queued)) = self.queue.pop_front() {
            token = next;
            self.encode(queued, base, &mut buffer);
            if base + buffer.len() as u64 >= self.config.segment_bytes.saturating_sub(HEADROOM_BYTES) {
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
            Queued::Write(group, write) => {
                frame::write(buffer, base, sequence, record::WRITE, |to| record::encode_write(group, &write, to));
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
            Queued::Snapshot(snapshot) => {
                frame::write(buffer, base, sequence, record::SNAPSHOT, |to| snapshot.encode(to));
                self.state(snapshot.group).snapshot(&snapshot.meta, snapshot.install, snapshot.keep_log_after);
                self.writer.snapshots_in_flight.push(snapshot);
                self.drop_segments();
            }
            Queued::Moved(group, entries) => {
                frame::write(buffer, base, sequence, record::MOVED, |to| record::encode_moved(group, &entries, to));
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

    /// Older segments that hold nothing live go: first a record says so, and when that is durable the file is removed.
    fn drop_segments(&mut self) {
        let unused: Vec<u64> = self
            .writer
            .before
            .keys()
            .copied()
            .filter(|segment| self.groups.values().all(|group| !group.uses(*segment)))
            .collect();
        for segment in unused {
            self.writer.before.remove(&segment);
            self.enqueue(Queued::Drop(segment));
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
            if self.writer.reserve == Reserve::Full {
                self.make_reserve();
            }
        }
        for snapshot in std::mem::take(&mut self.writer.snapshots_in_flight) {
            self.snapshot_current(&snapshot, events);
        }
        self.writer_says(events);
    }

    // ── segments ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The present segment is full and all of it synced: the reserve takes its place.
    fn rotate(&mut self) {
        self.writer.rotating = true;
        self.writer.reserve = Reserve::Missing;
        let next = self.writer.sequence + 1;
        self.submit(DiskRequest::Rename { from: RESERVE.into(), to: segment_path(next) }, Purpose::Rotate);
        self.submit(DiskRequest::SyncDirectory { path: LOG.into() }, Purpose::Rotate);
        self.writer.pending = 2;
    }

    pub(crate) fn rotated(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        if let Err(error) = completion.outcome {
            return self.fail("beginning the next segment of the log", error, events);
        }
        self.writer.pending -= 1;
        if self.writer.pending > 0 {
            return;
        }
        if self.writer.rotating {
            // The name is durable: now the segment gets its beginning, and that is made durable before anything follows.
            self.writer.rotating = false;
            let (old, length) = (self.writer.sequence, self.writer.end);
            self.writer.before.insert(old, length);
            self.writer.sequence = old + 1;
            let path = segment_path(old + 1);
            let start = self.segment_start(old + 1);
            self.writer.end = start.len() as u64;
            self.writer.in_flight = Some(WriteToken::default());
            self.submit(DiskRequest::WriteAt { path: path.clone(), offset: 0, pieces: vec![start] }, Purpose::Rotate);
            self.submit(DiskRequest::SyncFile { path }, Purpose::Rotate);
            self.writer.pending = 2;
            return;
        }
        self.writer.in_flight = None;
        self.writer.synced = self.writer.end;
        self.make_reserve();
        self.forward_oldest();
    }

    fn make_reserve(&mut self) {
        self.writer.reserve = Reserve::Making;
        let path: Arc<str> = RESERVE.into();
        self.submit(DiskRequest::Remove { path: path.clone() }, Purpose::Ignored);
        self.submit(DiskRequest::Create { path: path.clone() }, Purpose::Reserve);
        self.submit(DiskRequest::Allocate { path: path.clone(), length: self.config.segment_bytes }, Purpose::Reserve);
        self.submit(DiskRequest::SyncFile { path }, Purpose::Reserve);
        self.writer.reserve_steps = 3;
    }

    /// Tries again to make a reserve that the disk had no room for. Owners call it now and then while the disk is full.
    pub fn retry_reserve(&mut self) {
        if self.writer.reserve == Reserve::Full && !self.stopped {
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
        let live: u64 = self.groups.values().flat_map(|g| g.runs_in(oldest)).map(|(_, span)| span.length).sum();
        if live == 0 || live > FORWARD_BYTES_MAX {
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
        let found = self.groups.iter().find_map(|(id, group)| group.runs_in(segment).next().map(|run| (*id, run)));
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

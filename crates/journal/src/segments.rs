//! Segments: how the next one begins, and what a full disk makes of that.
//!
//! ```text
//!   a file that is there already ─rename─┐
//!                                        ├─► allocate ─► sync directory ─► header, checkpoint, sync ─► seal and cut the one before
//!   none ────────────────────────create──┘        └─ no room: at a start, the last segment goes on; otherwise, wait
//! ```
//! A file that is there already is the reserve, or a segment whose beginning was never finished. No byte of either is ever read as a frame of the new
//! segment: a reserve is all zeros, because its new name is durable before the first byte is written to it; and what a header's torn write left names
//! the sequence that it was meant for, which is never used again (F10).

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskError, DiskErrorKind, DiskOutcome, DiskRequest, Writer as Buffer, planted,
};

use crate::{
    Journal, JournalEvent, frame,
    journal::Purpose,
    record::{self, SegmentHeader},
    recovery::Recovering,
    writer::MARK_BYTES_MAX,
};

pub(crate) const LOG: &str = "log";
pub(crate) const RESERVE: &str = "log/reserve";
pub(crate) const SEAL_BYTES: u64 = frame::HEADER_BYTES as u64;
/// One piece of the zeros that wipe a tail.
const ZEROS_BYTES: usize = 64 * 1024;

pub(crate) fn segment_path(sequence: u64) -> Arc<str> {
    format!("{LOG}/{sequence:016x}.seg").into()
}

/// The segment in reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reserve {
    #[default]
    Missing,
    Making(Making),
    Ready,
    /// The disk had no room for it.
    Full,
}

/// What a reserve in the making waits for. One step after the other: were they all submitted at once, a full disk would answer the first, and the
/// others would find no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Making {
    /// The disk was full: is there room now?
    Room,
    Create,
    Allocate,
    Sync,
}

/// A segment that is being begun.
#[derive(Debug)]
pub(crate) struct Beginning {
    sequence: u64,
    length: u64,
    step: Step,
    /// Operations of the step under way.
    pending: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A file gets the segment's name.
    Take,
    Allocate,
    /// The name is made durable.
    Name,
    /// Header and checkpoint are.
    Start,
    /// Instead of all that: the rest of the last segment is made zeros, and it goes on.
    Wipe,
}

/// The newest segment, as recovery found it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last {
    pub(crate) sequence: u64,
    /// Its last valid frame ends here.
    pub(crate) end: u64,
    /// The file's length.
    pub(crate) capacity: u64,
    /// Everything from here on is zeros.
    pub(crate) zeros_from: u64,
    /// Its checkpoint is there: the crash did not come between that and its header.
    pub(crate) has_checkpoint: bool,
}

impl Journal {
    /// Begins segment `sequence` in the file `from`, or in a new one.
    pub(crate) fn begin_segment(&mut self, sequence: u64, from: Option<Arc<str>>) {
        let length = self.segment_bytes(self.segment_start(sequence).len() as u64);
        let to = segment_path(sequence);
        let request = match from {
            Some(from) => DiskRequest::Rename { from, to },
            None => DiskRequest::Create { path: to },
        };
        self.submit(request, Purpose::Begin);
        self.writer.beginning = Some(Beginning { sequence, length, step: Step::Take, pending: 1 });
    }

    /// The present segment is full and all of it synced: the reserve takes its place.
    pub(crate) fn rotate(&mut self) {
        let next = self.writer.sequence + 1;
        let start = self.segment_start(next).len() as u64;
        if self.writer.reserve_bytes < start + self.config.segment_bytes / 4 {
            // There are so many groups by now that their checkpoint fills the reserve.
            return self.make_reserve();
        }
        self.begin_segment(next, Some(RESERVE.into()));
    }

    /// Bytes of a segment that begins with `start` bytes: at least half of the usual remain for records.
    fn segment_bytes(&self, start: u64) -> u64 {
        self.config.segment_bytes.max(start + self.config.segment_bytes / 2)
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

    pub(crate) fn begin_step(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        let Some(mut beginning) = self.writer.beginning.take() else { return };
        if let Err(error) = completion.outcome {
            let early = matches!(beginning.step, Step::Take | Step::Allocate);
            return if early && error.kind == DiskErrorKind::Full {
                self.no_room(&beginning, error, events)
            } else {
                self.fail("beginning a segment of the log", error, events)
            };
        }
        beginning.pending -= 1;
        if beginning.pending > 0 {
            self.writer.beginning = Some(beginning);
            return;
        }
        let path = segment_path(beginning.sequence);
        match beginning.step {
            Step::Take => {
                beginning.step = Step::Allocate;
                beginning.pending = 1;
                self.submit(DiskRequest::Allocate { path, length: beginning.length }, Purpose::Begin);
            }
            Step::Allocate if !planted!("F08") => {
                // Only now: nothing is ordered across a file and its directory, so a directory synced meanwhile might not know the file yet, and a
                // power loss would take it with everything in it (F08).
                beginning.step = Step::Name;
                beginning.pending = 2;
                self.submit(DiskRequest::SyncDirectory { path: LOG.into() }, Purpose::Begin);
                self.submit(DiskRequest::SyncDirectory { path: "".into() }, Purpose::Begin);
            }
            Step::Allocate | Step::Name => self.start_segment(&mut beginning),
            Step::Start => {
                self.writer.synced = self.writer.end;
                return self.begun(true, events);
            }
            Step::Wipe => return self.begun(false, events),
        }
        self.writer.beginning = Some(beginning);
    }

    /// The name is durable: now the segment gets its beginning, and that is made durable before anything follows.
    fn start_segment(&mut self, beginning: &mut Beginning) {
        if self.recovering.is_none() {
            // Not to the end: an idle mark there is not synced, and may be torn.
            self.writer.before.insert(self.writer.sequence, self.writer.synced);
            let seal = (self.writer.sequence, self.writer.end);
            self.writer.sealing = Some(seal).filter(|_| self.writer.end + SEAL_BYTES <= self.writer.capacity);
            self.writer.reserve = Reserve::Missing;
        }
        let start = self.segment_start(beginning.sequence);
        self.writer.sequence = beginning.sequence;
        self.writer.capacity = beginning.length;
        self.writer.end = start.len() as u64;
        self.writer.start = self.writer.end;
        let path = segment_path(beginning.sequence);
        self.submit(
            DiskRequest::WriteAt { path: path.clone(), offset: 0, pieces: vec![start] },
            Purpose::Begin,
        );
        self.submit(DiskRequest::SyncFile { path }, Purpose::Begin);
        beginning.step = Step::Start;
        beginning.pending = 2;
    }

    /// A segment stands; `fresh` unless it is the last one of an earlier life.
    fn begun(&mut self, fresh: bool, events: &mut Vec<JournalEvent>) {
        if fresh {
            // Should this very beginning be damaged later, the mark says that it was whole once. Without it, {a vote in the checkpoint, and nothing
            // else in the log} with one flipped bit would be an unfinished segment, and the vote forgotten.
            self.mark_when_idle();
            self.writer.start = self.writer.end;
        }
        let sealed = self.writer.sealing.map(|(sequence, _)| sequence);
        self.seal();
        if let Some(mut recovering) = self.recovering.take() {
            self.writer.forward_credit = self.config.segment_bytes;
            recovering.notes.append(&mut self.writer.notes);
            if fresh {
                recovering.let_go();
            }
            self.cut_abandoned(&recovering, sealed);
            for path in recovering.leftover {
                self.submit(DiskRequest::Remove { path: path.into() }, Purpose::Ignored);
            }
            if !fresh {
                self.writer.reserve = Reserve::Full;
                self.drop_segments();
                self.writer_says(events);
            }
            events.push(JournalEvent::Recovered(crate::Recovery { notes: recovering.notes }));
        }
        if fresh {
            self.make_reserve();
        }
        self.forward_oldest();
    }

    // ── the segment before ──────────────────────────────────────────────────────────────────────────────────────────

    /// Behind the end of the segment before, a seal says that this one was durably begun. Should this one's file ever be missing, or its header be
    /// damaged, the one before would look like the newest, and all that came after it would silently be gone (F18).
    ///
    /// Behind the seal the file is cut: 1,000 restarts would else hold 1,000 preallocated segments. Nothing there is ever read again, from the moment
    /// at which the new header, which gives the length of what is read, was durable; and that was before. Whether a crash finds the file cut or not
    /// makes no difference.
    fn seal(&mut self) {
        let Some((sequence, base)) = self.writer.sealing.take().filter(|_| self.config.sync) else { return };
        let mut buffer = Buffer::with_capacity(SEAL_BYTES as usize);
        frame::write(&mut buffer, base, sequence, record::SEAL, |_| {});
        let path = segment_path(sequence);
        let pieces = vec![buffer.finish()];
        self.submit(DiskRequest::WriteAt { path: path.clone(), offset: base, pieces }, Purpose::IdleMark);
        self.submit(
            DiskRequest::Truncate { path: path.clone(), length: base + SEAL_BYTES },
            Purpose::IdleMark,
        );
        self.submit(DiskRequest::SyncFile { path }, Purpose::IdleMark);
    }

    /// Cuts what an earlier life did not come to cut. The seal may stand a mark's length behind the end; it stays.
    fn cut_abandoned(&mut self, recovering: &Recovering, sealed: Option<u64>) {
        let long = |(sequence, end): (&u64, &u64)| {
            let length = end + MARK_BYTES_MAX + SEAL_BYTES;
            let cut =
                recovering.length(*sequence).is_some_and(|there| there > length) && sealed != Some(*sequence);
            cut.then_some((*sequence, length))
        };
        let cuts: Vec<(u64, u64)> = self.writer.before.iter().filter_map(long).collect();
        for (sequence, length) in cuts {
            self.submit(DiskRequest::Truncate { path: segment_path(sequence), length }, Purpose::IdleMark);
        }
    }

    // ── a full disk ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// The disk has no room for the next segment.
    fn no_room(&mut self, beginning: &Beginning, error: DiskError, events: &mut Vec<JournalEvent>) {
        if beginning.step == Step::Allocate {
            self.submit(DiskRequest::Remove { path: segment_path(beginning.sequence) }, Purpose::Ignored);
        }
        if self.recovering.is_some() {
            return self.go_on(error, events);
        }
        match beginning.step {
            // The reserve is still there; only its new name found no room.
            Step::Take => self.writer.refused = true,
            Step::Allocate | Step::Name | Step::Start | Step::Wipe => self.writer.reserve = Reserve::Full,
        }
        self.writer_says(events);
    }

    /// A start on a full disk, and no reserve is left: the last segment of the life before goes on. So a node starts on a full disk as often as it
    /// must; votes need no new byte of the disk.
    ///
    /// What a torn batch left behind the end becomes zeros first, durably. Else a frame of it could come back: {a batch of 100 bytes and one of 50
    /// behind it, both unsynced and the first torn; this life writes 100 bytes in its place; the next one reads the 50 as if they followed}. Zeros of a
    /// life that died meanwhile are covered by the same sync. A crash in between leaves what was there before: the log ends at the same byte.
    ///
    /// If the last segment never got its checkpoint, it gets it now, before its first record. {The power fails when only the header of 4 is written; 4 goes on,
    /// and one day 3 is not needed any more}: without 3, whose checkpoint counted so far, the records of 4 would fit onto nothing. Found by the simulator (I17).
    fn go_on(&mut self, error: DiskError, events: &mut Vec<JournalEvent>) {
        let last = self.recovering.as_mut().and_then(Recovering::go_on);
        let checkpoint = last.as_ref().map(|(last, _)| self.missing_checkpoint(last)).unwrap_or_default();
        let fits = |(last, _): &(Last, _)| last.end + checkpoint.len() as u64 <= last.capacity;
        let Some((last, unneeded)) = last.filter(fits) else {
            let doing = "beginning the log: make room for its first segment, 64 MiB unless configured otherwise, \
                         and start the node again";
            return self.fail(doing, error, events);
        };
        // No checkpoint will say that these are not needed, so a record must.
        self.writer.before.extend(unneeded);
        self.writer.before.remove(&last.sequence);
        self.writer.sealing = None;
        self.writer.sequence = last.sequence;
        self.writer.capacity = last.capacity;
        let end = last.end + checkpoint.len() as u64;
        (self.writer.end, self.writer.synced) = (end, end);
        self.writer.notes.push(format!(
            "{}: the disk is full, so the log goes on here; {} bytes are left",
            segment_path(last.sequence),
            last.capacity.saturating_sub(end)
        ));
        let path = segment_path(last.sequence);
        let mut pending = 3;
        if last.zeros_from > end || !checkpoint.is_empty() {
            let length = last.zeros_from.saturating_sub(end) as usize;
            let zeros = Bytes::from(vec![0; ZEROS_BYTES.min(length)]);
            let mut pieces = vec![checkpoint];
            pieces.extend(std::iter::repeat_n(zeros.clone(), length.checked_div(zeros.len()).unwrap_or(0)));
            pieces.push(zeros.slice(..length.checked_rem(zeros.len()).unwrap_or(0)));
            pending += 1;
            self.submit(
                DiskRequest::WriteAt { path: path.clone(), offset: last.end, pieces },
                Purpose::Begin,
            );
        }
        self.submit(DiskRequest::SyncFile { path }, Purpose::Begin);
        self.submit(DiskRequest::SyncDirectory { path: LOG.into() }, Purpose::Begin);
        self.submit(DiskRequest::SyncDirectory { path: "".into() }, Purpose::Begin);
        self.writer.beginning =
            Some(Beginning { sequence: last.sequence, length: last.capacity, step: Step::Wipe, pending });
    }

    fn missing_checkpoint(&self, last: &Last) -> Bytes {
        let mut to = Buffer::with_capacity(4096);
        if !last.has_checkpoint {
            frame::write(&mut to, last.end, last.sequence, record::CHECKPOINT, |to| {
                record::encode_checkpoint(self.groups.iter(), to)
            });
        }
        to.finish()
    }

    fn make_reserve(&mut self) {
        let next = self.segment_start(self.writer.sequence + 1).len() as u64;
        self.writer.reserve_bytes = self.segment_bytes(next);
        self.writer.reserve = Reserve::Making(Making::Create);
        self.submit(DiskRequest::Remove { path: RESERVE.into() }, Purpose::Ignored);
        self.submit(DiskRequest::Create { path: RESERVE.into() }, Purpose::Reserve);
    }

    /// Tries again what the disk had no room for. Owners call it now and then while the disk is full.
    pub fn retry_reserve(&mut self) {
        if self.stopped {
            return;
        }
        if std::mem::take(&mut self.writer.refused) {
            self.flush();
        }
        if self.writer.reserve == Reserve::Full {
            // Asked first: an allocation that fails takes, for a moment, the last bytes that others on this disk need.
            self.writer.reserve = Reserve::Making(Making::Room);
            self.submit(DiskRequest::FreeSpace, Purpose::Reserve);
        }
    }

    pub(crate) fn reserve_step(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        let Reserve::Making(step) = self.writer.reserve else { return };
        let path: Arc<str> = RESERVE.into();
        let length = self.writer.reserve_bytes;
        match (step, completion.outcome) {
            (Making::Room, Ok(DiskOutcome::Free(free))) if free < self.config.segment_bytes => {
                self.writer.reserve = Reserve::Full;
            }
            (Making::Room, _) => self.make_reserve(),
            (_, Err(error)) if error.kind == DiskErrorKind::Full => {
                self.writer.reserve = Reserve::Full;
                self.submit(DiskRequest::Remove { path }, Purpose::Ignored);
            }
            (_, Err(error)) => return self.fail("keeping a segment in reserve", error, events),
            (Making::Create, Ok(_)) => {
                self.writer.reserve = Reserve::Making(Making::Allocate);
                self.submit(DiskRequest::Allocate { path, length }, Purpose::Reserve);
            }
            (Making::Allocate, Ok(_)) => {
                self.writer.reserve = Reserve::Making(Making::Sync);
                self.submit(DiskRequest::SyncFile { path }, Purpose::Reserve);
            }
            (Making::Sync, Ok(_)) => {
                self.writer.reserve = Reserve::Ready;
                self.forward_oldest();
            }
        }
        self.writer_says(events);
    }

    /// A full disk is an answer: it is said once, and once that it is over.
    pub(crate) fn writer_says(&mut self, events: &mut Vec<JournalEvent>) {
        let full = self.writer.reserve == Reserve::Full || self.writer.refused;
        if full && !self.writer.full_said {
            self.writer.full_said = true;
            events.push(JournalEvent::Full);
        } else if self.writer.full_said && self.has_reserve() {
            self.writer.full_said = false;
            events.push(JournalEvent::SpaceBack);
        }
    }
}

//! Group commit: everything that waits goes into one write and one sync; what comes meanwhile is the next batch.

use std::collections::BTreeMap;

use quorate_consensus::{DiskCompletion, DiskErrorKind, DiskRequest, GroupId, Writer as Buffer, planted};

use crate::{
    GroupWrite, Journal, JournalEvent, WriteToken, frame,
    index::GroupState,
    journal::{Purpose, Queued},
    record,
    segments::{Beginning, Reserve, SEAL_BYTES, segment_path},
};

/// Room that is kept at the end of a segment for what must never wait for space: votes. In small segments an eighth.
///
/// A vote takes some 200 bytes with its marks, so that a node whose disk is full takes part in 5,000 elections.
const HEADROOM_BYTES: u64 = 1 << 20;
/// A mark is no longer than this.
pub(crate) const MARK_BYTES_MAX: u64 = frame::HEADER_BYTES as u64 + 10;

/// The segment being written, and the one in reserve.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The present segment; zero before the first.
    pub(crate) sequence: u64,
    /// Where the next frame goes.
    pub(crate) end: u64,
    /// Where the first frame after its checkpoint stands.
    pub(crate) start: u64,
    /// Everything before is synced.
    pub(crate) synced: u64,
    /// Bytes that are really there for the present segment. Nothing is written beyond, where a full disk would be a failed write, and final.
    pub(crate) capacity: u64,
    /// Older segments that are still needed, with their lengths.
    pub(crate) before: BTreeMap<u64, u64>,
    /// Operations of the batch under way.
    pending: u32,
    in_flight: Option<WriteToken>,
    /// No mark says yet that the last batch was synced.
    unmarked: bool,
    /// Bytes that the present segment will have once they have been made sure of.
    growing: u64,
    /// A segment that is being begun; nothing else is written meanwhile.
    pub(crate) beginning: Option<Beginning>,
    pub(crate) reserve: Reserve,
    /// Bytes of the reserve that is there or being made.
    pub(crate) reserve_bytes: u64,
    /// The disk had no room for something else than a reserve: for one write that is longer than a segment, or for a name.
    pub(crate) refused: bool,
    pub(crate) full_said: bool,
    /// Segments whose Drop record is in the batch under way: removed once it is durable.
    pub(crate) dropping: Vec<u64>,
    /// The segment before this one, and where its seal goes once this one is durable.
    pub(crate) sealing: Option<(u64, u64)>,
    /// For people, with the next recovery.
    pub(crate) notes: Vec<String>,
    snapshots_in_flight: Vec<crate::record::SnapshotRecord>,
    pub(crate) forwarding: bool,
    /// So many bytes may still be copied forward.
    pub(crate) forward_credit: u64,
}

impl Writer {
    /// The segment right before the present one, with its length.
    pub(crate) fn newest_before(&self) -> Option<(u64, u64)> {
        let (sequence, length) = self.before.last_key_value()?;
        (sequence + 1 == self.sequence).then_some((*sequence, *length))
    }
}

/// What can be done with what waits longest.
enum Way {
    /// It fits here.
    Here,
    /// The reserve takes the present segment's place first.
    Next,
    /// It is longer than a segment and gets one of its own size.
    Grow(u64),
    /// Neither now: when the reserve is made, or there is room on the disk again.
    Wait,
}

impl Journal {
    /// Everything that waits goes to the disk, if the disk is free; otherwise as soon as it is.
    pub fn flush(&mut self) {
        let idle = self.recovering.is_none()
            && self.writer.in_flight.is_none()
            && self.writer.beginning.is_none()
            && self.too_long.is_none()
            && !self.stopped;
        if !idle {
            return;
        }
        match self.way() {
            Some(Way::Here) => self.write_batch(),
            Some(Way::Next) => self.rotate(),
            Some(Way::Grow(length)) => self.grow(length),
            Some(Way::Wait) | None => {}
        }
    }

    /// Where may what waits longest go? `None` if nothing waits.
    fn way(&self) -> Option<Way> {
        let (_, queued) = self.queue.front()?;
        let end = self.writer.end + MARK_BYTES_MAX + queued.bytes_max();
        let fits = end <= self.writer.capacity;
        // At least one batch goes into each segment: with a checkpoint as long as a segment, nothing else would ever be written.
        let fresh = self.writer.end == self.writer.start;
        Some(if fresh && !fits {
            if self.writer.refused { Way::Wait } else { Way::Grow(end) }
        } else if self.has_reserve() {
            if fresh || (fits && self.writer.end < self.room()) { Way::Here } else { Way::Next }
        } else {
            // Without a reserve there may never be another segment. Votes get the last bytes of this one, and entries do not.
            let fits = if queued.is_essential() { fits } else { end <= self.room() };
            if fits { Way::Here } else { Way::Wait }
        })
    }

    /// Is there a next segment for what does not fit into this one?
    #[must_use]
    pub fn has_reserve(&self) -> bool {
        self.writer.reserve == Reserve::Ready && !self.writer.refused
    }

    /// Is there room for certain for `bytes` more of entries, behind all that waits?
    ///
    /// Owners hand over no entries while there is not. What waits is written in order, so an entry that waits for space would make a vote wait
    /// behind it: {the reserve is being made, 70 MiB of entries are queued, 10 MiB are left; then the disk is full, and an election comes}.
    #[must_use]
    pub fn has_room_for(&self, bytes: u64) -> bool {
        let end = self.writer.end.saturating_add(self.queued_bytes).saturating_add(bytes);
        self.has_reserve() || (!self.writer.refused && end <= self.room())
    }

    /// Does what waits longest fit into the present segment, behind byte `end`?
    fn next_fits(&self, end: u64) -> bool {
        let Some((_, queued)) = self.queue.front() else { return true };
        let roomy = self.has_reserve() || queued.is_essential();
        end + queued.bytes_max() <= if roomy { self.writer.capacity } else { self.room() }
    }

    fn room(&self) -> u64 {
        self.writer.capacity.saturating_sub(HEADROOM_BYTES.min(self.config.segment_bytes / 8))
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
        let mut light = true;
        while let Some((next, queued)) = self.queue.pop_front() {
            token = next;
            self.queued_bytes = self.queued_bytes.saturating_sub(queued.bytes_max());
            light &= matches!(&queued, Queued::Write(_, write) if write.entries.is_empty() && write.truncate_from.is_none());
            let (copies, before) = (matches!(queued, Queued::Moved(..)), buffer.len());
            self.encode(queued, base, &mut buffer);
            self.pay_for_copies(copies, (buffer.len() - before) as u64);
            let end = base + buffer.len() as u64;
            // Past the room, the next segment takes what follows, if there is one.
            if (end >= self.room() && self.has_reserve()) || !self.next_fits(end) {
                break;
            }
        }
        self.writer.end = base + buffer.len() as u64;
        self.writer.unmarked = false;
        self.writer.in_flight = Some(token);
        let path = segment_path(sequence);
        let pieces = vec![buffer.finish()];
        self.submit(DiskRequest::WriteAt { path: path.clone(), offset: base, pieces }, Purpose::Batch);
        self.writer.pending = 1;
        // F12: what brings no entry, such as a vote, is not worth a sync.
        let unworthy = light && planted!("F12");
        if self.config.sync && !unworthy && !planted!("F01") {
            self.submit(DiskRequest::SyncFile { path }, Purpose::Batch);
            self.writer.pending += 1;
        }
    }

    fn pay_for_copies(&mut self, copies: bool, bytes: u64) {
        let credit = &mut self.writer.forward_credit;
        *credit = if copies { credit.saturating_sub(bytes) } else { credit.saturating_add(bytes) };
        *credit = (*credit).min(2 * self.config.segment_bytes);
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
                // F18: the file goes before it is durable that nobody needs it.
                if planted!("F18") {
                    self.submit(DiskRequest::Remove { path: segment_path(dropped) }, Purpose::Ignored);
                }
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
    pub(crate) fn drop_segments(&mut self) {
        while let Some(oldest) = self.writer.before.keys().next().copied()
            && (self.groups.values().all(|group| !group.uses(oldest))
                || planted!("L02") && self.groups.values().any(|group| !group.uses(oldest)))
        {
            self.writer.before.remove(&oldest);
            self.enqueue(Queued::Drop(oldest));
        }
    }

    /// A write longer than a segment gets a segment of its own size; its bytes are made sure of before, so that a full disk is an answer here too.
    fn grow(&mut self, length: u64) {
        self.writer.in_flight = Some(WriteToken::default());
        self.writer.growing = length;
        let path = segment_path(self.writer.sequence);
        self.submit(DiskRequest::Allocate { path, length }, Purpose::Grow);
    }

    pub(crate) fn grown(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        self.writer.in_flight = None;
        match completion.outcome {
            Ok(_) => self.writer.capacity = self.writer.capacity.max(self.writer.growing),
            Err(error) if error.kind == DiskErrorKind::Full => self.writer.refused = true,
            Err(error) => return self.fail("making room for a long write", error, events),
        }
        self.writer_says(events);
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
        let dropping = std::mem::take(&mut self.writer.dropping);
        for segment in &dropping {
            self.submit(DiskRequest::Remove { path: segment_path(*segment) }, Purpose::Ignored);
        }
        if !dropping.is_empty() {
            self.retry_reserve();
        }
        self.say_failed(events);
        for snapshot in std::mem::take(&mut self.writer.snapshots_in_flight) {
            self.snapshot_current(&snapshot, events);
        }
        self.writer.unmarked = true;
        self.writer_says(events);
    }

    /// Has the last batch no mark behind it, and nothing on its way that would bring one? Owners then call [`mark`](Self::mark) after a short rest.
    #[must_use]
    pub fn wants_mark(&self) -> bool {
        self.writer.unmarked && self.queue.is_empty() && self.writer.in_flight.is_none()
    }

    /// Writes the mark that [`wants_mark`](Self::wants_mark) asks for.
    ///
    /// After a rest and not after each batch: the next batch brings a mark of its own, and a write with nothing in it costs the disk's thread and the
    /// core as many wake-ups as one with a thousand entries.
    pub fn mark(&mut self) {
        if self.wants_mark() && self.writer.beginning.is_none() && !self.stopped {
            self.mark_when_idle();
        }
    }

    /// With nothing to write, a mark alone says how far the sync reached. It is not synced itself: lost, it was not needed. Without it a flipped bit
    /// in the last batch before a long rest would look like a torn tail, and what was acknowledged would silently be gone.
    pub(crate) fn mark_when_idle(&mut self) {
        self.writer.unmarked = false;
        let (sequence, base, synced) = (self.writer.sequence, self.writer.end, self.writer.synced);
        if !self.queue.is_empty()
            || !self.config.sync
            || base + MARK_BYTES_MAX + SEAL_BYTES > self.writer.capacity
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
}

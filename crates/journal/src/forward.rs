//! Copying forward: a group that alone holds an old segment has its live entries written again further on, and the segment can go.
//!
//! Segments go oldest first, so one that holds much keeps all behind it: {10 MiB of entries, and then 1,000 restarts that wrote one entry each}. When
//! there are many more segments than what lives in them would fill, the oldest is copied however much it is; those behind it are nearly empty, and
//! soon there are fewer.

use quorate_consensus::{DiskCompletion, DiskOutcome, DiskRequest, Entry, GroupId, Index};

use crate::{
    Journal, JournalEvent, frame,
    index::Span,
    journal::{Purpose, Queued},
    record,
    segments::segment_path,
};

/// Live bytes of the oldest segment that are worth copying forward so that it can go.
const FORWARD_BYTES_MAX: u64 = 1 << 20;
/// Segments that may be there however little lives in them.
const SEGMENTS_SPARSE: u64 = 16;

/// A part of an old segment that is being read: frames of one group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    group: GroupId,
    segment: u64,
    offset: u64,
    length: u64,
}

impl Journal {
    /// A group that alone holds an old segment has its live entries copied forward, if they are few, or if there are too many segments.
    ///
    /// No more is ever copied than was written otherwise, and a segment at each start: whatever the sizes of frames and checkpoints, copying never
    /// feeds itself.
    pub(crate) fn forward_oldest(&mut self) {
        if self.writer.forwarding || self.writer.before.len() < 2 {
            return;
        }
        let Some(oldest) = self.writer.before.keys().next().copied() else { return };
        let live = self.live_bytes(|segment| segment == oldest);
        // At most a quarter of a segment, so that copying always frees more than it fills.
        let few = live <= FORWARD_BYTES_MAX.min(self.config.segment_bytes / 4);
        if live == 0 || !(few || self.is_sparse()) {
            return;
        }
        let Some(part) = self.first_part(oldest) else { return };
        // What is copied needs room as all that is written does; on a full disk it would take that of the votes.
        if !self.has_room_for(part.length) || self.writer.forward_credit < part.length {
            return;
        }
        self.writer.forwarding = true;
        let path = segment_path(part.segment);
        self.submit(
            DiskRequest::Read { path, offset: part.offset, length: part.length },
            Purpose::Forward(part),
        );
    }

    fn live_bytes(&self, of: impl Fn(u64) -> bool) -> u64 {
        let spans = self.groups.values().flat_map(crate::GroupState::spans);
        spans.filter(|span| of(span.segment)).map(|span| span.length).sum()
    }

    /// Are there far more segments than what lives in them would fill?
    fn is_sparse(&self) -> bool {
        let count = self.writer.before.len() as u64;
        count > SEGMENTS_SPARSE && {
            let live = self.live_bytes(|segment| segment != self.writer.sequence);
            count > SEGMENTS_SPARSE + 2 * live.div_ceil(self.config.segment_bytes)
        }
    }

    /// The first runs of a group that stand in `segment`: one at least, and then those behind it that make one frame of many. Copied one by one, each
    /// with its marks, small entries would take more than they did.
    fn first_part(&self, segment: u64) -> Option<Part> {
        let length_max = FORWARD_BYTES_MAX.min(self.config.segment_bytes / 16);
        let (group, state) = self.groups.iter().find(|(_, state)| state.runs_in(segment).next().is_some())?;
        let (_, first) = state.runs_in(segment).next()?;
        let mut end = first.offset + first.length;
        for (_, span) in state.runs_in(segment).skip(1) {
            let next = span.offset + span.length;
            if span.offset < end || next - first.offset > length_max {
                break;
            }
            end = next;
        }
        Some(Part { group: *group, segment, offset: first.offset, length: end - first.offset })
    }

    pub(crate) fn forward(&mut self, part: Part, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        self.writer.forwarding = false;
        let Ok(DiskOutcome::Read(bytes)) = completion.outcome else { return };
        let within = |span: &Span| {
            span.offset >= part.offset && span.offset + span.length <= part.offset + part.length
        };
        let runs: Vec<(Index, Span)> = match self.groups.get(&part.group) {
            Some(state) => state.runs_in(part.segment).filter(|(_, span)| within(span)).collect(),
            None => Vec::new(),
        };
        let mut moved: Vec<Entry> = Vec::new();
        for (first, span) in runs {
            if moved.last().is_some_and(|last| last.position.index.next() != first) {
                break;
            }
            let frame = bytes.slice(((span.offset - part.offset) as usize).min(bytes.len())..);
            let entries = frame::read_at(frame, span.offset, span.segment).and_then(record::entries_of);
            let Some(entries) = entries else {
                let what = format!("entries of group {} do not read back", part.group);
                return self.damaged(&segment_path(span.segment), span.offset, what, events);
            };
            let live = |entry: &Entry| entry.position.index >= first && entry.position.index <= span.last;
            moved.extend(entries.into_iter().filter(live));
        }
        if moved.is_empty() {
            // Compacted or truncated while it was read.
            return self.forward_oldest();
        }
        self.writer.forwarding = true;
        self.enqueue(Queued::Moved(part.group, moved));
    }
}

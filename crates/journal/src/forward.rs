//! Copying forward: a group that alone holds an old segment has its live entries written again further on, and the segment can go.
//!
//! Segments go oldest first, so one that holds much keeps all behind it: {10 MiB of entries, and then 1,000 restarts that wrote one entry each}. When
//! there are many more segments than what lives in them would fill, the oldest is copied however much it is; those behind it are nearly empty, and
//! soon there are fewer.

use quorate_consensus::{DiskCompletion, DiskOutcome, DiskRequest};

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

impl Journal {
    fn live_bytes(&self, of: impl Fn(u64) -> bool) -> u64 {
        let spans = self.groups.values().flat_map(crate::GroupState::spans);
        spans.filter(|span| of(span.segment)).map(|span| span.length).sum()
    }

    /// Are there more than twice the segments that would do?
    fn is_sparse(&self) -> bool {
        let count = self.writer.before.len() as u64;
        count > SEGMENTS_SPARSE && {
            let live = self.live_bytes(|segment| segment != self.writer.sequence);
            count > SEGMENTS_SPARSE + 2 * live.div_ceil(self.config.segment_bytes)
        }
    }

    /// A group that alone holds an old segment has its live entries copied forward, if they are few.
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
        let Some((_, span)) = self.groups.values().find_map(|group| group.runs_in(oldest).next()) else {
            return;
        };
        // What is copied needs room as all that is written does; on a full disk it would take that of the votes.
        if !self.has_room_for(span.length) {
            return;
        }
        self.writer.forwarding = true;
        let request =
            DiskRequest::Read { path: segment_path(oldest), offset: span.offset, length: span.length };
        self.submit(request, Purpose::Forward(span));
    }

    pub(crate) fn forward(&mut self, read: Span, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        self.writer.forwarding = false;
        let place = |span: &Span| (span.segment, span.offset) == (read.segment, read.offset);
        let found = self.groups.iter().find_map(|(id, group)| {
            group.runs_in(read.segment).find(|(_, span)| place(span)).map(|run| (*id, run))
        });
        // Compacted or truncated while it was read.
        let Some((group, (first, span))) = found else { return self.forward_oldest() };
        let Ok(DiskOutcome::Read(bytes)) = completion.outcome else { return };
        let Some(entries) = frame::read_at(bytes, span.offset, span.segment).and_then(record::entries_of)
        else {
            let what = format!("entries of group {group} do not read back");
            return self.damaged(&segment_path(span.segment), span.offset, what, events);
        };
        let live = entries.into_iter().filter(|e| e.position.index >= first && e.position.index <= span.last);
        self.writer.forwarding = true;
        self.enqueue(Queued::Moved(group, live.collect()));
    }
}

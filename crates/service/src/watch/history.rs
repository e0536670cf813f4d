//! Watchers that are behind: how they get there, and how they catch up.
//!
//! All ranges that are behind share one pass over the log of changes, from the one that is furthest behind on; a single key is read from its own versions.
//! A step is bounded, and whoever drives the hub lets others in between.

use quorate_keyspace::View;

use super::hub::{Hub, Source};
use super::index::Slot;
use super::response::{Encoded, Response, What};
use super::span::Span;
use super::watcher::Standing;

/// Changes that a step looks at, about: it ends with a revision.
const CHANGES_PER_STEP: usize = 2_048;
/// Single keys that a step looks at.
const POINTS_PER_STEP: usize = 256;

impl Hub {
    /// Is there a watcher that can go on from history?
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty() || !self.behind_points.is_empty()
    }

    /// A step for those who are behind. `view` is at least as new as what the hub was last [told](Hub::changed). To be called again while there
    /// [is anybody](Hub::is_behind).
    pub fn catch_up(&mut self, view: &View) {
        self.cancel_compacted(view.compacted());
        let to = self.revision.min(view.revision());
        self.catch_up_points(view, to);
        self.catch_up_ranges(view, to);
        self.flush();
    }

    /// Whoever needs what a compaction made unreadable is told where history begins now, and ends.
    fn cancel_compacted(&mut self, compacted: u64) {
        let lost = |(next, _): &&(u64, Slot)| *next < compacted;
        let behind = self.behind.iter().take_while(lost).chain(self.behind_points.iter().take_while(lost));
        let lost: Vec<Slot> = behind.map(|(_, slot)| *slot).collect();
        for slot in lost {
            let Some((id, stream_id)) = self.watchers.get(slot).map(|watcher| (watcher.id, watcher.stream))
            else {
                continue;
            };
            let revision = self.revision;
            if let Some(stream) = self.streams.get_mut(&stream_id) {
                stream.watches.remove(&id);
                stream.answer(Response { watch_id: id, revision, what: What::Compacted(compacted) });
            }
            self.unlist(slot);
            self.progress_if_wanted(stream_id);
        }
    }

    fn catch_up_points(&mut self, view: &View, to: u64) {
        let some: Vec<(u64, Slot)> = self.behind_points.iter().take(POINTS_PER_STEP).copied().collect();
        for (next, slot) in some {
            let Some(Span::Point(key)) = self.watchers.get(slot).map(|watcher| watcher.span.clone()) else {
                continue;
            };
            let Ok(changes) = view.key_changes(&key, next) else { continue };
            let mut changes = changes.take_while(|event| event.kv.mod_revision <= to).peekable();
            let mut told = 0;
            while let Some(event) = changes.next() {
                let at = event.kv.mod_revision;
                self.leave(slot, at, &mut Encoded::new(&event), Source::History(view));
                told += 1;
                let ends = changes.peek().is_none_or(|next| next.kv.mod_revision != at);
                if ends && (told >= CHANGES_PER_STEP || self.has_much(slot)) && changes.peek().is_some() {
                    self.came_to(slot, at);
                    break;
                }
            }
            if changes.peek().is_none() {
                self.came_to(slot, to);
            }
        }
    }

    fn has_much(&self, slot: Slot) -> bool {
        let much = self.settings.response_bytes_max;
        self.watchers.get(slot).is_some_and(|watcher| watcher.pending.bytes >= much)
    }

    fn catch_up_ranges(&mut self, view: &View, to: u64) {
        let Some((first, _)) = self.behind.first().copied() else { return };
        let first = first + u64::from(first == view.compacted() && quorate_consensus::planted!("W05"));
        let Ok(changes) = view.changes(first) else { return };
        let mut changes = changes.take_while(|event| event.kv.mod_revision <= to).peekable();
        let mut looked = 0;
        let mut reached = to;
        while let Some(event) = changes.next() {
            let at = event.kv.mod_revision;
            self.tell(&event, Source::History(view));
            looked += 1;
            if changes.peek().is_none_or(|next| next.kv.mod_revision != at) {
                let full = self.touched.iter().any(|slot| self.has_much(*slot));
                if looked >= CHANGES_PER_STEP || full {
                    reached = if changes.peek().is_some() { at } else { to };
                    break;
                }
            }
        }
        let came: Vec<Slot> =
            self.behind.iter().take_while(|(next, _)| *next <= reached).map(|(_, slot)| *slot).collect();
        for slot in came {
            self.came_to(slot, reached);
        }
    }

    /// The watcher has been left everything up to `reached`: it is told, and has come so far, unless its client cannot take it.
    fn came_to(&mut self, slot: Slot, reached: u64) {
        let Some(stream_id) = self.watchers.get(slot).map(|watcher| watcher.stream) else { return };
        if reached >= self.revision {
            self.catch_on(slot);
        } else {
            self.advance(slot, reached + u64::from(!quorate_consensus::planted!("W06")));
        }
        self.flush_one(slot);
        self.progress_if_wanted(stream_id);
    }

    // ── from one standing to another ────────────────────────────────────────────────────────────────────────────────

    /// From now on it is told from history, from `next` on.
    pub(super) fn fall_behind(&mut self, slot: Slot, next: u64) {
        self.stand(slot, Standing::Behind { next });
    }

    /// Its client has too much to read. It was not told anything from `next` on.
    pub(super) fn park(&mut self, slot: Slot, next: u64) {
        self.stand(slot, Standing::Parked { next });
        let stream = self.watchers.get(slot).map(|watcher| watcher.stream);
        if let Some(stream) = stream.and_then(|stream| self.streams.get_mut(&stream)) {
            stream.parked.push(slot);
        }
    }

    /// Its client has read what waited.
    pub(super) fn unpark(&mut self, slot: Slot) {
        // One that was canceled while it was parked may have left its slot to another.
        if let Some(Standing::Parked { next }) = self.watchers.get(slot).map(|watcher| watcher.standing) {
            self.stand(slot, Standing::Behind { next });
        }
    }

    fn advance(&mut self, slot: Slot, next: u64) {
        self.stand(slot, Standing::Behind { next });
    }

    /// It has been told everything that there is.
    fn catch_on(&mut self, slot: Slot) {
        let from = self.revision + 1;
        self.stand(slot, Standing::Synced { from });
    }

    /// The one place in which a standing changes: the sets of those who are behind, and each stream's count of them, follow.
    fn stand(&mut self, slot: Slot, standing: Standing) {
        let Some(watcher) = self.watchers.get_mut(slot) else { return };
        let before = std::mem::replace(&mut watcher.standing, standing);
        let (is_point, stream) = (matches!(watcher.span, Span::Point(_)), watcher.stream);
        let behind = if is_point { &mut self.behind_points } else { &mut self.behind };
        if let Standing::Behind { next } = before {
            behind.remove(&(next, slot));
        }
        if let Standing::Behind { next } = standing {
            behind.insert((next, slot));
        }
        let lags = |standing| !matches!(standing, Standing::Synced { .. });
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.behind = stream.behind + usize::from(lags(standing)) - usize::from(lags(before));
        }
    }

    /// The watch is no more; its stream's table is the caller's to mend.
    pub(super) fn unlist(&mut self, slot: Slot) {
        self.stand(slot, Standing::Synced { from: 0 });
        let Some(watcher) = self.watchers.remove(slot) else { return };
        if let Some(moved) = self.index.remove(&watcher.span, watcher.place)
            && let Some(moved) = self.watchers.get_mut(moved)
        {
            moved.place = watcher.place;
        }
    }
}

//! All watches of one server: what clients ask of them, and what they are told as it happens.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::Instant;
use quorate_keyspace::Event;
use quorate_wire::etcdserverpb as pb;
use quorate_wire::etcdserverpb::watch_request::RequestUnion;

use super::index::{Index, Slot};
use super::response::{Encoded, NO_WATCH, Response, What};
use super::span::Span;
use super::stream::Stream;
use super::watcher::{Pending, Standing, Wants, Watcher, Watchers};
use super::{Settings, StreamId};

/// All watches of one server.
#[derive(Debug)]
pub struct Hub {
    pub(super) settings: Settings,
    /// The last revision of which everybody was told who is synced.
    pub(super) revision: u64,
    pub(super) index: Index,
    pub(super) watchers: Watchers,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    last_stream: u64,
    /// Watchers of ranges that are behind, by the revision that they need next.
    pub(super) behind: BTreeSet<(u64, Slot)>,
    /// Those of single keys.
    pub(super) behind_points: BTreeSet<(u64, Slot)>,
    /// Streams whose watches are told of progress, by when.
    progress: BTreeSet<(Instant, StreamId)>,
    /// Watchers that have something pending.
    pub(super) touched: Vec<Slot>,
    woken: Vec<StreamId>,
    /// Kept for its memory.
    matching: Vec<Slot>,
}

impl Hub {
    /// No watches, at that revision of the store.
    #[must_use]
    pub fn new(settings: Settings, revision: u64) -> Hub {
        Hub {
            settings,
            revision,
            index: Index::default(),
            watchers: Watchers::default(),
            streams: BTreeMap::new(),
            last_stream: 0,
            behind: BTreeSet::new(),
            behind_points: BTreeSet::new(),
            progress: BTreeSet::new(),
            touched: Vec::new(),
            woken: Vec::new(),
            matching: Vec::new(),
        }
    }

    // ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A client opened a stream.
    pub fn open(&mut self) -> StreamId {
        self.last_stream += 1;
        let id = StreamId(self.last_stream);
        self.streams.insert(id, Stream::new(self.settings.queue_bytes_max));
        id
    }

    /// The client is gone.
    pub fn close(&mut self, id: StreamId) {
        let Some(stream) = self.streams.remove(&id) else { return };
        for slot in stream.watches.into_values() {
            self.unlist(slot);
        }
        if let Some(at) = stream.next_progress {
            self.progress.remove(&(at, id));
        }
    }

    /// The client asks for something. `store` is the revision of the store by now: what happened before this request is older than that.
    ///
    /// A request that says nothing is not answered, as in etcd.
    pub fn request(&mut self, stream: StreamId, request: pb::WatchRequest, store: u64, now: Instant) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(stream, create, store, now),
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(stream, cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.progress_asked(stream),
            None => {}
        }
        self.wake_if_waiting(stream);
    }

    fn create(&mut self, id: StreamId, create: pb::WatchCreateRequest, store: u64, now: Instant) {
        let (watch_id, span) = match self.admit(id, &create) {
            Ok(admitted) => admitted,
            Err(reason) => return self.refuse(id, reason, store),
        };
        let filtered = |filter: pb::watch_create_request::FilterType| create.filters.contains(&filter.into());
        let wants = Wants {
            puts: !filtered(pb::watch_create_request::FilterType::Noput),
            deletes: !filtered(pb::watch_create_request::FilterType::Nodelete),
            prev_kv: create.prev_kv,
            fragment: create.fragment,
            progress: create.progress_notify,
        };
        // What the store has done by now is not news to this client, even if the hub has not heard of it yet.
        let from = u64::try_from(create.start_revision).ok().filter(|from| *from > 0).unwrap_or(store + 1);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let watch_id = if watch_id == 0 { stream.draw_id() } else { watch_id };
        let slot = self.watchers.next_slot();
        let place = self.index.add(&span, slot);
        self.watchers.insert(Watcher {
            stream: id,
            id: watch_id,
            span,
            place,
            wants,
            standing: Standing::Synced { from },
            pending: Pending::default(),
            told: false,
        });
        stream.watches.insert(watch_id, slot);
        stream.answer(Response { watch_id, revision: store, what: What::Created });
        if wants.progress && stream.next_progress.is_none() {
            self.schedule_progress(id, now);
        }
        if from <= self.revision {
            self.fall_behind(slot, from);
        }
    }

    /// The id that the client wants, 0 for any, and what it watches; or why there can be no such watch: the first reason in etcd's order.
    fn admit(&self, id: StreamId, create: &pb::WatchCreateRequest) -> Result<(i64, Span), String> {
        if create.start_revision < 0 && !quorate_consensus::planted!("W09b") {
            return Err(quorate_wire::EtcdError::Compacted.message().to_owned());
        }
        let Some(span) = Span::parse(create.key.clone(), create.range_end.clone()) else {
            return Err("mvcc: watcher range is empty".to_owned());
        };
        let Some(stream) = self.streams.get(&id) else { return Ok((0, span)) };
        if create.watch_id == NO_WATCH {
            return Err(format!(
                "quorate: the watch id {NO_WATCH} stands for no watch; choose another, or 0 for any"
            ));
        }
        if create.watch_id != 0 && stream.watches.contains_key(&create.watch_id) {
            return Err("mvcc: duplicate watch ID provided on the WatchStream".to_owned());
        }
        if self.watchers.len() >= self.settings.watches_max {
            return Err(format!(
                "quorate: this member has {} watches, as many as it takes; cancel some, or use another member",
                self.settings.watches_max
            ));
        }
        Ok((create.watch_id, span))
    }

    /// Says that a watch was not made, and why: the client of a permission that is missing reads it here, too.
    pub fn refuse(&mut self, id: StreamId, reason: String, store: u64) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.answer(Response { watch_id: NO_WATCH, revision: store, what: What::Refused(reason) });
            self.wake_if_waiting(id);
        }
    }

    /// One that is not known is not spoken of, as in etcd.
    fn cancel(&mut self, id: StreamId, watch_id: i64) {
        let revision = self.revision;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if watch_id == 0 && quorate_consensus::planted!("W09") {
            return;
        }
        if let Some(slot) = stream.watches.remove(&watch_id) {
            stream.answer(Response { watch_id, revision, what: What::Canceled });
            self.unlist(slot);
            self.progress_if_wanted(id);
        }
    }

    /// Ends those watches of a stream that its client may not have any more, by the keys that each is for; says why.
    pub fn withdraw(&mut self, id: StreamId, refuses: impl Fn(&[u8], &[u8]) -> Option<String>) {
        let revision = self.revision;
        let Some(stream) = self.streams.get(&id) else { return };
        let watches: Vec<(i64, Slot)> = stream.watches.iter().map(|(id, slot)| (*id, *slot)).collect();
        for (watch_id, slot) in watches {
            let span = self.watchers.get(slot).map(|watcher| watcher.span.bounds());
            let Some(reason) = span.and_then(|(key, range_end)| refuses(key, range_end)) else { continue };
            let Some(stream) = self.streams.get_mut(&id) else { return };
            stream.watches.remove(&watch_id);
            stream.answer(Response { watch_id, revision, what: What::Withdrawn(reason) });
            self.unlist(slot);
        }
        self.progress_if_wanted(id);
    }

    fn progress_asked(&mut self, id: StreamId) {
        let revision = self.revision;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let waits_for_the_future = |slot: &Slot| {
            let standing = self.watchers.get(*slot).map(|watcher| watcher.standing);
            matches!(standing, Some(Standing::Synced { from }) if from > revision + 1)
        };
        // Nobody could be told anything, or somebody has still to begin: etcd says nothing then.
        if stream.watches.is_empty() || stream.watches.values().any(waits_for_the_future) {
            return;
        }
        stream.progress_wanted = true;
        self.progress_if_wanted(id);
    }

    /// Says how far the stream has come, if its client waits for that and nobody of the stream is behind any more.
    pub(super) fn progress_if_wanted(&mut self, id: StreamId) {
        let revision = self.revision;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.progress(revision);
            self.wake_if_waiting(id);
        }
    }

    /// The next response for a client to read; none, and it is among the [woken](Hub::take_woken) once there is one.
    pub fn next(&mut self, id: StreamId) -> Option<Response> {
        let stream = self.streams.get_mut(&id)?;
        let response = stream.pop();
        if stream.has_room() {
            for slot in std::mem::take(&mut stream.parked) {
                self.unpark(slot);
            }
        }
        response
    }

    /// Streams that had nothing to read and have something now, each once.
    pub fn take_woken(&mut self) -> Vec<StreamId> {
        let woken = std::mem::take(&mut self.woken);
        for id in &woken {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.listed = false;
            }
        }
        woken
    }

    /// How many watches there are.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.watchers.len()
    }

    /// How many streams there are.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// How far those have been told who are synced.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

    /// The store went from `before` to `revision`, and these are all the changes between, in order. If the hub was never told how the store came to
    /// `before`, everybody falls behind.
    pub fn changed(&mut self, before: u64, revision: u64, events: &[Event]) {
        if before > self.revision {
            self.skipped(before);
        }
        let known = self.revision;
        let mut events = events.iter().filter(|event| event.kv.mod_revision > known).peekable();
        while let Some(event) = events.next() {
            let at = event.kv.mod_revision;
            self.tell(event, Source::Now);
            if events.peek().is_none_or(|next| next.kv.mod_revision != at) {
                self.revision = at;
                self.end_revision();
            }
        }
        self.revision = self.revision.max(revision);
        self.flush();
    }

    /// The store came to `revision` without anybody being told how: a snapshot took its place, or there was more than could be handed over.
    pub fn skipped(&mut self, revision: u64) {
        if revision <= self.revision {
            return;
        }
        let heard = self.revision;
        self.revision = revision;
        // The store did not change for those who believe themselves synced.
        if quorate_consensus::planted!("W08") {
            return;
        }
        for slot in self.watchers.slots() {
            let Some(Standing::Synced { from }) = self.watchers.get(slot).map(|watcher| watcher.standing)
            else {
                continue;
            };
            let next = if quorate_consensus::planted!("W02") { from } else { from.max(heard + 1) };
            if next <= revision {
                self.fall_behind(slot, next);
            }
        }
    }

    /// Time has passed. Tells watches how far they have come that want to hear of it and were told nothing for long.
    pub fn tick(&mut self, now: Instant) {
        while let Some((at, id)) = self.progress.first().copied().filter(|(at, _)| *at <= now) {
            self.progress.remove(&(at, id));
            let revision = self.revision;
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.next_progress = None;
            let mut wanted = false;
            let watches: Vec<(i64, Slot)> = stream.watches.iter().map(|(id, slot)| (*id, *slot)).collect();
            for (watch_id, slot) in watches {
                let Some(watcher) = self.watchers.get_mut(slot).filter(|watcher| watcher.wants.progress)
                else {
                    continue;
                };
                wanted = true;
                let quiet = !std::mem::take(&mut watcher.told);
                let synced = matches!(watcher.standing, Standing::Synced { from } if from <= revision + 1);
                if quiet && synced {
                    stream.answer(Response { watch_id, revision, what: What::Progress });
                }
            }
            if wanted {
                self.schedule_progress(id, now);
            }
            self.wake_if_waiting(id);
        }
    }

    /// When [`Hub::tick`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.progress.first().map(|(at, _)| *at)
    }

    fn schedule_progress(&mut self, id: StreamId, now: Instant) {
        let interval = self.settings.progress_interval;
        // Not all at once.
        let later = interval.mul_f64(0.1 * ((id.0.wrapping_mul(0x9e37_79b9)) % 1_000) as f64 / 1_000.0);
        let at = now + interval + later;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.next_progress = Some(at);
            self.progress.insert((at, id));
        }
    }

    // ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Leaves a change with those who are to be told of it and are told from this source.
    pub(super) fn tell(&mut self, event: &Event, source: Source<'_>) {
        let revision = event.kv.mod_revision;
        let mut matching = std::mem::take(&mut self.matching);
        match source {
            Source::Now => self.index.matching(&event.kv.key, &mut matching),
            // Single keys are told from their own versions.
            Source::History(_) => self.index.ranges(&event.kv.key, &mut matching),
        }
        let mut encoded = Encoded::new(event);
        for slot in matching.drain(..) {
            self.leave(slot, revision, &mut encoded, source);
        }
        self.matching = matching;
    }

    /// Leaves a change with one watcher, if it is to be told of it.
    pub(super) fn leave(&mut self, slot: Slot, revision: u64, encoded: &mut Encoded<'_>, source: Source<'_>) {
        let Some(watcher) = self.watchers.get_mut(slot) else { return };
        let from = match (watcher.standing, source) {
            (Standing::Synced { from }, Source::Now) => from,
            (Standing::Behind { next }, Source::History(_)) => next,
            _ => return,
        };
        let early = revision < from && !quorate_consensus::planted!("W03");
        if early || !watcher.wants.kind(encoded.kind()) {
            return;
        }
        let bytes = if watcher.wants.prev_kv {
            encoded.with_prev(|event| source.prev(event))
        } else {
            encoded.plain()
        };
        if watcher.pending.events.is_empty() {
            self.touched.push(slot);
        }
        watcher.pending.push(revision, bytes);
        if quorate_consensus::planted!("W07") {
            self.flush();
        }
    }

    /// A revision is complete: those who have much to be told are told.
    pub(super) fn end_revision(&mut self) {
        let much = self.settings.response_bytes_max;
        let full =
            |slot: &Slot| self.watchers.get(*slot).is_some_and(|watcher| watcher.pending.bytes >= much);
        if self.touched.iter().any(full) {
            self.flush();
        }
    }

    /// Tells everybody what is pending, all of it complete revisions.
    pub(super) fn flush(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.drain(..) {
            self.flush_one(slot);
        }
        self.touched = touched;
    }

    pub(super) fn flush_one(&mut self, slot: Slot) {
        let revision = self.header_revision(slot);
        let fragment_bytes = self.settings.fragment_bytes;
        let Some(watcher) = self.watchers.get_mut(slot) else { return };
        let pending = std::mem::take(&mut watcher.pending);
        if pending.events.is_empty() {
            return;
        }
        watcher.told = true;
        let (id, stream_id) = (watcher.id, watcher.stream);
        let responses = if watcher.wants.fragment && pending.bytes >= fragment_bytes {
            fragments(id, revision, pending.events, fragment_bytes)
        } else {
            vec![Response {
                watch_id: id,
                revision,
                what: What::Events { events: pending.events, fragment: false },
            }]
        };
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if stream.tell(responses) {
            self.wake_if_waiting(stream_id);
        } else if !quorate_consensus::planted!("W04") {
            self.park(slot, pending.first);
        }
    }

    /// What the header says to a watcher: the store's revision if it has been told all, else how far it has been told.
    fn header_revision(&self, slot: Slot) -> u64 {
        match self.watchers.get(slot).map(|watcher| watcher.standing) {
            Some(Standing::Behind { next }) => next.saturating_sub(1),
            _ => self.revision,
        }
    }

    pub(super) fn wake_if_waiting(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.is_empty() && !std::mem::replace(&mut stream.listed, true) {
            self.woken.push(id);
        }
    }
}

/// Where changes come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// They have just happened.
    Now,
    /// They are read from here.
    History(&'a quorate_keyspace::View),
}

impl Source<'_> {
    fn prev(self, event: &Event) -> Option<quorate_keyspace::KeyValue> {
        match self {
            Source::Now => event.prev.clone(),
            Source::History(view) if quorate_consensus::planted!("W10") => view.get(&event.kv.key),
            Source::History(view) => view.previous(event),
        }
    }
}

/// The events in several responses: each as small as the limit, if its events are; all but the last say that more follow.
fn fragments(watch_id: i64, revision: u64, events: Vec<bytes::Bytes>, bytes_max: usize) -> Vec<Response> {
    let mut parts: Vec<Vec<bytes::Bytes>> = Vec::new();
    let mut bytes = usize::MAX;
    for event in events {
        if bytes.saturating_add(event.len()) > bytes_max {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += event.len();
        if let Some(part) = parts.last_mut() {
            part.push(event);
        }
    }
    let last = parts.len() - 1;
    let part =
        |(at, events)| Response { watch_id, revision, what: What::Events { events, fragment: at < last } };
    parts.into_iter().enumerate().map(part).collect()
}

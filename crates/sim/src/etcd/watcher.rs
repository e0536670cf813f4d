//! A client that watches: which watches it wants, how far each has come, and how it goes on elsewhere when a stream ends.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate_consensus::Random;
use quorate_service::wire::{
    etcdserverpb::{
        WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
        watch_create_request::FilterType, watch_request::RequestUnion,
    },
    mvccpb::Event,
};

use super::{Ledger, Wrong, front::PACES, ledger::is_inside};
use crate::{
    marks::{Mark, Marks},
    schedule::{MILLIS, SECONDS, Time},
};

/// Watches that a client has at a time.
const WATCHES_MAX: usize = 3;

/// What a watch is for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) key: Bytes,
    pub(super) end: Bytes,
    pub(super) puts: bool,
    pub(super) deletes: bool,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
    pub(super) progress: bool,
}

impl Wish {
    pub(super) fn wants(&self, change: &super::ledger::Change) -> bool {
        let kind = match change.kind {
            quorate_service::keyspace::EventKind::Put => self.puts,
            quorate_service::keyspace::EventKind::Delete => self.deletes,
        };
        kind && is_inside(&change.kv.key, &self.key, &self.end)
    }

    /// No key can be in it.
    pub(super) fn is_empty(&self) -> bool {
        self.end.len() > 1 && self.end <= self.key
    }
}

/// A watch.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) wish: Wish,
    /// The revision that it is to be told of next, or one after; none: whatever happens after it was made.
    pub(super) next: Option<u64>,
    /// The id that its client asks for, 0 for any.
    pub(super) wanted_id: i64,
    /// Its id on the stream, once it is made there.
    pub(super) id: Option<i64>,
    /// Asked for on this stream.
    pub(super) asked: bool,
    /// It was on another stream before.
    pub(super) resumed: bool,
    /// Since when its client waits for it to end.
    pub(super) canceled: Option<Time>,
    /// Parts of what it is told.
    pub(super) parts: Vec<Event>,
}

#[derive(Debug)]
pub(super) struct Watcher {
    id: usize,
    pub(super) random: Random,
    pub(super) turn: u64,
    pub(super) line: Option<u64>,
    /// Since when it has that.
    pub(super) since: Time,
    /// No new stream before.
    pub(super) away_until: Time,
    pub(super) watches: BTreeMap<u64, Watch>,
    next_watch: u64,
    /// Those whose making was asked for, in order.
    pub(super) making: VecDeque<u64>,
    pub(super) by_id: BTreeMap<i64, u64>,
    /// The greatest revision that it has heard of.
    pub(super) seen: u64,
}

impl Watcher {
    pub(super) fn new(id: usize, random: &Random) -> Watcher {
        Watcher {
            id,
            random: random.fork(100 + id as u64),
            turn: 0,
            line: None,
            since: 0,
            away_until: 0,
            watches: BTreeMap::new(),
            next_watch: 0,
            making: VecDeque::new(),
            by_id: BTreeMap::new(),
            seen: 1,
        }
    }

    /// The stream has ended: what goes on, goes on elsewhere.
    pub(super) fn leave(&mut self, now: Time) {
        self.line = None;
        self.away_until = now + self.random.between(1, 150) * MILLIS;
        self.making.clear();
        self.by_id.clear();
        self.watches.retain(|_, watch| watch.canceled.is_none());
        for watch in self.watches.values_mut() {
            watch.resumed |= watch.id.is_some();
            (watch.id, watch.asked) = (None, false);
            watch.parts.clear();
        }
    }

    /// How fast it reads from now on.
    pub(super) fn pace(&mut self, calm: bool) -> Time {
        if calm { 0 } else { PACES[self.random.below(PACES.len() as u64) as usize] }
    }

    /// What it asks for now on its stream.
    pub(super) fn requests(&mut self, now: Time, over: bool, marks: &mut Marks) -> Vec<WatchRequest> {
        let mut unions = Vec::new();
        if !over && self.watches.len() < WATCHES_MAX && (self.watches.is_empty() || self.random.chance(1, 6))
        {
            self.next_watch += 1;
            let watch = self.draw();
            self.watches.insert(self.next_watch, watch);
        }
        let asked: Vec<u64> =
            self.watches.iter().filter(|(_, watch)| !watch.asked).map(|(number, _)| *number).collect();
        for number in asked {
            unions.push(RequestUnion::CreateRequest(self.make(number, marks)));
        }
        if !over && self.random.chance(1, 14) && !self.by_id.is_empty() {
            let place = self.random.below(self.by_id.len() as u64) as usize;
            let chosen = self.by_id.iter().nth(place).map(|(id, number)| (*id, *number));
            if let Some((watch_id, number)) = chosen
                && let Some(watch) = self.watches.get_mut(&number)
                && watch.canceled.is_none()
            {
                watch.canceled = Some(now);
                unions.push(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
            }
        }
        if self.random.chance(1, 5) {
            unions.push(RequestUnion::ProgressRequest(WatchProgressRequest {}));
        }
        unions.into_iter().map(|union| WatchRequest { request_union: Some(union) }).collect()
    }

    fn draw(&mut self) -> Watch {
        let spans: [(&str, &str); 9] = [
            ("k000", ""),
            ("k", "l"),
            ("w", "x"),
            ("w01", "w04"),
            ("w02", "\0"),
            ("\0", "\0"),
            ("w00", ""),
            ("w03", ""),
            ("w05", "w02"),
        ];
        let random = &mut self.random;
        let (key, end) = match random.below(20) {
            0 => spans[8],
            some => spans[some as usize % 8],
        };
        let (puts, deletes) = match random.below(6) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        let next = match random.below(8) {
            0..=3 => None,
            4..=6 => Some(self.seen.saturating_sub(random.below(40)).max(1)),
            _ => Some(self.seen + random.below(25)),
        };
        Watch {
            wish: Wish {
                key: Bytes::from_static(key.as_bytes()),
                end: Bytes::from_static(end.as_bytes()),
                puts,
                deletes,
                prev_kv: random.chance(1, 2),
                fragment: random.chance(1, 2),
                progress: random.chance(1, 2),
            },
            next,
            // Far from those that are drawn.
            wanted_id: if random.chance(1, 4) { 1_000 + self.next_watch as i64 } else { 0 },
            id: None,
            asked: false,
            resumed: false,
            canceled: None,
            parts: Vec::new(),
        }
    }

    fn make(&mut self, number: u64, marks: &mut Marks) -> WatchCreateRequest {
        self.making.push_back(number);
        let seen = self.seen;
        let watch = self.watches.get_mut(&number).expect("it is one of its own");
        watch.asked = true;
        match watch.next {
            _ if watch.resumed => marks.hit(Mark::WatchResumed),
            Some(next) if next > seen => marks.hit(Mark::WatchFromFuture),
            Some(_) => marks.hit(Mark::WatchFromPast),
            None => {}
        }
        let wish = &watch.wish;
        let filters = [(!wish.puts, FilterType::Noput), (!wish.deletes, FilterType::Nodelete)];
        WatchCreateRequest {
            key: wish.key.clone(),
            range_end: wish.end.clone(),
            start_revision: watch.next.map_or(0, |next| next as i64),
            progress_notify: wish.progress,
            filters: filters.iter().filter(|(on, _)| *on).map(|(_, filter)| (*filter).into()).collect(),
            prev_kv: wish.prev_kv,
            watch_id: watch.wanted_id,
            fragment: wish.fragment,
        }
    }

    /// E3, reliable: at the end of a run, after a long calm, each watch has been told of all that happened up to `revision`, and each that was to end has.
    pub(super) fn check(&self, ledger: &Ledger, revision: u64, now: Time) -> Result<(), Wrong> {
        if self.line.is_none() || now < self.since + 2 * SECONDS {
            return Ok(());
        }
        for watch in self.watches.values() {
            if let (Some(since), Some(id)) = (watch.canceled, watch.id)
                && now > since + 2 * SECONDS
            {
                let what = format!("client {}: the watch {id} was to end long since: {watch:?}", self.id);
                return Err(Wrong::new("E3", what));
            }
            let (Some(next), true) = (watch.next, watch.id.is_some()) else { continue };
            let untold = ledger.changes(next).iter().find(|change| watch.wish.wants(change));
            if let Some(change) = untold.filter(|change| change.revision() <= revision) {
                let what = format!(
                    "client {}: reliable: nobody told the watch {watch:?} of {change:?}, long ago",
                    self.id
                );
                return Err(Wrong::new("E3", what));
            }
        }
        Ok(())
    }
}

//! Random clients, writes, compactions and losses, against a model that remembers every change.

use std::collections::BTreeMap;

use quorate_consensus::{Random, StateMachine as _};
use quorate_keyspace::{Command, Compact, Event, EventKind, Operation, Put, Txn};
use quorate_service::watch::{Settings, StreamId};
use quorate_wire::etcdserverpb as pb;

use crate::common::{World, bytes, delete, watch};

/// What a watch was promised, and what it has been told.
struct Promise {
    create: pb::WatchCreateRequest,
    from: u64,
    created: bool,
    told: Vec<quorate_wire::mvccpb::Event>,
    /// The last response said that more of its revision follow.
    open: bool,
    /// No event may be older than this: a progress notification said so.
    progressed: u64,
    canceled: bool,
    ended: bool,
}

impl Promise {
    fn wants(&self, event: &Event) -> bool {
        let key = &event.kv.key[..];
        let (start, end) = (&self.create.key[..], &self.create.range_end[..]);
        let inside = match end {
            [] => key == start,
            [0] => key >= start,
            end => key >= start && key < end,
        };
        let filter = if event.kind == EventKind::Put { 0 } else { 1 };
        inside && event.kv.mod_revision >= self.from && !self.create.filters.contains(&filter)
    }

    fn hear(&mut self, response: &pb::WatchResponse, history: &[Event], compacted: u64) {
        assert!(self.created && !self.ended);
        let revision = response.header.unwrap().revision as u64;
        let wanted: Vec<&Event> = history.iter().filter(|event| self.wants(event)).collect();
        for event in &response.events {
            let kv = event.kv.as_ref().unwrap();
            let next =
                wanted.get(self.told.len()).unwrap_or_else(|| panic!("told more than happened: {event:?}"));
            assert_eq!(
                (&next.kv.key, next.kv.mod_revision),
                (&kv.key, kv.mod_revision as u64),
                "in order, each once"
            );
            assert_eq!((next.kv.value.clone(), next.kv.version), (kv.value.clone(), kv.version as u64));
            assert!(next.kv.mod_revision > self.progressed, "progress overtook {event:?}");
            assert!(kv.mod_revision as u64 <= revision, "a header older than its events");
            match (&event.prev_kv, &next.prev) {
                (None, None) => {}
                (Some(told), Some(was)) if self.create.prev_kv => {
                    assert_eq!((&told.value, told.mod_revision as u64), (&was.value, was.mod_revision));
                }
                (None, Some(was)) => {
                    assert!(!self.create.prev_kv || was.mod_revision < compacted, "{event:?}")
                }
                (told, was) => panic!("prev_kv {told:?} for {was:?}"),
            }
            self.told.push(event.clone());
        }
        self.open = response.fragment;
        if let Some(next) = wanted.get(self.told.len()).filter(|_| !self.open && !response.events.is_empty())
        {
            let last = self.told.last().unwrap().kv.as_ref().unwrap().mod_revision as u64;
            assert!(next.kv.mod_revision > last, "a revision in two responses");
        }
    }

    fn knows_all_up_to(&self, revision: u64, history: &[Event]) -> bool {
        let wanted = history.iter().filter(|event| self.wants(event) && event.kv.mod_revision <= revision);
        self.told.len() >= wanted.count()
    }
}

struct Storm {
    world: World,
    random: Random,
    history: Vec<Event>,
    compacted: u64,
    streams: BTreeMap<StreamId, BTreeMap<i64, Promise>>,
    /// Promises of which it is not known yet under which id they are.
    asked: BTreeMap<StreamId, Vec<Promise>>,
    events: usize,
    compactions: usize,
    progress: usize,
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let settings = Settings {
            queue_bytes_max: 1_500,
            response_bytes_max: 300,
            fragment_bytes: 200,
            ..Settings::default()
        };
        Storm {
            world: World::new(settings),
            random: Random::new(seed),
            history: Vec::new(),
            compacted: 0,
            streams: BTreeMap::new(),
            asked: BTreeMap::new(),
            events: 0,
            compactions: 0,
            progress: 0,
        }
    }

    fn key(&mut self) -> String {
        ["a", "ab", "b", "ba", "c", "d"][self.random.below(6) as usize].to_owned()
    }

    fn write(&mut self) {
        let mut txn = Txn::default();
        let mut keys: Vec<String> = (0..=self.random.below(4)).map(|_| self.key()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            txn.success.push(if self.random.below(3) == 0 {
                Operation::DeleteRange(delete(&key))
            } else {
                let value = "v".repeat(self.random.below(120) as usize).into();
                Operation::Put(Put { key: key.into(), value, ..Put::default() })
            });
        }
        let events = self.world.apply(&Command::Txn(txn));
        self.history.extend(events);
    }

    fn compact(&mut self) {
        let revision = self.world.revision();
        let at = self.random.between(self.compacted + 1, revision.max(self.compacted + 1));
        if at <= revision && at > self.compacted {
            self.world.apply(&Command::Compact(Compact { revision: at as i64, physical: false }));
            self.compacted = at;
            self.compactions += 1;
        }
    }

    fn create(&mut self, stream: StreamId) {
        let revision = self.world.revision();
        let start = match self.random.below(3) {
            0 => 0,
            1 => self.random.between(1, revision),
            _ => self.random.between(revision.saturating_sub(5), revision + 5),
        };
        let range_end = match self.random.below(4) {
            0 => bytes(""),
            1 => bytes("\0"),
            _ => bytes("bb"),
        };
        let filters = [vec![], vec![], vec![0], vec![1]][self.random.below(4) as usize].clone();
        let key = self.key();
        let create = pb::WatchCreateRequest {
            range_end,
            start_revision: start as i64,
            prev_kv: self.random.below(2) == 0,
            fragment: self.random.below(2) == 0,
            filters,
            ..watch(&key)
        };
        if create.range_end == "bb" && create.key >= create.range_end {
            return;
        }
        let from = if start == 0 { revision + 1 } else { start };
        let promise = Promise {
            create: create.clone(),
            from,
            created: false,
            told: Vec::new(),
            open: false,
            progressed: 0,
            canceled: false,
            ended: false,
        };
        self.asked.entry(stream).or_default().push(promise);
        self.world.create(stream, create);
    }

    fn read(&mut self, stream: StreamId) -> bool {
        let Some(response) = self.world.next(stream) else { return false };
        let watches = self.streams.get_mut(&stream).unwrap();
        let revision = response.header.unwrap().revision as u64;
        if response.created {
            let mut promise = self.asked.get_mut(&stream).unwrap().remove(0);
            promise.created = true;
            watches.insert(response.watch_id, promise);
        } else if response.watch_id == -1 {
            self.progress += 1;
            for promise in watches.values_mut().filter(|promise| !promise.ended) {
                assert!(promise.knows_all_up_to(revision, &self.history), "progress to {revision} too early");
                promise.progressed = revision;
            }
        } else {
            let promise = watches.get_mut(&response.watch_id).unwrap();
            self.events += response.events.len();
            promise.hear(&response, &self.history, self.compacted);
            promise.ended = response.canceled;
            if response.canceled && response.compact_revision > 0 {
                let all = promise.knows_all_up_to(self.compacted - 1, &self.history);
                let before = promise.from < self.compacted;
                assert!(
                    before && (!all || promise.told.is_empty() || self.world.revision() > self.compacted)
                );
            }
        }
        true
    }

    fn step(&mut self) {
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        let stream = streams[self.random.below(streams.len() as u64) as usize];
        match self.random.below(40) {
            0..=11 => self.write(),
            12..=15 => self.world.tell(),
            // It could not be handed over.
            16 => {
                self.world.untold.clear();
                self.world.told_to = self.world.revision();
            }
            17 => {
                self.world.untold.clear();
                self.world.told_to = self.world.revision();
                self.world.hub.skipped(self.world.told_to);
            }
            18 if self.random.below(4) == 0 => self.compact(),
            19 | 20 => self.create(stream),
            21 if self.random.below(3) == 0 => {
                let ids: Vec<i64> = self.streams[&stream].keys().copied().collect();
                if !ids.is_empty() {
                    let id = ids[self.random.below(ids.len() as u64) as usize];
                    // Its answer ends the promise.
                    let promise =
                        self.streams.get_mut(&stream).and_then(|watches| watches.get_mut(&id)).unwrap();
                    if !promise.ended {
                        promise.canceled = true;
                        self.world.cancel(stream, id);
                    }
                }
            }
            22 => self.world.progress(stream),
            23..=30 => {
                if self.world.hub.is_behind() {
                    self.world.hub.catch_up(&self.world.store.view());
                }
            }
            _ => {
                self.read(stream);
            }
        }
    }

    /// Everybody reads everything: nothing may be missing.
    fn finish(&mut self) {
        self.world.tell();
        loop {
            let mut read = false;
            let streams: Vec<StreamId> = self.streams.keys().copied().collect();
            for stream in streams {
                while self.read(stream) {
                    read = true;
                }
            }
            if self.world.hub.is_behind() {
                self.world.hub.catch_up(&self.world.store.view());
            } else if !read {
                break;
            }
        }
        let revision = self.world.revision();
        for promise in self.streams.values().flat_map(|watches| watches.values()) {
            assert!(!promise.open, "a part without its last");
            assert!(promise.ended || !promise.canceled, "a watch that could not be canceled");
            assert!(
                promise.ended || promise.knows_all_up_to(revision, &self.history),
                "{:?}",
                promise.create
            );
        }
    }
}

struct Counted {
    events: usize,
    compactions: usize,
    progress: usize,
}

fn run(seed: u64) -> Counted {
    let mut storm = Storm::new(seed);
    for _ in 0..3 {
        let stream = storm.world.hub.open();
        storm.streams.insert(stream, BTreeMap::new());
    }
    for _ in 0..1_500 {
        storm.step();
    }
    storm.finish();
    Counted { events: storm.events, compactions: storm.compactions, progress: storm.progress }
}

#[test]
fn e3_every_watch_is_told_everything_once_and_in_order() {
    let runs: Vec<Counted> = (0..150).map(run).collect();
    let all = |count: fn(&Counted) -> usize| runs.iter().map(count).sum::<usize>();
    let (events, compactions, progress) =
        (all(|run| run.events), all(|run| run.compactions), all(|run| run.progress));
    assert!(events > 50_000 && compactions > 300 && progress > 1_000, "{events} {compactions} {progress}");
}

/// The storm is worth its name only if it finds what others got wrong.
#[cfg(feature = "planted-bugs")]
#[test]
fn the_storm_finds_each_planted_bug() {
    for id in ["W01", "W02", "W03", "W04", "W05", "W06", "W07", "W08", "W09", "W10"] {
        quorate_consensus::activate_plant(id);
        let found = (0..60).find(|seed| std::panic::catch_unwind(|| run(*seed)).is_err());
        quorate_consensus::activate_plant("");
        assert!(found.is_some(), "{id} was not found");
    }
}

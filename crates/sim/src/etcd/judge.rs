//! E3: what a watch is told is what the committed log says, in order, once, whole, and up to where it says.

use quorate_service::{
    keyspace::{EventKind, KeyValue},
    wire::{
        etcdserverpb::WatchResponse,
        mvccpb::{self, event::EventType},
    },
};

use super::{
    Ledger, Wrong,
    ledger::Change,
    watcher::{Watch, Watcher},
};
use crate::marks::{Mark, Marks};

fn wrong<T>(what: String) -> Result<T, Wrong> {
    Err(Wrong::new("E3", what))
}

impl Watcher {
    /// A response has come.
    pub(super) fn told(
        &mut self,
        response: WatchResponse,
        ledger: &Ledger,
        marks: &mut Marks,
    ) -> Result<(), Wrong> {
        let revision = response.header.as_ref().map_or(0, |header| header.revision.max(0) as u64);
        if revision > ledger.revision {
            return wrong(format!(
                "bookmarkable: a header says {revision}, the store is at {}",
                ledger.revision
            ));
        }
        self.seen = self.seen.max(revision);
        let torn = self.watches.values().find(|watch| !watch.parts.is_empty()).and_then(|watch| watch.id);
        if let Some(id) = torn.filter(|id| *id != response.watch_id) {
            return wrong(format!("atomic: between two parts for the watch {id} comes {response:?}"));
        }
        if response.created {
            return self.made(&response, revision, marks);
        }
        if response.watch_id < 0 {
            if !response.events.is_empty() || response.canceled {
                return wrong(format!("of no watch: {response:?}"));
            }
            marks.hit(Mark::WatchProgress);
            let numbers: Vec<u64> = self.by_id.values().copied().collect();
            for number in numbers {
                if let Some(watch) = self.watches.get_mut(&number) {
                    watch.came_to(revision, ledger)?;
                }
            }
            return Ok(());
        }
        let number = self.by_id.get(&response.watch_id).copied();
        let Some((number, watch)) = number.and_then(|number| Some((number, self.watches.get_mut(&number)?)))
        else {
            return wrong(format!("there is no such watch, or none any more: {response:?}"));
        };
        if response.canceled {
            self.by_id.remove(&response.watch_id);
            let compacted = response.compact_revision.max(0) as u64;
            if compacted == 0 {
                if watch.canceled.is_none() {
                    return wrong(format!("ended, and nobody wanted that: {watch:?}, {response:?}"));
                }
                marks.hit(Mark::WatchCanceled);
                self.watches.remove(&number);
                return Ok(());
            }
            // It goes on where history begins, unless its client has asked for its end: of a watch that has ended already nobody is told that.
            let verdict = watch.lost_history(compacted, ledger, marks);
            if watch.canceled.is_some() {
                self.watches.remove(&number);
            }
            return verdict;
        }
        if response.events.is_empty() {
            if !watch.wish.progress {
                return wrong(format!("told how far it has come, and did not want that: {watch:?}"));
            }
            marks.hit(Mark::WatchNotified);
            return watch.came_to(revision, ledger);
        }
        watch.parts.extend(response.events);
        if response.fragment {
            marks.hit(Mark::WatchInParts);
            return if watch.wish.fragment {
                Ok(())
            } else {
                wrong(format!("in parts, and did not want that: {watch:?}"))
            };
        }
        marks.hit(Mark::WatchTold);
        let events = std::mem::take(&mut watch.parts);
        watch.hears(&events, ledger)?;
        watch.came_to(revision, ledger)
    }

    /// A watch was made, or refused.
    fn made(&mut self, response: &WatchResponse, revision: u64, marks: &mut Marks) -> Result<(), Wrong> {
        let number = self.making.pop_front();
        let Some((number, watch)) = number.and_then(|number| Some((number, self.watches.get_mut(&number)?)))
        else {
            return wrong(format!("nobody asked for {response:?}"));
        };
        if response.canceled {
            marks.hit(Mark::WatchRefused);
            let full = response.cancel_reason.contains("as many as it takes");
            let empty = watch.wish.is_empty() && response.cancel_reason.contains("empty");
            if !full && !empty {
                return wrong(format!("refused without a reason: {watch:?}, {response:?}"));
            }
            self.watches.remove(&number);
            return Ok(());
        }
        let id = response.watch_id;
        let wanted = watch.wanted_id == 0 || watch.wanted_id == id;
        if id < 0 || !wanted || watch.wish.is_empty() || self.by_id.insert(id, number).is_some() {
            return wrong(format!("not what was asked for: {watch:?}, {response:?}"));
        }
        marks.hit(Mark::WatchMade);
        watch.id = Some(id);
        watch.next.get_or_insert(revision + 1);
        Ok(())
    }
}

impl Watch {
    /// It is told that all was said up to `revision`.
    fn came_to(&mut self, revision: u64, ledger: &Ledger) -> Result<(), Wrong> {
        let next = self.next.unwrap_or(revision + 1);
        let untold = ledger.changes(next).iter().find(|change| self.wish.wants(change));
        if let Some(change) = untold.filter(|change| change.revision() <= revision) {
            return wrong(format!("bookmarkable: at {revision}, {self:?} was not told of {change:?}"));
        }
        self.next = Some(next.max(revision + 1));
        Ok(())
    }

    /// It has ended, for what it is to be told next is gone.
    fn lost_history(&mut self, compacted: u64, ledger: &Ledger, marks: &mut Marks) -> Result<(), Wrong> {
        marks.hit(Mark::WatchCompacted);
        if compacted > ledger.compacted || self.next.is_none_or(|next| next >= compacted) {
            return wrong(format!(
                "resumable: {self:?} ended for a compaction up to {compacted}; there was one up to {}",
                ledger.compacted
            ));
        }
        (self.next, self.id, self.asked) = (Some(compacted), None, false);
        Ok(())
    }

    /// It is told of changes.
    fn hears(&mut self, events: &[mvccpb::Event], ledger: &Ledger) -> Result<(), Wrong> {
        let next = self.next.unwrap_or(0);
        let mut due: Vec<&Change> =
            ledger.changes(next).iter().filter(|change| self.wish.wants(change)).collect();
        let mut events: Vec<&mvccpb::Event> = events.iter().collect();
        if ledger.is_divided {
            // In which order the changes of one revision come is a matter of which shards they are in.
            if !events.is_sorted_by_key(|event| revision_of(event)) {
                return wrong(format!("ordered: {events:?}; {self:?}"));
            }
            due.sort_by_key(|change| (change.revision(), change.kv.key.clone()));
            events.sort_by_key(|event| (revision_of(event), event.kv.as_ref().map(|kv| kv.key.clone())));
        }
        let mut due = due.into_iter().peekable();
        let mut last = next;
        for event in events {
            let at = revision_of(event);
            let Some(change) = due.next() else {
                return wrong(format!(
                    "nothing like that has happened, or it was told before: {event:?}; {self:?}"
                ));
            };
            if at < last {
                return wrong(format!(
                    "ordered, unique: {event:?} comes again, or late; due is {change:?}; {self:?}"
                ));
            }
            last = at;
            if !is_like(event, change) {
                return wrong(format!("reliable: told {event:?}, due was {change:?}; {self:?}"));
            }
            let shown = event.prev_kv.as_ref();
            let right = match change.prev.as_ref().filter(|_| self.wish.prev_kv) {
                // What was there before may be gone.
                Some(prev) => {
                    shown.is_none_or(|shown| is_same(shown, prev))
                        && (shown.is_some() || change.revision() - 1 < ledger.compacted)
                }
                None => shown.is_none(),
            };
            if !right {
                return wrong(format!("prev_kv: told {event:?}, due was {change:?}; {self:?}"));
            }
        }
        if let Some(change) = due.peek().filter(|change| change.revision() == last) {
            return wrong(format!("atomic: {last} ends without {change:?}; {self:?}"));
        }
        self.next = Some(last + 1);
        Ok(())
    }
}

fn revision_of(event: &mvccpb::Event) -> u64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision.max(0) as u64)
}

fn is_like(event: &mvccpb::Event, change: &Change) -> bool {
    let kind = match change.kind {
        EventKind::Put => EventType::Put,
        EventKind::Delete => EventType::Delete,
    };
    event.r#type == i32::from(kind) && event.kv.as_ref().is_some_and(|kv| is_same(kv, &change.kv))
}

fn is_same(shown: &mvccpb::KeyValue, kv: &KeyValue) -> bool {
    let number = |of: u64| i64::try_from(of).unwrap_or(i64::MAX);
    (&shown.key[..], &shown.value[..], shown.lease) == (&kv.key[..], &kv.value[..], kv.lease.0)
        && shown.create_revision == number(kv.create_revision)
        && shown.mod_revision == number(kv.mod_revision)
        && shown.version == number(kv.version)
}

//! The changes of several stores as those of one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;
use std::sync::Arc;

use super::shards::Shards;
use crate::Event;
use crate::record::{Dated, Record, Rev};
use crate::tree::Iter;

/// The changes of all parts from a revision on, in order of (revision, part, number within the part).
///
/// Architecture Invariant: no two changes of a revision have one number. Each part numbers its own from 0; the first number of a part is the one after the last of the part
/// before it, as it was when the news of that revision went out. By the last number and not by how many there are: {a is put and deleted at 5, compacted at 5, the part
/// restored}: the put is gone, and those of the parts behind must not move up.
pub(super) struct Log<'a> {
    /// Of each part, by its place.
    parts: Vec<Head<'a>>,
    /// The revision of each part's next change, and the part.
    order: BinaryHeap<Reverse<(u64, usize)>>,
    /// The revision of the change that came last, and its part.
    at: (u64, usize),
    /// The number of this part's first change of this revision.
    first: u32,
    /// The number of the next change, if it is of this revision.
    next: u32,
}

struct Head<'a> {
    next: Option<&'a Dated>,
    rest: Iter<'a, Dated>,
}

/// A change, and its number within its revision over all parts.
pub(super) struct Numbered<'a> {
    pub(super) sub: u32,
    pub(super) record: &'a Arc<Record>,
}

impl Numbered<'_> {
    pub(super) fn event(&self) -> Event {
        Event { sub: self.sub, ..self.record.event(None) }
    }
}

impl Shards {
    /// The changes from a revision on that can be read.
    pub(super) fn log_from(&self, revision: u64) -> Log<'_> {
        let from = Rev::first_of(revision);
        let heads = self.parts.iter().map(|store| {
            let mut rest = store.log.iter_from(Bound::Included(&from));
            Head { next: rest.next(), rest }
        });
        let parts: Vec<Head<'_>> = heads.collect();
        let nexts = parts.iter().enumerate();
        let order =
            nexts.filter_map(|(part, head)| head.next.map(|next| Reverse((next.rev.main, part)))).collect();
        Log { parts, order, at: (0, 0), first: 0, next: 0 }
    }
}

impl<'a> Iterator for Log<'a> {
    type Item = Numbered<'a>;

    fn next(&mut self) -> Option<Numbered<'a>> {
        let Reverse((revision, part)) = self.order.pop()?;
        let head = &mut self.parts[part];
        let change = std::mem::replace(&mut head.next, head.rest.next())?;
        if let Some(next) = head.next {
            self.order.push(Reverse((next.rev.main, part)));
        }
        if self.at != (revision, part) {
            self.first = if self.at.0 == revision { self.next } else { 0 };
            self.at = (revision, part);
        }
        let sub = self.first.saturating_add(change.rev.sub);
        self.next = sub.saturating_add(1);
        Some(Numbered { sub, record: &change.record })
    }
}

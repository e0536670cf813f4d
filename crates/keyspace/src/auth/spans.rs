//! Intervals of keys.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::span::Span;

/// Where an interval ends. The order is that of ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Before(Bytes),
    Never,
}

/// A set of keys made of intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    /// First key → end; disjoint and not touching.
    spans: BTreeMap<Bytes, End>,
}

impl Spans {
    /// The union of (key, range_end) of permissions, each of which names at least one key.
    pub(super) fn of<'a>(permissions: impl Iterator<Item = (&'a Bytes, &'a Bytes)>) -> Spans {
        let mut all: Vec<(Bytes, End)> =
            permissions.map(|(key, range_end)| (key.clone(), end_of(key, range_end))).collect();
        all.sort();
        let mut spans = BTreeMap::new();
        let mut last: Option<(Bytes, End)> = None;
        for (key, end) in all {
            match &mut last {
                // One that begins where the last ends continues it: a range over both needs no more than the two.
                Some((_, last_end)) if *last_end >= End::Before(key.clone()) => {
                    if *last_end < end {
                        *last_end = end;
                    }
                }
                _ => spans.extend(last.replace((key, end))),
            }
        }
        spans.extend(last);
        Spans { spans }
    }

    /// Where the interval ends that has this key.
    fn end_at(&self, key: &[u8]) -> Option<&End> {
        let (_, end) = self.spans.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        let is_in = match end {
            End::Before(end) => key < &end[..],
            End::Never => true,
        };
        is_in.then_some(end)
    }
}

fn end_of(key: &Bytes, range_end: &Bytes) -> End {
    match &range_end[..] {
        // A key alone is the interval up to its successor.
        [] => End::Before([&key[..], &[0]].concat().into()),
        [0] => End::Never,
        _ => End::Before(range_end.clone()),
    }
}

/// Are all keys of `span` in the union of these sets? Of an empty one, its first key.
///
/// Walks from interval to interval: the user may read [a, c) by one role and [b, e) by another, and so [a, e).
pub(super) fn covered<'a>(sets: impl Iterator<Item = &'a Spans> + Clone, span: Span<'_>) -> bool {
    let mut at: &[u8] = span.start();
    loop {
        let Some(end) = sets.clone().filter_map(|set| set.end_at(at)).max() else { return false };
        match (span, end) {
            (Span::Point(_), _) | (_, End::Never) => return true,
            (Span::From(_), End::Before(end)) => at = end,
            (Span::Between(_, until), End::Before(end)) => {
                if &end[..] >= until {
                    return true;
                }
                at = end;
            }
        }
    }
}

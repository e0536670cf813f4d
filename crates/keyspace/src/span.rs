//! Which keys a request means.

use std::collections::BTreeMap;
use std::ops::Bound;

/// The keys that `key` and `range_end` of a request name together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span<'a> {
    /// One key.
    Point(&'a [u8]),
    /// Every key from this one on.
    From(&'a [u8]),
    /// From the first on, up to the second, which is not in it. Empty if they are the wrong way round.
    Between(&'a [u8], &'a [u8]),
}

impl<'a> Span<'a> {
    /// No end is the key alone, an end of one zero byte is no bound (etcd's API reference, `RangeRequest`).
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Span<'a> {
        match range_end {
            [] => Span::Point(key),
            [0] => Span::From(key),
            end => Span::Between(key, end),
        }
    }

    pub(crate) fn start(self) -> &'a [u8] {
        match self {
            Span::Point(key) | Span::From(key) | Span::Between(key, _) => key,
        }
    }

    /// Is `key`, which is not below the start, before the end?
    pub(crate) fn ends_after(self, key: &[u8]) -> bool {
        match self {
            Span::Point(only) => key == only,
            Span::From(_) => true,
            Span::Between(_, end) => key < end,
        }
    }
}

/// A set of keys made of spans; looking one up is O(log n), however many spans went in.
#[derive(Debug, Default)]
pub(crate) struct SpanSet<'a> {
    /// Start → end, disjoint and not touching.
    spans: BTreeMap<&'a [u8], End<'a>>,
}

/// Where a span ends.
#[derive(Clone, Copy, Debug)]
enum End<'a> {
    Before(&'a [u8]),
    With(&'a [u8]),
    Never,
}

impl End<'_> {
    fn is_after(self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < end,
            End::With(last) => key <= last,
            End::Never => true,
        }
    }

    /// The later end: a span that ends with a key ends after one that ends before it.
    fn later(self, other: Self) -> Self {
        match (self, other) {
            (End::Never, _) | (_, End::Never) => End::Never,
            (End::Before(a), End::Before(b)) => {
                if a < b {
                    other
                } else {
                    self
                }
            }
            (End::With(a), End::With(b)) => {
                if a < b {
                    other
                } else {
                    self
                }
            }
            (End::Before(a), End::With(b)) => {
                if a <= b {
                    other
                } else {
                    self
                }
            }
            (End::With(a), End::Before(b)) => {
                if a < b {
                    other
                } else {
                    self
                }
            }
        }
    }
}

impl<'a> SpanSet<'a> {
    pub(crate) fn insert(&mut self, span: Span<'a>) {
        let (start, end) = match span {
            Span::Point(key) => (key, End::With(key)),
            Span::From(key) => (key, End::Never),
            Span::Between(key, end) if key < end => (key, End::Before(end)),
            Span::Between(..) => return,
        };
        self.insert_bounds(start, end);
    }

    pub(crate) fn union(&mut self, other: &SpanSet<'a>) {
        for (start, end) in &other.spans {
            self.insert_bounds(start, *end);
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.spans
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .is_some_and(|(_, end)| end.is_after(key))
    }

    fn insert_bounds(&mut self, mut start: &'a [u8], mut end: End<'a>) {
        if let Some((before, its_end)) =
            self.spans.range::<[u8], _>((Bound::Unbounded, Bound::Included(start))).next_back()
            && its_end.is_after(start)
        {
            start = before;
        }
        // Whatever begins inside is swallowed, the span just found among it.
        while let Some((inside, its_end)) =
            self.spans.range::<[u8], _>((Bound::Included(start), Bound::Unbounded)).next()
            && end.is_after(inside)
        {
            let inside = *inside;
            end = end.later(*its_end);
            self.spans.remove(inside);
        }
        self.spans.insert(start, end);
    }
}

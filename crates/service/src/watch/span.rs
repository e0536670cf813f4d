//! Which keys a watch is for.

use bytes::Bytes;

/// The keys that `key` and `range_end` of a request name together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// One key.
    Point(Bytes),
    /// From the first key on, up to the end.
    Range(Bytes, End),
}

/// Where a range ends. The order is that of ends: `Never` is the last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Before this key.
    Before(Bytes),
    /// Nowhere.
    Never,
}

impl End {
    pub(super) fn is_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < &end[..],
            End::Never => true,
        }
    }
}

impl Span {
    /// Key and range_end as in a request.
    pub(super) fn bounds(&self) -> (&[u8], &[u8]) {
        match self {
            Span::Point(key) => (key, &[]),
            Span::Range(key, End::Before(end)) => (key, end),
            Span::Range(key, End::Never) => (key, &[0]),
        }
    }

    /// As etcd reads it: an empty key is the smallest one, no end is the key alone, an end of one zero byte is no bound. `None`: the range is empty.
    pub(super) fn parse(key: Bytes, range_end: Bytes) -> Option<Span> {
        let key = if key.is_empty() { Bytes::from_static(&[0]) } else { key };
        match &range_end[..] {
            [] => Some(Span::Point(key)),
            [0] => Some(Span::Range(key, End::Never)),
            end if &key[..] < end => Some(Span::Range(key, End::Before(range_end))),
            _ => None,
        }
    }
}

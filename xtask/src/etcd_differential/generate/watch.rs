//! Streams of watches, and watchers with every option.

use bytes::Bytes;
use quorate_client::wire::etcdserverpb as pb;

use super::{Call, World};

/// Streams that are open at a time, at most.
const STREAMS_MAX: usize = 3;
/// Watchers of one stream, at most.
const WATCHERS_MAX: u64 = 12;
/// A key that every stream watches first, put where both sides have to be quiet.
pub(in crate::etcd_differential) const MARKER: &str = "marker";

/// A stream as whoever draws sees it.
pub(super) struct Open {
    number: usize,
    /// Watchers that were asked for; ids that the server chose are below.
    asked: u64,
    /// One of them began with a revision that was not there yet.
    waits: bool,
}

impl World {
    pub(super) fn watch(&mut self) -> Vec<Call> {
        if self.streams.is_empty() || self.streams.len() < STREAMS_MAX && self.one_in(10) {
            return self.open();
        }
        let at = self.random.below(self.streams.len() as u64) as usize;
        let Open { number: stream, asked, waits } = self.streams[at];
        match self.random.below(20) {
            0 => {
                self.streams.remove(at);
                vec![Call::Close { stream }]
            }
            1..5 => {
                // Often one that is not there, or not any more.
                let id = self.pick(&[self.random.0 as i64 % 8, 0, 1, 2, 3, 4, 5, 40, 41, -1, -7]);
                // The marker's goes on, or nobody would know when all is told.
                vec![Call::Cancel { stream, id: if id == 0 { 3 } else { id } }]
            }
            // etcd before 3.6.2 tells of progress, too, who waits for a revision.
            5..8 if !waits => vec![Call::Progress { stream }],
            _ if asked >= WATCHERS_MAX => {
                self.streams.remove(at);
                vec![Call::Close { stream }]
            }
            _ => {
                let create = self.create();
                self.streams[at].asked += 1;
                self.streams[at].waits |= create.start_revision > self.revision;
                vec![Call::Watch { stream, create }]
            }
        }
    }

    fn open(&mut self) -> Vec<Call> {
        let stream = self.opened;
        self.opened += 1;
        self.streams.push(Open { number: stream, asked: 1, waits: false });
        let create = pb::WatchCreateRequest { key: MARKER.into(), ..Default::default() };
        vec![Call::Open, Call::Watch { stream, create }]
    }

    fn create(&mut self) -> pb::WatchCreateRequest {
        let key = self.key();
        let range_end = match self.random.below(4) {
            0 => Bytes::new(),
            1 => Bytes::from_static(b"\0"),
            _ => self.range_end(&key),
        };
        let watch_id = self.pick(&[0, 0, 0, 40, 41, -7]);
        // With an id of the client's, none that is compacted: etcd keeps such an id taken, though the watcher is gone.
        let start_revision = if watch_id == 0 { self.start_revision() } else { 0 };
        pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: self.one_in(4),
            filters: self.pick(&[vec![], vec![], vec![], vec![0], vec![1], vec![0, 1], vec![0, 0]]),
            prev_kv: self.one_in(2),
            watch_id,
            fragment: self.one_in(4),
        }
    }

    fn start_revision(&mut self) -> i64 {
        let some = self.random.below(40) as i64;
        let from = match self.random.below(8) {
            0..4 => 0,
            4 => self.revision + 1 + some,
            5 => (self.compacted - some).max(1),
            _ => (self.revision - some).max(1),
        };
        // Of the compacted revision itself, etcd before 3.4.34 has forgotten the deletions.
        if from == self.compacted { from + 1 } else { from }
    }

    /// More than one message holds, told from history.
    pub(super) fn fragments(&mut self) -> Vec<Call> {
        let Some(open) = self.streams.last() else { return Vec::new() };
        let (stream, from) = (open.number, self.revision + 1);
        let put = |n: u64| {
            let value = Bytes::from(vec![b'0' + n as u8; 900_000]);
            Call::Put(pb::PutRequest { key: "large".into(), value, ..Default::default() })
        };
        let watch = |fragment| {
            let create = pb::WatchCreateRequest {
                key: "large".into(),
                start_revision: from,
                prev_kv: true,
                fragment,
                ..Default::default()
            };
            Call::Watch { stream, create }
        };
        let delete = Call::DeleteRange(pb::DeleteRangeRequest { key: "large".into(), ..Default::default() });
        vec![put(0), put(1), put(2), watch(true), put(3), watch(false), delete]
    }
}

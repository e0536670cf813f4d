//! What the client of a watch is told.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use quorate_keyspace::{Event, EventKind, KeyValue};
use quorate_wire::{etcdserverpb as pb, mvccpb};

use crate::{HeaderBase, signed};

/// Stands for the whole stream, or for a watch that never was.
pub const NO_WATCH: i64 = -1;

/// What is counted for a response besides its events, in bytes: its header, and its place in a queue.
const RESPONSE_BYTES: usize = 128;

/// The field `events` of a WatchResponse, with a length: 11 << 3 | 2.
const EVENTS_TAG: u8 = 0x5a;

/// One response of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The watch that it is about, or [`NO_WATCH`].
    pub watch_id: i64,
    /// The revision of its header: all that happened up to it has been said on this stream, if the watch is about it.
    pub revision: u64,
    /// What it says.
    pub what: What,
}

/// What a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The watch is there.
    Created,
    /// It could not be made, and why.
    Refused(String),
    /// It has ended, because its client wanted it to.
    Canceled,
    /// It has ended, because its client may not be told any more, and why.
    Withdrawn(String),
    /// It has ended: what it would have to be told next is older than this revision, and gone.
    Compacted(u64),
    /// Changes.
    Events {
        /// Each encoded, with its field's tag. Watchers share the bytes.
        events: Vec<Bytes>,
        /// More of the same revision follow in the next response of the watch.
        fragment: bool,
    },
    /// Nothing, up to the revision of the header.
    Progress,
}

impl Response {
    /// What it takes of a stream's queue, in bytes.
    pub(super) fn bytes(&self) -> usize {
        RESPONSE_BYTES
            + match &self.what {
                What::Events { events, .. } => events.iter().map(Bytes::len).sum(),
                What::Refused(reason) | What::Withdrawn(reason) => reason.len(),
                What::Created | What::Canceled | What::Compacted(_) | What::Progress => 0,
            }
    }

    /// The message without its events, and the events: together they are what goes out.
    #[must_use]
    pub fn into_parts(self, header: &HeaderBase) -> (pb::WatchResponse, Vec<Bytes>) {
        let mut head = pb::WatchResponse {
            header: Some(header.at(self.revision)),
            watch_id: self.watch_id,
            ..pb::WatchResponse::default()
        };
        let mut told = Vec::new();
        match self.what {
            What::Created => head.created = true,
            What::Refused(reason) => {
                (head.created, head.canceled, head.cancel_reason) = (true, true, reason);
            }
            What::Canceled => head.canceled = true,
            What::Withdrawn(reason) => (head.canceled, head.cancel_reason) = (true, reason),
            What::Compacted(compacted) => {
                (head.canceled, head.compact_revision) = (true, signed(compacted));
            }
            What::Events { events, fragment } => {
                head.fragment = fragment;
                told = events;
            }
            What::Progress => {}
        }
        (head, told)
    }
}

/// A change, encoded when the first watcher wants it, and shared by all that do.
pub(super) struct Encoded<'a> {
    event: &'a Event,
    plain: Option<Bytes>,
    with_prev: Option<Bytes>,
}

impl<'a> Encoded<'a> {
    pub(super) fn new(event: &'a Event) -> Encoded<'a> {
        Encoded { event, plain: None, with_prev: None }
    }

    pub(super) fn kind(&self) -> EventKind {
        self.event.kind
    }

    pub(super) fn plain(&mut self) -> Bytes {
        self.plain.get_or_insert_with(|| encode(self.event, None)).clone()
    }

    pub(super) fn with_prev(&mut self, prev: impl FnOnce(&Event) -> Option<KeyValue>) -> Bytes {
        if let Some(bytes) = &self.with_prev {
            return bytes.clone();
        }
        let bytes = match prev(self.event) {
            Some(prev) => encode(self.event, Some(prev)),
            None => self.plain(),
        };
        self.with_prev.insert(bytes).clone()
    }
}

fn encode(event: &Event, prev: Option<KeyValue>) -> Bytes {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    let key_value = crate::kv::key_value;
    let message = mvccpb::Event {
        r#type: kind.into(),
        kv: Some(key_value(event.kv.clone())),
        prev_kv: prev.map(key_value),
    };
    let length = message.encoded_len();
    let mut to = BytesMut::with_capacity(1 + prost::length_delimiter_len(length) + length);
    to.put_u8(EVENTS_TAG);
    message.encode_length_delimited(&mut to).expect("there is room for it");
    to.freeze()
}

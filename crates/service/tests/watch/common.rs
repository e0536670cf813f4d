//! A store, a hub, and a client that reads.

use bytes::Bytes;
use prost::Message as _;
use quorate_consensus::{Instant, Position, StateMachine as _};
use quorate_keyspace::{Command, DeleteRange, Event, Keyspace, News, Operation, Put, Txn};
use quorate_service::HeaderBase;
use quorate_service::watch::{Hub, Settings, StreamId};
use quorate_wire::etcdserverpb as pb;
use quorate_wire::etcdserverpb::watch_request::RequestUnion;

pub(crate) const NOW: Instant = Instant::START;

pub(crate) struct World {
    pub(crate) store: Keyspace,
    pub(crate) hub: Hub,
    index: u64,
    /// What the hub has not been told yet.
    pub(crate) untold: Vec<Event>,
    /// The revision of the store when the hub was last told.
    pub(crate) told_to: u64,
}

impl World {
    pub(crate) fn new(settings: Settings) -> World {
        World { store: Keyspace::new(), hub: Hub::new(settings, 1), index: 0, untold: Vec::new(), told_to: 1 }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.store.view().revision()
    }

    /// Applies it without telling the hub.
    pub(crate) fn apply(&mut self, command: &Command) -> Vec<Event> {
        self.index += 1;
        let placed = self.store.apply(Position::new(1, self.index), &command.encode());
        let events = changed(placed.events);
        self.untold.extend(events.iter().cloned());
        events
    }

    pub(crate) fn tell(&mut self) {
        let revision = self.revision();
        self.hub.changed(self.told_to, revision, &std::mem::take(&mut self.untold));
        self.told_to = revision;
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) {
        self.apply(&put(key, value));
        self.tell();
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.apply(&Command::DeleteRange(delete(key)));
        self.tell();
    }

    pub(crate) fn create(&mut self, stream: StreamId, create: pb::WatchCreateRequest) {
        self.ask(stream, RequestUnion::CreateRequest(create));
    }

    pub(crate) fn ask(&mut self, stream: StreamId, union: RequestUnion) {
        let revision = self.revision();
        self.hub.request(stream, pb::WatchRequest { request_union: Some(union) }, revision, NOW);
    }

    pub(crate) fn progress(&mut self, stream: StreamId) {
        self.ask(stream, RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
    }

    pub(crate) fn cancel(&mut self, stream: StreamId, watch_id: i64) {
        self.ask(stream, RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id }));
    }

    pub(crate) fn catch_up(&mut self) {
        while self.hub.is_behind() {
            self.hub.catch_up(&self.store.view());
        }
    }

    /// The next response, as a client decodes it.
    pub(crate) fn next(&mut self, stream: StreamId) -> Option<pb::WatchResponse> {
        let (head, events) = self.hub.next(stream)?.into_parts(&HeaderBase::default());
        let mut bytes = head.encode_to_vec();
        events.iter().for_each(|event| bytes.extend_from_slice(event));
        Some(pb::WatchResponse::decode(&bytes[..]).expect("what is sent can be read"))
    }

    /// All that can be read by now.
    pub(crate) fn read(&mut self, stream: StreamId) -> Vec<pb::WatchResponse> {
        let mut responses = Vec::new();
        loop {
            match self.next(stream) {
                Some(response) => responses.push(response),
                None if self.hub.is_behind() => self.catch_up(),
                None => return responses,
            }
        }
    }
}

/// The changes of keys among what happened.
fn changed(news: Vec<News>) -> Vec<Event> {
    let change = |news| match news {
        News::Changed(event) => Some(event),
        _ => None,
    };
    news.into_iter().filter_map(change).collect()
}

pub(crate) fn put(key: &str, value: &str) -> Command {
    Command::Put(Put { key: key.to_owned().into(), value: value.to_owned().into(), ..Put::default() })
}

pub(crate) fn delete(key: &str) -> DeleteRange {
    DeleteRange { key: key.to_owned().into(), ..DeleteRange::default() }
}

pub(crate) fn puts(keys: &[(&str, &str)]) -> Command {
    let operation = |(key, value): &(&str, &str)| {
        Operation::Put(Put {
            key: (*key).to_owned().into(),
            value: (*value).to_owned().into(),
            ..Put::default()
        })
    };
    Command::Txn(Txn { success: keys.iter().map(operation).collect(), ..Txn::default() })
}

pub(crate) fn watch(key: &str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: key.to_owned().into(), ..pb::WatchCreateRequest::default() }
}

pub(crate) fn watch_range(key: &str, end: &str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { range_end: end.to_owned().into(), ..watch(key) }
}

/// `key@revision` of each event, a deletion with a minus.
pub(crate) fn shown(response: &pb::WatchResponse) -> Vec<String> {
    let show = |event: &quorate_wire::mvccpb::Event| {
        let kv = event.kv.clone().unwrap_or_default();
        let sign = if event.r#type == 1 { "-" } else { "" };
        format!("{sign}{}@{}", String::from_utf8_lossy(&kv.key), kv.mod_revision)
    };
    response.events.iter().map(show).collect()
}

pub(crate) fn bytes(text: &str) -> Bytes {
    text.to_owned().into()
}

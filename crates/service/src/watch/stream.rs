//! One client's stream: its watches, and what waits to be read by it.

use std::collections::{BTreeMap, VecDeque};

use quorate_consensus::Instant;

use super::index::Slot;
use super::response::{NO_WATCH, Response, What};

/// One client's stream.
#[derive(Debug)]
pub(super) struct Stream {
    queue: VecDeque<Response>,
    bytes: usize,
    bytes_max: usize,
    pub(super) watches: BTreeMap<i64, Slot>,
    next_id: i64,
    /// Watches that go on from history once the queue is half empty.
    pub(super) parked: Vec<Slot>,
    /// How many of its watches have not come as far as the store.
    pub(super) behind: usize,
    /// Its client wants to know how far the stream has come.
    pub(super) progress_wanted: bool,
    /// When watches that want it are told how far they have come.
    pub(super) next_progress: Option<Instant>,
    /// Its client is to be woken.
    pub(super) listed: bool,
}

impl Stream {
    pub(super) fn new(bytes_max: usize) -> Stream {
        Stream {
            queue: VecDeque::new(),
            bytes: 0,
            bytes_max,
            watches: BTreeMap::new(),
            next_id: 0,
            parked: Vec::new(),
            behind: 0,
            progress_wanted: false,
            next_progress: None,
            listed: false,
        }
    }

    /// The next id that no watch of the stream has.
    pub(super) fn draw_id(&mut self) -> i64 {
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// What a client asked for is always answered.
    pub(super) fn answer(&mut self, response: Response) {
        self.bytes += response.bytes();
        self.queue.push_back(response);
    }

    /// Queues what a watch is told, all of it or nothing: no, if the client has too much to read as it is.
    pub(super) fn tell(&mut self, responses: Vec<Response>) -> bool {
        let bytes: usize = responses.iter().map(Response::bytes).sum();
        if self.bytes > 0 && self.bytes + bytes > self.bytes_max {
            return false;
        }
        self.bytes += bytes;
        self.queue.extend(responses);
        true
    }

    /// Says how far the whole stream has come, if that was asked for and no watch has still to hear of something before.
    ///
    /// Behind everything that was queued before: whoever reads this has read all events up to it. etcd's notifications could overtake them (#15220).
    pub(super) fn progress(&mut self, revision: u64) {
        if !self.progress_wanted || self.behind > 0 && !quorate_consensus::planted!("W01") {
            return;
        }
        self.progress_wanted = false;
        self.answer(Response { watch_id: NO_WATCH, revision, what: What::Progress });
    }

    pub(super) fn pop(&mut self) -> Option<Response> {
        let response = self.queue.pop_front()?;
        self.bytes -= response.bytes();
        Some(response)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Is it worth to go on from history?
    pub(super) fn has_room(&self) -> bool {
        self.bytes <= self.bytes_max / 2
    }
}

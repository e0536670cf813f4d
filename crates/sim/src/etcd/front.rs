//! The front end of one host: what `quorate_etcd` does with streams, tasks and a clock, here with requests that are handed over and a time that is told. The
//! hub of watches, the questions about leases and their steward are the service's own.
//!
//! ```text
//!   news, answers, requests ─► turn ─► Doing: read · propose · relay · send · end · answer
//! ```

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost::Message as _;
use quorate_consensus::{Duration, Epoch, Instant, NodeId, Role, RoleChange};
use quorate_service::{
    HeaderBase, KeysNews,
    keyspace::{Command, View},
    lease::{Asker, Asks, Question, Remaining, Steward, Word},
    placement::shards::ShardMap,
    watch::{Hub, Response, Settings, StreamId},
    wire::etcdserverpb as pb,
};

use super::{
    KeysShape,
    feed::{Feed, OfLeases},
};
use crate::schedule::{MILLIS, Time};

/// Requests that are taken at a time, and responses.
const TURN: usize = 8;
/// How often is looked whether somebody is to be told of progress, and whether there is a leader.
const TICK: Duration = Duration::from_millis(100);
/// How long a question may wait for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);
/// And a barrier for its read.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// For so long a stream whose client wants a leader is kept without one.
const NO_LEADER_AFTER: Duration = Duration::from_millis(900);

/// What is to be done after a turn.
#[derive(Debug)]
pub(crate) enum Doing {
    /// A linearizable read.
    Barrier { number: u64 },
    /// What this member has.
    ReadLocal,
    /// The steward has decided.
    Propose { command: Command },
    /// A word to a member, or to the leader.
    Relay { to: Option<NodeId>, word: Bytes },
    /// A response to the client of a line.
    Send { line: u64, response: Bytes },
    /// The stream of a line ends.
    End { line: u64 },
    /// What a client asked of a lease; none in time.
    Tell { to: (usize, u64), remaining: Option<Remaining> },
}

/// What the node came to for the front end.
#[derive(Debug)]
pub(crate) enum Answered {
    Barrier { number: u64, view: Option<View> },
    Local(Option<View>),
}

/// A client's stream.
#[derive(Debug)]
struct Stream {
    line: u64,
    requests: VecDeque<pb::WatchRequest>,
    needs_leader: bool,
    /// There is something to do for it.
    ready: bool,
    /// Its client takes nothing before.
    reads_at: Time,
    pace: Time,
}

#[derive(Debug)]
pub(crate) struct Front {
    feed: Feed,
    hub: Hub,
    streams: BTreeMap<StreamId, Stream>,
    asks: Asks,
    asked: u64,
    waiting: BTreeMap<u64, (Instant, (usize, u64))>,
    steward: Option<Steward>,
    barrier: Option<(u64, Instant)>,
    barriers: u64,
    /// A local read is under way, for who is behind.
    reading: bool,
    leaderless: Option<Instant>,
    next_tick: Instant,
    answers: VecDeque<Answered>,
    /// A turn is scheduled for then.
    pub(super) turn_at: Option<Time>,
    /// The hub hears nothing before; nor the steward.
    pub(super) deaf_until: [Time; 2],
    /// The steward began an epoch, or counts now what it found behind its first barrier in one, and nobody has looked yet.
    pub(super) began: Option<Epoch>,
    /// The newest epoch in which the steward has had its first barrier.
    counts_in: Option<Epoch>,
    /// Somebody was told from history.
    pub(super) caught_up: u64,
}

impl Front {
    pub(crate) fn new(shape: &KeysShape, life: u64, local: Instant) -> Front {
        let settings = Settings {
            watches_max: shape.watches_max,
            queue_bytes_max: shape.queue_bytes_max,
            response_bytes_max: shape.response_bytes_max,
            fragment_bytes: shape.fragment_bytes,
            progress_interval: Duration::from_millis(shape.progress_ms),
        };
        Front {
            feed: Feed::new(shape.waiting_max),
            hub: Hub::new(settings, 0),
            streams: BTreeMap::new(),
            asks: Asks::new(life),
            asked: 0,
            waiting: BTreeMap::new(),
            steward: None,
            barrier: None,
            barriers: 0,
            reading: false,
            leaderless: None,
            next_tick: local,
            answers: VecDeque::new(),
            turn_at: None,
            deaf_until: [0; 2],
            began: None,
            counts_in: None,
            caught_up: 0,
        }
    }

    // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn hear(&mut self, news: KeysNews) {
        self.feed.hear(news);
    }

    pub(crate) fn answered(&mut self, answered: Answered) {
        self.answers.push_back(answered);
    }

    /// How the keys are divided, as far as it has heard; none while they are not.
    pub(crate) fn map(&self) -> Option<&ShardMap> {
        self.feed.map.as_deref()
    }

    /// How many changes were lost on the way, and how often a snapshot took the place of what was watched, since this was last asked.
    pub(crate) fn take_losses(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.feed.lost), std::mem::take(&mut self.feed.replaced))
    }

    pub(crate) fn open(&mut self, line: u64, needs_leader: bool, pace: Time) -> StreamId {
        let id = self.hub.open();
        let requests = VecDeque::new();
        self.streams.insert(id, Stream { line, requests, needs_leader, ready: true, reads_at: 0, pace });
        id
    }

    /// A request of a stream; false if there is no such stream any more.
    pub(crate) fn request(&mut self, id: StreamId, request: pb::WatchRequest) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        stream.requests.push_back(request);
        stream.ready = true;
        true
    }

    /// How fast the client of a stream reads from now on.
    pub(crate) fn set_pace(&mut self, id: StreamId, pace: Time, now: Time) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.pace = pace;
            stream.reads_at = stream.reads_at.min(now + pace);
        }
    }

    pub(crate) fn close(&mut self, id: StreamId) {
        self.hub.close(id);
        self.streams.remove(&id);
    }

    /// A client asks something of a lease.
    pub(crate) fn ask(&mut self, question: Question, to: (usize, u64), local: Instant) {
        self.asked += 1;
        self.asks.ask(question, self.asked);
        self.waiting.insert(self.asked, (local + ANSWER_TIMEOUT, to));
    }

    /// When a turn is due though nothing happens.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let steward = self.steward.as_ref().and_then(Steward::poll_timeout);
        let due = self.asks.poll_timeout().into_iter().chain(steward);
        due.fold(self.next_tick, Instant::min)
    }

    /// When a client that has something to read takes it.
    pub(crate) fn next_read(&self) -> Option<Time> {
        self.streams.values().filter(|stream| stream.ready).map(|stream| stream.reads_at).min()
    }

    // ── a turn ──────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn turn(&mut self, now: Time, local: Instant) -> Vec<Doing> {
        let mut doing = Vec::new();
        if local >= self.next_tick {
            self.next_tick = local + TICK;
        }
        for answered in std::mem::take(&mut self.answers) {
            self.passed(answered, local, &mut doing);
        }
        if now >= self.deaf_until[1] {
            for told in self.feed.take_of_leases() {
                self.hear_of_leases(told, local, &mut doing);
            }
        }
        self.settle(local, &mut doing);
        if now >= self.deaf_until[0] && !self.reading {
            self.follow(local, &mut doing);
        }
        self.serve(now, local, &mut doing);
        doing
    }

    fn passed(&mut self, answered: Answered, local: Instant, doing: &mut Vec<Doing>) {
        match answered {
            Answered::Local(view) => {
                self.reading = false;
                if let Some(view) = view {
                    self.caught_up += 1;
                    self.hub.catch_up(&view);
                }
            }
            Answered::Barrier { number, view } => {
                if self.barrier.is_none_or(|(under_way, _)| under_way != number) {
                    return;
                }
                self.barrier = None;
                let Some(steward) = &mut self.steward else { return };
                match view {
                    Some(view) => {
                        let commands = steward.barrier_done(&view, local);
                        let epoch = Some(steward.epoch());
                        if self.counts_in != epoch {
                            (self.counts_in, self.began) = (epoch, epoch);
                        }
                        doing.extend(commands.into_iter().map(|command| Doing::Propose { command }));
                    }
                    None => steward.barrier_failed(local),
                }
            }
        }
    }

    fn hear_of_leases(&mut self, told: OfLeases, local: Instant, doing: &mut Vec<Doing>) {
        match (told, &mut self.steward) {
            (OfLeases::News(news), Some(steward)) => steward.hear(&news, local),
            (OfLeases::Lost, Some(steward)) => steward.lost_count(),
            (OfLeases::News(_) | OfLeases::Lost, None) => {}
            (OfLeases::Role(change), _) => self.lead(change, local),
            (OfLeases::Word(member, bytes), steward) => match (Word::decode(bytes), steward) {
                (Ok(Word::Ask { number, questions }), Some(steward)) => {
                    steward.asked(Asker { member, number }, questions);
                }
                (Ok(Word::Tell { number, answers }), _) => {
                    for (request, remaining) in self.asks.told(number, answers) {
                        if let Some((_, to)) = self.waiting.remove(&request) {
                            doing.push(Doing::Tell { to, remaining: Some(remaining) });
                        }
                    }
                }
                // Whoever took this node for the leader hears nothing, and asks again.
                (Ok(Word::Ask { .. }), None) | (Err(_), _) => {}
            },
        }
    }

    fn lead(&mut self, change: RoleChange, local: Instant) {
        if change.role != Role::Leader {
            (self.steward, self.barrier) = (None, None);
        } else if self.steward.as_ref().is_none_or(|steward| steward.epoch() != change.epoch) {
            (self.steward, self.barrier) = (Some(Steward::new(change.epoch)), None);
            self.began = Some(change.epoch);
        }
        if change.leader.is_some() {
            self.asks.leader_changed();
            self.leaderless = None;
        } else {
            self.leaderless.get_or_insert(local);
        }
    }

    /// Says and asks whatever is to be said and asked.
    fn settle(&mut self, local: Instant, doing: &mut Vec<Doing>) {
        if let Some(steward) = &mut self.steward {
            if self.barrier.is_some_and(|(_, until)| local >= until) {
                self.barrier = None;
                steward.barrier_failed(local);
            }
            for (asker, answers) in steward.take_answers() {
                let word = Word::Tell { number: asker.number, answers }.encode();
                doing.push(Doing::Relay { to: Some(asker.member), word });
            }
            if steward.wants_barrier(local) {
                self.barriers += 1;
                self.barrier = Some((self.barriers, local + READ_TIMEOUT));
                doing.push(Doing::Barrier { number: self.barriers });
            }
        }
        let late: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, (until, _))| *until <= local)
            .map(|(request, _)| *request)
            .collect();
        for request in late {
            self.asks.forget(request);
            let to = self.waiting.remove(&request).map(|(_, to)| to);
            doing.extend(to.map(|to| Doing::Tell { to, remaining: None }));
        }
        let words = self.asks.words(local);
        doing.extend(words.into_iter().map(|word| Doing::Relay { to: None, word: word.encode() }));
    }

    /// Tells the hub what has happened.
    fn follow(&mut self, local: Instant, doing: &mut Vec<Doing>) {
        if self.leaderless.is_some_and(|since| local.since(since) >= NO_LEADER_AFTER) {
            let ended: Vec<StreamId> =
                self.streams.iter().filter(|(_, stream)| stream.needs_leader).map(|(id, _)| *id).collect();
            for id in ended {
                doing.extend(self.streams.get(&id).map(|stream| Doing::End { line: stream.line }));
                self.close(id);
            }
        }
        let watched = self.hub.watches() > 0;
        for change in self.feed.take(watched) {
            self.hub.changed(change.before, change.revision, &change.events);
        }
        self.hub.skipped(self.feed.newest);
        self.hub.tick(local);
        if self.hub.is_behind() {
            self.reading = true;
            doing.push(Doing::ReadLocal);
        }
    }

    fn serve(&mut self, now: Time, local: Instant, doing: &mut Vec<Doing>) {
        self.note_woken();
        for (id, stream) in &mut self.streams {
            if !stream.ready || now < stream.reads_at {
                continue;
            }
            stream.ready = false;
            for request in stream.requests.drain(..TURN.min(stream.requests.len())) {
                // What the store has by now is no news to whoever begins now.
                let store = self.feed.watch();
                if self.hub.watches() == 0 {
                    self.hub.skipped(store);
                }
                self.hub.request(*id, request, store, local);
            }
            let mut sent = 0;
            while sent < TURN
                && let Some(response) = self.hub.next(*id)
            {
                sent += 1;
                doing.push(Doing::Send { line: stream.line, response: encode(response) });
            }
            stream.ready = sent == TURN || !stream.requests.is_empty();
            if sent > 0 {
                stream.reads_at = now + stream.pace;
            }
        }
        self.note_woken();
    }

    fn note_woken(&mut self) {
        for id in self.hub.take_woken() {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.ready = true;
            }
        }
    }

    /// Is there more to do than waits for a time?
    pub(crate) fn is_busy(&self) -> bool {
        !self.reading && self.hub.is_behind()
    }
}

/// As it goes over the wire: the message, and its events behind it.
fn encode(response: Response) -> Bytes {
    let (head, events) = response.into_parts(&HeaderBase { cluster_id: 1, member_id: 1, raft_term: 1 });
    let mut bytes = head.encode_to_vec();
    events.iter().for_each(|event| bytes.extend_from_slice(event));
    bytes.into()
}

/// After so long a client that reads slowly has read.
pub(crate) const PACES: [Time; 6] = [0, 0, 0, 20 * MILLIS, 150 * MILLIS, 1_500 * MILLIS];

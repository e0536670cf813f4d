//! The front end of one host: what `quorate_zookeeper`'s driver does with sockets and a clock, here with packets that are handed over and a time that is
//! told. The hub, the connections and the stewards are the service's own.
//!
//! ```text
//!   packets, answers, news ─► turn ─► Doing: propose · sync · touch · send · close
//! ```
//!
//! One turn takes whatever has gathered. An answer of the node may be heard long before the news of what it is about, or after it: a connection must not
//! care.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use quorate_consensus::{Duration, Instant, Role, RoleChange};
use quorate_service::{
    TreeNews,
    znodes::{Command, Identity, Response, SessionId, View},
    zookeeper::{
        CloseReason, Connection, ConnectionId, Drawn, Hub, Input, Output, Reaper, RequestId, Sessions,
        Settings, Standing,
    },
};

use super::TreeShape;
use crate::schedule::Time;

/// What the node came to for a request of a connection.
#[derive(Debug)]
pub(crate) enum Answered {
    Done(Response),
    Synced(u64),
    /// It may be done or not, or is certainly not: either way the connection is closed.
    Lost,
}

/// What is to be done after a turn.
#[derive(Debug)]
pub(crate) enum Doing {
    Propose {
        lane: u64,
        request: u64,
        command: Command,
    },
    Sync {
        lane: u64,
        request: u64,
    },
    /// For the leader's steward.
    Touch(Vec<SessionId>),
    Send {
        connection: u64,
        packet: Bytes,
    },
    Close {
        connection: u64,
        reason: CloseReason,
    },
}

/// The lane of the stewards.
pub(crate) const STEWARD: u64 = 0;

/// A connection of this host.
#[derive(Debug)]
struct Served {
    connection: Connection,
    owner: u64,
    received: VecDeque<Bytes>,
    inputs: VecDeque<Input>,
    wake: bool,
    in_flight: usize,
    held: VecDeque<(u64, Command)>,
    /// Its client sent something since the last tick.
    heard: bool,
    /// Its session was not its own any more at the last tick.
    gone: bool,
    ended: bool,
}

#[derive(Debug)]
struct Steward {
    sessions: Sessions,
    reaper: Reaper,
}

/// What a steward may know, kept a second time and more plainly: since when this host leads, and when it last heard of each client.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) leads_since: Instant,
    pub(crate) touched: BTreeMap<SessionId, Instant>,
}

#[derive(Debug)]
pub(crate) struct Server {
    shape: TreeShape,
    settings: Arc<Settings>,
    hub: Hub,
    served: BTreeMap<u64, Served>,
    /// What was not heard yet.
    pub(super) news: VecDeque<TreeNews>,
    pub(super) answers: VecDeque<(u64, u64, Answered)>,
    steward: Option<Steward>,
    heard: Heard,
    stewarded: u64,
    next_tick: Instant,
    /// A turn is scheduled for then.
    pub(super) turn_at: Option<Time>,
    /// News waits until then.
    pub(super) deaf_until: Time,
}

/// The time as a host has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) local: Instant,
    /// Milliseconds since 1970.
    pub(crate) time_ms: i64,
    /// The news waits for the next turn.
    pub(crate) without_news: bool,
}

impl Server {
    pub(crate) fn new(shape: &TreeShape, view: View, now: Instant) -> Server {
        let hub = Hub::new(view);
        Server {
            settings: Arc::new(Settings::with_tick_ms(shape.tick_ms as i32)),
            shape: shape.clone(),
            hub,
            served: BTreeMap::new(),
            news: VecDeque::new(),
            answers: VecDeque::new(),
            steward: None,
            heard: Heard { leads_since: now, touched: BTreeMap::new() },
            stewarded: 0,
            next_tick: now,
            turn_at: None,
            deaf_until: 0,
        }
    }

    // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn accept(&mut self, id: u64, drawn: Drawn, ip: &str) {
        let (settings, ip) = (Arc::clone(&self.settings), vec![Identity::new("ip", ip)]);
        let connection = Connection::new(ConnectionId(id), settings, drawn, ip, &mut self.hub);
        let served = Served {
            connection,
            owner: drawn.owner,
            received: VecDeque::new(),
            inputs: VecDeque::new(),
            wake: false,
            in_flight: 0,
            held: VecDeque::new(),
            heard: false,
            gone: false,
            ended: false,
        };
        self.served.insert(id, served);
    }

    /// A packet came, without its length. None if the connection is closed; else the session whose client was heard of, if it has one.
    pub(crate) fn receive(&mut self, id: u64, packet: Bytes) -> Option<Option<SessionId>> {
        let served = self.served.get_mut(&id).filter(|served| !served.ended)?;
        served.heard = true;
        served.received.push_back(packet);
        Some(served.connection.session())
    }

    pub(crate) fn hang_up(&mut self, id: u64) {
        if let Some(served) = self.served.get_mut(&id) {
            served.inputs.push_back(Input::HungUp);
        }
    }

    /// When a turn is due though nothing happens.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let due = |steward: &Steward| steward.sessions.poll_timeout().min(steward.reaper.poll_timeout());
        self.steward.as_ref().map_or(self.next_tick, |steward| due(steward).min(self.next_tick))
    }

    /// What its steward may know.
    pub(super) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// The tree as its clients see it.
    pub(crate) fn view(&self) -> &View {
        self.hub.view()
    }

    // ── a turn ──────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn turn(&mut self, now: Now) -> Vec<Doing> {
        let mut doing = Vec::new();
        self.hear_answers(&mut doing);
        if !now.without_news {
            self.hear_news(now);
        }
        if now.local >= self.next_tick {
            self.next_tick = now.local + Duration::from_millis(self.shape.tick_ms / 4);
            self.tick(now, &mut doing);
        }
        self.do_what_is_due(now, &mut doing);
        self.serve(now, &mut doing);
        self.served.retain(|_, served| !served.ended);
        doing
    }

    fn hear_news(&mut self, now: Now) {
        for news in std::mem::take(&mut self.news) {
            let woken = match news {
                TreeNews::Applied(view, events) => self.hub.applied(view, &events),
                TreeNews::Replaced(view) => self.hub.replaced(view),
                TreeNews::Role(change) => {
                    self.stand(change, now);
                    Vec::new()
                }
                TreeNews::Touched(sessions) => {
                    self.touch(&sessions, now);
                    Vec::new()
                }
            };
            for ConnectionId(id) in woken {
                if let Some(served) = self.served.get_mut(&id) {
                    served.wake = true;
                }
            }
        }
    }

    fn stand(&mut self, RoleChange { role, leader, epoch }: RoleChange, now: Now) {
        self.hub.set_standing(if leader.is_some() { Standing::Serving } else { Standing::Isolated });
        if role != Role::Leader {
            self.steward = None;
            return;
        }
        let tick = Duration::from_millis(self.shape.tick_ms);
        let every = Duration::from_millis(self.shape.tick_ms * 2);
        let unused_ms = (self.shape.tick_ms * 8) as i64;
        self.steward = Some(Steward {
            sessions: Sessions::new(epoch, tick, self.hub.view(), now.local),
            reaper: Reaper::new(every, unused_ms, now.local),
        });
        self.heard = Heard { leads_since: now.local, touched: BTreeMap::new() };
    }

    fn touch(&mut self, sessions: &[SessionId], now: Now) {
        let Some(steward) = &mut self.steward else { return };
        for session in sessions {
            steward.sessions.touch(*session, now.local);
            self.heard.touched.insert(*session, now.local);
        }
    }

    fn hear_answers(&mut self, doing: &mut Vec<Doing>) {
        for (lane, request, answered) in std::mem::take(&mut self.answers) {
            let Some(served) = self.served.get_mut(&lane) else { continue };
            let id = RequestId(request);
            match answered {
                Answered::Done(response) => {
                    served.in_flight -= 1;
                    if let Some((request, command)) = served.held.pop_front() {
                        served.in_flight += 1;
                        doing.push(Doing::Propose { lane, request, command });
                    }
                    served.inputs.push_back(Input::Answered { request: id, response });
                }
                Answered::Synced(zxid) => {
                    served.inputs.push_back(Input::Synced { request: id, zxid });
                }
                // What was sent behind it the tree refuses, for it is out of its turn.
                Answered::Lost => {
                    served.held.clear();
                    served.inputs.push_front(Input::Lost { request: id });
                }
            }
        }
    }

    fn tick(&mut self, now: Now, doing: &mut Vec<Doing>) {
        let mut touched = Vec::new();
        for served in self.served.values_mut() {
            let heard = std::mem::take(&mut served.heard);
            let Some(session) = served.connection.session() else { continue };
            let known = self.hub.view().session(session);
            // Twice: the view may be about to show the session, and the answer to a goodbye may be on its way.
            let gone = known.is_none_or(|known| known.owner != served.owner);
            if gone && served.gone {
                served.inputs.push_front(Input::Expired);
            }
            served.gone = gone;
            touched.extend(heard.then_some(session));
        }
        if self.steward.is_some() {
            self.touch(&touched, now);
        } else if !touched.is_empty() {
            doing.push(Doing::Touch(touched));
        }
    }

    fn do_what_is_due(&mut self, now: Now, doing: &mut Vec<Doing>) {
        let Some(steward) = &mut self.steward else { return };
        let view = self.hub.view();
        let mut commands = steward.sessions.due(now.local, view);
        commands.extend(steward.reaper.due(now.local, now.time_ms, view));
        for command in commands {
            self.stewarded += 1;
            doing.push(Doing::Propose { lane: STEWARD, request: self.stewarded, command });
        }
    }

    fn serve(&mut self, now: Now, doing: &mut Vec<Doing>) {
        for (id, served) in &mut self.served {
            while !served.ended {
                let input = if let Some(input) = served.inputs.pop_front() {
                    input
                } else if std::mem::take(&mut served.wake) || served.connection.has_more() {
                    Input::Wake
                } else if served.connection.wants_packets()
                    && let Some(bytes) = served.received.pop_front()
                {
                    Input::Packet { bytes, time_ms: now.time_ms }
                } else {
                    break;
                };
                step(*id, served, input, &mut self.hub, self.shape.in_flight_max, doing);
            }
        }
    }
}

fn step(
    id: u64,
    served: &mut Served,
    input: Input,
    hub: &mut Hub,
    in_flight_max: usize,
    doing: &mut Vec<Doing>,
) {
    let mut outputs = Vec::new();
    served.connection.step(input, hub, &mut outputs);
    for output in outputs {
        match output {
            Output::Send(packet) => doing.push(Doing::Send { connection: id, packet }),
            Output::Propose { request, command } if served.in_flight < in_flight_max => {
                served.in_flight += 1;
                doing.push(Doing::Propose { lane: id, request: request.0, command });
            }
            Output::Propose { request, command } => served.held.push_back((request.0, command)),
            Output::Sync { request } => doing.push(Doing::Sync { lane: id, request: request.0 }),
            Output::Close(reason) => {
                served.held.clear();
                served.ended = true;
                doing.push(Doing::Close { connection: id, reason });
            }
        }
    }
}

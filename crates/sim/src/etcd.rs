//! etcd's watches and leases in a run: clients with streams to the front ends of hosts, clients that write and keep leases alive, and the judges of what they
//! are told.
//!
//! ```text
//!   Watcher ─ requests ─► line (in order, late, or gone) ─► Front: the service's own Hub, Asks, Steward ─► Node, group `keys`
//!   Actor ── writes, questions ────────────────────────────►  │        ▲ words between members, by the simulated network
//!      ▲                                                       │        │ news of the state: late, gathered, or lost
//!      └──────────────── responses, answers ◄──────────────────┘        the committed log of the keys
//!      │ each as it arrives                                                       ▼
//!   judge, leases ────────────── what should it have been? ───► Ledger: a naive execution, with all of its past
//! ```
//!
//! | promise | where it is judged |
//! |---|---|
//! | E1 what a write is answered, and what the keys are | `stage`, `ledger`: after every entry on every replica |
//! | E3 watches: ordered, unique, reliable, atomic, resumable, bookmarkable, filtered, with what was there before | `judge`, as each response arrives; `Watcher::check` at the end |
//! | E5 leases: none ends early, none lives for ever, no key outlives its own, nobody is told that one lives which has ended | `leases`; `ledger` after every entry |
//! | E6 what a compaction leaves | `ledger` |
//!
//! Time is asked of the clock that counted it: a lease is held against the clock of the host whose steward ended it, which may drift and jump.
//!
//! Architecture Invariant: a run without these clients draws nothing from here, and is the run that it was before there were any.

mod actor;
mod clocks;
mod feed;
mod front;
mod judge;
mod leases;
mod ledger;
mod stage;
mod watcher;

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_consensus::Random;
use quorate_service::{KeysNews, lease::Remaining, wire::etcdserverpb::WatchRequest};

pub(crate) use front::Front;
pub(crate) use ledger::{Ledger, Sums};

use crate::{clients::Told, plan::REST_MAX_US, schedule::Time, zoo::Wrong};
use actor::Actor;
use clocks::Clocks;
use leases::Leases;
use watcher::Watcher;

/// The shape of a run's watches and leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysShape {
    /// Clients that watch.
    pub watchers: usize,
    /// Clients that write and have leases.
    pub actors: usize,
    /// How long a client that writes rests, at most, in microseconds.
    pub rest_max_us: u64,
    /// One of so many of its writes is a compaction; none is, if this is zero.
    pub compacts: u64,
    /// Leases that a client has at a time: many, and one ends at any moment.
    pub leases: u64,
    /// The longest time to live of a lease, in seconds.
    pub ttl_max_s: u64,
    /// Watches that a host takes.
    pub watches_max: usize,
    /// Bytes of responses that wait for a client.
    pub queue_bytes_max: usize,
    /// Bytes of a response, about.
    pub response_bytes_max: usize,
    /// Bytes of a part of a response.
    pub fragment_bytes: usize,
    /// How often watches that want it are told how far they have come, in milliseconds.
    pub progress_ms: u64,
    /// Changes that may wait for the hub, and news that may wait for the steward.
    pub waiting_max: usize,
}

impl KeysShape {
    /// A third of the runs have watches and leases.
    pub(crate) fn draw(random: &mut Random) -> Option<KeysShape> {
        random.chance(1, 3).then(|| KeysShape::drawn(random))
    }

    pub(crate) fn drawn(random: &mut Random) -> KeysShape {
        let pace = random.below(REST_MAX_US.len() as u64);
        let mut one_of = |of: [u64; 3]| of[random.below(3) as usize];
        KeysShape {
            watchers: one_of([1, 2, 4]) as usize,
            actors: one_of([1, 2, 3]) as usize,
            rest_max_us: REST_MAX_US[pace as usize],
            compacts: one_of([0, 12, 40]),
            ttl_max_s: one_of([1, 4, 8]),
            watches_max: one_of([2, 6, 1_000]) as usize,
            queue_bytes_max: one_of([300, 2_000, 8 << 20]) as usize,
            response_bytes_max: one_of([100, 1_000, 1 << 20]) as usize,
            fragment_bytes: one_of([60, 300, 2 << 20]) as usize,
            progress_ms: one_of([150, 600, 3_000]),
            waiting_max: one_of([2, 8, 1 << 16]) as usize,
            leases: one_of([2, 2, 9]),
        }
    }
}

/// Something happens to the clients of the keys, or to the front ends.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A client that writes may do something.
    Act { actor: usize, turn: u64 },
    /// A client that watches may do something.
    Watch { watcher: usize, turn: u64 },
    /// A request reaches the host that it was sent to.
    Ask { actor: usize, number: u64 },
    /// An answer reaches its client.
    Answer { actor: usize, number: u64, answer: Box<Answer> },
    /// A request of a stream reaches its host; or the end of the stream does.
    ToHost { line: u64, request: Option<WatchRequest> },
    /// A response reaches its client; or the end of the stream does.
    ToWatcher { line: u64, response: Option<Bytes> },
    /// A front end has its turn.
    Turn { host: usize, life: u64, at: Time },
}

/// What a client of a host is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A command came to this.
    Done(Told),
    /// A question about a lease: no answer came in time, or this.
    Lease(Option<Remaining>),
}

/// Who waits at a front end for what the node comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The steward, for this barrier.
    Barrier(u64),
    /// The hub, for what this member has.
    Local,
    /// Nobody: the steward looks again.
    Proposed,
    /// A client.
    Client { actor: usize, number: u64 },
}

/// A connection of a watcher to a host: what is sent arrives in order.
#[derive(Debug)]
pub(crate) struct Line {
    watcher: usize,
    host: usize,
    life: u64,
    /// The stream there, once the first request has come.
    stream: Option<quorate_service::watch::StreamId>,
    needs_leader: bool,
    pace: Time,
    last_to: Time,
    last_from: Time,
}

/// All that is etcd's in a run, but for the front ends, which live and die with their hosts.
#[derive(Debug)]
pub(crate) struct Etcd {
    watchers: Vec<Watcher>,
    actors: Vec<Actor>,
    /// By number, from 1 on.
    lines: Vec<Line>,
    random: Random,
    clocks: Clocks,
    leases: Leases,
    /// When the store came to which revision, the last few.
    revisions: VecDeque<(Time, u64)>,
}

impl Etcd {
    pub(crate) fn new(shape: &KeysShape, seed: &Random) -> Etcd {
        let random = seed.fork(14);
        Etcd {
            watchers: (0..shape.watchers).map(|id| Watcher::new(id, &random)).collect(),
            actors: (0..shape.actors).map(|id| Actor::new(id, shape, &random)).collect(),
            lines: Vec::new(),
            random,
            clocks: Clocks::default(),
            leases: Leases::default(),
            revisions: VecDeque::new(),
        }
    }

    fn line(&mut self, number: u64) -> &mut Line {
        &mut self.lines[number as usize - 1]
    }
}

/// The news of the keys on its way from a state half to its host's front end.
pub(crate) type News = std::sync::mpsc::Receiver<KeysNews>;

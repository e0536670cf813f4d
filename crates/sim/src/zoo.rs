//! ZooKeeper's part of a run: clients that speak its wire over simulated connections to the front ends of hosts, and the judges of what they are told.
//!
//! ```text
//!   Client ─ packets ─► Line (in order, late, or closed) ─► Server: the service's own Hub, Connections, stewards ─► Node, group `tree`
//!      ▲                                                       │
//!      └──────────────── answers, notifications ◄──────────────┘
//!      │ each answer, as it arrives                             the committed log of the tree
//!      ▼                                                                   ▼
//!   judge, watching, expect ──────── what should it have been? ───► Log: the naive Model, with all of its past
//! ```
//!
//! Every answer names a zxid, and the model knows the tree at every zxid, so nothing has to be searched for:
//!
//! | promise | where it is judged |
//! |---|---|
//! | K1 writes are linearizable | `judge`: an acknowledged write is in the log, later than all that was committed when it was asked, and came to that |
//! | K2 first in, first out | `judge`: answers in order, reads between the right writes; `Zoo::check_order`: writes in the log as they were sent, without a gap |
//! | K3 never back in time | `judge`: zxids per session, across connections; reads are the tree at their zxid |
//! | K4 sync | `judge`: it shows what was committed when it was asked for |
//! | K5 watches | `watching` |
//! | K6 ephemerals live as long as their sessions | `log`: after every entry on every replica; `Zoo::check_sessions`: no session outlives its client |
//! | K7 sequential names | `judge`, `log` |
//! | K8 no session ends early | `steward`: each expiry against what its steward had heard, and against who led |
//! | K9 a multi is all or nothing | `log`, `judge` |
//! | K10 stat fields | `log`, `judge` |
//! | K11 ACLs | `log`, `judge`, `watching` |
//!
//! Architecture Invariant: a run without the tree draws nothing from here, and is the run that it was before there was one.

mod asks;
mod client;
mod expect;
mod judge;
mod late;
mod line;
mod log;
mod model;
mod server;
mod stage;
mod steward;
mod watching;

use std::collections::BTreeMap;

use quorate_consensus::{EngineKind, Epoch, Random};
use quorate_service::{
    TreeNews,
    znodes::{SessionId, Znodes},
};

pub(crate) use line::Happening;
pub(crate) use log::Log;
pub(crate) use server::{Answered, Server};

use crate::{plan::REST_MAX_US, schedule::Time};
use client::{Client, Tally};
use line::Line;

/// A broken promise.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) id: &'static str,
    pub(crate) what: String,
}

impl Wrong {
    pub(crate) fn new(id: &'static str, what: String) -> Wrong {
        Wrong { id, what }
    }
}

/// The shape of a run's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeShape {
    /// Which engine drives it.
    pub engine: EngineKind,
    /// Clients.
    pub clients: usize,
    /// ZooKeeper's tick, in milliseconds.
    pub tick_ms: u64,
    /// Proposals of a connection that may be under way at once.
    pub in_flight_max: usize,
    /// Requests of a client that may wait for their answers.
    pub window: usize,
    /// How long a client rests between requests, at most, in microseconds.
    pub rest_max_us: u64,
    /// How often the root was written, and how many children it ever had, before the run began: so often that counters turn over in it.
    pub worn: (i32, i32),
    /// Faults that aim at a leader aim at the tree's.
    pub aimed: bool,
    /// The cluster is founded without it, and gets it while it runs.
    pub late: bool,
}

impl TreeShape {
    /// A third of the runs have a tree.
    pub(crate) fn draw(random: &mut Random) -> Option<TreeShape> {
        if !random.chance(1, 3) {
            return None;
        }
        Some(TreeShape {
            engine: if random.chance(2, 3) { EngineKind::Zab } else { EngineKind::Raft },
            clients: random.between(2, 5) as usize,
            tick_ms: [60, 100, 200][random.below(3) as usize],
            in_flight_max: [1, 4, 1_000][random.below(3) as usize],
            window: [1, 3, 8][random.below(3) as usize],
            rest_max_us: REST_MAX_US[random.below(REST_MAX_US.len() as u64) as usize],
            worn: if random.chance(1, 3) { (-4, i32::MAX - 3) } else { (0, 0) },
            aimed: random.chance(1, 2),
            late: random.chance(1, 3),
        })
    }

    /// The tree that every host begins with.
    pub(crate) fn born(&self) -> Znodes {
        Znodes::worn(self.worn.0, self.worn.1)
    }
}

/// All that is ZooKeeper's in a run, but for the front ends, which live and die with their hosts.
#[derive(Debug)]
pub(crate) struct Zoo {
    shape: TreeShape,
    clients: Vec<Client>,
    /// By number, from 1 on: every connection that there ever was.
    lines: Vec<Line>,
    random: Random,
    /// How much of the log was looked at for what became of sessions.
    followed: u64,
    /// When a server last heard of each session's client.
    heard: BTreeMap<SessionId, Time>,
    /// In which epochs a steward decided to end the session of this owner.
    decided: BTreeMap<(SessionId, u64), Vec<Epoch>>,
}

impl Zoo {
    pub(crate) fn new(shape: &TreeShape, seed: &Random) -> Zoo {
        Zoo {
            shape: shape.clone(),
            clients: (0..shape.clients).map(|id| Client::new(id, shape, seed)).collect(),
            lines: Vec::new(),
            random: seed.fork(6),
            followed: 0,
            heard: BTreeMap::new(),
            decided: BTreeMap::new(),
        }
    }

    /// The cluster has healed: from here on it is counted how far clients are served.
    pub(crate) fn begin_tallies(&mut self) {
        self.clients.iter_mut().for_each(Client::begin_tally);
    }

    /// How far each client was served since then.
    pub(crate) fn tallies(&self) -> Vec<Tally> {
        self.clients.iter().map(Client::tally).collect()
    }

    fn line(&mut self, number: u64) -> &mut Line {
        &mut self.lines[number as usize - 1]
    }

    /// K2: what stands in the log of each connection is what it sent, in that order and without a gap.
    pub(crate) fn check_order(&self, log: &Log) -> Result<(), Wrong> {
        for (line, owner) in self.lines.iter().zip(1..) {
            for (number, index) in log.writes_of(owner).iter().enumerate() {
                line.is_write(number, log.step(*index).and_then(|step| step.command.as_ref()), *index)?;
            }
        }
        Ok(())
    }
}

/// The news of the tree on its way from a state half to its host's front end.
pub(crate) type News = std::sync::mpsc::Receiver<TreeNews>;

//! The stewards of the node that leads: sessions that nobody has heard of, containers and znodes whose time is over.

use std::time::{Duration, Instant};

use quorate_consensus as pure;
use quorate_service::{
    znodes::{Command, SessionId, View},
    zookeeper::{Reaper, Sessions},
};

/// The stewards, and the clock that they are told of.
#[derive(Debug)]
pub(crate) struct Steward {
    begun: Instant,
    sessions: Sessions,
    reaper: Reaper,
}

impl Steward {
    /// A leader begins: every session has its full timeout from now.
    pub(crate) fn new(
        epoch: pure::Epoch,
        tick: Duration,
        container_interval: Duration,
        container_unused_ms: i64,
        view: &View,
        now: Instant,
    ) -> Steward {
        let start = pure::Instant::START;
        Steward {
            begun: now,
            sessions: Sessions::new(epoch, tick, view, start),
            reaper: Reaper::new(container_interval, container_unused_ms, start),
        }
    }

    fn pure(&self, now: Instant) -> pure::Instant {
        pure::Instant::START + now.saturating_duration_since(self.begun)
    }

    /// The clients of these sessions were heard of.
    pub(crate) fn touch(&mut self, sessions: &[SessionId], now: Instant) {
        let now = self.pure(now);
        for session in sessions {
            self.sessions.touch(*session, now);
        }
    }

    /// When something is due next.
    pub(crate) fn next(&self) -> Instant {
        let next = self.sessions.poll_timeout().min(self.reaper.poll_timeout());
        self.begun + next.since(pure::Instant::START)
    }

    /// What is due.
    pub(crate) fn due(&mut self, now: Instant, time_ms: i64, view: &View) -> Vec<Command> {
        let now = self.pure(now);
        let mut commands = self.sessions.due(now, view);
        commands.extend(self.reaper.due(now, time_ms, view));
        commands
    }
}

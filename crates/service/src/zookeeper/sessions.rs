//! The steward of sessions: which of them nobody has heard of for too long. Runs on the leader of the tree's group.
//!
//! Deadlines are rounded up to a tick, as ZooKeeper's are, so that a touch rarely changes anything and a session is never ended early (rule K8). What
//! the steward decides becomes an entry, which is refused if the session was taken up by somebody else meanwhile, or if the epoch is another's by then.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{Duration, Epoch, Instant};
use quorate_znodes::{CloseSession, Command, Expiry, Session, SessionId, View};

/// Sessions that one call ends; the others wait for the next.
pub const EXPIRIES_MAX: usize = 1_024;
/// The end of a session is asked for again after twice as long each time, up to two to the power of this in ticks.
const AGAIN_POWER_MAX: u32 = 5;

/// Deadlines of all sessions.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// The one in which this node leads, and in which alone its decisions count.
    epoch: Epoch,
    tick: Duration,
    tracked: BTreeMap<SessionId, Tracked>,
    /// The same, by deadline.
    deadlines: BTreeSet<(Instant, SessionId)>,
    /// When the tree is looked at next for sessions that are not tracked yet.
    next_look: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Tracked {
    deadline: Instant,
    timeout: Duration,
    owner: u64,
    /// So often its end was asked for.
    asked: u32,
}

impl Sessions {
    /// The steward of a leader that begins an epoch: every session has its full timeout from now. `tick` is at least a millisecond.
    #[must_use]
    pub fn new(epoch: Epoch, tick: Duration, view: &View, now: Instant) -> Sessions {
        let tick = tick.max(Duration::from_millis(1));
        let mut sessions =
            Sessions { epoch, tick, tracked: BTreeMap::new(), deadlines: BTreeSet::new(), next_look: now };
        sessions.look(view, now);
        // E18: only the leader before knew who had been heard of; whoever does not speak at once is gone.
        if quorate_consensus::planted!("E18") {
            for session in view.sessions() {
                let deadline = sessions.rounded(now + tick);
                sessions.set(
                    session.id,
                    Tracked { deadline, timeout: timeout(session), owner: session.owner, asked: 0 },
                );
            }
        }
        sessions
    }

    /// The client was heard of, here or by another server.
    pub fn touch(&mut self, session: SessionId, now: Instant) {
        // ZOOKEEPER-1622: ids that have turned negative.
        if session.0 < 0 && quorate_consensus::planted!("S09") {
            return;
        }
        if let Some(tracked) = self.tracked.get(&session).copied() {
            let from_now = self.rounded(now + tracked.timeout);
            // Never earlier: what another server heard may have taken long to get here, and the timeout may have become shorter. Once its end was asked for, the deadline
            // is when to ask again.
            let deadline = if tracked.asked > 0 { from_now } else { from_now.max(tracked.deadline) };
            self.set(session, Tracked { deadline, asked: 0, ..tracked });
        }
    }

    /// When [`Sessions::due`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.deadlines.first().map_or(self.next_look, |(deadline, _)| self.next_look.min(*deadline))
    }

    /// The ends of the sessions that nobody has heard of in time. One that is still there a tick later is asked for again: an entry may be lost; then after two
    /// ticks, and so on: {many sessions end at once, and the log takes longer than a tick for them}: asked for once a tick, the same ends would fill the log faster than it
    /// is applied, for ever. Found by the simulator.
    pub fn due(&mut self, now: Instant, view: &View) -> Vec<Command> {
        if now >= self.next_look {
            self.look(view, now);
        }
        let mut commands = Vec::new();
        while let Some((_, session)) =
            self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now)
        {
            let Some(known) = view.session(session) else {
                self.forget(session);
                continue;
            };
            if self.tracked.get(&session).is_some_and(|tracked| tracked.owner != known.owner) {
                // Its client came back, perhaps to another server.
                self.begin(known, now);
                continue;
            }
            if commands.len() >= EXPIRIES_MAX {
                break;
            }
            let expiry = Some(Expiry { owner: known.owner, epoch: self.epoch });
            commands.push(Command::CloseSession(CloseSession { session, expiry, goodbye: None }));
            if let Some(tracked) = self.tracked.get(&session).copied() {
                let deadline = now + self.tick * (1 << tracked.asked.min(AGAIN_POWER_MAX));
                self.set(session, Tracked { deadline, asked: tracked.asked + 1, ..tracked });
            }
        }
        commands
    }

    /// How many sessions are tracked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracked.len()
    }

    /// Is none tracked?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracked.is_empty()
    }

    /// Goes through the tree's sessions: new ones are tracked from now, as are those that somebody else speaks for now, or with another timeout.
    ///
    /// Whoever opens a session and is never heard of again is found here, even if the server that it spoke to is gone.
    fn look(&mut self, view: &View, now: Instant) {
        self.next_look = now + self.tick;
        for session in view.sessions() {
            let known = self
                .tracked
                .get(&session.id)
                .is_some_and(|tracked| tracked.owner == session.owner && tracked.timeout == timeout(session));
            if !known {
                self.begin(session, now);
            }
        }
    }

    fn begin(&mut self, session: &Session, now: Instant) {
        let timeout = timeout(session);
        let deadline = self.rounded(now + timeout);
        self.set(session.id, Tracked { deadline, timeout, owner: session.owner, asked: 0 });
    }

    fn set(&mut self, session: SessionId, tracked: Tracked) {
        if let Some(before) = self.tracked.insert(session, tracked) {
            if before.deadline == tracked.deadline {
                return;
            }
            self.deadlines.remove(&(before.deadline, session));
        }
        self.deadlines.insert((tracked.deadline, session));
    }

    fn forget(&mut self, session: SessionId) {
        if let Some(before) = self.tracked.remove(&session) {
            self.deadlines.remove(&(before.deadline, session));
        }
    }

    /// The next tick after `at`.
    fn rounded(&self, at: Instant) -> Instant {
        let tick = u64::try_from(self.tick.as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos((at.as_nanos() / tick).saturating_add(1).saturating_mul(tick))
    }
}

fn timeout(session: &Session) -> Duration {
    Duration::from_millis(u64::try_from(session.timeout_ms).unwrap_or(0))
}

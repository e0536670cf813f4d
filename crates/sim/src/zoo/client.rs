//! A client of ZooKeeper's, as the Java client is one: a session that outlives connections, pings, time-outs, watches that it brings along, and several
//! requests under way. Beyond that it sleeps at times, goes away without a word, and says goodbye.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate_consensus::Random;
use quorate_service::{
    wire::{
        jute::Jute as _,
        zookeeper::{
            AuthPacket, ConnectRequest, ConnectResponse, Request, Secret, XID_AUTH, XID_PING,
            XID_SET_WATCHES, packet,
        },
    },
    znodes::{Identity, SessionId},
    zookeeper::digest_id,
};

use super::{TreeShape, asks::Drawing, watching::Watching};
use crate::schedule::{MICROS, MILLIS, SECONDS, Time};

/// The address that all clients come from.
pub(super) const ADDRESS: &str = "10.0.0.7";

/// A session as its client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(super) id: SessionId,
    password: Bytes,
    pub(super) timeout: Time,
}

/// A request that was not answered yet.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(super) xid: i32,
    pub(super) request: Request,
    /// The last index and zxid that were committed when it was sent.
    pub(super) committed: (u64, u64),
    /// Writes that the connection had sent before.
    pub(super) writes_before: usize,
    pub(super) writes: bool,
    pub(super) at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Without a connection until then.
    Away { until: Time },
    /// It has said which session it wants.
    Calling { line: u64, since: Time },
    /// It has its session.
    In { line: u64 },
}

/// How far a client was served since the cluster has healed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Answers to requests of any kind, pings among them.
    heard: u64,
    /// Writes that were answered.
    written: u64,
    /// When it asked for the first write that came to nothing.
    in_vain_since: Option<Time>,
    /// When it asked for what it waits for longest.
    waits_since: Option<Time>,
}

impl Tally {
    fn asked(&mut self, writes: bool, now: Time) {
        if writes && self.written == 0 {
            self.in_vain_since.get_or_insert(now);
        }
    }

    fn answered(&mut self, writes: bool) {
        self.heard += 1;
        if writes {
            self.written += 1;
            self.in_vain_since = None;
        }
    }

    /// By `now` it has heard nothing, has written in vain, or waits for long. {A client that rests for up to 0.4 s asks for ten reads}: it is served, and wrote nothing.
    pub(crate) fn is_in_vain(&self, now: Time) -> bool {
        let long_ago = |since: Option<Time>, least: Time| since.is_some_and(|since| since + least <= now);
        self.heard == 0 || long_ago(self.in_vain_since, IN_VAIN_MAX) || long_ago(self.waits_since, WAITS_MAX)
    }
}

/// In a cluster that has healed a write takes milliseconds, and nothing that is asked is lost.
const IN_VAIN_MAX: Time = SECONDS;
/// A client may sleep through what it is answered.
const WAITS_MAX: Time = 3 * SECONDS;

#[derive(Debug)]
pub(crate) struct Client {
    pub(super) id: usize,
    pub(super) random: Random,
    pub(super) phase: Phase,
    pub(super) session: Option<Held>,
    /// The newest zxid that it was shown in this session.
    pub(super) last_zxid: u64,
    credentials: Option<String>,
    pub(super) pending: VecDeque<Asked>,
    pub(super) watching: Watching,
    tally: Tally,
    /// The server has taken its watches, so that they are told.
    pub(super) watched: bool,
    /// What it was told before the answer to its old watches: kinds and paths.
    pub(super) replayed: Vec<(i32, String)>,
    /// Requests that it wants to make first: a watch that was told is set again.
    pub(super) wants: VecDeque<Request>,
    pub(super) seen: BTreeMap<String, i32>,
    /// It sends what it has to say without waiting to be let in.
    pub(super) eager: bool,
    pub(super) says_goodbye: bool,
    next_xid: i32,
    next_value: u64,
    wanted_timeout_ms: i32,
    window: usize,
    rest_max: Time,
    pub(super) heard_at: Time,
    pub(super) sent_at: Time,
    pub(super) asks_at: Time,
    pub(super) sleeps_until: Time,
    /// Counts what it was woken for; an older waking is void.
    pub(super) turn: u64,
}

impl Client {
    /// How far it was served since [`begin_tally`](Self::begin_tally).
    pub(super) fn tally(&self) -> Tally {
        Tally { waits_since: self.pending.front().map(|asked| asked.at), ..self.tally }
    }

    /// The cluster has healed: what was lost before does not count.
    pub(super) fn begin_tally(&mut self) {
        self.tally = Tally::default();
    }

    pub(super) fn has_asked(&mut self, asked: Asked) {
        self.tally.asked(asked.writes, asked.at);
        self.pending.push_back(asked);
    }

    pub(super) fn was_answered(&mut self, writes: bool) {
        self.tally.answered(writes);
    }

    pub(super) fn new(id: usize, shape: &TreeShape, seed: &Random) -> Client {
        let mut random = seed.fork(2_000 + id as u64);
        let ticks = random.between(4, 12);
        Client {
            id,
            phase: Phase::Away { until: 0 },
            session: None,
            last_zxid: 0,
            credentials: random.chance(1, 2).then(|| format!("u{}:secret", id % 2)),
            pending: VecDeque::new(),
            watching: Watching::default(),
            tally: Tally::default(),
            watched: true,
            replayed: Vec::new(),
            wants: VecDeque::new(),
            seen: BTreeMap::new(),
            eager: false,
            says_goodbye: false,
            next_xid: 0,
            next_value: 0,
            wanted_timeout_ms: (ticks * shape.tick_ms).min(1_800) as i32,
            window: shape.window,
            rest_max: shape.rest_max_us * MICROS,
            heard_at: 0,
            sent_at: 0,
            asks_at: 0,
            sleeps_until: 0,
            turn: 0,
            random,
        }
    }

    /// Whom a server takes it for, once it has shown its credentials.
    pub(super) fn identities(&self) -> Vec<Identity> {
        let digest = self.credentials.iter().map(|shown| Identity::new("digest", &digest_id(shown)));
        [Identity::new("ip", ADDRESS)].into_iter().chain(digest).collect()
    }

    pub(super) fn line(&self) -> Option<u64> {
        match self.phase {
            Phase::Away { .. } => None,
            Phase::Calling { line, .. } | Phase::In { line } => Some(line),
        }
    }

    pub(super) fn timeout(&self) -> Time {
        let wanted = Time::from(self.wanted_timeout_ms as u32) * MILLIS;
        self.session.as_ref().map_or(wanted, |session| session.timeout)
    }

    /// The connection is gone, or is no longer wanted.
    pub(super) fn leave(&mut self, now: Time) {
        self.pending.clear();
        // Whoever has not heard that its goodbye was heard goes on.
        self.says_goodbye = false;
        let rest = self.random.between(1, 80) * MILLIS;
        self.phase = Phase::Away { until: now + rest };
    }

    /// Its session is over: the next one knows nothing of it.
    pub(super) fn forget_session(&mut self) {
        (self.session, self.last_zxid, self.says_goodbye) = (None, 0, false);
        self.watching = Watching::default();
        self.wants.clear();
    }

    // ── what it says ────────────────────────────────────────────────────────────────────────────────────────────────

    /// The first packet of a connection.
    pub(super) fn hello(&mut self) -> Bytes {
        self.eager = self.random.chance(1, 3);
        self.watched = self.watching.len() == 0;
        self.replayed.clear();
        let known = self.session.as_ref();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid as i64,
            timeout_ms: self.wanted_timeout_ms,
            session: known.map_or(0, |session| session.id.0),
            password: Secret(Some(known.map_or(Bytes::from_static(&[0; 16]), |held| held.password.clone()))),
            read_only: Some(false),
        };
        packet(|to| request.write(to)).expect("it is short")
    }

    /// What it says before anything else: who it is, and what it watches.
    pub(super) fn introduction(&mut self) -> Vec<(i32, Request)> {
        let auth = self.credentials.as_ref().map(|shown| {
            let credentials = Secret(Some(Bytes::copy_from_slice(shown.as_bytes())));
            (XID_AUTH, Request::Auth(AuthPacket { kind: 0, scheme: "digest".to_owned(), credentials }))
        });
        let watches = (self.watching.len() > 0).then(|| {
            let watches = self.watching.brought_along(self.last_zxid as i64);
            (XID_SET_WATCHES, Request::SetWatches2(watches))
        });
        auth.into_iter().chain(watches).collect()
    }

    /// The server has answered its hello: does it have a session?
    pub(super) fn welcomed(&mut self, response: &ConnectResponse) -> bool {
        if response.timeout_ms <= 0 {
            return false;
        }
        self.session = Some(Held {
            id: SessionId(response.session),
            password: response.password.0.clone().unwrap_or_default(),
            timeout: Time::from(response.timeout_ms as u32) * MILLIS,
        });
        true
    }

    /// What it asks next, if it may ask more.
    pub(super) fn next_request(&mut self, only_reads: bool) -> Option<(i32, Request)> {
        if self.says_goodbye || self.pending.len() >= self.window {
            return None;
        }
        let request = match self.wants.pop_front() {
            Some(wanted) => wanted,
            None if !only_reads && self.random.chance(1, 250) => {
                self.says_goodbye = true;
                Request::CloseSession(())
            }
            None => self.draw(only_reads),
        };
        self.next_xid += 1;
        Some((self.next_xid, request))
    }

    fn draw(&mut self, only_reads: bool) -> Request {
        self.next_value += 1;
        let at = self.random.below(self.seen.len().max(1) as u64) as usize;
        let seen = self.seen.iter().nth(at).map(|(path, version)| (path.clone(), *version));
        let user = self.credentials.as_deref().map(digest_id);
        let value = (self.id as u64) << 48 | self.next_value;
        let random = &mut self.random;
        Drawing { random, value, seen, user: user.as_deref(), only_reads }.draw()
    }

    pub(super) fn rest(&mut self) -> Time {
        self.random.between(200 * MICROS, self.rest_max)
    }

    /// A ping, if nothing was said for a third of the session's time.
    pub(super) fn ping(&self, now: Time) -> Option<(i32, Request)> {
        let due = now.saturating_sub(self.sent_at) >= self.timeout() / 3;
        let waits = self.pending.iter().any(|asked| asked.xid == XID_PING);
        (due && !waits).then_some((XID_PING, Request::Ping(())))
    }

    pub(super) fn is_out_of_patience(&self, now: Time) -> bool {
        match self.phase {
            Phase::Away { .. } => false,
            Phase::Calling { since, .. } => now.saturating_sub(since) > self.timeout() / 2,
            Phase::In { .. } => now.saturating_sub(self.heard_at) > self.timeout() * 2 / 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_served_no_more_if_it_hears_nothing_writes_in_vain_or_waits_for_long() {
        let end = 20 * SECONDS;
        let mut tally = Tally::default();
        assert!(tally.is_in_vain(end), "it has heard nothing");
        tally.answered(false);
        assert!(!tally.is_in_vain(end), "it asked for no write");
        tally.asked(true, end - SECONDS + 1);
        assert!(!tally.is_in_vain(end), "it may be on its way");
        assert!(tally.is_in_vain(end + 1));
        // Another try, another connection: it is the first one that counts.
        tally.asked(true, end);
        assert!(tally.is_in_vain(end + 1));
        tally.answered(true);
        assert!(!tally.is_in_vain(end + 1));
        assert!(Tally { waits_since: Some(end - WAITS_MAX), ..tally }.is_in_vain(end));
        assert!(!Tally { waits_since: Some(end - WAITS_MAX + 1), ..tally }.is_in_vain(end));
    }
}

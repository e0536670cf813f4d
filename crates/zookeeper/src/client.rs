//! One client: its connection, what it sent that was not looked at yet, and what it has not read yet.

use std::{collections::VecDeque, mem, time::Instant};

use bytes::{Bytes, BytesMut};
use quorate_service::{
    znodes::{Response, SessionId},
    zookeeper::{CloseReason, Connection, ConnectionId, Hub, Input, Output, RequestId, Standing},
};
use quorate_wire::zookeeper::{FourLetterWord, Incoming, XID_NOTIFICATION, next_packet};
use tokio::task::AbortHandle;

use crate::{
    Failure, Proposal, Ticket, Tuning,
    socket::{Flushed, Outgoing, Socket},
    stats::Stats,
};

/// A client of this server.
#[derive(Debug)]
pub(crate) struct Client {
    id: ConnectionId,
    connection: Connection,
    /// Who speaks for the session, if this connection does.
    owner: u64,
    pub(crate) socket: Socket,
    received: BytesMut,
    /// Answers that were not taken yet.
    inputs: VecDeque<Input>,
    wake: bool,
    hung_up: bool,
    out: Outgoing,
    /// Proposals under way, and those that wait for them.
    in_flight: usize,
    held: VecDeque<Proposal>,
    opened: Instant,
    /// Something came since the last tick.
    heard: bool,
    /// Its session was not its own any more at the last tick.
    gone: bool,
    /// Nothing is done for it any more; what was said is written until then.
    ends: Option<Instant>,
    /// A task waits until it can be written to.
    pub(crate) writing: Option<AbortHandle>,
    /// It is in the list of those that something is to be done for.
    pub(crate) listed: bool,
    /// When the requests came that were not answered yet.
    arrivals: VecDeque<Instant>,
    pub(crate) stats: Stats,
}

/// What the clients of one server share while something is done for them.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) tuning: Tuning,
    pub(crate) now: Instant,
    /// Milliseconds since 1970.
    pub(crate) time_ms: i64,
    pub(crate) stats: Stats,
    pub(crate) proposals: Vec<Proposal>,
    pub(crate) syncs: Vec<Ticket>,
    pub(crate) outputs: Vec<Output>,
}

/// What is to become of a client after something was done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until something happens.
    Rest,
    /// There is more to do at once.
    Again,
    /// It is to be waited for until it reads.
    Wait,
    /// It is to be forgotten.
    Gone,
}

impl Client {
    pub(crate) fn new(
        id: ConnectionId,
        connection: Connection,
        owner: u64,
        socket: Socket,
        now: Instant,
    ) -> Client {
        Client {
            id,
            connection,
            owner,
            socket,
            received: BytesMut::new(),
            inputs: VecDeque::new(),
            wake: false,
            hung_up: false,
            out: Outgoing::default(),
            in_flight: 0,
            held: VecDeque::new(),
            opened: now,
            heard: false,
            gone: false,
            ends: None,
            writing: None,
            listed: false,
            arrivals: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Requests that were not answered yet.
    pub(crate) fn queued(&self) -> usize {
        self.connection.waiting()
    }

    // ── what happened ───────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn receive(&mut self, bytes: BytesMut) {
        self.socket.taken(bytes.len());
        if self.ends.is_some() {
            return;
        }
        self.heard = true;
        if self.received.is_empty() {
            self.received = bytes;
        } else {
            self.received.extend_from_slice(&bytes);
        }
    }

    pub(crate) fn wake(&mut self) {
        self.wake = true;
    }

    pub(crate) fn hang_up(&mut self) {
        self.hung_up = true;
    }

    pub(crate) fn answered(
        &mut self,
        ticket: Ticket,
        result: Result<Response, Failure>,
        shared: &mut Shared,
    ) {
        let request = ticket.request;
        self.in_flight = self.in_flight.saturating_sub(1);
        match result {
            Ok(response) => {
                if let Some(next) = self.held.pop_front() {
                    self.in_flight += 1;
                    shared.proposals.push(next);
                }
                self.inputs.push_back(Input::Answered { request, response });
            }
            Err(_) => self.lose(request),
        }
    }

    pub(crate) fn synced(&mut self, ticket: Ticket, result: Result<u64, Failure>) {
        let request = ticket.request;
        match result {
            Ok(zxid) => self.inputs.push_back(Input::Synced { request, zxid }),
            Err(_) => self.lose(request),
        }
    }

    /// Before anything else. What was sent behind it the tree refuses, for it is out of its turn.
    fn lose(&mut self, request: RequestId) {
        self.held.clear();
        self.inputs.push_front(Input::Lost { request });
    }

    // ── what is done about it ───────────────────────────────────────────────────────────────────────────────────────

    /// Does what can be done, as long as the client reads. A four-letter word is returned: it is about all clients.
    pub(crate) fn run(&mut self, shared: &mut Shared) -> Option<FourLetterWord> {
        while self.ends.is_none() {
            let last = matches!(self.inputs.front(), Some(Input::Lost { .. } | Input::Expired));
            if self.is_full(shared) && !last {
                break;
            }
            if let Some(input) = self.inputs.pop_front() {
                self.step(input, shared);
            } else if mem::take(&mut self.wake) || self.connection.has_more() {
                self.step(Input::Wake, shared);
            } else if !self.connection.wants_packets() {
                break;
            } else {
                let connected = self.connection.is_connected();
                match next_packet(&mut self.received, connected, shared.tuning.packet_bytes_max) {
                    Ok(Some(Incoming::Packet(bytes))) => {
                        self.stats.received += 1;
                        shared.stats.received += 1;
                        self.arrivals.push_back(shared.now);
                        self.step(Input::Packet { bytes, time_ms: shared.time_ms }, shared);
                    }
                    Ok(Some(Incoming::Word(word))) => return Some(word),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(client = %self.socket.peer, %error, "a connection is closed");
                        self.abandon(shared);
                    }
                }
            }
        }
        if self.hung_up {
            self.abandon(shared);
        }
        None
    }

    fn is_full(&self, shared: &Shared) -> bool {
        self.out.bytes() >= shared.tuning.output_bytes_max
    }

    fn step(&mut self, input: Input, shared: &mut Shared) {
        let mut outputs = mem::take(&mut shared.outputs);
        self.connection.step(input, &mut shared.hub, &mut outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Send(bytes) => self.send(bytes, shared),
                Output::Propose { request, command } => {
                    let proposal = Proposal { ticket: Ticket { lane: self.id, request }, command };
                    if self.in_flight < shared.tuning.in_flight_max.max(1) {
                        self.in_flight += 1;
                        shared.proposals.push(proposal);
                    } else {
                        self.held.push_back(proposal);
                    }
                }
                Output::Sync { request } => shared.syncs.push(Ticket { lane: self.id, request }),
                Output::Close(reason) => self.close(reason, shared),
            }
        }
        shared.outputs = outputs;
    }

    fn send(&mut self, bytes: Bytes, shared: &mut Shared) {
        self.stats.sent += 1;
        shared.stats.sent += 1;
        if bytes.get(4..8) != Some(XID_NOTIFICATION.to_be_bytes().as_slice())
            && let Some(arrived) = self.arrivals.pop_front()
        {
            let after = shared.now.saturating_duration_since(arrived);
            self.stats.answered(after);
            shared.stats.answered(after);
        }
        self.out.push(bytes);
    }

    fn close(&mut self, reason: CloseReason, shared: &Shared) {
        match reason {
            CloseReason::Farewell | CloseReason::HungUp => {}
            _ => tracing::debug!(client = %self.socket.peer, %reason, "a connection is closed"),
        }
        // What was proposed in the same breath belongs before the end and stays; what waited for its turn does not.
        self.held.clear();
        self.inputs.clear();
        self.received = BytesMut::new();
        self.ends = Some(shared.now + shared.tuning.close_timeout);
    }

    /// Ends it from this side; whatever was said is still written.
    pub(crate) fn abandon(&mut self, shared: &mut Shared) {
        if self.ends.is_none() {
            self.step(Input::HungUp, shared);
        }
    }

    /// The answer to a four-letter word, after which nothing comes.
    pub(crate) fn reply(&mut self, text: String, shared: &mut Shared) {
        self.out.push(text.into());
        self.abandon(shared);
    }

    /// Writes what there is, and says what is to become of the client.
    pub(crate) fn flush(&mut self, shared: &Shared) -> Next {
        match (self.out.flush(&self.socket), self.ends) {
            (Flushed::Failed, None) => {
                self.hung_up = true;
                Next::Again
            }
            (Flushed::All | Flushed::Failed, Some(_)) => Next::Gone,
            (Flushed::Blocked, Some(_)) => Next::Wait,
            (flushed, None) => {
                let full = self.is_full(shared);
                self.socket.set_open(!full && self.connection.wants_packets());
                let more = !self.inputs.is_empty() || self.wake || self.connection.has_more();
                match flushed {
                    _ if !full && (more || self.has_packet(shared)) => Next::Again,
                    Flushed::Blocked => Next::Wait,
                    Flushed::All | Flushed::Failed => Next::Rest,
                }
            }
        }
    }

    /// Was it stopped before the next packet, by an output that was full?
    fn has_packet(&self, shared: &Shared) -> bool {
        let Some(first) = self.received.first_chunk::<4>() else { return false };
        let length = usize::try_from(i32::from_be_bytes(*first)).unwrap_or(0);
        self.connection.wants_packets()
            && (length > shared.tuning.packet_bytes_max || self.received.len() - 4 >= length)
    }

    // ── time passes ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Looks at its deadlines. Returns the session if its client was heard of.
    pub(crate) fn tick(&mut self, shared: &mut Shared) -> Option<SessionId> {
        if !self.connection.is_connected()
            && shared.now.duration_since(self.opened) > shared.tuning.handshake_timeout
        {
            self.abandon(shared);
        }
        let heard = mem::take(&mut self.heard);
        let session = self.connection.session()?;
        // Twice: the view may be about to show the session, and the answer to a goodbye may be on its way.
        let known = shared.hub.view().session(session);
        // A server that only reads knows its sessions alone.
        let gone = shared.hub.standing() != Standing::ReadOnly
            && known.is_none_or(|known| known.owner != self.owner);
        if gone && self.gone && self.ends.is_none() {
            self.inputs.push_front(Input::Expired);
        }
        self.gone = gone;
        heard.then_some(session)
    }

    /// Is there something to do for it after a tick?
    pub(crate) fn is_due(&self) -> bool {
        self.ends.is_some() || matches!(self.inputs.front(), Some(Input::Expired))
    }

    /// Its session, once it has one.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.connection.session()
    }

    /// Has it had its time to read what was said at the end?
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}

//! One client's connection, as a value: what it sends, what it waits for, and what it gets, in order.
//!
//! ```text
//!   Handshake ─ ConnectRequest ─► Opening ─ the log's answer ─► Open ─ closeSession, or a fatal error ─► Ending ─ answered ─► Closed
//! ```
//!
//! Every request joins one queue, and answers leave it at its front alone. A write is proposed when it joins, unless a read waits before it: such a
//! write is held back, for the read must not see it. A read is done when it reaches the front; by then the view has every write before it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use quorate_wire::jute::{Jute as _, Reader};
use quorate_wire::zookeeper::{
    ConnectRequest, ErrorCode, OpCode, PathResponse, ReplyHeader, Request, RequestHeader, Response, XID_PING,
};
use quorate_znodes::{Caller, CloseSession, Command, Identity, Reply, SessionId, ZnodeError};

use super::handshake::{Asked, Greeting, greet};
use super::plan::{self, Plan, Shape, Write, plan};
use super::read::Reading;
use super::settings::{REQUESTS_WAITING_MAX, STEP_BYTES_MAX, WAITING_BYTES_MAX};
use super::{
    CloseReason, ConnectionId, Drawn, Hub, Input, Output, RequestId, Settings, Standing, auth, reply,
};

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    settings: Arc<Settings>,
    drawn: Drawn,
    identities: Arc<[Identity]>,
    phase: Phase,
    queue: VecDeque<Waiting>,
    /// Bytes of the requests in the queue, or of the packets before it.
    queue_bytes: usize,
    /// Requests in the queue that look at the tree.
    looking: usize,
    last_request: u64,
    /// A step ended with answers left to make.
    more: bool,
}

#[derive(Debug)]
enum Phase {
    Handshake,
    /// The log was asked about the session. Packets that are there already wait.
    Opening {
        asked: Asked,
        request: RequestId,
        answer: Option<quorate_znodes::Response>,
        early: Vec<(Bytes, i64)>,
    },
    Open {
        session: SessionId,
        read_only: bool,
    },
    /// Nothing more is taken; what waits is answered.
    Ending {
        session: SessionId,
        read_only: bool,
    },
    Closed,
}

/// A request that was not answered yet.
#[derive(Debug)]
struct Waiting {
    xid: i32,
    bytes: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Not proposed, for a read waits before it.
    Held(Command, Shape),
    /// Proposed.
    Write {
        request: RequestId,
        shape: Shape,
        answer: Option<quorate_znodes::Response>,
    },
    /// A barrier that is under way, or how far it went.
    Sync {
        request: RequestId,
        path: String,
        zxid: Option<u64>,
    },
    Read(Request, Arc<[Identity]>),
    Error(ErrorCode),
    /// Credentials were taken.
    Authenticated,
    /// An error under this zxid, and then the end.
    Last(ErrorCode, i64, CloseReason),
}

impl Connection {
    /// A connection that was just accepted. `identities` are those that it has from the start: `ip`, and `x509` over TLS.
    #[must_use]
    pub fn new(
        id: ConnectionId,
        settings: Arc<Settings>,
        drawn: Drawn,
        identities: Vec<Identity>,
        hub: &mut Hub,
    ) -> Connection {
        hub.connect(id);
        Connection {
            id,
            settings,
            drawn,
            identities: identities.into(),
            phase: Phase::Handshake,
            queue: VecDeque::new(),
            queue_bytes: 0,
            looking: 0,
            last_request: 0,
            more: false,
        }
    }

    /// Its session, once it has one: what is to be touched whenever the client sends anything.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Open { session, .. } | Phase::Ending { session, .. } => Some(session),
            Phase::Handshake | Phase::Opening { .. } | Phase::Closed => None,
        }
    }

    /// Is the handshake over? Before it, a packet may be a four-letter word.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !matches!(self.phase, Phase::Handshake)
    }

    /// May more be read from the socket? If not, it can wait: whoever sends on regardless is cut off at twice the limits.
    #[must_use]
    pub fn wants_packets(&self) -> bool {
        match self.phase {
            Phase::Handshake => true,
            Phase::Open { .. } => {
                self.queue.len() < REQUESTS_WAITING_MAX && self.queue_bytes < WAITING_BYTES_MAX
            }
            Phase::Opening { .. } | Phase::Ending { .. } | Phase::Closed => false,
        }
    }

    /// Are there answers left to make? Then the connection is to be [woken](Input::Wake) when what it has said is on its way.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Requests that wait for their answers: `cons`' "queued".
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes one input. What is to be done about it is added to `out`; after an [`Output::Close`] nothing comes any more.
    pub fn step(&mut self, input: Input, hub: &mut Hub, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        // Mail first: whatever else this step says is younger.
        let done = self.read_mail(hub, out).and_then(|()| self.take(input, hub, out));
        if let Err(reason) = done.and_then(|()| self.advance(hub, out)) {
            self.phase = Phase::Closed;
            self.queue.clear();
            self.more = false;
            hub.disconnect(self.id);
            out.push(Output::Close(reason));
        }
    }

    fn read_mail(&mut self, hub: &mut Hub, out: &mut Vec<Output>) -> Result<(), CloseReason> {
        while let Some(notification) = hub.next_mail(self.id).map_err(|_| CloseReason::MailLost)? {
            if notification.event.readable_by(&self.identities) {
                out.push(Output::Send(notification.packet));
            }
        }
        Ok(())
    }

    fn take(&mut self, input: Input, hub: &mut Hub, out: &mut Vec<Output>) -> Result<(), CloseReason> {
        match input {
            Input::Packet { bytes, time_ms } => self.packet(bytes, time_ms, hub, out),
            Input::Answered { request, response } => {
                self.answered(request, response);
                Ok(())
            }
            Input::Synced { request, zxid } => {
                self.synced(request, zxid);
                Ok(())
            }
            Input::Lost { .. } => Err(CloseReason::Lost),
            Input::Wake => Ok(()),
            Input::Expired => Err(CloseReason::SessionExpired),
            Input::HungUp => Err(CloseReason::HungUp),
        }
    }

    fn packet(
        &mut self,
        bytes: Bytes,
        time_ms: i64,
        hub: &mut Hub,
        out: &mut Vec<Output>,
    ) -> Result<(), CloseReason> {
        match &mut self.phase {
            Phase::Handshake => self.handshake(bytes, hub, out),
            Phase::Opening { early, .. } => {
                self.queue_bytes += bytes.len();
                if early.len() >= REQUESTS_WAITING_MAX || self.queue_bytes > 2 * WAITING_BYTES_MAX {
                    return Err(CloseReason::Overloaded);
                }
                early.push((bytes, time_ms));
                Ok(())
            }
            Phase::Open { session, read_only } => {
                let (session, read_only) = (*session, *read_only);
                self.request(bytes, time_ms, session, read_only, hub, out)
            }
            Phase::Ending { .. } | Phase::Closed => Ok(()),
        }
    }

    // ── the handshake ───────────────────────────────────────────────────────────────────────────────────────────────

    fn handshake(&mut self, bytes: Bytes, hub: &Hub, out: &mut Vec<Output>) -> Result<(), CloseReason> {
        let request = ConnectRequest::read(&mut Reader::new(bytes)).map_err(CloseReason::Malformed)?;
        match greet(&request, hub, &self.settings, &self.drawn)? {
            Greeting::Ask(command, asked) => {
                let request = self.draw_request();
                out.push(Output::Propose { request, command });
                self.phase = Phase::Opening { asked, request, answer: None, early: Vec::new() };
                Ok(())
            }
            Greeting::Welcome(asked) => {
                out.push(Output::Send(asked.welcome(true)));
                self.phase = Phase::Open { session: asked.session, read_only: true };
                Ok(())
            }
            Greeting::Expired(asked) => {
                out.push(Output::Send(asked.expired(hub.standing() == Standing::ReadOnly)));
                Err(CloseReason::SessionExpired)
            }
        }
    }

    /// The log has answered about the session, and the view shows it: the client is in, or is not.
    fn open(&mut self, hub: &mut Hub, out: &mut Vec<Output>) -> Result<(), CloseReason> {
        let Phase::Opening { asked, answer: Some(response), early, .. } = &mut self.phase else {
            return Ok(());
        };
        if !hub.has(response.zxid, self.id) {
            return Ok(());
        }
        match &response.result {
            Ok(Reply::SessionCreated | Reply::Reattached { .. }) => {
                out.push(Output::Send(asked.welcome(false)))
            }
            Err(ZnodeError::SessionExpired) => {
                out.push(Output::Send(asked.expired(false)));
                return Err(CloseReason::SessionExpired);
            }
            Err(error) => return Err(CloseReason::NoSession(*error)),
            Ok(_) => return Err(CloseReason::Lost),
        }
        let (session, early) = (asked.session, std::mem::take(early));
        self.phase = Phase::Open { session, read_only: false };
        self.queue_bytes = 0;
        early.into_iter().try_for_each(|(bytes, time_ms)| self.packet(bytes, time_ms, hub, out))
    }

    // ── requests join the queue ─────────────────────────────────────────────────────────────────────────────────────

    fn request(
        &mut self,
        bytes: Bytes,
        time_ms: i64,
        session: SessionId,
        read_only: bool,
        hub: &Hub,
        out: &mut Vec<Output>,
    ) -> Result<(), CloseReason> {
        match (hub.standing(), read_only) {
            (Standing::Isolated, _) => return Err(CloseReason::Isolated),
            (Standing::Serving, true) | (Standing::ReadOnly, false) => {
                return Err(CloseReason::StandingChanged);
            }
            (Standing::Serving, false) | (Standing::ReadOnly, true) => {}
        }
        let size = bytes.len();
        if self.queue.len() >= 2 * REQUESTS_WAITING_MAX || self.queue_bytes + size > 2 * WAITING_BYTES_MAX {
            return Err(CloseReason::Overloaded);
        }
        let mut from = Reader::new(bytes);
        let header = RequestHeader::read(&mut from).map_err(CloseReason::Malformed)?;
        let plan = self.understand(header.op, from.rest(), read_only)?;
        let what = self.admit(plan, session, read_only, time_ms, hub, out);
        if matches!(
            what,
            What::Last(..) | What::Write { shape: Shape::Farewell, .. } | What::Held(_, Shape::Farewell)
        ) {
            self.phase = Phase::Ending { session, read_only };
        }
        self.queue_bytes += size;
        self.looking += usize::from(what.looks());
        self.queue.push_back(Waiting { xid: header.xid, bytes: size, what });
        Ok(())
    }

    /// What a request wants; an error for one that is not in the format of its kind. Bad credentials end the connection, as in ZooKeeper.
    fn understand(&self, op: i32, rest: Bytes, read_only: bool) -> Result<Plan, CloseReason> {
        let Some(op) = OpCode::from_number(op) else { return Ok(Plan::Unimplemented) };
        if read_only && plan::is_write(op) {
            return Ok(Plan::Error(ErrorCode::NotReadOnly));
        }
        match Request::decode(op, rest) {
            Ok(request) => Ok(plan(request, &self.settings)),
            Err(error) if op == OpCode::Auth => Err(CloseReason::Malformed(error)),
            Err(_) => Ok(Plan::Error(ErrorCode::MarshallingError)),
        }
    }

    fn admit(
        &mut self,
        plan: Plan,
        session: SessionId,
        read_only: bool,
        time_ms: i64,
        hub: &Hub,
        out: &mut Vec<Output>,
    ) -> What {
        match plan {
            Plan::Write(write, shape) => self.admit_write(write, shape, session, time_ms, out),
            Plan::Sync(path) => {
                let request = self.draw_request();
                out.push(Output::Sync { request });
                What::Sync { request, path, zxid: None }
            }
            Plan::Read(request) => What::Read(request, Arc::clone(&self.identities)),
            Plan::Auth(packet) => match auth::authenticate(&packet, &self.identities, &self.settings) {
                Some(identities) => {
                    self.identities = identities.into();
                    What::Authenticated
                }
                None => What::Last(ErrorCode::AuthFailed, 0, CloseReason::AuthFailed),
            },
            Plan::Error(error) => What::Error(error),
            Plan::Unimplemented => What::Last(ErrorCode::Unimplemented, -1, CloseReason::Unimplemented),
            // A session that this server keeps alone, or cannot end.
            Plan::Close if read_only && hub.view().session(session).is_some() => {
                What::Error(ErrorCode::NotReadOnly)
            }
            Plan::Close => {
                let close = Command::CloseSession(CloseSession { session, expired_owner: None });
                self.propose(close, Shape::Farewell, out)
            }
        }
    }

    fn admit_write(
        &mut self,
        write: Write,
        shape: Shape,
        session: SessionId,
        time_ms: i64,
        out: &mut Vec<Output>,
    ) -> What {
        let caller = Caller {
            session,
            owner: self.drawn.owner,
            identities: self.identities.to_vec(),
            time_ms,
            enforce_quota: self.settings.enforce_quota,
        };
        match plan::command(write, caller) {
            Ok(command) => self.propose(command, shape, out),
            Err(error) => What::Error(error),
        }
    }

    fn propose(&mut self, command: Command, shape: Shape, out: &mut Vec<Output>) -> What {
        // Held writes wait behind reads themselves, so whoever is behind a held write is behind a read.
        if self.looking > 0 {
            return What::Held(command, shape);
        }
        let request = self.draw_request();
        out.push(Output::Propose { request, command });
        What::Write { request, shape, answer: None }
    }

    fn draw_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    fn answered(&mut self, answered: RequestId, response: quorate_znodes::Response) {
        if let Phase::Opening { request, answer, .. } = &mut self.phase
            && *request == answered
        {
            *answer = Some(response);
            return;
        }
        for waiting in &mut self.queue {
            if let What::Write { request, answer, .. } = &mut waiting.what
                && *request == answered
            {
                *answer = Some(response);
                return;
            }
        }
    }

    fn synced(&mut self, synced: RequestId, reached: u64) {
        for waiting in &mut self.queue {
            if let What::Sync { request, zxid, .. } = &mut waiting.what
                && *request == synced
            {
                *zxid = Some(reached);
                return;
            }
        }
    }

    // ── answers leave it ────────────────────────────────────────────────────────────────────────────────────────────

    fn advance(&mut self, hub: &mut Hub, out: &mut Vec<Output>) -> Result<(), CloseReason> {
        self.open(hub, out)?;
        let (session, read_only) = match self.phase {
            Phase::Open { session, read_only } | Phase::Ending { session, read_only } => (session, read_only),
            Phase::Handshake | Phase::Opening { .. } | Phase::Closed => return Ok(()),
        };
        self.more = false;
        let mut made = 0;
        let mut checked = read_only;
        while let Some(waiting) = self.next_ready(hub) {
            if !checked && matches!(waiting.what, What::Read(..)) {
                self.check_session(session, hub)?;
                checked = true;
            }
            let (before, looked) = (out.len(), waiting.what.looks());
            self.answer(waiting, session, hub, out)?;
            if looked {
                self.release(out);
            }
            made += out[before..].iter().map(Output::bytes).sum::<usize>();
            if made >= STEP_BYTES_MAX {
                self.more = !self.queue.is_empty();
                break;
            }
        }
        Ok(())
    }

    /// Takes the request at the front of the queue, if it can be answered now.
    fn next_ready(&mut self, hub: &mut Hub) -> Option<Waiting> {
        let ready = match &self.queue.front()?.what {
            What::Held(..) => false,
            What::Write { answer, .. } => {
                answer.as_ref().is_some_and(|response| hub.has(response.zxid, self.id))
            }
            What::Sync { zxid, .. } => zxid.is_some_and(|zxid| hub.has(zxid, self.id)),
            What::Read(..) | What::Error(_) | What::Authenticated | What::Last(..) => true,
        };
        let waiting = if ready { self.queue.pop_front() } else { None }?;
        self.queue_bytes -= waiting.bytes;
        self.looking -= usize::from(waiting.what.looks());
        Some(waiting)
    }

    /// A read was done: the writes behind it are proposed, up to the next read.
    fn release(&mut self, out: &mut Vec<Output>) {
        for waiting in self.queue.iter_mut().take_while(|waiting| !waiting.what.looks()) {
            if !matches!(waiting.what, What::Held(..)) {
                continue;
            }
            self.last_request += 1;
            let request = RequestId(self.last_request);
            let What::Held(command, shape) =
                std::mem::replace(&mut waiting.what, What::Error(ErrorCode::SystemError))
            else {
                continue;
            };
            out.push(Output::Propose { request, command });
            waiting.what = What::Write { request, shape, answer: None };
        }
    }

    /// Is the session still there, and still this connection's?
    fn check_session(&self, session: SessionId, hub: &Hub) -> Result<(), CloseReason> {
        match hub.view().session(session) {
            None => Err(CloseReason::SessionExpired),
            Some(known) if known.owner != self.drawn.owner => Err(CloseReason::SessionMoved),
            Some(_) => Ok(()),
        }
    }

    fn answer(
        &mut self,
        waiting: Waiting,
        session: SessionId,
        hub: &mut Hub,
        out: &mut Vec<Output>,
    ) -> Result<(), CloseReason> {
        let Waiting { xid, what, .. } = waiting;
        let (result, end) = match what {
            What::Write { shape, answer: Some(response), .. } => match response.result {
                Err(ZnodeError::SessionMoved) => return Err(CloseReason::SessionMoved),
                Err(error) => {
                    let over = error == ZnodeError::SessionExpired;
                    (Err(plan::code(error)), over.then_some(CloseReason::SessionExpired))
                }
                Ok(done) => {
                    let end = (shape == Shape::Farewell).then_some(CloseReason::Farewell);
                    (reply::write(&shape, done), end)
                }
            },
            What::Sync { path, .. } => (Ok(Response::Path(PathResponse { path })), None),
            What::Read(request, identities) => {
                let xid = if matches!(request, Request::Ping(())) { XID_PING } else { xid };
                let connection = self.id;
                let mut reading = Reading { hub, connection, session, identities: &identities, out };
                let result = reading.answer(request);
                return send(result, xid, hub, out);
            }
            What::Error(error) => (Err(error), None),
            What::Authenticated => {
                out.push(Output::Send(ReplyHeader { xid, zxid: 0, error: 0 }.packet()));
                return Ok(());
            }
            What::Last(error, zxid, reason) => {
                out.push(Output::Send(ReplyHeader { xid, zxid, error: error.number() }.packet()));
                return Err(reason);
            }
            What::Held(..) | What::Write { answer: None, .. } => (Err(ErrorCode::SystemError), None),
        };
        send(result, xid, hub, out)?;
        end.map_or(Ok(()), Err)
    }
}

fn send(
    result: Result<Response, ErrorCode>,
    xid: i32,
    hub: &Hub,
    out: &mut Vec<Output>,
) -> Result<(), CloseReason> {
    let zxid = hub.zxid();
    let packet = match result {
        Ok(response) => response.packet(xid, zxid).map_err(|_| CloseReason::AnswerTooLong)?,
        Err(error) => ReplyHeader { xid, zxid, error: error.number() }.packet(),
    };
    out.push(Output::Send(packet));
    Ok(())
}

impl What {
    /// Does it look at the tree, so that a write behind it must wait?
    fn looks(&self) -> bool {
        matches!(self, What::Read(request, _) if !matches!(request, Request::Ping(()) | Request::WhoAmI(())))
    }
}

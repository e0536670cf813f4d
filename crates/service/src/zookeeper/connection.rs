//! One client's connection, as a value: what it sends, what it waits for, and what it gets, in order.
//!
//! ```text
//!   Handshake ─ ConnectRequest ─► Opening ─ the log's answer ─► Open ─ closeSession, or a fatal error ─► Ending ─ answered ─► Closed
//! ```
//!
//! Every request joins one queue, and answers leave it at its front alone. A write is proposed when it joins, unless a read waits before it: such a
//! write is held back, for the read must not see it. A read is done when it reaches the front; by then the view has every write before it.

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::planted;
use quorate_wire::jute::{Jute as _, JuteError, Reader};
use quorate_wire::zookeeper::{
    ConnectRequest, ErrorCode, OpCode, PathResponse, ReplyHeader, Request, RequestHeader, Response, XID_PING,
};
use quorate_znodes::{
    Caller, CloseSession, Command, Goodbye, Identity, OperationReply, Reply, SessionId, ZnodeError,
};

use super::handshake::{Asked, Greeting, greet};
use super::plan::{self, Plan, Shape, Write, plan};
use super::queue::{Queue, Waiting, What};
use super::read::Reading;
use super::settings::{EARLY_PACKETS_MAX, STEP_BYTES_MAX, WAITING_BYTES_MAX};
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
    queue: Queue,
    /// The number of the next write: they are done in this order, or not at all.
    sequence: u64,
    /// Has the view shown this connection as the one that speaks for the session? Taking a session up takes no zxid, so its answer may be here before
    /// the view shows it.
    shown: bool,
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
    Open(Attached),
    /// Nothing more is taken; what waits is answered.
    Ending(Attached),
    Closed,
}

/// An answer, and the end of the connection if it is one.
type Answer = (Result<Response, ErrorCode>, Option<CloseReason>);

/// The session that a connection has.
#[derive(Clone, Copy, Debug)]
struct Attached {
    session: SessionId,
    /// Was it let in by a server that only reads?
    read_only: bool,
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
            queue: Queue::default(),
            sequence: 0,
            shown: false,
            more: false,
        }
    }

    /// Its session, once it has one: what is to be touched whenever the client sends anything.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Open(attached) | Phase::Ending(attached) => Some(attached.session),
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
            Phase::Open(_) => self.queue.has_room(),
            Phase::Opening { .. } | Phase::Ending(_) | Phase::Closed => false,
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
            self.queue = Queue::default();
            self.more = false;
            hub.disconnect(self.id);
            out.push(Output::Close(reason));
        }
    }

    fn read_mail(&mut self, hub: &mut Hub, out: &mut Vec<Output>) -> Result<(), CloseReason> {
        while let Some(notification) = hub.next_mail(self.id).map_err(|_| CloseReason::MailLost)? {
            if notification.event.readable_by(&self.identities) || planted!("S12") {
                out.push(Output::Send(notification.packet));
            }
        }
        Ok(())
    }

    fn take(&mut self, input: Input, hub: &mut Hub, out: &mut Vec<Output>) -> Result<(), CloseReason> {
        match input {
            Input::Packet { bytes, time_ms } => self.packet(bytes, time_ms, hub, out),
            // One before it was lost, whatever becomes of that.
            Input::Answered {
                response: quorate_znodes::Response { result: Err(ZnodeError::OutOfOrder), .. },
                ..
            } => Err(CloseReason::Lost),
            Input::Answered { request, response } => {
                self.answered(request, response);
                Ok(())
            }
            Input::Synced { request, zxid } => {
                self.queue.synced(request, zxid);
                Ok(())
            }
            // A proposal that was lost is taken for done.
            Input::Lost { request } if planted!("S18") => {
                let result = Ok(Reply::Operation(OperationReply::Deleted));
                self.answered(request, quorate_znodes::Response { zxid: 0, result });
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
                let held: usize = early.iter().map(|(bytes, _)| bytes.len()).sum();
                if early.len() >= EARLY_PACKETS_MAX || held + bytes.len() > WAITING_BYTES_MAX {
                    return Err(CloseReason::Overloaded);
                }
                early.push((bytes, time_ms));
                Ok(())
            }
            Phase::Open(attached) => {
                let attached = *attached;
                self.request(bytes, time_ms, attached, hub, out)
            }
            Phase::Ending(_) | Phase::Closed => Ok(()),
        }
    }

    // ── the handshake ───────────────────────────────────────────────────────────────────────────────────────────────

    fn handshake(&mut self, bytes: Bytes, hub: &Hub, out: &mut Vec<Output>) -> Result<(), CloseReason> {
        let request = ConnectRequest::read(&mut Reader::new(bytes)).map_err(CloseReason::Malformed)?;
        match greet(&request, hub, &self.settings, &self.drawn)? {
            Greeting::Ask(command, asked) => {
                let request = self.queue.draw_request();
                out.push(Output::Propose { request, command });
                self.phase = Phase::Opening { asked, request, answer: None, early: Vec::new() };
                Ok(())
            }
            Greeting::Welcome(asked) => {
                out.push(Output::Send(asked.welcome(true)));
                self.phase = Phase::Open(Attached { session: asked.session, read_only: true });
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
        if !hub.has(response.zxid, self.id) && !planted!("S05") {
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
        self.shown = hub.view().session(session).is_some_and(|known| known.owner == self.drawn.owner);
        self.phase = Phase::Open(Attached { session, read_only: false });
        early.into_iter().try_for_each(|(bytes, time_ms)| self.packet(bytes, time_ms, hub, out))
    }

    // ── requests join the queue ─────────────────────────────────────────────────────────────────────────────────────

    fn request(
        &mut self,
        bytes: Bytes,
        time_ms: i64,
        attached: Attached,
        hub: &Hub,
        out: &mut Vec<Output>,
    ) -> Result<(), CloseReason> {
        match (hub.standing(), attached.read_only) {
            (Standing::Isolated, _) => return Err(CloseReason::Isolated),
            (Standing::Serving, true) | (Standing::ReadOnly, false) => {
                return Err(CloseReason::StandingChanged);
            }
            (Standing::Serving, false) | (Standing::ReadOnly, true) => {}
        }
        let size = bytes.len();
        if self.queue.overflows(size) {
            return Err(CloseReason::Overloaded);
        }
        let mut from = Reader::new(bytes);
        let header = RequestHeader::read(&mut from).map_err(CloseReason::Malformed)?;
        let plan = self.understand(header.op, from.rest(), attached.read_only)?;
        let what = self.admit(plan, time_ms, attached, hub, out);
        if what.is_last() {
            self.phase = Phase::Ending(attached);
        }
        self.queue.push(Waiting { xid: header.xid, bytes: size, what });
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
            // ZooKeeper looks whether these have a path at all; others it finds malformed for a null.
            Err(JuteError::Null) if matches!(op, OpCode::SetData | OpCode::SetAcl) => {
                Ok(Plan::Error(ErrorCode::BadArguments))
            }
            Err(_) => Ok(Plan::Error(ErrorCode::MarshallingError)),
        }
    }

    fn admit(
        &mut self,
        plan: Plan,
        time_ms: i64,
        attached: Attached,
        hub: &Hub,
        out: &mut Vec<Output>,
    ) -> What {
        let session = attached.session;
        match plan {
            Plan::Write(write, shape) => self.admit_write(write, shape, session, time_ms, out),
            Plan::Sync(path) => {
                let request = self.queue.draw_request();
                // What this server has is taken for all that there is.
                if planted!("S16") {
                    return What::Sync { request, path, zxid: Some(0) };
                }
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
            // A session of this server alone ends here; one of the whole ensemble cannot be ended from here.
            Plan::Close if attached.read_only => match hub.view().session(session) {
                None => What::Farewell,
                Some(_) => What::Error(ErrorCode::NotReadOnly),
            },
            Plan::Close => {
                let goodbye = Goodbye { owner: self.drawn.owner, sequence: self.sequence };
                self.sequence += 1;
                let close = CloseSession { session, goodbye: Some(goodbye), ..CloseSession::default() };
                self.queue.write(Command::CloseSession(close), Shape::Farewell, out)
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
            sequence: Some(self.sequence),
            identities: self.identities.to_vec(),
            time_ms,
            enforce_quota: self.settings.enforce_quota,
        };
        match plan::command(write, caller) {
            Ok(command) => {
                self.sequence += 1;
                self.queue.write(command, shape, out)
            }
            Err(error) => What::Error(error),
        }
    }

    fn answered(&mut self, answered: RequestId, response: quorate_znodes::Response) {
        if let Phase::Opening { request, answer, .. } = &mut self.phase
            && *request == answered
        {
            *answer = Some(response);
            return;
        }
        self.queue.answered(answered, response);
    }

    // ── answers leave it ────────────────────────────────────────────────────────────────────────────────────────────

    fn advance(&mut self, hub: &mut Hub, out: &mut Vec<Output>) -> Result<(), CloseReason> {
        self.open(hub, out)?;
        let Attached { session, read_only } = match self.phase {
            Phase::Open(attached) | Phase::Ending(attached) => attached,
            Phase::Handshake | Phase::Opening { .. } | Phase::Closed => return Ok(()),
        };
        self.more = false;
        let mut made = 0;
        let mut checked = read_only;
        while let Some(waiting) = self.queue.next_ready(hub, self.id) {
            if !checked && matches!(waiting.what, What::Read(..)) {
                self.check_session(session, hub)?;
                checked = true;
            }
            let (before, looked) = (out.len(), waiting.what.looks());
            self.answer(waiting, session, hub, out)?;
            if looked {
                self.queue.release(out);
            }
            made += out[before..].iter().map(Output::bytes).sum::<usize>();
            if made >= STEP_BYTES_MAX {
                self.more = self.queue.len() > 0;
                break;
            }
        }
        Ok(())
    }

    /// Is the session still there, and still this connection's?
    fn check_session(&mut self, session: SessionId, hub: &Hub) -> Result<(), CloseReason> {
        let Some(known) = hub.view().session(session) else { return Err(CloseReason::SessionExpired) };
        let own = known.owner == self.drawn.owner;
        if self.shown && !own {
            return Err(CloseReason::SessionMoved);
        }
        self.shown |= own;
        Ok(())
    }

    fn answer(
        &mut self,
        waiting: Waiting,
        session: SessionId,
        hub: &mut Hub,
        out: &mut Vec<Output>,
    ) -> Result<(), CloseReason> {
        let Waiting { xid, what, .. } = waiting;
        let (result, end): Answer = match what {
            What::Write { shape, answer: Some(response), .. } => written(&shape, response.result)?,
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
            What::Farewell => (Ok(Response::Empty), Some(CloseReason::Farewell)),
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

/// What a write came to, and whether that is the end. That a session has moved is never said: the connection is closed.
fn written(shape: &Shape, result: Result<Reply, ZnodeError>) -> Result<Answer, CloseReason> {
    match result {
        Err(ZnodeError::SessionMoved) => Err(CloseReason::SessionMoved),
        Err(error) => {
            let over = error == ZnodeError::SessionExpired;
            Ok((Err(plan::code(error)), over.then_some(CloseReason::SessionExpired)))
        }
        Ok(done) => {
            let end = (*shape == Shape::Farewell).then_some(CloseReason::Farewell);
            Ok((reply::write(shape, done), end))
        }
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

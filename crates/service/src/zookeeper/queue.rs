//! The requests of one connection that were not answered yet, in the order in which they came.
//!
//! Architecture Invariant: a write is proposed only when no read waits before it. A client that sends `set 1, get, set 2` must get 1; the view that it
//! reads from is this server's newest, and would show 2 had that been proposed.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate_wire::zookeeper::{ErrorCode, Request};
use quorate_znodes::{Command, Identity, Response};

use super::plan::Shape;
use super::settings::{REQUESTS_WAITING_MAX, WAITING_BYTES_MAX};
use super::{CloseReason, ConnectionId, Hub, Output, RequestId};

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Bytes of the requests.
    bytes: usize,
    /// How many of them look at the tree.
    looking: usize,
    last_request: u64,
}

/// A request that was not answered yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) xid: i32,
    pub(super) bytes: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// Not proposed, for a read waits before it.
    Held(Command, Shape),
    /// Proposed.
    Write {
        request: RequestId,
        shape: Shape,
        answer: Option<Response>,
    },
    /// A barrier that is under way, or how far it went.
    Sync {
        request: RequestId,
        path: String,
        zxid: Option<u64>,
    },
    /// By somebody who was then known to be these.
    Read(Request, Arc<[Identity]>),
    Error(ErrorCode),
    /// Credentials were taken.
    Authenticated,
    /// A goodbye that no log needs to hear.
    Farewell,
    /// An error under this zxid, and then the end.
    Last(ErrorCode, i64, CloseReason),
}

impl What {
    /// Does it look at the tree, so that a write behind it must wait?
    pub(super) fn looks(&self) -> bool {
        matches!(self, What::Read(request, _) if !matches!(request, Request::Ping(()) | Request::WhoAmI(())))
    }

    /// Does nothing that comes after it count?
    pub(super) fn is_last(&self) -> bool {
        match self {
            What::Held(_, shape) | What::Write { shape, .. } => *shape == Shape::Farewell,
            What::Farewell | What::Last(..) => true,
            What::Sync { .. } | What::Read(..) | What::Error(_) | What::Authenticated => false,
        }
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Has it room, as far as an honest client goes?
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < REQUESTS_WAITING_MAX && self.bytes < WAITING_BYTES_MAX
    }

    /// Is this more than even packets that were on their way can explain?
    pub(super) fn overflows(&self, bytes: usize) -> bool {
        self.waiting.len() >= 2 * REQUESTS_WAITING_MAX || self.bytes + bytes > 2 * WAITING_BYTES_MAX
    }

    pub(super) fn draw_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    /// A write that joins: proposed, or held back.
    pub(super) fn write(&mut self, command: Command, shape: Shape, out: &mut Vec<Output>) -> What {
        // Held writes wait behind reads themselves, so whoever is behind a held write is behind a read.
        if self.looking > 0 {
            return What::Held(command, shape);
        }
        let request = self.draw_request();
        out.push(Output::Propose { request, command });
        What::Write { request, shape, answer: None }
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        self.looking += usize::from(waiting.what.looks());
        self.waiting.push_back(waiting);
    }

    /// Takes the request at the front, if it can be answered now.
    pub(super) fn next_ready(&mut self, hub: &mut Hub, connection: ConnectionId) -> Option<Waiting> {
        let ready = match &self.waiting.front()?.what {
            What::Held(..) => false,
            What::Write { answer, .. } => {
                answer.as_ref().is_some_and(|response| hub.has(response.zxid, connection))
            }
            What::Sync { zxid, .. } => zxid.is_some_and(|zxid| hub.has(zxid, connection)),
            What::Read(..) | What::Error(_) | What::Authenticated | What::Farewell | What::Last(..) => true,
        };
        let waiting = if ready { self.waiting.pop_front() } else { None }?;
        self.bytes -= waiting.bytes;
        self.looking -= usize::from(waiting.what.looks());
        Some(waiting)
    }

    /// A read was done: the writes behind it are proposed, up to the next read.
    pub(super) fn release(&mut self, out: &mut Vec<Output>) {
        for waiting in self.waiting.iter_mut().take_while(|waiting| !waiting.what.looks()) {
            if let What::Held(command, shape) = &mut waiting.what {
                self.last_request += 1;
                let request = RequestId(self.last_request);
                out.push(Output::Propose { request, command: command.clone() });
                waiting.what = What::Write { request, shape: shape.clone(), answer: None };
            }
        }
    }

    /// What a write came to. Answers come about in order, so it is near the front.
    pub(super) fn answered(&mut self, answered: RequestId, response: Response) {
        for waiting in &mut self.waiting {
            if let What::Write { request, answer, .. } = &mut waiting.what
                && *request == answered
            {
                *answer = Some(response);
                return;
            }
        }
    }

    /// How far a barrier went.
    pub(super) fn synced(&mut self, synced: RequestId, reached: u64) {
        for waiting in &mut self.waiting {
            if let What::Sync { request, zxid, .. } = &mut waiting.what
                && *request == synced
            {
                *zxid = Some(reached);
                return;
            }
        }
    }
}

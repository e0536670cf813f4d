//! ZooKeeper's API: the state of each client's connection, and what the connections of a server share.
//!
//! ```text
//!   packet ─► Connection ─ plan ─► Propose(command) ─► (Handle) ─► log ─► applied here ─► Hub::applied(view, events)
//!                │                      Sync ────────► barrier                               │ watches ─► mail
//!                │                                                                          │
//!                └──► queue ─ front ◄─ Answered, Synced, and the Hub's view shows it ◄────────┘
//!                              └─► mail, then the answer ─► Send
//! ```
//!
//! Whoever drives it, tells the [`Hub`] of everything that is applied, hands each [`Connection`] its packets and its answers, and does what it says.
//! It proposes what a connection wants in the order in which that was said, and once one is lost none after it may come to pass: a client's second
//! write must not be there without its first. The order in which answers and applied entries are handed over does not matter: an answer waits until
//! the view has what it says. A driver [touches](Sessions::touch) a connection's session with the leader's steward for whatever the client sends.
//!
//! Architecture Invariant: answers leave in the order in which requests came (pings, credentials and old watches too).
//!
//! Architecture Invariant: a client is told of a change before it is shown it (rule K5): a step reads its mail first, and mail and view move together.
//!
//! Architecture Invariant: a read sees every write that its client sent before it, and none that it sent after (first in, first out; rule K2).
//!
//! Architecture Invariant: a client never sees an older tree than it has seen (rule K3): whoever has seen more is not let in.
//!
//! # Where this is not ZooKeeper
//!
//! | what | ZooKeeper | here, and why |
//! |---|---|---|
//! | auth | is answered past what waits | in its place in the queue |
//! | a zxid in an answer | the last that was processed | the newest that the client was told of, never less than before |
//! | sasl | a token | `Unimplemented`, and the connection ends |
//! | reconfig | off by default | off |
//! | `check` alone, unknown operations | `Unimplemented`, and the connection ends | the same |
//! | a vector's length below −1 | an empty vector | a malformed request |
//! | old watches of a znode that may not be read | are told what they missed | are not: nobody is told what an ACL does not allow |
//! | a read on a session that is over | an error, or the end of the connection | the end of the connection: it comes back and is told |
mod auth;
mod connection;
mod digest;
mod handshake;
mod hub;
mod plan;
mod queue;
mod read;
mod reaper;
mod reply;
mod sessions;
mod settings;
mod watches;

use std::fmt;

use bytes::Bytes;
use quorate_wire::jute::JuteError;
use quorate_znodes::{Command, Password, SessionId, ZnodeError};

pub use connection::Connection;
pub use digest::digest_id;
pub use hub::{ConnectionId, Hub, Standing};
pub use reaper::{REAPS_MAX, Reaper};
pub use sessions::{EXPIRIES_MAX, Sessions};
pub use settings::{
    EARLY_PACKETS_MAX, NOTIFICATIONS_WAITING_MAX, REQUESTS_WAITING_MAX, STEP_BYTES_MAX, Settings,
    WAITING_BYTES_MAX, WATCH_BYTES_MAX, WATCHES_MAX,
};
pub use watches::{Kinds, TooManyWatches, Watches};

/// What was drawn for a connection when it was accepted: a pure floor draws nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The id of its session, if it wants a new one. Different from all others, of all servers.
    pub session: SessionId,
    /// Its password. Not guessable.
    pub password: Password,
    /// Who speaks for the session: different for every connection of every server.
    pub owner: u64,
}

/// Something that a connection wants done; its own number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What happens to a connection.
#[derive(Debug)]
pub enum Input {
    /// The client sent a packet.
    Packet {
        /// It, without its length.
        bytes: Bytes,
        /// The time, in milliseconds since 1970: what ctime and mtime will be.
        time_ms: i64,
    },
    /// What an [`Output::Propose`] came to.
    Answered {
        /// Which.
        request: RequestId,
        /// What.
        response: quorate_znodes::Response,
    },
    /// An [`Output::Sync`] is done: all that was committed before it is in the tree as of this zxid.
    Synced {
        /// Which.
        request: RequestId,
        /// How far it went.
        zxid: u64,
    },
    /// What an [`Output::Propose`] or [`Output::Sync`] came to is not known, or it was refused by a node that is overloaded or stops.
    Lost {
        /// Which.
        request: RequestId,
    },
    /// The hub woke it, or what it said before is on its way.
    Wake,
    /// Its session is over.
    Expired,
    /// The client is gone.
    HungUp,
}

/// What a connection wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Send(Bytes),
    /// Put this into the log of the tree.
    Propose {
        /// Under this number.
        request: RequestId,
        /// What.
        command: Command,
    },
    /// Find out with a quorum how far the tree has come.
    Sync {
        /// Under this number.
        request: RequestId,
    },
    /// Send what is to be sent, then close.
    Close(CloseReason),
}

impl Output {
    fn bytes(&self) -> usize {
        match self {
            Output::Send(bytes) => bytes.len(),
            Output::Propose { .. } | Output::Sync { .. } | Output::Close(_) => 0,
        }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client said goodbye.
    Farewell,
    /// The client is gone.
    HungUp,
    /// The client has seen more than this server has.
    ClientAhead,
    /// This server only reads, and the client did not ask for such a one.
    NotReadOnlyClient,
    /// What the client sent is not ZooKeeper's.
    Malformed(JuteError),
    /// The session is over, or never was, or has another password.
    SessionExpired,
    /// Another connection has the session.
    SessionMoved,
    /// A session could not be made.
    NoSession(ZnodeError),
    /// Credentials were refused.
    AuthFailed,
    /// An operation that no server offers.
    Unimplemented,
    /// What a request came to is not known.
    Lost,
    /// Too many requests wait, and the client sends more.
    Overloaded,
    /// More notifications waited than may, or the tree was replaced.
    MailLost,
    /// An answer has 2 GiB or more.
    AnswerTooLong,
    /// This server has not heard of its leader for too long.
    Isolated,
    /// This server only reads from now on, or no longer.
    StandingChanged,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Farewell => "the client closed its session",
            CloseReason::HungUp => "the client closed the connection",
            CloseReason::ClientAhead => {
                "the client has seen a later state than this server; it tries another"
            }
            CloseReason::NotReadOnlyClient => {
                "this server only reads, and the client wants one that writes; it tries another"
            }
            CloseReason::Malformed(error) => return write!(f, "not a packet of ZooKeeper's: {error}"),
            CloseReason::SessionExpired => "the session is over; the client opens a new one",
            CloseReason::SessionMoved => "the client has taken its session to another connection",
            CloseReason::NoSession(error) => return write!(f, "no session could be opened: {error}"),
            CloseReason::AuthFailed => "the client's credentials, or their scheme, are not accepted",
            CloseReason::Unimplemented => "the client asked for an operation that is not offered",
            CloseReason::Lost => "what became of a request is not known; the client reconnects and looks",
            CloseReason::Overloaded => "the client sends faster than it can be answered",
            CloseReason::MailLost => "the client must bring its watches along again; it reconnects",
            CloseReason::AnswerTooLong => "an answer has 2 GiB or more; the client must ask for less",
            CloseReason::Isolated => "this server has lost its leader; the client tries another",
            CloseReason::StandingChanged => {
                "this server begins or ceases to only read; the client reconnects"
            }
        })
    }
}

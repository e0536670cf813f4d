//! The records that are not one request or its answer alone: the handshake, headers, and what is inside others.

use std::fmt;

use bytes::Bytes;

use crate::jute::{Jute, JuteError, Reader, Writer, records};

/// The xid of a notification.
pub const XID_NOTIFICATION: i32 = -1;
/// The xid of a ping and of its answer.
pub const XID_PING: i32 = -2;
/// The xid of an auth packet and of its answer.
pub const XID_AUTH: i32 = -4;
/// The xid of setWatches, of setWatches2, and of their answers.
pub const XID_SET_WATCHES: i32 = -8;

/// Bytes of a session's password.
pub const PASSWORD_BYTES: usize = 16;

/// A buffer that nobody must see: a session's password, credentials. `Debug` leaves it out.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Option<Bytes>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Jute for Secret {
    const BYTES_MIN: usize = <Option<Bytes> as Jute>::BYTES_MIN;

    fn read(from: &mut Reader) -> Result<Secret, JuteError> {
        Jute::read(from).map(Secret)
    }

    fn write(&self, to: &mut Writer) {
        self.0.write(to);
    }
}

/// The first thing a client sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Always 0 from a client of ZooKeeper's own.
    pub protocol_version: i32,
    /// The newest zxid that it has seen, from whichever server.
    pub last_zxid_seen: i64,
    /// The session timeout that it wants, in milliseconds.
    pub timeout_ms: i32,
    /// The session that it had; 0 for a new one.
    pub session: i64,
    /// That session's password.
    pub password: Secret,
    /// Is a server that only reads good enough? None from clients before 3.4, which do not send it.
    pub read_only: Option<bool>,
}

/// The answer to a [`ConnectRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectResponse {
    /// 0.
    pub protocol_version: i32,
    /// The session timeout as negotiated, in milliseconds; 0 says that the session is over.
    pub timeout_ms: i32,
    /// The session.
    pub session: i64,
    /// Its password, [`PASSWORD_BYTES`] long.
    pub password: Secret,
    /// Does the server only read? Sent only to clients that sent theirs.
    pub read_only: Option<bool>,
}

macro_rules! with_read_only {
    ($name:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        impl Jute for $name {
            const BYTES_MIN: usize = 0 $(+ <$kind as Jute>::BYTES_MIN)+;

            fn read(from: &mut Reader) -> Result<Self, JuteError> {
                $(let $field = <$kind as Jute>::read(from)?;)+
                let read_only = if from.remaining() > 0 { Some(bool::read(from)?) } else { None };
                Ok(Self { $($field,)+ read_only })
            }

            fn write(&self, to: &mut Writer) {
                $(self.$field.write(to);)+
                if let Some(read_only) = self.read_only {
                    read_only.write(to);
                }
            }
        }
    };
}

with_read_only!(ConnectRequest {
    protocol_version: i32,
    last_zxid_seen: i64,
    timeout_ms: i32,
    session: i64,
    password: Secret,
});
with_read_only!(ConnectResponse { protocol_version: i32, timeout_ms: i32, session: i64, password: Secret });

records! {
    /// What stands before every request.
    RequestHeader {
        /// The client's number for it.
        xid: i32,
        /// What is asked for; see [`OpCode`](super::OpCode).
        op: i32,
    }

    /// What stands before every answer.
    ReplyHeader {
        /// The request's number.
        xid: i32,
        /// The newest zxid that the server has.
        zxid: i64,
        /// Zero, or why it failed; see [`ErrorCode`](super::ErrorCode). Then nothing follows.
        error: i32,
    }

    /// What stands before each part of a multi and of its answer, and once after the last.
    MultiHeader {
        /// The operation; −1 for an error, and at the end.
        op: i32,
        /// Is this the end?
        done: bool,
        /// The error's code, in the answer; −1 in a request and at the end.
        error: i32,
    }

    /// What ZooKeeper tells about a znode; 68 bytes.
    Stat {
        /// The zxid that created it.
        czxid: i64,
        /// The zxid that last set its data.
        mzxid: i64,
        /// When it was created, in milliseconds since 1970.
        ctime: i64,
        /// When its data was last set, in milliseconds since 1970.
        mtime: i64,
        /// How often its data was set.
        version: i32,
        /// How often its children changed.
        cversion: i32,
        /// How often its ACL was set.
        aversion: i32,
        /// The session of an ephemeral; 0 for all others.
        ephemeral_owner: i64,
        /// Bytes of its data.
        data_length: i32,
        /// How many children it has.
        num_children: i32,
        /// The zxid that last changed its children.
        pzxid: i64,
    }

    /// Someone. ZooKeeper minds a null only when the ACL's turn has come, after the path's.
    Id {
        /// How they are authenticated: `world`, `digest`, `ip`, …
        scheme: Option<String>,
        /// Who, in the scheme's words.
        id: Option<String>,
    }

    /// One entry of an ACL.
    Acl {
        /// What is allowed: read 1, write 2, create 4, delete 8, admin 16.
        permissions: i32,
        /// To whom.
        id: Id,
    }

    /// What the server takes the client for, in one scheme.
    ClientInfo {
        /// The scheme.
        scheme: String,
        /// The user's name.
        user: String,
    }

    /// What a watch tells.
    WatcherEvent {
        /// What happened: created 1, deleted 2, data changed 3, children changed 4.
        kind: i32,
        /// [`WatcherEvent::CONNECTED`], from a server.
        state: i32,
        /// To which path.
        path: String,
    }
}

impl Id {
    /// The one that a scheme calls so.
    #[must_use]
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Id {
        Id { scheme: Some(scheme.into()), id: Some(id.into()) }
    }
}

impl Stat {
    /// Bytes on the wire.
    pub const BYTES: usize = <Stat as Jute>::BYTES_MIN;
}

impl WatcherEvent {
    /// The only state that a server sends: SyncConnected.
    pub const CONNECTED: i32 = 3;
}

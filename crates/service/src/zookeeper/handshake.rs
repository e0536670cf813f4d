//! The first packet: a new session, an old one taken up again, or nothing at all.

use bytes::Bytes;
use quorate_wire::jute::Jute as _;
use quorate_wire::zookeeper::{ConnectRequest, ConnectResponse, PASSWORD_BYTES, Secret, packet};
use quorate_znodes::{Command, CreateSession, Password, Reattach, SessionId};

use super::{CloseReason, Drawn, Hub, Settings, Standing};

/// What a client's first packet comes to.
#[derive(Debug)]
pub(super) enum Greeting {
    /// The log decides.
    Ask(Command, Asked),
    /// It is in at once: this server only reads, and so takes nobody's word but its own.
    Welcome(Asked),
    /// The session is over, and the client is told so.
    Expired(Asked),
}

/// What the client asked for, as far as the answer needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) session: SessionId,
    pub(super) timeout_ms: i32,
    pub(super) password: Password,
    /// Did it send the byte on reading only? Then it gets one.
    pub(super) sent_read_only: bool,
}

/// The order of checks is ZooKeeper's: does the client want what this server can do, has it seen more than is here, then the session.
///
/// # Errors
/// The connection is to be closed without an answer, and the client will try the next server.
pub(super) fn greet(
    request: &ConnectRequest,
    hub: &Hub,
    settings: &Settings,
    drawn: &Drawn,
) -> Result<Greeting, CloseReason> {
    let read_only = match hub.standing() {
        Standing::Serving => false,
        Standing::ReadOnly if request.read_only == Some(true) => true,
        Standing::ReadOnly => return Err(CloseReason::NotReadOnlyClient),
        Standing::Isolated => return Err(CloseReason::Isolated),
    };
    if !hub.view().admits(request.last_zxid_seen) {
        return Err(CloseReason::ClientAhead);
    }
    let timeout_ms = settings.timeout_ms(request.timeout_ms);
    let sent_read_only = request.read_only.is_some();
    if request.session == 0 {
        let Drawn { session, password, owner } = *drawn;
        let asked = Asked { session, timeout_ms, password, sent_read_only };
        let create = CreateSession { session, timeout_ms, password, owner };
        return Ok(if read_only {
            Greeting::Welcome(asked)
        } else {
            Greeting::Ask(Command::CreateSession(create), asked)
        });
    }
    let session = SessionId(request.session);
    let shown = request.password.0.as_deref().and_then(|shown| <[u8; PASSWORD_BYTES]>::try_from(shown).ok());
    let asked = Asked { session, timeout_ms, password: Password(shown.unwrap_or_default()), sent_read_only };
    if shown.is_none() {
        return Ok(Greeting::Expired(asked));
    }
    let password = asked.password;
    Ok(match hub.view().session(session) {
        // A session keeps its password for life, so that a wrong one needs no log.
        Some(known) if !known.accepts(&password) => Greeting::Expired(asked),
        None if read_only => Greeting::Expired(asked),
        Some(_) if read_only => Greeting::Welcome(asked),
        // It may be younger than what is here.
        Some(_) | None => {
            let before = hub.view().session(session).map(|known| known.owner);
            // ZOOKEEPER-710: the session has moved for ever.
            let owner = before.filter(|_| quorate_consensus::planted!("S07")).unwrap_or(drawn.owner);
            let reattach = Reattach { session, password, owner, timeout_ms };
            Greeting::Ask(Command::Reattach(reattach), asked)
        }
    })
}

impl Asked {
    /// The packet that lets the client in.
    pub(super) fn welcome(&self, read_only: bool) -> Bytes {
        self.response(self.timeout_ms, self.session.0, &self.password.0, read_only)
    }

    /// The packet that says that the session is over.
    pub(super) fn expired(&self, read_only: bool) -> Bytes {
        self.response(0, 0, &[0; PASSWORD_BYTES], read_only)
    }

    fn response(&self, timeout_ms: i32, session: i64, password: &[u8], read_only: bool) -> Bytes {
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms,
            session,
            password: Secret(Some(Bytes::copy_from_slice(password))),
            read_only: self.sent_read_only.then_some(read_only),
        };
        packet(|to| response.write(to)).expect("it is short")
    }
}

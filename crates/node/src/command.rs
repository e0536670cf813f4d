//! What stands before a command in an entry: where it came from, and, if the client wants it once only, its session.

use bytes::Bytes;
use quorate_consensus::{DecodeError, NodeId, Reader, Writer};

/// The front end's name for one waiting request of this life of the process; never used twice in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Who waits for the command's answer: the node that took the request answers when its own replica has applied the entry, whoever led.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// Which life of its process: a ticket of an earlier one waits no more.
    pub life: u64,
    /// Which request.
    pub ticket: Ticket,
}

/// Makes a command safe to repeat (rule R19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionTag {
    /// The client's session: a number it drew itself.
    pub session: u64,
    /// Counts the session's commands from 1.
    pub sequence: u64,
    /// The client has the answers to everything below; they may be forgotten.
    pub lowest_wanted: u64,
}

/// A command as it stands in an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedCommand {
    /// Who waits.
    pub origin: Option<Origin>,
    /// Once only?
    pub session: Option<SessionTag>,
    /// Not for the state machine: the group's leader says that the group is as this version of the cluster's records wants it, and never again as an older
    /// one does.
    pub followed: Option<u64>,
    /// The state machine's own.
    pub command: Bytes,
}

const VERSION: u8 = 1;
const HAS_ORIGIN: u8 = 1;
const HAS_SESSION: u8 = 2;
const FOLLOWED: u8 = 4;

impl TaggedCommand {
    /// Writes the tags and then, with `command`, the command itself: one buffer, no copy.
    #[must_use]
    pub fn encode(
        origin: Option<Origin>,
        session: Option<SessionTag>,
        command: impl FnOnce(&mut Writer),
    ) -> Bytes {
        let mut to = Writer::with_capacity(64);
        to.u8(VERSION);
        to.u8(if origin.is_some() { HAS_ORIGIN } else { 0 } | if session.is_some() { HAS_SESSION } else { 0 });
        if let Some(origin) = origin {
            to.u64(origin.node.0);
            to.u64(origin.life);
            to.varint(origin.ticket.0);
        }
        if let Some(session) = session {
            to.u64(session.session);
            to.varint(session.sequence);
            to.varint(session.lowest_wanted);
        }
        command(&mut to);
        to.finish()
    }

    /// The word of a leader that its group has followed the records up to `version`.
    #[must_use]
    pub fn encode_followed(version: u64) -> Bytes {
        let mut to = Writer::with_capacity(16);
        to.u8(VERSION);
        to.u8(FOLLOWED);
        to.varint(version);
        to.finish()
    }

    /// Reads an entry's bytes; the command shares their memory.
    ///
    /// # Errors
    /// Truncated, or of a version this build does not read. Every replica comes to the same verdict, and none executes it.
    pub fn decode(bytes: Bytes) -> Result<TaggedCommand, DecodeError> {
        let mut from = Reader::new(bytes);
        let version = from.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown { what: "command version", value: u64::from(version) });
        }
        let flags = from.u8()?;
        if flags & !(HAS_ORIGIN | HAS_SESSION | FOLLOWED) != 0 {
            return Err(DecodeError::Unknown { what: "command flags", value: u64::from(flags) });
        }
        let origin = if flags & HAS_ORIGIN != 0 {
            Some(Origin { node: NodeId(from.u64()?), life: from.u64()?, ticket: Ticket(from.varint()?) })
        } else {
            None
        };
        let session = if flags & HAS_SESSION != 0 {
            Some(SessionTag { session: from.u64()?, sequence: from.varint()?, lowest_wanted: from.varint()? })
        } else {
            None
        };
        let followed = if flags & FOLLOWED != 0 { Some(from.varint()?) } else { None };
        Ok(TaggedCommand { origin, session, followed, command: from.rest() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_read_back_and_truncation_is_refused() {
        let origin = Origin { node: NodeId(7), life: 9, ticket: Ticket(300) };
        let session = SessionTag { session: 5, sequence: 2, lowest_wanted: 1 };
        for (origin, session) in [(None, None), (Some(origin), None), (Some(origin), Some(session))] {
            let bytes = TaggedCommand::encode(origin, session, |to| to.raw(b"put"));
            let read = TaggedCommand::decode(bytes.clone()).unwrap();
            let command = Bytes::from_static(b"put");
            assert_eq!(read, TaggedCommand { origin, session, followed: None, command });
            for end in 0..bytes.len() - 3 {
                assert!(TaggedCommand::decode(bytes.slice(..end)).is_err());
            }
        }
        let bytes = TaggedCommand::encode_followed(300);
        assert_eq!(TaggedCommand::decode(bytes.clone()).unwrap().followed, Some(300));
        assert!(TaggedCommand::decode(bytes.slice(..bytes.len() - 1)).is_err());
    }
}

//! What a log holds.

use bytes::Bytes;

use crate::{DecodeError, Epoch, Index, Membership, Position, Reader, Writer};

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its leader's epoch and its place.
    pub position: Position,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Nothing: the entry with which a leader starts its term (rule R16).
    Noop,
    /// A command for the state machine; the engine never looks inside.
    Command(Bytes),
    /// A membership, in force from the moment the entry is appended, and no longer once it is truncated.
    Membership(Membership),
}

const NOOP: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

impl Entry {
    /// Bytes that every entry is charged beside its payload, against limits of bytes.
    pub const OVERHEAD_BYTES: u64 = 24;

    /// An entry at `epoch`.`index`.
    #[must_use]
    pub fn new(epoch: Epoch, index: Index, payload: Payload) -> Entry {
        Entry { position: Position { epoch, index }, payload }
    }

    /// Its size against limits of bytes: about what it takes on a wire, on a disk and in memory.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let payload = match &self.payload {
            Payload::Noop => 0,
            Payload::Command(command) => command.len() as u64,
            Payload::Membership(membership) => 16 + 8 * membership.members().count() as u64,
        };
        Entry::OVERHEAD_BYTES + payload
    }

    /// Writes the entry: epoch, index, kind, payload.
    pub fn encode(&self, to: &mut Writer) {
        to.varint(self.position.epoch.0);
        to.varint(self.position.index.0);
        match &self.payload {
            Payload::Noop => to.u8(NOOP),
            Payload::Command(command) => {
                to.u8(COMMAND);
                to.bytes(command);
            }
            Payload::Membership(membership) => {
                to.u8(MEMBERSHIP);
                membership.encode(to);
            }
        }
    }

    /// Reads what [`Entry::encode`] wrote; a command shares the input's memory.
    ///
    /// # Errors
    /// The input is truncated, or not an entry.
    pub fn decode(from: &mut Reader) -> Result<Entry, DecodeError> {
        let epoch = Epoch(from.varint()?);
        let index = Index(from.varint()?);
        let payload = match from.u8()? {
            NOOP => Payload::Noop,
            COMMAND => Payload::Command(from.bytes()?),
            MEMBERSHIP => Payload::Membership(Membership::decode(from)?),
            kind => return Err(DecodeError::Unknown { what: "entry kind", value: u64::from(kind) }),
        };
        Ok(Entry::new(epoch, index, payload))
    }
}

//! What placement answers, and what it tells those who watch.

use quorate_consensus::{ClusterId, DecodeError, Reader, Writer};

use crate::member::bounded;
use crate::{MEMBERS_MAX, Member, PlacementError};

/// The first byte of every response.
const VERSION: u8 = 1;

/// What whoever proposed a command is told. `version` is the command's own number if it changed something, else that of the last
/// change before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// It is as the command wants it, by this command or already before it.
    Done {
        /// Number of the last change.
        version: u64,
        /// The members after it, in order of id.
        members: Vec<Member>,
    },
    /// The cluster had been initialised before; the command's wish was ignored.
    AlreadyInitialised {
        /// Number of the last change.
        version: u64,
        /// The cluster that it is.
        cluster: ClusterId,
    },
    /// Nothing was changed.
    Refused {
        /// Number of the last change.
        version: u64,
        /// Why.
        error: PlacementError,
    },
}

impl Response {
    /// Number of the last change, this command counted in.
    #[must_use]
    pub fn version(&self) -> u64 {
        match self {
            Response::Done { version, .. }
            | Response::AlreadyInitialised { version, .. }
            | Response::Refused { version, .. } => *version,
        }
    }

    /// The members after the command, in order of id; empty for [`Response::AlreadyInitialised`], whose asker reads the view.
    ///
    /// # Errors
    /// Why the command was refused.
    pub fn members(&self) -> Result<&[Member], PlacementError> {
        match self {
            Response::Done { members, .. } => Ok(members),
            Response::AlreadyInitialised { .. } => Ok(&[]),
            Response::Refused { error, .. } => Err(*error),
        }
    }

    /// Writes the response.
    pub fn encode(&self, to: &mut Writer) {
        to.u8(VERSION);
        match self {
            Response::Done { version, members } => {
                to.u8(1);
                to.varint(*version);
                to.varint(members.len() as u64);
                for member in members {
                    member.encode(to);
                }
            }
            Response::AlreadyInitialised { version, cluster } => {
                to.u8(2);
                to.varint(*version);
                to.u64(cluster.0);
            }
            Response::Refused { version, error } => {
                to.u8(3);
                to.varint(*version);
                error.encode(to);
            }
        }
    }

    /// Reads what [`Response::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input, or another version.
    pub fn decode(from: &mut Reader) -> Result<Response, DecodeError> {
        match from.u8()? {
            VERSION => {}
            value => return Err(DecodeError::Unknown { what: "version of a response", value: value.into() }),
        }
        let tag = from.u8()?;
        let version = from.varint()?;
        Ok(match tag {
            1 => {
                let count = bounded(from.count(Member::BYTES_MIN)?, MEMBERS_MAX, "number of members")?;
                let members = (0..count).map(|_| Member::decode(from)).collect::<Result<_, _>>()?;
                Response::Done { version, members }
            }
            2 => Response::AlreadyInitialised { version, cluster: ClusterId(from.u64()?) },
            3 => Response::Refused { version, error: PlacementError::decode(from)? },
            value => return Err(DecodeError::Unknown { what: "response", value: value.into() }),
        })
    }
}

/// What those who watch are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The members, or what is known of them, are not what they were: read the view.
    MembersChanged {
        /// Number of the change.
        version: u64,
    },
}

//! A lane as bytes, for the snapshots of its shard: what a command is, the caller writes and reads.
//!
//! ```text
//! entry = 0 · command  |  1 · transaction · command  |  2 · transaction · branch
//! step  = 0 · command  |  1 · transaction · command  |  2 · transaction · branch (true or false)  |  3 · transaction
//! lane  = taken · (0 | 1 · transaction) · count · entry… · count · transaction that is void…
//! branch = 0 void  |  1 the other  |  2 the one that is taken if all compares hold
//! ```

use quorate_consensus::{DecodeError, Reader, Writer};

use crate::{Lane, LaneEntry, Step, TxnId};

fn unknown(what: &'static str, tag: u8) -> DecodeError {
    DecodeError::Unknown { what, value: tag.into() }
}

impl<C> LaneEntry<C> {
    /// Writes it.
    pub fn encode(&self, to: &mut Writer, write: impl FnOnce(&C, &mut Writer)) {
        match self {
            LaneEntry::Command(command) => {
                to.u8(0);
                write(command, to);
            }
            LaneEntry::Barrier(txn, command) => {
                to.u8(1);
                to.varint(txn.0);
                write(command, to);
            }
            LaneEntry::Branch(txn, branch) => {
                to.u8(2);
                to.varint(txn.0);
                to.u8(branch.map_or(0, |branch| 1 + u8::from(branch)));
            }
        }
    }

    /// Reads what [`LaneEntry::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input.
    pub fn decode(
        from: &mut Reader,
        read: impl FnOnce(&mut Reader) -> Result<C, DecodeError>,
    ) -> Result<LaneEntry<C>, DecodeError> {
        Ok(match from.u8()? {
            0 => LaneEntry::Command(read(from)?),
            1 => LaneEntry::Barrier(TxnId(from.varint()?), read(from)?),
            2 => {
                let txn = TxnId(from.varint()?);
                let branch = match from.u8()? {
                    0 => None,
                    1 => Some(false),
                    2 => Some(true),
                    tag => return Err(unknown("branch", tag)),
                };
                LaneEntry::Branch(txn, branch)
            }
            tag => return Err(unknown("lane entry", tag)),
        })
    }
}

impl<C> Step<C> {
    /// Writes it.
    pub fn encode(&self, to: &mut Writer, write: impl FnOnce(&C, &mut Writer)) {
        match self {
            Step::Turn(command) => {
                to.u8(0);
                write(command, to);
            }
            Step::Ask(txn, command) => {
                to.u8(1);
                to.varint(txn.0);
                write(command, to);
            }
            Step::Branch(txn, branch) => {
                to.u8(2);
                to.varint(txn.0);
                to.bool(*branch);
            }
            Step::Void(txn) => {
                to.u8(3);
                to.varint(txn.0);
            }
        }
    }

    /// Reads what [`Step::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input.
    pub fn decode(
        from: &mut Reader,
        read: impl FnOnce(&mut Reader) -> Result<C, DecodeError>,
    ) -> Result<Step<C>, DecodeError> {
        Ok(match from.u8()? {
            0 => Step::Turn(read(from)?),
            1 => Step::Ask(TxnId(from.varint()?), read(from)?),
            2 => Step::Branch(TxnId(from.varint()?), from.bool()?),
            3 => Step::Void(TxnId(from.varint()?)),
            tag => return Err(unknown("step of a lane", tag)),
        })
    }
}

impl<C> Lane<C> {
    /// Writes it.
    pub fn encode(&self, to: &mut Writer, write: impl Fn(&C, &mut Writer)) {
        to.varint(self.taken.0);
        to.bool(self.stands_at.is_some());
        if let Some(txn) = self.stands_at {
            to.varint(txn.0);
        }
        to.varint(self.waiting.len() as u64);
        self.waiting.iter().for_each(|entry| entry.encode(to, &write));
        to.varint(self.void.len() as u64);
        self.void.iter().for_each(|txn| to.varint(txn.0));
    }

    /// Reads what [`Lane::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input.
    pub fn decode(
        from: &mut Reader,
        read: impl Fn(&mut Reader) -> Result<C, DecodeError>,
    ) -> Result<Lane<C>, DecodeError> {
        let taken = TxnId(from.varint()?);
        let stands_at = if from.bool()? { Some(TxnId(from.varint()?)) } else { None };
        let count = from.count(2)?;
        let waiting = (0..count).map(|_| LaneEntry::decode(from, &read)).collect::<Result<_, _>>()?;
        let count = from.count(1)?;
        let void = (0..count).map(|_| Ok(TxnId(from.varint()?))).collect::<Result<_, DecodeError>>()?;
        Ok(Lane { taken, stands_at, waiting, void })
    }
}

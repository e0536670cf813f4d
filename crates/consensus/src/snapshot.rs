//! What a snapshot says of itself.

use crate::{DecodeError, Epoch, Index, Membership, Position, Reader, Writer};

/// A snapshot stands for the log up to its position: the state after it, and the membership in force there (rule R20).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotMeta {
    /// The last entry that the state contains.
    pub position: Position,
    /// The membership in force at that entry, both halves of a joint one.
    pub membership: Membership,
    /// The index of the entry that brought that membership; zero for the one the group was born with.
    pub membership_at: Index,
    /// Bytes of the state, over all chunks.
    pub size_bytes: u64,
    /// The state machine's digest at `position`; a restored state must have it.
    pub digest: u64,
}

impl SnapshotMeta {
    /// Writes the description.
    pub fn encode(&self, to: &mut Writer) {
        to.varint(self.position.epoch.0);
        to.varint(self.position.index.0);
        self.membership.encode(to);
        to.varint(self.membership_at.0);
        to.varint(self.size_bytes);
        to.u64(self.digest);
    }

    /// Reads what [`SnapshotMeta::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input.
    pub fn decode(from: &mut Reader) -> Result<SnapshotMeta, DecodeError> {
        Ok(SnapshotMeta {
            position: Position { epoch: Epoch(from.varint()?), index: Index(from.varint()?) },
            membership: Membership::decode(from)?,
            membership_at: Index(from.varint()?),
            size_bytes: from.varint()?,
            digest: from.u64()?,
        })
    }
}

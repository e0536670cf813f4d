//! What must survive a crash beside the log, and what may.

use quorate_consensus::{DecodeError, Epoch, Index, NodeId, Reader, Writer};

/// Term and vote (rules R05, R07), durable before any message that claims them; and the commit index, which nothing waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The newest term this node has seen.
    pub term: Epoch,
    /// For whom it voted in that term.
    pub vote: Option<NodeId>,
    /// Everything up to here was committed, and durable in this log, before this was written. It goes along with what is written anyway, so it may be behind;
    /// with it a node that starts knows what it knew before, although nobody may lead.
    ///
    /// Never ahead of the durable log: {a leader replaces 8 to 10 and commits them, the disk is full, and a vote is written before the entries}: after a crash
    /// the old 8 to 10 would pass for committed.
    pub commit: Index,
}

const VERSION: u8 = 2;

impl HardState {
    pub(crate) fn encode(self, to: &mut Writer) {
        to.u8(VERSION);
        to.u64(self.term.0);
        to.u64(self.vote.map_or(0, |vote| vote.0));
        to.varint(self.commit.0);
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<HardState, DecodeError> {
        let version = from.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown { what: "hard state version", value: u64::from(version) });
        }
        let term = Epoch(from.u64()?);
        let vote = match from.u64()? {
            0 => None,
            vote => Some(NodeId(vote)),
        };
        Ok(HardState { term, vote, commit: Index(from.varint()?) })
    }
}

//! What must survive a crash beside the log.

use quorate_consensus::{DecodeError, Epoch, NodeId, Reader, Writer};

/// Term and vote (rules R05, R07). Durable before any message that claims them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The newest term this node has seen.
    pub term: Epoch,
    /// For whom it voted in that term.
    pub vote: Option<NodeId>,
}

const VERSION: u8 = 1;

impl HardState {
    pub(crate) fn encode(self, to: &mut Writer) {
        to.u8(VERSION);
        to.u64(self.term.0);
        to.u64(self.vote.map_or(0, |vote| vote.0));
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
        Ok(HardState { term, vote })
    }
}

//! What must survive a crash beside the log, and what may.

use quorate_consensus::{DecodeError, Epoch, Index, NodeId, Reader, Writer};

/// The two epochs of ZAB, and the commit index, which nothing waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The newest epoch that this node promised to a leader (the paper's `f.p`): nothing of an older one is answered any more. Durable before NEWEPOCH is
    /// sent or ACKEPOCH answered. Never below `current`.
    pub accepted: Epoch,
    /// To whom it was promised. With it a promise whose ACKEPOCH was lost can be repeated to the same leader, and to no other.
    pub promised_to: Option<NodeId>,
    /// The epoch whose NEWLEADER was last accepted (the paper's `f.a`): the history in the log is at least that leader's initial one. Durable only after
    /// that history is (invariant Z7).
    pub current: Epoch,
    /// Everything up to here was committed, and durable in this log, before this was written. It goes along with what is written anyway, so it may be behind.
    ///
    /// Never ahead of the durable log: {a leader truncates 8 to 10, sends and commits others, and an epoch is written before the entries}: after a crash
    /// the old 8 to 10 would pass for committed.
    pub commit: Index,
}

const VERSION: u8 = 1;

impl HardState {
    pub(crate) fn encode(self, to: &mut Writer) {
        to.u8(VERSION);
        to.u64(self.accepted.0);
        to.u64(self.promised_to.map_or(0, |node| node.0));
        to.u64(self.current.0);
        to.varint(self.commit.0);
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<HardState, DecodeError> {
        let version = from.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown { what: "hard state version", value: u64::from(version) });
        }
        let accepted = Epoch(from.u64()?);
        let promised_to = match from.u64()? {
            0 => None,
            node => Some(NodeId(node)),
        };
        let current = Epoch(from.u64()?);
        if current > accepted {
            return Err(DecodeError::Invalid { what: "hard state: current epoch above the accepted one" });
        }
        Ok(HardState { accepted, promised_to, current, commit: Index(from.varint()?) })
    }
}

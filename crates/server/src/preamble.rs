//! The first words on a connection between peers, so that whatever is not a peer is refused before it costs anything.
//!
//! ```text
//! dialler:  "QRT" · version u8 · channel u8 · cluster u64 · sender u64 · receiver u64      little-endian, 29 bytes
//! listener: "QRT" · version u8 · verdict u8                                                5 bytes
//! ```
//! With TLS, the handshake comes before. Then only the dialler speaks: frames, each after its length (u32, little-endian). The node checks every frame's own envelope again.

use std::fmt;

use quorate_consensus::{ClusterId, NodeId};
use quorate_node::Channel;

use crate::transport::Local;

const MAGIC: [u8; 3] = *b"QRT";
/// The version that this build speaks.
const VERSION: u8 = 1;

/// Bytes of a [`Preamble`].
pub(crate) const PREAMBLE_BYTES: usize = 29;
/// Bytes of a [`Verdict`].
pub(crate) const VERDICT_BYTES: usize = 5;

/// Who dials whom, for which channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preamble {
    pub(crate) channel: Channel,
    pub(crate) cluster: ClusterId,
    pub(crate) sender: NodeId,
    pub(crate) receiver: NodeId,
}

/// What the listener makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Welcome,
    /// Another version of this protocol.
    Version,
    /// Another cluster.
    Cluster,
    /// Another node.
    Receiver,
    /// Too many connections.
    Busy,
    /// Said in the clear, to a peer that speaks so: here TLS alone is spoken.
    Tls,
}

const VERDICTS: [Verdict; 6] =
    [Verdict::Welcome, Verdict::Version, Verdict::Cluster, Verdict::Receiver, Verdict::Busy, Verdict::Tls];

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Welcome => "welcome",
            Verdict::Version => {
                "the peer speaks another version of the peer protocol; upgrade the older side"
            }
            Verdict::Cluster => {
                "a node of another cluster listens there; check the peer addresses and the cluster token"
            }
            Verdict::Receiver => "another node listens there; check the peer addresses",
            Verdict::Busy => "the peer has too many connections; trying again",
            Verdict::Tls => {
                "the peer speaks TLS alone; give this member peer-tls-certificate, peer-tls-key and peer-tls-ca"
            }
        })
    }
}

impl Preamble {
    pub(crate) fn encode(&self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[..3].copy_from_slice(&MAGIC);
        bytes[3] = VERSION;
        bytes[4] = match self.channel {
            Channel::Urgent => 1,
            Channel::Bulk => 2,
        };
        bytes[5..13].copy_from_slice(&self.cluster.0.to_le_bytes());
        bytes[13..21].copy_from_slice(&self.sender.0.to_le_bytes());
        bytes[21..].copy_from_slice(&self.receiver.0.to_le_bytes());
        bytes
    }

    /// Are these the first words of a peer, whichever?
    pub(crate) fn is_one(bytes: &[u8; PREAMBLE_BYTES]) -> bool {
        bytes[..3] == MAGIC
    }

    /// What `bytes` say to `local`. `None`: whoever dialled is no peer, and gets no answer.
    pub(crate) fn judge(bytes: &[u8; PREAMBLE_BYTES], local: Local) -> Option<Result<Preamble, Verdict>> {
        if bytes[..3] != MAGIC {
            return None;
        }
        if bytes[3] != VERSION {
            return Some(Err(Verdict::Version));
        }
        let channel = match bytes[4] {
            1 => Channel::Urgent,
            2 => Channel::Bulk,
            _ => return None,
        };
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let (cluster, sender, receiver) = (ClusterId(number(5)), NodeId(number(13)), NodeId(number(21)));
        Some(if cluster != local.cluster {
            Err(Verdict::Cluster)
        } else if receiver != local.node || sender == local.node {
            Err(Verdict::Receiver)
        } else {
            Ok(Preamble { channel, cluster, sender, receiver })
        })
    }
}

impl Verdict {
    pub(crate) fn encode(self) -> [u8; VERDICT_BYTES] {
        let code = VERDICTS.iter().position(|verdict| *verdict == self).unwrap_or(0) as u8;
        [MAGIC[0], MAGIC[1], MAGIC[2], VERSION, code]
    }

    /// What the listener said; `None` if whoever listens there is no peer.
    pub(crate) fn decode(bytes: &[u8; VERDICT_BYTES]) -> Option<Verdict> {
        // Another version may know other verdicts; that it is another version is all there is to say.
        match bytes {
            [m0, m1, m2, ..] if [*m0, *m1, *m2] != MAGIC => None,
            [_, _, _, VERSION, code] => VERDICTS.get(usize::from(*code)).copied(),
            _ => Some(Verdict::Version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Local = Local { cluster: ClusterId(7), node: NodeId(2) };

    fn preamble() -> Preamble {
        Preamble { channel: Channel::Bulk, cluster: ClusterId(7), sender: NodeId(1), receiver: NodeId(2) }
    }

    #[test]
    fn a_peer_of_this_cluster_for_this_node_is_welcome() {
        assert_eq!(Preamble::judge(&preamble().encode(), LOCAL), Some(Ok(preamble())));
    }

    #[test]
    fn others_are_told_why_and_strangers_nothing() {
        let judged = |change: &dyn Fn(&mut [u8; PREAMBLE_BYTES])| {
            let mut bytes = preamble().encode();
            change(&mut bytes);
            Preamble::judge(&bytes, LOCAL)
        };
        assert_eq!(judged(&|bytes| bytes[0] = b'G'), None);
        assert_eq!(judged(&|bytes| bytes[4] = 3), None);
        assert_eq!(judged(&|bytes| bytes[3] = 9), Some(Err(Verdict::Version)));
        assert_eq!(judged(&|bytes| bytes[5] ^= 1), Some(Err(Verdict::Cluster)));
        assert_eq!(judged(&|bytes| bytes[21] ^= 1), Some(Err(Verdict::Receiver)));
        assert_eq!(judged(&|bytes| bytes[13] = 2), Some(Err(Verdict::Receiver)), "it dialled itself");
    }

    #[test]
    fn verdicts_read_back() {
        for verdict in VERDICTS {
            assert_eq!(Verdict::decode(&verdict.encode()), Some(verdict));
        }
        assert_eq!(Verdict::decode(b"HTTP/"), None);
        assert_eq!(Verdict::decode(&[b'Q', b'R', b'T', 9, 77]), Some(Verdict::Version));
        assert_eq!(Verdict::decode(&[b'Q', b'R', b'T', VERSION, 77]), None);
    }
}

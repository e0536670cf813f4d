//! The disks that this node knows its peers by, kept across its own lives.
//!
//! An old id with another disk has forgotten its votes and acknowledgements: in {1, 2, 3}, 1 and 2 commit x, 2 comes back empty, and 2 and 3 could elect
//! a leader without x (C14). The records name every member's disk, but which records are committed nobody knows before there is a leader, and for that
//! one must know whom to believe. So each node keeps what it knows, in its own journal, as the hard state of a group that has no log.
//!
//! Architecture Invariant: nobody is believed before the disk that he is believed by is durable here. A frame from a disk that is not yet known waits
//! for that; what an engine makes of it can therefore never outlive the knowledge. Found by the simulator (I1, I5): {2 loses its disk, 1 and 3 start again,
//! and the first frame that they hear comes from the new disk}.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{DecodeError, GroupId, Incarnation, NodeId, Reader, Writer};
use quorate_journal::WriteToken;

/// Under this group the journal keeps them.
pub(crate) const OWN_GROUP: GroupId = GroupId(0);

const VERSION: u8 = 1;
/// More senders than a cluster and its predecessors ever have at a time: who comes after them is a mistake, or means harm.
const DISKS_MAX: usize = 256;
/// Frames that wait for the disk of their sender to be kept: beyond that they are lost, as frames may be.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// How far a disk's name has come on its way into the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    NotYet,
    Writing(WriteToken),
    Durable,
}

#[derive(Debug)]
struct Disk {
    incarnation: Incarnation,
    kept: Kept,
}

/// What is to be done with a frame from some disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// The disk is known: hear it.
    Known,
    /// From now on it is known; to be heard when that is durable.
    New,
    /// Its sender is known by another disk.
    Another,
    /// There are too many senders.
    TooMany,
}

/// The disks of all peers.
#[derive(Debug, Default)]
pub(crate) struct Disks {
    known: BTreeMap<NodeId, Disk>,
    /// Something is known that has not been handed to the journal.
    changed: bool,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
}

impl Disks {
    /// What the journal gave back.
    ///
    /// # Errors
    /// Truncated or malformed bytes, or another version.
    pub(crate) fn decode(bytes: Bytes) -> Result<Disks, DecodeError> {
        let mut from = Reader::new(bytes);
        let version = from.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown {
                what: "version of the disks of peers",
                value: version.into(),
            });
        }
        let mut disks = Disks::default();
        for _ in 0..from.count(16)? {
            let (peer, incarnation) = (NodeId(from.u64()?), Incarnation(from.u64()?));
            disks.known.insert(peer, Disk { incarnation, kept: Kept::Durable });
        }
        from.finish()?;
        Ok(disks)
    }

    fn encode(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(VERSION);
        to.varint(self.known.len() as u64);
        for (peer, disk) in &self.known {
            to.u64(peer.0);
            to.u64(disk.incarnation.0);
        }
        to.finish()
    }

    /// The cluster's records name this disk: whatever was believed before, they are right. True if it was another.
    pub(crate) fn register(&mut self, peer: NodeId, incarnation: Incarnation) -> bool {
        if self.known(peer) == Some(incarnation) {
            return false;
        }
        self.know(peer, incarnation);
        true
    }

    /// The disk that a peer is known by.
    pub(crate) fn known(&self, peer: NodeId) -> Option<Incarnation> {
        self.known.get(&peer).map(|disk| disk.incarnation)
    }

    /// The peer was removed, and its id is never given again.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        self.changed |= self.known.remove(&peer).is_some();
    }

    /// A frame has come from this disk. Whoever is known by none is bound to the first one.
    pub(crate) fn meet(&mut self, peer: NodeId, incarnation: Incarnation) -> Meeting {
        match self.known.get(&peer) {
            Some(disk) if disk.incarnation != incarnation => Meeting::Another,
            Some(Disk { kept: Kept::Durable, .. }) => Meeting::Known,
            Some(_) => Meeting::New,
            None if self.known.len() >= DISKS_MAX => Meeting::TooMany,
            None => {
                self.know(peer, incarnation);
                Meeting::New
            }
        }
    }

    fn know(&mut self, peer: NodeId, incarnation: Incarnation) {
        self.known.insert(peer, Disk { incarnation, kept: Kept::NotYet });
        self.changed = true;
    }

    /// A frame waits until its sender's disk is kept.
    pub(crate) fn wait(&mut self, frame: Bytes) {
        if self.waiting_bytes + frame.len() <= WAITING_BYTES_MAX {
            self.waiting_bytes += frame.len();
            self.waiting.push(frame);
        }
    }

    /// What the journal is to keep from now on, if that has changed: `append` hands it over.
    pub(crate) fn keep(&mut self, append: impl FnOnce(Bytes) -> WriteToken) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let token = append(self.encode());
        for disk in self.known.values_mut().filter(|disk| disk.kept != Kept::Durable) {
            // The newer write holds the older one, and may have taken its place in the queue.
            disk.kept = Kept::Writing(token);
        }
    }

    /// The journal is durable up to here: the frames that may be looked at again.
    pub(crate) fn durable(&mut self, token: WriteToken) -> Vec<Bytes> {
        let mut news = false;
        for disk in self.known.values_mut() {
            if matches!(disk.kept, Kept::Writing(written) if written <= token) {
                disk.kept = Kept::Durable;
                news = true;
            }
        }
        if !news {
            return Vec::new();
        }
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: (NodeId, Incarnation) = (NodeId(1), Incarnation(0x11));
    const NEW_ONE: (NodeId, Incarnation) = (NodeId(1), Incarnation(0x1111));

    fn meet(disks: &mut Disks, (peer, incarnation): (NodeId, Incarnation)) -> Meeting {
        disks.meet(peer, incarnation)
    }

    fn kept(disks: &mut Disks, token: u64) -> Option<Bytes> {
        let mut kept = None;
        disks.keep(|bytes| {
            kept = Some(bytes);
            WriteToken(token)
        });
        kept
    }

    #[test]
    fn nobody_is_heard_before_his_disk_is_durable_here() {
        let mut disks = Disks::default();
        assert_eq!(meet(&mut disks, ONE), Meeting::New);
        disks.wait(Bytes::from_static(b"vote"));
        assert!(kept(&mut disks, 5).is_some());
        assert_eq!(meet(&mut disks, ONE), Meeting::New);
        assert!(disks.durable(WriteToken(4)).is_empty());
        assert_eq!(meet(&mut disks, ONE), Meeting::New);
        assert_eq!(disks.durable(WriteToken(5)), [Bytes::from_static(b"vote")]);
        assert_eq!(meet(&mut disks, ONE), Meeting::Known);
        assert!(kept(&mut disks, 6).is_none(), "nothing has changed");
    }

    #[test]
    fn c14_the_next_life_knows_them() {
        let mut disks = Disks::default();
        meet(&mut disks, ONE);
        let bytes = kept(&mut disks, 1).unwrap();
        let mut next = Disks::decode(bytes).unwrap();
        assert_eq!(meet(&mut next, NEW_ONE), Meeting::Another);
        assert_eq!(meet(&mut next, ONE), Meeting::Known);
    }

    #[test]
    fn the_records_are_right_whoever_came_first() {
        let mut disks = Disks::default();
        meet(&mut disks, NEW_ONE);
        assert!(disks.register(ONE.0, ONE.1));
        assert!(!disks.register(ONE.0, ONE.1));
        assert_eq!(meet(&mut disks, NEW_ONE), Meeting::Another);
        let bytes = kept(&mut disks, 1).unwrap();
        assert_eq!(meet(&mut Disks::decode(bytes).unwrap(), ONE), Meeting::Known);
    }

    /// The journal keeps one hard state of those that wait in a row: the newest.
    #[test]
    fn a_write_overtaken_in_the_queue_is_durable_with_the_newer_one() {
        let mut disks = Disks::default();
        meet(&mut disks, ONE);
        kept(&mut disks, 1);
        disks.meet(NodeId(2), Incarnation(0x22));
        kept(&mut disks, 2);
        disks.durable(WriteToken(1));
        assert_eq!(meet(&mut disks, ONE), Meeting::New);
        disks.durable(WriteToken(2));
        assert_eq!(meet(&mut disks, ONE), Meeting::Known);
    }

    #[test]
    fn strangers_are_bounded() {
        let mut disks = Disks::default();
        for peer in 0..DISKS_MAX as u64 {
            assert_eq!(disks.meet(NodeId(peer), Incarnation(peer)), Meeting::New);
        }
        assert_eq!(disks.meet(NodeId(10_000), Incarnation(1)), Meeting::TooMany);
        disks.forget(NodeId(7));
        assert_eq!(disks.meet(NodeId(10_000), Incarnation(1)), Meeting::New);
        for _ in 0..3 {
            disks.wait(Bytes::from(vec![0; WAITING_BYTES_MAX / 2]));
        }
        assert_eq!(disks.waiting.len(), 2);
        let mut malformed = disks.encode().to_vec();
        malformed.pop();
        assert!(Disks::decode(Bytes::from(malformed)).is_err());
    }
}

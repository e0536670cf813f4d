//! Do the replicas of the keys still agree? What members say to each other of it, and what the leader makes of that.
//!
//! ```text
//!   each member, once a second: tick ──► the leader, if it is time, or a member that has just started wishes it
//!   leader ── Ask(indices) ──► every member: its digest, when it has applied exactly so far
//!   member ── Report(index, digest) ──► leader: does a quorum of voters have one and the same digest there?
//!   leader ── Verdict ──► each;  and, of whoever has another, the CORRUPT alarm into the log
//! ```
//!
//! The digest is that of the whole state (keys, their history, leases, users), which the store keeps at hand: nothing is read for it, and no state thread waits.
//!
//! Architecture Invariant: there is no false alarm. Digests are compared at one and the same index, where every replica has applied the same entries, so that
//! revision and compacted revision are the same too; and a member is called different only from a digest that a quorum of voters has there.
//! {A follower is behind, or its word is late}: its digest is one of another index, and is compared with none but that one's.
//!
//! Outside input: what does not decode was not said.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{DecodeError, Index, Membership, NodeId, Reader, Writer};
use quorate_node::NodeInput;

use crate::KEYS;

/// No word about leases or learners begins so.
const TAG: u8 = b'A';
/// Grows when the digest of a state becomes another one: members of two builds must not compare theirs.
const VERSION: u8 = 1;
/// Where clients write all the time, the index of now has passed when the question arrives; so one is asked for that is still to come, too.
const AHEAD: u64 = 4_096;
/// Indices that are asked for at a time; older ones are forgotten.
const ASKED_MAX: usize = 8;

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// From this node to itself: a second has passed. With `true` it is time for the leader to ask.
    Tick(bool),
    /// To the leader: this member has started, and wants to know.
    Wish,
    /// From the leader: the digest is wanted here and there.
    Ask([Index; 2]),
    /// To the leader.
    Report(Index, u64),
    /// From the leader: whether this member has what a quorum has.
    Verdict(bool),
}

impl Word {
    pub(crate) fn is_one(bytes: &[u8]) -> bool {
        bytes.first() == Some(&TAG)
    }

    pub(crate) fn encode(self) -> Bytes {
        let mut to = Writer::new();
        to.u8(TAG);
        to.u8(VERSION);
        match self {
            Word::Tick(begin) => {
                to.u8(1);
                to.bool(begin);
            }
            Word::Wish => to.u8(2),
            Word::Ask([now, ahead]) => {
                to.u8(3);
                to.u64(now.0);
                to.u64(ahead.0);
            }
            Word::Report(index, digest) => {
                to.u8(4);
                to.u64(index.0);
                to.u64(digest);
            }
            Word::Verdict(agrees) => {
                to.u8(5);
                to.bool(agrees);
            }
        }
        to.finish()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Word, DecodeError> {
        let mut from = Reader::new(bytes);
        for (what, wanted) in [("word", TAG), ("version of a word about digests", VERSION)] {
            match from.u8()? {
                value if value == wanted => {}
                value => return Err(DecodeError::Unknown { what, value: value.into() }),
            }
        }
        let word = match from.u8()? {
            1 => Word::Tick(from.bool()?),
            2 => Word::Wish,
            3 => Word::Ask([Index(from.u64()?), Index(from.u64()?)]),
            4 => Word::Report(Index(from.u64()?), from.u64()?),
            5 => Word::Verdict(from.bool()?),
            value => return Err(DecodeError::Unknown { what: "word about digests", value: value.into() }),
        };
        from.finish()?;
        Ok(word)
    }

    pub(crate) fn to(self, to: Option<NodeId>) -> NodeInput {
        NodeInput::Relay { group: KEYS, to, bytes: self.encode() }
    }
}

/// The input with which `node` lets a second pass, in which its replica of the keys is compared with the others' if it has not been in this life, or if `begin`
/// says that it is time again and it leads. A tick that is lost is made up for by the next.
#[must_use]
pub fn agreement_tick(node: NodeId, begin: bool) -> NodeInput {
    Word::Tick(begin).to(Some(node))
}

/// What the leader makes of the digests of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Too few have spoken.
    Open,
    /// A quorum has one digest: who has it, and who has another.
    Quorum { agree: Vec<NodeId>, differ: Vec<NodeId> },
    /// Every voter has spoken, and there is no quorum for any digest: some are wrong, and nobody can say which.
    Split,
}

/// Judges the digests of one index.
pub(crate) fn judge(membership: &Membership, digests: &BTreeMap<NodeId, u64>) -> Judgement {
    let quorum = |digest: &u64| membership.is_quorum(|node| digests.get(&node) == Some(digest));
    if let Some(found) = digests.values().copied().find(|digest| quorum(digest)) {
        let members = digests.iter().filter(|(node, _)| membership.contains(**node));
        let (agree, differ): (Vec<_>, Vec<_>) = members.partition(|(_, digest)| **digest == found);
        let ids = |list: Vec<(&NodeId, &u64)>| list.into_iter().map(|(node, _)| *node).collect();
        return Judgement::Quorum { agree: ids(agree), differ: ids(differ) };
    }
    let mut voters = membership.voters().iter().chain(membership.outgoing());
    if !membership.voters().is_empty() && voters.all(|voter| digests.contains_key(voter)) {
        return Judgement::Split;
    }
    Judgement::Open
}

/// What was heard of one index in this lead.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) digests: BTreeMap<NodeId, u64>,
    /// The alarm that follows has been asked for.
    pub(crate) raised: bool,
}

/// What a replica knows of the others.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    pub(crate) leader: Option<NodeId>,
    /// Where a digest is wanted, and by whom.
    wanted: BTreeMap<Index, NodeId>,
    /// On the leader.
    pub(crate) asked: BTreeMap<Index, Asked>,
    /// In this life a quorum has had what this replica has.
    pub(crate) settled: bool,
}

impl Agreement {
    /// Another leads, or this node once more.
    pub(crate) fn new_lead(&mut self, leader: Option<NodeId>) {
        self.leader = leader;
        self.asked.clear();
    }

    /// The leader asks, having applied so far.
    pub(crate) fn ask(&mut self, applied: Index) -> Word {
        let at = [applied, Index(applied.0.saturating_add(AHEAD))];
        for index in at {
            self.asked.entry(index).or_default();
        }
        while self.asked.len() > ASKED_MAX {
            self.asked.pop_first();
        }
        Word::Ask(at)
    }

    /// Digests are wanted at these indices, by a replica that leads.
    pub(crate) fn want(&mut self, at: [Index; 2], by: NodeId, applied: Index) {
        for index in at.into_iter().filter(|index| *index >= applied) {
            self.wanted.insert(index, by);
        }
        while self.wanted.len() > ASKED_MAX {
            self.wanted.pop_first();
        }
    }

    /// The replica has applied exactly so far: who wants its digest? Asked after every entry.
    pub(crate) fn reached(&mut self, applied: Index) -> Option<NodeId> {
        let first = *self.wanted.first_key_value()?.0;
        if first > applied {
            return None;
        }
        // Of indices that a snapshot passed over, there is no digest.
        self.wanted = self.wanted.split_off(&applied);
        self.wanted.remove(&applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn judged(voters: &[u64], learners: &[u64], digests: &[(u64, u64)]) -> Judgement {
        let membership = Membership::new(ids(voters), ids(learners));
        judge(&membership, &digests.iter().map(|(node, digest)| (NodeId(*node), *digest)).collect())
    }

    fn quorum(agree: &[u64], differ: &[u64]) -> Judgement {
        Judgement::Quorum { agree: ids(agree), differ: ids(differ) }
    }

    #[test]
    fn whoever_differs_from_a_quorum_of_voters_is_named_and_nobody_else_ever() {
        assert_eq!(judged(&[1, 2, 3], &[], &[(1, 7), (2, 7), (3, 7)]), quorum(&[1, 2, 3], &[]));
        assert_eq!(judged(&[1, 2, 3], &[], &[(1, 7), (2, 8), (3, 7)]), quorum(&[1, 3], &[2]));
        assert_eq!(judged(&[1, 2, 3], &[], &[(1, 7), (2, 7)]), quorum(&[1, 2], &[]));
        assert_eq!(judged(&[1, 2, 3], &[], &[(1, 7), (2, 8)]), Judgement::Open, "3 may side with either");
        assert_eq!(judged(&[1, 2, 3], &[], &[(1, 7)]), Judgement::Open);
        assert_eq!(judged(&[1, 2, 3], &[], &[(1, 7), (2, 8), (3, 9)]), Judgement::Split);
        assert_eq!(judged(&[1, 2], &[], &[(1, 7), (2, 8)]), Judgement::Split);
        assert_eq!(judged(&[1], &[], &[(1, 7)]), quorum(&[1], &[]));
        // Learners are judged, and judge nobody; who is no member is neither.
        assert_eq!(judged(&[1], &[2, 3], &[(1, 7), (2, 8), (3, 8)]), quorum(&[1], &[2, 3]));
        assert_eq!(judged(&[1], &[], &[(1, 7), (9, 8)]), quorum(&[1], &[]));
        assert_eq!(judged(&[], &[], &[]), Judgement::Open);
    }

    #[test]
    fn a_digest_is_of_the_very_index_that_was_asked_for() {
        let mut agreement = Agreement::default();
        let (leader, at) = (NodeId(1), [Index(10), Index(20)]);
        agreement.want(at, leader, Index(8));
        assert_eq!([8, 9].map(|index| agreement.reached(Index(index))), [None, None]);
        assert_eq!(agreement.reached(Index(10)), Some(leader));
        assert_eq!(agreement.reached(Index(10)), None, "once");
        // A snapshot took it past the second one.
        assert_eq!(agreement.reached(Index(25)), None);
        agreement.want(at, leader, Index(15));
        assert_eq!(agreement.reached(Index(20)), Some(leader));
        agreement.want(at, leader, Index(21));
        assert_eq!(agreement.reached(Index(21)), None);
    }

    #[test]
    fn words_read_back_and_forged_ones_are_refused() {
        let ask = Word::Ask([Index(1), Index(u64::MAX)]);
        let words = [Word::Tick(true), Word::Wish, ask, Word::Report(Index(3), 4), Word::Verdict(false)];
        for word in words {
            let bytes = word.encode();
            assert!(Word::is_one(&bytes) && !crate::progress::Word::is_one(&bytes));
            assert_eq!(Word::decode(bytes.clone()), Ok(word));
            assert!((0..bytes.len()).all(|length| Word::decode(bytes.slice(..length)).is_err()));
        }
        assert!(Word::decode(Bytes::from_static(&[TAG, VERSION, 6])).is_err());
        assert!(Word::decode(Bytes::from_static(&[TAG, VERSION + 1, 2])).is_err());
    }
}

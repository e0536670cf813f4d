//! Who votes, who only listens, and how one set of voters becomes another (rule R22).
//!
//! Joint consensus (Raft §6, Ongaro's thesis §4.3): while two sets of voters are in force, every election and every commit needs a
//! majority of each. Any two quorums of adjacent memberships therefore share a node, so no two leaders of one term and no two histories
//! can come out of a change, however many nodes it adds, removes or replaces at once.

use std::fmt;

use crate::{DecodeError, NodeId, Reader, Writer};

/// A group's members. Sets are kept sorted and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Membership {
    voters: Vec<NodeId>,
    /// The voters that are being left behind; empty outside a joint membership.
    outgoing: Vec<NodeId>,
    /// Disjoint from `voters`. A learner may still be in `outgoing`: a voter that is being made a learner.
    learners: Vec<NodeId>,
}

/// The smallest number of `voters` nodes of which any two groups share one.
#[must_use]
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// What an operator may ask of a membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MembershipChange {
    /// A new member that receives the log and does not vote.
    AddLearner(NodeId),
    /// A new voter at once. Adding a learner and promoting it later is safer: an empty voter raises the majority before it can help.
    AddVoter(NodeId),
    /// A learner becomes a voter; the leader refuses until it has caught up.
    Promote(NodeId),
    /// A member leaves, voter or learner.
    Remove(NodeId),
    /// One member takes another's place in a single change, with the same role.
    Replace {
        /// Leaves.
        old: NodeId,
        /// Comes.
        new: NodeId,
    },
    /// Exactly these voters and learners.
    Set {
        /// Who will vote.
        voters: Vec<NodeId>,
        /// Who will only listen.
        learners: Vec<NodeId>,
    },
}

/// Why a membership cannot change so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChangeRefusal {
    /// Another change is under way; ask again when it has ended.
    Pending,
    /// The node is a member already.
    AlreadyMember(NodeId),
    /// The node is no member.
    NotMember(NodeId),
    /// Only a learner can be promoted.
    NotLearner(NodeId),
    /// The learner has not caught up with the leader's log yet.
    NotCaughtUp(NodeId),
    /// Nobody would be left to vote.
    NoVoters,
    /// More members than a group may have.
    TooMany {
        /// The limit.
        members_max: usize,
    },
    /// The leader has not yet committed an entry of its own term.
    NotYet,
}

impl fmt::Display for ChangeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeRefusal::Pending => {
                write!(f, "another membership change is under way; try again when it has ended")
            }
            ChangeRefusal::AlreadyMember(node) => write!(f, "node {node} is a member already"),
            ChangeRefusal::NotMember(node) => write!(f, "node {node} is not a member"),
            ChangeRefusal::NotLearner(node) => {
                write!(f, "node {node} is not a learner, and only learners are promoted")
            }
            ChangeRefusal::NotCaughtUp(node) => {
                write!(f, "learner {node} has not caught up with the leader; try again when it has")
            }
            ChangeRefusal::NoVoters => write!(f, "no voter would be left"),
            ChangeRefusal::TooMany { members_max } => write!(f, "a group has at most {members_max} members"),
            ChangeRefusal::NotYet => {
                write!(f, "the leader is still committing the first entry of its term; try again")
            }
        }
    }
}

impl std::error::Error for ChangeRefusal {}

impl Membership {
    /// The most members of one group, both halves of a joint membership together.
    pub const MEMBERS_MAX: usize = 64;

    /// These voters and learners; sorted, repetitions dropped, a voter is no learner.
    #[must_use]
    pub fn new(
        voters: impl IntoIterator<Item = NodeId>,
        learners: impl IntoIterator<Item = NodeId>,
    ) -> Membership {
        let voters = sorted(voters);
        let learners = sorted(learners.into_iter().filter(|node| voters.binary_search(node).is_err()));
        Membership { voters, outgoing: Vec::new(), learners }
    }

    /// Voters: of the newer half while joint.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// The voters being left behind; empty outside a joint membership.
    #[must_use]
    pub fn outgoing(&self) -> &[NodeId] {
        &self.outgoing
    }

    /// Learners.
    #[must_use]
    pub fn learners(&self) -> &[NodeId] {
        &self.learners
    }

    /// Are two sets of voters in force?
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Does `node` vote, in either half?
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.binary_search(&node).is_ok() || self.outgoing.binary_search(&node).is_ok()
    }

    /// Is `node` in it at all?
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.binary_search(&node).is_ok()
    }

    /// Everyone who receives the log, once each, in order of id.
    pub fn members(&self) -> impl Iterator<Item = NodeId> + '_ {
        sorted(self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied()).into_iter()
    }

    /// Do those who say yes make a quorum: a majority of the voters, and while joint of the outgoing voters as well?
    ///
    /// Rule R22; thesis §4.3. With one of the two majorities alone, {1} → {1,2,3} with 2 and 3 unreachable would let 1 commit by the old
    /// half what 2 and 3, by the new half, never hear of.
    #[must_use]
    pub fn is_quorum(&self, yes: impl Fn(NodeId) -> bool) -> bool {
        let enough = |half: &[NodeId]| half.iter().filter(|node| yes(**node)).count() >= majority(half.len());
        let incoming = enough(&self.voters);
        if crate::planted!("C05") && self.is_joint() {
            return incoming || enough(&self.outgoing);
        }
        incoming && (!self.is_joint() || enough(&self.outgoing))
    }

    /// Can those who have not said no still make a quorum?
    #[must_use]
    pub fn quorum_is_possible(&self, no: impl Fn(NodeId) -> bool) -> bool {
        self.is_quorum(|node| !no(node))
    }

    /// The greatest value that a quorum has reached, when each voter has reached `value(voter)`: plain sorting, half by half.
    #[must_use]
    pub fn reached_by_quorum<T: Ord + Copy + Default>(&self, value: impl Fn(NodeId) -> T) -> T {
        let half = |voters: &[NodeId]| {
            let mut values: Vec<T> = voters.iter().map(|node| value(*node)).collect();
            if !crate::planted!("B11") {
                values.sort_unstable_by(|a, b| b.cmp(a));
            }
            values.get(majority(voters.len()) - 1).copied().unwrap_or_default()
        };
        if !self.is_joint() {
            return half(&self.voters);
        }
        let (incoming, outgoing) = (half(&self.voters), half(&self.outgoing));
        if crate::planted!("C05") { incoming.max(outgoing) } else { incoming.min(outgoing) }
    }

    /// The membership that begins `change`: joint if the set of voters changes, final at once if only learners do.
    ///
    /// # Errors
    /// Why it cannot be. Whether a learner has caught up is the leader's to say, not this function's.
    pub fn begin(&self, change: &MembershipChange) -> Result<Membership, ChangeRefusal> {
        if self.is_joint() {
            return Err(ChangeRefusal::Pending);
        }
        let target = self.target(change)?;
        if target.voters.is_empty() {
            return Err(ChangeRefusal::NoVoters);
        }
        let outgoing = if target.voters == self.voters { Vec::new() } else { self.voters.clone() };
        let next = Membership { outgoing, ..target };
        if next.members().count() > Membership::MEMBERS_MAX {
            return Err(ChangeRefusal::TooMany { members_max: Membership::MEMBERS_MAX });
        }
        Ok(next)
    }

    /// The membership that ends a joint one: the newer half alone.
    #[must_use]
    pub fn end_joint(&self) -> Membership {
        Membership { voters: self.voters.clone(), outgoing: Vec::new(), learners: self.learners.clone() }
    }

    fn target(&self, change: &MembershipChange) -> Result<Membership, ChangeRefusal> {
        let voter = |node: &NodeId| self.voters.binary_search(node).is_ok();
        let learner = |node: &NodeId| self.learners.binary_search(node).is_ok();
        let with = |set: &[NodeId], node: NodeId| set.iter().copied().chain([node]).collect::<Vec<_>>();
        let without =
            |set: &[NodeId], node: NodeId| set.iter().copied().filter(|n| *n != node).collect::<Vec<_>>();
        match change {
            MembershipChange::AddLearner(node) | MembershipChange::AddVoter(node)
                if voter(node) || learner(node) =>
            {
                Err(ChangeRefusal::AlreadyMember(*node))
            }
            MembershipChange::AddLearner(node) => {
                Ok(Membership::new(self.voters.clone(), with(&self.learners, *node)))
            }
            MembershipChange::AddVoter(node) => {
                Ok(Membership::new(with(&self.voters, *node), self.learners.clone()))
            }
            MembershipChange::Promote(node) if voter(node) => Err(ChangeRefusal::NotLearner(*node)),
            MembershipChange::Promote(node) | MembershipChange::Remove(node)
                if !voter(node) && !learner(node) =>
            {
                Err(ChangeRefusal::NotMember(*node))
            }
            MembershipChange::Promote(node) => {
                Ok(Membership::new(with(&self.voters, *node), without(&self.learners, *node)))
            }
            MembershipChange::Remove(node) => {
                Ok(Membership::new(without(&self.voters, *node), without(&self.learners, *node)))
            }
            MembershipChange::Replace { old, .. } if !voter(old) && !learner(old) => {
                Err(ChangeRefusal::NotMember(*old))
            }
            MembershipChange::Replace { new, .. } if voter(new) => Err(ChangeRefusal::AlreadyMember(*new)),
            MembershipChange::Replace { old, new } if voter(old) => {
                Ok(Membership::new(with(&without(&self.voters, *old), *new), without(&self.learners, *new)))
            }
            MembershipChange::Replace { old, new } => {
                Ok(Membership::new(self.voters.clone(), with(&without(&self.learners, *old), *new)))
            }
            MembershipChange::Set { voters, learners } => {
                Ok(Membership::new(voters.iter().copied(), learners.iter().copied()))
            }
        }
    }

    /// Writes the membership.
    pub fn encode(&self, to: &mut Writer) {
        for set in [&self.voters, &self.outgoing, &self.learners] {
            to.varint(set.len() as u64);
            for node in set {
                to.u64(node.0);
            }
        }
    }

    /// Reads what [`Membership::encode`] wrote.
    ///
    /// # Errors
    /// Truncated input, a set out of order, nobody to vote, or a voter that is also a learner.
    pub fn decode(from: &mut Reader) -> Result<Membership, DecodeError> {
        let mut set = || -> Result<Vec<NodeId>, DecodeError> {
            let count = from.count(8)?;
            if count > Membership::MEMBERS_MAX {
                return Err(DecodeError::Invalid { what: "membership: too many members" });
            }
            let nodes = (0..count).map(|_| from.u64().map(NodeId)).collect::<Result<Vec<_>, _>>()?;
            if nodes.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(DecodeError::Invalid { what: "membership: out of order" });
            }
            Ok(nodes)
        };
        let membership = Membership { voters: set()?, outgoing: set()?, learners: set()? };
        let overlap = membership.learners.iter().any(|node| membership.voters.binary_search(node).is_ok());
        if overlap || (membership.voters.is_empty() && membership.is_joint()) {
            return Err(DecodeError::Invalid { what: "membership" });
        }
        Ok(membership)
    }
}

fn sorted(nodes: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    /// All pairs of subsets of five nodes as old and new voters: the plain arithmetic against counting by hand.
    #[test]
    fn r22_quorums_of_adjacent_memberships_always_share_a_node() {
        let subset = |mask: u32| nodes(&(0..5).filter(|n| mask >> n & 1 == 1).collect::<Vec<_>>());
        for old in 1u32..32 {
            for new in 1u32..32 {
                let from = Membership::new(subset(old), []);
                let change = MembershipChange::Set { voters: subset(new), learners: vec![] };
                let joint = from.begin(&change).unwrap();
                let to = joint.end_joint();
                for a in 0u32..32 {
                    for b in 0u32..32 {
                        let says = |mask: u32| move |node: NodeId| mask >> node.0 & 1 == 1;
                        let by_hand = |mask: u32, set: u32| (mask & set).count_ones() > set.count_ones() / 2;
                        assert_eq!(from.is_quorum(says(a)), by_hand(a, old));
                        assert_eq!(to.is_quorum(says(a)), by_hand(a, new));
                        assert_eq!(joint.is_quorum(says(a)), by_hand(a, old) && by_hand(a, new));
                        if joint.is_quorum(says(a)) && (from.is_quorum(says(b)) || to.is_quorum(says(b))) {
                            assert_ne!(a & b, 0, "disjoint quorums: {old:b} to {new:b}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_quorum_reached_is_what_counting_says() {
        let joint = Membership::new(nodes(&[1, 2, 3]), [])
            .begin(&MembershipChange::Set { voters: nodes(&[3, 4, 5]), learners: vec![] })
            .unwrap();
        for values in 0..4u64.pow(5) {
            let value = |node: NodeId| values / 4u64.pow(node.0 as u32 - 1) % 4;
            let reached = joint.reached_by_quorum(value);
            let by_hand = (0..4).rev().find(|v| joint.is_quorum(|node| value(node) >= *v)).unwrap();
            assert_eq!(reached, by_hand);
        }
    }

    #[test]
    fn changes_are_refused_with_their_reason() {
        let three = Membership::new(nodes(&[1, 2, 3]), nodes(&[4]));
        let refused = |change| three.begin(&change).unwrap_err();
        assert_eq!(refused(MembershipChange::AddLearner(NodeId(2))), ChangeRefusal::AlreadyMember(NodeId(2)));
        assert_eq!(refused(MembershipChange::Promote(NodeId(2))), ChangeRefusal::NotLearner(NodeId(2)));
        assert_eq!(refused(MembershipChange::Remove(NodeId(9))), ChangeRefusal::NotMember(NodeId(9)));
        let none = MembershipChange::Set { voters: vec![], learners: vec![] };
        assert_eq!(refused(none), ChangeRefusal::NoVoters);
        let joint = three.begin(&MembershipChange::Remove(NodeId(3))).unwrap();
        assert!(joint.is_joint());
        assert_eq!(joint.begin(&MembershipChange::Remove(NodeId(2))), Err(ChangeRefusal::Pending));
        assert_eq!(joint.end_joint().voters(), nodes(&[1, 2]));
        let replace = MembershipChange::Replace { old: NodeId(3), new: NodeId(4) };
        assert_eq!(three.begin(&replace).unwrap().end_joint(), Membership::new(nodes(&[1, 2, 4]), []));
    }

    #[test]
    fn a_membership_reads_back_and_nonsense_is_refused() {
        let joint = Membership::new(nodes(&[1, 2, 3]), nodes(&[4]))
            .begin(&MembershipChange::Promote(NodeId(4)))
            .unwrap();
        let mut to = Writer::new();
        joint.encode(&mut to);
        let bytes = to.finish();
        assert_eq!(Membership::decode(&mut Reader::new(bytes.clone())), Ok(joint));
        for end in 0..bytes.len() {
            assert!(Membership::decode(&mut Reader::new(bytes.slice(..end))).is_err());
        }
    }
}

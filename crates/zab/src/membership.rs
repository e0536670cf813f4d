//! Changes of membership (rule R22): a reconfiguration that old and new quorums commit. Observers are the contract's learners: they come and go freely.
//!
//! A membership is in force from the moment its entry is appended, committed or not, and no longer once the entry is truncated: every node acts by
//! the newest membership in its own log. One change at a time: a second one waits until the first has been committed and left.

use quorate_consensus::{
    ChangeRefusal, GroupStart, Index, Instant, Membership, MembershipChange, NodeId, Payload, Position,
    ProposalId, Refusal,
};

use crate::{
    Zab,
    link::Link,
    message::Ended,
    role::{Phase, Role},
    zab::Out,
};

/// The memberships that the log brought: the one at its beginning, and those after.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Memberships {
    base: (Index, Membership),
    later: Vec<(Index, Membership)>,
    /// What follows from this membership being committed has been done.
    pub(crate) settled: Index,
    /// Counts every change: a membership may replace another at the same index, when its entry replaces the other's.
    version: u64,
}

impl Memberships {
    pub(crate) fn new<H>(start: &GroupStart<H>) -> Memberships {
        let at = start.snapshot.membership_at;
        Memberships {
            base: (at, start.snapshot.membership.clone()),
            later: start.memberships.clone(),
            settled: Index::ZERO,
            version: 0,
        }
    }

    fn newest(&self) -> &(Index, Membership) {
        self.later.last().unwrap_or(&self.base)
    }

    pub(crate) fn current(&self) -> &Membership {
        &self.newest().1
    }

    /// The index of the entry that brought the current one.
    pub(crate) fn at(&self) -> Index {
        self.newest().0
    }

    /// Does `node` vote, by the current membership, or by the one before while the current one is not committed?
    pub(crate) fn may_be_needed(&self, node: NodeId, commit: Index) -> bool {
        let before = self.later.len().checked_sub(2).and_then(|at| self.later.get(at)).unwrap_or(&self.base);
        self.current().is_voter(node) || (self.at() > commit && before.1.is_voter(node))
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn append(&mut self, at: Index, membership: Membership) {
        self.version += 1;
        self.later.push((at, membership));
    }

    /// A new leader sees for itself what follows from the membership it finds.
    ///
    /// {S1 commits a joint membership at 5, appends the one that ends it at 6, loses its lead; 6 is truncated; S1 leads again}: with 5 still
    /// marked as settled, nobody would leave the joint membership, and every later change would be refused as pending (C07).
    pub(crate) fn unsettle(&mut self) {
        self.settled = Index::ZERO;
    }

    /// Entries from `from` on are gone, and with them what they brought (C04).
    pub(crate) fn truncate(&mut self, from: Index) {
        let before = self.later.len();
        self.later.retain(|(at, _)| *at < from);
        self.version += u64::from(self.later.len() != before);
    }

    /// A snapshot stands for the log up to `to`; what came after is kept only with the log there.
    pub(crate) fn rebase(&mut self, at: Index, membership: Membership, to: Index, keep: bool) {
        let before = self.newest().clone();
        self.base = (at, membership);
        self.later.retain(|(at, _)| keep && *at > to);
        self.version += u64::from(*self.newest() != before);
    }
}

impl Zab {
    pub(crate) fn change_membership(
        &mut self,
        now: Instant,
        id: ProposalId,
        change: &MembershipChange,
        out: &mut Out,
    ) {
        match self.next_membership(now, change) {
            Ok(next) => {
                let position = self.append_membership(next, out);
                out.accepted.push((id, position));
                self.advance_commit(now, out);
            }
            Err(refusal) => out.refused.push((id, refusal)),
        }
    }

    /// The membership that the change begins with, or why not now.
    ///
    /// An established leader's history is committed, and with it the membership that it found: what Raft has to wait for (C01) has happened. Not while another change
    /// is uncommitted or joint: two adjacent memberships share a quorum, the first and the third need not (C02).
    fn next_membership(&self, now: Instant, change: &MembershipChange) -> Result<Membership, Refusal> {
        let established = match &self.role {
            Role::Leading(leading) => match &leading.phase {
                Phase::Broadcast(broadcast) => Some(broadcast),
                Phase::Discovery
                | Phase::Promise { .. }
                | Phase::History(_)
                | Phase::Epoch(_)
                | Phase::Synchronization { .. } => None,
            },
            Role::Looking(_) | Role::Following(_) => None,
        };
        let Some(broadcast) = established else {
            return Err(Refusal::NotLeader { leader: self.leader_id() });
        };
        if broadcast.transfer.is_some() || !self.has_room() {
            return Err(Refusal::TransferInProgress);
        }
        if self.memberships.at() > self.commit {
            return Err(Refusal::Change(ChangeRefusal::Pending));
        }
        let next = self.membership().begin(change).map_err(Refusal::Change)?;
        for node in next.voters() {
            let learner = self.membership().learners().contains(node);
            if learner && !self.has_caught_up(now, *node) {
                return Err(Refusal::Change(ChangeRefusal::NotCaughtUp(*node)));
            }
        }
        Ok(next)
    }

    fn has_caught_up(&self, now: Instant, node: NodeId) -> bool {
        let Role::Leading(leading) = &self.role else { return false };
        leading.links.get(&node).is_some_and(|link| {
            link.is_live()
                && now.since(link.heard_at) < self.config.sync_limit
                && link.durable.0.saturating_add(self.config.promotion_lag_max) >= self.log.last().index.0
        })
    }

    fn append_membership(&mut self, membership: Membership, out: &mut Out) -> Position {
        let joint = u64::from(membership.is_joint());
        let position = self.append_own(Payload::Membership(membership));
        out.because("R22", "membership_appended", &[("index", position.index.0), ("joint", joint)]);
        // Who is new is called with the next heartbeat at the latest; now is better.
        let notification = self.notification();
        for member in self.other_members() {
            if self.leading().is_some_and(|leading| !leading.links.contains_key(&member)) {
                self.send(member, notification.clone(), out);
            }
        }
        self.propose_to_all(out);
        // Whose word is missing for a read may not count any more.
        self.confirm_reads(out);
        position
    }

    /// The commit index moved: if it passed the current membership, a joint one is left, and after a final one those who left are let go.
    pub(crate) fn membership_committed(&mut self, now: Instant, out: &mut Out) {
        let at = self.memberships.at();
        if at > self.commit || self.memberships.settled == at || !self.is_established() {
            return;
        }
        self.memberships.settled = at;
        if self.membership().is_joint() {
            let last = self.membership().end_joint();
            self.append_membership(last, out);
            return self.advance_commit(now, out);
        }
        if !self.membership().is_voter(self.id) {
            self.step_aside(now, out);
        }
    }

    /// Those that are no members any more get what is committed up to their leaving, and are let go once they have it, or say nothing any more. A link that is closed at
    /// once would take the news with it: a CLOSE may overtake the entries.
    pub(crate) fn let_go(&mut self, now: Instant, out: &mut Out) {
        let at = self.memberships.at();
        if self.memberships.settled != at || self.membership().is_joint() {
            return;
        }
        let (members, limit) = (self.other_members(), self.config.sync_limit);
        let Some(leading) = self.leading() else { return };
        let gone = |(peer, link): (&NodeId, &Link)| {
            let knows = link.durable >= at && link.told_commit >= at;
            let silent = now.since(link.heard_at) >= limit || !link.is_live();
            (!members.contains(peer) && (knows || silent)).then_some(*peer)
        };
        let gone: Vec<NodeId> = leading.links.iter().filter_map(gone).collect();
        for peer in gone {
            self.end_link(peer, Ended::NotLeading, out);
        }
    }

    /// A leader that votes no more leads until its leaving is committed, without counting itself, and then hands over to the best voter.
    fn step_aside(&mut self, now: Instant, out: &mut Out) {
        self.tell_commit(out);
        out.because("R22", "leader_leaves", &[("epoch", self.hard.accepted.0)]);
        match self.best_voter(now) {
            Some(best) => self.hand_over(now, best, out),
            None => self.give_up_leading(now, "nobody_to_hand_over_to", out),
        }
    }
}

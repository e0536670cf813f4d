//! Changes of membership (rule R22): joint consensus, Raft §6 and thesis §4.3.
//!
//! A membership is in force from the moment its entry is appended, committed or not, and no longer once the entry is truncated: every node acts by
//! the newest membership in its own log. One change at a time: a second one waits until the first has been committed and left.

use std::collections::BTreeSet;

use quorate_consensus::{
    ChangeRefusal, GroupStart, Index, Instant, Membership, MembershipChange, NodeId, Payload, ProposalId,
    Refusal, planted,
};

use crate::{Message, Raft, progress::Progress, raft::Out, role::Role};

/// The memberships that the log brought: the one at its beginning, and those after.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Memberships {
    base: (Index, Membership),
    later: Vec<(Index, Membership)>,
    /// What follows from this membership being committed has been done.
    settled: Index,
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
        self.settled = if planted!("C07") { self.at() } else { Index::ZERO };
    }

    /// Entries from `from` on are gone, and with them what they brought (C04).
    pub(crate) fn truncate(&mut self, from: Index) {
        if !planted!("C04") {
            let before = self.later.len();
            self.later.retain(|(at, _)| *at < from);
            self.version += u64::from(self.later.len() != before);
        }
    }

    /// A snapshot stands for the log up to `to`; what came after is kept only with the log there.
    pub(crate) fn rebase(&mut self, at: Index, membership: Membership, to: Index, keep: bool) {
        let before = self.newest().clone();
        self.base = (at, membership);
        self.later.retain(|(at, _)| (keep && *at > to) || planted!("C09"));
        self.version += u64::from(*self.newest() != before);
    }
}

impl Raft {
    pub(crate) fn change_membership(
        &mut self,
        now: Instant,
        id: ProposalId,
        change: &MembershipChange,
        out: &mut Out,
    ) {
        match self.next_membership(now, change) {
            Ok(next) => {
                let position = self.append_membership(now, next, out);
                out.accepted.push((id, position));
            }
            Err(refusal) => out.refused.push((id, refusal)),
        }
    }

    /// The membership that the change begins with, or why not now.
    ///
    /// Not before an entry of the own term is committed: {S1 of S1–S4 appends "without S2" and is cut off; S2 wins with S3, S4 and appends "without
    /// S1"; S1 returns, wins by its own newer membership with S3, and both have committed, by quorums that share nobody} (C01). Not while another
    /// change is uncommitted or joint (C02).
    fn next_membership(&self, now: Instant, change: &MembershipChange) -> Result<Membership, Refusal> {
        let Role::Leader(leader) = &self.role else {
            return Err(Refusal::NotLeader { leader: self.leader_id() });
        };
        if leader.transfer.is_some() {
            return Err(Refusal::TransferInProgress);
        }
        if !self.is_ready() && !planted!("C01") {
            return Err(Refusal::Change(ChangeRefusal::NotYet));
        }
        if self.memberships.at() > self.commit && !planted!("C02") {
            return Err(Refusal::Change(ChangeRefusal::Pending));
        }
        let mut next = self.membership().begin(change).map_err(Refusal::Change)?;
        // The bug is one of changes that add or remove one voter at a time, without a joint membership (Ongaro, raft-dev, 2015). Under joint
        // consensus any two leaders need a majority of the same outgoing voters, so the plant takes that defence away as well.
        if planted!("C01") && next.voters().len().abs_diff(next.outgoing().len()) == 1 {
            next = next.end_joint();
        }
        for node in next.voters() {
            let learner = self.membership().learners().contains(node);
            if learner && !self.has_caught_up(now, *node) && !planted!("C11") {
                return Err(Refusal::Change(ChangeRefusal::NotCaughtUp(*node)));
            }
        }
        Ok(next)
    }

    fn has_caught_up(&self, now: Instant, node: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        leader.peers.get(&node).is_some_and(|progress| {
            progress.heard
                && now.since(progress.heard_at) < self.config.election_timeout_max
                && progress.matched.0.saturating_add(self.config.promotion_lag_max) >= self.log.last().index.0
        })
    }

    pub(crate) fn append_membership(
        &mut self,
        now: Instant,
        membership: Membership,
        out: &mut Out,
    ) -> quorate_consensus::Position {
        let joint = u64::from(membership.is_joint());
        let position = self.append_own(Payload::Membership(membership));
        out.because("R22", "membership_appended", &[("index", position.index.0), ("joint", joint)]);
        let next = self.log.last().index;
        let members = self.receivers();
        if let Some(leader) = self.leader() {
            if planted!("C13") {
                leader.peers.retain(|peer, _| members.contains(peer));
            }
            for member in members {
                leader.peers.entry(member).or_insert_with(|| Progress::new(next, now));
            }
        }
        self.replicate_to_all(now, out);
        // Whose word is missing for a read may not count any more.
        self.confirm_reads(now, out);
        position
    }

    /// Who gets the log: every member, those on their way out too, for their word is needed until they have left (C13).
    pub(crate) fn receivers(&self) -> BTreeSet<NodeId> {
        if self.membership().is_joint() && planted!("C13") {
            return self.membership().end_joint().members().filter(|node| *node != self.id).collect();
        }
        self.other_members()
    }

    /// The commit index moved: if it passed the current membership, a joint one is left, and after a final one those who left are let go.
    pub(crate) fn membership_committed(&mut self, now: Instant, out: &mut Out) {
        let at = self.memberships.at();
        if at > self.commit || self.memberships.settled == at || !self.is_ready() {
            return;
        }
        self.memberships.settled = at;
        if self.membership().is_joint() {
            let last = self.membership().end_joint();
            self.append_membership(now, last, out);
            return;
        }
        self.let_go(out);
        if !self.membership().is_voter(self.id) {
            self.step_aside(now, out);
        }
    }

    /// Peers that are no members any more hear once that their leaving is committed (C13), and then nothing.
    fn let_go(&mut self, out: &mut Out) {
        let (term, commit) = (self.term(), self.commit);
        let members = self.other_members();
        let Some(leader) = self.leader() else { return };
        let gone: Vec<(NodeId, Index)> = leader
            .peers
            .iter()
            .filter(|(peer, _)| !members.contains(peer))
            .map(|(peer, progress)| (*peer, progress.matched))
            .collect();
        for (peer, _) in &gone {
            leader.peers.remove(peer);
        }
        for (peer, matched) in gone {
            self.send(peer, Message::Commit { term, commit: commit.min(matched) }, out);
        }
    }

    /// A leader that is not a voter any more leads until its leaving is committed, without counting itself, and then asks the best voter to take
    /// over (thesis §4.2.2).
    fn step_aside(&mut self, now: Instant, out: &mut Out) {
        self.tell_commit(out);
        if let Some(best) = self.best_voter(now) {
            self.send(best, Message::TimeoutNow { term: self.term() }, out);
        }
        out.because("R22", "leader_leaves", &[("term", self.term().0)]);
        let term = self.term();
        self.become_follower(now, term, None, out);
    }
}

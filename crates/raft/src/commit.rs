//! When entries are committed (rules R11, R15): Raft §5.3, §5.4.2.

use quorate_consensus::{Index, Instant, NodeId, planted};

use crate::{Message, Raft, raft::Out, role::Role};

impl Raft {
    /// Moves the commit index to where a quorum's disks hold the log.
    ///
    /// The leader counts itself by what is durable on its own disk, like any other: {a leader of three counts its own unsynced entry with one
    /// follower's, answers the client, and both lose power}: gone (B21).
    ///
    /// Only an entry of the own term is committed by counting (rule R15; Raft §5.4.2, Figure 8): {S1 brings 2.2 to S2 and dies; S5 wins term 3 with
    /// S3, S4 and writes 3.2; S1 returns, wins term 4, brings 2.2 to S3: a majority holds it; S1 dies; S5 wins with S2, S3, S4 by its 3.2 and
    /// replaces 2.2}. Older entries are committed along with it.
    pub(crate) fn advance_commit(&mut self, now: Instant, out: &mut Out) {
        let Role::Leader(leader) = &self.role else { return };
        let own = if planted!("B21") { self.log.last().index } else { self.log.durable() };
        let reached = self.membership().reached_by_quorum(|node| {
            if node == self.id { own } else { leader.peers.get(&node).map(|p| p.matched).unwrap_or_default() }
        });
        let reached = if planted!("C10") { self.reached_with_learners(own) } else { reached };
        let reached = if !self.membership().is_voter(self.id) && planted!("C12") {
            self.reached_with_itself(own)
        } else {
            reached
        };
        if reached <= self.commit {
            return;
        }
        if self.log.term_at(reached) != Some(self.term()) && !planted!("B01") {
            return;
        }
        // B13: a scan from the commit index on stops at the first entry of another term.
        if self.log.term_at(self.commit.next()) != Some(self.term()) && planted!("B13") {
            return;
        }
        self.commit = reached;
        out.because("R11", "committed", &[("index", reached.0), ("term", self.term().0)]);
        if let Some(leader) = self.leader() {
            while leader.uncommitted.front().is_some_and(|(index, _)| *index <= reached) {
                if let Some((_, bytes)) = leader.uncommitted.pop_front() {
                    leader.uncommitted_bytes -= bytes;
                }
            }
        }
        self.serve_unready_reads(now, out);
        self.membership_committed(now, out);
    }

    /// A planted bug's arithmetic: learners counted like voters.
    fn reached_with_learners(&self, own: Index) -> Index {
        let Role::Leader(leader) = &self.role else { return Index::ZERO };
        let mut all: Vec<Index> = leader.peers.values().map(|p| p.matched).chain([own]).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let voters = self.membership().voters().len();
        all.get(voters / 2).copied().unwrap_or_default()
    }

    /// A planted bug's arithmetic: a leader that is no voter any more counted like one.
    fn reached_with_itself(&self, own: Index) -> Index {
        let Role::Leader(leader) = &self.role else { return Index::ZERO };
        let matched = |node: &NodeId| leader.peers.get(node).map(|p| p.matched).unwrap_or_default();
        let voters = self.membership().voters();
        let mut all: Vec<Index> = voters.iter().map(matched).chain([own]).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.get(voters.len() / 2).copied().unwrap_or_default()
    }

    /// Tells the peers that more is committed, if nothing sent in this step did: they apply it at once, and whoever waits at them is answered.
    pub(crate) fn tell_commit(&mut self, out: &mut Out) {
        let (term, commit) = (self.term(), self.commit);
        let Some(leader) = self.leader() else { return };
        let mut tell: Vec<(NodeId, Message)> = Vec::new();
        for (peer, progress) in &mut leader.peers {
            let known = commit.min(progress.matched);
            if known > progress.told_commit {
                progress.told_commit = known;
                tell.push((*peer, Message::Commit { term, commit: known }));
            }
        }
        for (peer, message) in tell {
            self.send(peer, message, out);
        }
    }

    /// Has an entry of the leader's own term been committed?
    pub(crate) fn is_ready(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if self.commit >= leader.term_start)
    }
}

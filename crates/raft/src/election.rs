//! Elections (rules R03–R09): Raft §5.2 and §5.4.1; PreVote, thesis §9.6; who must not disturb, thesis §4.2.3.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_consensus::{DiskLag, Epoch, Instant, NodeId, Payload, Position, planted};

use crate::{
    HardState, Message, Raft,
    message::name,
    progress::Progress,
    raft::Out,
    role::{Leader, LeaderReads, Role},
};

impl Raft {
    /// Only a voter campaigns, and not while its state is being replaced.
    ///
    /// One that its newest membership leaves out may still be needed until that is committed (thesis §4.2.2): {S4 leads S2 and S4 to S1 and S2, appends
    /// the final membership, and loses its lead before S1 and S2 have it}: they need S4's vote by the joint membership, S4's log is newer than
    /// theirs, so only S4 can win.
    pub(crate) fn may_campaign(&self) -> bool {
        self.installing.is_none() && (self.memberships.may_be_needed(self.id, self.commit) || planted!("A13"))
    }

    /// Nothing was heard from a leader for the election timeout (rule R03), or the last election was not won (rule R09).
    pub(crate) fn campaign(&mut self, now: Instant, out: &mut Out) {
        self.draw_election_timeout(now);
        if !self.may_campaign() {
            return;
        }
        // A14: one that voted for itself and finds itself alone goes on in the term that it led before.
        let alone = self.membership().is_quorum(|node| node == self.id);
        if alone && self.hard.vote == Some(self.id) && planted!("A14") {
            return self.become_leader(now, out);
        }
        if self.config.pre_vote && !planted!("G03") {
            self.ask_pre_votes(now, out);
        } else {
            self.start_election(now, false, out);
        }
    }

    fn ask_pre_votes(&mut self, now: Instant, out: &mut Out) {
        self.pre_vote_round += 1;
        let round = self.pre_vote_round;
        self.role =
            Role::PreCandidate { round, granted: BTreeSet::from([self.id]), refused: BTreeSet::new() };
        out.because("R03", "pre_vote_begun", &[("term", self.term().next().0), ("round", round)]);
        let question = Message::PreVote { term: self.term().next(), last: self.log.last(), round };
        for peer in self.other_members() {
            self.send(peer, question.clone(), out);
        }
        self.count_pre_votes(now, out);
    }

    /// Would this node vote so? It changes nothing here: not the term, not the vote, not the timer.
    pub(crate) fn on_pre_vote(
        &mut self,
        now: Instant,
        from: NodeId,
        term: Epoch,
        last: Position,
        round: u64,
        out: &mut Out,
    ) {
        let stranger = self.is_stranger(from);
        let granted = term > self.term() && self.is_as_new(last) && !self.is_content(now, from) && !stranger;
        out.because("R07", "pre_vote_answered", &[("from", name(from)), ("granted", u64::from(granted))]);
        // The answer carries this node's own term: an asker that lags behind adopts it and asks better next time (A08, A09).
        self.send(from, Message::PreVoteReply { term: self.term(), round, granted }, out);
    }

    pub(crate) fn on_pre_vote_reply(
        &mut self,
        now: Instant,
        from: NodeId,
        round: u64,
        yes: bool,
        out: &mut Out,
    ) {
        let Role::PreCandidate { round: current, granted, refused } = &mut self.role else { return };
        // A late answer belongs to another asking (A10).
        if *current != round && !planted!("A10") {
            return;
        }
        if yes {
            granted.insert(from)
        } else {
            refused.insert(from)
        };
        self.count_pre_votes(now, out);
    }

    /// Do those who granted elect: a quorum, of both halves while the membership is joint?
    fn elect(&self, granted: &BTreeSet<NodeId>) -> bool {
        if planted!("A20") {
            return self.membership().end_joint().is_quorum(|node| granted.contains(&node));
        }
        self.membership().is_quorum(|node| granted.contains(&node))
    }

    fn count_pre_votes(&mut self, now: Instant, out: &mut Out) {
        let Role::PreCandidate { granted, .. } = &self.role else { return };
        if self.elect(granted) {
            self.start_election(now, false, out);
        }
    }

    /// Raises the term, votes for itself, asks all (rule R06). Requests leave, and the own vote counts, only once both are durable.
    pub(crate) fn start_election(&mut self, now: Instant, transfer: bool, out: &mut Out) {
        self.leave_leadership(out);
        self.hard = HardState { term: self.term().next(), vote: Some(self.id), ..self.hard };
        self.write_hard_state();
        self.draw_election_timeout(now);
        let own_vote = self.newest_token();
        let granted = if planted!("A21") { BTreeSet::from([self.id]) } else { BTreeSet::new() };
        self.role = Role::Candidate { own_vote, granted, refused: BTreeSet::new() };
        out.because("R06", "election_begun", &[("term", self.term().0), ("transfer", u64::from(transfer))]);
        let request = Message::RequestVote { term: self.term(), last: self.log.last(), transfer };
        for peer in self.other_members() {
            if planted!("A21") {
                out.send_now(peer, request.clone());
            } else {
                self.send(peer, request.clone(), out);
            }
        }
    }

    /// Is a log that ends at `last` at least as new as this one: by its last term, then by its length (Raft §5.4.1)?
    fn is_as_new(&self, last: Position) -> bool {
        if planted!("A04") { last.index >= self.log.last().index } else { last >= self.log.last() }
    }

    /// A17, planted: nobody votes for one that its own membership does not have as a voter.
    fn is_stranger(&self, candidate: NodeId) -> bool {
        !self.membership().is_voter(candidate) && planted!("A17")
    }

    /// May this node grant its vote? At most once per term, first come, and only to a log at least as new as its own.
    ///
    /// Rule R07; Raft §5.2 and §5.4.1. Without the comparison of logs a node that slept through a committed entry could win with the votes of
    /// others that slept, and the entry would be gone: S1 and S2 hold 2.1 and answered the client, S1 dies, S3 asks.
    ///
    /// A learner answers too: it may have been promoted by an entry that it has not received yet. So does a voter that does not find the candidate
    /// in its own membership, for the same reason (A17).
    fn vote_refusal(&self, from: NodeId, last: Position) -> Option<&'static str> {
        if self.hard.vote.is_some_and(|vote| vote != from) {
            return Some("vote_refused_already_voted");
        }
        if !self.is_as_new(last) || self.is_stranger(from) {
            return Some("vote_refused_older_log");
        }
        if matches!(self.role, Role::Follower { leader: Some(_), .. } | Role::Leader(_))
            && self.hard.vote != Some(from)
        {
            return Some("vote_refused_term_has_leader");
        }
        None
    }

    pub(crate) fn on_request_vote(
        &mut self,
        now: Instant,
        from: NodeId,
        last: Position,
        transfer: bool,
        out: &mut Out,
    ) {
        let term = self.term();
        let own = self.log.last();
        // Adopting a larger term, from whatever message, does not end the promise to the leader heard last: under leases a vote in that
        // term would let another lead while the old leader still reads by its lease (E08).
        let held = !transfer && self.config.lease.is_some() && self.is_content(now, from);
        let refusal = if held { Some("vote_refused_lease_promise") } else { self.vote_refusal(from, last) };
        if let Some(why) = refusal {
            let values = [("from", name(from)), ("their_term", last.epoch.0), ("own_term", own.epoch.0)];
            out.because("R07", why, &values);
            return self.send(from, Message::VoteReply { term, granted: false }, out);
        }
        if self.hard.vote != Some(from) {
            self.hard.vote = Some(from);
            self.write_hard_state();
        }
        self.draw_election_timeout(now);
        out.because("R07", "vote_granted", &[("to", name(from)), ("term", term.0)]);
        self.send(from, Message::VoteReply { term, granted: true }, out);
    }

    pub(crate) fn on_vote_reply(&mut self, now: Instant, from: NodeId, yes: bool, out: &mut Out) {
        let Role::Candidate { granted, refused, .. } = &mut self.role else { return };
        if yes {
            granted.insert(from)
        } else {
            refused.insert(from)
        };
        self.count_votes(now, out);
    }

    /// The own vote counts once it is durable.
    ///
    /// {S1 votes for itself in term 2, wins with S2's vote, loses power before its own vote is on its disk, comes back in term 1, votes for S3 in
    /// term 2, and S3 wins with it}: two leaders of term 2 (A21).
    pub(crate) fn own_vote_durable(&mut self, now: Instant, out: &mut Out) {
        let Role::Candidate { own_vote, .. } = &self.role else { return };
        if !self.is_persisted(*own_vote) {
            return;
        }
        let id = self.id;
        if let Role::Candidate { granted, .. } = &mut self.role {
            granted.insert(id);
        }
        self.count_votes(now, out);
    }

    fn count_votes(&mut self, now: Instant, out: &mut Out) {
        let Role::Candidate { granted, .. } = &self.role else { return };
        if self.elect(granted) {
            self.become_leader(now, out);
        }
    }

    /// Won (rule R08). Every peer is probed from the end of the log, and the term begins with a no-op (rule R16): until an entry of its own term is
    /// committed the leader cannot know how far its log is committed (Raft §8).
    fn become_leader(&mut self, now: Instant, out: &mut Out) {
        out.because("R08", "leader_elected", &[("term", self.term().0)]);
        let next = self.log.last().index.next();
        let peers: BTreeMap<NodeId, Progress> =
            self.receivers().into_iter().map(|peer| (peer, Progress::new(next, now))).collect();
        self.role = Role::Leader(Box::new(Leader {
            peers,
            term_start: next,
            heartbeat_at: now + self.config.heartbeat_interval,
            check_quorum_at: now + self.config.election_timeout_max,
            disk_lag: DiskLag::default(),
            reads: LeaderReads::default(),
            transfer: None,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            forwarded: BTreeMap::new(),
        }));
        self.leader_heard_at = None;
        // What an earlier lead of this node settled may have been truncated since: a joint membership must be left once more (C07).
        self.memberships.unsettle();
        self.led_up_to = self.term();
        if !planted!("B22") {
            self.append_own(Payload::Noop);
        }
        self.replicate_to_all(now, out);
        if self.membership().is_joint() && planted!("C06") {
            self.append_membership(now, self.membership().end_joint(), out);
        }
    }

    /// Has this node lately heard the leader it knows, or does it lead with a quorum at its side? Then it does not help to disturb (thesis §4.2.3):
    /// a server that was removed, or was cut off for a while, would depose a working leader again and again.
    ///
    /// If that leader itself asks, it leads no more: to wait for it would be to wait for ever where the node-wide heartbeat vouches for it.
    pub(crate) fn is_content(&self, now: Instant, asker: NodeId) -> bool {
        // E08: nobody holds a vote back.
        if planted!("E08") {
            return false;
        }
        // G03: neither does anybody ask before it raises the term.
        if planted!("G03") {
            return false;
        }
        if !self.config.check_quorum || (self.leader_id() == Some(asker) && !self.is_leader()) {
            return false;
        }
        match &self.role {
            Role::Leader(_) => self.hears_quorum(now),
            Role::Follower { leader: Some(_), .. } => {
                self.leader_heard_at.is_some_and(|at| now.since(at) < self.config.election_timeout_min)
            }
            Role::Follower { leader: None, .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => {
                self.config.lease.is_some()
                    && self.leader_heard_at.is_some_and(|at| now.since(at) < self.config.election_timeout_min)
            }
        }
    }

    fn hears_quorum(&self, now: Instant) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let heard = |p: &Progress| now.since(p.heard_at) < self.config.election_timeout_max;
        // G01: as long as anybody answers, whether that is a quorum or not.
        if leader.peers.values().any(heard) && planted!("G01") {
            return true;
        }
        self.membership().is_quorum(|node| node == self.id || leader.peers.get(&node).is_some_and(heard))
    }

    /// A leader's own time: silence is broken (rule R02), a quorum is looked for (CheckQuorum), a transfer is given up.
    pub(crate) fn wake_leader(&mut self, now: Instant, out: &mut Out) {
        self.expire_transfer(now, out);
        let Role::Leader(leader) = &mut self.role else { return };
        if self.config.check_quorum && now >= leader.check_quorum_at {
            leader.check_quorum_at = now + self.config.election_timeout_min;
            if !self.hears_quorum(now) && !planted!("A12") {
                out.because("R23", "leader_steps_down_without_quorum", &[("term", self.term().0)]);
                let term = self.term();
                return self.become_follower(now, term, None, out);
            }
        }
        self.hand_over_if_disk_hangs(now, out);
        let Role::Leader(leader) = &mut self.role else { return };
        if now >= leader.heartbeat_at {
            leader.heartbeat_at = now + self.config.heartbeat_interval;
            self.heartbeat(now, out);
        }
    }
}

//! Fast leader election (rules Z03, Z04): rounds, notifications, and the vote order (current epoch, end of the log, id).
//!
//! It only guesses well who should lead: somebody with the newest history of a quorum, the same for all. Discovery checks the guess, so a wrong one costs time
//! and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{Duration, Instant, Membership, NodeId, planted};

use crate::{
    Message, Zab,
    message::{State, Vote},
    role::{Looking, Phase, Role},
    zab::Out,
};

/// The most that a notification may raise the round at once.
const ROUND_JUMP_MAX: u64 = 1 << 32;

impl Looking {
    pub(crate) fn new(now: Instant, resend_after: Duration) -> Looking {
        Looking {
            vote: None,
            vote_at: now,
            ballots: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            asked_by: BTreeSet::new(),
            resend_at: now,
            resend_after,
            decide_at: None,
            infos: BTreeMap::new(),
        }
    }
}

impl Zab {
    /// Only a voter stands for election. While its state is being replaced it neither says anything ([`Self::speaks`]) nor hears of an election
    /// ([`Self::on_notification`]), and what would make it lead waits in its leader's stream; so nothing more is asked here.
    ///
    /// One that its newest membership leaves out may still be needed until that is committed: {S4 leads S2 and S4 to S1 and S2, appends the final membership,
    /// and dies before S1 and S2 have it}: they need S4's word by the joint membership, and its history is newer than theirs.
    pub(crate) fn may_stand(&self) -> bool {
        self.memberships.may_be_needed(self.id, self.commit)
    }

    /// Does this node say anything while it looks? One that no membership of its own names waits to be called, or asked: it may have been made a voter by an entry
    /// that it has not received yet.
    ///
    /// {S1 makes the new S4 a voter, S2 and S3 log that, S1 dies before S4 has heard of anything}: S2 and S3 need S4's word by the membership in force.
    pub(crate) fn speaks(&self) -> bool {
        let asked = matches!(&self.role, Role::Looking(looking) if !looking.asked_by.is_empty());
        self.installing.is_none() && (self.membership().contains(self.id) || self.may_stand() || asked)
    }

    pub(crate) fn own_vote(&self) -> Option<Vote> {
        self.may_stand().then(|| self.vote_for(self.id, self.membership().is_voter(self.id)))
    }

    /// A vote for somebody who has what this node has.
    fn vote_for(&self, leader: NodeId, voter: bool) -> Vote {
        Vote { epoch: self.hard.current, last: self.log.last(), voter, leader }
    }

    /// To LOOKING: a new round, in which everybody votes for itself first.
    pub(crate) fn look(&mut self, now: Instant, out: &mut Out) {
        self.leave_role(out);
        if planted!("H04") {
            self.commit = self.log.last().index;
        }
        self.round = self.round.saturating_add(1);
        self.role = Role::Looking(Looking::new(now, self.config.heartbeat_interval));
        out.because("Z03", "looking", &[("round", self.round)]);
        if self.speaks() {
            self.tell_vote(now, out);
        }
    }

    /// Tells everybody the vote: for itself, if it has heard of none better.
    fn tell_vote(&mut self, now: Instant, out: &mut Out) {
        let own = self.own_vote();
        let timeout = self.config.election_timeout_max;
        let Role::Looking(looking) = &mut self.role else { return };
        looking.vote = looking.vote.max(own);
        looking.resend_at = now + looking.resend_after;
        looking.resend_after = (looking.resend_after * 2).min(timeout);
        let notification =
            Message::Notification { round: self.round, state: State::Looking, vote: looking.vote };
        let hearers = looking.asked_by.clone();
        for hearer in self.other_members().union(&hearers) {
            self.send(*hearer, notification.clone(), out);
        }
        self.count(now, out);
    }

    pub(crate) fn wake_looking(&mut self, now: Instant, out: &mut Out) {
        let Role::Looking(looking) = &self.role else { return };
        if looking.decide_at.is_some_and(|at| at <= now) {
            return self.decide(now, out);
        }
        if looking.resend_at <= now && self.speaks() {
            if self.never_hears_its_candidate(now) {
                out.because("Z03", "candidate_never_heard", &[("round", self.round)]);
                return self.look(now, out);
            }
            self.round = self.round.max(1);
            self.tell_vote(now, out);
        }
    }

    /// It votes, by others' word, for somebody who has said nothing in this round for so long that it will not: then a new round, in which everybody votes for itself first,
    /// forgets who that was.
    ///
    /// {S3 votes for itself, and S2 by its word; S3 loses its disk, S2 restarts}: S1 has heard of S3 by S2 alone, and S2 hears of it again by S1; each keeps the other's
    /// vote alive, and nobody follows one who is not heard ([`Self::count`]). Found by the simulator (I20). A voter alone begins a round: the others have no vote to tell.
    fn never_hears_its_candidate(&self, now: Instant) -> bool {
        let Role::Looking(looking) = &self.role else { return false };
        let Some(vote) = looking.vote.filter(|vote| vote.leader != self.id) else { return false };
        let waited = now.since(looking.vote_at) >= self.config.election_timeout_max * 2;
        waited && self.may_stand() && !looking.ballots.contains_key(&vote.leader)
    }

    pub(crate) fn on_notification(
        &mut self,
        now: Instant,
        from: NodeId,
        round: u64,
        state: State,
        vote: Option<Vote>,
        out: &mut Out,
    ) {
        let absurd = vote.is_some_and(|vote| self.is_absurd(vote.epoch));
        if absurd || round > self.round.saturating_add(ROUND_JUMP_MAX) {
            out.because("Z03", "notification_refused_absurd", &[("from", from.0), ("round", round)]);
            return;
        }
        if let State::Leading(Some(epoch)) = state {
            // A newer epoch than this node has promised anybody is established: whom it leads or follows is overtaken.
            let overtaken = epoch > self.hard.accepted && self.follows() != Some(from);
            // Also while a snapshot is being put in place: what the new leader says waits until it is.
            let looks = matches!(self.role, Role::Looking(_));
            if !self.is_absurd(epoch) && (looks || overtaken) {
                out.because("Z04", "joins_the_established", &[("leader", from.0), ("epoch", epoch.0)]);
                self.round = self.round.max(round);
                self.leave_links(crate::message::Ended::NotLeading, out);
                return self.follow(now, from, out);
            }
        }
        if state == State::Looking && self.is_left_by(from, round, vote) {
            out.because("Z08", "leader_leads_no_more", &[("leader", from.0)]);
            self.round = round.saturating_sub(1);
            self.look(now, out);
        } else if state == State::Looking && self.leader_id() == Some(from) {
            self.doubt_leader(out);
        }
        if !matches!(self.role, Role::Looking(_)) {
            if state == State::Looking {
                self.stand_in_newer_round(from, round);
                self.answer_looking(from, out);
            }
        } else if self.installing.is_none() {
            self.looking_hears(now, from, round, state, vote, out);
        }
    }

    /// Its own leader looks for another: in a round after the one that made it lead, for what it said before that may come late; or in that very round it votes for
    /// somebody else, and a vote once given away does not come back in the same round.
    ///
    /// {S1 decides for S2 at once, since all voters that it knows of agree; S3, which S1 does not count, talks S2 into S3}: S1 would wait for S2 until its time is
    /// up, S2 for S1's vote.
    fn is_left_by(&self, from: NodeId, round: u64, vote: Option<Vote>) -> bool {
        let elsewhere = round == self.round && vote.is_some_and(|vote| vote.leader != from);
        // G12: a decision stands, though the one that it was for votes for another by now.
        let elsewhere = elsewhere && !planted!("G12");
        self.follows() == Some(from) && (round > self.round || elsewhere)
    }

    /// Its established leader says that it looks, in a round that is not newer: it said so before it led, and the word came late; or it has lost its memory, rounds
    /// begin at zero in each life, and the node it runs on vouches for it as before. Its answer to an acknowledgement of this link tells which: one that does not
    /// lead ends the link.
    ///
    /// {S1 leads S2, and restarts before S2 misses it; the nodes vouch for each other}: S2 would follow S1 and S1 look for S2's vote, for ever.
    fn doubt_leader(&self, out: &mut Out) {
        let Role::Following(following) = &self.role else { return };
        let ack = Message::Ack { link: following.link, durable: following.told_durable };
        self.send(following.leader, ack, out);
    }

    /// A prospective leader stands in the newest round that its voters look in, so that who looks there and has no newer history can follow it.
    ///
    /// {S3 hands over to S1, which stands in round 9; S2 looks in round 10 already; the two are all voters}: S2 would wait for a quorum in round 10 and S1 for S2's
    /// FOLLOWERINFO, until S1's time is up.
    fn stand_in_newer_round(&mut self, from: NodeId, round: u64) {
        let stands = matches!(self.role, Role::Leading(_)) && !self.is_established();
        if stands && self.membership().is_voter(from) {
            self.round = self.round.max(round);
        }
    }

    fn follows(&self) -> Option<NodeId> {
        match &self.role {
            Role::Following(following) => Some(following.leader),
            Role::Looking(_) | Role::Leading(_) => None,
        }
    }

    /// Whoever looks hears how things are here. Not one that this node's membership does not know: it could not follow.
    pub(crate) fn answer_looking(&self, to: NodeId, out: &mut Out) {
        if self.membership().contains(to) {
            self.send(to, self.notification(), out);
        }
    }

    /// What this node says of itself.
    pub(crate) fn notification(&self) -> Message {
        let (state, vote) = match &self.role {
            Role::Looking(looking) => (State::Looking, looking.vote),
            // Whom it follows, and not for whom it voted in an older election: others count it with its leader.
            Role::Following(following) => {
                let vote = self.vote.filter(|vote| vote.leader == following.leader);
                (State::Following, vote.or(Some(self.vote_for(following.leader, true))))
            }
            Role::Leading(leading) => {
                let established = match &leading.phase {
                    Phase::Broadcast(broadcast) => Some(broadcast.durable.epoch()),
                    Phase::Discovery
                    | Phase::Promise { .. }
                    | Phase::History(_)
                    | Phase::Epoch(_)
                    | Phase::Synchronization { .. } => None,
                };
                (State::Leading(established), self.vote)
            }
        };
        Message::Notification { round: self.round, state, vote }
    }

    /// An older round is answered and not counted; a newer one is adopted, and what was heard in the old one forgotten; in the same one a better vote is adopted
    /// and told.
    fn looking_hears(
        &mut self,
        now: Instant,
        from: NodeId,
        round: u64,
        state: State,
        vote: Option<Vote>,
        out: &mut Out,
    ) {
        let own = self.own_vote();
        // Somebody's memory of another moment of this node's is not its vote now.
        let vote = vote.filter(|vote| vote.leader != self.id || Some(*vote) == own);
        let members_max = Membership::MEMBERS_MAX;
        let Role::Looking(looking) = &mut self.role else { return };
        if state == State::Looking && looking.asked_by.len() < members_max {
            looking.asked_by.insert(from);
        }
        if state != State::Looking && round != self.round {
            if let Some(vote) = vote {
                looking.elsewhere.insert(from, (round, state, vote));
            }
            return self.join_elsewhere(now, out);
        }
        if round > self.round {
            self.round = round;
            let resend_after = self.config.heartbeat_interval;
            let (infos, asked_by) =
                (std::mem::take(&mut looking.infos), std::mem::take(&mut looking.asked_by));
            *looking = Looking { vote, infos, asked_by, ..Looking::new(now, resend_after) };
            if let Some(vote) = vote {
                looking.ballots.insert(from, (state, vote));
            }
            return self.tell_vote(now, out);
        }
        let behind = round < self.round || vote < looking.vote;
        if state == State::Looking && behind {
            self.send(from, self.notification(), out);
        }
        let Some(vote) = vote.filter(|_| round == self.round) else { return };
        let Role::Looking(looking) = &mut self.role else { return };
        looking.ballots.insert(from, (state, vote));
        // It says that a quorum elected it in this round, and its history is not older than this node's: it will do, though this node may vote for another by now. By
        // which membership it counted it knows better: {S3 has not heard that it votes; S1 counts it; S3 by its own membership needs S2, who is for itself}: S1 would
        // wait for S3's promise and S3 for S2, again and again.
        let history = (self.hard.current, self.log.last());
        if matches!(state, State::Leading(_)) && vote.leader == from && (vote.epoch, vote.last) >= history {
            looking.vote = Some(vote);
            return self.decide(now, out);
        }
        // H12: by the end of the log alone, which is no order of all votes.
        let better = if planted!("H12") {
            Some(vote.last) > looking.vote.map(|vote| vote.last)
        } else {
            Some(vote) > looking.vote
        };
        if state == State::Looking && better {
            looking.vote = Some(vote);
            looking.vote_at = now;
            looking.decide_at = None;
            looking.resend_after = self.config.heartbeat_interval;
            return self.tell_vote(now, out);
        }
        self.count(now, out);
    }

    /// Does a quorum agree in this round? Then the election is decided: at once if everybody agrees, after a short wait for better votes otherwise.
    fn count(&mut self, now: Instant, out: &mut Out) {
        let Role::Looking(looking) = &self.role else { return };
        let Some(vote) = looking.vote else { return };
        let agrees = |node: NodeId| {
            node == self.id
                || looking.ballots.get(&node).is_some_and(|(_, other)| other.leader == vote.leader)
        };
        // Whom nobody has heard from cannot be followed: {S1 votes for S3 by S2's word, S3 is dead}.
        let alive = agrees(vote.leader);
        let quorum = alive && self.membership().is_quorum(agrees);
        let all = self.membership().members().filter(|node| self.membership().is_voter(*node)).all(agrees);
        let wait = self.config.finalize_wait;
        let Role::Looking(looking) = &mut self.role else { return };
        if !quorum {
            looking.decide_at = None;
        } else if all {
            self.decide(now, out);
        } else {
            looking.decide_at = looking.decide_at.or(Some(now + wait));
        }
    }

    fn decide(&mut self, now: Instant, out: &mut Out) {
        let Role::Looking(looking) = &self.role else { return };
        let Some(vote) = looking.vote else { return };
        out.because("Z03", "election_decided", &[("leader", vote.leader.0), ("round", self.round)]);
        self.vote = Some(vote);
        if vote.leader == self.id {
            self.lead(now, out);
        } else {
            self.follow(now, vote.leader, out);
        }
    }

    /// A quorum of another round follows somebody who says that it leads: join them (rule Z04).
    ///
    /// Without the leader's own word: {S1 is dead, S2 and S3 have not noticed yet and say that they follow it}: S4 would wait for a dead leader. What they agree on
    /// is whom, not with which history: that has moved on since they voted (ZOOKEEPER-1732).
    fn join_elsewhere(&mut self, now: Instant, out: &mut Out) {
        let Role::Looking(looking) = &self.role else { return };
        let leads = |(node, (round, state, vote)): (&NodeId, &(u64, State, Vote))| {
            (matches!(state, State::Leading(_)) && vote.leader == *node).then_some((*round, *vote))
        };
        let joined = looking.elsewhere.iter().filter_map(leads).find(|(_, vote)| {
            let agrees = |node| looking.elsewhere.get(&node).is_some_and(|(_, _, v)| v.leader == vote.leader);
            vote.leader != self.id && self.membership().is_quorum(agrees)
        });
        let Some((round, vote)) = joined else { return };
        out.because("Z04", "joins_a_quorum", &[("leader", vote.leader.0), ("round", round)]);
        self.round = self.round.max(round);
        self.vote = Some(vote);
        self.follow(now, vote.leader, out);
    }
}

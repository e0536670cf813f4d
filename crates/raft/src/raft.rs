//! The engine's state, and the one way in and out of it.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{
    Effects, Entry, Epoch, FetchToken, GroupStart, Index, Input, Instant, Membership, NodeId, Persist,
    PersistToken, Random, Role as RoleName, RoleChange, SnapshotMeta, planted,
};

use crate::{
    Config, ConfigError, HardState, Message,
    log::Log,
    membership::Memberships,
    role::{AskedReads, Forwarded, Leader, Role},
};

pub(crate) type Out = Effects<Message, HardState>;

/// The most that a message may raise the term at once. A forged term near the end of the numbers would otherwise leave no term for the next
/// election, for ever (A22).
pub const TERM_JUMP_MAX: u64 = 1 << 32;

/// One group's Raft engine.
#[derive(Clone, Debug)]
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) random: Random,
    pub(crate) id: NodeId,
    pub(crate) hard: HardState,
    pub(crate) log: Log,
    pub(crate) role: Role,
    /// Everything up to here is committed; never falls, and no entry at or before it is ever replaced.
    pub(crate) commit: Index,
    pub(crate) memberships: Memberships,
    /// The newest durable snapshot.
    pub(crate) snapshot: SnapshotMeta,
    /// A leader's snapshot that is being put in place; with it, whether the log after it is kept. Until then entries are not heard.
    pub(crate) installing: Option<(SnapshotMeta, bool)>,
    /// When a follower or candidate campaigns.
    pub(crate) election_at: Instant,
    /// When a leader was last heard; votes are withheld for a while after (thesis §4.2.3).
    pub(crate) leader_heard_at: Option<Instant>,
    pub(crate) pre_vote_round: u64,
    pub(crate) asked_reads: AskedReads,
    pub(crate) forwarded: Forwarded,
    /// Drawn at the start of this life: answers to an earlier life's questions are not taken for this one's.
    pub(crate) nonce: u64,
    pub(crate) fetches: BTreeMap<FetchToken, NodeId>,
    pub(crate) next_fetch: u64,
    /// This node led no term above this one; at its start, the term in which an earlier life may have led.
    pub(crate) led_up_to: Epoch,
    /// The newest token handed out.
    token: PersistToken,
    /// The newest durable token.
    persisted: PersistToken,
    /// The hard state in memory is durable once this token is.
    hard_token: PersistToken,
    /// What this step writes.
    step: StepWrites,
}

/// What one step writes: handed out as a single atomic write at its end.
#[derive(Clone, Debug, Default)]
struct StepWrites {
    /// The step's token, once something is to be written under it.
    open: bool,
    hard: bool,
    truncate_from: Option<Index>,
    append: Vec<Entry>,
}

impl Raft {
    /// An engine that starts, or starts again, from what was durable: as a follower (rule R01).
    ///
    /// # Errors
    /// The configuration cannot be.
    pub fn new(config: Config, start: GroupStart<HardState>, now: Instant) -> Result<Raft, ConfigError> {
        config.validate()?;
        let mut random = Random::new(config.seed ^ start.node.0.rotate_left(32));
        let nonce = random.next_u64();
        let log = Log::new(&start);
        let memberships = Memberships::new(&start);
        let mut raft = Raft {
            id: start.node,
            hard: start.hard_state.unwrap_or_default(),
            commit: start.snapshot.position.index,
            snapshot: start.snapshot,
            log,
            memberships,
            role: Role::Follower { leader: None, verified: Index::ZERO },
            installing: None,
            election_at: now,
            // Under leases a restarted voter has forgotten whether it lately heard a leader, so it acts as if it had (E04).
            leader_heard_at: config.lease.map(|_| now),
            pre_vote_round: 0,
            asked_reads: AskedReads::default(),
            forwarded: Forwarded::default(),
            nonce,
            fetches: BTreeMap::new(),
            next_fetch: 0,
            led_up_to: start.hard_state.unwrap_or_default().term,
            token: PersistToken::default(),
            persisted: PersistToken::default(),
            hard_token: PersistToken::default(),
            step: StepWrites::default(),
            config,
            random,
        };
        if planted!("A03") {
            raft.hard.vote = None;
        }
        // D16: what follows the commit index that was written down is taken for another leader's, and gone.
        if raft.hard.commit > raft.log.compacted().index
            && raft.hard.commit < raft.log.last().index
            && planted!("D16")
        {
            raft.log.truncate(raft.hard.commit.next());
            raft.memberships.truncate(raft.hard.commit.next());
        }
        raft.draw_election_timeout(now);
        // A24: whoever starts again waits as if it had to let every lease of the past run out.
        if raft.hard.term > Epoch::ZERO && planted!("A24") {
            raft.election_at = now + raft.config.election_timeout_max * 30;
        }
        Ok(raft)
    }

    // ── what others ask ─────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn term(&self) -> Epoch {
        self.hard.term
    }

    pub(crate) fn membership(&self) -> &Membership {
        self.memberships.current()
    }

    pub(crate) fn leader_id(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower { leader, .. } => *leader,
            Role::Leader(_) => Some(self.id),
            Role::PreCandidate { .. } | Role::Candidate { .. } => None,
        }
    }

    pub(crate) fn leader(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => None,
        }
    }

    pub(crate) fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub(crate) fn role_name(&self) -> RoleName {
        match &self.role {
            Role::Leader(_) => RoleName::Leader,
            Role::Candidate { .. } => RoleName::Candidate,
            Role::PreCandidate { .. } => RoleName::PreCandidate,
            Role::Follower { .. } if self.membership().is_voter(self.id) => RoleName::Follower,
            Role::Follower { .. } => RoleName::Learner,
        }
    }

    fn role_change(&self) -> RoleChange {
        RoleChange { role: self.role_name(), epoch: self.term(), leader: self.leader_id() }
    }

    // ── the funnel ──────────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn take(&mut self, now: Instant, input: Input<Message>, out: &mut Out) {
        let before = (self.role_change(), self.commit, self.memberships.version());
        // Known from an earlier life, and told in the first step of this one. The log is never shorter than that; if it were, nothing beyond it would be told.
        self.commit = self.commit.max(self.hard.commit.min(self.log.last().index));
        match input {
            Input::Message { from, message } => self.message(now, from, message, out),
            Input::Propose(proposals) => self.propose(now, proposals, out),
            Input::ReadBarrier { id } => self.read_barrier(now, id, out),
            Input::ChangeMembership { id, change } => self.change_membership(now, id, &change, out),
            Input::TransferLeadership { to } => self.transfer_leadership(now, to, out),
            Input::Persisted { token } => self.on_persisted(now, token, out),
            Input::Fetched { token, outcome } => self.fetched(now, token, outcome, out),
            Input::Compacted { to } => self.log.compact(to.min(self.snapshot.position.index)),
            Input::SnapshotTaken { meta } => self.snapshot_taken(meta),
            Input::SnapshotInstalled { meta } => self.snapshot_installed(now, &meta, out),
            Input::SnapshotSent { peer, outcome } => self.snapshot_sent(now, peer, outcome, out),
            Input::PeerUnreachable { peer } => self.peer_unreachable(peer),
            Input::PeerVouched { peer, until, .. } => self.peer_vouched(now, peer, until),
            Input::Wake => self.wake(now, out),
        }
        self.tell_commit(out);
        self.close_step(out);
        let up_to = self.commit.min(self.log.durable());
        self.log.trim(self.config.tail_bytes_max, up_to);
        let after = self.role_change();
        if after != before.0 {
            if after.epoch != before.0.epoch || after.leader != before.0.leader {
                self.refuse_asked_reads(out);
            }
            out.role = Some(after);
        }
        if self.commit != before.1 {
            debug_assert!(self.commit > before.1);
            out.commit = Some(self.commit);
        }
        if self.memberships.version() != before.2 {
            out.membership = Some((self.memberships.at(), self.membership().clone()));
        }
    }

    /// A message: first its term (rule R05), then its meaning.
    fn message(&mut self, now: Instant, from: NodeId, message: Message, out: &mut Out) {
        let term = message.term();
        let absurd = term.0 > self.term().0.saturating_add(TERM_JUMP_MAX) && !planted!("A22");
        if from == self.id || absurd {
            out.because("R05", "message_refused_absurd_term", &[("from", from.0), ("term", term.0)]);
            return;
        }
        // The answer to a PreVote carries the responder's own term, which may well be smaller: a new member that has heard of no term yet says yes in
        // term 0. The round says which asking it answers (A08).
        let answers_pre_vote = matches!(message, Message::PreVoteReply { .. });
        if term < self.term() && (!answers_pre_vote || planted!("A08")) {
            return self.stale(now, from, &message, out);
        }
        if term > self.term() && !self.newer_term(now, from, &message, out) {
            return;
        }
        match message {
            Message::PreVote { term, last, round } => self.on_pre_vote(now, from, term, last, round, out),
            Message::PreVoteReply { round, granted, .. } => {
                self.on_pre_vote_reply(now, from, round, granted, out)
            }
            Message::RequestVote { last, transfer, .. } => {
                self.on_request_vote(now, from, last, transfer, out)
            }
            Message::VoteReply { granted, .. } => self.on_vote_reply(now, from, granted, out),
            Message::AppendEntries { prev, commit, entries, .. } => {
                if self.hear_leader(now, from) {
                    self.on_append(from, prev, commit, entries, out);
                }
            }
            Message::Heartbeat { commit, round, .. } => {
                if self.hear_leader(now, from) {
                    self.learn_commit(commit);
                    let reply =
                        Message::HeartbeatReply { term: self.term(), round, verified: self.verified() };
                    self.send(from, reply, out);
                }
            }
            Message::Commit { commit, .. } => {
                if self.hear_leader(now, from) {
                    self.learn_commit(commit);
                }
            }
            Message::InstallSnapshot { meta, .. } => {
                if self.hear_leader(now, from) {
                    self.on_install_snapshot(from, meta, out);
                }
            }
            Message::TimeoutNow { .. } => {
                if self.hear_leader(now, from) {
                    self.on_timeout_now(now, out);
                }
            }
            Message::AppendAccepted { matched, .. } => self.on_accepted(now, from, matched, out),
            Message::AppendRejected { prev, hint, .. } => self.on_rejected(now, from, prev, hint, out),
            Message::HeartbeatReply { round, verified, .. } => {
                self.on_heartbeat_reply(now, from, round, verified, out);
            }
            Message::Forward { nonce, sequence, proposals, .. } => {
                self.on_forward(now, from, nonce, sequence, proposals, out);
            }
            Message::ForwardRefused { nonce, ids, .. } => self.on_forward_refused(nonce, &ids, out),
            Message::ReadIndex { nonce, id, .. } => self.on_read_index(now, from, nonce, id, out),
            Message::ReadIndexReply { nonce, id, index, .. } => {
                self.on_read_index_reply(nonce, id, index, out)
            }
        }
    }

    /// A smaller term is refused (rule R05); whoever would act on the answer gets one.
    ///
    /// A leader or candidate that has been overtaken learns of it. Without the answer a leader that only some of its peers can reach goes on for
    /// ever in its old term.
    fn stale(&mut self, now: Instant, from: NodeId, message: &Message, out: &mut Out) {
        let term = self.term();
        out.because(
            "R05",
            "smaller_term_refused",
            &[("from", from.0), ("term", message.term().0), ("own", term.0)],
        );
        match message {
            // A01: an answer of an older term is counted all the same.
            Message::VoteReply { granted: true, .. } if planted!("A01") => {
                self.on_vote_reply(now, from, true, out)
            }
            Message::PreVote { round, .. } => {
                self.send(from, Message::PreVoteReply { term, round: *round, granted: false }, out);
            }
            Message::RequestVote { .. } => self.send(from, Message::VoteReply { term, granted: false }, out),
            Message::Forward { term, nonce, proposals, .. } => {
                self.refuse_forward(from, *term, *nonce, proposals, out);
            }
            Message::ReadIndex { nonce, id, .. } => {
                self.send(from, Message::ReadIndexReply { term, nonce: *nonce, id: *id, index: None }, out);
            }
            _ if message.is_leaders() => {
                self.send(from, Message::HeartbeatReply { term, round: 0, verified: Index::ZERO }, out)
            }
            // Certain, however late: the refusal names one attempt of this life.
            Message::ForwardRefused { nonce, ids, .. } => self.on_forward_refused(*nonce, ids, out),
            _ => {}
        }
    }

    /// A larger term is adopted (rule R05), but for questions that must not disturb. False: the message goes no further.
    fn newer_term(&mut self, now: Instant, from: NodeId, message: &Message, out: &mut Out) -> bool {
        match message {
            // A PreVote only asks; its term is the asker's wish, not its state.
            Message::PreVote { .. } => return true,
            Message::PreVoteReply { granted: false, .. } if planted!("A09") => return true,
            Message::RequestVote { transfer: false, .. } if self.is_content(now, from) => {
                out.because(
                    "R08",
                    "vote_ignored_leader_alive",
                    &[("from", from.0), ("term", message.term().0)],
                );
                return false;
            }
            _ => {}
        }
        // G14: no answer of a peer tells a leader that its term is over.
        if self.is_leader() && !message.is_leaders() && planted!("G14") {
            return false;
        }
        let leader = message.is_leaders().then_some(from);
        self.become_follower(now, message.term(), leader, out);
        true
    }

    /// Word from the leader of this very term. False if it cannot be: this node leads the term itself.
    fn hear_leader(&mut self, now: Instant, from: NodeId) -> bool {
        if self.is_leader() || (matches!(self.role, Role::Candidate { .. }) && planted!("A06")) {
            return false;
        }
        // G06: one that lost sight of the leader for a moment goes on asking for votes.
        if matches!(self.role, Role::PreCandidate { .. }) && planted!("G06") {
            return false;
        }
        match &mut self.role {
            Role::Follower { leader: Some(leader), .. } if *leader != from => return false,
            Role::Follower { leader: Some(_), .. } => {}
            role => *role = Role::Follower { leader: Some(from), verified: self.commit },
        }
        self.leader_heard_at = Some(now);
        self.draw_election_timeout(now);
        true
    }

    pub(crate) fn become_follower(
        &mut self,
        now: Instant,
        term: Epoch,
        leader: Option<NodeId>,
        out: &mut Out,
    ) {
        if term > self.term() {
            self.hard = HardState { term, vote: None, ..self.hard };
            self.write_hard_state();
            out.because("R05", "larger_term_adopted", &[("term", term.0)]);
        }
        self.leave_leadership(out);
        self.role = Role::Follower { leader, verified: self.commit };
        self.draw_election_timeout(now);
    }

    fn wake(&mut self, now: Instant, out: &mut Out) {
        self.expire_asked_reads(now, out);
        if self.is_leader() {
            return self.wake_leader(now, out);
        }
        if now >= self.election_at {
            self.campaign(now, out);
        }
    }

    pub(crate) fn peer_vouched(&mut self, now: Instant, peer: NodeId, until: Instant) {
        if self.leader_id() == Some(peer) && !self.is_leader() {
            self.leader_heard_at = Some(now);
            self.election_at = self.election_at.max(until);
        }
        if let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&peer)) {
            progress.hear(now);
        }
    }

    // ── writing and sending ─────────────────────────────────────────────────────────────────────────────────────────

    fn open_step(&mut self) -> PersistToken {
        if !self.step.open {
            self.step.open = true;
            self.token = PersistToken(self.token.0 + 1);
        }
        self.token
    }

    /// The hard state changed: whatever is sent from here on waits until it is durable.
    pub(crate) fn write_hard_state(&mut self) {
        self.hard_token = self.open_step();
        self.step.hard = true;
    }

    pub(crate) fn write_truncate(&mut self, from: Index) {
        self.open_step();
        self.step.truncate_from = Some(from);
    }

    pub(crate) fn write_append(&mut self, entry: Entry) {
        self.open_step();
        self.step.append.push(entry);
    }

    /// The newest write: when it is durable, all that was written before is too.
    pub(crate) fn newest_token(&self) -> PersistToken {
        self.token
    }

    /// Handed out, durable, and of the newest hard state.
    pub(crate) fn tokens(&self) -> [PersistToken; 3] {
        [self.token, self.persisted, self.hard_token]
    }

    pub(crate) fn is_persisted(&self, token: PersistToken) -> bool {
        token <= self.persisted
    }

    fn close_step(&mut self, out: &mut Out) {
        if !self.step.open {
            return;
        }
        let step = std::mem::take(&mut self.step);
        if !step.append.is_empty() || step.truncate_from.is_some() {
            self.log.writing(self.token);
        }
        let commit = self.commit.min(self.log.durable());
        let news = commit > self.hard.commit;
        self.hard.commit = self.hard.commit.max(commit);
        let hard_state = (step.hard || news).then_some(self.hard);
        if planted!("B07") && step.truncate_from.is_some() && !step.append.is_empty() {
            let truncate =
                Persist { token: self.token, hard_state, truncate_from: step.truncate_from, append: vec![] };
            out.persist.push(truncate);
            out.persist.push(Persist {
                token: self.token,
                hard_state: None,
                truncate_from: None,
                append: step.append,
            });
            return;
        }
        let (truncate_from, append) = (step.truncate_from, step.append);
        out.persist.push(Persist { token: self.token, hard_state, truncate_from, append });
    }

    fn on_persisted(&mut self, now: Instant, token: PersistToken, out: &mut Out) {
        self.persisted = self.persisted.max(token.min(self.token));
        self.log.persisted(token);
        self.own_vote_durable(now, out);
        self.advance_commit(now, out);
    }

    /// Sends a message. It claims this node's term, so it waits until that is durable.
    ///
    /// {S2 votes for S1 in term 2 and says so, loses power before the vote is on its disk, comes back, and votes for S3 in term 2}: two leaders of
    /// one term (A02).
    pub(crate) fn send(&self, to: NodeId, message: Message, out: &mut Out) {
        if planted!("A02") && matches!(message, Message::VoteReply { .. }) {
            return out.send_now(to, message);
        }
        self.send_after(to, message, self.hard_token, out);
    }

    pub(crate) fn send_after(&self, to: NodeId, message: Message, token: PersistToken, out: &mut Out) {
        let token = token.max(self.hard_token);
        if self.is_persisted(token) {
            out.send_now(to, message);
        } else {
            out.send_after(to, message, token);
        }
    }

    pub(crate) fn draw_election_timeout(&mut self, now: Instant) {
        let (min, max) = (self.config.election_timeout_min, self.config.election_timeout_max);
        let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let drawn = self.random.between(nanos(min), nanos(max));
        self.election_at = now + std::time::Duration::from_nanos(drawn);
    }

    pub(crate) fn other_members(&self) -> BTreeSet<NodeId> {
        self.membership().members().filter(|node| *node != self.id).collect()
    }
}

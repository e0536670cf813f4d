//! The engine's state, and the one way in and out of it.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{
    Duration, Effects, Entry, Epoch, FetchToken, GroupStart, Index, Input, Instant, Membership, NodeId,
    Payload, Persist, PersistToken, Position, Random, Role as RoleName, RoleChange, SnapshotMeta, planted,
};

use crate::{
    Config, ConfigError, HardState, Message,
    log::Log,
    membership::Memberships,
    message::{LinkId, Via, Vote},
    role::{AskedReads, Broadcast, Forwarded, Leading, Looking, Phase, Role, Stage},
};

pub(crate) type Out = Effects<Message, HardState>;

/// The most that a message may raise the epoch at once: 2²⁴ are a month of elections without a pause. A forged epoch near the end of the numbers would
/// otherwise leave none for the next election, for ever (A22).
pub const EPOCH_JUMP_MAX: u64 = 1 << 24;

/// The epoch has 32 bits of a zxid (rule Z01).
pub(crate) const EPOCH_MAX: u64 = u32::MAX as u64;

/// One group's ZAB engine.
#[derive(Clone, Debug)]
pub struct Zab {
    pub(crate) config: Config,
    pub(crate) random: Random,
    pub(crate) id: NodeId,
    /// `accepted >= current`, both never fall (invariant Z1).
    pub(crate) hard: HardState,
    pub(crate) log: Log,
    pub(crate) role: Role,
    /// Everything up to here is committed; never falls, and no entry at or before it is ever replaced.
    pub(crate) commit: Index,
    pub(crate) memberships: Memberships,
    /// The newest durable snapshot.
    pub(crate) snapshot: SnapshotMeta,
    /// A leader's snapshot that is being put in place; with it, whether the log after it is kept. Until then nothing is built on this log.
    pub(crate) installing: Option<(SnapshotMeta, bool)>,
    /// The election's round: not durable, starts again at zero (rule Z03).
    pub(crate) round: u64,
    /// The vote that the last election ended with.
    pub(crate) vote: Option<Vote>,
    /// When a learner gives its leader up.
    pub(crate) give_up_at: Instant,
    /// This life's last attempt to follow.
    pub(crate) attempt: u64,
    pub(crate) asked_reads: AskedReads,
    pub(crate) forwarded: Forwarded,
    /// Drawn at the start of this life: answers to an earlier life's questions are not taken for this one's.
    pub(crate) nonce: u64,
    pub(crate) fetches: BTreeMap<FetchToken, NodeId>,
    pub(crate) next_fetch: u64,
    /// The journal has dropped what these need: they get a snapshot next time.
    pub(crate) need_snapshot: BTreeSet<NodeId>,
    /// This node led no epoch above this one; at its start, the epoch in which an earlier life may have led.
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

impl Zab {
    /// An engine that starts, or starts again, from what was durable: LOOKING (rule Z02).
    ///
    /// # Errors
    /// The configuration cannot be.
    pub fn new(config: Config, start: GroupStart<HardState>, now: Instant) -> Result<Zab, ConfigError> {
        config.validate()?;
        let mut random = Random::new(config.seed ^ start.node.0.rotate_left(32));
        let nonce = random.next_u64();
        let log = Log::new(&start);
        let memberships = Memberships::new(&start);
        let hard = start.hard_state.unwrap_or_default();
        Ok(Zab {
            id: start.node,
            hard,
            commit: start.snapshot.position.index,
            snapshot: start.snapshot,
            log,
            memberships,
            role: Role::Looking(Looking::new(now, config.heartbeat_interval)),
            installing: None,
            round: 0,
            vote: None,
            give_up_at: now,
            attempt: 0,
            asked_reads: AskedReads::default(),
            forwarded: Forwarded::default(),
            nonce,
            fetches: BTreeMap::new(),
            next_fetch: 0,
            need_snapshot: BTreeSet::new(),
            led_up_to: hard.accepted,
            token: PersistToken::default(),
            persisted: PersistToken::default(),
            hard_token: PersistToken::default(),
            step: StepWrites::default(),
            config,
            random,
        })
    }

    // ── what others ask ─────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn membership(&self) -> &Membership {
        self.memberships.current()
    }

    /// The established leader, as far as this node knows.
    pub(crate) fn leader_id(&self) -> Option<NodeId> {
        match &self.role {
            Role::Following(following) if matches!(following.stage, Stage::Broadcast(_)) => {
                Some(following.leader)
            }
            Role::Leading(leading) if matches!(leading.phase, Phase::Broadcast(_)) => Some(self.id),
            Role::Looking(_) | Role::Following(_) | Role::Leading(_) => None,
        }
    }

    pub(crate) fn leading(&mut self) -> Option<&mut Leading> {
        match &mut self.role {
            Role::Leading(leading) => Some(leading),
            Role::Looking(_) | Role::Following(_) => None,
        }
    }

    /// What an established leader keeps.
    pub(crate) fn broadcast(&mut self) -> Option<&mut Broadcast> {
        match &mut self.leading()?.phase {
            Phase::Broadcast(broadcast) => Some(broadcast),
            Phase::Discovery
            | Phase::Promise { .. }
            | Phase::History(_)
            | Phase::Epoch(_)
            | Phase::Synchronization { .. } => None,
        }
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(&self.role, Role::Leading(leading) if matches!(leading.phase, Phase::Broadcast(_)))
    }

    pub(crate) fn role_name(&self) -> RoleName {
        match &self.role {
            Role::Leading(_) if self.is_established() => RoleName::Leader,
            Role::Leading(_) => RoleName::Candidate,
            Role::Looking(_) | Role::Following(_) if !self.membership().is_voter(self.id) => {
                RoleName::Learner
            }
            Role::Looking(_) => RoleName::PreCandidate,
            Role::Following(_) => RoleName::Follower,
        }
    }

    fn role_change(&self) -> RoleChange {
        RoleChange { role: self.role_name(), epoch: self.hard.accepted, leader: self.leader_id() }
    }

    pub(crate) fn other_members(&self) -> BTreeSet<NodeId> {
        self.membership().members().filter(|node| *node != self.id).collect()
    }

    /// Can a message speak of this epoch?
    pub(crate) fn is_absurd(&self, epoch: Epoch) -> bool {
        epoch.0 > EPOCH_MAX || epoch.0 > self.hard.accepted.0.saturating_add(EPOCH_JUMP_MAX)
    }

    // ── the funnel ──────────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn take(&mut self, now: Instant, input: Input<Message>, out: &mut Out) {
        let before = (self.role_change(), self.commit, self.memberships.version());
        // Known from an earlier life, and told in the first step of this one. The log is never shorter than that; if it were, nothing beyond it would be told.
        self.commit = self.commit.max(self.hard.commit.min(self.log.last().index));
        match input {
            Input::Message { from, message } if from != self.id => self.message(now, from, message, out),
            Input::Message { .. } => {}
            Input::Propose(proposals) => self.propose(proposals, out),
            Input::ReadBarrier { id } => self.read_barrier(now, id, out),
            Input::ChangeMembership { id, change } => self.change_membership(now, id, &change, out),
            Input::TransferLeadership { to } => self.transfer_leadership(now, to, out),
            Input::Persisted { token } => self.on_persisted(now, token, out),
            Input::Fetched { token, outcome } => self.fetched(token, outcome, out),
            Input::Compacted { to } => self.log.compact(to.min(self.snapshot.position.index)),
            Input::SnapshotTaken { meta } => self.snapshot_taken(meta),
            Input::SnapshotInstalled { meta } => self.snapshot_installed(now, &meta, out),
            Input::SnapshotSent { peer, outcome } => self.snapshot_sent(peer, outcome, out),
            Input::PeerUnreachable { peer } => self.peer_unreachable(now, peer, out),
            Input::PeerVouched { peer, until, .. } => self.peer_vouched(now, peer, until),
            Input::Wake => self.wake(now, out),
        }
        if self.needs_renewal() {
            self.hand_over(now, self.id, out);
        }
        self.tell_commit(out);
        self.close_step(out);
        let up_to = self.commit.min(self.log.durable());
        self.log.trim(self.config.tail_bytes_max, up_to);
        self.tell_changes(before, out);
    }

    fn tell_changes(&mut self, before: (RoleChange, Index, u64), out: &mut Out) {
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

    /// Who may say what depends on the link, not on the sender's word: every handler checks the link first.
    fn message(&mut self, now: Instant, from: NodeId, message: Message, out: &mut Out) {
        match message {
            Message::Notification { round, state, vote } => {
                self.on_notification(now, from, round, state, vote, out);
            }
            Message::FollowerInfo { link, accepted } => self.on_follower_info(now, from, link, accepted, out),
            Message::Stream { link, sequence, packet } => {
                self.on_stream(now, from, link, sequence, packet, out);
            }
            Message::Commit { link, commit } => self.on_commit(now, from, link, commit, out),
            Message::Ping { link, sent, round, commit } => {
                self.on_ping(now, Via { peer: from, link }, sent, round, commit, out);
            }
            Message::TakeOver { link } => self.on_take_over(now, from, link, out),
            Message::Close { link, why } => self.on_close(now, from, link, why, out),
            Message::AckEpoch { link, epoch, promised, history } => {
                self.on_ack_epoch(now, Via { peer: from, link }, epoch, promised, history, out);
            }
            Message::AckNewLeader { link, epoch, durable } => {
                self.on_ack_new_leader(now, from, link, epoch, durable, out);
            }
            Message::Ack { link, durable } => self.on_ack(now, from, link, durable, out),
            Message::Pong { link, round, acknowledged, durable } => {
                self.on_pong(now, Via { peer: from, link }, round, acknowledged, durable, out);
            }
            Message::Forward { epoch, nonce, sequence, proposals } => {
                self.on_forward(from, epoch, nonce, sequence, proposals, out);
            }
            Message::ForwardRefused { nonce, ids } => self.on_forward_refused(nonce, &ids, out),
            Message::ReadIndex { epoch, nonce, id } => self.on_read_index(from, epoch, nonce, id, out),
            Message::ReadIndexReply { nonce, id, index } => self.on_read_index_reply(nonce, id, index, out),
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

    /// Drops every entry from `from` on, and what they brought.
    pub(crate) fn truncate(&mut self, from: Index) {
        self.log.truncate(from);
        self.memberships.truncate(from);
        self.open_step();
        self.step.truncate_from = Some(from);
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.append(entry.position.index, membership.clone());
        }
        self.log.append(entry.clone());
        self.open_step();
        self.step.append.push(entry);
    }

    pub(crate) fn hard_token(&self) -> PersistToken {
        self.hard_token
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
        let (truncate_from, append) = (step.truncate_from, step.append);
        out.persist.push(Persist { token: self.token, hard_state, truncate_from, append });
    }

    fn on_persisted(&mut self, now: Instant, token: PersistToken, out: &mut Out) {
        self.persisted = self.persisted.max(token.min(self.token));
        self.log.persisted(token);
        self.advance_stage(now, out);
        self.acknowledge_durable(out);
        self.advance_phase(now, out);
        self.advance_commit(now, out);
    }

    /// Sends a message. It speaks for this node's epochs, so it waits until those are durable.
    ///
    /// {S2 promises epoch 2 to S1 and says so, loses power before that is on its disk, comes back in epoch 1, and acknowledges what the leader of epoch 1
    /// proposes, while S1 leads epoch 2 by its word}: two leaders commit (ZOOKEEPER-1291).
    pub(crate) fn send(&self, to: NodeId, message: Message, out: &mut Out) {
        if self.is_persisted(self.hard_token) || planted!("H03") {
            out.send_now(to, message);
        } else {
            out.send_after(to, message, self.hard_token);
        }
    }

    pub(crate) fn draw_give_up(&mut self, now: Instant) {
        let (min, max) = (self.config.election_timeout_min, self.config.election_timeout_max);
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let drawn = self.random.between(nanos(min), nanos(max));
        self.give_up_at = now + Duration::from_nanos(drawn);
    }

    /// The position of the entry at `index`; of the log's beginning if that lies before it.
    pub(crate) fn position_at(&self, index: Index) -> Position {
        let epoch = self.log.epoch_at(index);
        epoch.map_or(self.log.compacted(), |epoch| Position { epoch, index })
    }

    pub(crate) fn new_link(&mut self) -> LinkId {
        self.attempt += 1;
        LinkId { life: self.nonce, attempt: self.attempt }
    }
}

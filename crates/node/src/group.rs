//! One group of a node: its engine, what the engine is owed, and what is on its way to the state half.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate_consensus::{
    Addressed, Effects, Engine, FetchToken, Fetched, GroupId, Index, Input, Instant, Membership,
    MembershipChange, NodeId, Persist, PersistToken, Position, ProposalId, ReadRefusal, Reader, Refusal,
    Role, RoleChange, SnapshotMeta, SnapshotSend,
};
use quorate_journal::{GroupWrite, Journal, ReadToken, WriteToken};

use crate::{
    Answer, Channel, EngineHardState, EngineMessage, GroupEngine, Limits, Notice, Outputs, Ticket, ToState,
    links::Links, proposals::Proposals, reads::Reads, transfer::Staged,
};

mod feeding;
mod wanted;

use wanted::Wanted;

/// What a group may use of its node during one call.
pub(crate) struct Surroundings<'a> {
    pub(crate) now: Instant,
    pub(crate) journal: &'a mut Journal,
    pub(crate) links: &'a mut Links,
    pub(crate) limits: &'a Limits,
    pub(crate) out: &'a mut Outputs,
}

/// Where a journal read's answer goes.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Engine(FetchToken),
    Feed,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    node: NodeId,
    pub(crate) engine: GroupEngine,
    effects: Effects<EngineMessage, EngineHardState>,
    pub(crate) role: RoleChange,
    /// The membership in force.
    membership: Membership,
    wanted: Wanted,
    /// Everything up to here is committed.
    commit: Index,
    /// Everything up to here was handed to the state half.
    fed: Index,
    /// Everything up to here has been applied by the state half.
    pub(crate) applied: Position,
    /// Writes under way, in order.
    writing: VecDeque<(WriteToken, PersistToken)>,
    durable: PersistToken,
    /// Messages that wait for a token to be durable, in order of their tokens.
    held: VecDeque<(PersistToken, NodeId, EngineMessage)>,
    proposals: Proposals,
    changes: BTreeMap<ProposalId, Ticket>,
    reads: Reads,
    reading: BTreeMap<ReadToken, Reading>,
    feeding: bool,
    /// While a snapshot is being put in place of the state, no entry is fed.
    pub(crate) restoring: bool,
    retry_at: Option<Instant>,
    /// Bytes of committed entries fed since the last snapshot.
    pub(crate) log_bytes: u64,
    pub(crate) state_bytes: u64,
    pub(crate) snapshot_under_way: bool,
    /// Somebody asked for one.
    pub(crate) snapshot_wanted: bool,
    /// The last one found no room.
    pub(crate) snapshot_not_before: Option<Instant>,
    /// Marks along the log: (index, bytes fed up to it since the start), for compaction by bytes.
    marks: VecDeque<(Index, u64)>,
    fed_bytes: u64,
    /// Counts what may have changed how the group stands.
    pub(crate) version: u64,
}

/// What a step left for the node to do, beyond what the group did itself.
#[derive(Debug, Default)]
pub(crate) struct Leftover {
    pub(crate) snapshot_to: Vec<SnapshotSend<EngineMessage>>,
    pub(crate) install: Option<(SnapshotMeta, bool)>,
}

/// The service's own, of which there are few, and whose loss nobody would notice: it is never told that there is too much to do.
fn is_own(ticket: Ticket) -> bool {
    ticket.0 >= crate::Node::OWN_TICKETS_FROM
}

impl Group {
    pub(crate) fn new(
        (id, node): (GroupId, NodeId),
        engine: GroupEngine,
        snapshot: &SnapshotMeta,
        explain: bool,
        now: Instant,
    ) -> Group {
        let status = engine.status();
        let at = snapshot.position;
        Group {
            id,
            node,
            engine,
            effects: Effects { explain, ..Effects::default() },
            role: RoleChange { role: status.role, epoch: status.epoch, leader: status.leader },
            membership: status.membership,
            wanted: Wanted::new(now),
            commit: at.index,
            // M08: the log is applied from its beginning, although the state is that of the snapshot.
            fed: if quorate_consensus::planted!("M08") { status.compacted.index } else { at.index },
            applied: at,
            writing: VecDeque::new(),
            durable: PersistToken::default(),
            held: VecDeque::new(),
            proposals: Proposals::default(),
            changes: BTreeMap::new(),
            reads: Reads::default(),
            reading: BTreeMap::new(),
            feeding: false,
            restoring: false,
            retry_at: None,
            log_bytes: 0,
            state_bytes: 0,
            snapshot_under_way: false,
            snapshot_wanted: false,
            snapshot_not_before: None,
            marks: VecDeque::new(),
            fed_bytes: 0,
            version: 1,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let timers =
            [self.engine.poll_timeout(), self.retry_at, self.wanted_timeout(), self.snapshot_not_before];
        timers.into_iter().flatten().min()
    }

    pub(crate) fn leads(&self) -> bool {
        self.role.role == Role::Leader
    }

    /// The disk is full: who waits for a proposal that has not been made, or was certainly lost?
    pub(crate) fn refuse_ready(&mut self) -> Vec<Ticket> {
        self.proposals.refuse_ready()
    }

    // ── what comes in ───────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn propose(&mut self, ticket: Ticket, command: Bytes, around: &mut Surroundings<'_>) {
        let backlog = self.commit.0.saturating_sub(self.applied.index.0);
        if self.proposals.len() >= around.limits.proposals_waiting_max
            || backlog > around.limits.apply_backlog_entries_max
        {
            around.out.answers.push((ticket, Answer::Busy));
            return;
        }
        self.proposals.add(ticket, command);
    }

    pub(crate) fn read(&mut self, ticket: Ticket, around: &mut Surroundings<'_>) {
        if self.reads.len() >= around.limits.reads_waiting_max && !is_own(ticket) {
            around.out.answers.push((ticket, Answer::Busy));
            return;
        }
        self.reads.add(ticket);
    }

    pub(crate) fn cancel(&mut self, ticket: Ticket) {
        self.proposals.forget(ticket);
        self.reads.forget(ticket);
    }

    pub(crate) fn change(
        &mut self,
        ticket: Ticket,
        change: MembershipChange,
        around: &mut Surroundings<'_>,
    ) -> Leftover {
        let id = self.proposals.other_attempt();
        self.changes.insert(id, ticket);
        self.step(Input::ChangeMembership { id, change }, around)
    }

    pub(crate) fn message(
        &mut self,
        from: NodeId,
        bytes: Bytes,
        around: &mut Surroundings<'_>,
    ) -> Result<Leftover, ()> {
        let mut reader = Reader::new(bytes);
        let message = GroupEngine::decode_message(&mut reader).map_err(|_| ())?;
        reader.finish().map_err(|_| ())?;
        if message.kind() != self.engine.kind() {
            return Err(());
        }
        let left = self.step(Input::Message { from, message }, around);
        // Of a leader, or of those whom this node leads. Others may be as far behind as this node is: two that were removed can ask each other for votes for
        // ever.
        if self.leads() || self.role.leader == Some(from) {
            self.wanted.heard(around.now);
        }
        Ok(left)
    }

    pub(crate) fn wake(&mut self, around: &mut Surroundings<'_>) -> Leftover {
        if self.retry_at.is_some_and(|at| at <= around.now) {
            self.retry_at = None;
        }
        if self.snapshot_not_before.is_some_and(|at| at <= around.now) {
            self.snapshot_not_before = None;
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= around.now) {
            self.step(Input::Wake, around)
        } else {
            Leftover::default()
        }
    }

    /// The journal reports that everything up to `token` is durable.
    ///
    /// The engine's token is looked up, what waited for it leaves, and the engine learns of it; in this order, so that what the engine says
    /// next cannot overtake what it said before.
    pub(crate) fn durable(&mut self, token: WriteToken, around: &mut Surroundings<'_>) -> Leftover {
        let before = self.durable;
        while let Some((write, persist)) = self.writing.front().copied()
            && write <= token
        {
            self.writing.pop_front();
            self.durable = persist;
        }
        if self.durable == before {
            return Leftover::default();
        }
        while let Some((after, ..)) = self.held.front()
            && *after <= self.durable
        {
            if let Some((_, to, message)) = self.held.pop_front() {
                self.send(to, &message, around.links);
            }
        }
        self.step(Input::Persisted { token: self.durable }, around)
    }

    pub(crate) fn read_done(
        &mut self,
        token: ReadToken,
        outcome: Fetched,
        around: &mut Surroundings<'_>,
    ) -> Leftover {
        match self.reading.remove(&token) {
            Some(Reading::Engine(token)) => self.step(Input::Fetched { token, outcome }, around),
            Some(Reading::Feed) => {
                self.feeding = false;
                if let Fetched::Entries(entries) = outcome
                    && entries.first().is_some_and(|first| first.position.index == self.fed.next())
                    && (!self.restoring || quorate_consensus::planted!("D04"))
                {
                    self.feed_entries(entries, around);
                }
                Leftover::default()
            }
            None => Leftover::default(),
        }
    }

    /// The state half applied up to `position`.
    pub(crate) fn applied(
        &mut self,
        position: Position,
        own: &[Ticket],
        jumped: bool,
        around: &mut Surroundings<'_>,
    ) {
        self.version += 1;
        self.applied = self.applied.max(position);
        let (lost, unknown) = self.proposals.applied(position, own, jumped);
        for ticket in unknown {
            around.out.answers.push((ticket, Answer::Unknown));
        }
        if lost > 0 {
            around.out.notices.push(Notice::ProposedAgain {
                group: self.id,
                count: lost,
                epoch: position.epoch,
            });
        }
    }

    /// Another snapshot is in place of the log up to it.
    pub(crate) fn jumped_to(&mut self, position: Position) {
        self.fed = self.fed.max(position.index);
        self.commit = self.commit.max(position.index);
        self.log_bytes = 0;
        self.marks.clear();
    }

    /// The node stops: who waits here?
    pub(crate) fn drain(&mut self) -> Vec<Ticket> {
        let mut tickets = self.proposals.drain();
        tickets.extend(self.reads.drain());
        tickets.extend(std::mem::take(&mut self.changes).into_values());
        tickets
    }

    // ── once per batch ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Steps the engine with everything that gathered: one step for all proposals, one barrier for all reads.
    pub(crate) fn settle(&mut self, around: &mut Surroundings<'_>) -> Leftover {
        let mut left = Leftover::default();
        assert!(self.proposals.is_attended(), "X1: a proposal waits that is neither ready nor attempted");
        if self.role.leader.is_some() && self.retry_at.is_none() {
            // What may have to wait for space waits here, and not in front of a vote.
            let room =
                around.journal.has_reserve() || around.journal.has_room_for(self.proposals.ready_bytes());
            if self.proposals.has_ready() && room && !self.proposals.undecided_before(self.role.epoch) {
                let proposals = self.proposals.attempts(self.role.epoch);
                left.join(self.step(Input::Propose(proposals), around));
            }
            if let Some(id) = self.reads.barrier() {
                left.join(self.step(Input::ReadBarrier { id }, around));
            }
        }
        left.join(self.stamp(around));
        self.desire(around);
        self.hello(around);
        self.feed(around);
        left
    }

    // ── the engine ──────────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn step(&mut self, input: Input<EngineMessage>, around: &mut Surroundings<'_>) -> Leftover {
        self.version += 1;
        self.engine.step(around.now, input, &mut self.effects);
        self.carry_out(around)
    }

    fn carry_out(&mut self, around: &mut Surroundings<'_>) -> Leftover {
        let mut effects = std::mem::take(&mut self.effects);
        for persist in effects.persist.drain(..) {
            self.write(persist, around);
        }
        for Addressed { to, message, after } in effects.send.drain(..) {
            match after {
                Some(token) if token > self.durable => self.held.push_back((token, to, message)),
                _ => self.send(to, &message, around.links),
            }
        }
        for fetch in effects.fetch.drain(..) {
            let token = around.journal.read(self.id, fetch.from, fetch.to, fetch.bytes_max);
            self.reading.insert(token, Reading::Engine(fetch.token));
        }
        self.answer(&mut effects, around);
        if let Some(commit) = effects.commit.take() {
            debug_assert!(commit >= self.commit, "the commit index never falls");
            self.commit = self.commit.max(commit);
        }
        if let Some(change) = effects.role.take() {
            self.role = change;
            self.retry_at = None;
            around.out.state.push(ToState::Role { group: self.id, change });
            around.out.notices.push(Notice::Role { group: self.id, change });
        }
        if let Some((index, membership)) = effects.membership.take() {
            self.membership = membership.clone();
            self.tell_membership(index, membership, around);
        }
        for reason in effects.reasons.drain(..) {
            around.out.notices.push(Notice::Reason { group: self.id, reason });
        }
        let left = Leftover {
            snapshot_to: std::mem::take(&mut effects.snapshot_to),
            install: effects.install.take().map(|meta| (meta, std::mem::take(&mut effects.keep_log_after))),
        };
        self.effects = effects;
        left
    }

    pub(crate) fn tell_membership(
        &self,
        index: Index,
        membership: Membership,
        around: &mut Surroundings<'_>,
    ) {
        around.out.state.push(ToState::Membership { group: self.id, index, membership: membership.clone() });
        around.out.notices.push(Notice::Membership { group: self.id, index, membership });
    }

    fn write(&mut self, persist: Persist<EngineHardState>, around: &mut Surroundings<'_>) {
        let hard_state = persist.hard_state.as_ref().map(|state| {
            let mut to = quorate_consensus::Writer::new();
            GroupEngine::encode_hard_state(state, &mut to);
            to.finish()
        });
        let write = GroupWrite { hard_state, truncate_from: persist.truncate_from, entries: persist.append };
        let token = around.journal.append(self.id, write);
        if quorate_consensus::planted!("B07") && persist.truncate_from.is_some() {
            around.journal.flush();
        }
        self.writing.push_back((token, persist.token));
    }

    fn send(&self, to: NodeId, message: &EngineMessage, links: &mut Links) {
        let channel = if GroupEngine::is_urgent(message) { Channel::Urgent } else { Channel::Bulk };
        links.engine(to, channel, self.id, |writer| GroupEngine::encode_message(message, writer));
    }

    fn answer(
        &mut self,
        effects: &mut Effects<EngineMessage, EngineHardState>,
        around: &mut Surroundings<'_>,
    ) {
        for (id, position) in effects.accepted.drain(..) {
            if let Some(ticket) = self.changes.remove(&id) {
                around.out.answers.push((ticket, Answer::Accepted(position)));
            }
        }
        for (id, refusal) in effects.refused.drain(..) {
            if let Some(ticket) = self.changes.remove(&id) {
                around.out.answers.push((ticket, Answer::Refused(refusal)));
            } else if let Some(ticket) = self.proposals.refused(id) {
                self.refused(ticket, refusal, around);
            }
        }
        for (id, index) in effects.reads_safe.drain(..) {
            let tickets = self.reads.safe(id);
            if !tickets.is_empty() {
                around.out.state.push(ToState::ReadSafe { group: self.id, tickets, index });
            }
        }
        for (id, why) in effects.reads_refused.drain(..) {
            match why {
                ReadRefusal::NoLeader | ReadRefusal::LeaderChanged => self.reads.refused(id),
                ReadRefusal::Overloaded => {
                    let (own, others) = self.reads.safe(id).into_iter().partition(|ticket| is_own(*ticket));
                    let others: Vec<Ticket> = others;
                    around.out.answers.extend(others.into_iter().map(|ticket| (ticket, Answer::Busy)));
                    self.reads.ask_again(own);
                }
            }
            self.rest(around);
        }
    }

    /// A refused proposal is tried again if trying can help, and answered if it cannot.
    fn refused(&mut self, ticket: Ticket, refusal: Refusal, around: &mut Surroundings<'_>) {
        match refusal {
            // G10: whose leader has gone hears nothing any more.
            Refusal::NotLeader { .. } if quorate_consensus::planted!("G10") => {}
            Refusal::NotLeader { .. } | Refusal::TransferInProgress => {
                self.proposals.again(ticket);
                self.rest(around);
            }
            Refusal::Overloaded { .. } => {
                self.proposals.forget(ticket);
                around.out.answers.push((ticket, Answer::Busy));
            }
            Refusal::TooLarge { .. } | Refusal::Change(_) => {
                self.proposals.forget(ticket);
                around.out.answers.push((ticket, Answer::Refused(refusal)));
            }
        }
    }

    fn rest(&mut self, around: &Surroundings<'_>) {
        if self.retry_at.is_none() && (self.proposals.has_ready() || self.reads.has_waiting()) {
            self.retry_at = Some(around.now + around.limits.retry_after);
        }
    }

    /// What the engine must still make durable before `index` counts here.
    pub(crate) fn durable_index(&self) -> Index {
        self.engine.status().durable
    }

    pub(crate) fn staged_is_wanted(left: &Leftover, staged: &Staged) -> Option<bool> {
        match &left.install {
            Some((meta, keep)) if meta.position == staged.meta.position => Some(*keep),
            _ => None,
        }
    }

    pub(crate) fn commit(&self) -> Index {
        self.commit
    }
}

impl Leftover {
    pub(crate) fn join(&mut self, other: Leftover) {
        self.snapshot_to.extend(other.snapshot_to);
        if other.install.is_some() {
            self.install = other.install;
        }
    }
}

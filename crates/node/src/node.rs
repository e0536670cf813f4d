//! The funnel of a node: one input at a time in, and, once a batch is through, everything that the outside owes.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{
    DiskCompletion, Duration, Engine, GroupId, Input, Instant, NodeId, Position, SnapshotMeta, Status,
};
use quorate_journal::{GroupWrite, Identity, Journal, JournalEvent, ReadToken, WriteToken};

use crate::{
    Answer, Config, Desired, Fatal, FromState, GroupEngine, NodeInput, Notice, Outputs,
    disks::OWN_GROUP,
    group::{Group, Leftover, Surroundings},
    links::Links,
    transfer::{Outgoing, Staged},
};

mod life;
mod peers;
mod snapshots;
mod transfers;

use snapshots::{Loading, Taking};

/// How a group stands on this node.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// The engine's view.
    pub engine: Status,
    /// The last entry that the state half has applied.
    pub applied: Position,
    /// The newest durable snapshot.
    pub snapshot: Position,
    /// Bytes of the state, as last reported.
    pub state_bytes: u64,
}

#[derive(Debug)]
enum Phase {
    /// The journal is being read; nothing is answered yet.
    Recovering,
    Running,
    Stopped(Fatal),
}

/// Where a snapshot piece that is being read goes.
enum Piece {
    Peer(GroupId, NodeId, u64),
    State(GroupId),
}

/// One node: a value that takes inputs and says what its owner must do.
pub struct Node {
    config: Config,
    phase: Phase,
    journal: Journal,
    groups: BTreeMap<GroupId, Group>,
    links: Links,
    events: Vec<JournalEvent>,
    disk_full: bool,
    /// While the disk is full: when to look again.
    full_retry_at: Option<Instant>,
    /// When the journal gets its mark, if nothing else is written before.
    mark_at: Option<Instant>,
    /// While the disk is full: leadership is not handed over before.
    give_way_at: Instant,
    taking: BTreeMap<GroupId, Taking>,
    loading: BTreeMap<GroupId, Loading>,
    outgoing: BTreeMap<(GroupId, NodeId), Outgoing>,
    staged: BTreeMap<GroupId, Staged>,
    installing: BTreeMap<WriteToken, (GroupId, SnapshotMeta)>,
    pieces: BTreeMap<ReadToken, Piece>,
    /// Inputs that came while recovering: proposals and reads, to be served afterwards.
    early: Vec<NodeInput>,
    pending_peers: BTreeSet<NodeId>,
}

/// How long the journal rests before it is marked.
const MARK_AFTER: Duration = Duration::from_millis(20);
/// How often a full disk is looked at again.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often a leader whose disk is full hands over.
const GIVE_WAY_EVERY: Duration = Duration::from_secs(60);

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("node", &self.config.node)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A node that begins to read its journal: call [`settle`](Self::settle) for the first disk operations.
    #[must_use]
    pub fn new(config: Config, _now: Instant) -> Node {
        let identity =
            Identity { cluster: config.cluster, node: config.node, incarnation: config.incarnation };
        let journal = Journal::open(config.journal.clone(), identity);
        let links = Links::new(config.cluster, config.node, config.incarnation);
        Node {
            config,
            phase: Phase::Recovering,
            journal,
            groups: BTreeMap::new(),
            links,
            events: Vec::new(),
            disk_full: false,
            full_retry_at: None,
            mark_at: None,
            give_way_at: Instant::START,
            taking: BTreeMap::new(),
            loading: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            staged: BTreeMap::new(),
            installing: BTreeMap::new(),
            pieces: BTreeMap::new(),
            early: Vec::new(),
            pending_peers: BTreeSet::new(),
        }
    }

    /// Why the node stopped, if it did. It then answers nothing and wants nothing.
    #[must_use]
    pub fn stopped(&self) -> Option<&Fatal> {
        match &self.phase {
            Phase::Stopped(fatal) => Some(fatal),
            Phase::Recovering | Phase::Running => None,
        }
    }

    /// Has the journal been read, so that the groups run?
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// How a group stands; `None` before recovery and for a group that is not here.
    #[must_use]
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        let state = self.groups.get(&group)?;
        let snapshot = self.journal.group(group).and_then(|g| g.snapshot.as_ref()).map(|meta| meta.position);
        Some(GroupStatus {
            engine: state.engine.status(),
            applied: state.applied,
            snapshot: snapshot.unwrap_or(Position::ZERO),
            state_bytes: state.state_bytes,
        })
    }

    /// Grows whenever [`status`](Self::status) of a group may have changed, for checkers; zero before recovery.
    #[must_use]
    pub fn status_version(&self, group: GroupId) -> u64 {
        self.groups.get(&group).map_or(0, |group| group.version)
    }

    /// A group's engine, for checkers.
    #[must_use]
    pub fn engine(&self, group: GroupId) -> Option<&GroupEngine> {
        self.groups.get(&group).map(|group| &group.engine)
    }

    /// When [`NodeInput::Wake`] is wanted next, if nothing else comes before. Ask again after every [`settle`](Self::settle).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.is_running() {
            return None;
        }
        let groups = self.groups.values().filter_map(Group::poll_timeout);
        let transfers = self.outgoing.values().map(|transfer| transfer.poll_timeout(&self.config.limits));
        groups.chain(transfers).chain(self.full_retry_at).chain(self.mark_at).min()
    }

    /// Takes one input. What it causes may wait until [`settle`](Self::settle), so that inputs that come together share their steps, their
    /// writes and their frames.
    pub fn handle(&mut self, now: Instant, input: NodeInput, out: &mut Outputs) {
        match &self.phase {
            Phase::Stopped(_) => return self.answer_stopped(&input, out),
            Phase::Recovering => return self.handle_early(now, input, out),
            Phase::Running => {}
        }
        match input {
            NodeInput::Frame(bytes) => self.frame(now, bytes, out),
            NodeInput::Disk(completion) => self.disk(now, completion, out),
            NodeInput::Propose { ticket, .. } if self.disk_full => {
                out.answers.push((ticket, Answer::DiskFull))
            }
            NodeInput::Propose { group, ticket, command } => {
                self.with(group, now, out, |group, around| group.propose(ticket, command, around));
            }
            NodeInput::Read { group, ticket } => {
                self.with(group, now, out, |group, around| group.read(ticket, around));
            }
            NodeInput::Cancel { group, ticket } => {
                self.with(group, now, out, |group, _| group.cancel(ticket))
            }
            NodeInput::ChangeMembership { group, ticket, change } => {
                self.step(group, now, out, |group, around| group.change(ticket, change, around));
            }
            NodeInput::TransferLeadership { group, to } => {
                self.step(group, now, out, |group, around| {
                    group.step(Input::TransferLeadership { to }, around)
                });
            }
            NodeInput::TakeSnapshot { group } => {
                self.with(group, now, out, |group, _| group.snapshot_wanted = true)
            }
            NodeInput::Desired { group, version, membership, more } => {
                let desired = Desired { version, membership, more };
                self.step(group, now, out, |group, around| group.wish(desired, around));
            }
            NodeInput::Relay { group, to, bytes } => self.relay(group, to, bytes, out),
            NodeInput::Open(group) => self.open(now, &group, out),
            NodeInput::State(report) => self.report(now, report, out),
            NodeInput::PeerLost(peer) => {
                self.pending_peers.insert(peer);
            }
            NodeInput::PeerKnown { peer, incarnation, removed } => {
                self.peer_known(peer, incarnation, removed, out)
            }
            NodeInput::Wake => {}
        }
    }

    /// Ends a batch: steps every engine once with what gathered, lets time pass, starts the journal's write, closes the frames.
    pub fn settle(&mut self, now: Instant, out: &mut Outputs) {
        if self.is_running() {
            for peer in std::mem::take(&mut self.pending_peers) {
                self.each(now, out, |group, around| group.step(Input::PeerUnreachable { peer }, around));
            }
            self.each(now, out, |group, around| {
                let mut left = group.wake(around);
                left.join(group.settle(around));
                left
            });
            if self.full_retry_at.is_some_and(|at| at <= now) {
                self.full_retry_at = Some(now + FULL_RETRY_AFTER);
                self.journal.retry_reserve();
                self.give_way(now, out);
            }
            self.snapshots_due(now, out);
            self.take_snapshots();
            self.send_pieces(now, out);
            self.keep_disks();
            self.journal.flush();
            self.mark(now);
        }
        out.disk.extend(self.journal.operations());
        if let Phase::Stopped(_) = self.phase {
            out.disk.clear();
            out.frames.clear();
            return;
        }
        self.links.take(&mut out.frames);
    }

    fn keep_disks(&mut self) {
        let journal = &mut self.journal;
        self.links.disks.keep(|disks| {
            journal.append(OWN_GROUP, GroupWrite { hard_state: Some(disks), ..GroupWrite::default() })
        });
    }

    /// A journal at rest is marked: what it holds was synced, and damage to it is no torn tail.
    fn mark(&mut self, now: Instant) {
        if !self.journal.wants_mark() {
            self.mark_at = None;
        } else if *self.mark_at.get_or_insert(now + MARK_AFTER) <= now {
            self.mark_at = None;
            self.journal.mark();
        }
    }

    /// A leader whose disk is full takes no writes, and nobody else does: it hands over to a member that may have room. Rarely, because each election
    /// takes of the room that is left for votes, and all disks may be full.
    fn give_way(&mut self, now: Instant, out: &mut Outputs) {
        if !self.disk_full || now < self.give_way_at {
            return;
        }
        self.give_way_at = now + GIVE_WAY_EVERY;
        self.each(now, out, |group, around| {
            if group.leads() {
                group.step(Input::TransferLeadership { to: None }, around)
            } else {
                Leftover::default()
            }
        });
    }

    // ── the disk ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn disk(&mut self, now: Instant, completion: DiskCompletion, out: &mut Outputs) {
        let mut events = std::mem::take(&mut self.events);
        self.journal.complete(completion, &mut events);
        for event in events.drain(..) {
            self.journal_event(now, event, out);
        }
        self.events = events;
    }

    fn journal_event(&mut self, now: Instant, event: JournalEvent, out: &mut Outputs) {
        match event {
            JournalEvent::Recovered(recovery) => self.recovered(now, recovery.notes, out),
            JournalEvent::Durable { token } => self.durable(now, token, out),
            JournalEvent::Read { group, token, outcome } => {
                self.step(group, now, out, |group, around| group.read_done(token, outcome, around));
            }
            JournalEvent::SnapshotDurable { group, id, meta } => {
                self.snapshot_durable(now, group, id, &meta, out)
            }
            JournalEvent::SnapshotFailed { group, id } => self.snapshot_failed(now, group, id),
            JournalEvent::SnapshotRead { token, outcome } => self.piece_read(now, token, outcome, out),
            JournalEvent::Full => {
                self.disk_full = true;
                self.full_retry_at = Some(now + FULL_RETRY_AFTER);
                self.give_way_at = now;
                out.notices.push(Notice::DiskFull);
                for group in self.groups.values_mut() {
                    let waiting = group.refuse_ready().into_iter();
                    out.answers.extend(waiting.map(|ticket| (ticket, Answer::DiskFull)));
                }
            }
            JournalEvent::SpaceBack => {
                self.disk_full = false;
                self.full_retry_at = None;
                out.notices.push(Notice::DiskSpaceBack);
            }
            JournalEvent::Failed(failure) => self.stop(Fatal::Disk(failure.to_string()), out),
            JournalEvent::Damaged(report) => self.stop(Fatal::Damaged(report.to_string()), out),
        }
    }

    fn durable(&mut self, now: Instant, token: WriteToken, out: &mut Outputs) {
        self.each(now, out, |group, around| group.durable(token, around));
        while let Some(first) = self.installing.first_entry()
            && *first.key() <= token
        {
            let (group, meta) = first.remove();
            self.installed(now, group, meta, out);
        }
        for frame in self.links.disks.durable(token) {
            self.frame(now, frame, out);
        }
    }

    // ── the state half ──────────────────────────────────────────────────────────────────────────────────────────────

    fn report(&mut self, now: Instant, report: FromState, out: &mut Outputs) {
        match report {
            FromState::Applied { group, position, own, state_bytes, jumped, followed } => {
                self.with(group, now, out, |group, around| {
                    group.state_bytes = state_bytes;
                    group.followed(followed);
                    group.applied(position, &own, jumped, around);
                });
            }
            FromState::Snapshot { group, meta, chunks } => {
                let superseded = self.groups.get(&group).is_none_or(|g| g.restoring)
                    || self.installing.values().any(|(id, _)| *id == group);
                if superseded {
                    if let Some(group) = self.groups.get_mut(&group) {
                        group.snapshot_under_way = false;
                    }
                    return;
                }
                // A member that joined applies from the log's beginning, which does not say who the founders were: until an entry has told it who
                // votes, its snapshot would say that nobody does, and nobody would take it (rule R21).
                if meta.membership.voters().is_empty() {
                    if let Some(group) = self.groups.get_mut(&group) {
                        group.snapshot_under_way = false;
                        group.log_bytes = 0;
                    }
                    return;
                }
                self.taking.insert(group, Taking { meta, chunks, id: None, finishing: false });
            }
            FromState::Differs { group } => self.stop(Fatal::Differs(group), out),
            FromState::RestoreFailed { group, why } => {
                self.stop(Fatal::Restore(format!("group {group}: {why}")), out);
            }
        }
    }

    // ── reaching a group ────────────────────────────────────────────────────────────────────────────────────────────

    fn with(
        &mut self,
        id: GroupId,
        now: Instant,
        out: &mut Outputs,
        act: impl FnOnce(&mut Group, &mut Surroundings<'_>),
    ) {
        if let Some(group) = self.groups.get_mut(&id) {
            let limits = &self.config.limits;
            act(
                group,
                &mut Surroundings { now, journal: &mut self.journal, links: &mut self.links, limits, out },
            );
        }
    }

    fn step(
        &mut self,
        id: GroupId,
        now: Instant,
        out: &mut Outputs,
        act: impl FnOnce(&mut Group, &mut Surroundings<'_>) -> Leftover,
    ) {
        let mut left = Leftover::default();
        self.with(id, now, out, |group, around| left = act(group, around));
        self.leftover(now, id, left, out);
    }

    fn each(
        &mut self,
        now: Instant,
        out: &mut Outputs,
        mut act: impl FnMut(&mut Group, &mut Surroundings<'_>) -> Leftover,
    ) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.step(id, now, out, &mut act);
        }
    }

    /// Tickets from here on are the service's own, not a client's: nobody waits for their answers.
    pub const OWN_TICKETS_FROM: u64 = 1 << 62;
}

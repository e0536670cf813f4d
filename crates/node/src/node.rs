//! The funnel of a node: one input at a time in, and, once a batch is through, everything that the outside owes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, Duration, Engine, GroupId, GroupStart, Index, Input, Instant, Membership, NodeId,
    Position, SnapshotMeta, SnapshotOutcome, Status,
};
use quorate_journal::{GroupWrite, Identity, Journal, JournalEvent, ReadToken, SnapshotId, WriteToken};

use crate::{
    Answer, Channel, ChunkAck, Config, Desired, Fatal, Frame, FrameRefusal, FromState, NodeInput, Notice,
    Outputs, PeerMessage, ToState,
    disks::{Disks, OWN_GROUP},
    group::{Group, GroupEngine, Leftover, Surroundings},
    links::{Admission, Links},
    messages::Chunks,
    transfer::{Outgoing, Overdue, Staged, read_head},
};

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

/// A snapshot of this node's state on its way into the journal.
struct Taking {
    meta: SnapshotMeta,
    chunks: Chunks,
    /// In the store, once the log is durable as far as the snapshot goes.
    id: Option<SnapshotId>,
    finishing: bool,
}

/// A snapshot on its way from the journal into the state half.
struct Loading {
    meta: SnapshotMeta,
    chunks: Vec<Bytes>,
    reading: ReadToken,
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

/// Snapshot pieces drawn from a state machine in one batch: bounded, so that taking a snapshot delays no heartbeat.
const PIECES_PER_BATCH: usize = 4;
/// How long the journal rests before it is marked.
const MARK_AFTER: Duration = Duration::from_millis(20);
/// How often a full disk is looked at again.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often a leader whose disk is full hands over.
const GIVE_WAY_EVERY: Duration = Duration::from_secs(60);
/// How long a snapshot that found no room waits before it is tried again. It is what makes room in the log.
const SNAPSHOT_AGAIN_AFTER: Duration = Duration::from_secs(10);
const EARLY_INPUTS_MAX: usize = 10_000;

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
            NodeInput::Desired { group, version, membership, more } => {
                let desired = Desired { version, membership };
                self.step(group, now, out, |group, around| {
                    group.more = more;
                    group.wish(desired, around)
                });
            }
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

    // ── before and after ────────────────────────────────────────────────────────────────────────────────────────────

    fn handle_early(&mut self, now: Instant, input: NodeInput, out: &mut Outputs) {
        match input {
            NodeInput::Disk(completion) => self.disk(now, completion, out),
            NodeInput::Propose { ticket, .. } | NodeInput::Read { ticket, .. }
                if self.early.len() >= EARLY_INPUTS_MAX =>
            {
                out.answers.push((ticket, Answer::Busy));
            }
            NodeInput::Propose { .. }
            | NodeInput::Read { .. }
            | NodeInput::Desired { .. }
            | NodeInput::PeerKnown { .. } => self.early.push(input),
            // A frame is lost, as frames may be; whoever sent it will say it again.
            NodeInput::Frame(_)
            | NodeInput::Cancel { .. }
            | NodeInput::ChangeMembership { .. }
            | NodeInput::TransferLeadership { .. }
            | NodeInput::State(_)
            | NodeInput::PeerLost(_)
            | NodeInput::Wake => {}
        }
    }

    fn answer_stopped(&self, input: &NodeInput, out: &mut Outputs) {
        match input {
            NodeInput::Propose { ticket, .. }
            | NodeInput::Read { ticket, .. }
            | NodeInput::ChangeMembership { ticket, .. } => out.answers.push((*ticket, Answer::Stopped)),
            NodeInput::Frame(_)
            | NodeInput::Disk(_)
            | NodeInput::Cancel { .. }
            | NodeInput::TransferLeadership { .. }
            | NodeInput::Desired { .. }
            | NodeInput::State(_)
            | NodeInput::PeerLost(_)
            | NodeInput::PeerKnown { .. }
            | NodeInput::Wake => {}
        }
    }

    fn stop(&mut self, fatal: Fatal, out: &mut Outputs) {
        if self.stopped().is_some() {
            return;
        }
        for group in self.groups.values_mut() {
            out.answers.extend(group.drain().into_iter().map(|ticket| (ticket, Answer::Stopped)));
        }
        out.notices.push(Notice::Fatal(fatal.clone()));
        self.phase = Phase::Stopped(fatal);
    }

    /// The journal has been read: every configured group starts from what was durable.
    fn recovered(&mut self, now: Instant, notes: Vec<String>, out: &mut Outputs) {
        out.notices.push(Notice::Recovered { notes });
        if let Some(kept) = self.journal.group(OWN_GROUP).and_then(|own| own.hard_state.clone()) {
            match Disks::decode(kept) {
                Ok(_) if quorate_consensus::planted!("A23") => {}
                Ok(disks) => self.links.disks = disks,
                // Not as if none were known: another disk would be believed.
                Err(why) => return self.stop(Fatal::Damaged(format!("the disks of peers: {why}")), out),
            }
        }
        for group in self.config.groups.clone() {
            let Some(start) = self.start_of(group.id, &group.birth) else {
                // Not as if there were none: a vote that was given would be given again.
                let why = format!("the hard state of group {} does not decode", group.id);
                return self.stop(Fatal::Damaged(why), out);
            };
            let snapshot = start.snapshot.clone();
            let mut raft = self.config.raft.clone();
            // Another life draws other numbers: answers to an earlier life's questions must not pass for this one's.
            raft.seed ^= group.id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.config.life;
            match GroupEngine::new(raft, start, now) {
                Ok(engine) => {
                    let state =
                        Group::new((group.id, self.config.node), engine, &snapshot, self.config.explain, now);
                    self.groups.insert(group.id, state);
                }
                Err(error) => return self.stop(Fatal::Damaged(error.to_string()), out),
            }
            let status = self.groups[&group.id].engine.status();
            let (index, membership) = (status.membership_at, status.membership);
            self.with(group.id, now, out, |group, around| group.tell_membership(index, membership, around));
            if snapshot.position != Position::ZERO {
                self.load(group.id, snapshot);
            }
        }
        self.phase = Phase::Running;
        for input in std::mem::take(&mut self.early) {
            self.handle(now, input, out);
        }
    }

    /// `None` if the hard state is none.
    fn start_of(&self, group: GroupId, birth: &Membership) -> Option<GroupStart<quorate_raft::HardState>> {
        let born = SnapshotMeta {
            position: Position::ZERO,
            membership: birth.clone(),
            membership_at: Index::ZERO,
            size_bytes: 0,
            digest: 0,
        };
        let Some(found) = self.journal.group(group) else {
            return Some(GroupStart {
                node: self.config.node,
                hard_state: None,
                snapshot: born,
                compacted: Position::ZERO,
                last: Position::ZERO,
                epochs: Vec::new(),
                memberships: Vec::new(),
            });
        };
        let hard_state = match found.hard_state.clone() {
            Some(bytes) => {
                Some(GroupEngine::decode_hard_state(&mut quorate_consensus::Reader::new(bytes)).ok()?)
            }
            None => None,
        };
        Some(GroupStart {
            node: self.config.node,
            hard_state,
            snapshot: found.snapshot.clone().unwrap_or(born),
            compacted: found.compacted,
            last: found.last,
            epochs: found.epochs.clone(),
            // C03: forgets the memberships that no snapshot holds.
            memberships: if quorate_consensus::planted!("C03") {
                Vec::new()
            } else {
                found.memberships.clone()
            },
        })
    }

    // ── peers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    fn frame(&mut self, now: Instant, bytes: Bytes, out: &mut Outputs) {
        let frame = match Frame::parse(bytes.clone()) {
            Ok(frame) => frame,
            Err(why) => return self.refuse(None, why, out),
        };
        let from = frame.address.sender;
        match self.links.admit(&frame.address) {
            Ok(Admission::Now) => {}
            Ok(Admission::WhenKept) => return self.links.disks.wait(bytes),
            Err(why) => return self.refuse(Some(from), why, out),
        }
        let Ok(messages) = frame.messages() else {
            return self.refuse(Some(from), FrameRefusal::Malformed, out);
        };
        for (group, message) in messages {
            match message {
                PeerMessage::Engine(bytes) => self.engine_message(now, group, from, bytes, out),
                PeerMessage::Chunk(chunk) => self.chunk(now, group, from, chunk, out),
                PeerMessage::ChunkAck(ack) => self.chunk_ack(now, group, from, ack, out),
                PeerMessage::Refused(why) => self.refused_by(from, why, out),
                PeerMessage::Desired(desired) => {
                    self.step(group, now, out, |group, around| group.told(desired, around));
                }
                PeerMessage::Hello => {}
            }
        }
    }

    fn engine_message(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        bytes: Bytes,
        out: &mut Outputs,
    ) {
        // Entries that may have to wait for space are lost, as messages may be: a vote would have to wait behind them. Heartbeats and votes go on, and
        // so do entries while there is room in the last segment: without a new leader's first one nobody could read.
        if !self.journal.has_room_for(4 * bytes.len() as u64) && self.is_bulk(&bytes) {
            return;
        }
        let mut malformed = false;
        self.step(group, now, out, |group, around| match group.message(from, bytes, around) {
            Ok(left) => left,
            Err(()) => {
                malformed = true;
                Leftover::default()
            }
        });
        if malformed {
            self.refuse(Some(from), FrameRefusal::Malformed, out);
        }
    }

    fn is_bulk(&self, bytes: &Bytes) -> bool {
        let mut reader = quorate_consensus::Reader::new(bytes.clone());
        GroupEngine::decode_message(&mut reader).is_ok_and(|message| !GroupEngine::is_urgent(&message))
    }

    /// Says once to people that a frame was refused; to its sender, if it is one who should know, each time: the word may be lost like any other.
    fn refuse(&mut self, sender: Option<NodeId>, why: FrameRefusal, out: &mut Outputs) {
        if let Some(sender) = sender
            && matches!(why, FrameRefusal::Incarnation | FrameRefusal::Removed)
        {
            self.links.message(sender, Channel::Urgent, GroupId(0), &PeerMessage::Refused(why));
        }
        if self.links.say_once(sender, why) {
            out.notices.push(Notice::FrameRefused { sender, why });
        }
    }

    fn refused_by(&mut self, peer: NodeId, why: FrameRefusal, out: &mut Outputs) {
        if self.links.hear_once(peer, why) {
            out.notices.push(Notice::RefusedBy { peer, why });
        }
        // A peer says so only by the cluster's committed records, once every group has followed them; this node may never hear of that otherwise.
        if why == FrameRefusal::Removed {
            self.stop(Fatal::Refused(why), out);
        }
    }

    fn peer_known(
        &mut self,
        peer: NodeId,
        incarnation: Option<quorate_consensus::Incarnation>,
        removed: bool,
        out: &mut Outputs,
    ) {
        if peer != self.config.node {
            return self.links.know(peer, incarnation, removed);
        }
        if removed {
            self.stop(Fatal::Refused(FrameRefusal::Removed), out);
        } else if incarnation.is_some_and(|known| known != self.config.incarnation) {
            self.stop(Fatal::Refused(FrameRefusal::Incarnation), out);
        }
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

    // ── snapshots of this node's state ──────────────────────────────────────────────────────────────────────────────

    fn snapshots_due(&mut self, now: Instant, out: &mut Outputs) {
        for group in self.groups.values_mut() {
            if group.snapshot_due(now, &self.config.limits) {
                out.state.push(ToState::SnapshotDue { group: group.id });
            }
        }
    }

    /// Draws pieces of snapshots and hands them to the journal, a few at a time.
    ///
    /// A snapshot never runs ahead of this disk's log: applying may, on entries that a quorum elsewhere holds, but if this snapshot were durable
    /// and the entries under it were not, a crash would leave a log that ends before its snapshot.
    fn take_snapshots(&mut self) {
        for (id, taking) in &mut self.taking {
            let Some(group) = self.groups.get(id) else { continue };
            if taking.finishing || group.durable_index() < taking.meta.position.index {
                continue;
            }
            let snapshot =
                *taking.id.get_or_insert_with(|| self.journal.begin_snapshot(*id, taking.meta.clone()));
            if quorate_consensus::planted!("D05") {
                self.journal.compact(*id, taking.meta.position);
            }
            for _ in 0..PIECES_PER_BATCH {
                match taking.chunks.next() {
                    Some(piece) => self.journal.write_chunk(snapshot, piece),
                    None => {
                        self.journal.finish_snapshot(snapshot, true);
                        taking.finishing = true;
                        break;
                    }
                }
            }
        }
    }

    /// Is there work for a [`settle`](Self::settle) soon, although no input may come? Owners that sleep ask.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.is_running()
            && self.taking.iter().any(|(id, taking)| {
                !taking.finishing
                    && self.groups.get(id).is_some_and(|g| g.durable_index() >= taking.meta.position.index)
            })
    }

    fn snapshot_durable(
        &mut self,
        now: Instant,
        group: GroupId,
        id: SnapshotId,
        meta: &SnapshotMeta,
        out: &mut Outputs,
    ) {
        if self.taking.get(&group).is_some_and(|taking| taking.id == Some(id)) {
            self.taking.remove(&group);
            return self.snapshot_taken(now, group, meta, out);
        }
        if self.staged.get(&group).is_some_and(|staged| staged.id == id) {
            self.staged_durable(now, group, out);
        }
    }

    fn snapshot_taken(&mut self, now: Instant, id: GroupId, meta: &SnapshotMeta, out: &mut Outputs) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.snapshot_under_way = false;
        group.log_bytes = 0;
        self.step(id, now, out, |group, around| {
            group.step(Input::SnapshotTaken { meta: meta.clone() }, around)
        });
        let Some(group) = self.groups.get_mut(&id) else { return };
        let to = group.compact_to(meta.position.index, self.config.limits.catch_up_log_bytes);
        let status = group.engine.status();
        let epoch = group.engine.epoch_at(to);
        if to > status.compacted.index
            && let Some(epoch) = epoch
        {
            self.journal.compact(id, Position { epoch, index: to });
            self.step(id, now, out, |group, around| group.step(Input::Compacted { to }, around));
        }
        let compacted = to.max(status.compacted.index);
        out.notices.push(Notice::SnapshotTaken { group: id, position: meta.position, compacted });
    }

    fn snapshot_failed(&mut self, now: Instant, group: GroupId, id: SnapshotId) {
        if self.taking.get(&group).is_some_and(|taking| taking.id == Some(id)) {
            self.taking.remove(&group);
            if let Some(group) = self.groups.get_mut(&group) {
                group.snapshot_under_way = false;
                group.snapshot_not_before = Some(now + SNAPSHOT_AGAIN_AFTER);
            }
        }
        if self.staged.get(&group).is_some_and(|staged| staged.id == id) {
            self.staged.remove(&group);
        }
    }

    // ── snapshots to peers ──────────────────────────────────────────────────────────────────────────────────────────

    fn leftover(&mut self, now: Instant, group: GroupId, left: Leftover, _out: &mut Outputs) {
        for send in left.snapshot_to {
            let mut message = quorate_consensus::Writer::new();
            GroupEngine::encode_message(&send.message, &mut message);
            let key = (group, send.peer);
            let same =
                self.outgoing.get(&key).is_some_and(|transfer| transfer.meta.position == send.meta.position);
            if !same {
                let transfer = Outgoing::new(send.meta, message.as_slice(), now);
                self.outgoing.insert(key, transfer);
            }
        }
    }

    fn send_pieces(&mut self, now: Instant, out: &mut Outputs) {
        let mut given_up = Vec::new();
        for ((group, peer), transfer) in &mut self.outgoing {
            if transfer.overdue(now, &self.config.limits) == Overdue::GiveUp {
                given_up.push((*group, *peer));
                continue;
            }
            for number in transfer.wanted(&self.config.limits) {
                let token = self.journal.read_snapshot(*group, transfer.meta.position, number);
                self.pieces.insert(token, Piece::Peer(*group, *peer, number));
            }
        }
        for (group, peer) in given_up {
            self.transfer_ended(now, group, peer, SnapshotOutcome::Failed, out);
        }
    }

    fn transfer_ended(
        &mut self,
        now: Instant,
        group: GroupId,
        peer: NodeId,
        outcome: SnapshotOutcome,
        out: &mut Outputs,
    ) {
        if self.outgoing.remove(&(group, peer)).is_some() {
            self.step(group, now, out, |group, around| {
                group.step(Input::SnapshotSent { peer, outcome }, around)
            });
        }
    }

    fn piece_read(
        &mut self,
        now: Instant,
        token: ReadToken,
        outcome: quorate_journal::SnapshotPiece,
        out: &mut Outputs,
    ) {
        use quorate_journal::SnapshotPiece;
        match self.pieces.remove(&token) {
            Some(Piece::Peer(group, peer, number)) => match outcome {
                SnapshotPiece::Chunk { data, last } => {
                    let Some(transfer) = self.outgoing.get_mut(&(group, peer)) else { return };
                    if last {
                        transfer.pieces = Some(number + 1);
                    }
                    let chunk = transfer.chunk(number, data, last);
                    self.links.message(peer, Channel::Bulk, group, &PeerMessage::Chunk(chunk));
                }
                SnapshotPiece::Gone => {
                    let beyond = self
                        .outgoing
                        .get(&(group, peer))
                        .is_some_and(|t| t.pieces.is_some_and(|n| number >= n));
                    if !beyond {
                        self.transfer_ended(now, group, peer, SnapshotOutcome::Failed, out);
                    }
                }
            },
            // A read for a snapshot that a newer one has replaced meanwhile says nothing of the newer one.
            Some(Piece::State(group))
                if self.loading.get(&group).is_some_and(|loading| loading.reading == token) =>
            {
                self.loaded(group, outcome, out);
            }
            Some(Piece::State(_)) => {}
            None => {}
        }
    }

    fn chunk_ack(&mut self, now: Instant, group: GroupId, from: NodeId, ack: ChunkAck, out: &mut Outputs) {
        let Some(transfer) = self.outgoing.get_mut(&(group, from)) else { return };
        if transfer.meta.position != ack.position {
            return;
        }
        transfer.acked(ack.next, now);
        if ack.end {
            self.transfer_ended(now, group, from, SnapshotOutcome::Delivered, out);
        }
    }

    // ── snapshots from peers ────────────────────────────────────────────────────────────────────────────────────────

    /// A piece of a snapshot. Pieces are taken in order only; any other is answered with what is wanted, which is how a transfer resumes.
    ///
    /// Pieces of two snapshots are never mixed (D11): a piece belongs to the position it names, and one of another position begins a new
    /// transfer only as its first piece.
    fn chunk(
        &mut self,
        _now: Instant,
        group: GroupId,
        from: NodeId,
        chunk: crate::Chunk,
        _out: &mut Outputs,
    ) {
        if self.disk_full || !self.groups.contains_key(&group) {
            return;
        }
        let current =
            self.staged.get(&group).map(|staged| (staged.meta.position, staged.next, staged.finishing));
        match current {
            // D11: a piece continues whatever was begun.
            Some((_, next, false)) if quorate_consensus::planted!("D11") && next == chunk.number => {}
            Some((position, next, _)) if position == chunk.position && next != chunk.number => {
                return self.ack_chunk(group, from, chunk.position, next, false);
            }
            Some((position, _, true)) if position == chunk.position => return,
            Some((position, ..)) if position == chunk.position => {}
            Some(_) | None => {
                if chunk.number != 0 || self.installing.values().any(|(id, _)| *id == group) {
                    return self.ack_chunk(group, from, chunk.position, 0, false);
                }
                if !self.stage(group, from, &chunk) {
                    return;
                }
            }
        }
        let Some(staged) = self.staged.get_mut(&group) else { return };
        self.journal.write_chunk(staged.id, chunk.data);
        staged.next += 1;
        let next = staged.next;
        if chunk.last {
            staged.finishing = true;
            self.journal.finish_snapshot(staged.id, false);
        } else {
            self.ack_chunk(group, from, chunk.position, next, false);
        }
    }

    fn stage(&mut self, group: GroupId, from: NodeId, chunk: &crate::Chunk) -> bool {
        let Some(head) = chunk.head.clone() else { return false };
        let Ok((meta, engine_message)) = read_head(head) else { return false };
        if meta.position != chunk.position {
            return false;
        }
        let applied = self.groups.get(&group).map(Group::commit).unwrap_or_default();
        if meta.position.index <= applied && !quorate_consensus::planted!("D03") {
            // Rule R21: an older snapshot is ignored; the sender hears that it need not go on.
            self.ack_chunk(group, from, chunk.position, 0, true);
            return false;
        }
        if let Some(old) = self.staged.remove(&group) {
            self.journal.abort_snapshot(old.id);
        }
        let id = self.journal.begin_snapshot(group, meta.clone());
        self.staged.insert(group, Staged { from, meta, engine_message, id, next: 0, finishing: false });
        true
    }

    fn ack_chunk(&mut self, group: GroupId, to: NodeId, position: Position, next: u64, end: bool) {
        let ack = PeerMessage::ChunkAck(ChunkAck { position, next, end });
        self.links.message(to, Channel::Urgent, group, &ack);
    }

    /// The whole snapshot is here and durable: now the engine decides (rule R21).
    fn staged_durable(&mut self, now: Instant, id: GroupId, out: &mut Outputs) {
        let Some(staged) = self.staged.remove(&id) else { return };
        self.ack_chunk(id, staged.from, staged.meta.position, staged.next, true);
        let bytes = staged.engine_message.clone();
        let mut wanted = None;
        self.step(id, now, out, |group, around| {
            let left = group.message(staged.from, bytes, around).unwrap_or_default();
            wanted = Group::staged_is_wanted(&left, &staged);
            left
        });
        match wanted {
            Some(keep_log_after) => {
                let token = self.journal.install_snapshot(id, staged.id, keep_log_after);
                self.installing.insert(token, (id, staged.meta));
            }
            None => self.journal.abort_snapshot(staged.id),
        }
    }

    /// A leader's snapshot is in place, durably: the engine learns of it, and the state half gets it.
    fn installed(&mut self, now: Instant, id: GroupId, meta: SnapshotMeta, out: &mut Outputs) {
        self.taking
            .remove(&id)
            .and_then(|taking| taking.id)
            .into_iter()
            .for_each(|old| self.journal.abort_snapshot(old));
        if let Some(group) = self.groups.get_mut(&id) {
            group.jumped_to(meta.position);
            group.snapshot_under_way = false;
        }
        self.load(id, meta.clone());
        out.notices.push(Notice::SnapshotInstalled { group: id, position: meta.position });
        self.step(id, now, out, |group, around| group.step(Input::SnapshotInstalled { meta }, around));
    }

    // ── snapshots into the state half ───────────────────────────────────────────────────────────────────────────────

    fn load(&mut self, id: GroupId, meta: SnapshotMeta) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.restoring = true;
        }
        let reading = self.journal.read_snapshot(id, meta.position, 0);
        self.pieces.insert(reading, Piece::State(id));
        self.loading.insert(id, Loading { meta, chunks: Vec::new(), reading });
    }

    fn loaded(&mut self, id: GroupId, outcome: quorate_journal::SnapshotPiece, out: &mut Outputs) {
        use quorate_journal::SnapshotPiece;
        let Some(mut loading) = self.loading.remove(&id) else { return };
        match outcome {
            SnapshotPiece::Chunk { data, last } => {
                loading.chunks.push(data);
                if last {
                    if let Some(group) = self.groups.get_mut(&id) {
                        group.restoring = false;
                    }
                    out.state.push(ToState::Restore {
                        group: id,
                        meta: loading.meta,
                        chunks: loading.chunks,
                    });
                } else {
                    let next = loading.chunks.len() as u64;
                    loading.reading = self.journal.read_snapshot(id, loading.meta.position, next);
                    self.pieces.insert(loading.reading, Piece::State(id));
                    self.loading.insert(id, loading);
                }
            }
            SnapshotPiece::Gone => {
                let why = format!("the snapshot of {id} at {} cannot be read back", loading.meta.position);
                self.stop(Fatal::Restore(why), out);
            }
        }
    }

    // ── the state half ──────────────────────────────────────────────────────────────────────────────────────────────

    fn report(&mut self, now: Instant, report: FromState, out: &mut Outputs) {
        match report {
            FromState::Applied { group, position, own, state_bytes, jumped } => {
                self.with(group, now, out, |group, around| {
                    group.state_bytes = state_bytes;
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

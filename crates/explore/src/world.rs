//! One world: engines, their disks, the messages under way, and what was promised. Everything that may happen next is an [`Action`].

use std::{
    collections::VecDeque,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use quorate_consensus::{
    Effects, Engine, Entry, Fingerprint, Index, Input, Instant, NodeId, Payload, Position, Proposal,
    ProposalId, ReadId, Role, SnapshotMeta, SnapshotOutcome,
};

use crate::{
    invariants::Promises,
    node::{Explored, Node, birth},
    scenario::{Begin, Budget, Scenario},
};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// How.
    pub text: String,
}

/// What may happen. Members are counted from 0 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The message at this place arrives.
    Deliver(u8),
    /// It arrives, and will arrive again.
    Double(u8),
    /// The member's oldest write is durable.
    Sync(u8),
    /// The member's next timer goes off.
    Wake(u8),
    /// A leader is given a command.
    Propose(u8),
    /// A leader is asked for a read.
    Read(u8),
    /// The member dies, and starts again with what was durable.
    Crash(u8),
    /// The member takes a snapshot.
    Snapshot(u8),
    /// The leader is told to hand over to the other.
    Transfer(u8, u8),
    /// The leader is asked for the next change of membership.
    Change(u8),
}

#[derive(Clone)]
struct Sent<M> {
    from: NodeId,
    to: NodeId,
    message: Arc<M>,
    fingerprint: u64,
}

/// A world.
pub struct World<E: Engine> {
    nodes: Vec<Arc<Node<E>>>,
    /// In the order of their fingerprints, so that the order of sending makes no difference.
    network: Vec<Sent<E::Message>>,
    promises: Promises,
    left: Budget,
    /// Ids that were given to proposals and reads.
    next: u64,
    /// Every message was written by an engine. Members trust each other: whoever is lied to may well break a promise.
    is_honest: bool,
}

impl<E: Engine> Clone for World<E> {
    fn clone(&self) -> Self {
        World {
            nodes: self.nodes.clone(),
            network: self.network.clone(),
            promises: self.promises.clone(),
            left: self.left,
            next: self.next,
            is_honest: self.is_honest,
        }
    }
}

type Outcome = Result<(), Violation>;

impl<E: Explored> World<E> {
    /// The world that a scenario begins with.
    ///
    /// # Errors
    /// An invariant does not hold before anything was chosen.
    pub fn new(scenario: &Scenario) -> Result<World<E>, Violation> {
        let boot =
            |n| Arc::new(Node::boot(NodeId(n), Instant::START, 0, None, birth(scenario.voters), Vec::new()));
        let mut world = World {
            nodes: (1..=scenario.members).map(boot).collect(),
            network: Vec::new(),
            promises: Promises::default(),
            left: scenario.budget,
            next: 0,
            is_honest: true,
        };
        if scenario.begin == Begin::Led {
            world.lead(scenario)?;
        }
        Ok(world)
    }

    /// The first member is elected, and everybody hears of it.
    fn lead(&mut self, scenario: &Scenario) -> Outcome {
        let quick = Scenario { slow_disks: false, messages_max: usize::MAX, ..scenario.clone() };
        for _ in 0..40 {
            if self.nodes.iter().any(|node| node.leads) && self.promises.commit() > Index::ZERO {
                break;
            }
            // All wait for their first timers, so that none is left behind; the messages between them come in some order.
            for n in 0..scenario.voters as usize {
                self.wake(n, &quick)?;
                self.settle(&quick)?;
            }
        }
        assert!(self.promises.commit() > Index::ZERO, "nobody leads after forty timers of each");
        self.settle(&quick)?;
        self.network.clear();
        Ok(())
    }

    fn settle(&mut self, scenario: &Scenario) -> Outcome {
        for _ in 0..10_000 {
            if self.network.is_empty() {
                break;
            }
            let sent = self.network.remove(0);
            self.step(
                sent.to.0 as usize - 1,
                Input::Message { from: sent.from, message: (*sent.message).clone() },
                scenario,
            )?;
        }
        Ok(())
    }

    /// A hash of all of it.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = Fingerprint::default();
        self.nodes.iter().for_each(|node| hasher.write_u64(node.fingerprint));
        self.network.iter().for_each(|sent| hasher.write_u64(sent.fingerprint));
        self.promises.hash(&mut hasher);
        self.left.hash(&mut hasher);
        hasher.write_u64(self.next);
        hasher.finish()
    }

    /// Everything that may happen now, added to `out`.
    pub fn actions(&self, scenario: &Scenario, out: &mut Vec<Action>) {
        let (left, count) = (self.left, self.nodes.len() as u8);
        for (place, sent) in (0u8..).zip(&self.network) {
            // Two that are the same lead to the same.
            let again = place > 0 && self.network[usize::from(place) - 1].fingerprint == sent.fingerprint;
            if !again {
                out.push(Action::Deliver(place));
                out.extend((left.doubles > 0).then_some(Action::Double(place)));
            }
        }
        for n in 0..count {
            let node = &self.nodes[usize::from(n)];
            out.extend(node.waits_for_disk().then_some(Action::Sync(n)));
            out.extend((left.wakes > 0 && node.engine.poll_timeout().is_some()).then_some(Action::Wake(n)));
            out.extend((left.crashes > 0).then_some(Action::Crash(n)));
            out.extend(
                (left.snapshots > 0 && node.commit > node.snapshot.position.index)
                    .then_some(Action::Snapshot(n)),
            );
            if node.leads {
                out.extend((left.proposals > 0).then_some(Action::Propose(n)));
                out.extend((left.reads > 0).then_some(Action::Read(n)));
                out.extend((left.changes > 0).then_some(Action::Change(n)));
                if left.transfers > 0 {
                    out.extend(
                        (0..scenario.voters as u8).filter(|to| *to != n).map(|to| Action::Transfer(n, to)),
                    );
                }
            }
        }
    }

    /// Lets it happen: one of [`actions`](World::actions).
    ///
    /// # Errors
    /// An invariant does not hold.
    pub fn act(&mut self, action: Action, scenario: &Scenario) -> Outcome {
        match action {
            Action::Deliver(place) => {
                let sent = self.network.remove(usize::from(place));
                self.deliver(&sent, scenario)
            }
            Action::Double(place) => {
                self.left.doubles -= 1;
                let sent = self.network[usize::from(place)].clone();
                self.deliver(&sent, scenario)
            }
            Action::Sync(n) => self.sync(usize::from(n), scenario),
            Action::Wake(n) => {
                self.left.wakes -= 1;
                self.wake(usize::from(n), scenario)
            }
            Action::Propose(n) => {
                self.left.proposals -= 1;
                self.next += 1;
                let command = Bytes::from(self.next.to_be_bytes().to_vec());
                let proposal = Proposal { id: ProposalId(self.next), command, forward: false };
                self.step(usize::from(n), Input::Propose(vec![proposal]), scenario)
            }
            Action::Read(n) => {
                self.left.reads -= 1;
                self.next += 1;
                self.promises.asks(ReadId(self.next));
                self.step(usize::from(n), Input::ReadBarrier { id: ReadId(self.next) }, scenario)
            }
            Action::Crash(n) => {
                self.left.crashes -= 1;
                self.crash(usize::from(n));
                Ok(())
            }
            Action::Snapshot(n) => {
                self.left.snapshots -= 1;
                self.snapshot(usize::from(n), scenario)
            }
            Action::Transfer(n, to) => {
                self.left.transfers -= 1;
                let to = Some(NodeId(u64::from(to) + 1));
                self.step(usize::from(n), Input::TransferLeadership { to }, scenario)
            }
            Action::Change(n) => {
                let change = scenario.changes[scenario.changes.len() - usize::from(self.left.changes)].of();
                self.left.changes -= 1;
                self.next += 1;
                let id = ProposalId(self.next);
                self.step(usize::from(n), Input::ChangeMembership { id, change }, scenario)
            }
        }
    }

    /// A message comes to a member, counted from 0, that no engine sent. From here on nothing is held against what was promised.
    pub fn invent(&mut self, n: u8, from: NodeId, message: E::Message, scenario: &Scenario) {
        self.is_honest = false;
        let step = self.step(usize::from(n), Input::Message { from, message }, scenario);
        step.expect("a world of lies is not judged");
    }

    /// The messages under way.
    pub fn messages(&self) -> impl Iterator<Item = &E::Message> {
        self.network.iter().map(|sent| &*sent.message)
    }

    fn deliver(&mut self, sent: &Sent<E::Message>, scenario: &Scenario) -> Outcome {
        let input = Input::Message { from: sent.from, message: (*sent.message).clone() };
        self.step(sent.to.0 as usize - 1, input, scenario)
    }

    fn wake(&mut self, n: usize, scenario: &Scenario) -> Outcome {
        if let Some(at) = self.nodes[n].engine.poll_timeout() {
            let node = Arc::make_mut(&mut self.nodes[n]);
            node.now = node.now.max(at);
        }
        self.step(n, Input::Wake, scenario)
    }

    fn crash(&mut self, n: usize) {
        let dead = &self.nodes[n];
        let (hard_state, snapshot, log) = (dead.hard_state.clone(), dead.snapshot.clone(), dead.log.clone());
        let born = Node::boot(NodeId(n as u64 + 1), dead.now, dead.lives + 1, hard_state, snapshot, log);
        self.nodes[n] = Arc::new(born);
    }

    /// The oldest write is durable, and what waited for it leaves; or the snapshot that was received is in place.
    fn sync(&mut self, n: usize, scenario: &Scenario) -> Outcome {
        let node = Arc::make_mut(&mut self.nodes[n]);
        if let Some(write) = node.writes.pop_front() {
            if write.hard_state.is_some() {
                node.hard_state = write.hard_state;
            }
            if let Some(from) = write.truncate_from {
                node.log.retain(|entry| entry.position.index < from);
            }
            node.log.extend(write.append);
            let (leave, stay) =
                std::mem::take(&mut node.held).into_iter().partition(|(after, ..)| *after <= write.token);
            node.held = stay;
            for (_, to, message) in leave {
                self.send(n, to, message, scenario);
            }
            return self.step(n, Input::Persisted { token: write.token }, scenario);
        }
        if let Some((meta, keep)) = node.installing.take() {
            node.log.retain(|entry| keep && entry.position.index > meta.position.index);
            node.snapshot = meta.clone();
            return self.step(n, Input::SnapshotInstalled { meta }, scenario);
        }
        Ok(())
    }

    fn snapshot(&mut self, n: usize, scenario: &Scenario) -> Outcome {
        let node = Arc::make_mut(&mut self.nodes[n]);
        let status = node.engine.status();
        let at = status.commit.min(status.durable);
        let Some(epoch) = node.engine.epoch_at(at).filter(|_| at > node.snapshot.position.index) else {
            return Ok(());
        };
        let mut brought = (node.snapshot.membership_at, node.snapshot.membership.clone());
        for entry in node.log.iter().filter(|entry| entry.position.index <= at) {
            if let Payload::Membership(membership) = &entry.payload {
                brought = (entry.position.index, membership.clone());
            }
        }
        let (membership_at, membership) = brought;
        let position = Position { epoch, index: at };
        let meta = SnapshotMeta { position, membership, membership_at, size_bytes: 0, digest: 0 };
        node.snapshot = meta.clone();
        node.log.retain(|entry| entry.position.index > at);
        self.step(n, Input::SnapshotTaken { meta }, scenario)?;
        self.step(n, Input::Compacted { to: at }, scenario)
    }

    fn send(&mut self, n: usize, to: NodeId, message: E::Message, scenario: &Scenario) {
        if to.0 == 0 || to.0 > self.nodes.len() as u64 || self.network.len() >= scenario.messages_max {
            return;
        }
        let from = NodeId(n as u64 + 1);
        let fingerprint = quorate_consensus::fingerprint_of(&(from, to, &message));
        let place = self.network.partition_point(|other| other.fingerprint <= fingerprint);
        self.network.insert(place, Sent { from, to, message: Arc::new(message), fingerprint });
    }

    fn step(&mut self, n: usize, input: Input<E::Message>, scenario: &Scenario) -> Outcome {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let node = Arc::make_mut(&mut self.nodes[n]);
            let mut out: Effects<E::Message, E::HardState> = Effects::default();
            node.engine.step(node.now, input, &mut out);
            node.writes.append(&mut out.persist.drain(..).collect());
            if let Some(meta) = out.install.take() {
                node.installing = Some((meta, out.keep_log_after));
            }
            let unsynced = node.writes.front().map(|write| write.token);
            let mut leave = Vec::new();
            for sent in out.send.drain(..) {
                match sent.after {
                    Some(token) if unsynced.is_some_and(|first| first <= token) => {
                        node.held.push((token, sent.to, sent.message));
                    }
                    Some(_) | None => leave.push((sent.to, sent.message)),
                }
            }
            for fetch in out.fetch.drain(..) {
                inputs.push_back(Input::Fetched {
                    token: fetch.token,
                    outcome: node.fetched(fetch.from, fetch.to),
                });
            }
            for (to, message) in leave {
                self.send(n, to, message, scenario);
            }
            for send in out.snapshot_to.drain(..) {
                self.send(n, send.peer, send.message, scenario);
                inputs
                    .push_back(Input::SnapshotSent { peer: send.peer, outcome: SnapshotOutcome::Delivered });
            }
            self.check(n, &mut out)?;
            if !scenario.slow_disks && inputs.is_empty() && self.nodes[n].waits_for_disk() {
                self.sync(n, scenario)?;
            }
        }
        Arc::make_mut(&mut self.nodes[n]).note();
        Ok(())
    }

    /// What an engine said is held against what was promised.
    fn check(&mut self, n: usize, out: &mut Effects<E::Message, E::HardState>) -> Outcome {
        let id = NodeId(n as u64 + 1);
        let role = out.role.take();
        if let Some(role) = &role {
            Arc::make_mut(&mut self.nodes[n]).leads = role.role == Role::Leader;
        }
        if !self.is_honest {
            return Ok(());
        }
        out.reads_refused.drain(..).for_each(|(read, _)| self.promises.refused(read));
        for (read, index) in out.reads_safe.drain(..) {
            self.promises.safe(read, index)?;
        }
        if let Some(commit) = out.commit {
            self.commits(n, commit)?;
        }
        let node = &self.nodes[n];
        match role {
            Some(role) if node.leads => {
                let compacted = node.snapshot.position.index;
                self.promises.leads(id, role.epoch, |index| node.engine.epoch_at(index), compacted)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn commits(&mut self, n: usize, commit: Index) -> Outcome {
        let id = NodeId(n as u64 + 1);
        let node = Arc::make_mut(&mut self.nodes[n]);
        if commit <= node.commit {
            let text = format!("node {id} takes its commit index back from {} to {commit}", node.commit);
            return Err(Violation { invariant: "I9", text });
        }
        let from = std::mem::replace(&mut node.commit, commit).next();
        // What an engine that started again has not in memory is on its disk.
        let mut entries: Vec<Entry> =
            node.log.iter().filter(|entry| entry.position.index >= from).cloned().collect();
        entries.retain(|entry| node.engine.epoch_at(entry.position.index) == Some(entry.position.epoch));
        let after = entries.last().map_or(from, |entry| entry.position.index.next());
        entries.extend(node.engine.entries(after, u64::MAX).unwrap_or_default());
        let status = node.engine.status();
        for entry in entries.into_iter().filter(|entry| entry.position.index <= commit) {
            if self.promises.committed(id, &entry, status.epoch)? {
                let holds = |node: NodeId| self.nodes[node.0 as usize - 1].holds(entry.position);
                Promises::durable(&entry, &status.membership, holds)?;
            }
        }
        Ok(())
    }

    /// Who leads, for what a search counts.
    pub(crate) fn leaders(&self) -> usize {
        self.nodes.iter().filter(|node| node.leads).count()
    }

    /// How far the group is.
    pub(crate) fn commit(&self) -> Index {
        self.promises.commit()
    }

    /// The action in words, before it happens.
    pub(crate) fn told(&self, action: Action) -> String {
        let message = |place: u8| {
            let sent = &self.network[usize::from(place)];
            format!("from {} to {}: {:?}", sent.from, sent.to, sent.message)
        };
        match action {
            Action::Deliver(place) => format!("arrives {}", message(place)),
            Action::Double(place) => format!("arrives, and once more later, {}", message(place)),
            Action::Transfer(n, to) => format!("node {} is told to hand over to {}", n + 1, to + 1),
            Action::Sync(n) => format!("node {}: its oldest write is durable", n + 1),
            Action::Wake(n) => format!("node {}: its next timer goes off", n + 1),
            Action::Propose(n) => format!("node {} is given a command", n + 1),
            Action::Read(n) => format!("node {} is asked for a read", n + 1),
            Action::Crash(n) => format!("node {} dies and starts again", n + 1),
            Action::Snapshot(n) => format!("node {} takes a snapshot", n + 1),
            Action::Change(n) => format!("node {} is asked for the next membership", n + 1),
        }
    }
}

impl<E: Engine> fmt::Debug for World<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let log: Vec<_> = node.log.iter().map(|entry| entry.position).collect();
            writeln!(f, "{:?}, on disk {log:?} and {:?}", node.engine.status(), node.hard_state)?;
        }
        Ok(())
    }
}

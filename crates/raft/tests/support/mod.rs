//! A few engines on a network and disks that do only what they are told: for scripts, and for tests of single rules.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_consensus::{
    Duration, Effects, Engine, Entry, Epoch, Fetched, GroupStart, Index, Input, Instant, Membership,
    MembershipChange, NodeId, Payload, Persist, PersistToken, Position, Proposal, ProposalId, ReadId,
    ReadRefusal, Reason, Refusal, SnapshotMeta, SnapshotOutcome, Status,
};
use quorate_raft::{Config, HardState, Message, Raft};

/// What a disk holds for certain.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) hard: Option<HardState>,
    pub(crate) snapshot: SnapshotMeta,
    pub(crate) log: Vec<Entry>,
}

pub(crate) struct Node {
    pub(crate) engine: Raft,
    pub(crate) disk: Disk,
    pub(crate) up: bool,
    /// Writes wait for `sync`.
    pub(crate) slow: bool,
    pub(crate) writes: VecDeque<Persist<HardState>>,
    pub(crate) held: Vec<(PersistToken, NodeId, Message)>,
    pub(crate) installing: Option<(SnapshotMeta, bool)>,
    pub(crate) durable: PersistToken,
    /// The membership that the effects told of.
    pub(crate) told_membership: Membership,
    pub(crate) commit: Index,
}

/// Answers that clients got.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) accepted: BTreeMap<ProposalId, Position>,
    pub(crate) refused: BTreeMap<ProposalId, Refusal>,
    pub(crate) safe: BTreeMap<ReadId, Index>,
    pub(crate) reads_refused: BTreeMap<ReadId, ReadRefusal>,
}

pub(crate) struct Cluster {
    pub(crate) now: Instant,
    pub(crate) config: Config,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) network: VecDeque<(NodeId, NodeId, Message)>,
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) answers: Answers,
    pub(crate) reasons: Vec<(NodeId, Reason)>,
    /// Every entry ever reported as committed; I6 is checked against it.
    pub(crate) committed: BTreeMap<Index, Entry>,
    pub(crate) next: u64,
    lives: u64,
}

pub(crate) fn birth(voters: &[u64]) -> SnapshotMeta {
    SnapshotMeta {
        position: Position::ZERO,
        membership: Membership::new(voters.iter().copied().map(NodeId), []),
        membership_at: Index::ZERO,
        size_bytes: 0,
        digest: 0,
    }
}

impl Cluster {
    pub(crate) fn new(voters: &[u64]) -> Cluster {
        Cluster::with(Config::default(), voters)
    }

    pub(crate) fn with(config: Config, voters: &[u64]) -> Cluster {
        let mut cluster = Cluster {
            now: Instant::START,
            config,
            nodes: BTreeMap::new(),
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            answers: Answers::default(),
            reasons: Vec::new(),
            committed: BTreeMap::new(),
            next: 0,
            lives: 0,
        };
        for id in voters {
            cluster.boot(*id, Disk { hard: None, snapshot: birth(voters), log: Vec::new() });
        }
        cluster
    }

    /// Starts a node from a disk.
    pub(crate) fn boot(&mut self, id: u64, disk: Disk) {
        self.lives += 1;
        let at = disk.snapshot.position;
        let mut epochs: Vec<(Epoch, Index)> = Vec::new();
        let mut memberships = Vec::new();
        for entry in &disk.log {
            if epochs.last().is_none_or(|(epoch, _)| *epoch < entry.position.epoch) {
                epochs.push((entry.position.epoch, entry.position.index));
            }
            if let Payload::Membership(membership) = &entry.payload {
                memberships.push((entry.position.index, membership.clone()));
            }
        }
        let start = GroupStart {
            node: NodeId(id),
            hard_state: disk.hard,
            snapshot: disk.snapshot.clone(),
            compacted: at,
            last: disk.log.last().map_or(at, |entry| entry.position),
            epochs,
            memberships,
        };
        let config = Config { seed: self.config.seed ^ (self.lives << 32) ^ id, ..self.config.clone() };
        let engine = Raft::new(config, start, self.now).expect("a valid configuration");
        let told_membership = engine.status().membership;
        let commit = disk.snapshot.position.index;
        let node = Node {
            engine,
            disk,
            up: true,
            slow: false,
            writes: VecDeque::new(),
            held: Vec::new(),
            installing: None,
            durable: PersistToken::default(),
            told_membership,
            commit,
        };
        self.nodes.insert(NodeId(id), node);
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        &self.nodes[&NodeId(id)]
    }

    pub(crate) fn status(&self, id: u64) -> Status {
        self.node(id).engine.status()
    }

    pub(crate) fn step(&mut self, id: u64, input: Input<Message>) {
        let id = NodeId(id);
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up) else { return };
        let mut out: Effects<Message, HardState> = Effects { explain: true, ..Effects::default() };
        node.engine.step(self.now, input, &mut out);
        node.writes.extend(out.persist.drain(..));
        if let Some(meta) = out.install.take() {
            node.installing = Some((meta, out.keep_log_after));
        }
        if let Some((_, membership)) = out.membership.take() {
            node.told_membership = membership;
        }
        assert_eq!(
            node.told_membership,
            node.engine.status().membership,
            "a change of membership was not told"
        );
        for sent in out.send.drain(..) {
            match sent.after {
                Some(token) if token > node.durable => node.held.push((token, sent.to, sent.message)),
                _ => self.network.push_back((id, sent.to, sent.message)),
            }
        }
        self.answers.accepted.extend(out.accepted.drain(..));
        self.answers.refused.extend(out.refused.drain(..));
        self.answers.safe.extend(out.reads_safe.drain(..));
        self.answers.reads_refused.extend(out.reads_refused.drain(..));
        self.reasons.extend(out.reasons.drain(..).map(|reason| (id, reason)));
        if let Some(commit) = out.commit {
            assert!(commit > node.commit, "I9: the commit index fell");
            self.check_committed(id, commit);
        }
        // Nothing is read from a disk that hangs: it neither arrives nor fails.
        if self.nodes[&id].slow {
            out.fetch.clear();
            out.snapshot_to.clear();
        }
        for fetch in out.fetch.drain(..) {
            let log = &self.nodes[&id].disk.log;
            let found = log.iter().filter(|e| e.position.index >= fetch.from && e.position.index <= fetch.to);
            let mut bytes = 0;
            let fits = |entry: &&Entry| {
                bytes += entry.size_bytes();
                bytes <= fetch.bytes_max || bytes == entry.size_bytes()
            };
            let entries: Vec<Entry> = found.take_while(fits).cloned().collect();
            let outcome = match entries.first() {
                Some(first) if first.position.index == fetch.from => Fetched::Entries(entries),
                _ => Fetched::Compacted,
            };
            self.step(id.0, Input::Fetched { token: fetch.token, outcome });
        }
        for send in out.snapshot_to.drain(..) {
            let arrives = !self.cut.contains(&(id, send.peer))
                && self.nodes.get(&send.peer).is_some_and(|peer| peer.up);
            let outcome = if arrives { SnapshotOutcome::Delivered } else { SnapshotOutcome::Failed };
            if arrives {
                self.network.push_back((id, send.peer, send.message));
            }
            self.step(id.0, Input::SnapshotSent { peer: send.peer, outcome });
        }
        if !self.nodes[&id].slow {
            self.sync(id.0);
        }
    }

    fn check_committed(&mut self, id: NodeId, commit: Index) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let from = node.commit.next();
        node.commit = commit;
        let entries = node.engine.entries(from, u64::MAX).unwrap_or_default();
        for entry in entries.into_iter().filter(|entry| entry.position.index <= commit) {
            let first = self.committed.entry(entry.position.index).or_insert_with(|| entry.clone());
            assert_eq!(*first, entry, "I6: another entry was committed");
        }
    }

    /// Everything that waits becomes durable; what waited for it leaves.
    pub(crate) fn sync(&mut self, id: u64) {
        while self.sync_one(id) {}
    }

    /// One write becomes durable.
    pub(crate) fn sync_one(&mut self, id: u64) -> bool {
        let id = NodeId(id);
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up) else { return false };
        if let Some(write) = node.writes.pop_front() {
            if let Some(hard) = write.hard_state {
                node.disk.hard = Some(hard);
            }
            if let Some(from) = write.truncate_from {
                node.disk.log.retain(|entry| entry.position.index < from);
            }
            node.disk.log.extend(write.append);
            node.durable = node.durable.max(write.token);
            let (token, held) = (write.token, std::mem::take(&mut node.held));
            for (after, to, message) in held {
                if after <= token {
                    self.network.push_back((id, to, message));
                } else {
                    self.nodes.get_mut(&id).expect("a node").held.push((after, to, message));
                }
            }
            self.step(id.0, Input::Persisted { token });
            return true;
        }
        if let Some((meta, keep)) = node.installing.take() {
            node.disk.log.retain(|entry| keep && entry.position.index > meta.position.index);
            node.disk.snapshot = meta.clone();
            self.step(id.0, Input::SnapshotInstalled { meta });
            return true;
        }
        false
    }

    /// Delivers one message, if one waits from `from` to `to`.
    pub(crate) fn deliver_one(&mut self, from: u64, to: u64) -> bool {
        let at = self.network.iter().position(|(a, b, _)| (a.0, b.0) == (from, to));
        let Some((from, to, message)) = at.and_then(|at| self.network.remove(at)) else { return false };
        if !self.cut.contains(&(from, to)) {
            self.step(to.0, Input::Message { from, message });
        }
        true
    }

    /// Delivers what waits now from `from` to `to`, not what it causes.
    pub(crate) fn deliver(&mut self, from: u64, to: u64) {
        let waiting = self.network.iter().filter(|(a, b, _)| (a.0, b.0) == (from, to)).count();
        for _ in 0..waiting {
            self.deliver_one(from, to);
        }
    }

    pub(crate) fn drop(&mut self, from: u64, to: u64) {
        self.network.retain(|(a, b, _)| (a.0, b.0) != (from, to));
    }

    /// Delivers everything, and everything that this causes, without letting time pass.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some((from, to, message)) = self.network.pop_front() else { return };
            if !self.cut.contains(&(from, to)) {
                self.step(to.0, Input::Message { from, message });
            }
        }
        panic!("the network never becomes quiet");
    }

    /// Lets time pass: timers fire, messages arrive.
    pub(crate) fn wait(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now = self.now + Duration::from_millis(1);
            let ids: Vec<u64> = self.nodes.keys().map(|id| id.0).collect();
            for id in ids {
                if self.node(id).engine.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.step(id, Input::Wake);
                }
            }
            self.settle();
        }
    }

    /// The node's timer is the next to fire.
    pub(crate) fn timeout(&mut self, id: u64) {
        if let Some(at) = self.node(id).engine.poll_timeout() {
            self.now = self.now.max(at);
            self.step(id, Input::Wake);
        }
    }

    pub(crate) fn propose(&mut self, id: u64, command: &str) -> ProposalId {
        self.next += 1;
        let proposal = Proposal {
            id: ProposalId(self.next),
            command: command.to_owned().into_bytes().into(),
            forward: true,
        };
        self.step(id, Input::Propose(vec![proposal]));
        ProposalId(self.next)
    }

    pub(crate) fn read(&mut self, id: u64) -> ReadId {
        self.next += 1;
        self.step(id, Input::ReadBarrier { id: ReadId(self.next) });
        ReadId(self.next)
    }

    pub(crate) fn change(&mut self, id: u64, change: MembershipChange) -> ProposalId {
        self.next += 1;
        self.step(id, Input::ChangeMembership { id: ProposalId(self.next), change });
        ProposalId(self.next)
    }

    pub(crate) fn crash(&mut self, id: u64) {
        let node = self.nodes.get_mut(&NodeId(id)).expect("a node");
        node.up = false;
        self.network.retain(|(from, to, _)| from.0 != id && to.0 != id);
    }

    pub(crate) fn restart(&mut self, id: u64) {
        let disk = self.node(id).disk.clone();
        self.boot(id, disk);
    }

    pub(crate) fn partition(&mut self, sides: &[Vec<u64>]) {
        self.cut.clear();
        let side = |node: &NodeId| sides.iter().position(|side| side.contains(&node.0));
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for a in &ids {
            for b in &ids {
                if side(a) != side(b) {
                    self.cut.insert((*a, *b));
                }
            }
        }
    }

    /// Takes a snapshot of what is committed, and drops the log under it.
    pub(crate) fn snapshot(&mut self, id: u64) {
        let status = self.status(id);
        let node = self.nodes.get_mut(&NodeId(id)).expect("a node");
        let at = status.commit.min(status.durable);
        let Some(epoch) = node.engine.epoch_at(at).filter(|_| at > node.disk.snapshot.position.index) else {
            return;
        };
        let mut brought = (node.disk.snapshot.membership_at, node.disk.snapshot.membership.clone());
        for entry in node.disk.log.iter().filter(|entry| entry.position.index <= at) {
            if let Payload::Membership(membership) = &entry.payload {
                brought = (entry.position.index, membership.clone());
            }
        }
        let position = Position { epoch, index: at };
        let meta = SnapshotMeta {
            position,
            membership: brought.1,
            membership_at: brought.0,
            size_bytes: 0,
            digest: 0,
        };
        node.disk.snapshot = meta.clone();
        node.disk.log.retain(|entry| entry.position.index > at);
        self.step(id, Input::SnapshotTaken { meta });
        self.step(id, Input::Compacted { to: at });
    }

    /// What the log says, entry by entry: term and command.
    pub(crate) fn log(&self, id: u64) -> Vec<String> {
        let show = |entry: &Entry| match &entry.payload {
            Payload::Noop => format!("{}:", entry.position.epoch),
            Payload::Command(command) => {
                format!("{}:{}", entry.position.epoch, String::from_utf8_lossy(command))
            }
            Payload::Membership(m) if m.is_joint() => format!("{}:joint", entry.position.epoch),
            Payload::Membership(_) => format!("{}:members", entry.position.epoch),
        };
        self.node(id).disk.log.iter().map(show).collect()
    }

    /// Did the node give this reason?
    pub(crate) fn gave(&self, id: u64, what: &str) -> bool {
        self.reasons.iter().any(|(node, reason)| node.0 == id && reason.what == what)
    }

    pub(crate) fn elect(&mut self, id: u64) {
        self.timeout(id);
        self.settle();
        assert_eq!(self.status(id).role, quorate_consensus::Role::Leader, "node {id} should lead");
    }
}

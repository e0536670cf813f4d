//! The bytes are a schedule: three engines of a group, and what happens to them, one step after the other. What they commit must agree.
//!
//! A schedule may hold messages that no engine wrote. From the first on, only panics and memory count: members trust each other, so a lie may well
//! make them disagree.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate_consensus::{
    Duration, Effects, Engine, Entry, Epoch, Fetched, GroupStart, Index, Input, Instant, Membership,
    MembershipChange, NodeId, Payload, Persist, PersistToken, Position, Proposal, ProposalId, ReadId, Reader,
    Role, SnapshotMeta, SnapshotOutcome,
};
use quorate_raft::Raft;
use quorate_zab::Zab;

use crate::script::{Script, write_piece};

/// Steps of a schedule; what comes after is not read.
const STEPS_MAX: usize = 2_000;
/// Messages under way; the oldest is lost for a newer one.
const MESSAGES_MAX: usize = 200;

type Start<E> = GroupStart<<E as Engine>::HardState>;

struct Node<E: Engine> {
    engine: E,
    hard_state: Option<E::HardState>,
    log: Vec<Entry>,
    writes: VecDeque<Persist<E::HardState>>,
    /// Sent, but not before its write is durable.
    held: Vec<(PersistToken, NodeId, E::Message)>,
    commit: Index,
}

struct World<E: Engine> {
    now: Instant,
    make: fn(Start<E>, Instant, u64) -> E,
    lives: u64,
    nodes: Vec<Node<E>>,
    network: VecDeque<(NodeId, NodeId, E::Message)>,
    committed: BTreeMap<Index, Entry>,
    leaders: BTreeMap<Epoch, NodeId>,
    next: u64,
    /// No message was invented yet.
    honest: bool,
}

pub(crate) fn raft(bytes: &[u8]) {
    run::<Raft>(bytes, |start, now, seed| {
        let config = quorate_raft::Config { seed, ..quorate_raft::Config::default() };
        Raft::new(config, start, now).expect("the default configuration is valid")
    });
}

pub(crate) fn zab(bytes: &[u8]) {
    run::<Zab>(bytes, |start, now, seed| {
        let config = quorate_zab::Config { seed, ..quorate_zab::Config::default() };
        Zab::new(config, start, now).expect("the default configuration is valid")
    });
}

fn run<E: Engine>(bytes: &[u8], make: fn(Start<E>, Instant, u64) -> E) {
    let mut script = Script::new(bytes);
    let mut world = World::new(make);
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            return;
        }
        world.act(&mut script);
    }
}

impl<E: Engine> World<E> {
    fn new(make: fn(Start<E>, Instant, u64) -> E) -> World<E> {
        let mut world = World {
            now: Instant::START,
            make,
            lives: 0,
            nodes: Vec::new(),
            network: VecDeque::new(),
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            next: 0,
            honest: true,
        };
        for n in 0..3 {
            let node = world.boot(n, None, Vec::new());
            world.nodes.push(node);
        }
        world
    }

    /// An engine that starts from what its disk holds.
    fn boot(&mut self, n: usize, hard_state: Option<E::HardState>, log: Vec<Entry>) -> Node<E> {
        self.lives += 1;
        let snapshot = SnapshotMeta {
            position: Position::ZERO,
            membership: Membership::new([1, 2, 3].map(NodeId), []),
            membership_at: Index::ZERO,
            size_bytes: 0,
            digest: 0,
        };
        let mut epochs: Vec<(Epoch, Index)> = Vec::new();
        let mut memberships = Vec::new();
        for entry in &log {
            if epochs.last().is_none_or(|(epoch, _)| *epoch < entry.position.epoch) {
                epochs.push((entry.position.epoch, entry.position.index));
            }
            if let Payload::Membership(membership) = &entry.payload {
                memberships.push((entry.position.index, membership.clone()));
            }
        }
        let start = GroupStart {
            node: NodeId(n as u64 + 1),
            hard_state: hard_state.clone(),
            snapshot,
            compacted: Position::ZERO,
            last: log.last().map_or(Position::ZERO, |entry| entry.position),
            epochs,
            memberships,
        };
        let engine = (self.make)(start, self.now, self.lives);
        Node { engine, hard_state, log, writes: VecDeque::new(), held: Vec::new(), commit: Index::ZERO }
    }

    /// One step of the schedule.
    fn act(&mut self, script: &mut Script<'_>) {
        let (what, n) = (script.below(16), script.below(3));
        match what {
            0..5 => self.deliver(script.below(4)),
            5 | 6 => self.sync(n),
            7 => self.sync_all(),
            8 => self.wake(n),
            9 => self.pass(Duration::from_millis(10 * script.below(256) as u64)),
            10 => self.propose(n, script.byte()),
            11 => {
                self.next += 1;
                self.step(n, Input::ReadBarrier { id: ReadId(self.next) });
            }
            12 => drop(self.network.pop_front()),
            13 => self.crash(n),
            14 => self.change(n, script),
            _ => self.invent(n, script),
        }
    }

    fn deliver(&mut self, skip: usize) {
        let at = skip.min(self.network.len().saturating_sub(1));
        if let Some((from, to, message)) = self.network.remove(at) {
            self.step(to.0 as usize - 1, Input::Message { from, message });
        }
    }

    fn propose(&mut self, n: usize, byte: u8) {
        self.next += 1;
        let command = Bytes::from(vec![byte; 1 + usize::from(byte % 32)]);
        let proposal = Proposal { id: ProposalId(self.next), command, forward: byte.is_multiple_of(2) };
        self.step(n, Input::Propose(vec![proposal]));
    }

    fn change(&mut self, n: usize, script: &mut Script<'_>) {
        self.next += 1;
        let id = ProposalId(self.next);
        let peer = NodeId(script.below(3) as u64 + 1);
        let input = match script.below(4) {
            0 => Input::TransferLeadership { to: Some(peer) },
            1 => Input::TransferLeadership { to: None },
            2 => Input::PeerUnreachable { peer },
            // Its own demotion and removal are asked for, too; quorums of two are left.
            _ => Input::ChangeMembership { id, change: MembershipChange::AddLearner(NodeId(9)) },
        };
        self.step(n, input);
    }

    /// A message that nobody wrote, or one that somebody did and changed.
    fn invent(&mut self, n: usize, script: &mut Script<'_>) {
        let from = NodeId(script.below(4) as u64 + 1);
        let Ok(message) = E::decode_message(&mut Reader::new(script.piece())) else { return };
        self.honest = false;
        self.step(n, Input::Message { from, message });
    }

    /// The process dies, and starts again with what was durable.
    fn crash(&mut self, n: usize) {
        let (hard_state, log) = (self.nodes[n].hard_state.clone(), std::mem::take(&mut self.nodes[n].log));
        self.nodes[n] = self.boot(n, hard_state, log);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for n in 0..3 {
            self.step(n, Input::Wake);
        }
    }

    /// The next thing that this engine waits for.
    fn wake(&mut self, n: usize) {
        if let Some(at) = self.nodes[n].engine.poll_timeout() {
            self.now = self.now.max(at);
        }
        self.step(n, Input::Wake);
    }

    fn sync_all(&mut self) {
        for n in 0..3 {
            while !self.nodes[n].writes.is_empty() {
                self.sync(n);
            }
        }
    }

    /// The oldest write of a node is durable, and what waited for it leaves.
    fn sync(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let Some(write) = node.writes.pop_front() else { return };
        if write.hard_state.is_some() {
            node.hard_state = write.hard_state;
        }
        if let Some(from) = write.truncate_from {
            node.log.retain(|entry| entry.position.index < from);
        }
        node.log.extend(write.append);
        let waiting = std::mem::take(&mut node.held);
        let (leave, stay) = waiting.into_iter().partition(|(after, ..)| *after <= write.token);
        node.held = stay;
        for (_, to, message) in leave {
            self.send(n, to, message);
        }
        self.step(n, Input::Persisted { token: write.token });
    }

    fn send(&mut self, n: usize, to: NodeId, message: E::Message) {
        if (1..=3).contains(&to.0) {
            if self.network.len() == MESSAGES_MAX {
                self.network.pop_front();
            }
            self.network.push_back((NodeId(n as u64 + 1), to, message));
        }
    }

    fn step(&mut self, n: usize, input: Input<E::Message>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out: Effects<E::Message, E::HardState> = Effects::default();
            self.nodes[n].engine.step(self.now, input, &mut out);
            let durable = out.persist.is_empty() && self.nodes[n].writes.is_empty();
            self.nodes[n].writes.extend(out.persist.drain(..));
            for sent in out.send.drain(..) {
                match sent.after {
                    Some(token) if !durable && self.waits(n, token) => {
                        self.nodes[n].held.push((token, sent.to, sent.message));
                    }
                    Some(_) | None => self.send(n, sent.to, sent.message),
                }
            }
            for fetch in out.fetch.drain(..) {
                let found = self.nodes[n].log.iter();
                let found = found.filter(|e| fetch.from <= e.position.index && e.position.index <= fetch.to);
                let entries: Vec<Entry> = found.cloned().collect();
                let whole = entries.first().is_some_and(|first| first.position.index == fetch.from);
                let outcome = if whole { Fetched::Entries(entries) } else { Fetched::Compacted };
                inputs.push_back(Input::Fetched { token: fetch.token, outcome });
            }
            for send in out.snapshot_to.drain(..) {
                inputs.push_back(Input::SnapshotSent { peer: send.peer, outcome: SnapshotOutcome::Failed });
            }
            if self.honest {
                self.check(n, out.commit);
            }
        }
    }

    /// Is the write of this token still to be synced?
    fn waits(&self, n: usize, token: PersistToken) -> bool {
        self.nodes[n].writes.front().is_some_and(|write| write.token <= token)
    }

    /// At most one leader in an epoch; nothing else is ever committed where something was; what is committed stays so.
    fn check(&mut self, n: usize, commit: Option<Index>) {
        let node = &mut self.nodes[n];
        let status = node.engine.status();
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.epoch).or_insert(NodeId(n as u64 + 1));
            assert_eq!(leader, NodeId(n as u64 + 1), "I1: two leaders of {:?}", status.epoch);
        }
        let Some(commit) = commit else { return };
        assert!(commit > node.commit, "I9: the commit index fell from {:?} to {commit:?}", node.commit);
        let from = std::mem::replace(&mut node.commit, commit).next();
        for entry in node.engine.entries(from, u64::MAX).unwrap_or_default() {
            if entry.position.index <= commit {
                let first = self.committed.entry(entry.position.index).or_insert_with(|| entry.clone());
                assert_eq!(*first, entry, "I6: another entry was committed");
            }
        }
    }
}

/// Schedules in which somebody is elected and proposals are committed; in which members crash; and every message of the first, invented.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let elect = [[8, 0].as_slice(), &[7, 0], &[0, 0, 0].repeat(4), &[7, 0], &[0, 0, 0].repeat(8)].concat();
    let propose =
        [[10, 0, 8].as_slice(), &[7, 0], &[0, 0, 0].repeat(6), &[7, 0], &[0, 0, 0].repeat(6)].concat();
    let read = [[11, 0].as_slice(), &[0, 0, 0].repeat(6)].concat();
    let crash = [[13, 0].as_slice(), &[8, 1], &[7, 0], &[0, 0, 0].repeat(12)].concat();
    let change =
        [[14, 0, 3, 3].as_slice(), &[7, 0], &[0, 0, 0].repeat(6), &[7, 0], &[0, 0, 0].repeat(6)].concat();
    let whole = [elect.clone(), propose.repeat(3), read, crash.repeat(2), propose, change].concat();
    let mut seeds = vec![elect, whole.clone(), whole.repeat(3)];
    seeds.extend([invented::<Raft>(raft_messages()), invented::<Zab>(zab_messages())]);
    seeds
}

fn invented<E: Engine>(messages: Vec<E::Message>) -> Vec<u8> {
    let mut script = Vec::new();
    for message in messages {
        let mut to = quorate_consensus::Writer::new();
        E::encode_message(&message, &mut to);
        script.extend([15, 0, 1]);
        write_piece(&mut script, &to.finish());
    }
    script
}

/// Every message of a run in which one is elected and something proposed.
fn messages_of<E: Engine>(make: fn(Start<E>, Instant, u64) -> E) -> Vec<E::Message> {
    let mut world = World::new(make);
    let mut seen = Vec::new();
    world.wake(0);
    for step in 0..60 {
        world.sync_all();
        seen.extend(world.network.front().map(|(.., message)| message.clone()));
        world.deliver(0);
        if step % 20 == 15 {
            (0..3).for_each(|n| world.propose(n, 8));
            world.pass(Duration::from_millis(100));
        }
    }
    seen
}

fn raft_messages() -> Vec<<Raft as Engine>::Message> {
    messages_of::<Raft>(|start, now, seed| {
        Raft::new(quorate_raft::Config { seed, ..Default::default() }, start, now).expect("valid")
    })
}

fn zab_messages() -> Vec<<Zab as Engine>::Message> {
    messages_of::<Zab>(|start, now, seed| {
        Zab::new(quorate_zab::Config { seed, ..Default::default() }, start, now).expect("valid")
    })
}

//! Many engines on a hostile network with slow disks that forget what was not synced: the five properties (rule R14) after every event.
//!
//! This is the engine alone; the whole service goes through worse in the simulator.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{
    Addressed, Duration, Effects, Engine, Entry, Epoch, GroupStart, Index, Input, Instant, Membership,
    MembershipChange, NodeId, Payload, Persist, PersistToken, Position, Proposal, ProposalId, Random, ReadId,
    Role, SnapshotMeta, SnapshotOutcome,
};
use quorate_raft::{Config, HardState, Message, Raft};

type Out = Effects<Message, HardState>;

/// What a disk holds for certain.
#[derive(Clone, Debug)]
struct Disk {
    hard: Option<HardState>,
    snapshot: SnapshotMeta,
    log: Vec<Entry>,
}

struct Host {
    engine: Raft,
    disk: Disk,
    writes: Vec<Persist<HardState>>,
    held: Vec<(PersistToken, NodeId, Message)>,
    durable: PersistToken,
    installing: Option<(SnapshotMeta, bool)>,
    up: bool,
}

struct World {
    random: Random,
    now: Instant,
    hosts: BTreeMap<NodeId, Host>,
    network: Vec<(Instant, NodeId, NodeId, Message)>,
    cut: BTreeSet<(NodeId, NodeId)>,
    loss_percent: u64,
    leaders: BTreeMap<Epoch, NodeId>,
    committed: BTreeMap<Index, Entry>,
    commit_seen: Index,
    reads: BTreeMap<(NodeId, ReadId), Index>,
    next: u64,
    elections: u64,
    reads_served: u64,
    installs: u64,
    truncations: u64,
    changes: u64,
    clients: bool,
}

fn birth(count: u64) -> SnapshotMeta {
    SnapshotMeta {
        position: Position::ZERO,
        membership: Membership::new((1..=count).map(NodeId), []),
        membership_at: Index::ZERO,
        size_bytes: 0,
        digest: 0,
    }
}

fn start(node: NodeId, disk: &Disk, seed: u64, now: Instant) -> Raft {
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
        node,
        hard_state: disk.hard,
        snapshot: disk.snapshot.clone(),
        compacted: at,
        last: disk.log.last().map_or(at, |entry| entry.position),
        epochs,
        memberships,
    };
    let config = Config {
        seed,
        tail_bytes_max: 400,
        message_bytes_max: 200,
        inflight_messages_max: 4,
        ..Config::default()
    };
    Raft::new(config, start, now).expect("a valid configuration")
}

impl World {
    fn new(seed: u64, count: u64) -> World {
        let mut world = World {
            random: Random::new(seed),
            now: Instant::START,
            hosts: BTreeMap::new(),
            network: Vec::new(),
            cut: BTreeSet::new(),
            loss_percent: 5,
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            commit_seen: Index::ZERO,
            reads: BTreeMap::new(),
            next: 0,
            elections: 0,
            reads_served: 0,
            installs: 0,
            truncations: 0,
            changes: 0,
            clients: true,
        };
        for id in 1..=count {
            let disk = Disk { hard: None, snapshot: birth(count), log: Vec::new() };
            world.boot(NodeId(id), disk);
        }
        world
    }

    fn boot(&mut self, id: NodeId, disk: Disk) {
        let engine = start(id, &disk, self.random.next_u64(), self.now);
        let host = Host {
            engine,
            disk,
            writes: Vec::new(),
            held: Vec::new(),
            durable: PersistToken::default(),
            installing: None,
            up: true,
        };
        self.hosts.insert(id, host);
    }

    fn step(&mut self, id: NodeId, input: Input<Message>) {
        let mut out = Out::default();
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.up) else { return };
        let before = host.engine.status();
        host.engine.step(self.now, input, &mut out);
        let after = host.engine.status();
        assert!(after.epoch >= before.epoch && after.commit >= before.commit, "I2, I9: {before:?} {after:?}");
        for persist in out.persist.drain(..) {
            self.truncations += u64::from(persist.truncate_from.is_some());
            host.writes.push(persist);
        }
        if let Some(meta) = out.install.take() {
            host.installing = Some((meta, out.keep_log_after));
        }
        let durable = host.durable;
        let mut now_send = Vec::new();
        for Addressed { to, message, after } in out.send.drain(..) {
            match after {
                Some(token) if token > durable => host.held.push((token, to, message)),
                _ => now_send.push((to, message)),
            }
        }
        for (to, message) in now_send {
            self.send(id, to, message);
        }
        for fetch in out.fetch.drain(..) {
            let entries: Vec<Entry> = self.hosts[&id]
                .disk
                .log
                .iter()
                .filter(|e| e.position.index >= fetch.from && e.position.index <= fetch.to)
                .take(3)
                .cloned()
                .collect();
            let outcome = if entries.first().is_some_and(|e| e.position.index == fetch.from) {
                quorate_consensus::Fetched::Entries(entries)
            } else {
                quorate_consensus::Fetched::Failed
            };
            self.step(id, Input::Fetched { token: fetch.token, outcome });
        }
        for send in out.snapshot_to.drain(..) {
            // The node carries the chunks; here they arrive, or not, at once.
            let arrived = !self.random.chance(1, 4) && !self.cut.contains(&(id, send.peer));
            let outcome = if arrived { SnapshotOutcome::Delivered } else { SnapshotOutcome::Failed };
            if arrived {
                self.send(id, send.peer, send.message);
            }
            self.step(id, Input::SnapshotSent { peer: send.peer, outcome });
        }
        for (read, index) in out.reads_safe.drain(..) {
            let least = self.reads.remove(&(id, read)).expect("a read is answered once");
            assert!(
                index >= least,
                "I18: read {read} got {index}, but {least} was committed when it was asked"
            );
            self.reads_served += 1;
        }
        for (read, _) in out.reads_refused.drain(..) {
            self.reads.remove(&(id, read));
        }
        self.check(id);
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        if self.cut.contains(&(from, to)) || self.random.below(100) < self.loss_percent {
            return;
        }
        let copies = if self.random.below(100) < 3 { 2 } else { 1 };
        for _ in 0..copies {
            let delay = Duration::from_micros(self.random.between(100, 20_000));
            self.network.push((self.now + delay, from, to, message.clone()));
        }
    }

    fn check(&mut self, id: NodeId) {
        let host = &self.hosts[&id];
        let status = host.engine.status();
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.epoch).or_insert_with(|| {
                self.elections += 1;
                id
            });
            assert_eq!(leader, id, "I1: two leaders of term {}", status.epoch);
        }
        if status.commit <= self.commit_seen {
            return;
        }
        // What this node newly calls committed: on whose disks is it?
        let from = self.commit_seen.next();
        let entries = host.engine.entries(from, u64::MAX).unwrap_or_else(|| {
            let log = host.disk.log.iter();
            log.filter(|e| e.position.index >= from && e.position.index <= status.commit).cloned().collect()
        });
        for entry in entries {
            let at = entry.position.index;
            if at > status.commit {
                break;
            }
            let holds = |node: NodeId| {
                self.hosts.get(&node).is_some_and(|host| {
                    host.disk.snapshot.position.index >= at
                        || host.disk.log.iter().any(|e| e.position == entry.position)
                })
            };
            assert!(
                status.membership.is_quorum(holds) || status.role != Role::Leader,
                "I7: {entry:?} without a quorum of disks"
            );
            let first = self.committed.entry(at).or_insert_with(|| entry.clone());
            assert_eq!(*first, entry, "I6: another entry was committed at {at}");
            self.commit_seen = at;
        }
    }

    /// A write reaches the disk, all of it; what waited for it leaves.
    fn sync(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.up) else { return };
        if host.writes.is_empty() {
            if let Some((meta, keep)) = host.installing.take() {
                self.installs += 1;
                host.disk.log.retain(|e| keep && e.position.index > meta.position.index);
                host.disk.snapshot = meta.clone();
                self.step(id, Input::SnapshotInstalled { meta });
            }
            return;
        }
        let write = host.writes.remove(0);
        if let Some(hard) = write.hard_state {
            if let Some(old) = host.disk.hard {
                assert!(hard.term >= old.term, "I2: the durable term fell");
                assert!(
                    hard.term > old.term || old.vote.is_none() || old.vote == hard.vote,
                    "I3: two votes in a term"
                );
            }
            host.disk.hard = Some(hard);
        }
        if let Some(from) = write.truncate_from {
            host.disk.log.retain(|entry| entry.position.index < from);
        }
        for entry in write.append {
            let at = host.disk.snapshot.position.index.0 + host.disk.log.len() as u64 + 1;
            assert_eq!(entry.position.index.0, at, "I4: a gap in the log of {id}");
            host.disk.log.push(entry);
        }
        host.durable = write.token;
        let token = write.token;
        let (ready, held) =
            std::mem::take(&mut host.held).into_iter().partition(|(after, ..)| *after <= token);
        host.held = held;
        let ready: Vec<(PersistToken, NodeId, Message)> = ready;
        for (_, to, message) in ready {
            self.send(id, to, message);
        }
        self.step(id, Input::Persisted { token });
    }

    fn crash(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a host");
        host.up = false;
        self.reads.retain(|(node, _), _| *node != id);
    }

    fn restart(&mut self, id: NodeId) {
        let disk = self.hosts[&id].disk.clone();
        self.boot(id, disk);
    }

    fn snapshot(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.up && host.installing.is_none()) else {
            return;
        };
        let status = host.engine.status();
        let at = status.commit.min(status.durable);
        let old = host.disk.snapshot.position.index;
        if at <= old || !host.writes.is_empty() {
            return;
        }
        let epoch = host.engine.epoch_at(at).expect("a committed entry's term");
        let mut membership = (host.disk.snapshot.membership_at, host.disk.snapshot.membership.clone());
        for entry in host.disk.log.iter().filter(|entry| entry.position.index <= at) {
            if let Payload::Membership(m) = &entry.payload {
                membership = (entry.position.index, m.clone());
            }
        }
        let position = Position { epoch, index: at };
        let (membership_at, membership) = membership;
        let meta = SnapshotMeta { position, membership, membership_at, size_bytes: 0, digest: 0 };
        host.disk.snapshot = meta.clone();
        host.disk.log.retain(|entry| entry.position.index > at);
        self.step(id, Input::SnapshotTaken { meta });
        self.step(id, Input::Compacted { to: at });
    }

    fn any(&mut self) -> NodeId {
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        ids[self.random.below(ids.len() as u64) as usize]
    }

    fn leader(&self) -> Option<NodeId> {
        let leads =
            self.hosts.iter().filter(|(_, host)| host.up && host.engine.status().role == Role::Leader);
        leads.max_by_key(|(_, host)| host.engine.status().epoch).map(|(id, _)| *id)
    }

    fn client(&mut self) {
        self.next += 1;
        let id = self.any();
        match self.random.below(10) {
            0..=5 => {
                let command = format!("command {}", self.next).into();
                let proposal = Proposal { id: ProposalId(self.next), command, forward: true };
                self.step(id, Input::Propose(vec![proposal]));
            }
            6..=7 => {
                let read = ReadId(self.next);
                if self.hosts[&id].up {
                    self.reads.insert((id, read), self.commit_seen);
                    self.step(id, Input::ReadBarrier { id: read });
                }
            }
            8 => {
                if let Some(leader) = self.leader() {
                    self.step(leader, Input::TransferLeadership { to: None });
                }
            }
            _ => self.change(),
        }
    }

    fn change(&mut self) {
        let Some(leader) = self.leader() else { return };
        let all: Vec<NodeId> = self.hosts.keys().copied().collect();
        let voters: Vec<NodeId> = all.iter().copied().filter(|_| self.random.chance(2, 3)).collect();
        if voters.len() < 2 {
            return;
        }
        let learners = all.iter().copied().filter(|node| !voters.contains(node)).collect();
        self.changes += 1;
        let change = MembershipChange::Set { voters, learners };
        self.step(leader, Input::ChangeMembership { id: ProposalId(self.next), change });
    }

    fn deliver(&mut self) {
        let due: Vec<_> = {
            let now = self.now;
            let (due, later) = std::mem::take(&mut self.network).into_iter().partition(|(at, ..)| *at <= now);
            self.network = later;
            due
        };
        let mut due: Vec<(Instant, NodeId, NodeId, Message)> = due;
        due.sort_by_key(|(at, ..)| *at);
        for (_, from, to, message) in due {
            let mut bytes = quorate_consensus::Writer::new();
            Raft::encode_message(&message, &mut bytes);
            let mut reader = quorate_consensus::Reader::new(bytes.finish());
            let read = Raft::decode_message(&mut reader).expect("what was written reads back");
            assert_eq!(read, message);
            self.step(to, Input::Message { from, message: read });
        }
    }

    fn tick(&mut self, faults: bool) {
        self.now = self.now + Duration::from_millis(1);
        self.deliver();
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        for id in ids {
            if self.random.chance(1, 3) {
                // A disk takes a few writes at a time; the last of them may be lost with the power.
                for _ in 0..self.random.between(1, 8) {
                    self.sync(id);
                }
            }
            let due = self.hosts[&id].engine.poll_timeout().is_some_and(|at| at <= self.now);
            if due {
                self.step(id, Input::Wake);
            }
        }
        if self.clients && self.random.chance(1, 4) {
            self.client();
        }
        if faults {
            self.fault();
        }
    }

    fn fault(&mut self) {
        let id = self.any();
        match self.random.below(1_000) {
            0..=3 if self.hosts[&id].up => self.crash(id),
            0..=40 if !self.hosts[&id].up => self.restart(id),
            41..=48 => {
                let other = self.any();
                self.cut.insert((id, other));
            }
            49..=52 => {
                let all: Vec<NodeId> = self.hosts.keys().copied().collect();
                for other in all {
                    self.cut.insert((id, other));
                    self.cut.insert((other, id));
                }
            }
            53..=58 => self.cut.clear(),
            59..=64 => self.snapshot(id),
            65..=66 => self.step(id, Input::PeerUnreachable { peer: NodeId(1) }),
            _ => {}
        }
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.loss_percent = 0;
        let down: Vec<NodeId> = self.hosts.iter().filter(|(_, host)| !host.up).map(|(id, _)| *id).collect();
        for id in down {
            self.restart(id);
        }
        let before = self.commit_seen;
        for _ in 0..3_000 {
            self.tick(false);
        }
        self.clients = false;
        for _ in 0..2_000 {
            self.tick(false);
        }
        assert!(
            self.commit_seen.0 > before.0 + 10,
            "I20: no progress after healing: {before} {}",
            self.commit_seen
        );
        let Some(leader) = self.leader() else {
            let statuses: Vec<_> = self.hosts.iter().map(|(id, host)| (id, host.engine.status())).collect();
            panic!("I20: no leader after healing: {statuses:?}");
        };
        let membership = self.hosts[&leader].engine.status().membership;
        for node in membership.members().collect::<Vec<_>>() {
            let status = self.hosts[&node].engine.status();
            assert_eq!(status.commit, self.commit_seen, "I20: {node} is behind after healing: {status:?}");
        }
    }

    fn fingerprint(&self) -> Vec<u64> {
        self.hosts.values().map(|host| host.engine.fingerprint()).collect()
    }
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed, 3 + seed % 3);
    for _ in 0..6_000 {
        world.tick(true);
    }
    world.heal();
    world
}

fn seeds() -> std::ops::Range<u64> {
    let count = option_env!("QUORATE_RAFT_SEEDS").and_then(|count| count.parse().ok()).unwrap_or(60);
    0..count
}

#[test]
fn r14_the_five_properties_hold_on_a_hostile_network_and_r23_it_heals() {
    let mut totals = [0; 5];
    for seed in seeds() {
        let world = run(seed);
        let counts = [world.elections, world.reads_served, world.installs, world.truncations, world.changes];
        for (total, count) in totals.iter_mut().zip(counts) {
            *total += count;
        }
    }
    let names =
        ["elections", "reads served", "snapshots installed", "suffixes replaced", "membership changes"];
    for (name, total) in names.into_iter().zip(totals) {
        println!("{name}: {total}");
        assert!(total > 0, "no {name} in any seed: the test is empty");
    }
}

#[test]
fn r25_a_member_that_restarts_into_an_idle_cluster_learns_what_is_committed() {
    let mut world = World::new(3, 3);
    world.loss_percent = 0;
    for _ in 0..2_000 {
        world.tick(false);
    }
    world.clients = false;
    for _ in 0..1_000 {
        world.tick(false);
    }
    let leader = world.leader().expect("a leader");
    let members = world.hosts[&leader].engine.status().membership;
    let follower = members.members().find(|node| *node != leader).expect("a follower");
    world.crash(follower);
    world.restart(follower);
    for _ in 0..1_000 {
        world.tick(false);
    }
    assert_eq!(world.hosts[&follower].engine.status().commit, world.commit_seen);
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(run(7).fingerprint(), run(7).fingerprint());
}

/// What this test can see must be seen; `rules.rs` and `traces.rs` tell a story for each of the others.
#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bug_c05_is_found() {
    let plant = "C05";
    let found = (0..400).find(|seed| {
        let seed = *seed;
        let caught = std::panic::catch_unwind(move || {
            quorate_consensus::activate_plant(plant);
            run(seed);
        });
        caught.is_err()
    });
    quorate_consensus::activate_plant("");
    println!("{plant}: {found:?}");
    assert!(found.is_some(), "{plant} is not found within 400 seeds");
}

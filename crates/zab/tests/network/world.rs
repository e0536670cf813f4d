//! Nodes, their network and their disks; the one way into an engine, and what becomes of its effects.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{
    Addressed, Duration, Effects, Engine, Entry, Epoch, Fetched, Index, Input, Instant, NodeId, PersistToken,
    Random, ReadId, Reader, Role, SnapshotOutcome, Writer,
};
use quorate_zab::{HardState, Message, Zab};

use crate::host::{Disk, Host, birth, start};

pub(crate) type Out = Effects<Message, HardState>;

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: Instant,
    pub(crate) counter_max: u64,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    pub(crate) network: Vec<(Instant, NodeId, NodeId, Message)>,
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) loss_percent: u64,
    /// How often a disk gets to write, in a hundred; a slow one is far behind what its engine has handed out.
    pub(crate) disk_percent: u64,
    pub(crate) leaders: BTreeMap<Epoch, NodeId>,
    /// Each established epoch's initial history: where it ended.
    pub(crate) initial: BTreeMap<Epoch, Index>,
    pub(crate) committed: BTreeMap<Index, Entry>,
    pub(crate) commit_seen: Index,
    pub(crate) reads: BTreeMap<(NodeId, ReadId), Index>,
    pub(crate) next: u64,
    pub(crate) counts: Counts,
    pub(crate) clients: bool,
    /// One heartbeat per pair of nodes stands for all groups of the pair.
    pub(crate) vouches: bool,
    pub(crate) traced: bool,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) leaders: u64,
    pub(crate) reads: u64,
    pub(crate) installs: u64,
    pub(crate) truncations: u64,
    pub(crate) changes: u64,
    pub(crate) accepted: u64,
    pub(crate) overflows: u64,
    /// Milliseconds from the healing until something new was committed.
    pub(crate) healed_after: u64,
}

impl World {
    pub(crate) fn new(seed: u64, count: u64) -> World {
        let mut random = Random::new(seed);
        let mut world = World {
            // In some runs an epoch is soon full.
            counter_max: if random.chance(1, 4) { random.between(3, 60) } else { u64::from(u32::MAX) },
            loss_percent: [0, 1, 5][random.below(3) as usize],
            disk_percent: [33, 33, 6][random.below(3) as usize],
            vouches: random.chance(1, 3),
            traced: std::env::var("QUORATE_ZAB_TRACE").is_ok(),
            random,
            now: Instant::START,
            hosts: BTreeMap::new(),
            network: Vec::new(),
            cut: BTreeSet::new(),
            leaders: BTreeMap::new(),
            initial: BTreeMap::new(),
            committed: BTreeMap::new(),
            commit_seen: Index::ZERO,
            reads: BTreeMap::new(),
            next: 0,
            counts: Counts::default(),
            clients: true,
        };
        for id in 1..=count {
            let disk = Disk { hard: None, snapshot: birth(count), log: Vec::new() };
            world.boot(NodeId(id), disk);
        }
        // In some runs one more node waits to be told its membership.
        if world.random.chance(1, 3) {
            world.boot(NodeId(count + 1), Disk { hard: None, snapshot: birth(0), log: Vec::new() });
        }
        world
    }

    pub(crate) fn boot(&mut self, id: NodeId, disk: Disk) {
        let engine = start(id, &disk, self.random.next_u64(), self.counter_max, self.now);
        let host = Host {
            engine,
            disk,
            writes: Vec::new(),
            held: Vec::new(),
            durable: PersistToken::default(),
            installing: None,
            told: Index::ZERO,
            up: true,
        };
        self.hosts.insert(id, host);
    }

    pub(crate) fn step(&mut self, id: NodeId, input: Input<Message>) {
        let traced = self.traced;
        let mut out = Out { explain: traced, ..Out::default() };
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.up) else { return };
        let before = host.engine.status();
        if traced {
            println!("{} {id} < {input:?}", self.now);
        }
        host.engine.step(self.now, input, &mut out);
        let after = host.engine.status();
        for reason in out.reasons.drain(..) {
            println!("{} {id}   {} {} {:?}", self.now, reason.rule, reason.what, reason.values);
        }
        assert!(after.epoch >= before.epoch && after.commit >= before.commit, "Z1, I9: {before:?} {after:?}");
        assert!(after.commit <= after.last.index, "I9: committed beyond the log: {after:?}");
        for persist in out.persist.drain(..) {
            self.counts.truncations += u64::from(persist.truncate_from.is_some());
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
        self.carry(id, &mut out);
        self.answer(id, &mut out);
        self.check(id);
    }

    /// Fetches from the disk, and snapshots to peers: the node's work.
    fn carry(&mut self, id: NodeId, out: &mut Out) {
        for fetch in out.fetch.drain(..) {
            let log = self.hosts[&id].disk.log.iter();
            let found = log.filter(|e| e.position.index >= fetch.from && e.position.index <= fetch.to);
            let entries: Vec<Entry> = found.take(3).cloned().collect();
            let compacted = self.hosts[&id].disk.snapshot.position.index >= fetch.from;
            let outcome = match entries.first() {
                Some(first) if first.position.index == fetch.from => Fetched::Entries(entries),
                _ if compacted => Fetched::Compacted,
                _ => Fetched::Failed,
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
    }

    fn answer(&mut self, id: NodeId, out: &mut Out) {
        self.counts.accepted += out.accepted.len() as u64;
        for (read, index) in out.reads_safe.drain(..) {
            let least = self.reads.remove(&(id, read)).expect("a read is answered once");
            assert!(
                index >= least,
                "I18: read {read} got {index}, but {least} was committed when it was asked"
            );
            self.counts.reads += 1;
        }
        for (read, _) in out.reads_refused.drain(..) {
            self.reads.remove(&(id, read));
        }
    }

    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.check_said(from, &message);
        if self.cut.contains(&(from, to)) || self.random.below(100) < self.loss_percent {
            return;
        }
        let copies = if self.random.below(100) < 3 { 2 } else { 1 };
        for _ in 0..copies {
            let delay = Duration::from_micros(self.random.between(100, 20_000));
            self.network.push((self.now + delay, from, to, message.clone()));
        }
    }

    /// A write reaches the disk, all of it; what waited for it leaves.
    pub(crate) fn sync(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.up) else { return };
        if host.writes.is_empty() {
            if let Some((meta, keep)) = host.installing.take() {
                self.counts.installs += 1;
                host.disk.log.retain(|e| keep && e.position.index > meta.position.index);
                host.disk.snapshot = meta.clone();
                self.step(id, Input::SnapshotInstalled { meta });
            }
            return;
        }
        let write = host.writes.remove(0);
        if let Some(from) = write.truncate_from {
            host.disk.log.retain(|entry| entry.position.index < from);
        }
        for entry in write.append {
            let last = host.disk.last();
            assert_eq!(entry.position.index, last.index.next(), "Z8: a gap in the log of {id}");
            assert!(entry.position.epoch >= last.epoch, "Z2: epochs fall in the log of {id}");
            host.disk.log.push(entry);
        }
        if let Some(hard) = write.hard_state {
            let old = host.disk.hard.unwrap_or_default();
            assert!(hard.accepted >= old.accepted && hard.current >= old.current, "Z1: a durable epoch fell");
            assert!(hard.accepted >= hard.current, "Z1: current above accepted");
            assert!(
                hard.accepted > old.accepted || hard.promised_to == old.promised_to,
                "Z1: an epoch was promised twice"
            );
            if let Some(end) = self.initial.get(&hard.current).filter(|_| hard.current > old.current) {
                assert!(
                    host.disk.last().index >= *end,
                    "Z7: {id} has epoch {} and not its history",
                    hard.current
                );
            }
            host.disk.hard = Some(hard);
        }
        host.durable = write.token;
        let token = write.token;
        let (ready, held): (Vec<_>, Vec<_>) =
            std::mem::take(&mut host.held).into_iter().partition(|(after, ..)| *after <= token);
        host.held = held;
        for (_, to, message) in ready {
            self.send(id, to, message);
        }
        self.check_counter(id);
        self.step(id, Input::Persisted { token });
    }

    pub(crate) fn deliver(&mut self) {
        let now = self.now;
        let (mut due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.network).into_iter().partition(|(at, ..)| *at <= now);
        self.network = later;
        due.sort_by_key(|(at, ..)| *at);
        for (_, from, to, message) in due {
            let mut bytes = Writer::new();
            Zab::encode_message(&message, &mut bytes);
            let read =
                Zab::decode_message(&mut Reader::new(bytes.finish())).expect("what was written reads back");
            assert_eq!(read, message);
            self.step(to, Input::Message { from, message: read });
        }
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        let leads =
            self.hosts.iter().filter(|(_, host)| host.up && host.engine.status().role == Role::Leader);
        leads.max_by_key(|(_, host)| host.engine.status().epoch).map(|(id, _)| *id)
    }

    pub(crate) fn any(&mut self) -> NodeId {
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        ids[self.random.below(ids.len() as u64) as usize]
    }

    pub(crate) fn fingerprint(&self) -> Vec<u64> {
        self.hosts.values().map(|host| host.engine.fingerprint()).collect()
    }
}

//! One simulated host: a disk, a clock, and, while it runs, a process with its two halves.

use std::collections::{BTreeMap, VecDeque};

use quorate_consensus::{ClusterId, Duration, Incarnation, NodeId, Random};
use quorate_node::{Config, GroupConfig, Limits, Node, NodeInput, Outputs, StateOutputs, ToState};
use quorate_service::{Bootstrap, Founding, Identity, KEYS, META, Reply, State};

use crate::{
    clock::Clock,
    disk::Disk,
    etcd::Front,
    half::Half,
    operator::Waiter,
    plan::Shape,
    schedule::{MICROS, Time},
    zoo::Server,
};

/// The cluster of every run.
pub(crate) const CLUSTER: ClusterId = ClusterId(7);

/// What a host does when its time has come, one at a time each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// Its core runs.
    Core,
    /// ZooKeeper's front end has a turn.
    Tree,
    /// The front end of the keys has one.
    Keys,
}

impl Timer {
    /// Its number in the schedule.
    pub(crate) fn of(self, host: usize) -> usize {
        host * 3 + self as usize
    }
}

/// A moment at which the power is to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trap {
    pub(crate) moment: u64,
    pub(crate) skip: u64,
    pub(crate) down_ms: u64,
}

/// What a host is to the cluster, as far as who runs it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No node lives here.
    Idle,
    /// The cluster was asked to add it. Before it starts it asks who the members are, and waits until it is one of them.
    Joining,
    /// It has a data directory, and is started again however it ends.
    Member,
    /// The cluster told it that it was removed: it has ended, and stays down.
    Left,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) node: Node,
    pub(crate) half: Half,
    /// ZooKeeper's front end, in a run that has the tree.
    pub(crate) server: Option<Server>,
    /// The front end of the keys, in a run that has watches and leases.
    pub(crate) front: Option<Front>,
    pub(crate) out: Outputs,
    pub(crate) state_out: StateOutputs<Reply>,
    pub(crate) inbox: Vec<NodeInput>,
    /// When the core runs next, if that is scheduled.
    pub(crate) run_at: Option<Time>,
    pub(crate) to_state: VecDeque<ToState>,
    pub(crate) apply_scheduled: bool,
    /// Who waits for which ticket.
    pub(crate) waiters: BTreeMap<u64, Waiter>,
    pub(crate) next_ticket: u64,
    pub(crate) stopped: bool,
    pub(crate) recovered: bool,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    /// What it begins a new cluster with; `None` if it joins one.
    pub(crate) bootstrap: Option<Bootstrap>,
    pub(crate) standing: Standing,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) process: Option<Process>,
    /// Counts the starts; what was scheduled for an earlier life is void.
    pub(crate) life: u64,
    pub(crate) paused_until: Time,
    pub(crate) slow_apply_until: Time,
    pub(crate) slow_apply: u64,
    pub(crate) trap: Option<Trap>,
    /// Its disk is gone or damaged: it never comes back.
    pub(crate) lost: bool,
    /// A durable bit of it was flipped.
    pub(crate) rotten: bool,
    /// Its disk was replaced by an empty one: its new identity, that nobody may believe.
    pub(crate) reborn: Option<Incarnation>,
    /// A start is scheduled.
    pub(crate) starting: bool,
    pub(crate) random: Random,
}

impl Host {
    pub(crate) fn new(place: u64, shape: &Shape, bootstrap: Option<&Bootstrap>, random: &Random) -> Host {
        let mut own = random.fork(1000 + place);
        let disk = Disk::new(own.fork(1), shape.sync_us * MICROS);
        let offset = own.below(1 << 40);
        let drift = own.below(400) as i64 - 200;
        Host {
            id: NodeId(place + 1),
            incarnation: Incarnation(0x1000 + place),
            standing: if bootstrap.is_some() { Standing::Member } else { Standing::Idle },
            bootstrap: bootstrap.cloned(),
            disk,
            clock: Clock::new(offset, drift),
            process: None,
            life: 0,
            paused_until: 0,
            slow_apply_until: 0,
            slow_apply: 0,
            trap: None,
            lost: false,
            rotten: false,
            reborn: None,
            starting: false,
            random: own.fork(2),
        }
    }

    /// Is there a process whose groups run?
    pub(crate) fn runs(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.stopped && process.node.is_running())
    }

    /// Has it lost what it promised?
    pub(crate) fn is_lost(&self) -> bool {
        self.lost || self.rotten || self.reborn.is_some()
    }

    /// Does the trap spring at one of these moments?
    pub(crate) fn trap_is_at(&self, moments: &[u64]) -> bool {
        self.trap.is_some_and(|trap| trap.skip == 0 && moments.contains(&trap.moment))
    }

    /// Where its peers reach the node `id`.
    pub(crate) fn peer_url(id: NodeId) -> String {
        format!("http://n{id}:1")
    }

    /// An empty disk under a new id: what a machine is made before it can join again.
    pub(crate) fn provision(&mut self, id: NodeId) {
        self.disk.erase();
        self.id = id;
        self.incarnation = Incarnation(0x1000 + id.0);
        self.bootstrap = None;
        self.standing = Standing::Joining;
        (self.lost, self.rotten, self.reborn) = (false, false, None);
        (self.process, self.trap, self.starting) = (None, None, false);
    }

    fn config(&self, shape: &Shape, seed: u64, explain: bool) -> Config {
        let birth = self.bootstrap.as_ref().map(|bootstrap| bootstrap.birth.clone()).unwrap_or_default();
        Config {
            cluster: CLUSTER,
            node: self.id,
            incarnation: self.reborn.unwrap_or(self.incarnation),
            life: self.life,
            // The tree comes by the records.
            groups: [META, KEYS]
                .map(|id| GroupConfig { id, engine: shape.engine_of(id), birth: birth.clone() })
                .into(),
            raft: quorate_node::RaftConfig { seed, ..shape.raft.clone() },
            zab: quorate_node::ZabConfig { seed, ..shape.zab.clone() },
            journal: journal_config(),
            limits: Limits {
                snapshot_log_bytes_min: shape.snapshot_log_bytes,
                catch_up_log_bytes: shape.catch_up_log_bytes,
                apply_batch_bytes_max: shape.apply_batch_bytes_max,
                chunks_in_flight_max: 2,
                chunk_resend_after: Duration::from_millis(100),
                transfer_timeout: Duration::from_millis(800),
                ..Limits::default()
            },
            explain,
        }
    }

    /// Starts a process on what is on the disk. `explain`: its engines are to give their reasons.
    pub(crate) fn start(&mut self, now: Time, shape: &Shape, explain: bool) {
        self.life += 1;
        let seed = self.random.next_u64();
        let config = self.config(shape, seed, explain);
        let identity = Identity {
            cluster: config.cluster,
            node: config.node,
            incarnation: config.incarnation,
            life: config.life,
            name: format!("n{}", self.id),
            client_urls: vec![format!("http://n{}:2", self.id)],
        };
        let mut state = State::new(identity, self.bootstrap.clone());
        if let Some(shards) = &shape.shards {
            state = state.with_founding(Some(Founding { shards: shards.founded, engine: shards.engine }));
        }
        let (mut news, mut keys_news) = (None, None);
        if shape.keys.is_some() {
            let (told, heard) = std::sync::mpsc::channel();
            state = state.with_keys_sink(Box::new(move |said| _ = told.send(said)));
            keys_news = Some(heard);
        }
        if let Some(tree) = &shape.tree {
            let (told, heard) = std::sync::mpsc::channel();
            // Whoever does not listen any more has ended, and this half with it.
            state = state.with_tree_of(tree.born(), Some(Box::new(move |said| _ = told.send(said))));
            news = Some(heard);
        }
        self.process = Some(Process {
            node: Node::new(config, self.clock.read(now)),
            half: Half::new(state, news, keys_news),
            server: None,
            front: None,
            out: Outputs::default(),
            state_out: StateOutputs::default(),
            inbox: Vec::new(),
            run_at: None,
            to_state: VecDeque::new(),
            apply_scheduled: false,
            waiters: BTreeMap::new(),
            next_ticket: 0,
            stopped: false,
            recovered: false,
        });
        self.standing = Standing::Member;
        self.starting = false;
    }
}

/// Small segments, so that they turn over all the time.
pub(crate) fn journal_config() -> quorate_node::JournalConfig {
    quorate_node::JournalConfig { segment_bytes: 16 << 10, ..quorate_node::JournalConfig::default() }
}

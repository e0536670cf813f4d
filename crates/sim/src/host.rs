//! One simulated host: a disk, a clock, and, while it runs, a process with its two halves.

use std::collections::{BTreeMap, VecDeque};

use quorate_consensus::{Duration, Incarnation, Membership, NodeId, Random};
use quorate_keyspace::Keyspace;
use quorate_node::{Config, GroupConfig, Limits, Node, NodeInput, Outputs, Replica, StateOutputs, ToState};

use crate::{
    clock::Clock,
    disk::Disk,
    half::{Half, KEYS, Reply},
    plan::Shape,
    schedule::{MICROS, Time},
};

/// A moment at which the power is to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trap {
    pub(crate) moment: u64,
    pub(crate) skip: u64,
    pub(crate) down_ms: u64,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) node: Node,
    pub(crate) half: Half,
    pub(crate) out: Outputs,
    pub(crate) state_out: StateOutputs<Reply>,
    pub(crate) inbox: Vec<NodeInput>,
    /// When the core runs next, if that is scheduled.
    pub(crate) run_at: Option<Time>,
    pub(crate) to_state: VecDeque<ToState>,
    pub(crate) apply_scheduled: bool,
    /// Who waits for which ticket: the client and its attempt.
    pub(crate) tickets: BTreeMap<u64, (u32, u64)>,
    pub(crate) next_ticket: u64,
    pub(crate) stopped: bool,
    pub(crate) recovered: bool,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) birth: Membership,
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
    pub(crate) fn new(place: u64, shape: &Shape, birth: Membership, random: &Random) -> Host {
        let mut own = random.fork(1000 + place);
        let disk = Disk::new(own.fork(1), shape.sync_us * MICROS);
        let offset = own.below(1 << 40);
        let drift = own.below(400) as i64 - 200;
        Host {
            id: NodeId(place + 1),
            incarnation: Incarnation(0x1000 + place),
            birth,
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

    pub(crate) fn config(&self, shape: &Shape, seed: u64) -> Config {
        Config {
            cluster: quorate_consensus::ClusterId(7),
            node: self.id,
            incarnation: self.reborn.unwrap_or(self.incarnation),
            life: self.life,
            groups: vec![GroupConfig { id: KEYS, birth: self.birth.clone() }],
            raft: quorate_node::RaftConfig { seed, ..shape.raft.clone() },
            journal: journal_config(),
            limits: Limits {
                snapshot_log_bytes_min: shape.snapshot_log_bytes,
                catch_up_log_bytes: shape.catch_up_log_bytes,
                chunks_in_flight_max: 2,
                chunk_resend_after: Duration::from_millis(100),
                transfer_timeout: Duration::from_millis(800),
                ..Limits::default()
            },
            explain: false,
        }
    }

    /// Starts a process on what is on the disk.
    pub(crate) fn start(&mut self, now: Time, shape: &Shape) {
        self.life += 1;
        let seed = self.random.next_u64();
        let config = self.config(shape, seed);
        let replica = Replica::new(Keyspace::new(), self.birth.clone(), self.id, self.life);
        self.process = Some(Process {
            node: Node::new(config, self.clock.read(now)),
            half: Half::new(replica),
            out: Outputs::default(),
            state_out: StateOutputs::default(),
            inbox: Vec::new(),
            run_at: None,
            to_state: VecDeque::new(),
            apply_scheduled: false,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            stopped: false,
            recovered: false,
        });
        self.starting = false;
    }
}

/// Small segments, so that they turn over all the time.
pub(crate) fn journal_config() -> quorate_node::JournalConfig {
    quorate_node::JournalConfig { segment_bytes: 16 << 10, ..quorate_node::JournalConfig::default() }
}

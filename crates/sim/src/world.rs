//! The world of one run: hosts, network, clients, and the one queue of what happens next.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{Epoch, GroupId, Index, Membership, NodeId, OperationId, Random, StateMachine as _};
use quorate_node::{Node, NodeInput};
use quorate_service::{
    Bootstrap, META, TREE,
    placement::{Command, GroupKind, GroupPlace, Member},
};

use crate::{
    clients::{Client, Told},
    etcd::Etcd,
    faults::{Action, Planned},
    film::{Tamper, What, tampering},
    history::Operation,
    host::{CLUSTER, Host},
    invariants::Checker,
    marks::{Mark, Marks},
    network::Network,
    operator::Operator,
    plan::Shape,
    reference::Origins,
    schedule::{MILLIS, SECONDS, Schedule, Time},
    trace::Trace,
    zoo::{Happening, Zoo},
};

#[derive(Debug)]
pub(crate) enum Event {
    Arrive {
        host: usize,
        frame: u64,
        bytes: bytes::Bytes,
    },
    Lost {
        host: usize,
        peer: NodeId,
    },
    Disk {
        host: usize,
        life: u64,
        id: OperationId,
    },
    Run {
        host: usize,
        life: u64,
        at: Time,
    },
    Apply {
        host: usize,
        life: u64,
    },
    Start {
        host: usize,
    },
    Act {
        number: usize,
    },
    Next {
        client: usize,
    },
    Request {
        client: usize,
        attempt: u64,
    },
    Told {
        client: usize,
        attempt: u64,
        told: Box<Told>,
    },
    Impatient {
        client: usize,
        attempt: u64,
    },
    Revive {
        host: usize,
        life: u64,
    },
    /// A host that joins asks once more who the members are.
    Join {
        host: usize,
        id: NodeId,
    },
    Zoo(Happening),
    Etcd(crate::etcd::Happening),
    /// The replicas of the keys are compared.
    Compare {
        host: usize,
    },
    /// Time passes for the shards of a host.
    ShardsTick {
        host: usize,
    },
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shape: Shape,
    pub(crate) schedule: Schedule<Event>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) clients: Vec<Client>,
    /// When each operation began.
    pub(crate) invoked: Vec<Time>,
    pub(crate) history: Vec<Operation>,
    pub(crate) origins: Origins,
    pub(crate) checker: Checker,
    pub(crate) marks: Marks,
    pub(crate) trace: Trace,
    pub(crate) actions: Vec<Planned>,
    pub(crate) faults_over: bool,
    pub(crate) burst_until: Time,
    pub(crate) quiet_until: Time,
    /// An operator in a hurry: about which host, until when, and the term of the leader asked last.
    pub(crate) hasty: Option<(u64, Time, Epoch)>,
    /// The split that a joint membership causes, and until when.
    pub(crate) part: Option<(u64, Time)>,
    pub(crate) random: Random,
    pub(crate) client_loss: u64,
    pub(crate) operator: Operator,
    /// Of the run that must fail: what the state halves say of themselves is not true.
    pub(crate) lies: bool,
    /// A host whose links stay cut for ever.
    pub(crate) outcast: Option<usize>,
    /// See [`World::note_commits`].
    pub(crate) noted_commits: Vec<Index>,
    /// What each client had asked last when the cluster had healed.
    pub(crate) healed_attempts: Vec<u64>,
    /// Hosts that do not reach each other for ever.
    pub(crate) apart: BTreeSet<(usize, usize)>,
    /// How many frames were sent.
    pub(crate) frames: u64,
    /// What is done by hand to which frame.
    pub(crate) tampering: BTreeMap<u64, Vec<Tamper>>,
    /// ZooKeeper's clients, in a run that has the tree.
    pub(crate) zoo: Option<Zoo>,
    /// The clients of watches and leases, in a run that has them.
    pub(crate) etcd: Option<Etcd>,
    /// Of what happens to shards.
    pub(crate) sharding: Random,
}

impl World {
    pub(crate) fn new(shape: Shape, actions: Vec<Planned>, seed: &Random, trace: bool) -> World {
        let voters: Vec<NodeId> = (1..=shape.voters).map(NodeId).collect();
        let founding = founding(&voters, &shape);
        let hosts: Vec<Host> = (0..shape.hosts())
            .map(|place| Host::new(place, &shape, Some(&founding).filter(|_| place < shape.voters), seed))
            .collect();
        let clients: Vec<Client> = (0..shape.clients).map(|id| Client::new(id, seed)).collect();
        let hosts_count = shape.hosts();
        let mut world = World {
            network: Network::new(seed.fork(2)),
            checker: Checker::new(&shape, &founding.birth),
            hosts,
            clients,
            schedule: Schedule::default(),
            invoked: Vec::new(),
            history: Vec::new(),
            origins: Origins::new(),
            marks: Marks::default(),
            trace: Trace::new(trace),
            frames: 0,
            tampering: tampering(&actions),
            actions,
            faults_over: false,
            burst_until: 0,
            quiet_until: 0,
            hasty: None,
            part: None,
            random: seed.fork(3),
            client_loss: 10,
            operator: Operator::new(hosts_count, seed.fork(4)),
            lies: false,
            outcast: None,
            noted_commits: Vec::new(),
            healed_attempts: Vec::new(),
            apart: BTreeSet::new(),
            zoo: shape.tree.as_ref().map(|tree| Zoo::new(tree, seed)),
            etcd: shape.keys.as_ref().map(|keys| Etcd::new(keys, seed)),
            sharding: seed.fork(20),
            shape,
        };
        for host in 0..world.hosts.len() {
            world.schedule.at(0, Event::Start { host });
        }
        for client in 0..world.clients.len() {
            world.schedule.at(400 * MILLIS, Event::Next { client });
        }
        for client in 0..world.zoo.as_ref().map_or(0, |zoo| zoo.tallies().len()) {
            world.schedule.at(500 * MILLIS, Event::Zoo(Happening::Wake { client, turn: 0 }));
        }
        let (actors, watchers) =
            world.shape.keys.as_ref().map_or((0, 0), |keys| (keys.actors, keys.watchers));
        for actor in 0..actors {
            let happening = crate::etcd::Happening::Act { actor, turn: 0 };
            world.schedule.at(450 * MILLIS, Event::Etcd(happening));
        }
        for watcher in 0..watchers {
            let happening = crate::etcd::Happening::Watch { watcher, turn: 0 };
            world.schedule.at(350 * MILLIS, Event::Etcd(happening));
        }
        world.schedule_words();
        if world.etcd.is_some() {
            for host in 0..world.hosts.len() {
                world.schedule.at(400 * MILLIS, Event::Compare { host });
            }
        }
        if world.shape.shards.is_some() {
            for host in 0..world.hosts.len() {
                world.schedule.at(host as Time * MILLIS, Event::ShardsTick { host });
            }
        }
        for (number, planned) in world.actions.iter().enumerate() {
            world.schedule.at(planned.at, Event::Act { number });
        }
        world
    }

    pub(crate) fn now(&self) -> Time {
        self.schedule.now()
    }

    /// Lets everything up to `end` happen, or up to the first violation.
    pub(crate) fn run_until(&mut self, end: Time) {
        while self.checker.is_clean()
            && let Some(event) = self.schedule.next(end)
        {
            self.checker.findings.now = self.now();
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive { host, frame, bytes } => {
                let now = self.now();
                self.trace.event(now, 1, host as u64, bytes.len() as u64);
                let heard = self.hosts[host].process.as_ref().is_some_and(|process| !process.stopped);
                self.trace.film(|film| film.add(now, Some(host), What::Arrive { frame, heard }));
                self.input(host, NodeInput::Frame(bytes));
            }
            Event::Lost { host, peer } => {
                self.marks.hit(Mark::ConnectionLost);
                self.input(host, NodeInput::PeerLost(peer));
            }
            Event::Disk { host, life, id } => self.disk_done(host, life, id),
            Event::Run { host, life, at } => {
                let alive = self.hosts[host].life == life;
                if alive
                    && self.hosts[host].process.as_ref().is_some_and(|process| process.run_at == Some(at))
                {
                    self.run(host);
                }
            }
            Event::Apply { host, life } => {
                if self.hosts[host].life == life {
                    self.apply(host);
                }
            }
            Event::Start { host } => self.start(host),
            Event::Act { number } => self.act(number),
            Event::Next { client } => self.begin(client),
            Event::Request { client, attempt } => self.request(client, attempt),
            Event::Told { client, attempt, told } => self.told(client, attempt, *told),
            Event::Impatient { client, attempt } => {
                let (now, hosts) = (self.now(), self.asked());
                let next = self.clients[client].timed_out(attempt, now, &hosts, &mut self.marks);
                self.go_on(client, next);
            }
            Event::Join { host, id } => self.join(host, id),
            Event::Zoo(happening) => self.happen(happening),
            Event::Etcd(happening) => self.happens_to_keys(happening),
            Event::Compare { host } => self.compares(host),
            Event::ShardsTick { host } => self.shards_tick(host),
            Event::Revive { host, life } => {
                if self.hosts[host].life == life
                    && self.hosts[host].process.as_ref().is_some_and(|p| p.stopped)
                {
                    self.crash(host, 1, true);
                }
            }
        }
    }

    /// A second passes for the front end of a host, and its replica of the keys is compared with the others'. All of them do the same, so none is ever different.
    fn compares(&mut self, host: usize) {
        self.schedule.at(self.now() + SECONDS, Event::Compare { host });
        let Some(process) = &self.hosts[host].process else { return };
        let alarmed = process.half.state.keys().machine().view().alarms().next().is_some();
        if alarmed {
            self.checker.fail("I16", Some(host), "replicas that agree were called different".to_owned());
        }
        let node = self.hosts[host].id;
        self.input(host, quorate_service::agreement_tick(node, true));
    }

    /// The process of a host, if its groups run.
    pub(crate) fn node(&self, host: usize) -> Option<&Node> {
        self.hosts[host].process.as_ref().map(|process| &process.node).filter(|node| node.is_running())
    }

    pub(crate) fn action(&self, number: usize) -> Action {
        self.actions[number].action
    }
}

/// What every founder is told alike.
fn founding(voters: &[NodeId], shape: &Shape) -> Bootstrap {
    let kind = |group| match group {
        META => GroupKind::Meta,
        TREE => GroupKind::Tree,
        _ => GroupKind::Keys,
    };
    let place =
        |group: &GroupId| (*group, GroupPlace { kind: kind(*group), engine: shape.engine_of(*group) });
    let late = shape.tree.as_ref().is_some_and(|tree| tree.late);
    let founded = shape.groups().iter().filter(|group| !(late && **group == TREE));
    let groups: BTreeMap<_, _> = founded.map(place).collect();
    let member = |id: &NodeId| Member::new(*id, vec![Host::peer_url(*id)], false);
    let initialise =
        Command::Initialise { cluster: CLUSTER, members: voters.iter().map(member).collect(), groups };
    Bootstrap { initialise, birth: Membership::new(voters.iter().copied(), []) }
}

/// How long a stopped process waits before an operator starts it again.
pub(crate) const REVIVE_AFTER: Time = SECONDS / 2;

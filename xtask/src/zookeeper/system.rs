//! What is compared: three servers of ours, three of ZooKeeper's, or one process that does nothing on three addresses.

use std::{net::TcpStream, time::Duration};

use super::{
    packets::{self, Operation, ZNODES},
    session::Session,
};
use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch},
    nothing::Process,
    process,
};

pub(crate) const SERVERS: usize = 3;
/// Whose children are set and read.
pub(crate) const STANDING: &str = "/standing";
/// Below it, everything is created.
const CREATED: &str = "/created";

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// Ours, the tree on this engine.
    Quorate(Engine),
    ZooKeeper,
    Nothing,
}

/// What replicates our tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Zab,
    Raft,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            System::Quorate(Engine::Zab) => "quorate",
            System::Quorate(Engine::Raft) => "quorate-raft",
            System::ZooKeeper => "zookeeper",
            System::Nothing => "nothing",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<System> {
        [System::Quorate(Engine::Zab), System::Quorate(Engine::Raft), System::ZooKeeper, System::Nothing]
            .into_iter()
            .find(|system| system.name() == name)
    }
}

/// A system that runs; ended when dropped.
pub(crate) struct Running {
    /// Where clients are served.
    pub(crate) addresses: Vec<String>,
    servers: Servers,
}

/// Its processes.
enum Servers {
    Cluster(Cluster, #[expect(dead_code, reason = "the directories live as long as the servers")] Scratch),
    Nothing(Process),
}

impl Running {
    /// Starts it, empty, and waits until it gives sessions.
    pub(crate) fn start(system: System) -> Fallible<Running> {
        let running = match system {
            System::Nothing => {
                let answers = |address: &str| TcpStream::connect(address).is_ok();
                let process = Process::start_as("nothing-zookeeper", SERVERS, answers)?;
                Running { addresses: process.endpoints.clone(), servers: Servers::Nothing(process) }
            }
            System::Quorate(engine) => Running::cluster(Kind::Quorate, quorate_options(engine))?,
            System::ZooKeeper => Running::cluster(Kind::ZooKeeper, Options::default())?,
        };
        for address in &running.addresses {
            Session::persist(std::slice::from_ref(address), Duration::from_secs(60))?;
        }
        Ok(running)
    }

    fn cluster(kind: Kind, options: Options) -> Fallible<Running> {
        let scratch = Scratch::new("zookeeper")?;
        let cluster = Cluster::start(kind, &scratch.directories(SERVERS)?, &options)?;
        let addresses = cluster.servers.iter().map(|server| server.zookeeper.clone()).collect();
        Ok(Running { addresses, servers: Servers::Cluster(cluster, scratch) })
    }

    /// Makes the znodes that are set and read.
    pub(crate) fn populate(&self) -> Fallible<()> {
        let mut session = Session::persist(&self.addresses, Duration::from_secs(10))?;
        session.ensure(&[packets::create(STANDING, 0), packets::create(CREATED, 0)])?;
        let znodes: Vec<_> = (0..ZNODES)
            .map(|n| packets::create(&packets::numbered(STANDING, n), packets::DATA_BYTES))
            .collect();
        session.ensure(&znodes)
    }

    /// What an operation of so many connections works below; of creates, a place that nobody has created in yet, by its `name`.
    pub(crate) fn place(&self, operation: Operation, name: &str, connections: usize) -> Fallible<String> {
        if operation != Operation::Create {
            return Ok(STANDING.into());
        }
        let place = format!("{CREATED}/{name}");
        let mut session = Session::persist(&self.addresses, Duration::from_secs(10))?;
        session.ensure(&[packets::create(&place, 0)])?;
        let parents: Vec<_> =
            (0..connections as u64).map(|n| packets::create(&packets::numbered(&place, n), 0)).collect();
        session.ensure(&parents)?;
        Ok(place)
    }

    /// Processor time of all its processes so far.
    pub(crate) fn cpu(&self) -> Duration {
        match &self.servers {
            Servers::Cluster(cluster, _) => cluster.cpu(),
            Servers::Nothing(process) => process.cpu(),
        }
    }

    /// Resident memory of the largest of them, in bytes.
    pub(crate) fn resident_bytes_max(&self) -> u64 {
        self.pids().into_iter().map(process::resident_bytes).max().unwrap_or(0)
    }

    /// Its servers, to kill and start, if it has several.
    pub(crate) fn cluster_mut(&mut self) -> Option<&mut Cluster> {
        match &mut self.servers {
            Servers::Cluster(cluster, _) => Some(cluster),
            Servers::Nothing(_) => None,
        }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        match &self.servers {
            Servers::Cluster(cluster, _) => {
                cluster.servers.iter().filter_map(|server| server.pid()).collect()
            }
            Servers::Nothing(process) => vec![process.pid()],
        }
    }
}

fn quorate_options(engine: Engine) -> Options {
    let engine = match engine {
        Engine::Zab => "zab",
        Engine::Raft => "raft",
    };
    let flags = vec![format!("--tree-engine={engine}"), "--zookeeper-connections-per-address=0".to_owned()];
    Options { zookeeper: true, flags, ..Options::default() }
}

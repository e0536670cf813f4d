//! Several nodes of one process.

use std::{fmt, path::Path, time::Duration};

use quorate_consensus::{ClusterId, EngineKind, GroupId, Incarnation, Membership, NodeId};
use quorate_node::{Config, GroupConfig, JournalConfig, Limits, RaftConfig, ZabConfig};
use quorate_server::{CallError, Handle, Hub, Network, Options, Replicas, Reply, StartError, Storage};

use crate::{Machine, adapter::Adapter};

/// The one group of an embedded cluster.
const GROUP: GroupId = GroupId(1);
/// An embedded cluster needs no name: nobody outside the process can speak to it.
const CLUSTER: ClusterId = ClusterId(1);

/// Why a call on a [`Cluster`] has no result.
#[derive(Debug)]
pub enum Error {
    /// A node did not start.
    Start(StartError),
    /// The call has no answer; its text says whether it may have been executed.
    Call(CallError),
    /// There is no such node, or too many are wanted.
    NoSuchNode {
        /// Which.
        node: usize,
        /// The nodes go from 0 to one less than this.
        nodes: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Start(error) => error.fmt(f),
            Error::Call(error) => error.fmt(f),
            Error::NoSuchNode { node, nodes } => {
                write!(f, "there is no node {node}: the cluster has {nodes}, counted from 0, and may have 64")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Error::Start(error)
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Error::Call(error)
    }
}

/// A replicated state machine: several nodes in this process, each with its own copy of a [`Machine`], joined by Raft.
///
/// Calls need a tokio runtime with time enabled; the nodes have their own threads. Dropping the cluster ends it.
pub struct Cluster<M: Machine> {
    hub: Hub,
    nodes: Vec<Handle<Reply<Adapter<M>>>>,
}

impl<M: Machine> fmt::Debug for Cluster<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl<M: Machine> Cluster<M> {
    /// Starts `nodes` nodes that keep everything in memory, each with a machine that `make` made, and waits until one leads.
    ///
    /// # Errors
    /// A node does not start, or none leads within 7 s.
    pub async fn start(nodes: usize, make: impl Fn() -> M) -> Result<Cluster<M>, Error> {
        Self::begin(nodes, make, |_| Storage::Memory).await
    }

    /// Starts nodes that keep what must survive under `directory`, and go on from what is there. Always with the same number of nodes.
    ///
    /// # Errors
    /// As [`start`](Cluster::start); or the directory is in use or belongs to something else.
    pub async fn open(
        directory: impl AsRef<Path>,
        nodes: usize,
        make: impl Fn() -> M,
    ) -> Result<Cluster<M>, Error> {
        let directory = directory.as_ref();
        Self::begin(nodes, make, |node| Storage::Directory(directory.join(format!("node-{node}")))).await
    }

    async fn begin(
        count: usize,
        make: impl Fn() -> M,
        storage: impl Fn(u64) -> Storage,
    ) -> Result<Cluster<M>, Error> {
        if count == 0 || count > Membership::MEMBERS_MAX {
            return Err(Error::NoSuchNode { node: count, nodes: Membership::MEMBERS_MAX });
        }
        let hub = Hub::new();
        let ids = || (1..=count as u64).map(NodeId);
        let members = Membership::new(ids(), []);
        let mut nodes = Vec::new();
        for id in ids() {
            let config = Config {
                cluster: CLUSTER,
                node: id,
                // Both are set by `start`.
                incarnation: Incarnation(0),
                life: 0,
                groups: vec![GroupConfig { id: GROUP, engine: EngineKind::Raft, birth: members.clone() }],
                raft: RaftConfig { seed: id.0, ..RaftConfig::default() },
                zab: ZabConfig::default(),
                journal: JournalConfig::default(),
                limits: Limits::default(),
                explain: false,
            };
            let options = Options::new(storage(id.0), Network::InProcess(hub.clone()));
            nodes.push(quorate_server::start(options, config, |config| {
                Replicas::new(config, |_| Adapter::new(make()))
            })?);
        }
        let cluster = Cluster { hub, nodes };
        cluster.leader().await?;
        Ok(cluster)
    }

    /// Has the command executed on every node, and returns the answer of the machine here. It is safe once this returns: as long as a
    /// majority of the nodes' storage survives, so does it.
    ///
    /// # Errors
    /// No majority answers in time: then the command may still be executed.
    pub async fn propose(&self, command: &[u8]) -> Result<Vec<u8>, Error> {
        self.propose_at(0, command).await
    }

    /// [`propose`](Cluster::propose) through the node of this number, from 0.
    ///
    /// # Errors
    /// As `propose`; or there is no such node.
    pub async fn propose_at(&self, node: usize, command: &[u8]) -> Result<Vec<u8>, Error> {
        let reply = self.node(node)?.propose(GROUP, None, |to| to.raw(command)).await?;
        Ok(reply.response().unwrap_or_default().into())
    }

    /// Asks a question whose answer has everything in it that was executed before: linearizable.
    ///
    /// # Errors
    /// No majority answers in time.
    pub async fn query(&self, question: &[u8]) -> Result<Vec<u8>, Error> {
        self.query_at(0, question).await
    }

    /// [`query`](Cluster::query) through the node of this number, from 0.
    ///
    /// # Errors
    /// As `query`; or there is no such node.
    pub async fn query_at(&self, node: usize, question: &[u8]) -> Result<Vec<u8>, Error> {
        let view = self.node(node)?.read(GROUP).await?.view();
        Ok(view.map(|machine| machine.query(question)).unwrap_or_default())
    }

    /// The number of the node that leads, from 0.
    ///
    /// # Errors
    /// None does in time.
    pub async fn leader(&self) -> Result<usize, Error> {
        let leader = self.node(0)?.leader(GROUP).await?;
        Ok(usize::try_from(leader.0 - 1).unwrap_or(usize::MAX))
    }

    /// Cuts the node of this number off from all others, or joins it again: to see what your program makes of it.
    ///
    /// # Errors
    /// There is no such node.
    pub fn isolate(&self, node: usize, isolated: bool) -> Result<(), Error> {
        let id = self.node(node)?.node();
        for other in self.nodes.iter().map(Handle::node).filter(|other| *other != id) {
            self.hub.cut(id, other, isolated);
            self.hub.cut(other, id, isolated);
        }
        Ok(())
    }

    /// Ends all nodes; when it returns, their threads have ended and their directories are free.
    pub async fn shutdown(self) {
        for node in self.nodes {
            node.shutdown(Duration::ZERO).await;
        }
    }

    fn node(&self, node: usize) -> Result<&Handle<Reply<Adapter<M>>>, Error> {
        self.nodes.get(node).ok_or(Error::NoSuchNode { node, nodes: self.nodes.len() })
    }
}

//! A state machine of one's own: a counter. Shared by the examples and the tests.
#![allow(dead_code, unreachable_pub, reason = "shared by several programs, each of which uses a part")]

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, DecodeError, EngineKind, GroupId, Incarnation, Membership, NodeId, Placed, Position, Reader,
    RestoreError, StateMachine, Writer,
};
use quorate_node::{Config, GroupConfig, JournalConfig, Limits, RaftConfig, ZabConfig};

/// Adds up what it is told.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// The sum.
    pub sum: u64,
    /// How many commands.
    pub commands: u64,
}

impl StateMachine for Counter {
    type Effect = u64;
    type Response = u64;
    type Event = u64;
    type View = Counter;
    type Snapshot = std::iter::Once<Bytes>;

    fn evaluate(&mut self, _at: Position, command: &Bytes) -> u64 {
        Reader::new(command.clone()).u64().unwrap_or(0)
    }

    fn changes(effect: &u64) -> bool {
        *effect != 0
    }

    fn number(&self) -> u64 {
        self.commands
    }

    fn place(&mut self, effect: u64, number: u64) -> Placed<u64, u64> {
        self.sum += effect;
        self.commands = number;
        Placed { response: self.sum, events: Vec::new() }
    }

    fn view(&self) -> Counter {
        self.clone()
    }

    fn snapshot(&self) -> Self::Snapshot {
        let mut to = Writer::new();
        to.u64(self.sum);
        to.u64(self.commands);
        std::iter::once(to.finish())
    }

    fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Self, RestoreError> {
        let mut from = Reader::new(chunks.next().ok_or(RestoreError::Incomplete)?);
        Ok(Counter { sum: from.u64()?, commands: from.u64()? })
    }

    fn digest(&self) -> u64 {
        self.sum ^ self.commands.rotate_left(32)
    }

    fn size_bytes(&self) -> u64 {
        16
    }

    fn encode_response(response: &u64, to: &mut Writer) {
        to.u64(*response);
    }

    fn decode_response(from: &mut Reader) -> Result<u64, DecodeError> {
        from.u64()
    }
}

/// The configuration of one node of a cluster with one group.
pub fn config(cluster: ClusterId, node: NodeId, group: GroupId, members: &Membership) -> Config {
    Config {
        cluster,
        node,
        incarnation: Incarnation(0),
        life: 0,
        groups: vec![GroupConfig { id: group, engine: EngineKind::Raft, birth: members.clone() }],
        raft: RaftConfig { seed: node.0, ..RaftConfig::default() },
        zab: ZabConfig::default(),
        journal: JournalConfig::default(),
        limits: Limits::default(),
        explain: false,
    }
}

//! What the cluster's records make of a node, and when.

use std::collections::BTreeMap;

use quorate_consensus::{
    ClusterId, Entry, Epoch, GroupId, Incarnation, Index, Membership, NodeId, Payload, Position, Role,
    RoleChange, StateMachine,
};
use quorate_node::{NodeInput, StateHalf, StateOutputs, TaggedCommand, ToState};
use quorate_service::{
    Bootstrap, Identity, KEYS, META, Reply, State,
    placement::{Command, Member},
};

fn url(id: u64) -> Vec<String> {
    vec![format!("http://n{id}:1")]
}

fn members(ids: impl IntoIterator<Item = u64>) -> Membership {
    Membership::new(ids.into_iter().map(NodeId), [])
}

fn add(id: u64) -> Command {
    Command::AddMember { id: NodeId(id), peer_urls: url(id), learner: false, learners_max: 2, strict: false }
}

/// The state half of node 1 of the founders 1 and 2, which leads `meta`, and what it says.
struct Node {
    state: State,
    out: StateOutputs<Reply>,
    last: BTreeMap<GroupId, u64>,
}

impl Node {
    fn new() -> Node {
        let identity = Identity {
            cluster: ClusterId(7),
            node: NodeId(1),
            incarnation: Incarnation(1),
            life: 1,
            name: "n1".to_owned(),
            client_urls: Vec::new(),
        };
        let founders = [1, 2].map(|id| Member::new(NodeId(id), url(id), false));
        let initialise =
            Command::Initialise { cluster: ClusterId(7), members: founders.into(), groups: BTreeMap::new() };
        let bootstrap = Bootstrap { initialise: initialise.clone(), birth: members([1, 2]) };
        let state = State::new(identity, Some(bootstrap));
        let mut node = Node { state, out: StateOutputs::default(), last: BTreeMap::new() };
        let change = RoleChange { role: Role::Leader, epoch: Epoch(1), leader: Some(NodeId(1)) };
        node.state.handle(ToState::Role { group: META, change }, &mut node.out);
        node.records(&initialise);
        node
    }

    fn apply(&mut self, group: GroupId, payload: Payload) {
        let last = self.last.entry(group).or_default();
        *last += 1;
        let entries = vec![Entry { position: Position::new(1, *last), payload }];
        self.state.handle(ToState::Entries { group, entries }, &mut self.out);
    }

    fn records(&mut self, command: &Command) {
        let bytes = TaggedCommand::encode(None, None, |to| to.raw(&command.encode()));
        self.apply(META, Payload::Command(bytes));
    }

    /// The group's leader says that it has followed this version of the records.
    fn followed(&mut self, group: GroupId, version: u64) {
        self.apply(group, Payload::Command(TaggedCommand::encode_followed(version)));
    }

    /// What the core was told since the last time.
    fn said(&mut self) -> Vec<NodeInput> {
        std::mem::take(&mut self.out.core)
    }

    /// The newest read of the group that was asked for may be served once `at` is applied.
    fn read_is_safe(&mut self, said: &[NodeInput], group: GroupId, at: u64) {
        let ticket = said.iter().rev().find_map(|input| match input {
            NodeInput::Read { group: of, ticket } if *of == group => Some(*ticket),
            _ => None,
        });
        let tickets = vec![ticket.expect("a read was asked for")];
        self.state.handle(ToState::ReadSafe { group, tickets, index: Index(at) }, &mut self.out);
    }
}

fn wanted(said: &[NodeInput]) -> Vec<(GroupId, Membership)> {
    let desired = said.iter().filter_map(|input| match input {
        NodeInput::Desired { group, membership, .. } => Some((*group, membership.clone())),
        _ => None,
    });
    desired.collect()
}

fn let_go(said: &[NodeInput]) -> Vec<NodeId> {
    let gone = said.iter().filter_map(|input| match input {
        NodeInput::PeerKnown { peer, removed: true, .. } => Some(*peer),
        _ => None,
    });
    gone.collect()
}

/// {1 and 2; 3 was added and removed long ago; 1 starts again and applies its old log}: what the records wanted then is not what they want.
#[test]
fn what_the_records_want_is_said_only_after_a_read_of_them() {
    let mut node = Node::new();
    node.records(&add(3));
    let said = node.said();
    assert_eq!(wanted(&said), []);
    // The log goes on: the removal is still to be applied.
    node.read_is_safe(&said, META, 3);
    assert_eq!(wanted(&node.said()), []);
    node.records(&Command::RemoveMember { id: NodeId(3), strict: false });
    let said = node.said();
    node.read_is_safe(&said, META, 3);
    assert_eq!(wanted(&node.said()), [(KEYS, members([1, 2])), (META, members([1, 2]))]);
    // Asked once more, it reads once more.
    node.state.handle(ToState::Confirm { group: KEYS }, &mut node.out);
    let said = node.said();
    assert_eq!(wanted(&said), []);
    node.read_is_safe(&said, META, 3);
    assert_eq!(wanted(&node.said()).len(), 2);
}

/// A replica of the keys that is behind looks as the records want it, before it has seen the member come that is to go; and one that is not behind may be
/// about to see it come. Only the leaders' word in the log counts, of both groups.
#[test]
fn a_member_is_let_go_only_once_the_groups_are_said_to_have_followed() {
    let mut node = Node::new();
    node.records(&add(3));
    node.records(&Command::RemoveMember { id: NodeId(3), strict: false });
    let version = node.state.meta().machine().view().version();
    node.apply(KEYS, Payload::Membership(members([1, 2])));
    node.followed(META, version);
    node.followed(KEYS, version - 1);
    assert_eq!(let_go(&node.said()), []);
    node.followed(KEYS, version);
    assert_eq!(let_go(&node.said()), [NodeId(3)]);
}

/// Whoever leads the keys must hear of the records: `meta` takes in at once who comes, and lets nobody go before the keys have.
#[test]
fn meta_lets_nobody_go_before_the_keys_have() {
    let mut node = Node::new();
    node.records(&add(3));
    node.records(&Command::RemoveMember { id: NodeId(2), strict: false });
    let said = node.said();
    node.read_is_safe(&said, META, 3);
    assert_eq!(wanted(&node.said()), [(KEYS, members([1, 3])), (META, members([1, 2, 3]))]);
    node.apply(KEYS, Payload::Membership(members([1, 3])));
    let version = node.state.meta().machine().view().version();
    node.followed(KEYS, version);
    node.state.handle(ToState::Confirm { group: META }, &mut node.out);
    let said = node.said();
    node.read_is_safe(&said, META, 3);
    assert_eq!(wanted(&node.said()), [(KEYS, members([1, 3])), (META, members([1, 3]))]);
}

//! What the cluster's records make of a node, and when.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, EngineKind, Entry, Epoch, GroupId, Incarnation, Index, Membership, NodeId, Payload, Position,
    Role, RoleChange, StateMachine,
};
use quorate_node::{GroupConfig, NodeInput, Origin, StateHalf, StateOutputs, TaggedCommand, Ticket, ToState};
use quorate_service::{
    Bootstrap, Identity, KEYS, META, Reply, State, TREE, TreeNews,
    placement::{Command, GroupKind, GroupPlace, Member},
    touch, tree_word,
    znodes::{Command as TreeCommand, CreateSession, Password, SessionId},
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

fn initialise() -> Command {
    founded_with([])
}

/// Founded by 1 and 2 with these groups.
fn founded_with(groups: impl Into<BTreeMap<GroupId, GroupPlace>>) -> Command {
    let founders = [1, 2].map(|id| Member::new(NodeId(id), url(id), false));
    Command::Initialise { cluster: ClusterId(7), members: founders.into(), groups: groups.into() }
}

fn tree(engine: EngineKind) -> (GroupId, GroupPlace) {
    (TREE, GroupPlace { kind: GroupKind::Tree, engine })
}

fn add_tree(members: &[u64]) -> Command {
    let (id, place) = tree(EngineKind::Raft);
    Command::AddGroup { id, place, members: members.iter().copied().map(NodeId).collect() }
}

/// The state half of node 1 of the founders 1 and 2, which leads `meta`, and what it says.
struct Node {
    state: State,
    out: StateOutputs<Reply>,
    last: BTreeMap<GroupId, u64>,
}

impl Node {
    /// The state half before the first entry.
    fn fresh() -> State {
        let identity = Identity {
            cluster: ClusterId(7),
            node: NodeId(1),
            incarnation: Incarnation(1),
            life: 1,
            name: "n1".to_owned(),
            client_urls: Vec::new(),
        };
        State::new(identity, Some(Bootstrap { initialise: initialise(), birth: members([1, 2]) }))
    }

    fn new() -> Node {
        let mut node = Node { state: Node::fresh(), out: StateOutputs::default(), last: BTreeMap::new() };
        node.lead_meta();
        node.records(&initialise());
        node
    }

    fn lead_meta(&mut self) {
        let change = RoleChange { role: Role::Leader, epoch: Epoch(1), leader: Some(NodeId(1)) };
        self.state.handle(ToState::Role { group: META, change }, &mut self.out);
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

/// The groups that the core was told to open.
fn opened(said: &[NodeInput]) -> Vec<&GroupConfig> {
    let opened = said.iter().filter_map(|input| match input {
        NodeInput::Open(group) => Some(group),
        _ => None,
    });
    opened.collect()
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

/// Whom the core was told to hand `meta` over to.
fn heirs(said: &[NodeInput]) -> Vec<NodeId> {
    let heirs = said.iter().filter_map(|input| match input {
        NodeInput::TransferLeadership { group: META, to } => *to,
        _ => None,
    });
    heirs.collect()
}

/// {1 leads `meta` and is to go; of those who stay, 2 hears nothing}: while 1 hands over to 2, `meta` takes nobody in, and were it 2 each time, it never would.
#[test]
fn who_is_to_go_hands_meta_over_once_all_are_in_and_each_time_to_another() {
    let mut node = Node::new();
    node.records(&add(3));
    node.records(&Command::RemoveMember { id: NodeId(1), strict: false });
    let said = node.said();
    node.read_is_safe(&said, META, 3);
    let said = node.said();
    assert_eq!((heirs(&said), wanted(&said).pop()), (vec![], Some((META, members([1, 2, 3])))));
    node.apply(META, Payload::Membership(members([1, 2, 3])));
    let mut asked = Vec::new();
    for _ in 0..2 {
        node.state.handle(ToState::Confirm { group: META }, &mut node.out);
        let said = node.said();
        node.read_is_safe(&said, META, 4);
        asked.extend(heirs(&node.said()));
    }
    asked.sort_unstable();
    assert_eq!(asked, [NodeId(2), NodeId(3)]);
}

/// With a tree there is one more group that must have followed before a member is let go: until then its voters may need the one that leaves.
#[test]
fn a_member_is_let_go_only_once_the_tree_has_followed_too() {
    let mut node = Node::new();
    node.state = Node::fresh();
    node.last.clear();
    node.lead_meta();
    node.records(&founded_with([tree(EngineKind::Zab)]));
    node.records(&Command::RemoveMember { id: NodeId(2), strict: false });
    let said = node.said();
    node.read_is_safe(&said, META, 2);
    let groups: Vec<GroupId> = wanted(&node.said()).into_iter().map(|(group, _)| group).collect();
    assert_eq!(groups, [KEYS, TREE, META]);
    node.followed(META, 2);
    node.followed(KEYS, 2);
    assert_eq!(let_go(&node.said()), [], "the tree has not said so");
    node.followed(TREE, 2);
    assert_eq!(let_go(&node.said()), [NodeId(2)]);
}

/// What a front end is told of the tree: what is applied, which clients others have heard of, and who leads.
#[test]
fn the_tree_is_published_and_touches_and_roles_with_it() {
    let news = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&news);
    let sink = Box::new(move |what: TreeNews| {
        heard.lock().unwrap().push(match what {
            TreeNews::Applied(view, events) => format!("zxid {:x}, {} events", view.zxid(), events.len()),
            TreeNews::Replaced(_) => "replaced".to_owned(),
            TreeNews::Role(change) => format!("{:?}", change.role),
            TreeNews::Touched(sessions) => format!("{sessions:?}"),
        });
    });
    let mut node = Node::new();
    node.state = Node::fresh().with_tree(Some(sink));
    node.last.clear();
    node.records(&founded_with([tree(EngineKind::Zab)]));
    let open =
        CreateSession { session: SessionId(5), timeout_ms: 4_000, password: Password([1; 16]), owner: 1 };
    let command = TreeCommand::CreateSession(open).encode();
    let origin = Origin { node: NodeId(1), life: 1, ticket: Ticket(3) };
    node.apply(TREE, Payload::Command(TaggedCommand::encode(Some(origin), None, |to| to.raw(&command))));
    let (ticket, reply) = node.out.replies.pop().expect("it is answered");
    assert!(ticket == Ticket(3) && matches!(reply, Reply::Tree(_)), "{reply:?}");
    let change = RoleChange { role: Role::Leader, epoch: Epoch(1), leader: Some(NodeId(1)) };
    node.state.handle(ToState::Role { group: TREE, change }, &mut node.out);
    for word in touch(&[SessionId(5)]) {
        let NodeInput::Relay { group, bytes, .. } = word else { panic!("{word:?}") };
        node.state.handle(ToState::Relayed { group, from: NodeId(2), bytes }, &mut node.out);
    }
    let forged = Bytes::from_static(b"whatever");
    node.state.handle(ToState::Relayed { group: TREE, from: NodeId(2), bytes: forged }, &mut node.out);
    assert_eq!(*news.lock().unwrap(), ["zxid 100000001, 0 events", "Leader", "[SessionId(5)]"]);
}

/// The one group that the core was told to open, with its engine and its birth.
fn opens(said: &[NodeInput]) -> Option<(EngineKind, Membership)> {
    let opened = opened(said);
    assert!(opened.len() <= 1 && opened.iter().all(|group| group.id == TREE), "{opened:?}");
    opened.first().map(|group| (group.engine, group.birth.clone()))
}

/// A tree as old as the cluster: what drives it stands in the records, and it is born with the founders, whoever has come and gone by the time this life reads of it.
#[test]
fn a_tree_that_the_cluster_was_founded_with_is_born_with_the_founders() {
    let mut node = Node::new();
    assert_eq!(opens(&node.said()), None, "founded without one");
    node.state = Node::fresh();
    node.last.clear();
    node.records(&founded_with([tree(EngineKind::Raft)]));
    node.records(&add(3));
    assert_eq!(opens(&node.said()), Some((EngineKind::Raft, members([1, 2]))));
    assert_eq!(node.state.tree().expect("it is here").membership(), &members([1, 2]));
}

/// Not with who founded the cluster, nor with who is a member when the entry is read: with who was a member where it stands.
#[test]
fn a_tree_that_was_added_is_born_with_the_members_of_that_moment_in_each_life() {
    let mut node = Node::new();
    let (snapshot, version) = {
        node.records(&add(3));
        assert!(node.state.tree().is_none());
        node.records(&add_tree(&[1, 2, 3]));
        assert_eq!(opens(&node.said()), Some((EngineKind::Raft, members([1, 2, 3]))));
        node.records(&Command::RemoveMember { id: NodeId(2), strict: false });
        assert_eq!(opens(&node.said()), None, "once in a life");
        (node.state.meta().snapshot(), node.state.meta().machine().view().version())
    };
    assert_eq!(version, 4);
    // It crashed before it had opened the tree; and the log is gone by now.
    let mut again = Node { state: Node::fresh(), out: StateOutputs::default(), last: BTreeMap::new() };
    let (meta, chunks) = (snapshot.0, snapshot.1.collect());
    again.state.handle(ToState::Restore { group: META, meta, chunks }, &mut again.out);
    assert_eq!(opens(&again.said()), Some((EngineKind::Raft, members([1, 2, 3]))));
    assert_eq!(again.state.tree().expect("it is here").membership(), &members([1, 2, 3]));
}

/// {1 and 2; the tree is added, and 2 is removed before it has opened it}: without 2 the tree can do nothing, not even let it go.
#[test]
fn a_member_that_was_removed_opens_the_tree_that_still_needs_it() {
    let mut node = Node::new();
    let identity = Identity {
        cluster: ClusterId(7),
        node: NodeId(2),
        incarnation: Incarnation(2),
        life: 1,
        name: "n2".to_owned(),
        client_urls: Vec::new(),
    };
    node.state = State::new(identity, Some(Bootstrap { initialise: initialise(), birth: members([1, 2]) }));
    node.last.clear();
    node.records(&initialise());
    let entries = [add_tree(&[1, 2]), Command::RemoveMember { id: NodeId(2), strict: false }];
    let entries = entries.iter().zip(2..).map(|(command, index)| Entry {
        position: Position::new(1, index),
        payload: Payload::Command(TaggedCommand::encode(None, None, |to| to.raw(&command.encode()))),
    });
    let entries = entries.collect();
    node.state.handle(ToState::Entries { group: META, entries }, &mut node.out);
    let said = node.said();
    assert_eq!(opens(&said), Some((EngineKind::Raft, members([1, 2]))));
    assert_eq!(let_go(&said), []);
}

/// From the entry that adds it on: nobody is let go, and no change is said to be done, before the tree has followed the records, too.
#[test]
fn nobody_is_let_go_before_the_added_tree_has_followed() {
    let mut node = Node::new();
    node.records(&add_tree(&[1, 2]));
    node.records(&Command::RemoveMember { id: NodeId(2), strict: false });
    let said = node.said();
    node.read_is_safe(&said, META, 3);
    assert_eq!(
        wanted(&node.said()),
        [(KEYS, members([1])), (TREE, members([1])), (META, members([1, 2]))],
        "meta keeps 2 for the tree"
    );
    node.followed(META, 3);
    node.followed(KEYS, 3);
    assert_eq!(let_go(&node.said()), []);
    node.followed(TREE, 3);
    assert_eq!(let_go(&node.said()), [NodeId(2)]);
}

impl Node {
    fn hear(&mut self, from: u64, engine: Option<EngineKind>, wants: bool) -> Vec<Command> {
        let NodeInput::Relay { group, bytes, .. } = tree_word(engine, wants) else { panic!("a word") };
        self.state.handle(ToState::Relayed { group, from: NodeId(from), bytes }, &mut self.out);
        let proposed = self.said().into_iter().filter_map(|input| match input {
            NodeInput::Propose { group: META, command, .. } => {
                let tagged = TaggedCommand::decode(command).expect("our own");
                Some(Command::decode(&tagged.command).expect("our own"))
            }
            _ => None,
        });
        proposed.collect()
    }
}

/// Three nodes are upgraded one at a time, and the first of them wants the tree: an older build would not understand the command.
#[test]
fn the_leader_asks_for_the_tree_when_every_member_is_ready_and_one_wants_it() {
    let mut node = Node::new();
    node.records(&add(3));
    node.said();
    let (zab, raft) = (Some(EngineKind::Zab), Some(EngineKind::Raft));
    assert_eq!(node.hear(1, raft, true), [], "2 and 3 are of another build");
    assert_eq!(node.hear(2, raft, false), []);
    assert_eq!(node.hear(1, raft, true), [], "3 is of another build");
    assert_eq!(node.hear(3, None, false), [], "the leader's own words are the clock");
    assert_eq!(node.hear(1, raft, true), [add_tree(&[1, 2, 3])]);
    assert_eq!(node.hear(1, raft, true), [], "it is on its way");
    // Another came first, and so it was refused: it is asked for again, of all.
    node.records(&add(4));
    node.said();
    assert_eq!(node.hear(1, raft, true), []);
    for (id, engine) in [(2, raft), (3, None), (4, zab)] {
        node.hear(id, engine, false);
    }
    assert_eq!(node.hear(1, raft, true), [], "they do not agree");
    node.hear(4, raft, false);
    assert_eq!(node.hear(1, raft, true), [add_tree(&[1, 2, 3, 4])]);
    node.records(&add_tree(&[1, 2, 3, 4]));
    node.records(&add(5));
    node.said();
    node.hear(5, raft, true);
    assert_eq!(node.hear(1, raft, true), [], "it is there");
}

#[test]
fn who_does_not_lead_the_records_or_has_just_begun_to_asks_for_nothing() {
    let mut node = Node::new();
    node.said();
    let zab = Some(EngineKind::Zab);
    node.hear(2, zab, true);
    let follows = RoleChange { role: Role::Follower, epoch: Epoch(2), leader: Some(NodeId(2)) };
    node.state.handle(ToState::Role { group: META, change: follows }, &mut node.out);
    node.said();
    assert_eq!(node.hear(1, zab, true), []);
    node.lead_meta();
    node.said();
    assert_eq!(node.hear(1, zab, true), [], "what 2 said in an earlier lead says nothing of now");
    let forged = Bytes::from_static(b"whatever");
    node.state.handle(ToState::Relayed { group: META, from: NodeId(2), bytes: forged }, &mut node.out);
    assert_eq!(node.hear(1, zab, true), []);
    node.hear(2, zab, true);
    assert_eq!(node.hear(1, zab, true).len(), 1);
}

//! What the tests share: short ways to write commands, and strategies that draw them from a small world, where they meet.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part")]

use bytes::Bytes;
use proptest::prelude::*;
use quorate_consensus::{ClusterId, GroupId, Incarnation, NodeId, Placed, Position, StateMachine};
use quorate_placement::{
    Command, EngineKind, Event, GroupKind, GroupPlace, Member, Placement, PlacementError, Response,
};

pub(crate) fn urls(urls: &[&str]) -> Vec<String> {
    urls.iter().map(|url| (*url).to_owned()).collect()
}

pub(crate) fn url(id: u64) -> Vec<String> {
    vec![format!("http://node-{id}:2380")]
}

pub(crate) fn voter(id: u64) -> Member {
    Member::new(NodeId(id), url(id), false)
}

pub(crate) fn initialise(members: Vec<Member>) -> Command {
    let place = |kind| GroupPlace { kind, engine: EngineKind::Raft };
    let groups = [(GroupId(0), place(GroupKind::Meta)), (GroupId(1), place(GroupKind::Keys))].into();
    Command::Initialise { cluster: ClusterId(0xc), members, groups }
}

pub(crate) fn add(id: u64, learner: bool) -> Command {
    Command::AddMember { id: NodeId(id), peer_urls: url(id), learner, learners_max: 1, strict: false }
}

pub(crate) fn remove(id: u64) -> Command {
    Command::RemoveMember { id: NodeId(id), strict: false }
}

pub(crate) fn promote(id: u64) -> Command {
    Command::PromoteMember { id: NodeId(id), strict: false }
}

pub(crate) fn add_tree(engine: EngineKind, members: &[u64]) -> Command {
    let place = GroupPlace { kind: GroupKind::Tree, engine };
    Command::AddGroup { id: GroupId(3), place, members: members.iter().copied().map(NodeId).collect() }
}

pub(crate) fn disk(id: u64, incarnation: u64) -> Command {
    Command::RegisterDisk { id: NodeId(id), incarnation: Incarnation(incarnation) }
}

/// Evaluates and places as the group of `meta` does: changes are numbered one by one.
pub(crate) fn run_bytes(placement: &mut Placement, command: &Bytes) -> Placed<Response, Event> {
    let effect = placement.evaluate(Position::new(1, 1), command);
    let number = placement.number() + u64::from(Placement::changes(&effect));
    placement.place(effect, number)
}

pub(crate) fn run(placement: &mut Placement, command: &Command) -> Placed<Response, Event> {
    run_bytes(placement, &command.encode())
}

/// The error with which `command` is refused; it must have changed nothing.
pub(crate) fn refused(placement: &mut Placement, command: &Command) -> PlacementError {
    let before = placement.clone();
    let placed = run(placement, command);
    assert_eq!((&*placement, placed.events), (&before, Vec::new()));
    placed.response.members().expect_err("it is refused")
}

/// The command is carried out and changes something.
pub(crate) fn changed(placement: &mut Placement, command: &Command) {
    let number = placement.number() + 1;
    let placed = run(placement, command);
    let members: Vec<Member> = placement.view().members().values().cloned().collect();
    assert_eq!(placed.response, Response::Done { version: number, members });
    assert_eq!(placed.events, [Event::MembersChanged { version: number }]);
    assert_eq!(placement.number(), number);
}

/// The command is answered as if carried out, and changes nothing.
pub(crate) fn holds(placement: &mut Placement, command: &Command) {
    let before = placement.clone();
    let placed = run(placement, command);
    let members: Vec<Member> = before.view().members().values().cloned().collect();
    assert_eq!(placed.response, Response::Done { version: before.number(), members });
    assert_eq!((&*placement, placed.events), (&before, Vec::new()));
}

/// The cluster of voters 1, 2 and 3.
pub(crate) fn three() -> Placement {
    let mut placement = Placement::new();
    changed(&mut placement, &initialise(vec![voter(1), voter(2), voter(3)]));
    placement
}

/// Six ids and four ports: most commands meet an earlier one.
fn ids() -> impl Strategy<Value = NodeId> {
    (0u64..7).prop_map(NodeId)
}

fn some_urls() -> impl Strategy<Value = Vec<String>> {
    let url = prop_oneof![
        12 => (1u16..9).prop_map(|port| format!("http://h:{port}")),
        1 => Just("http://h".to_owned()),
        1 => Just("https://h:1".to_owned()),
    ];
    prop::collection::vec(url, 0..3)
}

fn members() -> impl Strategy<Value = Member> {
    (ids(), "[a-c]{0,2}", some_urls(), some_urls(), any::<bool>(), prop::option::of(0u64..3)).prop_map(
        |(id, name, peer_urls, client_urls, learner, incarnation)| Member {
            id,
            name,
            peer_urls,
            client_urls,
            learner,
            incarnation: incarnation.map(Incarnation),
        },
    )
}

fn places() -> impl Strategy<Value = GroupPlace> {
    let kind =
        prop::sample::select(vec![GroupKind::Meta, GroupKind::Keys, GroupKind::Tree, GroupKind::Order]);
    let engine = prop::sample::select(vec![EngineKind::Raft, EngineKind::Raft, EngineKind::Zab]);
    (kind, engine).prop_map(|(kind, engine)| GroupPlace { kind, engine })
}

/// Any command, sensible or not.
pub(crate) fn commands() -> impl Strategy<Value = Command> {
    // In half of the draws the members that most histories begin with.
    let asked = prop_oneof![Just([1, 2].map(NodeId).into()), prop::collection::btree_set(ids(), 0..4)];
    let groups = prop::collection::btree_map((0u64..300).prop_map(GroupId), places(), 0..4);
    prop_oneof![
        1 => (0u64..4, prop::collection::vec(members(), 0..4), groups).prop_map(|(cluster, members, groups)| {
            Command::Initialise { cluster: ClusterId(cluster), members, groups }
        }),
        4 => (ids(), some_urls(), any::<bool>(), 0u8..4, any::<bool>()).prop_map(|(id, peer_urls, learner, learners_max, strict)| {
            Command::AddMember { id, peer_urls, learner, learners_max, strict }
        }),
        2 => (ids(), any::<bool>()).prop_map(|(id, strict)| Command::RemoveMember { id, strict }),
        2 => (ids(), some_urls()).prop_map(|(id, peer_urls)| Command::UpdateMember { id, peer_urls }),
        2 => (ids(), any::<bool>()).prop_map(|(id, strict)| Command::PromoteMember { id, strict }),
        2 => (ids(), ids(), some_urls(), any::<bool>()).prop_map(|(old, new, peer_urls, strict)| {
            Command::ReplaceMember { old, new, peer_urls, strict }
        }),
        2 => (ids(), "[a-c]{0,2}", some_urls()).prop_map(|(id, name, client_urls)| {
            Command::Publish { id, name, client_urls }
        }),
        2 => (ids(), 0u64..3).prop_map(|(id, incarnation)| {
            Command::RegisterDisk { id, incarnation: Incarnation(incarnation) }
        }),
        2 => (0u64..4, places(), asked).prop_map(|(id, place, members)| {
            Command::AddGroup { id: GroupId(id), place, members }
        }),
    ]
}

/// A history, which begins with a sensible cluster in most cases: ids 1 and 2, of which 2 may be a learner.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Command>> {
    let first = |learner| initialise(vec![voter(1), Member { learner, ..voter(2) }]);
    (prop::option::weighted(0.9, any::<bool>()), prop::collection::vec(commands(), 0..40))
        .prop_map(move |(begin, rest)| begin.map(first).into_iter().chain(rest).collect())
}

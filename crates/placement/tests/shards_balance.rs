//! What the balancer suggests, and that it comes to rest.

mod shards_common;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate_consensus::{GroupId, Membership, NodeId, ShardId};
use quorate_placement::shards::{
    Command, Entry, LEADERS_GAP, Limits, Load, NodeLoad, NodeState, Rule, Shards, Suggestion, Token, plan,
};
use shards_common::{changed, cut_at, intents, one, run, voters};

const LIMITS: Limits =
    Limits { split_bytes: 1000, split_operations_per_s: 1000, moves_to_a_node: 2, transfers: 3 };

/// A cluster in which every suggestion is carried out, on a load that stays as it is.
struct World {
    shards: Shards,
    /// What each token carries: bytes and operations a second.
    tokens: BTreeMap<Token, (u64, u64)>,
    nodes: BTreeMap<NodeId, NodeLoad>,
    leaders: BTreeMap<GroupId, NodeId>,
}

impl World {
    fn new(shards: Shards, tokens: BTreeMap<Token, (u64, u64)>, nodes: u64) -> World {
        let nodes = (1..=nodes).map(|node| (NodeId(node), NodeLoad::default())).collect();
        let mut world = World { shards, tokens, nodes, leaders: BTreeMap::new() };
        world.elect();
        world
    }

    /// Who has no leader among its members gets the first one.
    fn elect(&mut self) {
        let mut leaders = BTreeMap::new();
        for entry in self.shards.map().shards() {
            let known =
                self.leaders.get(&entry.group).copied().filter(|leader| entry.members.is_voter(*leader));
            leaders.insert(entry.group, known.unwrap_or(entry.members.voters()[0]));
        }
        self.leaders = leaders;
    }

    fn load(&self, entry: &Entry) -> Load {
        let mut held = self.tokens.iter().filter(|(token, _)| entry.holds(token));
        let (bytes, operations_per_s) =
            held.clone().fold((0, 0), |(b, o), (_, (bytes, ops))| (b + bytes, o + ops));
        let (mut before, whole) = (0, bytes + operations_per_s);
        let middle = held.find_map(|(token, (bytes, ops))| {
            let here = *token != entry.from && 2 * before >= whole;
            before += bytes + ops;
            here.then(|| token.clone())
        });
        // Or the last one, if all that weighs is in front of it; or none, if there is only one.
        let last = self.tokens.keys().rfind(|token| entry.holds(token) && **token != entry.from).cloned();
        Load { bytes, operations_per_s, middle: middle.or(last) }
    }

    fn plan(&self, limits: &Limits) -> Vec<Suggestion> {
        let map = self.shards.map();
        let loads = map.shards().iter().map(|entry| (entry.shard, self.load(entry))).collect();
        plan(map, &loads, &self.nodes, &self.leaders, limits)
    }

    /// Carries everything out, each change whole.
    fn carry_out(&mut self, suggestions: &[Suggestion]) {
        for suggestion in suggestions {
            let map = self.shards.map();
            let entry =
                |shard: &ShardId| map.get(*shard).expect("it is suggested for a shard that is there").clone();
            match suggestion {
                Suggestion::Split { shard, at, .. } => {
                    let (entry, child) = (entry(shard), map.next_shard());
                    let group = GroupId(map.last_group().0 + 1);
                    let range_version = entry.range_version;
                    let begin =
                        Command::BeginSplit { shard: *shard, range_version, at: at.clone(), child, group };
                    changed(&mut self.shards, &begin);
                    changed(&mut self.shards, &Command::EndSplit { shard: *shard, child, range_version });
                }
                Suggestion::Merge { left, right, .. } => {
                    let (left_version, right_version) =
                        (entry(left).range_version, entry(right).range_version);
                    let (left, right) = (*left, *right);
                    changed(
                        &mut self.shards,
                        &Command::BeginMerge { left, right, left_version, right_version },
                    );
                    changed(&mut self.shards, &Command::EndMerge { left, right, left_version });
                }
                Suggestion::Move { shard, members, .. } => {
                    let (shard, config_version) = (*shard, entry(shard).config_version);
                    let members = members.clone();
                    changed(
                        &mut self.shards,
                        &Command::Move { shard, config_version, members: members.clone() },
                    );
                    changed(&mut self.shards, &Command::Moved { shard, config_version, members });
                }
                Suggestion::TransferLeader { group, from, to, .. } => {
                    assert_eq!(self.leaders.insert(*group, *to), Some(*from));
                }
            }
        }
        self.elect();
    }

    /// Until nothing is suggested any more. How many rounds that took.
    fn settle(&mut self, limits: &Limits, rounds_max: usize) -> usize {
        for round in 0..rounds_max {
            let suggestions = self.plan(limits);
            if suggestions.is_empty() {
                return round;
            }
            self.assert_sensible(&suggestions, limits);
            self.carry_out(&suggestions);
        }
        panic!("it does not come to rest: {:#?}", self.plan(limits));
    }

    fn assert_sensible(&self, suggestions: &[Suggestion], limits: &Limits) {
        let map = self.shards.map();
        let (mut touched, mut incoming, mut begun) = (Vec::new(), BTreeMap::<NodeId, usize>::new(), 0);
        for suggestion in suggestions {
            begun += usize::from(!matches!(suggestion, Suggestion::TransferLeader { .. }));
            match suggestion {
                Suggestion::Split { shard, .. } => touched.push(*shard),
                Suggestion::Merge { left, right, .. } => touched.extend([*left, *right]),
                Suggestion::Move { shard, members, .. } => {
                    let before = &map.get(*shard).expect("there").members;
                    assert_eq!(
                        before.voters().len(),
                        members.voters().len(),
                        "no two replicas on one node, none lost"
                    );
                    assert_eq!(before.learners().len(), members.learners().len());
                    for node in members.members().filter(|node| !before.contains(*node)) {
                        assert_eq!(self.nodes[&node].state, NodeState::Available);
                        *incoming.entry(node).or_default() += 1;
                    }
                    touched.push(*shard);
                }
                Suggestion::TransferLeader { group, to, .. } => {
                    let entry = map.shards().iter().find(|entry| entry.group == *group).expect("there");
                    assert!(entry.members.is_voter(*to));
                    assert_eq!(self.nodes[to].state, NodeState::Available);
                    touched.push(entry.shard);
                }
            }
            assert!(!suggestion.to_string().is_empty());
        }
        assert_eq!(touched.iter().collect::<BTreeSet<_>>().len(), touched.len(), "no shard comes twice");
        assert!(incoming.values().all(|count| *count <= limits.moves_to_a_node));
        assert!(begun <= usize::from(map.changes_at_once()));
    }

    fn replicas(&self, node: u64) -> usize {
        self.shards.map().shards().iter().filter(|entry| entry.members.contains(NodeId(node))).count()
    }

    fn led_by(&self, node: u64) -> usize {
        self.leaders.values().filter(|leader| **leader == NodeId(node)).count()
    }
}

fn letters(bytes: u64) -> BTreeMap<Token, (u64, u64)> {
    (b'a'..=b'z').map(|letter| (Token::new(vec![letter]), (bytes, 0))).collect()
}

fn even(cuts: &[&str]) -> World {
    // 300 each: too much for two together, too little to be split.
    let tokens = [""].iter().chain(cuts).map(|cut| (Token::from(*cut), (300, 0))).collect();
    World::new(cut_at(cuts), tokens, 3)
}

#[test]
fn a_shard_that_is_too_large_is_split_until_none_is() {
    let mut world = World::new(one(), letters(200), 3);
    let first = world.plan(&LIMITS);
    assert_eq!(first.len(), 1);
    let text = first[0].to_string();
    assert!(text.starts_with("split s1 at \"n\": it has 5200 bytes, and 1000 are the most"), "{text}");
    world.settle(&LIMITS, 20);
    let map = world.shards.map();
    assert!(map.shards().iter().all(|entry| world.load(entry).bytes <= 1000));
    assert!((6..=8).contains(&map.shards().len()), "{}", map.shards().len());
}

#[test]
fn one_hot_key_is_not_cut() {
    let mut world = World::new(one(), [(Token::from("k"), (10, 90_000))].into(), 3);
    // It is parted from the rest of its shard, and that is all that can be done.
    world.settle(&LIMITS, 5);
    assert!(world.shards.map().shards().len() <= 2);
}

#[test]
fn by_hash_a_shard_is_halved_without_a_measurement() {
    let mut shards = one();
    changed(&mut shards, &Command::SetRule { rule: Rule::Hash, range_version: 1 });
    let loads = [(ShardId(1), Load { bytes: 5000, ..Load::default() })].into();
    let nodes = [(NodeId(1), NodeLoad::default())].into();
    let suggested = plan(shards.map(), &loads, &nodes, &BTreeMap::new(), &LIMITS);
    let at = Token::new(vec![0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(&suggested[..], [Suggestion::Split { at: cut, .. }] if *cut == at), "{suggested:?}");
}

#[test]
fn small_neighbours_are_merged_and_stay_merged() {
    let mut world = World::new(cut_at(&["d", "h", "l", "p", "t"]), letters(10), 3);
    world.settle(&LIMITS, 20);
    assert_eq!(world.shards.map().shards().len(), 1);
}

#[test]
fn small_neighbours_that_live_apart_are_first_brought_together() {
    let mut world = World::new(cut_at(&["m"]), letters(10), 6);
    world.carry_out(&[Suggestion::Move {
        shard: ShardId(2),
        members: voters(&[4, 5, 6]),
        because: String::new(),
    }]);
    let first = world.plan(&LIMITS);
    assert!(
        matches!(&first[..], [Suggestion::Move { shard: ShardId(2), members, .. }] if *members == voters(&[1, 2, 3]))
    );
    world.carry_out(&first);
    let second = world.plan(&LIMITS);
    assert!(matches!(&second[..], [Suggestion::Merge { .. }, ..]), "{second:?}");
    world.settle(&LIMITS, 5);
    assert_eq!(world.shards.map().shards().len(), 1);
}

#[test]
fn new_nodes_fill_by_themselves() {
    let mut world = even(&["c", "e", "g", "i", "k", "m", "o", "q", "s", "u", "w"]);
    assert_eq!((world.replicas(1), world.replicas(4)), (12, 0));
    for node in 4..=6 {
        world.nodes.insert(NodeId(node), NodeLoad::default());
    }
    world.settle(&LIMITS, 30);
    for node in 1..=6 {
        assert!((5..=7).contains(&world.replicas(node)), "node {node} has {}", world.replicas(node));
        assert!((1..=3).contains(&world.led_by(node)), "node {node} leads {}", world.led_by(node));
    }
}

#[test]
fn nodes_that_are_to_be_emptied_are_emptied_if_there_is_room() {
    let mut world = even(&["c", "e", "g", "i"]);
    world.leaders.values_mut().for_each(|leader| *leader = NodeId(2));
    world.nodes.insert(NodeId(2), NodeLoad { state: NodeState::Draining });
    // Three members, and only two nodes may have any: nothing can be done but to hand leaders over.
    world.settle(&LIMITS, 10);
    assert_eq!((world.replicas(2), world.led_by(2)), (5, 0));
    world.nodes.insert(NodeId(4), NodeLoad::default());
    let limits = Limits { moves_to_a_node: 1, ..LIMITS };
    assert_eq!(world.plan(&limits).iter().filter(|one| matches!(one, Suggestion::Move { .. })).count(), 1);
    world.settle(&limits, 10);
    assert_eq!((world.replicas(2), world.replicas(4)), (0, 5));
}

#[test]
fn what_is_under_way_counts_and_is_left_alone() {
    let mut world = World::new(cut_at(&["h", "p"]), letters(200), 3);
    changed(&mut world.shards, &Command::SetLimit { changes_at_once: 2 });
    let splits =
        |plan: &[Suggestion]| plan.iter().filter(|one| matches!(one, Suggestion::Split { .. })).count();
    assert_eq!(splits(&world.plan(&LIMITS)), 2, "three are too large, and two may be split at a time");
    changed(&mut world.shards, &shards_common::move_to(1, 1, &[1, 2, 4]));
    let suggested = world.plan(&LIMITS);
    assert_eq!(splits(&suggested), 1);
    assert!(
        matches!(&suggested[0], Suggestion::Split { shard, .. } if *shard != ShardId(1)),
        "{suggested:?}"
    );
    changed(&mut world.shards, &Command::SetLimit { changes_at_once: 0 });
    let suggested = world.plan(&LIMITS);
    assert!(suggested.iter().all(|one| matches!(one, Suggestion::TransferLeader { .. })));
}

proptest! {
    /// From any map and on any load, it comes to rest: no large shard that could be cut is left, no node leads many more than another
    /// that could lead in its place, and no replica is where none may be.
    #[test]
    fn it_comes_to_rest(
        intents in intents(50),
        loads in prop::collection::vec((0u64..600, 0u64..600), 26),
        nodes in 4u64..8,
        states in prop::collection::vec(prop_oneof![5 => Just(NodeState::Available), 1 => Just(NodeState::Draining), 1 => Just(NodeState::Down)], 8),
        limit in 1u16..9,
    ) {
        let (states_of_map, _) = shards_common::history(&intents);
        let mut shards = states_of_map.last().expect("the first").clone();
        finish(&mut shards);
        run(&mut shards, &Command::SetLimit { changes_at_once: limit });
        let rule = shards.map().rule();
        let tokens = shards_common::keys().into_iter().step_by(2).map(|key| rule.token(&key));
        let tokens = tokens.zip(loads.iter().cycle().copied()).collect();
        let mut world = World::new(shards, tokens, nodes.max(6));
        for (node, state) in world.nodes.values_mut().zip(&states) {
            node.state = *state;
        }
        world.settle(&LIMITS, 300);
        for entry in world.shards.map().shards() {
            let load = world.load(entry);
            prop_assert!((load.bytes <= 1000 && load.operations_per_s <= 1000) || load.middle.is_none() || !available(&world, &entry.members));
            let leader = world.leaders[&entry.group];
            let led = |node: NodeId| world.led_by(node.0);
            if world.nodes[&leader].state == NodeState::Available && available(&world, &entry.members) {
                prop_assert!(entry.members.voters().iter().all(|voter| led(leader) < led(*voter) + LEADERS_GAP));
            }
        }
    }
}

fn available(world: &World, members: &Membership) -> bool {
    members.members().all(|node| world.nodes[&node].state == NodeState::Available)
}

/// Ends whatever is under way.
fn finish(shards: &mut Shards) {
    use quorate_placement::shards::Phase;
    for entry in shards.map().shards().to_vec() {
        let (shard, config_version) = (entry.shard, entry.config_version);
        let command = match entry.phase {
            Phase::Splitting { child, .. } => {
                Command::EndSplit { shard, child, range_version: entry.range_version }
            }
            Phase::Merging { with, survives: true } => {
                Command::EndMerge { left: shard, right: with, left_version: entry.range_version }
            }
            Phase::Moving { to } => Command::Moved { shard, config_version, members: to },
            Phase::Whole | Phase::Merging { .. } => continue,
        };
        changed(shards, &command);
    }
}

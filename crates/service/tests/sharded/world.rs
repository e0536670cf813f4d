//! Three state halves, the committed logs of their groups, and everything that can go wrong between them: proposals and words are lost or late, leaders change, nodes
//! read at their own pace, take snapshots, and begin anew from them.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part")]

mod handovers;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, EngineKind, Entry, Epoch, GroupId, Incarnation, Index, Membership, NodeId, Payload, Position,
    Random, Role, RoleChange, SnapshotMeta,
};
use quorate_service::{
    Bootstrap, Founding, Identity, KEYS, KeysNews, Reply, State, founding_entry,
    keyspace::{Command, Event, LeaseId, News, View},
    node::{FromState, NodeInput, Origin, Outcome, StateHalf, StateOutputs, TaggedCommand, Ticket, ToState},
    placement::{Command as Records, Member, cluster_id, shards::ShardMap},
    shards::{self, Undone},
    shards_tick,
};

pub(crate) use handovers::Asked;

pub(crate) const NODES: usize = 3;
pub(crate) const SHARDS: u16 = 4;
const FOUNDING: Founding = Founding { shards: SHARDS, engine: EngineKind::Raft };

/// What a node tells its front end.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Changes, since the last time that nobody knew what had happened.
    pub(crate) events: Vec<Event>,
    /// That was at this revision.
    pub(crate) since: u64,
    pub(crate) revision: u64,
    /// What all shards together leave below the quota.
    pub(crate) room_bytes: u64,
    /// How the keys are divided.
    pub(crate) map: Option<Arc<ShardMap>>,
}

type Saved = (SnapshotMeta, Vec<Bytes>);

pub(crate) struct Node {
    id: NodeId,
    life: u64,
    founding: Option<Founding>,
    pub(crate) state: State,
    pub(crate) heard: Arc<Mutex<Heard>>,
    /// Groups that are open here, and how far each log was read.
    read: BTreeMap<GroupId, u64>,
    snapshots: BTreeMap<GroupId, Saved>,
}

/// What a client was told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Done(quorate_service::keyspace::Response),
    Undone(Undone),
    View(View),
}

pub(crate) struct Request {
    pub(crate) command: Option<Command>,
    /// The newest revision of which anybody had been told when it was asked.
    pub(crate) seen: u64,
    pub(crate) node: usize,
    /// Leases that had been granted by then, as far as anybody was told.
    pub(crate) granted: Vec<LeaseId>,
    pub(crate) told: Option<Told>,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) nodes: Vec<Node>,
    logs: BTreeMap<GroupId, Vec<Entry>>,
    leaders: BTreeMap<GroupId, (usize, u64)>,
    /// Words under way to whoever leads the keys, and to a node itself.
    words: VecDeque<(Option<usize>, NodeId, Bytes)>,
    proposals: VecDeque<(GroupId, Bytes)>,
    /// Where each node's logs begin.
    compacted: BTreeMap<(usize, GroupId), Index>,
    pub(crate) requests: Vec<Request>,
    /// Which of them are to split or merge shards.
    handovers: Vec<(usize, Asked)>,
    /// One in so many proposals and words is lost.
    losses: u64,
    lags: bool,
    /// Nothing that is proposed to this group comes into its log.
    pub(crate) without_leader: Option<GroupId>,
    /// This node reads nothing of this group's log.
    pub(crate) unread: Vec<(usize, GroupId)>,
}

fn members() -> Membership {
    Membership::new((1..=NODES as u64).map(NodeId), [])
}

fn start(id: NodeId, life: u64, founding: Option<Founding>) -> (State, Arc<Mutex<Heard>>) {
    let ids = (1..=NODES as u64).map(NodeId);
    let founders = ids.clone().map(|id| Member::new(id, vec![format!("http://n{}:1", id.0)], false));
    let initialise = Records::Initialise {
        cluster: cluster_id(ids),
        members: founders.collect(),
        groups: BTreeMap::new(),
    };
    let identity = Identity {
        cluster: ClusterId(1),
        node: id,
        incarnation: Incarnation(id.0),
        life,
        name: format!("n{}", id.0),
        client_urls: Vec::new(),
    };
    let heard = Arc::new(Mutex::new(Heard::default()));
    let sink = {
        let heard = Arc::clone(&heard);
        move |news: KeysNews| {
            let mut heard = heard.lock().unwrap();
            match news {
                KeysNews::Applied { before, revision, news } => {
                    assert!(
                        before >= heard.revision && revision >= before,
                        "{before}..{revision}: {heard:?}"
                    );
                    heard.revision = revision;
                    heard.events.extend(news.into_iter().filter_map(|news| match news {
                        News::Changed(event) => Some(event),
                        _ => None,
                    }));
                }
                KeysNews::Replaced { revision, .. } => {
                    let (room_bytes, map) = (heard.room_bytes, heard.map.take());
                    *heard = Heard { events: Vec::new(), since: revision, revision, room_bytes, map };
                }
                KeysNews::Divided(map) => {
                    let newer = heard.map.as_ref().is_none_or(|before| before.version() < map.version());
                    assert!(newer, "{} comes behind {:?}", map.version(), heard.map);
                    heard.map = Some(map);
                }
                KeysNews::Room(bytes) => heard.room_bytes = bytes,
                KeysNews::Role(_) | KeysNews::Word { .. } => {}
            }
        }
    };
    let state = State::new(identity, Some(Bootstrap { initialise, birth: members() }))
        .with_keys_sink(Box::new(sink))
        .with_founding(founding);
    (state, heard)
}

impl World {
    /// A new cluster whose keys are divided from the beginning.
    pub(crate) fn new(seed: u64) -> World {
        let mut world = World::alone(seed, Some(FOUNDING));
        while world.nodes.iter().any(|node| node.state.shards().is_none()) {
            world.calm_step();
        }
        world
    }

    /// A new cluster of one group of keys.
    pub(crate) fn alone(seed: u64, founding: Option<Founding>) -> World {
        let nodes = (1..=NODES as u64).map(NodeId).map(|id| {
            let (state, heard) = start(id, 1, founding);
            Node {
                id,
                life: 1,
                founding,
                state,
                heard,
                read: BTreeMap::from([(KEYS, 0)]),
                snapshots: BTreeMap::new(),
            }
        });
        let mut world = World {
            random: Random::new(seed),
            nodes: nodes.collect(),
            logs: BTreeMap::from([(KEYS, Vec::new())]),
            leaders: BTreeMap::new(),
            words: VecDeque::new(),
            proposals: VecDeque::new(),
            compacted: BTreeMap::new(),
            requests: Vec::new(),
            handovers: Vec::new(),
            lags: false,
            without_leader: None,
            unread: Vec::new(),
            losses: if seed.is_multiple_of(3) { 1_000_000 } else { 12 },
        };
        world.elects(KEYS);
        world
    }

    /// An operator has the keys divided that there are by now.
    pub(crate) fn founds(&mut self) {
        let ticket = Ticket(self.requests.len() as u64);
        let origin = Some(Origin { node: self.nodes[0].id, life: 1, ticket });
        let entry = founding_entry(FOUNDING, &members());
        self.proposals.push_back((KEYS, TaggedCommand::encode(origin, None, |to| to.raw(&entry))));
    }

    pub(crate) fn pick(&mut self, below: u64) -> u64 {
        self.random.below(below)
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.pick(one_in) == 0
    }

    fn loses(&mut self) -> bool {
        self.random.chance(1, self.losses)
    }

    // ── the core, as far as a state half sees it ────────────────────────────────────────────────────────────────────────

    pub(crate) fn give(&mut self, node: usize, input: ToState) {
        let mut out = StateOutputs::default();
        self.nodes[node].state.handle(input, &mut out);
        for input in out.core {
            self.core(node, input);
        }
        for (ticket, reply) in out.replies {
            let told = match reply {
                Reply::Keys(Outcome::Done(response)) => Told::Done(response),
                Reply::Undone(undone) => Told::Undone(undone),
                Reply::KeysView(view) => Told::View(view),
                other => panic!("{other:?}"),
            };
            // Those of the state half itself nobody waits for, nor those of an earlier life.
            let number = ticket.0 as usize;
            if let Some(request) = self.requests.get_mut(number) {
                assert!(request.told.is_none(), "{number} is told twice: {:?}, {told:?}", request.told);
                request.told = Some(told);
            }
        }
    }

    fn core(&mut self, node: usize, input: NodeInput) {
        let id = self.nodes[node].id;
        match input {
            NodeInput::Propose { group, command, .. } if !self.loses() => {
                self.proposals.push_back((group, command));
            }
            NodeInput::Relay { group: KEYS, to, bytes } => {
                let to = to.map(|to| to.0 as usize - 1);
                if to == Some(node) || !self.loses() {
                    self.words.push_back((to, id, bytes));
                }
            }
            NodeInput::Open(config) => self.opens(node, config.id),
            NodeInput::State(FromState::Snapshot { group, meta, chunks }) => {
                let position = meta.position;
                self.nodes[node].snapshots.insert(group, (meta, chunks.collect()));
                // The log before it may go, or stay.
                let compacted = if self.chance(2) { position.index } else { Index::ZERO };
                self.compacted.insert((node, group), compacted);
                self.give(node, ToState::Kept { group, position, compacted });
            }
            NodeInput::State(FromState::RestoreFailed { group, why }) => panic!("{group}: {why}"),
            _ => {}
        }
    }

    /// The core opens a group: its snapshot first, if there is one; then its log.
    fn opens(&mut self, node: usize, group: GroupId) {
        self.logs.entry(group).or_default();
        self.restores(node, group);
        if !self.leaders.contains_key(&group) {
            self.elects(group);
        } else {
            self.tell_role(node, group);
        }
    }

    fn restores(&mut self, node: usize, group: GroupId) {
        let saved = self.nodes[node].snapshots.get(&group).cloned();
        let at = saved.as_ref().map_or(0, |(meta, _)| meta.position.index.0);
        self.nodes[node].read.insert(group, at);
        if let Some((meta, chunks)) = saved {
            self.give(node, ToState::Restore { group, meta, chunks });
        }
    }

    pub(crate) fn leader(&self, group: GroupId) -> usize {
        self.leaders[&group].0
    }

    pub(crate) fn elects(&mut self, group: GroupId) {
        let epoch = self.leaders.get(&group).map_or(0, |(_, epoch)| *epoch) + 1;
        let leader = self.pick(NODES as u64) as usize;
        self.leaders.insert(group, (leader, epoch));
        for node in 0..NODES {
            self.tell_role(node, group);
        }
    }

    fn tell_role(&mut self, node: usize, group: GroupId) {
        let (leader, epoch) = self.leaders[&group];
        let role = if leader == node { Role::Leader } else { Role::Follower };
        let change = RoleChange { role, epoch: Epoch(epoch), leader: Some(NodeId(leader as u64 + 1)) };
        self.give(node, ToState::Role { group, change });
    }

    /// Something that was proposed comes into its group's log.
    fn commits(&mut self) -> bool {
        let Some((group, command)) = self.proposals.pop_front() else { return false };
        if self.without_leader == Some(group) {
            return true;
        }
        let epoch = self.leaders[&group].1;
        let log = self.logs.get_mut(&group).expect("a group that is open");
        let position = Position::new(epoch, log.len() as u64 + 1);
        log.push(Entry { position, payload: Payload::Command(command) });
        true
    }

    pub(crate) fn reads(&mut self, node: usize, group: GroupId, most: u64) -> bool {
        if self.unread.contains(&(node, group)) {
            return false;
        }
        let Some(at) = self.nodes[node].read.get_mut(&group) else { return false };
        let log = &self.logs[&group];
        let to = (*at + most).min(log.len() as u64);
        let entries = log[*at as usize..to as usize].to_vec();
        *at = to;
        if entries.is_empty() {
            return false;
        }
        self.give(node, ToState::Entries { group, entries });
        true
    }

    fn hears(&mut self) -> bool {
        let Some((to, from, bytes)) = self.words.pop_front() else { return false };
        let to = to.unwrap_or(self.leaders[&KEYS].0);
        self.give(to, ToState::Relayed { group: KEYS, from, bytes });
        true
    }

    fn ticks(&mut self, node: usize) {
        let NodeInput::Relay { bytes, .. } = shards_tick(self.nodes[node].id) else { unreachable!() };
        let from = self.nodes[node].id;
        self.give(node, ToState::Relayed { group: KEYS, from, bytes });
    }

    /// The process ends, and begins anew from what it had saved.
    pub(crate) fn begins_anew(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        this.life += 1;
        (this.state, this.heard) = start(this.id, this.life, this.founding);
        this.read = BTreeMap::new();
        self.restores(node, KEYS);
        self.tell_role(node, KEYS);
    }

    pub(crate) fn has_begun_anew(&self, node: usize) -> bool {
        self.nodes[node].life > 1
    }

    /// Its log may be gone before it.
    pub(crate) fn takes_snapshot(&mut self, node: usize, group: GroupId) {
        self.give(node, ToState::SnapshotDue { group });
    }

    /// A leader sends its snapshot to one who is far behind.
    pub(crate) fn is_sent_a_snapshot(&mut self, node: usize, group: GroupId) {
        let (leader, _) = self.leaders[&group];
        let Some(saved) = self.nodes[leader].snapshots.get(&group).cloned() else { return };
        if leader == node
            || saved.0.position.index.0 <= self.nodes[node].read.get(&group).copied().unwrap_or(u64::MAX)
        {
            return;
        }
        self.nodes[node].snapshots.insert(group, saved);
        self.restores(node, group);
        // What it shows now may be less than what it showed before, unless it waits.
        self.asks_view_of(node, true);
    }

    /// From here on little is lost, and the last node hears of the order late.
    pub(crate) fn is_careful(&mut self) {
        (self.losses, self.lags) = (200, true);
    }

    // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A client asks a node that never begins anew: its answer comes.
    pub(crate) fn asks(&mut self, command: Command) {
        let node = self.pick(NODES as u64 - 1) as usize;
        let ticket = Ticket(self.requests.len() as u64);
        let origin = Some(Origin { node: self.nodes[node].id, life: 1, ticket });
        // Some front ends do not know of the shards yet.
        let map = self.nodes[node].heard.lock().unwrap().map.clone().filter(|_| !self.random.chance(1, 10));
        let owner = map.and_then(|map| Some(map.get(shards::sole_owner(&command, &map)?)?.group));
        let (group, bytes) = match owner {
            Some(group) => (group, TaggedCommand::encode(origin, None, |to| shards::turn(&command, to))),
            None => (KEYS, TaggedCommand::encode(origin, None, |to| to.raw(&command.encode()))),
        };
        let seen = self.seen();
        self.requests.push(Request { command: Some(command), seen, node, granted: Vec::new(), told: None });
        self.proposals.push_back((group, bytes));
    }

    /// A client asks this group, whoever has the keys.
    pub(crate) fn asks_in(&mut self, group: GroupId, command: Command) {
        let ticket = Ticket(self.requests.len() as u64);
        let origin = Some(Origin { node: self.nodes[0].id, life: 1, ticket });
        let bytes = TaggedCommand::encode(origin, None, |to| shards::turn(&command, to));
        let (command, seen) = (Some(command), self.seen());
        self.requests.push(Request { command, seen, node: 0, granted: Vec::new(), told: None });
        self.proposals.push_back((group, bytes));
    }

    /// A linearizable read: confirmed by the order, wherever it stands by now.
    pub(crate) fn asks_view(&mut self, serializable: bool) {
        let node = self.pick(NODES as u64) as usize;
        self.asks_view_of(node, serializable);
    }

    pub(crate) fn asks_view_of(&mut self, node: usize, serializable: bool) {
        if self.nodes[node].state.shards().is_none() {
            return;
        }
        let ticket = Ticket(self.requests.len() as u64);
        let seen = if serializable { 0 } else { self.seen() };
        let granted = if serializable { Vec::new() } else { self.granted() };
        self.requests.push(Request { command: None, seen, node, granted, told: None });
        let index = Index(self.logs[&KEYS].len() as u64);
        self.give(
            node,
            if serializable {
                ToState::ReadLocal { group: KEYS, ticket }
            } else {
                ToState::ReadSafe { group: KEYS, tickets: vec![ticket], index }
            },
        );
    }

    /// Leases that are granted for good.
    fn granted(&self) -> Vec<LeaseId> {
        let of = |request: &Request| match (&request.command, &request.told) {
            (Some(Command::LeaseGrant { id, .. }), Some(Told::Done(response))) => {
                (id.0 > 100 && response.result.is_ok()).then_some(*id)
            }
            _ => None,
        };
        self.requests.iter().filter_map(of).collect()
    }

    /// The newest revision that anybody was told of.
    pub(crate) fn seen(&self) -> u64 {
        let told = self.requests.iter().filter_map(|request| match &request.told {
            Some(Told::Done(response)) => Some(response.revision),
            Some(Told::View(view)) => Some(view.revision()),
            Some(Told::Undone(_)) | None => None,
        });
        told.max().unwrap_or(1)
    }

    fn group(&mut self) -> GroupId {
        let place = self.pick(self.logs.len() as u64) as usize;
        self.logs.keys().copied().nth(place).expect("below the length")
    }

    pub(crate) fn step(&mut self) {
        let (node, group) = (self.pick(NODES as u64) as usize, self.group());
        match self.pick(100) {
            0..30 => _ = self.commits(),
            30..70 if self.lags && node == NODES - 1 && group == KEYS && !self.chance(6) => {}
            30..70 => {
                let most = 1 + self.pick(4);
                self.reads(node, group, most);
            }
            70..88 => _ = self.hears(),
            88..92 => self.ticks(node),
            92 => self.elects(group),
            93 | 94 => self.takes_snapshot(node, group),
            95 | 96 => self.is_sent_a_snapshot(NODES - 1, group),
            98 if self.chance(4) => self.begins_anew(NODES - 1),
            // A word comes late.
            97 => {
                if let Some(word) = self.words.pop_front() {
                    self.words.push_back(word);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn calm_step(&mut self) {
        while self.commits() {}
        let groups: Vec<GroupId> = self.logs.keys().copied().collect();
        for node in 0..NODES {
            for group in &groups {
                self.reads(node, *group, u64::MAX / 2);
            }
        }
        while self.hears() {}
        for node in 0..NODES {
            self.ticks(node);
        }
    }

    /// Nobody asks any more, nothing is lost, and everything that can happen does.
    pub(crate) fn settles(&mut self) {
        self.losses = u64::MAX;
        for _ in 0..150 {
            self.calm_step();
        }
        // Behind a handover that took long, many transactions are void, and the end of each is logged one after the other.
        for _ in 0..600 {
            if self.requests.iter().all(|request| request.told.is_some() || self.has_begun_anew(request.node))
            {
                break;
            }
            self.calm_step();
        }
    }
}

//! Many shards under one order come to what one keyspace comes to that is given the same commands in the order of their revisions.
//!
//! Committed logs, and nodes that read them at any pace, begin anew, and report whenever they like. What comes out of each node is the same sequence; a single keyspace
//! that is given it, transactions over shards whole, gives the same answers, the same changes and the same revisions. And what was asked after an answer comes after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use quorate_consensus::{
    Duration, EngineKind, GroupId, Instant, Membership, NodeId, Position, Random, ShardId, StateMachine,
};
use quorate_order::{Command as OrderCommand, LaneEntry, Orderer, Part, Scribe, ScribeConfig, TxnId};
use quorate_service::{
    keyspace::{
        self, Command, Compare, CompareResult, CompareTarget, DeleteRange, Event, Keyspace, News, Operation,
        Put, Range, Reply, Shard, SortOrder, SortTarget, Txn,
    },
    placement::shards::{Command as MapCommand, ShardMap, Shards, Token},
    shards::{Asked, Numbered, Parts, Sequence, ShardReplica},
};

const SHARDS: [ShardId; 3] = [ShardId(1), ShardId(2), ShardId(3)];

/// [a, d), [d, g) and the rest.
fn map() -> ShardMap {
    let members = Membership::new([NodeId(1)], []);
    let mut shards = Shards::new(GroupId(2), members, EngineKind::Raft).unwrap();
    for (shard, at, child) in [(1, "d", 2), (2, "g", 3)] {
        let (shard, child) = (ShardId(shard), ShardId(child));
        let (range_version, group) =
            (shards.map().get(shard).unwrap().range_version, GroupId(u64::from(child.0) + 10));
        let begin = MapCommand::BeginSplit { shard, range_version, at: Token::from(at), child, group };
        for command in [begin, MapCommand::EndSplit { shard, child, range_version }] {
            let effect = shards.evaluate(&command).unwrap();
            shards.apply(effect);
        }
    }
    shards.map().clone()
}

/// What a client asked, by its ticket.
struct Request {
    command: Command,
    /// If it is a transaction that goes by the order log.
    parts: Option<Parts>,
    /// The newest revision that had come out anywhere when it was asked.
    seen: u64,
}

struct Node {
    order: Orderer,
    order_at: usize,
    replicas: BTreeMap<ShardId, (ShardReplica, usize)>,
    /// All up to here was placed in one of them when it was restored.
    sequence: Sequence,
    out: Vec<Numbered>,
}

impl Node {
    fn new() -> Node {
        let order = Orderer::new(1, SHARDS);
        let replica =
            |id: ShardId| (id, (ShardReplica::new(id, Shard::new(Keyspace::new()), Arc::new(map())), 0));
        let replicas = SHARDS.map(replica).into();
        Node { order, order_at: 0, replicas, sequence: Sequence::new(1), out: vec![] }
    }

    fn gather(&mut self) {
        let read = self.sequence.revision();
        let mut replicas: Vec<&mut ShardReplica> =
            self.replicas.values_mut().map(|(replica, _)| replica).collect();
        let out = self.sequence.advance(self.order.revision(), &[], &mut replicas);
        // A revision that could be read is there whole.
        assert!(out.iter().all(|numbered| !numbered.changes || numbered.revision > read), "{read}: {out:?}");
        self.out.extend(out);
    }

    /// A replica begins anew from its snapshot, which says what was read of the log and is not placed.
    fn restores(&mut self, shard: ShardId) {
        let (replica, _) = self.replicas.get_mut(&shard).unwrap();
        let mut state = replica.machine().snapshot();
        *replica =
            ShardReplica::restored(replica.head(), &mut || Keyspace::restore_next(&mut state)).unwrap();
        assert!(replica.follow(&self.order), "nothing is forgotten");
        self.gather();
    }
}

struct World {
    random: Random,
    map: ShardMap,
    now: Instant,
    requests: Vec<Request>,
    logs: BTreeMap<ShardId, Vec<LaneEntry<Asked>>>,
    order_log: Vec<OrderCommand>,
    /// The tickets of transactions, in the order in which they began.
    begun: Vec<usize>,
    /// Whose entry of a shard's log it is.
    tickets: BTreeMap<(ShardId, u64), usize>,
    /// Where the store stood at the beginning of each, once its entry was applied.
    known: BTreeMap<TxnId, u64>,
    nodes: Vec<Node>,
    scribe: Scribe,
    /// There are times without a word, in which transactions become void.
    silent: bool,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            random: Random::new(seed),
            map: map(),
            now: Instant::START,
            requests: vec![],
            logs: SHARDS.map(|shard| (shard, vec![])).into(),
            order_log: vec![],
            begun: vec![],
            tickets: BTreeMap::new(),
            known: BTreeMap::new(),
            nodes: vec![Node::new(), Node::new()],
            scribe: Scribe::new(ScribeConfig::default(), Instant::START),
            silent: seed % 2 == 1,
        }
    }

    fn pick(&mut self, below: u64) -> u64 {
        self.random.below(below)
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.pick(one_in) == 0
    }

    fn key(&mut self) -> &'static str {
        ["a", "b", "c", "d", "e", "f", "g", "h", "i"][self.pick(9) as usize]
    }

    fn seen(&self) -> u64 {
        self.nodes.iter().map(|node| node.sequence.revision()).max().unwrap()
    }

    fn put(&mut self) -> Put {
        let value = ["1", "2", "3"][self.pick(3) as usize];
        let ignore_value = self.chance(12);
        let value = if ignore_value { "" } else { value };
        let prev_kv = self.chance(2);
        Put { key: self.key().into(), value: value.into(), prev_kv, ignore_value, ..Put::default() }
    }

    fn end(&mut self) -> &'static str {
        ["", "", "\0", "e", "h", "z"][self.pick(6) as usize]
    }

    fn delete(&mut self) -> DeleteRange {
        DeleteRange { key: self.key().into(), range_end: self.end().into(), prev_kv: self.chance(2) }
    }

    fn range(&mut self) -> Range {
        let seen = self.seen();
        let revision = match self.pick(6) {
            0 => 1 + self.pick(seen),
            1 => seen - self.pick(seen.min(3)),
            _ => 0,
        };
        let sort_target =
            [SortTarget::Key, SortTarget::Value, SortTarget::Mod, SortTarget::Version][self.pick(4) as usize];
        let sort_order = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend][self.pick(3) as usize];
        Range {
            key: self.key().into(),
            range_end: self.end().into(),
            limit: self.pick(4) as i64,
            revision: revision as i64,
            sort_order,
            sort_target,
            keys_only: self.chance(4),
            count_only: self.chance(8),
            min_mod_revision: if self.chance(8) { self.pick(30) as i64 } else { 0 },
            ..Range::default()
        }
    }

    fn operation(&mut self, nested: bool) -> Operation {
        match self.pick(if nested { 8 } else { 7 }) {
            0..4 => Operation::Put(self.put()),
            4 => Operation::DeleteRange(self.delete()),
            5 | 6 => Operation::Range(self.range()),
            _ => Operation::Txn(self.txn(false)),
        }
    }

    fn txn(&mut self, nested: bool) -> Txn {
        let compare = (0..self.pick(3)).map(|_| {
            let seen = self.seen() as i64;
            let target = match self.pick(4) {
                0 => CompareTarget::Mod(self.pick(seen as u64 + 6) as i64),
                1 => CompareTarget::Create(self.pick(seen as u64 + 6) as i64),
                2 => CompareTarget::Version(self.pick(4) as i64),
                _ => CompareTarget::Value("1".into()),
            };
            let result =
                [CompareResult::Equal, CompareResult::NotEqual, CompareResult::Greater, CompareResult::Less]
                    [self.pick(4) as usize];
            let range_end = if self.chance(6) { self.end() } else { "" };
            Compare { key: self.key().into(), range_end: range_end.into(), result, target }
        });
        let compare = compare.collect();
        let branch = |world: &mut World| (0..world.pick(4)).map(|_| world.operation(nested)).collect();
        Txn { compare, success: branch(self), failure: branch(self) }
    }

    // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

    fn asks(&mut self) {
        let command = match self.pick(3) {
            0 => Command::Put(self.put()),
            1 => Command::DeleteRange(self.delete()),
            _ => Command::Txn(self.txn(true)),
        };
        // What fails by itself is refused before anything is proposed.
        if keyspace::check(&command, &keyspace::Limits::default()).is_err() {
            return;
        }
        let txn = match &command {
            Command::Put(put) => then(Operation::Put(put.clone())),
            Command::DeleteRange(delete) => then(Operation::DeleteRange(delete.clone())),
            Command::Txn(txn) => txn.clone(),
            _ => unreachable!("no other is asked"),
        };
        let Ok(parts) = Parts::of(&txn, &self.map) else { return };
        let owners: Vec<ShardId> = parts.iter().map(|(shard, _)| shard).collect();
        let (ticket, seen) = (self.requests.len(), self.seen());
        match owners[..] {
            [] => {}
            // One shard alone, unless it asks for a revision of which that shard may not have heard.
            [owner] if !asks_for_the_past(&txn) => {
                let asked = self.asked(&command, ticket, 0, owner);
                self.logs.get_mut(&owner).unwrap().push(LaneEntry::Command(asked));
                self.requests.push(Request { command, parts: None, seen });
            }
            _ => {
                self.order_log.push(OrderCommand::Begin(owners));
                self.begun.push(ticket);
                self.requests.push(Request { command: Command::Txn(txn), parts: Some(parts), seen });
            }
        }
    }

    fn asked(&mut self, command: &Command, ticket: usize, known: u64, shard: ShardId) -> Asked {
        let entry = self.logs[&shard].len() as u64 + 1;
        self.tickets.insert((shard, entry), ticket);
        Asked { at: Position::new(1, entry), command: command.encode(), known, entry }
    }

    /// The shard's leader logs the barrier of the next transaction that touches it.
    fn logs_barrier(&mut self, shard: ShardId) {
        let log = &self.logs[&shard];
        let newest = log.iter().filter_map(|entry| match entry {
            LaneEntry::Barrier(txn, _) => Some(*txn),
            _ => None,
        });
        let newest = newest.max().unwrap_or_default();
        // A new leader does not know that the one before it has done so.
        if self.random.chance(1, 8)
            && let Some(barrier) = log.iter().rfind(|entry| matches!(entry, LaneEntry::Barrier(..))).cloned()
        {
            return self.logs.get_mut(&shard).unwrap().push(barrier);
        }
        let touches = |(_, ticket): &(TxnId, usize)| {
            let parts = self.requests[*ticket].parts.as_ref().unwrap();
            parts.iter().any(|(owner, _)| owner == shard)
        };
        let numbered = (1..).map(TxnId).zip(self.begun.iter().copied());
        let next = numbered.filter(|(txn, _)| *txn > newest).find(touches);
        let Some((txn, ticket)) = next else { return };
        let Some(known) = self.known.get(&txn).copied() else { return };
        let parts = self.requests[ticket].parts.as_ref().unwrap();
        let part = parts.iter().find(|(owner, _)| *owner == shard).unwrap().1.clone();
        let asked = self.asked(&Command::Txn(part), ticket, known, shard);
        self.logs.get_mut(&shard).unwrap().push(LaneEntry::Barrier(txn, asked));
    }

    /// Some leader of the shard has heard of the transaction at whose barrier it stands; perhaps not the first one.
    fn logs_branch(&mut self, node: usize, shard: ShardId) {
        let this = &self.nodes[node];
        let Some(txn) = this.replicas[&shard].0.stands_at() else { return };
        let branch = match this.order.part(shard, txn) {
            Part::Open => return,
            Part::Done { branch } => Some(branch),
            Part::Void => None,
        };
        self.logs.get_mut(&shard).unwrap().push(LaneEntry::Branch(txn, branch));
    }

    fn reads_shard(&mut self, node: usize, shard: ShardId) -> bool {
        let this = &mut self.nodes[node];
        let (replica, at) = this.replicas.get_mut(&shard).unwrap();
        let Some(entry) = self.logs[&shard].get(*at) else { return false };
        *at += 1;
        replica.take(entry.clone());
        this.gather();
        true
    }

    fn reads_order(&mut self, node: usize) -> bool {
        let this = &mut self.nodes[node];
        let Some(command) = self.order_log.get(this.order_at) else { return false };
        this.order_at += 1;
        if let Ok(Some(txn)) = this.order.apply(command) {
            self.known.insert(txn, this.order.revision());
        }
        for (replica, _) in this.replicas.values_mut() {
            assert!(replica.follow(&this.order), "nothing is forgotten");
        }
        this.gather();
        if node == 0 {
            self.scribe.settled(command);
        }
        true
    }

    fn reports(&mut self, node: usize, shard: ShardId) {
        self.scribe.report(self.nodes[node].replicas[&shard].0.report());
    }

    fn orders(&mut self) {
        self.now = self.now + Duration::from_micros(700);
        let due = self.scribe.due(self.now, &self.nodes[0].order);
        self.order_log.extend(due);
    }

    fn step(&mut self) {
        let (node, shard) = (self.pick(2) as usize, SHARDS[self.pick(3) as usize]);
        match self.pick(40) {
            0..8 => self.asks(),
            8..10 => self.logs_barrier(shard),
            10..12 => self.logs_branch(node, shard),
            12..22 => _ = self.reads_shard(node, shard),
            22..30 => _ = self.reads_order(node),
            30..35 => self.reports(node, shard),
            35..39 => self.orders(),
            _ if self.chance(8) && node == 1 => self.nodes[1] = Node::new(),
            _ if self.chance(2) => self.nodes[node].restores(shard),
            // A shard is silent for so long that transactions are void.
            _ if self.silent && self.chance(16) => self.now = self.now + Duration::from_millis(2_100),
            // The order group's leader changes: the next one has been told nothing.
            _ if self.chance(8) => self.scribe = Scribe::new(ScribeConfig::default(), self.now),
            _ => {}
        }
    }

    /// Nobody asks any more, and everything that can happen does.
    fn settles(&mut self) {
        for _ in 0..500 {
            for shard in SHARDS {
                self.logs_barrier(shard);
                for node in 0..self.nodes.len() {
                    while self.reads_shard(node, shard) {}
                    self.reports(node, shard);
                }
                self.logs_branch(0, shard);
            }
            self.orders();
            for node in 0..self.nodes.len() {
                while self.reads_order(node) {}
            }
        }
    }
}

fn then(operation: Operation) -> Txn {
    Txn { compare: vec![], success: vec![operation], failure: vec![] }
}

fn asks_for_the_past(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|operation| match operation {
        Operation::Range(range) => range.revision > 0,
        Operation::Txn(nested) => asks_for_the_past(nested),
        _ => false,
    })
}

/// Does it put a key that there has to be?
fn may_be_refused(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|operation| match operation {
        Operation::Put(put) => put.ignore_value,
        Operation::Txn(nested) => may_be_refused(nested),
        _ => false,
    })
}

/// Of one revision, whose changes are numbered from 0: in a transaction over shards, shard by shard.
fn by_key(news: Vec<News>) -> Vec<Event> {
    let events = news.into_iter().enumerate().map(|(number, news)| match news {
        News::Changed(event) if event.sub as usize == number => Event { sub: 0, ..event },
        other => panic!("change {number} of a revision: {other:?}"),
    });
    let mut events: Vec<Event> = events.collect();
    events.sort_by(|one, other| one.kv.key.cmp(&other.kv.key));
    events
}

/// Revision by revision; what changes nothing was told of the change before it, and may have come out in any order behind that.
fn in_order(out: &[Numbered]) -> Vec<Numbered> {
    let place = |numbered: &Numbered| (numbered.revision, !numbered.changes);
    assert!(
        out.windows(2).all(|pair| pair[0].revision <= pair[1].revision),
        "a revision comes after a later one"
    );
    let mut out = out.to_vec();
    out.sort_by_key(|numbered| (place(numbered), numbered.txn, numbered.shard, numbered.entry));
    out
}

#[derive(Debug, Default)]
struct Seen {
    turns: usize,
    transactions: usize,
    void: usize,
}

/// Gives a single keyspace what came out, in that order.
fn check(world: &World, seen: &mut Seen) {
    let [one, other] = &world.nodes[..] else { unreachable!("two nodes") };
    let out = in_order(&one.out);
    assert!(out == in_order(&other.out), "two nodes tell two stories");
    let mut alone = Keyspace::new();
    let mut answered = BTreeSet::new();
    let mut rest = &out[..];
    while let Some(first) = rest.first() {
        let of = |numbered: &&Numbered| numbered.txn.is_some() && numbered.txn == first.txn;
        let count = rest.iter().take_while(of).count().max(1);
        let (items, after) = rest.split_at(count);
        rest = after;
        let ticket = world.tickets[&(first.shard, first.entry)];
        assert!(answered.insert(ticket), "answered once");
        let request = &world.requests[ticket];
        // Asked when revision `seen` was there to be read: it comes after that.
        assert!(
            first.revision >= request.seen + u64::from(first.changes),
            "{} {}",
            first.revision,
            request.seen
        );
        let whole = alone.apply(Position::new(1, ticket as u64 + 1), &request.command.encode());
        assert_eq!(first.revision, whole.response.revision, "{:?}", request.command);
        let (result, news) = match (&first.txn, &request.parts, &request.command) {
            (None, None, _) => {
                seen.turns += 1;
                (first.response.result.clone(), first.news.clone())
            }
            (Some((_, branch)), Some(parts), Command::Txn(txn)) => {
                seen.transactions += 1;
                let replies = items.iter().map(|item| match &item.response.result {
                    Ok(Reply::Txn(reply)) => (item.shard, reply.clone()),
                    other => panic!("{other:?}"),
                });
                let placed = (first.revision, first.changes);
                let reply = parts.assemble(txn, *branch, placed, &replies.collect()).expect("all parts");
                (Ok(Reply::Txn(reply)), items.iter().flat_map(|item| item.news.clone()).collect())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(result, whole.response.result, "{:?}", request.command);
        assert_eq!(by_key(news), by_key(whole.events));
    }
    for (ticket, request) in
        world.requests.iter().enumerate().filter(|(ticket, _)| !answered.contains(ticket))
    {
        assert!(request.parts.is_some(), "{ticket} is never answered");
        let Command::Txn(txn) = &request.command else { unreachable!("it has parts") };
        assert!(world.silent || may_be_refused(txn), "{ticket} is void: {txn:?}");
        seen.void += 1;
    }
    // And what is there to be read in the end is what it has.
    let revision = alone.number();
    assert_eq!(one.sequence.revision(), revision);
    for at in [0, (revision / 2) as i64, revision as i64] {
        let all =
            Range { key: "a".into(), range_end: "\0".into(), revision: at, limit: 5, ..Range::default() };
        let views = one
            .replicas
            .values()
            .map(|(replica, _)| replica.machine().view(revision).range(&all.part()).unwrap());
        assert_eq!(all.merge(views), alone.view().range(&all).unwrap());
    }
}

#[test]
fn many_shards_under_one_order_are_one_keyspace() {
    let mut seen = Seen::default();
    for seed in 0..300 {
        let mut world = World::new(seed);
        (0..1_500).for_each(|_| world.step());
        world.settles();
        check(&world, &mut seen);
    }
    assert!(seen.turns > 30_000 && seen.transactions > 8_000 && seen.void > 500, "{seen:?}");
}

//! The shards of this node: their groups' replicas, who waits for what, and what a node does where it leads.
//!
//! | who | does |
//! |---|---|
//! | every node | evaluates and places; answers those who wait here |
//! | who leads a shard | says how far it is evaluated; logs barriers and branches there |
//! | who leads the order | gathers that, and proposes cuts and decisions |
//!
//! Whatever a leader says or proposes may be lost; it is said again after a while. Said twice it does no harm: reports are facts, a barrier that stands is passed over,
//! and a cut that is old changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use quorate_consensus::{
    Duration, Entry, GroupId, Index, Instant, NodeId, Position, RestoreError, Role, RoleChange, ShardId,
    SnapshotMeta, StateMachine as _, Writer,
};
use quorate_keyspace::{Command, KeyspaceError, News, Owners, Reply, Response, Shard, View, Weight};
use quorate_node::{Applied, FromState, GroupConfig, NodeInput, Replica, Ticket};
use quorate_order::{Command as OrderCommand, Part, SLICES_MAX, Scribe, ScribeConfig, TxnId};
use quorate_placement::shards::ShardMap;

use super::{
    Division, Numbered, Order, Sequence, ShardCommand, ShardMachine, ShardReplica, Undone, Word, order_entry,
};

/// How much time a [`Word::Tick`] says has passed.
pub const TICK: Duration = Duration::from_millis(100);
/// What was proposed and has not come in so many ticks is proposed again.
const AGAIN_TICKS: u64 = 10;
/// A transaction that is void, and of which no shard here says why, is answered after so many.
const SILENT_TICKS: u64 = 3;

/// What the owner has to do.
#[derive(Debug, Default)]
pub struct ShardsOut {
    /// To be proposed: to which group, and what. With a command of the order, [`NodeShards::proposed`] is to be told the ticket.
    pub proposals: Vec<(GroupId, Bytes, Option<OrderCommand>)>,
    /// To be said to the leader of the order.
    pub words: Vec<Word>,
    /// For those who wait.
    pub replies: Vec<(Ticket, Result<Response, Undone>)>,
    /// Reads that may be served from a view now.
    pub reads: Vec<Ticket>,
    /// What happened, in order; from the first revision to the second.
    pub news: Option<(u64, u64, Vec<News>)>,
    /// Groups of which a snapshot is wanted, so that the order may forget.
    pub snapshots: Vec<GroupId>,
    /// The state is another one, and nobody knows what happened in between.
    pub replaced: bool,
}

struct Group {
    shard: ShardId,
    replica: Replica<ShardMachine>,
    applied: Applied<ShardMachine>,
    /// Who waits on this node for which entry of the log.
    tickets: BTreeMap<u64, Ticket>,
    /// Its beginning is compacted away: nothing can be evaluated before a snapshot has come.
    awaits_snapshot: bool,
    leads: bool,
    /// What this leader has said and proposed, and need not again.
    said: Said,
    /// Snapshots that are not known to be durable: by the last entry, the slices that lie before them.
    taken: BTreeMap<Index, u64>,
    /// This node will not ask again for so many slices.
    kept: u64,
}

#[derive(Debug, Default)]
struct Said {
    report: Option<quorate_order::Report>,
    barrier: TxnId,
    branch: TxnId,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("shard", &self.shard)
            .field("leads", &self.leads)
            .finish_non_exhaustive()
    }
}

/// A client of this node that waits for a transaction over shards.
#[derive(Debug)]
struct Waiting {
    /// More than one, if a command came again that was not to be done twice.
    tickets: Vec<Ticket>,
    division: Division,
    results: BTreeMap<ShardId, Result<Reply, KeyspaceError>>,
    /// Since which tick it is known to be void.
    void_since: Option<u64>,
}

impl Waiting {
    fn tell(&self, answer: &Result<Response, Undone>, out: &mut ShardsOut) {
        out.replies.extend(self.tickets.iter().map(|ticket| (*ticket, answer.clone())));
    }
}

/// What whoever leads the order has gathered.
#[derive(Debug)]
struct Lead {
    scribe: Scribe,
    /// What was proposed, and when.
    proposed: BTreeMap<Ticket, (OrderCommand, u64)>,
    /// Slices that members do not need any more.
    kept: BTreeMap<(ShardId, NodeId), u64>,
    /// What was last asked to be forgotten.
    forgotten: BTreeMap<ShardId, u64>,
}

impl Lead {
    fn new(now: Instant) -> Lead {
        let config = ScribeConfig { cut_interval: Duration::ZERO, ..ScribeConfig::default() };
        Lead {
            scribe: Scribe::new(config, now),
            proposed: BTreeMap::new(),
            kept: BTreeMap::new(),
            forgotten: BTreeMap::new(),
        }
    }
}

/// Which of a node's shards has a key.
#[derive(Debug)]
struct Owning {
    map: Arc<ShardMap>,
    /// In the order of the parts.
    shards: Vec<ShardId>,
}

impl Owning {
    fn place(&self, shard: ShardId) -> usize {
        self.shards.binary_search(&shard).expect("every shard of the map is a part")
    }
}

impl Owners for Owning {
    fn owner(&self, key: &[u8]) -> usize {
        self.place(self.map.locate(key).shard)
    }

    fn owners(&self, key: &[u8], range_end: &[u8]) -> Vec<usize> {
        let to = match range_end {
            b"" => return vec![self.owner(key)],
            b"\0" => None,
            end => Some(end),
        };
        let mut owners: Vec<usize> =
            self.map.locate_range(key, to).map(|entry| self.place(entry.shard)).collect();
        owners.sort_unstable();
        owners
    }
}

/// The shards of this node.
#[derive(Debug)]
pub struct NodeShards {
    groups: BTreeMap<GroupId, Group>,
    owners: Arc<Owning>,
    sequence: Sequence,
    /// Some shard was restored with what stood there: no view before all have come as far.
    floor: u64,
    /// The revision up to which news were told; none while nobody knows what happened.
    told: Option<u64>,
    waiting: BTreeMap<TxnId, Waiting>,
    /// Reads, by the revision that they wait for.
    reads: BTreeMap<u64, Vec<Ticket>>,
    lead: Option<Lead>,
    ticks: u64,
}

impl NodeShards {
    /// The shards of an order that was founded, or found in a snapshot; and what the core is told to open.
    #[must_use]
    pub fn open(order: &Order, node: NodeId, life: u64) -> (NodeShards, Vec<NodeInput>) {
        let map = Arc::clone(order.map());
        let mut shards: Vec<ShardId> = map.shards().iter().map(|entry| entry.shard).collect();
        shards.sort_unstable();
        let (mut groups, mut opened) = (BTreeMap::new(), Vec::new());
        for entry in map.shards() {
            let mut replica = ShardReplica::new(entry.shard, Shard::new(order.birth()));
            let there = replica.follow(order.orderer());
            let machine = ShardMachine::new(replica);
            let group = Group {
                shard: entry.shard,
                replica: Replica::new(machine, entry.members.clone(), node, life),
                applied: Applied::default(),
                tickets: BTreeMap::new(),
                awaits_snapshot: !there,
                leads: false,
                said: Said::default(),
                taken: BTreeMap::new(),
                kept: 0,
            };
            groups.insert(entry.group, group);
            let config = GroupConfig { id: entry.group, engine: entry.engine, birth: entry.members.clone() };
            opened.push(NodeInput::Open(config));
        }
        let born = order.birth().number();
        let shards = NodeShards {
            groups,
            owners: Arc::new(Owning { map, shards }),
            sequence: Sequence::new(born),
            floor: born,
            told: None,
            waiting: BTreeMap::new(),
            reads: BTreeMap::new(),
            lead: None,
            ticks: 0,
        };
        (shards, opened)
    }

    /// Is it one of these groups?
    #[must_use]
    pub fn has(&self, group: GroupId) -> bool {
        self.groups.contains_key(&group)
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.groups.keys().copied()
    }

    /// How far the groups have followed the records: the one that is behind all others.
    #[must_use]
    pub fn followed(&self) -> u64 {
        self.groups.values().map(|group| group.replica.followed()).min().unwrap_or(u64::MAX)
    }

    /// The revision up to which everything is placed here.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.sequence.revision()
    }

    fn now(&self) -> Instant {
        Instant::START + TICK * u32::try_from(self.ticks).unwrap_or(u32::MAX)
    }

    fn group_of(&mut self, shard: ShardId) -> Option<&mut Group> {
        let group = self.owners.map.get(shard)?.group;
        self.groups.get_mut(&group)
    }

    // ── what comes from the core ────────────────────────────────────────────────────────────────────────────────────

    /// Applies committed entries of a shard's log; what the core is to be told of it.
    pub fn entries(&mut self, id: GroupId, entries: Vec<Entry>) -> Option<FromState> {
        let group = self.groups.get_mut(&id)?;
        for entry in entries {
            let index = entry.position.index.0;
            group.replica.apply(entry, &mut group.applied);
            for (ticket, _) in group.applied.replies.drain(..) {
                group.tickets.insert(index, ticket);
            }
        }
        Some(group.report(id, false))
    }

    /// A shard's snapshot takes its state's place.
    ///
    /// # Errors
    /// The chunks are not what `meta` describes.
    pub fn restore(
        &mut self,
        id: GroupId,
        meta: &SnapshotMeta,
        chunks: impl IntoIterator<Item = Bytes>,
        order: &Order,
        out: &mut ShardsOut,
    ) -> Result<Option<FromState>, RestoreError> {
        let Some(group) = self.groups.get_mut(&id) else { return Ok(None) };
        let applied = group.replica.applied();
        if meta.position.index <= applied.index && applied != Position::ZERO {
            // Older than what is here (rule R21).
            return Ok(Some(group.report(id, false)));
        }
        group.replica.restore(meta, chunks)?;
        let replica = group.replica.machine_mut().replica_mut();
        if replica.shard() != group.shard {
            let expected = u64::from(group.shard.0);
            return Err(RestoreError::Digest { expected, found: u64::from(replica.shard().0) });
        }
        group.awaits_snapshot = !replica.follow(order.orderer());
        group.taken.insert(meta.position.index, replica.place().slice);
        // The snapshot may have placed more than the others here, or less than this replica had: whoever took it had read more of the log and less of the order.
        let (placed, before) = (replica.machine().placed().number(), self.sequence.revision());
        self.floor = self.floor.max(placed).max(before);
        self.sequence = Sequence::new(placed.min(before));
        self.told = None;
        // Which of them were placed within the snapshot, nobody knows.
        let lost = std::mem::take(&mut group.tickets).into_values();
        out.replies.extend(lost.map(|ticket| (ticket, Err(Undone::Unknown))));
        Ok(Some(group.report(id, true)))
    }

    /// A snapshot of a shard, as it stands.
    pub fn snapshot(&mut self, id: GroupId) -> Option<FromState> {
        let group = self.groups.get_mut(&id)?;
        let slice = group.replica.machine().replica().place().slice;
        let (meta, chunks) = group.replica.snapshot();
        group.taken.insert(meta.position.index, slice);
        Some(FromState::Snapshot { group: id, meta, chunks: Box::new(chunks) })
    }

    /// A snapshot of a shard is durable here, and the log before `compacted` is gone.
    ///
    /// Only then are the slices before it not needed any more, by this node or by whom it leads: {a snapshot, and all of the log}: a newcomer is sent the log from its
    /// beginning, and has to number that. Found by real processes in a storm.
    pub fn kept(&mut self, id: GroupId, index: Index, compacted: Index) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if let Some(slices) = group.taken.get(&index).copied().filter(|_| compacted > Index::ZERO) {
            group.kept = group.kept.max(slices);
        }
        group.taken.retain(|taken, _| *taken > index);
    }

    /// This node's role in a shard's group changed, or its leader did.
    pub fn role(&mut self, id: GroupId, change: RoleChange) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.leads = change.role == Role::Leader;
            group.said = Said::default();
        }
    }

    /// The order's leader is another one, or the same anew; perhaps this node.
    pub fn new_order_leader(&mut self, leads: bool) {
        let now = self.now();
        self.lead = leads.then(|| Lead::new(now));
        // Whoever leads now has been told nothing.
        self.groups.values_mut().for_each(|group| group.said.report = None);
    }

    // ── what comes from the order ───────────────────────────────────────────────────────────────────────────────────

    /// A transaction that a client of this node waits for has begun.
    pub fn begun(&mut self, ticket: Ticket, txn: TxnId, command: &Bytes) {
        let Ok(command) = Command::decode(command) else { return };
        let Ok(division) = Division::of(&command, &self.owners.map) else { return };
        let waiting = Waiting { tickets: Vec::new(), division, results: BTreeMap::new(), void_since: None };
        self.waiting.entry(txn).or_insert(waiting).tickets.push(ticket);
    }

    /// An entry that this node proposed to the order is in its log.
    pub fn settled(&mut self, ticket: Ticket) {
        let Some(lead) = &mut self.lead else { return };
        if let Some((command, _)) = lead.proposed.remove(&ticket) {
            lead.scribe.settled(&command);
        }
    }

    /// A command of the order was proposed under this ticket.
    pub fn proposed(&mut self, ticket: Ticket, command: OrderCommand) {
        let ticks = self.ticks;
        if let Some(lead) = &mut self.lead {
            lead.proposed.insert(ticket, (command, ticks));
        }
    }

    /// The order has come further. False: a replica here needs slices that were forgotten.
    #[must_use]
    pub fn follow(&mut self, order: &Order) -> bool {
        let mut there = true;
        for group in self.groups.values_mut().filter(|group| !group.awaits_snapshot) {
            there &= group.replica.machine_mut().replica_mut().follow(order.orderer());
        }
        there
    }

    /// The order was restored from a snapshot: transactions may have become void meanwhile, and decisions were not seen.
    pub fn order_jumped(&mut self) {
        self.told = None;
    }

    // ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A word that a node said.
    pub fn hear(
        &mut self,
        from: NodeId,
        own: NodeId,
        word: Word,
        order: &Order,
        members: &[NodeId],
        out: &mut ShardsOut,
    ) {
        match (word, &mut self.lead) {
            (Word::Tick, _) if from == own => self.tick(order, members, out),
            (Word::Tick, _) => {}
            (Word::Report(report), Some(lead)) => lead.scribe.report(report),
            (Word::Kept { shard, slices }, Some(lead)) => {
                let kept = lead.kept.entry((shard, from)).or_default();
                *kept = (*kept).max(slices);
            }
            // Whoever took this node for the leader says it again.
            (Word::Report(_) | Word::Kept { .. }, None) => {}
        }
    }

    /// Time passes: what may have been lost is said again.
    fn tick(&mut self, order: &Order, members: &[NodeId], out: &mut ShardsOut) {
        self.ticks += 1;
        let ticks = self.ticks;
        if ticks.is_multiple_of(AGAIN_TICKS) {
            for (id, group) in &mut self.groups {
                group.said = Said::default();
                out.words.push(Word::Kept { shard: group.shard, slices: group.kept });
                let (there, place) =
                    (order.orderer().slices(group.shard), group.replica.machine().replica().place());
                let last = group.taken.values().max().copied().unwrap_or(group.kept);
                if there.is_some_and(|slices| slices.len() > SLICES_MAX / 4)
                    && place.slice - last.min(place.slice) > SLICES_MAX as u64 / 8
                {
                    out.snapshots.push(*id);
                }
            }
        }
        if let Some(lead) = &mut self.lead {
            let late = |(_, since): &(OrderCommand, u64)| ticks >= since + AGAIN_TICKS;
            let lost: Vec<Ticket> = lead
                .proposed
                .iter()
                .filter(|(_, proposed)| late(proposed))
                .map(|(ticket, _)| *ticket)
                .collect();
            for ticket in lost {
                let (command, _) = lead.proposed.remove(&ticket).expect("just seen");
                lead.scribe.settled(&command);
            }
            if ticks.is_multiple_of(AGAIN_TICKS) {
                lead.forget(order, members, out);
            }
        }
        self.answer_void(order, out);
    }

    /// Transactions that came to nothing: whoever waits is told why, if a shard here knows.
    fn answer_void(&mut self, order: &Order, out: &mut ShardsOut) {
        let (ticks, revision) = (self.ticks, self.sequence.revision());
        let mut done = Vec::new();
        for (txn, waiting) in &mut self.waiting {
            let void = |shard| order.orderer().part(shard, *txn) == Part::Void;
            if !waiting.division.shards().all(void) || !waiting.results.is_empty() {
                continue;
            }
            let since = *waiting.void_since.get_or_insert(ticks);
            let of = |shard| {
                let group = self.groups.get(&self.owners.map.get(shard)?.group)?;
                group.replica.machine().replica().weighed(*txn)
            };
            let weights: Option<Vec<Weight>> = waiting.division.shards().map(of).collect();
            if let Some(error) = weights.and_then(|weights| refusal(&weights)) {
                done.push((*txn, Ok(Response { revision, result: Err(error) })));
            } else if ticks >= since + SILENT_TICKS {
                done.push((*txn, Err(Undone::Silent)));
            }
        }
        for (txn, answer) in done {
            let waiting = self.waiting.remove(&txn).expect("just seen");
            waiting.tell(&answer, out);
        }
    }

    // ── placing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Goes as far as logs and order have come, and does what is to be done where this node leads. To be called after each batch of whatever happened.
    pub fn advance(&mut self, order: &Order, out: &mut ShardsOut) {
        if self.groups.values().all(|group| !group.awaits_snapshot) {
            let before = self.sequence.revision();
            let mut replicas: Vec<&mut ShardReplica> =
                self.groups.values_mut().map(|group| group.replica.machine_mut().replica_mut()).collect();
            let placed = self.sequence.advance(order.orderer().revision(), &mut replicas);
            self.came_out(before, placed, out);
            self.answer_void(order, out);
            self.release_reads(out);
        }
        self.do_duties(order, out);
    }

    fn came_out(&mut self, before: u64, placed: Vec<Numbered>, out: &mut ShardsOut) {
        let first = self.owners.shards.first().copied();
        let mut news = Vec::new();
        for mut numbered in placed {
            // Each shard has all that concerns no key, and tells of it: once is enough.
            let is_first = Some(numbered.shard) == first;
            let told = numbered.news.drain(..).filter(|news| is_first || matches!(news, News::Changed(_)));
            news.extend(told);
            self.answer(numbered, out);
        }
        let revision = self.sequence.revision();
        match self.told {
            Some(_) if news.is_empty() => self.told = Some(revision),
            Some(_) => {
                out.news = Some((before, revision, news));
                self.told = Some(revision);
            }
            None if revision >= self.floor => {
                out.replaced = true;
                self.told = Some(revision);
            }
            None => {}
        }
    }

    fn answer(&mut self, numbered: Numbered, out: &mut ShardsOut) {
        let Numbered { shard, revision, changes, txn, entry, response, .. } = numbered;
        let Some((txn, branch)) = txn else {
            if let Some(ticket) = self.group_of(shard).and_then(|group| group.tickets.remove(&entry)) {
                out.replies.push((ticket, Ok(response)));
            }
            return;
        };
        let Some(waiting) = self.waiting.get_mut(&txn) else { return };
        waiting.results.insert(shard, response.result);
        if waiting.results.len() < waiting.division.len() {
            return;
        }
        let waiting = self.waiting.remove(&txn).expect("just seen");
        let result = waiting.division.assemble(branch, (revision, changes), &waiting.results);
        let answer = result.map(|result| Response { revision, result }).ok_or(Undone::Unknown);
        waiting.tell(&answer, out);
    }

    // ── reads ───────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A read that waits until everything up to `revision` is placed here. None: as things stand here, however old.
    pub fn read(&mut self, ticket: Ticket, revision: Option<u64>, out: &mut ShardsOut) {
        let revision = revision.unwrap_or(self.floor).max(self.floor);
        self.reads.entry(revision).or_default().push(ticket);
        self.release_reads(out);
    }

    fn release_reads(&mut self, out: &mut ShardsOut) {
        let revision = self.sequence.revision();
        if revision < self.floor || self.groups.values().any(|group| group.awaits_snapshot) {
            return;
        }
        let later = self.reads.split_off(&(revision + 1));
        out.reads.extend(std::mem::replace(&mut self.reads, later).into_values().flatten());
    }

    /// The keys, as of [`revision`](Self::revision). Not to be shown before all shards have come as far as one of them was restored with; reads wait for that.
    #[must_use]
    pub fn view(&self) -> View {
        let revision = self.sequence.revision();
        let of = |shard: &ShardId| {
            let group = &self.groups[&self.owners.map.get(*shard).expect("a shard of the map").group];
            group.replica.machine().replica().machine().view(revision)
        };
        let parts = self.owners.shards.iter().map(of).collect();
        View::of_shards(revision, parts, Arc::clone(&self.owners) as Arc<dyn Owners>)
    }

    // ── what leaders do ─────────────────────────────────────────────────────────────────────────────────────────────

    fn do_duties(&mut self, order: &Order, out: &mut ShardsOut) {
        for (id, group) in self.groups.iter_mut().filter(|(_, group)| group.leads && !group.awaits_snapshot) {
            group.do_duties(*id, order, out);
        }
        let now = self.now();
        if let Some(lead) = &mut self.lead {
            for command in lead.scribe.due(now, order.orderer()) {
                out.proposals.push((crate::KEYS, order_entry(&command), Some(command)));
            }
        }
    }
}

/// Why a transaction came to nothing of which all shards have said this: one of them refuses the branch that would have been taken. None: it took too long.
fn refusal(weights: &[Weight]) -> Option<KeyspaceError> {
    let branch = weights.iter().all(|weight| weight.holds);
    weights.iter().find_map(|weight| weight.changes[usize::from(!branch)].err())
}

impl Group {
    fn report(&mut self, id: GroupId, jumped: bool) -> FromState {
        let own = std::mem::take(&mut self.applied.own);
        self.applied.replies.clear();
        FromState::Applied {
            group: id,
            position: self.replica.applied(),
            own,
            state_bytes: self.replica.machine().size_bytes(),
            jumped,
            followed: self.replica.followed(),
        }
    }

    fn do_duties(&mut self, id: GroupId, order: &Order, out: &mut ShardsOut) {
        let replica = self.replica.machine().replica();
        let report = replica.report();
        let is_news = order.orderer().placed(self.shard).is_some_and(|placed| report.upto > placed)
            || report.verdict.is_some();
        if is_news && self.said.report != Some(report) {
            self.said.report = Some(report);
            out.words.push(Word::Report(report));
        }
        if let Some(txn) = replica.stands_at().filter(|txn| *txn > self.said.branch) {
            let branch = match order.orderer().part(self.shard, txn) {
                Part::Open => None,
                Part::Done { branch } => Some(Some(branch)),
                Part::Void => Some(None),
            };
            if let Some(branch) = branch {
                self.said.branch = txn;
                out.proposals.push((id, encoded(&ShardCommand::Branch(txn, branch)), None));
            }
        }
        let behind = replica.newest().max(self.said.barrier);
        for (txn, barrier) in order.barriers(self.shard, behind) {
            let super::Barrier { at, known, part } = barrier;
            let command = ShardCommand::Barrier { txn, at, known, part };
            out.proposals.push((id, encoded(&command), None));
            self.said.barrier = txn;
        }
    }
}

impl Lead {
    /// The order forgets what every member has behind a durable snapshot.
    fn forget(&mut self, order: &Order, members: &[NodeId], out: &mut ShardsOut) {
        let shards: BTreeSet<ShardId> = order.orderer().shards().collect();
        for shard in shards {
            let said = |node: &NodeId| self.kept.get(&(shard, *node)).copied();
            let Some(of_shard) = order.orderer().slices(shard) else { continue };
            let mut kept: Vec<u64> = members.iter().map(|node| said(node).unwrap_or(0)).collect();
            kept.sort_unstable();
            // One who is away for so long that the shard would have to wait is not waited for: it will have to be replaced.
            let place = if of_shard.len() > SLICES_MAX / 2 { kept.len() / 2 } else { 0 };
            let (Some(slices), there) = (kept.get(place).copied(), of_shard.forgotten()) else { continue };
            if slices > there && self.forgotten.get(&shard).is_none_or(|asked| slices > *asked) {
                self.forgotten.insert(shard, slices);
                let command = OrderCommand::Forget { shard, slices };
                out.proposals.push((crate::KEYS, order_entry(&command), None));
            }
        }
    }
}

fn encoded(command: &ShardCommand) -> Bytes {
    let mut to = Writer::new();
    command.encode(&mut to);
    to.finish()
}

/// A command of one shard alone, as its group's log holds it, without who waits for it.
pub fn turn(command: &Command, to: &mut Writer) {
    ShardCommand::Turn(command.encode()).encode(to);
}

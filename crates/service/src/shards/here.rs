//! The shards of this node: their groups' replicas, what comes from their logs, and what is read of them.
//!
//! | who | does | where |
//! |---|---|---|
//! | every node | evaluates and places | here |
//! | | answers those who wait for it | here, and in `waiting` |
//! | who leads a shard | says how far it is evaluated; logs barriers and branches there | `lead` |
//! | who leads the order | gathers that, and proposes cuts and decisions | `lead` |

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    Entry, GroupId, Index, Instant, Membership, NodeId, Position, RestoreError, Role, RoleChange, ShardId,
    SnapshotMeta, StateMachine as _, planted,
};
use quorate_keyspace::{Keyspace, News, Owners, Response, Shard, View};
use quorate_node::{Applied, FromState, GroupConfig, NodeInput, Replica, Ticket};
use quorate_order::{Command as OrderCommand, TxnId};
use quorate_placement::shards::ShardMap;

use super::{
    Handover, Numbered, Order, Sequence, ShardMachine, ShardReplica, Undone, Word,
    lead::{Lead, Said, at},
    standing,
    waiting::{Answers, Waiting},
};

/// Why a member cannot go on.
pub(crate) const FORGOTTEN: &str = "the order over shards has forgotten what this member's shards still need; replace the member with an empty data directory";

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
    /// To be told to the core.
    pub core: Vec<NodeInput>,
    /// The keys are divided otherwise from here on.
    pub divided: Option<Arc<ShardMap>>,
    /// The state is another one, and nobody knows what happened in between.
    pub replaced: bool,
}

pub(super) struct Group {
    pub(super) shard: ShardId,
    pub(super) replica: Replica<ShardMachine>,
    pub(super) applied: Applied<ShardMachine>,
    /// Who waits on this node for which entry of the log.
    pub(super) tickets: BTreeMap<u64, Ticket>,
    /// Its beginning is compacted away: nothing can be evaluated before a snapshot has come.
    pub(super) awaits_snapshot: bool,
    pub(super) leads: bool,
    /// What this leader has said and proposed, and need not again.
    pub(super) said: Said,
    /// Snapshots that are not known to be durable: by the last entry, the slices that lie before them.
    pub(super) taken: BTreeMap<Index, u64>,
    /// This node will not ask again for so many slices.
    pub(super) kept: u64,
    /// It keeps what it gave to others, for who has still to get it.
    pub(super) keeps_given: bool,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("shard", &self.shard)
            .field("leads", &self.leads)
            .finish_non_exhaustive()
    }
}

/// Which of a node's shards has a key.
#[derive(Debug)]
pub(super) struct Owning {
    pub(super) map: Arc<ShardMap>,
    /// In the order of the parts.
    shards: Vec<ShardId>,
}

impl Owning {
    pub(super) fn of(map: &Arc<ShardMap>) -> Arc<Owning> {
        let mut shards: Vec<ShardId> = map.shards().iter().map(|entry| entry.shard).collect();
        shards.sort_unstable();
        Arc::new(Owning { map: Arc::clone(map), shards })
    }

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
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// The group of each shard.
    pub(super) of_shard: BTreeMap<ShardId, GroupId>,
    /// Who has which keys, at the revision that is shown.
    pub(super) owners: Arc<Owning>,
    /// The last handover that was carried out here, and all before it: `owners` is by the map behind it.
    pub(super) shown: TxnId,
    /// Some shard is behind a handover whose keys have not gone over, or before one whose keys have: no view.
    pub(super) torn: bool,
    pub(super) sequence: Sequence,
    /// Some shard was restored with what stood there: no view before all have come as far.
    pub(super) floor: u64,
    /// Nobody knows what happened since news were told last: a snapshot stepped over it.
    pub(super) jumped: bool,
    pub(super) waiting: BTreeMap<TxnId, Waiting>,
    /// Clients of this node that wait for handovers.
    pub(super) handing: BTreeMap<TxnId, Vec<Ticket>>,
    pub(super) answers: Answers,
    /// Reads, and what they wait for: shards, and how many slices of the order they have to have placed.
    pub(super) reads: Vec<(Vec<(GroupId, u64)>, Ticket)>,
    pub(super) lead: Option<Lead>,
    pub(super) ticks: u64,
    /// Since which of them this node has seen each transaction that is open, whoever leads.
    pub(super) seen: BTreeMap<TxnId, u64>,
    /// Since which of them it has heard of no leader of the order.
    pub(super) deaf_since: Option<u64>,
    /// This node, and which of its lives.
    identity: (NodeId, u64),
}

impl NodeShards {
    /// The shards of an order that was founded, or found in a snapshot; what the core is told to open goes to `out`.
    #[must_use]
    pub fn open(order: &Order, node: NodeId, life: u64, out: &mut ShardsOut) -> NodeShards {
        let born = order.born.number();
        let owners = Owning::of(order.map_behind(TxnId::default()));
        out.divided = Some(Arc::clone(&owners.map));
        let mut shards = NodeShards {
            groups: BTreeMap::new(),
            of_shard: BTreeMap::new(),
            owners,
            shown: TxnId::default(),
            torn: false,
            sequence: Sequence::new(born),
            floor: born,
            jumped: true,
            waiting: BTreeMap::new(),
            handing: BTreeMap::new(),
            answers: Answers::default(),
            reads: Vec::new(),
            lead: None,
            ticks: 0,
            seen: BTreeMap::new(),
            deaf_since: None,
            identity: (node, life),
        };
        shards.open_with(order, order.births(), out);
        shards
    }

    /// Opens the groups of shards that the order has got since.
    pub fn open_new(&mut self, order: &Order, out: &mut ShardsOut) {
        self.open_with(order, BTreeMap::new(), out);
    }

    fn open_with(&mut self, order: &Order, mut births: BTreeMap<ShardId, Keyspace>, out: &mut ShardsOut) {
        let (node, life) = self.identity;
        let map = order.map();
        let config =
            |id: GroupId, engine, birth: &Membership| GroupConfig { id, engine, birth: birth.clone() };
        let there = map.shards().iter().map(|of| (of.shard, config(of.group, of.engine, &of.members)));
        // Vacant ones go on: with a log and a leader, until a split gives them keys again. And {this node starts again, and the order remembers the merge}: what one gave comes from here.
        let vacant = map.vacancies().map(|of| (of.shard, config(of.group, of.engine, &of.members)));
        for (shard, config) in there.chain(vacant) {
            if self.groups.contains_key(&config.id) {
                continue;
            }
            let first = Arc::clone(order.map_behind(TxnId::default()));
            let birth = births.remove(&shard).unwrap_or_else(|| order.unborn());
            let mut replica = ShardReplica::new(shard, Shard::new(birth), first);
            let there = replica.follow(order.orderer());
            let machine = ShardMachine::new(replica);
            let group = Group {
                shard,
                replica: Replica::new(machine, config.birth.clone(), node, life),
                applied: Applied::default(),
                tickets: BTreeMap::new(),
                awaits_snapshot: !there,
                leads: false,
                said: Said::default(),
                taken: BTreeMap::new(),
                kept: 0,
                keeps_given: false,
            };
            self.of_shard.insert(shard, config.id);
            self.groups.insert(config.id, group);
            out.core.push(NodeInput::Open(config));
        }
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

    /// The last entry of a group's log that was applied here; none of another's group.
    #[must_use]
    pub fn applied(&self, group: GroupId) -> Option<Index> {
        self.groups.get(&group).map(|group| group.replica.applied().index)
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

    pub(super) fn now(&self) -> Instant {
        at(self.ticks)
    }

    pub(super) fn group_of(&self, shard: ShardId) -> Option<&Group> {
        self.groups.get(self.of_shard.get(&shard)?)
    }

    pub(super) fn group_of_mut(&mut self, shard: ShardId) -> Option<&mut Group> {
        self.groups.get_mut(self.of_shard.get(&shard)?)
    }

    // ── what comes from the core ────────────────────────────────────────────────────────────────────────────────────

    /// Applies committed entries of a shard's log; what the core is to be told of it.
    pub fn entries(&mut self, id: GroupId, entries: Vec<Entry>) -> Option<FromState> {
        let group = self.groups.get_mut(&id)?;
        if group.awaits_snapshot {
            // Its snapshot comes before its log. There is none, and the log alone cannot be numbered.
            return Some(FromState::RestoreFailed { group: id, why: FORGOTTEN.to_owned() });
        }
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
        // A handover may lie between it and the others.
        (self.jumped, self.torn) = (true, true);
        // Which of them were placed within the snapshot, nobody knows.
        let lost = std::mem::take(&mut group.tickets).into_values();
        out.replies.extend(lost.map(|ticket| (ticket, Err(Undone::Unknown))));
        let (shard, report) = (group.shard, group.report(id, true));
        self.lose_sight(shard, out);
        Ok(Some(report))
    }

    /// A snapshot of a shard, as it stands.
    pub fn snapshot(&mut self, id: GroupId) -> Option<FromState> {
        let group = self.groups.get_mut(&id).filter(|group| !group.awaits_snapshot)?;
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

    /// The order has come further. False: a replica here needs slices that were forgotten.
    #[must_use]
    pub fn follow(&mut self, order: &Order) -> bool {
        let mut there = true;
        for group in self.groups.values_mut().filter(|group| !group.awaits_snapshot) {
            let follows = group.replica.machine_mut().replica_mut().follow(order.orderer());
            // {this node starts again, and reads of the founding and of what has been forgotten since in one batch}: nothing of the group has come yet, and its snapshot comes first.
            group.awaits_snapshot = !follows && group.replica.applied() == Position::ZERO;
            there &= follows || group.awaits_snapshot;
        }
        there
    }

    /// The order was restored from a snapshot: transactions may have become void meanwhile, and decisions were not seen.
    pub fn order_jumped(&mut self) {
        self.jumped = true;
    }

    // ── placing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Goes as far as logs and order have come, and does what is to be done where this node leads. To be called after each batch of whatever happened.
    pub fn advance(&mut self, order: &Order, out: &mut ShardsOut) {
        let handovers: Vec<(TxnId, &Handover)> = order.handovers().collect();
        if !self.awaits_snapshot(order) {
            let before = self.sequence.revision();
            let there = self.groups.values_mut().filter(|group| !group.awaits_snapshot);
            let mut replicas: Vec<&mut ShardReplica> =
                there.map(|group| group.replica.machine_mut().replica_mut()).collect();
            let placed = self.sequence.advance(order.orderer().revision(), &handovers, &mut replicas);
            self.look_at_handovers(order, &handovers, out);
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
            // Each shard has all that concerns no key, and tells of it: once is enough. The first shard is there for ever: it is the leftmost one, and a merge takes the right
            // one of two.
            let is_first = Some(numbered.shard) == first;
            let told = numbered.news.drain(..).filter(|news| match news {
                // {a shard that was merged into another was restored from long before, and comes to what that other one showed long ago}: it was told then.
                News::Changed(_) => numbered.revision > before,
                _ => is_first,
            });
            news.extend(told);
            self.answer(numbered, out);
        }
        let revision = self.sequence.revision();
        if !self.jumped {
            if !news.is_empty() {
                out.news = Some((before, revision, news));
            }
        } else if self.is_whole() {
            out.replaced = true;
            self.jumped = false;
        }
    }

    // ── reads ───────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A read that waits until all that the order has come to is placed here. None: as things stand here, however old.
    ///
    /// All, and not only what has a revision: {a lease is granted, which takes none, and its client asks another member what leases there are}: it would not see it.
    pub fn read(&mut self, ticket: Ticket, order: Option<&Order>, out: &mut ShardsOut) {
        let merges = standing::merges(order.into_iter().flat_map(Order::handovers));
        let waits_for = |(id, group): (&GroupId, &Group)| {
            let end = order.and_then(|order| self.is_to_come_to(order, &merges, group))?;
            (group.replica.machine().replica().place().slice < end).then_some((*id, end))
        };
        let targets =
            if planted!("L14") { Vec::new() } else { self.groups.iter().filter_map(waits_for).collect() };
        self.reads.push((targets, ticket));
        self.release_reads(out);
    }

    fn release_reads(&mut self, out: &mut ShardsOut) {
        if !self.is_whole() {
            return;
        }
        let groups = &self.groups;
        let is_placed = |(id, end): &(GroupId, u64)| {
            groups.get(id).is_none_or(|group| group.replica.machine().replica().place().slice >= *end)
        };
        self.reads.retain_mut(|(targets, ticket)| {
            targets.retain(|target| !is_placed(target));
            if targets.is_empty() {
                out.reads.push(*ticket);
            }
            !targets.is_empty()
        });
    }

    /// Do all shards stand at one revision, and have all come as far as one of them was restored with?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        (self.sequence.revision() >= self.floor || planted!("L21"))
            && !self.torn
            && self.shown_groups().all(|group| !group.awaits_snapshot)
    }

    /// What all shards together leave below the quota ([`Shard::room_bytes`]); none while they do not stand at one revision.
    #[must_use]
    pub fn room_bytes(&self) -> Option<u64> {
        let shards = self.shown_groups().map(|group| group.replica.machine().replica().machine());
        self.is_whole().then(|| Shard::room_bytes(shards))
    }

    /// The groups of the shards that have keys, in order of their numbers.
    fn shown_groups(&self) -> impl Iterator<Item = &Group> {
        self.owners.shards.iter().map(|shard| self.group_of(*shard).expect("a shard of the map"))
    }

    /// The keys, as of [`revision`](Self::revision). Not to be shown before all shards have come as far as one of them was restored with; reads wait for that.
    #[must_use]
    pub fn view(&self) -> View {
        let revision = self.sequence.revision();
        let of = |group: &Group| group.replica.machine().replica().machine().view(revision);
        let parts = self.shown_groups().map(of).collect();
        View::of_shards(revision, parts, Arc::clone(&self.owners) as Arc<dyn Owners>)
    }
}

impl Group {
    fn report(&mut self, id: GroupId, jumped: bool) -> FromState {
        let own = std::mem::take(&mut self.applied.own);
        self.applied.replies.clear();
        self.replica.report(id, own, jumped)
    }
}

//! The order over the shards of keys, as the log of their group says it from the entry that founds them on.
//!
//! ```text
//!   log of KEYS:   put · put · found(map) │ cut · lease grant · cut · txn over two shards · decide · cut …
//!                  one keyspace           │ the order: what concerns one shard alone stands in that one's log
//! ```
//!
//! The group, its leader, its reads and whatever else is asked of "the keys" stay what they were. A command that comes into its log after the founding is a transaction
//! over the shards that it touches: correct whoever proposed it, and whatever that one knew; only slower than in its shard's own log.
//!
//! An entry of the order begins with a byte with which no command of the keyspace begins; before the founding it makes no sense, and does nothing.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    DecodeError, Membership, Position, Reader, ShardId, StateMachine as _, Writer, planted,
};
use quorate_keyspace::{Command, Keyspace, KeyspaceError, Response};
use quorate_order::{
    Command as OrderCommand, OrderError, Orderer, Outcome, Part, TRANSACTION_SHARDS_MAX, TRANSACTIONS_MAX,
    TxnId,
};
use quorate_placement::shards::{Command as MapCommand, ShardMap, Shards};

use super::{Division, Handover, Undivided, handover::HANDOVER};

/// An entry of the order, and no command of the keyspace.
pub(super) const ORDER: u8 = 0xC0;
pub(super) const FOUND: u8 = 1;
const COMMAND: u8 = 2;
/// 1 had no splits, and no keys to begin with; 2 had no merges. They are not read: nothing was released that wrote them.
const SNAPSHOT_VERSION: u8 = 3;

/// The entry that founds the shards of a cluster of one keyspace: `found` is [`MapCommand::Found`].
#[must_use]
pub fn found_entry(found: &MapCommand) -> Bytes {
    let mut to = Writer::new();
    to.u8(ORDER);
    to.u8(FOUND);
    to.raw(&found.encode());
    to.finish()
}

/// Who has the shards that a command of the group of keys founds; none if it founds nothing.
pub(crate) fn founders(command: &Bytes) -> Option<Membership> {
    if (command.first(), command.get(1)) != (Some(&ORDER), Some(&FOUND)) {
        return None;
    }
    let MapCommand::Found { shards, .. } = MapCommand::decode(&command.slice(2..)).ok()? else { return None };
    shards.into_iter().next().map(|founder| founder.members)
}

/// An entry of the order.
#[must_use]
pub fn order_entry(command: &OrderCommand) -> Bytes {
    let mut to = Writer::new();
    to.u8(ORDER);
    to.u8(COMMAND);
    to.raw(&command.encode());
    to.finish()
}

/// What an entry of the group of keys came to.
#[derive(Clone, Debug, PartialEq)]
pub enum KeysResponse {
    /// It is done, or refused.
    Done(Response),
    /// It is a transaction over shards, and answered when that is placed.
    Begun(TxnId),
    /// It was not begun.
    Undone(Undone),
    /// It was an entry of the order, which nobody waits for.
    Ordered,
}

/// Why nobody can say what a command came to that the keyspace has nothing against. But for [`Unknown`](Undone::Unknown) it is certainly not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// It cannot be divided among shards.
    Undivided(Undivided),
    /// Too many transactions over shards are open; or, for a split or a merge, another one is.
    Busy,
    /// A shard did not say in time what it comes to there.
    Silent,
    /// It was to split a shard or to merge two, and the shards are not as whoever proposed it took them to be.
    Unfit,
    /// It may have been done or not: a snapshot stepped over the place where it would have been seen.
    Unknown,
}

/// A transaction over shards that some shard's log may still have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Body {
    command: Bytes,
    at: Position,
    known: u64,
}

/// What a shard's leader needs to log a transaction's barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// Where it began.
    pub at: Position,
    /// Where the store stood then.
    pub known: u64,
    /// The shard's part: a command of the keyspace.
    pub part: Bytes,
}

/// The order over the shards of keys.
#[derive(Debug)]
pub struct Order {
    pub(super) orderer: Orderer,
    /// The shards before the handovers that are remembered.
    first: Arc<ShardMap>,
    /// Handovers that some shard's log may still have to hold: all behind one divides by its map.
    handovers: BTreeMap<TxnId, Handover>,
    /// What the shards begin as: the keys that there were, which are divided among them, and what concerns all. Once nobody needs it any more, without the keys.
    pub(super) born: Keyspace,
    bodies: BTreeMap<TxnId, Body>,
    /// Who has the group of keys at the entry that comes next, if whoever drives this says so.
    members: Option<Membership>,
}

impl Order {
    /// The order that begins with a founding; none if this cannot be one.
    pub(super) fn found(found: &MapCommand, keyspace: &Keyspace) -> Option<Order> {
        let MapCommand::Found { shards, .. } = found else { return None };
        // The first shard is the leftmost one, so that no merge takes it away: it tells of what concerns no key, and for ever (`here`).
        let first = shards.first().filter(|founder| founder.shard == ShardId(1))?;
        let mut founding = Shards::new(first.group, first.members.clone(), first.engine).ok()?;
        let effect = founding.evaluate(found).ok()?;
        founding.apply(effect);
        let first = Arc::new(founding.map().clone());
        let orderer = Orderer::new(keyspace.number(), first.shards().iter().map(|entry| entry.shard));
        Some(Order {
            orderer,
            first,
            handovers: BTreeMap::new(),
            born: keyspace.copy(),
            bodies: BTreeMap::new(),
            members: None,
        })
    }

    /// Who has the group of keys at the entry that comes next.
    pub(crate) fn are_members(&mut self, members: Membership) {
        self.members = Some(members);
    }

    /// How it stands.
    #[must_use]
    pub fn orderer(&self) -> &Orderer {
        &self.orderer
    }

    /// The shards, as whatever begins next is divided among them.
    #[must_use]
    pub fn map(&self) -> &Arc<ShardMap> {
        self.handovers.values().next_back().map_or(&self.first, |handover| &handover.map)
    }

    /// The shards behind this handover; behind none that is remembered, those before all of them.
    #[must_use]
    pub fn map_behind(&self, txn: TxnId) -> &Arc<ShardMap> {
        self.handovers.range(..=txn).next_back().map_or(&self.first, |(_, handover)| &handover.map)
    }

    /// The handovers that some shard's log may still have to hold, in order.
    pub fn handovers(&self) -> impl Iterator<Item = (TxnId, &Handover)> {
        self.handovers.iter().map(|(txn, handover)| (*txn, handover))
    }

    /// Is it a handover, of those that are remembered?
    #[must_use]
    pub fn is_handover(&self, txn: TxnId) -> bool {
        self.handovers.contains_key(&txn)
    }

    /// The shards before the handovers that are remembered, as they begin.
    #[must_use]
    pub fn births(&self) -> BTreeMap<ShardId, Keyspace> {
        let shards = self.first.shards();
        let place = |key: &[u8]| {
            let owner = self.first.locate(key).shard;
            shards.iter().position(|entry| entry.shard == owner).expect("a shard of the map")
        };
        let births = self.born.divide(shards.len(), place);
        shards.iter().map(|entry| entry.shard).zip(births).collect()
    }

    /// A shard that holds no keys yet, or none any more.
    #[must_use]
    pub fn unborn(&self) -> Keyspace {
        self.born.without_keys()
    }

    /// How a transaction is divided that is not decided; a handover is not.
    #[must_use]
    pub fn open_division(&self, txn: TxnId) -> Option<Division> {
        self.division(txn, self.bodies.get(&txn).filter(|_| self.orderer.waits_for(txn))?)
    }

    fn division(&self, txn: TxnId, body: &Body) -> Option<Division> {
        let command = Command::decode(&body.command).ok()?;
        Division::of(&command, self.map_behind(TxnId(txn.0 - 1))).ok()
    }

    /// The transactions that a shard's log may still have to hold and that come behind this one, in order, with what the shard's leader logs.
    pub fn barriers(&self, shard: ShardId, behind: TxnId) -> impl Iterator<Item = (TxnId, Barrier)> {
        let later = self.bodies.range(TxnId(behind.0 + 1)..);
        later.filter_map(move |(txn, body)| {
            // A transaction that is void needs no barrier; where one stands already, its end is logged all the same.
            if self.orderer.part(shard, *txn) == Part::Void {
                return None;
            }
            let part = match self.handovers.get(txn) {
                Some(handover) => handover.touches(shard).then(|| body.command.clone())?,
                None => self.division(*txn, body)?.part(shard)?,
            };
            Some((*txn, Barrier { at: body.at, known: body.known, part }))
        })
    }

    pub(super) fn carry_out(&mut self, at: Position, bytes: &Bytes) -> KeysResponse {
        if bytes.first() != Some(&ORDER) {
            return self.begin(at, bytes);
        }
        let command = match bytes.get(1) {
            Some(&COMMAND) => OrderCommand::decode(&bytes.slice(2..)).ok(),
            Some(&HANDOVER) => return self.hand_over(at, bytes),
            // It is founded already.
            _ => None,
        };
        let command = command.map(|command| self.in_its_epoch(at, command));
        // Transactions begin as commands of the keyspace, shards come by foundings and splits, and no handover is void.
        if let Some(command) = command.filter(|command| match command {
            OrderCommand::Decide { txn, outcome: Outcome::Void } => !self.is_handover(*txn),
            OrderCommand::Cut(_) | OrderCommand::Decide { .. } | OrderCommand::Forget { .. } => true,
            OrderCommand::Begin(_) | OrderCommand::Admit(_) => false,
        }) && self.orderer.apply(&command).is_ok()
        {
            self.forget_bodies(&command);
        }
        KeysResponse::Ordered
    }

    /// A decision as it counts at this place: what a steward of leases has begun in an earlier epoch comes to nothing.
    ///
    /// {the steward of epoch 3 ends a lease, and the transaction waits for a shard; that of epoch 4 looks at what there is, where the lease still is, and promises a client that
    /// it lives on; the shard answers}: the lease would end under whoever holds that promise. Whoever leads in epoch 4 looks behind all decisions of epoch 3, so one that counts
    /// is in what it sees. Found by the simulator (E5).
    fn in_its_epoch(&self, at: Position, command: OrderCommand) -> OrderCommand {
        match command {
            OrderCommand::Decide { txn, outcome: Outcome::Done { .. } }
                if self.is_of_another_epoch(at, txn) && !planted!("L11") =>
            {
                OrderCommand::Decide { txn, outcome: Outcome::Void }
            }
            command => command,
        }
    }

    fn is_of_another_epoch(&self, at: Position, txn: TxnId) -> bool {
        let begun = self.bodies.get(&txn).filter(|_| !self.is_handover(txn));
        let command = begun.and_then(|body| Command::decode(&body.command).ok());
        command.and_then(|command| epoch_of(&command)).is_some_and(|epoch| epoch != at.epoch.0)
    }

    fn begin(&mut self, at: Position, bytes: &Bytes) -> KeysResponse {
        let revision = self.orderer.revision();
        let refuse = |error| KeysResponse::Done(Response { revision, result: Err(error) });
        let Ok(command) = Command::decode(bytes) else { return refuse(KeyspaceError::Malformed) };
        if let Some(asked) = compacts_at(&command)
            && u64::try_from(asked).is_ok_and(|asked| asked > revision)
        {
            return refuse(KeyspaceError::FutureRevision { current: revision });
        }
        let division = match Division::of(&command, self.map()) {
            Ok(division) => division,
            Err(why) => return KeysResponse::Undone(Undone::Undivided(why)),
        };
        match self.orderer.apply(&OrderCommand::Begin(division.shards().collect())) {
            Ok(Some(txn)) => {
                self.bodies.insert(txn, Body { command: bytes.clone(), at, known: revision });
                KeysResponse::Begun(txn)
            }
            Ok(None) | Err(OrderError::TooManyOpen) => KeysResponse::Undone(Undone::Busy),
            Err(_) => refuse(KeyspaceError::Malformed),
        }
    }

    /// Keys are to go over, one handover at a time: {two are open, and the second one is decided first}: the keys would go over by a map that says that those of the first have.
    fn hand_over(&mut self, at: Position, entry: &Bytes) -> KeysResponse {
        if self.handovers.keys().any(|txn| self.orderer.waits_for(*txn)) {
            return KeysResponse::Undone(Undone::Busy);
        }
        let handover = Handover::of_entry(entry, self.map());
        // What concerns every shard is one transaction over all of them.
        let Some(handover) = handover.filter(|behind| behind.map.shards().len() <= TRANSACTION_SHARDS_MAX)
        else {
            return KeysResponse::Undone(Undone::Unfit);
        };
        if self.orderer.open().count() >= TRANSACTIONS_MAX {
            return KeysResponse::Undone(Undone::Busy);
        }
        let is_known =
            self.map().get(handover.taker).is_some() || self.map().vacancy(handover.taker).is_some();
        // {the members are changed while a split is on its way}: its group would be born with somebody who does not hear of it any more. A vacant shard has a group.
        let born = handover.map.get(handover.taker).map(|entry| &entry.members);
        if !is_known && self.members.is_some() && born != self.members.as_ref() {
            return KeysResponse::Undone(Undone::Unfit);
        }
        // A vacant shard is the order's still, and its slices go on. Any other taker of a split is new to the map, and has to be new here.
        if !is_known && self.orderer.apply(&OrderCommand::Admit(handover.taker)).is_err() {
            return KeysResponse::Undone(Undone::Unfit);
        }
        let begun = self.orderer.apply(&OrderCommand::Begin(vec![handover.giver, handover.taker]));
        let txn = begun.ok().flatten().expect("both are there, and there is room");
        let body = Body { command: handover.part(), at, known: self.orderer.revision() };
        self.bodies.insert(txn, body);
        self.handovers.insert(txn, handover);
        KeysResponse::Begun(txn)
    }

    /// What no shard's log has to hold any more: transactions that are void, and those that all shards have behind durable snapshots.
    fn forget_bodies(&mut self, command: &OrderCommand) {
        match command {
            OrderCommand::Decide { txn, outcome: Outcome::Void } => _ = self.bodies.remove(txn),
            OrderCommand::Forget { .. } => {
                let orderer = &self.orderer;
                let is_done = |txn| orderer.shards().any(|shard| orderer.part(shard, txn) != Part::Void);
                self.bodies.retain(|txn, _| is_done(*txn));
                // Every member has a snapshot of each shard, and will be asked for none that begins with this.
                let is_kept = |shard| orderer.slices(shard).is_some_and(|slices| slices.forgotten() > 0);
                if self.born.has_records() && self.first.shards().iter().all(|entry| is_kept(entry.shard)) {
                    self.born = self.born.without_keys();
                }
                while let Some((txn, _)) = self.handovers.first_key_value()
                    && !self.orderer.waits_for(*txn)
                    && self.bodies.first_key_value().is_none_or(|(oldest, _)| oldest > txn)
                {
                    self.first = self.handovers.pop_first().expect("just seen").1.map;
                }
            }
            _ => {}
        }
    }

    pub(super) fn head(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(SNAPSHOT_VERSION);
        to.bytes(&self.first.encode());
        to.varint(self.handovers.len() as u64);
        for (txn, handover) in &self.handovers {
            to.varint(txn.0);
            handover.encode(&mut to);
        }
        to.bytes(&self.orderer.encode());
        to.varint(self.bodies.len() as u64);
        for (txn, body) in &self.bodies {
            to.varint(txn.0);
            to.varint(body.at.epoch.0);
            to.varint(body.at.index.0);
            to.varint(body.known);
            to.bytes(&body.command);
        }
        to.finish()
    }

    pub(super) fn restored(head: Bytes, born: Keyspace) -> Result<Order, DecodeError> {
        let mut from = Reader::new(head);
        match from.u8()? {
            SNAPSHOT_VERSION => {}
            value => {
                return Err(DecodeError::Unknown {
                    what: "version of an order's state",
                    value: value.into(),
                });
            }
        }
        let first = Arc::new(ShardMap::decode(&from.bytes()?)?);
        let mut handovers = BTreeMap::new();
        for _ in 0..from.count(5)? {
            handovers.insert(TxnId(from.varint()?), Handover::decode(&mut from)?);
        }
        let orderer = Orderer::decode(&from.bytes()?)?;
        let mut bodies = BTreeMap::new();
        for _ in 0..from.count(5)? {
            let txn = TxnId(from.varint()?);
            let at = Position::new(from.varint()?, from.varint()?);
            bodies.insert(txn, Body { at, known: from.varint()?, command: from.bytes()? });
        }
        from.finish()?;
        Ok(Order { orderer, first, handovers, born, bodies, members: None })
    }

    /// About how many bytes its snapshot takes.
    pub(super) fn size_bytes(&self) -> u64 {
        const SLICE_BYTES: usize = 16;
        let slices = |shard| self.orderer.slices(shard).map_or(0, |slices| slices.len() * SLICE_BYTES);
        let bodies = self.bodies.values().map(|body| body.command.len() + SLICE_BYTES);
        let log = self.orderer.shards().map(slices).chain(bodies).sum::<usize>() as u64;
        if self.born.has_records() { log + self.born.size_bytes() } else { log }
    }
}

/// Is it new? Then its shards are founded as its founders say; later, as an operator does.
pub(crate) fn is_new(keyspace: &Keyspace) -> bool {
    keyspace.number() == 1 && keyspace.view().lease_count() == 0
}

/// The epoch of the steward who says it.
fn epoch_of(command: &Command) -> Option<u64> {
    match command {
        Command::LeaseExpire { epoch, .. } | Command::LeaseCheckpoint { epoch, .. } => Some(*epoch),
        Command::As(named) => epoch_of(&named.command),
        _ => None,
    }
}

fn compacts_at(command: &Command) -> Option<i64> {
    match command {
        Command::Compact(compact) => Some(compact.revision),
        Command::As(named) => compacts_at(&named.command),
        _ => None,
    }
}

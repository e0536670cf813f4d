//! A client that writes and has leases: what it asks next, and what it waits for.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{NodeId, Random};
use quorate_service::{
    keyspace::{
        Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, KeyspaceError, LeaseId,
        Operation, Put, Range, Reply, Response, Txn,
    },
    lease::Question,
};

use super::{KeysShape, clocks::Moment};
use crate::schedule::{MICROS, MILLIS, SECONDS, Time};

/// What was asked.
#[derive(Clone, Debug)]
pub(super) enum What {
    Do(Command),
    Ask(Question),
}

/// Something that a client waits for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) host: usize,
    pub(super) what: What,
    pub(super) at: Moment,
    pub(super) until: Time,
    /// Whose the proposal is in the log, once the host has it.
    pub(super) origin: Option<(NodeId, u64, u64)>,
}

/// How a client cares for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// Asks three times in its time.
    Well,
    /// Asks just before it is over, or just after.
    Late,
    /// Revokes it when it is nearly over, and has it granted again at once.
    Anew,
    /// Not at all.
    None,
}

#[derive(Clone, Copy, Debug)]
struct Holding {
    id: LeaseId,
    ttl_s: i64,
    care: Care,
    asks_at: Time,
}

#[derive(Debug)]
pub(super) struct Actor {
    id: usize,
    pub(super) random: Random,
    pub(super) turn: u64,
    rest_max_us: u64,
    compacts: u64,
    slots: u64,
    ttl_max_s: u64,
    rests_until: Time,
    pub(super) pending: BTreeMap<u64, Asked>,
    numbers: u64,
    leases: BTreeMap<u64, Holding>,
    /// To be done before anything else.
    next: Option<Command>,
    /// The greatest revision that it has heard of.
    seen: u64,
    values: u64,
}

impl Actor {
    pub(super) fn new(id: usize, shape: &KeysShape, random: &Random) -> Actor {
        Actor {
            id,
            random: random.fork(200 + id as u64),
            turn: 0,
            rest_max_us: shape.rest_max_us,
            compacts: shape.compacts,
            slots: shape.leases,
            ttl_max_s: shape.ttl_max_s,
            rests_until: 0,
            pending: BTreeMap::new(),
            numbers: 0,
            leases: BTreeMap::new(),
            next: None,
            seen: 1,
            values: 0,
        }
    }

    /// What it asks now, if it does not wait for the one before. `quiet`: nobody writes.
    pub(super) fn next(&mut self, now: Time, quiet: bool) -> Option<What> {
        self.pending.retain(|_, asked| asked.until > now);
        let due = self.leases.iter().find(|(_, holding)| holding.asks_at <= now).map(|(slot, _)| *slot);
        if let Some(what) = due.and_then(|slot| self.care(slot, now)) {
            return Some(what);
        }
        let waits = self.pending.values().any(|asked| matches!(asked.what, What::Do(_)));
        if waits || quiet || (now < self.rests_until && self.next.is_none()) {
            return None;
        }
        self.rests_until = now + self.random.between(1_000, self.rest_max_us) * MICROS;
        match self.next.take() {
            Some(command) => Some(What::Do(command)),
            None => Some(self.draw()),
        }
    }

    /// A lease is to be cared for.
    fn care(&mut self, slot: u64, now: Time) -> Option<What> {
        let random = &mut self.random;
        let holding = self.leases.get_mut(&slot)?;
        let id = holding.id;
        let time = holding.ttl_s.unsigned_abs() * SECONDS;
        if random.chance(1, 8) {
            holding.care = [Care::Well, Care::Late, Care::Anew, Care::None][random.below(4) as usize];
        }
        match holding.care {
            Care::Well => holding.asks_at = now + time / 3,
            Care::Late => holding.asks_at = now + time * random.between(80, 102) / 100,
            Care::Anew => {
                holding.asks_at = now + time - random.below(60) * MILLIS + 20 * MILLIS;
                self.next = Some(Command::LeaseGrant { id, ttl_s: holding.ttl_s });
                return Some(What::Do(Command::LeaseRevoke { id }));
            }
            Care::None => {
                // It is looked after again much later, if it is there by then.
                holding.asks_at = now + time * 3;
                return None;
            }
        }
        Some(What::Ask(Question::KeepAlive(id)))
    }

    /// Notes that it asked, and waits.
    pub(super) fn asks(&mut self, host: usize, what: What, at: Moment) -> u64 {
        self.numbers += 1;
        let patience = match what {
            What::Do(_) => self.random.between(200, 1_200) * MILLIS,
            What::Ask(_) => 8 * SECONDS,
        };
        let until = at.at + patience;
        self.pending.insert(self.numbers, Asked { host, what, at, until, origin: None });
        self.numbers
    }

    /// A command of its own was answered.
    pub(super) fn done(&mut self, command: &Command, response: &Response, now: Time) {
        self.seen = self.seen.max(response.revision);
        match (command, &response.result) {
            (
                Command::LeaseGrant { id, ttl_s },
                Ok(Reply::LeaseGrant(_)) | Err(KeyspaceError::LeaseExists),
            ) => {
                let slot = id.0.unsigned_abs() % 10;
                let time = ttl_s.unsigned_abs() * SECONDS;
                let care = [Care::Well, Care::Well, Care::Late, Care::Anew, Care::None]
                    [self.random.below(5) as usize];
                let asks_at = now + time / if care == Care::Well { 3 } else { 1 };
                self.leases.insert(slot, Holding { id: *id, ttl_s: *ttl_s, care, asks_at });
            }
            (Command::LeaseRevoke { id }, _) => self.forget(*id),
            _ => {}
        }
    }

    /// It has heard that a lease is over.
    pub(super) fn forget(&mut self, id: LeaseId) {
        self.leases.retain(|_, holding| holding.id != id);
    }

    fn draw(&mut self) -> What {
        if self.compacts > 0 && self.random.chance(1, self.compacts) {
            let back = [0, 1, 10, 40][self.random.below(4) as usize];
            let revision = self.seen.saturating_sub(self.random.below(back + 1)) as i64;
            return What::Do(Command::Compact(Compact { revision, physical: false }));
        }
        let command = match self.random.below(20) {
            0..=3 if self.slots > 2 => self.grant(),
            0..=3 => Command::Put(self.put(LeaseId::NONE)),
            4..=8 => match self.own() {
                Some(id) => Command::Put(self.put(id)),
                None => self.grant(),
            },
            // Of anybody, or of nobody any more.
            9 => {
                let (actor, slot) = (self.random.below(3), self.random.below(self.slots));
                let id = self.lease_id(actor, slot);
                Command::Put(self.put(id))
            }
            10 => {
                let put = self.put(LeaseId::NONE);
                Command::Put(Put { ignore_lease: true, ..put })
            }
            11 => Command::DeleteRange(self.delete(false)),
            12 => Command::DeleteRange(self.delete(true)),
            13..=15 => Command::Txn(self.txn()),
            16 | 17 => self.grant(),
            18 => match self.own() {
                Some(id) if self.random.chance(1, 3) => Command::LeaseRevoke { id },
                _ => Command::Put(self.put(LeaseId::NONE)),
            },
            _ => {
                let slot = self.random.below(self.slots);
                let id = self.lease_id(self.id as u64, slot);
                let time = self.random.chance(1, 2);
                return What::Ask(if time { Question::TimeToLive(id) } else { Question::KeepAlive(id) });
            }
        };
        What::Do(command)
    }

    /// Every other client's are below zero.
    fn lease_id(&self, actor: u64, slot: u64) -> LeaseId {
        let id = (actor as i64 + 1) * 10 + slot as i64;
        LeaseId(if actor.is_multiple_of(2) { id } else { -id })
    }

    fn own(&mut self) -> Option<LeaseId> {
        let place = self.random.below(self.slots) as usize;
        self.leases.values().nth(place).or_else(|| self.leases.values().next()).map(|holding| holding.id)
    }

    fn grant(&mut self) -> Command {
        let slot = self.random.below(self.slots);
        let ttl_s = self.random.between(1, self.ttl_max_s) as i64;
        Command::LeaseGrant { id: self.lease_id(self.id as u64, slot), ttl_s }
    }

    fn key(&mut self) -> Bytes {
        format!("w0{}", self.random.below(6)).into()
    }

    fn put(&mut self, lease: LeaseId) -> Put {
        self.values += 1;
        let filling = [0, 0, 40, 200][self.random.below(4) as usize];
        let value = format!("{}-{}{}", self.id, self.values, ".".repeat(filling));
        let prev_kv = self.random.chance(1, 2);
        Put { key: self.key(), value: value.into(), lease, prev_kv, ..Put::default() }
    }

    fn delete(&mut self, range: bool) -> DeleteRange {
        let range_end = if range { Bytes::from_static(b"w04") } else { Bytes::new() };
        DeleteRange { key: self.key(), range_end, prev_kv: self.random.chance(1, 2) }
    }

    fn txn(&mut self) -> Txn {
        let own = self.own().unwrap_or(LeaseId::NONE);
        let all = || {
            let (key, range_end) = (Bytes::from_static(b"w"), Bytes::from_static(b"x"));
            Operation::Range(Range { key, range_end, ..Range::default() })
        };
        let mut txn = Txn { compare: Vec::new(), success: Vec::new(), failure: vec![all()] };
        match self.random.below(3) {
            // Several changes of one revision.
            0 => {
                for key in ["w00", "w02", "w03", "w05"] {
                    let lease = if self.random.chance(1, 3) { own } else { LeaseId::NONE };
                    let put = Put { key: Bytes::from_static(key.as_bytes()), ..self.put(lease) };
                    txn.success.push(Operation::Put(put));
                }
            }
            // What is deleted is not there any more for what comes after.
            1 => {
                let (key, range_end) = (Bytes::from_static(b"w00"), Bytes::from_static(b"w03"));
                txn.success.push(Operation::DeleteRange(DeleteRange { key, range_end, prev_kv: true }));
                txn.success.push(all());
                let put = Put { key: Bytes::from_static(b"w04"), ..self.put(own) };
                txn.success.push(Operation::Put(put));
            }
            _ => {
                let key = self.key();
                let target = match self.random.below(3) {
                    0 => CompareTarget::Lease(own),
                    1 => CompareTarget::Version(self.random.below(3) as i64),
                    _ => CompareTarget::Mod(self.seen as i64),
                };
                let result =
                    if self.random.chance(1, 2) { CompareResult::Equal } else { CompareResult::Less };
                txn.compare.push(Compare { key: key.clone(), range_end: Bytes::new(), result, target });
                let put = Put { key, ..self.put(own) };
                txn.success.push(Operation::Put(put));
            }
        }
        txn
    }
}

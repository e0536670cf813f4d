//! Keys that go from one shard to another, while everything goes on: a shard is split, or one is merged into the neighbour to its left.
//!
//! ```text
//!   log of KEYS:  … t7 │ t8: split s2 │ t9 …            t9 is divided by the map that t8 brings
//!   log of s2:    … b7 …  b8 · branch │ put k: refused if k has gone to s5
//!   log of s5:            b8 · branch │ put k
//!   a node:       both have come to t8 ─► s2 gives its keys, s5 has them; from here on keys are read where the map of t8 says
//! ```
//!
//! A handover is a transaction over two shards, the giver and the taker. Its entry brings the new map, by which every transaction behind it is divided; the barriers that it has
//! in both logs part what each does with the old map from what it does with the new one. So whoever proposes a command to the wrong one of the two, for it knows an older map
//! or a newer one, is refused, on every replica, and proposes it once more.
//!
//! Nothing is sent. A node has a replica of both, and both stand at the same place of the order when the keys go over: what goes over is on every node already, and the same on
//! each.
//!
//! | | giver | taker | stays | is other before or behind it |
//! |---|---|---|---|---|
//! | split | the shard that is split | a new one, or a vacant one | the giver | the taker holds nothing before |
//! | merge | the right one | the left one | the taker | the giver is vacant behind |
//!
//! Architecture Invariant: keys are in one shard of a node at every revision that is shown. The keys go over in both replicas at once; behind the barrier neither
//! evaluates anything before that.
//!
//! Architecture Invariant: what has gone over is kept where it was, and is in the snapshots of it, until the order has forgotten the handover for the taker. {a
//! newcomer is sent a snapshot of s2 from behind t8, and the log of s5 from its beginning}: it finds in that snapshot what s5 begins with.
//!
//! Architecture Invariant: a handover is never void. {s2 has no leader for a while}: transactions behind it, which are divided by its map, would be wrong. Such a
//! transaction waits, or is void itself; a shard without a quorum holds up nobody but the other one of the two.
//!
//! Architecture Invariant: one that is not there on both sides of it is at its barrier first. {the new shard of a split has no leader yet, or the right one of a merge has none}: the
//! shard that stays goes on with all that it has, and stands at the barrier for as long as the two need to say so.

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, ShardId, Writer};
use quorate_placement::shards::{Command as MapCommand, ShardError, ShardMap, Shards};

use super::{merge, order::ORDER, split};

pub(super) const HANDOVER: u8 = 3;

/// What becomes of the two shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The taker gets a part of what the giver has; it held nothing before.
    Split,
    /// The taker gets all that the giver has; that one is vacant behind it.
    Merge,
}

/// Keys go over: whose, to whom, and who holds what from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// What becomes of the two.
    pub kind: Kind,
    /// Loses keys.
    pub giver: ShardId,
    /// Gets them.
    pub taker: ShardId,
    /// The map behind it.
    pub map: Arc<ShardMap>,
}

/// The entry of the order's log that hands keys over: changes of the map, of which the first is a [`MapCommand::BeginSplit`] or a [`MapCommand::BeginMerge`]. Behind that of a split
/// may follow what concerns its new shard.
#[must_use]
pub fn handover_entry(changes: &[MapCommand]) -> Bytes {
    let mut to = Writer::new();
    to.u8(ORDER);
    to.u8(HANDOVER);
    to.varint(changes.len() as u64);
    changes.iter().for_each(|change| to.bytes(&change.encode()));
    to.finish()
}

impl Handover {
    /// What the entry comes to on top of a map. None: the map is not as whoever proposed it took it to be.
    #[must_use]
    pub fn of_entry(entry: &Bytes, map: &ShardMap) -> Option<Handover> {
        let mut from = Reader::new(entry.clone());
        if (from.u8().ok()?, from.u8().ok()?) != (ORDER, HANDOVER) {
            return None;
        }
        let mut changes = Vec::new();
        for _ in 0..from.count(1).ok()? {
            changes.push(MapCommand::decode(&from.bytes().ok()?).ok()?);
        }
        from.finish().ok()?;
        Handover::of(&changes, map).ok()
    }

    /// What these changes come to on top of a map.
    pub(super) fn of(changes: &[MapCommand], map: &ShardMap) -> Result<Handover, ShardError> {
        let mut shards = Shards::decode(&map.encode()).expect("a map reads back");
        let (kind, giver, taker) = match changes {
            [begin @ MapCommand::BeginSplit { shard, child, .. }, rest @ ..] => {
                split::carry_out(begin, rest, &mut shards)?;
                (Kind::Split, *shard, *child)
            }
            [begin @ MapCommand::BeginMerge { left, right, .. }] => {
                merge::carry_out(begin, &mut shards)?;
                (Kind::Merge, *right, *left)
            }
            _ => return Err(ShardError::NotCut),
        };
        Ok(Handover { kind, giver, taker, map: Arc::new(shards.map().clone()) })
    }

    /// Is this one of its two shards?
    #[must_use]
    pub fn touches(&self, shard: ShardId) -> bool {
        shard == self.giver || shard == self.taker
    }

    /// The one of the two that holds keys before it and behind it.
    #[must_use]
    pub fn stays(&self) -> ShardId {
        match self.kind {
            Kind::Split => self.giver,
            Kind::Merge => self.taker,
        }
    }

    /// The one that holds none before it, or behind it.
    #[must_use]
    pub fn comes_or_goes(&self) -> ShardId {
        match self.kind {
            Kind::Split => self.taker,
            Kind::Merge => self.giver,
        }
    }

    /// Is this its part of a shard, rather than a command of the keyspace? What begins like one and makes no sense is none, and is refused as a command.
    pub(super) fn is_one(part: &Bytes) -> bool {
        part.first() == Some(&ORDER) && Handover::of_part(part).is_ok()
    }

    /// The part of either shard: what a barrier in its log says.
    pub(super) fn part(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(ORDER);
        to.u8(HANDOVER);
        self.encode(&mut to);
        to.finish()
    }

    /// Reads what [`Handover::part`] wrote.
    pub(super) fn of_part(part: &Bytes) -> Result<Handover, DecodeError> {
        let mut from = Reader::new(part.clone());
        if (from.u8()?, from.u8()?) != (ORDER, HANDOVER) {
            return Err(DecodeError::Invalid { what: "part of a handover" });
        }
        let handover = Handover::decode(&mut from)?;
        from.finish()?;
        Ok(handover)
    }

    pub(super) fn encode(&self, to: &mut Writer) {
        to.u8(match self.kind {
            Kind::Split => 1,
            Kind::Merge => 2,
        });
        to.varint(u64::from(self.giver.0));
        to.varint(u64::from(self.taker.0));
        to.bytes(&self.map.encode());
    }

    pub(super) fn decode(from: &mut Reader) -> Result<Handover, DecodeError> {
        let kind = match from.u8()? {
            1 => Kind::Split,
            2 => Kind::Merge,
            value => return Err(DecodeError::Unknown { what: "kind of handover", value: value.into() }),
        };
        let mut shard =
            || u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid { what: "shard" }).map(ShardId);
        let (giver, taker) = (shard()?, shard()?);
        Ok(Handover { kind, giver, taker, map: Arc::new(ShardMap::decode(&from.bytes()?)?) })
    }
}

//! What a shard's snapshots say beside its placed state, and the replica that one describes.
//!
//! ```text
//! head = version (3) · shard · map · last handover · count · (handover · taker · digest of what was given)…
//!      · turns and changes that are placed · slices before the next turn · changes of the next slice · count · step… · lane        numbers are varints
//! ```

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, RestoreError, ShardId, StateMachine as _, Writer};
use quorate_keyspace::{Keyspace, Shard};
use quorate_order::{Lane, Mark, Place, Step, TxnId};
use quorate_placement::shards::ShardMap;

use super::{Asked, ShardReplica};

/// 1 did not say who has which keys, and 2 not which transactions are void; in 2 the maps knew no vacant shards. They are not read: nothing was released that wrote them.
const VERSION: u8 = 3;

impl ShardReplica {
    /// All that a snapshot says beside the placed state: how much that is, and what was read of the log and is not placed.
    ///
    /// What is evaluated is evaluated again by whoever is restored: it comes to the same, however much is placed.
    #[must_use]
    pub fn head(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(VERSION);
        to.varint(u64::from(self.shard.0));
        to.bytes(&self.map.encode());
        to.varint(self.handed.0);
        to.varint(self.given.len() as u64);
        for (txn, (taker, keys)) in &self.given {
            to.varint(txn.0);
            to.varint(u64::from(taker.0));
            to.u64(keys.digest());
        }
        to.varint(self.place.placed.turns);
        to.varint(self.place.placed.changes);
        to.varint(self.place.slice);
        to.varint(self.place.inside);
        to.varint(self.steps.len() as u64);
        self.steps.iter().for_each(|step| step.encode(&mut to, Asked::encode));
        self.lane.encode(&mut to, Asked::encode);
        to.finish()
    }

    /// The replica that a snapshot describes: its head, the placed state, and what it gave to others, in order.
    ///
    /// # Errors
    /// Truncated or malformed input, or another version's.
    pub fn restored(
        head: Bytes,
        keyspaces: &mut dyn FnMut() -> Result<Keyspace, RestoreError>,
    ) -> Result<ShardReplica, RestoreError> {
        let mut from = Reader::new(head);
        match from.u8()? {
            VERSION => {}
            value => Err(DecodeError::Unknown { what: "version of a shard's state", value: value.into() })?,
        }
        let shard = read_shard(&mut from)?;
        let map = Arc::new(ShardMap::decode(&from.bytes()?)?);
        let handed = TxnId(from.varint()?);
        let machine = Shard::new(keyspaces()?);
        let mut given = BTreeMap::new();
        for _ in 0..from.count(10)? {
            let (txn, taker, expected) = (TxnId(from.varint()?), read_shard(&mut from)?, from.u64()?);
            let keys = keyspaces()?;
            let found = keys.digest();
            if found != expected {
                return Err(RestoreError::Digest { expected, found });
            }
            given.insert(txn, (taker, keys));
        }
        let placed = Mark { turns: from.varint()?, changes: from.varint()? };
        let place = Place { placed, slice: from.varint()?, inside: from.varint()? };
        let count = from.count(2)?;
        let steps = (0..count).map(|_| Step::decode(&mut from, Asked::decode)).collect::<Result<_, _>>()?;
        let lane = Lane::decode(&mut from, Asked::decode)?;
        from.finish()?;
        Ok(ShardReplica { handed, given, ..ShardReplica::of(shard, machine, map, lane, steps, place) })
    }
}

fn read_shard(from: &mut Reader) -> Result<ShardId, DecodeError> {
    u32::try_from(from.varint()?).map(ShardId).map_err(|_| DecodeError::Invalid { what: "shard" })
}

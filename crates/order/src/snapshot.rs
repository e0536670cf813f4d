//! The order group's state as bytes, for its snapshots; and a digest of it.
//!
//! ```text
//! order = version (1) · revision · last transaction
//!       · count · (shard · placed · from · first · count · slice…)…    a mark is two varints: turns, changes
//!       · count · (transaction · count · shard…)…
//! slice = 0 · upto · before  |  1 · transaction · branch · revision · changes
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, Writer, fingerprint_of};

use crate::{
    Mark, Open, Orderer, Slice, Slices, TxnId,
    command::{read_mark, read_shard},
    orderer::Shard,
};

const VERSION: u8 = 1;

fn write_mark(to: &mut Writer, mark: Mark) {
    to.varint(mark.turns);
    to.varint(mark.changes);
}

fn write_slice(to: &mut Writer, slice: &Slice) {
    match slice {
        Slice::Turns { upto, before } => {
            to.u8(0);
            write_mark(to, *upto);
            to.varint(*before);
        }
        Slice::Txn { txn, branch, revision, changes } => {
            to.u8(1);
            to.varint(txn.0);
            to.bool(*branch);
            to.varint(*revision);
            to.bool(*changes);
        }
    }
}

fn read_slice(from: &mut Reader) -> Result<Slice, DecodeError> {
    match from.u8()? {
        0 => Ok(Slice::Turns { upto: read_mark(from)?, before: from.varint()? }),
        1 => Ok(Slice::Txn {
            txn: TxnId(from.varint()?),
            branch: from.bool()?,
            revision: from.varint()?,
            changes: from.bool()?,
        }),
        value => Err(DecodeError::Unknown { what: "slice", value: value.into() }),
    }
}

impl Orderer {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new();
        to.u8(VERSION);
        to.varint(self.revision);
        to.varint(self.last_txn.0);
        to.varint(self.shards.len() as u64);
        for (id, shard) in &self.shards {
            to.varint(u64::from(id.0));
            write_mark(&mut to, shard.placed);
            write_mark(&mut to, shard.slices.from);
            to.varint(shard.slices.first);
            to.varint(shard.slices.list.len() as u64);
            shard.slices.list.iter().for_each(|slice| write_slice(&mut to, slice));
        }
        to.varint(self.open.len() as u64);
        for (txn, open) in &self.open {
            to.varint(txn.0);
            to.varint(open.shards.len() as u64);
            open.shards.iter().for_each(|shard| to.varint(u64::from(shard.0)));
        }
        to.finish()
    }

    /// The order that these bytes are.
    ///
    /// # Errors
    /// They are none, or a later version's.
    pub fn decode(bytes: &Bytes) -> Result<Orderer, DecodeError> {
        let mut from = Reader::new(bytes.clone());
        match from.u8()? {
            VERSION => {}
            value => return Err(DecodeError::Unknown { what: "version of an order", value: value.into() }),
        }
        let (revision, last_txn) = (from.varint()?, TxnId(from.varint()?));
        let mut shards = BTreeMap::new();
        for _ in 0..from.count(7)? {
            let id = read_shard(&mut from)?;
            let (placed, forgotten, first) = (read_mark(&mut from)?, read_mark(&mut from)?, from.varint()?);
            let list = (0..from.count(4)?).map(|_| read_slice(&mut from)).collect::<Result<_, _>>()?;
            shards.insert(id, Shard { placed, slices: Slices::new(forgotten, first, list) });
        }
        let mut open = BTreeMap::new();
        for _ in 0..from.count(3)? {
            let txn = TxnId(from.varint()?);
            let touched =
                (0..from.count(1)?).map(|_| read_shard(&mut from)).collect::<Result<BTreeSet<_>, _>>()?;
            open.insert(txn, Open { shards: touched });
        }
        from.finish()?;
        Ok(Orderer { revision, shards, open, last_txn })
    }

    /// A digest of all of it; replicas compare it at equal positions.
    #[must_use]
    pub fn digest(&self) -> u64 {
        fingerprint_of(&self.encode()[..])
    }
}

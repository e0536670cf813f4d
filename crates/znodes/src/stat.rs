//! What ZooKeeper tells about a znode.

use quorate_consensus::{DecodeError, Reader, Writer};

use crate::SessionId;
use crate::codec::{read_i32, read_signed, write_signed};

/// The stat of a znode, field by field as on ZooKeeper's wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The zxid that created it.
    pub czxid: u64,
    /// The zxid that last set its data, or created it. Setting the ACL does not count.
    pub mzxid: u64,
    /// When it was created, in milliseconds.
    pub ctime: i64,
    /// When its data was last set, in milliseconds.
    pub mtime: i64,
    /// How often its data was set. Skips −1, which a request uses for "any".
    pub version: i32,
    /// Children created and children deleted, in sum. Of the znodes that were there from the start it may be negative: their first
    /// children were never created.
    pub cversion: i32,
    /// How often its ACL was set.
    pub aversion: i32,
    /// The session of an ephemeral; zero for all others, containers and those with a time to live too.
    pub ephemeral_owner: SessionId,
    /// Bytes of its data.
    pub data_length: i32,
    /// How many children it has.
    pub num_children: i32,
    /// The zxid that last created or deleted a child, or created it.
    pub pzxid: u64,
}

impl Stat {
    pub(crate) fn encode(&self, to: &mut Writer) {
        for zxid in [self.czxid, self.mzxid, self.pzxid] {
            to.varint(zxid);
        }
        for time in [self.ctime, self.mtime] {
            write_signed(to, time);
        }
        for number in [self.version, self.cversion, self.aversion, self.data_length, self.num_children] {
            write_signed(to, number.into());
        }
        write_signed(to, self.ephemeral_owner.0);
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<Stat, DecodeError> {
        let (czxid, mzxid, pzxid) = (from.varint()?, from.varint()?, from.varint()?);
        let (ctime, mtime) = (read_signed(from)?, read_signed(from)?);
        Ok(Stat {
            czxid,
            mzxid,
            pzxid,
            ctime,
            mtime,
            version: read_i32(from)?,
            cversion: read_i32(from)?,
            aversion: read_i32(from)?,
            data_length: read_i32(from)?,
            num_children: read_i32(from)?,
            ephemeral_owner: SessionId(read_signed(from)?),
        })
    }
}

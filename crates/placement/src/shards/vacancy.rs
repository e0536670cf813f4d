//! A shard that was merged into another: it holds no token, and its group is there still.
//!
//! ```text
//! vacancy = shard · group · range version · config version · members · engine         numbers are varints
//! ```
//!
//! Architecture Invariant: a number that comes back never looks as it did. {s5 [m, z) at 9 is merged into s1; later s3 is split, and s5 takes [p, q)}: s5 is at 10 or above, so
//! that nobody who still believes in s5 at 9 is served by it.

use quorate_consensus::{DecodeError, EngineKind, GroupId, Membership, Reader, ShardId, Writer};

use super::entry::{read_engine, read_members, read_shard, read_version, write_engine, write_shard};
use super::{Entry, Phase, Token};

/// A shard without a token. A later split may give it some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vacancy {
    /// Its number.
    pub shard: ShardId,
    /// The group that replicates it, its own.
    pub group: GroupId,
    /// The range version that it had last.
    pub range_version: u64,
    /// Its config version.
    pub config_version: u64,
    /// Who replicates it. They stay when it gets tokens: that changes what it holds, and not who has it.
    pub members: Membership,
    /// Its protocol.
    pub engine: EngineKind,
}

impl Vacancy {
    /// The fewest bytes one takes.
    pub(super) const BYTES_MIN: usize = 1 + 1 + 1 + 1 + (3 + 8) + 1;

    /// What is left of a shard whose tokens another has.
    pub(super) fn of(entry: &Entry) -> Vacancy {
        Vacancy {
            shard: entry.shard,
            group: entry.group,
            range_version: entry.range_version,
            config_version: entry.config_version,
            members: entry.members.clone(),
            engine: entry.engine,
        }
    }

    /// The shard once it has tokens again, that of `parent` from `at` on.
    pub(super) fn taken(&self, parent: &Entry, at: Token) -> Entry {
        Entry {
            shard: self.shard,
            group: self.group,
            from: at,
            to: parent.to.clone(),
            range_version: parent.range_version.max(self.range_version) + 1,
            config_version: self.config_version,
            members: self.members.clone(),
            engine: self.engine,
            phase: Phase::Whole,
        }
    }

    pub(super) fn encode(&self, to: &mut Writer) {
        write_shard(self.shard, to);
        to.varint(self.group.0);
        to.varint(self.range_version);
        to.varint(self.config_version);
        self.members.encode(to);
        write_engine(self.engine, to);
    }

    pub(super) fn decode(from: &mut Reader) -> Result<Vacancy, DecodeError> {
        Ok(Vacancy {
            shard: read_shard(from)?,
            group: GroupId(from.varint()?),
            range_version: read_version(from)?,
            config_version: read_version(from)?,
            members: read_members(from)?,
            engine: read_engine(from)?,
        })
    }
}

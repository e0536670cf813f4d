//! Why a change of the shards is refused.

use std::fmt;

use quorate_consensus::{DecodeError, GroupId, Reader, ShardId, Writer};

use super::entry::{read_shard, write_shard};
use super::{CHANGES_AT_ONCE_MAX, CUT_BYTES_MAX, Entry, GROUP_STEP_MAX, SHARD_MEMBERS_MAX, SHARDS_MAX};

/// Why a command about shards was refused. A refused command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardError {
    /// The shard has another version than the command believes.
    Stale {
        /// As it is now.
        fresh: Box<Entry>,
    },
    /// No shard has this number, now or yet.
    NoShard(ShardId),
    /// Another change is under way on the shard.
    Busy {
        /// As it is now.
        fresh: Box<Entry>,
    },
    /// What the command ends is not under way on the shard.
    NotUnderWay {
        /// As it is now.
        fresh: Box<Entry>,
    },
    /// The split that is to be given up has been carried out.
    AlreadySplit {
        /// The child as it is now.
        fresh: Box<Entry>,
    },
    /// The rule has no such token: no key could be the first one of the new shard.
    NotCut,
    /// The token is not inside the shard, or it is its first.
    Outside {
        /// As it is now.
        fresh: Box<Entry>,
    },
    /// A new shard must have the next number.
    ShardNumber {
        /// That is this one.
        next: ShardId,
    },
    /// The number of a new group must be above the last one, and not far.
    GroupNumber {
        /// The last one.
        last: GroupId,
    },
    /// A vacant shard comes back as what it was, and of one split at a time.
    Vacant {
        /// Which.
        shard: ShardId,
        /// Its group.
        group: GroupId,
    },
    /// Only a shard and the one right behind it are merged.
    NotNeighbours {
        /// The one that was to be the left one, as it is now.
        fresh: Box<Entry>,
    },
    /// Only shards with the same members are merged.
    OtherMembers {
        /// The one whose members the other must have, as it is now.
        fresh: Box<Entry>,
    },
    /// Only shards with the same engine are merged.
    OtherEngine,
    /// No more shards than [`SHARDS_MAX`].
    TooManyShards,
    /// As many changes are under way as may be.
    TooManyChanges {
        /// The limit in force.
        changes_at_once: u16,
    },
    /// There is, or there once was, more than one shard.
    AlreadyFounded,
    /// The shards of a founding are no partition, have other numbers than 1, 2, 3 …, or change the first one.
    BadFounding,
    /// A rule without a part that counts.
    BadRule,
    /// Nobody votes, more than [`SHARD_MEMBERS_MAX`], a member without a number, or two sets of voters.
    BadMembers,
    /// More changes at once than [`CHANGES_AT_ONCE_MAX`].
    BadLimit,
    /// A shard begins at a token of at most [`CUT_BYTES_MAX`] bytes.
    CutTooLong,
    /// All numbers of shards were given.
    Exhausted,
}

impl ShardError {
    /// What the refusal has to say of a shard: as it is now.
    #[must_use]
    pub fn fresh(&self) -> Option<&Entry> {
        match self {
            ShardError::Stale { fresh }
            | ShardError::Busy { fresh }
            | ShardError::NotUnderWay { fresh }
            | ShardError::AlreadySplit { fresh }
            | ShardError::Outside { fresh }
            | ShardError::NotNeighbours { fresh }
            | ShardError::OtherMembers { fresh } => Some(fresh),
            _ => None,
        }
    }

    /// Writes it.
    pub fn encode(&self, to: &mut Writer) {
        to.u8(self.tag());
        if let Some(fresh) = self.fresh() {
            fresh.encode(to);
        }
        match self {
            ShardError::NoShard(shard) | ShardError::ShardNumber { next: shard } => write_shard(*shard, to),
            ShardError::GroupNumber { last } => to.varint(last.0),
            ShardError::Vacant { shard, group } => {
                write_shard(*shard, to);
                to.varint(group.0);
            }
            ShardError::TooManyChanges { changes_at_once } => to.varint(u64::from(*changes_at_once)),
            _ => {}
        }
    }

    fn tag(&self) -> u8 {
        match self {
            ShardError::Stale { .. } => 1,
            ShardError::NoShard(_) => 2,
            ShardError::Busy { .. } => 3,
            ShardError::NotUnderWay { .. } => 4,
            ShardError::AlreadySplit { .. } => 5,
            ShardError::NotCut => 6,
            ShardError::Outside { .. } => 7,
            ShardError::ShardNumber { .. } => 8,
            ShardError::GroupNumber { .. } => 9,
            ShardError::NotNeighbours { .. } => 10,
            ShardError::OtherMembers { .. } => 11,
            ShardError::OtherEngine => 12,
            ShardError::TooManyShards => 13,
            ShardError::TooManyChanges { .. } => 14,
            ShardError::AlreadyFounded => 15,
            ShardError::BadFounding => 16,
            ShardError::BadRule => 17,
            ShardError::BadMembers => 18,
            ShardError::BadLimit => 19,
            ShardError::CutTooLong => 20,
            ShardError::Exhausted => 21,
            ShardError::Vacant { .. } => 22,
        }
    }

    /// Reads what [`ShardError::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input.
    pub fn decode(from: &mut Reader) -> Result<ShardError, DecodeError> {
        let tag = from.u8()?;
        let mut fresh = || Entry::decode(from).map(Box::new);
        Ok(match tag {
            1 => ShardError::Stale { fresh: fresh()? },
            2 => ShardError::NoShard(read_shard(from)?),
            3 => ShardError::Busy { fresh: fresh()? },
            4 => ShardError::NotUnderWay { fresh: fresh()? },
            5 => ShardError::AlreadySplit { fresh: fresh()? },
            6 => ShardError::NotCut,
            7 => ShardError::Outside { fresh: fresh()? },
            8 => ShardError::ShardNumber { next: read_shard(from)? },
            9 => ShardError::GroupNumber { last: GroupId(from.varint()?) },
            10 => ShardError::NotNeighbours { fresh: fresh()? },
            11 => ShardError::OtherMembers { fresh: fresh()? },
            12 => ShardError::OtherEngine,
            13 => ShardError::TooManyShards,
            14 => ShardError::TooManyChanges { changes_at_once: super::map::read_limit(from)? },
            15 => ShardError::AlreadyFounded,
            16 => ShardError::BadFounding,
            17 => ShardError::BadRule,
            18 => ShardError::BadMembers,
            19 => ShardError::BadLimit,
            20 => ShardError::CutTooLong,
            21 => ShardError::Exhausted,
            22 => ShardError::Vacant { shard: read_shard(from)?, group: GroupId(from.varint()?) },
            value => return Err(DecodeError::Unknown { what: "shard error", value: value.into() }),
        })
    }
}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShardError::Stale { fresh } => {
                let Entry { shard, range_version, config_version, .. } = &**fresh;
                write!(
                    f,
                    "shard {shard} has changed: its range version is {range_version}, its config version {config_version}; look at it and ask again"
                )
            }
            ShardError::NoShard(shard) => {
                write!(f, "there is no shard {shard}, or it was merged into another; list the shards")
            }
            ShardError::Busy { fresh } => write!(
                f,
                "shard {} is {}, and one thing is done to a shard at a time; wait for that, or give it up",
                fresh.shard, fresh.phase
            ),
            ShardError::NotUnderWay { fresh } => write!(
                f,
                "this is not under way on shard {}, which is {}; look at it again",
                fresh.shard, fresh.phase
            ),
            ShardError::AlreadySplit { fresh } => write!(
                f,
                "the split has been carried out, shard {} is there; merge it back instead",
                fresh.shard
            ),
            ShardError::NotCut => write!(
                f,
                "no shard can begin there under the map's rule; take a whole prefix, or a hash of eight bytes"
            ),
            ShardError::Outside { fresh } => {
                write!(f, "shard {} does not hold this token, or begins with it; take another", fresh.shard)
            }
            ShardError::ShardNumber { next } => {
                write!(
                    f,
                    "numbers of shards are given in order and once, the next is {next}; ask again with it"
                )
            }
            ShardError::GroupNumber { last } => write!(
                f,
                "numbers of groups are given once: take one above {last}, by at most {GROUP_STEP_MAX}"
            ),
            ShardError::Vacant { shard, group } => write!(
                f,
                "shard {shard} is vacant: it comes back in its group {group}, under the engine that it has, and of one split at a time; ask with these, or take a new one"
            ),
            ShardError::NotNeighbours { fresh } if fresh.to.is_none() => write!(
                f,
                "shard {} is the last one, and nothing lies to its right; name the left one of the two, or see how the shards lie",
                fresh.shard
            ),
            ShardError::NotNeighbours { fresh } => write!(
                f,
                "only neighbours are merged, the left one first; see where shard {} ends",
                fresh.shard
            ),
            ShardError::OtherMembers { fresh } => write!(
                f,
                "only shards with the same members are merged; first move the other to where shard {} is",
                fresh.shard
            ),
            ShardError::OtherEngine => {
                write!(f, "only shards with the same engine are merged, and these have two; leave them apart")
            }
            ShardError::TooManyShards => {
                write!(f, "there are at most {SHARDS_MAX} shards; merge some first")
            }
            ShardError::TooManyChanges { changes_at_once } => write!(
                f,
                "at most {changes_at_once} splits, merges and moves are under way at a time; wait for one to end, or raise the limit"
            ),
            ShardError::AlreadyFounded => {
                write!(f, "the keys are divided, or were once; split, merge and move shards instead")
            }
            ShardError::BadFounding => write!(
                f,
                "a founding needs two shards or more, numbered 1, 2, 3 …, in order of where they begin, the first at the beginning, and shard 1 as it is; correct the list"
            ),
            ShardError::BadRule => {
                write!(
                    f,
                    "a prefix needs at least one part, or all keys would be one; say how many parts count"
                )
            }
            ShardError::BadMembers => write!(
                f,
                "a shard has 1 to {SHARD_MEMBERS_MAX} members, at least one of whom votes; name them all"
            ),
            ShardError::BadLimit => {
                write!(f, "at most {CHANGES_AT_ONCE_MAX} changes may be allowed at a time; ask for fewer")
            }
            ShardError::CutTooLong => {
                write!(f, "a shard begins at a token of at most {CUT_BYTES_MAX} bytes; take a shorter one")
            }
            ShardError::Exhausted => write!(f, "all numbers of shards have been given; nothing can be split"),
        }
    }
}

impl std::error::Error for ShardError {}

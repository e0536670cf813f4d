//! What the log of `meta` says about shards, and its bytes.
//!
//! ```text
//! command     = version (1) · tag · fields                numbers are varints
//! found       = 1 · rule · a count, then so many (shard · group · from · members · engine)
//! set rule    = 2 · rule · range version
//! set limit   = 3 · limit
//! begin split = 4 · shard · range version · at · child · group
//! end split   = 5 · shard · child · range version of the shard      abort split = 6, the same
//! begin merge = 7 · left · right · their range versions
//! end merge   = 8 · left · right · range version of left    abort merge = 9, the same
//! move        = 10 · shard · config version · members      moved = 11, the same
//! ```
//!
//! Every command has one encoding.

use bytes::Bytes;
use quorate_consensus::{DecodeError, EngineKind, GroupId, Membership, Reader, ShardId, Writer};

use super::entry::{read_engine, read_members, read_shard, read_version, write_engine, write_shard};
use super::map::{check_members, read_limit};
use super::{CHANGES_AT_ONCE_MAX, CUT_BYTES_MAX, Rule, SHARDS_MAX, ShardError, Token};

const VERSION: u8 = 1;

/// A change of the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// From the one shard that was there from the start to many, in one version; once, and only as long as no second shard was ever
    /// begun. The store's keys do not move by it: for a store that is still empty, or one whose order log does the same.
    Found {
        /// How keys become tokens from now on.
        rule: Rule,
        /// Two or more, in order of their tokens, numbered 1, 2, 3 … in whatever order. Number 1 is the shard that is there: its
        /// group, members and engine stay.
        shards: Vec<Founder>,
    },
    /// Another rule, while there is one shard.
    SetRule {
        /// How keys become tokens from now on.
        rule: Rule,
        /// What the range version of the one shard is believed to be.
        range_version: u64,
    },
    /// How many splits, merges and moves may be under way at a time. Those that are, go on.
    SetLimit {
        /// From 0, nothing new begins, to [`CHANGES_AT_ONCE_MAX`].
        changes_at_once: u16,
    },
    /// A shard is to give the tokens from `at` on to a new one with the same members and engine, or to a vacant one.
    BeginSplit {
        /// Which.
        shard: ShardId,
        /// What its range version is believed to be.
        range_version: u64,
        /// The first token of the child: one that the rule has, inside the shard and not its first.
        at: Token,
        /// The number of the child: [`ShardMap::next_shard`](super::ShardMap::next_shard), or that of a [`Vacancy`](super::Vacancy) with the shard's engine.
        child: ShardId,
        /// Its group: above [`ShardMap::last_group`](super::ShardMap::last_group), and no other group's number; of a vacant shard, its own.
        group: GroupId,
    },
    /// The split has been carried out. From here on the child holds its tokens.
    EndSplit {
        /// Which was split.
        shard: ShardId,
        /// What came of it.
        child: ShardId,
        /// The range version of the shard while it is split: which split of the two it was. {s5 comes of s1, is merged into it again, and is to come of it once more; the first
        /// one's end comes late}: the second one has not been carried out.
        range_version: u64,
    },
    /// The split is given up. A new child's number is used up all the same.
    AbortSplit {
        /// Which was to be split.
        shard: ShardId,
        /// What would have come of it.
        child: ShardId,
        /// The range version of the shard while it is split: which split of the two is meant.
        range_version: u64,
    },
    /// Two neighbours with the same members and engine are to be one.
    BeginMerge {
        /// The left one, which survives.
        left: ShardId,
        /// The right one, whose tokens the left one gets.
        right: ShardId,
        /// What the range version of the left one is believed to be.
        left_version: u64,
        /// And of the right one.
        right_version: u64,
    },
    /// The merge has been carried out. From here on the left one holds the tokens of both, and the right one is vacant.
    EndMerge {
        /// Survives.
        left: ShardId,
        /// Is vacant.
        right: ShardId,
        /// The range version of the left one while they merge: which merge of the two it was. {it is carried out; it is given up all the
        /// same, and begun again; the first one's end comes late}: the second one has not been carried out.
        left_version: u64,
    },
    /// The merge is given up. The range versions of both grow, so that a [`Command::BeginMerge`] from before does not begin it again.
    AbortMerge {
        /// Was to survive.
        left: ShardId,
        /// Was to be vacant.
        right: ShardId,
        /// The range version of the left one while they merge: which merge of the two is meant.
        left_version: u64,
    },
    /// A shard is to have other members. While it moves, this gives the move another goal, its old members for one that is to be
    /// given up: what the group has begun of the change, it ends or takes back by another.
    Move {
        /// Which.
        shard: ShardId,
        /// What its config version is believed to be.
        config_version: u64,
        /// Who is to replicate it. Not joint; somebody votes; at most [`SHARD_MEMBERS_MAX`](super::SHARD_MEMBERS_MAX).
        members: Membership,
    },
    /// The move has been carried out: the shard's group has these members, and is not joint.
    Moved {
        /// Which.
        shard: ShardId,
        /// Its config version while it moved.
        config_version: u64,
        /// Who replicates it now.
        members: Membership,
    },
}

/// One of the shards of [`Command::Found`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Its number.
    pub shard: ShardId,
    /// Its group.
    pub group: GroupId,
    /// The first token that it holds; it ends where the next begins.
    pub from: Token,
    /// Who replicates it.
    pub members: Membership,
    /// Its protocol.
    pub engine: EngineKind,
}

impl Command {
    /// Does the command make sense by itself, whatever the map is? To be asked before it is proposed: what is past a limit does not
    /// decode if it is proposed all the same.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self) -> Result<(), ShardError> {
        let fits = |token: &Token| {
            let fits = token.as_bytes().len() <= CUT_BYTES_MAX;
            if fits { Ok(()) } else { Err(ShardError::CutTooLong) }
        };
        match self {
            Command::Found { rule, shards } => {
                rule.check()?;
                if shards.len() > SHARDS_MAX {
                    return Err(ShardError::TooManyShards);
                }
                shards.iter().try_for_each(|founder| {
                    fits(&founder.from)?;
                    check_members(&founder.members)
                })
            }
            Command::SetRule { rule, .. } => rule.check(),
            Command::SetLimit { changes_at_once } if *changes_at_once > CHANGES_AT_ONCE_MAX => {
                Err(ShardError::BadLimit)
            }
            Command::BeginSplit { at, .. } => fits(at),
            Command::Move { members, .. } | Command::Moved { members, .. } => check_members(members),
            Command::SetLimit { .. }
            | Command::EndSplit { .. }
            | Command::AbortSplit { .. }
            | Command::BeginMerge { .. }
            | Command::EndMerge { .. }
            | Command::AbortMerge { .. } => Ok(()),
        }
    }

    /// Its bytes, for the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        let to = &mut writer;
        to.u8(VERSION);
        match self {
            Command::Found { rule, shards } => {
                to.u8(1);
                rule.encode(to);
                to.varint(shards.len() as u64);
                shards.iter().for_each(|founder| founder.encode(to));
            }
            Command::SetRule { rule, range_version } => {
                to.u8(2);
                rule.encode(to);
                to.varint(*range_version);
            }
            Command::SetLimit { changes_at_once } => {
                to.u8(3);
                to.varint(u64::from(*changes_at_once));
            }
            Command::BeginSplit { shard, range_version, at, child, group } => {
                to.u8(4);
                write_shard(*shard, to);
                to.varint(*range_version);
                at.encode(to);
                write_shard(*child, to);
                to.varint(group.0);
            }
            Command::EndSplit { shard, child, range_version } => {
                write_two(5, *shard, *child, to);
                to.varint(*range_version);
            }
            Command::AbortSplit { shard, child, range_version } => {
                write_two(6, *shard, *child, to);
                to.varint(*range_version);
            }
            Command::BeginMerge { left, right, left_version, right_version } => {
                write_two(7, *left, *right, to);
                to.varint(*left_version);
                to.varint(*right_version);
            }
            Command::EndMerge { left, right, left_version } => {
                write_two(8, *left, *right, to);
                to.varint(*left_version);
            }
            Command::AbortMerge { left, right, left_version } => {
                write_two(9, *left, *right, to);
                to.varint(*left_version);
            }
            Command::Move { shard, config_version, members } => {
                write_move(10, *shard, *config_version, members, to);
            }
            Command::Moved { shard, config_version, members } => {
                write_move(11, *shard, *config_version, members, to);
            }
        }
        writer.finish()
    }

    /// Reads what [`Command::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input, another version, or more than the limits allow.
    pub fn decode(bytes: &Bytes) -> Result<Command, DecodeError> {
        let from = &mut Reader::new(bytes.clone());
        match from.u8()? {
            VERSION => {}
            value => {
                return Err(DecodeError::Unknown { what: "version of a shard command", value: value.into() });
            }
        }
        let command = match from.u8()? {
            1 => {
                let rule = Rule::decode(from)?;
                let count = from.count(Founder::BYTES_MIN)?;
                if count > SHARDS_MAX {
                    return Err(DecodeError::Invalid { what: "number of shards" });
                }
                let shards = (0..count).map(|_| Founder::decode(from)).collect::<Result<_, _>>()?;
                Command::Found { rule, shards }
            }
            2 => Command::SetRule { rule: Rule::decode(from)?, range_version: read_version(from)? },
            3 => Command::SetLimit { changes_at_once: read_limit(from)? },
            4 => Command::BeginSplit {
                shard: read_shard(from)?,
                range_version: read_version(from)?,
                at: Token::decode(from)?,
                child: read_shard(from)?,
                group: GroupId(from.varint()?),
            },
            5 => Command::EndSplit {
                shard: read_shard(from)?,
                child: read_shard(from)?,
                range_version: read_version(from)?,
            },
            6 => Command::AbortSplit {
                shard: read_shard(from)?,
                child: read_shard(from)?,
                range_version: read_version(from)?,
            },
            7 => Command::BeginMerge {
                left: read_shard(from)?,
                right: read_shard(from)?,
                left_version: read_version(from)?,
                right_version: read_version(from)?,
            },
            8 => Command::EndMerge {
                left: read_shard(from)?,
                right: read_shard(from)?,
                left_version: read_version(from)?,
            },
            9 => Command::AbortMerge {
                left: read_shard(from)?,
                right: read_shard(from)?,
                left_version: read_version(from)?,
            },
            10 => Command::Move {
                shard: read_shard(from)?,
                config_version: read_version(from)?,
                members: read_members(from)?,
            },
            11 => Command::Moved {
                shard: read_shard(from)?,
                config_version: read_version(from)?,
                members: read_members(from)?,
            },
            value => return Err(DecodeError::Unknown { what: "shard command", value: value.into() }),
        };
        from.clone().finish()?;
        Ok(command)
    }
}

impl Founder {
    const BYTES_MIN: usize = 1 + 1 + 1 + (3 + 8) + 1;

    fn encode(&self, to: &mut Writer) {
        write_shard(self.shard, to);
        to.varint(self.group.0);
        self.from.encode(to);
        self.members.encode(to);
        write_engine(self.engine, to);
    }

    fn decode(from: &mut Reader) -> Result<Founder, DecodeError> {
        Ok(Founder {
            shard: read_shard(from)?,
            group: GroupId(from.varint()?),
            from: Token::decode(from)?,
            members: read_members(from)?,
            engine: read_engine(from)?,
        })
    }
}

fn write_two(tag: u8, one: ShardId, other: ShardId, to: &mut Writer) {
    to.u8(tag);
    write_shard(one, to);
    write_shard(other, to);
}

fn write_move(tag: u8, shard: ShardId, config_version: u64, members: &Membership, to: &mut Writer) {
    to.u8(tag);
    write_shard(shard, to);
    to.varint(config_version);
    members.encode(to);
}

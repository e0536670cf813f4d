//! What is known of one shard, and its bytes.
//!
//! ```text
//! entry   = shard · group · from · has end · [to] · range version · config version · members · engine · phase
//! whole   = 0
//! split   = 1 · at · child · group
//! merging = 2 · other shard · survives
//! moving  = 3 · members
//! ```
//!
//! Numbers are varints.

use std::fmt;

use quorate_consensus::{DecodeError, EngineKind, GroupId, Membership, Reader, ShardId, Writer};

use super::map::check_members;
use super::{Span, Token};

/// Versions decode up to here, so that counting on from one never overflows.
pub(super) const VERSION_MAX: u64 = i64::MAX as u64;

/// One shard: what it holds, where it lives, and what is being done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, given once.
    pub shard: ShardId,
    /// The group that replicates it, its own.
    pub group: GroupId,
    /// The first token that it holds.
    pub from: Token,
    /// The first token behind it; none: it is the last shard.
    pub to: Option<Token>,
    /// From 1; grows with each change of `from` and `to`, and when a merge is given up.
    pub range_version: u64,
    /// From 1; grows with each change of `members`, and when a move gets another goal.
    pub config_version: u64,
    /// Who replicates it, once what is under way before this entry has been carried out. Never joint; somebody votes.
    pub members: Membership,
    /// Its protocol.
    pub engine: EngineKind,
    /// The change that is under way on it.
    pub phase: Phase,
}

/// What is being done to a shard: one thing at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    Whole,
    /// It will give the tokens from `at` on to a new shard.
    Splitting {
        /// The first token of the child.
        at: Token,
        /// The child's number.
        child: ShardId,
        /// The child's group.
        group: GroupId,
    },
    /// It and its neighbour will be one.
    Merging {
        /// The neighbour.
        with: ShardId,
        /// Is it the left one of the two, which goes on and gets all the tokens?
        survives: bool,
    },
    /// It will have other members.
    Moving {
        /// Which ones.
        to: Membership,
    },
}

impl Phase {
    /// Does it count as a change of its own? A merge counts once, for the shard that survives.
    pub(super) fn counts(&self) -> bool {
        match self {
            Phase::Splitting { .. } | Phase::Moving { .. } => true,
            Phase::Merging { survives, .. } => *survives,
            Phase::Whole => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Whole => write!(f, "whole"),
            Phase::Splitting { child, group, .. } => write!(f, "being split; {child} of group {group} comes"),
            Phase::Merging { with, survives: true } => write!(f, "being merged; {with} comes into it"),
            Phase::Merging { with, survives: false } => write!(f, "being merged into {with}"),
            Phase::Moving { to } => write!(f, "being moved to {}", Members(to)),
        }
    }
}

/// Members for a person to read: {n1, n2, and n3 as a learner}.
pub(super) struct Members<'a>(pub(super) &'a Membership);

impl fmt::Display for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let voters: Vec<String> = self.0.voters().iter().map(ToString::to_string).collect();
        write!(f, "{}", voters.join(" "))?;
        self.0.learners().iter().try_for_each(|learner| write!(f, " {learner}(learner)"))
    }
}

impl Entry {
    /// The fewest bytes an entry takes.
    pub(super) const BYTES_MIN: usize = 1 + 1 + 1 + 1 + 1 + 1 + (3 + 8) + 1 + 1;

    /// The tokens that it holds.
    #[must_use]
    pub fn span(&self) -> Span {
        Span { from: self.from.clone(), to: self.to.clone() }
    }

    /// Does it hold the token?
    #[must_use]
    pub fn holds(&self, token: &Token) -> bool {
        *token >= self.from && self.to.as_ref().is_none_or(|to| token < to)
    }

    /// Is no change under way on it?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.phase == Phase::Whole
    }

    /// Writes it.
    pub fn encode(&self, to: &mut Writer) {
        write_shard(self.shard, to);
        to.varint(self.group.0);
        self.from.encode(to);
        to.bool(self.to.is_some());
        if let Some(end) = &self.to {
            end.encode(to);
        }
        to.varint(self.range_version);
        to.varint(self.config_version);
        self.members.encode(to);
        write_engine(self.engine, to);
        match &self.phase {
            Phase::Whole => to.u8(0),
            Phase::Splitting { at, child, group } => {
                to.u8(1);
                at.encode(to);
                write_shard(*child, to);
                to.varint(group.0);
            }
            Phase::Merging { with, survives } => {
                to.u8(2);
                write_shard(*with, to);
                to.bool(*survives);
            }
            Phase::Moving { to: members } => {
                to.u8(3);
                members.encode(to);
            }
        }
    }

    /// Reads what [`Entry::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input; an entry that holds nothing, that nobody votes in, or that is split outside of itself.
    pub fn decode(from: &mut Reader) -> Result<Entry, DecodeError> {
        let entry = Entry {
            shard: read_shard(from)?,
            group: GroupId(from.varint()?),
            from: Token::decode(from)?,
            to: if from.bool()? { Some(Token::decode(from)?) } else { None },
            range_version: read_version(from)?,
            config_version: read_version(from)?,
            members: read_members(from)?,
            engine: read_engine(from)?,
            phase: match from.u8()? {
                0 => Phase::Whole,
                1 => Phase::Splitting {
                    at: Token::decode(from)?,
                    child: read_shard(from)?,
                    group: GroupId(from.varint()?),
                },
                2 => Phase::Merging { with: read_shard(from)?, survives: from.bool()? },
                3 => Phase::Moving { to: read_members(from)? },
                value => return Err(DecodeError::Unknown { what: "phase of a shard", value: value.into() }),
            },
        };
        let empty = entry.to.as_ref().is_some_and(|to| *to <= entry.from);
        let outside = match &entry.phase {
            Phase::Splitting { at, .. } => !entry.holds(at) || *at == entry.from,
            Phase::Whole | Phase::Merging { .. } | Phase::Moving { .. } => false,
        };
        if empty || outside { Err(DecodeError::Invalid { what: "range of a shard" }) } else { Ok(entry) }
    }
}

pub(super) fn write_shard(shard: ShardId, to: &mut Writer) {
    to.varint(u64::from(shard.0));
}

/// Shard 0 there is none.
pub(super) fn read_shard(from: &mut Reader) -> Result<ShardId, DecodeError> {
    match u32::try_from(from.varint()?) {
        Ok(shard) if shard > 0 => Ok(ShardId(shard)),
        _ => Err(DecodeError::Invalid { what: "shard" }),
    }
}

pub(super) fn read_version(from: &mut Reader) -> Result<u64, DecodeError> {
    match from.varint()? {
        version @ 1..=VERSION_MAX => Ok(version),
        _ => Err(DecodeError::Invalid { what: "version of a shard" }),
    }
}

pub(super) fn read_members(from: &mut Reader) -> Result<Membership, DecodeError> {
    let members = Membership::decode(from)?;
    check_members(&members).map_err(|_| DecodeError::Invalid { what: "members of a shard" })?;
    Ok(members)
}

pub(super) fn write_engine(engine: EngineKind, to: &mut Writer) {
    to.u8(match engine {
        EngineKind::Raft => 1,
        EngineKind::Zab => 2,
    });
}

pub(super) fn read_engine(from: &mut Reader) -> Result<EngineKind, DecodeError> {
    match from.u8()? {
        1 => Ok(EngineKind::Raft),
        2 => Ok(EngineKind::Zab),
        value => Err(DecodeError::Unknown { what: "engine", value: value.into() }),
    }
}

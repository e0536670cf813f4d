//! The state of the shards: what a command will do, and doing it.

use bytes::Bytes;
use quorate_consensus::{DecodeError, EngineKind, GroupId, Membership};

use super::map::Edit;
use super::{Command, ShardError, ShardMap};

/// The shards of the keys: the part of the state of `meta` that says who holds what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shards {
    map: ShardMap,
}

/// What an evaluated command will do. It belongs to the version at which it was evaluated and to no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    base: u64,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is so already.
    Holds,
    Change(Edit),
}

impl Effect {
    /// Does it change anything, and so take a version?
    #[must_use]
    pub fn changes(&self) -> bool {
        matches!(self.outcome, Outcome::Change(_))
    }
}

impl Shards {
    /// One shard, number 1, in this group: by range, with everything in it, version 1.
    ///
    /// # Errors
    /// [`ShardError::BadMembers`].
    pub fn new(group: GroupId, members: Membership, engine: EngineKind) -> Result<Shards, ShardError> {
        Ok(Shards { map: ShardMap::of_one(group, members, engine)? })
    }

    /// The map as it is.
    #[must_use]
    pub fn map(&self) -> &ShardMap {
        &self.map
    }

    /// What a command of the log will do.
    ///
    /// # Errors
    /// It is refused, and every replica refuses it alike.
    pub fn evaluate(&self, command: &Command) -> Result<Effect, ShardError> {
        command.check()?;
        Ok(Effect { base: self.map.version(), outcome: self.map.decide(command)? })
    }

    /// Does it. The version of the map afterwards.
    ///
    /// # Panics
    /// The effect is of another version: effects are applied before the next command is evaluated.
    pub fn apply(&mut self, effect: Effect) -> u64 {
        assert_eq!(
            effect.base,
            self.map.version(),
            "an effect is applied before the next command is evaluated"
        );
        if let Outcome::Change(edit) = effect.outcome {
            self.map.edit(edit);
        }
        self.map.version()
    }

    /// Over all of the state.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.map.digest()
    }

    /// Its bytes: those of the map.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.map.encode()
    }

    /// Reads what [`Shards::encode`] wrote.
    ///
    /// # Errors
    /// As [`ShardMap::decode`].
    pub fn decode(bytes: &Bytes) -> Result<Shards, DecodeError> {
        Ok(Shards { map: ShardMap::decode(bytes)? })
    }
}

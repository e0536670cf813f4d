//! All shards at one version.
//!
//! ```text
//! map = version (2) · version of the map · rule · changes at once · next shard · last group · a count, then so many entries by token
//!       · a count, then so many vacancies by number
//! ```
//!
//! Architecture Invariant: the entries are a partition of all tokens: in order, without a gap or an overlap; the first begins at the
//! least token, the last has no end. Bytes that say otherwise do not decode; a change that would break it stops the group.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{
    DecodeError, EngineKind, Fingerprint, GroupId, Membership, NodeId, Reader, ShardId, Writer,
};

use super::entry::{read_shard, read_version, write_shard};
use super::{Entry, Phase, Rule, ShardError, Span, Token, Vacancy};

/// Shards of a map, vacant ones and those that a split under way will add counted in.
pub const SHARDS_MAX: usize = 65_536;
/// Splits, merges and moves that are under way at a time, unless [`Command::SetLimit`](super::Command::SetLimit) says otherwise.
pub const CHANGES_AT_ONCE_DEFAULT: u16 = 8;
/// What it can say at most.
pub const CHANGES_AT_ONCE_MAX: u16 = 1024;
/// The number of a new group is at most so far above the last one that a shard was given. Other groups take numbers too; but one
/// command shall not use up all of them.
pub const GROUP_STEP_MAX: u64 = 1 << 17;
/// Members of a shard. Half of what a group may have, so that even a move of all of them fits into one joint membership.
pub const SHARD_MEMBERS_MAX: usize = Membership::MEMBERS_MAX / 2;

/// 1 did not say which shards are vacant. It is not read: nothing was released that wrote it.
const VERSION: u8 = 2;

/// Which shard holds which tokens, and what is being done to it. Cheap to clone; stays as it is whatever comes after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    version: u64,
    pub(super) heads: Heads,
    /// A partition of all tokens, in order.
    shards: Arc<Vec<Entry>>,
    /// Where each shard begins; exactly those in `shards`.
    places: Arc<BTreeMap<ShardId, Token>>,
    /// Shards that hold no token: none of them is in `shards`.
    vacant: Arc<BTreeMap<ShardId, Vacancy>>,
    /// The sum of the fingerprints of all in `shards` and in `vacant`, so that a digest need not walk them.
    sum: u64,
}

/// What concerns no single shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) rule: Rule,
    pub(super) changes_at_once: u16,
    /// Every number below it was given.
    pub(super) next_shard: ShardId,
    /// Groups of new shards are above it.
    pub(super) last_group: GroupId,
}

/// A change of the map, decided: these shards are as said here from now on, or are vacant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) heads: Heads,
    pub(super) vacated: Vec<Vacancy>,
    /// In order of their tokens.
    pub(super) put: Vec<Entry>,
}

impl ShardMap {
    /// One shard, number 1, that holds everything.
    pub(super) fn of_one(
        group: GroupId,
        members: Membership,
        engine: EngineKind,
    ) -> Result<ShardMap, ShardError> {
        check_members(&members)?;
        let heads = Heads {
            rule: Rule::Range,
            changes_at_once: CHANGES_AT_ONCE_DEFAULT,
            next_shard: ShardId(2),
            last_group: group,
        };
        let entry = Entry {
            shard: ShardId(1),
            group,
            from: Token::least(),
            to: None,
            range_version: 1,
            config_version: 1,
            members,
            engine,
            phase: Phase::Whole,
        };
        Ok(ShardMap::of(1, heads, vec![entry], Vec::new()))
    }

    fn of(version: u64, heads: Heads, shards: Vec<Entry>, vacant: Vec<Vacancy>) -> ShardMap {
        let places = shards.iter().map(|entry| (entry.shard, entry.from.clone())).collect();
        let sum = shards.iter().map(print).chain(vacant.iter().map(print_vacant)).fold(0, u64::wrapping_add);
        let vacant = vacant.into_iter().map(|vacancy| (vacancy.shard, vacancy)).collect();
        let (shards, places, vacant) = (Arc::new(shards), Arc::new(places), Arc::new(vacant));
        ShardMap { version, heads, shards, places, vacant, sum }
    }

    /// Its version: 1 at first, one more with each change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How keys become tokens.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.heads.rule
    }

    /// All shards, in order of their tokens.
    #[must_use]
    pub fn shards(&self) -> &[Entry] {
        &self.shards
    }

    /// Shards that were merged into others, and have not been given tokens since, in order of their numbers.
    pub fn vacancies(&self) -> impl Iterator<Item = &Vacancy> {
        self.vacant.values()
    }

    /// The vacant shard with this number.
    #[must_use]
    pub fn vacancy(&self, shard: ShardId) -> Option<&Vacancy> {
        self.vacant.get(&shard)
    }

    /// How many splits, merges and moves may be under way at a time.
    #[must_use]
    pub fn changes_at_once(&self) -> u16 {
        self.heads.changes_at_once
    }

    /// How many are under way.
    #[must_use]
    pub fn changes_under_way(&self) -> usize {
        self.shards.iter().filter(|entry| entry.phase.counts()).count()
    }

    /// The number that the next new shard must have.
    #[must_use]
    pub fn next_shard(&self) -> ShardId {
        self.heads.next_shard
    }

    /// The highest number that a shard's group was ever given. A new one is above it, by at most [`GROUP_STEP_MAX`].
    #[must_use]
    pub fn last_group(&self) -> GroupId {
        self.heads.last_group
    }

    /// Who holds the key.
    #[must_use]
    pub fn locate(&self, key: &[u8]) -> &Entry {
        &self.shards[self.at(self.heads.rule.bytes_of(key, &mut [0; 8]))]
    }

    /// Who holds the token.
    #[must_use]
    pub fn locate_token(&self, token: &Token) -> &Entry {
        &self.shards[self.at(token.as_bytes())]
    }

    /// All who can hold keys from `from` on and before `to`, in order of their tokens; without `to`, all keys from `from` on.
    pub fn locate_range(&self, from: &[u8], to: Option<&[u8]>) -> impl Iterator<Item = &Entry> {
        self.locate_span(self.heads.rule.covers(from, to))
    }

    /// All who hold tokens of the span, in order.
    pub fn locate_span(&self, span: Span) -> impl Iterator<Item = &Entry> {
        let rest = &self.shards[self.at(span.from.as_bytes())..];
        rest.iter().take_while(move |entry| span.to.as_ref().is_none_or(|to| entry.from < *to))
    }

    /// The shard with this number.
    #[must_use]
    pub fn get(&self, shard: ShardId) -> Option<&Entry> {
        self.places.get(&shard).map(|from| self.locate_token(from))
    }

    /// Where in the list the holder of a token stands: the last one that does not begin behind it.
    fn at(&self, token: &[u8]) -> usize {
        self.shards.partition_point(|entry| entry.from.as_bytes() <= token) - 1
    }

    /// Carries out what was decided of this very version.
    pub(super) fn edit(&mut self, edit: Edit) {
        let (shards, places) = (Arc::make_mut(&mut self.shards), Arc::make_mut(&mut self.places));
        let vacant = Arc::make_mut(&mut self.vacant);
        let vacated = edit.vacated.iter().map(|vacancy| vacancy.shard);
        for id in vacated.chain(edit.put.iter().map(|entry| entry.shard)) {
            if let Some(from) = places.remove(&id) {
                let at = shards.binary_search_by(|entry| entry.from.cmp(&from));
                let old = shards.remove(at.expect("a shard stands where it begins"));
                self.sum = self.sum.wrapping_sub(print(&old));
            }
            if let Some(old) = vacant.remove(&id) {
                self.sum = self.sum.wrapping_sub(print_vacant(&old));
            }
        }
        for vacancy in edit.vacated {
            self.sum = self.sum.wrapping_add(print_vacant(&vacancy));
            vacant.insert(vacancy.shard, vacancy);
        }
        for entry in edit.put {
            self.sum = self.sum.wrapping_add(print(&entry));
            places.insert(entry.shard, entry.from.clone());
            shards.insert(shards.partition_point(|other| other.from < entry.from), entry);
        }
        self.heads = edit.heads;
        self.version += 1;
        assert!(is_partition(&self.shards), "every token has one shard");
    }

    /// Over all of it.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut bytes = Writer::new();
        self.write_heads(&mut bytes);
        let mut hasher = Fingerprint::default();
        hasher.write(bytes.as_slice());
        hasher.write_u64(self.sum);
        hasher.finish()
    }

    fn write_heads(&self, to: &mut Writer) {
        to.u8(VERSION);
        to.varint(self.version);
        self.heads.rule.encode(to);
        to.varint(u64::from(self.heads.changes_at_once));
        write_shard(self.heads.next_shard, to);
        to.varint(self.heads.last_group.0);
    }

    /// Its bytes: one map has one encoding.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new();
        self.write_heads(&mut to);
        to.varint(self.shards.len() as u64);
        self.shards.iter().for_each(|entry| entry.encode(&mut to));
        to.varint(self.vacant.len() as u64);
        self.vacant.values().for_each(|vacancy| vacancy.encode(&mut to));
        to.finish()
    }

    /// Reads what [`ShardMap::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input, another version, or a map that cannot have come out of a log.
    pub fn decode(bytes: &Bytes) -> Result<ShardMap, DecodeError> {
        let from = &mut Reader::new(bytes.clone());
        match from.u8()? {
            VERSION => {}
            value => {
                return Err(DecodeError::Unknown { what: "version of a shard map", value: value.into() });
            }
        }
        let version = read_version(from)?;
        let heads = Heads {
            rule: Rule::decode(from)?,
            changes_at_once: read_limit(from)?,
            next_shard: read_shard(from)?,
            last_group: GroupId(from.varint()?),
        };
        let count = from.count(Entry::BYTES_MIN)?;
        if count > SHARDS_MAX {
            return Err(DecodeError::Invalid { what: "number of shards" });
        }
        let shards = (0..count).map(|_| Entry::decode(from)).collect::<Result<Vec<_>, _>>()?;
        let count = from.count(Vacancy::BYTES_MIN)?;
        if count > SHARDS_MAX {
            return Err(DecodeError::Invalid { what: "number of shards" });
        }
        let vacant = (0..count).map(|_| Vacancy::decode(from)).collect::<Result<Vec<_>, _>>()?;
        from.clone().finish()?;
        if !is_sound(&heads, &shards, &vacant) {
            return Err(DecodeError::Invalid { what: "shard map" });
        }
        Ok(ShardMap::of(version, heads, shards, vacant))
    }
}

pub(super) fn read_limit(from: &mut Reader) -> Result<u16, DecodeError> {
    match u16::try_from(from.varint()?) {
        Ok(limit) if limit <= CHANGES_AT_ONCE_MAX => Ok(limit),
        _ => Err(DecodeError::Invalid { what: "limit of changes" }),
    }
}

/// Can a shard have these members?
pub(super) fn check_members(members: &Membership) -> Result<(), ShardError> {
    let count = members.members().count();
    if members.voters().is_empty() || members.is_joint() || members.contains(NodeId(0)) {
        return Err(ShardError::BadMembers);
    }
    if count > SHARD_MEMBERS_MAX { Err(ShardError::BadMembers) } else { Ok(()) }
}

fn print(entry: &Entry) -> u64 {
    print_of(|to| entry.encode(to))
}

/// Behind a tag, so that none passes for an entry.
fn print_vacant(vacancy: &Vacancy) -> u64 {
    print_of(|to| {
        to.raw(b"vacant");
        vacancy.encode(to);
    })
}

fn print_of(write: impl FnOnce(&mut Writer)) -> u64 {
    let mut bytes = Writer::new();
    write(&mut bytes);
    let mut hasher = Fingerprint::default();
    hasher.write(bytes.as_slice());
    hasher.finish()
}

fn is_partition(shards: &[Entry]) -> bool {
    let (Some(first), Some(last)) = (shards.first(), shards.last()) else { return false };
    first.from == Token::least()
        && last.to.is_none()
        && shards.windows(2).all(|pair| pair[0].to.as_ref() == Some(&pair[1].from))
        && shards.windows(2).all(|pair| pair[0].from < pair[1].from)
}

/// Could these have come out of a log?
fn is_sound(heads: &Heads, shards: &[Entry], vacant: &[Vacancy]) -> bool {
    let coming = || {
        shards.iter().filter_map(|entry| match &entry.phase {
            Phase::Splitting { at, child, group } => Some((at, *child, *group, entry.engine)),
            Phase::Whole | Phase::Merging { .. } | Phase::Moving { .. } => None,
        })
    };
    // A vacant one that comes back is there already: as itself.
    let is_new = |child: ShardId| vacant.iter().all(|vacancy| vacancy.shard != child);
    let comes_back = |child: ShardId, group, engine| {
        let was = vacant.iter().find(|vacancy| vacancy.shard == child);
        was.is_none_or(|vacancy| (vacancy.group, vacancy.engine) == (group, engine))
    };
    let there = shards.iter().map(|entry| (entry.shard, entry.group));
    let there = there.chain(vacant.iter().map(|vacancy| (vacancy.shard, vacancy.group)));
    let new = coming().filter(|(_, child, ..)| is_new(*child)).map(|(_, child, group, _)| (child, group));
    let all: Vec<(ShardId, GroupId)> = there.chain(new).collect();
    let ids: BTreeSet<ShardId> = all.iter().map(|(shard, _)| *shard).collect();
    let groups: BTreeSet<GroupId> = all.iter().map(|(_, group)| *group).collect();
    let children: BTreeSet<ShardId> = coming().map(|(_, child, ..)| child).collect();
    is_partition(shards)
        && shards[1..].iter().all(|entry| heads.rule.is_cut(&entry.from))
        && coming().all(|(at, ..)| heads.rule.is_cut(at))
        && coming().all(|(_, child, group, engine)| comes_back(child, group, engine))
        && children.len() == coming().count()
        && vacant.windows(2).all(|pair| pair[0].shard < pair[1].shard)
        && all.len() <= SHARDS_MAX
        && ids.len() == all.len()
        && groups.len() == all.len()
        && ids.iter().all(|shard| *shard < heads.next_shard)
        && groups.iter().all(|group| *group <= heads.last_group)
        && merges_are_mutual(shards)
}

/// Has everyone who merges the neighbour who says the same, with members and engine like its own?
fn merges_are_mutual(shards: &[Entry]) -> bool {
    let pairs = shards
        .windows(2)
        .filter(|pair| {
            let left = Phase::Merging { with: pair[1].shard, survives: true };
            let right = Phase::Merging { with: pair[0].shard, survives: false };
            let alike = pair[0].members == pair[1].members && pair[0].engine == pair[1].engine;
            alike && pair[0].phase == left && pair[1].phase == right
        })
        .count();
    let merging = shards.iter().filter(|entry| matches!(entry.phase, Phase::Merging { .. })).count();
    merging == 2 * pairs
}

//! What travels with a request, and what comes back if it was sent on old knowledge.
//!
//! ```text
//! believed = shard · range version · config version · map version
//! stale    = map version · rule · a count, then so many entries by token
//! ```
//!
//! Architecture Invariant: a request is served only under the range version that it believes, neither an older nor a newer one. {s1
//! [a, z) at 1 is split at m; a request for `pear` still believes s1 at 1}: s1 at 2 refuses it, though it had the key. {the request
//! believes s1 at 2, and the server's map is still at 1}: refused too, for the server cannot know what is s1's at 2.
//!
//! A server's own map may be late as well. What keeps such a server from serving what it has given away is the shard's log: its
//! replica stops at the entry of the split. This check is what sends the others to the right place.

use quorate_consensus::{DecodeError, Reader, ShardId, Writer};

use super::entry::VERSION_MAX;
use super::{Entry, Rule, ShardMap, Span};

/// Fresh entries in a refusal, at most.
pub const FRESH_MAX: usize = 16;

/// Which shard a request is for, and what its sender knows of it. All zero: nothing; every server then says what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Believed {
    /// Who is believed to hold the key.
    pub shard: ShardId,
    /// Its range version.
    pub range_version: u64,
    /// Its config version.
    pub config_version: u64,
    /// The version of the map that said so.
    pub map_version: u64,
}

/// The request was sent on knowledge that is not the server's. It was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The version of the server's map, for a late server an older one than the sender's.
    pub map_version: u64,
    /// The rule of that map.
    pub rule: Rule,
    /// Who holds what the request is about, and what has become of the shard that was asked; by token, at most [`FRESH_MAX`].
    pub fresh: Vec<Entry>,
}

/// May the server serve this request? `span`: [`Rule::point`] of the key, or [`Rule::covers`] of the range, of which every shard then
/// serves its own part.
///
/// # Errors
/// Not under what it believes; the refusal has what the server knows.
pub fn check(map: &ShardMap, believed: &Believed, span: &Span) -> Result<(), Stale> {
    let entry = map.get(believed.shard);
    let agrees = entry.is_some_and(|entry| {
        entry.range_version == believed.range_version
            && entry.config_version <= believed.config_version
            && entry.span().meets(span)
    });
    if agrees {
        return Ok(());
    }
    let asked = entry.filter(|entry| !entry.span().meets(span));
    let room = FRESH_MAX - usize::from(asked.is_some());
    let mut fresh: Vec<Entry> = map.locate_span(span.clone()).take(room).chain(asked).cloned().collect();
    fresh.sort_by(|one, other| one.from.cmp(&other.from));
    Err(Stale { map_version: map.version(), rule: map.rule(), fresh })
}

impl Believed {
    /// Writes it.
    pub fn encode(&self, to: &mut Writer) {
        to.varint(u64::from(self.shard.0));
        to.varint(self.range_version);
        to.varint(self.config_version);
        to.varint(self.map_version);
    }

    /// Reads what [`Believed::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input.
    pub fn decode(from: &mut Reader) -> Result<Believed, DecodeError> {
        let shard = u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid { what: "shard" })?;
        Ok(Believed {
            shard: ShardId(shard),
            range_version: from.varint()?,
            config_version: from.varint()?,
            map_version: from.varint()?,
        })
    }
}

impl Stale {
    /// Writes it.
    pub fn encode(&self, to: &mut Writer) {
        to.varint(self.map_version);
        self.rule.encode(to);
        to.varint(self.fresh.len() as u64);
        self.fresh.iter().for_each(|entry| entry.encode(to));
    }

    /// Reads what [`Stale::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input, too many entries, or entries that overlap or are out of order.
    pub fn decode(from: &mut Reader) -> Result<Stale, DecodeError> {
        let map_version = from.varint()?;
        let rule = Rule::decode(from)?;
        let count = from.count(Entry::BYTES_MIN)?;
        if count > FRESH_MAX || map_version > VERSION_MAX {
            return Err(DecodeError::Invalid { what: "refusal of a shard" });
        }
        let fresh = (0..count).map(|_| Entry::decode(from)).collect::<Result<Vec<_>, _>>()?;
        let apart = |pair: &[Entry]| pair[0].to.as_ref().is_some_and(|to| *to <= pair[1].from);
        if fresh.windows(2).all(apart) {
            Ok(Stale { map_version, rule, fresh })
        } else {
            Err(DecodeError::Invalid { what: "refusal of a shard" })
        }
    }
}

impl std::fmt::Display for Stale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the request was sent on other knowledge of the shards than this server's, whose map is at version {}; it was not served; ask again by the entries that come with this",
            self.map_version
        )
    }
}

impl std::error::Error for Stale {}

//! Where a key stands in the space that shards divide.
//!
//! | rule | token of a key | keys that never part | tokens of the keys [from, to) |
//! |---|---|---|---|
//! | range | the key | – | [from, to) |
//! | prefix | the key up to and with its n-th delimiter; all of it if it has fewer | those with the same prefix | from that of `from` to that of `to` |
//! | hash | eight bytes, a hash of the key | – | all, unless the range is one key |
//!
//! With the prefix rule, delimiter `/` and three parts, `/registry/pods/default/a` stands at `/registry/pods/`, as all pods do.
//!
//! Architecture Invariant: by range and by prefix, tokens are ordered as their keys are: a prefix never comes after what it is a
//! prefix of. {n = 1: `a/x` < `a0`, and `a/` < `a0`}. So a range of keys is a range of tokens.

use std::fmt;

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, Writer};

use super::ShardError;

/// Bytes of a token at which a shard begins, at most. Keys may be longer.
pub const CUT_BYTES_MAX: usize = 1024;

/// A place in the space that shards divide; ordered byte by byte. The empty token is the least.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(Bytes);

impl Token {
    /// The token of these bytes. Whether a rule has such a token, [`Rule::is_cut`] says.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Token {
        Token(bytes.into())
    }

    /// Where the first shard begins.
    #[must_use]
    pub fn least() -> Token {
        Token::default()
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The next token there could be: nothing lies between the two.
    fn next(&self) -> Token {
        let mut bytes = Vec::with_capacity(self.0.len() + 1);
        bytes.extend_from_slice(&self.0);
        bytes.push(0);
        Token(bytes.into())
    }

    pub(super) fn encode(&self, to: &mut Writer) {
        to.bytes(&self.0);
    }

    pub(super) fn decode(from: &mut Reader) -> Result<Token, DecodeError> {
        let bytes = from.bytes()?;
        if bytes.len() > CUT_BYTES_MAX {
            return Err(DecodeError::Invalid { what: "length of a token" });
        }
        Ok(Token(bytes))
    }
}

impl From<&str> for Token {
    fn from(text: &str) -> Token {
        Token(Bytes::copy_from_slice(text.as_bytes()))
    }
}

/// As text in quotes, what is not printable escaped.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Tokens from one on and before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first one.
    pub from: Token,
    /// The first one behind it; none: it has no end.
    pub to: Option<Token>,
}

impl Span {
    /// Is the token in it?
    #[must_use]
    pub fn holds(&self, token: &Token) -> bool {
        *token >= self.from && self.to.as_ref().is_none_or(|to| token < to)
    }

    /// Is any token in both?
    #[must_use]
    pub fn meets(&self, other: &Span) -> bool {
        let begins_before = |one: &Span, other: &Span| other.to.as_ref().is_none_or(|to| one.from < *to);
        begins_before(self, other) && begins_before(other, self)
    }
}

/// How keys become tokens. One rule for all shards of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A key is its own token.
    #[default]
    Range,
    /// Keys with the same first parts stay together.
    Prefix {
        /// What parts end with, `/` for most.
        delimiter: u8,
        /// How many parts count, 1 or more. A key that begins with the delimiter has an empty first part: `/registry/pods/` has three.
        parts: u8,
    },
    /// Keys are strewn evenly. A range of keys concerns every shard.
    Hash,
}

impl Rule {
    /// Can there be such a rule?
    ///
    /// # Errors
    /// [`ShardError::BadRule`]: without a part that counts, all keys would be one.
    pub fn check(self) -> Result<(), ShardError> {
        match self {
            Rule::Prefix { parts: 0, .. } => Err(ShardError::BadRule),
            Rule::Range | Rule::Prefix { .. } | Rule::Hash => Ok(()),
        }
    }

    /// The key's token.
    #[must_use]
    pub fn token(self, key: &[u8]) -> Token {
        Token(Bytes::copy_from_slice(self.bytes_of(key, &mut [0; 8])))
    }

    /// The bytes of the key's token, without a copy; `room` is for a hash.
    pub(super) fn bytes_of<'a>(self, key: &'a [u8], room: &'a mut [u8; 8]) -> &'a [u8] {
        match self {
            Rule::Range => key,
            Rule::Prefix { delimiter, parts } => {
                let mut ends = (0..key.len()).filter(|at| key[*at] == delimiter);
                let end = ends.nth(usize::from(parts.max(1)) - 1);
                end.map_or(key, |end| &key[..=end])
            }
            Rule::Hash => {
                *room = hash(key).to_be_bytes();
                room
            }
        }
    }

    /// The span of one key: its token alone.
    #[must_use]
    pub fn point(self, key: &[u8]) -> Span {
        let from = self.token(key);
        let to = Some(from.next());
        Span { from, to }
    }

    /// The tokens that the keys from `from` on and before `to` can have; without `to`, all keys from `from` on. etcd's conventions
    /// about `range_end` are resolved before.
    ///
    /// A range without a key in it is asked of whoever holds its beginning, so it is the span of that one.
    #[must_use]
    pub fn covers(self, from: &[u8], to: Option<&[u8]>) -> Span {
        match to {
            Some(to) if to <= from || is_next(from, to) => self.point(from),
            _ if self == Rule::Hash => Span { from: Token::least(), to: None },
            None => Span { from: self.token(from), to: None },
            Some(to) => {
                let end = self.token(to);
                // With `to` inside a prefix, keys of that prefix come before it: {[a/b, c/d)} touches `c/`, as `c/a` stands there.
                let end = if end.as_bytes() == to { end } else { end.next() };
                Span { from: self.token(from), to: Some(end) }
            }
        }
    }

    /// May a shard begin at this token? Only at one that a key could have: {`/registry/pods/x` with three parts} would part the pods.
    #[must_use]
    pub fn is_cut(self, token: &Token) -> bool {
        let bytes = token.as_bytes();
        let fits = !bytes.is_empty() && bytes.len() <= CUT_BYTES_MAX;
        fits && match self {
            Rule::Range | Rule::Prefix { .. } => self.bytes_of(bytes, &mut [0; 8]) == bytes,
            Rule::Hash => bytes.len() == 8,
        }
    }

    /// The token for a person to read: text, or a hash in hexadecimal digits.
    #[must_use]
    pub fn readable(self, token: &Token) -> String {
        match (self, <[u8; 8]>::try_from(token.as_bytes())) {
            (Rule::Hash, Ok(hash)) => format!("{:#018x}", u64::from_be_bytes(hash)),
            _ => token.to_string(),
        }
    }

    pub(super) fn encode(self, to: &mut Writer) {
        match self {
            Rule::Range => to.u8(1),
            Rule::Prefix { delimiter, parts } => {
                to.u8(2);
                to.u8(delimiter);
                to.u8(parts);
            }
            Rule::Hash => to.u8(3),
        }
    }

    pub(super) fn decode(from: &mut Reader) -> Result<Rule, DecodeError> {
        let rule = match from.u8()? {
            1 => Rule::Range,
            2 => Rule::Prefix { delimiter: from.u8()?, parts: from.u8()? },
            3 => Rule::Hash,
            value => return Err(DecodeError::Unknown { what: "rule of shards", value: value.into() }),
        };
        rule.check().map_err(|_| DecodeError::Invalid { what: "rule of shards" })?;
        Ok(rule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Range => write!(f, "range"),
            Rule::Prefix { delimiter, parts } => {
                write!(f, "prefix of {parts} parts that end with '{}'", delimiter.escape_ascii())
            }
            Rule::Hash => write!(f, "hash"),
        }
    }
}

/// Is `to` the key right after `from`?
fn is_next(from: &[u8], to: &[u8]) -> bool {
    to.strip_prefix(from) == Some(&[0])
}

/// FNV-1a with 64 bits, then the finaliser of splitmix64, since FNV leaves its high bits, by which shards are cut, nearly alike for
/// short keys. All builds, clients too, must come to the same number for ever: what is stored lies where it says.
fn hash(key: &[u8]) -> u64 {
    let fnv = key.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

//! Sessions. When one ends is decided by the steward, which has a clock; here it is an entry like any other.

use std::fmt;

use quorate_consensus::{DecodeError, Reader, Writer};

use crate::codec::{read_i32, read_signed, write_signed};
use crate::digest::{hash_bytes, hash_words};
use crate::index::ordered;
use crate::tree::Item;

/// A session's id. May be negative, as ZooKeeper's are when its clock or its server's number is large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// What a client must show to take its session up again. Drawn before the log, and not guessable from the id as ZooKeeper's is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Password(pub [u8; 16]);

impl Password {
    /// Compared in a time that does not tell how much of it was right.
    fn is(&self, other: &Password) -> bool {
        self.0.iter().zip(other.0).fold(0, |different, (a, b)| different | (a ^ b)) == 0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A session, as the steward and the front end see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// How long it lives without a word from its client, in milliseconds, as was negotiated.
    pub timeout_ms: i32,
    /// Who speaks for it: a number that the front end chose when the client connected. Requests with another are refused.
    pub owner: u64,
    /// How many ephemerals it has.
    pub ephemerals: u32,
    /// Whose turn it is: the [`sequence`](crate::Caller::sequence) of the owner's next write. 0 again with a new owner.
    pub next: u64,
    password: Password,
    /// The id, ordered as bytes.
    key: [u8; 8],
}

impl Item for std::sync::Arc<Session> {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Session {
    pub(crate) fn new(id: SessionId, timeout_ms: i32, password: Password, owner: u64) -> Session {
        Session { id, timeout_ms, owner, ephemerals: 0, next: 0, password, key: ordered(id.0) }
    }

    /// Is this its password?
    #[must_use]
    pub fn accepts(&self, password: &Password) -> bool {
        self.password.is(password)
    }

    /// The hash of all but what follows from the tree.
    pub(crate) fn hash(&self) -> u64 {
        let hash = hash_words(0x5e55, &[self.id.0 as u64, self.timeout_ms as u64, self.owner]);
        hash_bytes(hash, &self.password.0).wrapping_add(self.hash_of_next())
    }

    /// The part of the hash that every write changes.
    fn hash_of_next(&self) -> u64 {
        hash_words(0x7e27, &[self.id.0 as u64, self.next])
    }

    /// The owner's next write has come; by how much the hash has changed.
    pub(crate) fn advance(&mut self) -> u64 {
        let before = self.hash_of_next();
        self.next += 1;
        self.hash_of_next().wrapping_sub(before)
    }

    pub(crate) fn encode(&self, to: &mut Writer) {
        write_signed(to, self.id.0);
        write_signed(to, self.timeout_ms.into());
        to.raw(&self.password.0);
        to.varint(self.owner);
        to.varint(self.next);
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<Session, DecodeError> {
        let id = SessionId(read_signed(from)?);
        let timeout_ms = read_i32(from)?;
        let session = Session::new(id, timeout_ms, read_password(from)?, from.varint()?);
        Ok(Session { next: from.varint()?, ..session })
    }
}

pub(crate) fn read_password(from: &mut Reader) -> Result<Password, DecodeError> {
    let bytes = from.raw(16)?;
    Ok(Password(bytes[..].try_into().expect("sixteen were read")))
}

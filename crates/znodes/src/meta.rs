//! What a znode is beside its name and its data: whose it is, and the fields of its stat.

use crate::digest::{hash_bytes, hash_words};
use crate::{SessionId, Stat};

/// To whom a znode belongs, and when it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Persistent.
    Nobody,
    /// Ephemeral: it goes with its session, and has no children.
    Session(SessionId),
    /// Goes when it has lost its last child.
    Container,
    /// Goes when it has no children and was not written for so many milliseconds.
    Ttl(i64),
}

/// A znode without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) czxid: u64,
    pub(crate) mzxid: u64,
    pub(crate) pzxid: u64,
    pub(crate) ctime: i64,
    pub(crate) mtime: i64,
    pub(crate) version: i32,
    pub(crate) aversion: i32,
    /// How many children were ever created here: what sequential names count. ZooKeeper's wire shows another number.
    pub(crate) created: i32,
    pub(crate) children: u32,
    pub(crate) owner: Owner,
    /// The number of its ACL in the table of ACLs.
    pub(crate) acl: u64,
    /// Its number as a parent; none if it never had a child. Zero is nobody's: under it stands the root alone.
    pub(crate) directory: Option<u64>,
}

impl Meta {
    pub(crate) fn new(zxid: u64, time_ms: i64, owner: Owner, acl: u64) -> Meta {
        Meta {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            version: 0,
            aversion: 0,
            created: 0,
            children: 0,
            owner,
            acl,
            directory: None,
        }
    }

    /// The wire's cversion counts creations and deletions. Creations minus deletions are the children, so it is twice the creations
    /// minus the children.
    pub(crate) fn stat(&self, data_bytes: usize) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.created.wrapping_mul(2).wrapping_sub(self.children as i32),
            aversion: self.aversion,
            ephemeral_owner: match self.owner {
                Owner::Session(session) => session,
                Owner::Nobody | Owner::Container | Owner::Ttl(_) => SessionId(0),
            },
            data_length: data_bytes as i32,
            num_children: self.children as i32,
            pzxid: self.pzxid,
        }
    }

    /// The hash of all that a client can see of it but its data. The directory number is not part of it, and the ACL is by what it
    /// says: states that show the same hash the same, whatever numbers they use inside.
    pub(crate) fn hash(&self, path_hash: u64, acl_hash: u64) -> u64 {
        let (kind, whose) = match self.owner {
            Owner::Nobody => (0, 0),
            Owner::Session(session) => (1, session.0),
            Owner::Container => (2, 0),
            Owner::Ttl(ms) => (3, ms),
        };
        let pair = |a: i32, b: i32| u64::from(a as u32) << 32 | u64::from(b as u32);
        let words = [
            self.czxid,
            self.mzxid,
            self.pzxid,
            self.ctime as u64,
            self.mtime as u64,
            pair(self.version, self.aversion),
            pair(self.created, self.children as i32),
            kind,
            whose as u64,
            acl_hash,
        ];
        hash_words(path_hash, &words)
    }
}

/// The hash of a znode's data, apart from the rest: a parent with much data is not hashed anew with every child.
pub(crate) fn data_hash(path_hash: u64, data: Option<&[u8]>) -> u64 {
    match data {
        Some(data) => hash_bytes(!path_hash, data),
        None => 0,
    }
}

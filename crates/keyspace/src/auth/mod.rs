//! etcd's Auth: who there is, what they may do, and the one place where that is decided.
//!
//! ```text
//! users   name → hash of the password, roles           role `root` may everything
//! roles   name → permissions on intervals of keys      a user's are those of all its roles together
//! ```
//!
//! It is part of the replicated state, changed by commands alone ([`Change`]), small, and copied whole by each of them: whoever holds
//! a view or was told of it in the news holds a copy for good. Tokens are not in it; members keep them in memory.
//!
//! One idea a file: `command` is what goes in, `change` what follows from it, `spans` intervals of keys, `verdict` who may do what,
//! `codec` the bytes.
//!
//! Architecture Invariant: whether somebody may do something is decided in `verdict.rs` and nowhere else, and for a write once more
//! when it comes out of the log, against the state at that place of the log.

mod change;
mod codec;
mod command;
mod error;
mod spans;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use codec::{read_as, read_authenticate, read_change, write_as, write_authenticate, write_change};
pub use command::{As, Authenticate, Change, PasswordHash, Permission, PermissionKind, TokenDigest};
pub use error::AuthError;
use spans::Spans;
pub(crate) use verdict::Attached;
pub use verdict::{Ask, Caller};

/// The user that nobody can do without while auth is on, and the role that may everything.
pub const ROOT: &str = "root";

/// The most bytes that users, roles and permissions take in a snapshot; what would go above is refused.
pub const AUTH_BYTES_MAX: usize = 4 << 20;

/// Users, roles, and whether they count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    enabled: bool,
    /// Changes with every change. A store is born with revision 1.
    revision: u64,
    users: BTreeMap<String, Arc<User>>,
    roles: BTreeMap<String, Arc<Role>>,
    /// Of all the above. Zero for a store that nobody ever changed, so that digests of before are what they were.
    hash: u64,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// None: no password will do.
    pub(crate) password: Option<PasswordHash>,
    /// Roles that exist; and [`ROOT`], which need not.
    pub(crate) roles: BTreeSet<String>,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    /// (key, range_end) as they were given → what is permitted there.
    permissions: BTreeMap<(Bytes, Bytes), PermissionKind>,
    /// What follows from them: what may be read, and written.
    readable: Spans,
    writable: Spans,
}

impl Role {
    fn new(permissions: BTreeMap<(Bytes, Bytes), PermissionKind>) -> Role {
        let spans = |wanted: fn(PermissionKind) -> bool| {
            let of = permissions.iter().filter(|(_, kind)| wanted(**kind));
            Spans::of(of.map(|((key, end), _)| (key, end)))
        };
        let (readable, writable) = (spans(PermissionKind::reads), spans(PermissionKind::writes));
        Role { permissions, readable, writable }
    }
}

impl Default for Auth {
    fn default() -> Auth {
        Auth { enabled: false, revision: 1, users: BTreeMap::new(), roles: BTreeMap::new(), hash: 0 }
    }
}

impl User {
    /// The hash of its password; none, and no password will do.
    #[must_use]
    pub fn password(&self) -> Option<&PasswordHash> {
        self.password.as_ref()
    }

    /// Its roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(String::as_str)
    }
}

impl Auth {
    /// Does it count who asks?
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Greater after every change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The user of this name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(|user| &**user)
    }

    /// The names of all users, in order.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// The names of all roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// The permissions of a role in the order of their keys; of role [`ROOT`], the one that says everything. None: no such role.
    #[must_use]
    pub fn permissions(&self, role: &str) -> Option<Vec<Permission>> {
        let there = self.roles.get(role)?;
        if role == ROOT {
            let range_end = Bytes::from_static(&[0]);
            return Some(vec![Permission { kind: PermissionKind::ReadWrite, key: Bytes::new(), range_end }]);
        }
        let of = there.permissions.iter();
        Some(
            of.map(|((key, end), kind)| Permission { kind: *kind, key: key.clone(), range_end: end.clone() })
                .collect(),
        )
    }

    /// What it adds to the digest; zero as long as there was no change.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

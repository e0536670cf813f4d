//! What is asked of users and roles.

use std::fmt;

use bytes::Bytes;
use quorate_consensus::planted;

use crate::Command;

/// A hash of a password, as bcrypt writes it. A password itself is never in a command, nor is a hash in anything that is logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// Bytes of every hash: `$2b$10$`, 22 of salt, 31 of hash.
const HASH_BYTES: usize = 60;

impl PasswordHash {
    /// Takes a hash. None for what does not look like one: a password that is handed over in the place of its hash stays out of the
    /// log.
    #[must_use]
    pub fn new(hash: impl Into<String>) -> Option<PasswordHash> {
        let hash = hash.into();
        let rest = hash.strip_prefix("$2a$").or(hash.strip_prefix("$2b$")).or(hash.strip_prefix("$2y$"))?;
        let (cost, rest) = (rest.get(..2)?, rest.get(2..)?.strip_prefix('$')?);
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
        let fits = hash.len() == HASH_BYTES
            && cost.parse::<u8>().is_ok_and(|cost| (4..=31).contains(&cost))
            && rest.bytes().all(in_alphabet);
        fits.then_some(PasswordHash(hash))
    }

    /// The hash, for comparing.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if planted!("P10") {
            return f.write_str(&self.0);
        }
        f.write_str("PasswordHash(…)")
    }
}

/// What members know a token by: a digest of it, so that nobody reads tokens in a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// A change of users, roles or permissions. Each takes an auth revision, if it changes something, and none of the store's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Turns auth on. Needs user root with role root.
    Enable,
    /// Turns it off.
    Disable,
    /// Adds a user.
    UserAdd {
        /// Its name.
        name: String,
        /// None: no password will do.
        password: Option<PasswordHash>,
    },
    /// Deletes a user.
    UserDelete {
        /// Its name.
        name: String,
    },
    /// Gives a user another password. One without a password stays without.
    UserChangePassword {
        /// Its name.
        name: String,
        /// The new one.
        password: PasswordHash,
    },
    /// Gives a user a role.
    UserGrantRole {
        /// Its name.
        user: String,
        /// That of the role.
        role: String,
    },
    /// Takes a role from a user.
    UserRevokeRole {
        /// Its name.
        user: String,
        /// That of the role.
        role: String,
    },
    /// Adds a role.
    RoleAdd {
        /// Its name.
        name: String,
    },
    /// Deletes a role, and takes it from all users.
    RoleDelete {
        /// Its name.
        name: String,
    },
    /// Gives a role a permission; one on the same keys is replaced.
    RoleGrantPermission {
        /// Its name.
        role: String,
        /// The permission.
        permission: Permission,
    },
    /// Takes a permission from a role.
    RoleRevokePermission {
        /// Its name.
        role: String,
        /// As it was given.
        key: Bytes,
        /// As it was given.
        range_end: Bytes,
    },
}

/// What may be done with which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What.
    pub kind: PermissionKind,
    /// The key, or the first of the interval; never empty.
    pub key: Bytes,
    /// Empty: the key alone. `"\0"`: every key from `key` on. Else: the end of the interval, exclusive.
    pub range_end: Bytes,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionKind {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Both.
    ReadWrite,
}

impl PermissionKind {
    pub(crate) fn reads(self) -> bool {
        matches!(self, PermissionKind::Read | PermissionKind::ReadWrite)
    }

    pub(crate) fn writes(self) -> bool {
        matches!(self, PermissionKind::Write | PermissionKind::ReadWrite)
    }
}

/// Somebody showed a password that was compared with this revision's hash: all members shall know the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticate {
    /// Whose it is.
    pub user: String,
    /// By what it is known.
    pub token: TokenDigest,
    /// The auth revision that the password was compared at; refused at any other.
    pub auth_revision: u64,
}

/// A command, and who gives it. Without auth, the command itself; with auth, no client's command is taken that does not say this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct As {
    /// The name of the user.
    pub caller: String,
    /// The auth revision at which it was found out who it is; refused at any other.
    pub auth_revision: u64,
    /// What is to be done. Not another of these.
    pub command: Box<Command>,
}

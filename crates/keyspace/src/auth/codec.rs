//! Users and roles as bytes: in commands and in snapshots.
//!
//! ```text
//! change       = tag · fields: names, and as follows
//! user add     = name · [hash]                        a byte 0, or 1 and the hash
//! permission   = kind (0 read, 1 write, 2 both) · key · range_end
//! authenticate = user · digest of the token (32) · auth revision
//! as           = caller · auth revision · command     the command as it would be alone, without its version
//!
//! state        = enabled · auth revision · users · roles        names ascending; a state that nobody ever changed has no bytes
//! user         = name · [hash] · roles, ascending
//! role         = name · permissions, (key, range_end) ascending
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_consensus::{DecodeError, Reader, Writer};

use super::change::{hash_of, names_a_key};
use super::{
    AUTH_BYTES_MAX, As, Auth, Authenticate, Change, PasswordHash, Permission, PermissionKind, ROOT, Role,
    TokenDigest, User,
};
use crate::Command;

pub(crate) fn write_change(change: &Change, to: &mut Writer) {
    match change {
        Change::Enable => to.u8(1),
        Change::Disable => to.u8(2),
        Change::UserAdd { name, password } => {
            to.u8(3);
            to.bytes(name.as_bytes());
            write_password(password.as_ref(), to);
        }
        Change::UserDelete { name } => write_names(4, [name], to),
        Change::UserChangePassword { name, password } => write_names(5, [name, password.as_str()], to),
        Change::UserGrantRole { user, role } => write_names(6, [user, role], to),
        Change::UserRevokeRole { user, role } => write_names(7, [user, role], to),
        Change::RoleAdd { name } => write_names(8, [name], to),
        Change::RoleDelete { name } => write_names(9, [name], to),
        Change::RoleGrantPermission { role, permission } => {
            write_names(10, [role], to);
            write_permission(permission, to);
        }
        Change::RoleRevokePermission { role, key, range_end } => {
            write_names(11, [role], to);
            to.bytes(key);
            to.bytes(range_end);
        }
    }
}

pub(crate) fn read_change(from: &mut Reader) -> Result<Change, DecodeError> {
    Ok(match from.u8()? {
        1 => Change::Enable,
        2 => Change::Disable,
        3 => Change::UserAdd { name: from.string()?, password: read_password(from)? },
        4 => Change::UserDelete { name: from.string()? },
        5 => Change::UserChangePassword { name: from.string()?, password: read_hash(from)? },
        6 => Change::UserGrantRole { user: from.string()?, role: from.string()? },
        7 => Change::UserRevokeRole { user: from.string()?, role: from.string()? },
        8 => Change::RoleAdd { name: from.string()? },
        9 => Change::RoleDelete { name: from.string()? },
        10 => Change::RoleGrantPermission { role: from.string()?, permission: read_permission(from)? },
        11 => Change::RoleRevokePermission {
            role: from.string()?,
            key: from.bytes()?,
            range_end: from.bytes()?,
        },
        value => return Err(DecodeError::Unknown { what: "change of users or roles", value: value.into() }),
    })
}

fn write_names<const N: usize>(tag: u8, names: [&str; N], to: &mut Writer) {
    to.u8(tag);
    names.iter().for_each(|name| to.bytes(name.as_bytes()));
}

fn write_password(password: Option<&PasswordHash>, to: &mut Writer) {
    to.bool(password.is_some());
    if let Some(password) = password {
        to.bytes(password.as_str().as_bytes());
    }
}

fn read_password(from: &mut Reader) -> Result<Option<PasswordHash>, DecodeError> {
    if from.bool()? { read_hash(from).map(Some) } else { Ok(None) }
}

fn read_hash(from: &mut Reader) -> Result<PasswordHash, DecodeError> {
    PasswordHash::new(from.string()?).ok_or(DecodeError::Invalid { what: "hash of a password" })
}

fn write_permission(permission: &Permission, to: &mut Writer) {
    to.u8(match permission.kind {
        PermissionKind::Read => 0,
        PermissionKind::Write => 1,
        PermissionKind::ReadWrite => 2,
    });
    to.bytes(&permission.key);
    to.bytes(&permission.range_end);
}

fn read_permission(from: &mut Reader) -> Result<Permission, DecodeError> {
    let kind = match from.u8()? {
        0 => PermissionKind::Read,
        1 => PermissionKind::Write,
        2 => PermissionKind::ReadWrite,
        value => return Err(DecodeError::Unknown { what: "kind of a permission", value: value.into() }),
    };
    Ok(Permission { kind, key: from.bytes()?, range_end: from.bytes()? })
}

pub(crate) fn write_authenticate(authenticate: &Authenticate, to: &mut Writer) {
    to.bytes(authenticate.user.as_bytes());
    to.raw(&authenticate.token.0);
    to.varint(authenticate.auth_revision);
}

pub(crate) fn read_authenticate(from: &mut Reader) -> Result<Authenticate, DecodeError> {
    let user = from.string()?;
    let mut token = TokenDigest([0; 32]);
    token.0.copy_from_slice(&from.raw(32)?);
    Ok(Authenticate { user, token, auth_revision: from.varint()? })
}

pub(crate) fn write_as(command: &As, to: &mut Writer, write: impl FnOnce(&Command, &mut Writer)) {
    to.bytes(command.caller.as_bytes());
    to.varint(command.auth_revision);
    write(&command.command, to);
}

pub(crate) fn read_as(
    from: &mut Reader,
    read: impl FnOnce(&mut Reader) -> Result<Command, DecodeError>,
) -> Result<As, DecodeError> {
    let (caller, auth_revision) = (from.string()?, from.varint()?);
    Ok(As { caller, auth_revision, command: Box::new(read(from)?) })
}

impl Auth {
    /// The bytes for a snapshot, and for the hash.
    pub(crate) fn encoded(&self) -> bytes::Bytes {
        let mut to = Writer::new();
        if *self == Auth::default() {
            return to.finish();
        }
        to.bool(self.enabled);
        to.varint(self.revision);
        to.varint(self.users.len() as u64);
        for (name, user) in &self.users {
            to.bytes(name.as_bytes());
            write_password(user.password.as_ref(), &mut to);
            to.varint(user.roles.len() as u64);
            user.roles.iter().for_each(|role| to.bytes(role.as_bytes()));
        }
        to.varint(self.roles.len() as u64);
        for (name, role) in &self.roles {
            to.bytes(name.as_bytes());
            to.varint(role.permissions.len() as u64);
            for ((key, range_end), kind) in &role.permissions {
                let permission = Permission { kind: *kind, key: key.clone(), range_end: range_end.clone() };
                write_permission(&permission, &mut to);
            }
        }
        to.finish()
    }

    /// Reads what [`Auth::encoded`] wrote. Only what could have come about is taken.
    pub(crate) fn decode(bytes: bytes::Bytes) -> Result<Auth, DecodeError> {
        if bytes.is_empty() {
            return Ok(Auth::default());
        }
        if bytes.len() > AUTH_BYTES_MAX {
            return Err(DecodeError::Invalid { what: "size of users and roles" });
        }
        let hash = hash_of(&bytes);
        let mut from = Reader::new(bytes);
        let (enabled, revision) = (from.bool()?, from.varint()?);
        let users = read_ascending(&mut from, 3, |from| {
            let name = read_name(from)?;
            let password = read_password(from)?;
            let roles = read_ascending(from, 1, |from| Ok((read_name(from)?, ())))?;
            let roles = roles.into_keys().collect::<BTreeSet<_>>();
            Ok((name, Arc::new(User { password, roles })))
        })?;
        let roles = read_ascending(&mut from, 2, |from| {
            let name = read_name(from)?;
            let permissions = read_ascending(from, 3, |from| {
                let permission = read_permission(from)?;
                if !names_a_key(&permission) {
                    return Err(DecodeError::Invalid { what: "interval of a permission" });
                }
                Ok(((permission.key, permission.range_end), permission.kind))
            })?;
            Ok((name, Arc::new(Role::new(permissions))))
        })?;
        from.finish()?;
        let exist = |user: &Arc<User>| user.roles.iter().all(|role| role == ROOT || roles.contains_key(role));
        let rooted = users.get(ROOT).is_some_and(|user| user.roles.contains(ROOT));
        if revision < 2 || !users.values().all(exist) || enabled && !rooted {
            return Err(DecodeError::Invalid { what: "users and roles" });
        }
        Ok(Auth { enabled, revision, users, roles, hash })
    }
}

fn read_name(from: &mut Reader) -> Result<String, DecodeError> {
    match from.string()? {
        name if name.is_empty() => Err(DecodeError::Invalid { what: "name" }),
        name => Ok(name),
    }
}

/// A list of items of at least `bytes_min`, whose keys ascend.
fn read_ascending<K: Ord, V>(
    from: &mut Reader,
    bytes_min: usize,
    mut read: impl FnMut(&mut Reader) -> Result<(K, V), DecodeError>,
) -> Result<BTreeMap<K, V>, DecodeError> {
    let mut items = BTreeMap::new();
    for _ in 0..from.count(bytes_min)? {
        let (key, value) = read(from)?;
        if items.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(DecodeError::Invalid { what: "order of users and roles" });
        }
        items.insert(key, value);
    }
    Ok(items)
}

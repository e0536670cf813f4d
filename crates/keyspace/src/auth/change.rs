//! What follows from a change: another state, or a refusal.
//!
//! Which errors, and in which order they are looked for: etcd's `server/auth/store.go` as the API's clients see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::planted;

use super::{AUTH_BYTES_MAX, Auth, AuthError, Authenticate, Change, Permission, ROOT, Role, User};
use crate::digest::hash_bytes;

/// The seed of the hash: another than those of records, leases and the digest itself.
const HASH_SEED: u64 = 3;

impl Auth {
    /// The state after a change. None: the change has nothing to change, and takes no auth revision.
    pub(crate) fn after(&self, change: &Change) -> Result<Option<Auth>, AuthError> {
        let mut next = self.clone();
        if !next.make(change)? {
            return Ok(None);
        }
        next.revision += 1;
        let bytes = next.encoded();
        if bytes.len() > AUTH_BYTES_MAX {
            return Err(AuthError::TooLarge);
        }
        next.hash = hash_of(&bytes);
        Ok(Some(next))
    }

    /// May this token be made known?
    pub(crate) fn check_authenticate(&self, authenticate: &Authenticate) -> Result<(), AuthError> {
        if !self.enabled {
            return Err(AuthError::AuthNotEnabled);
        }
        if authenticate.auth_revision != self.revision {
            // The password may be another by now.
            return Err(AuthError::AuthOldRevision);
        }
        let user = self.user(&authenticate.user).filter(|user| user.password.is_some());
        user.map(|_| ()).ok_or(AuthError::AuthFailed)
    }

    fn make(&mut self, change: &Change) -> Result<bool, AuthError> {
        match change {
            Change::Enable => self.enable(),
            Change::Disable => Ok(std::mem::take(&mut self.enabled)),
            Change::UserAdd { name, password } => {
                if name.is_empty() {
                    return Err(AuthError::UserEmpty);
                }
                if self.users.contains_key(name) {
                    return Err(AuthError::UserExists);
                }
                let user = User { password: password.clone(), ..User::default() };
                self.users.insert(name.clone(), Arc::new(user));
                Ok(true)
            }
            Change::UserDelete { name } => {
                if self.enabled && name == ROOT {
                    return Err(AuthError::InvalidAuthManagement);
                }
                self.users.remove(name).map(|_| true).ok_or(AuthError::UserNotFound)
            }
            Change::UserChangePassword { name, password } => {
                let user = self.user_mut(name)?;
                if let Some(there) = &mut user.password {
                    there.clone_from(password);
                }
                Ok(true)
            }
            Change::UserGrantRole { user, role } => {
                let exists = role == ROOT || self.roles.contains_key(role);
                let user = self.user_mut(user)?;
                if !exists {
                    return Err(AuthError::RoleNotFound);
                }
                Ok(user.roles.insert(role.clone()))
            }
            Change::UserRevokeRole { user, role } => {
                if self.enabled && user == ROOT && role == ROOT {
                    return Err(AuthError::InvalidAuthManagement);
                }
                if self.user_mut(user)?.roles.remove(role) {
                    Ok(true)
                } else {
                    Err(AuthError::RoleNotGranted)
                }
            }
            Change::RoleAdd { name } => {
                if name.is_empty() {
                    return Err(AuthError::RoleEmpty);
                }
                if self.roles.contains_key(name) {
                    return Err(AuthError::RoleExists);
                }
                self.roles.insert(name.clone(), Arc::default());
                Ok(true)
            }
            Change::RoleDelete { name } => self.delete_role(name),
            Change::RoleGrantPermission { role, permission } => {
                if !names_a_key(permission) {
                    return Err(AuthError::InvalidAuthManagement);
                }
                self.change_permissions(role, |permissions| {
                    let interval = (permission.key.clone(), permission.range_end.clone());
                    permissions.insert(interval, permission.kind);
                    Ok(())
                })
            }
            Change::RoleRevokePermission { role, key, range_end } => {
                self.change_permissions(role, |permissions| {
                    let there = permissions.remove(&(key.clone(), range_end.clone()));
                    there.map(|_| ()).ok_or(AuthError::PermissionNotGranted)
                })
            }
        }
    }

    fn enable(&mut self) -> Result<bool, AuthError> {
        if self.enabled {
            return Ok(false);
        }
        let root = self.users.get(ROOT).ok_or(AuthError::RootUserNotExist)?;
        if !root.roles.contains(ROOT) {
            return Err(AuthError::RootRoleNotExist);
        }
        self.enabled = true;
        Ok(true)
    }

    fn delete_role(&mut self, name: &str) -> Result<bool, AuthError> {
        if self.enabled && name == ROOT {
            return Err(AuthError::InvalidAuthManagement);
        }
        self.roles.remove(name).ok_or(AuthError::RoleNotFound)?;
        for user in self.users.values_mut().filter(|user| user.roles.contains(name)) {
            Arc::make_mut(user).roles.remove(name);
        }
        Ok(true)
    }

    fn user_mut(&mut self, name: &str) -> Result<&mut User, AuthError> {
        self.users.get_mut(name).map(Arc::make_mut).ok_or(AuthError::UserNotFound)
    }

    fn change_permissions(
        &mut self,
        role: &str,
        change: impl FnOnce(&mut BTreeMap<(Bytes, Bytes), super::PermissionKind>) -> Result<(), AuthError>,
    ) -> Result<bool, AuthError> {
        let role = self.roles.get_mut(role).ok_or(AuthError::RoleNotFound)?;
        let mut permissions = role.permissions.clone();
        change(&mut permissions)?;
        *role = Arc::new(Role::new(permissions));
        Ok(true)
    }
}

pub(super) fn hash_of(encoded: &[u8]) -> u64 {
    hash_bytes(HASH_SEED, encoded)
}

/// An interval that ends before it begins was once taken, and then covered what it should not (etcd #15619).
pub(super) fn names_a_key(permission: &Permission) -> bool {
    let Permission { key, range_end, .. } = permission;
    !key.is_empty() && (range_end.is_empty() || range_end == &[0][..] || key < range_end || planted!("P06"))
}

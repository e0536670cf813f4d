//! etcd's Auth service: requests to commands, answers to responses. Passwords have become hashes before they come here.

use quorate_keyspace::{Auth, Change, Command, PasswordHash, Permission, PermissionKind};
use quorate_wire::{ApiError, EtcdError, authpb, etcdserverpb as pb};

use crate::HeaderBase;

/// What a UserAdd wants. `password` is the hash of the one in the request; none if it says that there shall be none.
#[must_use]
pub fn user_add(name: String, password: Option<PasswordHash>) -> Command {
    Command::Auth(Change::UserAdd { name, password })
}

/// What a UserDelete wants.
#[must_use]
pub fn user_delete(request: pb::AuthUserDeleteRequest) -> Command {
    Command::Auth(Change::UserDelete { name: request.name })
}

/// What a UserChangePassword wants.
#[must_use]
pub fn user_change_password(name: String, password: PasswordHash) -> Command {
    Command::Auth(Change::UserChangePassword { name, password })
}

/// What a UserGrantRole wants.
#[must_use]
pub fn user_grant_role(request: pb::AuthUserGrantRoleRequest) -> Command {
    Command::Auth(Change::UserGrantRole { user: request.user, role: request.role })
}

/// What a UserRevokeRole wants.
#[must_use]
pub fn user_revoke_role(request: pb::AuthUserRevokeRoleRequest) -> Command {
    Command::Auth(Change::UserRevokeRole { user: request.name, role: request.role })
}

/// What a RoleAdd wants.
#[must_use]
pub fn role_add(request: pb::AuthRoleAddRequest) -> Command {
    Command::Auth(Change::RoleAdd { name: request.name })
}

/// What a RoleDelete wants.
#[must_use]
pub fn role_delete(request: pb::AuthRoleDeleteRequest) -> Command {
    Command::Auth(Change::RoleDelete { name: request.role })
}

/// What a RoleGrantPermission wants.
///
/// # Errors
/// No permission is given, or one of a kind that does not exist.
pub fn role_grant_permission(request: pb::AuthRoleGrantPermissionRequest) -> Result<Command, ApiError> {
    let permission = request.perm.ok_or(EtcdError::PermissionNotGiven)?;
    let kind = match authpb::permission::Type::try_from(permission.perm_type) {
        Ok(authpb::permission::Type::Read) => PermissionKind::Read,
        Ok(authpb::permission::Type::Write) => PermissionKind::Write,
        Ok(authpb::permission::Type::Readwrite) => PermissionKind::ReadWrite,
        Err(_) => return Err(EtcdError::InvalidAuthManagement.into()),
    };
    let permission = Permission { kind, key: permission.key, range_end: permission.range_end };
    Ok(Command::Auth(Change::RoleGrantPermission { role: request.name, permission }))
}

/// What a RoleRevokePermission wants.
#[must_use]
pub fn role_revoke_permission(request: pb::AuthRoleRevokePermissionRequest) -> Command {
    let pb::AuthRoleRevokePermissionRequest { role, key, range_end } = request;
    Command::Auth(Change::RoleRevokePermission { role, key, range_end })
}

// ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The response to an AuthStatus.
#[must_use]
pub fn status(auth: &Auth, revision: u64, header: &HeaderBase) -> pb::AuthStatusResponse {
    let header = Some(header.at(revision));
    pb::AuthStatusResponse { header, enabled: auth.is_enabled(), auth_revision: auth.revision() }
}

/// The response to a UserGet.
///
/// # Errors
/// No such user.
pub fn user_get(
    auth: &Auth,
    name: &str,
    revision: u64,
    header: &HeaderBase,
) -> Result<pb::AuthUserGetResponse, ApiError> {
    let user = auth.user(name).ok_or(EtcdError::UserNotFound)?;
    let roles = user.roles().map(str::to_owned).collect();
    Ok(pb::AuthUserGetResponse { header: Some(header.at(revision)), roles })
}

/// The response to a UserList.
#[must_use]
pub fn user_list(auth: &Auth, revision: u64, header: &HeaderBase) -> pb::AuthUserListResponse {
    let users = auth.users().map(str::to_owned).collect();
    pb::AuthUserListResponse { header: Some(header.at(revision)), users }
}

/// The response to a RoleGet.
///
/// # Errors
/// No such role.
pub fn role_get(
    auth: &Auth,
    role: &str,
    revision: u64,
    header: &HeaderBase,
) -> Result<pb::AuthRoleGetResponse, ApiError> {
    let permissions = auth.permissions(role).ok_or(EtcdError::RoleNotFound)?;
    let perm = permissions.into_iter().map(shown).collect();
    Ok(pb::AuthRoleGetResponse { header: Some(header.at(revision)), perm })
}

/// The response to a RoleList.
#[must_use]
pub fn role_list(auth: &Auth, revision: u64, header: &HeaderBase) -> pb::AuthRoleListResponse {
    let roles = auth.roles().map(str::to_owned).collect();
    pb::AuthRoleListResponse { header: Some(header.at(revision)), roles }
}

fn shown(permission: Permission) -> authpb::Permission {
    let kind = match permission.kind {
        PermissionKind::Read => authpb::permission::Type::Read,
        PermissionKind::Write => authpb::permission::Type::Write,
        PermissionKind::ReadWrite => authpb::permission::Type::Readwrite,
    };
    authpb::Permission { perm_type: kind.into(), key: permission.key, range_end: permission.range_end }
}

//! Why users and roles cannot be changed so, and why somebody may not.

use std::fmt;

use quorate_consensus::{DecodeError, Reader, Writer};

macro_rules! auth_errors {
    ($($(#[doc = $doc:literal])+ $variant:ident = $tag:literal, $text:literal;)+) => {
        /// Why users and roles cannot be changed so, and why somebody may not do something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum AuthError {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl AuthError {
            pub(crate) fn encode(self, to: &mut Writer) {
                to.u8(match self {
                    $(AuthError::$variant => $tag,)+
                });
            }

            pub(crate) fn decode(from: &mut Reader) -> Result<AuthError, DecodeError> {
                match from.u8()? {
                    $($tag => Ok(AuthError::$variant),)+
                    value => Err(DecodeError::Unknown { what: "auth error", value: value.into() }),
                }
            }
        }

        impl fmt::Display for AuthError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(AuthError::$variant => $text,)+
                })
            }
        }
    };
}

auth_errors! {
    /// Auth is on, and nobody says who asks; also a user without a name.
    UserEmpty = 1, "no user is named; authenticate, and send the token with the request";
    /// A role without a name.
    RoleEmpty = 2, "no role is named; give a name of at least one byte";
    /// No such user, or another password, or one that has none.
    AuthFailed = 3, "the user does not exist or the password is another";
    /// What would lock everybody out, or an interval that is none.
    InvalidAuthManagement = 4, "root would be locked out, or the interval of a permission is empty";
    /// Users or roles have changed since it was found out who asks.
    AuthOldRevision = 5, "users or roles have changed since; authenticate again and repeat the request";
    /// Auth cannot be turned on without user root.
    RootUserNotExist = 6, "auth needs a user root; add it first";
    /// Auth cannot be turned on while user root lacks role root.
    RootRoleNotExist = 7, "auth needs a user root with the role root; grant it first";
    /// A user of this name is there.
    UserExists = 8, "a user of this name exists; choose another name";
    /// No such user.
    UserNotFound = 9, "no such user; list the users";
    /// A role of this name is there.
    RoleExists = 10, "a role of this name exists; choose another name";
    /// No such role.
    RoleNotFound = 11, "no such role; list the roles";
    /// The user does not have the role.
    RoleNotGranted = 12, "the user does not have this role; show the user";
    /// The role does not have the permission.
    PermissionNotGranted = 13, "the role does not have this permission; show the role";
    /// Auth is off.
    AuthNotEnabled = 14, "auth is off; turn it on first";
    /// The user may not.
    PermissionDenied = 15, "the user may not do this; ask for a role that may";
    /// The token is not known, or not any more.
    InvalidAuthToken = 16, "the token is not known, or not any more; authenticate again";
    /// Users and roles would take more than [`AUTH_BYTES_MAX`](crate::AUTH_BYTES_MAX).
    TooLarge = 17, "users, roles and permissions would take more than 4 MiB; delete some, or use wider intervals";
}

impl std::error::Error for AuthError {}

//! `Debug` of the messages that hold a password, its hash or a token. A request that is logged must not give them away: etcd did
//! (CVE-2021-28235). The list of messages is `SECRET` in `build.rs`; without an implementation here, the crate does not compile.

use std::fmt;

use crate::authpb::User;
use crate::etcdserverpb::{
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthenticateRequest, AuthenticateResponse,
};

macro_rules! debug_without_secrets {
    ($($message:ident { $($field:ident),+ })+) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))$(.field(stringify!($field), &self.$field))+.finish_non_exhaustive()
            }
        }
    )+};
}

debug_without_secrets! {
    User { name, roles, options }
    AuthenticateRequest { name }
    AuthenticateResponse { header }
    AuthUserAddRequest { name, options }
    AuthUserChangePasswordRequest { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_a_password_or_a_token() {
        let secret = "hunter2";
        let shown = [
            format!("{:?}", User { password: secret.into(), ..Default::default() }),
            format!("{:?}", AuthenticateRequest { password: secret.into(), ..Default::default() }),
            format!("{:?}", AuthenticateResponse { token: secret.into(), ..Default::default() }),
            format!("{:?}", AuthUserAddRequest { password: secret.into(), ..Default::default() }),
            format!("{:?}", AuthUserAddRequest { hashed_password: secret.into(), ..Default::default() }),
            format!("{:?}", AuthUserChangePasswordRequest { password: secret.into(), ..Default::default() }),
            format!(
                "{:?}",
                AuthUserChangePasswordRequest { hashed_password: secret.into(), ..Default::default() }
            ),
        ];
        for text in shown {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

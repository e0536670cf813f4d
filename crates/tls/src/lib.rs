//! Floor 5: TLS for whoever listens, and between members.
//!
//! ```text
//!   PEM files ─► Tls ─ acceptor() ─► a handshake with the files as they are now
//!                        └─ looked at again every few seconds: a certificate that was renewed counts without a restart
//!             ─► Members ─ incoming(), outgoing() ─► the same for both ends of a connection between members; admits() says who is one
//!   client's certificate ─► subject() ─► the name that an ACL of the scheme `x509`, or a user of etcd, goes by
//! ```
//!
//! The protocol is rustls', with ring's cryptography: TLS 1.2 and 1.3 for clients, 1.3 between members.
//!
//! Architecture Invariant: files that cannot be used never replace ones that can. They are complained of, and what was read before stays in force.
//!
//! Architecture Invariant: with a list of revoked certificates, every listener that has this value refuses them, and so does a member
//! that dials.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this floor lives in the real world: it reads files, and looks at the time to do so seldom"
)]

mod files;
mod kept;
mod members;
mod name;

use std::{fmt, sync::Arc, time::Duration};

pub use files::{Authorities, ClientAuth, Files, TlsError};
pub use members::{MemberFiles, Members};
pub use name::{common_name, hosts, subject};
pub use tokio_rustls::{TlsAcceptor, rustls, server::TlsStream};

use kept::Kept;

/// How often files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The certificates of a listener, or of several. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: Files,
    kept: Kept<TlsAcceptor>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or they do not go together; the error names the file.
    pub fn load(files: Files) -> Result<Tls, TlsError> {
        Tls::load_looking_every(files, LOOK_EVERY)
    }

    /// The same, but the files are looked at as often as this.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_looking_every(files: Files, look_every: Duration) -> Result<Tls, TlsError> {
        // First when they changed, then what is in them: a change between the two is seen at the next look.
        let stamps = files.stamps();
        let acceptor = TlsAcceptor::from(Arc::new(files.server_config()?));
        Ok(Tls(Arc::new(Inner { files, kept: Kept::new(acceptor, stamps, look_every) })))
    }

    /// For the next handshake. Looks at the files, if it has not for a while.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        let Inner { files, kept } = &*self.0;
        kept.get(|| files.stamps(), || Ok(TlsAcceptor::from(Arc::new(files.server_config()?))))
    }
}

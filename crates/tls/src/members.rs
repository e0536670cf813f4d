//! Between members: each shows a certificate, whoever dials.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use quorate_consensus::planted;
use tokio_rustls::rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, WebPkiServerVerifier},
    crypto::ring,
    pki_types::CertificateDer,
    server::NoServerSessionStorage,
    version::TLS13,
};

use crate::{
    Authorities, LOOK_EVERY, TlsError, common_name,
    files::{Stamps, identity, stamps, together, trust, verifier},
    hosts,
    kept::Kept,
};

/// Which PEM files a member has for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFiles {
    /// Its certificate, and those between it and its authority. If it says what it is for, then for servers, and for clients unless there is
    /// another to dial with.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificate and the key to dial with, if they are others.
    pub to_dial: Option<(PathBuf, PathBuf)>,
    /// Who signs members' certificates.
    pub authorities: Authorities,
    /// Common names and hosts, one of which a member's certificate must have; empty: any.
    pub names: Vec<String>,
}

/// What members prove to each other who they are with. Clones are the same.
#[derive(Clone)]
pub struct Members(Arc<Inner>);

struct Inner {
    files: MemberFiles,
    kept: Kept<Ends>,
}

/// Both ends of a connection. They are made together: what is revoked is refused on both from the same moment.
#[derive(Clone)]
struct Ends {
    incoming: Arc<ServerConfig>,
    outgoing: Arc<ClientConfig>,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Members").field(&self.0.files).finish()
    }
}

impl Members {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or they do not go together; the error names the file.
    pub fn load(files: MemberFiles) -> Result<Members, TlsError> {
        Members::load_looking_every(files, LOOK_EVERY)
    }

    /// The same, but the files are looked at as often as this.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_looking_every(files: MemberFiles, look_every: Duration) -> Result<Members, TlsError> {
        let stamps = files.stamps();
        let ends = files.ends()?;
        Ok(Members(Arc::new(Inner { files, kept: Kept::new(ends, stamps, look_every) })))
    }

    fn ends(&self) -> Ends {
        let Inner { files, kept } = &*self.0;
        kept.get(|| files.stamps(), || files.ends())
    }

    /// For the next connection that comes in: whoever shows no good certificate has none.
    #[must_use]
    pub fn incoming(&self) -> Arc<ServerConfig> {
        self.ends().incoming
    }

    /// For the next connection that goes out: the certificate there must be good, and for the host that was dialled.
    #[must_use]
    pub fn outgoing(&self) -> Arc<ClientConfig> {
        self.ends().outgoing
    }

    /// Has the certificate at the other end a name that members have? To be asked of each connection whose handshake is over, whoever dialled: an
    /// authority often signs clients' certificates, too.
    #[must_use]
    pub fn admits(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        let Some(certificate) = chain.and_then(<[_]>::first) else { return false };
        let names = &self.0.files.names;
        let wanted = |name: &String| names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        names.is_empty()
            || planted!("P12") && common_name(certificate).is_none()
            || common_name(certificate).iter().any(wanted)
            || hosts(certificate).iter().any(wanted)
    }
}

impl MemberFiles {
    fn stamps(&self) -> Stamps {
        let MemberFiles { certificate, key, to_dial, authorities, names: _ } = self;
        let to_dial = to_dial.iter().flat_map(|(certificate, key)| [certificate, key]);
        let all = [certificate, key, &authorities.certificates].into_iter();
        stamps(all.chain(to_dial).chain(&authorities.revoked).map(PathBuf::as_path))
    }

    /// No session is resumed: a resumed one shows no certificate, so that one that was revoked or has expired meanwhile would still be let in. And TLS 1.3
    /// alone: both ends are ours, and a connection that stays for months must be able to change its keys, which those before cannot.
    fn ends(&self) -> Result<Ends, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (chain, key) = identity(&self.certificate, &self.key)?;
        let without_list;
        let authorities = if planted!("P09") {
            without_list = Authorities { revoked: None, ..self.authorities.clone() };
            &without_list
        } else {
            &self.authorities
        };
        let mut incoming = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(together)?
            .with_client_cert_verifier(verifier(authorities, Arc::clone(&provider), false)?)
            .with_single_cert(chain, key)
            .map_err(together)?;
        incoming.session_storage = Arc::new(NoServerSessionStorage {});
        incoming.send_tls13_tickets = 0;

        let (roots, revoked) = trust(&self.authorities)?;
        let good = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .with_crls(revoked)
            .build()
            .map_err(|error| TlsError::Together(error.to_string()))?;
        let (certificate, key) = self
            .to_dial
            .as_ref()
            .map_or((&self.certificate, &self.key), |(certificate, key)| (certificate, key));
        let (chain, key) = identity(certificate, key)?;
        let mut outgoing = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(together)?
            .with_webpki_verifier(good)
            .with_client_auth_cert(chain, key)
            .map_err(together)?;
        outgoing.resumption = Resumption::disabled();
        Ok(Ends { incoming: Arc::new(incoming), outgoing: Arc::new(outgoing) })
    }
}

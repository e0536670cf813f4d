//! The files, and what rustls makes of them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use quorate_consensus::planted;
use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

/// Which PEM files there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Which clients' certificates are taken.
    pub clients: ClientAuth,
    /// What is spoken inside (ALPN), the best first; empty: whatever the client thinks.
    pub protocols: &'static [&'static str],
}

/// Must a client show a certificate?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    None,
    /// One that is shown must be good; who shows none is nobody in particular.
    Wanted(Authorities),
    /// Without a good one there is no connection.
    Needed(Authorities),
}

/// Who signs clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The authorities' certificates.
    pub certificates: PathBuf,
    /// Lists of what they have revoked.
    pub revoked: Option<PathBuf>,
}

/// Why there is no TLS. `Display` names the file and what to do.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM of the right kind.
    File {
        /// Which.
        path: PathBuf,
        /// What was looked for in it.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// The files do not go together.
    Together(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::File { path, what, why } => {
                write!(
                    f,
                    "{} has no {what} that can be used: {why}; it should be PEM, and readable for this user",
                    path.display()
                )
            }
            TlsError::Together(why) => write!(f, "the TLS files do not go together: {why}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// When each file was last changed, and how long it is.
pub(crate) type Stamps = Vec<Option<(SystemTime, u64)>>;

impl Files {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let authorities = match &self.clients {
            ClientAuth::None => None,
            ClientAuth::Wanted(authorities) | ClientAuth::Needed(authorities) => Some(authorities),
        };
        let of_clients = authorities.into_iter().flat_map(|authorities| {
            std::iter::once(authorities.certificates.as_path()).chain(authorities.revoked.as_deref())
        });
        [self.certificate.as_path(), self.key.as_path()].into_iter().chain(of_clients)
    }

    pub(crate) fn stamps(&self) -> Stamps {
        stamps(self.paths())
    }

    pub(crate) fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (chain, key) = identity(&self.certificate, &self.key)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(together)?;
        let builder = match &self.clients {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Wanted(authorities) => {
                builder.with_client_cert_verifier(verifier(authorities, provider, true)?)
            }
            ClientAuth::Needed(authorities) => {
                builder.with_client_cert_verifier(verifier(authorities, provider, planted!("S13"))?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(together)?;
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(config)
    }
}

/// When these files were last changed.
pub(crate) fn stamps<'a>(paths: impl Iterator<Item = &'a Path>) -> Stamps {
    let stamp = |path: &Path| {
        let about = std::fs::metadata(path)?;
        io::Result::Ok((about.modified()?, about.len()))
    };
    paths.map(|path| stamp(path).ok()).collect()
}

/// A certificate, those between it and its authority, and its key.
pub(crate) fn identity(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = some(certificate, "certificate")?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse(key, "private key", &error))?;
    Ok((chain, private))
}

/// Whose signature counts, and what they have revoked.
pub(crate) fn trust(
    authorities: &Authorities,
) -> Result<(Arc<RootCertStore>, Vec<CertificateRevocationListDer<'static>>), TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in some::<CertificateDer<'static>>(&authorities.certificates, "certificate")? {
        roots.add(certificate).map_err(together)?;
    }
    let revoked = match &authorities.revoked {
        Some(path) => some(path, "list of revoked certificates")?,
        None => Vec::new(),
    };
    Ok((Arc::new(roots), revoked))
}

pub(crate) fn verifier(
    authorities: &Authorities,
    provider: Arc<CryptoProvider>,
    strangers_too: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let (roots, revoked) = trust(authorities)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    if !revoked.is_empty() {
        builder = builder.with_crls(revoked);
    }
    if strangers_too {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| TlsError::Together(error.to_string()))
}

/// All of a kind that the file has; at least one.
fn some<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, TlsError> {
    let all = T::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<T>, pem::Error>>);
    match all {
        Ok(all) if all.is_empty() => Err(refuse(path, what, &"there is none")),
        Ok(all) => Ok(all),
        Err(error) => Err(refuse(path, what, &error)),
    }
}

fn refuse(path: &Path, what: &'static str, why: &dyn fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), what, why: why.to_string() }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
pub(crate) fn together(error: rustls::Error) -> TlsError {
    TlsError::Together(error.to_string())
}

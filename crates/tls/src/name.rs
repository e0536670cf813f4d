//! Who a certificate says its holder is.

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::{Certificate, der::Decode as _};

/// The subject, as RFC 4514 writes it: `CN=app,O=example`. That is how Java names it, and so how ZooKeeper's ACLs of the scheme `x509` do. None if the
/// certificate cannot be read; the handshake has looked at it before, so that it hardly happens.
#[must_use]
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.subject.to_string())
}

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

/// The common name of the subject: whom etcd takes the client for. None: it has none, or two.
#[must_use]
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    const COMMON_NAME: &str = "2.5.4.3";
    let certificate = Certificate::from_der(certificate).ok()?;
    let all = certificate.tbs_certificate.subject.0.iter().flat_map(|names| names.0.iter());
    let mut common = all.filter(|name| name.oid.to_string() == COMMON_NAME);
    let name = common.next()?;
    // Which of two would it be?
    if common.next().is_some() {
        return None;
    }
    // A text of any of the kinds that names have: all that are met are UTF-8 or a part of it.
    std::str::from_utf8(name.value.value()).ok().map(str::to_owned)
}

/// The names and addresses that the certificate is for (its subjectAltName): `etcd-1.example`, `10.0.0.1`.
#[must_use]
pub fn hosts(certificate: &CertificateDer<'_>) -> Vec<String> {
    use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};
    let Ok(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some((_, names))) = certificate.tbs_certificate.get::<SubjectAltName>() else { return Vec::new() };
    let host = |name: GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => match *address.as_bytes() {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            ref long => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(long).ok()?).to_string()),
        },
        _ => None,
    };
    names.0.into_iter().filter_map(host).collect()
}

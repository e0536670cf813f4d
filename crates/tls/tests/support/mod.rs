//! Certificates for tests: an authority, what it signs, and what it has revoked.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test takes what it needs")]

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use quorate_tls::rustls::pki_types::CertificateDer;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    pub fn new(name: &str) -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("quorate-tls-{process}-{name}-{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.0.join(name), text).unwrap();
        self.0.join(name)
    }
}

pub type Issuer = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    if !name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params
}

pub fn authority() -> Issuer {
    let mut params = params("authority", &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, as PEM and as DER.
pub struct Signed {
    pub pem: String,
    pub key_pem: String,
    pub der: CertificateDer<'static>,
    pub key: Vec<u8>,
}

/// For `localhost`.
pub fn sign(issuer: &Issuer, name: &str, serial: u64) -> Signed {
    sign_for(issuer, name, serial, &["localhost"])
}

pub fn sign_for(issuer: &Issuer, name: &str, serial: u64, hosts: &[&str]) -> Signed {
    let key = KeyPair::generate().unwrap();
    let mut params = params(name, hosts);
    params.serial_number = Some(SerialNumber::from(serial));
    let certificate = params.signed_by(&key, issuer).unwrap();
    let (key_pem, der) = (key.serialize_pem(), certificate.der().clone());
    Signed { pem: certificate.pem(), key_pem, der, key: key.serialize_der() }
}

/// A list with this one on it, as PEM.
pub fn revoke(issuer: &Issuer, serial: u64) -> String {
    let revoked = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    revoked.signed_by(issuer).unwrap().pem().unwrap()
}

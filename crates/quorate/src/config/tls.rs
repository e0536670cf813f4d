//! The TLS files of a port for clients: which keys go together.

use std::path::PathBuf;

use quorate_tls::{Authorities, ClientAuth, Files};

use super::{ConfigError, sources::Sources};

/// The keys of one port.
pub(super) struct Port {
    certificate: &'static str,
    key: &'static str,
    client_ca: &'static str,
    client_auth: &'static str,
    revoked: &'static str,
    protocols: &'static [&'static str],
}

/// ZooKeeper's clients.
pub(super) const ZOOKEEPER: Port = Port {
    certificate: "zookeeper-tls-certificate",
    key: "zookeeper-tls-key",
    client_ca: "zookeeper-tls-client-ca",
    client_auth: "zookeeper-tls-client-auth",
    revoked: "zookeeper-tls-client-revoked",
    protocols: &[],
};

/// etcd's clients.
pub(super) const ETCD: Port = Port {
    certificate: "client-tls-certificate",
    key: "client-tls-key",
    client_ca: "client-tls-client-ca",
    client_auth: "client-tls-client-auth",
    revoked: "client-tls-client-revoked",
    protocols: quorate_etcd::PROTOCOLS,
};

impl Sources {
    /// The files of a port. That they are there and good is seen when they are read.
    pub(super) fn tls(&self, port: &Port) -> Result<Option<Files>, ConfigError> {
        let path = |key| Some(self.text(key)).filter(|path| !path.is_empty()).map(PathBuf::from);
        let alone = |key, other: &str| {
            Err(self.refuse(key, &format!("{other} is not set"), &format!("set both, or leave {key} out")))
        };
        let (client_ca, revoked) = (path(port.client_ca), path(port.revoked));
        let (certificate, key) = match (path(port.certificate), path(port.key)) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return alone(port.certificate, port.key),
            (None, Some(_)) => return alone(port.key, port.certificate),
            (None, None) if client_ca.is_some() => return alone(port.client_ca, port.certificate),
            (None, None) if revoked.is_some() => return alone(port.revoked, port.certificate),
            (None, None) => return Ok(None),
        };
        let clients = match client_ca {
            None if revoked.is_some() => return alone(port.revoked, port.client_ca),
            None => ClientAuth::None,
            Some(certificates) => {
                let authorities = Authorities { certificates, revoked };
                match self.word(port.client_auth)?.as_str() {
                    "want" => ClientAuth::Wanted(authorities),
                    _ => ClientAuth::Needed(authorities),
                }
            }
        };
        Ok(Some(Files { certificate, key, clients, protocols: port.protocols }))
    }
}

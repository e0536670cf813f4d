//! The TLS files of ZooKeeper's port: which keys go together.

use std::path::PathBuf;

use quorate_tls::{Authorities, ClientAuth, Files};

use super::{ConfigError, sources::Sources};

impl Sources {
    /// The files of TLS for ZooKeeper's clients. That they are there and good is seen when they are read.
    pub(super) fn tls(&self) -> Result<Option<Files>, ConfigError> {
        let path = |key| Some(self.text(key)).filter(|path| !path.is_empty()).map(PathBuf::from);
        let [certificate, key, client_ca, revoked] = [
            "zookeeper-tls-certificate",
            "zookeeper-tls-key",
            "zookeeper-tls-client-ca",
            "zookeeper-tls-client-revoked",
        ]
        .map(path);
        let alone = |key, other: &str| {
            Err(self.refuse(key, &format!("{other} is not set"), &format!("set both, or leave {key} out")))
        };
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return alone("zookeeper-tls-certificate", "zookeeper-tls-key"),
            (None, Some(_)) => return alone("zookeeper-tls-key", "zookeeper-tls-certificate"),
            (None, None) if client_ca.is_some() => {
                return alone("zookeeper-tls-client-ca", "zookeeper-tls-certificate");
            }
            (None, None) if revoked.is_some() => {
                return alone("zookeeper-tls-client-revoked", "zookeeper-tls-certificate");
            }
            (None, None) => return Ok(None),
        };
        let clients = match client_ca {
            None if revoked.is_some() => {
                return alone("zookeeper-tls-client-revoked", "zookeeper-tls-client-ca");
            }
            None => ClientAuth::None,
            Some(certificates) => {
                let authorities = Authorities { certificates, revoked };
                match self.word("zookeeper-tls-client-auth")?.as_str() {
                    "want" => ClientAuth::Wanted(authorities),
                    _ => ClientAuth::Needed(authorities),
                }
            }
        };
        Ok(Some(Files { certificate, key, clients }))
    }
}

//! The TLS files of a port for clients, and those for the other members: which keys go together.

use std::path::PathBuf;

use quorate_tls::{Authorities, ClientAuth, Files, MemberFiles};

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
    fn path(&self, key: &str) -> Option<PathBuf> {
        Some(self.text(key)).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn alone<T>(&self, key: &str, other: &str) -> Result<T, ConfigError> {
        Err(self.refuse(key, &format!("{other} is not set"), &format!("set both, or leave {key} out")))
    }

    /// What members show to each other, always both ways.
    pub(super) fn member_tls(&self) -> Result<Option<MemberFiles>, ConfigError> {
        let together = ["peer-tls-certificate", "peer-tls-key", "peer-tls-ca"];
        let [certificate, key, ca] = together.map(|key| self.path(key));
        let (Some(certificate), Some(key), Some(certificates)) = (certificate, key, ca) else {
            let others =
                ["peer-tls-revoked", "peer-tls-names", "peer-tls-client-certificate", "peer-tls-client-key"];
            let set = together.into_iter().chain(others).find(|key| !self.text(key).is_empty());
            let missing = together.into_iter().find(|key| self.text(key).is_empty());
            return match (set, missing) {
                (Some(set), Some(missing)) => self.alone(set, missing),
                _ => Ok(None),
            };
        };
        let [of_client, its_key] = ["peer-tls-client-certificate", "peer-tls-client-key"];
        let to_dial = match (self.path(of_client), self.path(its_key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return self.alone(of_client, its_key),
            (None, Some(_)) => return self.alone(its_key, of_client),
        };
        Ok(Some(MemberFiles {
            certificate,
            key,
            to_dial,
            authorities: Authorities { certificates, revoked: self.path("peer-tls-revoked") },
            names: self.list("peer-tls-names"),
        }))
    }

    /// The addresses of members and whether they speak TLS must agree. A cluster that was founded in the clear keeps its http:// where it says who the members
    /// are, for their ids are made of these URLs; but where a member listens, http:// would be a lie.
    pub(super) fn peer_schemes(&self, has_tls: bool) -> Result<(), ConfigError> {
        let mend = "set peer-tls-certificate, peer-tls-key and peer-tls-ca, or write http://";
        for key in ["listen-peer", "advertise-peer", "initial-cluster"] {
            if !has_tls && self.wants_tls(key) {
                return Err(self.refuse(key, "TLS between members takes a certificate", mend));
            }
        }
        if has_tls && self.text("listen-peer").starts_with("http://") {
            return Err(self.refuse(
                "listen-peer",
                "with peer-tls-certificate, members speak TLS alone",
                "write https://, or leave peer-tls-certificate out",
            ));
        }
        Ok(())
    }

    /// The files of a port. That they are there and good is seen when they are read.
    pub(super) fn tls(&self, port: &Port) -> Result<Option<Files>, ConfigError> {
        let path = |key| self.path(key);
        let alone = |key, other: &str| self.alone(key, other);
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

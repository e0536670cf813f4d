//! What ZooKeeper's clients are served with.

use std::time::Duration;

use quorate_service::zookeeper::Settings;

use super::{ConfigError, sources::Sources};

/// How ZooKeeper's clients are served.
#[derive(Clone, Debug)]
pub(crate) struct ZooKeeper {
    /// `None`: they are not.
    pub(crate) listen: Option<String>,
    /// `None`: there is no port for TLS alone.
    pub(crate) listen_secure: Option<String>,
    /// `None`: there is no admin page.
    pub(crate) listen_admin: Option<String>,
    /// `None`: clients come in the clear.
    pub(crate) tls: Option<quorate_tls::Files>,
    pub(crate) tls_only: bool,
    pub(crate) read_only: bool,
    pub(crate) tick: Duration,
    pub(crate) words: String,
    pub(crate) connections_per_address: usize,
    pub(crate) packet_bytes: usize,
    pub(crate) settings: Settings,
}

impl Sources {
    pub(super) fn zookeeper(&self, has_tree: bool) -> Result<ZooKeeper, ConfigError> {
        let listen = self.of_the_tree("listen-zookeeper", has_tree)?;
        let listen_secure = self.of_the_tree("listen-zookeeper-secure", has_tree)?;
        let listen_admin = self.of_the_tree("listen-zookeeper-admin", has_tree)?;
        let (tls, tls_only) = (self.tls(&super::tls::ZOOKEEPER)?, self.switch("zookeeper-tls-only")?);
        let needs_tls =
            [("listen-zookeeper-secure", listen_secure.is_some()), ("zookeeper-tls-only", tls_only)];
        if let Some((key, _)) = needs_tls.into_iter().find(|(_, set)| *set && tls.is_none()) {
            return Err(self.refuse(
                key,
                "there is no certificate",
                "set zookeeper-tls-certificate and zookeeper-tls-key",
            ));
        }
        let tick = self.milliseconds("zookeeper-tick")?;
        Ok(ZooKeeper {
            listen,
            listen_secure,
            listen_admin,
            tls,
            tls_only,
            read_only: self.switch("zookeeper-read-only")?,
            tick,
            words: self.filled("zookeeper-words")?,
            connections_per_address: self.count("zookeeper-connections-per-address")?,
            packet_bytes: usize::try_from(self.bytes("zookeeper-packet-bytes")?).unwrap_or(usize::MAX),
            settings: self.tree_settings(tick)?,
        })
    }

    /// An address that serves the tree; none if it is empty.
    fn of_the_tree(&self, key: &'static str, has_tree: bool) -> Result<Option<String>, ConfigError> {
        let address = self.address_or_none(key)?;
        if address.is_some() && !has_tree {
            return Err(self.refuse(
                key,
                "tree-engine is off: there is nothing to serve",
                &format!("set tree-engine = \"zab\" on each member, or leave {key} out"),
            ));
        }
        Ok(address)
    }

    fn tree_settings(&self, tick: Duration) -> Result<Settings, ConfigError> {
        let mut settings = Settings::with_tick_ms(to_ms(tick));
        if !self.text("zookeeper-session-min").is_empty() {
            settings.timeout_ms_min = to_ms(self.milliseconds("zookeeper-session-min")?);
        }
        if !self.text("zookeeper-session-max").is_empty() {
            settings.timeout_ms_max = to_ms(self.milliseconds("zookeeper-session-max")?);
        }
        if settings.timeout_ms_max < settings.timeout_ms_min {
            return Err(self.refuse(
                "zookeeper-session-max",
                &format!("below the shortest session, {} ms", settings.timeout_ms_min),
                "take at least as much",
            ));
        }
        settings.ttl = self.switch("zookeeper-ttl")?;
        settings.enforce_quota = self.switch("zookeeper-quotas")?;
        settings.super_digest =
            Some(self.text("zookeeper-super")).filter(|digest| !digest.is_empty()).map(str::to_owned);
        Ok(settings)
    }
}

/// Every key of a time ends at a day, which is far below 2³¹ ms.
fn to_ms(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

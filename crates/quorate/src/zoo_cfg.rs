//! A ZooKeeper configuration as a value: what it says, in the words of `serve`, and what is left out of it.
//!
//! ```text
//!   zoo.cfg, dynamicConfigFile, dataDir/myid, -D properties ──► read ──► keys of `serve` with who says so · notes for a person
//! ```
//!
//! A property `-Dzookeeper.NAME` and a line `NAME=` in the file are the same, as in ZooKeeper; here the property goes first, as flags do. What asks for
//! protection that is not built, such as SASL, is refused: to leave it out in silence would be a trap.

mod names;
mod properties;
mod server;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use names::{Meaning, meaning};
use server::Server;

use crate::config::Below;

/// Why a configuration is refused: what, why, and what to do, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZooCfgError(String);

impl fmt::Display for ZooCfgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a configuration comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ZooCfg {
    /// What `serve` is told, each value with who says so.
    pub(crate) below: Below,
    /// What is left out, by name.
    pub(crate) notes: Vec<String>,
    /// ZooKeeper's own data, if there is any: it is not read.
    pub(crate) data_dir: PathBuf,
}

/// One setting: its value, and where it stands.
#[derive(Clone, Debug)]
struct Setting {
    value: String,
    place: String,
}

/// All that is set, by its name without `zookeeper.`.
struct Given<'a> {
    file: &'a Path,
    settings: BTreeMap<String, Setting>,
}

/// Reads a configuration. `text_of` reads a file.
///
/// # Errors
/// A file that is missing, a line that cannot be understood, or something that must not be left out.
pub(crate) fn read(
    file: &Path,
    properties: &[String],
    text_of: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<ZooCfg, ZooCfgError> {
    let mut given = Given { file, settings: BTreeMap::new() };
    given.add_file(file, text_of)?;
    if let Some(dynamic) = given.settings.remove("dynamicConfigFile") {
        given.add_file(Path::new(&dynamic.value), text_of)?;
    }
    properties.iter().try_for_each(|property| given.add_property(property))?;

    let mut zoo_cfg = ZooCfg::default();
    given.names(&mut zoo_cfg)?;
    given.addresses(&mut zoo_cfg, text_of)?;
    Ok(zoo_cfg)
}

impl Given<'_> {
    fn add_file(
        &mut self,
        path: &Path,
        text_of: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<(), ZooCfgError> {
        let text = text_of(path).map_err(|error| {
            ZooCfgError(format!(
                "{}: cannot be read: {error}; name a file that this user may read",
                path.display()
            ))
        })?;
        for (name, value) in properties::parse(&text) {
            let name = name.strip_prefix("zookeeper.").map(str::to_owned).unwrap_or(name);
            let place = format!("{name} in {}", path.display());
            self.settings.insert(name, Setting { value, place });
        }
        Ok(())
    }

    fn add_property(&mut self, property: &str) -> Result<(), ZooCfgError> {
        let Some((name, value)) = property.split_once('=') else {
            return Err(ZooCfgError(format!(
                "-D{property}: it has no value; write -Dzookeeper.NAME=VALUE or -Djute.maxbuffer=BYTES"
            )));
        };
        let (place, value) = (format!("-D{name}"), value.to_owned());
        let name = name.strip_prefix("zookeeper.").unwrap_or(name).to_owned();
        self.settings.insert(name, Setting { value, place });
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(|setting| setting.value.as_str()).filter(|value| !value.is_empty())
    }

    /// What is said by one name alone.
    fn names(&self, to: &mut ZooCfg) -> Result<(), ZooCfgError> {
        let mut unneeded = Vec::new();
        for (name, Setting { value, place }) in &self.settings {
            match meaning(name) {
                Meaning::Here => {}
                Meaning::Key(key) => {
                    if let Some(value) = names::in_our_words(key, value) {
                        to.below.insert(key, (value, place.clone()));
                    }
                }
                Meaning::Unneeded => unneeded.push(name.as_str()),
                Meaning::Ignored(why) => to.notes.push(format!("{place} is ignored: {why}")),
                Meaning::Must(why) if names::is_on(value) => {
                    return Err(ZooCfgError(format!("{place} is {value:?}, but {why}")));
                }
                Meaning::Must(_) => {}
                Meaning::Unknown => to.notes.push(format!("{place} is ignored: nothing here is called so")),
            }
        }
        if !unneeded.is_empty() {
            to.notes.push(format!("not needed here, and ignored: {}", unneeded.join(", ")));
        }
        Ok(())
    }

    /// Who the servers are, which of them this is, where it listens and where its data is.
    fn addresses(
        &self,
        to: &mut ZooCfg,
        text_of: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<(), ZooCfgError> {
        let file = self.file.display();
        let Some(data_dir) = self.value("dataDir") else {
            return Err(ZooCfgError(format!(
                "{file}: dataDir is missing; add dataDir=DIR, for what must last"
            )));
        };
        to.data_dir = PathBuf::from(data_dir);
        self.say(to, "data-dir", "dataDir", to.data_dir.join("quorate").display().to_string());
        let servers = self.servers()?;
        let own = self.own(&servers, &to.data_dir, text_of)?;
        let client = match own.and_then(|server| server.client.clone()) {
            Some(client) => client,
            None => self.client_address()?,
        };
        self.say(to, "listen-zookeeper", "clientPort", client);
        self.tls(to)?;
        self.more_ports(to);
        // Nobody asks a ZooKeeper server for etcd's API.
        self.say(to, "listen-client", "a ZooKeeper configuration", String::new());
        match own {
            Some(own) => self.ensemble(to, &servers, own),
            None => self.alone(to),
        }
        Ok(())
    }

    fn say(&self, to: &mut ZooCfg, key: &'static str, name: &str, value: String) {
        let place = self.settings.get(name).map(|setting| setting.place.clone());
        let place = place.unwrap_or_else(|| format!("{name} in {}", self.file.display()));
        to.below.insert(key, (value, place));
    }

    fn servers(&self) -> Result<BTreeMap<u64, Server>, ZooCfgError> {
        let lines = self.settings.iter().filter_map(|(name, setting)| {
            let number = name.strip_prefix("server.")?;
            Some((number, setting))
        });
        lines
            .map(|(number, setting)| {
                let parsed = number.parse().map_err(|_| "the number after server. is none".to_owned());
                let server = parsed.and_then(|number: u64| Ok((number, Server::parse(&setting.value)?)));
                server.map_err(|wrong| {
                    ZooCfgError(format!(
                        "{} = {:?}: {wrong}; write server.N=HOST:PORT:PORT, then perhaps :observer, then perhaps ;CLIENTPORT",
                        setting.place, setting.value
                    ))
                })
            })
            .collect()
    }

    /// Which of the servers this is: `myid` says so. None: there are none, and it stands alone.
    fn own<'s>(
        &self,
        servers: &'s BTreeMap<u64, Server>,
        data_dir: &Path,
        text_of: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Option<&'s Server>, ZooCfgError> {
        if servers.len() < 2 {
            return Ok(servers.values().next());
        }
        let path = data_dir.join("myid");
        let mend =
            format!("write into it this server's number, the N of its server.N in {}", self.file.display());
        let text = text_of(&path)
            .map_err(|error| ZooCfgError(format!("{}: cannot be read: {error}; {mend}", path.display())))?;
        let own = text.trim().parse().ok().and_then(|number: u64| servers.get(&number));
        own.map(Some).ok_or_else(|| {
            ZooCfgError(format!("{}: {:?} is the number of no server; {mend}", path.display(), text.trim()))
        })
    }

    fn client_address(&self) -> Result<String, ZooCfgError> {
        let host = self.value("clientPortAddress").unwrap_or(server::EVERYWHERE);
        match self.value("clientPort") {
            Some(port) => Ok(server::with_port(host, port)),
            None if self.value("secureClientPort").is_some() => Ok(String::new()),
            None => Err(ZooCfgError(format!(
                "{}: clientPort is missing, and the server's line names none; add clientPort=2181",
                self.file.display()
            ))),
        }
    }

    /// Key stores, which must be PEM.
    fn tls(&self, to: &mut ZooCfg) -> Result<(), ZooCfgError> {
        // Nobody is asked for a certificate, so it does not matter who would sign it.
        let asks = self.value("ssl.clientAuth") != Some("none");
        self.store(to, "ssl.keyStore.location", &["zookeeper-tls-certificate", "zookeeper-tls-key"])?;
        if asks {
            self.store(to, "ssl.trustStore.location", &["zookeeper-tls-client-ca"])?;
        }
        if !self.value("sslQuorum").is_some_and(names::is_on) {
            return Ok(());
        }
        let stores = [
            ("ssl.quorum.keyStore.location", &["peer-tls-certificate", "peer-tls-key"][..]),
            ("ssl.quorum.trustStore.location", &["peer-tls-ca"][..]),
        ];
        for (name, keys) in stores {
            if !self.store(to, name, keys)? {
                return Err(ZooCfgError(format!(
                    "sslQuorum is on, but {name} is missing; name a PEM file in it"
                )));
            }
        }
        Ok(())
    }

    /// False: it is not set.
    fn store(&self, to: &mut ZooCfg, name: &str, keys: &[&'static str]) -> Result<bool, ZooCfgError> {
        let Some(path) = self.value(name) else { return Ok(false) };
        if !path.ends_with(".pem") {
            return Err(ZooCfgError(format!(
                "{name} = {path:?}: Java's key stores cannot be read here; make a PEM file of it, with keytool and openssl, whose name ends with .pem"
            )));
        }
        keys.iter().for_each(|key| self.say(to, key, name, path.to_owned()));
        Ok(true)
    }

    /// The port for TLS alone, and the admin page, which is served only where the configuration says so.
    fn more_ports(&self, to: &mut ZooCfg) {
        let host = |name: &str| self.value(name).unwrap_or(server::EVERYWHERE);
        if let Some(port) = self.value("secureClientPort") {
            let at = server::with_port(host("secureClientPortAddress"), port);
            self.say(to, "listen-zookeeper-secure", "secureClientPort", at);
        }
        if let Some(port) = self.value("admin.serverPort")
            && self.value("admin.enableServer").is_none_or(names::is_on)
        {
            let at = server::with_port(host("admin.serverAddress"), port);
            self.say(to, "listen-zookeeper-admin", "admin.serverPort", at);
        }
    }

    fn ensemble(&self, to: &mut ZooCfg, servers: &BTreeMap<u64, Server>, own: &Server) {
        let name = |number: &u64| format!("server.{number}");
        let list = |each: &dyn Fn(&u64, &Server) -> Option<String>| {
            servers.iter().filter_map(|(number, server)| each(number, server)).collect::<Vec<_>>().join(",")
        };
        let number = servers.iter().find(|(_, server)| *server == own).map_or(0, |(number, _)| *number);
        let place = name(&number);
        let members = list(&|number, server| Some(format!("{}=http://{}", name(number), server.peer)));
        let observers = list(&|number, server| server.observer.then(|| name(number)));
        let everywhere = self.value("quorumListenOnAllIPs").is_some_and(names::is_on);
        let listen = if everywhere { own.peer_everywhere() } else { own.peer.clone() };
        self.say(to, "listen-peer", &place, listen);
        self.say(to, "advertise-peer", &place, format!("http://{}", own.peer));
        self.say(to, "initial-cluster-token", "the servers", token(servers));
        self.say(to, "initial-cluster", "the servers", members);
        self.say(to, "initial-learners", "the servers", observers);
        self.say(to, "name", &place, place.clone());
        to.notes.push(
            "the second port of each server, for elections, is not needed: one connection is enough"
                .to_owned(),
        );
        let called_observer = self.value("peerType") == Some("observer");
        if called_observer && !own.observer {
            to.notes.push(format!(
                "peerType=observer is ignored: {place} has no :observer, and its line goes first"
            ));
        }
    }

    /// One server, with nobody to hear. Its place among the members, which its data is bound to, is an address all the same.
    fn alone(&self, to: &mut ZooCfg) {
        let place = "standalone: no server.N";
        self.say(to, "name", place, "standalone".to_owned());
        self.say(to, "listen-peer", place, "127.0.0.1:0".to_owned());
        self.say(to, "advertise-peer", place, "http://127.0.0.1:2888".to_owned());
        self.say(to, "initial-cluster-token", place, "zookeeper".to_owned());
    }
}

/// What sets this ensemble apart from all others: its servers, the same on each.
fn token(servers: &BTreeMap<u64, Server>) -> String {
    let each = |(number, server): (&u64, &Server)| format!(" {number}={}", server.peer);
    format!("zookeeper{}", servers.iter().map(each).collect::<String>())
}

#[cfg(test)]
mod tests;

//! etcd's command line as a value: flags, `ETCD_*` variables and the YAML file, in the words of `serve`, and what is left out of it.
//!
//! ```text
//!   flags ─► variables ─► defaults        or the file alone, as in etcd
//!      └──────────┬────────────┘
//!               names: a key of serve · looked at together · not needed · ignored, with a word · refused
//! ```

mod names;
mod yaml;

use std::{collections::BTreeMap, fmt, io, path::Path};

use names::{FLAGS, Meaning, flag};

use crate::config::{Below, go_milliseconds, host_and_port};

/// Why a command line is refused: what, why, and what to do, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EtcdFlagsError(String);

impl fmt::Display for EtcdFlagsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// `--version`.
    Version,
    /// `--help`.
    Help,
    /// To serve.
    Serve {
        /// What `serve` is told, each value with who says so.
        below: Below,
        /// What is left out, by name.
        notes: Vec<String>,
    },
}

/// A value, and who gave it: `--name`, `ETCD_NAME`, `name in etcd.yml`.
type Set = BTreeMap<&'static str, (String, String)>;

/// Reads a command line.
///
/// # Errors
/// A flag that etcd does not have, a value that cannot be understood, or something that must not be left out.
pub(crate) fn read(
    arguments: &[String],
    variable: &dyn Fn(&str) -> Option<String>,
    text_of: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Asked, EtcdFlagsError> {
    let (mut set, file) = match flags(arguments)? {
        Flags::Version => return Ok(Asked::Version),
        Flags::Help => return Ok(Asked::Help),
        Flags::Set { set, file } => (set, file),
    };
    let mut notes = Vec::new();
    match file.or_else(|| variable("ETCD_CONFIG_FILE")) {
        // As in etcd: beside a file, flags and variables count for nothing.
        Some(path) => {
            if !set.is_empty() {
                notes.push(format!("flags are ignored beside --config-file {path}, as in etcd"));
            }
            let text = text_of(Path::new(&path)).map_err(|error| {
                EtcdFlagsError(format!(
                    "--config-file {path}: cannot be read: {error}; name a file that this user may read"
                ))
            })?;
            set = yaml::read(&text, &path, &mut notes)?;
        }
        None => {
            for flag in FLAGS {
                let name = format!("ETCD_{}", flag.name.to_uppercase().replace('-', "_"));
                let given = variable(&name);
                if let Some(value) = given.filter(|_| !set.contains_key(flag.name)) {
                    set.insert(flag.name, (value, name));
                }
            }
        }
    }
    let mut reading = Reading { set, below: Below::new(), notes };
    reading.names()?;
    reading.together()?;
    Ok(Asked::Serve { below: reading.below, notes: reading.notes })
}

enum Flags {
    Version,
    Help,
    Set { set: Set, file: Option<String> },
}

/// Go's flags: `--name=value`, `--name value`, `-name value`; a switch takes its value with `=` alone.
fn flags(arguments: &[String]) -> Result<Flags, EtcdFlagsError> {
    let (mut set, mut file) = (Set::new(), None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(named) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            return Err(EtcdFlagsError(format!("'{argument}' is not a valid flag; flags begin with --")));
        };
        let (name, value) = match named.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (named, None),
        };
        match name {
            "version" => return Ok(Flags::Version),
            "h" | "help" => return Ok(Flags::Help),
            _ => {}
        }
        let known = flag(name);
        if known.is_none() && name != "config-file" {
            return Err(EtcdFlagsError(format!(
                "flag provided but not defined: -{name}; `quorate etcd --help` lists them"
            )));
        }
        let value = match value {
            Some(value) => value,
            None if known.is_some_and(|flag| flag.switch) => "true".to_owned(),
            None => rest
                .next()
                .cloned()
                .ok_or_else(|| EtcdFlagsError(format!("flag needs an argument: -{name}")))?,
        };
        match known {
            Some(flag) => _ = set.insert(flag.name, (value, format!("--{name}"))),
            None => file = Some(value),
        }
    }
    Ok(Flags::Set { set, file })
}

struct Reading {
    set: Set,
    below: Below,
    notes: Vec<String>,
}

impl Reading {
    fn value(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn value_or_default(&self, name: &str) -> String {
        let default = flag(name).map_or("", |flag| flag.default);
        self.value(name).unwrap_or(default).to_owned()
    }

    fn say(&mut self, key: &'static str, name: &str, value: String) {
        let place = self
            .set
            .get(name)
            .map_or_else(|| format!("etcd's default of --{name}"), |(_, place)| place.clone());
        self.below.insert(key, (value, place));
    }

    fn refuse<T>(&self, name: &str, wrong: &str) -> Result<T, EtcdFlagsError> {
        let place = self.set.get(name).map_or(name, |(_, place)| place.as_str());
        Err(EtcdFlagsError(format!("{place} = {:?}: {wrong}", self.value_or_default(name))))
    }

    /// What is said by one flag alone.
    fn names(&mut self) -> Result<(), EtcdFlagsError> {
        for flag in FLAGS {
            let given = self.value(flag.name).filter(|value| *value != flag.default).map(str::to_owned);
            match (flag.meaning, given) {
                (Meaning::Key(key), given) => {
                    // What etcd leaves to others, so do we.
                    let value = given.unwrap_or_else(|| flag.default.to_owned());
                    if !value.is_empty() {
                        self.say(key, flag.name, value);
                    }
                }
                (Meaning::Must(why), Some(_)) => return self.refuse(flag.name, why),
                (Meaning::Ignored(why), Some(_)) => {
                    let place = self.set.get(flag.name).map_or(flag.name, |(_, place)| place.as_str());
                    self.notes.push(format!("{place} is ignored: {why}"));
                }
                (Meaning::Here | Meaning::Unneeded, _) | (Meaning::Must(_) | Meaning::Ignored(_), None) => {}
            }
        }
        Ok(())
    }

    /// What takes more than one, or is written otherwise.
    fn together(&mut self) -> Result<(), EtcdFlagsError> {
        if self.value("listen-client-urls").is_some() && self.value("advertise-client-urls").is_none() {
            return Err(EtcdFlagsError(
                "--advertise-client-urls is required when --listen-client-urls is set explicitly".to_owned(),
            ));
        }
        // Nobody asks an etcd for ZooKeeper's tree; it can be added later.
        self.below.insert("tree-engine", ("off".to_owned(), "etcd has no ZooKeeper tree".to_owned()));
        let data_dir = match self.value("data-dir") {
            Some(directory) => directory.to_owned(),
            None => format!("{}.etcd", self.value_or_default("name")),
        };
        self.say("data-dir", "data-dir", data_dir);
        self.peers()?;
        self.times()?;
        let quota = match self.value_or_default("quota-backend-bytes").parse::<i64>() {
            Ok(0) => "2GiB".to_owned(),
            Ok(bytes) if bytes < 0 => "0".to_owned(),
            Ok(bytes) => bytes.to_string(),
            Err(_) => return self.refuse("quota-backend-bytes", "write a number of bytes"),
        };
        self.say("quota-bytes", "quota-backend-bytes", quota);
        if self.value("client-cert-auth") == Some("true") && self.value("trusted-ca-file").is_none() {
            return self.refuse(
                "client-cert-auth",
                "who signs clients' certificates is not said; add trusted-ca-file",
            );
        }
        self.peer_tls()?;
        // In etcd, no time is its default.
        let ttl = match self.value_or_default("auth-token-ttl").parse::<u64>() {
            Ok(0) => "300".to_owned(),
            Ok(seconds) => seconds.to_string(),
            Err(_) => return self.refuse("auth-token-ttl", "write a number of seconds"),
        };
        self.say("auth-token-ttl", "auth-token-ttl", ttl);
        let level = match self.value_or_default("log-level").as_str() {
            "debug" => "debug",
            "info" => "info",
            "warn" => "warn",
            "error" | "dpanic" | "panic" | "fatal" => "error",
            _ => return self.refuse("log-level", "write debug, info, warn, error, panic or fatal"),
        };
        self.say("log-level", "log-level", level.to_owned());
        let format = if self.value_or_default("log-format") == "console" { "text" } else { "json" };
        self.say("log-format", "log-format", format.to_owned());
        Ok(())
    }

    /// Members always show certificates to each other, so that nothing is to be switched on; but somebody must sign them.
    fn peer_tls(&mut self) -> Result<(), EtcdFlagsError> {
        for (name, needs_ca) in [("peer-client-cert-auth", "true"), ("peer-cert-file", "")] {
            let given = self.value(name).is_some_and(|value| needs_ca.is_empty() || value == needs_ca);
            if given && self.value("peer-trusted-ca-file").is_none() {
                return self
                    .refuse(name, "who signs members' certificates is not said; add peer-trusted-ca-file");
            }
        }
        let names = ["peer-cert-allowed-cn", "peer-cert-allowed-hostname"];
        let set: Vec<&str> = names.into_iter().filter(|name| self.value(name).is_some()).collect();
        if let Some(first) = set.first() {
            let names: Vec<&str> = set.iter().filter_map(|name| self.value(name)).collect();
            let names = names.join(",");
            self.say("peer-tls-names", first, names);
        }
        Ok(())
    }

    /// One address between members: a second one would never be tried.
    fn peers(&mut self) -> Result<(), EtcdFlagsError> {
        for (name, key) in
            [("listen-peer-urls", "listen-peer"), ("initial-advertise-peer-urls", "advertise-peer")]
        {
            let value = self.value_or_default(name);
            let mut urls = value.split(',');
            let first = urls.next().unwrap_or_default().to_owned();
            if urls.next().is_some() {
                self.notes
                    .push(format!("--{name}: members reach each other at the first address alone, {first}"));
            }
            self.say(key, name, first);
        }
        if self.value("initial-cluster-state") == Some("existing") {
            let join = self.whom_to_ask();
            if join.is_empty() {
                return self.refuse("initial-cluster", "a member that joins needs the others in it");
            }
            self.say("join", "initial-cluster", join.join(","));
        }
        Ok(())
    }

    /// Where the other members may serve clients: etcd's flags say where their peers listen, and the ports of clients are found by custom.
    fn whom_to_ask(&self) -> Vec<String> {
        let own = self.value_or_default("name");
        let listen = self.value_or_default("listen-client-urls");
        let own_port = listen.split(',').next().and_then(|url| host_and_port(url).ok());
        let own_port =
            own_port.and_then(|at| at.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()));
        let mut join = Vec::new();
        for member in self.value("initial-cluster").unwrap_or_default().split(',') {
            let Some((name, url)) = member.split_once('=') else { continue };
            let Ok(at) = host_and_port(url) else { continue };
            let Some((host, port)) = at.rsplit_once(':').filter(|_| name.trim() != own) else { continue };
            let before = port.parse::<u16>().ok().and_then(|port| port.checked_sub(1));
            for port in [own_port, before, Some(2379)].into_iter().flatten() {
                let at = format!("{host}:{port}");
                if !join.contains(&at) {
                    join.push(at);
                }
            }
        }
        join
    }

    /// An election begins between one and two of etcd's election timeouts.
    fn times(&mut self) -> Result<(), EtcdFlagsError> {
        let Ok(election) = self.value_or_default("election-timeout").parse::<u64>() else {
            return self.refuse("election-timeout", "write a number of milliseconds");
        };
        if !(20..=50_000).contains(&election) {
            return self.refuse("election-timeout", "take 20 to 50000 milliseconds");
        }
        self.say("election-timeout-min", "election-timeout", election.to_string());
        self.say("election-timeout-max", "election-timeout", (election * 2).min(50_000).to_string());
        let progress = self.value_or_default("watch-progress-notify-interval");
        let Some(progress) = go_milliseconds(&progress) else {
            return self.refuse("watch-progress-notify-interval", "write a time, such as 10m");
        };
        self.say("watch-progress-interval", "watch-progress-notify-interval", progress.to_string());
        // etcd's default is never, because its check reads everything; ours costs next to nothing, and is on.
        if let Some(given) = self.value("corrupt-check-time").map(str::to_owned) {
            let Some(time) = go_milliseconds(&given) else {
                return self.refuse("corrupt-check-time", "write a time, such as 5m");
            };
            self.say("corrupt-check-time", "corrupt-check-time", time.to_string());
        }
        Ok(())
    }
}

/// What `--help` prints.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "Usage: quorate etcd [flags], or the binary under the name etcd\n\nEach flag may also be a variable (--data-dir: ETCD_DATA_DIR). Beside --config-file FILE (YAML), which has the same\nnames, flags and variables count for nothing, as in etcd.\n\n",
    );
    for flag in FLAGS {
        let said = match flag.meaning {
            Meaning::Key(_) | Meaning::Here => format!("default {:?}", flag.default),
            Meaning::Unneeded => "taken, and not needed here".to_owned(),
            Meaning::Ignored(why) => format!("ignored with a warning: {why}"),
            Meaning::Must(why) => format!("refused: {why}"),
        };
        text.push_str(&format!("  --{:<38} {said}\n", flag.name));
    }
    text
}

#[cfg(test)]
mod tests;

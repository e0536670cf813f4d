//! A value's text and what it means: each refusal names key, value, place and mend.

use std::time::Duration;

use quorate_etcd::Serves;
use quorate_service::compactor::Retention;

use super::{
    ConfigError, FirstMember, Listen,
    keys::{Kind, kind, variable},
    sources::{Origin, Sources},
};

impl Sources {
    pub(super) fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", |(value, _)| value)
    }

    /// One line: key, value, where it stands, what is wrong, what to do.
    pub(super) fn refuse(&self, key: &str, wrong: &str, mend: &str) -> ConfigError {
        let (value, origin) = &self.0[key];
        let place = match origin {
            Origin::Flag => format!("--{key}"),
            Origin::Environment => variable(key),
            Origin::File(path) => path.display().to_string(),
            Origin::ZooKeeper(said) => said.clone(),
            Origin::Default => "default".to_string(),
        };
        ConfigError(format!("{key} = {value:?} ({place}): {wrong}; {mend}"))
    }

    pub(super) fn number(
        &self,
        key: &'static str,
        units: &[(&str, u64)],
        least: u64,
        most: u64,
    ) -> Result<u64, ConfigError> {
        let value = self.text(key).trim();
        let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        let (number, unit) = value.split_at(digits);
        let factor = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor);
        let parsed =
            number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        let examples = match units.last() {
            Some((unit, _)) if !unit.is_empty() => format!("write a whole number, such as 100 or 100{unit}"),
            _ => "write a whole number".to_string(),
        };
        let Some(number) = parsed else {
            return Err(self.refuse(key, "this is no such number", &examples));
        };
        if number < least || number > most {
            let mend = if most == u64::MAX {
                format!("take at least {least}")
            } else {
                format!("take one from {least} to {most}")
            };
            return Err(self.refuse(key, "out of range", &mend));
        }
        Ok(number)
    }

    pub(super) fn milliseconds(&self, key: &'static str) -> Result<Duration, ConfigError> {
        let (least, most) = match kind(key) {
            Kind::Milliseconds(least, most) => (least, most),
            _ => (0, u64::MAX),
        };
        let units = [("", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("ms", 1)];
        self.number(key, &units, least, most).map(Duration::from_millis)
    }

    /// How much history is kept: a bare number is hours, as in etcd, or revisions.
    pub(super) fn retention(&self) -> Result<Retention, ConfigError> {
        let key = "auto-compaction-retention";
        if self.word("auto-compaction-mode")? == "revision" {
            let count = self.number(key, &[("", 1)], 0, u64::MAX)?;
            return Ok(if count == 0 { Retention::All } else { Retention::Revisions(count) });
        }
        let units = [("", 3_600_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
        let period = Duration::from_millis(self.number(key, &units, 0, 1 << 53)?);
        Ok(if period.is_zero() { Retention::All } else { Retention::Period(period) })
    }

    /// Three numbers.
    pub(super) fn version(&self, key: &'static str) -> Result<String, ConfigError> {
        let version = self.filled(key)?;
        let numbers: Vec<_> = version.split('.').map(str::parse::<u32>).collect();
        if numbers.len() == 3 && numbers.iter().all(Result::is_ok) {
            return Ok(version);
        }
        Err(self.refuse(key, "this is no version", "write three numbers, such as 3.6.6"))
    }

    pub(super) fn bytes(&self, key: &'static str) -> Result<u64, ConfigError> {
        let least = match kind(key) {
            Kind::Bytes(least) => least,
            _ => 0,
        };
        let units = [
            ("", 1),
            ("B", 1),
            ("kB", 1000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("KiB", 1 << 10),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
        ];
        self.number(key, &units, least, u64::MAX)
    }

    pub(super) fn count(&self, key: &'static str) -> Result<usize, ConfigError> {
        let (least, most) = match kind(key) {
            Kind::Count(least, most) => (least, most),
            _ => (0, u64::MAX),
        };
        self.number(key, &[("", 1)], least, most).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(super) fn switch(&self, key: &'static str) -> Result<bool, ConfigError> {
        match self.text(key) {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" | "" => Ok(false),
            _ => Err(self.refuse(key, "neither on nor off", "write true or false")),
        }
    }

    pub(super) fn word(&self, key: &'static str) -> Result<String, ConfigError> {
        let words = match kind(key) {
            Kind::Word(words) => words,
            _ => &[],
        };
        let value = self.text(key);
        if words.contains(&value) {
            return Ok(value.to_string());
        }
        Err(self.refuse(key, "no such word", &format!("write one of {}", words.join(", "))))
    }

    /// A list of words, separated by commas.
    pub(super) fn list(&self, key: &'static str) -> Vec<String> {
        self.text(key).split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn filled(&self, key: &'static str) -> Result<String, ConfigError> {
        let value = self.text(key).trim();
        if value.is_empty() {
            return Err(self.refuse(key, "empty", "give it a value or leave the key out"));
        }
        Ok(value.to_string())
    }

    /// `host:port` of an address with or without its scheme.
    pub(super) fn address(&self, key: &'static str) -> Result<String, ConfigError> {
        host_and_port(self.text(key)).map_err(|(wrong, mend)| self.refuse(key, wrong, &mend))
    }

    /// Is TLS asked for by the scheme of an address?
    pub(super) fn wants_tls(&self, key: &'static str) -> bool {
        self.text(key)
            .split(',')
            .any(|one| one.rsplit('=').next().is_some_and(|url| url.starts_with("https://")))
    }

    /// The same, or none if it is empty.
    pub(super) fn address_or_none(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        if self.text(key).trim().is_empty() { Ok(None) } else { self.address(key).map(Some) }
    }

    /// The address that others use, or, if none is given, the one listened on, which must then be somewhere.
    pub(super) fn advertised(
        &self,
        key: &'static str,
        listen: (&'static str, &str),
        scheme: &str,
    ) -> Result<String, ConfigError> {
        if !self.text(key).is_empty() {
            let scheme = scheme_of(self.text(key)).unwrap_or(scheme);
            return self.address(key).map(|address| format!("{scheme}://{address}"));
        }
        let (listen_key, listen) = listen;
        if listen.starts_with("0.0.0.0:") || listen.starts_with("[::]:") {
            return Err(self.refuse(
                listen_key,
                "nobody can connect to “every address”",
                &format!("add {key} = \"http://HOST:PORT\", as others reach this member"),
            ));
        }
        if listen.ends_with(":0") {
            return Err(self.refuse(
                listen_key,
                "the port is chosen when the member starts",
                &format!("add {key} = \"http://HOST:PORT\", or name a port"),
            ));
        }
        Ok(format!("{scheme}://{listen}"))
    }

    pub(super) fn members(
        &self,
        key: &'static str,
        name: &str,
        url: &str,
        scheme: &str,
    ) -> Result<Vec<FirstMember>, ConfigError> {
        let value = self.text(key);
        if value.trim().is_empty() {
            let (name, url) = (name.to_string(), url.to_string());
            return Ok(vec![FirstMember { name, url, learner: false }]);
        }
        let mut members: Vec<FirstMember> = Vec::new();
        for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((name, url)) = part.split_once('=') else {
                return Err(self.refuse(
                    key,
                    &format!("{part:?} has no name"),
                    "write NAME=http://HOST:PORT,NAME=…",
                ));
            };
            let address = host_and_port(url).map_err(|(wrong, mend)| self.refuse(key, wrong, &mend))?;
            let scheme = scheme_of(url).unwrap_or(scheme);
            let (name, url) = (name.trim().to_string(), format!("{scheme}://{address}"));
            let member = FirstMember { name, url, learner: false };
            if members.iter().any(|other| other.name == member.name || other.url == member.url) {
                return Err(self.refuse(
                    key,
                    &format!("{part:?} repeats a name or an address"),
                    "give each member its own name and address, once",
                ));
            }
            members.push(member);
        }
        Ok(members)
    }
}

impl Sources {
    /// Whom a member asks that joins. What has no scheme is secure if this member's own clients are to be.
    pub(super) fn join(&self, has_tls: bool) -> Result<Vec<String>, ConfigError> {
        let key = "join";
        let one = |url: String| {
            let address = host_and_port(&url).map_err(|(wrong, mend)| self.refuse(key, wrong, &mend))?;
            let secure = scheme_of(&url).map_or(has_tls, |scheme| scheme == "https");
            if secure && ["client-tls-client-ca", "peer-tls-ca"].iter().all(|key| self.text(key).is_empty()) {
                return Err(self.refuse(
                    key,
                    "who signs the certificates there is not said",
                    "set client-tls-client-ca or peer-tls-ca, or write http://",
                ));
            }
            Ok(if secure { format!("https://{address}") } else { address })
        };
        self.list(key).into_iter().map(one).collect()
    }

    /// Where etcd's clients come in. What has no scheme is secure if there is a certificate, except where metrics alone are served.
    pub(super) fn listen_clients(&self, has_tls: bool) -> Result<Vec<Listen>, ConfigError> {
        let http = self.listens("listen-http", has_tls, has_tls, Serves::Http)?;
        let clients = if http.is_empty() { Serves::All } else { Serves::Grpc };
        let mut all = self.listens("listen-client", has_tls, has_tls, clients)?;
        all.extend(http);
        all.extend(self.listens("listen-metrics", has_tls, false, Serves::Metrics)?);
        Ok(all)
    }

    fn listens(
        &self,
        key: &'static str,
        has_tls: bool,
        secure_by_default: bool,
        serves: Serves,
    ) -> Result<Vec<Listen>, ConfigError> {
        let listen = |url: String| {
            let secure = url.starts_with("https://") || secure_by_default && !url.starts_with("http://");
            if secure && !has_tls {
                let mend = "set client-tls-certificate and client-tls-key, or write http://";
                return Err(self.refuse(key, "TLS takes a certificate", mend));
            }
            let address = host_and_port(&url).map_err(|(wrong, mend)| self.refuse(key, wrong, &mend))?;
            Ok(Listen { key, address, secure, serves })
        };
        self.list(key).into_iter().map(listen).collect()
    }

    /// Where clients reach this member: as given, or where it listens, which must then be somewhere.
    pub(super) fn advertise_clients(&self, listen: &[Listen]) -> Result<Vec<String>, ConfigError> {
        let key = "advertise-client";
        let grpc = || listen.iter().filter(|at| matches!(at.serves, Serves::All | Serves::Grpc));
        let Some(first) = grpc().next() else { return Ok(Vec::new()) };
        let scheme = |secure: bool| if secure { "https" } else { "http" };
        let given = self.list(key);
        if given.is_empty() {
            let own = |at: &Listen| self.advertised(key, ("listen-client", &at.address), scheme(at.secure));
            return grpc().map(own).collect();
        }
        let advertised = |url: String| {
            let scheme = if url.contains("://") { url.starts_with("https://") } else { first.secure };
            let address = host_and_port(&url).map_err(|(wrong, mend)| self.refuse(key, wrong, &mend))?;
            Ok(format!("{}://{address}", if scheme { "https" } else { "http" }))
        };
        given.into_iter().map(advertised).collect()
    }

    /// Marks those members that begin as learners.
    pub(super) fn mark_learners(
        &self,
        key: &'static str,
        members: &mut [FirstMember],
    ) -> Result<(), ConfigError> {
        for name in self.text(key).split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(member) = members.iter_mut().find(|member| member.name == name) else {
                return Err(self.refuse(
                    key,
                    &format!("initial-cluster does not name {name:?}"),
                    "take names of initial-cluster",
                ));
            };
            member.learner = true;
        }
        Ok(())
    }
}

/// The scheme that an address has, if it has one.
fn scheme_of(url: &str) -> Option<&'static str> {
    let scheme = url.trim().split_once("://")?.0;
    Some(if scheme == "https" { "https" } else { "http" })
}

/// `host:port`, the scheme dropped; or what is wrong and how to mend it.
pub(crate) fn host_and_port(value: &str) -> Result<String, (&'static str, String)> {
    let example = || "write HOST:PORT, such as 127.0.0.1:2379".to_string();
    let value = value.trim();
    let rest = match value.split_once("://") {
        Some(("http" | "https", rest)) => rest.trim_end_matches('/'),
        Some(_) => return Err(("the scheme is neither http nor https", example())),
        None => value,
    };
    let Some((host, port)) = rest.rsplit_once(':') else {
        if rest.parse::<u16>().is_ok() {
            return Err(("the host is missing", format!("write HOST:PORT, such as 127.0.0.1:{rest}")));
        }
        let mend = if rest.is_empty() { example() } else { format!("write HOST:PORT, such as {rest}:2379") };
        return Err(("the port is missing", mend));
    };
    if host.is_empty() || host.contains(['/', ' ', '@']) || (host.contains(':') && !host.starts_with('[')) {
        return Err(("this is no host", example()));
    }
    if port.parse::<u16>().is_err() {
        return Err(("the port is no number from 0 to 65535", example()));
    }
    Ok(rest.to_string())
}

/// A time as Go writes it, `1h10m`, `500ms`, in milliseconds; a bare number is nanoseconds, as the file has it.
pub(crate) fn go_milliseconds(text: &str) -> Option<u64> {
    if let Ok(nanoseconds) = text.parse::<u64>() {
        return Some(nanoseconds / 1_000_000);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let unit = &after[..after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len())];
        let each = match unit {
            "ns" => 1e-6,
            "us" | "µs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3_600e3,
            _ => return None,
        };
        total += number * each;
        rest = &after[unit.len()..];
    }
    (0.0..1e15).contains(&total).then_some(total as u64)
}

//! What `serve` is told: one table of keys, from which the flags, the environment, the file, the checks and `--print-config` follow.
//!
//! A flag goes before the environment, the environment before the file, the file before the default.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// The environment variable that names the file, beside `--config`.
pub(crate) const FILE_VARIABLE: &str = "QUORATE_CONFIG";

/// What a value is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Any text that is not empty.
    Text,
    /// A path.
    Path,
    /// `host:port`, with or without `http://`.
    Address,
    /// `name=http://host:port,…`.
    Members,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `150ms`, `2s`, or a number of milliseconds; the least and the most, in milliseconds.
    Milliseconds(u64, u64),
    /// `64MiB`, or a number of bytes; the least.
    Bytes(u64),
    /// A whole number; the least and the most.
    Count(u64, u64),
    /// On or off.
    Switch,
    /// A list of `http://host:port`, separated by commas.
    Addresses,
}

/// One key.
#[derive(Debug)]
struct Key {
    name: &'static str,
    kind: Kind,
    /// Empty: none, or derived from other keys.
    default: &'static str,
    metavar: &'static str,
    hidden: bool,
    help: &'static str,
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    metavar: &'static str,
    help: &'static str,
) -> Key {
    Key { name, kind, default, metavar, hidden: false, help }
}

const fn hidden(key: Key) -> Key {
    Key { hidden: true, ..key }
}

/// Every key, in the order in which help and `--print-config` show them.
const KEYS: &[Key] = &[
    key("name", Kind::Text, "default", "NAME", "The member's name, for people and for initial-cluster"),
    key("data-dir", Kind::Path, "", "DIR", "Where everything durable lives [default: NAME.quorate]"),
    key("listen-client", Kind::Address, "127.0.0.1:2379", "HOST:PORT", "Where etcd clients are served"),
    key(
        "advertise-client",
        Kind::Address,
        "",
        "URL",
        "Where clients reach this member [default: listen-client]",
    ),
    key("listen-peer", Kind::Address, "127.0.0.1:2380", "HOST:PORT", "Where the other members are heard"),
    key(
        "advertise-peer",
        Kind::Address,
        "",
        "URL",
        "Where the other members reach this one [default: listen-peer]",
    ),
    key(
        "initial-cluster",
        Kind::Members,
        "",
        "NAME=URL,…",
        "All first members and their peer addresses, the same on each [default: this member alone]",
    ),
    key(
        "initial-cluster-state",
        Kind::Word(&["new", "existing"]),
        "new",
        "new|existing",
        "Found a cluster, or join one that has added this member",
    ),
    key(
        "initial-cluster-token",
        Kind::Text,
        "quorate-cluster",
        "TEXT",
        "Sets clusters apart that have the same addresses; the same on each member",
    ),
    key(
        "join",
        Kind::Addresses,
        "",
        "URL,…",
        "Client addresses of the cluster to join; only with state `existing`",
    ),
    key(
        "heartbeat-interval",
        Kind::Milliseconds(1, 25_000),
        "50ms",
        "TIME",
        "How often a leader is heard when there is nothing to say",
    ),
    key(
        "election-timeout-min",
        Kind::Milliseconds(10, 50_000),
        "150ms",
        "TIME",
        "An election begins after so long without a leader, at the earliest",
    ),
    key("election-timeout-max", Kind::Milliseconds(10, 50_000), "300ms", "TIME", "… and at the latest"),
    key(
        "lease-reads",
        Kind::Switch,
        "false",
        "BOOL",
        "Linearizable reads trust the leader's lease instead of asking a quorum",
    ),
    key(
        "clock-error-max",
        Kind::Milliseconds(0, 60_000),
        "25ms",
        "TIME",
        "By how much two members' clocks may differ over one election timeout; lease reads rest on it",
    ),
    key(
        "snapshot-bytes",
        Kind::Bytes(1 << 20),
        "64MiB",
        "BYTES",
        "A snapshot is due after so much log, or as much as the state if that is more",
    ),
    key(
        "quota-bytes",
        Kind::Bytes(0),
        "2GiB",
        "BYTES",
        "The most the keys may take, then writes are refused; 0: no limit. The leader's counts",
    ),
    key("max-request-bytes", Kind::Bytes(1024), "1536KiB", "BYTES", "The longest request"),
    key(
        "max-txn-ops",
        Kind::Count(1, 65_536),
        "128",
        "COUNT",
        "The most operations in a branch of a transaction",
    ),
    key(
        "max-waiting",
        Kind::Count(1, 10_000_000),
        "100000",
        "COUNT",
        "The most requests that may wait for their answer on this member",
    ),
    key("worker-threads", Kind::Count(1, 1024), "2", "COUNT", "Threads for connections"),
    key(
        "log-level",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "LEVEL",
        "What is logged: error, warn, info (changes of role), debug, trace",
    ),
    key("log-format", Kind::Word(&["text", "json"]), "text", "text|json", "How it is written, one line each"),
    hidden(key("unsafe-no-sync", Kind::Switch, "false", "BOOL", "Never sync files: a power cut loses data")),
];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

/// Why a configuration is refused; `Display` is one line that names the key, the value and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Two nodes of a cluster's beginning: a name and a peer address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstMember {
    pub(crate) name: String,
    pub(crate) url: String,
}

/// The effective configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) listen_client: String,
    pub(crate) advertise_client: String,
    pub(crate) listen_peer: String,
    pub(crate) advertise_peer: String,
    pub(crate) initial_cluster: Vec<FirstMember>,
    pub(crate) existing: bool,
    pub(crate) token: String,
    pub(crate) join: Vec<String>,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) election_timeout_min: Duration,
    pub(crate) election_timeout_max: Duration,
    pub(crate) lease_reads: bool,
    pub(crate) clock_error_max: Duration,
    pub(crate) snapshot_bytes: u64,
    pub(crate) quota_bytes: u64,
    pub(crate) request_bytes_max: usize,
    pub(crate) txn_ops_max: usize,
    pub(crate) waiting_max: usize,
    pub(crate) worker_threads: usize,
    pub(crate) log_level: String,
    pub(crate) log_json: bool,
    pub(crate) no_sync: bool,
}

/// The flags of `serve` as they were given; the rest of the sources is added by [`Given::resolve`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    flags: BTreeMap<&'static str, String>,
    /// `--config`.
    file: Option<PathBuf>,
    /// `--print-config`.
    pub(crate) print: bool,
    /// Hidden: end when this process ends.
    pub(crate) parent: Option<u32>,
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        let mut command = command
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .help(format!("A TOML file with any of these keys [env: {FILE_VARIABLE}]")),
            )
            .arg(
                Arg::new("print-config")
                    .long("print-config")
                    .action(ArgAction::SetTrue)
                    .help("Print what would be in effect, and where each value comes from; then end"),
            )
            .arg(Arg::new("parent").long("parent").hide(true).value_parser(clap::value_parser!(u32)));
        for key in KEYS {
            let help = if key.default.is_empty() {
                key.help.to_string()
            } else {
                format!("{} [default: {}]", key.help, key.default)
            };
            let mut arg =
                Arg::new(key.name).long(key.name).value_name(key.metavar).help(help).hide(key.hidden);
            if matches!(key.kind, Kind::Switch) {
                arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            }
            command = command.arg(arg);
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Given::default();
        for key in KEYS {
            if let Some(value) = matches.get_one::<String>(key.name) {
                given.flags.insert(key.name, value.clone());
            }
        }
        given.file = matches.get_one::<String>("config").map(PathBuf::from);
        given.print = matches.get_flag("print-config");
        given.parent = matches.get_one::<u32>("parent").copied();
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The variable that says the same as a key.
fn variable(key: &str) -> String {
    format!("QUORATE_{}", key.to_uppercase().replace('-', "_"))
}

/// Every key with what it is set to, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Sources(BTreeMap<&'static str, (String, Origin)>);

impl Given {
    /// Puts flags, environment, file and defaults together.
    pub(crate) fn resolve(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Sources, ConfigError> {
        let path = self.file.clone().or_else(|| environment(FILE_VARIABLE).map(PathBuf::from));
        let mut file = match &path {
            Some(path) => read_file(path)?,
            None => BTreeMap::new(),
        };
        let mut all = BTreeMap::new();
        for key in KEYS {
            let found = if let Some(value) = self.flags.get(key.name) {
                (value.clone(), Origin::Flag)
            } else if let Some(value) = environment(&variable(key.name)) {
                (value, Origin::Environment)
            } else if let (Some(value), Some(path)) = (file.remove(key.name), &path) {
                (value, Origin::File(path.clone()))
            } else {
                (key.default.to_string(), Origin::Default)
            };
            all.insert(key.name, found);
        }
        Ok(Sources(all))
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<&'static str, String>, ConfigError> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        ConfigError(format!(
            "config = {shown}: cannot be read: {error}; name a TOML file that this user may read"
        ))
    })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        ConfigError(format!(
            "{shown}, line {line}: this is not TOML: {}; lines look like: name = \"n1\"",
            error.message().replace('\n', " ")
        ))
    })?;
    let mut values = BTreeMap::new();
    for (name, value) in table {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(ConfigError(format!("{shown}: unknown key {name:?}; {}", suggestion(&name))));
        };
        values.insert(
            key.name,
            as_text(value).ok_or_else(|| {
                ConfigError(format!(
                    "{shown}: {name}: a table stands where one value belongs; write {name} = \"…\""
                ))
            })?,
        );
    }
    Ok(values)
}

/// A number, a word, or a list of words.
fn as_text(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(on.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            items.into_iter().map(as_text).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// What someone who wrote `name` may have meant.
fn suggestion(name: &str) -> String {
    let wanted = name.to_lowercase().replace('_', "-");
    let mut best: Option<(usize, &str)> = None;
    for key in KEYS.iter().filter(|key| !key.hidden) {
        // etcd says `listen-client-urls` where we say `listen-client`.
        let distance = if wanted.starts_with(key.name) { 1 } else { edits(&wanted, key.name) };
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, key.name));
        }
    }
    match best {
        Some((distance, near)) if distance <= near.len().max(4) / 2 => format!("did you mean {near:?}?"),
        _ => "`quorate serve --help` lists all keys".to_string(),
    }
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let next = (diagonal + usize::from(from != *to)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

impl Sources {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", |(value, _)| value)
    }

    /// One line: key, value, where it stands, what is wrong, what to do.
    fn refuse(&self, key: &str, wrong: &str, mend: &str) -> ConfigError {
        let (value, origin) = &self.0[key];
        let place = match origin {
            Origin::Flag => format!("--{key}"),
            Origin::Environment => variable(key),
            Origin::File(path) => path.display().to_string(),
            Origin::Default => "default".to_string(),
        };
        ConfigError(format!("{key} = {value:?} ({place}): {wrong}; {mend}"))
    }

    fn number(
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

    fn milliseconds(&self, key: &'static str) -> Result<Duration, ConfigError> {
        let (least, most) = match kind(key) {
            Kind::Milliseconds(least, most) => (least, most),
            _ => (0, u64::MAX),
        };
        let units = [("", 1), ("s", 1000), ("ms", 1)];
        self.number(key, &units, least, most).map(Duration::from_millis)
    }

    fn bytes(&self, key: &'static str) -> Result<u64, ConfigError> {
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

    fn count(&self, key: &'static str) -> Result<usize, ConfigError> {
        let (least, most) = match kind(key) {
            Kind::Count(least, most) => (least, most),
            _ => (0, u64::MAX),
        };
        self.number(key, &[("", 1)], least, most).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn switch(&self, key: &'static str) -> Result<bool, ConfigError> {
        match self.text(key) {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" | "" => Ok(false),
            _ => Err(self.refuse(key, "neither on nor off", "write true or false")),
        }
    }

    fn word(&self, key: &'static str) -> Result<String, ConfigError> {
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

    fn filled(&self, key: &'static str) -> Result<String, ConfigError> {
        let value = self.text(key).trim();
        if value.is_empty() {
            return Err(self.refuse(key, "empty", "give it a value or leave the key out"));
        }
        Ok(value.to_string())
    }

    /// `host:port` of an address with or without its scheme.
    fn address(&self, key: &'static str) -> Result<String, ConfigError> {
        host_and_port(self.text(key)).map_err(|(wrong, mend)| self.refuse(key, wrong, &mend))
    }

    /// The address that others use, or, if none is given, the one listened on, which must then be somewhere.
    fn advertised(&self, key: &'static str, listen: (&'static str, &str)) -> Result<String, ConfigError> {
        if !self.text(key).is_empty() {
            return self.address(key).map(|address| format!("http://{address}"));
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
        Ok(format!("http://{listen}"))
    }

    fn members(&self, key: &'static str, name: &str, url: &str) -> Result<Vec<FirstMember>, ConfigError> {
        let value = self.text(key);
        if value.trim().is_empty() {
            return Ok(vec![FirstMember { name: name.to_string(), url: url.to_string() }]);
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
            let member = FirstMember { name: name.trim().to_string(), url: format!("http://{address}") };
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

    /// Checks everything.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        let name = self.filled("name")?;
        let data_dir = match self.text("data-dir") {
            "" => PathBuf::from(format!("{name}.quorate")),
            dir => PathBuf::from(dir),
        };
        let listen_client = self.address("listen-client")?;
        let listen_peer = self.address("listen-peer")?;
        let advertise_client = self.advertised("advertise-client", ("listen-client", &listen_client))?;
        let advertise_peer = self.advertised("advertise-peer", ("listen-peer", &listen_peer))?;
        let existing = self.word("initial-cluster-state")? == "existing";
        let initial_cluster = self.members("initial-cluster", &name, &advertise_peer)?;
        match initial_cluster.iter().find(|member| member.name == name) {
            None if existing => {}
            None => {
                let known: Vec<_> = initial_cluster.iter().map(|member| member.name.as_str()).collect();
                return Err(self.refuse(
                    "name",
                    "initial-cluster does not name this member",
                    &format!(
                        "take one of its names ({}) or add {name}={advertise_peer} to it",
                        known.join(", ")
                    ),
                ));
            }
            Some(member) if member.url != advertise_peer && !existing => {
                return Err(self.refuse(
                    "initial-cluster",
                    &format!("it says {} for {name}, but advertise-peer is {advertise_peer}", member.url),
                    "make both the same",
                ));
            }
            Some(_) => {}
        }
        let join = match self.text("join") {
            "" => Vec::new(),
            list => list
                .split(',')
                .map(|url| host_and_port(url).map_err(|(wrong, mend)| self.refuse("join", wrong, &mend)))
                .collect::<Result<Vec<_>, _>>()?,
        };
        if existing && join.is_empty() {
            return Err(self.refuse(
                "initial-cluster-state",
                "whom to ask about the cluster is not said",
                "add join = \"http://HOST:PORT\", a client address of a member that runs",
            ));
        }
        if !existing && !join.is_empty() {
            return Err(self.refuse(
                "join",
                "only a member that joins asks others",
                "set initial-cluster-state = \"existing\" or leave join out",
            ));
        }
        let heartbeat_interval = self.milliseconds("heartbeat-interval")?;
        let election_timeout_min = self.milliseconds("election-timeout-min")?;
        let election_timeout_max = self.milliseconds("election-timeout-max")?;
        if election_timeout_max <= election_timeout_min {
            return Err(self.refuse(
                "election-timeout-max",
                &format!("not above election-timeout-min, {}ms", election_timeout_min.as_millis()),
                "take twice the least",
            ));
        }
        if heartbeat_interval * 2 > election_timeout_min {
            return Err(self.refuse(
                "heartbeat-interval",
                &format!(
                    "one lost heartbeat would start an election: election-timeout-min is {}ms",
                    election_timeout_min.as_millis()
                ),
                "take at most half, better a third of it",
            ));
        }
        let lease_reads = self.switch("lease-reads")?;
        let clock_error_max = self.milliseconds("clock-error-max")?;
        if lease_reads && clock_error_max * 2 > election_timeout_min {
            return Err(self.refuse(
                "clock-error-max",
                &format!("leaves no lease: election-timeout-min is {}ms", election_timeout_min.as_millis()),
                "take at most half of it, or turn lease-reads off",
            ));
        }
        Ok(Settings {
            name,
            data_dir,
            listen_client,
            advertise_client,
            listen_peer,
            advertise_peer,
            initial_cluster,
            existing,
            token: self.filled("initial-cluster-token")?,
            join,
            heartbeat_interval,
            election_timeout_min,
            election_timeout_max,
            lease_reads,
            clock_error_max,
            snapshot_bytes: self.bytes("snapshot-bytes")?,
            quota_bytes: self.bytes("quota-bytes")?,
            request_bytes_max: usize::try_from(self.bytes("max-request-bytes")?).unwrap_or(usize::MAX),
            txn_ops_max: self.count("max-txn-ops")?,
            waiting_max: self.count("max-waiting")?,
            worker_threads: self.count("worker-threads")?,
            log_level: self.word("log-level")?,
            log_json: self.word("log-format")? == "json",
            no_sync: self.switch("unsafe-no-sync")?,
        })
    }

    /// The effective configuration as a file that says the same, with the origin of each value.
    pub(crate) fn print(&self, settings: &Settings) -> String {
        let lines: Vec<(String, String)> = KEYS
            .iter()
            .filter(|key| !key.hidden || self.0[key.name].1 != Origin::Default)
            .map(|key| {
                let (value, origin) = &self.0[key.name];
                let origin = match origin {
                    Origin::Flag => format!("flag --{}", key.name),
                    Origin::Environment => format!("environment {}", variable(key.name)),
                    Origin::File(path) => format!("file {}", path.display()),
                    Origin::Default if value.is_empty() && key.name != "join" => "derived".to_string(),
                    Origin::Default => "default".to_string(),
                };
                let derived = match (key.name, value.is_empty()) {
                    (_, false) => value.clone(),
                    ("data-dir", _) => settings.data_dir.display().to_string(),
                    ("advertise-client", _) => settings.advertise_client.clone(),
                    ("advertise-peer", _) => settings.advertise_peer.clone(),
                    ("initial-cluster", _) => format!("{}={}", settings.name, settings.advertise_peer),
                    _ => String::new(),
                };
                let plain = match key.kind {
                    Kind::Count(..) => derived.parse::<u64>().is_ok(),
                    Kind::Switch => derived == "true" || derived == "false",
                    _ => false,
                };
                let shown = if plain { derived } else { toml::Value::String(derived).to_string() };
                (format!("{} = {shown}", key.name), origin)
            })
            .collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width < 60).max();
        lines
            .into_iter()
            .map(|(line, origin)| format!("{line:<width$}  # {origin}\n", width = width.unwrap_or(0)))
            .collect()
    }
}

fn kind(name: &str) -> Kind {
    KEYS.iter().find(|key| key.name == name).map_or(Kind::Text, |key| key.kind)
}

/// `host:port`, the scheme dropped; or what is wrong and how to mend it.
pub(crate) fn host_and_port(value: &str) -> Result<String, (&'static str, String)> {
    let example = || "write HOST:PORT, such as 127.0.0.1:2379".to_string();
    let value = value.trim();
    let rest = match value.split_once("://") {
        Some(("http", rest)) => rest.trim_end_matches('/'),
        Some(("https", rest)) => return Err(("TLS is not built yet", format!("write http://{rest}"))),
        Some(_) => return Err(("the scheme is not http", example())),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        given: Given,
    }

    fn resolve(flags: &[&str], environment: &[(&str, &str)]) -> Result<Sources, ConfigError> {
        let serve = Serve::try_parse_from(std::iter::once(&"serve").chain(flags)).expect("the flags parse");
        serve.given.resolve(|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string())
        })
    }

    fn refused(flags: &[&str]) -> String {
        let error = match resolve(flags, &[]) {
            Err(error) => error.to_string(),
            Ok(sources) => sources.settings().expect_err("refused").to_string(),
        };
        assert_eq!(error.lines().count(), 1, "one line: {error}");
        error
    }

    /// A file that goes when the test ends.
    struct Written(PathBuf);

    impl Written {
        fn new(name: &str, text: &str) -> Written {
            let path =
                std::env::temp_dir().join(format!("quorate-config-{}-{name}.toml", std::process::id()));
            fs::write(&path, text).unwrap();
            Written(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_file() {
        let file =
            Written::new("order", "name = 'file'\nmax-txn-ops = 7\nlease-reads = true\nlog-level = 'warn'\n");
        let environment = [("QUORATE_NAME", "environment"), ("QUORATE_LOG_LEVEL", "debug")];
        let sources = resolve(&["--config", file.path(), "--name", "flag"], &environment).unwrap();
        let settings = sources.settings().unwrap();
        assert_eq!(settings.name, "flag");
        assert_eq!(settings.log_level, "debug");
        assert_eq!(settings.txn_ops_max, 7);
        assert!(settings.lease_reads);
        assert_eq!(settings.heartbeat_interval, Duration::from_millis(50));

        let printed = sources.print(&settings);
        let line = |key: &str| printed.lines().find(|line| line.starts_with(&format!("{key} ="))).unwrap();
        assert!(line("name").ends_with("# flag --name"), "{printed}");
        assert!(line("log-level").ends_with("# environment QUORATE_LOG_LEVEL"));
        assert!(line("max-txn-ops").contains("# file "));
        assert!(line("heartbeat-interval").ends_with("# default"));
        assert!(line("data-dir").starts_with("data-dir = \"flag.quorate\""));
        assert!(line("data-dir").ends_with("# derived"));
    }

    #[test]
    fn what_is_printed_says_the_same_when_it_is_read() {
        let sources = resolve(&["--name", "n1", "--quota-bytes=1GiB", "--lease-reads"], &[]).unwrap();
        let printed = sources.print(&sources.settings().unwrap());
        // An empty `join` is as good as none.
        let file = Written::new("again", &printed);
        let again = resolve(&["--config", file.path()], &[]).unwrap();
        assert_eq!(format!("{:?}", again.settings().unwrap()), format!("{:?}", sources.settings().unwrap()));
    }

    #[test]
    fn every_key_has_a_flag_a_variable_and_a_line_in_the_file_that_agree() {
        for key in KEYS {
            let value = match key.kind {
                Kind::Text | Kind::Path => "some",
                Kind::Address => "127.0.0.9:99",
                Kind::Members => "some=http://127.0.0.1:1",
                Kind::Addresses => "http://127.0.0.1:1",
                Kind::Word(words) => words[words.len() - 1],
                Kind::Milliseconds(..) => "123ms",
                Kind::Bytes(..) => "3MiB",
                Kind::Count(..) => "3",
                Kind::Switch => "true",
            };
            let flag = resolve(&[&format!("--{}={value}", key.name)], &[]).unwrap();
            let environment = resolve(&[], &[(variable(key.name).as_str(), value)]).unwrap();
            let file = Written::new(key.name, &format!("{} = {value:?}\n", key.name));
            let file = resolve(&["--config", file.path()], &[]).unwrap();
            for sources in [&flag, &environment, &file] {
                assert_eq!(sources.text(key.name), value);
            }
        }
    }

    #[test]
    fn an_unknown_key_is_named_and_the_nearest_suggested() {
        for (written, meant) in
            [("listen_client", "listen-client"), ("listen-client-urls", "listen-client"), ("nmae", "name")]
        {
            let file = Written::new(written, &format!("{written} = 'x'\n"));
            let error = refused(&["--config", file.path()]);
            assert!(error.contains(&format!("{written:?}")), "{error}");
            assert!(error.contains(&format!("did you mean {meant:?}?")), "{error}");
        }
        let file = Written::new("far", "wholly-different-thing-altogether = 1\n");
        assert!(refused(&["--config", file.path()]).contains("--help"));
        let file = Written::new("broken", "name = \n\n");
        assert!(refused(&["--config", file.path()]).contains("line 1"));
        assert!(refused(&["--config", "/nowhere/at/all.toml"]).contains("/nowhere/at/all.toml"));
    }

    #[test]
    fn a_bad_value_is_answered_with_key_value_and_mend() {
        for (flags, parts) in [
            (vec!["--listen-client=2379"], ["listen-client", "\"2379\"", "write"]),
            (vec!["--listen-client=https://h:1"], ["listen-client", "TLS", "write http://h:1"]),
            (vec!["--listen-peer=0.0.0.0:2380"], ["listen-peer", "0.0.0.0:2380", "add advertise-peer"]),
            (vec!["--listen-peer=h:99999"], ["listen-peer", "h:99999", "HOST:PORT"]),
            (vec!["--heartbeat-interval=soon"], ["heartbeat-interval", "\"soon\"", "100ms"]),
            (vec!["--heartbeat-interval=100"], ["heartbeat-interval", "\"100\"", "at most half"]),
            (vec!["--election-timeout-max=100ms"], ["election-timeout-max", "100ms", "twice"]),
            (vec!["--max-txn-ops=0"], ["max-txn-ops", "\"0\"", "from 1 to"]),
            (vec!["--snapshot-bytes=12XB"], ["snapshot-bytes", "12XB", "MiB"]),
            (vec!["--log-level=loud"], ["log-level", "loud", "error, warn"]),
            (vec!["--lease-reads=perhaps"], ["lease-reads", "perhaps", "true or false"]),
            (vec!["--initial-cluster=http://h:1"], ["initial-cluster", "no name", "NAME=http"]),
            (vec!["--initial-cluster=a=http://h:1"], ["name", "\"default\"", "a"]),
            (vec!["--name=a", "--initial-cluster=a=http://h:1"], ["initial-cluster", "http://h:1", "same"]),
            (vec!["--initial-cluster-state=existing"], ["initial-cluster-state", "existing", "add join"]),
            (vec!["--join=http://h:1"], ["join", "h:1", "existing"]),
            (vec!["--name="], ["name", "empty", "leave"]),
        ] {
            let error = refused(&flags);
            for part in parts {
                assert!(error.contains(part), "{flags:?}: {part:?} is missing in: {error}");
            }
        }
    }

    #[test]
    fn units_are_read() {
        let flags = ["--quota-bytes=8GiB", "--election-timeout-max=2s", "--max-request-bytes=2048"];
        let settings = resolve(&flags, &[]).unwrap().settings().unwrap();
        assert_eq!(settings.quota_bytes, 8 << 30);
        assert_eq!(settings.election_timeout_max, Duration::from_secs(2));
        assert_eq!(settings.request_bytes_max, 2048);
    }
}

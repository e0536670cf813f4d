//! Where values come from: flags, environment, file, defaults.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::{
    ConfigError,
    keys::{KEYS, Kind, variable},
};

/// The environment variable that names the file, beside `--config`.
const FILE_VARIABLE: &str = "QUORATE_CONFIG";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    File(PathBuf),
    /// A ZooKeeper configuration, in its own words.
    ZooKeeper(String),
    Default,
}

/// Values that hold where neither flag nor environment nor file says otherwise, each with who says so.
pub(crate) type Below = BTreeMap<&'static str, (String, String)>;

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

/// Every key with what it is set to, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Sources(pub(super) BTreeMap<&'static str, (String, Origin)>);

impl Given {
    /// Puts flags, environment, file, what is below them, and defaults together.
    pub(crate) fn resolve(
        &self,
        below: &Below,
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
            } else if let Some((value, said)) = below.get(key.name) {
                (value.clone(), Origin::ZooKeeper(said.clone()))
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

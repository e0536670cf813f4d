//! etcd's YAML (or JSON) file: the flags' names, with those of TLS in two tables.

use yaml_rust2::{Yaml, YamlLoader};

use super::{EtcdFlagsError, Set, names::flag};

/// The tables, and what their names begin with as flags.
const TABLES: [(&str, &str); 2] = [("client-transport-security", ""), ("peer-transport-security", "peer-")];

/// Reads a file's text.
pub(super) fn read(text: &str, path: &str, notes: &mut Vec<String>) -> Result<Set, EtcdFlagsError> {
    let wrong = |why: &dyn std::fmt::Display| {
        EtcdFlagsError(format!("--config-file {path}: {why}; lines look like: name: node1"))
    };
    let documents = YamlLoader::load_from_str(text).map_err(|error| wrong(&error))?;
    let mut set = Set::new();
    match documents.into_iter().next() {
        None | Some(Yaml::Null) => {}
        Some(Yaml::Hash(table)) => add(&table, "", path, notes, &mut set),
        Some(_) => return Err(wrong(&"it is no table of names and values")),
    }
    Ok(set)
}

fn add(table: &yaml_rust2::yaml::Hash, before: &str, path: &str, notes: &mut Vec<String>, set: &mut Set) {
    for (name, value) in table {
        let Some(name) = name.as_str() else { continue };
        let nested = TABLES.iter().find(|(table, _)| before.is_empty() && *table == name);
        if let (Some((_, begin)), Yaml::Hash(table)) = (nested, value) {
            // Which client's certificate a member shows as one is `client-cert-file` in either table.
            add(table, if begin.is_empty() { "·" } else { begin }, path, notes, set);
            continue;
        }
        let whole = match (before, name.strip_prefix("allowed-")) {
            ("", _) | (_, None) => format!("{}{name}", before.trim_start_matches('·')),
            ("peer-", Some(what)) => format!("peer-cert-allowed-{what}"),
            (_, Some(what)) => format!("client-cert-allowed-{what}"),
        };
        match (flag(&whole), as_text(value)) {
            (Some(flag), Some(value)) => {
                set.insert(flag.name, (value, format!("{whole} in {path}")));
            }
            (Some(_), None) => {}
            (None, _) => notes.push(format!("{whole} in {path} is ignored: etcd has no flag of this name")),
        }
    }
}

fn as_text(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(on) => Some(on.to_string()),
        Yaml::Array(items) => {
            items.iter().map(as_text).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        Yaml::Hash(_) | Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => None,
    }
}

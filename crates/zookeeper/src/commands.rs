//! What the admin page's commands answer: ZooKeeper's keys, in JSON.

use std::collections::BTreeMap;

use quorate_service::{znodes::SessionId, zookeeper::Standing};
use serde_json::{Map, Value, json};

use crate::{Facts, Mode, Options, client::Client, dump, mntr, words::Server};

/// A command of the admin page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Configuration,
    ConnectionStatReset,
    Connections,
    Dirs,
    Dump,
    Environment,
    IsReadOnly,
    Leader,
    Monitor,
    Observers,
    Ruok,
    ServerStats,
    StatReset,
    Stats,
    WatchSummary,
    Watches,
    WatchesByPath,
    ZabState,
}

impl Command {
    pub(crate) const ALL: [Command; 18] = [
        Command::Configuration,
        Command::ConnectionStatReset,
        Command::Connections,
        Command::Dirs,
        Command::Dump,
        Command::Environment,
        Command::IsReadOnly,
        Command::Leader,
        Command::Monitor,
        Command::Observers,
        Command::Ruok,
        Command::ServerStats,
        Command::StatReset,
        Command::Stats,
        Command::WatchSummary,
        Command::Watches,
        Command::WatchesByPath,
        Command::ZabState,
    ];

    /// Its name, and the others that it goes by.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Command::Configuration => &["configuration", "conf", "config"],
            Command::ConnectionStatReset => &["connection_stat_reset", "crst"],
            Command::Connections => &["connections", "cons"],
            Command::Dirs => &["dirs"],
            Command::Dump => &["dump"],
            Command::Environment => &["environment", "env", "envi"],
            Command::IsReadOnly => &["is_read_only", "isro"],
            Command::Leader => &["leader", "lead"],
            Command::Monitor => &["monitor", "mntr"],
            Command::Observers => &["observers", "obsr"],
            Command::Ruok => &["ruok"],
            Command::ServerStats => &["server_stats", "srvr"],
            Command::StatReset => &["stat_reset", "srst"],
            Command::Stats => &["stats", "stat"],
            Command::WatchSummary => &["watch_summary", "wchs"],
            Command::Watches => &["watches", "wchc"],
            Command::WatchesByPath => &["watches_by_path", "wchp"],
            Command::ZabState => &["zabstate"],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.names()[0]
    }

    pub(crate) fn from_name(name: &str) -> Option<Command> {
        Command::ALL.into_iter().find(|command| command.names().contains(&name))
    }
}

/// The answer, with the command's name and `error`, which is null.
pub(crate) fn answer(command: Command, server: &Server<'_>) -> String {
    let mut all = Map::new();
    all.insert("command".into(), command.name().into());
    all.insert("error".into(), Value::Null);
    if let Value::Object(said) = body(command, server) {
        all.extend(said);
    }
    Value::Object(all).to_string() + "\n"
}

fn body(command: Command, server: &Server<'_>) -> Value {
    let Server { facts, hub, .. } = server;
    match command {
        Command::Configuration => configuration(server),
        // What they do the driver has done.
        Command::ConnectionStatReset | Command::StatReset | Command::Ruok => json!({}),
        Command::Connections => json!({ "connections": connections(server), "secure_connections": [] }),
        Command::Dirs => json!({ "datadir_size": facts.snapshot_bytes, "logdir_size": facts.log_bytes }),
        Command::Dump => dumped(server),
        Command::Environment => json!({
            "zookeeper.version": server.options.version,
            "os.name": std::env::consts::OS,
            "os.arch": std::env::consts::ARCH,
            "process.id": std::process::id(),
        }),
        Command::IsReadOnly => json!({ "read_only": hub.standing() == Standing::ReadOnly }),
        Command::Leader => json!({ "is_leader": matches!(facts.mode, Mode::Leader | Mode::Standalone) }),
        Command::Monitor => {
            mntr::figures(server).into_iter().map(|(key, value)| (key.to_owned(), number(value))).collect()
        }
        Command::Observers => json!({ "synced_observers": facts.synced_observers }),
        Command::ServerStats => server_stats(server),
        Command::Stats => {
            let mut all = server_stats(server);
            all["connections"] = connections(server);
            all["secure_connections"] = json!([]);
            all
        }
        Command::WatchSummary => {
            let dump::WatchesSummary { connections, paths, total } = dump::count_watches(server);
            json!({ "num_connections": connections, "num_paths": paths, "num_total_watches": total })
        }
        Command::Watches => {
            let watches = dump::sessions_that_watch(server).into_iter();
            let watches: Map<_, _> =
                watches.map(|(session, paths)| (session.to_string(), json!(paths))).collect();
            json!({ "session_id_to_watched_paths": watches })
        }
        Command::WatchesByPath => {
            let paths = hub.watches().by_path().map(|(path, watchers)| {
                let sessions: Vec<String> = watchers
                    .filter_map(|connection| dump::session(server, connection))
                    .map(|session| session.to_string())
                    .collect();
                (path.to_owned(), json!(sessions))
            });
            json!({ "path_to_session_ids": paths.collect::<Map<_, _>>() })
        }
        Command::ZabState => {
            let state = match hub.standing() {
                Standing::Isolated => "election",
                Standing::ReadOnly | Standing::Serving => "broadcast",
            };
            json!({ "voting": facts.mode != Mode::Observer, "zabstate": state })
        }
    }
}

/// A figure that is a number as one, anything else as text.
fn number(figure: String) -> Value {
    figure
        .parse::<u64>()
        .map(Value::from)
        .or_else(|_| figure.parse::<f64>().map(Value::from))
        .unwrap_or(Value::String(figure))
}

fn configuration(server: &Server<'_>) -> Value {
    let Facts { data_directory, snapshot_bytes, log_bytes, .. } = server.facts;
    let Options { server_id, tick, settings, tuning, .. } = server.options;
    json!({
        "client_port": server.client_port,
        "data_dir": data_directory,
        "data_dir_size": snapshot_bytes,
        "data_log_dir": data_directory,
        "data_log_size": log_bytes,
        "tick_time": tick.as_millis() as u64,
        "max_client_cnxns": tuning.connections_per_address_max,
        "min_session_timeout": settings.timeout_ms_min,
        "max_session_timeout": settings.timeout_ms_max,
        "server_id": server_id,
    })
}

fn server_stats(server: &Server<'_>) -> Value {
    let stats = server.stats;
    json!({
        "version": server.options.version,
        "read_only": server.hub.standing() == Standing::ReadOnly,
        "server_stats": {
            "packets_sent": stats.sent,
            "packets_received": stats.received,
            "max_latency": stats.max_ms(),
            "min_latency": stats.min_ms(),
            "avg_latency": stats.average_ms(),
            "server_state": server.mode(),
            "outstanding_requests": server.outstanding(),
            "num_alive_client_connections": server.clients.len(),
            "last_processed_zxid": server.hub.zxid(),
            "data_dir_size": server.facts.snapshot_bytes,
            "log_dir_size": server.facts.log_bytes,
        },
        "node_count": server.znode_count(),
    })
}

fn connections(server: &Server<'_>) -> Value {
    let mut clients: Vec<_> = server.clients.iter().collect();
    clients.sort_unstable_by_key(|(id, _)| **id);
    clients.into_iter().map(|(_, client)| connection(server, client)).collect()
}

fn connection(server: &Server<'_>, client: &Client) -> Value {
    let stats = &client.stats;
    let mut all = json!({
        "remote_socket_address": client.socket.peer.to_string(),
        "outstanding_requests": client.queued(),
        "packets_received": stats.received,
        "packets_sent": stats.sent,
        "last_latency": stats.last_ms(),
        "min_latency": stats.min_ms(),
        "avg_latency": stats.average_ms() as u64,
        "max_latency": stats.max_ms(),
    });
    if let Some(session) = client.session() {
        all["session_id"] = json!(session.to_string());
        all["session_timeout"] =
            json!(server.hub.view().session(session).map_or(0, |known| known.timeout_ms));
    }
    all
}

/// Sessions by their timeout, and their ephemerals.
fn dumped(server: &Server<'_>) -> Value {
    let view = server.hub.view();
    let mut ephemerals: BTreeMap<SessionId, Vec<&str>> = BTreeMap::new();
    for (session, path) in view.ephemerals() {
        ephemerals.entry(session).or_default().push(path);
    }
    let sessions: Map<_, _> =
        view.sessions().map(|session| (session.id.to_string(), json!(session.timeout_ms))).collect();
    let ephemerals: Map<_, _> =
        ephemerals.into_iter().map(|(session, paths)| (session.to_string(), json!(paths))).collect();
    json!({ "session_id_to_timeout_ms": sessions, "session_id_to_ephemeral_paths": ephemerals })
}

/// What Prometheus reads: the figures that are numbers, under ZooKeeper's names.
pub(crate) fn metrics(server: &Server<'_>) -> String {
    let numbers = mntr::figures(server).into_iter().filter(|(_, value)| value.parse::<f64>().is_ok());
    // What only grows is a counter, until it is reset by hand.
    let kind =
        |key: &str| if matches!(key, "packets_received" | "packets_sent") { "counter" } else { "gauge" };
    numbers.map(|(key, value)| format!("# TYPE {key} {}\n{key} {value}\n", kind(key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_go_by_their_names_and_their_four_letters() {
        for command in Command::ALL {
            assert!(command.names().iter().all(|name| Command::from_name(name) == Some(command)));
        }
        assert_eq!(Command::from_name("mntr"), Some(Command::Monitor));
        assert_eq!(Command::from_name("shutdown"), None);
    }
}

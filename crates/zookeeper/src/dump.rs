//! `dump` and the words about watches: what there is, by session or by path.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use quorate_service::{znodes::SessionId, zookeeper::ConnectionId};

use crate::{client::Client, words::Server};

/// `dump`: sessions, and their ephemerals.
pub(crate) fn sessions(server: &Server<'_>) -> String {
    let view = server.hub.view();
    let mut text = format!("SessionTracker dump:\nGlobal Sessions({}):\n", view.session_count());
    for session in view.sessions() {
        let _ = writeln!(text, "{}\t{}ms", session.id, session.timeout_ms);
    }
    let mut ephemerals: BTreeMap<SessionId, Vec<&str>> = BTreeMap::new();
    for (session, path) in view.ephemerals() {
        ephemerals.entry(session).or_default().push(path);
    }
    let _ = write!(text, "ephemeral nodes dump:\nSessions with Ephemerals ({}):\n", ephemerals.len());
    for (session, paths) in ephemerals {
        let _ = writeln!(text, "{session}:");
        for path in paths {
            let _ = writeln!(text, "\t{path}");
        }
    }
    text
}

/// How many watch what.
pub(crate) struct WatchesSummary {
    pub(crate) connections: usize,
    pub(crate) paths: usize,
    pub(crate) total: usize,
}

pub(crate) fn count_watches(server: &Server<'_>) -> WatchesSummary {
    let (mut connections, mut paths, mut total) = (BTreeSet::new(), 0, 0);
    for (_, watchers) in server.hub.watches().by_path() {
        paths += 1;
        for connection in watchers {
            total += 1;
            connections.insert(connection);
        }
    }
    WatchesSummary { connections: connections.len(), paths, total }
}

/// `wchs`.
pub(crate) fn watches_summary(server: &Server<'_>) -> String {
    let WatchesSummary { connections, paths, total } = count_watches(server);
    format!("{connections} connections watching {paths} paths\nTotal watches:{total}\n")
}

/// `wchp`.
pub(crate) fn watches_by_path(server: &Server<'_>) -> String {
    let mut text = String::new();
    for (path, watchers) in server.hub.watches().by_path() {
        let _ = writeln!(text, "{path}");
        for session in watchers.filter_map(|connection| session(server, connection)) {
            let _ = writeln!(text, "\t{session}");
        }
    }
    text
}

/// What each session watches.
pub(crate) fn sessions_that_watch<'a>(server: &Server<'a>) -> BTreeMap<SessionId, Vec<&'a str>> {
    let mut sessions: BTreeMap<SessionId, Vec<&str>> = BTreeMap::new();
    for (path, watchers) in server.hub.watches().by_path() {
        for session in watchers.filter_map(|connection| session(server, connection)) {
            sessions.entry(session).or_default().push(path);
        }
    }
    sessions
}

/// `wchc`.
pub(crate) fn watches_by_session(server: &Server<'_>) -> String {
    let mut text = String::new();
    for (session, paths) in sessions_that_watch(server) {
        let _ = writeln!(text, "{session}");
        for path in paths {
            let _ = writeln!(text, "\t{path}");
        }
    }
    text
}

pub(crate) fn session(server: &Server<'_>, connection: ConnectionId) -> Option<SessionId> {
    server.clients.get(&connection).and_then(Client::session)
}

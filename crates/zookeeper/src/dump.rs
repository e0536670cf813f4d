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

/// `wchs`.
pub(crate) fn watches_summary(server: &Server<'_>) -> String {
    let (mut connections, mut paths, mut total) = (BTreeSet::new(), 0, 0);
    for (_, watchers) in server.hub.watches().by_path() {
        paths += 1;
        for connection in watchers {
            total += 1;
            connections.insert(connection);
        }
    }
    format!("{} connections watching {paths} paths\nTotal watches:{total}\n", connections.len())
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

/// `wchc`.
pub(crate) fn watches_by_session(server: &Server<'_>) -> String {
    let mut sessions: BTreeMap<SessionId, Vec<&str>> = BTreeMap::new();
    for (path, watchers) in server.hub.watches().by_path() {
        for session in watchers.filter_map(|connection| session(server, connection)) {
            sessions.entry(session).or_default().push(path);
        }
    }
    let mut text = String::new();
    for (session, paths) in sessions {
        let _ = writeln!(text, "{session}");
        for path in paths {
            let _ = writeln!(text, "\t{path}");
        }
    }
    text
}

fn session(server: &Server<'_>, connection: ConnectionId) -> Option<SessionId> {
    server.clients.get(&connection).and_then(Client::session)
}

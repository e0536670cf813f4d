//! `mntr`: figures for monitoring, a line for each.

use std::{
    fmt::{Display, Write as _},
    fs,
};

use crate::{Mode, words::Server};

pub(crate) fn mntr(server: &Server<'_>) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &dyn Display| {
        let _ = writeln!(text, "zk_{key}\t{value}");
    };
    let (view, stats, facts) = (server.hub.view(), server.stats, server.facts);
    line("version", &server.options.version);
    line("server_state", &server.mode());
    line("avg_latency", &stats.average_text());
    line("max_latency", &stats.max_ms());
    line("min_latency", &stats.min_ms());
    line("packets_received", &stats.received);
    line("packets_sent", &stats.sent);
    line("num_alive_connections", &server.clients.len());
    line("outstanding_requests", &server.outstanding());
    line("znode_count", &server.znode_count());
    line("watch_count", &server.hub.watches().count());
    line("ephemerals_count", &view.ephemeral_count());
    line("approximate_data_size", &view.data_bytes());
    line("global_sessions", &view.session_count());
    line("local_sessions", &0);
    line("last_processed_zxid", &server.hub.zxid());
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        line("open_file_descriptor_count", &open.count());
    }
    if let Some(max) = file_descriptors_max() {
        line("max_file_descriptor_count", &max);
    }
    if facts.mode == Mode::Leader {
        line("quorum_size", &facts.voters);
        line("learners", &facts.learners);
        line("synced_followers", &facts.synced_followers);
        line("synced_non_voting_followers", &0);
        line("synced_observers", &facts.synced_observers);
        line("pending_syncs", &0);
    }
    text
}

/// The soft limit on open files.
fn file_descriptors_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

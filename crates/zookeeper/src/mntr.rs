//! `mntr`: figures for monitoring, a line for each.

use std::{fmt::Display, fs};

use crate::{Mode, words::Server};

pub(crate) fn mntr(server: &Server<'_>) -> String {
    figures(server).into_iter().map(|(key, value)| format!("zk_{key}\t{value}\n")).collect()
}

/// The figures, each under ZooKeeper's name for it.
pub(crate) fn figures(server: &Server<'_>) -> Vec<(&'static str, String)> {
    let mut all = Vec::with_capacity(32);
    let mut figure = |key: &'static str, value: &dyn Display| all.push((key, value.to_string()));
    let (view, stats, facts) = (server.hub.view(), server.stats, server.facts);
    figure("version", &server.options.version);
    figure("server_state", &server.mode());
    figure("avg_latency", &stats.average_text());
    figure("max_latency", &stats.max_ms());
    figure("min_latency", &stats.min_ms());
    figure("packets_received", &stats.received);
    figure("packets_sent", &stats.sent);
    figure("num_alive_connections", &server.clients.len());
    figure("outstanding_requests", &server.outstanding());
    figure("znode_count", &server.znode_count());
    figure("watch_count", &server.hub.watches().count());
    figure("ephemerals_count", &view.ephemeral_count());
    figure("approximate_data_size", &view.data_bytes());
    figure("global_sessions", &view.session_count());
    figure("local_sessions", &0);
    figure("last_processed_zxid", &server.hub.zxid());
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        figure("open_file_descriptor_count", &open.count());
    }
    if let Some(max) = file_descriptors_max() {
        figure("max_file_descriptor_count", &max);
    }
    if facts.mode == Mode::Leader {
        figure("quorum_size", &facts.voters);
        figure("learners", &facts.learners);
        figure("synced_followers", &facts.synced_followers);
        figure("synced_non_voting_followers", &0);
        figure("synced_observers", &facts.synced_observers);
        figure("pending_syncs", &0);
    }
    all
}

/// The soft limit on open files.
fn file_descriptors_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

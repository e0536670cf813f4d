//! `/metrics`: what this member counts, under the names that etcd's dashboards and alerts know. What each means here, and what is left out because it
//! would not be true, is in docs/metrics.md.

mod page;
mod process;

use std::sync::atomic::Ordering;

use quorate_server::{Counters, DURATION_BOUNDS_US, Durations};
use quorate_service::{
    KEYS,
    keyspace::{QUOTA_BYTES_DEFAULT, View},
    node::GroupStatus,
};

use crate::{
    Backend,
    counts::{CODES, Counts},
    front::Serving,
    maintenance::{alarm_name, storage_version},
    web::Probe,
};
use page::{Kind, Page};

/// The finest bucket of etcd's `wal_fsync` histogram; finer ones of ours fall into it.
const FIRST_BUCKET_US: u64 = 1_000;

/// The page. What the node does not answer in time is not on it.
pub(crate) async fn page<B: Backend>(serving: &Serving<B>) -> String {
    let mut page = Page::default();
    let group = serving.backend().status(KEYS).await.ok().flatten();
    standing(&mut page, serving, group.as_ref());
    if let Some(counters) = serving.backend().counters() {
        node(&mut page, serving, counters);
        peers(&mut page, serving, counters, group.as_ref());
    }
    if let Ok(view) = serving.keys(true).await {
        keys(&mut page, &view);
    }
    seen(&mut page, serving);
    calls(&mut page, serving.counts());
    probes(&mut page, serving.counts());
    process::write(&mut page);
    page.text()
}

fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// Who this member is, and how it stands in the group of the keys.
fn standing<B: Backend>(page: &mut Page, serving: &Serving<B>, group: Option<&GroupStatus>) {
    let front = &serving.0.front;
    let (id, storage) = (hex(front.member_id), storage_version(&front.version));
    let mut named = |name, help: &str, label: &str, value: &str| {
        page.family(name, Kind::Gauge, help).sample(&[(label, value)], 1);
    };
    named("etcd_server_id", "This member's id", "server_id", &id);
    named(
        "etcd_server_version",
        "The version of etcd that clients are told",
        "server_version",
        &front.version,
    );
    named("etcd_cluster_version", "The same of the cluster", "cluster_version", &storage);
    let yes = |is: bool| u8::from(is);
    page.gauge("etcd_server_has_leader", "1: a leader is known here", yes(serving.leader_known()));
    page.gauge("etcd_server_is_leader", "1: this member leads", yes(serving.leads()));
    page.gauge("etcd_server_is_learner", "1: this member is a learner", yes(serving.is_learner()));
    page.counter(
        "etcd_server_leader_changes_seen_total",
        "How often somebody began to lead, as seen here",
        serving.leader_changes(),
    );
    if let Some(group) = group {
        page.gauge(
            "etcd_server_proposals_committed_total",
            "Index of the last committed entry of the keys' log known here",
            group.engine.commit.0,
        );
        page.gauge(
            "etcd_server_proposals_applied_total",
            "Index of the last entry of the keys' log applied here",
            group.applied.index.0,
        );
    }
}

/// What the node counts.
fn node<B: Backend>(page: &mut Page, _: &Serving<B>, counters: &Counters) {
    page.gauge(
        "etcd_server_proposals_pending",
        "Commands that wait for their result here, of all groups",
        counters.proposals_pending.get(),
    );
    page.counter(
        "etcd_server_proposals_failed_total",
        "Commands that got none: refused, or out of time",
        counters.proposals_failed.get(),
    );
    page.counter(
        "etcd_server_read_indexes_failed_total",
        "Linearizable reads that failed",
        counters.reads_failed.get(),
    );
    duration(
        page,
        "etcd_disk_wal_fsync_duration_seconds",
        "How long syncs of the log took",
        &counters.journal_sync,
    );
    page.gauge(
        "etcd_disk_wal_write_bytes_total",
        "Bytes written to the log",
        counters.journal_written_bytes.get(),
    );
}

fn duration(page: &mut Page, name: &'static str, help: &str, durations: &Durations) {
    let mut within = 0;
    let buckets = durations.buckets();
    // The buckets are read once, so that the sum of all is the count, whatever is recorded meanwhile.
    let count = buckets.iter().sum();
    let cumulative: Vec<(f64, u64)> = DURATION_BOUNDS_US
        .iter()
        .zip(buckets)
        .filter_map(|(bound, here)| {
            within += here;
            (*bound >= FIRST_BUCKET_US).then_some((*bound as f64 / 1e6, within))
        })
        .collect();
    page.histogram(name, help, cumulative.into_iter(), (count, durations.sum_us() as f64 / 1e6));
}

fn peers<B: Backend>(
    page: &mut Page,
    serving: &Serving<B>,
    counters: &Counters,
    group: Option<&GroupStatus>,
) {
    let own = serving.0.front.member_id;
    let all: Vec<_> = counters.peers.all().into_iter().map(|(id, of)| (hex(id.0), of)).collect();
    let mut each =
        |name, kind, help: &str, label: &str, value: &dyn Fn(&quorate_server::PeerCounters) -> u64| {
            let mut family = page.family(name, kind, help);
            for (id, of) in &all {
                family.sample(&[(label, id)], value(of));
            }
        };
    each("etcd_network_peer_sent_bytes_total", Kind::Counter, "Bytes sent to a member", "To", &|of| {
        of.sent_bytes.get()
    });
    each(
        "etcd_network_peer_received_bytes_total",
        Kind::Counter,
        "Bytes received from a member",
        "From",
        &|of| of.received_bytes.get(),
    );
    each(
        "etcd_network_peer_sent_failures_total",
        Kind::Counter,
        "Frames for a member that were dropped",
        "To",
        &|of| of.sent_failures.get(),
    );
    let own = hex(own);
    let mut family =
        page.family("etcd_network_active_peers", Kind::Gauge, "1: a connection to the member stands");
    for (id, of) in &all {
        family.sample(&[("Local", &own), ("Remote", id)], u8::from(of.connections.get() > 0));
    }
    let mut family = page.family(
        "etcd_network_disconnected_peers_total",
        Kind::Counter,
        "Connections to the member that were lost",
    );
    for (id, of) in &all {
        family.sample(&[("Local", &own), ("Remote", id)], of.connections_lost.get());
    }
    if let Some(group) = group {
        let mut family =
            page.family("etcd_network_known_peers", Kind::Gauge, "1: the member is one of the cluster");
        let members = &group.engine.membership;
        let all = members.voters().iter().chain(members.learners());
        for id in all.filter(|id| id.0 != serving.0.front.member_id) {
            family.sample(&[("Local", &own), ("Remote", &hex(id.0))], 1);
        }
    }
}

/// What the keyspace holds.
fn keys(page: &mut Page, view: &View) {
    let bytes = view.size_bytes();
    page.gauge(
        "etcd_server_quota_backend_bytes",
        "How large the keyspace may become",
        view.quota_bytes().unwrap_or(QUOTA_BYTES_DEFAULT),
    );
    page.gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of all versions that are kept", bytes);
    page.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "The same: what a compaction removes is free at once",
        bytes,
    );
    page.gauge("etcd_debugging_mvcc_keys_total", "Keys that live", view.key_count());
    page.gauge("etcd_debugging_mvcc_current_revision", "The store's revision", view.revision());
    page.gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The revision of the last compaction",
        view.compacted(),
    );
    let mut alarms = page.family("etcd_debugging_server_alarms", Kind::Gauge, "1: the alarm is raised");
    for alarm in view.alarms() {
        alarms.sample(&[("server_id", &hex(alarm.member)), ("alarm_type", alarm_name(alarm.kind))], 1);
    }
}

/// What happened to the keys and to leases, and who watches.
fn seen<B: Backend>(page: &mut Page, serving: &Serving<B>) {
    let applied = serving.0.front.feed.applied();
    page.counter("etcd_mvcc_put_total", "Keys that were put, as applied here", applied.puts.get());
    page.counter("etcd_mvcc_delete_total", "Keys that were deleted, as applied here", applied.deletes.get());
    page.gauge(
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "Bytes of the keys and values that were put, as applied here",
        applied.put_bytes.get(),
    );
    let counts = serving.counts();
    page.counter("etcd_mvcc_range_total", "Ranges that this member read", counts.ranges.get());
    page.counter("etcd_mvcc_txn_total", "Transactions that this member was asked for", counts.txns.get());
    page.counter(
        "etcd_debugging_lease_granted_total",
        "Leases that were granted, as applied here",
        applied.granted.get(),
    );
    page.counter(
        "etcd_debugging_lease_revoked_total",
        "Leases that ended, revoked or expired, as applied here",
        applied.ended.get(),
    );
    page.counter(
        "etcd_debugging_lease_renewed_total",
        "Leases that this member's clients kept alive",
        counts.renewed.get(),
    );
    let (streams, watches) = serving.watching().counted();
    page.gauge("etcd_debugging_mvcc_watch_stream_total", "Streams of watches here", streams);
    page.gauge("etcd_debugging_mvcc_watcher_total", "Watches here", watches);
}

/// Calls of gRPC, the gateway's too.
fn calls(page: &mut Page, counts: &Counts) {
    page.counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes of messages from clients",
        counts.received_bytes.get(),
    );
    page.counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes of messages to clients",
        counts.sent_bytes.get(),
    );
    let mut family = page.family("grpc_server_started_total", Kind::Counter, "Calls that began");
    for method in &counts.methods {
        let (service, name) = method.names();
        let labels = [("grpc_method", name), ("grpc_service", service), ("grpc_type", method.kind)];
        family.sample(&labels, method.started.get());
    }
    let mut family =
        page.family("grpc_server_handled_total", Kind::Counter, "Calls that ended, by their code");
    for method in &counts.methods {
        let (service, name) = method.names();
        for (code, count) in CODES.iter().zip(&method.handled) {
            let labels = [
                ("grpc_code", *code),
                ("grpc_method", name),
                ("grpc_service", service),
                ("grpc_type", method.kind),
            ];
            family.sample(&labels, count.get());
        }
    }
}

fn probes(page: &mut Page, counts: &Counts) {
    page.counter("etcd_server_health_success", "Times that /health said true", counts.health_passed.get());
    page.counter("etcd_server_health_failures", "Times that /health said false", counts.health_failed.get());
    let all = || {
        let of = |probe: Probe| counts.checks(probe).map(move |(check, checked)| (probe, check, checked));
        Probe::ALL.into_iter().flat_map(of)
    };
    let mut family =
        page.family("etcd_server_healthcheck", Kind::Gauge, "1: the check passed the last time it was made");
    for (probe, check, checked) in all() {
        let labels = [("type", probe.name()), ("name", check.name())];
        family.sample(&labels, checked.last.load(Ordering::Relaxed));
    }
    let mut family = page.family("etcd_server_healthchecks_total", Kind::Counter, "Checks that were made");
    for (probe, check, checked) in all() {
        for (status, count) in [("success", &checked.passed), ("error", &checked.failed)] {
            let labels = [("type", probe.name()), ("name", check.name()), ("status", status)];
            family.sample(&labels, count.get());
        }
    }
}

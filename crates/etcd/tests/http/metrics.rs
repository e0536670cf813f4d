use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    base64, call,
    http1::{Http1, get, post},
    support::{Cluster, put},
    url,
};

/// A page as Prometheus reads it: what a sample is called, with its labels as they stand, and its value.
#[derive(Debug)]
struct Page(BTreeMap<String, f64>);

impl Page {
    async fn of(cluster: &Cluster, node: usize) -> Page {
        let answer = get(url(cluster, node), "/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Page::parse(&answer.body)
    }

    /// Whatever the format forbids fails.
    fn parse(text: &str) -> Page {
        let mut samples = BTreeMap::new();
        let (mut helped, mut families) = (BTreeSet::new(), BTreeMap::new());
        let mut family: Option<(&str, &str)> = None;
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a name and words");
                assert!(!words.is_empty() && helped.insert(name), "{line}");
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a kind");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert!(helped.contains(name) && families.insert(name, kind).is_none(), "{line}");
                family = Some((name, kind));
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
            let name = sample.split('{').next().unwrap();
            let (of, kind) = family.expect("a family before its samples");
            let suffix = name.strip_prefix(of).unwrap_or_else(|| panic!("{name} under {of}"));
            match kind {
                "histogram" => assert!(matches!(suffix, "_bucket" | "_sum" | "_count"), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
            let word = |text: &str| {
                !text.is_empty()
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                    && !text.starts_with(|c: char| c.is_ascii_digit())
            };
            assert!(word(name), "{line}");
            if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix("\"}"));
                for label in labels.expect("labels in braces").split("\",") {
                    let (name, value) = label.split_once("=\"").expect("a label");
                    assert!(word(name) && !value.contains(['"', '\\', '\n']), "{line}");
                }
            }
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(sample.to_owned(), value).is_none(), "twice: {sample}");
        }
        let page = Page(samples);
        for (name, _) in families.iter().filter(|(_, kind)| **kind == "histogram") {
            page.check_histogram(name);
        }
        page
    }

    fn check_histogram(&self, name: &str) {
        let bucket = format!("{name}_bucket{{le=\"");
        let buckets = self.0.iter().filter_map(|(sample, count)| {
            let bound = sample.strip_prefix(&bucket)?.strip_suffix("\"}")?;
            Some((bound.replace("+Inf", "inf").parse::<f64>().unwrap(), *count))
        });
        let mut buckets: Vec<(f64, f64)> = buckets.collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
        assert_eq!(buckets.len(), 15, "from 1 ms on, doubled, and the rest");
        assert_eq!((buckets[0].0, buckets[1].0, buckets[13].0), (0.001, 0.002, 8.192));
        assert_eq!(buckets[14].1, self.at(&format!("{name}_count")));
        assert!(self.at(&format!("{name}_sum")) >= 0.0);
    }

    fn at(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("no {sample}"))
    }

    fn call(&self, service: &str, method: &str, kind: &str, code: &str) -> f64 {
        self.at(&format!(
            "grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"{method}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"}}"
        ))
    }
}

/// What etcd's dashboards and alerts ask for, except what docs/metrics.md says is left out.
const OF_DASHBOARDS: [&str; 20] = [
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_pending",
    "etcd_server_proposals_failed_total",
    "etcd_server_quota_backend_bytes",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_peer_sent_failures_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_network_client_grpc_received_bytes_total",
    "grpc_server_handled_total",
    "grpc_server_started_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_find_their_names_on_every_member() {
    let cluster = Cluster::start(3).await;
    let mut leaders = 0.0;
    for node in 0..3 {
        let page = Page::of(&cluster, node).await;
        for name in OF_DASHBOARDS {
            let there = page.0.keys().any(|sample| sample.split('{').next() == Some(name));
            assert!(there, "{name}");
        }
        assert_eq!(page.at("etcd_server_has_leader"), 1.0);
        assert!(page.at("etcd_server_leader_changes_seen_total") >= 1.0);
        assert!(page.at("process_resident_memory_bytes") > 1e6 && page.at("process_open_fds") > 3.0);
        assert_eq!(page.at(&format!("etcd_server_id{{server_id=\"{:x}\"}}", cluster.nodes[node].id.0)), 1.0);
        leaders += page.at("etcd_server_is_leader");
        // Who follows has little to say to another follower.
        let leader = cluster.leader().await;
        for peer in (0..3).filter(|peer| *peer != node && (*peer == leader || node == leader)) {
            let peer = cluster.nodes[peer].id.0;
            assert!(page.at(&format!("etcd_network_peer_sent_bytes_total{{To=\"{peer:x}\"}}")) > 0.0);
            assert!(page.at(&format!("etcd_network_peer_received_bytes_total{{From=\"{peer:x}\"}}")) > 0.0);
        }
    }
    assert_eq!(leaders, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_move_with_what_happens_and_with_nothing_else() {
    let cluster = Cluster::start(1).await;
    let before = Page::of(&cluster, 0).await;
    let client = cluster.client();
    client.put("a", "12345").await.unwrap();
    call(&cluster, 0, "/v3/kv/put", json!({ "key": base64("b"), "value": base64("1") })).await;
    client.get("a").await.unwrap();
    client.delete_prefix("a").await.unwrap();
    cluster.kv(0).put(put("", "")).await.unwrap_err();
    call(&cluster, 0, "/v3/kv/txn", json!({ "success": [{ "request_put": { "key": base64("c") } }] })).await;
    let lease = call(&cluster, 0, "/v3/lease/grant", json!({ "TTL": 60 })).await["ID"].clone();
    call(&cluster, 0, "/v3/lease/keepalive", json!({ "ID": lease })).await;
    call(&cluster, 0, "/v3/lease/revoke", json!({ "ID": lease })).await;
    let create = json!({ "create_request": { "key": base64("w") } }).to_string();
    let mut watch = Http1::post(url(&cluster, 0), "/v3/watch", &create).await;
    watch.line().await;
    assert_eq!(get(url(&cluster, 0), "/livez").await.status, 200);
    assert_eq!(get(url(&cluster, 0), "/health").await.status, 200);

    let after = Page::of(&cluster, 0).await;
    let moved = |sample: &str| after.at(sample) - before.at(sample);
    for (sample, by) in [
        ("etcd_mvcc_put_total", 3.0),
        ("etcd_debugging_mvcc_total_put_size_in_bytes", 6.0 + 2.0 + 1.0),
        ("etcd_mvcc_delete_total", 1.0),
        ("etcd_mvcc_range_total", 1.0),
        ("etcd_mvcc_txn_total", 1.0),
        ("etcd_debugging_mvcc_current_revision", 4.0),
        ("etcd_debugging_mvcc_keys_total", 2.0),
        ("etcd_debugging_lease_granted_total", 1.0),
        ("etcd_debugging_lease_renewed_total", 1.0),
        ("etcd_debugging_lease_revoked_total", 1.0),
        ("etcd_debugging_mvcc_watcher_total", 1.0),
        ("etcd_debugging_mvcc_watch_stream_total", 1.0),
        ("etcd_server_health_success", 1.0),
        ("etcd_server_health_failures", 0.0),
        ("etcd_server_proposals_failed_total", 0.0),
        ("etcd_server_leader_changes_seen_total", 0.0),
        (r#"etcd_server_healthchecks_total{type="livez",name="serializable_read",status="success"}"#, 1.0),
        (r#"etcd_server_healthchecks_total{type="readyz",name="serializable_read",status="success"}"#, 0.0),
    ] {
        assert_eq!(moved(sample), by, "{sample}");
    }
    let handled = |service, method, kind, code| {
        after.call(service, method, kind, code) - before.call(service, method, kind, code)
    };
    assert_eq!(handled("etcdserverpb.KV", "Put", "unary", "OK"), 2.0, "over gRPC and over the gateway");
    assert_eq!(handled("etcdserverpb.KV", "Put", "unary", "InvalidArgument"), 1.0);
    assert_eq!(handled("etcdserverpb.Lease", "LeaseKeepAlive", "bidi_stream", "OK"), 1.0);
    assert_eq!(handled("etcdserverpb.Watch", "Watch", "bidi_stream", "OK"), 0.0, "it goes on");
    let started = r#"grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}"#;
    assert_eq!(moved(started), 1.0);
    assert!(moved("etcd_server_proposals_committed_total") >= 4.0);
    assert!(
        after.at("etcd_server_proposals_applied_total") <= after.at("etcd_server_proposals_committed_total")
    );
    let put_bytes = "etcd_network_client_grpc_received_bytes_total";
    assert!((20.0..500.0).contains(&moved(put_bytes)), "{}", moved(put_bytes));

    drop(watch);
    for _ in 0..500 {
        let page = Page::of(&cluster, 0).await;
        if page.at("etcd_debugging_mvcc_watcher_total") == 0.0 {
            assert_eq!(page.call("etcdserverpb.Watch", "Watch", "bidi_stream", "Canceled"), 1.0);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the watch of a client that went is counted for ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leader_is_seen_and_alarms_show() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let to = (leader + 1) % 3;
    let before = Page::of(&cluster, to).await.at("etcd_server_leader_changes_seen_total");
    let transfer = json!({ "targetID": cluster.nodes[to].id.0.to_string() });
    call(&cluster, leader, "/v3/maintenance/transfer-leadership", transfer).await;
    let mut page = Page::of(&cluster, to).await;
    for _ in 0..500 {
        if page.at("etcd_server_is_leader") == 1.0 {
            break;
        }
        page = Page::of(&cluster, to).await;
    }
    assert!(page.at("etcd_server_leader_changes_seen_total") > before);
    let alarm = json!({ "action": "ACTIVATE", "memberID": "171", "alarm": "NOSPACE" });
    call(&cluster, to, "/v3/maintenance/alarm", alarm).await;
    let raised = r#"etcd_debugging_server_alarms{server_id="ab",alarm_type="NOSPACE"}"#;
    assert_eq!(Page::of(&cluster, to).await.at(raised), 1.0);
    let posted = post(url(&cluster, 0), "/metrics", "").await;
    assert_eq!(posted.status, 405);
}

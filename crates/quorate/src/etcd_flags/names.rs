//! What each of etcd's flags means here.

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is a key of `serve`, with the same values.
    Key(&'static str),
    /// It is looked at together with others, or its values are written otherwise.
    Here,
    /// It has no use here, and nothing is lost with it.
    Unneeded,
    /// It is left out, and somebody may miss it.
    Ignored(&'static str),
    /// It is refused if it asks for anything: to leave it out would be a trap.
    Must(&'static str),
}

use Meaning::{Here, Ignored, Key, Must, Unneeded};

/// A flag of etcd's: its name, whether it stands alone (a switch), what it means, and its default.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) switch: bool,
    pub(super) meaning: Meaning,
    pub(super) default: &'static str,
}

const fn value(name: &'static str, meaning: Meaning, default: &'static str) -> Flag {
    Flag { name, switch: false, meaning, default }
}

const fn switch(name: &'static str, meaning: Meaning, default: &'static str) -> Flag {
    Flag { name, switch: true, meaning, default }
}

const ONE_LOG: &str =
    "the log and the snapshots are under data-dir, and sized by snapshot-bytes of `quorate serve`";
const OWN_CERTIFICATES: &str =
    "certificates are not made here: make one, and name it in cert-file and key-file";
const OWN_PEER_CERTIFICATES: &str = "certificates are not made here: make one, and name it in peer-cert-file, peer-key-file and peer-trusted-ca-file";
const DISCOVERY: &str = "members are not discovered: name them in initial-cluster";
const TLS_CHOICE: &str = "TLS 1.2 and 1.3 are spoken, with the suites that rustls holds safe";
const BACKEND: &str = "there is no second store behind the log";
const TRACING: &str = "traces are not sent anywhere";
const WARNINGS: &str = "slow requests are not warned of";

pub(super) const FLAGS: &[Flag] = &[
    value("name", Key("name"), "default"),
    value("data-dir", Here, ""),
    value("wal-dir", Ignored(ONE_LOG), ""),
    value("listen-client-urls", Key("listen-client"), "http://localhost:2379"),
    value("advertise-client-urls", Key("advertise-client"), "http://localhost:2379"),
    value("listen-client-http-urls", Key("listen-http"), ""),
    value("listen-metrics-urls", Key("listen-metrics"), ""),
    value("listen-peer-urls", Here, "http://localhost:2380"),
    value("initial-advertise-peer-urls", Here, "http://localhost:2380"),
    value("initial-cluster", Key("initial-cluster"), ""),
    value("initial-cluster-state", Key("initial-cluster-state"), "new"),
    value("initial-cluster-token", Key("initial-cluster-token"), "etcd-cluster"),
    value("heartbeat-interval", Key("heartbeat-interval"), "100"),
    value("election-timeout", Here, "1000"),
    switch("initial-election-tick-advance", Unneeded, "true"),
    switch("pre-vote", Unneeded, "true"),
    switch("strict-reconfig-check", Key("strict-reconfiguration"), "true"),
    value("max-learners", Key("max-learners"), "1"),
    value("quota-backend-bytes", Here, "0"),
    value("max-request-bytes", Key("max-request-bytes"), "1572864"),
    value("max-txn-ops", Key("max-txn-ops"), "128"),
    value("auto-compaction-mode", Key("auto-compaction-mode"), "periodic"),
    value("auto-compaction-retention", Key("auto-compaction-retention"), "0"),
    value("watch-progress-notify-interval", Here, "10m"),
    value("cert-file", Key("client-tls-certificate"), ""),
    value("key-file", Key("client-tls-key"), ""),
    value("trusted-ca-file", Key("client-tls-client-ca"), ""),
    value("client-crl-file", Key("client-tls-client-revoked"), ""),
    value("client-cert-allowed-hostname", Key("client-tls-client-names"), ""),
    switch("client-cert-auth", Here, "false"),
    value("client-cert-file", Unneeded, ""),
    value("client-key-file", Unneeded, ""),
    switch("auto-tls", Must(OWN_CERTIFICATES), "false"),
    value("peer-cert-file", Key("peer-tls-certificate"), ""),
    value("peer-key-file", Key("peer-tls-key"), ""),
    value("peer-trusted-ca-file", Key("peer-tls-ca"), ""),
    switch("peer-client-cert-auth", Here, "false"),
    value("peer-client-cert-file", Key("peer-tls-client-certificate"), ""),
    value("peer-client-key-file", Key("peer-tls-client-key"), ""),
    value("peer-crl-file", Key("peer-tls-revoked"), ""),
    value("peer-cert-allowed-cn", Here, ""),
    value("peer-cert-allowed-hostname", Here, ""),
    switch("peer-auto-tls", Must(OWN_PEER_CERTIFICATES), "false"),
    switch("peer-skip-client-san-verification", Unneeded, "false"),
    value("self-signed-cert-validity", Unneeded, "1"),
    value("cipher-suites", Ignored(TLS_CHOICE), ""),
    value("tls-min-version", Ignored(TLS_CHOICE), "TLS1.2"),
    value("tls-max-version", Ignored(TLS_CHOICE), ""),
    value("cors", Ignored("pages of every origin may ask"), "*"),
    value("host-whitelist", Ignored("every Host is answered"), "*"),
    value("log-level", Here, "info"),
    value("log-format", Here, "json"),
    value("log-outputs", Ignored("the log goes to standard error"), "default"),
    value("logger", Unneeded, "zap"),
    switch("enable-log-rotation", Ignored("the log goes to standard error"), "false"),
    value("log-rotation-config-json", Unneeded, ""),
    switch("unsafe-no-fsync", Key("unsafe-no-sync"), "false"),
    switch("force-new-cluster", Key("force-new-cluster"), "false"),
    value("discovery", Must(DISCOVERY), ""),
    value("discovery-srv", Must(DISCOVERY), ""),
    value("discovery-srv-name", Must(DISCOVERY), ""),
    value("discovery-token", Must(DISCOVERY), ""),
    value("discovery-endpoints", Must(DISCOVERY), ""),
    value("snapshot-count", Unneeded, "10000"),
    value("snapshot-catchup-entries", Unneeded, "5000"),
    value("max-snapshots", Unneeded, "5"),
    value("max-wals", Unneeded, "5"),
    switch("memory-mlock", Ignored("memory may be swapped"), "false"),
    value("backend-batch-interval", Ignored(BACKEND), "0"),
    value("backend-batch-limit", Ignored(BACKEND), "0"),
    value("backend-bbolt-freelist-type", Unneeded, "map"),
    value("bootstrap-defrag-threshold-megabytes", Unneeded, "0"),
    value("compaction-batch-limit", Unneeded, "1000"),
    value("compaction-sleep-interval", Unneeded, "10ms"),
    value("corrupt-check-time", Here, "0"),
    value("compact-hash-check-time", Unneeded, "1m"),
    switch("compact-hash-check-enabled", Unneeded, "false"),
    switch("initial-corrupt-check", Unneeded, "false"),
    switch("enable-lease-checkpoint", Unneeded, "false"),
    switch("enable-lease-checkpoint-persist", Unneeded, "false"),
    switch("txn-mode-write-with-shared-buffer", Unneeded, "true"),
    value("downgrade-check-time", Unneeded, "5s"),
    value("feature-gates", Ignored("there are no such gates"), ""),
    value(
        "max-concurrent-streams",
        Ignored("10,000 calls at a time are taken on a connection"),
        "4294967295",
    ),
    value("grpc-keepalive-min-time", Ignored("clients may ping as often as they like"), "5s"),
    value("grpc-keepalive-interval", Ignored("it is 2h"), "2h"),
    value("grpc-keepalive-timeout", Ignored("it is 20s"), "20s"),
    switch("enable-grpc-gateway", Ignored("the JSON gateway is always there"), "true"),
    switch("enable-v2", Ignored("there is no v2"), "false"),
    switch("enable-pprof", Ignored("there is nothing of Go's to profile"), "false"),
    value("metrics", Unneeded, "basic"),
    value("raft-read-timeout", Unneeded, "5s"),
    value("raft-write-timeout", Unneeded, "5s"),
    switch("socket-reuse-port", Ignored("a port is taken by one process"), "false"),
    switch("socket-reuse-address", Ignored("a port is taken by one process"), "false"),
    switch(
        "set-member-localaddr",
        Ignored("the system chooses the address that peers are reached from"),
        "false",
    ),
    switch("stop-grpc-service-on-defrag", Unneeded, "false"),
    value("warning-apply-duration", Ignored(WARNINGS), "100ms"),
    value("warning-unary-request-duration", Ignored(WARNINGS), "300ms"),
    switch("enable-distributed-tracing", Ignored(TRACING), "false"),
    value("distributed-tracing-address", Unneeded, "localhost:4317"),
    value("distributed-tracing-service-name", Unneeded, "etcd"),
    value("distributed-tracing-instance-id", Unneeded, ""),
    value("distributed-tracing-sampling-rate", Unneeded, "0"),
    value("auth-token", Key("auth-token"), "simple"),
    value("auth-token-ttl", Here, "300"),
    value("bcrypt-cost", Key("bcrypt-cost"), "10"),
    value("proxy", Unneeded, "off"),
];

/// The flag of this name; what was `--experimental-…` before etcd 3.6 is the same as without.
pub(super) fn flag(name: &str) -> Option<&'static Flag> {
    let find = |name: &str| FLAGS.iter().find(|flag| flag.name == name);
    find(name).or_else(|| find(name.strip_prefix("experimental-")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_stands_once() {
        for (at, flag) in FLAGS.iter().enumerate() {
            assert!(FLAGS[at + 1..].iter().all(|other| other.name != flag.name), "{}", flag.name);
        }
        assert!(flag("experimental-compaction-batch-limit").is_some());
        assert!(flag("experimental-nothing").is_none());
    }
}

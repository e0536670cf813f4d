//! The table of keys.

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Any text that is not empty.
    Text,
    /// A path.
    Path,
    /// `host:port`, with or without `http://`.
    Address,
    /// `name=http://host:port,…`.
    Members,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `150ms`, `2s`, or a number of milliseconds; the least and the most, in milliseconds.
    Milliseconds(u64, u64),
    /// `64MiB`, or a number of bytes; the least.
    Bytes(u64),
    /// A whole number; the least and the most.
    Count(u64, u64),
    /// On or off.
    Switch,
    /// A list of `http://host:port`, separated by commas.
    Addresses,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Empty: none, or derived from other keys.
    pub(super) default: &'static str,
    pub(super) metavar: &'static str,
    pub(super) hidden: bool,
    pub(super) help: &'static str,
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    metavar: &'static str,
    help: &'static str,
) -> Key {
    Key { name, kind, default, metavar, hidden: false, help }
}

const fn hidden(key: Key) -> Key {
    Key { hidden: true, ..key }
}

/// Every key, in the order in which help and `--print-config` show them.
pub(super) const KEYS: &[Key] = &[
    key("name", Kind::Text, "default", "NAME", "The member's name, for people and for initial-cluster"),
    key("data-dir", Kind::Path, "", "DIR", "Where everything durable lives [default: NAME.quorate]"),
    key(
        "listen-client",
        Kind::Addresses,
        "127.0.0.1:2379",
        "HOST:PORT,…",
        "Where etcd clients are served, and this command's own; https:// or http:// before one says how; empty: nowhere",
    ),
    key(
        "advertise-client",
        Kind::Addresses,
        "",
        "URL,…",
        "Where clients reach this member [default: listen-client]",
    ),
    key(
        "listen-http",
        Kind::Addresses,
        "",
        "HOST:PORT,…",
        "Where etcd's JSON gateway, probes and metrics are served, apart from gRPC, which then has listen-client to itself [default: both at listen-client]",
    ),
    key(
        "listen-metrics",
        Kind::Addresses,
        "",
        "HOST:PORT,…",
        "Where /metrics, /health, /livez and /readyz are served to whoever comes, besides listen-client; in the clear unless https:// stands before it [default: nowhere]",
    ),
    key(
        "listen-zookeeper",
        Kind::Address,
        "",
        "HOST:PORT",
        "Where ZooKeeper clients are served, usually port 2181 [default: nowhere]",
    ),
    key(
        "listen-zookeeper-secure",
        Kind::Address,
        "",
        "HOST:PORT",
        "Where ZooKeeper clients are served through TLS alone (secureClientPort); listen-zookeeper takes both [default: nowhere]",
    ),
    key(
        "listen-zookeeper-admin",
        Kind::Address,
        "",
        "HOST:PORT",
        "Where ZooKeeper's HTTP commands and the figures for Prometheus are, usually port 8080; without credentials, so for operators alone [default: nowhere]",
    ),
    key("listen-peer", Kind::Address, "127.0.0.1:2380", "HOST:PORT", "Where the other members are heard"),
    key(
        "advertise-peer",
        Kind::Address,
        "",
        "URL",
        "Where the other members reach this one [default: listen-peer]",
    ),
    key(
        "initial-cluster",
        Kind::Members,
        "",
        "NAME=URL,…",
        "All first members and their peer addresses, the same on each [default: this member alone]",
    ),
    key(
        "initial-learners",
        Kind::Text,
        "",
        "NAME,…",
        "Which of initial-cluster begin as learners (ZooKeeper's observers), the same on each",
    ),
    key(
        "initial-cluster-state",
        Kind::Word(&["new", "existing"]),
        "new",
        "new|existing",
        "Found a cluster, or join one that has added this member",
    ),
    key(
        "initial-cluster-token",
        Kind::Text,
        "quorate-cluster",
        "TEXT",
        "Sets clusters apart that have the same addresses; the same on each member",
    ),
    key(
        "join",
        Kind::Addresses,
        "",
        "URL,…",
        "Client addresses of the cluster to join; only with state `existing`",
    ),
    key(
        "client-tls-certificate",
        Kind::Path,
        "",
        "FILE",
        "This member's certificate for etcd clients, as PEM; read again when it changes [default: no TLS]",
    ),
    key("client-tls-key", Kind::Path, "", "FILE", "Its private key, as PEM"),
    key(
        "client-tls-client-ca",
        Kind::Path,
        "",
        "FILE",
        "Who signs etcd clients' certificates, as PEM; their common names are users [default: none is asked for]",
    ),
    key(
        "client-tls-client-auth",
        Kind::Word(&["need", "want"]),
        "need",
        "need|want",
        "Must a client show a certificate? Only with client-tls-client-ca",
    ),
    key(
        "client-tls-client-revoked",
        Kind::Path,
        "",
        "FILE",
        "Which of those certificates were revoked, as PEM [default: none]",
    ),
    key(
        "client-tls-client-names",
        Kind::Text,
        "",
        "NAME,…",
        "Common names and hosts, one of which a client's certificate must have [default: any]",
    ),
    key(
        "auth-token",
        Kind::Text,
        "simple",
        "simple|jwt,…",
        "The tokens of etcd's users: simple ones that members remember, or signed ones: jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m; the same on each member",
    ),
    key(
        "auth-token-ttl",
        Kind::Count(1, 315_360_000),
        "300",
        "SECONDS",
        "How long a simple token is good without being used",
    ),
    key(
        "bcrypt-cost",
        Kind::Count(4, 31),
        "10",
        "COUNT",
        "What it costs to hash a password of etcd's users; each step doubles it",
    ),
    key(
        "peer-tls-certificate",
        Kind::Path,
        "",
        "FILE",
        "This member's certificate for the others, as PEM, good for the host of advertise-peer; read again when it changes; all members alike [default: members speak in the clear]",
    ),
    key("peer-tls-key", Kind::Path, "", "FILE", "Its private key, as PEM"),
    key("peer-tls-ca", Kind::Path, "", "FILE", "Who signs members' certificates, as PEM"),
    key(
        "peer-tls-revoked",
        Kind::Path,
        "",
        "FILE",
        "Which of those certificates were revoked, as PEM [default: none]",
    ),
    key(
        "peer-tls-names",
        Kind::Text,
        "",
        "NAME,…",
        "Common names and hosts, one of which a member's certificate must have; worth it where peer-tls-ca signs clients, too [default: any]",
    ),
    key(
        "peer-tls-client-certificate",
        Kind::Path,
        "",
        "FILE",
        "The certificate to dial the other members with, as PEM [default: peer-tls-certificate]",
    ),
    key("peer-tls-client-key", Kind::Path, "", "FILE", "Its private key, as PEM"),
    key(
        "zookeeper-tick",
        Kind::Milliseconds(100, 60_000),
        "2s",
        "TIME",
        "ZooKeeper's tickTime: sessions last from two to twenty ticks, and end at one",
    ),
    key(
        "zookeeper-words",
        Kind::Text,
        "srvr,ruok",
        "WORD,…",
        "The four-letter words that are answered (4lw.commands.whitelist); * for all",
    ),
    key(
        "zookeeper-connections-per-address",
        Kind::Count(0, 1_000_000),
        "60",
        "COUNT",
        "ZooKeeper's maxClientCnxns; 0: no limit",
    ),
    key(
        "zookeeper-session-min",
        Kind::Milliseconds(1, 86_400_000),
        "",
        "TIME",
        "ZooKeeper's minSessionTimeout [default: two ticks]",
    ),
    key(
        "zookeeper-session-max",
        Kind::Milliseconds(1, 86_400_000),
        "",
        "TIME",
        "ZooKeeper's maxSessionTimeout [default: twenty ticks]",
    ),
    key(
        "zookeeper-packet-bytes",
        Kind::Bytes(1024),
        "1048575",
        "BYTES",
        "ZooKeeper's jute.maxbuffer: the longest packet of a client",
    ),
    key(
        "zookeeper-ttl",
        Kind::Switch,
        "true",
        "BOOL",
        "May znodes have a time to live (extendedTypesEnabled)? The same on each member",
    ),
    key(
        "zookeeper-quotas",
        Kind::Switch,
        "false",
        "BOOL",
        "Are hard quotas enforced (enforceQuota)? The same on each member",
    ),
    key(
        "zookeeper-super",
        Kind::Text,
        "",
        "USER:HASH",
        "Who may do everything: DigestAuthenticationProvider.superDigest [default: nobody]",
    ),
    key(
        "zookeeper-tls-certificate",
        Kind::Path,
        "",
        "FILE",
        "This member's certificate for ZooKeeper clients, as PEM; read again when it changes [default: no TLS]",
    ),
    key("zookeeper-tls-key", Kind::Path, "", "FILE", "Its private key, as PEM"),
    key(
        "zookeeper-tls-client-ca",
        Kind::Path,
        "",
        "FILE",
        "Who signs ZooKeeper clients' certificates, as PEM; their names count in ACLs of the scheme x509 [default: none is asked for]",
    ),
    key(
        "zookeeper-tls-client-auth",
        Kind::Word(&["need", "want"]),
        "need",
        "need|want",
        "Must a client show a certificate (ssl.clientAuth)? Only with zookeeper-tls-client-ca",
    ),
    key(
        "zookeeper-tls-client-revoked",
        Kind::Path,
        "",
        "FILE",
        "Which of those certificates were revoked, as PEM [default: none]",
    ),
    key(
        "zookeeper-tls-only",
        Kind::Switch,
        "false",
        "BOOL",
        "ZooKeeper clients in the clear are turned away from listen-zookeeper as well",
    ),
    key(
        "zookeeper-read-only",
        Kind::Switch,
        "false",
        "BOOL",
        "A member without a leader lets ZooKeeper clients read that ask for it (readonlymode.enabled)",
    ),
    key(
        "heartbeat-interval",
        Kind::Milliseconds(1, 25_000),
        "50ms",
        "TIME",
        "How often a leader is heard when there is nothing to say",
    ),
    key(
        "election-timeout-min",
        Kind::Milliseconds(10, 50_000),
        "150ms",
        "TIME",
        "An election begins after so long without a leader, at the earliest",
    ),
    key("election-timeout-max", Kind::Milliseconds(10, 50_000), "300ms", "TIME", "… and at the latest"),
    key(
        "keys-engine",
        Kind::Word(&["raft", "zab"]),
        "raft",
        "raft|zab",
        "What replicates etcd's keys; decided when the cluster is founded, the same on each member",
    ),
    key(
        "keys-shards",
        Kind::Count(1, quorate_service::FOUNDED_MAX as u64),
        "1",
        "N",
        "Among how many groups etcd's keys are divided, likewise; each may be led by another member, and all have one order",
    ),
    key(
        "tree-engine",
        Kind::Word(&["zab", "raft", "off"]),
        "zab",
        "zab|raft|off",
        "What replicates ZooKeeper's tree, likewise; off: the cluster is founded without one, and this member does not ask for it",
    ),
    key(
        "lease-reads",
        Kind::Switch,
        "false",
        "BOOL",
        "Linearizable reads trust the leader's lease instead of asking a quorum",
    ),
    key(
        "clock-error-max",
        Kind::Milliseconds(0, 60_000),
        "25ms",
        "TIME",
        "By how much two members' clocks may differ over one election timeout; lease reads rest on it",
    ),
    key(
        "snapshot-bytes",
        Kind::Bytes(1 << 20),
        "64MiB",
        "BYTES",
        "A snapshot is due after so much log, or as much as the state if that is more",
    ),
    key(
        "quota-bytes",
        Kind::Bytes(0),
        "2GiB",
        "BYTES",
        "The most the keys may take, then writes are refused; 0: no limit. The leader's counts",
    ),
    key("max-request-bytes", Kind::Bytes(1024), "1536KiB", "BYTES", "The longest request"),
    key(
        "max-txn-ops",
        Kind::Count(1, 65_536),
        "128",
        "COUNT",
        "The most operations in a branch of a transaction",
    ),
    key(
        "max-waiting",
        Kind::Count(1, 10_000_000),
        "100000",
        "COUNT",
        "The most requests that may wait for their answer on this member",
    ),
    key("max-learners", Kind::Count(0, 64), "2", "COUNT", "The most learners at a time"),
    key(
        "strict-reconfiguration",
        Kind::Switch,
        "true",
        "BOOL",
        "Refuse changes of members that would leave too few that have started",
    ),
    key(
        "auto-promote",
        Kind::Switch,
        "false",
        "BOOL",
        "Should this member be a learner: let it vote as soon as it has caught up",
    ),
    key(
        "auto-compaction-mode",
        Kind::Word(&["periodic", "revision"]),
        "periodic",
        "periodic|revision",
        "What auto-compaction-retention counts: time, or revisions",
    ),
    key(
        "auto-compaction-retention",
        Kind::Text,
        "0",
        "TIME|COUNT",
        "How much history of the keys is kept: 30m, 1h, a number of hours; or of revisions; 0: all. The leader's counts",
    ),
    key(
        "watch-progress-interval",
        Kind::Milliseconds(100, 86_400_000),
        "10m",
        "TIME",
        "How often watches that want it are told how far they have come",
    ),
    key(
        "corrupt-check-time",
        Kind::Milliseconds(0, 86_400_000),
        "2m",
        "TIME",
        "How often the leader compares the members' keys; whoever starts is compared at once; 0: never",
    ),
    key("etcd-version", Kind::Text, "3.6.6", "VERSION", "The version of etcd that clients are told"),
    key("worker-threads", Kind::Count(1, 1024), "2", "COUNT", "Threads for connections"),
    key(
        "log-level",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "LEVEL",
        "What is logged: error, warn, info (changes of role), debug, trace",
    ),
    key("log-format", Kind::Word(&["text", "json"]), "text", "text|json", "How it is written, one line each"),
    key(
        "force-new-cluster",
        Kind::Switch,
        "false",
        "BOOL",
        "Go on alone from this member's data, as a new cluster: only if the other members are lost for good",
    ),
    hidden(key("unsafe-no-sync", Kind::Switch, "false", "BOOL", "Never sync files: a power cut loses data")),
];

pub(super) fn kind(name: &str) -> Kind {
    KEYS.iter().find(|key| key.name == name).map_or(Kind::Text, |key| key.kind)
}

/// The variable that says the same as a key.
pub(super) fn variable(key: &str) -> String {
    format!("QUORATE_{}", key.to_uppercase().replace('-', "_"))
}

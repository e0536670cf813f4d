//! What `serve` is told: one table of keys, from which the flags, the environment, the file, the checks and `--print-config` follow.
//!
//! A flag goes before the environment, the environment before the file, the file before the default.

mod keys;
mod sources;
mod tls;
mod tokens;
mod values;
mod zookeeper;

use std::{fmt, path::PathBuf, time::Duration};

use quorate_consensus::EngineKind;
use quorate_service::compactor::Retention;

use keys::{KEYS, Kind, variable};
pub(crate) use sources::{Below, Given};
use sources::{Origin, Sources};
pub(crate) use values::{go_milliseconds, host_and_port};
pub(crate) use zookeeper::ZooKeeper;

/// Why a configuration is refused; `Display` is one line that names the key, the value and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member of a cluster's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstMember {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) learner: bool,
}

/// Where etcd's clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Which key says so.
    pub(crate) key: &'static str,
    pub(crate) address: String,
    pub(crate) secure: bool,
    pub(crate) serves: quorate_etcd::Serves,
}

/// The effective configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) data_dir: PathBuf,
    /// None: etcd's clients are not served.
    pub(crate) listen_clients: Vec<Listen>,
    pub(crate) advertise_clients: Vec<String>,
    pub(crate) client_tls: Option<quorate_tls::Files>,
    /// Of these a client's certificate must have one; empty: any will do.
    pub(crate) client_names: Vec<String>,
    /// None: tokens are simple ones.
    pub(crate) jwt: Option<quorate_etcd::JwtFiles>,
    pub(crate) auth_token_ttl: Duration,
    pub(crate) bcrypt_cost: u32,
    /// None: members speak in the clear.
    pub(crate) peer_tls: Option<quorate_tls::MemberFiles>,
    pub(crate) zookeeper: ZooKeeper,
    pub(crate) listen_peer: String,
    pub(crate) advertise_peer: String,
    pub(crate) initial_cluster: Vec<FirstMember>,
    pub(crate) existing: bool,
    pub(crate) token: String,
    pub(crate) join: Vec<String>,
    pub(crate) keys_engine: EngineKind,
    pub(crate) keys_shards: u16,
    /// `None`: the cluster has no tree.
    pub(crate) tree_engine: Option<EngineKind>,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) election_timeout_min: Duration,
    pub(crate) election_timeout_max: Duration,
    pub(crate) lease_reads: bool,
    pub(crate) clock_error_max: Duration,
    pub(crate) snapshot_bytes: u64,
    pub(crate) quota_bytes: u64,
    pub(crate) request_bytes_max: usize,
    pub(crate) txn_ops_max: usize,
    pub(crate) waiting_max: usize,
    pub(crate) learners_max: u8,
    pub(crate) strict_reconfiguration: bool,
    pub(crate) auto_promote: bool,
    pub(crate) retention: Retention,
    pub(crate) watch_progress_interval: Duration,
    pub(crate) corrupt_check_time: Duration,
    pub(crate) etcd_version: String,
    pub(crate) worker_threads: usize,
    pub(crate) log_level: String,
    pub(crate) log_json: bool,
    pub(crate) force_new_cluster: bool,
    pub(crate) no_sync: bool,
}

impl Sources {
    /// Checks everything.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        let name = self.filled("name")?;
        let data_dir = match self.text("data-dir") {
            "" => PathBuf::from(format!("{name}.quorate")),
            dir => PathBuf::from(dir),
        };
        let listen_peer = self.address("listen-peer")?;
        let client_tls = self.tls(&tls::ETCD)?;
        let listen_clients = self.listen_clients(client_tls.is_some())?;
        let advertise_clients = self.advertise_clients(&listen_clients)?;
        let peer_tls = self.member_tls()?;
        self.peer_schemes(peer_tls.is_some())?;
        let scheme = if peer_tls.is_some() { "https" } else { "http" };
        let advertise_peer = self.advertised("advertise-peer", ("listen-peer", &listen_peer), scheme)?;
        let existing = self.word("initial-cluster-state")? == "existing";
        let mut initial_cluster = self.members("initial-cluster", &name, &advertise_peer, scheme)?;
        self.mark_learners("initial-learners", &mut initial_cluster)?;
        match initial_cluster.iter().find(|member| member.name == name) {
            None if existing => {}
            None => {
                let known: Vec<_> = initial_cluster.iter().map(|member| member.name.as_str()).collect();
                return Err(self.refuse(
                    "name",
                    "initial-cluster does not name this member",
                    &format!(
                        "take one of its names ({}) or add {name}={advertise_peer} to it",
                        known.join(", ")
                    ),
                ));
            }
            Some(member) if member.url != advertise_peer && !existing => {
                return Err(self.refuse(
                    "initial-cluster",
                    &format!("it says {} for {name}, but advertise-peer is {advertise_peer}", member.url),
                    "make both the same",
                ));
            }
            Some(_) => {}
        }
        let join = self.join(client_tls.is_some())?;
        if existing && join.is_empty() {
            return Err(self.refuse(
                "initial-cluster-state",
                "whom to ask about the cluster is not said",
                "add join = \"http://HOST:PORT\", a client address of a member that runs",
            ));
        }
        if !existing && !join.is_empty() {
            return Err(self.refuse(
                "join",
                "only a member that joins asks others",
                "set initial-cluster-state = \"existing\" or leave join out",
            ));
        }
        let heartbeat_interval = self.milliseconds("heartbeat-interval")?;
        let election_timeout_min = self.milliseconds("election-timeout-min")?;
        let election_timeout_max = self.milliseconds("election-timeout-max")?;
        if election_timeout_max <= election_timeout_min {
            return Err(self.refuse(
                "election-timeout-max",
                &format!("not above election-timeout-min, {}ms", election_timeout_min.as_millis()),
                "take twice the least",
            ));
        }
        if heartbeat_interval * 2 > election_timeout_min {
            return Err(self.refuse(
                "heartbeat-interval",
                &format!(
                    "one lost heartbeat would start an election: election-timeout-min is {}ms",
                    election_timeout_min.as_millis()
                ),
                "take at most half, better a third of it",
            ));
        }
        let engine = |key: &'static str| {
            Ok(match self.word(key)?.as_str() {
                "raft" => Some(EngineKind::Raft),
                "zab" => Some(EngineKind::Zab),
                _ => None,
            })
        };
        let (keys_engine, tree_engine) = (engine("keys-engine")?.unwrap_or_default(), engine("tree-engine")?);
        let zookeeper = self.zookeeper(tree_engine.is_some())?;
        let serves_etcd = listen_clients.iter().any(|at| at.serves != quorate_etcd::Serves::Metrics);
        if !serves_etcd && zookeeper.listen.is_none() && zookeeper.listen_secure.is_none() {
            return Err(self.refuse(
                "listen-client",
                "no client would be served",
                "write HOST:PORT, or name one in listen-zookeeper",
            ));
        }
        let lease_reads = self.switch("lease-reads")?;
        let clock_error_max = self.milliseconds("clock-error-max")?;
        if lease_reads && clock_error_max * 2 > election_timeout_min {
            return Err(self.refuse(
                "clock-error-max",
                &format!("leaves no lease: election-timeout-min is {}ms", election_timeout_min.as_millis()),
                "take at most half of it, or turn lease-reads off",
            ));
        }
        Ok(Settings {
            name,
            data_dir,
            listen_clients,
            advertise_clients,
            client_tls,
            client_names: self.list("client-tls-client-names"),
            jwt: self.jwt("auth-token")?,
            auth_token_ttl: Duration::from_secs(self.count("auth-token-ttl")? as u64),
            bcrypt_cost: u32::try_from(self.count("bcrypt-cost")?).unwrap_or(u32::MAX),
            peer_tls,
            zookeeper,
            listen_peer,
            advertise_peer,
            initial_cluster,
            existing,
            token: self.filled("initial-cluster-token")?,
            join,
            keys_engine,
            keys_shards: u16::try_from(self.count("keys-shards")?).unwrap_or(u16::MAX),
            tree_engine,
            heartbeat_interval,
            election_timeout_min,
            election_timeout_max,
            lease_reads,
            clock_error_max,
            snapshot_bytes: self.bytes("snapshot-bytes")?,
            quota_bytes: self.bytes("quota-bytes")?,
            request_bytes_max: usize::try_from(self.bytes("max-request-bytes")?).unwrap_or(usize::MAX),
            txn_ops_max: self.count("max-txn-ops")?,
            waiting_max: self.count("max-waiting")?,
            learners_max: u8::try_from(self.count("max-learners")?).unwrap_or(u8::MAX),
            strict_reconfiguration: self.switch("strict-reconfiguration")?,
            auto_promote: self.switch("auto-promote")?,
            retention: self.retention()?,
            watch_progress_interval: self.milliseconds("watch-progress-interval")?,
            corrupt_check_time: self.milliseconds("corrupt-check-time")?,
            etcd_version: self.version("etcd-version")?,
            worker_threads: self.count("worker-threads")?,
            log_level: self.word("log-level")?,
            log_json: self.word("log-format")? == "json",
            force_new_cluster: self.switch("force-new-cluster")?,
            no_sync: self.switch("unsafe-no-sync")?,
        })
    }

    /// The effective configuration as a file that says the same, with the origin of each value.
    pub(crate) fn print(&self, settings: &Settings) -> String {
        let lines: Vec<(String, String)> = KEYS
            .iter()
            .filter(|key| !key.hidden || self.0[key.name].1 != Origin::Default)
            .map(|key| {
                let (value, origin) = &self.0[key.name];
                let origin = match origin {
                    Origin::Flag => format!("flag --{}", key.name),
                    Origin::Environment => format!("environment {}", variable(key.name)),
                    Origin::File(path) => format!("file {}", path.display()),
                    Origin::ZooKeeper(said) => said.clone(),
                    Origin::Default
                        if value.is_empty() && !matches!(key.name, "join" | "zookeeper-super") =>
                    {
                        "derived".to_string()
                    }
                    Origin::Default => "default".to_string(),
                };
                let derived = match (key.name, value.is_empty()) {
                    (_, false) => value.clone(),
                    ("data-dir", _) => settings.data_dir.display().to_string(),
                    ("advertise-client", _) => settings.advertise_clients.join(","),
                    ("advertise-peer", _) => settings.advertise_peer.clone(),
                    ("initial-cluster", _) => format!("{}={}", settings.name, settings.advertise_peer),
                    _ => String::new(),
                };
                let plain = match key.kind {
                    Kind::Count(..) => derived.parse::<u64>().is_ok(),
                    Kind::Switch => derived == "true" || derived == "false",
                    _ => false,
                };
                let shown = if plain { derived } else { toml::Value::String(derived).to_string() };
                (format!("{} = {shown}", key.name), origin)
            })
            .collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width < 60).max();
        lines
            .into_iter()
            .map(|(line, origin)| format!("{line:<width$}  # {origin}\n", width = width.unwrap_or(0)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        given: Given,
    }

    fn resolve(flags: &[&str], environment: &[(&str, &str)]) -> Result<Sources, ConfigError> {
        let serve = Serve::try_parse_from(std::iter::once(&"serve").chain(flags)).expect("the flags parse");
        serve.given.resolve(&Below::new(), |name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string())
        })
    }

    fn refused(flags: &[&str]) -> String {
        let error = match resolve(flags, &[]) {
            Err(error) => error.to_string(),
            Ok(sources) => sources.settings().expect_err("refused").to_string(),
        };
        assert_eq!(error.lines().count(), 1, "one line: {error}");
        error
    }

    #[test]
    fn zookeepers_tls_is_told_whole_or_not_at_all() {
        let certificate = "--zookeeper-tls-certificate=c.pem";
        let (key, ca) = ("--zookeeper-tls-key=k.pem", "--zookeeper-tls-client-ca=ca.pem");
        let settings = |flags: &[&str]| resolve(flags, &[]).unwrap().settings().unwrap();
        assert!(settings(&[]).zookeeper.tls.is_none());
        let needed = settings(&[certificate, key, ca]).zookeeper.tls.unwrap().clients;
        assert!(matches!(needed, quorate_tls::ClientAuth::Needed(_)));
        let wanted =
            settings(&[certificate, key, ca, "--zookeeper-tls-client-auth=want"]).zookeeper.tls.unwrap();
        assert!(matches!(wanted.clients, quorate_tls::ClientAuth::Wanted(_)));
        assert!(refused(&[certificate]).contains("zookeeper-tls-key is not set"));
        assert!(refused(&[ca]).contains("zookeeper-tls-certificate is not set"));
        assert!(
            refused(&[certificate, key, "--zookeeper-tls-client-revoked=r.pem"])
                .contains("zookeeper-tls-client-ca is not set")
        );
        assert!(refused(&["--zookeeper-tls-only=true"]).contains("there is no certificate"));
        assert!(
            refused(&["--listen-zookeeper-admin=127.0.0.1:8080", "--tree-engine=off"])
                .contains("leave listen-zookeeper-admin out")
        );
    }

    #[test]
    fn tls_between_members_is_told_whole_and_its_urls_keep_their_scheme() {
        let all = ["--peer-tls-certificate=c.pem", "--peer-tls-key=k.pem", "--peer-tls-ca=ca.pem"];
        let with = |more: &[&str]| {
            let flags: Vec<&str> = all.iter().chain(more).copied().collect();
            resolve(&flags, &[]).unwrap().settings().unwrap()
        };
        assert!(resolve(&[], &[]).unwrap().settings().unwrap().peer_tls.is_none());
        let settings = with(&["--peer-tls-revoked=r.pem", "--peer-tls-names=a, b"]);
        assert_eq!(settings.advertise_peer, "https://127.0.0.1:2380");
        assert_eq!(settings.initial_cluster[0].url, settings.advertise_peer);
        let files = settings.peer_tls.unwrap();
        assert_eq!(files.names, ["a", "b"]);
        assert_eq!(files.authorities.revoked.unwrap(), PathBuf::from("r.pem"));
        // A cluster that was founded in the clear keeps its URLs, and with them its members' ids.
        let old = with(&[
            "--advertise-peer=http://h:1",
            "--initial-cluster=default=http://h:1,b=https://i:1,c=j:1",
        ]);
        let urls: Vec<_> = old.initial_cluster.iter().map(|member| member.url.as_str()).collect();
        assert_eq!(urls, ["http://h:1", "https://i:1", "https://j:1"]);
        assert!(refused(&all[..2]).contains("peer-tls-ca is not set"));
        assert!(refused(&all[1..]).contains("peer-tls-certificate is not set"));
        assert!(refused(&["--peer-tls-names=a"]).contains("peer-tls-certificate is not set"));
        for url in
            ["--listen-peer=https://h:1", "--advertise-peer=https://h:1", "--initial-cluster=a=https://h:1"]
        {
            assert!(refused(&[url]).contains("set peer-tls-certificate"), "{url}");
        }
        assert!(refused(&[&all[..], &["--listen-peer=http://h:1"]].concat()).contains("write https://"));
        let half = refused(&[&all[..], &["--peer-tls-client-key=k.pem"]].concat());
        assert!(half.contains("peer-tls-client-certificate is not set"), "{half}");
    }

    #[test]
    fn who_joins_keeps_the_scheme_and_must_know_whom_to_trust() {
        let existing = ["--initial-cluster-state=existing", "--join=https://h:1,i:1"];
        assert!(refused(&existing).contains("client-tls-client-ca or peer-tls-ca"));
        let tls =
            ["--client-tls-certificate=c.pem", "--client-tls-key=k.pem", "--client-tls-client-ca=ca.pem"];
        let settings = resolve(&[&existing[..], &tls[..]].concat(), &[]).unwrap().settings().unwrap();
        assert_eq!(settings.join, ["https://h:1", "https://i:1"]);
    }

    #[test]
    fn http_may_have_its_own_address_and_metrics_another_in_the_clear() {
        use quorate_etcd::Serves::{All, Grpc, Http, Metrics};
        let listens = |flags: &[&str]| {
            let settings = resolve(flags, &[]).unwrap().settings().unwrap();
            let at = settings.listen_clients.into_iter().map(|at| (at.address, at.secure, at.serves));
            (at.collect::<Vec<_>>(), settings.advertise_clients)
        };
        let here = |port: u16| format!("127.0.0.1:{port}");
        let own = vec!["http://127.0.0.1:2379".to_owned()];
        assert_eq!(listens(&[]), (vec![(here(2379), false, All)], own.clone()));
        let flags = ["--listen-http=127.0.0.1:1", "--listen-metrics=127.0.0.1:2"];
        let all = vec![(here(2379), false, Grpc), (here(1), false, Http), (here(2), false, Metrics)];
        assert_eq!(listens(&flags), (all, own));
        let tls = ["--client-tls-certificate=c", "--client-tls-key=k"];
        let (all, advertised) = listens(&[&flags[..], &tls[..]].concat());
        assert_eq!(all.iter().map(|at| at.1).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(advertised, ["https://127.0.0.1:2379"]);
        let refusal = refused(&["--listen-metrics=https://127.0.0.1:2"]);
        assert!(
            refusal.contains("listen-metrics") && refusal.contains("client-tls-certificate"),
            "{refusal}"
        );
    }

    /// A file that goes when the test ends.
    struct Written(PathBuf);

    impl Written {
        fn new(name: &str, text: &str) -> Written {
            let path =
                std::env::temp_dir().join(format!("quorate-config-{}-{name}.toml", std::process::id()));
            fs::write(&path, text).unwrap();
            Written(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_file() {
        let file =
            Written::new("order", "name = 'file'\nmax-txn-ops = 7\nlease-reads = true\nlog-level = 'warn'\n");
        let environment = [("QUORATE_NAME", "environment"), ("QUORATE_LOG_LEVEL", "debug")];
        let sources = resolve(&["--config", file.path(), "--name", "flag"], &environment).unwrap();
        let settings = sources.settings().unwrap();
        assert_eq!(settings.name, "flag");
        assert_eq!(settings.log_level, "debug");
        assert_eq!(settings.txn_ops_max, 7);
        assert!(settings.lease_reads);
        assert_eq!(settings.heartbeat_interval, Duration::from_millis(50));

        let printed = sources.print(&settings);
        let line = |key: &str| printed.lines().find(|line| line.starts_with(&format!("{key} ="))).unwrap();
        assert!(line("name").ends_with("# flag --name"), "{printed}");
        assert!(line("log-level").ends_with("# environment QUORATE_LOG_LEVEL"));
        assert!(line("max-txn-ops").contains("# file "));
        assert!(line("heartbeat-interval").ends_with("# default"));
        assert!(line("data-dir").starts_with("data-dir = \"flag.quorate\""));
        assert!(line("data-dir").ends_with("# derived"));
    }

    #[test]
    fn what_is_printed_says_the_same_when_it_is_read() {
        let sources = resolve(&["--name", "n1", "--quota-bytes=1GiB", "--lease-reads"], &[]).unwrap();
        let printed = sources.print(&sources.settings().unwrap());
        // An empty `join` is as good as none.
        let file = Written::new("again", &printed);
        let again = resolve(&["--config", file.path()], &[]).unwrap();
        assert_eq!(format!("{:?}", again.settings().unwrap()), format!("{:?}", sources.settings().unwrap()));
    }

    #[test]
    fn every_key_has_a_flag_a_variable_and_a_line_in_the_file_that_agree() {
        for key in KEYS {
            let value = match key.kind {
                Kind::Text | Kind::Path => "some",
                Kind::Address => "127.0.0.9:99",
                Kind::Members => "some=http://127.0.0.1:1",
                Kind::Addresses => "http://127.0.0.1:1",
                Kind::Word(words) => words[words.len() - 1],
                Kind::Milliseconds(..) => "123ms",
                Kind::Bytes(..) => "3MiB",
                Kind::Count(..) => "3",
                Kind::Switch => "true",
            };
            let flag = resolve(&[&format!("--{}={value}", key.name)], &[]).unwrap();
            let environment = resolve(&[], &[(variable(key.name).as_str(), value)]).unwrap();
            let file = Written::new(key.name, &format!("{} = {value:?}\n", key.name));
            let file = resolve(&["--config", file.path()], &[]).unwrap();
            for sources in [&flag, &environment, &file] {
                assert_eq!(sources.text(key.name), value);
            }
        }
    }

    #[test]
    fn an_unknown_key_is_named_and_the_nearest_suggested() {
        for (written, meant) in
            [("listen_client", "listen-client"), ("listen-client-urls", "listen-client"), ("nmae", "name")]
        {
            let file = Written::new(written, &format!("{written} = 'x'\n"));
            let error = refused(&["--config", file.path()]);
            assert!(error.contains(&format!("{written:?}")), "{error}");
            assert!(error.contains(&format!("did you mean {meant:?}?")), "{error}");
        }
        let file = Written::new("far", "wholly-different-thing-altogether = 1\n");
        assert!(refused(&["--config", file.path()]).contains("--help"));
        let file = Written::new("broken", "name = \n\n");
        assert!(refused(&["--config", file.path()]).contains("line 1"));
        assert!(refused(&["--config", "/nowhere/at/all.toml"]).contains("/nowhere/at/all.toml"));
    }

    #[test]
    fn a_bad_value_is_answered_with_key_value_and_mend() {
        for (flags, parts) in [
            (vec!["--listen-client=2379"], ["listen-client", "\"2379\"", "write"]),
            (vec!["--listen-client=https://h:1"], ["listen-client", "TLS", "or write http://"]),
            (vec!["--listen-peer=0.0.0.0:2380"], ["listen-peer", "0.0.0.0:2380", "add advertise-peer"]),
            (vec!["--listen-peer=h:99999"], ["listen-peer", "h:99999", "HOST:PORT"]),
            (vec!["--heartbeat-interval=soon"], ["heartbeat-interval", "\"soon\"", "100ms"]),
            (vec!["--heartbeat-interval=100"], ["heartbeat-interval", "\"100\"", "at most half"]),
            (vec!["--election-timeout-max=100ms"], ["election-timeout-max", "100ms", "twice"]),
            (vec!["--max-txn-ops=0"], ["max-txn-ops", "\"0\"", "from 1 to"]),
            (vec!["--snapshot-bytes=12XB"], ["snapshot-bytes", "12XB", "MiB"]),
            (vec!["--log-level=loud"], ["log-level", "loud", "error, warn"]),
            (vec!["--lease-reads=perhaps"], ["lease-reads", "perhaps", "true or false"]),
            (vec!["--initial-cluster=http://h:1"], ["initial-cluster", "no name", "NAME=http"]),
            (vec!["--initial-cluster=a=http://h:1"], ["name", "\"default\"", "a"]),
            (vec!["--name=a", "--initial-cluster=a=http://h:1"], ["initial-cluster", "http://h:1", "same"]),
            (vec!["--initial-cluster-state=existing"], ["initial-cluster-state", "existing", "add join"]),
            (vec!["--join=http://h:1"], ["join", "h:1", "existing"]),
            (vec!["--name="], ["name", "empty", "leave"]),
            (vec!["--listen-client="], ["listen-client", "no client", "listen-zookeeper"]),
            (vec!["--initial-learners=b"], ["initial-learners", "\"b\"", "initial-cluster"]),
            (
                vec!["--zookeeper-session-min=2s", "--zookeeper-session-max=1s"],
                ["zookeeper-session-max", "2000", "at least"],
            ),
            (vec!["--listen-zookeeper=h:1", "--tree-engine=off"], ["listen-zookeeper", "off", "zab"]),
        ] {
            let error = refused(&flags);
            for part in parts {
                assert!(error.contains(part), "{flags:?}: {part:?} is missing in: {error}");
            }
        }
    }

    #[test]
    fn units_are_read() {
        let flags = ["--quota-bytes=8GiB", "--election-timeout-max=2s", "--max-request-bytes=2048"];
        let settings = resolve(&flags, &[]).unwrap().settings().unwrap();
        assert_eq!(settings.quota_bytes, 8 << 30);
        assert_eq!(settings.election_timeout_max, Duration::from_secs(2));
        assert_eq!(settings.request_bytes_max, 2048);
    }
}

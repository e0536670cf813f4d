//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Given;

mod lab;
mod member;
mod shard;

pub(crate) use lab::Lab;
pub(crate) use member::Member;
pub(crate) use shard::Shard;

const AFTER: &str = "\
Exit codes:
  0    done
  1    the cluster refused, or the command failed
  2    the command line or the configuration is wrong
  3    no endpoint could be reached, or none answered in time
  130  interrupted

A cluster to try:   quorate dev
Its first write:    quorate put hello world";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    about = "A coordination service in one binary: Raft and ZAB, the etcd v3 and ZooKeeper APIs",
    after_help = AFTER,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster on this machine, to try things out
    Dev(Dev),
    /// Run one member of a cluster
    ///
    /// Each option is also a key of the TOML file that --config names, and a variable: --data-dir, data-dir = "…", QUORATE_DATA_DIR.
    /// A flag goes before the environment, the environment before the file.
    Serve(Given),
    /// Run one server of a ZooKeeper ensemble, from its zoo.cfg
    Zookeeper(Zookeeper),
    /// Run one member from etcd's flags, ETCD_* variables or YAML file
    #[command(disable_help_flag = true)]
    Etcd(Etcd),
    /// Write a key
    Put(Put),
    /// Read a key, or many
    Get(Get),
    /// Delete a key, or many
    Del(Del),
    /// Compare, then write: all or nothing
    #[command(after_help = TXN_HELP)]
    Txn(Txn),
    /// Show how each endpoint is
    Status(Remote),
    /// List, add, remove and change members
    #[command(subcommand)]
    Member(Member),
    /// Show how the keys are divided among groups, divide them, and split a shard
    #[command(subcommand)]
    Shard(Shard),
    /// Take a backup of the keys, look at one, or begin a new cluster from one
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Hand leadership to another member
    MoveLeader(MoveLeader),
    /// Measure a cluster: ours, or any that speaks etcd's API
    #[command(subcommand)]
    Bench(Bench),
    /// Run the very same code under simulated faults
    Sim(Sim),
    /// Watch the very same code think, on a web page
    #[command(after_help = lab::HELP)]
    Lab(Lab),
}

const TXN_HELP: &str = "\
Without --if, --then and --else the transaction is read from standard input: compares, an empty line, what to do if all
of them hold, an empty line, what to do otherwise.

  value(\"door\") = \"open\"      value, version, mod, create or lease; =, !=, < or >
  mod(\"door\") > 5

  put door closed
  get --prefix door

  del door

The same lines as JSON: {\"if\": [\"value(\\\"door\\\") = \\\"open\\\"\"], \"then\": [\"put door closed\"], \"else\": [\"del door\"]}";

/// Whatever etcd takes.
#[derive(Debug, Args)]
pub(crate) struct Etcd {
    /// etcd's flags; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    pub(crate) arguments: Vec<std::ffi::OsString>,
}

/// Which cluster, and how to answer.
#[derive(Clone, Debug, Args)]
pub(crate) struct Remote {
    /// Where the cluster serves clients; the first that can be reached is asked [env: QUORATE_ENDPOINTS]
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', global = true)]
    pub(crate) endpoints: Vec<String>,
    /// Who signs the servers' certificates, as PEM; endpoints without http:// then speak TLS [env: QUORATE_CACERT]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) cacert: Option<PathBuf>,
    /// A certificate to show to the servers, as PEM [env: QUORATE_CERT]
    #[arg(long = "cert", value_name = "FILE", global = true)]
    pub(crate) client_cert: Option<PathBuf>,
    /// Its private key, as PEM [env: QUORATE_KEY]
    #[arg(long = "key", value_name = "FILE", global = true)]
    pub(crate) client_key: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text, global = true)]
    pub(crate) output: Output,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, global = true)]
    pub(crate) timeout: Duration,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs: one JSON value
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The key
    pub(crate) key: String,
    /// The value; read from standard input if it is left out
    pub(crate) value: Option<String>,
    /// Attach the key to this lease (a number, or hexadecimal as etcdctl prints it)
    #[arg(long, value_parser = lease, default_value = "0", hide_default_value = true)]
    pub(crate) lease: i64,
    /// Print what was there before
    #[arg(long)]
    pub(crate) prev_kv: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The key
    pub(crate) key: String,
    /// Up to this key, itself excluded
    #[arg(conflicts_with_all = ["prefix", "from_key"])]
    pub(crate) range_end: Option<String>,
    /// All keys that begin so
    #[arg(long)]
    pub(crate) prefix: bool,
    /// All keys from this one on
    #[arg(long, conflicts_with = "prefix")]
    pub(crate) from_key: bool,
    /// At most so many
    #[arg(long, default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) limit: i64,
    /// As of this revision
    #[arg(long, default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) rev: i64,
    /// Keys without values
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Values without keys
    #[arg(long, conflicts_with = "keys_only")]
    pub(crate) print_value_only: bool,
    /// Only how many there are
    #[arg(long)]
    pub(crate) count_only: bool,
    /// What the endpoint has itself, without asking the others; may be old
    #[arg(long)]
    pub(crate) serializable: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Del {
    /// The key
    pub(crate) key: String,
    /// Up to this key, itself excluded
    #[arg(conflicts_with_all = ["prefix", "from_key"])]
    pub(crate) range_end: Option<String>,
    /// All keys that begin so
    #[arg(long)]
    pub(crate) prefix: bool,
    /// All keys from this one on
    #[arg(long, conflicts_with = "prefix")]
    pub(crate) from_key: bool,
    /// Print what was deleted
    #[arg(long)]
    pub(crate) prev_kv: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Txn {
    /// A compare; all must hold
    #[arg(long = "if", value_name = "COMPARE")]
    pub(crate) compare: Vec<String>,
    /// What to do if they hold
    #[arg(long = "then", value_name = "OPERATION")]
    pub(crate) success: Vec<String>,
    /// What to do otherwise
    #[arg(long = "else", value_name = "OPERATION")]
    pub(crate) failure: Vec<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Write a backup of the keys, users and leases as the endpoint has them
    Save {
        /// Where to
        file: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Check a backup, and say what is in it
    Status {
        /// Which
        file: PathBuf,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Make the data directory of one member of a new cluster that begins with a backup
    ///
    /// To be done for every member, each with its own name, address and directory, and all with the same backup and the same --initial-cluster. Then
    /// start them as members of a new cluster, with the same options.
    Restore(Restore),
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    pub(crate) file: PathBuf,
    /// What is added to the store's revision, so that nobody takes the new history for the one that went on after the backup
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    pub(crate) bump_revision: u64,
    /// Nothing older than the restored revision can be read: whoever watches begins anew
    #[arg(long)]
    pub(crate) mark_compacted: bool,
    #[command(flatten)]
    pub(crate) given: Given,
}

#[derive(Debug, Args)]
pub(crate) struct MoveLeader {
    /// The next leader: its id or name
    pub(crate) member: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Write keys
    Put {
        #[command(flatten)]
        load: Load,
        /// Length of a value, in bytes
        #[arg(long, value_name = "BYTES", default_value_t = 256)]
        value_size: usize,
    },
    /// Read keys
    Range {
        #[command(flatten)]
        load: Load,
        /// What the endpoint has itself, without asking the others
        #[arg(long)]
        serializable: bool,
    },
}

/// How much to ask.
#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    /// How many requests are under way at a time; each client waits for its answer before it asks again
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = at_least_one)]
    pub(crate) clients: usize,
    /// How many connections they share
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = at_least_one)]
    pub(crate) connections: usize,
    /// End after so many requests [default: 10000]
    #[arg(long, value_name = "COUNT", conflicts_with = "duration")]
    pub(crate) total: Option<u64>,
    /// End after so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Length of a key, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) key_size: u16,
    /// How many keys there are
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) key_space: u64,
    /// Whom to ask
    #[arg(long, value_enum, default_value_t = Target::All)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// The leader
    Leader,
    /// Every endpoint, in turn
    All,
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// How many members
    #[arg(long, default_value = "3", value_parser = ["1", "3", "5"])]
    pub(crate) nodes: String,
    /// Keep everything in this folder, and go on from it next time [default: a new folder that is removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Take free ports at once, without trying the usual ones
    #[arg(long)]
    pub(crate) free_ports: bool,
    /// What replicates etcd's keys; a kept cluster keeps the engine that it was founded with
    #[arg(long, value_name = "ENGINE", default_value = "raft", value_parser = ["raft", "zab"])]
    pub(crate) keys_engine: String,
    /// Among how many groups etcd's keys are divided, likewise
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) shards: u16,
    /// What replicates ZooKeeper's tree, likewise; off: there is none
    #[arg(long, value_name = "ENGINE", default_value = "zab", value_parser = ["zab", "raft", "off"])]
    pub(crate) tree_engine: String,
    /// What the members log: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "error", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub(crate) log_level: String,
}

#[derive(Debug, Args)]
#[command(after_help = ZOOKEEPER_HELP)]
pub(crate) struct Zookeeper {
    /// ZooKeeper's configuration file
    #[arg(value_name = "ZOO.CFG")]
    pub(crate) file: PathBuf,
    /// A property as Java is given it: -Dzookeeper.NAME=VALUE, or -Djute.maxbuffer=BYTES; goes before the file
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    pub(crate) properties: Vec<String>,
    /// Whatever `serve` takes; goes before both
    #[command(flatten)]
    pub(crate) given: Given,
}

const ZOOKEEPER_HELP: &str = "\
Every server of the ensemble gets its own file, as with ZooKeeper; the data goes to quorate/ under dataDir. What is
ignored is said by name. See what a file means without starting anything:

  quorate zookeeper zoo.cfg --print-config";

#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// Which protocol
    #[arg(long, default_value = "raft", value_parser = ["raft", "zab"])]
    pub(crate) engine: String,
    /// How many runs
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) seeds: u64,
    /// The seed of the first run; the others follow it
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) first_seed: u64,
    /// Divide the keys among shards, before a run or in the middle of it, and split them
    #[arg(long)]
    pub(crate) shards: bool,
    /// Plant this bug, to see it found (only in builds with planted bugs)
    #[arg(long, value_name = "ID")]
    pub(crate) plant: Option<String>,
    /// Print the trace of a failing run
    #[arg(long)]
    pub(crate) trace: bool,
    /// Leave out of the first failing run whatever it fails without, and write the rest here
    #[arg(long, value_name = "FILE")]
    pub(crate) shrink: Option<PathBuf>,
    /// How many runs at a time [default: one per processor]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    pub(crate) jobs: Option<usize>,
    /// Fail unless every kind of fault and every rare state occurred; 200 seeds and more always do
    #[arg(long)]
    pub(crate) require_all: bool,
    /// Run each seed twice, and fail if the second run differs from the first in anything
    #[arg(long)]
    pub(crate) twice: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a whole number, at least 1".to_string())
}

/// `5s`, `300ms`, `2m`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number = number.parse::<u64>().ok().filter(|number| (1..1_000_000_000).contains(number));
    let milliseconds = match unit {
        "ms" => Some(1),
        "s" | "" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    match number.zip(milliseconds) {
        Some((number, factor)) => Ok(Duration::from_millis(number * factor)),
        None => Err("write a time such as 300ms, 5s or 2m".to_string()),
    }
}

/// A lease's id: etcdctl prints it in hexadecimal.
fn lease(text: &str) -> Result<i64, String> {
    if text == "0" {
        return Ok(0);
    }
    i64::from_str_radix(text.trim_start_matches("0x"), 16)
        .map_err(|_| "write the lease's id in hexadecimal".to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_parse() {
        let Ok(Cli { command: Command::Get(get) }) =
            parse("quorate get --prefix a --limit 3 --endpoints h:1,http://i:2 -o json --timeout 300ms")
        else {
            panic!("get parses")
        };
        assert!(get.prefix && get.limit == 3);
        assert_eq!(get.remote.endpoints, ["h:1", "http://i:2"]);
        assert_eq!(get.remote.output, Output::Json);
        assert_eq!(get.remote.timeout, Duration::from_millis(300));
        let Ok(Cli { command: Command::Put(put) }) = parse("quorate put a b --lease 7587") else {
            panic!("put parses")
        };
        assert_eq!((put.value.as_deref(), put.lease), (Some("b"), 0x7587));
        assert!(parse("quorate member add n4 --peer-urls http://h:1 --learner").is_ok());
        assert!(parse("quorate member replace n3 n4 --peer-urls http://h:1 --wait 5m").is_ok());
        assert!(parse("quorate bench put --clients 10 --duration 2s --target leader").is_ok());
        assert!(parse("quorate dev --nodes 5 --data ./mine").is_ok());
        assert!(
            parse("quorate sim --seeds 10 --first-seed 4 --shards --plant E07 --trace --jobs 2 --require-all --twice")
                .is_ok()
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "quorate get a b --prefix",
            "quorate get a --from-key --prefix",
            "quorate get a --limit -1",
            "quorate dev --nodes 4",
            "quorate bench put --total 5 --duration 5s",
            "quorate bench put --clients 0",
            "quorate status --timeout soon",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
        let error = parse("quorate pot a").expect_err("no such command").to_string();
        assert!(error.contains("'put'"), "{error}");
    }
}

//! What developers run, beside `cargo test`: real processes, real disks, the real peer. Each command says what it does when it is asked for help.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is the real world: clocks, files, processes, threads"
)]

mod campaign;
mod client;
mod cluster;
mod compare;
mod compatibility;
mod differential;
mod etcd3;
mod etcd_api;
mod etcd_differential;
mod etcdctl;
mod explore;
mod failover;
mod floor;
mod foreign;
mod full_disk;
mod fuzz;
mod history;
mod hostile;
mod kazoo;
mod lab;
mod ledger;
mod nothing;
mod plants;
mod power;
mod process;
mod python;
mod saturate;
mod scripted;
mod smoke;
mod torture;
mod workload;
mod zkcli;
mod zookeeper;

use std::{env, process::ExitCode};

/// What any of this may fail with: said to a person, and the process ends.
type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const HELP: &str = "\
cargo xtask smoke                      a little of everything below; part of .ci/run
cargo xtask etcdctl                    the etcdctl that people have: through a kill of the leader, and every subcommand beside a real etcd (needs Debian's etcd-server)
cargo xtask foreign                    the etcd-client crate, which we did not write, against our cluster, through kills of the leader (needs protoc)
cargo xtask etcd3                      python's etcd3 against our cluster, through a kill of the leader (needs python3-venv)
cargo xtask kazoo [zab|raft]            kazoo, Python's ZooKeeper client, against our cluster, through kills of the leader (needs python3-venv)
cargo xtask lab [--pictures]           the Lab in Debian's Chromium: a walk by what can be read on the page, a tour of everything, planted bugs (needs chromium and npm); --pictures: into docs/lab
cargo xtask zookeeper-client [zab|raft] the zookeeper-client crate, likewise
cargo xtask zkcli [zab|raft|zookeeper]  ZooKeeper's shell, every answer compared with ZooKeeper's own in foreign/zkcli/everyday.txt (--write: asks it anew)
cargo xtask differential --operations N --seeds M --first-seed S   the same random operations against ours and a real ZooKeeper (needs Debian's libzookeeper-java and default-jre-headless)
cargo xtask differential --smoke       fifteen hundred of them, not for the ledger
cargo xtask etcd-differential --calls N --seeds M --seed S --shards K   the same random calls of etcd's to ours, with its keys in K shards, and a real etcd (needs Debian's etcd-server); at the end --ledger: into the ledger, --go-on: does not stop at a difference
cargo xtask etcd-differential --smoke  fifteen hundred of them, not for the ledger
cargo xtask sim --engine E --seeds N --first-seed S [--shards]   a campaign of the simulator; a rare state that was never reached fails it; with --shards the keys are divided
cargo xtask torture --kills N --shards K   kill -9 and restart real processes under load; the history is checked
cargo xtask torture --minutes M --engine raft|zab|both --seed S   real servers, each in a network and on a disk of its own (root), in every kind of trouble at once; ten workloads are checked
cargo xtask torture --minutes M --faults kill,pause,rolling,partition,degrade,rate,clock,full-disk,fail-sync,hang-sync,power,damage,member,transfer   some of the trouble
cargo xtask torture --controls         servers that are wrong on purpose: each must be found out; --only E07,S16: some of them
cargo xtask power --losses N           power losses on loop-mounted ext4 (root); a build without syncs must fail
cargo xtask full-disk                  one member's file system fills up (root): NOSPACE, kill -9, restart, room again
cargo xtask hostile --connections N    connections that say nothing, resets, slow senders: an honest client is served all the while
cargo xtask plants [ID…]               every planted bug must be found by its named checker; writes docs/plants.md
cargo xtask explore raft|zab --worlds N  the real engines in small worlds, every order of events; with --plants, the planted bugs that are within reach
cargo xtask fuzz [TARGET…] --seconds N  libFuzzer on what bytes from outside can do (needs a C++ compiler); what it finds is kept in fuzz/found
cargo xtask plants --smoke             a few of them
cargo xtask compare --rounds N         beside etcd, in one run, with floor and ceiling; writes docs/comparison.md
cargo xtask compare-api --rounds N       watches, leases, transactions, ranges and a million keys beside etcd; writes docs/comparison-api.md
cargo xtask compare-api --only watch,lease,txn,range,expiry,million --rounds N   some of it, printed and no more; --quick: small, to see that it works
cargo xtask compare-zookeeper --rounds N --kills K   beside Debian's ZooKeeper, likewise; writes docs/comparison-zookeeper.md (--engine raft: only prints)
cargo xtask compare-zookeeper --only quorate|quorate-raft|zookeeper|nothing --what setdata,getdata,create,sync --connections C --outstanding O --seconds S
                                       one load on one system, to look at it; O is of all connections together; --what fanout,failover,million as well
cargo xtask compatibility [--check]    writes COMPATIBILITY.md from the tables in code; --check: it is what would be written
cargo xtask saturate --seconds N       as much load as the machine can make, for so long: no leader may change";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |flag: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.and_then(|at| arguments.get(at + 1)).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let text = |flag: &str, default: &'static str| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, String::as_str).to_owned()
    };
    let done = match arguments.first().map(String::as_str) {
        Some("smoke") => smoke::run(),
        Some("etcdctl") => etcdctl::run(),
        Some("foreign") => foreign::run(),
        Some("etcd3") => etcd3::run(),
        Some("lab") => lab::run(arguments.iter().any(|argument| argument == "--pictures")),
        Some("kazoo") => kazoo::run(arguments.get(1).map_or("zab", String::as_str)),
        Some("zookeeper-client") => foreign::zookeeper(arguments.get(1).map_or("zab", String::as_str)),
        Some("zkcli") => zkcli::run(arguments.get(1).map_or("zab", String::as_str)),
        Some("differential") if arguments.iter().any(|argument| argument == "--smoke") => {
            differential::smoke(number("--first-seed", 1))
        }
        Some("differential") => differential::run(
            number("--operations", 100_000),
            number("--seeds", 10),
            number("--first-seed", 1),
            true,
        ),
        Some("etcd-differential") if arguments.iter().any(|argument| argument == "--smoke") => {
            etcd_differential::smoke(number("--seed", 1))
        }
        Some("etcd-differential") => etcd_differential::run(
            number("--calls", 10_000),
            number("--seeds", 1),
            number("--seed", 1),
            number("--shards", 1),
            match arguments.last().map(String::as_str) {
                Some("--ledger") => etcd_differential::Then::Ledger,
                Some("--go-on") => etcd_differential::Then::GoOn,
                _ => etcd_differential::Then::Stop,
            },
        ),
        Some("sim") => campaign::run(
            text("--engine", "raft"),
            number("--seeds", 10_000),
            number("--first-seed", 1),
            arguments.iter().any(|argument| argument == "--shards"),
        ),
        Some("torture") => torture::run(&arguments[1..]),
        Some("power") => power::run(number("--losses", 50), true),
        Some("hostile") if arguments.get(1).is_some_and(|flag| flag == "--hold") => {
            hostile::hold(&arguments[2..])
        }
        Some("hostile") => hostile::run(number("--connections", 100_000), true),
        Some("full-disk") => full_disk::run(),
        Some("explore") => explore::run(&arguments[1..]),
        Some("fuzz") => fuzz::run(&arguments[1..]),
        Some("plants") => plants::run(&arguments[1..]),
        Some("compare") => compare::run(number("--rounds", 3), number("--kills", 20)),
        Some("compare-api") => etcd_api::run(&arguments[1..]),
        Some("compatibility") => {
            compatibility::run(arguments.get(1).is_some_and(|argument| argument == "--check"))
        }
        Some("saturate") => saturate::run(number("--seconds", 600)),
        Some("nothing") => nothing::serve(arguments.get(1).map_or("127.0.0.1:0", String::as_str)),
        Some("nothing-zookeeper") => zookeeper::nothing::serve(&arguments[1..]),
        Some("compare-zookeeper") => zookeeper::run(&arguments[1..]),
        Some("help" | "--help" | "-h") | None => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("there is no command {other}\n\n{HELP}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

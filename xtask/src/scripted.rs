//! A cluster that is played by a program of its own, which asks by lines on its standard output to kill and to start servers.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch},
};

/// Gives this program the addresses of three servers for ZooKeeper's clients, and does what it asks for (`kill N`, `start N`). What else it says is
/// printed. `on` is what replicates our tree, `zab` or `raft`; or `zookeeper`, which is Debian's, so that nothing is expected of ours that is not so.
pub(crate) fn play(program: Command, name: &str, on: &str) -> Fallible<()> {
    let scratch = Scratch::new(name)?;
    let cluster = start(on, &scratch)?;
    let addresses = cluster.servers.iter().map(|server| server.zookeeper.clone()).collect();
    conduct(program, name, cluster, addresses).map_err(|error| format!("{error}, the servers on {on}").into())
}

/// The same with the addresses for etcd's clients.
pub(crate) fn play_etcd(program: Command, name: &str) -> Fallible<()> {
    let scratch = Scratch::new(name)?;
    let cluster = Cluster::start(Kind::Quorate, &scratch.directories(3)?, &Options::default())?;
    let addresses = cluster.endpoints();
    conduct(program, name, cluster, addresses)
}

fn conduct(mut program: Command, name: &str, mut cluster: Cluster, addresses: Vec<String>) -> Fallible<()> {
    let mut playing = program
        .args(addresses)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    let (Some(mut answers), Some(asked)) = (playing.stdin.take(), playing.stdout.take()) else {
        return Err(format!("{name} has no standard input and output").into());
    };
    for line in BufReader::new(asked).lines() {
        let line = line?;
        let server = |n: &str| n.parse::<usize>().map_err(|_| format!("{name} names no server: {line}"));
        match line.split_once(' ') {
            Some(("kill", n)) => cluster.servers[server(n)?].kill(),
            Some(("start", n)) => {
                let server = &mut cluster.servers[server(n)?];
                server.start()?;
                server.wait_until_it_answers(Duration::from_secs(20))?;
            }
            _ => {
                println!("{line}");
                continue;
            }
        }
        writeln!(answers, "done")?;
    }
    if playing.wait()?.success() { Ok(()) } else { Err(format!("{name} found something").into()) }
}

/// Three servers that speak ZooKeeper's wire: ours with the tree on this engine, or Debian's.
pub(crate) fn start(on: &str, scratch: &Scratch) -> Fallible<Cluster> {
    let (kind, flag) = match on {
        "zab" | "raft" => (Kind::Quorate, format!("--tree-engine={on}")),
        "zookeeper" => (Kind::ZooKeeper, "-Dzookeeper.extendedTypesEnabled=true".to_owned()),
        other => return Err(format!("there are the engines zab and raft, and zookeeper; not {other}").into()),
    };
    let options = Options { zookeeper: true, flags: vec![flag], ..Options::default() };
    Cluster::start(kind, &scratch.directories(3)?, &options)
}

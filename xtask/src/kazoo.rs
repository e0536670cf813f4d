//! ZooKeeper's API, with kazoo, the client that Python has: installed from its registry into the target folder.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch},
};

const SCRIPT: &str = "foreign/kazoo/everyday.py";
const ENVIRONMENT: &str = "target/kazoo";
const VERSION: &str = "kazoo==2.11.0";

/// `engine` replicates the tree: `zab` or `raft`.
pub(crate) fn run(engine: &str) -> Fallible<()> {
    let python = install()?;
    let scratch = Scratch::new("kazoo")?;
    let options =
        Options { zookeeper: true, flags: vec![format!("--tree-engine={engine}")], ..Options::default() };
    let mut cluster = Cluster::start(Kind::Quorate, &scratch.directories(3)?, &options)?;
    let addresses: Vec<String> = cluster.servers.iter().map(|server| server.zookeeper.clone()).collect();
    let mut script = Command::new(python)
        .arg(SCRIPT)
        .args(addresses)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {SCRIPT}: {error}"))?;
    let (Some(mut answers), Some(asked)) = (script.stdin.take(), script.stdout.take()) else {
        return Err("the script has no standard input and output".into());
    };
    for line in BufReader::new(asked).lines() {
        let line = line?;
        let server = |n: &str| n.parse::<usize>().map_err(|_| format!("the script names no server: {line}"));
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
    if script.wait()?.success() {
        Ok(())
    } else {
        Err(format!("{SCRIPT} found something, the tree on {engine}").into())
    }
}

/// An environment of Python's with kazoo in it; its interpreter.
pub(crate) fn install() -> Fallible<String> {
    let python = format!("{ENVIRONMENT}/bin/python");
    if !Path::new(&python).exists() {
        let made = Command::new("python3").args(["-m", "venv", ENVIRONMENT]).status();
        if !made.is_ok_and(|status| status.success()) {
            return Err(
                "python3 cannot make an environment; Debian has that in the package python3-venv".into()
            );
        }
    }
    let installed = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", VERSION])
        .status()?;
    if installed.success() { Ok(python) } else { Err(format!("pip does not install {VERSION}").into()) }
}

//! The client that people already have: the main job through a kill of the leader, and every subcommand beside a real etcd.
//!
//! ```text
//!   foreign/etcdctl/everyday.txt ──► script ──► everyday ──┬──► etcdctl ──► three of ours ──► plain ──┬──► equal
//!                                                          └──► etcdctl ──► three of etcd ──► plain ──┘
//! ```

mod everyday;
mod plain;
mod script;

use std::process::Command;

use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch},
};

/// Both.
pub(crate) fn run() -> Fallible<()> {
    main_job()?;
    everyday::run()
}

fn main_job() -> Fallible<()> {
    if Command::new("etcdctl").arg("version").output().is_err() {
        return Err("etcdctl is not installed; Debian has it in the package etcd-client".into());
    }
    let scratch = Scratch::new("etcdctl")?;
    let mut cluster = Cluster::start(Kind::Quorate, &scratch.directories(3)?, &Options::default())?;
    let endpoints = cluster.endpoints();
    for endpoint in &endpoints {
        expect(endpoint, &["put", "a", "5"], "OK")?;
        expect(endpoint, &["get", "a"], "a\n5")?;
    }
    let leader = crate::client::leader(&endpoints).ok_or("nobody leads")?;
    cluster.servers[leader].kill();
    for (n, endpoint) in endpoints.iter().enumerate().filter(|(n, _)| *n != leader) {
        expect(endpoint, &["put", "a", &n.to_string()], "OK")?;
        expect(endpoint, &["get", "a"], &format!("a\n{n}"))?;
    }
    cluster.servers[leader].start()?;
    cluster.servers[leader].wait_until_it_answers(std::time::Duration::from_secs(20))?;
    expect(
        &endpoints[leader],
        &["get", "a", "--print-value-only"],
        &((leader + 2) % 3).max((leader + 1) % 3).to_string(),
    )?;
    expect(&endpoints[leader], &["del", "a"], "1")?;
    let members = etcdctl(&endpoints[0], &["member", "list"])?;
    if members.lines().count() != 3 {
        return Err(format!("member list shows: {members}").into());
    }
    println!("etcdctl: put, get, del, member list through every endpoint, and through kill -9 of the leader");
    Ok(())
}

fn expect(endpoint: &str, arguments: &[&str], answer: &str) -> Fallible<()> {
    let said = etcdctl(endpoint, arguments)?;
    if said == answer {
        Ok(())
    } else {
        Err(format!("etcdctl {} said {said:?}, not {answer:?}", arguments.join(" ")).into())
    }
}

fn etcdctl(endpoint: &str, arguments: &[&str]) -> Fallible<String> {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .arg("--endpoints")
        .arg(endpoint)
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(
            format!("etcdctl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

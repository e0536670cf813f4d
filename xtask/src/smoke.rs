//! A little of everything, in a few minutes.

use std::process::Command;

use crate::{
    Fallible, cluster::binary, compatibility, differential, etcd_differential, etcd3, etcdctl, foreign,
    full_disk, hostile, kazoo, lab, plants, power, torture, zkcli,
};

pub(crate) fn run() -> Fallible<()> {
    compatibility::run(true)?;
    etcdctl::run()?;
    etcd_differential::smoke(1)?;
    foreign::run()?;
    etcd3::run()?;
    for engine in ["zab", "raft"] {
        kazoo::run(engine)?;
        foreign::zookeeper(engine)?;
    }
    for on in ["zookeeper", "zab", "raft"] {
        zkcli::run(on)?;
    }
    differential::smoke(1)?;
    for (engine, seeds, shards) in [
        ("raft", "1000", None),
        ("zab", "1000", None),
        ("raft", "100", Some("--shards")),
        ("zab", "100", Some("--shards")),
    ] {
        let status = Command::new(binary())
            .args(["sim", "--engine", engine, "--seeds", seeds, "--first-seed", "1"])
            .args(shards)
            .status()?;
        if !status.success() {
            return Err("the simulator found something; its last lines say how to see it".into());
        }
    }
    plants::smoke()?;
    lab::run(false)?;
    torture::smoke()?;
    full_disk::run()?;
    hostile::run(20_000, false)?;
    power::run(3, false)
}

//! Clients that we did not write, as crates: `etcd-client`, whose build needs `protoc`, and `zookeeper-client`; each in a package of its own.

use std::process::Command;

use crate::{Fallible, scripted};

const TARGET: &str = "target/foreign";

/// etcd's API, with the `etcd-client` crate, through kills of the leader.
pub(crate) fn run() -> Fallible<()> {
    if Command::new("protoc").arg("--version").output().is_err() {
        return Err("protoc is not installed, and the etcd-client crate needs it to build; Debian has it in the package protobuf-compiler".into());
    }
    scripted::play_etcd(Command::new(build("etcd-client")?), "etcd-client")
}

/// ZooKeeper's API, with the `zookeeper-client` crate, through kills of the leader. `engine` replicates the tree: `zab` or `raft`.
pub(crate) fn zookeeper(engine: &str) -> Fallible<()> {
    scripted::play(Command::new(build("zookeeper-client")?), "zookeeper-client", engine)
}

/// The program that drives a cluster through this client.
fn build(client: &str) -> Fallible<String> {
    let manifest = format!("foreign/{client}/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--manifest-path",
            &manifest,
            "--target-dir",
            TARGET,
        ])
        .status()?;
    if built.success() {
        Ok(format!("{TARGET}/release/foreign-{client}"))
    } else {
        Err(format!("{manifest} does not build").into())
    }
}

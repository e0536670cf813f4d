//! Clients that we did not write, beside `etcdctl`: the `etcd-client` crate, in a package of its own because its build needs `protoc`.

use std::process::Command;

use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch},
};

const MANIFEST: &str = "foreign/etcd-client/Cargo.toml";
const TARGET: &str = "target/foreign";

pub(crate) fn run() -> Fallible<()> {
    if Command::new("protoc").arg("--version").output().is_err() {
        return Err("protoc is not installed, and the etcd-client crate needs it to build; Debian has it in the package protobuf-compiler".into());
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--manifest-path", MANIFEST, "--target-dir", TARGET])
        .status()?;
    if !built.success() {
        return Err(format!("{MANIFEST} does not build").into());
    }
    let scratch = Scratch::new("foreign")?;
    let cluster = Cluster::start(Kind::Quorate, &scratch.directories(3)?, &Options::default())?;
    let content =
        Command::new(format!("{TARGET}/release/foreign-etcd-client")).args(cluster.endpoints()).status()?;
    if content.success() { Ok(()) } else { Err("the etcd-client crate found something".into()) }
}

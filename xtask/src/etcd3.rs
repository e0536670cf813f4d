//! etcd's API, with etcd3, the client that Python has: installed from its registry into the target folder.

use std::process::Command;

use crate::{Fallible, python, scripted};

const SCRIPT: &str = "foreign/etcd3/everyday.py";
const ENVIRONMENT: &str = "target/etcd3";

/// Its messages were generated before protobuf 4, which does not take them, and its locks wait as tenacity did until 7.
const PACKAGES: [&str; 3] = ["etcd3==0.12.0", "protobuf==3.20.3", "tenacity==6.3.1"];

pub(crate) fn run() -> Fallible<()> {
    let mut script = Command::new(python::install(ENVIRONMENT, &PACKAGES)?);
    script.arg(SCRIPT).env("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python");
    scripted::play_etcd(script, "etcd3")
}

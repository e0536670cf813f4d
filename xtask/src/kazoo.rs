//! ZooKeeper's API, with kazoo, the client that Python has: installed from its registry into the target folder.

use std::process::Command;

use crate::{Fallible, python, scripted};

const SCRIPT: &str = "foreign/kazoo/everyday.py";
const ENVIRONMENT: &str = "target/kazoo";
const VERSION: &str = "kazoo==2.11.0";

/// `engine` replicates the tree: `zab` or `raft`.
pub(crate) fn run(engine: &str) -> Fallible<()> {
    let mut script = Command::new(install()?);
    script.arg(SCRIPT);
    scripted::play(script, "kazoo", engine)
}

/// An environment of Python's with kazoo in it; its interpreter.
pub(crate) fn install() -> Fallible<String> {
    python::install(ENVIRONMENT, &[VERSION])
}

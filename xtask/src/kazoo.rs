//! ZooKeeper's API, with kazoo, the client that Python has: installed from its registry into the target folder.

use std::{path::Path, process::Command};

use crate::{Fallible, scripted};

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

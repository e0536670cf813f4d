//! Clients that Python has: installed from their registry into the target folder.

use std::{path::Path, process::Command};

use crate::Fallible;

/// An environment of Python's with these packages in it; its interpreter.
pub(crate) fn install(environment: &str, packages: &[&str]) -> Fallible<String> {
    let python = format!("{environment}/bin/python");
    if !Path::new(&python).exists() {
        let made = Command::new("python3").args(["-m", "venv", environment]).status();
        if !made.is_ok_and(|status| status.success()) {
            return Err(
                "python3 cannot make an environment; Debian has that in the package python3-venv".into()
            );
        }
    }
    let installed = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(packages)
        .status()?;
    if installed.success() {
        Ok(python)
    } else {
        Err(format!("pip does not install {}", packages.join(" and ")).into())
    }
}

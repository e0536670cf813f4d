//! `quorate etcd`, or this binary under the name `etcd`: one member, from the flags, variables and file that etcd has.

use std::{fs, process::ExitCode};

use crate::{
    commands::Failed,
    config::Given,
    etcd_flags::{self, Asked},
    output, serve,
};

/// The version of etcd that scripts are told, who look for what it can.
const VERSION: &str = "3.6.6";

pub(crate) fn etcd(arguments: &[String]) -> Result<ExitCode, Failed> {
    let variable = |name: &str| std::env::var(name).ok();
    let asked = etcd_flags::read(arguments, &variable, &|path| fs::read_to_string(path));
    match asked.map_err(|error| Failed::usage(error.to_string()))? {
        Asked::Version => {
            let release = env!("CARGO_PKG_VERSION");
            let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
            let machine = if machine == "x86_64" { "amd64" } else { machine };
            let text = format!(
                "etcd Version: {VERSION}\nGit SHA: quorate-{release}\nGo Version: none, this is quorate {release}\nGo OS/Arch: {system}/{machine}\n"
            );
            output::print(text.as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Asked::Help => {
            output::print(etcd_flags::help().as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Asked::Serve { below, notes } => serve::serve(&Given::default(), &below, &notes),
    }
}

/// Is this the binary under the name `etcd`?
pub(crate) fn is_called_etcd() -> bool {
    let path = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&path).file_name().is_some_and(|name| name == "etcd")
}

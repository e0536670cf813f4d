//! `quorate zookeeper zoo.cfg`: one server of an ensemble, from the configuration that ZooKeeper has.

use std::{fs, path::Path, process::ExitCode};

use crate::{cli::Zookeeper, commands::Failed, serve, zoo_cfg};

pub(crate) fn zookeeper(wanted: &Zookeeper) -> Result<ExitCode, Failed> {
    let read = zoo_cfg::read(&wanted.file, &wanted.properties, &|path| fs::read_to_string(path));
    let mut zoo_cfg = read.map_err(|error| Failed::usage(error.to_string()))?;
    zoo_cfg.notes.extend(old_data(&zoo_cfg.data_dir));
    serve::serve(&wanted.given, &zoo_cfg.below, &zoo_cfg.notes)
}

/// A word about data that nobody reads here.
fn old_data(directory: &Path) -> Option<String> {
    let theirs = directory.join("version-2");
    let begins = theirs.is_dir() && !directory.join("quorate").exists();
    begins.then(|| {
        format!(
            "{} has ZooKeeper's data, which is not read: the tree begins empty; copy what you need through a client",
            theirs.display()
        )
    })
}

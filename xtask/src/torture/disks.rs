//! A server's data directory: on an ext4 of its own in a file, where the machine has loop devices; otherwise a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::random::Mixer;
use crate::{
    Fallible,
    power::{Mount, call},
};

/// Enough for a journal's segments, snapshots, and what the file system takes for itself.
const MEBIBYTES: u64 = 1024;
const BALLAST: &str = "ballast";

/// One server's.
pub(crate) enum Disk {
    /// Its power can fail, and it can fill up.
    Own(Mount),
    Folder(PathBuf),
}

impl Disk {
    pub(crate) fn new(folder: &Path, name: &str, own: bool) -> Fallible<Disk> {
        if own {
            return Mount::new(folder, name, MEBIBYTES).map(Disk::Own);
        }
        let path = folder.join(name);
        fs::create_dir_all(&path)?;
        Ok(Disk::Folder(path))
    }

    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Disk::Own(_))
    }

    fn path(&self) -> &Path {
        match self {
            Disk::Own(mount) => &mount.path,
            Disk::Folder(path) => path,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn lose_power(&self) -> Fallible<()> {
        match self {
            Disk::Own(mount) => mount.lose_power(),
            Disk::Folder(_) => Ok(()),
        }
    }

    /// Power comes back: whoever used it must be gone.
    pub(crate) fn restore_power(&mut self) -> Fallible<()> {
        if let Disk::Own(mount) = self {
            mount.unmount()?;
            mount.mount()?;
        }
        self.empty_ballast();
        Ok(())
    }

    /// Another file takes all that is left.
    pub(crate) fn fill(&self) {
        let path = self.path().join(BALLAST);
        for (n, size) in ["256M", "32M", "4M", "512K", "64K", "4K"].iter().enumerate() {
            for turn in 0..16 {
                let file = path.with_extension(format!("{n}-{turn}"));
                // Refused when there is no more room for one of that size: that is the point.
                let made = Command::new("fallocate").args(["-l", size]).arg(&file).output();
                if !made.is_ok_and(|output| output.status.success()) {
                    break;
                }
            }
        }
    }

    pub(crate) fn empty_ballast(&self) {
        for entry in fs::read_dir(self.path()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(BALLAST) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// All data is gone, as on a new disk, and does not come back. {A newcomer's power fails a moment after the data of who was there before was deleted}: it would find
    /// that again, and be taken for who was removed.
    pub(crate) fn wipe(&self) -> Fallible<()> {
        match fs::remove_dir_all(self.data()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        Ok(fs::File::open(self.path())?.sync_all()?)
    }

    /// Flips a bit somewhere in a file, or cuts a file's end off; says what it did, or that there was nothing to damage.
    pub(crate) fn damage(&self, random: &mut Mixer, cut: bool) -> Fallible<Option<String>> {
        let mut files = Vec::new();
        list(&self.data(), &mut files)?;
        files.sort();
        let Some((path, length)) = random.pick(&files).cloned() else { return Ok(None) };
        let short = path.strip_prefix(self.path()).unwrap_or(&path).display().to_string();
        if cut {
            let to = random.below(length);
            fs::File::options().write(true).open(&path)?.set_len(to)?;
            return Ok(Some(format!("{short} is cut from {length} to {to} bytes")));
        }
        let mut bytes = fs::read(&path)?;
        // Zeros ahead of a log say nothing when they change; a byte of the data does.
        let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let Some(at) = random.pick(&written).copied() else { return Ok(None) };
        let bit = random.below(8);
        bytes[at] ^= 1 << bit;
        let file = fs::File::options().write(true).open(&path)?;
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes[at..=at], at as u64)?;
        Ok(Some(format!("bit {bit} of byte {at} of {short} is flipped")))
    }
}

fn list(folder: &Path, into: &mut Vec<(PathBuf, u64)>) -> Fallible<()> {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_dir() {
            list(&entry.path(), into)?;
        } else if about.len() > 0 {
            into.push((entry.path(), about.len()));
        }
    }
    Ok(())
}

/// Takes away what runs that were killed have left mounted: theirs are the scratch folders whose process is gone.
pub(crate) fn sweep() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split_whitespace().nth(1));
    for place in places.filter(|place| place.contains("/scratch-storm-")) {
        let process = place.split("/scratch-storm-").nth(1).and_then(|rest| rest.split('/').next());
        if process.is_none_or(|process| Path::new("/proc").join(process).exists()) {
            continue;
        }
        match call("umount", &["-l", place]) {
            Ok(()) => println!("torture: unmounted {place}, which a run that was killed had left"),
            Err(error) => println!("torture: {place} of a run that was killed stays mounted: {error}"),
        }
    }
    let Ok(target) = std::env::current_exe() else { return };
    for entry in target.parent().map(fs::read_dir).into_iter().flatten().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(process) = name.strip_prefix("scratch-storm-")
            && !Path::new("/proc").join(process).exists()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

//! Syncs that fail or hang, and clocks that are wrong: a few lines of C that a server loads before libc, told what to do through a file that
//! both sides hold. (libfaketime could do the clocks; the shim is there anyway, moves only CLOCK_REALTIME, and counts how often it was asked.)

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Fallible, power::call};

const SOURCE: &str = include_str!("shim.c");
const BYTES: u64 = 64;

/// The library, compiled.
pub(crate) struct Shim(pub(crate) PathBuf);

impl Shim {
    pub(crate) fn compile(folder: &Path) -> Fallible<Shim> {
        let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
        std::fs::write(&source, SOURCE)?;
        let (from, to) = (source.display().to_string(), library.display().to_string());
        call("cc", &["-shared", "-fPIC", "-O2", "-Wall", "-o", &to, &from, "-ldl"])?;
        Ok(Shim(library))
    }
}

/// Is there a compiler?
pub(crate) fn lacks() -> Option<&'static str> {
    match Command::new("cc").arg("--version").output() {
        Ok(output) if output.status.success() => None,
        _ => Some("a C compiler (cc)"),
    }
}

/// What was counted in one server since its control was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) syncs: i64,
    pub(crate) failed: i64,
    pub(crate) hung: i64,
    /// How often the server asked for the time of day while it was wrong.
    pub(crate) wrong_times: i64,
}

/// What one server is told; its words are those of `struct control`.
pub(crate) struct Control {
    pub(crate) path: PathBuf,
    file: File,
}

impl Control {
    pub(crate) fn new(path: PathBuf) -> Fallible<Control> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.set_len(BYTES)?;
        Ok(Control { path, file })
    }

    pub(crate) fn set_clock(&self, offset_seconds: i64) -> Fallible<()> {
        self.write(0, offset_seconds * 1_000_000_000)
    }

    pub(crate) fn fail_syncs(&self, count: i64) -> Fallible<()> {
        self.write(1, count)
    }

    pub(crate) fn hang_sync(&self, milliseconds: i64) -> Fallible<()> {
        self.write(2, milliseconds)
    }

    pub(crate) fn heal(&self) -> Fallible<()> {
        self.set_clock(0)?;
        self.fail_syncs(0)?;
        self.hang_sync(0)
    }

    pub(crate) fn counted(&self) -> Fallible<Counted> {
        let [syncs, failed, hung, wrong_times] = [3, 4, 5, 6].map(|word| self.read(word));
        Ok(Counted { syncs: syncs?, failed: failed?, hung: hung?, wrong_times: wrong_times? })
    }

    fn write(&self, word: u64, value: i64) -> Fallible<()> {
        Ok(self.file.write_all_at(&value.to_le_bytes(), word * 8)?)
    }

    fn read(&self, word: u64) -> Fallible<i64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, word * 8)?;
        Ok(i64::from_le_bytes(bytes))
    }
}

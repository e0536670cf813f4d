//! Power losses on a real file system: the ext4 shutdown call on a loop mount. What was synced stays, what was not is gone, and everything after
//! it fails, as when the plug is pulled. Needs root and loop devices; what the machine lacks is said, never passed over in silence.

use std::{
    fs,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Fallible;

/// An ext4 file system in a file, mounted.
pub(crate) struct Mount {
    image: PathBuf,
    pub(crate) path: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Makes and mounts a file system of `mebibytes`.
    pub(crate) fn new(folder: &Path, name: &str, mebibytes: u64) -> Fallible<Mount> {
        let image = folder.join(format!("{name}.img"));
        let path = folder.join(format!("{name}.mnt"));
        fs::create_dir_all(&path)?;
        fs::File::create(&image)?.set_len(mebibytes << 20)?;
        run("mkfs.ext4", &["-q", "-F", &image.display().to_string()])?;
        let mut mount = Mount { image, path, mounted: false };
        mount.mount()?;
        Ok(mount)
    }

    /// Mounts it again after [`Mount::lose_power`] and [`Mount::unmount`]; the journal of the file system is replayed.
    pub(crate) fn mount(&mut self) -> Fallible<()> {
        run("mount", &["-o", "loop", &self.image.display().to_string(), &self.path.display().to_string()])?;
        self.mounted = true;
        Ok(())
    }

    /// Nothing more reaches the disk, not even the file system's own journal.
    pub(crate) fn lose_power(&self) -> Fallible<()> {
        let directory = fs::File::open(&self.path)?;
        shutdown(directory.as_raw_fd())
    }

    pub(crate) fn unmount(&mut self) -> Fallible<()> {
        if self.mounted {
            run("umount", &[&self.path.display().to_string()])?;
            self.mounted = false;
        }
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        }
    }
}

/// EXT4_IOC_SHUTDOWN, `_IOR('X', 125, u32)`, with EXT4_GOING_FLAGS_NOLOGFLUSH. There is no safe wrapper for it; python's fcntl makes the call.
fn shutdown(fd: i32) -> Fallible<()> {
    let path = fs::read_link(format!("/proc/self/fd/{fd}"))?;
    let script = "import fcntl,os,struct,sys\nfd=os.open(sys.argv[1],os.O_RDONLY)\nfcntl.ioctl(fd,0x8004587D,struct.pack('I',2))";
    run("python3", &["-c", script, &path.display().to_string()])
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Fallible<()> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
}

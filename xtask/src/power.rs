//! Power losses on a real file system: the ext4 shutdown call on a loop mount. What was synced stays, what was not is gone, and everything after
//! it fails, as when the plug is pulled. Needs root and loop devices; what the machine lacks is said, never passed over in silence.

use std::{
    fs,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch},
    history::{self, Call},
    ledger,
    torture::Mixer,
    workload::{Load, read_all},
};

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
        call("mkfs.ext4", &["-q", "-F", &image.display().to_string()])?;
        let mut mount = Mount { image, path, mounted: false };
        mount.mount()?;
        Ok(mount)
    }

    /// Mounts it again after [`Mount::lose_power`] and [`Mount::unmount`]; the journal of the file system is replayed.
    pub(crate) fn mount(&mut self) -> Fallible<()> {
        call("mount", &["-o", "loop", &self.image.display().to_string(), &self.path.display().to_string()])?;
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
            call("umount", &[&self.path.display().to_string()])?;
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
    call("python3", &["-c", script, &path.display().to_string()])
}

pub(crate) fn call(program: &str, arguments: &[&str]) -> Fallible<()> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
        .into())
}

/// Loses power on all three disks at once, `losses` times; then once more with a build that does not sync, which must be found out.
pub(crate) fn run(losses: u64, record: bool) -> Fallible<()> {
    let command = format!("cargo xtask power --losses {losses}");
    if !able() {
        println!("power: skipped: this machine has no root, loop devices or mkfs.ext4");
        return Ok(());
    }
    let sound = campaign(losses, false);
    let result = match &sound {
        Ok(calls) => format!("{losses} power losses, {calls} calls, no acknowledged write lost"),
        Err(error) => format!("{losses} power losses: FAILED: {error}"),
    };
    say(&command, &result, record)?;
    sound?;
    let control = campaign(losses.min(10), true);
    let result = match &control {
        Ok(_) => "control without syncs: NOT FOUND OUT".to_owned(),
        Err(error) => format!("control without syncs fails, as it must: {error}"),
    };
    say(&command, &result, record)?;
    if control.is_ok() { Err("a build without syncs was not found out".into()) } else { Ok(()) }
}

fn say(command: &str, result: &str, record: bool) -> Fallible<()> {
    let short: String = result.replace('\n', " ").replace('|', "/").chars().take(300).collect();
    if record {
        ledger::add(command, &short)
    } else {
        println!("power: {short}");
        Ok(())
    }
}

/// May this process do everything?
pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    })
}

/// Root, loop devices and mkfs.ext4.
pub(crate) fn able() -> bool {
    is_root()
        && Path::new("/dev/loop-control").exists()
        && Command::new("mkfs.ext4").arg("-V").output().is_ok()
}

fn campaign(losses: u64, no_sync: bool) -> Fallible<usize> {
    let scratch = Scratch::new("power")?;
    let mut mounts =
        (1..=3).map(|n| Mount::new(&scratch.0, &format!("n{n}"), 2048)).collect::<Fallible<Vec<_>>>()?;
    let directories: Vec<PathBuf> = mounts.iter().map(|mount| mount.path.clone()).collect();
    let options = Options { no_sync, ..Options::default() };
    let mut cluster = Cluster::start(Kind::Quorate, &directories, &options)?;
    let endpoints = cluster.endpoints();
    let mut random = Mixer(0xdead);
    let mut calls = Vec::new();
    for loss in 0..losses {
        let load = Load::start(&endpoints, 2, loss);
        std::thread::sleep(Duration::from_millis(300 + random.below(700)));
        for mount in &mounts {
            mount.lose_power()?;
        }
        for server in &mut cluster.servers {
            server.kill();
        }
        extend(&mut calls, load.stop(), loss);
        for mount in &mut mounts {
            mount.unmount()?;
            mount.mount()?;
        }
        for server in &mut cluster.servers {
            server.start()?;
        }
        for server in &cluster.servers {
            server.wait_until_it_answers(Duration::from_secs(20))?;
        }
        extend(&mut calls, read_all(&endpoints)?, loss);
        history::check(&calls)?;
    }
    drop(cluster);
    for mount in &mut mounts {
        mount.unmount()?;
    }
    Ok(calls.len())
}

/// Every round has a clock of its own; in the whole history each comes after the one before, and its values are its own.
fn extend(calls: &mut Vec<Call>, round: Vec<Call>, number: u64) {
    let base = number * 10_000_000_000_000;
    let place = |at: u64| base + at.min(9_999_999_999_998);
    calls.extend(round.into_iter().map(|mut call| {
        call.begun = place(call.begun);
        call.ended = call.ended.map(|at| place(at).max(call.begun + 1));
        call
    }));
}

//! Puts another cluster's data in place of a directory's own, with nothing lost whenever the power fails; the old data is kept beside it.
//!
//! ```text
//!   DIR/force.part      the new data is being written: removed if it is found, nothing has happened
//!      │ renamed: from here on it is done, by this process or by the next that comes
//!   DIR/force.ready     the new data, whole
//!      │ name by name: DIR/log ─► DIR/before-force-OLD/log, then DIR/force.ready/log ─► DIR/log
//!   DIR/forced          moved last: whom the directory belongs to now, whatever the configuration says
//! ```
//! All of it happens within the directory, which may be a file system of its own and then cannot get another name.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use quorate_consensus::{ClusterId, NodeId};

use crate::{
    data_directory::{DataDirectory, lock_data_dir, random_u64},
    seed::{Beginning, SeedError, fill},
};

const PART: &str = "force.part";
const READY: &str = "force.ready";
const MARK: &str = "forced";
/// What a data directory has, but for its lock. The mark comes last: it says where the old ones go.
const NAMES: [&str; 5] = ["log", "snapshots", "peers", "identity", MARK];
const HEADING: &str = "quorate forced, version 1";
const MARK_BYTES_MAX: u64 = 4096;

/// Says that a directory's data went on without the other members of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forced {
    /// The cluster that it is now.
    pub cluster: ClusterId,
    /// The member.
    pub node: NodeId,
    /// The cluster that it was.
    pub before: ClusterId,
}

impl Forced {
    /// Where the data of the cluster before is, in the directory.
    #[must_use]
    pub fn kept_in(&self, directory: &Path) -> PathBuf {
        directory.join(format!("before-force-{}", self.before))
    }

    fn parse(text: &str) -> Option<Forced> {
        let (body, sum) = text.split_once("crc32 ")?;
        let mut lines = body.lines();
        if lines.next() != Some(HEADING) || sum != format!("{:08x}\n", crc32fast::hash(body.as_bytes())) {
            return None;
        }
        let mut number = |name: &str| u64::from_str_radix(lines.next()?.strip_prefix(name)?, 16).ok();
        let (cluster, node) = (ClusterId(number("cluster ")?), NodeId(number("node ")?));
        Some(Forced { cluster, node, before: ClusterId(number("before ")?) })
    }
}

impl fmt::Display for Forced {
    /// The file's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forced { cluster, node, before } = self;
        let body = format!("{HEADING}\ncluster {cluster}\nnode {node}\nbefore {before}\n");
        writeln!(f, "{body}crc32 {:08x}", crc32fast::hash(body.as_bytes()))
    }
}

/// A cluster that nobody else can be: drawn, so that no member of the old one is taken for one of its own, nor one that was forced from another copy.
///
/// # Errors
/// The operating system gives no random number.
pub fn new_cluster() -> io::Result<ClusterId> {
    Ok(ClusterId(random_u64()?.max(1)))
}

/// Was this directory forced? One whose change was cut off is completed first.
///
/// # Errors
/// The mark is damaged, another process uses the directory, or the operating system refuses.
pub fn forced(directory: &Path) -> Result<Option<Forced>, SeedError> {
    if directory.join(READY).exists() {
        complete(&lock_data_dir(directory).map_err(SeedError::Directory)?)?;
    }
    read(&directory.join(MARK))
}

/// From now on the directory is that of `to`, and its groups begin so. What it held is kept.
///
/// # Errors
/// The operating system refuses. If it is said before the change is decided, nothing has happened; after it, the next start completes it.
pub fn replace(
    directory: &DataDirectory,
    to: Forced,
    groups: impl IntoIterator<Item = Beginning>,
) -> Result<(), SeedError> {
    let (part, ready) = (directory.path().join(PART), directory.path().join(READY));
    if part.exists() {
        fs::remove_dir_all(&part).map_err(SeedError::Io)?;
    }
    fill(&part, (to.cluster, to.node), groups)?;
    let decide = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut mark = options.write(true).create_new(true).mode(0o600).open(part.join(MARK))?;
        mark.write_all(to.to_string().as_bytes())?;
        mark.sync_all()?;
        rename(&part, &ready)
    };
    decide().map_err(SeedError::Io)?;
    complete(directory)
}

/// Each step may have been done already: whatever is still in `force.ready` has not come to its place, and what has its name there is old.
fn complete(directory: &DataDirectory) -> Result<(), SeedError> {
    let (root, ready) = (directory.path(), directory.path().join(READY));
    // The mark has moved only if everything else has.
    if let Some(mark) = read(&ready.join(MARK))? {
        let before = mark.kept_in(root);
        let step = || -> io::Result<()> {
            fs::create_dir_all(&before)?;
            File::open(root)?.sync_all()?;
            for name in NAMES {
                let (old, new) = (root.join(name), ready.join(name));
                // {`log` was moved aside and the new one put in place, then the power failed}: what has the name now has no successor any more, and stays. The old
                // members' addresses have none at all.
                if old.exists() && (new.exists() || name == "peers") {
                    rename(&old, &before.join(name))?;
                }
                if new.exists() {
                    rename(&new, &old)?;
                }
            }
            Ok(())
        };
        step().map_err(SeedError::Io)?;
    }
    fs::remove_dir_all(&ready).and_then(|()| File::open(root)?.sync_all()).map_err(SeedError::Io)
}

/// Durably, in both folders.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    for path in [to, from] {
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<Forced>, SeedError> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => _ = file.take(MARK_BYTES_MAX).read_to_string(&mut text).map_err(SeedError::Io)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SeedError::Io(error)),
    }
    let damaged = || SeedError::Damaged(format!("{}: its checksum does not match", path.display()));
    Forced::parse(&text).map(Some).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_consensus::{GroupId, Index, Membership, Position, SnapshotMeta};

    use super::*;
    use crate::{
        data_directory::Identity,
        testing::{Scratch, damaged},
    };

    const TO: Forced = Forced { cluster: ClusterId(2), node: NodeId(1), before: ClusterId(1) };

    #[test]
    fn every_torn_or_flipped_mark_is_refused() {
        let scratch = Scratch::new();
        let path = scratch.path().join(MARK);
        let whole = TO.to_string().into_bytes();
        fs::write(&path, &whole).unwrap();
        assert_eq!(read(&path).unwrap(), Some(TO));
        for bytes in damaged(&whole) {
            fs::write(&path, &bytes).unwrap();
            assert!(read(&path).is_err(), "{bytes:?}");
        }
    }

    fn beginning() -> Beginning {
        let meta = SnapshotMeta {
            position: Position::new(3, 7),
            membership: Membership::new([NodeId(1)], []),
            membership_at: Index(7),
            size_bytes: 10,
            digest: 3,
        };
        let chunks = Box::new([Bytes::from_static(b"0123456789")].into_iter());
        Beginning { group: GroupId(2), hard_state: None, meta, chunks }
    }

    /// A directory of the old cluster, with something in all its places.
    fn old(scratch: &Scratch) -> PathBuf {
        let path = scratch.path().join("data");
        fill(&path, (ClusterId(1), NodeId(1)), [beginning()]).unwrap();
        fs::write(path.join("peers"), "old").unwrap();
        path
    }

    fn owner(path: &Path) -> (ClusterId, NodeId) {
        let identity = Identity::load(&lock_data_dir(path).unwrap()).unwrap().unwrap();
        (identity.cluster, identity.node)
    }

    #[test]
    fn a_directory_that_was_never_forced_is_left_alone() {
        let scratch = Scratch::new();
        assert_eq!(forced(&scratch.path().join("none")).unwrap(), None);
        assert!(!scratch.path().join("none").exists());
        let path = old(&scratch);
        // Cut off while the new data was written: it never happened.
        fs::create_dir(path.join(PART)).unwrap();
        assert_eq!(forced(&path).unwrap(), None);
        assert_eq!(owner(&path), (ClusterId(1), NodeId(1)));
    }

    #[test]
    fn the_change_is_completed_wherever_it_was_cut_off_and_nothing_is_lost() {
        // The renames of a change that runs through, in their order.
        let steps = 2 * NAMES.len();
        for cut in 0..=steps {
            let scratch = Scratch::new();
            let path = old(&scratch);
            let part = path.join(PART);
            fill(&part, (TO.cluster, TO.node), [beginning()]).unwrap();
            fs::write(part.join(MARK), TO.to_string()).unwrap();
            let (ready, before) = (path.join(READY), TO.kept_in(&path));
            fs::rename(&part, &ready).unwrap();
            fs::create_dir_all(&before).unwrap();
            for step in 0..cut {
                let name = NAMES[step / 2];
                let (from, to) = if step % 2 == 0 { (&path, &before) } else { (&ready, &path) };
                if from.join(name).exists() {
                    fs::rename(from.join(name), to.join(name)).unwrap();
                }
            }
            assert_eq!(forced(&path).unwrap(), Some(TO), "cut off after {cut} steps");
            assert_eq!(owner(&path), (TO.cluster, TO.node));
            assert!(!ready.exists() && !path.join("peers").exists(), "cut off after {cut} steps");
            let kept = ["log", "snapshots", "identity", "peers"].map(|name| before.join(name).exists());
            assert_eq!(kept, [true; 4], "cut off after {cut} steps");
            assert_eq!(owner(&before), (ClusterId(1), NodeId(1)));
            assert_eq!(forced(&path).unwrap(), Some(TO), "and it stays so");
        }
    }

    #[test]
    fn a_mark_that_is_damaged_is_refused() {
        let scratch = Scratch::new();
        let path = old(&scratch);
        let directory = lock_data_dir(&path).unwrap();
        replace(&directory, TO, [beginning()]).unwrap();
        drop(directory);
        let whole = fs::read_to_string(path.join(MARK)).unwrap();
        for length in 0..whole.len() {
            fs::write(path.join(MARK), &whole[..length]).unwrap();
            assert!(matches!(forced(&path), Err(SeedError::Damaged(_))), "{length} bytes of it");
        }
    }
}

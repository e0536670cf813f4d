//! The data directory: one process at a time, and one identity for its life.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use quorate_consensus::{ClusterId, Incarnation, NodeId, planted};

const LOCK: &str = "LOCK";
const IDENTITY: &str = "identity";
const IDENTITY_NEW: &str = "identity.new";
const IDENTITY_BYTES_MAX: u64 = 4096;

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum DataDirectoryError {
    /// Another process uses it.
    Locked(PathBuf),
    /// The operating system refuses something.
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        error: io::Error,
    },
    /// The identity file is not one, or is damaged.
    IdentityDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is data, but no identity.
    IdentityMissing(PathBuf),
    /// The directory belongs to another node or cluster.
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: Identity,
        /// Who wants it: cluster and node.
        wanted: (ClusterId, NodeId),
    },
}

impl fmt::Display for DataDirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataDirectoryError::Locked(path) => write!(
                f,
                "another process uses the data directory {}: stop it first, or give this node a directory of its own",
                path.display()
            ),
            DataDirectoryError::Io { what, error } => write!(f, "cannot {what}: {error}"),
            DataDirectoryError::IdentityDamaged { path, why } => write!(
                f,
                "the identity file {} is damaged ({why}): restore it from a copy, or remove this member from the cluster and add it anew \
                 with an empty data directory; without its identity the data cannot be trusted to be this node's",
                path.display()
            ),
            DataDirectoryError::IdentityMissing(path) => write!(
                f,
                "the data directory {} holds files but no identity: it is not a node's data directory, or has lost a part; choose an empty \
                 one, or remove this member from the cluster and add it anew",
                path.display()
            ),
            DataDirectoryError::Foreign { path, found, wanted } => write!(
                f,
                "the data directory {} belongs to node {} of cluster {}, not to node {} of cluster {}: check the node's name and the \
                 cluster's token, or choose another directory",
                path.display(),
                found.node,
                found.cluster,
                wanted.1,
                wanted.0
            ),
        }
    }
}

impl std::error::Error for DataDirectoryError {}

fn failed<T>(what: &str, path: &Path, result: io::Result<T>) -> Result<T, DataDirectoryError> {
    result.map_err(|error| DataDirectoryError::Io { what: format!("{what} {}", path.display()), error })
}

/// A data directory that this process alone uses, as long as the value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Closing it frees the lock, however the process ends.
    _lock: File,
}

/// Makes the directory (mode 0700) if it is not there, and locks it for this process.
///
/// # Errors
/// Another process uses it, or the operating system refuses.
pub fn lock_data_dir(path: &Path) -> Result<DataDirectory, DataDirectoryError> {
    failed("make the data directory", path, DirBuilder::new().recursive(true).mode(0o700).create(path))?;
    let at = path.join(LOCK);
    let mut options = OpenOptions::new();
    let lock = failed("open", &at, options.write(true).create(true).truncate(false).mode(0o600).open(&at))?;
    if planted!("F17") {
        return Ok(DataDirectory { path: path.to_owned(), _lock: lock });
    }
    match lock.try_lock() {
        Ok(()) => Ok(DataDirectory { path: path.to_owned(), _lock: lock }),
        Err(TryLockError::WouldBlock) => Err(DataDirectoryError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => failed("lock", &at, Err(error)),
    }
}

impl DataDirectory {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whose a disk is, and which life of it: drawn once, when the data directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The disk's life.
    pub incarnation: Incarnation,
}

impl Identity {
    /// The directory's identity; a new one if the directory is empty.
    ///
    /// # Errors
    /// It is another node's, it is damaged, there is data without it, or the operating system refuses.
    pub fn load_or_create(
        directory: &DataDirectory,
        cluster: ClusterId,
        node: NodeId,
    ) -> Result<Identity, DataDirectoryError> {
        match Identity::load(directory)? {
            Some(found) if (found.cluster, found.node) == (cluster, node) => Ok(found),
            Some(found) => {
                let (path, wanted) = (directory.path.clone(), (cluster, node));
                Err(DataDirectoryError::Foreign { path, found, wanted })
            }
            None => Identity::create(directory, &directory.path.join(IDENTITY), cluster, node),
        }
    }

    /// The directory's identity, whosever it is; none if it has none.
    ///
    /// # Errors
    /// It is damaged, or the operating system refuses.
    pub fn load(directory: &DataDirectory) -> Result<Option<Identity>, DataDirectoryError> {
        let path = directory.path.join(IDENTITY);
        match File::open(&path) {
            Ok(file) => {
                let mut text = Vec::new();
                failed("read", &path, file.take(IDENTITY_BYTES_MAX).read_to_end(&mut text))?;
                let found = Identity::parse(&text);
                found.map(Some).map_err(|why| DataDirectoryError::IdentityDamaged { path, why })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => failed("open", &path, Err(error)),
        }
    }

    fn create(
        directory: &DataDirectory,
        path: &Path,
        cluster: ClusterId,
        node: NodeId,
    ) -> Result<Identity, DataDirectoryError> {
        // Nothing else is ever written before the identity is durable, so other files without one mean that one was lost.
        for entry in failed("list", &directory.path, fs::read_dir(&directory.path))? {
            let name = failed("list", &directory.path, entry)?.file_name();
            // `lost+found` is in every fresh ext4 file system.
            if ![LOCK, IDENTITY_NEW, "lost+found"].iter().any(|ours| name == *ours) {
                return Err(DataDirectoryError::IdentityMissing(directory.path.clone()));
            }
        }
        let incarnation = Incarnation(failed("draw", Path::new("a random number"), random_u64())?);
        let identity = Identity { cluster, node, incarnation };
        let new = directory.path.join(IDENTITY_NEW);
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(identity.to_string().as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            File::open(&directory.path)?.sync_all()?;
            if let Some(parent) = directory.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
            Ok(())
        };
        failed("write", path, write())?;
        Ok(identity)
    }

    fn parse(text: &[u8]) -> Result<Identity, &'static str> {
        let text = str::from_utf8(text).map_err(|_| "it is not text")?;
        let (body, sum) = text.split_once("crc32 ").ok_or("it has no checksum; perhaps it is torn")?;
        let mut lines = body.lines();
        if lines.next() != Some(HEADING) {
            return Err("its first line names no version that this build reads");
        }
        if sum != format!("{:08x}\n", crc32fast::hash(body.as_bytes())) {
            return Err("its checksum does not match");
        }
        let mut number = |name: &str| -> Result<u64, &'static str> {
            let value = lines.next().and_then(|line| line.strip_prefix(name)).ok_or("a line is missing")?;
            u64::from_str_radix(value.trim(), 16).map_err(|_| "a number is none")
        };
        let (cluster, node) = (ClusterId(number("cluster ")?), NodeId(number("node ")?));
        Ok(Identity { cluster, node, incarnation: Incarnation(number("incarnation ")?) })
    }
}

const HEADING: &str = "quorate identity, version 1";

impl fmt::Display for Identity {
    /// The file's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { cluster, node, incarnation } = self;
        let body = format!("{HEADING}\ncluster {cluster}\nnode {node}\nincarnation {incarnation}\n");
        writeln!(f, "{body}crc32 {:08x}", crc32fast::hash(body.as_bytes()))
    }
}

/// 64 bits from the operating system's generator.
pub(crate) fn random_u64() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::testing::{Scratch, damaged};

    const US: (ClusterId, NodeId) = (ClusterId(0xc), NodeId(0xa));

    fn load(directory: &DataDirectory) -> Result<Identity, DataDirectoryError> {
        Identity::load_or_create(directory, US.0, US.1)
    }

    #[test]
    fn a_second_user_is_refused_until_the_first_has_gone() {
        let scratch = Scratch::new();
        let path = scratch.path().join("deep/data");
        let first = lock_data_dir(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let error = lock_data_dir(&path).unwrap_err();
        assert!(matches!(error, DataDirectoryError::Locked(_)));
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()) && message.contains("stop it first"), "{message}");
        drop(first);
        lock_data_dir(&path).unwrap();
    }

    #[cfg(feature = "planted-bugs")]
    #[test]
    fn f17_two_processes_in_one_directory_are_found_planted() {
        let check = |()| a_second_user_is_refused_until_the_first_has_gone();
        quorate_consensus::hunt_plant("F17", "I17", [()], check);
    }

    #[test]
    fn an_identity_is_drawn_once() {
        let (one, other) = (Scratch::new(), Scratch::new());
        let directory = lock_data_dir(one.path()).unwrap();
        let identity = load(&directory).unwrap();
        assert_eq!(load(&directory).unwrap(), identity);
        let another = load(&lock_data_dir(other.path()).unwrap()).unwrap();
        assert_ne!(another.incarnation, identity.incarnation);
    }

    #[test]
    fn every_torn_or_flipped_identity_is_refused_and_never_replaced() {
        let scratch = Scratch::new();
        let directory = lock_data_dir(scratch.path()).unwrap();
        let path = scratch.path().join(IDENTITY);
        load(&directory).unwrap();
        let whole = fs::read(&path).unwrap();
        for bytes in damaged(&whole) {
            fs::write(&path, &bytes).unwrap();
            let error = load(&directory).unwrap_err();
            assert!(matches!(error, DataDirectoryError::IdentityDamaged { .. }), "{bytes:?}: {error}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn data_without_an_identity_is_refused() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path().join("journal")).unwrap();
        let error = load(&lock_data_dir(scratch.path()).unwrap()).unwrap_err();
        assert!(matches!(error, DataDirectoryError::IdentityMissing(_)));
    }

    #[test]
    fn a_crash_while_the_identity_was_written_leaves_an_empty_directory() {
        let scratch = Scratch::new();
        fs::write(scratch.path().join(IDENTITY_NEW), "quor").unwrap();
        load(&lock_data_dir(scratch.path()).unwrap()).unwrap();
    }

    #[test]
    fn another_nodes_directory_is_refused() {
        let scratch = Scratch::new();
        let directory = lock_data_dir(scratch.path()).unwrap();
        load(&directory).unwrap();
        for (cluster, node) in [(ClusterId(0xd), US.1), (US.0, NodeId(0xb))] {
            let error = Identity::load_or_create(&directory, cluster, node).unwrap_err();
            assert!(matches!(error, DataDirectoryError::Foreign { .. }));
        }
    }
}

//! Puts a snapshot into a data directory that has none: how a member of a restored cluster begins.
//!
//! The journal does the work, as it does when a leader sends a snapshot; here its operations are carried out one after the other. All of it is done under
//! another name, so that a directory of the right name is whole: a member that began with half of it would begin with nothing, beside others that have it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use quorate_consensus::{ClusterId, GroupId, NodeId, SnapshotMeta};
use quorate_journal::{GroupWrite, JournalEvent};

use crate::{
    data_directory::{DataDirectoryError, Identity, lock_data_dir},
    offline::Offline,
};

/// Why a directory could not be seeded.
#[derive(Debug)]
pub enum SeedError {
    /// It is somebody else's, or in use.
    Directory(DataDirectoryError),
    /// There is something in it.
    NotEmpty(PathBuf),
    /// The operating system refuses to look at it, or to give it its name.
    Io(io::Error),
    /// The disk refuses.
    Journal(String),
    /// What is there is damaged.
    Damaged(String),
}

impl std::fmt::Display for SeedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SeedError::Directory(error) => error.fmt(f),
            SeedError::NotEmpty(path) => {
                write!(f, "there is something in {}; restore into a directory that is new", path.display())
            }
            SeedError::Io(error) => write!(f, "the operating system refuses: {error}"),
            SeedError::Journal(why) => write!(f, "the journal cannot be read or written: {why}"),
            SeedError::Damaged(what) => write!(
                f,
                "the data is damaged: {what}; it cannot be trusted: take another member's directory, or restore a backup"
            ),
        }
    }
}

impl std::error::Error for SeedError {}

/// Makes the directory that of `node` of `cluster`, in which `group` begins with this snapshot. When it returns, all of it is durable; until then there is no
/// directory of this name, or it is empty.
///
/// Every member that the group is born with must begin so, with the same snapshot: to the engines it is a log that was compacted.
///
/// # Errors
/// See [`SeedError`].
pub fn seed(
    directory: &Path,
    (cluster, node): (ClusterId, NodeId),
    group: GroupId,
    meta: &SnapshotMeta,
    chunks: impl IntoIterator<Item = Bytes, IntoIter: Send + 'static>,
) -> Result<(), SeedError> {
    match fs::read_dir(directory).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(SeedError::NotEmpty(directory.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(SeedError::Io(error)),
    }
    let part = part_of(directory);
    if part.exists() {
        // Of one that was cut off; of one that is at work the lock is taken.
        let _locked = lock_data_dir(&part).map_err(SeedError::Directory)?;
        fs::remove_dir_all(&part).map_err(SeedError::Io)?;
    }
    let chunks = Box::new(chunks.into_iter());
    fill(&part, (cluster, node), [Beginning { group, hard_state: None, meta: meta.clone(), chunks }])?;
    fs::rename(&part, directory).map_err(SeedError::Io)?;
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()).map_err(SeedError::Io)
}

/// Where a directory is until it is whole.
fn part_of(directory: &Path) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    directory.with_file_name(name)
}

/// How a group begins in a directory that is made.
pub struct Beginning {
    /// Which.
    pub group: GroupId,
    /// What its engine has promised, in the engine's encoding, if it has promised anything.
    pub hard_state: Option<Bytes>,
    /// Its snapshot.
    pub meta: SnapshotMeta,
    /// The snapshot's pieces.
    pub chunks: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl std::fmt::Debug for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beginning")
            .field("group", &self.group)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

/// Makes the directory, with all that these groups begin with. When it returns, all of it is durable.
pub(crate) fn fill(
    directory: &Path,
    (cluster, node): (ClusterId, NodeId),
    groups: impl IntoIterator<Item = Beginning>,
) -> Result<(), SeedError> {
    let locked = lock_data_dir(directory).map_err(SeedError::Directory)?;
    let identity = Identity::load_or_create(&locked, cluster, node).map_err(SeedError::Directory)?;
    let mut offline = Offline::open(&locked, identity)?;
    for Beginning { group, hard_state, meta, chunks } in groups {
        if hard_state.is_some() {
            offline.journal.append(group, GroupWrite { hard_state, ..GroupWrite::default() });
        }
        let id = offline.journal.begin_snapshot(group, meta);
        for chunk in chunks {
            offline.journal.write_chunk(id, chunk);
            offline.settle(&mut |_| {})?;
        }
        offline.journal.finish_snapshot(id, false);
        offline.until(|event| match event {
            JournalEvent::SnapshotDurable { id: durable, .. } if durable == id => Some(()),
            _ => None,
        })?;
        let token = offline.journal.install_snapshot(group, id, false);
        offline.until(|event| match event {
            JournalEvent::Durable { token: durable } if durable >= token => Some(()),
            _ => None,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use quorate_consensus::{Membership, Position};

    use super::*;

    #[test]
    fn a_directory_is_there_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("quorate-seed-{}", std::process::id()));
        let directory = folder.join("n1");
        fs::create_dir_all(&folder).unwrap();
        let meta = SnapshotMeta {
            position: Position::new(0, 7),
            membership: Membership::new([NodeId(1)], []),
            membership_at: quorate_consensus::Index::ZERO,
            size_bytes: 10,
            digest: 3,
        };
        let owner = (ClusterId(1), NodeId(1));
        fn chunk() -> Bytes {
            Bytes::from_static(b"0123456789")
        }
        let cut_off = || {
            let chunks = (0..3).map(|number| if number < 2 { chunk() } else { panic!("the power fails") });
            seed(&directory, owner, GroupId(2), &meta, chunks)
        };
        assert!(std::panic::catch_unwind(cut_off).is_err());
        assert!(!directory.exists() && part_of(&directory).exists());
        seed(&directory, owner, GroupId(2), &meta, [chunk()]).unwrap();
        assert!(directory.join("identity").exists() && !part_of(&directory).exists());
        let again = seed(&directory, owner, GroupId(2), &meta, [chunk()]);
        assert!(matches!(again, Err(SeedError::NotEmpty(_))), "{again:?}");
        fs::remove_dir_all(&folder).unwrap();
    }
}

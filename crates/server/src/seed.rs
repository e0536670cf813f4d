//! Puts a snapshot into a data directory that has none: how a member of a restored cluster begins.
//!
//! The journal does the work, as it does when a leader sends a snapshot; here its operations are carried out one after the other. All of it is done under
//! another name, so that a directory of the right name is whole: a member that began with half of it would begin with nothing, beside others that have it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use quorate_consensus::{ClusterId, DiskCompletion, GroupId, NodeId, SnapshotMeta};
use quorate_journal::{Config, Identity as JournalIdentity, Journal, JournalEvent, SnapshotId};

use crate::{
    counters::Counters,
    data_directory::{DataDirectoryError, Identity, lock_data_dir},
    files::Files,
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
    /// The disk refuses, or what is there is damaged.
    Journal(String),
}

impl std::fmt::Display for SeedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SeedError::Directory(error) => error.fmt(f),
            SeedError::NotEmpty(path) => {
                write!(f, "there is something in {}; restore into a directory that is new", path.display())
            }
            SeedError::Io(error) => write!(f, "the directory cannot be made: {error}"),
            SeedError::Journal(why) => write!(f, "the journal cannot be written: {why}"),
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
    chunks: impl IntoIterator<Item = Bytes>,
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
    fill(&part, (cluster, node), group, meta, chunks)?;
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

fn fill(
    directory: &Path,
    (cluster, node): (ClusterId, NodeId),
    group: GroupId,
    meta: &SnapshotMeta,
    chunks: impl IntoIterator<Item = Bytes>,
) -> Result<(), SeedError> {
    let locked = lock_data_dir(directory).map_err(SeedError::Directory)?;
    let identity = Identity::load_or_create(&locked, cluster, node).map_err(SeedError::Directory)?;
    let identity = JournalIdentity { cluster, node, incarnation: identity.incarnation };
    let files = Files::new(directory.to_owned(), false, Arc::<Counters>::default());
    let mut seeding = Seeding { journal: Journal::open(Config::default(), identity), files };
    seeding.until(|event| matches!(event, JournalEvent::Recovered(_)))?;
    let id = seeding.journal.begin_snapshot(group, meta.clone());
    for chunk in chunks {
        seeding.journal.write_chunk(id, chunk);
        seeding.settle(&mut |_| {})?;
    }
    seeding.journal.finish_snapshot(id, false);
    let written = |wanted: SnapshotId| move |event: &JournalEvent| matches!(event, JournalEvent::SnapshotDurable { id, .. } if *id == wanted);
    seeding.until(written(id))?;
    let token = seeding.journal.install_snapshot(group, id, false);
    seeding.until(|event| matches!(event, JournalEvent::Durable { token: durable } if *durable >= token))
}

struct Seeding {
    journal: Journal,
    files: Files,
}

impl Seeding {
    /// Carries operations out until this has happened.
    fn until(&mut self, happened: impl Fn(&JournalEvent) -> bool) -> Result<(), SeedError> {
        let mut seen = false;
        self.settle(&mut |event| seen |= happened(event))?;
        if seen {
            Ok(())
        } else {
            Err(SeedError::Journal("it stopped before its end; please report this".to_owned()))
        }
    }

    fn settle(&mut self, see: &mut dyn FnMut(&JournalEvent)) -> Result<(), SeedError> {
        loop {
            self.journal.flush();
            let operations = self.journal.operations();
            if operations.is_empty() {
                return Ok(());
            }
            for operation in operations {
                let outcome = self.files.execute(&operation.request);
                let mut events = Vec::new();
                self.journal.complete(DiskCompletion { id: operation.id, outcome }, &mut events);
                for event in events {
                    match &event {
                        JournalEvent::Failed(why) => return Err(SeedError::Journal(why.to_string())),
                        JournalEvent::Damaged(report) => return Err(SeedError::Journal(report.to_string())),
                        JournalEvent::SnapshotFailed { .. } | JournalEvent::Full => {
                            return Err(SeedError::Journal("there is no room on the disk".to_owned()));
                        }
                        _ => see(&event),
                    }
                }
            }
        }
    }
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
        let chunk = || Bytes::from_static(b"0123456789");
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

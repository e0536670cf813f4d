//! Puts a snapshot into a data directory that has none: how a member of a restored cluster begins.
//!
//! The journal does the work, as it does when a leader sends a snapshot; here its operations are carried out one after the other.

use std::{path::Path, sync::Arc};

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
    /// The group is there already.
    NotEmpty(GroupId),
    /// The disk refuses, or what is there is damaged.
    Journal(String),
}

impl std::fmt::Display for SeedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SeedError::Directory(error) => error.fmt(f),
            SeedError::NotEmpty(group) => {
                write!(f, "group {group} is there already; restore into a directory that is new")
            }
            SeedError::Journal(why) => write!(f, "the journal cannot be written: {why}"),
        }
    }
}

impl std::error::Error for SeedError {}

/// Makes the directory that of `node` of `cluster`, in which `group` begins with this snapshot. When it returns, all of it is durable.
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
    let locked = lock_data_dir(directory).map_err(SeedError::Directory)?;
    let identity = Identity::load_or_create(&locked, cluster, node).map_err(SeedError::Directory)?;
    let identity = JournalIdentity { cluster, node, incarnation: identity.incarnation };
    let files = Files::new(directory.to_owned(), false, Arc::<Counters>::default());
    let mut seeding = Seeding { journal: Journal::open(Config::default(), identity), files };
    seeding.until(|event| matches!(event, JournalEvent::Recovered(_)))?;
    if seeding.journal.group(group).is_some_and(|state| state.snapshot.is_some() || state.last.index.0 > 0) {
        return Err(SeedError::NotEmpty(group));
    }
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

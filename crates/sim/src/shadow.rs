//! What a host's disk would give back if the power failed now and nothing unsynced survived: the judge of every claim that something is
//! durable. The journal itself reads it, from a copy, so that the judge knows no file format.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskError, DiskErrorKind, DiskOperation, DiskOutcome, DiskRequest, Engine, Epoch, Index,
    Membership, Position, Reader, SnapshotMeta,
};
use quorate_journal::{Identity, Journal, JournalEvent};
use quorate_raft::{HardState, Raft};

use crate::{disk::Image, half::KEYS, host::journal_config};

/// What is durable on one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable {
    /// The disk's version that was read.
    pub(crate) version: u64,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) snapshot: Option<SnapshotMeta>,
    pub(crate) compacted: Position,
    pub(crate) last: Position,
    pub(crate) epochs: Vec<(Epoch, Index)>,
    pub(crate) memberships: Vec<(Index, Membership)>,
    /// Why it could not be read.
    pub(crate) unreadable: Option<String>,
}

impl Durable {
    /// The epoch of the entry at `index`, if the log holds it.
    pub(crate) fn epoch_at(&self, index: Index) -> Option<Epoch> {
        if index == self.compacted.index {
            return Some(self.compacted.epoch);
        }
        if index < self.compacted.index || index > self.last.index {
            return None;
        }
        self.epochs.iter().rev().find(|(_, first)| *first <= index).map(|(epoch, _)| *epoch)
    }

    pub(crate) fn snapshot_index(&self) -> Index {
        self.snapshot.as_ref().map(|meta| meta.position.index).unwrap_or_default()
    }

    /// Is the entry there, or in the snapshot? Everything in a snapshot was committed.
    pub(crate) fn holds(&self, index: Index, epoch: Epoch) -> bool {
        index <= self.snapshot_index() || self.epoch_at(index) == Some(epoch)
    }
}

/// Reads an image.
pub(crate) fn read(image: Image, identity: Identity, version: u64) -> Durable {
    let mut files = Files(image);
    let mut journal = Journal::open(journal_config(), identity);
    let mut events = Vec::new();
    let mut durable = Durable { version, ..Durable::default() };
    for _ in 0..10_000 {
        let operations = journal.operations();
        let mut any = false;
        for operation in operations {
            any = true;
            let completion = files.perform(operation);
            journal.complete(completion, &mut events);
        }
        for event in events.drain(..) {
            match event {
                JournalEvent::Recovered(_) => {
                    fill(&mut durable, &journal);
                    return durable;
                }
                JournalEvent::Damaged(report) => durable.unreadable = Some(report.to_string()),
                JournalEvent::Failed(failure) => durable.unreadable = Some(failure.to_string()),
                _ => {}
            }
        }
        if !any || durable.unreadable.is_some() {
            break;
        }
    }
    durable.unreadable.get_or_insert_with(|| "the journal never recovered".to_owned());
    durable
}

fn fill(durable: &mut Durable, journal: &Journal) {
    let Some(group) = journal.group(KEYS) else { return };
    durable.hard_state =
        group.hard_state.clone().and_then(|bytes| Raft::decode_hard_state(&mut Reader::new(bytes)).ok());
    durable.snapshot = group.snapshot.clone();
    durable.compacted = group.compacted;
    durable.last = group.last;
    durable.epochs = group.epochs.clone();
    durable.memberships = group.memberships.clone();
}

/// Files in memory, without faults or delays.
struct Files(BTreeMap<Arc<str>, Arc<Vec<u8>>>);

impl Files {
    fn perform(&mut self, operation: DiskOperation) -> DiskCompletion {
        DiskCompletion { id: operation.id, outcome: self.request(operation.request) }
    }

    fn file(&mut self, path: &Arc<str>) -> Result<&mut Arc<Vec<u8>>, DiskError> {
        let missing =
            || DiskError { kind: DiskErrorKind::NotFound, message: format!("{path}: no such file") };
        self.0.get_mut(path).ok_or_else(missing)
    }

    fn request(&mut self, request: DiskRequest) -> Result<DiskOutcome, DiskError> {
        match request {
            DiskRequest::Create { path } => {
                self.0.insert(path, Arc::default());
            }
            DiskRequest::Allocate { path, length } => {
                let file = self.file(&path)?;
                if file.len() < length as usize {
                    Arc::make_mut(file).resize(length as usize, 0);
                }
            }
            DiskRequest::WriteAt { path, offset, pieces } => {
                let file = Arc::make_mut(self.file(&path)?);
                let bytes = pieces.concat();
                let end = offset as usize + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[offset as usize..end].copy_from_slice(&bytes);
            }
            DiskRequest::Read { path, offset, length } => {
                let file = self.file(&path)?;
                let from = (offset as usize).min(file.len());
                let to = from.saturating_add(length as usize).min(file.len());
                return Ok(DiskOutcome::Read(Bytes::copy_from_slice(&file[from..to])));
            }
            DiskRequest::Truncate { path, length } => {
                Arc::make_mut(self.file(&path)?).resize(length as usize, 0)
            }
            DiskRequest::Rename { from, to } => {
                let file = self.file(&from)?.clone();
                self.0.remove(&from);
                self.0.insert(to, file);
            }
            DiskRequest::Remove { path } => {
                self.0.remove(&path);
            }
            DiskRequest::List { path } => {
                let inside = |name: &str| {
                    let (directory, base) = name.rsplit_once('/').unwrap_or(("", name));
                    (directory == &*path).then(|| base.to_owned())
                };
                let listed =
                    self.0.iter().filter_map(|(name, file)| Some((inside(name)?, file.len() as u64)));
                return Ok(DiskOutcome::Listed(listed.collect()));
            }
            DiskRequest::FreeSpace => return Ok(DiskOutcome::Free(1 << 40)),
            DiskRequest::SyncFile { .. } | DiskRequest::SyncDirectory { .. } => {}
        }
        Ok(DiskOutcome::Done)
    }
}

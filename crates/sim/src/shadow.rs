//! What a host's disk would give back if the power failed now and nothing unsynced survived: the judge of every claim that something is
//! durable. The journal itself reads it, from a copy, so that the judge knows no file format.
//!
//! Most of what becomes durable is one more batch at the end of the newest segment. Then the journal that has read what stands before it goes on from
//! there; whatever else changes, everything is read again, by the same code that recovers.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskError, DiskErrorKind, DiskOperation, DiskOutcome, DiskRequest, Engine, Epoch,
    GroupId, Index, Membership, NodeId, Position, Reader,
};
use quorate_journal::{GroupState, Identity, Inspected, Journal, JournalEvent};
use quorate_node::{EngineHardState, GroupEngine};

use crate::{
    disk::Image,
    host::{CLUSTER, Host, journal_config},
    invariants::Held,
};

/// What is durable on one host.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// The disk's version that was read.
    version: u64,
    /// Of what a directory says of segments and snapshots.
    names: u64,
    journal: Option<Journal>,
    inspected: Option<Inspected>,
    groups: &'static [GroupId],
    /// What the journal says of the hard state of each of them, and that decoded.
    hard_states: Vec<Option<(Bytes, Option<EngineHardState>)>>,
    /// Why it could not be read.
    pub(crate) unreadable: Option<String>,
}

impl Durable {
    fn group(&self, group: GroupId) -> Option<&GroupState> {
        self.journal.as_ref()?.group(group)
    }

    fn hard_state(&self, group: GroupId) -> Option<&EngineHardState> {
        let place = self.groups.iter().position(|other| *other == group)?;
        self.hard_states[place].as_ref()?.1.as_ref()
    }

    /// Of those that have changed: few do from one sync to the next.
    fn decode_hard_states(&mut self) {
        self.hard_states.resize(self.groups.len(), None);
        for (place, group) in self.groups.iter().enumerate() {
            let now = self.group(*group).and_then(|state| state.hard_state.clone());
            if now.as_ref() != self.hard_states[place].as_ref().map(|(bytes, _)| bytes) {
                self.hard_states[place] = now.map(|bytes| {
                    let state = GroupEngine::decode_hard_state(&mut Reader::new(bytes.clone())).ok();
                    (bytes, state)
                });
            }
        }
    }

    pub(crate) fn term(&self, group: GroupId) -> Epoch {
        self.hard_state(group).map(|state| state.epoch()).unwrap_or_default()
    }

    pub(crate) fn vote(&self, group: GroupId) -> Option<NodeId> {
        match self.hard_state(group)? {
            EngineHardState::Raft(state) => state.vote,
            EngineHardState::Zab(state) => state.promised_to,
        }
    }

    /// ZAB's current epoch: the one whose history is in the log.
    pub(crate) fn current(&self, group: GroupId) -> Option<Epoch> {
        match self.hard_state(group)? {
            EngineHardState::Raft(_) => None,
            EngineHardState::Zab(state) => Some(state.current),
        }
    }

    /// The end of the log.
    pub(crate) fn last(&self, group: GroupId) -> Position {
        self.group(group).map(|state| state.last).unwrap_or_default()
    }

    pub(crate) fn compacted(&self, group: GroupId) -> Position {
        self.group(group).map(|state| state.compacted).unwrap_or_default()
    }

    /// The membership entries after the snapshot.
    pub(crate) fn memberships(&self, group: GroupId) -> Vec<(Index, Membership)> {
        self.group(group).map(|state| state.memberships.clone()).unwrap_or_default()
    }

    pub(crate) fn snapshot_index(&self, group: GroupId) -> Index {
        let meta = self.group(group).and_then(|state| state.snapshot.as_ref());
        meta.map(|meta| meta.position.index).unwrap_or_default()
    }

    /// The epoch of the entry at `index`, if the log holds it.
    pub(crate) fn epoch_at(&self, group: GroupId, index: Index) -> Option<Epoch> {
        let Some(state) = self.group(group) else { return (index == Index::ZERO).then_some(Epoch::ZERO) };
        if index == state.compacted.index {
            return Some(state.compacted.epoch);
        }
        if index < state.compacted.index || index > state.last.index {
            return None;
        }
        state.epochs.iter().rev().find(|(_, first)| *first <= index).map(|(epoch, _)| *epoch)
    }

    /// Is the entry there, or in the snapshot? Everything in a snapshot was committed.
    pub(crate) fn holds(&self, group: GroupId, index: Index, epoch: Epoch) -> bool {
        index <= self.snapshot_index(group) || self.epoch_at(group, index) == Some(epoch)
    }

    /// What must come back after a power loss; `None` if it cannot be read.
    pub(crate) fn held(&self, group: GroupId) -> Option<Held> {
        let held =
            || Held { term: self.term(group), last: self.last(group), snapshot: self.snapshot_index(group) };
        self.unreadable.is_none().then(held)
    }

    /// Is this what is durable on the host by now?
    pub(crate) fn is_of(&self, host: &Host) -> bool {
        self.version == host.disk.version() && self.version != 0
    }

    /// Brings this up to date.
    pub(crate) fn refresh(&mut self, host: &Host) {
        if self.go_on(host) {
            self.decode_hard_states();
        } else {
            *self = Durable::read(host, self.groups);
        }
        self.version = host.disk.version();
    }

    /// Reads only what has been added to the newest segment, if that is all that has changed.
    fn go_on(&mut self, host: &Host) -> bool {
        if self.unreadable.is_some() || self.names != host.disk.names_version() {
            return false;
        }
        let (Some(journal), Some(inspected)) = (&mut self.journal, &mut self.inspected) else { return false };
        let Some((file, changed_from)) = host.disk.changed(&inspected.path) else { return false };
        if changed_from < inspected.end as usize {
            return false;
        }
        self.unreadable = journal.inspect(inspected, &Bytes::from_owner(Shared(file))).err();
        true
    }

    /// Nothing, of these groups.
    pub(crate) fn of_groups(groups: &'static [GroupId]) -> Durable {
        Durable { groups, hard_states: vec![None; groups.len()], ..Durable::default() }
    }

    /// Reads a host's disk from its beginning.
    pub(crate) fn read(host: &Host, groups: &'static [GroupId]) -> Durable {
        let identity = Identity {
            cluster: CLUSTER,
            node: host.id,
            incarnation: host.reborn.unwrap_or(host.incarnation),
        };
        let (version, names) = (host.disk.version(), host.disk.names_version());
        let mut durable = Durable { version, names, groups, ..recover(host.disk.image(), identity) };
        durable.inspected = durable.journal.as_ref().and_then(Journal::inspected);
        if let Some(inspected) = &durable.inspected {
            host.disk.changed(&inspected.path);
        }
        durable.decode_hard_states();
        durable
    }
}

/// A file's bytes, shared with the disk.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn recover(image: Image, identity: Identity) -> Durable {
    let mut files = Files(image);
    let mut journal = Journal::open(journal_config(), identity);
    let mut events = Vec::new();
    let unreadable = |why: String| Durable { unreadable: Some(why), ..Durable::default() };
    for _ in 0..10_000 {
        let operations = journal.operations();
        if operations.is_empty() {
            break;
        }
        for operation in operations {
            journal.complete(files.perform(operation), &mut events);
        }
        for event in events.drain(..) {
            match event {
                JournalEvent::Recovered(_) => {
                    return Durable { journal: Some(journal), ..Durable::default() };
                }
                JournalEvent::Damaged(report) => return unreadable(report.to_string()),
                JournalEvent::Failed(failure) => return unreadable(failure.to_string()),
                _ => {}
            }
        }
    }
    unreadable("the journal never recovered".to_owned())
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

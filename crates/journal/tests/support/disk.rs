//! A disk in memory that keeps exactly the promises of the `Disk` contract and no others, driven by a seed.
//!
//! Operations on one path take effect in order; across paths, and between a file and its directory, in any. Completions come in any order. At a
//! power loss every unsynced change of a file survives sector by sector or not at all, every unsynced change of a name survives or not, each for
//! itself. When only the process dies, everything that took effect stays, and what was not synced is still not synced.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskError, DiskErrorKind, DiskOperation, DiskOutcome, DiskRequest, OperationId, Random,
};

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Bytes),
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// What a reader sees.
    content: Vec<u8>,
    /// What a power loss leaves for certain.
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(String, usize),
    Move(String, String, usize),
    Remove(String),
}

/// How a machine dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    Power,
    Process,
}

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) random: Random,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    submitted: Vec<DiskOperation>,
    finished: Vec<DiskCompletion>,
    /// Bytes that files may have in all.
    pub(crate) space: usize,
    /// While the number of operations carried out is in here, no file is made or grows, and with `full_renames` none gets another name.
    pub(crate) full_while: std::ops::Range<u64>,
    pub(crate) full_renames: bool,
    pub(crate) executed: u64,
    /// The sync with this number, counted down, fails and loses what it covered; later syncs succeed, as on real kernels.
    pub(crate) fail_sync: Option<u64>,
    pub(crate) syncs: u64,
    /// Without reordering everything takes effect in the order of submission, at once.
    pub(crate) orderly: bool,
    /// The last operation that took effect, for people.
    pub(crate) last: String,
}

fn error(kind: DiskErrorKind, message: &str) -> DiskError {
    DiskError { kind, message: message.to_owned() }
}

fn no_space() -> DiskError {
    error(DiskErrorKind::Full, "no space left on device")
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, bytes) => {
            let end = offset + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(bytes);
        }
        Change::Length(length) => content.resize(*length, 0),
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Add(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Move(from, to, inode) => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The paths between whose operations there is an order.
fn paths(request: &DiskRequest) -> Vec<Arc<str>> {
    match request {
        DiskRequest::Create { path }
        | DiskRequest::Allocate { path, .. }
        | DiskRequest::WriteAt { path, .. }
        | DiskRequest::Read { path, .. }
        | DiskRequest::SyncFile { path }
        | DiskRequest::SyncDirectory { path }
        | DiskRequest::Truncate { path, .. }
        | DiskRequest::List { path }
        | DiskRequest::Remove { path } => vec![path.clone()],
        DiskRequest::Rename { from, to } => vec![from.clone(), to.clone()],
        DiskRequest::FreeSpace => Vec::new(),
    }
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Disk {
        Disk {
            random: Random::new(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            submitted: Vec::new(),
            finished: Vec::new(),
            space: usize::MAX,
            full_while: 0..0,
            full_renames: false,
            executed: 0,
            fail_sync: None,
            syncs: 0,
            orderly: false,
            last: String::new(),
        }
    }

    pub(crate) fn submit(&mut self, operations: Vec<DiskOperation>) {
        self.submitted.extend(operations);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.submitted.is_empty() && self.finished.is_empty()
    }

    /// Lets one operation take effect, or one completion out.
    pub(crate) fn step(&mut self) -> Option<DiskCompletion> {
        if self.orderly {
            if !self.submitted.is_empty() {
                let operation = self.submitted.remove(0);
                return Some(self.execute(operation));
            }
            return None;
        }
        let deliver = self.submitted.is_empty() || self.random.chance(1, 2);
        if deliver && !self.finished.is_empty() {
            let at = self.random.below(self.finished.len() as u64) as usize;
            return Some(self.finished.swap_remove(at));
        }
        let eligible: Vec<usize> = (0..self.submitted.len())
            .filter(|at| {
                let mine = paths(&self.submitted[*at].request);
                !self.submitted[..*at]
                    .iter()
                    .any(|other| paths(&other.request).iter().any(|p| mine.contains(p)))
            })
            .collect();
        if !eligible.is_empty() {
            let at = eligible[self.random.below(eligible.len() as u64) as usize];
            let operation = self.submitted.remove(at);
            let completion = self.execute(operation);
            self.finished.push(completion);
        }
        None
    }

    pub(crate) fn crash(&mut self, how: Crash) {
        self.submitted.clear();
        self.finished.clear();
        if how == Crash::Process {
            return;
        }
        let mut random = self.random.fork(7);
        self.random.next_u64();
        for change in std::mem::take(&mut self.name_changes) {
            if random.chance(1, 2) {
                apply_name(&mut self.durable_names, &change);
            }
        }
        self.names = self.durable_names.clone();
        for inode in &mut self.inodes {
            let changes = std::mem::take(&mut inode.pending);
            match random.below(4) {
                0 => {}
                1 => changes.iter().for_each(|change| apply(&mut inode.durable, change)),
                _ => {
                    for change in &changes {
                        match change {
                            Change::Length(_) if random.chance(1, 2) => apply(&mut inode.durable, change),
                            Change::Length(_) => {}
                            Change::Write(offset, bytes) => {
                                let mut at = 0;
                                while at < bytes.len() {
                                    let end = ((offset + at) / SECTOR + 1) * SECTOR - offset;
                                    let piece = bytes.slice(at..end.min(bytes.len()));
                                    if random.chance(1, 2) {
                                        apply(&mut inode.durable, &Change::Write(offset + at, piece));
                                    }
                                    at = end;
                                }
                            }
                        }
                    }
                }
            }
            inode.content = inode.durable.clone();
        }
    }

    /// The files as a reader sees them.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.names.iter().map(|(name, inode)| (name.clone(), self.inodes[*inode].content.clone())).collect()
    }

    /// A disk with these files, all durable.
    pub(crate) fn with_files(seed: u64, files: &BTreeMap<String, Vec<u8>>) -> Disk {
        let mut disk = Disk::new(seed);
        for (name, content) in files {
            disk.names.insert(name.clone(), disk.inodes.len());
            disk.inodes.push(Inode {
                content: content.clone(),
                durable: content.clone(),
                pending: Vec::new(),
            });
        }
        disk.durable_names = disk.names.clone();
        disk
    }

    fn execute(&mut self, operation: DiskOperation) -> DiskCompletion {
        self.last = match &operation.request {
            DiskRequest::WriteAt { path, offset, .. } => {
                format!("{:?}: write {path} at {offset}", operation.id)
            }
            other => format!("{:?}: {other:?}", operation.id),
        };
        let outcome = self.perform(operation.request);
        self.executed += 1;
        DiskCompletion { id: operation.id, outcome }
    }

    /// Carries one request out at once.
    pub(crate) fn now(&mut self, request: DiskRequest) -> DiskCompletion {
        self.execute(DiskOperation { id: OperationId(0), request })
    }

    fn inode(&mut self, path: &str) -> Result<&mut Inode, DiskError> {
        let missing = || error(DiskErrorKind::NotFound, &format!("{path}: no such file"));
        let at = *self.names.get(path).ok_or_else(missing)?;
        Ok(&mut self.inodes[at])
    }

    fn name(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.name_changes.push(change);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full_while.contains(&self.executed)
    }

    fn used(&self) -> usize {
        self.names.values().map(|inode| self.inodes[*inode].content.len()).sum()
    }

    fn change(&mut self, path: &str, change: Change) -> Result<DiskOutcome, DiskError> {
        let before = self.inode(path)?.content.len();
        let after = match &change {
            Change::Write(offset, bytes) => before.max(offset + bytes.len()),
            Change::Length(length) => *length,
        };
        if after > before && (self.is_full() || self.used() + (after - before) > self.space) {
            return Err(no_space());
        }
        let inode = self.inode(path)?;
        apply(&mut inode.content, &change);
        inode.pending.push(change);
        Ok(DiskOutcome::Done)
    }

    fn perform(&mut self, request: DiskRequest) -> Result<DiskOutcome, DiskError> {
        match request {
            DiskRequest::Create { path } => {
                if self.names.contains_key(&*path) {
                    return Err(error(DiskErrorKind::Exists, "exists"));
                }
                if self.is_full() {
                    return Err(no_space());
                }
                self.inodes.push(Inode::default());
                self.name(NameChange::Add(path.to_string(), self.inodes.len() - 1));
            }
            DiskRequest::Allocate { path, length } => {
                if self.inode(&path)?.content.len() < length as usize {
                    return self.change(&path, Change::Length(length as usize));
                }
            }
            DiskRequest::WriteAt { path, offset, pieces } => {
                return self.change(&path, Change::Write(offset as usize, Bytes::from(pieces.concat())));
            }
            DiskRequest::Read { path, offset, length } => {
                let content = &self.inode(&path)?.content;
                let from = (offset as usize).min(content.len());
                let to = from.saturating_add(length as usize).min(content.len());
                return Ok(DiskOutcome::Read(Bytes::copy_from_slice(&content[from..to])));
            }
            DiskRequest::SyncFile { path } => {
                self.syncs += 1;
                let fails = match &mut self.fail_sync {
                    Some(0) => true,
                    Some(left) => {
                        *left -= 1;
                        false
                    }
                    None => false,
                };
                let inode = self.inode(&path)?;
                let changes = std::mem::take(&mut inode.pending);
                if fails {
                    // The pages are marked clean: what they held will never be written, although reads show it.
                    self.fail_sync = None;
                    return Err(error(DiskErrorKind::Failed, "input/output error"));
                }
                changes.iter().for_each(|change| apply(&mut inode.durable, change));
            }
            DiskRequest::SyncDirectory { path } => {
                let inside = |change: &NameChange| match change {
                    NameChange::Add(name, _) | NameChange::Move(_, name, _) | NameChange::Remove(name) => {
                        parent(name) == &*path
                    }
                };
                let (now, later) = std::mem::take(&mut self.name_changes).into_iter().partition(inside);
                self.name_changes = later;
                let now: Vec<NameChange> = now;
                now.iter().for_each(|change| apply_name(&mut self.durable_names, change));
            }
            DiskRequest::Truncate { path, length } => {
                return self.change(&path, Change::Length(length as usize));
            }
            DiskRequest::Rename { from, to } => {
                let missing = || error(DiskErrorKind::NotFound, "no such file");
                let inode = *self.names.get(&*from).ok_or_else(missing)?;
                if self.full_renames && self.is_full() {
                    return Err(no_space());
                }
                self.name(NameChange::Move(from.to_string(), to.to_string(), inode));
            }
            DiskRequest::List { path } => {
                let mut listed = Vec::new();
                for (name, inode) in &self.names {
                    if parent(name) == &*path && name != &*path {
                        let name = name.rsplit('/').next().unwrap_or(name);
                        listed.push((name.to_owned(), self.inodes[*inode].content.len() as u64));
                    }
                }
                return Ok(DiskOutcome::Listed(listed));
            }
            DiskRequest::Remove { path } => {
                self.inode(&path)?;
                self.name(NameChange::Remove(path.to_string()));
            }
            DiskRequest::FreeSpace => {
                if self.is_full() {
                    return Ok(DiskOutcome::Free(0));
                }
                return Ok(DiskOutcome::Free((self.space - self.used().min(self.space)) as u64));
            }
        }
        Ok(DiskOutcome::Done)
    }
}

//! One host's disk: its names, its operations, and how it misbehaves. What a file is, and what a power loss makes of it, is in `inode`.
//!
//! A full disk is one as file systems have it: what lies within a file's allocated length can be written, a name can be changed or removed, and
//! nothing can be created or grow.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use quorate_consensus::{
    DiskCompletion, DiskError, DiskErrorKind, DiskOperation, DiskOutcome, DiskRequest, OperationId, Random,
};

use crate::{
    inode::{Change, Inode},
    schedule::{MICROS, MILLIS, Time},
};

const FREE_BYTES: u64 = 1 << 40;
/// The last bytes of a file, which rot leaves alone.
const ROT_SPARES_BYTES: usize = 3 << 10;

/// The files of a disk by name, as they would be read back if the power failed and nothing unsynced survived.
pub(crate) type Image = BTreeMap<Arc<str>, Arc<Vec<u8>>>;

#[derive(Clone, Debug)]
enum NameChange {
    Add(Arc<str>, u64),
    Move(Arc<str>, Arc<str>, u64),
    Remove(Arc<str>),
}

#[derive(Debug)]
enum Effect {
    Nothing,
    /// Changes of this inode below this number are durable.
    File(u64, u64),
    /// So many of the directory's changes are durable.
    Directory(Arc<str>, u64),
    /// A failed sync: what it covered will never be written.
    Lose(u64, u64),
}

#[derive(Debug, Default)]
struct Directory {
    pending: VecDeque<NameChange>,
    settled: u64,
}

/// How the disk misbehaves at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// Until then every sync takes `slow` longer.
    pub(crate) slow_until: Time,
    pub(crate) slow: u64,
    /// No operation ends before then.
    pub(crate) hang_until: Time,
    /// Nothing can grow until then.
    pub(crate) full_until: Time,
    /// The next write or sync fails.
    pub(crate) fail_next: bool,
}

/// What a crash did to the disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CrashReport {
    /// Unsynced changes there were.
    pub(crate) unsynced: usize,
    /// Files that came back as a mixture.
    pub(crate) torn: usize,
    /// Directory changes that vanished.
    pub(crate) names_lost: usize,
}

/// One host's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<Arc<str>, u64>,
    durable_names: BTreeMap<Arc<str>, u64>,
    directories: BTreeMap<Arc<str>, Directory>,
    next_inode: u64,
    in_flight: BTreeMap<OperationId, (Effect, Result<DiskOutcome, DiskError>)>,
    /// Grows with every change of what is durable.
    version: u64,
    /// Grows when that is a change of the names of segments or snapshots, or more than what a sync does.
    names_version: u64,
    pub(crate) trouble: Trouble,
    /// Typical length of a sync.
    sync_nanos: u64,
    random: Random,
    /// How often space was refused.
    pub(crate) refused_full: u64,
}

fn error(kind: DiskErrorKind, message: &str) -> DiskError {
    DiskError { kind, message: message.to_owned() }
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl NameChange {
    /// Does recovery read files of such a name?
    fn matters(&self) -> bool {
        let read = |name: &Arc<str>| name.ends_with(".seg") || name.ends_with(".snap");
        match self {
            NameChange::Add(name, _) | NameChange::Remove(name) => read(name),
            NameChange::Move(from, to, _) => read(from) || read(to),
        }
    }
}

fn rename(names: &mut BTreeMap<Arc<str>, u64>, change: &NameChange) {
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

impl Disk {
    pub(crate) fn new(random: Random, sync_nanos: u64) -> Disk {
        Disk {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            directories: BTreeMap::new(),
            next_inode: 1,
            in_flight: BTreeMap::new(),
            version: 0,
            names_version: 0,
            trouble: Trouble::default(),
            sync_nanos,
            random,
            refused_full: 0,
        }
    }

    /// Changes whenever what is durable changes.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Changes whenever segments or snapshots durably come or go, and whenever files change in other ways than by syncs.
    pub(crate) fn names_version(&self) -> u64 {
        self.names_version
    }

    /// A file's durable bytes, and the first of them that has changed since this was last asked.
    pub(crate) fn changed(&self, path: &Arc<str>) -> Option<(Arc<Vec<u8>>, usize)> {
        let inode = self.inodes.get(self.durable_names.get(path)?)?;
        Some((inode.durable.clone(), inode.changed_from.replace(usize::MAX)))
    }

    /// What would be read back if the power failed now and nothing unsynced survived.
    pub(crate) fn image(&self) -> Image {
        let durable =
            |inode: &u64| self.inodes.get(inode).map(|inode| inode.durable.clone()).unwrap_or_default();
        self.durable_names.iter().map(|(name, inode)| (name.clone(), durable(inode))).collect()
    }

    /// Takes an operation; when it ends, [`complete`](Self::complete) says how.
    pub(crate) fn submit(&mut self, now: Time, operation: DiskOperation) -> (Time, OperationId) {
        let mut nanos = self.random.between(2 * MICROS, 40 * MICROS);
        let is_sync =
            matches!(operation.request, DiskRequest::SyncFile { .. } | DiskRequest::SyncDirectory { .. });
        if is_sync {
            nanos += self.random.between(self.sync_nanos / 2, self.sync_nanos * 2);
            if self.random.chance(1, 100) {
                nanos += self.random.below(20 * MILLIS);
            }
            if now < self.trouble.slow_until {
                nanos += self.random.below(self.trouble.slow + 1);
            }
        }
        let (effect, outcome) = match self.perform(now, operation.request) {
            Ok((effect, outcome)) => (effect, Ok(outcome)),
            Err((effect, error)) => (effect, Err(error)),
        };
        self.in_flight.insert(operation.id, (effect, outcome));
        ((now + nanos).max(self.trouble.hang_until), operation.id)
    }

    /// The operation ends.
    pub(crate) fn complete(&mut self, id: OperationId) -> Option<DiskCompletion> {
        let (effect, outcome) = self.in_flight.remove(&id)?;
        match effect {
            Effect::Nothing => {}
            Effect::File(inode, number) => {
                if self.inodes.get_mut(&inode).is_some_and(|inode| inode.settle(number)) {
                    self.version += 1;
                }
            }
            Effect::Lose(inode, number) => {
                if let Some(inode) = self.inodes.get_mut(&inode) {
                    inode.lose(number);
                }
            }
            Effect::Directory(path, number) => {
                if let Some(directory) = self.directories.get_mut(&path) {
                    while directory.settled < number {
                        let Some(change) = directory.pending.pop_front() else { break };
                        directory.settled += 1;
                        rename(&mut self.durable_names, &change);
                        self.version += 1;
                        self.names_version += u64::from(change.matters());
                    }
                }
            }
        }
        Some(DiskCompletion { id, outcome })
    }

    fn inode(&mut self, path: &Arc<str>) -> Result<(u64, &mut Inode), (Effect, DiskError)> {
        let found = self.names.get(path).copied();
        match found.and_then(|number| self.inodes.get_mut(&number).map(|inode| (number, inode))) {
            Some(found) => Ok(found),
            None => Err((Effect::Nothing, error(DiskErrorKind::NotFound, &format!("{path}: no such file")))),
        }
    }

    fn name(&mut self, path: &Arc<str>, change: NameChange) {
        rename(&mut self.names, &change);
        self.directories.entry(directory(path).into()).or_default().pending.push_back(change);
    }

    fn full(&mut self) -> (Effect, DiskError) {
        self.refused_full += 1;
        (Effect::Nothing, error(DiskErrorKind::Full, "no space left on device"))
    }

    fn perform(
        &mut self,
        now: Time,
        request: DiskRequest,
    ) -> Result<(Effect, DiskOutcome), (Effect, DiskError)> {
        let no_room = now < self.trouble.full_until;
        let broken = self.trouble.fail_next;
        let io_error = || error(DiskErrorKind::Failed, "input/output error");
        let done = Ok((Effect::Nothing, DiskOutcome::Done));
        match request {
            DiskRequest::Create { .. } if no_room => Err(self.full()),
            DiskRequest::Create { path } => {
                if self.names.contains_key(&path) {
                    return Err((
                        Effect::Nothing,
                        error(DiskErrorKind::Exists, &format!("{path}: file exists")),
                    ));
                }
                let inode = self.next_inode;
                self.next_inode += 1;
                self.inodes.insert(inode, Inode::default());
                self.name(&path, NameChange::Add(path.clone(), inode));
                done
            }
            DiskRequest::Allocate { path, length } => {
                let length = length as usize;
                let (_, inode) = self.inode(&path)?;
                if inode.content.len() < length {
                    if no_room {
                        return Err(self.full());
                    }
                    inode.change(Change::Length(length));
                }
                done
            }
            DiskRequest::WriteAt { path, offset, pieces } => {
                if broken {
                    self.trouble.fail_next = false;
                    return Err((Effect::Nothing, io_error()));
                }
                let (_, inode) = self.inode(&path)?;
                let bytes = if pieces.len() == 1 { pieces[0].clone() } else { Bytes::from(pieces.concat()) };
                let offset = offset as usize;
                if no_room && inode.content.len() < offset + bytes.len() {
                    return Err(self.full());
                }
                inode.change(Change::Write { offset, bytes });
                done
            }
            DiskRequest::Read { path, offset, length } => {
                let (_, inode) = self.inode(&path)?;
                let from = (offset as usize).min(inode.content.len());
                let to = from.saturating_add(length as usize).min(inode.content.len());
                Ok((Effect::Nothing, DiskOutcome::Read(Bytes::copy_from_slice(&inode.content[from..to]))))
            }
            DiskRequest::SyncFile { path } => {
                let (number, inode) = self.inode(&path)?;
                let submitted = inode.submitted();
                if broken {
                    self.trouble.fail_next = false;
                    return Err((Effect::Lose(number, submitted), io_error()));
                }
                Ok((Effect::File(number, submitted), DiskOutcome::Done))
            }
            DiskRequest::SyncDirectory { path } => {
                let directory = self.directories.entry(path.clone()).or_default();
                let submitted = directory.settled + directory.pending.len() as u64;
                Ok((Effect::Directory(path, submitted), DiskOutcome::Done))
            }
            DiskRequest::Truncate { path, length } => {
                let (_, inode) = self.inode(&path)?;
                if no_room && inode.content.len() < length as usize {
                    return Err(self.full());
                }
                inode.change(Change::Length(length as usize));
                done
            }
            DiskRequest::Rename { from, to } => {
                let (number, _) = self.inode(&from)?;
                self.name(&to, NameChange::Move(from, to.clone(), number));
                done
            }
            DiskRequest::List { path } => {
                let inodes = &self.inodes;
                let listed =
                    self.names.iter().filter(|(name, _)| directory(name) == &*path).map(|(name, inode)| {
                        let base = name.rsplit_once('/').map_or(&**name, |(_, base)| base);
                        (base.to_owned(), inodes.get(inode).map_or(0, |inode| inode.content.len() as u64))
                    });
                Ok((Effect::Nothing, DiskOutcome::Listed(listed.collect())))
            }
            DiskRequest::Remove { path } => {
                self.inode(&path)?;
                self.name(&path, NameChange::Remove(path.clone()));
                done
            }
            DiskRequest::FreeSpace => {
                Ok((Effect::Nothing, DiskOutcome::Free(if no_room { 0 } else { FREE_BYTES })))
            }
        }
    }

    /// The power fails: what was not synced survives in part, in any part.
    pub(crate) fn crash(&mut self) -> CrashReport {
        self.in_flight.clear();
        let mut report = CrashReport::default();
        let directories = std::mem::take(&mut self.directories);
        for directory in directories.into_values() {
            let changes = directory.pending;
            let kept = match self.random.below(3) {
                0 => 0,
                1 => changes.len(),
                _ => self.random.below(changes.len() as u64 + 1) as usize,
            };
            report.names_lost += changes.len() - kept;
            for change in changes.iter().take(kept) {
                rename(&mut self.durable_names, change);
            }
        }
        self.names = self.durable_names.clone();
        let reachable: std::collections::BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|number, _| reachable.contains(number));
        for inode in self.inodes.values_mut() {
            report.unsynced += inode.pending.len();
            report.torn += usize::from(inode.crash(&mut self.random));
        }
        self.version += 1;
        self.names_version += 1;
        report
    }

    /// The process ends but the machine does not: everything that was written stays readable, and unsynced.
    pub(crate) fn process_ended(&mut self) {
        // Operations under way are carried out by the kernel all the same; only nobody hears of them.
        self.in_flight.clear();
    }

    /// Everything is gone.
    pub(crate) fn erase(&mut self) {
        let random = self.random.fork(99);
        let (version, names_version) = (self.version + 1, self.names_version + 1);
        *self = Disk { version, names_version, ..Disk::new(random, self.sync_nanos) };
    }

    /// Flips one bit of something durable. False if there is nothing it could be.
    ///
    /// Not near a file's end: damage there cannot be told from a torn tail by any journal, and what was acknowledged is gone.
    pub(crate) fn rot(&mut self) -> bool {
        let used = |inode: &Inode| inode.durable.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        let candidates: Vec<(u64, usize)> =
            self.inodes.iter().map(|(number, inode)| (*number, used(inode))).collect();
        let candidates: Vec<(u64, usize)> =
            candidates.into_iter().filter(|(_, used)| *used > ROT_SPARES_BYTES).collect();
        if candidates.is_empty() {
            return false;
        }
        let (number, used) = candidates[self.random.below(candidates.len() as u64) as usize];
        let Some(inode) = self.inodes.get_mut(&number) else { return false };
        let at = self.random.below((used - ROT_SPARES_BYTES) as u64) as usize;
        let bit = 1 << self.random.below(8);
        Arc::make_mut(&mut inode.durable)[at] ^= bit;
        if let Some(byte) = inode.content.get_mut(at) {
            *byte ^= bit;
        }
        self.version += 1;
        self.names_version += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(disk: &mut Disk, id: &mut u64, request: DiskRequest) -> Result<DiskOutcome, DiskError> {
        *id += 1;
        let (_, id) = disk.submit(0, DiskOperation { id: OperationId(*id), request });
        disk.complete(id).unwrap().outcome
    }

    fn write(path: &Arc<str>, offset: u64, bytes: &[u8]) -> DiskRequest {
        DiskRequest::WriteAt { path: path.clone(), offset, pieces: vec![Bytes::copy_from_slice(bytes)] }
    }

    #[test]
    fn what_was_synced_survives_and_what_was_not_comes_back_in_any_part() {
        let (mut whole, mut gone, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let mut disk = Disk::new(Random::new(seed), 1000);
            let mut id = 0;
            let path: Arc<str> = "wal/1".into();
            run(&mut disk, &mut id, DiskRequest::Create { path: path.clone() }).unwrap();
            run(&mut disk, &mut id, write(&path, 0, &[1; 100])).unwrap();
            run(&mut disk, &mut id, DiskRequest::SyncFile { path: path.clone() }).unwrap();
            run(&mut disk, &mut id, DiskRequest::SyncDirectory { path: "wal".into() }).unwrap();
            run(&mut disk, &mut id, write(&path, 100, &[2; 3000])).unwrap();
            disk.crash();
            let image = disk.image();
            let file = &image[&path];
            assert_eq!(file[..100], [1; 100]);
            match file[100..].iter().filter(|byte| **byte == 2).count() {
                3000 => whole += 1,
                0 => gone += 1,
                _ => torn += 1,
            }
        }
        assert!(whole > 20 && gone > 20 && torn > 20, "{whole} {gone} {torn}");
    }

    #[test]
    fn a_name_is_certain_only_after_its_directory_was_synced() {
        let mut lost = 0;
        for seed in 0..50 {
            let mut disk = Disk::new(Random::new(seed), 1000);
            let mut id = 0;
            let path: Arc<str> = "a".into();
            run(&mut disk, &mut id, DiskRequest::Create { path: path.clone() }).unwrap();
            run(&mut disk, &mut id, DiskRequest::SyncFile { path: path.clone() }).unwrap();
            disk.crash();
            lost += usize::from(disk.image().is_empty());
        }
        assert!(lost > 5 && lost < 45);
    }

    #[test]
    fn a_failed_sync_loses_what_it_covered_for_ever() {
        let mut disk = Disk::new(Random::new(1), 1000);
        let mut id = 0;
        let path: Arc<str> = "a".into();
        run(&mut disk, &mut id, DiskRequest::Create { path: path.clone() }).unwrap();
        run(&mut disk, &mut id, DiskRequest::SyncDirectory { path: "".into() }).unwrap();
        run(&mut disk, &mut id, write(&path, 0, b"lost")).unwrap();
        disk.trouble.fail_next = true;
        assert!(run(&mut disk, &mut id, DiskRequest::SyncFile { path: path.clone() }).is_err());
        assert!(run(&mut disk, &mut id, DiskRequest::SyncFile { path: path.clone() }).is_ok());
        disk.crash();
        assert!(disk.image()[&path].is_empty());
    }
}

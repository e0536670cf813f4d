//! The operations of the `Disk` contract, one at a time, on the files of a directory.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, IoSlice},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use quorate_consensus::{DiskError, DiskErrorKind, DiskOutcome, DiskRequest};
use rustix::{
    fs::{FallocateFlags, SeekFrom, fallocate, seek, statvfs},
    io::Errno,
};

use crate::{
    ahead::{Ahead, ZEROS},
    counters::Counters,
};

/// Files kept open; the journal writes to one or two at a time.
const OPEN_MAX: usize = 32;
/// Where the journal's files are.
const JOURNAL: &str = "log/";
/// Pieces of one vectored write; Linux takes 1024.
const PIECES_MAX: usize = 256;

/// Executes operations, with the files it has open.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    open: HashMap<Arc<str>, File>,
    /// In the order in which they were opened; the oldest is closed first.
    order: VecDeque<Arc<str>>,
    ahead: Ahead,
    no_sync: bool,
    counters: Arc<Counters>,
}

impl Files {
    /// The files under `root`. With `no_sync`, nothing is durable and everything says it is: for controls of tests and benchmarks alone.
    pub(crate) fn new(root: PathBuf, no_sync: bool, counters: Arc<Counters>) -> Files {
        Files {
            root,
            open: HashMap::new(),
            order: VecDeque::new(),
            ahead: Ahead::default(),
            no_sync,
            counters,
        }
    }

    /// Executes one operation.
    pub(crate) fn execute(&mut self, request: &DiskRequest) -> Result<DiskOutcome, DiskError> {
        let outcome = match request {
            DiskRequest::Create { path } => self.create(path),
            DiskRequest::Allocate { path, length } => self.allocate(path, *length),
            DiskRequest::WriteAt { path, offset, pieces } => self.write_at(path, *offset, pieces),
            DiskRequest::Read { path, offset, length } => self.read(path, *offset, *length),
            DiskRequest::SyncFile { path } => self.sync_file(path),
            DiskRequest::SyncDirectory { path } => self.sync_directory(path),
            DiskRequest::Truncate { path, length } => {
                self.ahead.forget(path);
                self.file(path).and_then(|file| file.set_len(*length)).map(|()| DiskOutcome::Done)
            }
            DiskRequest::Rename { from, to } => self.rename(from, to),
            DiskRequest::List { path } => self.list(path),
            DiskRequest::Remove { path } => self.remove(path),
            DiskRequest::FreeSpace => self.free_space(),
        };
        outcome.map_err(|error| {
            self.counters.disk_errors.add(1);
            explained(request, &error)
        })
    }

    /// Where a path of the contract lies. Paths come from our own journal, but one that left the directory would be a disaster.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let whole = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !whole && !path.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path does not stay in the data directory",
            ));
        }
        Ok(self.root.join(path))
    }

    fn file(&mut self, path: &Arc<str>) -> io::Result<&File> {
        if !self.open.contains_key(path) {
            let file = OpenOptions::new().read(true).write(true).open(self.place(path)?)?;
            self.keep(path, file);
        }
        Ok(&self.open[path])
    }

    fn keep(&mut self, path: &Arc<str>, file: File) {
        if self.open.len() >= OPEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.open.remove(&oldest);
        }
        self.open.insert(Arc::clone(path), file);
        self.order.push_back(Arc::clone(path));
    }

    fn close(&mut self, path: &str) {
        if self.open.remove(path).is_some() {
            self.order.retain(|open| &**open != path);
        }
    }

    fn create(&mut self, path: &Arc<str>) -> io::Result<DiskOutcome> {
        let place = self.place(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = match options.open(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_parents(&place)?;
                options.open(&place)?
            }
            other => other?,
        };
        self.close(path);
        self.ahead.forget(path);
        self.keep(path, file);
        Ok(DiskOutcome::Done)
    }

    /// Makes the directories above `place`, each durable in its own parent: the contract has no operation for that, and a synced file in
    /// a directory that vanished is lost.
    fn make_parents(&self, place: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            place.ancestors().skip(1).take_while(|above| *above != self.root && !above.exists()).collect();
        for directory in missing.into_iter().rev() {
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if let Some(parent) = directory.parent()
                && !self.no_sync
            {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(())
    }

    fn allocate(&mut self, path: &Arc<str>, length: u64) -> io::Result<DiskOutcome> {
        let file = self.file(path)?;
        // Also a reserve that an earlier process made, and nobody has written to yet.
        let unwritten = matches!(seek(file, SeekFrom::Data(0)), Err(Errno::NXIO));
        let allocated = loop {
            match fallocate(file, FallocateFlags::empty(), 0, length) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        match allocated {
            Ok(()) => {
                if unwritten {
                    self.ahead.reserved(path, length);
                }
                Ok(DiskOutcome::Done)
            }
            // A file system that cannot (NFS before 4.2, some FUSE) gets zeros written, which reserves just as well.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let zeros = vec![0; 1 << 20];
                let mut end = file.metadata()?.len();
                while end < length {
                    let step = zeros.len().min((length - end) as usize);
                    file.write_all_at(&zeros[..step], end)?;
                    end += step as u64;
                }
                Ok(DiskOutcome::Done)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn write_at(&mut self, path: &Arc<str>, offset: u64, pieces: &[Bytes]) -> io::Result<DiskOutcome> {
        let counters = Arc::clone(&self.counters);
        let file = self.file(path)?;
        let mut at = offset;
        if let [piece] = pieces {
            file.write_all_at(piece, at)?;
            at += piece.len() as u64;
        } else {
            for pieces in pieces.chunks(PIECES_MAX) {
                let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
                let mut left = &mut slices[..];
                IoSlice::advance_slices(&mut left, 0);
                while !left.is_empty() {
                    match rustix::io::pwritev(file, left, at) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(written) => {
                            at += written as u64;
                            IoSlice::advance_slices(&mut left, written);
                        }
                        Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        counters.disk_written_bytes.add(at - offset);
        if path.starts_with(JOURNAL) {
            counters.journal_written_bytes.add(at - offset);
        }
        if let Some(zeros) = self.ahead.behind(path, at) {
            self.file(path)?.write_all_at(&ZEROS[..(zeros.end - zeros.start) as usize], zeros.start)?;
        }
        Ok(DiskOutcome::Done)
    }

    fn read(&mut self, path: &Arc<str>, offset: u64, length: u64) -> io::Result<DiskOutcome> {
        // Opened each time: another thread than the writer's reads, and must not hold on to a file that has got another name since.
        let file = File::open(self.place(path)?)?;
        let data = crate::sparse::read(&file, offset, length)?;
        Ok(DiskOutcome::Read(Bytes::from(data)))
    }

    fn sync_file(&mut self, path: &Arc<str>) -> io::Result<DiskOutcome> {
        let (no_sync, counters) = (self.no_sync, Arc::clone(&self.counters));
        let file = self.file(path)?;
        if !no_sync {
            let began = Instant::now();
            // fdatasync: it writes the length too, and skips only the times.
            file.sync_data()?;
            let took = began.elapsed();
            counters.disk_sync.record(took);
            if path.starts_with(JOURNAL) {
                counters.journal_sync.record(took);
            }
        }
        counters.disk_syncs.add(1);
        Ok(DiskOutcome::Done)
    }

    fn sync_directory(&self, path: &str) -> io::Result<DiskOutcome> {
        let place = self.place(path)?;
        if !self.no_sync {
            File::open(place)?.sync_all()?;
        }
        Ok(DiskOutcome::Done)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<DiskOutcome> {
        fs::rename(self.place(from)?, self.place(to)?)?;
        self.ahead.renamed(from, to);
        self.close(from);
        self.close(to);
        Ok(DiskOutcome::Done)
    }

    fn list(&self, path: &str) -> io::Result<DiskOutcome> {
        let mut files = Vec::new();
        let entries = match fs::read_dir(self.place(path)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DiskOutcome::Listed(files)),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // A name that is not UTF-8 is none of ours.
            if metadata.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                files.push((name, metadata.len()));
            }
        }
        files.sort();
        Ok(DiskOutcome::Listed(files))
    }

    fn remove(&mut self, path: &str) -> io::Result<DiskOutcome> {
        fs::remove_file(self.place(path)?)?;
        self.ahead.forget(path);
        self.close(path);
        Ok(DiskOutcome::Done)
    }

    fn free_space(&self) -> io::Result<DiskOutcome> {
        let stat = statvfs(&self.root)?;
        Ok(DiskOutcome::Free(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
}

/// Turns what the operating system said into what a caller can act on.
pub(crate) fn explained(request: &DiskRequest, error: &io::Error) -> DiskError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => DiskErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => DiskErrorKind::Exists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskErrorKind::Full,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => DiskErrorKind::Denied,
        _ => DiskErrorKind::Failed,
    };
    let (verb, path) = match request {
        DiskRequest::Create { path } => ("create", path),
        DiskRequest::Allocate { path, .. } => ("allocate", path),
        DiskRequest::WriteAt { path, .. } => ("write to", path),
        DiskRequest::Read { path, .. } => ("read", path),
        DiskRequest::SyncFile { path } => ("sync", path),
        DiskRequest::SyncDirectory { path } => ("sync directory", path),
        DiskRequest::Truncate { path, .. } => ("truncate", path),
        DiskRequest::Rename { from, .. } => ("rename", from),
        DiskRequest::List { path } => ("list", path),
        DiskRequest::Remove { path } => ("remove", path),
        DiskRequest::FreeSpace => {
            return DiskError { kind, message: format!("cannot ask for free space: {error}") };
        }
    };
    DiskError { kind, message: format!("cannot {verb} {path:?}: {error}") }
}

//! The `Disk` contract in memory: for examples, tests and whoever embeds a node and does not want it to outlive its process.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{DiskError, DiskErrorKind, DiskOutcome, DiskRequest};

/// Files by path.
#[derive(Debug, Default)]
pub(crate) struct MemoryDisk {
    files: BTreeMap<Arc<str>, MemoryFile>,
}

/// What was written, and how long the file is: zeros that nobody wrote cost nothing, for the journal allocates much more than a small
/// state machine ever fills.
#[derive(Debug, Default)]
struct MemoryFile {
    data: Vec<u8>,
    length: usize,
}

/// What an empty disk says is free.
const FREE_BYTES: u64 = 1 << 40;

impl MemoryDisk {
    /// Executes one operation.
    pub(crate) fn execute(&mut self, request: DiskRequest) -> Result<DiskOutcome, DiskError> {
        match request {
            DiskRequest::Create { path } => {
                if self.files.contains_key(&path) {
                    return Err(error(DiskErrorKind::Exists, &path));
                }
                self.files.insert(path, MemoryFile::default());
            }
            DiskRequest::Allocate { path, length } => {
                let file = self.file(&path)?;
                file.length = file.length.max(length as usize);
            }
            DiskRequest::WriteAt { path, offset, pieces } => {
                let file = self.file(&path)?;
                let mut at = offset as usize;
                for piece in pieces {
                    let end = at + piece.len();
                    file.data.resize(file.data.len().max(end), 0);
                    file.data[at..end].copy_from_slice(&piece);
                    at = end;
                }
                file.length = file.length.max(at);
            }
            DiskRequest::Read { path, offset, length } => {
                let file = self.file(&path)?;
                let begin = file.length.min(offset as usize);
                let end = file.length.min(begin.saturating_add(length as usize));
                let written = file.data.len().clamp(begin, end);
                let mut read = file.data.get(begin..written).unwrap_or_default().to_vec();
                read.resize(end - begin, 0);
                return Ok(DiskOutcome::Read(Bytes::from(read)));
            }
            DiskRequest::SyncFile { path } => {
                self.file(&path)?;
            }
            DiskRequest::SyncDirectory { .. } => {}
            DiskRequest::Truncate { path, length } => {
                let file = self.file(&path)?;
                file.length = length as usize;
                file.data.truncate(file.length);
            }
            DiskRequest::Rename { from, to } => {
                let file = self.files.remove(&from).ok_or_else(|| error(DiskErrorKind::NotFound, &from))?;
                self.files.insert(to, file);
            }
            DiskRequest::List { path } => return Ok(DiskOutcome::Listed(self.list(&path))),
            DiskRequest::Remove { path } => {
                self.files.remove(&path).ok_or_else(|| error(DiskErrorKind::NotFound, &path))?;
            }
            DiskRequest::FreeSpace => return Ok(DiskOutcome::Free(FREE_BYTES)),
        }
        Ok(DiskOutcome::Done)
    }

    fn file(&mut self, path: &Arc<str>) -> Result<&mut MemoryFile, DiskError> {
        self.files.get_mut(path).ok_or_else(|| error(DiskErrorKind::NotFound, path))
    }

    fn list(&self, directory: &str) -> Vec<(String, u64)> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        self.files
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .map_while(|(path, file)| Some((path.strip_prefix(&prefix)?, file.length as u64)))
            .filter(|(name, _)| !name.contains('/'))
            .map(|(name, length)| (name.to_owned(), length))
            .collect()
    }
}

fn error(kind: DiskErrorKind, path: &str) -> DiskError {
    DiskError { kind, message: format!("{path:?} in memory: {kind:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_contract_of_files() {
        let mut disk = MemoryDisk::default();
        let a: Arc<str> = "log/a".into();
        disk.execute(DiskRequest::Create { path: a.clone() }).unwrap();
        let again = disk.execute(DiskRequest::Create { path: a.clone() });
        assert_eq!(again.unwrap_err().kind, DiskErrorKind::Exists);
        let pieces = vec![Bytes::from_static(b"xy"), Bytes::from_static(b"z")];
        disk.execute(DiskRequest::WriteAt { path: a.clone(), offset: 1, pieces }).unwrap();
        disk.execute(DiskRequest::Allocate { path: a.clone(), length: 5 }).unwrap();
        let read = disk.execute(DiskRequest::Read { path: a.clone(), offset: 0, length: 9 });
        assert_eq!(read, Ok(DiskOutcome::Read(Bytes::from_static(b"\0xyz\0"))));
        disk.execute(DiskRequest::Truncate { path: a.clone(), length: 3 }).unwrap();
        disk.execute(DiskRequest::Truncate { path: a.clone(), length: 5 }).unwrap();
        let read = disk.execute(DiskRequest::Read { path: a.clone(), offset: 2, length: 9 });
        assert_eq!(
            read,
            Ok(DiskOutcome::Read(Bytes::from_static(b"y\0\0"))),
            "what was cut off is zeros when it is back"
        );
        disk.execute(DiskRequest::Create { path: "log/deep/b".into() }).unwrap();
        let listed = disk.execute(DiskRequest::List { path: "log".into() });
        assert_eq!(listed, Ok(DiskOutcome::Listed(vec![("a".into(), 5)])));
        disk.execute(DiskRequest::Remove { path: a.clone() }).unwrap();
        let gone = disk.execute(DiskRequest::Truncate { path: a, length: 0 });
        assert_eq!(gone.unwrap_err().kind, DiskErrorKind::NotFound);
    }
}

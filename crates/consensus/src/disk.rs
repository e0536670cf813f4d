//! The contract of a disk: operations out, completions in; never a blocking call.
//!
//! Guarantees of a real file system and no others:
//! - Operations on one file take effect in the order in which they were submitted, so a [`DiskRequest::SyncFile`] covers every write to
//!   that file submitted before it. Across files nothing is ordered.
//! - Completions may come in any order, late, or never.
//! - What was not synced may vanish or tear at a power loss, in any 512-byte-aligned pieces, in any order. A file that was created,
//!   renamed or removed is so for certain only after [`DiskRequest::SyncDirectory`].
//! - A failed sync is final for the node: what it covered may be lost although later reads show it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// The caller's name for one operation; never used twice in one life of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// One numbered operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOperation {
    /// Comes back with the completion.
    pub id: OperationId,
    /// What to do.
    pub request: DiskRequest,
}

/// What can be asked of a disk. Paths are relative to the node's data directory, with `/` between parts, without `..`; a directory is made
/// when the first file is created in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskRequest {
    /// Makes an empty file, or fails if it exists.
    Create {
        /// The file.
        path: Arc<str>,
    },
    /// Makes the file at least `length` bytes long and its blocks really there, reading as zeros.
    Allocate {
        /// The file.
        path: Arc<str>,
        /// Bytes.
        length: u64,
    },
    /// Writes the pieces one after another at `offset`.
    WriteAt {
        /// The file.
        path: Arc<str>,
        /// Where the first piece begins.
        offset: u64,
        /// The pieces.
        pieces: Vec<Bytes>,
    },
    /// Reads up to `length` bytes at `offset`; fewer only at the end of the file.
    Read {
        /// The file.
        path: Arc<str>,
        /// Where to begin.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Makes every earlier write to the file durable, with its length.
    SyncFile {
        /// The file.
        path: Arc<str>,
    },
    /// Makes creations, renames and removals in the directory durable. The empty path is the data directory itself.
    SyncDirectory {
        /// The directory.
        path: Arc<str>,
    },
    /// Cuts or extends the file to `length` bytes.
    Truncate {
        /// The file.
        path: Arc<str>,
        /// Bytes.
        length: u64,
    },
    /// Gives a file another name in one step, replacing what had that name.
    Rename {
        /// The old name.
        from: Arc<str>,
        /// The new name.
        to: Arc<str>,
    },
    /// Names the files of a directory in order, with their lengths; none if there is no such directory.
    List {
        /// The directory.
        path: Arc<str>,
    },
    /// Removes a file.
    Remove {
        /// The file.
        path: Arc<str>,
    },
    /// Asks how many bytes are free.
    FreeSpace,
}

/// One operation's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCompletion {
    /// Which operation.
    pub id: OperationId,
    /// How it ended.
    pub outcome: Result<DiskOutcome, DiskError>,
}

/// What a successful operation gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOutcome {
    /// Done.
    Done,
    /// What was read.
    Read(Bytes),
    /// The files of a directory, by name alone (without the directory), with their lengths in bytes.
    Listed(Vec<(String, u64)>),
    /// Free bytes.
    Free(u64),
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// What a caller can act on.
    pub kind: DiskErrorKind,
    /// What the operating system said, for people.
    pub message: String,
}

/// What a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskErrorKind {
    /// There is no such file.
    NotFound,
    /// The file is there already.
    Exists,
    /// No space is left, or a quota is used up.
    Full,
    /// Permission, a read-only file system.
    Denied,
    /// Anything else; an input/output error above all.
    Failed,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DiskError {}

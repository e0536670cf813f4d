//! A backup of the keys as a file: what Maintenance.Snapshot sends, and `quorate snapshot` reads.
//!
//! ```text
//! file   = "quorate keys 1\n" · header · chunk… · 0 · zeros · sha256
//! header = length (u32) · cluster (u64) · index (u64) · revision (u64) · compacted (u64) · keys (u64) · digest (u64)
//! chunk  = length (u32, not 0) · bytes of the state, see the keyspace's snapshot
//! ```
//!
//! All numbers are little-endian. The zeros make what is before the hash a multiple of 512: so etcdctl sees that a hash follows, which it looks for
//! in the length. The hash is over all that is before it.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use quorate_keyspace::View;
use sha2::{Digest as _, Sha256};

use std::fmt;

const MAGIC: &[u8] = b"quorate keys 1\n";
const HEADER_BYTES: u32 = 48;
const HASH_BYTES: usize = 32;
const SECTOR: usize = 512;
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// What a backup says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The cluster that it was taken from.
    pub cluster_id: u64,
    /// The index in that cluster's log that it has everything up to, at least.
    pub index: u64,
    /// The store's revision.
    pub revision: u64,
    /// The oldest revision that can be read.
    pub compacted: u64,
    /// Keys that live.
    pub keys: u64,
    /// The state's digest.
    pub digest: u64,
}

/// A backup's bytes, piece by piece, the hash last.
#[derive(Debug)]
pub struct Backup {
    head: Option<Bytes>,
    state: quorate_keyspace::Snapshot,
    hash: Sha256,
    written: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Chunks,
    Hash,
    Done,
}

impl Backup {
    /// Of that view. `index`: see [`About::index`].
    #[must_use]
    pub fn of(view: &View, cluster_id: u64, index: u64) -> Backup {
        let mut head = BytesMut::new();
        head.put_slice(MAGIC);
        head.put_u32_le(HEADER_BYTES);
        for number in [cluster_id, index, view.revision(), view.compacted(), view.key_count(), view.digest()]
        {
            head.put_u64_le(number);
        }
        let head = Some(head.freeze());
        Backup { head, state: view.snapshot(), hash: Sha256::new(), written: 0, stage: Stage::Chunks }
    }

    fn hashed(&mut self, bytes: Bytes) -> Bytes {
        self.hash.update(&bytes);
        self.written += bytes.len();
        bytes
    }
}

impl Iterator for Backup {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take() {
            return Some(self.hashed(head));
        }
        match self.stage {
            Stage::Chunks => {
                if let Some(chunk) = self.state.next() {
                    let mut framed = BytesMut::with_capacity(4 + chunk.len());
                    framed.put_u32_le(u32::try_from(chunk.len()).expect("chunks have 64 KiB"));
                    framed.put_slice(&chunk);
                    return Some(self.hashed(framed.freeze()));
                }
                self.stage = Stage::Hash;
                let end = (self.written + 4).next_multiple_of(SECTOR) - self.written;
                Some(self.hashed(Bytes::from(vec![0; end])))
            }
            Stage::Hash => {
                self.stage = Stage::Done;
                Some(Bytes::copy_from_slice(&self.hash.clone().finalize()))
            }
            Stage::Done => None,
        }
    }
}

/// Why a file is no backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupError {
    /// It does not begin like one.
    NotOurs,
    /// It is one of etcd's own, a bbolt file.
    Etcds,
    /// It ends early, or its parts do not fit.
    Torn,
    /// Its hash is another.
    Hash,
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackupError::NotOurs => "this is no backup of quorate's keys",
            BackupError::Etcds => {
                "this is a snapshot of etcd's own, whose format is not read here; copy the keys with `etcdctl make-mirror` from a running etcd"
            }
            BackupError::Torn => "the file ends early: it was not written to its end; take another backup",
            BackupError::Hash => "its hash does not match: it was changed or damaged since; use another copy",
        })
    }
}

impl std::error::Error for BackupError {}

/// Reads a file: what it says of itself, and the state's chunks.
///
/// # Errors
/// It is no backup, or not whole.
pub fn read(file: &Bytes) -> Result<(About, Vec<Bytes>), BackupError> {
    if !file.starts_with(MAGIC) {
        let is_etcds = file.len() >= 20 && file[16..20] == [0xed, 0xda, 0x0c, 0xed];
        return Err(if is_etcds { BackupError::Etcds } else { BackupError::NotOurs });
    }
    if file.len() < MAGIC.len() + HASH_BYTES || !(file.len() - HASH_BYTES).is_multiple_of(SECTOR) {
        return Err(BackupError::Torn);
    }
    let (body, hash) = (file.slice(..file.len() - HASH_BYTES), &file[file.len() - HASH_BYTES..]);
    if Sha256::digest(&body)[..] != *hash {
        return Err(BackupError::Hash);
    }
    let mut from = body.slice(MAGIC.len()..);
    if from.remaining() < 4 + HEADER_BYTES as usize || from.get_u32_le() != HEADER_BYTES {
        return Err(BackupError::Torn);
    }
    let about = About {
        cluster_id: from.get_u64_le(),
        index: from.get_u64_le(),
        revision: from.get_u64_le(),
        compacted: from.get_u64_le(),
        keys: from.get_u64_le(),
        digest: from.get_u64_le(),
    };
    let mut chunks = Vec::new();
    loop {
        if from.remaining() < 4 {
            return Err(BackupError::Torn);
        }
        let length = from.get_u32_le() as usize;
        if length == 0 {
            return Ok((about, chunks));
        }
        if length > CHUNK_BYTES_MAX || length > from.remaining() {
            return Err(BackupError::Torn);
        }
        chunks.push(from.split_to(length));
    }
}

#[cfg(test)]
mod tests {
    use quorate_consensus::{Position, StateMachine as _};
    use quorate_keyspace::{Command, Keyspace, Put};

    use super::*;

    fn store(keys: usize) -> Keyspace {
        let mut store = Keyspace::new();
        for key in 0..keys {
            let put =
                Put { key: format!("key-{key:05}").into(), value: vec![7; 100].into(), ..Put::default() };
            store.apply(Position::new(1, key as u64 + 1), &Command::Put(put).encode());
        }
        store
    }

    fn file(store: &Keyspace) -> Bytes {
        Backup::of(&store.view(), 9, 77).flatten().collect()
    }

    #[test]
    fn a_backup_reads_back_as_the_same_state() {
        for keys in [0, 1, 3_000] {
            let store = store(keys);
            let file = file(&store);
            assert_eq!(file.len() % SECTOR, HASH_BYTES, "etcdctl looks for the hash so");
            let (about, chunks) = read(&file).unwrap();
            assert_eq!((about.cluster_id, about.index, about.revision), (9, 77, store.view().revision()));
            assert_eq!((about.keys, about.digest), (keys as u64, store.digest()));
            let restored = Keyspace::restore(&mut chunks.into_iter()).unwrap();
            assert_eq!(restored.digest(), store.digest());
        }
    }

    #[test]
    fn what_is_torn_changed_or_somebody_elses_is_refused() {
        let file = file(&store(50));
        for length in (0..file.len()).step_by(97) {
            assert!(read(&file.slice(..length)).is_err(), "{length} bytes of it");
        }
        for at in (0..file.len()).step_by(61) {
            let mut changed = file.to_vec();
            changed[at] ^= 4;
            assert!(read(&changed.into()).is_err(), "byte {at} changed");
        }
        let mut bolt = vec![0; 8192];
        bolt[16..20].copy_from_slice(&0xed0c_daed_u32.to_le_bytes());
        assert_eq!(read(&bolt.into()), Err(BackupError::Etcds));
    }

    #[test]
    fn a_history_that_begins_anew_has_later_revisions_and_no_older_ones() {
        let mut store = store(5);
        let before = store.view().revision();
        store.begin_anew(1_000_000, true).unwrap();
        let view = store.view();
        assert_eq!((view.revision(), view.compacted()), (before + 1_000_000, before + 1_000_000));
        assert!(view.get(b"key-00003").is_some());
        assert!(view.get_at(b"key-00003", before).is_err());
        assert!(store.begin_anew(u64::MAX, false).is_err());
    }
}

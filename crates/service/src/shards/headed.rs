//! A state machine's snapshot that says something before a keyspace's, or several.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_consensus::{Reader, RestoreError, Writer};
use quorate_keyspace::Snapshot;

/// A snapshot being written: how long its head is, the head in pieces, the keyspaces one after another.
#[derive(Debug)]
pub struct HeadedSnapshot {
    head: std::vec::IntoIter<Bytes>,
    states: VecDeque<Snapshot>,
}

impl HeadedSnapshot {
    /// A keyspace's alone.
    pub(super) fn plain(state: Snapshot) -> HeadedSnapshot {
        HeadedSnapshot { head: Vec::new().into_iter(), states: VecDeque::from([state]) }
    }

    /// The head in pieces of at most so many bytes, behind a first one that begins with `tag`.
    pub(super) fn new(
        tag: &[u8],
        mut head: Bytes,
        piece_max: usize,
        states: impl IntoIterator<Item = Snapshot>,
    ) -> HeadedSnapshot {
        let mut length = Writer::new();
        length.raw(tag);
        length.u64(head.len() as u64);
        let mut pieces = vec![length.finish()];
        while !head.is_empty() {
            pieces.push(head.split_to(head.len().min(piece_max)));
        }
        HeadedSnapshot { head: pieces.into_iter(), states: states.into_iter().collect() }
    }
}

impl Iterator for HeadedSnapshot {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.head.next() {
            return Some(piece);
        }
        loop {
            if let Some(chunk) = self.states.front_mut()?.next() {
                return Some(chunk);
            }
            self.states.pop_front();
        }
    }
}

/// The head that follows a first piece, of which `length` is what stands behind the tag.
pub(super) fn read_head(
    length: Bytes,
    chunks: &mut dyn Iterator<Item = Bytes>,
) -> Result<Bytes, RestoreError> {
    let length = Reader::new(length).u64()?;
    let mut head = Vec::new();
    while (head.len() as u64) < length {
        head.extend_from_slice(&chunks.next().ok_or(RestoreError::Incomplete)?);
    }
    Ok(head.into())
}

//! Reads what a data directory holds, with no node running: how a cluster goes on from one member when the others are lost for good.
//!
//! The journal is read as at every start, with all that a start checks: damage is damage here too. Then each group's newest snapshot is restored, and every
//! entry of its log is applied.

use bytes::Bytes;
use quorate_consensus::{Epoch, Fetched, GroupId, Index, Membership, Position, SnapshotMeta, StateMachine};
use quorate_journal::{JournalEvent, SnapshotPiece};
use quorate_node::{Applied, Replica};

use crate::{
    data_directory::{DataDirectory, Identity},
    offline::Offline,
    seed::{Beginning, SeedError},
};

/// So much of a log is read at a time.
const READ_BYTES: u64 = 4 << 20;

/// A data directory whose journal has been read.
pub struct Salvage {
    offline: Offline,
    identity: Identity,
}

impl std::fmt::Debug for Salvage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salvage").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Salvage {
    /// Reads the journal of a directory that belongs to `identity`.
    ///
    /// # Errors
    /// It is damaged, or the operating system refuses.
    pub fn open(directory: &DataDirectory, identity: Identity) -> Result<Salvage, SeedError> {
        Ok(Salvage { offline: Offline::open(directory, identity)?, identity })
    }

    /// A group's state after every entry that its log holds, and how it goes on with this node alone, after `change`.
    ///
    /// Entries that were not known to be committed are applied too. Which of them were, this node cannot know: a leader may have committed, and answered, what it
    /// has told nobody yet. Left out, an answered write would be gone; applied, one is done whose client never heard of it, as may happen to any write without
    /// an answer.
    ///
    /// # Errors
    /// What is read is damaged, or [`Salvaged::Change`] with the error of `change`.
    pub fn alone<S: StateMachine + 'static, E>(
        &mut self,
        group: GroupId,
        born: S,
        change: impl FnOnce(&mut S) -> Result<(), E>,
    ) -> Result<(Beginning, Replica<S>), Salvaged<E>> {
        let replica = self.replica(group, born).map_err(Salvaged::Read)?.alone(change);
        let mut replica = replica.map_err(Salvaged::Change)?;
        if replica.applied() == Position::ZERO {
            // A snapshot stands for a log of at least one entry.
            replica = replica.as_of(Position { epoch: Epoch(0), index: Index(1) });
        }
        let (meta, chunks) = replica.snapshot();
        let hard_state = self.offline.journal.group(group).and_then(|found| found.hard_state.clone());
        Ok((Beginning { group, hard_state, meta, chunks: Box::new(chunks) }, replica))
    }

    fn replica<S: StateMachine>(&mut self, group: GroupId, born: S) -> Result<Replica<S>, SeedError> {
        // No request of an earlier life is waited for by this one.
        let mut replica = Replica::new(born, Membership::default(), self.identity.node, 0);
        let Some(found) = self.offline.journal.group(group) else { return Ok(replica) };
        let (snapshot, last) = (found.snapshot.clone(), found.last);
        if let Some(meta) = snapshot.filter(|meta| meta.position != Position::ZERO) {
            let chunks = self.snapshot(group, &meta)?;
            replica.restore(&meta, chunks).map_err(|error| {
                SeedError::Damaged(format!("the snapshot of group {group} at {}: {error}", meta.position))
            })?;
        }
        let mut applied = Applied::default();
        while replica.applied().index < last.index {
            let from = replica.applied().index.next();
            self.offline.journal.read(group, from, last.index, READ_BYTES);
            let read = self.offline.until(|event| match event {
                JournalEvent::Read { outcome, .. } => Some(outcome),
                _ => None,
            })?;
            let Fetched::Entries(entries) = read else {
                return Err(SeedError::Damaged(format!("entry {from} of group {group} cannot be read back")));
            };
            for entry in entries {
                replica.apply(entry, &mut applied);
            }
            applied = Applied::default();
        }
        Ok(replica)
    }

    fn snapshot(&mut self, group: GroupId, meta: &SnapshotMeta) -> Result<Vec<Bytes>, SeedError> {
        let mut chunks = Vec::new();
        loop {
            self.offline.journal.read_snapshot(group, meta.position, chunks.len() as u64);
            let piece = self.offline.until(|event| match event {
                JournalEvent::SnapshotRead { outcome, .. } => Some(outcome),
                _ => None,
            })?;
            match piece {
                SnapshotPiece::Chunk { data, last } => {
                    chunks.push(data);
                    if last {
                        return Ok(chunks);
                    }
                }
                SnapshotPiece::Gone => {
                    let what = format!("the snapshot of group {group} at {} cannot be read", meta.position);
                    return Err(SeedError::Damaged(what));
                }
            }
        }
    }
}

/// Why a group does not go on.
#[derive(Debug)]
pub enum Salvaged<E> {
    /// It cannot be read.
    Read(SeedError),
    /// Its state cannot be changed as wanted.
    Change(E),
}

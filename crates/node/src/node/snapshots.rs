//! Snapshots of this node's own state: from the state half into the journal, and back.

use bytes::Bytes;
use quorate_consensus::{Duration, Engine, GroupId, Input, Instant, Position, SnapshotMeta};
use quorate_journal::{ReadToken, SnapshotId};

use super::{Node, Piece};
use crate::{Fatal, Notice, Outputs, ToState, messages::Chunks};

/// Snapshot pieces drawn from a state machine in one batch: bounded, so that taking a snapshot delays no heartbeat.
const PIECES_PER_BATCH: usize = 4;
/// How long a snapshot that found no room waits before it is tried again. It is what makes room in the log.
const SNAPSHOT_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A snapshot of this node's state on its way into the journal.
pub(super) struct Taking {
    pub(super) meta: SnapshotMeta,
    pub(super) chunks: Chunks,
    /// In the store, once the log is durable as far as the snapshot goes.
    pub(super) id: Option<SnapshotId>,
    pub(super) finishing: bool,
}

/// A snapshot on its way from the journal into the state half.
pub(super) struct Loading {
    pub(super) meta: SnapshotMeta,
    pub(super) chunks: Vec<Bytes>,
    pub(super) reading: ReadToken,
}

impl Node {
    pub(super) fn snapshots_due(&mut self, now: Instant, out: &mut Outputs) {
        for group in self.groups.values_mut() {
            if group.snapshot_due(now, &self.config.limits) {
                out.state.push(ToState::SnapshotDue { group: group.id });
            }
        }
    }

    /// Draws pieces of snapshots and hands them to the journal, a few at a time.
    ///
    /// A snapshot never runs ahead of this disk's log: applying may, on entries that a quorum elsewhere holds, but if this snapshot were durable
    /// and the entries under it were not, a crash would leave a log that ends before its snapshot.
    pub(super) fn take_snapshots(&mut self) {
        for (id, taking) in &mut self.taking {
            let Some(group) = self.groups.get(id) else { continue };
            if taking.finishing || group.durable_index() < taking.meta.position.index {
                continue;
            }
            let snapshot =
                *taking.id.get_or_insert_with(|| self.journal.begin_snapshot(*id, taking.meta.clone()));
            if quorate_consensus::planted!("D05") {
                self.journal.compact(*id, taking.meta.position);
            }
            for _ in 0..PIECES_PER_BATCH {
                match taking.chunks.next() {
                    Some(piece) => self.journal.write_chunk(snapshot, piece),
                    None => {
                        self.journal.finish_snapshot(snapshot, true);
                        taking.finishing = true;
                        break;
                    }
                }
            }
        }
    }

    /// Is there work for a [`settle`](Self::settle) soon, although no input may come? Owners that sleep ask.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.is_running()
            && self.taking.iter().any(|(id, taking)| {
                !taking.finishing
                    && self.groups.get(id).is_some_and(|g| g.durable_index() >= taking.meta.position.index)
            })
    }

    pub(super) fn snapshot_durable(
        &mut self,
        now: Instant,
        group: GroupId,
        id: SnapshotId,
        meta: &SnapshotMeta,
        out: &mut Outputs,
    ) {
        if self.taking.get(&group).is_some_and(|taking| taking.id == Some(id)) {
            self.taking.remove(&group);
            return self.snapshot_taken(now, group, meta, out);
        }
        if self.staged.get(&group).is_some_and(|staged| staged.id == id) {
            self.staged_durable(now, group, out);
        }
    }

    pub(super) fn snapshot_taken(
        &mut self,
        now: Instant,
        id: GroupId,
        meta: &SnapshotMeta,
        out: &mut Outputs,
    ) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.snapshot_under_way = false;
        group.log_bytes = 0;
        self.step(id, now, out, |group, around| {
            group.step(Input::SnapshotTaken { meta: meta.clone() }, around)
        });
        let Some(group) = self.groups.get_mut(&id) else { return };
        let to = group.compact_to(meta.position.index, self.config.limits.catch_up_log_bytes);
        let status = group.engine.status();
        let epoch = group.engine.epoch_at(to);
        if to > status.compacted.index
            && let Some(epoch) = epoch
        {
            self.journal.compact(id, Position { epoch, index: to });
            self.step(id, now, out, |group, around| group.step(Input::Compacted { to }, around));
        }
        let compacted = to.max(status.compacted.index);
        out.notices.push(Notice::SnapshotTaken { group: id, position: meta.position, compacted });
    }

    pub(super) fn snapshot_failed(&mut self, now: Instant, group: GroupId, id: SnapshotId) {
        if self.taking.get(&group).is_some_and(|taking| taking.id == Some(id)) {
            self.taking.remove(&group);
            if let Some(group) = self.groups.get_mut(&group) {
                group.snapshot_under_way = false;
                group.snapshot_not_before = Some(now + SNAPSHOT_AGAIN_AFTER);
            }
        }
        if self.staged.get(&group).is_some_and(|staged| staged.id == id) {
            self.staged.remove(&group);
        }
    }

    // ── snapshots into the state half ───────────────────────────────────────────────────────────────────────────────

    pub(super) fn load(&mut self, id: GroupId, meta: SnapshotMeta) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.restoring = true;
        }
        let reading = self.journal.read_snapshot(id, meta.position, 0);
        self.pieces.insert(reading, Piece::State(id));
        self.loading.insert(id, Loading { meta, chunks: Vec::new(), reading });
    }

    pub(super) fn loaded(&mut self, id: GroupId, outcome: quorate_journal::SnapshotPiece, out: &mut Outputs) {
        use quorate_journal::SnapshotPiece;
        let Some(mut loading) = self.loading.remove(&id) else { return };
        match outcome {
            SnapshotPiece::Chunk { data, last } => {
                loading.chunks.push(data);
                if last {
                    if let Some(group) = self.groups.get_mut(&id) {
                        group.restoring = false;
                    }
                    out.state.push(ToState::Restore {
                        group: id,
                        meta: loading.meta,
                        chunks: loading.chunks,
                    });
                } else {
                    let next = loading.chunks.len() as u64;
                    loading.reading = self.journal.read_snapshot(id, loading.meta.position, next);
                    self.pieces.insert(loading.reading, Piece::State(id));
                    self.loading.insert(id, loading);
                }
            }
            SnapshotPiece::Gone => {
                let why = format!("the snapshot of {id} at {} cannot be read back", loading.meta.position);
                self.stop(Fatal::Restore(why), out);
            }
        }
    }
}

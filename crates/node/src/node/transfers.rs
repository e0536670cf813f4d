//! Snapshots on their way to peers, and from them.

use quorate_consensus::{Engine, GroupId, Input, Instant, NodeId, Position, SnapshotMeta, SnapshotOutcome};
use quorate_journal::ReadToken;

use super::{Node, Piece};
use crate::{
    Channel, ChunkAck, GroupEngine, Notice, Outputs, PeerMessage,
    group::{Group, Leftover},
    transfer::{Outgoing, Overdue, Staged, read_head},
};

impl Node {
    pub(super) fn leftover(&mut self, now: Instant, group: GroupId, left: Leftover, _out: &mut Outputs) {
        for send in left.snapshot_to {
            let mut message = quorate_consensus::Writer::new();
            GroupEngine::encode_message(&send.message, &mut message);
            let key = (group, send.peer);
            let same =
                self.outgoing.get(&key).is_some_and(|transfer| transfer.meta.position == send.meta.position);
            if !same {
                let transfer = Outgoing::new(send.meta, message.as_slice(), now);
                self.outgoing.insert(key, transfer);
            }
        }
    }

    pub(super) fn send_pieces(&mut self, now: Instant, out: &mut Outputs) {
        let mut given_up = Vec::new();
        for ((group, peer), transfer) in &mut self.outgoing {
            if transfer.overdue(now, &self.config.limits) == Overdue::GiveUp {
                let outcome =
                    if transfer.awaits_disk() { SnapshotOutcome::Unread } else { SnapshotOutcome::Failed };
                given_up.push((*group, *peer, outcome));
                continue;
            }
            for number in transfer.wanted(&self.config.limits) {
                let token = self.journal.read_snapshot(*group, transfer.meta.position, number);
                self.pieces.insert(token, Piece::Peer(*group, *peer, number));
            }
        }
        for (group, peer, outcome) in given_up {
            self.transfer_ended(now, group, peer, outcome, out);
        }
    }

    pub(super) fn transfer_ended(
        &mut self,
        now: Instant,
        group: GroupId,
        peer: NodeId,
        outcome: SnapshotOutcome,
        out: &mut Outputs,
    ) {
        if self.outgoing.remove(&(group, peer)).is_some() {
            self.step(group, now, out, |group, around| {
                group.step(Input::SnapshotSent { peer, outcome }, around)
            });
        }
    }

    pub(super) fn piece_read(
        &mut self,
        now: Instant,
        token: ReadToken,
        outcome: quorate_journal::SnapshotPiece,
        out: &mut Outputs,
    ) {
        use quorate_journal::SnapshotPiece;
        match self.pieces.remove(&token) {
            Some(Piece::Peer(group, peer, number)) => match outcome {
                SnapshotPiece::Chunk { data, last } => {
                    let Some(transfer) = self.outgoing.get_mut(&(group, peer)) else { return };
                    for chunk in transfer.read(number, data, last) {
                        self.links.message(peer, Channel::Bulk, group, &PeerMessage::Chunk(chunk));
                    }
                }
                SnapshotPiece::Gone => {
                    let beyond = self
                        .outgoing
                        .get(&(group, peer))
                        .is_some_and(|t| t.pieces.is_some_and(|n| number >= n));
                    if !beyond {
                        self.transfer_ended(now, group, peer, SnapshotOutcome::Failed, out);
                    }
                }
            },
            // A read for a snapshot that a newer one has replaced meanwhile says nothing of the newer one.
            Some(Piece::State(group))
                if self.loading.get(&group).is_some_and(|loading| loading.reading == token) =>
            {
                self.loaded(group, outcome, out);
            }
            Some(Piece::State(_)) => {}
            None => {}
        }
    }

    pub(super) fn chunk_ack(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        ack: ChunkAck,
        out: &mut Outputs,
    ) {
        let Some(transfer) = self.outgoing.get_mut(&(group, from)) else { return };
        if transfer.meta.position != ack.position {
            return;
        }
        transfer.acked(ack.next, now);
        if ack.end {
            self.transfer_ended(now, group, from, SnapshotOutcome::Delivered, out);
        }
    }

    // ── snapshots from peers ────────────────────────────────────────────────────────────────────────────────────────

    /// A piece of a snapshot. Pieces are taken in order only; any other is answered with what is wanted, which is how a transfer resumes.
    ///
    /// Pieces of two snapshots are never mixed (D11): a piece belongs to the position it names, and one of another position begins a new
    /// transfer only as its first piece.
    pub(super) fn chunk(
        &mut self,
        _now: Instant,
        group: GroupId,
        from: NodeId,
        chunk: crate::Chunk,
        _out: &mut Outputs,
    ) {
        if self.disk_full || !self.groups.contains_key(&group) {
            return;
        }
        let current =
            self.staged.get(&group).map(|staged| (staged.meta.position, staged.next, staged.finishing));
        match current {
            // D11: a piece continues whatever was begun.
            Some((_, next, false)) if quorate_consensus::planted!("D11") && next == chunk.number => {}
            Some((position, next, _)) if position == chunk.position && next != chunk.number => {
                return self.ack_chunk(group, from, chunk.position, next, false);
            }
            Some((position, _, true)) if position == chunk.position => return,
            Some((position, ..)) if position == chunk.position => {}
            Some(_) | None => {
                if chunk.number != 0 || self.installing.values().any(|(id, _)| *id == group) {
                    return self.ack_chunk(group, from, chunk.position, 0, false);
                }
                if !self.stage(group, from, &chunk) {
                    return;
                }
            }
        }
        let Some(staged) = self.staged.get_mut(&group) else { return };
        self.journal.write_chunk(staged.id, chunk.data);
        staged.next += 1;
        let next = staged.next;
        if chunk.last {
            staged.finishing = true;
            self.journal.finish_snapshot(staged.id, false);
        } else {
            self.ack_chunk(group, from, chunk.position, next, false);
        }
    }

    pub(super) fn stage(&mut self, group: GroupId, from: NodeId, chunk: &crate::Chunk) -> bool {
        let Some(head) = chunk.head.clone() else { return false };
        let Ok((meta, engine_message)) = read_head(head) else { return false };
        if meta.position != chunk.position {
            return false;
        }
        let applied = self.groups.get(&group).map(Group::commit).unwrap_or_default();
        if meta.position.index <= applied && !quorate_consensus::planted!("D03") {
            // Rule R21: an older snapshot is ignored; the sender hears that it need not go on.
            self.ack_chunk(group, from, chunk.position, 0, true);
            return false;
        }
        if let Some(old) = self.staged.remove(&group) {
            self.journal.abort_snapshot(old.id);
        }
        let id = self.journal.begin_snapshot(group, meta.clone());
        self.staged.insert(group, Staged { from, meta, engine_message, id, next: 0, finishing: false });
        true
    }

    pub(super) fn ack_chunk(&mut self, group: GroupId, to: NodeId, position: Position, next: u64, end: bool) {
        let ack = PeerMessage::ChunkAck(ChunkAck { position, next, end });
        self.links.message(to, Channel::Urgent, group, &ack);
    }

    /// The whole snapshot is here and durable: now the engine decides (rule R21).
    pub(super) fn staged_durable(&mut self, now: Instant, id: GroupId, out: &mut Outputs) {
        let Some(staged) = self.staged.remove(&id) else { return };
        self.ack_chunk(id, staged.from, staged.meta.position, staged.next, true);
        let bytes = staged.engine_message.clone();
        let mut wanted = None;
        self.step(id, now, out, |group, around| {
            let left = group.message(staged.from, bytes, around).unwrap_or_default();
            wanted = Group::staged_is_wanted(&left, &staged);
            left
        });
        match wanted {
            Some(keep_log_after) => {
                let token = self.journal.install_snapshot(id, staged.id, keep_log_after);
                self.installing.insert(token, (id, staged.meta));
            }
            None => self.journal.abort_snapshot(staged.id),
        }
    }

    /// A leader's snapshot is in place, durably: the engine learns of it, and the state half gets it.
    pub(super) fn installed(&mut self, now: Instant, id: GroupId, meta: SnapshotMeta, out: &mut Outputs) {
        self.taking
            .remove(&id)
            .and_then(|taking| taking.id)
            .into_iter()
            .for_each(|old| self.journal.abort_snapshot(old));
        if let Some(group) = self.groups.get_mut(&id) {
            group.jumped_to(meta.position);
            group.snapshot_under_way = false;
        }
        self.load(id, meta.clone());
        out.notices.push(Notice::SnapshotInstalled { group: id, position: meta.position });
        self.step(id, now, out, |group, around| group.step(Input::SnapshotInstalled { meta }, around));
    }
}

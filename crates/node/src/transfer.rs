//! Snapshots between nodes: pieces of at most 64 KiB on the bulk connection, a few under way at a time, resumable at any piece.
//!
//! The sender reads its newest durable snapshot from the journal; the receiver writes pieces into its own snapshot store, and only when the
//! whole is there, durable and verified, does its engine hear of it. A transfer that breaks is resumed where it broke, as long as the sender
//! still has that snapshot.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{DecodeError, Instant, NodeId, Reader, SnapshotMeta, Writer};
use quorate_journal::SnapshotId;

use crate::{Chunk, Limits};

/// A snapshot on its way to a peer.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) meta: SnapshotMeta,
    /// What the first piece carries: the description and the engine's message.
    pub(crate) head: Bytes,
    /// Pieces in all, once the last was read.
    pub(crate) pieces: Option<u64>,
    /// The next piece to read.
    pub(crate) next: u64,
    /// Every piece below has arrived.
    pub(crate) acked: u64,
    /// Every piece below has been sent.
    sent: u64,
    /// Pieces that were read before one that goes first. The receiver takes them in order only: what overtakes would be read and sent again, after a pause.
    early: BTreeMap<u64, Chunk>,
    pub(crate) last_word: Instant,
    pub(crate) last_progress: Instant,
}

/// What a waiting transfer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Nothing yet.
    No,
    /// No word for a while: begin again from what was acknowledged.
    Resend,
    /// No progress for too long.
    GiveUp,
}

impl Outgoing {
    pub(crate) fn new(meta: SnapshotMeta, engine_message: &[u8], now: Instant) -> Outgoing {
        let mut head = Writer::new();
        meta.encode(&mut head);
        head.bytes(engine_message);
        Outgoing {
            meta,
            head: head.finish(),
            pieces: None,
            next: 0,
            acked: 0,
            sent: 0,
            early: BTreeMap::new(),
            last_word: now,
            last_progress: now,
        }
    }

    /// The pieces that may be read and sent now.
    pub(crate) fn wanted(&mut self, limits: &Limits) -> std::ops::Range<u64> {
        let end = (self.acked + limits.chunks_in_flight_max).min(self.pieces.unwrap_or(u64::MAX));
        let from = self.next;
        self.next = self.next.max(end);
        from..self.next
    }

    /// Does the disk owe a piece that was asked of it?
    pub(crate) fn awaits_disk(&self) -> bool {
        let asked = self.next.min(self.pieces.unwrap_or(u64::MAX));
        self.sent + (self.early.len() as u64) < asked
    }

    /// A piece has been read. Returns what is to be sent now, in order.
    pub(crate) fn read(&mut self, number: u64, data: Bytes, last: bool) -> Vec<Chunk> {
        if last {
            self.pieces = Some(number + 1);
        }
        if number >= self.sent {
            let head = (number == 0).then(|| self.head.clone());
            self.early.insert(number, Chunk { position: self.meta.position, number, head, last, data });
        }
        let mut ready = Vec::new();
        while let Some(chunk) = self.early.remove(&self.sent) {
            self.sent += 1;
            ready.push(chunk);
        }
        ready
    }

    /// The receiver has everything below `next`.
    pub(crate) fn acked(&mut self, next: u64, now: Instant) {
        self.last_word = now;
        if next > self.acked {
            self.acked = next;
            self.next = self.next.max(next);
            // What has arrived needs no sending.
            self.sent = self.sent.max(next);
            self.early.retain(|number, _| *number >= next);
            self.last_progress = now;
        }
    }

    pub(crate) fn overdue(&mut self, now: Instant, limits: &Limits) -> Overdue {
        if now.since(self.last_progress) >= limits.transfer_timeout {
            return Overdue::GiveUp;
        }
        if now.since(self.last_word) >= limits.chunk_resend_after {
            self.last_word = now;
            self.next = self.acked;
            self.sent = self.acked;
            self.early.clear();
            return Overdue::Resend;
        }
        Overdue::No
    }

    pub(crate) fn poll_timeout(&self, limits: &Limits) -> Instant {
        (self.last_word + limits.chunk_resend_after).min(self.last_progress + limits.transfer_timeout)
    }
}

/// A snapshot arriving from a peer.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) from: NodeId,
    pub(crate) meta: SnapshotMeta,
    pub(crate) engine_message: Bytes,
    pub(crate) id: SnapshotId,
    /// The next piece wanted.
    pub(crate) next: u64,
    /// All pieces were written; the journal is making them durable.
    pub(crate) finishing: bool,
}

/// Reads what the first piece carries.
///
/// # Errors
/// Truncated or malformed bytes.
pub(crate) fn read_head(head: Bytes) -> Result<(SnapshotMeta, Bytes), DecodeError> {
    let mut from = Reader::new(head);
    let meta = SnapshotMeta::decode(&mut from)?;
    let message = from.bytes()?;
    from.finish()?;
    Ok((meta, message))
}

#[cfg(test)]
mod tests {
    use quorate_consensus::{Index, Membership, Position};

    use super::*;

    fn transfer() -> Outgoing {
        let meta = SnapshotMeta {
            position: Position::new(1, 9),
            membership: Membership::default(),
            membership_at: Index::ZERO,
            size_bytes: 0,
            digest: 0,
        };
        Outgoing::new(meta, b"", Instant::START)
    }

    fn numbers(chunks: Vec<Chunk>) -> Vec<u64> {
        chunks.into_iter().map(|chunk| chunk.number).collect()
    }

    #[test]
    fn pieces_leave_in_order_whichever_was_read_first() {
        let mut transfer = transfer();
        let mut read = |number, last| numbers(transfer.read(number, Bytes::new(), last));
        assert_eq!(read(1, false), []);
        assert_eq!(read(2, true), []);
        assert_eq!(read(0, false), [0, 1, 2]);
        assert_eq!(transfer.pieces, Some(3));
        assert!(transfer.early.is_empty());
    }

    #[test]
    fn what_is_sent_again_is_what_was_not_acknowledged() {
        let (mut transfer, limits) = (transfer(), Limits::default());
        assert_eq!(transfer.wanted(&limits), 0..limits.chunks_in_flight_max);
        (0..3).for_each(|number| _ = transfer.read(number, Bytes::new(), false));
        _ = transfer.read(4, Bytes::new(), false);
        let later = Instant::START + limits.chunk_resend_after;
        transfer.acked(1, Instant::START);
        assert_eq!(transfer.overdue(later, &limits), Overdue::Resend);
        assert_eq!(transfer.wanted(&limits).start, 1);
        // The read of before the pause comes late; what was read twice is sent once.
        assert_eq!(numbers(transfer.read(2, Bytes::new(), false)), []);
        assert_eq!(numbers(transfer.read(1, Bytes::new(), false)), [1, 2]);
        assert_eq!(numbers(transfer.read(2, Bytes::new(), false)), []);
        assert!(transfer.early.is_empty(), "what has been sent is not kept");
        transfer.acked(4, later);
        assert_eq!(numbers(transfer.read(4, Bytes::new(), true)), [4], "3 has arrived otherwise");
    }

    #[test]
    fn what_the_disk_owes_is_told_from_what_the_network_lost() {
        let (mut transfer, limits) = (transfer(), Limits { chunks_in_flight_max: 3, ..Limits::default() });
        assert!(!transfer.awaits_disk(), "nothing was asked");
        assert_eq!(transfer.wanted(&limits), 0..3);
        assert!(transfer.awaits_disk());
        _ = transfer.read(0, Bytes::new(), false);
        _ = transfer.read(2, Bytes::new(), false);
        assert!(transfer.awaits_disk(), "it owes 1");
        _ = transfer.read(1, Bytes::new(), true);
        assert!(!transfer.awaits_disk(), "there is no third piece");
        transfer.acked(1, Instant::START);
        let later = Instant::START + limits.chunk_resend_after;
        assert_eq!(transfer.overdue(later, &limits), Overdue::Resend);
        assert!(!transfer.awaits_disk());
        assert_eq!(transfer.wanted(&limits), 1..2);
        assert!(transfer.awaits_disk());
    }
}

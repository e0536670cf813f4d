//! Snapshots between nodes: pieces of at most 64 KiB on the bulk connection, a few under way at a time, resumable at any piece.
//!
//! The sender reads its newest durable snapshot from the journal; the receiver writes pieces into its own snapshot store, and only when the
//! whole is there, durable and verified, does its engine hear of it. A transfer that breaks is resumed where it broke, as long as the sender
//! still has that snapshot.

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

    pub(crate) fn chunk(&self, number: u64, data: Bytes, last: bool) -> Chunk {
        let head = (number == 0).then(|| self.head.clone());
        Chunk { position: self.meta.position, number, head, last, data }
    }

    /// The receiver has everything below `next`.
    pub(crate) fn acked(&mut self, next: u64, now: Instant) {
        self.last_word = now;
        if next > self.acked {
            self.acked = next;
            self.next = self.next.max(next);
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

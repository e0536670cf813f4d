//! Floor 2: one durable log for all groups of a node, and the snapshot store, over the disk contract of floor 1. A value: operations out,
//! completions in.
//!
//! ```text
//!   append (any group) ─► queue ─flush─► one write + one sync ─► Durable{token}      (group commit: what comes meanwhile is the next batch)
//!   log/<sequence>.seg   segment: header, checkpoint of all groups, frames…
//!   snapshots/<group>-<epoch>-<index>.snap     chunks, each with its checksum
//! ```
//!
//! Architecture Invariant: a frame says where it stands (segment, offset) and is checksummed over all of it, so a torn, stale or misdirected frame
//! is no frame.
//!
//! Architecture Invariant: damage is told from a torn tail. Every write carries a mark of how far the last sync reached. An invalid frame below the
//! newest mark, or below the length that the next segment gives for this one, is damage; above it, a torn tail, which ends the segment.
//!
//! Architecture Invariant: a segment is synced before the next receives a byte, and a start of the process begins a new one: no byte of a torn tail is
//! ever built upon. Only a start on a full disk, with no reserve left, goes on in the last one, and wipes that tail before.
//!
//! Architecture Invariant: a full disk is an answer. Nothing is written where no bytes were made sure of before; what was not is waited for, votes
//! have room, and nothing that was acknowledged is lost.
//!
//! Architecture Invariant: a failed write or sync is final.
#![forbid(unsafe_code)]

mod config;
mod forward;
mod frame;
mod index;
mod inspect;
mod journal;
mod record;
mod recovery;
mod segments;
mod snapshots;
mod writer;
mod zeros;

pub use config::{Config, Identity, LOCK_FILE};
pub use index::GroupState;
pub use inspect::Inspected;
pub use journal::{
    DamageReport, GroupWrite, Journal, JournalEvent, JournalFailure, ReadToken, Recovery, SnapshotPiece,
    WriteToken,
};
pub use snapshots::SnapshotId;

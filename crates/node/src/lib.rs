//! Floor 3: one node, still a value. It owns groups, the journal that they share, and a link per peer.
//!
//! ```text
//!  frames, disk completions, proposals, reads, time
//!        │ handle                      settle │
//!        ▼                                    ▼
//!   Node ─ Group ─ engine (Raft) ─ effects ─► journal writes · frames · committed entries ─► state half (Replica)
//! ```
//!
//! Architecture Invariant: whatever an engine marks "after this token" leaves the node only once the journal has reported that write
//! durable; the module `group` holds it back until then, so no engine has to be trusted with it.
//!
//! Architecture Invariant: a proposal is made for one epoch. Once an entry of a later epoch has been applied here and the proposal was not
//! among what was applied, it is in no log and never will be: epochs never fall along a log. Only then is it proposed again, so a client
//! sees no error when the leader changes, and nothing is executed twice.
//!
//! Architecture Invariant: a frame reaches an engine only whole, checked, from this cluster, for this node, and from the disk that this
//! node knows its sender by, in this life and the next; the module `disks` says why.
#![forbid(unsafe_code)]

mod command;
mod config;
mod disks;
mod engine;
mod envelope;
mod group;
mod links;
mod messages;
mod node;
mod proposals;
mod reads;
mod replica;
mod sessions;
mod transfer;

pub use command::{Origin, SessionTag, TaggedCommand, Ticket};
pub use config::{Config, GroupConfig, Limits};
pub use engine::{Driven, EngineHardState, EngineMessage, GroupEngine};
pub use envelope::{
    Address, Channel, Chunk, ChunkAck, Desired, FRAME_BYTES_MAX, FRAME_VERSION, Frame, FrameRefusal,
    FrameWriter, PeerMessage,
};
pub use messages::{
    Answer, Chunks, Fatal, FromState, NodeInput, Notice, Outputs, StateHalf, StateOutputs, ToState,
};
pub use node::{GroupStatus, Node};
pub use quorate_journal::Config as JournalConfig;
pub use quorate_raft::Config as RaftConfig;
pub use quorate_zab::Config as ZabConfig;
pub use replica::{Applied, Outcome, Replica, ReplicaSnapshot};
pub use sessions::{ANSWERS_MAX, SESSIONS_MAX, Sessions, Verdict};

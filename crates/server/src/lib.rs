//! Floor 5: one node in the real world: files, sockets, threads and the clock around a [`quorate_node::Node`], and an async [`Handle`].
//!
//! ```text
//!   callers ── Handle ──► core inbox ──► core thread: handle*, settle ──► disk queue ──► writer thread ──┐ fdatasync
//!      ▲                      ▲  ▲  ▲        │          │                     └─► reader thread ───────┤
//!      │                      │  │  └────────┼──────────┼────────────────── completions ──────────────────┘
//!      │                      │  │           │          └─► links: written at once, the rest by a thread each ──► peers
//!      │                      │  └───────────┼────────────── one reader thread per incoming connection ◄──── peers
//!      │                      │              ▼ ToState
//!      └──── waiters ◄── state thread ── FromState
//! ```
//!
//! Architecture Invariant: every queue is drained whole. Whatever gathers while a thread is busy is its next batch: one lock, one wake-up,
//! one step per group, one write, one sync. No timer makes batches, so a lone request never waits for company.
//!
//! Architecture Invariant: the core thread never blocks. Files, full sockets and applying are other threads' business, so a heartbeat or a
//! vote waits for nothing but the round before it.
//!
//! Architecture Invariant: with TLS between members, whoever has not shown a member's certificate has sent no byte that anything but TLS looked at.
//!
//! Architecture Invariant: memory follows what has arrived and what limits allow, never what a stranger announces.
//!
//! A node of one's own in one process: see `examples/three_in_one.rs`.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this floor lives in the real world: it has the clock, the files, the sockets and the threads that the pure floors are kept from"
)]

mod address_book;
mod ahead;
mod core;
mod counters;
mod data_directory;
mod disk;
mod files;
mod forced;
mod gather;
mod handle;
mod hub;
mod inbox;
mod link;
mod listener;
mod memory;
mod offline;
mod options;
mod peers;
mod preamble;
mod reader;
mod replicas;
mod salvage;
mod secure;
#[cfg(test)]
mod secure_tests;
mod seed;
mod sparse;
mod start;
mod state;
pub mod systemd;
#[cfg(test)]
mod testing;
mod transport;
#[cfg(test)]
mod transport_tests;
mod waiters;

pub use address_book::{AddressBook, load_addresses, save_addresses};
pub use core::{NoticeSink, Stopped};
pub use counters::{Counter, Counters, DURATION_BOUNDS_US, Durations, Gauge};
pub use data_directory::{DataDirectory, DataDirectoryError, Identity, lock_data_dir};
pub use forced::{Forced, forced, new_cluster, replace};
pub use handle::{CallError, Handle};
pub use hub::Hub;
pub use options::{Options, StartError, Storage};
pub use peers::{PeerCounters, Peers};
pub use replicas::{EventSink, Replicas, Reply};
pub use salvage::{Salvage, Salvaged};
pub use seed::{Beginning, SeedError, seed};
pub use start::start;
pub use transport::{
    BULK_QUEUE_BYTES_MAX, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, INCOMING_MAX, Network, PeerAddress,
    RECONNECT_MAX, RECONNECT_MIN, SILENCE_TIMEOUT, Security, UNCONNECTED_QUEUE_BYTES_MAX,
    URGENT_FRAME_BYTES_MAX, URGENT_QUEUE_BYTES_MAX,
};

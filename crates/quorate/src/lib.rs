//! The front door of Quorate, for those who build on it: a replicated state machine of your own, in one process.
//!
//! ```
//! use quorate::{Cluster, Machine};
//!
//! #[derive(Clone, Default)]
//! struct Log(Vec<u8>);
//!
//! impl Machine for Log {
//!     fn apply(&mut self, command: &[u8]) -> Vec<u8> {
//!         self.0.extend_from_slice(command);
//!         self.0.len().to_string().into()
//!     }
//!     fn query(&self, _: &[u8]) -> Vec<u8> { self.0.clone() }
//!     fn snapshot(&self) -> Vec<u8> { self.0.clone() }
//!     fn restore(bytes: &[u8]) -> Self { Log(bytes.to_vec()) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), quorate::Error> {
//! let cluster = Cluster::start(3, Log::default).await?;
//! assert_eq!(cluster.propose(b"once ").await?, b"5");
//! assert_eq!(cluster.query(b"").await?, b"once ");
//! # cluster.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! This is the same engine, journal and node that the binary runs. Who needs more than this (many groups, sockets, events, sessions) builds
//! on the crates below: `quorate_server::start` with a state machine of the contract in `quorate_consensus`.
//!
//! The binary's own parts (configuration, command line, bench) are no library.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the front door lives in the real world: it has the clock, the environment and the processes that the pure floors are kept from"
)]

mod adapter;
mod cluster;

pub use cluster::{Cluster, Error};

/// A state machine of your own.
///
/// The same commands in the same order must give the same state, the same answers and the same snapshot, on every node and for ever: no clock,
/// no random numbers, no map whose order is not its keys'.
///
/// `Clone` is how a query gets a picture that stays still while commands go on: the machine is cloned when a command comes while a query still
/// holds the last picture. Keep what is large behind an `Arc`, or in a persistent collection.
pub trait Machine: Clone + Send + Sync + 'static {
    /// Executes a committed command; what it returns is the answer to whoever proposed it.
    fn apply(&mut self, command: &[u8]) -> Vec<u8>;

    /// Answers a question; changes nothing.
    fn query(&self, question: &[u8]) -> Vec<u8>;

    /// The whole state as bytes.
    fn snapshot(&self) -> Vec<u8>;

    /// The state that [`snapshot`](Machine::snapshot) wrote. What it gives for other bytes does not matter: they are checked before.
    fn restore(bytes: &[u8]) -> Self;

    /// About how large the state is, in bytes. A snapshot is due when the log since the last one exceeds this, and 64 MiB.
    fn size_bytes(&self) -> u64 {
        0
    }
}

//! Floor 5: many services on virtual time. The project's main test.
//!
//! ```text
//!   seed ─► shape, actions (plan) ─┐
//!                                  ▼
//!   clients, operator ─► world: one queue of (time, sequence) ─► hosts: Node ⇄ service::State ─► disk, network, clock with faults
//!                                  │ after every event
//!                                  ▼
//!                   invariants against an oracle and the durable images ─► at the end: witness, wgl
//! ```
//!
//! A run is (build, configuration, seed, actions): the actions are a list, recorded and replayable ([`run_actions`]). The same run gives the
//! same trace hash in every process, on every machine.
//!
//! Architecture Invariant: nothing here reads a clock or draws a random number that does not come from the seed.
//!
//! Architecture Invariant: the judges believe nobody. What is durable is read from the disk's image, what is committed is executed a second
//! time by a naive model, quorums are counted by hand.
#![forbid(unsafe_code)]

mod asking;
mod campaign;
#[cfg(feature = "planted-bugs")]
pub mod catalogue;
mod claims;
mod clients;
mod clock;
mod crashes;
mod disk;
mod etcd;
mod faults;
pub mod film;
mod frames;
mod half;
pub mod history;
mod host;
mod inode;
mod invariants;
mod lasting;
mod marks;
mod network;
mod operator;
#[cfg(feature = "planted-bugs")]
pub mod page;
mod plan;
#[cfg(feature = "planted-bugs")]
pub mod plants;
mod processes;
mod rare;
mod reference;
mod run;
mod schedule;
mod shadow;
mod shards;
mod shrink;
mod storms;
mod strike;
mod trace;
pub mod wgl;
pub mod witness;
mod world;
mod zoo;

pub use campaign::{Options, Progress, Summary, campaign, replay_command};
pub use etcd::KeysShape;
pub use faults::{ACTIONS_HEADER, Action, Planned, Who, actions_from_text, actions_to_text, at_ms};
pub use invariants::Violation;
pub use marks::{Mark, Marks};
pub use plan::Shape;
pub use quorate_consensus::EngineKind;
pub use run::{Report, run_actions, run_seed, run_sharded_seed, shape_of, sharded_shape_of};
pub use shards::ShardsShape;
pub use shrink::Found;
pub use zoo::TreeShape;

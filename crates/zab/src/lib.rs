//! Floor 2: ZAB, as a value.
#![forbid(unsafe_code)]

mod broadcast;
mod codec;
mod config;
mod discovery;
mod durable;
mod election;
mod engine;
mod following;
mod hard_state;
mod heartbeat;
mod inbound;
mod learner;
mod link;
mod log;
mod membership;
mod message;
mod proposal;
mod read;
mod role;
mod snapshot;
mod synchronization;
mod transfer;
mod zab;

pub use config::{Config, ConfigError};
pub use hard_state::HardState;
pub use message::{Ended, History, LinkId, Message, Packet, State, Vote};
pub use zab::{EPOCH_JUMP_MAX, Zab};

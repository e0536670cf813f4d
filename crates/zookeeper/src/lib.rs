//! Floor 6: ZooKeeper's wire in front of a node. Sockets and codecs, nothing else.
//!
//! ```text
//!   TCP ─► reader tasks ─► inbox ─► driver: hub, connections (service: what a request means) ─► Backend: propose, sync, touch
//!                            ▲         │ └─► stewards, while this node leads ──────────────────────┘
//!   node ── Front ───────────┘         └─► writes; four-letter words
//! ```
//!
//! One idea a file: `backend` is what the node is asked and `front` what it tells; `serve` takes connections, `admission` counts them and `door` lets
//! them in, through TLS or in the clear; `socket` reads and writes one and `stream` is what it reads from, `client` is one with all that waits for it, `driver` has them all; `draw` draws sessions' ids and passwords; `steward` is the
//! clock of sessions and of znodes whose time is over; `words`, `mntr` and `dump` are the four-letter words and `stats` what they count; `admin` is the page
//! for operators and `commands` what it answers.
//!
//! Architecture Invariant: what a request means, its errors and their order are decided in `quorate-service`; here bytes become inputs and outputs
//! become bytes.
//!
//! Architecture Invariant: once a proposal of a connection is lost, the connection is closed, and nothing it sent later is done; see [`Backend`].
//!
//! Architecture Invariant: bytes from a client hurt that client at most. The driver waits for no client, and what one may hold is bounded by [`Tuning`].
//!
//! Architecture Invariant: who speaks for a session is a number that nobody can guess, and so is its password; see `draw`.
//!
//! # The admin page
//! ZooKeeper's HTTP commands under `/commands/<name>`, in JSON, and the figures of `mntr` for Prometheus under `/metrics`, on one port. Without credentials, as
//! ZooKeeper's: for an address that only operators reach.
//!
//! Left out: SASL.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this floor lives in the real world: it has sockets, deadlines and maps whose order nobody sees"
)]

mod admin;
mod admission;
mod backend;
mod client;
mod commands;
mod door;
mod draw;
mod driver;
mod dump;
mod front;
mod mntr;
mod options;
mod serve;
mod socket;
mod stats;
mod steward;
mod stream;
mod words;

pub use backend::{Backend, Facts, Failure, Mode, Proposal, Ticket};
pub use front::Front;
pub use options::{Options, Tuning};
pub use serve::{Listeners, serve};
pub use words::Whitelist;

//! Floor 5: the real engines in worlds so small that every order of events can be tried.
//!
//! The simulator draws long lives by chance; this tries short ones without exception. A [`Scenario`] says how many members there are and how often
//! each thing may happen: a timer, a proposal, a read, a crash between two writes, a message that comes twice. Everything else is free: any message
//! may come at any time or never, any write may become durable at any time. After each step the invariants are checked (`invariants`).
//!
//! ```text
//!   Scenario ──► World (engines, disks, messages under way, what was promised) ──every action──► Worlds not seen before ──► …
//! ```
//!
//! Worlds are compared by a fingerprint of 64 bits, so a world may be taken for another with a chance of about n²/2⁶⁵: for 10⁸ worlds, 1 in 3,700.
//! Time is each member's own: it stands still until a timer of that member is the next thing to happen. So no order is lost to clocks.
#![forbid(unsafe_code)]

mod invariants;
mod node;
mod scenario;
mod search;
mod visited;
mod world;

pub use node::Explored;
pub use scenario::{Begin, Budget, Change, RAFT, Scenario, ZAB};
pub use search::{Limits, Report, explore};
pub use world::{Action, Violation, World};

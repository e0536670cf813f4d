//! etcd's watches: who is told of what, in which order, and how far each has come.
//!
//! ```text
//!   applied(events) ──► index: who watches this key? ──► pending of each watcher ── a whole revision ──► queue of its stream ──► client
//!                                                                                                          │ full
//!   View (history) ──► catch_up: the same way, for those that are behind ◄── parked until half is read ◄───┘
//! ```
//!
//! A watcher is *synced*: it hears of each change as it happens; or *behind*: it is told from history, which every replica has, until it has come as far as
//! the store. Whatever goes wrong for a watcher (it starts in the past, its client reads too slowly, a snapshot replaced the state, changes could not be
//! handed over in time) makes it fall behind at the first revision that it has not been told, and nothing else. So nobody waits for a slow client, no
//! memory is kept for it, and no event is lost.
//!
//! Architecture Invariant: a watcher's next revision grows only when all its events below are in its stream's queue, and they are put there in the order of
//! revisions (E3: ordered, unique, reliable, resumable).
//!
//! Architecture Invariant: the events of one revision go into the queue together or not at all (E3: atomic).
//!
//! Architecture Invariant: progress is queued behind the events that it speaks of (E3: bookmarkable).
mod history;
mod hub;
mod index;
mod response;
mod span;
mod spans;
mod stream;
mod watcher;

use quorate_consensus::Duration;

pub use hub::Hub;
pub use response::{NO_WATCH, Response, What};

/// A client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Watches of all clients. Default a million.
    pub watches_max: usize,
    /// Bytes of responses that wait for a client that does not read; its watches fall behind then. Default 8 MiB.
    pub queue_bytes_max: usize,
    /// Responses end with a revision once they have so many bytes. Default 1 MiB.
    pub response_bytes_max: usize,
    /// Larger ones are sent in parts to those who want that. etcd's: the largest request and 512 KiB, 2 MiB by default.
    pub fragment_bytes: usize,
    /// How often watches that want it are told how far they have come; up to a tenth is added, another for each stream. etcd's
    /// `--watch-progress-notify-interval`, 10 minutes by default.
    pub progress_interval: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            watches_max: 1_000_000,
            queue_bytes_max: 8 << 20,
            response_bytes_max: 1 << 20,
            fragment_bytes: 2 << 20,
            progress_interval: Duration::from_secs(600),
        }
    }
}

//! What the front end asks of the node. What the node tells the front end goes the other way, through [`Front`](crate::Front).
//!
//! Both ways are calls that return at once and carry batches, and not futures: a future costs a task or a wake-up for every request, while here one
//! wake-up serves all requests that gathered, of all connections, in either direction.
//!
//! ```text
//!   serve ── propose(many), sync(many), touch(many), facts() ──► Backend
//!         ◄── Front: applied(view, events), told(ticket, …), synced(tickets, …), standing(…), leads(…), touched(…) ──
//! ```

use std::fmt;

use quorate_service::{
    znodes::{Command, SessionId},
    zookeeper::{ConnectionId, RequestId},
};

/// What the front end asks of the node.
///
/// # Order
/// Every [`Proposal`] is answered exactly once and in bounded time, by [`Front::told`](crate::Front::told); so is every sync, by
/// [`Front::synced`](crate::Front::synced). Answers may come from any thread, before the call returns, and in any order.
///
/// A backend promises no order. Clients' writes are numbered ([`Caller::sequence`](quorate_service::znodes::Caller::sequence)), and the tree itself refuses
/// one that is out of its turn: a proposal may be lost and the next be taken, or be made again behind others, and still a prefix of what the client sent
/// is done, in order. To keep what was said first in front is worth the while all the same, for a refused write costs its client the connection.
pub trait Backend: Send + Sync + 'static {
    /// Puts commands into the log of the tree, in this order, and leaves `proposals` empty. Does not block.
    fn propose(&self, proposals: &mut Vec<Proposal>);

    /// Finds out with a quorum how far the tree has come, once for all of `tickets`: each waits for everything that was committed before this call, and
    /// for what its own lane had proposed before. Does not block.
    fn sync(&self, tickets: &[Ticket]);

    /// Clients of these sessions were heard of since the last call: whoever leads must know within a tick, by
    /// [`Front::touched`](crate::Front::touched) over there. Not called while this node leads. May be lost; the next comes soon. Does not block.
    fn touch(&self, sessions: &[SessionId]);

    /// How the node stands, for `srvr`, `mntr`, `conf` and their like. Called for each such word, so cheap.
    fn facts(&self) -> Facts;
}

/// A command for the log, and under which number it is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Whose it is.
    pub ticket: Ticket,
    /// What to do.
    pub command: Command,
}

/// The number of a proposal or a sync. Unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Whose it is: each connection is a lane, and [`Ticket::STEWARD`] that of the stewards.
    pub lane: ConnectionId,
    /// Which of the lane's.
    pub request: RequestId,
}

impl Ticket {
    /// The lane of the stewards, whose proposals depend on nothing.
    pub const STEWARD: ConnectionId = ConnectionId(0);
}

/// Why a proposal or a sync has no result. Either way the connection is closed: its client reconnects and looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Certainly not done: the node is overloaded, stops, or has no leader.
    Refused,
    /// It may be done or not.
    Unknown,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Refused => {
                "the node took no more requests, and this one was not done: try again, or another node"
            }
            Failure::Unknown => "it may have been done or not: look before trying again",
        })
    }
}

impl std::error::Error for Failure {}

/// What a server is in its ensemble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The only one.
    #[default]
    Standalone,
    /// It leads.
    Leader,
    /// It votes.
    Follower,
    /// It learns and does not vote.
    Observer,
}

impl Mode {
    /// ZooKeeper's word for it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
        }
    }
}

/// How a node stands, as the four-letter words show it. Counts that only a leader has are 0 elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub mode: Mode,
    /// Voters of the ensemble.
    pub voters: usize,
    /// Members that follow, voters and others.
    pub learners: usize,
    /// Voters that follow and are up to date.
    pub synced_followers: usize,
    /// Observers that are up to date.
    pub synced_observers: usize,
    /// Bytes of snapshots on disk.
    pub snapshot_bytes: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Where the data lies, for `conf`.
    pub data_directory: String,
}

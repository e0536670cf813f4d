//! A run as a film: everything that happened, as data in the order of time, for the Lab to draw and for lessons to check.
//!
//! A film adds nothing to a run and takes nothing from it: the trace's hash is the same with and without. What a page needs in order to draw any moment follows
//! from the events up to it.

mod labels;
mod recorder;
mod scene;

use quorate_consensus::{EngineKind, GroupId, Index, NodeId, Reason, Role};

pub(crate) use recorder::{Recorder, Sending, Tamper, tampering};
pub use scene::{BadScene, Scene, film_of_scene, film_of_seed};

use crate::{invariants::Violation, plan::Shape};

/// The most events that a film keeps; a run that has more is cut there.
pub const EVENTS_MAX: usize = 150_000;

/// What became of a message that did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its link is cut.
    Cut,
    /// The network lost it.
    Lost,
    /// An action about this very frame kept it.
    ByHand,
    /// There is no machine with that id.
    Nobody,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The power failed.
    Crash,
    /// It was killed; what it wrote stays readable.
    Kill,
    /// It stopped by itself.
    Fatal,
}

/// What an entry of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A leader's first.
    Noop,
    /// A command for the keys.
    Put,
    /// A membership.
    Members,
    /// Anything else.
    Other,
}

/// An entry of a log, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its epoch.
    pub epoch: u64,
    /// In words.
    pub text: String,
    /// What it is.
    pub kind: EntryKind,
}

/// How a replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// What it is.
    pub role: Role,
    /// Its term, or epoch.
    pub epoch: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Committed, as far as it knows.
    pub commit: Index,
    /// The end of its log.
    pub last: Index,
    /// The end of its log that it knows to be durable.
    pub durable: Index,
    /// Its log begins after this.
    pub base: Index,
    /// When its next timer runs out, in true nanoseconds.
    pub timer: Option<u64>,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who votes beside them, in a joint membership.
    pub outgoing: Vec<NodeId>,
    /// Who receives the log and does not vote.
    pub learners: Vec<NodeId>,
}

/// A message as it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its number.
    pub message: u64,
    /// That of the frame in which it travels, with others perhaps.
    pub frame: u64,
    /// From which host.
    pub from: usize,
    /// To which; none if no machine has that id.
    pub to: Option<usize>,
    /// Of which group.
    pub group: GroupId,
    /// Its kind.
    pub name: String,
    /// In words.
    pub text: String,
    /// The epoch that it carries, if it carries one.
    pub epoch: Option<u64>,
    /// When it arrives.
    pub arrivals: Vec<u64>,
    /// Why it does not.
    pub fate: Option<Fate>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A process starts, as this node, for the so-manieth time.
    Start {
        /// Its id.
        node: NodeId,
        /// The count of its starts.
        life: u64,
    },
    /// It has read its disk, and its groups run.
    Runs,
    /// It has ended.
    Down {
        /// How.
        how: End,
        /// Why, if it stopped by itself.
        text: String,
    },
    /// It does nothing until then.
    Paused {
        /// In nanoseconds.
        until: u64,
    },
    /// An action of the list strikes.
    Act {
        /// Its place in the list.
        number: usize,
        /// The action.
        text: String,
    },
    /// The directed links that are cut, all of them.
    Links {
        /// From, to.
        cut: Vec<(usize, usize)>,
    },
    /// A message leaves.
    Send(Sent),
    /// A frame arrives.
    Arrive {
        /// Which.
        frame: u64,
        /// Somebody is there.
        heard: bool,
    },
    /// Why an engine did what it did.
    Why {
        /// In which group.
        group: GroupId,
        /// The reason.
        reason: Reason,
    },
    /// A replica stands otherwise than before.
    State {
        /// In which group.
        group: GroupId,
        /// How.
        stand: Box<Stand>,
    },
    /// It has applied everything up to there.
    Applied {
        /// In which group.
        group: GroupId,
        /// The last.
        index: Index,
    },
    /// Its log is another.
    Log {
        /// In which group.
        group: GroupId,
        /// The log begins after this.
        base: Index,
        /// From here on it is what follows.
        from: Index,
        /// What follows, up to the log's end.
        entries: Vec<Label>,
    },
    /// A disk operation begins.
    Disk {
        /// Its number.
        id: u64,
        /// In words.
        text: String,
    },
    /// A disk operation has ended.
    DiskEnds {
        /// Its number.
        id: u64,
        /// Why it failed.
        error: Option<String>,
    },
    /// A client asks.
    Ask {
        /// Who.
        client: u32,
        /// Its operation.
        operation: u64,
        /// What.
        text: String,
    },
    /// An operation is over.
    Answer {
        /// Whose.
        client: u32,
        /// Which.
        operation: u64,
        /// What came of it.
        text: String,
        /// True: done, or read; false: certainly not done; none: nobody knows.
        done: Option<bool>,
    },
    /// Something that a person may want to know.
    Note {
        /// In words.
        text: String,
    },
    /// An invariant is broken.
    Broken {
        /// Which.
        id: &'static str,
        /// What is wrong.
        text: String,
    },
}

/// Something that happened, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Happened {
    /// When, in nanoseconds of true virtual time.
    pub at: u64,
    /// On which host, if on one.
    pub host: Option<usize>,
    /// What.
    pub what: What,
}

/// A whole run, recorded.
#[derive(Clone, Debug)]
pub struct Film {
    /// The shape of the cluster.
    pub shape: Shape,
    /// The groups and what drives each.
    pub groups: Vec<(GroupId, EngineKind)>,
    /// What was done, as text.
    pub actions: String,
    /// When it ended, in nanoseconds.
    pub end: u64,
    /// From when on it was recorded, in nanoseconds.
    pub from: u64,
    /// What happened, in order.
    pub events: Vec<Happened>,
    /// There was more than [`EVENTS_MAX`].
    pub cut: bool,
    /// The trace's hash, equal for equal runs.
    pub hash: u64,
    /// What was broken, first things first.
    pub violations: Vec<Violation>,
    /// Client operations.
    pub operations: usize,
    /// Can they be put in one order? None: that was not decided, or values were written twice.
    pub linearizable: Option<bool>,
}

/// The name of a kind of message, from how it prints: its first word.
fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(text)
}

//! Newtypes for whatever can be confused.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $show:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $show, self.0)
            }
        }
    };
}

id!(/** A node of the cluster; etcd calls it a member id. Never zero, never given to a second node. */ NodeId, "{:x}");
id!(/** A cluster; messages of another cluster are refused. */ ClusterId, "{:x}");
id!(/** One replicated log with its members, its engine and its state machine. */ GroupId, "g{}");
id!(
    /// One life of a node's disk: drawn when the data directory is made, kept as long as it lives. A node that comes back under
    /// its old id with another incarnation has lost what it promised, and never votes (amnesia).
    Incarnation, "{:x}"
);
id!(/** Raft's term and ZAB's epoch: a logical clock, monotone, at most one leader in each. */ Epoch, "{}");
id!(/** The dense position of an entry in its group's log. The first entry has index 1; 0 stands before it. */ Index, "{}");
id!(/** The caller's name for one proposal; it comes back in `accepted` or `refused`. */ ProposalId, "p{}");
id!(/** The caller's name for one read barrier. */ ReadId, "r{}");

/// A shard of the keys, by number: the order in which a cut places them. Never given to a second shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl Index {
    /// Stands before the first entry.
    pub const ZERO: Index = Index(0);

    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The index before this one; zero stays zero.
    #[must_use]
    pub fn previous(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

impl Epoch {
    /// No epoch has begun.
    pub const ZERO: Epoch = Epoch(0);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

/// Where an entry stands: its leader's epoch, then its index. The order of fields is the order of "at least as new".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The epoch of the leader that made the entry.
    pub epoch: Epoch,
    /// Its place in the log.
    pub index: Index,
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Position = Position { epoch: Epoch::ZERO, index: Index::ZERO };

    /// The position `epoch`.`index`.
    #[must_use]
    pub fn new(epoch: u64, index: u64) -> Position {
        Position { epoch: Epoch(epoch), index: Index(index) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.index)
    }
}

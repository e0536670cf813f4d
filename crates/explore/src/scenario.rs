//! What may happen, and how often.

use quorate_consensus::{MembershipChange, NodeId};

/// How often each thing may happen in one life of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A member's next timer goes off: elections, heartbeats, giving up.
    pub wakes: u8,
    /// A leader is given a command.
    pub proposals: u8,
    /// A leader is asked for a linearizable read.
    pub reads: u8,
    /// A member loses what is not durable, and starts again.
    pub crashes: u8,
    /// A message is delivered and stays under way.
    pub doubles: u8,
    /// A member takes a snapshot of what is committed, and drops its log below.
    pub snapshots: u8,
    /// A leader is told to hand over.
    pub transfers: u8,
    /// How many of the scenario's changes of membership are asked for, in their order.
    pub changes: u8,
}

/// How a world begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// As a cluster does that was just founded.
    Founded,
    /// With a leader whose first entry is committed everywhere.
    Led,
}

/// A world, and what may happen in it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How it is chosen.
    pub name: &'static str,
    /// Voters at the beginning, numbered from 1.
    pub voters: u64,
    /// Members that exist, those included; the others wait to be added.
    pub members: u64,
    /// How it begins.
    pub begin: Begin,
    /// Writes become durable when the world says so; otherwise at once.
    pub slow_disks: bool,
    /// Messages under way at most; what would be more is lost.
    pub messages_max: usize,
    /// How often what may happen.
    pub budget: Budget,
    /// Changes of membership, asked of whoever leads.
    pub changes: &'static [Change],
}

/// A change of membership, small enough to be a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A voter more.
    Add(u64),
    /// A voter or learner less.
    Remove(u64),
    /// A learner more.
    Learn(u64),
    /// A learner becomes a voter.
    Promote(u64),
    /// One in the place of another.
    Replace(u64, u64),
}

impl Change {
    pub(crate) fn of(self) -> MembershipChange {
        match self {
            Change::Add(id) => MembershipChange::AddVoter(NodeId(id)),
            Change::Remove(id) => MembershipChange::Remove(NodeId(id)),
            Change::Learn(id) => MembershipChange::AddLearner(NodeId(id)),
            Change::Promote(id) => MembershipChange::Promote(NodeId(id)),
            Change::Replace(old, new) => MembershipChange::Replace { old: NodeId(old), new: NodeId(new) },
        }
    }
}

const NOTHING: Budget = Budget {
    wakes: 0,
    proposals: 0,
    reads: 0,
    crashes: 0,
    doubles: 0,
    snapshots: 0,
    transfers: 0,
    changes: 0,
};

const THREE: Scenario = Scenario {
    name: "",
    voters: 3,
    members: 3,
    begin: Begin::Founded,
    slow_disks: true,
    messages_max: 10,
    budget: NOTHING,
    changes: &[],
};

/// One member takes another's place.
const JOINT: Scenario = Scenario {
    name: "joint",
    members: 4,
    begin: Begin::Led,
    slow_disks: false,
    budget: Budget { proposals: 1, crashes: 1, changes: 1, ..NOTHING },
    changes: &[Change::Replace(3, 4)],
    ..THREE
};

/// A member comes as a learner, and is made a voter.
const LEARNER: Scenario = Scenario {
    name: "learner",
    budget: Budget { changes: 2, ..JOINT.budget },
    changes: &[Change::Learn(4), Change::Promote(4)],
    ..JOINT
};

/// The worlds that Raft is tried in.
pub const RAFT: &[Scenario] = &[
    Scenario { name: "election", budget: Budget { wakes: 4, crashes: 1, doubles: 1, ..NOTHING }, ..THREE },
    Scenario {
        name: "replication",
        begin: Begin::Led,
        budget: Budget { wakes: 3, proposals: 2, crashes: 1, ..NOTHING },
        ..THREE
    },
    Scenario {
        name: "reads",
        begin: Begin::Led,
        slow_disks: false,
        budget: Budget { wakes: 4, proposals: 1, reads: 2, crashes: 0, doubles: 1, ..NOTHING },
        ..THREE
    },
    Scenario {
        name: "snapshots",
        begin: Begin::Led,
        slow_disks: false,
        budget: Budget { wakes: 4, proposals: 2, crashes: 1, snapshots: 2, ..NOTHING },
        ..THREE
    },
    Scenario { budget: Budget { wakes: 4, ..JOINT.budget }, ..JOINT },
    Scenario { budget: Budget { wakes: 4, ..LEARNER.budget }, ..LEARNER },
    Scenario {
        name: "transfer",
        begin: Begin::Led,
        budget: Budget { wakes: 3, proposals: 1, crashes: 1, transfers: 2, ..NOTHING },
        ..THREE
    },
];

/// The worlds that ZAB is tried in.
pub const ZAB: &[Scenario] = &[
    // Election, discovery and synchronisation, from the beginning.
    Scenario { name: "election", budget: Budget { wakes: 6, crashes: 1, ..NOTHING }, ..THREE },
    Scenario {
        name: "discovery",
        slow_disks: false,
        budget: Budget { wakes: 8, proposals: 1, crashes: 1, doubles: 1, ..NOTHING },
        ..THREE
    },
    Scenario {
        name: "broadcast",
        begin: Begin::Led,
        budget: Budget { wakes: 3, proposals: 2, crashes: 1, ..NOTHING },
        ..THREE
    },
    Scenario {
        name: "synchronisation",
        begin: Begin::Led,
        slow_disks: false,
        budget: Budget { wakes: 7, proposals: 2, crashes: 2, ..NOTHING },
        ..THREE
    },
    Scenario {
        name: "reads",
        begin: Begin::Led,
        slow_disks: false,
        budget: Budget { wakes: 5, proposals: 1, reads: 2, doubles: 1, ..NOTHING },
        ..THREE
    },
    Scenario {
        name: "snapshots",
        begin: Begin::Led,
        slow_disks: false,
        budget: Budget { wakes: 6, proposals: 2, crashes: 1, snapshots: 2, ..NOTHING },
        ..THREE
    },
    Scenario { budget: Budget { wakes: 5, ..JOINT.budget }, ..JOINT },
    Scenario { budget: Budget { wakes: 5, ..LEARNER.budget }, ..LEARNER },
];

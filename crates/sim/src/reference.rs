//! The committed logs, and what they say. Of the keys a second, naive execution of every committed command, from what the client asked rather than
//! from the bytes in the entry. Of the cluster's records a replay, entry by entry, on a replica that belongs to no host and never saw a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{Entry, Epoch, GroupId, Membership, NodeId, Payload, StateMachine};
use quorate_node::{Applied, Replica, TaggedCommand};
use quorate_service::{
    META, TREE,
    placement::{Placement, View},
};

use crate::{
    etcd::Ledger,
    half::After,
    history::{Call, Model, Truth},
    plan::Shape,
    zoo::{Log, Wrong},
};

/// A committed entry, as the oracle remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) epoch: Epoch,
    /// The greatest epoch in which it was first seen committed.
    pub(crate) seen_in: Epoch,
}

#[derive(Debug, Default)]
struct NaiveSession {
    forgotten_below: u64,
    done: BTreeSet<u64>,
}

/// What an entry came to in the naive execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) revision: u64,
    pub(crate) duplicate: bool,
    pub(crate) expired: bool,
    /// An operation without a session was executed a second time.
    pub(crate) twice: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Reference {
    model: Model,
    sessions: BTreeMap<u64, NaiveSession>,
    /// The revision after each index; index 0 is revision 1.
    steps: Vec<Step>,
    pub(crate) truth: BTreeMap<u64, Truth>,
    /// All of the keys and their leases, in a run that has watches and leases.
    ledger: Option<Box<Ledger>>,
    /// The revisions that writes took which are not in the clients' history.
    pub(crate) others: BTreeSet<u64>,
}

pub(crate) type Origins = BTreeMap<(NodeId, u64, u64), (u64, Call)>;

impl Reference {
    /// What the entry at `index` came to.
    fn step(&self, index: u64) -> Option<Step> {
        self.steps.get(index.checked_sub(1)? as usize).copied()
    }

    /// All of the keys and their leases.
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_deref()
    }

    /// The last entry executed.
    fn last(&self) -> u64 {
        self.steps.len() as u64
    }

    /// Executes the next committed entry.
    fn execute(&mut self, entry: &Entry, origins: &Origins) -> Step {
        let index = entry.position.index.0;
        let mut step = Step::default();
        let mut told = false;
        if let Payload::Command(bytes) = &entry.payload
            && let Ok(tagged) = TaggedCommand::decode(bytes.clone())
        {
            let operation =
                tagged.origin.and_then(|origin| origins.get(&(origin.node, origin.life, origin.ticket.0)));
            let run = match tagged.session {
                None => true,
                Some(tag) => {
                    let known = self.sessions.contains_key(&tag.session);
                    let session = self.sessions.entry(tag.session).or_default();
                    step.expired = (!known && tag.sequence != 1) || tag.sequence < session.forgotten_below;
                    step.duplicate = !step.expired && session.done.contains(&tag.sequence);
                    let run = !step.expired && !step.duplicate;
                    if run {
                        session.done.insert(tag.sequence);
                        session.forgotten_below =
                            session.forgotten_below.max(tag.lowest_wanted.min(tag.sequence));
                    } else if !known {
                        self.sessions.remove(&tag.session);
                    }
                    run
                }
            };
            if let (true, Some(ledger), Some(origin)) = (run, &mut self.ledger, tagged.origin) {
                let origin = (origin.node, origin.life, origin.ticket.0);
                let twice = ledger.execute(entry.position, origin, &tagged.command);
                step.twice = twice.then_some(index);
                told = true;
            }
            if let (true, Some((id, call))) = (run, operation) {
                let (changed, previous) = self.model.apply(call);
                let truth = Truth { index, revision: self.model.revision, changed, previous };
                if self.truth.insert(*id, truth).is_some() {
                    step.twice = Some(*id);
                }
            }
        }
        if let Some(ledger) = &mut self.ledger {
            if !told {
                ledger.skip();
            }
            if ledger.revision > self.model.revision {
                self.model.revision = ledger.revision;
                self.others.insert(ledger.revision);
            }
        }
        step.revision = self.model.revision;
        self.steps.push(step);
        step
    }
}

/// A replay of the records.
#[derive(Debug)]
pub(crate) struct Replay {
    replica: Replica<Placement>,
    /// After each entry.
    digests: Vec<u64>,
    /// What each version of them wants.
    wanted: BTreeMap<u64, Membership>,
}

/// The second execution of one group's committed log.
#[derive(Debug)]
pub(crate) enum Execution {
    /// Of the keys.
    Naive(Reference),
    /// Of the cluster's records.
    Replay(Box<Replay>),
    /// Of the tree.
    Tree(Box<Log>),
}

impl Execution {
    pub(crate) fn of(group: GroupId, shape: &Shape, birth: &Membership) -> Execution {
        match (group, &shape.tree) {
            (META, _) => {
                let replica = Replica::new(Placement::new(), birth.clone(), NodeId(0), 0);
                let (digests, wanted) = (Vec::new(), BTreeMap::new());
                Execution::Replay(Box::new(Replay { replica, digests, wanted }))
            }
            (TREE, Some(tree)) => Execution::Tree(Box::new(Log::new(tree))),
            _ => {
                let ledger = shape.keys.as_ref().map(|_| Box::new(Ledger::new()));
                Execution::Naive(Reference { ledger, ..Reference::default() })
            }
        }
    }

    pub(crate) fn tree(&self) -> Option<&Log> {
        match self {
            Execution::Tree(log) => Some(log),
            Execution::Naive(_) | Execution::Replay(_) => None,
        }
    }

    pub(crate) fn reference(&self) -> Option<&Reference> {
        match self {
            Execution::Naive(reference) => Some(reference),
            Execution::Replay(_) | Execution::Tree(_) => None,
        }
    }

    pub(crate) fn records(&self) -> Option<View> {
        match self {
            Execution::Naive(_) | Execution::Tree(_) => None,
            Execution::Replay(replay) => Some(replay.replica.machine().view()),
        }
    }

    /// What each version of the records wanted, from this one on.
    pub(crate) fn wanted_since(&self, version: u64) -> impl Iterator<Item = (u64, &Membership)> {
        let replay = match self {
            Execution::Naive(_) | Execution::Tree(_) => None,
            Execution::Replay(replay) => Some(replay),
        };
        replay
            .into_iter()
            .flat_map(move |replay| replay.wanted.range(version..).map(|(of, wanted)| (*of, wanted)))
    }

    /// The last entry executed.
    pub(crate) fn last(&self) -> u64 {
        match self {
            Execution::Naive(reference) => reference.last(),
            Execution::Replay(replay) => replay.digests.len() as u64,
            Execution::Tree(log) => log.last(),
        }
    }

    /// Executes the next committed entry.
    pub(crate) fn execute(&mut self, entry: Entry, origins: &Origins) -> Step {
        match self {
            Execution::Naive(reference) => reference.execute(&entry, origins),
            Execution::Replay(replay) => {
                replay.replica.apply(entry, &mut Applied::default());
                replay.digests.push(replay.replica.digest());
                let view = replay.replica.machine().view();
                replay.wanted.entry(view.version()).or_insert_with(|| view.desired_membership());
                Step::default()
            }
            Execution::Tree(log) => {
                log.execute(&entry);
                Step::default()
            }
        }
    }

    /// Is the state after an entry another than it should be?
    pub(crate) fn differs(&self, state: &After) -> Option<Wrong> {
        let index = state.position.index.0;
        match self {
            Execution::Naive(reference) => {
                let step = reference.step(index)?;
                if let Some(wrong) = reference.ledger.as_ref().and_then(|ledger| ledger.differs(state)) {
                    return Some(wrong);
                }
                // By a command that was executed before, or whose session has expired.
                let id = if step.duplicate || step.expired { "X1" } else { "E1" };
                (step.revision != state.number).then(|| Wrong {
                    what: format!("the revision is {}, should be {}", state.number, step.revision),
                    id,
                })
            }
            Execution::Replay(replay) => {
                let digest = replay.digests.get(index.checked_sub(1)? as usize)?;
                (*digest != state.digest).then(|| Wrong {
                    what: format!("the digest is {:x}, the replay gives {digest:x}", state.digest),
                    id: "E1",
                })
            }
            Execution::Tree(log) => log.differs(state),
        }
    }
}

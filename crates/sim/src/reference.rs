//! The committed logs, and what they say. Of the keys a second, naive execution of every committed command, from what the client asked rather than
//! from the bytes in the entry. Of the cluster's records a replay, entry by entry, on a replica that belongs to no host and never saw a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{Entry, Epoch, GroupId, Membership, NodeId, Payload, Position, StateMachine};
use quorate_node::{Applied, Replica, TaggedCommand};
use quorate_service::{
    META, TREE,
    keyspace::{KeyspaceError, Reply, Response},
    placement::{Placement, View},
};

use crate::{
    etcd::Ledger,
    half::After,
    history::{Call, Model, Truth},
    marks::{Mark, Marks},
    plan::Shape,
    shards::{Due, Origin, Placed, ShardLog, Shown, is_of_order, is_shard, owns},
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
    /// The sequence of what is committed in the order and in all shards, once the keys are divided.
    pub(crate) placed: Option<Box<Placed>>,
    /// Who is in the group, at the end of what is executed.
    members: Membership,
    pub(crate) shown: Shown,
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
        if let Payload::Membership(membership) = &entry.payload {
            self.members = membership.clone();
        }
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
            if run && let Some(placed) = &mut self.placed {
                let origin = tagged.origin.map(|origin| (origin.node, origin.life, origin.ticket.0));
                placed.take(entry.position, origin, &tagged.command, &self.members);
            }
            if self.placed.is_none() && self.ledger.is_some() {
                self.placed =
                    Placed::found(&tagged.command, self.model.revision, &self.members).map(Box::new);
                told = self.placed.is_some();
            }
            if self.placed.is_some() {
                return self.ordered(step, told);
            }
            // Before there are shards, an entry of their order does nothing.
            let run = run && !is_of_order(&tagged.command);
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
        if self.placed.is_some() {
            return self.ordered(step, false);
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

    /// An entry of the order: what it comes to shows when everything before it is executed.
    fn ordered(&mut self, mut step: Step, founds: bool) -> Step {
        if let (true, Some(ledger)) = (founds, &mut self.ledger) {
            ledger.is_divided = true;
            self.shown.stands(ledger.revision, ledger.sums_now());
        }
        step.revision = self.placed.as_ref().map_or(0, |placed| placed.revision());
        self.steps.push(step);
        step
    }

    /// Did it come to nothing, as a transaction over shards?
    pub(crate) fn is_void(&self, origin: Origin) -> bool {
        self.placed.as_ref().is_some_and(|placed| placed.void.contains(&origin))
    }

    /// Executes all that has its place by now, of keys that are divided. What is wrong with it.
    pub(crate) fn advance(&mut self, origins: &Origins, marks: &mut Marks) -> Vec<Wrong> {
        let Some(mut placed) = self.placed.take() else { return Vec::new() };
        let mut wrong = placed.take_wrong();
        marks.add(Mark::ShardsMerged, std::mem::take(&mut placed.merges));
        while let Some(due) = placed.next() {
            wrong.extend(self.carry_out(&mut placed, due, origins, marks));
            if let Some(ledger) = &self.ledger {
                self.shown.stands(ledger.revision, ledger.sums_now());
            }
        }
        wrong.extend(placed.take_wrong());
        if placed.is_done() && placed.revision() != self.model.revision {
            let (order, logs) = (placed.revision(), self.model.revision);
            wrong.push(Wrong::new("P1", format!("the order has come to {order}, the logs to {logs}")));
        }
        self.placed = Some(placed);
        wrong
    }

    fn carry_out(
        &mut self,
        placed: &mut Placed,
        due: Due,
        origins: &Origins,
        marks: &mut Marks,
    ) -> Option<Wrong> {
        match due {
            Due::Change => marks.hit(Mark::ShardsChanged),
            Due::Refused { current, origin } => {
                let result = Err(KeyspaceError::FutureRevision { current });
                if let (Some(ledger), Some(origin)) = (&mut self.ledger, origin) {
                    ledger.refuse(origin, Response { revision: current, result });
                }
            }
            Due::Turn { shard, map, at, origin, command } => {
                marks.hit(Mark::TurnPlaced);
                if !owns(shard, &map, &command) {
                    if let (Some(ledger), Some(origin)) = (&mut self.ledger, origin) {
                        let (revision, result) = (ledger.revision, Err(KeyspaceError::Moved));
                        ledger.refuse(origin, Response { revision, result });
                    }
                    return None;
                }
                let done = self.run(at, origin, &command, origins);
                if done.changed {
                    placed.changed(shard);
                }
                return done.wrong;
            }
            Due::Txn { at, origin, command, branch, changes } => {
                marks.hit(Mark::TxnPlaced);
                let done = self.run(at, origin, &command, origins);
                if done.wrong.is_some() {
                    return done.wrong;
                }
                let taken = done.branch.is_none_or(|taken| taken == branch);
                if done.changed != changes || !taken {
                    let decided = format!("decided as {branch}, changes {changes}");
                    let what = format!("{at}: {decided}; it comes to {:?}, {}", done.branch, done.changed);
                    return Some(Wrong::new("P1", what));
                }
            }
        }
        None
    }

    /// Executes a command of keys that are divided.
    fn run(&mut self, at: Position, origin: Option<Origin>, command: &Bytes, origins: &Origins) -> Done {
        let mut done = Done::default();
        let (Some(ledger), Some(origin)) = (&mut self.ledger, origin) else { return done };
        let before = ledger.revision;
        let mut twice = ledger.execute(at, origin, command);
        done.changed = ledger.revision > before;
        done.branch = match ledger.answer(origin).map(|response| &response.result) {
            Some(Ok(Reply::Txn(reply))) => Some(reply.succeeded),
            _ => None,
        };
        if let Some((id, call)) = origins.get(&origin) {
            let (changed, previous) = self.model.apply(call);
            let (index, revision) = (self.steps.len() as u64, self.model.revision);
            twice |= self.truth.insert(*id, Truth { index, revision, changed, previous }).is_some();
        }
        if ledger.revision > self.model.revision {
            self.model.revision = ledger.revision;
            self.others.insert(ledger.revision);
        }
        if twice {
            done.wrong =
                Some(Wrong::new("X1", format!("{origin:?} asked once, and it is done twice, again at {at}")));
        }
        done
    }
}

/// What a command came to.
#[derive(Debug, Default)]
struct Done {
    changed: bool,
    /// Of a transaction.
    branch: Option<bool>,
    wrong: Option<Wrong>,
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
    Naive(Box<Reference>),
    /// Of the cluster's records.
    Replay(Box<Replay>),
    /// Of the tree.
    Tree(Box<Log>),
    /// Of a shard: its place in the sequence is the order's matter.
    Shard(ShardLog),
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
            (group, _) if is_shard(group) => Execution::Shard(ShardLog::default()),
            _ => {
                let ledger = shape.keys.as_ref().map(|_| Box::new(Ledger::new()));
                let members = birth.clone();
                Execution::Naive(Box::new(Reference { ledger, members, ..Reference::default() }))
            }
        }
    }

    pub(crate) fn tree(&self) -> Option<&Log> {
        match self {
            Execution::Tree(log) => Some(log),
            Execution::Naive(_) | Execution::Replay(_) | Execution::Shard(_) => None,
        }
    }

    pub(crate) fn reference(&self) -> Option<&Reference> {
        match self {
            Execution::Naive(reference) => Some(reference),
            Execution::Replay(_) | Execution::Tree(_) | Execution::Shard(_) => None,
        }
    }

    /// The naive execution of the keys, to go on with.
    pub(crate) fn reference_mut(&mut self) -> Option<&mut Reference> {
        match self {
            Execution::Naive(reference) => Some(reference),
            Execution::Replay(_) | Execution::Tree(_) | Execution::Shard(_) => None,
        }
    }

    pub(crate) fn shard(&mut self) -> Option<&mut ShardLog> {
        match self {
            Execution::Shard(log) => Some(log),
            Execution::Naive(_) | Execution::Replay(_) | Execution::Tree(_) => None,
        }
    }

    pub(crate) fn records(&self) -> Option<View> {
        match self {
            Execution::Naive(_) | Execution::Tree(_) | Execution::Shard(_) => None,
            Execution::Replay(replay) => Some(replay.replica.machine().view()),
        }
    }

    /// What each version of the records wanted, from this one on.
    pub(crate) fn wanted_since(&self, version: u64) -> impl Iterator<Item = (u64, &Membership)> {
        let replay = match self {
            Execution::Naive(_) | Execution::Tree(_) | Execution::Shard(_) => None,
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
            Execution::Shard(log) => log.last(),
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
            Execution::Shard(log) => {
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
            Execution::Shard(_) => None,
        }
    }
}

//! ZAB's epochs. Z1: an epoch is entered once a quorum has promised it to its leader. Z7: and nowhere before the history that it begins with is durable
//! there. Z8: an epoch's entries stand in one piece, and its counter never runs over.
//!
//! What ZAB promises beside that is what every engine here promises: total order (Z2, Z4) is I6 and I10, prefixes of one history (Z3, Z5) are I4, I5 and I6,
//! and nothing is delivered that was not broadcast (Z6) by I6 and I17.

use std::collections::BTreeMap;

use quorate_consensus::{Epoch, Index, NodeId, Position, Role, Status};

use super::{Oracle, Scene, quorum};

#[derive(Debug)]
pub(super) struct Epochs {
    counter_max: u64,
    /// Where each epoch's first entry stands.
    first: BTreeMap<Epoch, u64>,
    /// The end of the history that each epoch begins with.
    histories: BTreeMap<Epoch, Position>,
}

impl Epochs {
    pub(super) fn new(counter_max: u64) -> Epochs {
        Epochs { counter_max, first: BTreeMap::new(), histories: BTreeMap::new() }
    }

    /// Is this the last proposal that its epoch has room for, or the end of a joint membership behind it?
    pub(super) fn fills(&self, index: u64, epoch: Epoch) -> bool {
        self.first.get(&epoch).is_some_and(|first| index + 1 >= first + self.counter_max)
    }

    /// Z8: an entry of `epoch` was logged at `index`, after one of the epoch `before`. What is wrong with it?
    pub(super) fn counts(&mut self, index: u64, epoch: Epoch, before: Option<Epoch>) -> Option<String> {
        if before.is_some_and(|before| before != epoch) {
            let first = *self.first.entry(epoch).or_insert(index);
            if first != index {
                return Some(format!("epoch {epoch} begins at {index}, elsewhere at {first}"));
            }
        }
        let counter = index.checked_sub(*self.first.get(&epoch)?)?;
        let over = counter > self.counter_max;
        over.then(|| format!("{epoch}.{index} has the counter {counter}, of at most {}", self.counter_max))
    }
}

impl Oracle {
    /// The end of the history that an epoch begins with, once its leader has entered it.
    pub(crate) fn history_of(&self, epoch: Epoch) -> Option<Position> {
        self.epochs.as_ref()?.histories.get(&epoch).copied()
    }

    /// Does what was committed last fill its epoch?
    pub(crate) fn epoch_is_full(&self) -> bool {
        let last = self.committed();
        let epoch = self.committed.last().map(|committed| committed.epoch).unwrap_or_default();
        self.epochs.as_ref().is_some_and(|epochs| epochs.fills(last, epoch))
    }

    /// A host acknowledges NEWLEADER: it has entered the epoch as a learner.
    pub(crate) fn learner_entered(&mut self, host: usize, epoch: Epoch) {
        let entered = &mut self.watches[host].entered;
        *entered = epoch.max(*entered);
    }

    /// A host of a group that ZAB drives has run. Looked at each time, because what is durable when the epoch is may be cut later, by the leader of another.
    pub(super) fn epochs(&mut self, after: &Status, scene: &mut Scene<'_>) {
        if self.epochs.is_none() {
            return;
        }
        let (host, group, id) = (scene.host, self.group, scene.hosts[scene.host].id);
        let durable = scene.durable(host);
        let Some(epoch) = durable.current(group).filter(|epoch| *epoch > self.watches[host].entered) else {
            return;
        };
        // {3 promises epoch 2 to itself, gives up, and follows 2, which has chosen epoch 2 as well}: 3 enters it as a learner.
        let itself = durable.term(group) == epoch && durable.vote(group) == Some(id);
        let leads = itself && matches!(after.role, Role::Candidate | Role::Leader);
        self.watches[host].entered = epoch;
        if leads {
            self.promised(epoch, after, scene);
        }
        let mirror = &self.watches[host].mirror;
        let Some(epochs) = &mut self.epochs else { return };
        if leads {
            // It appends nothing of its own before its epoch is durable.
            let end = (mirror.base + 1..=mirror.last()).rev().find_map(|index| {
                let epoch = mirror.epoch(index).filter(|at| *at < epoch)?;
                Some(Position { epoch, index: Index(index) })
            });
            if let Some(end) = end {
                epochs.histories.insert(epoch, end);
            }
        }
        let Some(end) = epochs.histories.get(&epoch).copied() else { return };
        let durable = scene.durable(host);
        if !durable.holds(group, end.index, end.epoch) {
            let last = durable.last(group);
            let what =
                format!("epoch {epoch} is durable, its history up to {end} is not: the log ends at {last}");
            scene.fail("Z7", what);
        }
    }

    /// Z1: a quorum has promised this epoch to who leads it, or a later one to somebody else since. Whose disk is gone may have promised as well.
    fn promised(&self, epoch: Epoch, after: &Status, scene: &mut Scene<'_>) {
        let (hosts, group, leader) = (scene.hosts, self.group, scene.hosts[scene.host].id);
        let mut yes: Vec<NodeId> = Vec::new();
        for node in after.membership.members() {
            let place = hosts.iter().position(|host| host.id == node && !host.is_lost());
            let promised = place.is_none_or(|place| {
                let durable = scene.durable(place);
                let to = durable.vote(group);
                durable.term(group) > epoch || durable.term(group) == epoch && to == Some(leader)
            });
            if promised {
                yes.push(node);
            }
        }
        if !quorum(&after.membership, &yes) {
            let what =
                format!("{leader} enters epoch {epoch}, promised by {yes:?} of {:?}", after.membership);
            scene.fail("Z1", what);
        }
    }
}

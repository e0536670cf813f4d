//! Refinement: whatever an engine does in one event is some sequence of these steps of an abstract protocol, which Raft and ZAB both refine.
//!
//! ```text
//!   Ask(n, e)          n asks to lead epoch e, with the log that it has
//!   Learn(n, e)        n's epoch rises to one that somebody has asked for
//!   Promise(n, e, m)   Raft: n votes for m, who asked for e, and whose log is as complete as n's own
//!   Lead(n, e)         Raft: n leads e, for a quorum has promised it durably     (ZAB's Lead is Z1)
//!   Propose(n, e)      who has asked for e, and nobody else, appends entries of e; it cuts nothing off its own log meanwhile
//!   Copy(n, e)         n takes entries that stand in the log of one who asked for e, at their places
//!   Cut(n, e)          n drops entries from the first on in which its log and that one differ
//! ```
//!
//! Committing, installing and crashing are steps as well; I5 to I9 and I17 say what they may do. The other invariants look at states; this looks at what lies between
//! two of them, so that a step which breaks nothing yet is found as well: a leader whom too few have voted for, and who has no rival.

use std::{collections::BTreeMap, ops::RangeInclusive};

use quorate_consensus::{Entry, Epoch, Index, NodeId, Position, Role, Status};

use super::{Oracle, Scene, log::Mirror, quorum};

/// What became of a host's log in one event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// Its last index before.
    pub(super) old_last: u64,
    /// Up to here nothing changed.
    pub(super) same: u64,
    /// The epoch of the first entry that was dropped, if one was.
    pub(super) dropped: Option<Epoch>,
    /// Its beginning moved: a snapshot may have taken its place.
    pub(super) compacted: bool,
}

/// The log of one who asked to lead: as it was then, and with what was proposed since.
#[derive(Debug)]
struct Bid {
    /// Where it ended when its owner asked.
    asked_with: Position,
    base: u64,
    epochs: Vec<Epoch>,
}

impl Bid {
    fn of(mirror: &Mirror) -> Bid {
        let last = mirror.last();
        let asked_with = Position { epoch: mirror.epoch(last).unwrap_or_default(), index: Index(last) };
        Bid { asked_with, base: mirror.base, epochs: mirror.epochs.iter().copied().collect() }
    }

    fn last(&self) -> u64 {
        self.base + self.epochs.len() as u64
    }

    fn epoch(&self, index: u64) -> Option<Epoch> {
        self.epochs.get(index.checked_sub(self.base + 1)? as usize).copied()
    }
}

/// The state of the abstract protocol that is not in the hosts' logs: who has asked for which epoch.
#[derive(Debug, Default)]
pub(super) struct Abstract {
    bids: BTreeMap<(Epoch, NodeId), Bid>,
}

impl Abstract {
    fn bids(&self, epochs: RangeInclusive<Epoch>) -> impl Iterator<Item = &Bid> {
        let (first, last) = epochs.into_inner();
        self.bids.range((first, NodeId(0))..=(last, NodeId(u64::MAX))).map(|(_, bid)| bid)
    }
}

impl Oracle {
    /// Ask: a host's question leaves it.
    pub(crate) fn asks(&mut self, host: usize, node: NodeId, epoch: Epoch) {
        let mirror = &self.watches[host].mirror;
        self.protocol.bids.entry((epoch, node)).or_insert_with(|| Bid::of(mirror));
    }

    /// Promise: may `voter`, whose log ends at `last`, vote for `node`? Why not?
    pub(crate) fn may_promise(&self, voter: usize, node: NodeId, epoch: Epoch) -> Result<(), String> {
        let mirror = &self.watches[voter].mirror;
        let last = mirror.last();
        let Some(bid) = self.protocol.bids.get(&(epoch, node)) else {
            return Err(format!("{node} never asked to lead {epoch}"));
        };
        // Where nothing is left of the log but its beginning, the mirror does not say of which epoch that was. A vote that is told once more comes from a log that may
        // have grown by entries of the epoch itself.
        let Some(own) = mirror.epoch(last).filter(|own| *own < epoch) else { return Ok(()) };
        if (own, last) > (bid.asked_with.epoch, bid.asked_with.index.0) && bid.asked_with.epoch > Epoch::ZERO
        {
            return Err(format!(
                "a log that ends at {own}.{last} votes for one that ended at {}",
                bid.asked_with
            ));
        }
        Ok(())
    }

    /// What happened between the last look at a host and this one, step by step.
    pub(super) fn refines(&mut self, before: &Status, after: &Status, change: Change, scene: &mut Scene<'_>) {
        let (host, id) = (scene.host, scene.hosts[scene.host].id);
        let bids = |status: &Status| matches!(status.role, Role::Candidate | Role::Leader);
        // {1 asks for 16 with 15.22, loses its power before that is durable, takes 15.23 and asks for 16 anew}: the last time counts.
        if bids(after) && !(bids(before) && before.epoch == after.epoch) {
            self.protocol.bids.remove(&(after.epoch, id));
            self.asks(host, id, after.epoch);
        }
        if after.epoch > before.epoch && self.protocol.bids(after.epoch..=after.epoch).next().is_none() {
            scene.fail("T1", format!("learned of epoch {}, which nobody has asked for", after.epoch));
        }
        if after.role == Role::Leader && (before.role != Role::Leader || before.epoch != after.epoch) {
            self.leads(before, after, scene);
        }
        if change.same == change.old_last && self.watches[host].mirror.last() == change.same {
            return;
        }
        let leads_on =
            before.epoch == after.epoch && before.role == Role::Leader && after.role == Role::Leader;
        if leads_on && change.dropped.is_some() && !change.compacted {
            scene.fail("T3", format!("the leader of {} cut its own log to {}", after.epoch, change.same));
        }
        // What it proposes in the event in which it gives up its lead is sent all the same.
        for status in [before, after].into_iter().filter(|status| bids(status)) {
            self.proposes(host, id, status.epoch);
        }
        self.cuts(before, after, change, scene);
        self.copies(before, after, change, scene);
    }

    /// Lead: of the voters, a quorum has promised the epoch durably, or a later one since. A disk that is gone may have promised as well.
    fn leads(&mut self, before: &Status, after: &Status, scene: &mut Scene<'_>) {
        if self.epochs.is_some() {
            return;
        }
        let (hosts, group, leader) = (scene.hosts, self.group, scene.hosts[scene.host].id);
        let mut yes: Vec<NodeId> = Vec::new();
        for node in before.membership.members().chain(after.membership.members()) {
            let place = hosts.iter().position(|host| host.id == node && !host.is_lost());
            let promised = place.is_none_or(|place| {
                let durable = scene.durable(place);
                let term = durable.term(group);
                term > after.epoch || term == after.epoch && durable.vote(group) == Some(leader)
            });
            if promised {
                yes.push(node);
            }
        }
        // It may have won under the one and acted on the other, within one event.
        if ![&before.membership, &after.membership].into_iter().any(|membership| quorum(membership, &yes)) {
            let what =
                format!("{leader} leads {}, promised by {yes:?} of {:?}", after.epoch, after.membership);
            scene.fail("T2", what);
        }
    }

    /// Propose: what a host that has asked for `epoch` appends.
    fn proposes(&mut self, host: usize, id: NodeId, epoch: Epoch) {
        let mirror = &self.watches[host].mirror;
        let Some(bid) = self.protocol.bids.get_mut(&(epoch, id)) else { return };
        let known = bid.last().max(mirror.base);
        if bid.last() < known {
            (bid.base, bid.epochs) = (known, Vec::new());
        }
        let own = |index: &u64| mirror.epoch(*index) == Some(epoch);
        bid.epochs.extend((known + 1..=mirror.last()).take_while(own).map(|_| epoch));
    }

    /// Propose, once more: what a host sends as its own has been in its log, {it proposes, sends, hears of a later leader and takes that one's entries, all in one event}.
    pub(crate) fn proposed(&mut self, node: NodeId, entries: &[Entry]) {
        for Position { epoch, index } in entries.iter().map(|entry| entry.position) {
            if let Some(bid) = self.protocol.bids.get_mut(&(epoch, node))
                && bid.last() + 1 == index.0
            {
                bid.epochs.push(epoch);
            }
        }
    }

    /// Cut: the first entry that is gone stands otherwise, or not at all, in the log of one whom the host may have followed meanwhile.
    fn cuts(&self, before: &Status, after: &Status, change: Change, scene: &mut Scene<'_>) {
        let Some(dropped) = change.dropped.filter(|_| !change.compacted) else { return };
        let at = change.same + 1;
        // ZAB's learner drops what its leader does not have (TRUNC); Raft's only what its leader has otherwise.
        let differs = |bid: &Bid| match bid.epoch(at) {
            Some(there) => there != dropped,
            None => self.epochs.is_some() || at <= bid.base,
        };
        if !self.protocol.bids(before.epoch..=after.epoch).any(differs) {
            let what = format!(
                "dropped {dropped}.{at}, which no leader of {} to {} has otherwise",
                before.epoch, after.epoch
            );
            scene.fail("T3", what);
        }
    }

    /// Copy: every entry that is new stands at its place in the log of one whom the host may have followed meanwhile.
    fn copies(&self, before: &Status, after: &Status, change: Change, scene: &mut Scene<'_>) {
        let mirror = &self.watches[scene.host].mirror;
        for index in change.same.max(mirror.base) + 1..=mirror.last() {
            let Some(epoch) = mirror.epoch(index) else { continue };
            // What a leader appends in the event in which it gives up its lead is its own all the same.
            let id = scene.hosts[scene.host].id;
            let own = (before.epoch..=after.epoch).contains(&epoch)
                && self.protocol.bids.contains_key(&(epoch, id));
            let stands = |bid: &Bid| bid.epoch(index) == Some(epoch) || index <= bid.base;
            if !own && !self.protocol.bids(before.epoch..=after.epoch).any(stands) {
                let what = format!(
                    "took {epoch}.{index}, which stands in the log of no leader of {} to {}",
                    before.epoch, after.epoch
                );
                return scene.fail("T3", what);
            }
        }
    }
}

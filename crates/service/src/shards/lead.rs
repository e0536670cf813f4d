//! What a node does for its shards where it leads, and what it says to those who lead.
//!
//! Whatever a leader says or proposes may be lost; it is said again after a while. Said twice it does no harm: reports are facts, a barrier that stands is passed over,
//! and a cut that is old changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{Duration, GroupId, Instant, NodeId, ShardId, Writer, planted};
use quorate_keyspace::Command;
use quorate_node::{NodeInput, Ticket};
use quorate_order::{Command as OrderCommand, Outcome, Part, SLICES_MAX, Scribe, ScribeConfig, TxnId};

use super::{Handover, NodeShards, Order, ShardCommand, ShardsOut, Word, here::Group, order_entry};

/// How much time a [`Word::Tick`] says has passed.
pub const TICK: Duration = Duration::from_millis(100);
/// What was proposed and has not come in so many ticks is proposed again.
const AGAIN_TICKS: u64 = 10;
/// For so long a shard is led on by a node that hears of no leader of the order; and so often is it to be led by another from then on.
const DEAF_TICKS: u64 = 15;
/// So much longer a transaction waits for a shard that has never placed anything.
const YOUNG_TICKS: u64 = 80;

/// The time after so many ticks.
pub(super) fn at(ticks: u64) -> Instant {
    Instant::START + TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) report: Option<quorate_order::Report>,
    pub(super) barrier: TxnId,
    pub(super) branch: TxnId,
    /// Up to here it has said of those that wait which are void.
    pub(super) void: TxnId,
}

/// What whoever leads the order has gathered.
#[derive(Debug)]
pub(super) struct Lead {
    scribe: Scribe,
    /// What was proposed, and when.
    proposed: BTreeMap<Ticket, (OrderCommand, u64)>,
    /// Slices that members do not need any more.
    kept: BTreeMap<(ShardId, NodeId), u64>,
    /// What was last asked to be forgotten.
    forgotten: BTreeMap<ShardId, u64>,
}

impl Lead {
    fn new(now: Instant, seen: &BTreeMap<TxnId, u64>) -> Lead {
        let config = ScribeConfig { cut_interval: Duration::ZERO, ..ScribeConfig::default() };
        let mut scribe = Scribe::new(config, now);
        seen.iter().for_each(|(txn, ticks)| scribe.seen(*txn, at(*ticks)));
        Lead { scribe, proposed: BTreeMap::new(), kept: BTreeMap::new(), forgotten: BTreeMap::new() }
    }
}

impl NodeShards {
    /// The order's leader is another one, or the same anew; perhaps this node, or nobody of whom this node has heard.
    pub fn new_order_leader(&mut self, leads: bool, is_heard: bool) {
        self.deaf_since = if is_heard { None } else { self.deaf_since.or(Some(self.ticks)) };
        let now = self.now();
        self.lead = leads.then(|| Lead::new(now, &self.seen));
        // Whoever leads now has been told nothing.
        self.groups.values_mut().for_each(|group| group.said.report = None);
    }

    /// An entry that this node proposed to the order is in its log.
    pub fn settled(&mut self, ticket: Ticket) {
        let Some(lead) = &mut self.lead else { return };
        if let Some((command, _)) = lead.proposed.remove(&ticket) {
            lead.scribe.settled(&command);
        }
    }

    /// A command of the order was proposed under this ticket.
    pub fn proposed(&mut self, ticket: Ticket, command: OrderCommand) {
        let ticks = self.ticks;
        if let Some(lead) = &mut self.lead {
            lead.proposed.insert(ticket, (command, ticks));
        }
    }

    /// A word that a node said.
    pub fn hear(
        &mut self,
        from: NodeId,
        own: NodeId,
        word: Word,
        order: &Order,
        members: &[NodeId],
        out: &mut ShardsOut,
    ) {
        match (word, &mut self.lead) {
            (Word::Tick, _) if from == own => self.tick(order, members, out),
            (Word::Tick, _) => {}
            (Word::Report(report), Some(lead)) => lead.scribe.report(report),
            (Word::Kept { shard, slices }, Some(lead)) => {
                let kept = lead.kept.entry((shard, from)).or_default();
                *kept = (*kept).max(slices);
            }
            // Whoever took this node for the leader says it again.
            (Word::Report(_) | Word::Kept { .. }, None) => {}
        }
    }

    /// Time passes: what may have been lost is said again.
    fn tick(&mut self, order: &Order, members: &[NodeId], out: &mut ShardsOut) {
        self.ticks += 1;
        let ticks = self.ticks;
        self.seen.retain(|txn, _| order.orderer().waits_for(*txn));
        order.orderer().open().for_each(|(txn, _)| _ = self.seen.entry(txn).or_insert(ticks));
        if ticks.is_multiple_of(AGAIN_TICKS) {
            for (id, group) in &mut self.groups {
                group.said = Said::default();
                out.words.push(Word::Kept { shard: group.shard, slices: group.kept });
                let (there, place) =
                    (order.orderer().slices(group.shard), group.replica.machine().replica().place());
                let last = group.taken.values().max().copied().unwrap_or(group.kept);
                if there.is_some_and(|slices| slices.len() > SLICES_MAX / 4)
                    && place.slice - last.min(place.slice) > SLICES_MAX as u64 / 8
                {
                    out.snapshots.push(*id);
                }
            }
        }
        self.leave_to_others(out);
        if let Some(lead) = &mut self.lead {
            let late = |(_, since): &(OrderCommand, u64)| ticks >= since + AGAIN_TICKS;
            let lost: Vec<Ticket> = lead
                .proposed
                .iter()
                .filter(|(_, proposed)| late(proposed))
                .map(|(ticket, _)| *ticket)
                .collect();
            for ticket in lost {
                let (command, _) = lead.proposed.remove(&ticket).expect("just seen");
                lead.scribe.settled(&command);
            }
            if ticks.is_multiple_of(AGAIN_TICKS) {
                lead.forget(order, members, out);
            }
        }
        self.answer_void(order, out);
    }

    /// Whoever does not hear of the order cannot lead a shard: it logs no barrier and no branch.
    ///
    /// {1 and 2 do not reach each other, and both reach 3; 2 leads the order, and 1 every shard}: each group has a leader that a majority hears, so nobody stands for election, and
    /// every transaction would wait for ever. Found by the simulator (I20).
    fn leave_to_others(&mut self, out: &mut ShardsOut) {
        let Some(since) = self.deaf_since else { return };
        let deaf = self.ticks - since;
        if deaf > 0 && deaf.is_multiple_of(DEAF_TICKS) && !planted!("L15") {
            let led = self.groups.iter().filter(|(_, group)| group.leads);
            out.core.extend(led.map(|(id, _)| NodeInput::TransferLeadership { group: *id, to: None }));
        }
    }

    pub(super) fn do_duties(&mut self, order: &Order, out: &mut ShardsOut) {
        // The handovers to whose barrier the shard that comes or goes has come here.
        let is_ready = |(txn, handover): &(TxnId, &Handover)| {
            let other = self.group_of(handover.comes_or_goes());
            other.is_some_and(|group| group.replica.machine().replica().newest() >= *txn)
        };
        let ready: BTreeSet<TxnId> = order.handovers().filter(is_ready).map(|(txn, _)| txn).collect();
        for (id, group) in self.groups.iter_mut().filter(|(_, group)| group.leads && !group.awaits_snapshot) {
            group.do_duties(*id, order, &ready, out);
        }
        let now = self.now();
        if let Some(lead) = &mut self.lead {
            for command in lead.scribe.due(now, order.orderer()) {
                if let OrderCommand::Decide { txn, outcome: Outcome::Void } = &command
                    && lead.must_wait(
                        *txn,
                        order,
                        self.ticks - self.seen.get(txn).copied().unwrap_or(self.ticks),
                    )
                {
                    lead.scribe.settled(&command);
                    continue;
                }
                out.proposals.push((crate::KEYS, order_entry(&command), Some(command)));
            }
        }
    }
}

impl Group {
    fn do_duties(&mut self, id: GroupId, order: &Order, ready: &BTreeSet<TxnId>, out: &mut ShardsOut) {
        let replica = self.replica.machine().replica();
        let report = replica.report();
        let is_news = order.orderer().placed(self.shard).is_some_and(|placed| report.upto > placed)
            || report.verdict.is_some();
        if is_news && self.said.report != Some(report) {
            self.said.report = Some(report);
            out.words.push(Word::Report(report));
        }
        if let Some(txn) = replica.stands_at().filter(|txn| *txn > self.said.branch) {
            let branch = match order.orderer().part(self.shard, txn) {
                Part::Open => None,
                Part::Done { branch } => Some(Some(branch)),
                Part::Void => Some(None),
            };
            if let Some(branch) = branch {
                self.said.branch = txn;
                out.proposals.push((id, encoded(&ShardCommand::Branch(txn, branch)), None));
            }
        }
        // Those behind it can have come to nothing already, and to nothing else: none that this shard has not weighed is done. {one was done long ago, the order has forgotten it,
        // and this leader is still reading its log, where its branch is to come}: what is said here comes into the log behind that branch, and by then nobody waits for it.
        let said = self.said.void;
        for txn in replica.next_barriers().filter(|txn| *txn > said) {
            if order.orderer().part(self.shard, txn) == Part::Void {
                self.said.void = txn;
                out.proposals.push((id, encoded(&ShardCommand::Branch(txn, None)), None));
            }
        }
        let (newest, said) = (replica.newest(), self.said.barrier);
        for (txn, barrier) in order.barriers(self.shard, newest.max(said)) {
            // {the barrier of a handover is lost on its way, that of the next transaction is not}: barriers are taken in order, and it would never be; so what comes behind a
            // handover waits until its barrier is in the log. Any other transaction would be void, and a handover cannot be.
            if order.handovers().any(|(of, handover)| of > newest && of < txn && handover.touches(self.shard))
            {
                break;
            }
            // {the new shard of a split, or the right one of a merge, has no leader}: the one that stays goes on until it has, and stands at the barrier for as long as the two
            // need to say so.
            if order.handovers().any(|(of, handover)| of == txn && handover.stays() == self.shard)
                && !ready.contains(&txn)
            {
                break;
            }
            let super::Barrier { at, known, part } = barrier;
            let command = ShardCommand::Barrier { txn, at, known, part };
            out.proposals.push((id, encoded(&command), None));
            self.said.barrier = txn;
        }
    }
}

impl Lead {
    /// Must a transaction not be void yet, that this node has seen for so many ticks, though a shard has not answered in time? A handover waits for its shards, however long.
    /// And {keys have just been divided, and the new groups elect their first leaders}: whoever writes then is not refused, as nobody is by a group whose leader has died a
    /// moment ago. Nobody waits for a new shard that has answered, or stands at a later barrier: {its own barrier of this one was lost, and it never will}.
    fn must_wait(&self, txn: TxnId, order: &Order, ticks: u64) -> bool {
        let open = order.orderer().open().find(|(open, _)| *open == txn);
        let is_young = |shard| order.orderer().slices(shard).is_some_and(|slices| slices.end() == 0);
        let is_awaited = |shard: &ShardId| is_young(*shard) && !self.scribe.has_passed(txn, *shard);
        let is_patient = open.is_some_and(|(_, open)| open.shards().iter().any(is_awaited));
        order.is_handover(txn) || is_patient && ticks < YOUNG_TICKS
    }

    /// The order forgets what every member has behind a durable snapshot.
    fn forget(&mut self, order: &Order, members: &[NodeId], out: &mut ShardsOut) {
        let shards: BTreeSet<ShardId> = order.orderer().shards().collect();
        for shard in shards {
            let said = |node: &NodeId| self.kept.get(&(shard, *node)).copied();
            let Some(of_shard) = order.orderer().slices(shard) else { continue };
            let mut kept: Vec<u64> = members.iter().map(|node| said(node).unwrap_or(0)).collect();
            kept.sort_unstable();
            // Those who are away for so long that the shard would have to wait are not waited for: they will have to be replaced.
            let place = if of_shard.len() > SLICES_MAX / 2 { may_be_away(kept.len()) } else { 0 };
            let (Some(slices), there) = (kept.get(place).copied(), of_shard.forgotten()) else { continue };
            if slices > there && self.forgotten.get(&shard).is_none_or(|asked| slices > *asked) {
                self.forgotten.insert(shard, slices);
                let command = OrderCommand::Forget { shard, slices };
                out.proposals.push((crate::KEYS, order_entry(&command), None));
            }
        }
    }
}

/// Of so many members, so many may be without whom there is still a majority.
fn may_be_away(members: usize) -> usize {
    members.saturating_sub(1) / 2
}

fn encoded(command: &ShardCommand) -> Bytes {
    let mut to = Writer::new();
    command.encode(&mut to);
    to.finish()
}

/// A command of one shard alone, as its group's log holds it, without who waits for it.
pub fn turn(command: &Command, to: &mut Writer) {
    ShardCommand::Turn(command.encode()).encode(to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_a_majority_has_however_many_are_away() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(may_be_away), [0, 0, 1, 1, 2, 2, 3]);
        assert_eq!(may_be_away(0), 0);
    }
}

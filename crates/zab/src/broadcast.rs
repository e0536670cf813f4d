//! Broadcast (rule Z07): established, propose, ACKs of a quorum, commit in order.

use std::collections::{BTreeMap, VecDeque};

use quorate_consensus::{DiskLag, Entry, Epoch, Index, Instant, NodeId, Payload, Position, planted};

use crate::{
    Message, Zab,
    durable::EpochDurable,
    link::LinkStage,
    message::{LinkId, Packet},
    role::{Broadcast, LeaderReads, Phase, Role},
    zab::Out,
};

impl Zab {
    /// A quorum has acknowledged NEWLEADER: all of the history is committed, whoever proposed it, and the epoch begins.
    ///
    /// No entry of the own epoch is needed for that, as on Raft (rules R15, R16; Q01, Q02): a quorum has written this epoch as its current one behind this very
    /// history, the next election judges by the current epoch first, so nobody without this history can win it. The entry that the epoch begins with has the
    /// counter 0, ZooKeeper's mark of NEWLEADER; it shows in the log that what was proposed in an older epoch and does not stand before it is lost.
    pub(crate) fn establish(&mut self, now: Instant, durable: EpochDurable, end: Position, out: &mut Out) {
        let limit = self.config.sync_limit;
        let first = end.index.next();
        let Some(leading) = self.leading() else { return };
        leading.check_at = now + limit;
        leading.phase = Phase::Broadcast(Box::new(Broadcast {
            durable,
            first,
            disk_lag: DiskLag::default(),
            reads: LeaderReads::default(),
            transfer: None,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            forwarded: BTreeMap::new(),
        }));
        out.because("Z06", "established", &[("epoch", durable.epoch().0), ("history", end.index.0)]);
        self.commit = self.commit.max(end.index);
        // What an earlier lead of this node settled may have been truncated since: a joint membership must be left once more (C07).
        self.memberships.unsettle();
        self.append_own(Payload::Noop);
        let learners: Vec<NodeId> = self.links();
        for learner in &learners {
            self.tell_up_to_date(*learner, out);
        }
        for learner in learners {
            self.begin_synchronization(learner, out);
        }
        self.propose_to_all(out);
        self.membership_committed(now, out);
        self.advance_commit(now, out);
    }

    pub(crate) fn links(&self) -> Vec<NodeId> {
        match &self.role {
            Role::Leading(leading) => leading.links.keys().copied().collect(),
            Role::Looking(_) | Role::Following(_) => Vec::new(),
        }
    }

    /// UPTODATE, with what is committed now: more than when the learner's history was cut (the paper's COMMIT-LD left that open, H14).
    fn tell_up_to_date(&mut self, peer: NodeId, out: &mut Out) {
        let commit = self.commit;
        if !self.is_established() {
            return;
        }
        let link = self.leading().and_then(|leading| leading.links.get_mut(&peer));
        if let Some(link) = link.filter(|link| link.is_live()) {
            link.told_commit = link.told_commit.max(commit);
            self.stream(peer, Packet::UpToDate(commit), out);
        }
    }

    /// The leader appends to its own log; it never replaces anything there.
    pub(crate) fn append_own(&mut self, payload: Payload) -> Position {
        let epoch = self.hard.accepted;
        let entry = Entry::new(epoch, self.log.last().index.next(), payload);
        let (position, bytes) = (entry.position, entry.size_bytes());
        self.append(entry);
        if let Some(broadcast) = self.broadcast() {
            broadcast.uncommitted.push_back((position.index, bytes));
            broadcast.uncommitted_bytes += bytes;
        }
        position
    }

    /// PROPOSE to all whose NEWLEADER is queued, at once and in parallel with the own disk.
    ///
    /// To those too that have not acknowledged it yet (the paper's ambiguity, H13): {S3's history was cut at 4, NEWLEADER is on its way, 5 is proposed}: if S3 got
    /// only what is proposed after its ACK it would never have 5, and acknowledge 6.
    pub(crate) fn propose_to_all(&mut self, out: &mut Out) {
        for peer in self.links() {
            self.feed(peer, out);
        }
    }

    pub(crate) fn on_ack(&mut self, now: Instant, from: NodeId, id: LinkId, durable: Index, out: &mut Out) {
        let Some(link) = self.hear_learner(now, from, id, out) else { return };
        let synchronizes =
            matches!(link.stage, LinkStage::History { .. } | LinkStage::NewLeader | LinkStage::Live);
        if synchronizes {
            link.acknowledge(durable);
        }
        self.advance_commit(now, out);
        self.transfer_if_caught_up(now, from, out);
        self.feed(from, out);
    }

    pub(crate) fn on_ack_new_leader(
        &mut self,
        now: Instant,
        from: NodeId,
        id: LinkId,
        epoch: Epoch,
        durable: Index,
        out: &mut Out,
    ) {
        let Some(link) = self.hear_learner(now, from, id, out) else { return };
        if link.stage != LinkStage::NewLeader {
            return;
        }
        let Role::Leading(leading) = &self.role else { return };
        if leading.phase.epoch() == Some(epoch) {
            self.learner_is_live(now, from, durable, out);
        }
    }

    /// NEWLEADER is acknowledged: from now on the learner's acknowledgements count.
    pub(crate) fn learner_is_live(&mut self, now: Instant, peer: NodeId, durable: Index, out: &mut Out) {
        let last = self.log.last().index;
        let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
        link.stage = LinkStage::Live;
        link.acknowledge(durable);
        // H06: what was proposed while the learner was brought to the history is taken for sent and held.
        if planted!("H06") {
            link.next = last.next();
            link.acknowledge(last);
        }
        self.tell_up_to_date(peer, out);
        self.advance_phase(now, out);
        self.advance_commit(now, out);
        self.feed(peer, out);
    }

    /// Commits what a quorum's disks hold, in order: an acknowledgement speaks for all before it, and logs have no gaps.
    ///
    /// The leader counts itself by its own disk, like any other. Whoever has not acknowledged NEWLEADER does not count, however much it holds: its current epoch is
    /// an older one, so the next election could pass over what it holds. Observers never count (rule Z07, H18).
    pub(crate) fn advance_commit(&mut self, now: Instant, out: &mut Out) {
        let Role::Leading(leading) = &self.role else { return };
        let Phase::Broadcast(broadcast) = &leading.phase else { return };
        let own = self.log.durable();
        let held = |node: NodeId| {
            if node == self.id {
                own
            } else {
                let link = leading.links.get(&node).filter(|link| link.is_live());
                link.map(|link| link.durable).unwrap_or_default()
            }
        };
        let reached = if planted!("H18") {
            let mut all: Vec<Index> = leading.links.keys().map(|node| held(*node)).chain([own]).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.get(self.membership().voters().len() / 2).copied().unwrap_or_default()
        } else {
            self.membership().reached_by_quorum(held)
        };
        // Below the epoch's first entry all is committed since the leader was established.
        if reached <= self.commit || reached < broadcast.first {
            return;
        }
        self.commit = reached;
        out.because("Z07", "committed", &[("index", reached.0), ("epoch", self.hard.accepted.0)]);
        if let Some(broadcast) = self.broadcast() {
            while broadcast.uncommitted.front().is_some_and(|(index, _)| *index <= reached) {
                if let Some((_, bytes)) = broadcast.uncommitted.pop_front() {
                    broadcast.uncommitted_bytes -= bytes;
                }
            }
        }
        self.membership_committed(now, out);
        self.propose_to_all(out);
    }

    /// COMMIT to those that nothing in this step told; an observer learns it with INFORM.
    pub(crate) fn tell_commit(&mut self, out: &mut Out) {
        let commit = self.commit;
        if !self.is_established() {
            return;
        }
        let Some(leading) = self.leading() else { return };
        let mut tell: Vec<(NodeId, LinkId)> = Vec::new();
        for (peer, link) in leading.links.iter_mut().filter(|(_, link)| link.is_live()) {
            let known = commit.min(link.next.previous());
            if known > link.told_commit {
                link.told_commit = known;
                tell.push((*peer, link.id));
            }
        }
        for (peer, link) in tell {
            self.send(peer, Message::Commit { link, commit }, out);
        }
    }

    /// Is there room in the epoch for one more proposal, and behind it for the entry that ends a joint membership? The zxid's counter must not run over (rule Z01,
    /// H16): {counter 2³² − 1 is followed by epoch + 1, counter 0, without an election}: the next leader of that epoch gives out the same zxids again.
    pub(crate) fn has_room(&self) -> bool {
        let Role::Leading(leading) = &self.role else { return false };
        let Phase::Broadcast(broadcast) = &leading.phase else { return false };
        let next = self.log.last().index.next();
        next.0.saturating_sub(broadcast.first.0) < self.config.counter_max || planted!("H16")
    }

    /// The epoch is full, and all of it is committed: time for the next one.
    pub(crate) fn needs_renewal(&self) -> bool {
        self.is_established() && !self.has_room() && self.commit == self.log.last().index
    }
}

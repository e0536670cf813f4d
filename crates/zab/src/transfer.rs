//! Handing leadership over, and beginning a new epoch in the same hands.

use quorate_consensus::{DISK_LAG_TIMEOUTS_MAX, Index, Instant, NodeId, planted};

use crate::{
    Message, Zab,
    link::Link,
    message::{Ended, LinkId},
    role::{Phase, Role, Stage, Transfer},
    zab::Out,
};

impl Zab {
    /// The voter that has most of the log, of those lately heard.
    pub(crate) fn best_voter(&self, now: Instant) -> Option<NodeId> {
        let voters = self.membership().voters().iter();
        voters.filter_map(|node| Some((self.heard(*node, now)?.durable, *node))).max().map(|(_, node)| node)
    }

    /// The link of a learner that was lately heard, however far it has come.
    fn linked(&self, node: NodeId, now: Instant) -> Option<&Link> {
        let Role::Leading(leading) = &self.role else { return None };
        leading.links.get(&node).filter(|link| now.since(link.heard_at) < self.config.sync_limit)
    }

    /// The link of a learner that follows this leader and was lately heard.
    fn heard(&self, node: NodeId, now: Instant) -> Option<&Link> {
        self.linked(node, now).filter(|link| link.is_live())
    }

    fn best_of_others(&self, now: Instant) -> Index {
        let voters = self.membership().voters().iter();
        voters.filter_map(|node| Some(self.heard(*node, now)?.durable)).max().unwrap_or_default()
    }

    /// Who waits for a snapshot counts: {S1 is to get one, S2 acknowledges, S3 leads and its disk hangs}: with S2's log, S2 and S1 can serve, and S3 can give S1 nothing.
    fn others_are_quorum(&self, now: Instant) -> bool {
        self.membership().is_quorum(|node| node != self.id && self.linked(node, now).is_some())
    }

    pub(crate) fn transfer_leadership(&mut self, now: Instant, to: Option<NodeId>, out: &mut Out) {
        let Some(to) = to.or_else(|| self.best_voter(now)) else { return };
        let until = now + self.config.election_timeout_max;
        let able = to != self.id && self.membership().voters().contains(&to);
        let linked = self.leading().is_some_and(|leading| leading.links.contains_key(&to));
        let Some(broadcast) = self.broadcast().filter(|_| able && linked) else { return };
        // Asking for the same again does not put off the moment at which a transfer that fails is given up.
        if broadcast.transfer.is_some_and(|transfer| transfer.to == to) {
            return;
        }
        broadcast.transfer = Some(Transfer { to, until });
        out.because("Z03", "transfer_begun", &[("to", to.0)]);
        self.transfer_if_caught_up(now, to, out);
    }

    /// The target has all of the log, and nothing more is proposed meanwhile: it may lead.
    pub(crate) fn transfer_if_caught_up(&mut self, now: Instant, peer: NodeId, out: &mut Out) {
        let last = self.log.last().index;
        let Role::Leading(leading) = &self.role else { return };
        let Phase::Broadcast(broadcast) = &leading.phase else { return };
        let waits = broadcast.transfer.is_some_and(|transfer| transfer.to == peer);
        let ready = leading.links.get(&peer).is_some_and(|link| link.is_live() && link.durable == last);
        if waits && ready {
            self.hand_over(now, peer, out);
        }
    }

    /// Ends this lead and names who begins the next: another, or this node itself, which then only begins a new epoch.
    ///
    /// It is only a hint, like the result of an election: discovery checks the next leader as it checks any.
    pub(crate) fn hand_over(&mut self, now: Instant, to: NodeId, out: &mut Out) {
        out.because("Z05", "hands_over", &[("to", to.0), ("epoch", self.hard.accepted.0)]);
        let link = self.leading().and_then(|leading| leading.links.get(&to)).map(|link| link.id);
        if let Some(link) = link {
            self.send(to, Message::TakeOver { link }, out);
            if let Some(leading) = self.leading() {
                leading.links.remove(&to);
            }
        }
        self.leave_links(Ended::Successor(to), out);
        if to == self.id {
            self.lead(now, out);
        } else {
            self.follow(now, to, out);
        }
    }

    /// The leader hands over to this node: it leads without an election, in a round of its own.
    pub(crate) fn on_take_over(&mut self, now: Instant, from: NodeId, link: LinkId, out: &mut Out) {
        let Role::Following(following) = &self.role else { return };
        let known = following.leader == from && following.link == link;
        if known && matches!(following.stage, Stage::Broadcast(_)) && self.may_stand() {
            self.round = self.round.saturating_add(1);
            self.vote = self.own_vote();
            self.lead(now, out);
        }
    }

    /// A leader whose own disk is, for four election timeouts, behind the best of the others' disks, or owes a read, hands over to that one (F14); with the handover it has
    /// lost its lead within six.
    ///
    /// {S3 leads, its disk hangs; S1 and S2 acknowledge, S3 commits}: nothing seems wrong, and for as long as it leads S3 keeps in memory all that it cannot write,
    /// takes no snapshot, and can give nobody what only its disk holds. {a fourth, S4, waits for just that}: then nothing is committed either, so what counts is what any
    /// of them has. It stays while the others are no quorum: {S2 has died since}: S1 would need S3's promise, which its disk does not take, and while S3 can at
    /// least be read from, nobody would lead.
    ///
    /// It does not lead again before its disk answers. It may still be elected, if its TAKEOVER is lost, for its id and an end of the log that it has in memory
    /// alone. But the epoch that it then chooses is its own promise, and NEWEPOCH leaves when that is durable ([`Self::send`]): nobody promises, and its time
    /// runs out. From then on, by that promise or by the one that it owes to the next leader, nothing that it says leaves, no vote either, so nobody elects it
    /// once more. And were it heard, it could not send NEWLEADER: its own current epoch must be on its disk before (module `durable`).
    pub(crate) fn hand_over_if_disk_hangs(&mut self, now: Instant, out: &mut Out) {
        let (durable, commit, reads) = (self.log.durable(), self.commit, !self.fetches.is_empty());
        let patience = self.config.election_timeout_max * DISK_LAG_TIMEOUTS_MAX;
        let (best, others) = (self.best_of_others(now), self.others_are_quorum(now));
        let Some(broadcast) = self.broadcast() else { return };
        let hangs = broadcast.disk_lag.look(now, durable, best.max(commit), reads) >= patience;
        if hangs && others && broadcast.transfer.is_none() && !planted!("F14") {
            // If that fails, once more after as long.
            broadcast.disk_lag.forget();
            out.because("Z03", "leader_hands_over_for_its_disk_hangs", &[("durable", durable.0)]);
            self.transfer_leadership(now, None, out);
        }
    }

    pub(crate) fn expire_transfer(&mut self, now: Instant, out: &mut Out) {
        let Some(broadcast) = self.broadcast() else { return };
        if broadcast.transfer.is_some_and(|transfer| transfer.until <= now) {
            broadcast.transfer = None;
            out.because("Z03", "transfer_given_up", &[]);
        }
    }
}

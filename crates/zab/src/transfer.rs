//! Handing leadership over, and beginning a new epoch in the same hands.

use quorate_consensus::{Instant, NodeId};

use crate::{
    Message, Zab,
    message::{Ended, LinkId},
    role::{Phase, Role, Stage, Transfer},
    zab::Out,
};

impl Zab {
    /// The voter that has most of the log, of those lately heard.
    pub(crate) fn best_voter(&self, now: Instant) -> Option<NodeId> {
        let Role::Leading(leading) = &self.role else { return None };
        let heard = |node: &NodeId| {
            let link = leading.links.get(node).filter(|link| link.is_live());
            link.filter(|link| now.since(link.heard_at) < self.config.sync_limit)
        };
        let voters = self.membership().voters().iter();
        voters.filter_map(|node| Some((heard(node)?.durable, *node))).max().map(|(_, node)| node)
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

    pub(crate) fn expire_transfer(&mut self, now: Instant, out: &mut Out) {
        let Some(broadcast) = self.broadcast() else { return };
        if broadcast.transfer.is_some_and(|transfer| transfer.until <= now) {
            broadcast.transfer = None;
            out.because("Z03", "transfer_given_up", &[]);
        }
    }
}

//! Both sides watch (rule Z08): a leader for a quorum of its followers, a learner for its leader.

use quorate_consensus::{Index, Instant, NodeId};

use crate::{
    Message, Zab,
    link::{Link, LinkStage},
    message::{Ended, LinkId, Via},
    role::{Phase, Role},
    zab::Out,
};

impl Zab {
    pub(crate) fn wake(&mut self, now: Instant, out: &mut Out) {
        self.expire_asked_reads(now, out);
        match &self.role {
            Role::Looking(_) => self.wake_looking(now, out),
            Role::Following(_) => self.wake_following(now, out),
            Role::Leading(_) => self.wake_leading(now, out),
        }
    }

    fn wake_leading(&mut self, now: Instant, out: &mut Out) {
        self.expire_transfer(now, out);
        let (limit, pause) = (self.config.election_timeout_min, self.config.heartbeat_interval);
        let quorum = self.hears_quorum(now);
        let Some(leading) = self.leading() else { return };
        if now >= leading.check_at {
            leading.check_at = now + limit;
            if matches!(leading.phase, Phase::Discovery | Phase::Promise { .. }) {
                return self.give_up_leading(now, "no_quorum_promises", out);
            }
            if !quorum {
                return self.give_up_leading(now, "no_quorum_is_heard", out);
            }
        }
        self.hand_over_if_disk_hangs(now, out);
        let Some(leading) = self.leading() else { return };
        if now >= leading.heartbeat_at {
            leading.heartbeat_at = now + pause;
            self.let_go(now, out);
            self.beat(out);
        }
    }

    /// Pings everybody that follows, and calls every member that does not: a member that has heard of no group yet learns here whom to ask.
    pub(crate) fn beat(&mut self, out: &mut Out) {
        let notification = self.notification();
        for member in self.other_members() {
            let linked = self.leading().is_some_and(|leading| leading.links.contains_key(&member));
            if !linked {
                self.send(member, notification.clone(), out);
            }
        }
        for peer in self.links() {
            self.ping(peer, out);
            self.ship_again(peer, out);
            self.feed(peer, out);
        }
    }

    pub(crate) fn ping(&self, peer: NodeId, out: &mut Out) {
        let Role::Leading(leading) = &self.role else { return };
        let Some(link) = leading.links.get(&peer) else { return };
        let (round, commit) = match &leading.phase {
            Phase::Broadcast(broadcast) => (broadcast.reads.round, self.commit),
            Phase::Discovery
            | Phase::Promise { .. }
            | Phase::History(_)
            | Phase::Epoch(_)
            | Phase::Synchronization { .. } => (0, Index::ZERO),
        };
        self.send(peer, Message::Ping { link: link.id, sent: link.sent_packets(), round, commit }, out);
    }

    /// Word from a learner on the link that is in force. On any other it is told that the link is no more.
    pub(crate) fn hear_learner(
        &mut self,
        now: Instant,
        from: NodeId,
        id: LinkId,
        out: &mut Out,
    ) -> Option<&mut Link> {
        let known = match &self.role {
            Role::Leading(leading) => leading.links.get(&from).is_some_and(|link| link.id == id),
            Role::Looking(_) | Role::Following(_) => false,
        };
        if !known {
            let why = if matches!(self.role, Role::Leading(_)) { Ended::Broken } else { Ended::NotLeading };
            self.send(from, Message::Close { link: id, why }, out);
            return None;
        }
        let link = self.leading()?.links.get_mut(&from)?;
        link.heard_at = now;
        Some(link)
    }

    /// A Pong repeats what the learner has said, so that a lost acknowledgement costs a heartbeat and not the link.
    pub(crate) fn on_pong(
        &mut self,
        now: Instant,
        Via { peer: from, link: id }: Via,
        round: u64,
        acknowledged: bool,
        durable: Index,
        out: &mut Out,
    ) {
        let Some(link) = self.hear_learner(now, from, id, out) else { return };
        if acknowledged && !link.has_new_leader() {
            // It has acknowledged NEWLEADER on this link, and this opening of it has not sent it yet: an old FOLLOWERINFO has opened again what was ended. The learner takes
            // NEWEPOCH for a repetition and waits for the next proposal, and this node would wait for ACKEPOCH; each hears the other. It starts again, on a new link.
            return self.end_link(from, Ended::Broken, out);
        }
        let news = acknowledged && link.stage == LinkStage::NewLeader;
        if link.is_live() {
            link.round = link.round.max(round);
        }
        if news {
            self.learner_is_live(now, from, durable, out);
        }
        self.on_ack(now, from, id, durable, out);
        self.confirm_reads(out);
    }

    pub(crate) fn hears_quorum(&self, now: Instant) -> bool {
        let Role::Leading(leading) = &self.role else { return false };
        self.membership().is_quorum(|node| {
            let heard = |link: &Link| now.since(link.heard_at) < self.config.sync_limit;
            node == self.id || leading.links.get(&node).is_some_and(heard)
        })
    }

    /// Without a quorum nothing can be committed here, and others may lead (Q08, Q10): back to LOOKING, and whoever still follows is told.
    pub(crate) fn give_up_leading(&mut self, now: Instant, why: &'static str, out: &mut Out) {
        out.because("Z08", why, &[("epoch", self.hard.accepted.0)]);
        self.leave_links(Ended::NotLeading, out);
        self.look(now, out);
    }

    /// Ends all links of a leader.
    pub(crate) fn leave_links(&mut self, why: Ended, out: &mut Out) {
        for peer in self.links() {
            self.end_link(peer, why, out);
        }
    }

    /// Leaves whatever this node was: reads are refused, fetches forgotten.
    pub(crate) fn leave_role(&mut self, out: &mut Out) {
        self.refuse_led_reads(out);
        self.fetches.clear();
        self.need_snapshot.clear();
    }

    /// The learner's side has ended the link.
    pub(crate) fn learner_closed(&mut self, from: NodeId, id: LinkId) {
        let Some(leading) = self.leading() else { return };
        if leading.links.get(&from).is_some_and(|link| link.id == id) {
            leading.links.remove(&from);
        }
    }

    /// A closed connection ends the link (Q05): what was on its way may be lost. A learner looks for a leader, and finds this one again if it lives.
    pub(crate) fn peer_unreachable(&mut self, now: Instant, peer: NodeId, out: &mut Out) {
        let leader = match &self.role {
            Role::Following(following) => Some(following.leader),
            Role::Looking(_) | Role::Leading(_) => None,
        };
        if leader == Some(peer) {
            out.because("Z08", "connection_to_the_leader_closed", &[("leader", peer.0)]);
            return self.look(now, out);
        }
        if self.leading().is_some_and(|leading| leading.links.contains_key(&peer)) {
            out.because("Z08", "connection_to_a_learner_closed", &[("learner", peer.0)]);
            self.end_link(peer, Ended::Broken, out);
        }
    }

    /// The node vouches for a peer's node, not for what its engine is doing: so for an established leader only, and for learners that have acknowledged it.
    ///
    /// {S1 decides for S2, which follows S3; the nodes vouch for each other}: S1 would wait for S2 for ever. An established leader that leads no more says so
    /// (module `election`).
    pub(crate) fn peer_vouched(&mut self, now: Instant, peer: NodeId, until: Instant) {
        let established = self.leader_id() == Some(peer);
        match &mut self.role {
            Role::Following(_) if established => self.give_up_at = self.give_up_at.max(until),
            Role::Leading(leading) => {
                if let Some(link) = leading.links.get_mut(&peer).filter(|link| link.is_live()) {
                    link.heard_at = now;
                }
            }
            Role::Looking(_) | Role::Following(_) => {}
        }
    }
}

//! Discovery, on the leader's side (rule Z05): FOLLOWERINFO of a quorum, an epoch above all, NEWEPOCH, ACKEPOCH of a quorum.
//!
//! ```text
//!   Discovery ─► Promise ─► History ─► Epoch ─► Synchronization ─► Broadcast
//!    FOLLOWERINFO  ACKEPOCH   own history  own epoch   ACK of NEWLEADER
//!    of a quorum   of a quorum  durable     durable     of a quorum
//! ```

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{Epoch, Instant, NodeId, planted};

use crate::{
    Message, Zab,
    link::{Link, LinkStage},
    message::{Ended, History, LinkId, Packet, Via},
    role::{Leading, Phase, Role},
    zab::{EPOCH_MAX, Out},
};

impl Zab {
    /// The election named this node, or a leader handed over to it: a prospective leader, until a quorum has promised and has its history.
    pub(crate) fn lead(&mut self, now: Instant, out: &mut Out) {
        let infos = match &mut self.role {
            Role::Looking(looking) => std::mem::take(&mut looking.infos),
            Role::Following(_) | Role::Leading(_) => BTreeMap::new(),
        };
        let above = match &self.role {
            Role::Leading(leading) => leading.above,
            Role::Looking(_) | Role::Following(_) => Epoch::ZERO,
        };
        self.leave_role(out);
        // What it stands with now; it may have led since it was elected.
        self.vote = self.own_vote().or(self.vote);
        out.because("Z05", "discovery_begun", &[("round", self.round)]);
        self.role = Role::Leading(Box::new(Leading {
            phase: Phase::Discovery,
            links: BTreeMap::new(),
            above,
            heartbeat_at: now + self.config.heartbeat_interval,
            check_at: now + self.config.init_limit,
        }));
        for (node, (link, accepted)) in infos {
            self.on_follower_info(now, node, link, accepted, out);
        }
        // Whoever still looks hears at once whom to follow.
        self.beat(out);
        self.advance_phase(now, out);
    }

    /// A learner opens a link; a later attempt of it ends the one before.
    pub(crate) fn on_follower_info(
        &mut self,
        now: Instant,
        from: NodeId,
        link: LinkId,
        accepted: Epoch,
        out: &mut Out,
    ) {
        let member = self.membership().contains(from);
        let (id, absurd, speaks) = (self.id, self.is_absurd(accepted), self.speaks());
        match &mut self.role {
            // It has decided for this node, which has not counted to the end yet.
            Role::Looking(looking) => {
                if member && looking.vote.is_some_and(|vote| vote.leader == id) {
                    looking.infos.insert(from, (link, accepted));
                } else if speaks {
                    // It has decided for a node that votes for another, or for nobody yet: it should not wait in vain.
                    self.answer_looking(from, out);
                }
            }
            // Perhaps this node is about to lead, and the word that it should is still on its way: {S1 hands over to S2 and follows it, and its FOLLOWERINFO overtakes
            // its TAKEOVER}: turned away, S1 would stand for election against S2. It asks again, or gives up.
            Role::Following(_) => {
                out.because("Z05", "follower_info_before_this_node_leads", &[("from", from.0)]);
            }
            Role::Leading(_) if !member || absurd => {
                self.send(from, Message::Close { link, why: Ended::NotLeading }, out);
            }
            Role::Leading(_) => self.take_learner(now, from, link, accepted, out),
        }
    }

    fn take_learner(&mut self, now: Instant, from: NodeId, id: LinkId, accepted: Epoch, out: &mut Out) {
        let Some(leading) = self.leading() else { return };
        let epoch = leading.phase.epoch();
        if let Some(link) = leading.links.get_mut(&from).filter(|link| link.id.life == id.life) {
            if link.id.attempt > id.attempt {
                return;
            }
            if link.id == id {
                link.heard_at = now;
                // It asks again: NEWEPOCH was lost, or is on its way.
                if let Some(epoch) = epoch.filter(|_| link.stage == LinkStage::Asked) {
                    let message = Message::Stream { link: id, sequence: 0, packet: Packet::NewEpoch(epoch) };
                    self.send(from, message, out);
                }
                return;
            }
        }
        leading.links.insert(from, Link::new(id, accepted, now));
        leading.above = leading.above.max(accepted);
        if epoch.is_some_and(|epoch| accepted > epoch) {
            // It promised an epoch above this one, to somebody who never was established: it could never come back to this epoch. A new one, above its promise,
            // takes it in. {S1 leads epoch 4 with S2; S3 promised 5 to S2's aborted try}: S3 would stand outside until S1 dies.
            out.because("Z05", "learner_promised_more", &[("from", from.0), ("accepted", accepted.0)]);
            return self.hand_over(now, self.id, out);
        }
        self.ping(from, out);
        if epoch.is_some() {
            self.ask_promise(from, out);
        }
        self.advance_phase(now, out);
    }

    fn ask_promise(&mut self, peer: NodeId, out: &mut Out) {
        let Some(leading) = self.leading() else { return };
        let Some(epoch) = leading.phase.epoch() else { return };
        if let Some(link) = leading.links.get_mut(&peer).filter(|link| link.stage == LinkStage::Waiting) {
            link.stage = LinkStage::Asked;
            self.stream(peer, Packet::NewEpoch(epoch), out);
        }
    }

    /// An epoch above all that a quorum has promised (rule Z05): whoever led an older one has lost that quorum once they promise this.
    fn choose_epoch(&mut self, now: Instant, out: &mut Out) {
        let Some(leading) = self.leading() else { return };
        let seen = leading.links.values().map(|link| link.accepted).max().unwrap_or_default();
        let seen = seen.max(leading.above);
        let epoch = seen.max(self.hard.accepted).next();
        if epoch.0 > EPOCH_MAX {
            out.because("Z01", "no_epoch_is_left", &[("accepted", seen.0)]);
            return self.give_up_leading(now, "no_epoch_is_left", out);
        }
        self.hard.accepted = epoch;
        self.hard.promised_to = Some(self.id);
        self.write_hard_state();
        self.led_up_to = epoch;
        let own = self.hard_token();
        out.because("Z05", "epoch_chosen", &[("epoch", epoch.0)]);
        let Some(leading) = self.leading() else { return };
        leading.phase = Phase::Promise { epoch, own, acks: BTreeSet::new(), turned_away: BTreeSet::new() };
        let learners: Vec<NodeId> = leading.links.keys().copied().collect();
        for learner in learners {
            self.ask_promise(learner, out);
        }
    }

    /// ACKEPOCH. Until a quorum has promised, a learner whose history is newer than this node's is turned away: a leader never takes history from others (N04), so
    /// it must hold all that a quorum may have committed. Once a quorum has promised, whoever comes is brought to the leader's history, newer or not.
    pub(crate) fn on_ack_epoch(
        &mut self,
        now: Instant,
        Via { peer: from, link: id }: Via,
        epoch: Epoch,
        promised: bool,
        history: History,
        out: &mut Out,
    ) {
        let own = (self.hard.current, self.log.last());
        let Some(link) = self.hear_learner(now, from, id, out) else { return };
        if link.stage != LinkStage::Asked {
            return;
        }
        let Some(leading) = self.leading() else { return };
        if leading.phase.epoch() != Some(epoch) {
            // The word of an earlier lead of this node's reached it on this link, and NEWEPOCH of this one is a repetition to it: {S1 leads epoch 8, S3 opens a link, S1
            // goes on to epoch 9; S3's FOLLOWERINFO is repeated, and NEWEPOCH 8 arrives late}: S3 would promise 8 for ever. It starts again, on a new link.
            return self.end_link(from, Ended::Broken, out);
        }
        if let Phase::Promise { acks, turned_away, .. } = &mut leading.phase {
            let newer = (history.current, history.last) > own;
            if newer {
                leading.links.remove(&from);
                turned_away.insert(from);
                let turned_away = turned_away.clone();
                out.because("Z05", "newer_history_turned_away", &[("from", from.0)]);
                self.send(from, Message::Close { link: id, why: Ended::NotLeading }, out);
                // Without them there is no quorum: one of them should lead, and sooner than this node's time is up.
                if !self.membership().quorum_is_possible(|node| turned_away.contains(&node)) {
                    self.give_up_leading(now, "others_have_newer_histories", out);
                }
                return;
            }
            if promised {
                acks.insert(from);
            }
        }
        if let Some(link) = leading.links.get_mut(&from) {
            link.stage = LinkStage::Promised(history);
        }
        self.begin_synchronization(from, out);
        self.advance_phase(now, out);
    }

    /// Moves on as far as what is known allows.
    pub(crate) fn advance_phase(&mut self, now: Instant, out: &mut Out) {
        while self.advance_phase_once(now, out) {}
    }

    fn advance_phase_once(&mut self, now: Instant, out: &mut Out) -> bool {
        let Role::Leading(leading) = &self.role else { return false };
        let next = match &leading.phase {
            Phase::Discovery => {
                let came = |node: NodeId| node == self.id || leading.links.contains_key(&node);
                if !self.membership().is_quorum(came) {
                    return false;
                }
                self.choose_epoch(now, out);
                return true;
            }
            Phase::Promise { epoch, own, acks, .. } => {
                // As little as any other's does the own promise count before it is durable. With honest learners it could not matter, for they answer NEWEPOCH, which
                // leaves after that; to a leader that is alone it is the order of its own two epochs.
                let own = self.is_persisted(*own);
                let promised = |node: NodeId| if node == self.id { own } else { acks.contains(&node) };
                // H17: two of five.
                let few = planted!("H17") && acks.len() + 1 >= self.membership().voters().len() / 2;
                if !self.membership().is_quorum(promised) && !few {
                    return false;
                }
                Phase::History(*epoch)
            }
            // Nobody answers NEWEPOCH before it has left, it leaves once the own promise is durable, and that was written after all of the log: so with honest
            // learners there is nothing to wait for. It is asked all the same, for without the proof the current epoch cannot be written (module `durable`).
            Phase::History(epoch) => {
                let epoch = *epoch;
                let Some(proof) = self.history_durable(self.log.last()) else { return false };
                Phase::Epoch(self.write_current_epoch(proof, epoch))
            }
            Phase::Epoch(writing) => {
                let Some(durable) = self.epoch_durable(*writing) else { return false };
                Phase::Synchronization { durable, end: self.log.last() }
            }
            Phase::Synchronization { durable, end } => {
                let has =
                    |node: NodeId| node == self.id || leading.links.get(&node).is_some_and(Link::is_live);
                if !self.membership().is_quorum(has) {
                    return false;
                }
                let (durable, end) = (*durable, *end);
                self.establish(now, durable, end, out);
                return false;
            }
            Phase::Broadcast(_) => return false,
        };
        self.enter(now, next, out);
        true
    }

    fn enter(&mut self, now: Instant, phase: Phase, out: &mut Out) {
        let limit = self.config.sync_limit;
        let synchronizes = matches!(phase, Phase::Synchronization { .. });
        let Some(leading) = self.leading() else { return };
        leading.phase = phase;
        leading.check_at = now + limit;
        if synchronizes {
            let learners: Vec<NodeId> = leading.links.keys().copied().collect();
            for learner in learners {
                self.begin_synchronization(learner, out);
            }
        }
    }
}

//! A learner's side of a link: it opens it with FOLLOWERINFO, obeys the stream, and starts again when the link ends (rules Z04–Z06).

use quorate_consensus::{Index, Instant, NodeId, planted};

use crate::{
    Message, Zab,
    inbound::{Inbound, Patience},
    message::{Ended, LinkId, Packet, Via},
    role::{Following, Role, Stage},
    zab::Out,
};

/// Why a packet was not obeyed; the link ends.
pub(crate) type Refused = &'static str;

impl Zab {
    fn patience(&self) -> Patience {
        Patience {
            packets_max: self.config.inflight_messages_max.saturating_add(16),
            bytes_max: self.config.inflight_bytes_max.saturating_add(self.config.message_bytes_max),
            gap: self.config.heartbeat_interval,
            tail: self.config.election_timeout_min,
        }
    }

    pub(crate) fn following(&mut self) -> Option<&mut Following> {
        match &mut self.role {
            Role::Following(following) => Some(following),
            Role::Looking(_) | Role::Leading(_) => None,
        }
    }

    /// Follows `leader`, from FOLLOWERINFO on.
    pub(crate) fn follow(&mut self, now: Instant, leader: NodeId, out: &mut Out) {
        self.leave_role(out);
        self.draw_give_up(now);
        self.open_link(now, leader, out);
    }

    /// A new incarnation of the link. The time at which the leader is given up stands: it is put off by its word alone.
    fn open_link(&mut self, now: Instant, leader: NodeId, out: &mut Out) {
        let link = self.new_link();
        self.role = Role::Following(Box::new(Following {
            leader,
            link,
            stage: Stage::Discovery,
            inbound: Inbound::new(),
            info_at: now + self.config.heartbeat_interval,
            told_commit: Index::ZERO,
            told_durable: Index::ZERO,
        }));
        out.because("Z05", "follower_info", &[("leader", leader.0), ("accepted", self.hard.accepted.0)]);
        self.send(leader, Message::FollowerInfo { link, accepted: self.hard.accepted }, out);
    }

    /// The link is of no use any more: the learner starts again at FOLLOWERINFO.
    pub(crate) fn start_again(&mut self, now: Instant, why: Refused, out: &mut Out) {
        let Role::Following(following) = &self.role else { return };
        let leader = following.leader;
        out.because("Z06", why, &[("leader", leader.0)]);
        self.open_link(now, leader, out);
    }

    /// Is this the link that is in force, and the leader at its other end? What a link before it brings is dead (H20).
    ///
    /// {S2 follows S1 of epoch 1, then S3 of epoch 2; S1's proposal of epoch 1 comes late}: S2 would log it, and S1 could commit it with S2's word, while S3
    /// commits another.
    fn is_link(&self, from: NodeId, link: LinkId) -> bool {
        match &self.role {
            Role::Following(following) => following.leader == from && following.link == link,
            Role::Looking(_) | Role::Leading(_) => false,
        }
    }

    /// H20: what an older epoch's leader proposes and asks is heard as if it were the leader's.
    fn hears(&self, from: NodeId, link: LinkId) -> bool {
        let follows = matches!(self.role, Role::Following(_));
        self.is_link(from, link) || follows && planted!("H20")
    }

    pub(crate) fn on_stream(
        &mut self,
        now: Instant,
        from: NodeId,
        link: LinkId,
        sequence: u64,
        packet: Packet,
        out: &mut Out,
    ) {
        if !self.hears(from, link) {
            return self.send(from, Message::Close { link, why: Ended::Broken }, out);
        }
        self.draw_give_up(now);
        let patience = self.patience();
        let Some(following) = self.following() else { return };
        // The leader has gone on to another lead, and took a repeated FOLLOWERINFO of this link for a learner of that one: what comes now is of two streams.
        let another = matches!(&packet, Packet::NewEpoch(epoch) if following.stage.epoch().is_some_and(|ours| ours != *epoch));
        if another {
            return self.start_again(now, "new_epoch_of_another_lead", out);
        }
        if !following.inbound.arrived(now, sequence, packet, patience) {
            return self.start_again(now, "stream_overflows", out);
        }
        self.obey_stream(now, out);
    }

    /// Obeys the packets whose turn it is; not while a snapshot is being put in place.
    pub(crate) fn obey_stream(&mut self, now: Instant, out: &mut Out) {
        let patience = self.patience();
        // H09: what follows a snapshot is built on a log that the snapshot has not replaced yet.
        while self.installing.is_none() || planted!("H09") {
            let Some(following) = self.following() else { break };
            let Some(packet) = following.inbound.take(now, patience) else { break };
            if let Err(why) = self.obey(now, packet, out) {
                return self.start_again(now, why, out);
            }
        }
        if planted!("H15")
            && let Some(following) = self.following()
            && let Some(Packet::Propose { entries, .. }) = following.inbound.newest_early()
            && let Some(last) = entries.last().map(|entry| entry.position.index)
        {
            let (leader, link) = (following.leader, following.link);
            self.send(leader, Message::Ack { link, durable: last }, out);
        }
        self.advance_stage(now, out);
        self.acknowledge_durable(out);
        self.learn_commit();
    }

    fn obey(&mut self, now: Instant, packet: Packet, out: &mut Out) -> Result<(), Refused> {
        match packet {
            Packet::NewEpoch(epoch) => self.on_new_epoch(now, epoch, out),
            Packet::Diff(at) => self.on_diff(at),
            Packet::Trunc(to) => self.on_trunc(to, out),
            Packet::Snap(meta) => self.on_snap(meta, out),
            Packet::Propose { entries, commit } => self.on_entries(entries, commit),
            Packet::Inform(entries) => {
                let commit = entries.last().map_or(Index::ZERO, |entry| entry.position.index);
                self.on_entries(entries, commit)
            }
            Packet::NewLeader { epoch, last } => self.on_new_leader(epoch, last),
            Packet::UpToDate(commit) => self.on_up_to_date(commit),
        }
    }

    pub(crate) fn on_commit(
        &mut self,
        now: Instant,
        from: NodeId,
        link: LinkId,
        commit: Index,
        out: &mut Out,
    ) {
        if !self.is_link(from, link) {
            return self.send(from, Message::Close { link, why: Ended::Broken }, out);
        }
        self.draw_give_up(now);
        if let Some(following) = self.following() {
            following.told_commit = following.told_commit.max(commit);
        }
        self.learn_commit();
    }

    /// Commits what the leader has, as far as this log goes: it is a beginning of the leader's. A COMMIT that comes before UPTODATE, or before its proposal, is
    /// remembered and waits (ZOOKEEPER-4394, H05).
    pub(crate) fn learn_commit(&mut self) {
        let last = self.log.last().index;
        let Role::Following(following) = &self.role else { return };
        match following.stage {
            Stage::Broadcast(_) => self.commit = self.commit.max(following.told_commit.min(last)),
            Stage::Acknowledged(_) if planted!("H05") => self.commit = self.commit.max(last),
            Stage::Discovery
            | Stage::Promised(_)
            | Stage::Synchronizing(_)
            | Stage::History(..)
            | Stage::Epoch(_)
            | Stage::Acknowledged(_) => {}
        }
    }

    /// One ACK for all that a sync made durable. Before the ACK of NEWLEADER it tells how the history comes along, and counts for nothing (ZOOKEEPER-4685).
    pub(crate) fn acknowledge_durable(&mut self, out: &mut Out) {
        let durable = self.log.durable();
        let Some(following) = self.following() else { return };
        if !following.stage.agrees() || durable <= following.told_durable {
            return;
        }
        following.told_durable = durable;
        let (leader, link) = (following.leader, following.link);
        self.send(leader, Message::Ack { link, durable }, out);
    }

    pub(crate) fn on_ping(
        &mut self,
        now: Instant,
        Via { peer: from, link }: Via,
        sent: u64,
        round: u64,
        commit: Index,
        out: &mut Out,
    ) {
        if !self.hears(from, link) {
            return self.send(from, Message::Close { link, why: Ended::Broken }, out);
        }
        self.draw_give_up(now);
        let (patience, durable) = (self.patience(), self.log.durable());
        let Some(following) = self.following() else { return };
        following.inbound.sent(now, sent, patience);
        following.told_commit = following.told_commit.max(commit);
        let acknowledged = following.stage.acknowledged();
        let durable = if following.stage.agrees() { durable } else { Index::ZERO };
        self.learn_commit();
        self.send(from, Message::Pong { link, round, acknowledged, durable }, out);
    }

    pub(crate) fn on_close(&mut self, now: Instant, from: NodeId, link: LinkId, why: Ended, out: &mut Out) {
        if !self.is_link(from, link) {
            return self.learner_closed(from, link);
        }
        match why {
            Ended::Broken => self.start_again(now, "link_closed", out),
            Ended::NotLeading => self.look(now, out),
            Ended::Successor(next) if next != self.id => self.follow(now, next, out),
            Ended::Successor(_) => self.look(now, out),
        }
    }

    pub(crate) fn wake_following(&mut self, now: Instant, out: &mut Out) {
        let Role::Following(following) = &self.role else { return };
        if self.give_up_at <= now {
            out.because("Z08", "leader_given_up", &[("leader", following.leader.0)]);
            return self.look(now, out);
        }
        if following.inbound.gap_until().is_some_and(|until| until <= now) && self.installing.is_none() {
            return self.start_again(now, "gap_in_the_stream", out);
        }
        if following.info_at <= now {
            self.ask_again(now, out);
        }
    }
}

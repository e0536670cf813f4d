//! Handing leadership over: thesis §3.10.

use quorate_consensus::{DISK_LAG_TIMEOUTS_MAX, Index, Instant, NodeId, planted};

use crate::{
    Message, Raft,
    message::name,
    progress::Progress,
    raft::Out,
    role::{Role, Transfer},
};

impl Raft {
    /// What its leader knows of a peer that it has lately heard.
    fn heard(&self, peer: NodeId, now: Instant) -> Option<&Progress> {
        let Role::Leader(leader) = &self.role else { return None };
        leader.peers.get(&peer).filter(|p| now.since(p.heard_at) < self.config.election_timeout_max)
    }

    /// The voter that has most of the log, of those lately heard.
    pub(crate) fn best_voter(&self, now: Instant) -> Option<NodeId> {
        let voters = self.membership().voters().iter();
        voters.filter_map(|node| Some((self.heard(*node, now)?.matched, *node))).max().map(|(_, node)| node)
    }

    pub(crate) fn transfer_leadership(&mut self, now: Instant, to: Option<NodeId>, out: &mut Out) {
        let Some(to) = to.or_else(|| self.best_voter(now)) else { return };
        let until = now + self.config.election_timeout_max;
        let able = to != self.id && self.membership().voters().contains(&to);
        let Some(leader) = self.leader() else { return };
        // Asking for the same again does not put off the moment at which a transfer that fails is given up.
        let under_way = leader.transfer.is_some_and(|transfer| transfer.to == to);
        if !able || under_way || !leader.peers.contains_key(&to) {
            return;
        }
        leader.transfer = Some(Transfer { to, until, told: false });
        // The next leader may commit while this one still believes in its lease (E06, A16).
        if !planted!("E06") {
            leader.reads.lease_until = None;
        }
        out.because("R18", "transfer_begun", &[("to", name(to))]);
        self.replicate_to(now, to, out);
        self.transfer_if_caught_up(to, out);
    }

    /// The target has all of the log: it may campaign at once, and this leader takes no more proposals meanwhile.
    pub(crate) fn transfer_if_caught_up(&mut self, peer: NodeId, out: &mut Out) {
        let (term, last) = (self.term(), self.log.last().index);
        let Some(leader) = self.leader() else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        if transfer.to != peer || transfer.told {
            return;
        }
        if leader.peers.get(&peer).is_some_and(|progress| progress.matched == last) {
            transfer.told = true;
            leader.reads.lease_given_away = true;
            self.send(peer, Message::TimeoutNow { term }, out);
        }
    }

    /// A leader whose own disk is, for four election timeouts, behind the best of the others' disks, or owes a read, asks that one to take over (F14); with the handover it
    /// has lost its lead within six.
    ///
    /// {S1 leads, its disk hangs; S2 and S3 acknowledge, S1 commits}: nothing seems wrong, and for as long as it leads S1 keeps in memory all that it cannot write,
    /// takes no snapshot, and can give nobody what only its disk holds. {a fourth, S4, waits for just that}: then nothing is committed either, three are needed and two have
    /// it; so what counts is what any of them has. It is no reason that its disk is slow where the others are no quorum without it: who came next would need its vote,
    /// which its disk does not take, and while S1 can at least be read from, nobody would lead.
    pub(crate) fn hand_over_if_disk_hangs(&mut self, now: Instant, out: &mut Out) {
        let (durable, commit, reads) = (self.log.durable(), self.commit, !self.fetches.is_empty());
        let patience = self.config.election_timeout_max * DISK_LAG_TIMEOUTS_MAX;
        let (best, others) = (self.best_of_others(now), self.others_are_quorum(now));
        let Some(leader) = self.leader() else { return };
        let hangs = leader.disk_lag.look(now, durable, best.max(commit), reads) >= patience;
        if hangs && others && leader.transfer.is_none() && !planted!("F14") {
            // If that fails, once more after as long.
            leader.disk_lag.forget();
            out.because("R18", "leader_hands_over_for_its_disk_hangs", &[("durable", durable.0)]);
            self.transfer_leadership(now, None, out);
        }
    }

    fn best_of_others(&self, now: Instant) -> Index {
        let voters = self.membership().voters().iter();
        voters.filter_map(|node| Some(self.heard(*node, now)?.matched)).max().unwrap_or_default()
    }

    fn others_are_quorum(&self, now: Instant) -> bool {
        self.membership().is_quorum(|node| node != self.id && self.heard(node, now).is_some())
    }

    pub(crate) fn expire_transfer(&mut self, now: Instant, out: &mut Out) {
        let Some(leader) = self.leader() else { return };
        if leader.transfer.is_some_and(|transfer| transfer.until <= now) {
            leader.transfer = None;
            out.because("R18", "transfer_given_up", &[]);
        }
    }

    /// The leader asks for an election, now and without PreVote: nobody is disturbed by what the leader itself wants.
    pub(crate) fn on_timeout_now(&mut self, now: Instant, out: &mut Out) {
        if self.may_campaign() && self.membership().voters().contains(&self.id) {
            self.start_election(now, true, out);
        }
    }
}

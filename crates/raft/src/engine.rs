//! Raft behind the contract of floor 1.

use quorate_consensus::{
    DecodeError, Effects, Engine, Entry, Epoch, Index, Input, Instant, Reader, Status, Writer,
    fingerprint_of, planted,
};

use crate::{HardState, Message, Raft, role::Role};

impl Engine for Raft {
    type Message = Message;
    type HardState = HardState;

    fn step(&mut self, now: Instant, input: Input<Message>, effects: &mut Effects<Message, HardState>) {
        self.take(now, input, effects);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let reads = self.asked_reads.asked.values().min().copied();
        let role = match &self.role {
            Role::Leader(leader) => {
                let transfer = leader.transfer.map(|transfer| transfer.until);
                let quorum = self.config.check_quorum.then_some(leader.check_quorum_at);
                [Some(leader.heartbeat_at), transfer, quorum].into_iter().flatten().min()
            }
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => {
                self.may_campaign().then_some(self.election_at)
            }
        };
        [reads, role].into_iter().flatten().min()
    }

    fn status(&self) -> Status {
        let mut status = Status {
            role: self.role_name(),
            epoch: self.term(),
            leader: self.leader_id(),
            commit: self.commit,
            last: self.log.last(),
            durable: self.log.durable(),
            compacted: self.log.compacted(),
            membership: self.membership().clone(),
            membership_at: self.memberships.at(),
            ..Status::default()
        };
        if let Role::Leader(leader) = &self.role {
            status.matched = leader.peers.iter().map(|(peer, progress)| (*peer, progress.matched)).collect();
            status.matched.insert(self.id, self.log.durable());
            status.transfer_to = leader.transfer.map(|transfer| transfer.to);
        }
        status
    }

    fn entries(&self, from: Index, bytes_max: u64) -> Option<Vec<Entry>> {
        let up_to = if planted!("E20") { self.log.last().index } else { self.commit };
        self.log.entries(from, up_to, bytes_max)
    }

    fn epoch_at(&self, index: Index) -> Option<Epoch> {
        self.log.term_at(index)
    }

    fn fingerprint(&self) -> u64 {
        let voting = (&self.role, self.hard, self.commit, &self.log, &self.memberships, &self.snapshot);
        let waiting =
            (&self.installing, self.election_at, self.leader_heard_at, &self.asked_reads, &self.forwarded);
        let counters =
            (self.pre_vote_round, self.nonce, &self.fetches, self.next_fetch, self.led_up_to, self.tokens());
        fingerprint_of(&(self.id, &self.random, voting, waiting, counters))
    }

    fn is_urgent(message: &Message) -> bool {
        !message.is_bulk()
    }

    fn encode_message(message: &Message, to: &mut Writer) {
        message.encode(to);
    }

    fn decode_message(from: &mut Reader) -> Result<Message, DecodeError> {
        Message::decode(from)
    }

    fn encode_hard_state(state: &HardState, to: &mut Writer) {
        state.encode(to);
    }

    fn decode_hard_state(from: &mut Reader) -> Result<HardState, DecodeError> {
        HardState::decode(from)
    }
}

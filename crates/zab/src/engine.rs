//! ZAB behind the contract of floor 1.

use quorate_consensus::{
    DecodeError, Effects, Engine, Entry, Epoch, Index, Input, Instant, Reader, Status, Writer, fingerprint_of,
};

use crate::{
    HardState, Message, Zab,
    role::{Phase, Role, Stage},
};

impl Engine for Zab {
    type Message = Message;
    type HardState = HardState;

    fn step(&mut self, now: Instant, input: Input<Message>, effects: &mut Effects<Message, HardState>) {
        self.take(now, input, effects);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let reads = self.asked_reads.asked.values().min().copied();
        let role = match &self.role {
            Role::Looking(_) if !self.speaks() => None,
            Role::Looking(looking) => {
                [Some(looking.resend_at), looking.decide_at].into_iter().flatten().min()
            }
            Role::Following(following) => {
                let info = matches!(following.stage, Stage::Discovery | Stage::Promised(_))
                    .then_some(following.info_at);
                // While a snapshot is being put in place packets wait, and a gap among them is not counted.
                let gap = following.inbound.gap_until().filter(|_| self.installing.is_none());
                [Some(self.give_up_at), gap, info].into_iter().flatten().min()
            }
            Role::Leading(leading) => {
                let transfer = match &leading.phase {
                    Phase::Broadcast(broadcast) => broadcast.transfer.map(|transfer| transfer.until),
                    Phase::Discovery
                    | Phase::Promise { .. }
                    | Phase::History(_)
                    | Phase::Epoch(_)
                    | Phase::Synchronization { .. } => None,
                };
                [Some(leading.heartbeat_at), Some(leading.check_at), transfer].into_iter().flatten().min()
            }
        };
        [reads, role].into_iter().flatten().min()
    }

    fn status(&self) -> Status {
        let mut status = Status {
            role: self.role_name(),
            epoch: self.hard.accepted,
            leader: self.leader_id(),
            commit: self.commit,
            last: self.log.last(),
            durable: self.log.durable(),
            compacted: self.log.compacted(),
            membership: self.membership().clone(),
            membership_at: self.memberships.at(),
            ..Status::default()
        };
        if let Role::Leading(leading) = &self.role
            && let Phase::Broadcast(broadcast) = &leading.phase
        {
            let live = leading.links.iter().filter(|(_, link)| link.is_live());
            status.matched = live.map(|(peer, link)| (*peer, link.durable)).collect();
            status.matched.insert(self.id, self.log.durable());
            status.transfer_to = broadcast.transfer.map(|transfer| transfer.to);
        }
        status
    }

    fn entries(&self, from: Index, bytes_max: u64) -> Option<Vec<Entry>> {
        self.log.entries(from, self.commit, bytes_max)
    }

    fn epoch_at(&self, index: Index) -> Option<Epoch> {
        self.log.epoch_at(index)
    }

    fn fingerprint(&self) -> u64 {
        let history = (&self.role, self.hard, self.commit, &self.log, &self.memberships, &self.snapshot);
        let election = (self.round, self.vote, self.give_up_at, self.attempt, self.led_up_to);
        let waiting = (&self.installing, &self.asked_reads, &self.forwarded, &self.need_snapshot);
        let counters = (self.nonce, &self.fetches, self.next_fetch, self.tokens());
        fingerprint_of(&(self.id, &self.random, history, election, waiting, counters))
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

//! Commands into the log (rule Z07), and what a node that does not lead does with them.

use bytes::Bytes;
use quorate_consensus::{Epoch, NodeId, Payload, Position, Proposal, ProposalId, Refusal, planted};

use crate::{Message, Zab, role::Taken, zab::Out};

/// Forwarded messages of one sender that may arrive out of order and still be told from duplicates.
const FORWARD_WINDOW: usize = 4096;
/// Forwarded proposals that are remembered in case a refusal comes. An accepted one is never answered here, so without a limit they would add
/// up for as long as the leader stays.
const FORWARDED_MAX: usize = 65_536;

impl Zab {
    pub(crate) fn propose(&mut self, proposals: Vec<Proposal>, out: &mut Out) {
        if !self.is_established() {
            return self.forward_or_refuse(proposals, out);
        }
        for Proposal { id, command, .. } in proposals {
            match self.accept(command) {
                Ok(position) => out.accepted.push((id, position)),
                Err(refusal) => out.refused.push((id, refusal)),
            }
        }
        self.propose_to_all(out);
    }

    /// A leader takes a command into its log, or says why not; never both.
    fn accept(&mut self, command: Bytes) -> Result<Position, Refusal> {
        let (command_bytes_max, uncommitted_bytes_max) =
            (self.config.command_bytes_max, self.config.uncommitted_bytes_max);
        let (leader, room) = (self.leader_id(), self.has_room());
        let Some(broadcast) = self.broadcast() else { return Err(Refusal::NotLeader { leader }) };
        // A full epoch is followed by the next as soon as all of it is committed.
        if broadcast.transfer.is_some() || !room {
            return Err(Refusal::TransferInProgress);
        }
        if command.len() as u64 > command_bytes_max {
            return Err(Refusal::TooLarge { command_bytes_max });
        }
        // The first is always admitted, however large the limit makes it look: otherwise nothing could ever pass.
        if broadcast.uncommitted_bytes > 0
            && broadcast.uncommitted_bytes + command.len() as u64 > uncommitted_bytes_max
        {
            return Err(Refusal::Overloaded { uncommitted_bytes_max });
        }
        Ok(self.append_own(Payload::Command(command)))
    }

    fn forward_or_refuse(&mut self, proposals: Vec<Proposal>, out: &mut Out) {
        let leader = self.leader_id();
        let mut forwarded = Vec::new();
        for Proposal { id, command, forward } in proposals {
            let too_large = command.len() as u64 > self.config.command_bytes_max;
            match leader {
                Some(_) if forward && too_large => {
                    let command_bytes_max = self.config.command_bytes_max;
                    out.refused.push((id, Refusal::TooLarge { command_bytes_max }));
                }
                Some(_) if forward => forwarded.push((id, command)),
                _ => out.refused.push((id, Refusal::NotLeader { leader })),
            }
        }
        let Some(leader) = leader.filter(|_| !forwarded.is_empty()) else { return };
        self.forwarded.sequence += 1;
        self.forwarded.ids.extend(forwarded.iter().map(|(id, _)| *id));
        let too_many = self.forwarded.ids.len().saturating_sub(FORWARDED_MAX);
        self.forwarded.ids.drain(..too_many);
        let (nonce, sequence) = (self.nonce, self.forwarded.sequence);
        let message = Message::Forward { epoch: self.hard.accepted, nonce, sequence, proposals: forwarded };
        self.send(leader, message, out);
    }

    /// Proposals of another node, for the established leader of this very epoch.
    ///
    /// Only of this epoch: the sender takes a proposal for lost once an entry of a later epoch stands where it could have been, and makes it again; a leader of that
    /// later epoch that took the first copy too would execute the command twice. For the same reason a duplicate is not taken twice (B28).
    pub(crate) fn on_forward(
        &mut self,
        from: NodeId,
        epoch: Epoch,
        nonce: u64,
        sequence: u64,
        proposals: Vec<(ProposalId, Bytes)>,
        out: &mut Out,
    ) {
        let ours = self.is_established() && self.hard.accepted == epoch;
        let Some(broadcast) = self.broadcast().filter(|_| ours) else {
            return self.refuse_forward(from, epoch, nonce, &proposals, out);
        };
        let fresh = broadcast.forwarded.entry((from, nonce)).or_default().take(sequence);
        if !fresh && !planted!("B28") {
            return;
        }
        let mut ids = Vec::new();
        for (id, command) in proposals {
            if self.accept(command).is_err() {
                ids.push(id);
            }
        }
        if !ids.is_empty() {
            self.send(from, Message::ForwardRefused { nonce, ids }, out);
        }
        self.propose_to_all(out);
    }

    /// Refuses what was meant for the leader of `epoch`, if it is certain that this node took no copy of it.
    ///
    /// {S1 leads epoch 1, takes S2's proposal, commits it, and is overtaken; the network delivers the message a second time}: a refusal would let S2 tell its client
    /// that the command is in no log. Only of an epoch that this node neither led nor may have led in an earlier life can it say so; of any other the log tells.
    fn refuse_forward(
        &mut self,
        to: NodeId,
        epoch: Epoch,
        nonce: u64,
        proposals: &[(ProposalId, Bytes)],
        out: &mut Out,
    ) {
        if epoch > self.led_up_to {
            let ids = proposals.iter().map(|(id, _)| *id).collect();
            self.send(to, Message::ForwardRefused { nonce, ids }, out);
        }
    }

    pub(crate) fn on_forward_refused(&mut self, nonce: u64, ids: &[ProposalId], out: &mut Out) {
        if nonce != self.nonce {
            return;
        }
        let leader = self.leader_id();
        for id in ids {
            let waiting = self.forwarded.ids.iter().position(|waiting| waiting == id);
            if waiting.and_then(|at| self.forwarded.ids.remove(at)).is_some() {
                out.refused.push((*id, Refusal::NotLeader { leader }));
            }
        }
    }
}

impl Taken {
    /// Takes the number, once. One that is too old to be known is not taken: it may have been.
    fn take(&mut self, number: u64) -> bool {
        if number < self.below || !self.above.insert(number) {
            return false;
        }
        while self.above.remove(&self.below) {
            self.below += 1;
        }
        while self.above.len() > FORWARD_WINDOW {
            if let Some(first) = self.above.pop_first() {
                self.below = first + 1;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b28_a_duplicate_is_not_taken_twice_in_any_order() {
        let mut taken = Taken::default();
        let order = [1, 0, 3, 1, 2, 0, 3, 2, 5, 5];
        let fresh: Vec<bool> = order.into_iter().map(|number| taken.take(number)).collect();
        assert_eq!(fresh, [true, true, true, false, true, false, false, false, true, false]);
        assert!(taken.take(1_000_000));
        for number in 2_000_000..2_010_000 {
            assert!(taken.take(number));
            assert!(!taken.take(number));
        }
        assert!(!taken.take(6));
        assert!(taken.above.len() <= FORWARD_WINDOW);
    }
}

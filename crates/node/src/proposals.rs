//! Proposals of this node that wait for their answer, and which of them are certainly lost.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{Epoch, Position, Proposal, ProposalId};

use crate::Ticket;

#[derive(Debug)]
struct Waiting {
    command: Bytes,
    /// The attempt under way and the epoch it is for; `None` while the proposal waits to be made.
    attempt: Option<(ProposalId, Epoch)>,
}

/// The waiting proposals of one group.
///
/// An attempt is for one epoch. It is known to be lost in two cases only: the engine refused that very attempt, or an entry of a later epoch
/// has been applied here and the proposal was not among what was applied before it (epochs never fall along a log). Anything less, such as
/// "the leader is gone", is a guess: the entry may be on a follower that wins, and a second attempt would execute the command twice.
///
/// What was said first is proposed first, again too: tickets are drawn in order, and while an attempt for an earlier epoch is undecided nothing is
/// proposed for a later one. That is a courtesy and no promise (a message may be lost, and what came after it not): who needs the order has the
/// state machine check it, as the tree does.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    waiting: BTreeMap<Ticket, Waiting>,
    by_attempt: BTreeMap<ProposalId, Ticket>,
    ready: BTreeSet<Ticket>,
    next_attempt: u64,
    /// The epoch of the last applied entry for which lost proposals were looked for.
    settled_epoch: Epoch,
}

impl Proposals {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn add(&mut self, ticket: Ticket, command: Bytes) {
        self.waiting.insert(ticket, Waiting { command, attempt: None });
        self.ready.insert(ticket);
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Bytes of what waits to be proposed.
    pub(crate) fn ready_bytes(&self) -> u64 {
        let ready = self.ready.iter().filter_map(|ticket| self.waiting.get(ticket));
        ready.map(|waiting| waiting.command.len() as u64 + 128).sum()
    }

    /// What waits to be proposed will not be: no attempt of it is under way.
    pub(crate) fn refuse_ready(&mut self) -> Vec<Ticket> {
        let tickets = std::mem::take(&mut self.ready).into_iter();
        let waiting: Vec<Ticket> = tickets.filter(|ticket| self.waiting.contains_key(ticket)).collect();
        waiting.iter().for_each(|ticket| self.forget(*ticket));
        waiting
    }

    /// Is an attempt for an epoch before this one undecided? It will not be for long: the new epoch's leader begins with an entry.
    pub(crate) fn undecided_before(&self, epoch: Epoch) -> bool {
        // Ids and epochs grow together.
        let oldest = self.by_attempt.first_key_value().and_then(|(_, ticket)| self.waiting.get(ticket));
        oldest.and_then(|waiting| waiting.attempt).is_some_and(|(_, attempted)| attempted < epoch)
    }

    /// Everything that waits to be proposed, as attempts for `epoch`.
    pub(crate) fn attempts(&mut self, epoch: Epoch) -> Vec<Proposal> {
        let mut proposals = Vec::with_capacity(self.ready.len());
        for ticket in std::mem::take(&mut self.ready) {
            let Some(waiting) = self.waiting.get_mut(&ticket) else { continue };
            self.next_attempt += 1;
            let id = ProposalId(self.next_attempt);
            waiting.attempt = Some((id, epoch));
            self.by_attempt.insert(id, ticket);
            proposals.push(Proposal { id, command: waiting.command.clone(), forward: true });
        }
        proposals
    }

    /// An id for something that is not a command (a membership change), from the same sequence.
    pub(crate) fn other_attempt(&mut self) -> ProposalId {
        self.next_attempt += 1;
        ProposalId(self.next_attempt)
    }

    /// The attempt was refused, certainly. Returns the ticket if this was its current attempt; it is taken off that attempt.
    pub(crate) fn refused(&mut self, id: ProposalId) -> Option<Ticket> {
        let ticket = self.by_attempt.remove(&id)?;
        let waiting = self.waiting.get_mut(&ticket)?;
        if waiting.attempt.map(|(attempt, _)| attempt) != Some(id) {
            return None;
        }
        waiting.attempt = None;
        Some(ticket)
    }

    /// Try it again when there is a leader.
    pub(crate) fn again(&mut self, ticket: Ticket) {
        if self.waiting.contains_key(&ticket) {
            self.ready.insert(ticket);
        }
    }

    /// Nobody waits for it any more, or it is answered.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.ready.remove(&ticket);
        if let Some(Waiting { attempt: Some((id, _)), .. }) = self.waiting.remove(&ticket) {
            self.by_attempt.remove(&id);
        }
    }

    /// Is everything that waits ready to be made, or being attempted? What were neither would wait for ever, and whoever asked for it too (G10).
    pub(crate) fn is_attended(&self) -> bool {
        self.waiting.len() == self.ready.len() + self.by_attempt.len()
    }

    /// Entries up to `position` were applied here. Returns how many proposals were certainly lost, and are ready to be made again, and, if a
    /// snapshot stepped over entries (`jumped`), whose fate can no longer be known.
    pub(crate) fn applied(
        &mut self,
        position: Position,
        own: &[Ticket],
        jumped: bool,
    ) -> (usize, Vec<Ticket>) {
        for ticket in own {
            self.forget(*ticket);
        }
        if position.epoch <= self.settled_epoch && !jumped {
            return (0, Vec::new());
        }
        self.settled_epoch = self.settled_epoch.max(position.epoch);
        let (mut lost, mut unknown) = (Vec::new(), Vec::new());
        for (ticket, waiting) in &mut self.waiting {
            let Some((id, epoch)) = waiting.attempt else { continue };
            if jumped && epoch <= position.epoch {
                unknown.push(*ticket);
            } else if epoch < position.epoch {
                self.by_attempt.remove(&id);
                waiting.attempt = None;
                lost.push(*ticket);
            }
        }
        for ticket in &unknown {
            self.forget(*ticket);
        }
        let count = lost.len();
        self.ready.extend(lost);
        (count, unknown)
    }

    /// Everyone who waits, to be told that the node has stopped.
    pub(crate) fn drain(&mut self) -> Vec<Ticket> {
        self.ready.clear();
        self.by_attempt.clear();
        std::mem::take(&mut self.waiting).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_attempt(epoch: u64) -> (Proposals, ProposalId) {
        let mut proposals = Proposals::default();
        proposals.add(Ticket(1), Bytes::from_static(b"x"));
        let id = proposals.attempts(Epoch(epoch))[0].id;
        (proposals, id)
    }

    #[test]
    fn a_proposal_is_lost_only_once_a_later_epoch_is_applied() {
        let (mut proposals, _) = with_attempt(3);
        assert_eq!(proposals.applied(Position::new(2, 9), &[], false), (0, vec![]));
        assert_eq!(proposals.applied(Position::new(3, 10), &[], false), (0, vec![]));
        assert!(!proposals.has_ready());
        assert_eq!(proposals.applied(Position::new(4, 11), &[], false), (1, vec![]));
        assert!(proposals.has_ready());
    }

    #[test]
    fn what_was_not_proposed_is_refused_and_what_was_is_not() {
        let (mut proposals, _) = with_attempt(3);
        proposals.add(Ticket(2), Bytes::from_static(b"y"));
        assert_eq!(proposals.ready_bytes(), 129);
        assert_eq!(proposals.refuse_ready(), [Ticket(2)]);
        assert!(!proposals.has_ready());
        assert_eq!(proposals.drain(), [Ticket(1)]);
    }

    #[test]
    fn what_was_said_first_is_proposed_first_again_too() {
        let (mut proposals, _) = with_attempt(3);
        proposals.add(Ticket(2), Bytes::from_static(b"y"));
        assert!(!proposals.undecided_before(Epoch(3)) && proposals.undecided_before(Epoch(4)));
        proposals.applied(Position::new(4, 11), &[], false);
        assert!(!proposals.undecided_before(Epoch(4)));
        let commands: Vec<Bytes> = proposals.attempts(Epoch(4)).into_iter().map(|p| p.command).collect();
        assert_eq!(commands, ["x", "y"]);
    }

    #[test]
    fn a_late_refusal_of_an_earlier_attempt_is_ignored() {
        let (mut proposals, first) = with_attempt(3);
        proposals.applied(Position::new(4, 11), &[], false);
        let second = proposals.attempts(Epoch(4))[0].id;
        assert_eq!(proposals.refused(first), None);
        assert!(!proposals.has_ready());
        assert_eq!(proposals.refused(second), Some(Ticket(1)));
    }

    #[test]
    fn a_proposal_that_a_snapshot_stepped_over_is_unknown_never_repeated() {
        let (mut proposals, _) = with_attempt(3);
        assert_eq!(proposals.applied(Position::new(5, 100), &[], true), (0, vec![Ticket(1)]));
        assert!(!proposals.has_ready());
        assert_eq!(proposals.len(), 0);
    }
}

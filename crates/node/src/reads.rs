//! Linearizable reads of one group: all that wait when a barrier is asked for share it.

use std::collections::BTreeMap;

use quorate_consensus::ReadId;

use crate::Ticket;

#[derive(Debug, Default)]
pub(crate) struct Reads {
    waiting: Vec<Ticket>,
    asked: BTreeMap<ReadId, Vec<Ticket>>,
    asked_count: usize,
    /// Never used twice: a late confirmation of an earlier barrier must not release a later read (E02).
    next_id: u64,
}

impl Reads {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.asked_count
    }

    pub(crate) fn add(&mut self, ticket: Ticket) {
        self.waiting.push(ticket);
    }

    /// A new barrier for all that wait, if any do.
    pub(crate) fn barrier(&mut self) -> Option<ReadId> {
        if self.waiting.is_empty() {
            return None;
        }
        self.next_id += 1;
        let id = ReadId(self.next_id);
        let tickets = std::mem::take(&mut self.waiting);
        self.asked_count += tickets.len();
        self.asked.insert(id, tickets);
        Some(id)
    }

    /// The barrier stands: who may read.
    pub(crate) fn safe(&mut self, id: ReadId) -> Vec<Ticket> {
        let tickets = self.asked.remove(&id).unwrap_or_default();
        self.asked_count -= tickets.len();
        tickets
    }

    /// The barrier cannot be had: all ask again, under a new id.
    pub(crate) fn refused(&mut self, id: ReadId) {
        let tickets = self.safe(id);
        self.ask_again(tickets);
    }

    /// These go into the next barrier.
    pub(crate) fn ask_again(&mut self, tickets: Vec<Ticket>) {
        self.waiting.extend(tickets);
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.waiting.retain(|waiting| *waiting != ticket);
    }

    pub(crate) fn drain(&mut self) -> Vec<Ticket> {
        self.asked_count = 0;
        let asked = std::mem::take(&mut self.asked).into_values().flatten();
        asked.chain(std::mem::take(&mut self.waiting)).collect()
    }
}

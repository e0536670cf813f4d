//! Who waits for which ticket.

use std::sync::Mutex;

use quorate_consensus::FixedMap;
use quorate_node::{Answer, Ticket};
use tokio::sync::oneshot;

use crate::inbox::lock;

/// What a waiting caller is told: a result of the state half, or what the core says instead.
pub(crate) type Told<R> = Result<R, Answer>;

/// Why nobody may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWaiting {
    /// As many wait as may.
    Full,
    /// The node has stopped.
    Closed,
}

/// The table of those who wait. Tickets are drawn here, each once in the life of the process.
#[derive(Debug)]
pub(crate) struct Waiters<R> {
    table: Mutex<Table<R>>,
    waiting_max: usize,
}

#[derive(Debug)]
struct Table<R> {
    last: u64,
    waiting: FixedMap<Ticket, oneshot::Sender<Told<R>>>,
    closed: bool,
}

impl<R> Waiters<R> {
    pub(crate) fn new(waiting_max: usize) -> Waiters<R> {
        Waiters { table: Mutex::new(Table { last: 0, waiting: FixedMap::new(), closed: false }), waiting_max }
    }

    /// A new ticket, and where its answer comes.
    pub(crate) fn register(&self) -> Result<(Ticket, oneshot::Receiver<Told<R>>), NoWaiting> {
        // Made outside the lock: it allocates.
        let (sender, receiver) = oneshot::channel();
        let mut table = lock(&self.table);
        if table.closed {
            return Err(NoWaiting::Closed);
        }
        if table.waiting.len() >= self.waiting_max {
            return Err(NoWaiting::Full);
        }
        table.last += 1;
        let ticket = Ticket(table.last);
        table.waiting.insert(ticket, sender);
        Ok((ticket, receiver))
    }

    /// Tells everyone in `told`, under one lock; those who gave up are passed over. Returns how many were told.
    pub(crate) fn tell(&self, told: impl IntoIterator<Item = (Ticket, Told<R>)>) -> u64 {
        let mut senders = Vec::new();
        {
            let mut table = lock(&self.table);
            for (ticket, what) in told {
                if let Some(sender) = table.waiting.remove(&ticket) {
                    senders.push((sender, what));
                }
            }
        }
        // Sending wakes tasks; callers that register meanwhile need not wait for that.
        let count = senders.len() as u64;
        for (sender, what) in senders {
            let _ = sender.send(what);
        }
        count
    }

    /// The caller gave up. `false` if it had been told already.
    pub(crate) fn forget(&self, ticket: Ticket) -> bool {
        lock(&self.table).waiting.remove(&ticket).is_some()
    }

    /// Nobody will be told any more: those who wait see their channel closed.
    pub(crate) fn close(&self) {
        let mut table = lock(&self.table);
        table.closed = true;
        let waiting = std::mem::take(&mut table.waiting);
        drop(table);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ticket_is_told_once_and_its_own_answer() {
        let waiters = Waiters::new(10);
        let (a, mut at_a) = waiters.register().unwrap();
        let (b, mut at_b) = waiters.register().unwrap();
        assert_ne!(a, b);
        assert_eq!(waiters.tell([(b, Ok("b")), (a, Err(Answer::Busy))]), 2);
        assert_eq!(waiters.tell([(b, Ok("again"))]), 0);
        assert_eq!(at_a.try_recv().unwrap(), Err(Answer::Busy));
        assert_eq!(at_b.try_recv().unwrap(), Ok("b"));
    }

    #[test]
    fn one_too_many_is_refused_until_another_has_left() {
        let waiters = Waiters::<()>::new(1);
        let (first, _at) = waiters.register().unwrap();
        assert_eq!(waiters.register().unwrap_err(), NoWaiting::Full);
        assert!(waiters.forget(first));
        assert!(!waiters.forget(first));
        assert!(waiters.register().unwrap().0 > first, "a ticket is never used twice");
    }

    #[test]
    fn closing_ends_every_wait() {
        let waiters = Waiters::<()>::new(2);
        let (_, mut at) = waiters.register().unwrap();
        waiters.close();
        assert_eq!(at.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        assert_eq!(waiters.register().unwrap_err(), NoWaiting::Closed);
    }
}

//! Who waits for which ticket, and how answers get there.
//!
//! Answers come in batches from the node's threads; callers are tasks of a runtime elsewhere. Woken one by one from a thread that is not the
//! runtime's, each task costs a lock and perhaps a system call. So a runtime may send a courier ([`Waiters::deliver`]): a batch is laid down
//! under one lock, the courier is woken once, and wakes its neighbours where that costs next to nothing.

use std::sync::Mutex;

use quorate_consensus::FixedMap;
use quorate_node::{Answer, Ticket};
use tokio::sync::{Notify, oneshot};

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
    mailbox: Mutex<Mailbox<R>>,
    bell: Notify,
}

/// An answer, and the way to who waits for it.
type Letter<R> = (oneshot::Sender<Told<R>>, Told<R>);

#[derive(Debug)]
struct Mailbox<R> {
    /// Empty unless a courier is there to take them.
    letters: Vec<Letter<R>>,
    couriers: usize,
    closed: bool,
}

#[derive(Debug)]
struct Table<R> {
    last: u64,
    waiting: FixedMap<Ticket, oneshot::Sender<Told<R>>>,
    closed: bool,
}

impl<R> Waiters<R> {
    pub(crate) fn new(waiting_max: usize) -> Waiters<R> {
        Waiters {
            table: Mutex::new(Table { last: 0, waiting: FixedMap::new(), closed: false }),
            waiting_max,
            mailbox: Mutex::new(Mailbox { letters: Vec::new(), couriers: 0, closed: false }),
            bell: Notify::new(),
        }
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
        if count > 0 {
            self.send(senders);
        }
        count
    }

    fn send(&self, mut letters: Vec<Letter<R>>) {
        let mut mailbox = lock(&self.mailbox);
        if mailbox.couriers > 0 {
            mailbox.letters.append(&mut letters);
            drop(mailbox);
            return self.bell.notify_one();
        }
        drop(mailbox);
        hand_out(letters);
    }

    /// Hands answers out on the runtime that polls this, until everything has been told. Without any such courier, the node's threads do it.
    pub(crate) async fn deliver(&self) {
        let courier = Courier::start(self);
        let mut letters = Vec::new();
        loop {
            let closed = courier.take(&mut letters);
            if letters.is_empty() && closed {
                return;
            }
            if letters.is_empty() {
                self.bell.notified().await;
            }
            hand_out(letters.drain(..));
        }
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
        lock(&self.mailbox).closed = true;
        self.bell.notify_one();
    }
}

fn hand_out<R>(letters: impl IntoIterator<Item = Letter<R>>) {
    for (sender, what) in letters {
        let _ = sender.send(what);
    }
}

/// A courier at work. However it ends, nothing stays behind.
struct Courier<'a, R>(&'a Waiters<R>);

impl<'a, R> Courier<'a, R> {
    fn start(waiters: &'a Waiters<R>) -> Courier<'a, R> {
        lock(&waiters.mailbox).couriers += 1;
        Courier(waiters)
    }

    /// Takes all letters; true if no more will come.
    fn take(&self, into: &mut Vec<Letter<R>>) -> bool {
        let mut mailbox = lock(&self.0.mailbox);
        std::mem::swap(&mut mailbox.letters, into);
        mailbox.closed
    }
}

impl<R> Drop for Courier<'_, R> {
    fn drop(&mut self) {
        let mut mailbox = lock(&self.0.mailbox);
        mailbox.couriers -= 1;
        let left = if mailbox.couriers == 0 { std::mem::take(&mut mailbox.letters) } else { Vec::new() };
        drop(mailbox);
        hand_out(left);
        // Another courier may have slept through a ring that this one took.
        self.0.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;

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

    #[tokio::test(flavor = "current_thread")]
    async fn a_courier_delivers_what_was_told_and_nothing_stays_behind_when_it_leaves() {
        let waiters = std::sync::Arc::new(Waiters::new(10));
        let courier = tokio::spawn({
            let waiters = std::sync::Arc::clone(&waiters);
            async move { waiters.deliver().await }
        });
        tokio::task::yield_now().await;
        let (a, at_a) = waiters.register().unwrap();
        let (b, mut at_b) = waiters.register().unwrap();
        assert_eq!(waiters.tell([(a, Ok("a"))]), 1);
        assert_eq!(at_a.await.unwrap(), Ok("a"));
        // Told, not yet delivered, and the courier is gone.
        assert_eq!(waiters.tell([(b, Ok("b"))]), 1);
        courier.abort();
        assert!(courier.await.unwrap_err().is_cancelled());
        assert_eq!(at_b.try_recv().unwrap(), Ok("b"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_courier_ends_with_the_node_after_the_last_answer() {
        let waiters = Waiters::new(10);
        let (a, mut at_a) = waiters.register().unwrap();
        let mut courier = std::pin::pin!(waiters.deliver());
        let woken = std::task::Waker::noop();
        assert!(courier.as_mut().poll(&mut std::task::Context::from_waker(woken)).is_pending());
        waiters.tell([(a, Ok("a"))]);
        waiters.close();
        courier.await;
        assert_eq!(at_a.try_recv().unwrap(), Ok("a"));
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

//! Many producers, one consumer that takes everything that waits at once.
//!
//! A consumer that is awake is never woken: producers only append. It pays for one lock and one swap however much has gathered meanwhile,
//! so batches grow with load and not by a timer.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use quorate_consensus::planted;

use crate::counters::Counter;

/// Locks even if another thread panicked while it held the lock: what is guarded here is whole after every statement.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InboxRefusal {
    /// As many items wait as may.
    Full,
    /// The consumer has gone.
    Closed,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// There are items.
    Items,
    /// The time has come.
    Deadline,
    /// There are none and there will be none.
    Closed,
}

/// A shared queue; clones are the same queue.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Inbox { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    room: Condvar,
    items_max: usize,
    bytes_max: u64,
    wakeups: Arc<Counter>,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    /// Bytes of what came by [`Inbox::extend_waiting`] and has not been taken.
    bytes: u64,
    /// The consumer waits for items; whoever appends wakes it, once.
    sleeping: bool,
    /// Producers that wait for room.
    crowded: usize,
    closed: bool,
}

impl<T> Inbox<T> {
    /// An inbox that refuses more than `items_max` items that may be refused, and lets producers that can wait do so at `bytes_max`.
    pub(crate) fn new(items_max: usize, bytes_max: u64, wakeups: Arc<Counter>) -> Inbox<T> {
        let state = State { items: Vec::new(), bytes: 0, sleeping: false, crowded: 0, closed: false };
        let (arrived, room) = (Condvar::new(), Condvar::new());
        Inbox {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                arrived,
                room,
                items_max,
                bytes_max,
                wakeups,
            }),
        }
    }

    /// Adds an item, unless too many wait.
    pub(crate) fn push(&self, item: T) -> Result<(), InboxRefusal> {
        let mut state = lock(&self.shared.state);
        if state.closed {
            return Err(InboxRefusal::Closed);
        }
        if state.items.len() >= self.shared.items_max {
            return Err(InboxRefusal::Full);
        }
        state.items.push(item);
        self.wake(state);
        Ok(())
    }

    /// Adds items that may not be refused: each ends something whose beginning was bounded. Dropped if the consumer has gone.
    pub(crate) fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut state = lock(&self.shared.state);
        if !state.closed {
            // G13: where something waits already, somebody has woken the consumer. Not for what is in no hurry.
            let woken = !state.items.is_empty() && planted!("G13");
            state.items.extend(items);
            if !state.items.is_empty() && !woken {
                self.wake(state);
            }
        }
    }

    /// Adds items that may not be refused and that are in no hurry: a sleeping consumer finds them when it wakes for something else, before that.
    pub(crate) fn extend_unhurried(&self, items: impl IntoIterator<Item = T>) {
        let mut state = lock(&self.shared.state);
        if !state.closed {
            state.items.extend(items);
        }
    }

    /// Adds items of `bytes` in all, if that is within the limits now. For producers that may neither wait nor insist.
    pub(crate) fn try_extend(&self, items: impl IntoIterator<Item = T>, bytes: u64) -> bool {
        let mut state = lock(&self.shared.state);
        if state.closed || self.full(&state) {
            return false;
        }
        state.bytes += bytes;
        state.items.extend(items);
        self.wake(state);
        true
    }

    /// Adds items of `bytes` in all once there is room. `false` if the consumer has gone.
    pub(crate) fn extend_waiting(&self, items: impl IntoIterator<Item = T>, bytes: u64) -> bool {
        let mut state = lock(&self.shared.state);
        while !state.closed && self.full(&state) {
            state.crowded += 1;
            state = self.shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.crowded -= 1;
        }
        if state.closed {
            return false;
        }
        state.bytes += bytes;
        state.items.extend(items);
        self.wake(state);
        true
    }

    fn full(&self, state: &State<T>) -> bool {
        state.bytes >= self.shared.bytes_max || state.items.len() >= self.shared.items_max
    }

    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        // Cleared here and not by the consumer, so that a burst of producers wakes it once.
        let wake = std::mem::take(&mut state.sleeping);
        drop(state);
        if wake {
            self.shared.wakeups.add(1);
            self.shared.arrived.notify_one();
        }
    }

    /// Takes everything that waits; sleeps until there is something, or `until`. `into` must be empty; its room is reused.
    pub(crate) fn wait(&self, into: &mut Vec<T>, until: Option<Instant>) -> Waited {
        debug_assert!(into.is_empty());
        let mut state = lock(&self.shared.state);
        loop {
            if !state.items.is_empty() {
                std::mem::swap(&mut state.items, into);
                self.taken(state);
                return Waited::Items;
            }
            if state.closed {
                return Waited::Closed;
            }
            match until {
                None => {
                    state.sleeping = true;
                    state = self.shared.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Waited::Deadline;
                    }
                    state.sleeping = true;
                    let (woken, _) =
                        self.shared.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
                    state = woken;
                }
            }
            state.sleeping = false;
        }
    }

    /// Adds what has come since [`wait`](Self::wait) returned, without waiting.
    pub(crate) fn take_more(&self, into: &mut Vec<T>) {
        let mut state = lock(&self.shared.state);
        into.append(&mut state.items);
        self.taken(state);
    }

    /// Everything was taken: producers that wait for room may go on.
    fn taken(&self, mut state: MutexGuard<'_, State<T>>) {
        state.bytes = 0;
        let crowded = state.crowded > 0;
        drop(state);
        if crowded {
            self.shared.room.notify_all();
        }
    }

    /// No more items are taken; the consumer still gets what waits.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.sleeping = false;
        drop(state);
        self.shared.arrived.notify_all();
        self.shared.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    fn inbox(items_max: usize, bytes_max: u64) -> (Inbox<u64>, Arc<Counter>) {
        let wakeups = Arc::new(Counter::default());
        (Inbox::new(items_max, bytes_max, Arc::clone(&wakeups)), wakeups)
    }

    #[test]
    fn everything_that_waits_is_taken_at_once_and_in_order() {
        let (inbox, wakeups) = inbox(10, 10);
        inbox.push(1).unwrap();
        inbox.extend([2, 3]);
        let mut taken = Vec::new();
        assert_eq!(inbox.wait(&mut taken, None), Waited::Items);
        assert_eq!(taken, [1, 2, 3]);
        assert_eq!(wakeups.get(), 0, "nobody slept");
        inbox.push(4).unwrap();
        inbox.take_more(&mut taken);
        assert_eq!(taken, [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_in_no_hurry_wakes_nobody_and_comes_first() {
        let (inbox, wakeups) = inbox(10, 10);
        let sleeper = {
            let inbox = inbox.clone();
            thread::spawn(move || {
                let mut taken = Vec::new();
                inbox.wait(&mut taken, None);
                taken
            })
        };
        while !lock(&inbox.shared.state).sleeping {
            thread::yield_now();
        }
        inbox.extend_unhurried([1]);
        assert_eq!(wakeups.get(), 0);
        inbox.push(2).unwrap();
        assert_eq!(sleeper.join().unwrap(), [1, 2]);
        assert_eq!(wakeups.get(), 1);
    }

    /// {The state half has said, in no hurry, what it applied; the core sleeps; the disk ends the write of the only client}: the core must hear of it now, or
    /// nobody will commit that write.
    fn what_cannot_wait_wakes_the_consumer_behind_what_can() {
        let (inbox, _) = inbox(10, 10);
        let (told, heard) = std::sync::mpsc::channel();
        let sleeper = {
            let inbox = inbox.clone();
            thread::spawn(move || {
                let mut taken = Vec::new();
                inbox.wait(&mut taken, None);
                told.send(taken).unwrap();
            })
        };
        while !lock(&inbox.shared.state).sleeping {
            thread::yield_now();
        }
        inbox.extend_unhurried([1]);
        inbox.extend([2]);
        let taken = heard.recv_timeout(Duration::from_secs(2));
        inbox.close();
        sleeper.join().unwrap();
        assert_eq!(taken, Ok(vec![1, 2]));
    }

    #[test]
    fn what_cannot_wait_is_heard_of_at_once() {
        what_cannot_wait_wakes_the_consumer_behind_what_can();
    }

    #[cfg(feature = "planted-bugs")]
    #[test]
    fn g13_a_lost_wake_up_is_found_planted() {
        let check = |()| what_cannot_wait_wakes_the_consumer_behind_what_can();
        quorate_consensus::hunt_plant("G13", "I20", [()], check);
    }

    #[test]
    fn a_full_inbox_refuses_what_may_be_refused_and_takes_what_may_not() {
        let (inbox, _) = inbox(1, 10);
        inbox.push(1).unwrap();
        assert_eq!(inbox.push(2), Err(InboxRefusal::Full));
        assert!(!inbox.try_extend([2], 1));
        inbox.extend([3]);
        let mut taken = Vec::new();
        inbox.wait(&mut taken, None);
        assert_eq!(taken, [1, 3]);
        inbox.push(4).unwrap();
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let (inbox, _) = inbox(1, 1);
        assert_eq!(inbox.wait(&mut Vec::new(), Some(Instant::now())), Waited::Deadline);
        assert_eq!(
            inbox.wait(&mut Vec::new(), Some(Instant::now() + Duration::from_millis(1))),
            Waited::Deadline
        );
    }

    #[test]
    fn a_producer_waits_for_room_and_the_consumer_is_woken() {
        let (inbox, _) = inbox(1000, 8);
        let producer = {
            let inbox = inbox.clone();
            thread::spawn(move || (0..100).all(|n| inbox.extend_waiting([n], 8)))
        };
        let mut all = Vec::new();
        while all.len() < 100 {
            let mut taken = Vec::new();
            assert_eq!(inbox.wait(&mut taken, None), Waited::Items);
            assert_eq!(taken.len(), 1, "8 bytes fill it");
            all.extend(taken);
        }
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert!(producer.join().unwrap());
    }

    #[test]
    fn closing_delivers_what_waits_then_ends_everyone() {
        let (inbox, _) = inbox(10, 10);
        inbox.push(1).unwrap();
        inbox.close();
        assert_eq!(inbox.push(2), Err(InboxRefusal::Closed));
        assert!(!inbox.extend_waiting([2], 0));
        let mut taken = Vec::new();
        assert_eq!(inbox.wait(&mut taken, None), Waited::Items);
        taken.clear();
        assert_eq!(inbox.wait(&mut taken, None), Waited::Closed);
    }
}

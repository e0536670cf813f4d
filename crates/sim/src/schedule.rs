//! Virtual time: what happens next, in the order (time, sequence).

use std::{cmp::Ordering, collections::BinaryHeap};

/// Nanoseconds of true virtual time since the run began.
pub(crate) type Time = u64;

pub(crate) const MICROS: u64 = 1_000;
pub(crate) const MILLIS: u64 = 1_000_000;
pub(crate) const SECONDS: u64 = 1_000_000_000;

#[derive(Debug)]
struct Due<E> {
    at: Time,
    sequence: u64,
    event: E,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<E> Eq for Due<E> {}
impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Due<E> {
    /// The greatest comes first out of the heap, so the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

/// What is going to happen.
#[derive(Debug)]
pub(crate) struct Schedule<E> {
    now: Time,
    sequence: u64,
    due: BinaryHeap<Due<E>>,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Schedule { now: 0, sequence: 0, due: BinaryHeap::new() }
    }
}

impl<E> Schedule<E> {
    /// The time of the event being handled.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Lets `event` happen at `at`, or now if that has passed.
    pub(crate) fn at(&mut self, at: Time, event: E) {
        self.sequence += 1;
        self.due.push(Due { at: at.max(self.now), sequence: self.sequence, event });
    }

    /// The next event up to `end`; time moves to it.
    pub(crate) fn next(&mut self, end: Time) -> Option<E> {
        if self.due.peek()?.at > end {
            return None;
        }
        let due = self.due.pop()?;
        self.now = due.at;
        Some(due.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_made() {
        let mut schedule = Schedule::default();
        for (at, name) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            schedule.at(at, name);
        }
        assert_eq!(std::iter::from_fn(|| schedule.next(5)).collect::<String>(), "abcd");
        assert_eq!(schedule.now(), 5);
    }
}

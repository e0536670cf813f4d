//! Virtual time: what happens next, in the order (time, sequence).

use std::{cmp::Reverse, collections::BinaryHeap};

/// Nanoseconds of true virtual time since the run began.
pub(crate) type Time = u64;

pub(crate) const MICROS: u64 = 1_000;
pub(crate) const MILLIS: u64 = 1_000_000;
pub(crate) const SECONDS: u64 = 1_000_000_000;

/// When, in which order, and where among the events.
type Due = (Time, u64, usize);

/// What is going to happen. The heap holds three numbers for each event, whatever an event carries: it moves them again and again.
#[derive(Debug)]
pub(crate) struct Schedule<E> {
    now: Time,
    sequence: u64,
    due: BinaryHeap<Reverse<Due>>,
    events: Vec<Option<E>>,
    /// Places among the events that are free.
    free: Vec<usize>,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Schedule { now: 0, sequence: 0, due: BinaryHeap::new(), events: Vec::new(), free: Vec::new() }
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
        let place = self.free.pop().unwrap_or(self.events.len());
        if place == self.events.len() {
            self.events.push(None);
        }
        self.events[place] = Some(event);
        self.due.push(Reverse((at.max(self.now), self.sequence, place)));
    }

    /// The next event up to `end`; time moves to it.
    pub(crate) fn next(&mut self, end: Time) -> Option<E> {
        if self.due.peek()?.0.0 > end {
            return None;
        }
        let Reverse((at, _, place)) = self.due.pop()?;
        self.now = at;
        self.free.push(place);
        self.events[place].take()
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

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
    /// When the event of each timer is due, [`Time::MAX`] if it has none, and where it stands among those that happen at the same time.
    timers: Vec<(Time, u64)>,
    timed: Vec<Option<E>>,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Schedule {
            now: 0,
            sequence: 0,
            due: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            timers: Vec::new(),
            timed: Vec::new(),
        }
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

    /// Lets `event` happen at `at`, or now if that has passed, in place of what this timer was set for before. There are few timers: each is looked at for
    /// every event.
    pub(crate) fn set(&mut self, timer: usize, at: Time, event: E) {
        self.sequence += 1;
        if timer >= self.timers.len() {
            self.timers.resize(timer + 1, (Time::MAX, 0));
            self.timed.resize_with(timer + 1, || None);
        }
        self.timers[timer] = (at.max(self.now), self.sequence);
        self.timed[timer] = Some(event);
    }

    /// The next event up to `end`; time moves to it.
    pub(crate) fn next(&mut self, end: Time) -> Option<E> {
        let timer = self.timers.iter().enumerate().min_by_key(|(_, due)| **due);
        let (timer, timed) = timer.map_or((0, (Time::MAX, 0)), |(timer, due)| (timer, *due));
        let queued = self.due.peek().map_or((Time::MAX, 0), |Reverse((at, sequence, _))| (*at, *sequence));
        let at = timed.0.min(queued.0);
        if at > end || at == Time::MAX {
            return None;
        }
        self.now = at;
        if timed < queued {
            self.timers[timer] = (Time::MAX, 0);
            return self.timed[timer].take();
        }
        let Reverse((_, _, place)) = self.due.pop()?;
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

    #[test]
    fn a_timer_that_is_set_again_forgets_what_it_was_set_for() {
        let mut schedule = Schedule::default();
        schedule.at(4, 'b');
        schedule.set(1, 9, 'x');
        schedule.set(1, 4, 'c');
        schedule.set(0, 2, 'a');
        schedule.at(4, 'd');
        assert_eq!(schedule.next(1), None);
        assert_eq!(std::iter::from_fn(|| schedule.next(9)).collect::<String>(), "abcd");
        schedule.set(0, 1, 'e');
        assert_eq!((schedule.next(9), schedule.now()), (Some('e'), 4), "what has passed happens now");
    }
}

//! Linearizability by search, to cross-check the witness checker, which believes the service's own numbers: Wing and Gong's algorithm (1993)
//! with Lowe's memory of visited states (2017), key by key.
//!
//! If a history is linearizable then so is its projection to each key. The search believes values alone, no revision.

use std::collections::BTreeMap;

use quorate_consensus::{FixedSet, fingerprint_of};

use crate::history::{Call, Key, Operation, Outcome, PAIR, Truth};

/// What one operation does to one key, and what it says it found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Sets the value; what was there before, if that was told.
    Set(u64, Option<Option<u64>>),
    /// Sets the value if the first is there.
    Swap(Option<u64>, u64, Option<(bool, Option<u64>)>),
    Delete(Option<Option<u64>>),
    Read(Option<u64>),
}

impl Step {
    /// The state after it, if it can happen in `state` with the answer it got.
    fn apply(self, state: Option<u64>) -> Option<Option<u64>> {
        let agrees = |told: Option<Option<u64>>| told.is_none_or(|told| told == state);
        match self {
            Step::Set(value, told) => agrees(told).then_some(Some(value)),
            Step::Swap(expected, value, told) => {
                let happens = expected == state;
                let same = told.is_none_or(|(changed, found)| changed == happens && found == state);
                same.then_some(if happens { Some(value) } else { state })
            }
            Step::Delete(told) => agrees(told).then_some(None),
            Step::Read(found) => (found == state).then_some(state),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Interval {
    step: Step,
    invoked: u64,
    returned: u64,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is a linearization.
    Linearizable,
    /// There is none, for this key.
    NotLinearizable(Key),
    /// The search was given up after the allowed number of steps.
    GaveUp,
}

/// Searches a linearization for every key, each with at most `steps_max` steps.
#[must_use]
pub fn check(history: &[Operation], truth: &BTreeMap<u64, Truth>, steps_max: u64) -> Verdict {
    let mut keys: BTreeMap<Key, Vec<Interval>> = BTreeMap::new();
    let all: Vec<Key> = (0..8).chain(PAIR).collect();
    for operation in history {
        project(operation, truth, &all, &mut keys);
    }
    let mut verdict = Verdict::Linearizable;
    for (key, intervals) in keys {
        match search(&intervals, steps_max) {
            Some(true) => {}
            Some(false) => return Verdict::NotLinearizable(key),
            None => verdict = Verdict::GaveUp,
        }
    }
    verdict
}

fn project(
    operation: &Operation,
    truth: &BTreeMap<u64, Truth>,
    all: &[Key],
    keys: &mut BTreeMap<Key, Vec<Interval>>,
) {
    if operation.call.is_serializable() {
        return;
    }
    let told = match &operation.outcome {
        Outcome::Failed => return,
        Outcome::Unknown if truth.contains_key(&operation.id) => None,
        Outcome::Unknown => return,
        Outcome::Write { changed, previous, .. } => Some((*changed, previous.map(|seen| seen.value))),
        Outcome::Read { items, .. } => {
            let wanted = match &operation.call {
                Call::Get { key, .. } => std::slice::from_ref(key),
                _ => all,
            };
            for key in wanted {
                let step = Step::Read(items.get(key).map(|seen| seen.value));
                let (invoked, returned) = (operation.invoked, operation.returned);
                keys.entry(*key).or_default().push(Interval { step, invoked, returned });
            }
            return;
        }
    };
    let returned = if told.is_some() { operation.returned } else { u64::MAX };
    let mut add = |key: Key, step: Step| {
        keys.entry(key).or_default().push(Interval { step, invoked: operation.invoked, returned });
    };
    let previous = told.map(|(_, previous)| previous);
    match &operation.call {
        Call::Put { key, value } => add(*key, Step::Set(*value, previous)),
        Call::Cas { key, expected, value } => add(*key, Step::Swap(*expected, *value, told)),
        Call::Delete { key } => add(*key, Step::Delete(previous)),
        // What it read is its own: the model checks that, and the search only where it stands.
        Call::PutGet { key, value } => add(*key, Step::Set(*value, None)),
        Call::PutPair { value } => {
            add(PAIR[0], Step::Set(*value, previous));
            add(PAIR[1], Step::Set(*value, None));
        }
        Call::Get { .. } | Call::List { .. } => {}
    }
}

/// `None`: given up.
fn search(intervals: &[Interval], steps_max: u64) -> Option<bool> {
    // Events in the order of time; at one moment calls come before returns, which allows more.
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (number, interval) in intervals.iter().enumerate() {
        events.push((interval.invoked, false, number));
        events.push((interval.returned, true, number));
    }
    events.sort_unstable();
    // A doubly linked list over the events, with a sentinel at 0.
    let count = events.len() + 1;
    let mut next: Vec<usize> = (1..=count).collect();
    let mut previous: Vec<usize> = (0..count).map(|at| at.saturating_sub(1)).collect();
    let mut return_at = vec![0; intervals.len()];
    for (at, (_, is_return, number)) in events.iter().enumerate() {
        if *is_return {
            return_at[*number] = at + 1;
        }
    }
    let end = count;
    let mut taken = vec![0u64; intervals.len().div_ceil(64)];
    let mut visited: FixedSet<u64> = FixedSet::new();
    let mut stack: Vec<(usize, Option<u64>)> = Vec::new();
    let mut state = None;
    let mut at = next[0];
    let mut steps = 0;
    while next[0] != end {
        steps += 1;
        if steps > steps_max {
            return None;
        }
        let (_, is_return, number) = events[at - 1];
        if !is_return {
            if let Some(after) = intervals[number].step.apply(state) {
                taken[number / 64] |= 1 << (number % 64);
                if visited.insert(fingerprint_of(&(&taken, after)), ()).is_none() {
                    stack.push((at, state));
                    state = after;
                    for gone in [at, return_at[number]] {
                        next[previous[gone]] = next[gone];
                        if next[gone] != end {
                            previous[next[gone]] = previous[gone];
                        }
                    }
                    at = next[0];
                    continue;
                }
                taken[number / 64] &= !(1 << (number % 64));
            }
            at = next[at];
            continue;
        }
        // A return was met before its call could be placed: step back.
        let Some((call, before)) = stack.pop() else { return Some(false) };
        let (_, _, number) = events[call - 1];
        state = before;
        taken[number / 64] &= !(1 << (number % 64));
        for back in [return_at[number], call] {
            next[previous[back]] = back;
            if next[back] != end {
                previous[next[back]] = back;
            }
        }
        at = next[call];
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Seen;

    fn operation(id: u64, call: Call, times: (u64, u64), outcome: Outcome) -> Operation {
        Operation { id, client: 0, call, invoked: times.0, returned: times.1, outcome }
    }

    fn put(id: u64, times: (u64, u64), previous: Option<u64>) -> Operation {
        let previous = previous.map(|value| Seen { value, ..Seen::default() });
        let outcome = Outcome::Write { revision: 0, changed: true, previous };
        operation(id, Call::Put { key: 1, value: id }, times, outcome)
    }

    fn get(id: u64, times: (u64, u64), value: Option<u64>) -> Operation {
        let items = value.map(|value| (1, Seen { value, ..Seen::default() })).into_iter().collect();
        operation(id, Call::Get { key: 1, serializable: false }, times, Outcome::Read { revision: 0, items })
    }

    fn verdict(history: &[Operation]) -> Verdict {
        let unknown = Truth { index: 1, revision: 1, changed: true, previous: None };
        check(history, &[(99, unknown)].into_iter().collect(), 100_000)
    }

    #[test]
    fn overlapping_writes_may_be_ordered_either_way() {
        let history = [put(1, (0, 10), None), put(2, (5, 15), Some(1)), get(3, (20, 30), Some(2))];
        assert_eq!(verdict(&history), Verdict::Linearizable);
        let history = [put(1, (0, 10), Some(2)), put(2, (5, 15), None), get(3, (20, 30), Some(1))];
        assert_eq!(verdict(&history), Verdict::Linearizable);
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [put(1, (0, 10), None), put(2, (11, 15), Some(1)), get(3, (20, 30), Some(1))];
        assert_eq!(verdict(&history), Verdict::NotLinearizable(1));
    }

    #[test]
    fn two_reads_that_go_back_are_found() {
        let history = [
            put(1, (0, 10), None),
            put(2, (11, 50), Some(1)),
            get(3, (12, 20), Some(2)),
            get(4, (21, 30), Some(1)),
        ];
        assert_eq!(verdict(&history), Verdict::NotLinearizable(1));
    }

    #[test]
    fn a_swap_that_lied_is_found() {
        let swap = |changed| {
            let previous = Some(Seen { value: 1, ..Seen::default() });
            let outcome = Outcome::Write { revision: 0, changed, previous };
            operation(2, Call::Cas { key: 1, expected: Some(1), value: 2 }, (11, 20), outcome)
        };
        assert_eq!(verdict(&[put(1, (0, 10), None), swap(true)]), Verdict::Linearizable);
        assert_eq!(verdict(&[put(1, (0, 10), None), swap(false)]), Verdict::NotLinearizable(1));
    }

    #[test]
    fn an_unanswered_write_may_come_late_or_be_seen_early() {
        let unknown = operation(99, Call::Put { key: 1, value: 99 }, (5, 6), Outcome::Unknown);
        let history = [put(1, (0, 10), None), unknown, get(3, (20, 30), Some(1)), get(4, (40, 50), Some(99))];
        assert_eq!(verdict(&history), Verdict::Linearizable);
    }

    #[test]
    fn many_concurrent_operations_are_searched_with_memory() {
        let mut history: Vec<Operation> = Vec::new();
        for round in 0..40u64 {
            for client in 0..8u64 {
                let at = round * 100 + client;
                let mut write = put(1 + round * 8 + client, (at, at + 90), None);
                write.outcome = Outcome::Unknown;
                write.id = 99;
                write.call = Call::Put { key: 1, value: 1 + round * 8 + client };
                history.push(write);
            }
            history.push(get(0, (round * 100 + 95, round * 100 + 99), Some(1 + round * 8 + 3)));
        }
        assert_ne!(verdict(&history), Verdict::NotLinearizable(1));
    }
}

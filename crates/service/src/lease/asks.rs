//! What the clients of one member ask of leases, until the leader has answered.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::Instant;

use super::word::{QUESTIONS_MAX, Word};
use super::{ASK_AGAIN, Question, Remaining};

/// The questions of one member's clients. A request is the caller's own number for a client that waits.
///
/// Questions that gather while the caller is busy go out together, and the same question of several clients once. A question that is not answered in
/// time, or whose leader is lost, is asked again: asking twice does no harm, since a lease is only ever kept alive for longer than was asked.
#[derive(Debug)]
pub struct Asks {
    number: u64,
    /// Not asked yet.
    new: BTreeMap<Question, Vec<u64>>,
    /// Under way, by number.
    asked: BTreeMap<u64, Asked>,
    /// The same, by when to ask again.
    again: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Asked {
    again_at: Instant,
    waiting: BTreeMap<Question, Vec<u64>>,
}

impl Asks {
    /// None yet. `life` tells this life of the process from those before: their answers may still be on the way.
    #[must_use]
    pub fn new(life: u64) -> Asks {
        Asks { number: life << 32, new: BTreeMap::new(), asked: BTreeMap::new(), again: BTreeSet::new() }
    }

    /// A client asks.
    pub fn ask(&mut self, question: Question, request: u64) {
        self.new.entry(question).or_default().push(request);
    }

    /// The words to be said now to whoever leads.
    pub fn words(&mut self, now: Instant) -> Vec<Word> {
        while let Some((at, number)) = self.again.first().copied().filter(|(at, _)| *at <= now) {
            self.again.remove(&(at, number));
            self.repeat(number);
        }
        let mut words = Vec::new();
        while !self.new.is_empty() {
            let later = self.new.keys().nth(QUESTIONS_MAX).copied();
            let later = later.map(|question| self.new.split_off(&question)).unwrap_or_default();
            let waiting = std::mem::replace(&mut self.new, later);
            self.number += 1;
            let again_at = now + ASK_AGAIN;
            words.push(Word::Ask { number: self.number, questions: waiting.keys().copied().collect() });
            self.again.insert((again_at, self.number));
            self.asked.insert(self.number, Asked { again_at, waiting });
        }
        words
    }

    /// Another leads, or nobody any more: whatever was asked is asked again.
    pub fn leader_changed(&mut self) {
        self.again.clear();
        let asked: Vec<u64> = self.asked.keys().copied().collect();
        asked.into_iter().for_each(|number| self.repeat(number));
    }

    /// An answer came; the requests that it is for.
    pub fn told(&mut self, number: u64, answers: Vec<(Question, Remaining)>) -> Vec<(u64, Remaining)> {
        let mut told = Vec::new();
        let Some(asked) = self.asked.get_mut(&number) else { return told };
        for (question, remaining) in answers {
            let requests = asked.waiting.remove(&question).unwrap_or_default();
            told.extend(requests.into_iter().map(|request| (request, remaining)));
        }
        if asked.waiting.is_empty() {
            self.again.remove(&(asked.again_at, number));
            self.asked.remove(&number);
        }
        told
    }

    /// Nobody waits for this request any more.
    pub fn forget(&mut self, request: u64) {
        let drop_from = |waiting: &mut BTreeMap<Question, Vec<u64>>| {
            waiting.retain(|_, requests| {
                requests.retain(|waiting| *waiting != request);
                !requests.is_empty()
            });
        };
        drop_from(&mut self.new);
        self.asked.values_mut().for_each(|asked| drop_from(&mut asked.waiting));
        let done: Vec<u64> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.waiting.is_empty())
            .map(|(number, _)| *number)
            .collect();
        for number in done {
            if let Some(asked) = self.asked.remove(&number) {
                self.again.remove(&(asked.again_at, number));
            }
        }
    }

    /// When [`Asks::words`] has something to say next, if nobody asks before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.again.first().map(|(at, _)| *at)
    }

    fn repeat(&mut self, number: u64) {
        let Some(asked) = self.asked.remove(&number) else { return };
        for (question, requests) in asked.waiting {
            self.new.entry(question).or_default().extend(requests);
        }
    }
}

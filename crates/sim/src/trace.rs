//! The trace of a run: a rolling hash over everything that happened, and, if wanted, the events in words.

use std::{collections::VecDeque, hash::Hasher};

use quorate_consensus::Fingerprint;

use crate::{film::Recorder, schedule::Time};

const LINES_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: Fingerprint,
    pub(crate) events: u64,
    wanted: bool,
    lines: VecDeque<String>,
    /// The film, if one is being made.
    pub(crate) film: Option<Box<Recorder>>,
}

impl Trace {
    pub(crate) fn new(wanted: bool) -> Trace {
        Trace { wanted, ..Trace::default() }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// An event, as numbers.
    pub(crate) fn event(&mut self, now: Time, kind: u64, host: u64, detail: u64) {
        self.events += 1;
        for word in [now, kind, host, detail] {
            self.hash.write_u64(word);
        }
    }

    pub(crate) fn wanted(&self) -> bool {
        self.wanted
    }

    /// An event, in words, if words are wanted.
    pub(crate) fn say(&mut self, now: Time, words: impl FnOnce() -> String) {
        if self.wanted {
            if self.lines.len() == LINES_MAX {
                self.lines.pop_front();
            }
            self.lines.push_back(format!("{:>12.6} {}", now as f64 / 1e9, words()));
        }
    }

    /// Lets the film see something, if one is being made.
    pub(crate) fn film(&mut self, sees: impl FnOnce(&mut Recorder)) {
        if let Some(film) = &mut self.film {
            sees(film);
        }
    }

    /// Does the film keep nothing more?
    pub(crate) fn is_film_full(&self) -> bool {
        self.film.as_ref().is_some_and(|film| film.is_cut())
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines).into()
    }
}

//! A failing run with as few actions as it takes to fail.
//!
//! Delta debugging (Zeller and Hildebrandt, 2002): parts of the list are left out, larger ones first; whatever still breaks the same invariant is kept, until
//! nothing can be left out any more. The seed stays, and with it the shape of the cluster and what its clients do.

use quorate_consensus::EngineKind;

use crate::{
    faults::{Planned, actions_from_text, actions_to_text},
    plan::Shape,
    run::{Report, run_actions, shape_of, sharded_shape_of},
};

/// A failing run, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Which protocol drove the keys.
    pub engine: EngineKind,
    /// The keys are divided among shards.
    pub shards: bool,
    /// The seed.
    pub seed: u64,
    /// The invariant that was broken first.
    pub invariant: String,
    /// What was done to the cluster.
    pub actions: Vec<Planned>,
}

impl Found {
    /// What a report found; none, if it is clean.
    #[must_use]
    pub fn of(report: &Report) -> Option<Found> {
        let first = report.violations.first()?;
        Some(Found {
            engine: report.shape.engine,
            shards: report.shape.shards.is_some(),
            seed: report.seed,
            invariant: first.id.to_owned(),
            actions: report.actions.clone(),
        })
    }

    fn shape(&self) -> Shape {
        if self.shards {
            sharded_shape_of(self.engine, self.seed)
        } else {
            Shape { engine: self.engine, ..shape_of(self.seed) }
        }
    }

    /// Runs it.
    #[must_use]
    pub fn run(&self, trace: bool) -> Report {
        run_actions(self.seed, self.shape(), self.actions.clone(), trace)
    }

    /// Does this list of actions still break the same invariant first?
    fn fails_with(&self, actions: &[Planned]) -> bool {
        let report = run_actions(self.seed, self.shape(), actions.to_vec(), false);
        report.violations.first().is_some_and(|first| first.id == self.invariant)
    }

    /// Leaves out what it fails without. `told` hears how many actions are left, each time that some are less.
    pub fn shrink(&mut self, told: &mut dyn FnMut(usize)) {
        let mut parts = 2;
        while parts <= self.actions.len() {
            let size = self.actions.len().div_ceil(parts);
            let without = (0..parts).map(|part| {
                let (from, to) = (part * size, ((part + 1) * size).min(self.actions.len()));
                let rest = self.actions.iter().enumerate().filter(|(at, _)| !(from..to).contains(at));
                rest.map(|(_, action)| *action).collect::<Vec<_>>()
            });
            match without.filter(|rest| rest.len() < self.actions.len()).find(|rest| self.fails_with(rest)) {
                Some(rest) => {
                    self.actions = rest;
                    told(self.actions.len());
                    parts = (parts - 1).max(2);
                }
                None if size == 1 => break,
                None => parts = (parts * 2).min(self.actions.len()),
            }
        }
        if self.actions.len() == 1 && self.fails_with(&[]) {
            self.actions.clear();
        }
    }

    /// As a file: a line that says what it is, then the actions.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Found { engine, shards, seed, invariant, actions } = self;
        let shards = if *shards { " shards" } else { "" };
        format!("engine {engine}{shards} seed {seed} broke {invariant}\n{}", actions_to_text(actions))
    }

    /// Reads what [`Found::to_text`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_text(text: &str) -> Result<Found, String> {
        let (first, actions) = text.split_once('\n').ok_or("it has no second line")?;
        let words: Vec<&str> = first.split(' ').collect();
        let (engine, shards, seed, invariant) = match words[..] {
            ["engine", engine, "seed", seed, "broke", invariant] => (engine, false, seed, invariant),
            ["engine", engine, "shards", "seed", seed, "broke", invariant] => (engine, true, seed, invariant),
            _ => return Err(format!("the first line is not \"engine E seed S broke I\": {first:?}")),
        };
        let engine = match engine {
            "raft" => EngineKind::Raft,
            "zab" => EngineKind::Zab,
            other => return Err(format!("{other:?} is no engine")),
        };
        let seed = seed.parse().map_err(|_| format!("{seed:?} is no seed"))?;
        Ok(Found {
            engine,
            shards,
            seed,
            invariant: invariant.to_owned(),
            actions: actions_from_text(actions)?,
        })
    }
}

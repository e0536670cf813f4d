//! Many seeds: what failed, how to see it again, and what was reached on the way.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    sync::mpsc,
};

use quorate_consensus::EngineKind;

use crate::{
    invariants::Violation,
    marks::{Marks, Pairs},
    run::{Report, canary, run_seed, run_sharded_seed},
    schedule::SECONDS,
};

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many seeds.
    pub seeds: u64,
    /// The first of them; the others follow.
    pub first_seed: u64,
    /// Which engine drives the keys; the records have Raft.
    pub engine: EngineKind,
    /// The keys are divided among shards, before the run or in it.
    pub shards: bool,
    /// A bug to plant, in builds that can.
    pub plant: Option<String>,
    /// Keep the events of failing seeds in words.
    pub trace: bool,
    /// Fail if anything that should be reached never was.
    pub require_all: bool,
    /// Run each seed twice, and fail if the two differ (I23).
    pub twice: bool,
    /// Seeds at a time; zero counts as one.
    pub jobs: usize,
}

/// Told after each seed.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Seeds run so far.
    pub done: u64,
    /// Of so many.
    pub seeds: u64,
    /// The seed that has just ended.
    pub report: &'a Report,
}

/// What a campaign came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// What was run.
    pub options: Options,
    /// Seeds run.
    pub seeds: u64,
    /// The reports of seeds that failed.
    pub failures: Vec<Report>,
    /// What was reached, over all seeds.
    pub marks: Marks,
    /// Which faults were reached in one run, over all seeds.
    pub pairs: Pairs,
    /// The run that must fail did not: nobody looks.
    pub canary_lives: bool,
    /// Nanoseconds of virtual time, over all seeds.
    pub simulated: u64,
    /// Client operations, over all seeds.
    pub operations: u64,
    /// Events, over all seeds.
    pub events: u64,
    /// A hash over the trace hashes in the order of seeds: equal for equal campaigns, whatever the number of jobs.
    pub hash: u64,
    /// Seeds with fewer than 200 operations, 5 faults, or 30 seconds.
    pub thin: u64,
}

impl Summary {
    /// Did every seed pass, and, if that was asked, was everything reached?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
            && !self.canary_lives
            && (!self.options.require_all || self.missing().is_empty())
    }
}

/// Of any two kinds of fault, so many seeds must have both.
const PAIRS_FROM_SEEDS: u64 = 20_000;

impl Summary {
    /// What was never reached, and, in a campaign that is long enough, which faults never met.
    fn missing(&self) -> Vec<String> {
        let marks = self
            .marks
            .missing(self.options.engine, self.options.shards)
            .into_iter()
            .map(|mark| mark.name().to_owned());
        let pairs = (self.seeds >= PAIRS_FROM_SEEDS).then(|| self.pairs.missing()).into_iter().flatten();
        let pairs = pairs.map(|(one, other)| format!("{} and {} in one run", one.name(), other.name()));
        marks.chain(pairs).collect()
    }
}

/// The command that runs one seed again, in words.
#[must_use]
pub fn replay_command(options: &Options, seed: u64) -> String {
    let plant = options.plant.as_ref().map(|id| format!(" --plant {id}")).unwrap_or_default();
    let shards = if options.shards { " --shards" } else { "" };
    format!("quorate sim --engine {}{shards} --seeds 1 --first-seed {seed}{plant} --trace", options.engine)
}

/// Runs all seeds, several at a time.
pub fn campaign(options: &Options, progress: &mut dyn FnMut(&Progress<'_>)) -> Summary {
    let canary_lives = canary(options.engine).violations.is_empty();
    let mut summary = Summary { options: options.clone(), canary_lives, ..Summary::default() };
    let next = AtomicU64::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut hashes: Vec<(u64, u64)> = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.seeds {
                        break;
                    }
                    if sender.send(run_one(options, options.first_seed + number)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for report in receiver {
            summary.seeds += 1;
            progress(&Progress { done: summary.seeds, seeds: options.seeds, report: &report });
            hashes.push((report.seed, report.trace_hash));
            summary.add(report);
        }
    });
    hashes.sort_unstable();
    summary.hash = quorate_consensus::fingerprint_of(&hashes);
    summary.failures.sort_by_key(|report| report.seed);
    summary
}

fn run_one(options: &Options, seed: u64) -> Report {
    plant(options.plant.as_deref());
    let run = if options.shards { run_sharded_seed } else { run_seed };
    let mut report = run(options.engine, seed, options.trace);
    if options.twice {
        plant(options.plant.as_deref());
        // The second time in words: to look closely must not change what happens.
        let again = run(options.engine, seed, true);
        report.violations.extend(differs(&report, &again));
    }
    report
}

/// I23: the same seed is the same run.
fn differs(one: &Report, again: &Report) -> Option<Violation> {
    let same = (one.trace_hash, one.events) == (again.trace_hash, again.events);
    let what = format!("{:016x} the first time, {:016x} the second", one.trace_hash, again.trace_hash);
    (!same).then_some(Violation { id: "I23", at: one.simulated, host: None, what })
}

#[cfg(feature = "planted-bugs")]
fn plant(id: Option<&str>) {
    quorate_consensus::activate_plant(id.unwrap_or(""));
}

#[cfg(not(feature = "planted-bugs"))]
fn plant(_id: Option<&str>) {}

impl Summary {
    fn add(&mut self, report: Report) {
        self.marks.join(&report.marks);
        self.pairs.add(&report.marks);
        self.simulated += report.simulated;
        self.operations += report.operations;
        self.events += report.events;
        let thin = report.operations < 200 || report.marks.faults() < 5 || report.simulated < 30 * SECONDS;
        if report.violations.is_empty() {
            self.thin += u64::from(thin);
        } else {
            self.failures.push(report);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.options.first_seed + self.options.seeds.saturating_sub(1);
        writeln!(
            f,
            "engine {}{}, seeds {} to {last}: {} run, {} failed",
            self.options.engine,
            if self.options.shards { ", divided keys" } else { "" },
            self.options.first_seed,
            self.seeds,
            self.failures.len()
        )?;
        writeln!(
            f,
            "{} s of virtual time, {} client operations, {} events, {} faults; campaign hash {:016x}; {} thin seeds",
            self.simulated / SECONDS,
            self.operations,
            self.events,
            self.marks.faults(),
            self.hash,
            self.thin
        )?;
        write!(f, "{}", self.marks)?;
        let (pairs, least) = self.pairs.counted();
        writeln!(f, "{:>12}  pairs of faults in one run, each at least {least} times", pairs)?;
        if self.canary_lives {
            writeln!(f, "the run that must fail was found clean: nothing here is to be believed")?;
        }
        for what in self.missing() {
            writeln!(f, "never reached: {what}")?;
        }
        for report in &self.failures {
            writeln!(
                f,
                "seed {} failed; to see it: {}",
                report.seed,
                replay_command(&self.options, report.seed)
            )?;
            for violation in report.violations.iter().take(4) {
                let host = violation.host.map(|host| format!(" host {host}")).unwrap_or_default();
                writeln!(
                    f,
                    "  {} at {:.6} s{host}: {}",
                    violation.id,
                    violation.at as f64 / 1e9,
                    violation.what
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_that_must_fail_does_and_a_campaign_in_which_it_does_not_is_not_clean() {
        for engine in [EngineKind::Raft, EngineKind::Zab] {
            assert_eq!(canary(engine).violations.first().map(|violation| violation.id), Some("I10"));
        }
        let clean = Summary::default();
        assert!(clean.is_clean());
        assert!(!Summary { canary_lives: true, ..clean }.is_clean());
    }

    #[test]
    fn i23_a_run_that_is_not_the_same_twice_is_found() {
        let options = Options { twice: true, ..Options::default() };
        let (one, other) = (run_seed(options.engine, 3, false), run_seed(options.engine, 4, false));
        assert_eq!(differs(&one, &one), None);
        assert_eq!(differs(&one, &other).map(|violation| violation.id), Some("I23"));
        assert!(run_one(&options, 3).violations.is_empty());
    }
}

//! A segment: a storm while clients work, then calm, then verdicts. What fails is kept, with all that is needed to understand it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    machine::Machine,
    nodes::{Kind, Nodes},
    plan::{self, Fault, Plan},
    random::Mixer,
    shim::Counted,
    storm::{Done, SERVE_WITHIN, Storm},
    workloads::{Context, Histories, Load},
};
use crate::Fallible;

/// Where what failed is kept.
const KEPT: &str = "target/torture-failures";

/// What came together in a run.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    segments: u64,
    faults: Done,
    seen: BTreeMap<&'static str, u64>,
    recovery_max: Duration,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |of: &BTreeMap<&str, u64>| {
            of.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        write!(
            f,
            "{} segments; faults: {}; seen: {}; all served within {:.1?} after each storm",
            self.segments,
            list(&self.faults),
            list(&self.seen),
            self.recovery_max
        )
    }
}

/// A cluster and its storms.
pub(crate) struct Campaign<'a> {
    folder: &'a Path,
    machine: &'a Machine,
    nodes: Nodes,
    faults: BTreeSet<Fault>,
    seed: u64,
    pub(crate) totals: Totals,
    /// What a history was found to be wrong with, when a segment failed for that.
    pub(crate) verdict: Option<String>,
}

impl<'a> Campaign<'a> {
    /// Starts the servers, and waits until all serve.
    pub(crate) fn start(
        folder: &'a Path,
        machine: &'a Machine,
        kind: Kind,
        founders: usize,
        faults: BTreeSet<Fault>,
        seed: u64,
    ) -> Fallible<Campaign<'a>> {
        let spare = usize::from(faults.contains(&Fault::Member));
        println!(
            "torture: {}, seed {seed}, {founders} servers{}{}",
            kind.engine,
            if spare > 0 { " and a place for one more" } else { "" },
            if kind.lease_reads { ", reads by lease" } else { "" }
        );
        let mut nodes = Nodes::new(machine, folder, founders, spare, kind, seed)?;
        for place in 0..founders {
            nodes.start(place, machine)?;
        }
        nodes.wait_until_all_serve(SERVE_WITHIN)?;
        Ok(Campaign { folder, machine, nodes, faults, seed, totals: Totals::default(), verdict: None })
    }

    /// One more segment, drawn.
    pub(crate) fn segment(&mut self, length: Duration) -> Fallible<()> {
        let plan = plan::draw(self.segment_seed(), &self.faults, self.nodes.founders, length);
        self.segment_of(&plan, length)
    }

    fn segment_seed(&self) -> u64 {
        self.seed.wrapping_add(self.totals.segments.wrapping_mul(0x1_0001))
    }

    /// One more segment, of this plan.
    pub(crate) fn segment_of(&mut self, plan: &Plan, length: Duration) -> Fallible<()> {
        let (number, seed) = (self.totals.segments, self.segment_seed());
        let begun = Instant::now();
        let context = Context::new(self.nodes.clients(), self.nodes.zookeepers(), number, seed);
        let load = Load::start(context)?;
        let before = self.nodes.network.as_ref().map(|network| network.switch.counts());
        let mut storm = Storm::new(&mut self.nodes, self.machine);
        let mut histories = Histories::default();
        let outcome = match storm.run(plan, length).and_then(|took| {
            calm(&mut storm, plan, seed)?;
            Ok(took)
        }) {
            Ok(took) => load.stop().and_then(|seen| {
                storm.look()?;
                histories = seen;
                let checked = histories.check().inspect_err(|wrong| self.verdict = Some(wrong.clone()))?;
                Ok((took, checked))
            }),
            Err(error) => {
                histories = load.stop().unwrap_or_default();
                Err(error)
            }
        };
        let (done, journal) = (std::mem::take(&mut storm.done), std::mem::take(&mut storm.journal));
        match outcome {
            Ok((took, seen)) => {
                self.totals.segments += 1;
                self.totals.recovery_max = self.totals.recovery_max.max(took);
                let faults = list(done.iter().map(|(name, count)| (*name, *count)));
                let line = list(seen.iter().map(|(name, count)| (*name, *count as u64)));
                for (name, count) in done {
                    *self.totals.faults.entry(name).or_default() += count;
                }
                for (name, count) in seen {
                    *self.totals.seen.entry(name).or_default() += count as u64;
                }
                println!(
                    "torture: {} segment {number} ({:.0?}): faults: {faults}; {line}{}; served {took:.1?} after the storm",
                    self.nodes.kind.engine,
                    begun.elapsed(),
                    self.packets(before),
                );
                Ok(())
            }
            Err(error) => {
                let kept = self.keep(number, plan, &journal, &histories, &error.to_string());
                let place = kept.map_or_else(
                    |why| format!("nothing could be kept: {why}"),
                    |at| format!("histories, logs and what was done are in {}", at.display()),
                );
                Err(format!(
                    "{} seed {}, segment {number}: {error}\n{place}\nagain: cargo xtask torture --engine {} --seed {} --minutes {}",
                    self.nodes.kind.engine,
                    self.seed,
                    self.nodes.kind.engine,
                    self.seed,
                    number + 1,
                )
                .into())
            }
        }
    }

    /// What the switch and the shim did.
    fn packets(&self, before: Option<super::switch::Counts>) -> String {
        let mut text = String::new();
        if let (Some(network), Some(before)) = (&self.nodes.network, before) {
            let now = network.switch.counts();
            text.push_str(&format!(
                "; packets: {} passed, {} cut off, {} lost, {} doubled, {} overtaken",
                now.passed - before.passed,
                now.cut - before.cut,
                now.lost - before.lost,
                now.doubled - before.doubled,
                now.overtaken - before.overtaken
            ));
        }
        let counted = self.nodes.all.iter().filter_map(|node| node.control.as_ref()?.counted().ok());
        let all: Vec<Counted> = counted.collect();
        let sum = |of: fn(&Counted) -> i64| all.iter().map(of).sum::<i64>();
        text.push_str(&format!(
            "; so far {} wrong times told, and of {} syncs {} failed and {} hung",
            sum(|counted| counted.wrong_times),
            sum(|counted| counted.syncs),
            sum(|counted| counted.failed),
            sum(|counted| counted.hung)
        ));
        text
    }

    fn keep(
        &self,
        number: u64,
        plan: &Plan,
        journal: &[String],
        histories: &Histories,
        error: &str,
    ) -> Fallible<PathBuf> {
        let folder = Path::new(KEPT).join(format!("{}-{}-{number}", self.nodes.kind.engine, self.seed));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
        let text = format!("{error}\n\nPlan:\n{}\n\nDone:\n{}\n", steps.join("\n"), journal.join("\n"));
        fs::write(folder.join("story.txt"), text)?;
        fs::write(folder.join("histories.txt"), format!("{histories:#?}\n"))?;
        for entry in fs::read_dir(self.folder)?.flatten() {
            if entry.path().extension().is_some_and(|kind| kind == "log") {
                fs::copy(entry.path(), folder.join(entry.file_name()))?;
            }
        }
        Ok(folder)
    }
}

fn list<'n>(of: impl Iterator<Item = (&'n str, u64)>) -> String {
    of.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// When all is healed: one member is stopped, its files are damaged, and it is started again. It serves, and then what it serves is right; or it refuses,
/// says why, and another takes its place.
fn calm(storm: &mut Storm<'_>, plan: &Plan, seed: u64) -> Fallible<()> {
    let Some((place, harm)) = plan.damage else { return Ok(()) };
    storm.damage(place, harm, &mut Mixer(seed ^ 0xdada))
}

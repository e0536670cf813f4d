//! A cluster that was founded without the tree, and gets it while it runs: under whatever storm there is just then, and struck once more in the very moment.
//!
//! Its hosts are upgraded one by one. Until then a host says nothing of the tree, as an older build would; the tree must wait for the last of them.

use quorate_service::TREE;

use super::{Happening, Zoo};
use crate::{
    faults::{Action, Who},
    marks::Mark,
    schedule::{MILLIS, SECONDS},
    world::{Event, World},
};

impl World {
    fn is_late(&self) -> bool {
        self.shape.tree.as_ref().is_some_and(|tree| tree.late)
    }

    /// When the hosts are upgraded.
    pub(crate) fn schedule_words(&mut self) {
        if !self.is_late() {
            return;
        }
        self.with_zoo(|world, zoo| {
            let soon = zoo.random.between(SECONDS, 8 * SECONDS);
            for host in 0..world.hosts.len() {
                let at = 500 * MILLIS + zoo.random.below(soon);
                world.schedule.at(at, Event::Zoo(Happening::Word { host }));
            }
        });
    }

    /// A host says that it is ready, as long as its own records have no tree. Not every one wants it; in the end all do.
    pub(super) fn says_word(&mut self, zoo: &mut Zoo, host: usize) {
        let again = self.now() + zoo.random.between(80, 250) * MILLIS;
        self.schedule.at(again, Event::Zoo(Happening::Word { host }));
        let engine = self.shape.tree.as_ref().map(|tree| tree.engine).filter(|_| zoo.random.chance(3, 4));
        let wants = self.faults_over || host.is_multiple_of(2);
        let process = self.hosts[host].process.as_ref();
        if process.is_some_and(|process| process.half.state.tree().is_none()) {
            self.input(host, quorate_service::tree_word(engine, wants));
        }
    }

    /// Has the log of the records just brought the tree? Then who has heard of it and who has not are struck.
    pub(crate) fn welcome_tree(&mut self) {
        if !self.is_late() || !self.checker.is_born_now(TREE) {
            return;
        }
        let now = self.now();
        self.marks.hit(Mark::TreeAdded);
        self.trace.say(now, || "──── the records have the tree".to_owned());
        if self.faults_over {
            return;
        }
        self.with_zoo(|world, zoo| {
            let (random, hosts) = (&mut zoo.random, world.hosts.len() as u64);
            let mut strikes = Vec::new();
            if random.chance(1, 2) {
                let action = Action::Split { mask: random.below(1 << hosts) };
                strikes.push((random.below(3 * MILLIS), action));
                strikes.push((random.between(100, 2_000) * MILLIS, Action::Heal {}));
            }
            for _ in 0..random.below(3) {
                let (who, down_ms) = (Who::Host(random.below(hosts)), random.between(1, 1_500));
                strikes.push((random.below(4 * MILLIS), Action::Crash { who, down_ms }));
            }
            if random.chance(1, 2) {
                let (host, new) = (random.below(hosts), random.below(hosts));
                let action = match random.below(4) {
                    0 => Action::AddLearner { host },
                    1 => Action::AddVoter { host },
                    2 => Action::Remove { who: Who::Host(host) },
                    _ => Action::Replace { old: host, new },
                };
                strikes.push((random.below(6 * MILLIS), action));
            }
            if !strikes.is_empty() {
                world.marks.hit(Mark::TreeAddedAndStruck);
            }
            for (after, action) in strikes {
                world.schedule.at(now + after, Event::Zoo(Happening::Strike { action }));
            }
        });
    }

    /// A host whose state half knows of the tree, and whose core has yet to open it, may crash in between.
    pub(crate) fn strike_before_opening(&mut self, host: usize) {
        let Some(process) = self.hosts[host].process.as_ref().filter(|_| self.is_late()) else { return };
        if process.half.state.tree().is_none() || process.node.status(TREE).is_some() || self.faults_over {
            return;
        }
        self.with_zoo(|world, zoo| {
            if zoo.random.chance(1, 4) {
                world.marks.hit(Mark::TreeLearnedAndCrashed);
                world.crash(host, zoo.random.between(1, 800), true);
            }
        });
    }

    /// I20: a healed cluster all of whose members are ready has got its tree.
    pub(crate) fn judge_addition(&mut self) {
        let records = self.checker.records();
        let ready = |host: &crate::host::Host| host.runs() && !host.is_lost();
        let all = records.members().keys().all(|id| {
            self.hosts
                .iter()
                .enumerate()
                .any(|(place, host)| host.id == *id && ready(host) && self.outcast != Some(place))
                && self.apart.is_empty()
        });
        if self.is_late() && all && !records.groups().contains_key(&TREE) {
            self.checker.fail(
                "I20",
                None,
                "every member was ready for the tree, and it was not added".to_owned(),
            );
        }
    }
}

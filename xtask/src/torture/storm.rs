//! Carries out a plan: begins each step when its moment comes, takes it back when its time is over, and looks all the while whether a server has
//! ended that had no reason to.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use super::{
    machine::Machine,
    membership,
    nodes::Nodes,
    plan::{Action, Cut, Fault, Harm, Plan, Step},
    random::Mixer,
    switch::Link,
};
use crate::{Fallible, client};

/// Longer than any disk is full.
const FULL_MAX: Duration = Duration::from_secs(3600);
/// A server that began while its disk was full may end a little later.
const GRACE: Duration = Duration::from_secs(3);
/// A rest in which all members come to have the same.
const SETTLE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(10);
/// A server whose sync has failed ends within this, on a busy machine.
const END_WITHIN: Duration = Duration::from_secs(10);
/// After everything is healed, every member serves within this, on a busy machine.
pub(crate) const SERVE_WITHIN: Duration = Duration::from_secs(30);

/// What was done, how often.
pub(crate) type Done = BTreeMap<&'static str, u64>;

/// A storm under way.
pub(crate) struct Storm<'a> {
    pub(crate) nodes: &'a mut Nodes,
    pub(crate) machine: &'a Machine,
    pub(crate) done: Done,
    /// What happened, in order, for whoever has to understand a failure.
    pub(crate) journal: Vec<String>,
    begun: Instant,
    changes: Option<membership::Changing>,
}

impl<'a> Storm<'a> {
    pub(crate) fn new(nodes: &'a mut Nodes, machine: &'a Machine) -> Storm<'a> {
        Storm { nodes, machine, done: Done::new(), journal: Vec::new(), begun: Instant::now(), changes: None }
    }

    pub(crate) fn note(&mut self, what: impl std::fmt::Display) {
        self.journal.push(format!("{:>7.2} s  {what}", self.begun.elapsed().as_secs_f64()));
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.done.entry(fault.name()).or_default() += 1;
    }

    /// Everything of the plan, then heals; says how long it took until every member served.
    pub(crate) fn run(&mut self, plan: &Plan, length: Duration) -> Fallible<Duration> {
        let mut steps = plan.steps.iter().cloned().peekable();
        let mut under_way: Vec<(Instant, Step)> = Vec::new();
        while self.begun.elapsed() < length {
            while let Some(step) = steps.next_if(|step| step.at <= self.begun.elapsed()) {
                self.note(format!("begins: {step}"));
                self.count(step.action.fault());
                self.begin(&step.action)?;
                under_way.push((Instant::now() + step.lasts, step));
            }
            let now = Instant::now();
            let (over, rest) = under_way.into_iter().partition(|(end, _)| *end <= now);
            under_way = rest;
            for (_, step) in over {
                self.note(format!("ends: {:?}", step.action));
                self.end(&step.action)?;
            }
            self.look()?;
            thread::sleep(TICK);
        }
        self.heal()
    }

    fn begin(&mut self, action: &Action) -> Fallible<()> {
        match action {
            Action::Kill(places) => places.iter().for_each(|place| self.nodes.all[*place].kill()),
            Action::Pause(places) => places.iter().for_each(|place| self.nodes.all[*place].pause(true)),
            Action::Rolling(first) => {
                let founders = self.nodes.taken();
                for turn in 0..founders.len() {
                    let place = founders[(first + turn) % founders.len()];
                    self.nodes.all[place].kill();
                    self.nodes.start(place, self.machine)?;
                    thread::sleep(Duration::from_millis(150));
                }
            }
            Action::Partition(cut) => self.cut(cut, true),
            Action::Degrade { place, delay_ms, lost, doubled, overtaken } => {
                let (delay_us, jitter_us) = (delay_ms * 1_000, delay_ms * 500);
                let (lost, doubled, overtaken) = (*lost, *doubled, *overtaken);
                self.around(*place, |link| Link { delay_us, jitter_us, lost, doubled, overtaken, ..link });
            }
            Action::Rate { place, kilobytes_per_second } => {
                let bytes_per_second = kilobytes_per_second * 1_000;
                self.around(*place, |link| Link { bytes_per_second, ..link });
            }
            Action::Clock { place, offset_seconds } => {
                if let Some(control) = &self.nodes.all[*place].control {
                    control.set_clock(*offset_seconds)?;
                }
            }
            Action::FullDisk(place) => {
                let node = &mut self.nodes.all[*place];
                if node.disk.is_own() {
                    node.full_until = Some(Instant::now() + FULL_MAX);
                    node.disk.fill();
                }
            }
            Action::FailSync(place) => {
                if let Some(control) = &self.nodes.all[*place].control {
                    control.fail_syncs(1)?;
                }
            }
            Action::HangSync { place, milliseconds } => {
                if let Some(control) = &self.nodes.all[*place].control {
                    control.hang_sync(i64::try_from(*milliseconds)?)?;
                }
            }
            Action::Power(places) => self.lose_power(places)?,
            Action::Transfer(place) => {
                membership::transfer(self.nodes, *place);
                // Keys that are divided are divided otherwise, while leaders change.
                if self.nodes.kind.shards > 1 {
                    let hash = Mixer(self.begun.elapsed().as_micros() as u64).below(u64::MAX);
                    membership::split_or_merge(&self.nodes.settled(), hash);
                }
            }
            Action::Member(change) => {
                if self.changes.is_none() {
                    self.changes = membership::Changing::begin(self.nodes, *change)?;
                }
            }
        }
        Ok(())
    }

    fn lose_power(&mut self, places: &[usize]) -> Fallible<()> {
        for place in places {
            self.nodes.all[*place].powerless = true;
            self.nodes.all[*place].disk.lose_power()?;
        }
        for place in places {
            self.nodes.all[*place].kill();
        }
        Ok(())
    }

    fn end(&mut self, action: &Action) -> Fallible<()> {
        match action {
            Action::Kill(places) => {
                for place in places {
                    self.nodes.start(*place, self.machine)?;
                }
            }
            Action::Pause(places) => places.iter().for_each(|place| self.nodes.all[*place].pause(false)),
            Action::Partition(cut) => self.cut(cut, false),
            Action::Degrade { place, .. } => self.around(*place, |link| Link {
                delay_us: 0,
                jitter_us: 0,
                lost: 0,
                doubled: 0,
                overtaken: 0,
                ..link
            }),
            Action::Rate { place, .. } => self.around(*place, |link| Link { bytes_per_second: 0, ..link }),
            Action::Clock { place, .. } => {
                if let Some(control) = &self.nodes.all[*place].control {
                    control.set_clock(0)?;
                }
            }
            Action::FullDisk(place) => {
                let node = &mut self.nodes.all[*place];
                node.disk.empty_ballast();
                node.full_until = node.full_until.map(|_| Instant::now() + GRACE);
                self.up(*place)?;
            }
            Action::FailSync(place) => self.after_failed_sync(*place)?,
            Action::Power(places) => {
                for place in places {
                    self.restore_power(*place)?;
                    self.up(*place)?;
                }
            }
            Action::Rolling(_) | Action::HangSync { .. } | Action::Transfer(_) | Action::Member(_) => {}
        }
        Ok(())
    }

    /// fsync that failed once and succeeds later has lost what it was to keep: a server that goes on would trust it. So it has ended; another start is
    /// the operator's.
    fn after_failed_sync(&mut self, place: usize) -> Fallible<()> {
        let node = &mut self.nodes.all[place];
        let Some(control) = &node.control else { return Ok(()) };
        control.fail_syncs(0)?;
        node.pause(false);
        let end = Instant::now() + END_WITHIN;
        while node.pid().is_some() && node.sync_has_failed() && node.ended().is_none() {
            if Instant::now() > end {
                let why = "goes on although a sync has failed, and may trust what is not there";
                return Err(format!("{} {why}:\n{}", node.name, node.tail(12)).into());
            }
            thread::sleep(TICK);
        }
        self.up(place)
    }

    fn restore_power(&mut self, place: usize) -> Fallible<()> {
        let node = &mut self.nodes.all[place];
        node.kill();
        node.disk.restore_power()?;
        node.powerless = false;
        Ok(())
    }

    /// It runs again, if it had ended or was ended.
    fn up(&mut self, place: usize) -> Fallible<()> {
        self.look_at(place)?;
        self.nodes.start(place, self.machine)
    }

    fn cut(&self, cut: &Cut, cut_now: bool) {
        let Some(network) = &self.nodes.network else { return };
        let half = |place: usize, bridge: usize| (place - usize::from(place > bridge)) % 2;
        let places = 0..self.nodes.all.len();
        let one = |from: usize, to: usize| network.change(from, to, |link| link.cut = cut_now);
        for from in places.clone() {
            for to in places.clone().filter(|to| *to != from) {
                let is_cut = match cut {
                    Cut::Split(side) => side.contains(&from) != side.contains(&to),
                    Cut::Deaf(place) => to == *place,
                    Cut::Mute(place) => from == *place,
                    Cut::Bridge(place) => {
                        from != *place && to != *place && half(from, *place) != half(to, *place)
                    }
                    Cut::OneWay(one, other) => (from, to) == (*one, *other),
                };
                if is_cut {
                    one(from, to);
                }
            }
        }
    }

    /// Changes all links to and from a server, those of its clients included.
    fn around(&self, place: usize, change: impl Fn(Link) -> Link) {
        let Some(network) = &self.nodes.network else { return };
        for other in (0..=network.clients()).filter(|other| *other != place) {
            network.change(place, other, |link| *link = change(*link));
            network.change(other, place, |link| *link = change(*link));
        }
    }

    /// Whoever has ended by itself had a reason; a change of the members goes on.
    pub(crate) fn look(&mut self) -> Fallible<()> {
        if let Some(mut changing) = self.changes.take()
            && !changing.step(self.nodes, self.machine)?
        {
            self.changes = Some(changing);
        }
        self.nodes.taken().into_iter().try_for_each(|place| self.look_at(place))
    }

    fn look_at(&mut self, place: usize) -> Fallible<()> {
        let node = &mut self.nodes.all[place];
        let Some(how) = node.ended() else { return Ok(()) };
        let (tail, name) = (node.tail(12), node.name.clone());
        if tail.contains("panicked at") {
            return Err(format!("{name} panicked:\n{tail}").into());
        }
        let Some(why) = node.may_end() else {
            return Err(format!("{name} ended by itself {how}, and nothing was done to it:\n{tail}").into());
        };
        self.note(format!("{name} ended {how}: {why}"));
        Ok(())
    }

    /// Takes everything back; every member serves again in time.
    pub(crate) fn heal(&mut self) -> Fallible<Duration> {
        self.note("everything is healed");
        let begun = Instant::now();
        if let Some(network) = &self.nodes.network {
            network.switch.heal();
        }
        for place in 0..self.nodes.all.len() {
            let node = &mut self.nodes.all[place];
            node.pause(false);
            node.disk.empty_ballast();
            if let Some(control) = &node.control {
                control.heal()?;
            }
            node.full_until = node.full_until.map(|_| Instant::now() + GRACE);
            if node.powerless {
                self.restore_power(place)?;
            }
            if self.nodes.all[place].taken {
                self.up(place)?;
            }
        }
        while client::leader(&self.nodes.endpoints()).is_none() {
            self.look()?;
            if begun.elapsed() > SERVE_WITHIN {
                return Err(format!("no leader {:.0?} after everything was healed", begun.elapsed()).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.changes = None;
        membership::reconcile(self)?;
        self.nodes.wait_until_all_serve(SERVE_WITHIN)?;
        let took = begun.elapsed();
        self.note(format!("every member serves, {took:.1?} later"));
        Ok(took)
    }

    /// Damages the files of one member that is stopped, while all others are well, and starts it again.
    pub(crate) fn damage(&mut self, place: usize, harm: Harm, random: &mut Mixer) -> Fallible<()> {
        // A founder may have gone; whoever is there then.
        let taken = self.nodes.taken();
        let place = if taken.contains(&place) { place } else { taken[0] };
        // What only this one and a bare quorum had is a moment later with all.
        thread::sleep(SETTLE);
        self.nodes.all[place].kill();
        thread::sleep(SETTLE);
        let name = self.nodes.all[place].name.clone();
        let Some(what) = self.nodes.all[place].disk.damage(random, harm == Harm::Cut)? else { return Ok(()) };
        self.note(format!("{name} is stopped, and {what}"));
        self.count(Fault::Damage);
        self.nodes.start(place, self.machine)?;
        let end = Instant::now() + SERVE_WITHIN;
        loop {
            let node = &mut self.nodes.all[place];
            if let Some(how) = node.ended() {
                let tail = node.tail(3);
                if tail.contains("panicked at") {
                    return Err(format!("{name} panicked over damaged data ({what}):\n{tail}").into());
                }
                self.note(format!("{name} refuses, {how}: {tail}"));
                return self.replace_damaged(place);
            }
            if client::answers(&node.client) {
                self.note(format!("{name} serves all the same"));
                return Ok(());
            }
            if Instant::now() > end {
                let tail = node.tail(12);
                return Err(format!("{name} neither serves nor ends after {what}:\n{tail}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// As the guide says: the damaged member is removed, and one with an empty disk comes.
    fn replace_damaged(&mut self, place: usize) -> Fallible<()> {
        membership::remove(self, place)?;
        membership::reconcile(self)?;
        self.nodes.wait_until_all_serve(SERVE_WITHIN).map(|_| ())
    }
}

//! How processes end, and what becomes of their hosts: power that fails, traps that spring at a moment, processes that stop by themselves.

use quorate_consensus::Role;
use quorate_node::{Fatal, FrameRefusal};

use crate::{
    faults::{Action, Who},
    film::End,
    host::Standing,
    marks::Mark,
    schedule::{MICROS, MILLIS},
    world::{Event, REVIVE_AFTER, World},
};

impl World {
    /// The host's power fails, or its process alone is killed; it starts again after `down_ms`.
    pub(crate) fn crash(&mut self, host: usize, down_ms: u64, power: bool) {
        let now = self.now();
        if self.hosts[host].process.is_some() {
            if power {
                self.checker.before_crash(host, &self.hosts, &mut self.marks);
            } else {
                self.checker.stopped(host);
            }
            self.operator.host_ended(host);
            let this = &mut self.hosts[host];
            this.process = None;
            this.trap = None;
            this.paused_until = 0;
            if power {
                let report = this.disk.crash();
                self.marks.add(Mark::UnsyncedAtCrash, u64::from(report.unsynced > 0));
                self.marks.add(Mark::TornAtCrash, report.torn as u64);
                self.marks.add(Mark::NamesLostAtCrash, report.names_lost as u64);
            } else {
                this.disk.process_ended();
            }
            self.trace.say(now, || format!("host {host} is down"));
            let how = if power { End::Crash } else { End::Kill };
            self.trace.film(|film| film.ends(now, host, how, String::new()));
        }
        let this = &mut self.hosts[host];
        if !this.starting && !this.lost && this.standing == Standing::Member {
            this.starting = true;
            let at = (now + down_ms * MILLIS + MICROS).min(self.shape.faults_end.max(now + MICROS));
            self.schedule.at(at, Event::Start { host });
        }
    }

    /// An operator who does not wait: asks each new leader at once, before it has committed anything.
    fn hurry(&mut self, host: usize) {
        let Some((wanted, until, asked)) = self.hasty else { return };
        let status = self.checker.keys().status(host);
        let (epoch, leads) = (status.epoch, status.role == Role::Leader);
        if self.faults_over || self.now() >= until || epoch <= asked || !leads {
            return;
        }
        self.hasty = Some((wanted, until, epoch));
        self.marks.hit(Mark::HastyChange);
        let member = self.checker.keys().membership().contains(self.node_id(wanted));
        self.operate(if member {
            Action::Remove { who: Who::Host(wanted) }
        } else {
            Action::AddVoter { host: wanted }
        });
    }

    /// Does the trap of a host spring?
    pub(crate) fn spring(&mut self, host: usize, moments: &[bool; 7]) {
        if moments[3] {
            self.hurry(host);
        }
        let Some(trap) = &mut self.hosts[host].trap else { return };
        if !moments.get(trap.moment as usize).copied().unwrap_or(false) || self.faults_over {
            return;
        }
        if trap.skip > 0 {
            trap.skip -= 1;
            return;
        }
        let down_ms = trap.down_ms;
        self.marks.hit(Mark::CrashAtMoment);
        self.crash(host, down_ms, true);
    }

    /// A process stopped by itself.
    pub(crate) fn fatal(&mut self, host: usize, fatal: &Fatal) {
        let now = self.now();
        let troubled = self.hosts[host].rotten;
        if let Some(process) = &mut self.hosts[host].process {
            process.stopped = true;
        }
        self.checker.stopped(host);
        let life = self.hosts[host].life;
        self.trace.film(|film| film.ends(now, host, End::Fatal, fatal.to_string()));
        match fatal {
            Fatal::Disk(_) => self.schedule.at(now + REVIVE_AFTER, Event::Revive { host, life }),
            Fatal::Damaged(why) | Fatal::Restore(why) if troubled => {
                self.marks.hit(Mark::DamageFound);
                self.trace.say(now, || format!("host {host} is lost: {why}"));
                self.lose(host);
            }
            Fatal::Damaged(why) => {
                self.checker.fail("I17", Some(host), format!("damage found where none was done: {why}"));
            }
            Fatal::Differs(group) => {
                self.checker.fail("I16", Some(host), format!("its replica of {group} was called different"));
            }
            Fatal::Engine(why) => self.checker.fail("I16", Some(host), why.clone()),
            Fatal::Restore(why) => self.checker.fail("I16", Some(host), why.clone()),
            Fatal::Refused(why) => self.refused(host, *why),
        }
    }

    /// The cluster would not have it. True of those that were removed, once every group has let them go, and of those whose disk is another.
    fn refused(&mut self, host: usize, why: FrameRefusal) {
        let id = self.hosts[host].id;
        match why {
            FrameRefusal::Removed => {
                let member = self.checker.groups().iter().any(|group| group.membership().contains(id));
                if member || !self.checker.records().is_removed(id) {
                    let what = format!("node {id} stops as removed, and was not");
                    self.checker.fail("I12", Some(host), what);
                }
                self.marks.hit(Mark::RemovedStopped);
                self.operator.host_ended(host);
                let this = &mut self.hosts[host];
                this.process = None;
                this.standing = Standing::Left;
                // Whoever watches over processes may start it once more, to the same end.
                if this.random.chance(1, 4) && !this.is_lost() {
                    this.standing = Standing::Member;
                    this.starting = true;
                    let at = self.now() + REVIVE_AFTER;
                    self.schedule.at(at, Event::Start { host });
                }
            }
            _ => {
                if self.hosts[host].reborn.is_none() {
                    let what = format!("node {id} stops with its own disk, because {why}");
                    self.checker.fail("I17", Some(host), what);
                }
                self.lose(host);
            }
        }
    }

    fn lose(&mut self, host: usize) {
        self.operator.host_ended(host);
        self.hosts[host].process = None;
        self.hosts[host].lost = true;
        self.checker.lost(host);
    }
}

//! The processes of hosts: when each half runs, and what becomes of what it says.

use quorate_consensus::{DiskRequest, EngineKind, OperationId, Role};
use quorate_node::{NodeInput, Notice, ToState};

use crate::{
    clients::Told,
    film::What,
    host::{Standing, Timer},
    marks::Mark,
    schedule::{MICROS, Time},
    shards::Show,
    world::{Event, World},
};

impl World {
    pub(crate) fn start(&mut self, host: usize) {
        let now = self.now();
        let this = &mut self.hosts[host];
        if this.process.is_some() || this.lost || matches!(this.standing, Standing::Idle | Standing::Left) {
            this.starting = false;
            return;
        }
        this.start(now, &self.shape, self.trace.film.is_some());
        let (node, life) = (this.id, this.life);
        self.trace.film(|film| film.add(now, Some(host), What::Start { node, life }));
        let this = &self.hosts[host];
        if this.life > 1 {
            self.marks.hit(Mark::Restarted);
        }
        self.start_server(host);
        self.start_front(host);
        self.trace.event(now, 2, host as u64, self.hosts[host].life);
        self.trace.say(now, || format!("host {host} starts"));
        self.wake(host, now);
    }

    /// Gives a host's core an input; it runs a moment later, with whatever else has come by then.
    pub(crate) fn input(&mut self, host: usize, input: NodeInput) {
        let now = self.now();
        let this = &mut self.hosts[host];
        let Some(process) = &mut this.process else { return };
        process.inbox.push(input);
        let after = this.random.between(1, 30) * MICROS;
        self.wake(host, now + after);
    }

    /// Lets the host's core run at `at`, if it would not run before.
    pub(crate) fn wake(&mut self, host: usize, at: Time) {
        let this = &mut self.hosts[host];
        let at = at.max(this.paused_until).max(self.schedule.now());
        if let Some(process) = &mut this.process
            && process.run_at.is_none_or(|run| at < run)
        {
            process.run_at = Some(at);
            self.schedule.set(Timer::Core.of(host), at, Event::Run { host, life: this.life, at });
        }
    }

    pub(crate) fn run(&mut self, host: usize) {
        let now = self.now();
        let this = &mut self.hosts[host];
        let Some(process) = &mut this.process else { return };
        process.run_at = None;
        if now < this.paused_until {
            return self.wake(host, now);
        }
        let local = this.clock.read(now);
        let count = process.inbox.len() as u64;
        for input in process.inbox.drain(..) {
            process.node.handle(local, input, &mut process.out);
        }
        process.node.settle(local, &mut process.out);
        let mut out = std::mem::take(&mut process.out);
        let running = process.node.is_running();
        let recovered = running && !std::mem::replace(&mut process.recovered, running);
        self.trace.event(now, 3, host as u64, count << 32 | out.frames.len() as u64);
        for input in &out.state {
            if let ToState::Entries { group, entries } = input {
                self.checker.fed(host, *group, entries);
                self.trace.film(|film| film.learn(*group, entries));
            }
        }
        for notice in &out.notices {
            if let Notice::Role { group, change } = notice
                && matches!(change.role, Role::Candidate | Role::Leader)
            {
                self.checker.stood(host, self.hosts[host].id, *group, change.epoch);
            }
        }
        self.checker.after_run(host, &self.hosts, &self.origins, &mut self.marks, &self.shape);
        let (hosts, groups, cuts) = (&self.hosts, self.shape.groups(), &self.network);
        self.trace.film(|film| {
            if recovered {
                film.add(now, Some(host), What::Runs);
            }
            film.looks(now, host, &hosts[host], groups);
            film.links(now, cuts.cuts());
        });
        self.welcome_tree();
        self.split_when_joint(host);
        let mut moments = [false; 7];
        moments[0] = !out.frames.is_empty();
        moments[1] = !out.disk.is_empty();
        moments[3] =
            running && self.checker.groups().iter().any(|group| group.status(host).role == Role::Leader);
        moments[5] = out
            .state
            .iter()
            .any(|input| matches!(input, ToState::Restore { .. } | ToState::SnapshotDue { .. }));
        let life = self.hosts[host].life;
        if recovered {
            self.trace.say(now, || format!("host {host} runs"));
        }
        for (ticket, answer) in out.answers.drain(..) {
            self.answer(host, ticket, Told::Answer(answer));
        }
        for notice in out.notices.drain(..) {
            self.notice(host, notice);
        }
        // What leaves and what is written go their ways at once; a crash in between may catch either first.
        let submit_first = self.hosts[host].random.chance(1, 2);
        if submit_first || !self.hosts[host].trap_is_at(&[0, 4]) {
            self.submit(host, &mut out.disk);
        }
        for (to, channel, bytes) in out.frames.drain(..) {
            moments[4] |= self.frame(host, to, channel, bytes);
        }
        if let Some(process) = &mut self.hosts[host].process {
            process.to_state.extend(out.state.drain(..));
        }
        self.schedule_apply(host);
        self.schedule_wake(host);
        if self.hosts[host].life == life && self.hosts[host].process.is_some() {
            self.spring(host, &moments);
        }
        if self.hosts[host].life == life && self.hosts[host].process.is_some() {
            self.submit(host, &mut out.disk);
        }
        if let Some(process) = &mut self.hosts[host].process {
            // Empty by now; what it has room for is used again.
            out.disk.clear();
            process.out = out;
        }
    }

    fn schedule_wake(&mut self, host: usize) {
        let now = self.now();
        let this = &self.hosts[host];
        let Some(process) = &this.process else { return };
        if process.stopped {
            return;
        }
        let mut at = process.node.poll_timeout().map(|local| this.clock.when(local).max(now + MICROS));
        if process.node.has_work() {
            at = Some(at.unwrap_or(Time::MAX).min(now + 20 * MICROS));
        }
        if let Some(at) = at {
            self.wake(host, at);
        }
    }

    fn submit(&mut self, host: usize, operations: &mut Vec<quorate_consensus::DiskOperation>) {
        let now = self.now();
        let this = &mut self.hosts[host];
        for operation in operations.drain(..) {
            self.trace.say(now, || {
                format!("host {host} disk {}: {}", operation.id.0, disk_words(&operation.request))
            });
            let id = operation.id.0;
            let text = || disk_words(&operation.request);
            self.trace.film(|film| film.add(now, Some(host), What::Disk { id, text: text() }));
            let (at, id) = this.disk.submit(now, operation);
            self.schedule.at(at, Event::Disk { host, life: this.life, id });
        }
    }

    pub(crate) fn disk_done(&mut self, host: usize, life: u64, id: OperationId) {
        let now = self.now();
        self.trace.event(now, 4, host as u64, id.0);
        if self.hosts[host].life != life || self.hosts[host].process.is_none() {
            return;
        }
        if let Some(completion) = self.hosts[host].disk.complete(id) {
            self.trace.say(now, || match &completion.outcome {
                Ok(_) => format!("host {host} disk {} done", id.0),
                Err(error) => format!("host {host} disk {} fails: {error}", id.0),
            });
            let error = completion.outcome.as_ref().err().map(ToString::to_string);
            self.trace.film(|film| film.add(now, Some(host), What::DiskEnds { id: id.0, error }));
            self.input(host, NodeInput::Disk(completion));
            let mut moments = [false; 7];
            moments[2] = true;
            self.spring(host, &moments);
        }
    }

    pub(crate) fn schedule_apply(&mut self, host: usize) {
        let now = self.now();
        let this = &mut self.hosts[host];
        let Some(process) = &mut this.process else { return };
        if process.apply_scheduled || process.to_state.is_empty() {
            return;
        }
        process.apply_scheduled = true;
        let mut after = this.random.between(1, 40) * MICROS;
        if now < this.slow_apply_until {
            after += this.random.below(this.slow_apply + 1);
        }
        let at = (now + after).max(this.paused_until);
        self.schedule.at(at, Event::Apply { host, life: this.life });
    }

    pub(crate) fn apply(&mut self, host: usize) {
        let now = self.now();
        let this = &mut self.hosts[host];
        let slow = now < this.slow_apply_until;
        let Some(process) = &mut this.process else { return };
        process.apply_scheduled = false;
        if now < this.paused_until {
            return self.schedule_apply(host);
        }
        let mut state_out = std::mem::take(&mut process.state_out);
        while let Some(input) = process.to_state.pop_front() {
            process.half.handle(input, &mut state_out);
            if slow {
                break;
            }
        }
        let mut after = std::mem::take(&mut process.half.after);
        if self.lies && host == 0 {
            after.iter_mut().for_each(|after| after.digest ^= 1);
        }
        let shown = std::mem::take(&mut process.half.shown);
        let life = this.life;
        let shows = shown.into_iter().map(|(revision, sums)| Show { life, revision, sums });
        self.checker.shown(host, shows.collect());
        let Some(process) = &self.hosts[host].process else { return };
        let waiting = process.to_state.len();
        self.trace.event(now, 6, host as u64, after.last().map_or(0, |after| after.digest));
        self.checker.after_apply(host, &after, &mut self.marks);
        if waiting > 20_000 {
            self.checker.fail("I22", Some(host), format!("{waiting} inputs wait for the state half"));
        }
        self.tree_news(host);
        self.keys_news(host);
        for (ticket, reply) in state_out.replies.drain(..) {
            self.answer(host, ticket, Told::Reply(reply));
        }
        for input in state_out.core.drain(..) {
            self.input(host, input);
        }
        if let Some(process) = &mut self.hosts[host].process {
            process.state_out = state_out;
        }
        self.schedule_apply(host);
        self.strike_before_opening(host);
    }

    fn notice(&mut self, host: usize, notice: Notice) {
        let now = self.now();
        self.trace.say(now, || format!("host {host}: {notice:?}"));
        self.trace.film(|film| film.notes(now, host, &notice));
        match notice {
            Notice::Recovered { notes } => {
                let cut = notes.iter().filter(|note| note.contains("torn")).count();
                self.marks.add(Mark::TornTailCut, cut as u64);
            }
            Notice::SnapshotTaken { .. } => self.marks.hit(Mark::SnapshotTaken),
            Notice::SnapshotInstalled { group, .. } => {
                self.marks.hit(Mark::SnapshotInstalled);
                if self.shape.engine_of(group) == EngineKind::Zab {
                    self.marks.hit(Mark::ZabSnapshotInstalled);
                }
            }
            Notice::DiskSpaceBack => self.marks.hit(Mark::SpaceBack),
            Notice::ProposedAgain { .. } => self.marks.hit(Mark::ProposedAgain),
            Notice::Fatal(fatal) => self.fatal(host, &fatal),
            Notice::Role { .. }
            | Notice::Membership { .. }
            | Notice::FrameRefused { .. }
            | Notice::RefusedBy { .. }
            | Notice::DiskFull
            | Notice::Reason { .. } => {}
        }
    }
}

fn disk_words(request: &DiskRequest) -> String {
    match request {
        DiskRequest::WriteAt { path, offset, pieces } => {
            format!("write {path} at {offset}, {} bytes", pieces.iter().map(bytes::Bytes::len).sum::<usize>())
        }
        other => format!("{other:?}"),
    }
}

//! Where these clients and the front ends meet the world: its one queue of events, its hosts, its faults.

use bytes::Bytes;
use prost::Message as _;
use quorate_consensus::Random;
use quorate_node::{NodeInput, Origin, Outcome, TaggedCommand, ToState};
use quorate_service::{
    KEYS, Reply,
    keyspace::{Command, KeyspaceError, Response},
    lease::Question,
    wire::etcdserverpb::{WatchRequest, WatchResponse},
};

use super::{
    Answer, Etcd, Front, Happening, Lane, Ledger, Line,
    actor::{Asked, What},
    clocks::Moment,
    front::{Answered, Doing},
};
use crate::{
    clients::Told,
    host::Timer,
    marks::Mark,
    operator::Waiter,
    schedule::{MICROS, MILLIS, SECONDS, Time},
    shards::By,
    world::{Event, World},
    zoo::Wrong,
};

/// Until a cluster that has healed is calm: as long as it has to elect.
const CALM_AFTER: Time = 7 * SECONDS / 2;

/// Faults are over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calm {
    /// When all was mended.
    pub(super) healed: Time,
    /// Since when it has been so for a while.
    pub(super) since: Time,
}

impl World {
    /// Lets `act` have the clients of the keys' watches and leases, if there are any, beside the world.
    fn with_etcd(&mut self, act: impl FnOnce(&mut World, &mut Etcd)) {
        if let Some(mut etcd) = self.etcd.take() {
            act(self, &mut etcd);
            self.etcd = Some(etcd);
        }
    }

    fn ledger(&self) -> Option<&Ledger> {
        self.checker.reference().ledger()
    }

    fn judged(&mut self, host: Option<usize>, verdict: Result<(), Wrong>) {
        if let Err(Wrong { id, what }) = verdict {
            self.checker.fail(id, host, what);
        }
    }

    /// If faults have been over for a while.
    fn calm_of_keys(&self) -> Option<Calm> {
        let healed = self.shape.faults_end;
        let since = healed + CALM_AFTER;
        (self.faults_over && self.now() >= since).then_some(Calm { healed, since })
    }

    /// A clock is about to change, or has just changed.
    pub(crate) fn note_clocks(&mut self) {
        self.with_etcd(|world, etcd| _ = etcd.clocks.read(world.now(), &world.hosts));
    }

    /// What was committed by now is looked at, and the time.
    fn moment(&mut self, etcd: &mut Etcd) -> Moment {
        let now = self.now();
        let moment = etcd.clocks.read(now, &self.hosts);
        let calm = self.calm_of_keys();
        let Some(ledger) = self.checker.reference().ledger() else { return moment };
        if etcd.revisions.back().is_none_or(|(_, revision)| *revision < ledger.revision) {
            etcd.revisions.push_back((now, ledger.revision));
            if etcd.revisions.len() > 2_000 {
                etcd.revisions.pop_front();
            }
        }
        let verdict = etcd.leases.follow(ledger, &moment, calm, &mut self.marks);
        self.judged(None, verdict);
        moment
    }

    pub(crate) fn happens_to_keys(&mut self, happening: Happening) {
        self.with_etcd(|world, etcd| match happening {
            Happening::Act { actor, turn } if etcd.actors[actor].turn == turn => world.acts(etcd, actor),
            Happening::Watch { watcher, turn } if etcd.watchers[watcher].turn == turn => {
                world.watches(etcd, watcher);
            }
            Happening::Act { .. } | Happening::Watch { .. } => {}
            Happening::Ask { actor, number } => world.asked_of_keys(etcd, actor, number),
            Happening::Answer { actor, number, answer } => world.actor_told(etcd, actor, number, *answer),
            Happening::ToHost { line, request } => world.line_to_host(etcd, line, request),
            Happening::ToWatcher { line, response } => world.line_to_watcher(etcd, line, response),
            Happening::Turn { host, life, at } => {
                let this = &world.hosts[host];
                let front = this.process.as_ref().and_then(|process| process.front.as_ref());
                if this.life == life && front.is_some_and(|front| front.turn_at == Some(at)) {
                    world.front_turns(etcd, host);
                }
            }
        });
    }

    // ── who writes and has leases ───────────────────────────────────────────────────────────────────────────────────

    fn acts(&mut self, etcd: &mut Etcd, id: usize) {
        let now = self.now();
        self.trace.event(now, 20, id as u64, etcd.actors[id].turn);
        let over = now >= self.shape.clients_end;
        if !over && let Some(what) = etcd.actors[id].next(now, now < self.quiet_until) {
            let moment = self.moment(etcd);
            let hosts = self.asked();
            let actor = &mut etcd.actors[id];
            let host = hosts[actor.random.below(hosts.len() as u64) as usize];
            if let What::Ask(Question::KeepAlive(lease)) = what {
                etcd.leases.asked(lease, now);
            }
            self.trace.say(now, || format!("actor {id} asks host {host}: {what:?}"));
            let number = actor.asks(host, what, moment);
            let delay = actor.random.between(30, 400) * MICROS;
            self.schedule.at(now + delay, Event::Etcd(Happening::Ask { actor: id, number }));
        }
        let actor = &mut etcd.actors[id];
        actor.turn += 1;
        let (turn, rest) = (actor.turn, actor.random.between(1, 25) * MILLIS);
        if now < self.shape.end {
            self.schedule.at(now + rest, Event::Etcd(Happening::Act { actor: id, turn }));
        }
    }

    /// A request reaches its host.
    fn asked_of_keys(&mut self, etcd: &mut Etcd, actor: usize, number: u64) {
        self.asked_by(etcd, (actor, number), By::Shard);
    }

    /// A shard has refused it: it goes by the order, from the same host.
    pub(crate) fn ask_keys_again(&mut self, lane: Lane) {
        if let Lane::Client { actor, number } = lane {
            self.with_etcd(|world, etcd| world.asked_by(etcd, (actor, number), By::Order));
        }
    }

    fn asked_by(&mut self, etcd: &mut Etcd, (actor, number): (usize, u64), by: By) {
        let now = self.now();
        let Some(asked) = etcd.actors[actor].pending.get_mut(&number) else { return };
        let host = asked.host;
        let this = &mut self.hosts[host];
        let (id, life, local) = (this.id, this.life, this.clock.read(now));
        let Some(process) = this.process.as_mut().filter(|process| !process.stopped) else {
            return self.answer_actor(etcd, (actor, number), Answer::Done(Told::NotReached));
        };
        match &asked.what {
            What::Do(command) => {
                let command = command.clone();
                let ticket = process.ticket(Waiter::Keys(Lane::Client { actor, number }));
                asked.origin = Some((id, life, ticket.0));
                let origin = Origin { node: id, life, ticket };
                let (group, command) = self.proposal(host, (origin, None), &command, by);
                self.input(host, NodeInput::Propose { group, ticket, command });
            }
            What::Ask(question) => {
                let question = *question;
                if let Some(front) = &mut process.front {
                    front.ask(question, (actor, number), local);
                    self.wake_front(host, now + etcd.random.between(1, 60) * MICROS);
                }
            }
        }
    }

    fn answer_actor(&mut self, etcd: &mut Etcd, (actor, number): (usize, u64), answer: Answer) {
        let at = self.now() + etcd.random.between(30, 400) * MICROS;
        let answer = Box::new(answer);
        self.schedule.at(at, Event::Etcd(Happening::Answer { actor, number, answer }));
    }

    /// An answer reaches a client.
    fn actor_told(&mut self, etcd: &mut Etcd, id: usize, number: u64, answer: Answer) {
        let now = self.now();
        self.trace.event(now, 21, id as u64, number);
        let Some(asked) = etcd.actors[id].pending.remove(&number) else { return };
        self.moment(etcd);
        match (&asked.what, answer) {
            (What::Do(command), Answer::Done(Told::Reply(Reply::Keys(Outcome::Done(response))))) => {
                self.trace.say(now, || format!("actor {id}: {command:?} came to {response:?}"));
                let verdict = self.was_right(&asked, command, &response);
                self.judged(Some(asked.host), verdict);
                etcd.actors[id].done(command, &response, now);
            }
            (What::Ask(question), Answer::Lease(Some(remaining))) => {
                self.trace.say(now, || format!("actor {id}: {question:?} came to {remaining:?}"));
                let verdict = etcd.leases.answered(*question, remaining, &asked.at, &mut self.marks);
                self.judged(Some(asked.host), verdict);
                if let Question::KeepAlive(lease) = question {
                    etcd.leases.heard(*lease, asked.at.at, now);
                }
                if remaining.is_none() {
                    etcd.actors[id].forget(question.lease());
                }
            }
            // Nobody knows.
            (What::Do(_) | What::Ask(_), Answer::Done(_) | Answer::Lease(_)) => {}
        }
    }

    /// E1, E5: is a command answered as the committed log says?
    fn was_right(&mut self, asked: &Asked, command: &Command, response: &Response) -> Result<(), Wrong> {
        match response.result {
            Err(KeyspaceError::LeaseNotFound(_)) if matches!(command, Command::Put(_)) => {
                self.marks.hit(Mark::PutWithoutLease);
            }
            Ok(_) if matches!(command, Command::Compact(_)) => self.marks.hit(Mark::KeysCompacted),
            _ => {}
        }
        let should = asked.origin.and_then(|origin| self.ledger()?.answer(origin));
        if should == Some(response) {
            return Ok(());
        }
        // One over shards that refuse it comes to nothing, and no place in the sequence has its answer.
        let is_void = asked.origin.is_some_and(|origin| self.checker.reference().is_void(origin));
        if is_void && response.result.is_err() {
            self.marks.hit(Mark::TxnRefused);
            return Ok(());
        }
        let of_leases = matches!(command, Command::LeaseGrant { .. } | Command::LeaseRevoke { .. });
        let id = if of_leases { "E5" } else { "E1" };
        Err(Wrong::new(id, format!("{command:?} came to {response:?}, and to {should:?} in the log")))
    }

    // ── who watches ─────────────────────────────────────────────────────────────────────────────────────────────────

    fn watches(&mut self, etcd: &mut Etcd, id: usize) {
        let now = self.now();
        self.trace.event(now, 22, id as u64, etcd.watchers[id].turn);
        let calm = self.faults_over;
        let hosts = self.asked();
        let watcher = &mut etcd.watchers[id];
        if let Some(line) = watcher.line {
            let Line { host, life, .. } = etcd.lines[line as usize - 1];
            let this = &self.hosts[host];
            let there = this.life == life && this.process.as_ref().is_some_and(|process| !process.stopped);
            let cut = !calm && watcher.random.chance(1, 40);
            if cut && there {
                self.marks.hit(Mark::WatchStreamCut);
                self.send_to_host(etcd, line, None);
            }
            if cut || !there || !hosts.contains(&host) {
                etcd.watchers[id].leave(now);
            }
        }
        let watcher = &mut etcd.watchers[id];
        if watcher.line.is_none() && now >= watcher.away_until {
            let host = hosts[watcher.random.below(hosts.len() as u64) as usize];
            let (needs_leader, pace) = (watcher.random.chance(1, 3), watcher.pace(calm));
            let life = self.hosts[host].life;
            let (stream, last_to, last_from) = (None, 0, 0);
            etcd.lines.push(Line { watcher: id, host, life, stream, needs_leader, pace, last_to, last_from });
            (watcher.line, watcher.since) = (Some(etcd.lines.len() as u64), now);
            self.trace.say(now, || format!("watcher {id} calls host {host}"));
        }
        if let Some(line) = watcher.line {
            let over = now >= self.shape.clients_end;
            if calm || watcher.random.chance(1, 10) {
                let pace = watcher.pace(calm);
                etcd.lines[line as usize - 1].pace = pace;
            }
            for request in etcd.watchers[id].requests(now, over, &mut self.marks) {
                self.trace.say(now, || format!("watcher {id} asks: {request:?}"));
                self.send_to_host(etcd, line, Some(request));
            }
            self.set_pace(etcd, line);
        }
        let watcher = &mut etcd.watchers[id];
        watcher.turn += 1;
        let (turn, rest) = (watcher.turn, watcher.random.between(10, 200) * MILLIS);
        if now < self.shape.end {
            self.schedule.at(now + rest, Event::Etcd(Happening::Watch { watcher: id, turn }));
        }
    }

    fn set_pace(&mut self, etcd: &mut Etcd, number: u64) {
        let now = self.now();
        let Line { host, life, stream, pace, .. } = *etcd.line(number);
        let this = &mut self.hosts[host];
        let process = this.process.as_mut().filter(|_| this.life == life);
        if let (Some(front), Some(stream)) = (process.and_then(|process| process.front.as_mut()), stream) {
            front.set_pace(stream, pace, now);
            self.wake_front(host, now + 50 * MICROS);
        }
    }

    /// Sends a request, or the end, from a watcher to its host.
    fn send_to_host(&mut self, etcd: &mut Etcd, line: u64, request: Option<WatchRequest>) {
        let (now, calm) = (self.now(), self.faults_over);
        let Etcd { lines, random, .. } = etcd;
        let at = arrival(&mut lines[line as usize - 1].last_to, now, random, calm);
        self.schedule.at(at, Event::Etcd(Happening::ToHost { line, request }));
    }

    fn send_to_watcher(&mut self, etcd: &mut Etcd, line: u64, response: Option<Bytes>) {
        let (now, calm) = (self.now(), self.faults_over);
        let Etcd { lines, random, .. } = etcd;
        let at = arrival(&mut lines[line as usize - 1].last_from, now, random, calm);
        self.schedule.at(at, Event::Etcd(Happening::ToWatcher { line, response }));
    }

    fn line_to_host(&mut self, etcd: &mut Etcd, number: u64, request: Option<WatchRequest>) {
        let now = self.now();
        self.trace.event(now, 23, number, u64::from(request.is_some()));
        let line = etcd.line(number);
        let (host, life) = (line.host, line.life);
        let this = &mut self.hosts[host];
        let process = this.process.as_mut().filter(|process| !process.stopped && this.life == life);
        let taken = process.and_then(|process| process.front.as_mut()).is_some_and(|front| match request {
            Some(request) => {
                let (needs_leader, pace) = (line.needs_leader, line.pace);
                let stream = *line.stream.get_or_insert_with(|| front.open(number, needs_leader, pace));
                front.request(stream, request)
            }
            None => {
                line.stream.into_iter().for_each(|stream| front.close(stream));
                true
            }
        });
        if taken {
            self.wake_front(host, now + etcd.random.between(1, 60) * MICROS);
        } else {
            self.send_to_watcher(etcd, number, None);
        }
    }

    fn line_to_watcher(&mut self, etcd: &mut Etcd, number: u64, response: Option<Bytes>) {
        let now = self.now();
        let Line { watcher: id, host, .. } = *etcd.line(number);
        let watcher = &mut etcd.watchers[id];
        if watcher.line != Some(number) {
            return;
        }
        self.trace.event(now, 24, number, response.as_ref().map_or(0, Bytes::len) as u64);
        let Some(response) = response else {
            self.trace.say(now, || format!("the stream of watcher {id} has ended"));
            return watcher.leave(now);
        };
        let Some(ledger) = self.checker.reference().ledger() else { return };
        let verdict = match WatchResponse::decode(response) {
            Ok(response) => {
                self.trace.say(now, || format!("watcher {id} is told by host {host}: {response:?}"));
                watcher.told(response, ledger, &mut self.marks)
            }
            Err(error) => Err(Wrong::new("E3", format!("a response that cannot be read: {error}"))),
        };
        let verdict =
            verdict.map_err(|wrong| Wrong { what: format!("watcher {id}: {}", wrong.what), ..wrong });
        self.judged(Some(host), verdict);
    }

    // ── hosts ───────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A process starts: so does its front end.
    pub(crate) fn start_front(&mut self, host: usize) {
        let (now, this) = (self.now(), &mut self.hosts[host]);
        let Some(shape) = &self.shape.keys else { return };
        let (local, life) = (this.clock.read(now), this.life);
        if let Some(process) = &mut this.process {
            process.front = Some(Front::new(shape, life, local));
            self.wake_front(host, now + MILLIS);
        }
    }

    /// The state half of a host has run: what it says of the keys is on its way to the front end.
    pub(crate) fn keys_news(&mut self, host: usize) {
        let now = self.now();
        let this = &mut self.hosts[host];
        let Some(process) = &mut this.process else { return };
        let (Some(front), Some(news)) = (&mut process.front, &process.half.keys_news) else { return };
        let mut heard = false;
        for news in news.try_iter() {
            heard = true;
            front.hear(news);
        }
        let (lost, replaced) = front.take_losses();
        self.marks.add(Mark::FeedLost, lost);
        self.marks.add(Mark::WatchedReplaced, replaced);
        if heard {
            self.with_etcd(|world, etcd| {
                world.wake_front(host, now + etcd.random.between(1, 60) * MICROS);
            });
        }
    }

    /// Lets a host's front end have a turn at `at`, if it would not have one before.
    fn wake_front(&mut self, host: usize, at: Time) {
        let this = &mut self.hosts[host];
        let at = at.max(this.paused_until).max(self.schedule.now());
        if let Some(front) = this.process.as_mut().and_then(|process| process.front.as_mut())
            && front.turn_at.is_none_or(|turn| at < turn)
        {
            front.turn_at = Some(at);
            let happening = Happening::Turn { host, life: this.life, at };
            self.schedule.set(Timer::Keys.of(host), at, Event::Etcd(happening));
        }
    }

    fn front_turns(&mut self, etcd: &mut Etcd, host: usize) {
        let now = self.now();
        let moment = self.moment(etcd);
        let this = &mut self.hosts[host];
        let local = this.clock.read(now);
        let Some(process) = &mut this.process else { return };
        let Some(front) = &mut process.front else { return };
        front.turn_at = None;
        if process.stopped {
            return;
        }
        if now < this.paused_until {
            return self.wake_front(host, now);
        }
        for deaf in &mut front.deaf_until {
            if now >= *deaf && etcd.random.chance(1, 40) {
                let longest = if etcd.random.chance(1, 10) { 80_000 } else { 3_000 };
                *deaf = now + etcd.random.between(20, longest) * MICROS;
            }
        }
        let doing = front.turn(now, local);
        let (caught_up, began) = (std::mem::take(&mut front.caught_up), front.began.take());
        let mut next = this.clock.when(front.poll_timeout()).max(now + 300 * MICROS);
        next = front.deaf_until.iter().filter(|deaf| **deaf > now).fold(next, |next, deaf| next.min(*deaf));
        next = front.next_read().map_or(next, |at| next.min(at.max(now + 20 * MICROS)));
        if front.is_busy() {
            next = next.min(now + 50 * MICROS);
        }
        self.marks.add(Mark::WatchCaughtUp, caught_up);
        if let (Some(epoch), Some(ledger)) = (began, self.ledger()) {
            etcd.leases.begins(epoch.0, ledger, now);
        }
        self.trace.event(now, 25, host as u64, doing.len() as u64);
        for doing in doing {
            self.front_does(etcd, host, doing, &moment);
        }
        self.wake_front(host, next);
    }

    fn front_does(&mut self, etcd: &mut Etcd, host: usize, doing: Doing, moment: &Moment) {
        let now = self.now();
        let this = &mut self.hosts[host];
        let (id, life) = (this.id, this.life);
        let Some(process) = &mut this.process else { return };
        match doing {
            Doing::Barrier { number } => {
                let ticket = process.ticket(Waiter::Keys(Lane::Barrier(number)));
                self.input(host, NodeInput::Read { group: KEYS, ticket });
            }
            Doing::ReadLocal => {
                let ticket = process.ticket(Waiter::Keys(Lane::Local));
                process.to_state.push_back(ToState::ReadLocal { group: KEYS, ticket });
                self.schedule_apply(host);
            }
            Doing::Propose { command } => {
                self.trace.say(now, || format!("host {host}'s steward: {command:?}"));
                etcd.leases.decides(host, &command, moment);
                let ticket = process.ticket(Waiter::Keys(Lane::Proposed));
                let origin = Origin { node: id, life, ticket };
                let command = TaggedCommand::encode(Some(origin), None, |to| to.raw(&command.encode()));
                self.input(host, NodeInput::Propose { group: KEYS, ticket, command });
            }
            Doing::Relay { to, word } => {
                self.input(host, NodeInput::Relay { group: KEYS, to, bytes: word });
            }
            Doing::Send { line, response } => self.send_to_watcher(etcd, line, Some(response)),
            Doing::End { line } => {
                self.marks.hit(Mark::WatchStreamEnded);
                self.send_to_watcher(etcd, line, None);
            }
            Doing::Tell { to, remaining } => self.answer_actor(etcd, to, Answer::Lease(remaining)),
        }
    }

    /// The node has an answer for a host's front end, or for a client of it.
    pub(crate) fn keys_told(&mut self, host: usize, lane: Lane, told: Told) {
        let now = self.now();
        self.with_etcd(|world, etcd| {
            let view = |told| match told {
                Told::Reply(Reply::KeysView(view)) => Some(view),
                Told::Reply(_) | Told::Answer(_) | Told::NotReached => None,
            };
            let answered = match lane {
                Lane::Client { actor, number } => {
                    return world.answer_actor(etcd, (actor, number), Answer::Done(told));
                }
                Lane::Proposed => {
                    if let Told::Reply(Reply::Keys(Outcome::Done(response))) = &told
                        && response.result == Err(KeyspaceError::StaleSteward)
                    {
                        world.marks.hit(Mark::LeaseStewardStale);
                    }
                    return;
                }
                Lane::Barrier(number) => Answered::Barrier { number, view: view(told) },
                Lane::Local => Answered::Local(view(told)),
            };
            let front = world.hosts[host].process.as_mut().and_then(|process| process.front.as_mut());
            if let Some(front) = front {
                front.answered(answered);
                world.wake_front(host, now + etcd.random.between(1, 60) * MICROS);
            }
        });
    }

    /// E3 and E5, of what must have come about by the end of a run that has healed.
    pub(crate) fn check_keys(&mut self) {
        self.with_etcd(|world, etcd| {
            let now = world.now();
            let moment = world.moment(etcd);
            let Some(ledger) = world.checker.reference().ledger() else { return };
            let calm = world.shape.faults_end + CALM_AFTER;
            let long_ago = now.saturating_sub(3 * SECONDS / 2);
            let known = etcd.revisions.iter().take_while(|(at, _)| *at <= long_ago).last();
            let revision = known.map_or(0, |(_, revision)| *revision);
            let mut verdicts = vec![etcd.leases.check(ledger, calm, moment.at)];
            verdicts.extend(etcd.watchers.iter().map(|watcher| watcher.check(ledger, revision, now)));
            verdicts.into_iter().for_each(|verdict| world.judged(None, verdict));
        });
    }
}

/// When something arrives that is sent now: in order, and mostly soon.
fn arrival(last: &mut Time, now: Time, random: &mut Random, calm: bool) -> Time {
    let late = !calm && random.chance(1, 60);
    let delay = if late { random.between(1, 300) * MILLIS } else { random.between(30, 400) * MICROS };
    *last = (now + delay).max(*last + 1);
    *last
}

//! The world of one run: hosts, network, clients, and the one queue of what happens next.

use quorate_consensus::{DiskRequest, Membership, NodeId, OperationId, Random, Role, fingerprint_of};
use quorate_node::{
    Answer, Channel, Node, NodeInput, Notice, Origin, StateHalf, TaggedCommand, Ticket, ToState,
};

use crate::{
    claims,
    clients::{self, Client, Move, Told},
    faults::{Action, Planned},
    half::KEYS,
    history::{Operation, Outcome},
    host::Host,
    invariants::Checker,
    marks::{Mark, Marks},
    network::Network,
    plan::Shape,
    reference::Origins,
    schedule::{MICROS, MILLIS, SECONDS, Schedule, Time},
    trace::Trace,
};

/// The client number of what an operator asks.
pub(crate) const OPERATOR: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) enum Event {
    Arrive { host: usize, bytes: bytes::Bytes },
    Lost { host: usize, peer: NodeId },
    Disk { host: usize, life: u64, id: OperationId },
    Run { host: usize, life: u64, at: Time },
    Apply { host: usize, life: u64 },
    Start { host: usize },
    Act { number: usize },
    Next { client: usize },
    Request { client: usize, attempt: u64 },
    Told { client: usize, attempt: u64, told: Told },
    Impatient { client: usize, attempt: u64 },
    Revive { host: usize, life: u64 },
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shape: Shape,
    pub(crate) schedule: Schedule<Event>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) clients: Vec<Client>,
    /// When each operation began.
    invoked: Vec<Time>,
    pub(crate) history: Vec<Operation>,
    pub(crate) origins: Origins,
    pub(crate) checker: Checker,
    pub(crate) marks: Marks,
    pub(crate) trace: Trace,
    pub(crate) actions: Vec<Planned>,
    pub(crate) faults_over: bool,
    pub(crate) burst_until: Time,
    pub(crate) random: Random,
    client_loss: u64,
    /// A host whose links stay cut for ever.
    pub(crate) outcast: Option<usize>,
}

impl World {
    pub(crate) fn new(shape: Shape, actions: Vec<Planned>, seed: &Random, trace: bool) -> World {
        let voters: Vec<NodeId> = (1..=shape.voters).map(NodeId).collect();
        let birth = Membership::new(voters, []);
        let hosts: Vec<Host> = (0..shape.hosts())
            .map(|place| {
                let birth = if place < shape.voters { birth.clone() } else { Membership::default() };
                Host::new(place, &shape, birth, seed)
            })
            .collect();
        let clients: Vec<Client> = (0..shape.clients).map(|id| Client::new(id, seed)).collect();
        let mut world = World {
            network: Network::new(seed.fork(2)),
            checker: Checker::new(hosts.len(), birth),
            hosts,
            clients,
            shape,
            schedule: Schedule::default(),
            invoked: Vec::new(),
            history: Vec::new(),
            origins: Origins::new(),
            marks: Marks::default(),
            trace: Trace::new(trace),
            actions,
            faults_over: false,
            burst_until: 0,
            random: seed.fork(3),
            client_loss: 10,
            outcast: None,
        };
        for host in 0..world.hosts.len() {
            world.schedule.at(0, Event::Start { host });
        }
        for client in 0..world.clients.len() {
            world.schedule.at(400 * MILLIS, Event::Next { client });
        }
        for (number, planned) in world.actions.iter().enumerate() {
            world.schedule.at(planned.at, Event::Act { number });
        }
        world
    }

    pub(crate) fn now(&self) -> Time {
        self.schedule.now()
    }

    /// Lets everything up to `end` happen, or up to the first violation.
    pub(crate) fn run_until(&mut self, end: Time) {
        while self.checker.violations.is_empty()
            && let Some(event) = self.schedule.next(end)
        {
            self.checker.now = self.now();
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive { host, bytes } => {
                self.trace.event(self.now(), 1, host as u64, bytes.len() as u64);
                self.input(host, NodeInput::Frame(bytes));
            }
            Event::Lost { host, peer } => {
                self.marks.hit(Mark::ConnectionLost);
                self.input(host, NodeInput::PeerLost(peer));
            }
            Event::Disk { host, life, id } => self.disk_done(host, life, id),
            Event::Run { host, life, at } => {
                let alive = self.hosts[host].life == life;
                if alive
                    && self.hosts[host].process.as_ref().is_some_and(|process| process.run_at == Some(at))
                {
                    self.run(host);
                }
            }
            Event::Apply { host, life } => {
                if self.hosts[host].life == life {
                    self.apply(host);
                }
            }
            Event::Start { host } => self.start(host),
            Event::Act { number } => self.act(number),
            Event::Next { client } => self.begin(client),
            Event::Request { client, attempt } => self.request(client, attempt),
            Event::Told { client, attempt, told } => self.told(client, attempt, told),
            Event::Impatient { client, attempt } => {
                let (now, hosts) = (self.now(), self.asked());
                let next = self.clients[client].timed_out(attempt, now, &hosts, &mut self.marks);
                self.go_on(client, next);
            }
            Event::Revive { host, life } => {
                if self.hosts[host].life == life
                    && self.hosts[host].process.as_ref().is_some_and(|p| p.stopped)
                {
                    self.crash(host, 1, true);
                }
            }
        }
    }

    // ── hosts ───────────────────────────────────────────────────────────────────────────────────────────────────────

    fn start(&mut self, host: usize) {
        let now = self.now();
        let known: Vec<(NodeId, _)> = self.hosts.iter().map(|h| (h.id, h.incarnation)).collect();
        let this = &mut self.hosts[host];
        if this.process.is_some() || this.lost {
            this.starting = false;
            return;
        }
        this.start(now, &self.shape);
        if this.life > 1 {
            self.marks.hit(Mark::Restarted);
        }
        let id = self.hosts[host].id;
        self.trace.event(now, 2, host as u64, self.hosts[host].life);
        self.trace.say(now, || format!("host {host} starts"));
        for (peer, incarnation) in known {
            if peer != id {
                let incarnation = Some(incarnation);
                self.input(host, NodeInput::PeerKnown { peer, incarnation, removed: false });
            }
        }
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
            self.schedule.at(at, Event::Run { host, life: this.life, at });
        }
    }

    fn run(&mut self, host: usize) {
        let now = self.now();
        let this = &mut self.hosts[host];
        let Some(process) = &mut this.process else { return };
        process.run_at = None;
        if now < this.paused_until {
            return self.wake(host, now);
        }
        let local = this.clock.read(now);
        let inputs = std::mem::take(&mut process.inbox);
        let count = inputs.len() as u64;
        for input in inputs {
            process.node.handle(local, input, &mut process.out);
        }
        process.node.settle(local, &mut process.out);
        let out = std::mem::take(&mut process.out);
        let running = process.node.is_running();
        let recovered = running && !std::mem::replace(&mut process.recovered, running);
        self.trace.event(now, 3, host as u64, count << 32 | out.frames.len() as u64);
        for input in &out.state {
            if let ToState::Entries { entries, .. } = input {
                self.checker.fed(host, entries);
            }
        }
        self.checker.after_run(host, &self.hosts, &self.origins, &mut self.marks);
        let mut moments = [false; 7];
        moments[0] = !out.frames.is_empty();
        moments[1] = !out.disk.is_empty();
        moments[3] = running && self.checker.status(host).role == Role::Leader;
        moments[5] = out
            .state
            .iter()
            .any(|input| matches!(input, ToState::Restore { .. } | ToState::SnapshotDue { .. }));
        let life = self.hosts[host].life;
        if recovered {
            self.trace.say(now, || format!("host {host} runs"));
        }
        for (ticket, answer) in out.answers {
            self.answer(host, ticket, Told::Answer(answer));
        }
        for notice in out.notices {
            self.notice(host, notice);
        }
        // What leaves and what is written go their ways at once; a crash in between may catch either first.
        let mut disk = out.disk;
        let submit_first = self.hosts[host].random.chance(1, 2);
        if submit_first || !self.hosts[host].trap_is_at(&[0, 4]) {
            self.submit(host, std::mem::take(&mut disk));
        }
        for (to, channel, bytes) in out.frames {
            moments[4] |= self.frame(host, to, channel, bytes);
        }
        if let Some(process) = &mut self.hosts[host].process {
            process.to_state.extend(out.state);
        }
        self.schedule_apply(host);
        self.schedule_wake(host);
        if self.hosts[host].life == life && self.hosts[host].process.is_some() {
            self.spring(host, &moments);
        }
        if self.hosts[host].life == life && self.hosts[host].process.is_some() {
            self.submit(host, disk);
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

    fn submit(&mut self, host: usize, operations: Vec<quorate_consensus::DiskOperation>) {
        let now = self.now();
        let this = &mut self.hosts[host];
        for operation in operations {
            self.trace.say(now, || {
                format!("host {host} disk {}: {}", operation.id.0, disk_words(&operation.request))
            });
            let (at, id) = this.disk.submit(now, operation);
            self.schedule.at(at, Event::Disk { host, life: this.life, id });
        }
    }

    fn disk_done(&mut self, host: usize, life: u64, id: OperationId) {
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
            self.input(host, NodeInput::Disk(completion));
            let mut moments = [false; 7];
            moments[2] = true;
            self.spring(host, &moments);
        }
    }

    /// A frame leaves. True if it makes a promise that must be durable.
    fn frame(&mut self, host: usize, to: NodeId, channel: Channel, bytes: bytes::Bytes) -> bool {
        let now = self.now();
        let from = self.hosts[host].id;
        self.trace.event(now, 5, to.0, fingerprint_of(&bytes[..]));
        let promises = claims::check(host, &bytes, &self.hosts, &mut self.checker, &mut self.marks);
        if self.trace.wanted() {
            let words = claims::words(&bytes);
            self.trace.say(now, || format!("host {host} → node {to} {channel:?}: {words}"));
        }
        let Some(target) = self.hosts.iter().position(|other| other.id == to) else { return promises };
        let sent = self.network.send(now, from, to, channel, bytes.len());
        if sent.cut {
            self.marks.hit(Mark::FrameCut);
        }
        if sent.flapped {
            self.marks.hit(Mark::LinkFlapping);
        }
        if sent.lost {
            self.marks.hit(Mark::FrameLost);
        }
        if sent.reordered {
            self.marks.hit(Mark::FrameReordered);
        }
        if sent.arrivals[1].is_some() {
            self.marks.hit(Mark::FrameDuplicated);
        }
        if let Some(at) = sent.noticed {
            self.schedule.at(at, Event::Lost { host, peer: to });
        }
        for at in sent.arrivals.into_iter().flatten() {
            self.schedule.at(at, Event::Arrive { host: target, bytes: bytes.clone() });
        }
        promises
    }

    fn schedule_apply(&mut self, host: usize) {
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

    fn apply(&mut self, host: usize) {
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
        let after = std::mem::take(&mut process.half.after);
        let waiting = process.to_state.len();
        self.trace.event(now, 6, host as u64, after.last().map_or(0, |after| after.digest));
        self.checker.after_apply(host, &after, &mut self.marks);
        if waiting > 20_000 {
            self.checker.fail("I22", Some(host), format!("{waiting} inputs wait for the state half"));
        }
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
    }

    fn notice(&mut self, host: usize, notice: Notice) {
        let now = self.now();
        self.trace.say(now, || format!("host {host}: {notice:?}"));
        match notice {
            Notice::Recovered { notes } => {
                let cut = notes.iter().filter(|note| note.contains("torn")).count();
                self.marks.add(Mark::TornTailCut, cut as u64);
            }
            Notice::SnapshotTaken { .. } => self.marks.hit(Mark::SnapshotTaken),
            Notice::SnapshotInstalled { .. } => self.marks.hit(Mark::SnapshotInstalled),
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

    // ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The hosts that clients ask: any, and once faults are over those that are members and have their disks.
    fn asked(&self) -> Vec<usize> {
        let membership = self.checker.membership();
        let serves = |host: &usize| {
            self.outcast != Some(*host)
                && !self.hosts[*host].is_lost()
                && membership.contains(self.hosts[*host].id)
        };
        let hosts: Vec<usize> =
            (0..self.hosts.len()).filter(|host| !self.faults_over || serves(host)).collect();
        if hosts.is_empty() { vec![0] } else { hosts }
    }

    fn begin(&mut self, client: usize) {
        let now = self.now();
        if now >= self.shape.clients_end {
            return;
        }
        let id = self.invoked.len() as u64;
        self.invoked.push(now);
        let hosts = self.asked();
        self.clients[client].begin(id, now, &hosts);
        self.ask(client, 0);
    }

    fn ask(&mut self, client: usize, after: Time) {
        let at = self.now() + after;
        let this = &mut self.clients[client];
        let Some(attempt) = this.current.as_ref().map(|current| current.attempt) else { return };
        let (delay, patience) = (this.network_delay(), this.patience());
        if this.loses(if self.faults_over { 0 } else { self.client_loss }) {
            self.marks.hit(Mark::ClientRequestLost);
        } else {
            self.schedule.at(at + delay, Event::Request { client, attempt });
        }
        self.schedule.at(at + patience, Event::Impatient { client, attempt });
    }

    fn request(&mut self, client: usize, attempt: u64) {
        let now = self.now();
        let Some(current) = self.clients[client].current.as_ref().filter(|c| c.attempt == attempt) else {
            return;
        };
        let (host, operation, call, tag) =
            (current.host, current.operation, current.call.clone(), current.tag);
        self.trace.event(now, 7, host as u64, operation);
        self.trace.say(now, || format!("client {client} asks host {host}: {operation} {call:?}"));
        let this = &mut self.hosts[host];
        let (id, life) = (this.id, this.life);
        let Some(process) = this.process.as_mut().filter(|process| !process.stopped) else {
            let delay = self.clients[client].network_delay();
            return self.schedule.at(now + delay, Event::Told { client, attempt, told: Told::NotReached });
        };
        process.next_ticket += 1;
        let ticket = Ticket(process.next_ticket);
        process.tickets.insert(ticket.0, (client as u32, attempt));
        let filling = fingerprint_of(&operation) % (self.shape.filling_max + 1);
        let input = match clients::command(&call, filling) {
            Some(command) => {
                self.origins.insert((id, life, ticket.0), (operation, call));
                let origin = Origin { node: id, life, ticket };
                let command = TaggedCommand::encode(Some(origin), tag, |to| to.raw(&command.encode()));
                NodeInput::Propose { group: KEYS, ticket, command }
            }
            None if call.is_serializable() => {
                process.to_state.push_back(ToState::ReadLocal { group: KEYS, ticket });
                return self.schedule_apply(host);
            }
            None => NodeInput::Read { group: KEYS, ticket },
        };
        self.input(host, input);
    }

    /// A host has an answer for someone.
    fn answer(&mut self, host: usize, ticket: Ticket, told: Told) {
        let now = self.now();
        let Some(process) = &mut self.hosts[host].process else { return };
        let Some((client, attempt)) = process.tickets.remove(&ticket.0) else { return };
        if client == OPERATOR {
            match told {
                Told::Answer(Answer::Accepted(_)) => self.marks.hit(Mark::MembershipChanged),
                _ => self.marks.hit(Mark::ChangeRefused),
            }
            return;
        }
        let leads = self.checker.status(host).role == Role::Leader;
        if let (Told::Reply(reply), false) = (&told, leads) {
            match reply {
                crate::half::Reply::Done(_) => self.marks.hit(Mark::WriteThroughFollower),
                crate::half::Reply::View(_) => self.marks.hit(Mark::FollowerRead),
            }
        }
        let this = &mut self.clients[client as usize];
        let delay = this.network_delay();
        if this.loses(if self.faults_over { 0 } else { self.client_loss }) {
            return self.marks.hit(Mark::ClientRequestLost);
        }
        self.schedule.at(now + delay, Event::Told { client: client as usize, attempt, told });
    }

    fn told(&mut self, client: usize, attempt: u64, told: Told) {
        let (now, hosts) = (self.now(), self.asked());
        self.trace.event(now, 8, client as u64, attempt);
        match self.clients[client].told(attempt, told, now, &hosts, &mut self.marks) {
            Ok(outcome) => self.finish(client, outcome),
            Err(next) => self.go_on(client, next),
        }
    }

    fn go_on(&mut self, client: usize, next: Move) {
        match next {
            Move::Ask { after } => self.ask(client, after),
            Move::Over => {
                let outcome = self.clients[client].given_up();
                self.finish(client, outcome);
            }
            Move::Ignore => {}
        }
    }

    fn finish(&mut self, client: usize, outcome: Outcome) {
        let now = self.now();
        let Some(id) = self.clients[client].current.as_ref().map(|current| current.operation) else { return };
        let invoked = self.invoked[id as usize];
        let Some(operation) = self.clients[client].end(outcome, invoked, now) else { return };
        self.trace.say(now, || format!("client {client}: {operation:?}"));
        let mark = match (&operation.outcome, operation.call.is_write()) {
            (Outcome::Write { changed, .. }, _) => {
                if !changed && matches!(operation.call, crate::history::Call::Cas { .. }) {
                    self.marks.hit(Mark::SwapFailed);
                }
                Some(Mark::WriteAcknowledged)
            }
            (Outcome::Read { .. }, _) if operation.call.is_serializable() => Some(Mark::StaleReadServed),
            (Outcome::Read { .. }, _) => Some(Mark::ReadServed),
            (Outcome::Failed, true) => Some(Mark::WriteRefused),
            (Outcome::Unknown, true) => Some(Mark::WriteUnknown),
            (_, false) => None,
        };
        if let Some(mark) = mark {
            self.marks.hit(mark);
        }
        // I14: an acknowledged write is committed when its acknowledgement arrives.
        if matches!(operation.outcome, Outcome::Write { .. })
            && !self.checker.reference.truth.contains_key(&id)
        {
            self.checker.fail("I14", None, format!("acknowledged before it was committed: {operation:?}"));
        }
        self.history.push(operation);
        let rest = self.clients[client].rest(&self.shape, now < self.burst_until);
        self.schedule.at(now + rest, Event::Next { client });
    }

    /// Operations without an answer at the end of the run.
    pub(crate) fn give_up_all(&mut self) {
        for client in 0..self.clients.len() {
            if self.clients[client].current.is_some() {
                let outcome = self.clients[client].given_up();
                let id = self.clients[client].current.as_ref().map_or(0, |current| current.operation);
                let now = self.schedule.now();
                let invoked = self.invoked[id as usize];
                self.history.extend(self.clients[client].end(outcome, invoked, now));
            }
        }
    }

    /// The process of a host, if its groups run.
    pub(crate) fn node(&self, host: usize) -> Option<&Node> {
        self.hosts[host].process.as_ref().map(|process| &process.node).filter(|node| node.is_running())
    }

    pub(crate) fn action(&self, number: usize) -> Action {
        self.actions[number].action
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

/// How long a stopped process waits before an operator starts it again.
pub(crate) const REVIVE_AFTER: Time = SECONDS / 2;

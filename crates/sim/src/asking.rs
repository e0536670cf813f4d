//! The clients' side of a run: whom they ask, how requests reach hosts, and what comes back.

use quorate_consensus::{Random, Role, fingerprint_of};
use quorate_node::{NodeInput, Origin, Ticket, ToState};
use quorate_service::{KEYS, Reply};

use crate::{
    clients::{self, Client, Move, Told},
    film::What,
    history::{Call, Key, Outcome},
    marks::Mark,
    operator::Waiter,
    plan::KEYS_PLACE,
    schedule::Time,
    shards::By,
    world::{Event, World},
};

impl World {
    /// The hosts that clients of the keys ask: any, and once faults are over those that are members and have their disks, and reach who leads the keys.
    pub(crate) fn asked(&self) -> Vec<usize> {
        self.asked_in(KEYS_PLACE)
    }

    /// The same for clients of the group in this place.
    pub(crate) fn asked_in(&self, place: usize) -> Vec<usize> {
        let membership = self.checker.keys().membership();
        let serves = |host: &usize| {
            !self.is_cut_off(*host, place)
                && !self.hosts[*host].is_lost()
                && membership.contains(self.hosts[*host].id)
        };
        let hosts: Vec<usize> =
            (0..self.hosts.len()).filter(|host| !self.faults_over || serves(host)).collect();
        if hosts.is_empty() { vec![0] } else { hosts }
    }

    pub(crate) fn begin(&mut self, client: usize) {
        let now = self.now();
        if now >= self.shape.clients_end {
            return;
        }
        let id = self.invoked.len() as u64;
        self.invoked.push(now);
        let hosts = self.asked();
        self.clients[client].begin(id, now, &hosts, now < self.quiet_until);
        self.ask(client, 0);
    }

    /// A client of its own asks once, because the list of actions says so.
    pub(crate) fn ask_once(&mut self, host: usize, call: u64, (key, value): (u64, u64)) {
        let key = (key % u64::from(clients::KEYS_IN_USE)) as Key;
        let call = match call {
            0 => Call::Put { key, value },
            1 | 2 => Call::Get { key, serializable: call == 2 },
            3 => Call::Delete { key },
            _ => Call::Cas { key, expected: value.checked_sub(1), value },
        };
        let (now, id) = (self.now(), self.invoked.len() as u64);
        self.invoked.push(now);
        let number = self.clients.len();
        // Its own random numbers: nobody else's are others because it asks.
        let mut client = Client::new(number as u32, &Random::new(number as u64));
        client.begin_with(id, call, now, host);
        self.clients.push(client);
        self.ask(number, 0);
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

    pub(crate) fn request(&mut self, client: usize, attempt: u64) {
        self.request_by(client, attempt, By::Shard);
    }

    pub(crate) fn request_by(&mut self, client: usize, attempt: u64, by: By) {
        let now = self.now();
        let Some(current) = self.clients[client].current.as_ref().filter(|c| c.attempt == attempt) else {
            return;
        };
        let (host, operation, call, tag) =
            (current.host, current.operation, current.call.clone(), current.tag);
        self.trace.event(now, 7, host as u64, operation);
        self.trace.say(now, || format!("client {client} asks host {host}: {operation} {call:?}"));
        self.trace.film(|film| {
            let what = What::Ask { client: client as u32, operation, text: call.to_string() };
            film.add(now, Some(host), what);
        });
        let this = &mut self.hosts[host];
        let (id, life) = (this.id, this.life);
        let Some(process) = this.process.as_mut().filter(|process| !process.stopped) else {
            let delay = self.clients[client].network_delay();
            return self
                .schedule
                .at(now + delay, Event::Told { client, attempt, told: Box::new(Told::NotReached) });
        };
        let ticket = process.ticket(Waiter::Client { client, attempt });
        let filling = fingerprint_of(&operation) % (self.shape.filling_max + 1);
        let input = match clients::command(&call, filling) {
            Some(command) => {
                self.origins.insert((id, life, ticket.0), (operation, call));
                let origin = Origin { node: id, life, ticket };
                let (group, command) = self.proposal(host, (origin, tag), &command, by);
                NodeInput::Propose { group, ticket, command }
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
    pub(crate) fn answer(&mut self, host: usize, ticket: Ticket, told: Told) {
        let now = self.now();
        let Some(process) = &mut self.hosts[host].process else { return };
        let Some(waiter) = process.waiters.remove(&ticket.0) else { return };
        if self.goes_by_the_order(waiter, &told) {
            return;
        }
        let (client, attempt) = match waiter {
            Waiter::Client { client, attempt } => (client, attempt),
            Waiter::Tree { lane, request } => return self.tree_told(host, (lane, request), told),
            Waiter::Keys(lane) => return self.keys_told(host, lane, told),
            Waiter::Shards => return self.shards_told(&told),
            Waiter::Operator { .. } | Waiter::Join { .. } => return self.operator_told(host, waiter, told),
        };
        let leads = self.checker.keys().status(host).role == Role::Leader;
        if let (Told::Reply(reply), false) = (&told, leads) {
            match reply {
                Reply::Keys(_) | Reply::Meta(_) | Reply::Tree(_) | Reply::Undone(_) => {
                    self.marks.hit(Mark::WriteThroughFollower)
                }
                Reply::KeysView(_) | Reply::MetaView(_) | Reply::TreeView(_) => {
                    self.marks.hit(Mark::FollowerRead);
                }
            }
        }
        let this = &mut self.clients[client];
        let delay = this.network_delay();
        if this.loses(if self.faults_over { 0 } else { self.client_loss }) {
            return self.marks.hit(Mark::ClientRequestLost);
        }
        self.schedule.at(now + delay, Event::Told { client, attempt, told: Box::new(told) });
    }

    pub(crate) fn told(&mut self, client: usize, attempt: u64, told: Told) {
        let (now, hosts) = (self.now(), self.asked());
        self.trace.event(now, 8, client as u64, attempt);
        match self.clients[client].told(attempt, told, now, &hosts, &mut self.marks) {
            Ok(outcome) => self.finish(client, outcome),
            Err(next) => self.go_on(client, next),
        }
    }

    pub(crate) fn go_on(&mut self, client: usize, next: Move) {
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
                if !changed && matches!(operation.call, Call::Cas { .. }) {
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
            && !self.checker.reference().truth.contains_key(&id)
        {
            self.checker.fail("I14", None, format!("acknowledged before it was committed: {operation:?}"));
        }
        self.trace.film(|film| film.answer(now, &operation));
        self.history.push(operation);
        if client >= self.shape.clients as usize {
            // It had but one thing to ask.
            return;
        }
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
}

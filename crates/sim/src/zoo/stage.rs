//! Where clients and front ends meet the world: its one queue of events, its hosts, its faults.

use bytes::Bytes;
use quorate_consensus::StateMachine as _;
use quorate_node::{Answer, NodeInput, Origin, Outcome, TaggedCommand};
use quorate_service::{
    Reply, TREE,
    wire::{
        jute::{Jute as _, Reader},
        zookeeper::{ConnectResponse, Request, WatcherEvent, XID_NOTIFICATION},
    },
    znodes::{Password, SessionId},
    zookeeper::{CloseReason, Drawn},
};

use super::{
    Answered, Happening, Line, Log, Server, Wrong, Zoo,
    asks::written,
    client::{ADDRESS, Asked, Client, Phase},
    judge::{Court, header},
    server::{Doing, Now, STEWARD},
};
use crate::{
    clients::Told,
    host::Timer,
    lasting::Lasting,
    marks::Mark,
    operator::Waiter,
    plan::KEYS_PLACE,
    schedule::{MICROS, MILLIS, SECONDS, Time},
    world::{Event, World},
};

/// 2023, in milliseconds since 1970.
const WALL_MS: i64 = 1_700_000_000_000;

impl World {
    /// Lets `act` have the clients of the tree, if there are any, beside the world.
    pub(super) fn with_zoo(&mut self, act: impl FnOnce(&mut World, &mut Zoo)) {
        if let Some(mut zoo) = self.zoo.take() {
            act(self, &mut zoo);
            self.zoo = Some(zoo);
        }
    }

    fn tree_log(&self) -> Option<&Log> {
        self.checker.group(TREE)?.execution.tree()
    }

    fn broken(&mut self, host: Option<usize>, verdict: Result<(), Wrong>) {
        if let Err(Wrong { id, what }) = verdict {
            self.checker.fail(id, host, what);
        }
    }

    pub(crate) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake { client, turn } => self.with_zoo(|world, zoo| {
                if zoo.clients[client].turn == turn {
                    world.client_wakes(zoo, client);
                }
            }),
            Happening::ToHost { line, packet } => {
                self.with_zoo(|world, zoo| world.host_receives(zoo, line, packet));
            }
            Happening::ToClient { line, packet } => {
                self.with_zoo(|world, zoo| world.client_receives(zoo, line, packet));
            }
            Happening::Word { host } => self.with_zoo(|world, zoo| world.says_word(zoo, host)),
            Happening::Strike { action } => self.strike(action),
            Happening::Turn { host, life, at } => {
                let this = &self.hosts[host];
                let server = this.process.as_ref().and_then(|process| process.server.as_ref());
                if this.life == life && server.is_some_and(|server| server.turn_at == Some(at)) {
                    self.with_zoo(|world, zoo| world.server_turns(zoo, host));
                }
            }
        }
    }

    fn calm(&self) -> bool {
        self.faults_over
    }

    // ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────

    fn client_wakes(&mut self, zoo: &mut Zoo, id: usize) {
        let now = self.now();
        self.trace.event(now, 10, id as u64, zoo.clients[id].turn);
        let over = now >= self.shape.clients_end;
        let client = &mut zoo.clients[id];
        if now >= client.sleeps_until {
            if client.is_out_of_patience(now) {
                self.hang_up(zoo, id);
            }
            let client = &mut zoo.clients[id];
            match client.phase {
                Phase::Away { until } if now >= until && !(over && client.session.is_none()) => {
                    self.call(zoo, id);
                }
                Phase::In { .. } => self.speak(zoo, id, over),
                Phase::Away { .. } | Phase::Calling { .. } => {}
            }
        }
        let client = &mut zoo.clients[id];
        client.turn += 1;
        let patience = client.timeout() / 6;
        let wanted = match client.phase {
            Phase::Away { until } => until.max(now + MILLIS),
            Phase::In { .. } if !over => client.asks_at.clamp(now + 20 * MICROS, now + patience),
            Phase::In { .. } | Phase::Calling { .. } => now + patience,
        };
        let at = wanted.max(client.sleeps_until);
        let turn = client.turn;
        self.schedule.at(at, Event::Zoo(Happening::Wake { client: id, turn }));
    }

    fn call(&mut self, zoo: &mut Zoo, id: usize) {
        // {3 leads the keys and 0 the tree, and the link between them comes and goes for ever}: nobody who asks 3 is served of the tree.
        let tree = self.checker.groups().iter().position(|oracle| oracle.group() == TREE);
        let (now, hosts) = (self.now(), self.asked_in(tree.unwrap_or(KEYS_PLACE)));
        let client = &mut zoo.clients[id];
        let host = hosts[client.random.below(hosts.len() as u64) as usize];
        zoo.lines.push(Line::new(id, host, self.hosts[host].life));
        let line = zoo.lines.len() as u64;
        client.phase = Phase::Calling { line, since: now };
        let hello = client.hello();
        self.trace.say(now, || format!("tree client {id} calls host {host} on line {line}"));
        self.send(zoo, line, hello);
        let client = &mut zoo.clients[id];
        if client.eager {
            self.introduce(zoo, id, line);
            let client = &mut zoo.clients[id];
            if client.session.is_some()
                && let Some((xid, request)) = client.next_request(true)
            {
                self.ask_tree(zoo, id, line, xid, request);
            }
        }
    }

    fn introduce(&mut self, zoo: &mut Zoo, id: usize, line: u64) {
        for (xid, request) in zoo.clients[id].introduction() {
            self.ask_tree(zoo, id, line, xid, request);
        }
    }

    /// It has a session: it pings, asks, and sometimes goes away or falls asleep.
    fn speak(&mut self, zoo: &mut Zoo, id: usize, over: bool) {
        let (now, calm) = (self.now(), self.calm());
        let burst = now < self.burst_until;
        let client = &mut zoo.clients[id];
        let Phase::In { line } = client.phase else { return };
        if !calm && client.random.chance(1, 250) {
            self.marks.hit(Mark::TreeLineCut);
            return self.hang_up(zoo, id);
        }
        if !calm && client.random.chance(1, 700) {
            self.marks.hit(Mark::TreeClientSlept);
            let timeout = client.timeout();
            client.sleeps_until = now + client.random.between(timeout / 4, timeout * 2);
            return;
        }
        if let Some((xid, ping)) = client.ping(now) {
            self.ask_tree(zoo, id, line, xid, ping);
        }
        let client = &mut zoo.clients[id];
        if over || now < client.asks_at {
            return;
        }
        client.asks_at = now + if burst { client.rest() / 4 } else { client.rest() };
        let only_reads = now < self.quiet_until;
        if let Some((xid, request)) = client.next_request(only_reads) {
            self.ask_tree(zoo, id, line, xid, request);
        }
    }

    fn ask_tree(&mut self, zoo: &mut Zoo, id: usize, line: u64, xid: i32, request: Request) {
        let now = self.now();
        let committed = self.tree_log().map_or((0, 0), |log| (log.last(), log.model.zxid));
        let writes = written(&request);
        let this = zoo.line(line);
        let writes_before = this.writes();
        let asked = Asked { xid, committed, writes_before, writes: writes.is_some(), request, at: now };
        writes.into_iter().for_each(|written| this.wrote(written));
        let packet = asked.request.packet(xid).expect("simulated requests are short");
        self.trace.say(now, || format!("tree client {id} asks {xid}: {:?}", asked.request));
        let client = &mut zoo.clients[id];
        client.sent_at = now;
        client.has_asked(asked);
        self.send(zoo, line, packet);
    }

    /// Sends a packet from the client to its host.
    fn send(&mut self, zoo: &mut Zoo, line: u64, packet: Bytes) {
        let (now, calm) = (self.now(), self.calm());
        let Zoo { lines, random, .. } = zoo;
        let at = lines[line as usize - 1].arrival(now, true, random, calm);
        let packet = Some(packet.slice(4..));
        self.schedule.at(at, Event::Zoo(Happening::ToHost { line, packet }));
    }

    fn hang_up(&mut self, zoo: &mut Zoo, id: usize) {
        let (now, calm) = (self.now(), self.calm());
        let Zoo { lines, random, clients, .. } = zoo;
        if let Some(line) = clients[id].line() {
            let mut at = lines[line as usize - 1].arrival(now, true, random, calm);
            // A server may believe for long in a client that has gone elsewhere.
            if !calm && random.chance(1, 3) {
                at += random.between(20, 1_000) * MILLIS;
            }
            self.schedule.at(at, Event::Zoo(Happening::ToHost { line, packet: None }));
        }
        self.leave(&mut clients[id]);
    }

    fn leave(&mut self, client: &mut Client) {
        let now = self.now();
        let unknown = client.pending.iter().filter(|asked| asked.writes).count();
        self.marks.add(Mark::TreeWriteUnknown, unknown as u64);
        client.leave(now);
    }

    /// A packet, or the end, reaches a client.
    fn client_receives(&mut self, zoo: &mut Zoo, line: u64, packet: Option<Bytes>) {
        let now = self.now();
        let id = zoo.line(line).client;
        let client = &mut zoo.clients[id];
        if client.line() != Some(line) {
            return;
        }
        if now < client.sleeps_until {
            let at = client.sleeps_until;
            return self.schedule.at(at, Event::Zoo(Happening::ToClient { line, packet }));
        }
        self.trace.event(now, 11, line, packet.as_ref().map_or(0, Bytes::len) as u64);
        let Some(packet) = packet else {
            self.trace.say(now, || format!("line {line} of tree client {id} is closed"));
            return self.leave(client);
        };
        client.heard_at = now;
        if matches!(client.phase, Phase::Calling { .. }) {
            return self.welcomed(zoo, id, line, packet);
        }
        let Some(log) = self.checker.group(TREE).and_then(|oracle| oracle.execution.tree()) else { return };
        let verdict = match header(packet) {
            None => Err(Wrong { id: "K1", what: "a packet without a header".to_owned() }),
            Some((header, body)) if header.xid == XID_NOTIFICATION => {
                let event = WatcherEvent::read(&mut Reader::new(body)).unwrap_or_default();
                self.trace.say(now, || format!("tree client {id} is told at {:x}: {event:?}", header.zxid));
                let mark = if header.zxid < 0 { Mark::TreeWatchCaughtUp } else { Mark::TreeWatchTold };
                self.marks.hit(mark);
                client.notified(header.zxid, &event, log)
            }
            Some((header, body)) => {
                let court = Court { log, line: &zoo.lines[line as usize - 1], owner: line };
                client.answered(&header, body, &court).map(|(asked, answer)| {
                    self.trace.say(now, || {
                        format!("tree client {id} at {:x}: {} {answer:?}", header.zxid, asked.xid)
                    });
                    client.was_answered(asked.writes);
                    if asked.writes && answer.is_ok() {
                        self.marks.hit(Mark::TreeWriteAcknowledged);
                    }
                    match asked.request {
                        Request::Sync(_) => self.marks.hit(Mark::TreeSynced),
                        Request::CloseSession(()) => client.forget_session(),
                        _ => {}
                    }
                })
            }
        };
        let verdict =
            verdict.map_err(|wrong| Wrong { what: format!("client {id}: {}", wrong.what), ..wrong });
        let host = zoo.line(line).host;
        self.broken(Some(host), verdict);
    }

    fn welcomed(&mut self, zoo: &mut Zoo, id: usize, line: u64, packet: Bytes) {
        let now = self.now();
        let response = ConnectResponse::read(&mut Reader::new(packet)).unwrap_or_default();
        let client = &mut zoo.clients[id];
        self.trace.say(now, || format!("tree client {id} on line {line}: {response:?}"));
        if client.welcomed(&response) {
            client.phase = Phase::In { line };
            client.asks_at = now;
            client.sent_at = now;
            if !client.eager {
                self.introduce(zoo, id, line);
            }
            return;
        }
        // It is told that its session is over: then it is, or never was.
        let alive = client.session.as_ref().and_then(|session| {
            let known = self.tree_log()?.model.sessions.get(&session.id)?;
            Some((session.id, *known))
        });
        client.forget_session();
        client.leave(now);
        self.marks.hit(Mark::TreeSessionLost);
        if let Some((session, known)) = alive {
            let what = format!("client {id} is told that {session} is over: {known:?}");
            self.checker.fail("K8", None, what);
        }
    }

    // ── hosts ───────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A packet, or the end, reaches the host of a line.
    fn host_receives(&mut self, zoo: &mut Zoo, number: u64, packet: Option<Bytes>) {
        let now = self.now();
        self.trace.event(now, 12, number, packet.as_ref().map_or(0, Bytes::len) as u64);
        let Zoo { lines, random, heard, .. } = zoo;
        let line = &mut lines[number as usize - 1];
        let (host, life) = (line.host, line.life);
        let this = &mut self.hosts[host];
        let process = this.process.as_mut().filter(|process| !process.stopped && this.life == life);
        let server = process.and_then(|process| process.server.as_mut());
        let taken = server.and_then(|server| {
            let Some(packet) = packet else {
                server.hang_up(number);
                return Some(None);
            };
            if !std::mem::replace(&mut line.accepted, true) {
                server.accept(number, drawn(random, number), ADDRESS);
            }
            server.receive(number, packet)
        });
        match taken {
            Some(session) => {
                session.into_iter().for_each(|session| _ = heard.insert(session, now));
                self.wake_server(host, now + zoo.random.between(1, 30) * MICROS);
            }
            None => self.close_line(zoo, number),
        }
    }

    /// The client learns that nothing listens there any more.
    fn close_line(&mut self, zoo: &mut Zoo, number: u64) {
        let (now, calm) = (self.now(), self.calm());
        let Zoo { lines, random, .. } = zoo;
        let at = lines[number as usize - 1].arrival(now, false, random, calm);
        self.schedule.at(at, Event::Zoo(Happening::ToClient { line: number, packet: None }));
    }

    /// Lets a host's front end have a turn at `at`, if it would not have one before.
    pub(crate) fn wake_server(&mut self, host: usize, at: Time) {
        let this = &mut self.hosts[host];
        let at = at.max(this.paused_until).max(self.schedule.now());
        if let Some(server) = this.process.as_mut().and_then(|process| process.server.as_mut())
            && server.turn_at.is_none_or(|turn| at < turn)
        {
            server.turn_at = Some(at);
            let happening = Happening::Turn { host, life: this.life, at };
            self.schedule.set(Timer::Tree.of(host), at, Event::Zoo(happening));
        }
    }

    fn server_turns(&mut self, zoo: &mut Zoo, host: usize) {
        let now = self.now();
        let this = &mut self.hosts[host];
        let local = this.clock.read(now);
        let Some(process) = &mut this.process else { return };
        let Some(server) = &mut process.server else { return };
        server.turn_at = None;
        if process.stopped {
            return;
        }
        if now < this.paused_until {
            return self.wake_server(host, now);
        }
        let time_ms = WALL_MS + (local.as_nanos() / MILLIS) as i64;
        if now >= server.deaf_until && zoo.random.chance(1, 20) {
            let long = zoo.random.chance(1, 10);
            server.deaf_until = now + zoo.random.between(20, if long { 80_000 } else { 3_000 }) * MICROS;
        }
        let without_news = now < server.deaf_until;
        let doing = server.turn(Now { local, time_ms, without_news });
        let mut next = this.clock.when(server.poll_timeout()).max(now + 100 * MICROS);
        if without_news && !server.news.is_empty() {
            next = next.min(server.deaf_until);
        }
        self.trace.event(now, 13, host as u64, doing.len() as u64);
        for doing in doing {
            self.server_does(zoo, host, doing);
        }
        self.wake_server(host, next);
        if let Some(log) = self.checker.group(TREE).and_then(|oracle| oracle.execution.tree()) {
            // {The link to the leader comes and goes for ever}: what a server says of its clients gets lost on it, and it hears the leader often enough to go on.
            let calm = self.faults_over
                && now > self.shape.faults_end + 7 * SECONDS / 2
                && self.shape.lasting != Some(Lasting::Flap);
            let verdict = zoo.follow(log, now, calm, &mut self.marks);
            self.broken(None, verdict);
        }
    }

    fn server_does(&mut self, zoo: &mut Zoo, host: usize, doing: Doing) {
        let (now, calm) = (self.now(), self.calm());
        match doing {
            Doing::Propose { lane, request, command } => {
                let this = &mut self.hosts[host];
                let (id, life, local) = (this.id, this.life, this.clock.read(now));
                let Some(process) = &mut this.process else { return };
                if lane == STEWARD
                    && let Some(server) = &process.server
                {
                    self.trace.say(now, || format!("host {host}'s steward: {command:?}"));
                    let epoch = self.checker.group(TREE).map(|oracle| oracle.status(host).epoch);
                    let verdict = zoo.decides(server, &command, epoch.unwrap_or_default(), local);
                    if let Err(Wrong { id, what }) = verdict {
                        self.checker.fail(id, Some(host), what);
                    }
                }
                let ticket = process.ticket(Waiter::Tree { lane, request });
                let origin = Origin { node: id, life, ticket };
                let command = TaggedCommand::encode(Some(origin), None, |to| to.raw(&command.encode()));
                self.input(host, NodeInput::Propose { group: TREE, ticket, command });
            }
            Doing::Sync { lane, request } => {
                let Some(process) = &mut self.hosts[host].process else { return };
                let ticket = process.ticket(Waiter::Tree { lane, request });
                self.input(host, NodeInput::Read { group: TREE, ticket });
            }
            Doing::Touch(sessions) => {
                for word in quorate_service::touch(&sessions) {
                    self.input(host, word);
                }
            }
            Doing::Send { connection, packet } => {
                let Zoo { lines, random, .. } = zoo;
                let at = lines[connection as usize - 1].arrival(now, false, random, calm);
                let packet = Some(packet.slice(4..));
                self.schedule.at(at, Event::Zoo(Happening::ToClient { line: connection, packet }));
            }
            Doing::Close { connection, reason } => {
                self.trace.say(now, || format!("host {host} closes line {connection}: {reason:?}"));
                match reason {
                    CloseReason::ClientAhead => self.marks.hit(Mark::TreeClientAhead),
                    CloseReason::SessionMoved => self.marks.hit(Mark::TreeMovedAway),
                    CloseReason::MailLost => self.marks.hit(Mark::TreeReplaced),
                    CloseReason::Isolated => self.marks.hit(Mark::TreeIsolated),
                    CloseReason::Lost => self.marks.hit(Mark::TreeProposalLost),
                    _ => {}
                }
                self.close_line(zoo, connection);
            }
        }
    }

    /// The node has an answer for a host's front end.
    pub(crate) fn tree_told(&mut self, host: usize, (lane, request): (u64, u64), told: Told) {
        let answered = match told {
            Told::Reply(Reply::Tree(Outcome::Done(response))) => Answered::Done(response),
            Told::Reply(Reply::TreeView(view)) => Answered::Synced(view.zxid()),
            Told::Answer(Answer::Accepted(_)) | Told::Reply(_) | Told::Answer(_) | Told::NotReached => {
                Answered::Lost
            }
        };
        let now = self.now();
        let this = &mut self.hosts[host];
        if let Some(server) = this.process.as_mut().and_then(|process| process.server.as_mut()) {
            server.answers.push_back((lane, request, answered));
            let after = this.random.between(1, 60) * MICROS;
            self.wake_server(host, now + after);
        }
    }

    /// The state half of a host has run: what it says of the tree is on its way to the front end.
    pub(crate) fn tree_news(&mut self, host: usize) {
        let now = self.now();
        let this = &mut self.hosts[host];
        let Some(process) = &mut this.process else { return };
        let (Some(server), Some(news)) = (&mut process.server, &process.half.news) else { return };
        let before = server.news.len();
        server.news.extend(news.try_iter());
        if server.news.len() > before {
            let after = this.random.between(1, 60) * MICROS;
            self.wake_server(host, now + after);
        }
    }

    /// A process starts: so does its front end.
    pub(crate) fn start_server(&mut self, host: usize) {
        let (now, this) = (self.now(), &mut self.hosts[host]);
        let Some(shape) = &self.shape.tree else { return };
        let local = this.clock.read(now);
        if let Some(process) = &mut this.process {
            process.server = Some(Server::new(shape, shape.born().view(), local));
            self.wake_server(host, now + MILLIS);
        }
    }
}

/// What is drawn for a connection. ZooKeeper's session ids may be negative, and clients of a cluster that was ZooKeeper's bring such ids along.
fn drawn(random: &mut quorate_consensus::Random, line: u64) -> Drawn {
    let mut password = [0; 16];
    password[..8].copy_from_slice(&random.next_u64().to_be_bytes());
    Drawn { session: SessionId(random.next_u64() as i64 | 1), password: Password(password), owner: line }
}

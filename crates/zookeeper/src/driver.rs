//! The one task that has the hub and all connections.
//!
//! A connection's step needs the hub, and so does everything that is applied. Either there is a lock that every step takes, or one owner. It is one
//! owner, for the sake of batches: the tasks that read sockets only leave bytes in the inbox, and the first of them wakes the owner, which runs after
//! all others that were ready. It takes whatever gathered, does all steps, hands *one* batch of proposals to the node, and writes to each client once.
//! So with a thousand clients there is a read and a write for each that has something to say, and a wake-up and a hand-over for all of them together;
//! the busier it gets, the fewer per request. A lock would cost a hand-over for each client, and gains only if steps took long: one takes a microsecond.
//!
//! ```text
//!   reader ─┐                                ┌─► propose(all)
//!   reader ─┼─► inbox ─► hear ─► run, run, … ┼─► sync(all)
//!   node   ─┘            (hub)   (clients)   └─► flush, flush, …   blocked? a task waits until the client reads
//! ```
//!
//! The owner never waits for a client or for the node. A client that does not read is left alone, its socket with it, until it does.

use std::{
    collections::HashMap,
    future::Future,
    mem,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use quorate_consensus::Epoch;
use quorate_service::{
    znodes::{Identity, SessionId},
    zookeeper::{Connection, ConnectionId, Drawn, Hub, RequestId, Settings, Standing},
};
use quorate_wire::zookeeper::FourLetterWord;
use tokio::{task::JoinSet, time::sleep_until};

use crate::{
    Backend, Front, Options, Proposal, Ticket,
    admin::{Asked, Question},
    client::{Client, Next, Shared},
    commands::{self, Command},
    front::{Resting, Told},
    serve::Accepted,
    socket::Socket,
    steward::Steward,
    words::{self, Server},
};

/// How often deadlines are looked at and touches handed on, at most.
const TICK_MAX: Duration = Duration::from_millis(500);
const TICK_MIN: Duration = Duration::from_millis(10);
/// As in ZooKeeper: a tick, but at least this long, without a leader.
const READ_ONLY_AFTER_MIN: Duration = Duration::from_secs(2);

pub(crate) struct Driver<B> {
    backend: Arc<B>,
    front: Front,
    options: Options,
    settings: Arc<Settings>,
    shared: Shared,
    clients: HashMap<ConnectionId, Client>,
    /// Those for which something is to be done.
    listed: Vec<ConnectionId>,
    last: u64,
    /// Proposals of the stewards so far.
    stewarded: u64,
    leads: Option<Epoch>,
    steward: Option<Steward>,
    /// When the loss of the leader counts, if none is found before.
    isolated_at: Option<Instant>,
    /// When reading begins, if none is found before.
    read_only_at: Option<Instant>,
    client_port: u16,
    /// Readers, and those that wait until something can be written.
    tasks: JoinSet<()>,
}

impl<B: Backend> Driver<B> {
    pub(crate) fn new(
        backend: Arc<B>,
        front: Front,
        options: Options,
        resting: Resting,
        client_port: u16,
    ) -> Driver<B> {
        let mut hub = Hub::new(resting.view);
        hub.set_standing(resting.standing);
        let shared = Shared {
            hub,
            tuning: options.tuning,
            now: Instant::now(),
            time_ms: time_ms(),
            stats: Default::default(),
            proposals: Vec::new(),
            syncs: Vec::new(),
            outputs: Vec::new(),
        };
        let mut driver = Driver {
            backend,
            front,
            settings: Arc::new(options.settings.clone()),
            options,
            shared,
            clients: HashMap::new(),
            listed: Vec::new(),
            last: Ticket::STEWARD.0,
            stewarded: 0,
            leads: None,
            steward: None,
            isolated_at: None,
            read_only_at: None,
            client_port,
            tasks: JoinSet::new(),
        };
        driver.lead(resting.leads);
        driver.wait_to_read_only();
        driver
    }

    /// Until `shutdown`.
    pub(crate) async fn run(&mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let every = (self.options.tick / 4).clamp(TICK_MIN, TICK_MAX);
        let mut next_tick = Instant::now() + every;
        let mut taken = Vec::new();
        loop {
            let front = self.front.clone();
            front.take(&mut taken);
            if taken.is_empty() && self.listed.is_empty() {
                let steward = self.steward.as_ref().map(Steward::next);
                let next = [steward, self.isolated_at].into_iter().flatten().fold(next_tick, Instant::min);
                tokio::select! {
                    () = &mut shutdown => return,
                    () = front.arrived() => {}
                    () = sleep_until(next.into()) => {}
                }
                front.take(&mut taken);
            }
            self.shared.now = Instant::now();
            self.shared.time_ms = time_ms();
            for told in taken.drain(..) {
                self.hear(told);
            }
            if self.isolated_at.is_some_and(|at| at <= self.shared.now) {
                self.stand(Standing::Isolated);
            }
            if self.shared.now >= next_tick {
                next_tick = self.shared.now + every;
                self.tick();
            }
            self.do_what_is_due();
            self.settle();
            // Others go first: what they leave is done together in the next turn.
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::task::yield_now() => {}
            }
        }
    }

    // ── what happened ───────────────────────────────────────────────────────────────────────────────────────────────

    fn hear(&mut self, told: Told) {
        match told {
            Told::Applied(view, events) => {
                let woken = self.shared.hub.applied(view, &events);
                self.wake(woken);
            }
            Told::Replaced(view) => {
                let woken = self.shared.hub.replaced(view);
                self.wake(woken);
            }
            Told::Answered(ticket, result) => {
                self.with(ticket.lane, |client, shared| client.answered(ticket, result, shared));
            }
            Told::Synced(tickets, result) => {
                for ticket in tickets {
                    self.with(ticket.lane, |client, _| client.synced(ticket, result));
                }
            }
            Told::Standing(standing) => self.told_standing(standing),
            Told::Leads(leads) => self.lead(leads),
            Told::Touched(sessions) => {
                if let Some(steward) = &mut self.steward {
                    steward.touch(&sessions, self.shared.now);
                }
            }
            Told::Accepted(accepted) => self.accept(accepted),
            Told::Asked(asked) => self.answer(asked),
            Told::Received(id, bytes) => self.with(id, |client, _| client.receive(bytes)),
            Told::HungUp(id) => self.with(id, |client, _| client.hang_up()),
            Told::Writable(id) => self.with(id, |client, _| client.writing = None),
        }
    }

    fn with(&mut self, id: ConnectionId, tell: impl FnOnce(&mut Client, &mut Shared)) {
        // One that is gone needs no answer.
        let Some(client) = self.clients.get_mut(&id) else { return };
        tell(client, &mut self.shared);
        if !mem::replace(&mut client.listed, true) {
            self.listed.push(id);
        }
    }

    fn wake(&mut self, woken: Vec<ConnectionId>) {
        for id in woken {
            self.with(id, |client, _| client.wake());
        }
    }

    fn accept(&mut self, accepted: Accepted) {
        let Accepted { stream, peer, place, drawn, mut identities } = accepted;
        let Drawn { owner, .. } = drawn;
        self.last += 1;
        let id = ConnectionId(self.last);
        let (socket, reading) = Socket::new(stream, peer, self.options.tuning.read_ahead_bytes);
        identities.insert(0, Identity::new("ip", &peer.ip().to_string()));
        let connection =
            Connection::new(id, Arc::clone(&self.settings), drawn, identities, &mut self.shared.hub);
        self.clients.insert(id, Client::new(id, connection, owner, socket, self.shared.now));
        self.tasks.spawn(reading.run(id, self.front.clone(), place));
    }

    /// A leader that is lost is given time to have a successor; whatever else is told counts at once.
    fn told_standing(&mut self, standing: Standing) {
        let grace = self.options.isolation_grace;
        match (self.shared.hub.standing(), standing) {
            (Standing::Serving, Standing::Isolated) if !grace.is_zero() => {
                self.isolated_at.get_or_insert(self.shared.now + grace);
            }
            // It was back before anybody noticed.
            (Standing::Serving, Standing::Serving) => self.isolated_at = None,
            // Still none: whoever stands for election is told so with each attempt. What waits, waits on, and who reads, reads on.
            (Standing::Isolated | Standing::ReadOnly, Standing::Isolated) => {}
            _ => self.stand(standing),
        }
    }

    fn stand(&mut self, standing: Standing) {
        self.isolated_at = None;
        tracing::info!(?standing, "what this server does for ZooKeeper clients changed");
        self.shared.hub.set_standing(standing);
        self.wait_to_read_only();
    }

    fn wait_to_read_only(&mut self) {
        let waits = self.options.read_only && self.shared.hub.standing() == Standing::Isolated;
        self.read_only_at = waits.then(|| self.shared.now + self.options.tick.max(READ_ONLY_AFTER_MIN));
    }

    fn lead(&mut self, leads: Option<Epoch>) {
        self.leads = leads;
        let Options { tick, container_interval, container_unused_ms, .. } = self.options;
        let (view, now) = (self.shared.hub.view(), self.shared.now);
        self.steward =
            leads.map(|epoch| Steward::new(epoch, tick, container_interval, container_unused_ms, view, now));
    }

    // ── time passes ─────────────────────────────────────────────────────────────────────────────────────────────────

    fn tick(&mut self) {
        if self.read_only_at.is_some_and(|at| at <= self.shared.now) {
            self.stand(Standing::ReadOnly);
        }
        let mut touched: Vec<SessionId> = Vec::new();
        let mut over = Vec::new();
        for (id, client) in &mut self.clients {
            touched.extend(client.tick(&mut self.shared));
            if client.is_over(self.shared.now) {
                over.push(*id);
            } else if client.is_due() && !mem::replace(&mut client.listed, true) {
                self.listed.push(*id);
            }
        }
        over.into_iter().for_each(|id| self.forget(id));
        match &mut self.steward {
            Some(steward) => steward.touch(&touched, self.shared.now),
            None if touched.is_empty() => {}
            None => self.backend.touch(&touched),
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn do_what_is_due(&mut self) {
        let Some(steward) = &mut self.steward else { return };
        if steward.next() > self.shared.now {
            return;
        }
        let due = steward.due(self.shared.now, self.shared.time_ms, self.shared.hub.view());
        for command in due {
            self.stewarded += 1;
            let ticket = Ticket { lane: Ticket::STEWARD, request: RequestId(self.stewarded) };
            self.shared.proposals.push(Proposal { ticket, command });
        }
    }

    // ── what is done about it ───────────────────────────────────────────────────────────────────────────────────────

    fn settle(&mut self) {
        let listed = mem::take(&mut self.listed);
        for id in &listed {
            let Some(client) = self.clients.get_mut(id) else { continue };
            client.listed = false;
            if let Some(word) = client.run(&mut self.shared) {
                self.answer_word(*id, word);
            }
        }
        // First what takes longest.
        if !self.shared.proposals.is_empty() {
            self.backend.propose(&mut self.shared.proposals);
            debug_assert!(self.shared.proposals.is_empty(), "the backend takes all proposals");
            self.shared.proposals.clear();
        }
        if !self.shared.syncs.is_empty() {
            self.backend.sync(&self.shared.syncs);
            self.shared.syncs.clear();
        }
        for id in listed {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            match client.flush(&self.shared) {
                Next::Rest => {}
                Next::Again => {
                    client.listed = true;
                    self.listed.push(id);
                }
                Next::Wait if client.writing.is_some() => {}
                Next::Wait => {
                    let (socket, front) = (client.socket.clone(), self.front.clone());
                    client.writing = Some(self.tasks.spawn(async move {
                        socket.writable().await;
                        front.tell(Told::Writable(id));
                    }));
                }
                Next::Gone => self.forget(id),
            }
        }
    }

    /// What it had in the hub is gone already: it has ended.
    fn forget(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.remove(&id) {
            client.socket.end();
            // It may be waiting for ever, with the socket in its hands.
            if let Some(waiting) = client.writing {
                waiting.abort();
            }
        }
    }

    fn answer_word(&mut self, id: ConnectionId, word: FourLetterWord) {
        if words::resets_server(word, &self.options.whitelist) {
            self.reset_server();
        }
        if words::resets_connections(word, &self.options.whitelist) {
            self.reset_connections();
        }
        let text = self.look(|server| words::answer(word, server));
        if let Some(client) = self.clients.get_mut(&id) {
            client.reply(text, &mut self.shared);
        }
    }

    /// The admin page asks.
    fn answer(&mut self, asked: Asked) {
        match asked.question {
            Question::Command(Command::StatReset) => self.reset_server(),
            Question::Command(Command::ConnectionStatReset) => self.reset_connections(),
            Question::Command(_) | Question::Metrics => {}
        }
        let text = self.look(|server| match asked.question {
            Question::Command(command) => commands::answer(command, server),
            Question::Metrics => commands::metrics(server),
        });
        // Whoever asked may have gone.
        let _ = asked.answer.send(text);
    }

    fn reset_server(&mut self) {
        self.shared.stats = Default::default();
    }

    fn reset_connections(&mut self) {
        self.clients.values_mut().for_each(|client| client.stats = Default::default());
    }

    fn look(&self, say: impl FnOnce(&Server<'_>) -> String) -> String {
        say(&Server {
            facts: &self.backend.facts(),
            options: &self.options,
            hub: &self.shared.hub,
            stats: &self.shared.stats,
            clients: &self.clients,
            client_port: self.client_port,
        })
    }
}

/// Nobody is served any more, however that came: what the front is told from now on must not pile up.
impl<B> Drop for Driver<B> {
    fn drop(&mut self) {
        let hub = &self.shared.hub;
        let resting = Resting { view: hub.view().clone(), standing: hub.standing(), leads: self.leads };
        self.front.end(resting);
    }
}

fn time_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

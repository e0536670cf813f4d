//! Leases of this server: what its clients ask of the steward, and the steward itself while this node leads.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    future::OptionFuture,
    stream::{FuturesUnordered, StreamExt as _},
};
use quorate_consensus::{Instant, Role, RoleChange};
use quorate_server::CallError;
use quorate_service::{
    KEYS, Reply,
    keyspace::Command,
    lease::{Asker, Asks, Question, Remaining, Steward, Word},
    progress,
};
use quorate_wire::EtcdError;
use tokio::sync::{Notify, oneshot};
use tonic::Status;

use crate::{
    Backend, Feed,
    feed::OfLeases,
    front::{Serving, table},
};

/// How long a question may wait for its answer: as long as etcd waits for a proposal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);

/// Nothing is due for so long at most.
const IDLE: Duration = Duration::from_secs(3_600);

/// What is asked of leases here.
#[derive(Debug)]
pub(crate) struct Leasing {
    feed: Feed,
    desk: Mutex<Desk>,
    asked: Notify,
    began: tokio::time::Instant,
}

#[derive(Debug)]
struct Desk {
    asks: Asks,
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Remaining>>,
}

impl Leasing {
    pub(crate) fn new(feed: Feed, life: u64) -> Leasing {
        let desk = Desk { asks: Asks::new(life), last: 0, waiting: HashMap::new() };
        Leasing { feed, desk: Mutex::new(desk), asked: Notify::new(), began: tokio::time::Instant::now() }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        Instant::START + self.began.elapsed()
    }

    /// Asks the steward, wherever it is.
    pub(crate) async fn ask(&self, question: Question) -> Result<Remaining, Status> {
        let (sender, receiver) = oneshot::channel();
        let request = {
            let mut desk = self.desk();
            desk.last += 1;
            let request = desk.last;
            desk.waiting.insert(request, sender);
            desk.asks.ask(question, request);
            request
        };
        self.asked.notify_one();
        let _waiting = Waiting { leasing: self, request };
        match tokio::time::timeout(ANSWER_TIMEOUT, receiver).await {
            Ok(Ok(remaining)) => Ok(remaining),
            Ok(Err(_)) => Err(table(EtcdError::Stopped)),
            Err(_) => Err(table(EtcdError::Timeout)),
        }
    }

    fn told(&self, number: u64, answers: Vec<(Question, Remaining)>) {
        let mut desk = self.desk();
        for (request, remaining) in desk.asks.told(number, answers) {
            if let Some(waiting) = desk.waiting.remove(&request) {
                // It may have gone.
                let _ = waiting.send(remaining);
            }
        }
    }
}

/// A client that waits; gone, it is forgotten.
struct Waiting<'a> {
    leasing: &'a Leasing,
    request: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut desk = self.leasing.desk();
        if desk.waiting.remove(&self.request).is_some() {
            desk.asks.forget(self.request);
        }
    }
}

type Barrier<'a> = Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send + 'a>>;
type Proposed<'a> = Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send + 'a>>;

/// Carries questions to the leader and answers back, and counts the time of leases while this node leads; until the node stops.
pub(crate) async fn keep<B: Backend>(serving: Serving<B>) {
    let leasing = serving.leasing();
    let mut keeper =
        Keeper { serving: &serving, steward: None, barrier: None, proposed: FuturesUnordered::new() };
    loop {
        let next = keeper.next();
        tokio::select! {
            () = leasing.feed.told_of_leases() => {}
            () = leasing.asked.notified() => {}
            () = tokio::time::sleep(next) => {}
            Some(barrier) = OptionFuture::from(keeper.barrier.as_mut()) => keeper.passed(barrier),
            Some(proposed) = keeper.proposed.next(), if !keeper.proposed.is_empty() => {
                if let Err(error) = proposed {
                    tracing::debug!(%error, "what the steward of leases decided is not in the log yet; it decides again");
                }
            }
        }
        for told in leasing.feed.take_of_leases() {
            keeper.hear(told);
        }
        keeper.settle();
    }
}

struct Keeper<'a, B> {
    serving: &'a Serving<B>,
    steward: Option<Steward>,
    barrier: Option<Barrier<'a>>,
    proposed: FuturesUnordered<Proposed<'a>>,
}

impl<B: Backend> Keeper<'_, B> {
    /// How long nothing is due.
    fn next(&self) -> Duration {
        let leasing = self.serving.leasing();
        let asks = leasing.desk().asks.poll_timeout();
        let steward = self.steward.as_ref().and_then(Steward::poll_timeout);
        let next = asks.into_iter().chain(steward).min();
        next.map_or(IDLE, |at| at.since(leasing.now())).min(IDLE)
    }

    fn hear(&mut self, told: OfLeases) {
        let leasing = self.serving.leasing();
        match (told, &mut self.steward) {
            (OfLeases::News(news), Some(steward)) => steward.hear(&news, leasing.now()),
            (OfLeases::Lost, Some(steward)) => steward.lost_count(),
            (OfLeases::News(_) | OfLeases::Lost, None) => {}
            (OfLeases::Role(change), _) => self.lead(change),
            (OfLeases::Word(member, bytes), _) if progress::Word::is_one(&bytes) => {
                self.serving.hear_of_progress(member, bytes);
            }
            (OfLeases::Word(member, bytes), steward) => match (Word::decode(bytes), steward) {
                (Ok(Word::Ask { number, questions }), Some(steward)) => {
                    steward.asked(Asker { member, number }, questions);
                }
                (Ok(Word::Tell { number, answers }), _) => leasing.told(number, answers),
                // Whoever took this node for the leader hears nothing, and asks again.
                (Ok(Word::Ask { .. }), None) => {}
                (Err(error), _) => tracing::warn!(%member, %error, "a word about leases cannot be read"),
            },
        }
    }

    fn lead(&mut self, change: RoleChange) {
        let leads = change.role == Role::Leader;
        if !leads {
            (self.steward, self.barrier) = (None, None);
        } else if self.steward.as_ref().is_none_or(|steward| steward.epoch() != change.epoch) {
            (self.steward, self.barrier) = (Some(Steward::new(change.epoch)), None);
        }
        if change.leader.is_some() {
            self.serving.leasing().desk().asks.leader_changed();
        }
    }

    fn passed(&mut self, barrier: Result<Reply, CallError>) {
        self.barrier = None;
        let now = self.serving.leasing().now();
        let Some(steward) = &mut self.steward else { return };
        match barrier {
            Ok(Reply::KeysView(view)) => {
                let commands = steward.barrier_done(&view, now);
                commands.into_iter().for_each(|command| self.propose(&command));
            }
            Ok(_) | Err(_) => steward.barrier_failed(now),
        }
    }

    fn propose(&mut self, command: &Command) {
        let bytes = command.encode();
        let backend = self.serving.backend();
        self.proposed.push(Box::pin(backend.propose(KEYS, None, move |to| to.raw(&bytes))));
    }

    /// Says and asks whatever is to be said and asked.
    fn settle(&mut self) {
        let leasing = self.serving.leasing();
        let backend = self.serving.backend();
        let now = leasing.now();
        if let Some(steward) = &mut self.steward {
            for (asker, answers) in steward.take_answers() {
                backend.relay(Some(asker.member), Word::Tell { number: asker.number, answers }.encode());
            }
            if steward.wants_barrier(now) {
                self.barrier = Some(Box::pin(backend.read(KEYS)));
            }
        }
        let words = leasing.desk().asks.words(now);
        for word in words {
            backend.relay(None, word.encode());
        }
    }
}

//! A log, a state, and a steward beside it.

use bytes::Bytes;
use quorate_consensus::{Duration, Epoch, Instant, NodeId, Position, StateMachine as _};
use quorate_keyspace::{Command, Keyspace, KeyspaceError, LeaseId, News, Put, Reply};
use quorate_service::lease::{Asker, Question, Remaining, Steward};

pub(crate) struct World {
    pub(crate) store: Keyspace,
    pub(crate) now: Instant,
    pub(crate) epoch: u64,
    index: u64,
    pub(crate) steward: Steward,
    /// Commands of the steward that are not in the log yet.
    pub(crate) proposed: Vec<Command>,
}

impl World {
    pub(crate) fn new() -> World {
        let steward = Steward::new(Epoch(1));
        World {
            store: Keyspace::new(),
            now: Instant::START,
            epoch: 1,
            index: 0,
            steward,
            proposed: Vec::new(),
        }
    }

    /// Applies it in the epoch of now, and tells the steward.
    pub(crate) fn apply(&mut self, command: &Command) -> (Result<Reply, KeyspaceError>, Vec<News>) {
        self.index += 1;
        let placed = self.store.apply(Position::new(self.epoch, self.index), &command.encode());
        for news in &placed.events {
            self.steward.hear(news, self.now);
        }
        (placed.response.result, placed.events)
    }

    pub(crate) fn grant(&mut self, id: i64, ttl_s: i64) {
        self.apply(&Command::LeaseGrant { id: LeaseId(id), ttl_s }).0.expect("it is granted");
    }

    pub(crate) fn put(&mut self, key: &str, lease: i64) {
        let put = Put { key: Bytes::from(key.to_owned()), lease: LeaseId(lease), ..Put::default() };
        self.apply(&Command::Put(put)).0.expect("it is put");
    }

    pub(crate) fn pass(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
    }

    pub(crate) fn ask(&mut self, number: u64, question: Question) {
        self.steward.asked(Asker { member: NodeId(1), number }, vec![question]);
    }

    /// The barrier that is wanted is done at once; what the steward proposes waits for [`World::commit`].
    pub(crate) fn barrier(&mut self) -> bool {
        let wanted = self.steward.wants_barrier(self.now);
        if wanted {
            self.proposed.extend(self.steward.barrier_done(&self.store.view(), self.now));
        }
        wanted
    }

    pub(crate) fn commit(&mut self) {
        for command in std::mem::take(&mut self.proposed) {
            let _ = self.apply(&command);
        }
    }

    /// Until nothing is due now.
    pub(crate) fn settle(&mut self) {
        while self.barrier() {
            self.commit();
        }
    }

    /// Another begins to lead; what the one before proposed is lost.
    pub(crate) fn elect(&mut self) {
        self.epoch += 1;
        self.steward = Steward::new(Epoch(self.epoch));
        self.proposed.clear();
        self.settle();
    }

    pub(crate) fn answers(&mut self) -> Vec<(u64, Remaining)> {
        let answers = self.steward.take_answers().into_iter();
        answers
            .flat_map(|(asker, told)| told.into_iter().map(move |(_, left)| (asker.number, left)))
            .collect()
    }

    pub(crate) fn lives(&self, id: i64) -> bool {
        self.store.view().lease(LeaseId(id)).is_some()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.store.view().get(key.as_bytes()).is_some()
    }
}

pub(crate) fn keep_alive(id: i64) -> Question {
    Question::KeepAlive(LeaseId(id))
}

pub(crate) fn time_to_live(id: i64) -> Question {
    Question::TimeToLive(LeaseId(id))
}

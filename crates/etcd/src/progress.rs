//! How far a learner has come. The leader knows; other members ask it, as they ask it of leases: over the connections that members have, whatever their
//! clients must show or trust.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use quorate_consensus::NodeId;
use quorate_service::{KEYS, cluster, progress::Word};
use quorate_wire::EtcdError;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tonic::Status;

use crate::{
    Backend,
    front::{Serving, call_error, table},
};

/// How long a question may wait for its answer, elections and all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);
/// Words may be lost.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Who waits for an answer here.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<Desk>);

#[derive(Debug)]
struct Desk {
    /// Begins elsewhere in each life, so that an answer for the life before is nobody's.
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<bool>>,
}

impl Progress {
    pub(crate) fn new(life: u64) -> Progress {
        Progress(Mutex::new(Desk { last: life, waiting: HashMap::new() }))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) -> (Waiting<'_>, oneshot::Receiver<bool>) {
        let (sender, receiver) = oneshot::channel();
        let mut desk = self.desk();
        desk.last = desk.last.wrapping_add(1);
        let number = desk.last;
        desk.waiting.insert(number, sender);
        (Waiting { progress: self, number }, receiver)
    }
}

/// A call that waits; gone, it is forgotten.
struct Waiting<'a> {
    progress: &'a Progress,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.progress.desk().waiting.remove(&self.number);
    }
}

impl<B: Backend> Serving<B> {
    /// Has the learner caught up with the leader, whoever that is?
    pub(crate) async fn in_sync(&self, learner: NodeId) -> Result<bool, Status> {
        if let Some(in_sync) = self.has_caught_up(learner).await? {
            return Ok(in_sync);
        }
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let (waiting, mut answer) = self.progress().wait();
        let question = Word::Ask { number: waiting.number, learner }.encode();
        while Instant::now() < deadline {
            // To this node, too, if it leads by now.
            self.backend().relay(None, question.clone());
            match timeout(ASK_AGAIN, &mut answer).await {
                Ok(Ok(in_sync)) => return Ok(in_sync),
                Ok(Err(_)) => return Err(table(EtcdError::Stopped)),
                Err(_) => {}
            }
        }
        Err(table(EtcdError::Timeout))
    }

    /// Hears a word of another member, or of this one.
    pub(crate) fn hear_of_progress(&self, member: NodeId, bytes: Bytes) {
        match Word::decode(bytes) {
            Ok(Word::Tell { number, in_sync }) => {
                if let Some(waiting) = self.progress().desk().waiting.remove(&number) {
                    let _ = waiting.send(in_sync);
                }
            }
            Ok(Word::Ask { number, learner }) => {
                let serving = self.clone();
                tokio::spawn(async move {
                    // Whoever took this node for the leader hears nothing, and asks again.
                    if let Ok(Some(in_sync)) = serving.has_caught_up(learner).await {
                        serving.backend().relay(Some(member), Word::Tell { number, in_sync }.encode());
                    }
                });
            }
            Err(error) => tracing::warn!(%member, %error, "a word about a learner cannot be read"),
        }
    }

    /// None: this node does not lead, and knows nothing of it.
    async fn has_caught_up(&self, learner: NodeId) -> Result<Option<bool>, Status> {
        let keys = self.backend().status(KEYS).await.map_err(|error| call_error(&error))?;
        let Some(keys) = keys.filter(|_| self.leads()) else { return Ok(None) };
        let matched = |id| keys.engine.matched.get(&id).map_or(0, |index| index.0);
        let own = matched(NodeId(self.0.front.member_id));
        Ok(Some(cluster::in_sync(matched(learner), own)))
    }
}

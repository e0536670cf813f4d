//! The service KV.

use futures_util::stream;
use quorate_consensus::{Epoch, GroupId};
use quorate_server::CallError;
use quorate_service::{
    KEYS, Reply, keyspace,
    keyspace::{Alarm, AlarmAction, AlarmKind, AlarmMember, Ask, Command, KeyspaceError, LeaseId, Operation},
    keyspace_error, kv,
    kv::{Plan, Query},
    node::SessionTag,
    shards, undone_error,
};
use quorate_wire::etcdserverpb as pb;
use tonic::{Request, Response, Status, codegen::BoxStream};

use crate::{
    Backend,
    front::{OnLearner, Serving, call_error, done, session, status, wrong_reply},
    gate::Shown,
    range_stream::{self, Chunks},
    rpc::etcdserverpb::kv_server::Kv,
};

/// A keyspace of so few keys is read where the request came in. More may take long, and is read on a thread of its own, so that other
/// requests do not wait.
const KEYS_INLINE_MAX: u64 = 2_000;

#[tonic::async_trait]
impl<B: Backend> Kv for Serving<B> {
    type RangeStreamStream = BoxStream<pb::RangeStreamResponse>;

    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let on_learner = if request.get_ref().serializable { OnLearner::Served } else { OnLearner::Refused };
        let shown = self.admit(&request, on_learner)?;
        let plan = kv::range(request.into_inner()).map_err(|error| status(&error))?;
        let Plan::Read { query, serializable } = plan else { return Err(wrong_reply()) };
        self.counts().ranges.add(1);
        match self.query(&shown, query, serializable).await? {
            (keyspace::Reply::Range(range), revision) => {
                Ok(Response::new(kv::range_response(range, revision, &self.header())))
            }
            _ => Err(wrong_reply()),
        }
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let on_learner = if request.get_ref().serializable { OnLearner::Served } else { OnLearner::Refused };
        let shown = self.admit(&request, on_learner)?;
        let plan = kv::range(request.into_inner()).map_err(|error| status(&error))?;
        let Plan::Read { query: Query::Range(range), serializable } = plan else { return Err(wrong_reply()) };
        range_stream::check(&range)?;
        self.counts().ranges.add(1);
        let view = self.ask(&shown, Ask::Range(&range), serializable).await?;
        let chunks = Chunks::new(view, range, self.limits().request_bytes_max, self.header())?;
        let told = stream::unfold(chunks, |mut chunks| async move {
            let next = chunks.next()?;
            // Others want to run as well.
            tokio::task::yield_now().await;
            Some((next, chunks))
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let session = session(request.metadata())?;
        let plan = kv::put(request.into_inner(), self.limits()).map_err(|error| status(&error))?;
        let (reply, revision) = self.plan(&shown, plan, session).await?;
        Ok(Response::new(kv::put_response(reply, revision, &self.header())))
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let session = session(request.metadata())?;
        let plan = kv::delete_range(request.into_inner(), self.limits()).map_err(|error| status(&error))?;
        let (reply, revision) = self.plan(&shown, plan, session).await?;
        Ok(Response::new(kv::delete_range_response(reply, revision, &self.header())))
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let session = session(request.metadata())?;
        self.counts().txns.add(1);
        let plan = kv::txn(request.into_inner(), self.limits()).map_err(|error| status(&error))?;
        let (reply, revision) = self.plan(&shown, plan, session).await?;
        Ok(Response::new(kv::txn_response(reply, revision, &self.header())))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let session = session(request.metadata())?;
        let plan = kv::compact(request.get_ref());
        let (_, revision) = self.plan(&shown, plan, session).await?;
        Ok(Response::new(pb::CompactionResponse { header: Some(self.header().at(revision)) }))
    }
}

impl<B: Backend> Serving<B> {
    async fn plan(
        &self,
        shown: &Shown,
        plan: Plan,
        session: Option<SessionTag>,
    ) -> Result<(keyspace::Reply, u64), Status> {
        match plan {
            Plan::Propose(command) => self.write(shown, command, session).await,
            Plan::Read { query, serializable } => self.query(shown, query, serializable).await,
        }
    }

    async fn query(
        &self,
        shown: &Shown,
        query: Query,
        serializable: bool,
    ) -> Result<(keyspace::Reply, u64), Status> {
        let ask = match &query {
            Query::Range(range) => Ask::Range(range),
            Query::Txn(txn) => Ask::Txn(txn),
        };
        let view = self.ask(shown, ask, serializable).await?;
        let revision = view.revision();
        if !is_cheap(&query, &view) {
            let run = move || query.run(&view);
            return match tokio::task::spawn_blocking(run).await {
                Ok(reply) => reply.map(|reply| (reply, revision)).map_err(|error| status(&error)),
                Err(_) => Err(Status::internal("quorate: the read did not finish; please report this")),
            };
        }
        query.run(&view).map(|reply| (reply, revision)).map_err(|error| status(&error))
    }

    /// Proposes; the reply, and the revision for the response's header.
    pub(crate) async fn write(
        &self,
        shown: &Shown,
        command: Command,
        session: Option<SessionTag>,
    ) -> Result<(keyspace::Reply, u64), Status> {
        let cost_bytes = command.cost_bytes();
        match self.try_write(shown, command, session).await? {
            (Ok(reply), revision) => Ok((reply, revision)),
            (Err(error), _) => Err(self.refused(error, cost_bytes).await),
        }
    }

    /// Proposes in the name of whoever asks; what the keyspace says to it, and the revision for the response's header.
    pub(crate) async fn try_write(
        &self,
        shown: &Shown,
        command: Command,
        session: Option<SessionTag>,
    ) -> Result<(Result<keyspace::Reply, KeyspaceError>, u64), Status> {
        if self.shard_map().is_some() && self.known().is_on() && attaches(&command) {
            // Whoever attaches a key to a lease must be allowed to write all keys that hang on it. A shard sees its own alone, so that is looked at here, where all are seen.
            self.permit(shown, Ask::Command(&command), false).await?;
        }
        // A shard knows its own size, and the quota is of all: looked at here, as etcd does. What is on its way may go past it; then the alarm stops every shard.
        // What is done once only is not refused here: it may be done already, and its answer is remembered.
        if session.is_none() && !self.0.front.feed.has_room_for(command.cost_bytes()) {
            return Ok((Err(KeyspaceError::NoSpace), self.0.front.feed.revision()));
        }
        let command = self.sealed(shown, command).await?;
        self.propose(&command, session).await
    }

    /// Proposes in nobody's name, or in that which the command says.
    pub(crate) async fn propose(
        &self,
        command: &Command,
        session: Option<SessionTag>,
    ) -> Result<(Result<keyspace::Reply, KeyspaceError>, u64), Status> {
        if let Some(group) = self.shard_of(command, session.is_some()) {
            let reply = self.backend().propose(group, None, |to| shards::turn(command, to)).await;
            match self.answer(reply)? {
                // Its keys are moving, and this node knows less of that than the shard, or more. The order knows.
                (Err(KeyspaceError::Moved), _) => {}
                answer => return Ok(answer),
            }
        }
        let reply = self.backend().propose(KEYS, session, |to| to.raw(&command.encode())).await;
        self.answer(reply)
    }

    /// What was said to a command.
    fn answer(
        &self,
        reply: Result<Reply, CallError>,
    ) -> Result<(Result<keyspace::Reply, KeyspaceError>, u64), Status> {
        let outcome = match reply.map_err(|error| call_error(&error))? {
            Reply::Keys(outcome) => outcome,
            Reply::Undone(undone) => return Err(status(&undone_error(undone))),
            _ => return Err(wrong_reply()),
        };
        let keyspace::Response { revision, result } = done(outcome)?;
        Ok((result, revision))
    }

    /// The group of the shard that does the command alone. What is to be done once only is remembered by the order, which has all of a client's commands.
    fn shard_of(&self, command: &Command, once: bool) -> Option<GroupId> {
        let map = self.shard_map().filter(|_| !once)?;
        let owner = shards::sole_owner(command, &map)?;
        map.get(owner).map(|entry| entry.group).filter(|group| !self.is_young(*group))
    }

    /// Has the group never had a leader, as far as this node has heard? {keys have just been divided}: what is proposed to it then waits for its first election, and may be lost in
    /// it; in the order's log it is not.
    fn is_young(&self, group: GroupId) -> bool {
        let roles = self.backend().role_changes();
        let role = roles.borrow().get(&group).copied();
        role.is_none_or(|role| role.leader.is_none() && role.epoch <= Epoch(1))
    }

    /// What the client is told of a command that costs so much, and what follows from it for this member.
    pub(crate) async fn refused(&self, error: KeyspaceError, cost_bytes: u64) -> Status {
        if error == KeyspaceError::NoSpace {
            self.raise_no_space(cost_bytes).await;
        }
        status(&keyspace_error(error))
    }

    /// The first to be refused for want of space raises this member's alarm, as in etcd; operators look for it. Whoever is refused because of an alarm,
    /// and would have room, raises none: it would stand when the operator has lowered the other one.
    async fn raise_no_space(&self, cost_bytes: u64) {
        let alarm = AlarmMember { member: self.0.front.member_id, kind: AlarmKind::NoSpace };
        let is_new = |view: keyspace::View| {
            view.has_no_room_for(cost_bytes) && view.alarms().all(|raised| raised != alarm)
        };
        if self.keys(true).await.is_ok_and(is_new) {
            let command = Command::Alarm(Alarm { action: AlarmAction::Activate, alarm });
            let encode = |to: &mut quorate_consensus::Writer| to.raw(&command.encode());
            if let Err(error) = self.backend().propose(KEYS, None, encode).await {
                tracing::warn!(%error, "the alarm NOSPACE could not be raised; the next refused write tries again");
            }
        }
    }
}

/// Does it attach a key to a lease?
fn attaches(command: &Command) -> bool {
    fn within(txn: &keyspace::Txn) -> bool {
        txn.success.iter().chain(&txn.failure).any(|operation| match operation {
            Operation::Put(put) => put.lease != LeaseId::NONE,
            Operation::Txn(nested) => within(nested),
            Operation::Range(_) | Operation::DeleteRange(_) | Operation::Empty => false,
        })
    }
    match command {
        Command::Put(put) => put.lease != LeaseId::NONE,
        Command::Txn(txn) => within(txn),
        _ => false,
    }
}

/// Does reading take so little that another thread would cost more?
fn is_cheap(query: &Query, view: &keyspace::View) -> bool {
    let one_key = |range: &keyspace::Range| range.range_end.is_empty();
    let few_keys = || view.key_count() <= KEYS_INLINE_MAX;
    match query {
        Query::Range(range) => one_key(range) || few_keys(),
        Query::Txn(txn) => {
            let cheap = |operation: &Operation| match operation {
                Operation::Range(range) => one_key(range),
                Operation::Put(_) | Operation::DeleteRange(_) | Operation::Txn(_) | Operation::Empty => true,
            };
            few_keys()
                || txn.success.iter().chain(&txn.failure).all(cheap)
                    && txn.compare.iter().all(|compare| compare.range_end.is_empty())
        }
    }
}

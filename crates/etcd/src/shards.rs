//! The service Shards, which is Quorate's own: how the keys are divided among groups, a shard's split, and the merging of two.

use std::time::Duration;

use bytes::Bytes;
use quorate_consensus::{EngineKind, GroupId, Membership, NodeId, ShardId};
use quorate_service::{
    FOUNDED_MAX, Founding, KEYS, Reply, founding_entry,
    keyspace::Ask,
    placement::shards::{Entry, ShardError, ShardMap, Token, Vacancy},
    shards::{Handover, Undone, merge_at, split_at},
    undone_error,
};
use quorate_wire::{EtcdError, etcdserverpb::ResponseHeader, quoratepb as pb};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::{
    Backend,
    front::{OnLearner, Serving, call_error, done, status, table, wrong_reply},
    rpc::quoratepb::shards_server::Shards,
};

/// How often is looked whether the keys are divided by now.
const DIVIDED_POLL: Duration = Duration::from_millis(5);
/// How long whoever has keys divided waits for the leaders of the new groups.
const LEADERS_PATIENCE: Duration = Duration::from_secs(3);
/// What one who asks for a split or a merge is told while the keys are in one group.
const ONE_GROUP: &str = "quorate: the keys are in one group; divide them first: quorate shard divide";
/// And while another handover is under way.
const ONE_AT_A_TIME: &str = "quorate: a shard is being split or merged at this moment, and that is done to one at a time; nothing was done, ask again when that has ended";

#[tonic::async_trait]
impl<B: Backend> Shards for Serving<B> {
    async fn list(
        &self,
        request: Request<pb::ShardListRequest>,
    ) -> Result<Response<pb::ShardListResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Served)?;
        let view = self.ask(&shown, Ask::Status, true).await?;
        let header = self.header_at(&view);
        let Some(map) = self.shard_map() else {
            return Ok(Response::new(pb::ShardListResponse { header, ..Default::default() }));
        };
        let shards = self.shown_shards(&map).await?;
        let mut vacant = Vec::new();
        for vacancy in map.vacancies() {
            vacant.push(self.shown_vacancy(vacancy).await?);
        }
        let (map_version, rule) = (map.version(), map.rule().to_string());
        Ok(Response::new(pb::ShardListResponse { header, map_version, rule, shards, vacant }))
    }

    async fn explain(
        &self,
        request: Request<pb::ShardExplainRequest>,
    ) -> Result<Response<pb::ShardExplainResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Served)?;
        let view = self.ask(&shown, Ask::Status, true).await?;
        let header = self.header_at(&view);
        let Some(map) = self.shard_map() else { return Err(Status::failed_precondition(ONE_GROUP)) };
        let explained = map.explain(&request.get_ref().key);
        Ok(Response::new(pb::ShardExplainResponse {
            header,
            map_version: explained.map_version,
            rule: explained.rule.to_string(),
            token: explained.token.as_bytes().to_vec().into(),
            shard: Some(self.shown_shard(&explained.entry).await?),
        }))
    }

    async fn divide(
        &self,
        request: Request<pb::ShardDivideRequest>,
    ) -> Result<Response<pb::ShardDivideResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, false).await?;
        let pb::ShardDivideRequest { shards, engine } = request.into_inner();
        let engine = match &*engine {
            "" | "raft" => EngineKind::Raft,
            "zab" => EngineKind::Zab,
            other => {
                return Err(Status::invalid_argument(format!(
                    "quorate: there is no engine {other}; there are raft and zab"
                )));
            }
        };
        let count = u16::try_from(shards).ok().filter(|shards| (2..=FOUNDED_MAX).contains(shards));
        let Some(count) = count else {
            return Err(Status::invalid_argument(format!(
                "quorate: keys are divided among 2 to {FOUNDED_MAX} shards, not {shards}"
            )));
        };
        let members = self.members_of_keys().await?;
        if self.shard_map().is_some() {
            return Err(Status::failed_precondition("quorate: the keys are divided already; split a shard"));
        }
        let entry = founding_entry(Founding { shards: count, engine }, &members);
        let reply = self.backend().propose(KEYS, None, |to| to.raw(&entry));
        // Nobody answers an entry of the order; that it has come shows in what this node has heard.
        let heard = async {
            while self.shard_map().is_none() {
                tokio::time::sleep(DIVIDED_POLL).await;
            }
        };
        tokio::select! {
            reply = reply => return Err(match reply {
                Err(error) => call_error(&error),
                Ok(_) => wrong_reply(),
            }),
            () = heard => {}
        }
        // By now a read waits for all shards to have come as far. And whoever is told finds the first leaders elected, unless that takes long.
        let view = self.keys(false).await?;
        let map = self.shard_map().ok_or_else(wrong_reply)?;
        let deadline = Instant::now() + LEADERS_PATIENCE;
        let mut shards = self.shown_shards(&map).await?;
        while shards.iter().any(|shard| shard.leader == 0) && Instant::now() < deadline {
            tokio::time::sleep(DIVIDED_POLL).await;
            shards = self.shown_shards(&map).await?;
        }
        Ok(Response::new(pb::ShardDivideResponse { header: self.header_at(&view), shards }))
    }

    /// By the map of this member: if that is not the newest, or somebody else splits at the same moment, nothing happens, and it may be asked again.
    async fn split(
        &self,
        request: Request<pb::ShardSplitRequest>,
    ) -> Result<Response<pb::ShardSplitResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, false).await?;
        let pb::ShardSplitRequest { shard, at } = request.into_inner();
        let Some(map) = self.shard_map() else { return Err(Status::failed_precondition(ONE_GROUP)) };
        let members = self.members_of_keys().await?;
        let at = (!at.is_empty()).then(|| Token::new(at));
        let (entry, split) = split_at(&map, ShardId(shard), at, &members).map_err(|error| refused(&error))?;
        let header = self.hand_over(&entry).await?;
        let mut both = Vec::with_capacity(2);
        for shard in [split.giver, split.taker] {
            both.push(self.shown_behind(&split, shard).await?);
        }
        let child = both.pop().flatten();
        let shard = both.pop().flatten();
        Ok(Response::new(pb::ShardSplitResponse { header, shard, child }))
    }

    /// By the map of this member, as a split.
    async fn merge(
        &self,
        request: Request<pb::ShardMergeRequest>,
    ) -> Result<Response<pb::ShardMergeResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, false).await?;
        let pb::ShardMergeRequest { left, right } = request.into_inner();
        let Some(map) = self.shard_map() else { return Err(Status::failed_precondition(ONE_GROUP)) };
        let right = (right > 0).then_some(ShardId(right));
        let (entry, merge) = merge_at(&map, ShardId(left), right).map_err(|error| refused(&error))?;
        let header = self.hand_over(&entry).await?;
        let shard = self.shown_behind(&merge, merge.taker).await?;
        let vacant = match merge.map.vacancy(merge.giver) {
            Some(vacancy) => Some(self.shown_vacancy(vacancy).await?),
            None => None,
        };
        Ok(Response::new(pb::ShardMergeResponse { header, shard, vacant }))
    }
}

fn refused(error: &ShardError) -> Status {
    Status::failed_precondition(format!("quorate: {error}"))
}

impl<B: Backend> Serving<B> {
    /// Who has the keys, and so will have shards of them.
    async fn members_of_keys(&self) -> Result<Membership, Status> {
        let keys = self.backend().status(KEYS).await.map_err(|error| call_error(&error))?;
        let Some(keys) = keys else { return Err(table(EtcdError::NoLeader)) };
        // Groups are born with members of whom it is certain that they are committed.
        if keys.engine.membership.is_joint() || keys.engine.membership_at > keys.engine.commit {
            return Err(Status::unavailable(
                "quorate: the members are being changed at this moment; try again when that is done",
            ));
        }
        Ok(keys.engine.membership)
    }

    /// Proposes the entry of a handover, and waits until this member has carried it out.
    async fn hand_over(&self, entry: &Bytes) -> Result<Option<ResponseHeader>, Status> {
        let reply = self.backend().propose(KEYS, None, |to| to.raw(entry)).await;
        match reply.map_err(|error| call_error(&error))? {
            Reply::Keys(outcome) => Ok(Some(self.header().at(done(outcome)?.revision))),
            Reply::Undone(Undone::Busy) => Err(Status::resource_exhausted(ONE_AT_A_TIME)),
            Reply::Undone(undone) => Err(status(&undone_error(undone))),
            _ => Err(wrong_reply()),
        }
    }

    async fn shown_behind(&self, handover: &Handover, shard: ShardId) -> Result<Option<pb::Shard>, Status> {
        match handover.map.get(shard) {
            Some(entry) => self.shown_shard(entry).await.map(Some),
            None => Ok(None),
        }
    }

    async fn shown_shards(&self, map: &ShardMap) -> Result<Vec<pb::Shard>, Status> {
        let mut shards = Vec::with_capacity(map.shards().len());
        for entry in map.shards() {
            shards.push(self.shown_shard(entry).await?);
        }
        Ok(shards)
    }

    /// A shard, and what this node has heard of its group.
    async fn shown_shard(&self, entry: &Entry) -> Result<pb::Shard, Status> {
        let bytes = |token: &Token| token.as_bytes().to_vec();
        let shard = pb::Shard {
            id: entry.shard.0,
            group: entry.group.0,
            from: bytes(&entry.from).into(),
            to: entry.to.as_ref().map(bytes).unwrap_or_default().into(),
            range_version: entry.range_version,
            engine: entry.engine.to_string(),
            ..pb::Shard::default()
        };
        self.with_group(shard, &entry.members).await
    }

    async fn shown_vacancy(&self, vacancy: &Vacancy) -> Result<pb::Shard, Status> {
        let shard = pb::Shard {
            id: vacancy.shard.0,
            group: vacancy.group.0,
            range_version: vacancy.range_version,
            engine: vacancy.engine.to_string(),
            ..pb::Shard::default()
        };
        self.with_group(shard, &vacancy.members).await
    }

    /// With the group's leader and members; those that it was born with, as long as nothing was heard of it.
    async fn with_group(&self, shard: pb::Shard, born: &Membership) -> Result<pb::Shard, Status> {
        let group = self.backend().status(GroupId(shard.group)).await.map_err(|error| call_error(&error))?;
        let members =
            |membership: &Membership| -> Vec<u64> { membership.members().map(|NodeId(id)| id).collect() };
        Ok(pb::Shard {
            leader: group.as_ref().and_then(|group| group.engine.leader).map_or(0, |NodeId(id)| id),
            members: members(group.as_ref().map_or(born, |group| &group.engine.membership)),
            ..shard
        })
    }
}

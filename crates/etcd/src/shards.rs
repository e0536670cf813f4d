//! The service Shards, which is Quorate's own: how the keys are divided among groups, and a shard's split.

use quorate_consensus::{NodeId, ShardId};
use quorate_service::{
    KEYS, Reply,
    keyspace::Ask,
    placement::shards::{Entry, ShardMap, Token},
    shards::split_at,
    undone_error,
};
use quorate_wire::quoratepb as pb;
use tonic::{Request, Response, Status};

use crate::{
    Backend,
    front::{OnLearner, Serving, call_error, done, status, table},
    rpc::quoratepb::shards_server::Shards,
};

/// What one who asks for a split is told while the keys are in one group.
const ONE_GROUP: &str =
    "quorate: the keys are in one group; they are divided where a cluster is founded, by keys-shards";

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
        let mut shards = Vec::with_capacity(map.shards().len());
        for entry in map.shards() {
            shards.push(self.shown_shard(entry).await?);
        }
        let (map_version, rule) = (map.version(), map.rule().to_string());
        Ok(Response::new(pb::ShardListResponse { header, map_version, rule, shards }))
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

    /// By the map of this member: if that is not the newest, or somebody else splits at the same moment, nothing happens, and it may be asked again.
    async fn split(
        &self,
        request: Request<pb::ShardSplitRequest>,
    ) -> Result<Response<pb::ShardSplitResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, false).await?;
        let pb::ShardSplitRequest { shard, at } = request.into_inner();
        let Some(map) = self.shard_map() else { return Err(Status::failed_precondition(ONE_GROUP)) };
        let keys = self.backend().status(KEYS).await.map_err(|error| call_error(&error))?;
        let Some(keys) = keys else { return Err(table(quorate_wire::EtcdError::NoLeader)) };
        if keys.engine.membership.is_joint() {
            return Err(Status::unavailable(
                "quorate: the members are being changed at this moment; split the shard when that is done",
            ));
        }
        let at = (!at.is_empty()).then(|| Token::new(at));
        let (entry, split) = split_at(&map, ShardId(shard), at, &keys.engine.membership)
            .map_err(|error| Status::failed_precondition(format!("quorate: {error}")))?;
        let reply = self.backend().propose(KEYS, None, |to| to.raw(&entry)).await;
        let revision = match reply.map_err(|error| call_error(&error))? {
            Reply::Keys(outcome) => done(outcome)?.revision,
            Reply::Undone(undone) => return Err(status(&undone_error(undone))),
            _ => return Err(crate::front::wrong_reply()),
        };
        let entry = |map: &ShardMap, shard| map.get(shard).cloned();
        let mut both = Vec::with_capacity(2);
        for shard in [split.shard, split.child] {
            both.push(match entry(&split.map, shard) {
                Some(entry) => Some(self.shown_shard(&entry).await?),
                None => None,
            });
        }
        let child = both.pop().flatten();
        let shard = both.pop().flatten();
        Ok(Response::new(pb::ShardSplitResponse { header: Some(self.header().at(revision)), shard, child }))
    }
}

impl<B: Backend> Serving<B> {
    /// A shard, and what this node has heard of its group.
    async fn shown_shard(&self, entry: &Entry) -> Result<pb::Shard, Status> {
        let group = self.backend().status(entry.group).await.map_err(|error| call_error(&error))?;
        let members = |membership: &quorate_consensus::Membership| -> Vec<u64> {
            membership.members().map(|NodeId(id)| id).collect()
        };
        let bytes = |token: &Token| token.as_bytes().to_vec();
        Ok(pb::Shard {
            id: entry.shard.0,
            group: entry.group.0,
            from: bytes(&entry.from).into(),
            to: entry.to.as_ref().map(bytes).unwrap_or_default().into(),
            range_version: entry.range_version,
            engine: entry.engine.to_string(),
            leader: group.as_ref().and_then(|group| group.engine.leader).map_or(0, |NodeId(id)| id),
            members: members(group.as_ref().map_or(&entry.members, |group| &group.engine.membership)),
        })
    }
}

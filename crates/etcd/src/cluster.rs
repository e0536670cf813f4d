//! The service Cluster.

use std::time::{SystemTime, UNIX_EPOCH};

use quorate_consensus::NodeId;
use quorate_service::{KEYS, META, Reply, cluster, keyspace::Ask, placement::Command, placement_error};
use quorate_wire::{EtcdError, etcdserverpb as pb};
use tonic::{Request, Response, Status};

use crate::{
    Backend,
    front::{OnLearner, Serving, call_error, done, status, table, wrong_reply},
    rpc::etcdserverpb::cluster_server::Cluster,
};

#[tonic::async_trait]
impl<B: Backend> Cluster for Serving<B> {
    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, false).await?;
        let front = &self.0.front;
        // Any number that differs from one addition of the same URLs to the next will do.
        let salt = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let request = request.into_inner();
        let strict = front.strict_reconfiguration;
        let (id, mut command) =
            cluster::add(request, &front.cluster_token, salt, strict).map_err(|error| status(&error))?;
        if let Command::AddMember { learners_max, .. } = &mut command {
            *learners_max = front.learners_max;
        }
        let members = self.change(&command).await?;
        let member = members.iter().find(|member| member.id == id.0).cloned();
        Ok(Response::new(pb::MemberAddResponse { header: self.no_revision(), member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, false).await?;
        let members =
            self.change(&cluster::remove(request.get_ref(), self.0.front.strict_reconfiguration)).await?;
        Ok(Response::new(pb::MemberRemoveResponse { header: self.no_revision(), members }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, false).await?;
        let command = cluster::update(request.into_inner()).map_err(|error| status(&error))?;
        let members = self.change(&command).await?;
        Ok(Response::new(pb::MemberUpdateResponse { header: self.no_revision(), members }))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::MemberList, true).await?;
        let records = self.records(!request.get_ref().linearizable).await?;
        let members = records.members().values().map(cluster::member).collect();
        Ok(Response::new(pb::MemberListResponse { header: self.no_revision(), members }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, false).await?;
        let request = request.into_inner();
        let id = NodeId(request.id);
        let keys = self.backend().status(KEYS).await.map_err(|error| call_error(&error))?;
        if keys.is_none_or(|keys| keys.engine.leader.is_none()) {
            return Err(table(EtcdError::NoLeader));
        }
        let records = self.records(false).await?;
        let member = records.member(id).ok_or_else(|| table(EtcdError::MemberNotFound))?;
        if !member.learner {
            return Err(table(EtcdError::MemberNotLearner));
        }
        // Only the leader knows how far a learner has come. That it is still so when the change is made nobody needs: it is asked so that a learner does not
        // hold the others up for long, and it catches up in any case.
        if !self.in_sync(id).await? {
            return Err(table(EtcdError::LearnerNotReady));
        }
        let strict = self.0.front.strict_reconfiguration;
        let members = self.change(&cluster::promote(&request, strict)).await?;
        Ok(Response::new(pb::MemberPromoteResponse { header: self.no_revision(), members }))
    }
}

impl<B: Backend> Serving<B> {
    fn no_revision(&self) -> Option<pb::ResponseHeader> {
        Some(cluster::header(&self.header()))
    }

    /// Changes the records; the members afterwards.
    pub(crate) async fn change(&self, command: &Command) -> Result<Vec<pb::Member>, Status> {
        let refused = |error| status(&placement_error(&error));
        command.check().map_err(refused)?;
        let reply = self.backend().propose(META, None, |to| to.raw(&command.encode())).await;
        let Reply::Meta(outcome) = reply.map_err(|error| call_error(&error))? else {
            return Err(wrong_reply());
        };
        Ok(done(outcome)?.members().map_err(refused)?.iter().map(cluster::member).collect())
    }
}

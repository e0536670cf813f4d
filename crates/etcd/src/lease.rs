//! The service Lease.

use futures_util::StreamExt as _;
use quorate_service::{
    KEYS,
    keyspace::{Ask, Command, KeyspaceError, LEASE_TTL_S_MAX, LeaseId, Reply as KeysReply},
    lease::Question,
    node::SessionTag,
};
use quorate_wire::{EtcdError, etcdserverpb as pb};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use crate::{
    Backend,
    front::{OnLearner, Serving, session, table, wrong_reply},
    gate::Shown,
    rpc::etcdserverpb::lease_server::Lease,
};

/// Keep-alives of one stream that are asked for at a time. Their answers leave in the order in which they were asked for.
const KEEP_ALIVES: usize = 1_024;

/// Ids that are drawn for one grant. Of 2⁶³ one in use is hardly ever hit, and never so often.
const DRAWS: usize = 8;

#[tonic::async_trait]
impl<B: Backend> Lease for Serving<B> {
    type LeaseKeepAliveStream = BoxStream<pb::LeaseKeepAliveResponse>;

    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let session = session(request.metadata())?;
        let pb::LeaseGrantRequest { ttl, id } = request.into_inner();
        if ttl > LEASE_TTL_S_MAX {
            return Err(table(EtcdError::LeaseTtlTooLarge));
        }
        // Silently, as in etcd: a lease shorter than an election would end whenever the leader does.
        let ttl_s = ttl.max(self.lease_ttl_min_s());
        let (lease, revision) = self.grant(&shown, LeaseId(id), ttl_s, session).await?;
        Ok(Response::new(pb::LeaseGrantResponse {
            header: Some(self.header().at(revision)),
            id: lease.id.0,
            ttl: lease.ttl_s,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let session = session(request.metadata())?;
        let command = Command::LeaseRevoke { id: LeaseId(request.get_ref().id) };
        let (_, revision) = self.write(&shown, command, session).await?;
        Ok(Response::new(pb::LeaseRevokeResponse { header: Some(self.header().at(revision)) }))
    }

    /// A lease that is not there is no error: its answer has a TTL of 0.
    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let shown = self.admit_long(&request)?;
        let serving = self.clone();
        let answers = request
            .into_inner()
            .map(move |request| {
                let (serving, shown) = (serving.clone(), shown.clone());
                async move { serving.keep_alive(&shown, request?.id).await }
            })
            .buffered(KEEP_ALIVES);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let view = self.ask(&shown, Ask::LeaseTimeToLive { id: LeaseId(id), keys }, false).await?;
        let header = self.header_at(&view);
        let there = view.lease(LeaseId(id));
        let remaining = match there {
            Some(_) => self.leasing().ask(Question::TimeToLive(LeaseId(id))).await?,
            None => None,
        };
        let (Some(lease), Some(ttl)) = (there, remaining) else {
            return Ok(Response::new(pb::LeaseTimeToLiveResponse {
                header,
                id,
                ttl: -1,
                ..Default::default()
            }));
        };
        let keys = if keys { view.lease_keys(lease.id).collect() } else { Vec::new() };
        Ok(Response::new(pb::LeaseTimeToLiveResponse { header, id, ttl, granted_ttl: lease.ttl_s, keys }))
    }

    /// Those that this member knows of, as in etcd.
    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let view = self.ask(&shown, Ask::LeaseLeases, true).await?;
        let leases = view.leases().map(|lease| pb::LeaseStatus { id: lease.id.0 }).collect();
        Ok(Response::new(pb::LeaseLeasesResponse { header: self.header_at(&view), leases }))
    }
}

impl<B: Backend> Serving<B> {
    /// Grants a lease with that id, or with one that is drawn.
    pub(crate) async fn grant(
        &self,
        shown: &Shown,
        id: LeaseId,
        ttl_s: i64,
        session: Option<SessionTag>,
    ) -> Result<(quorate_service::keyspace::Lease, u64), Status> {
        for _ in 0..DRAWS {
            let drawn = if id == LeaseId::NONE { LeaseId(self.draw_lease_id()) } else { id };
            let command = Command::LeaseGrant { id: drawn, ttl_s };
            let cost_bytes = command.cost_bytes();
            match self.try_write(shown, command, session).await? {
                (Ok(KeysReply::LeaseGrant(lease)), revision) => return Ok((lease, revision)),
                (Err(KeyspaceError::LeaseExists), _) if id == LeaseId::NONE => {}
                (Err(error), _) => return Err(self.refused(error, cost_bytes).await),
                (Ok(_), _) => return Err(wrong_reply()),
            }
        }
        Err(Status::internal("quorate: no free lease id was found; please report this"))
    }

    async fn keep_alive(&self, shown: &Shown, id: i64) -> Result<pb::LeaseKeepAliveResponse, Status> {
        self.permit(shown, Ask::LeaseKeepAlive(LeaseId(id)), true).await?;
        // Taken before, so that nobody reads from it that the lease still lived at a later revision.
        let header = Some(self.header().at(self.revision()));
        let remaining = self.leasing().ask(Question::KeepAlive(LeaseId(id))).await?;
        self.counts().renewed.add(remaining.is_some().into());
        Ok(pb::LeaseKeepAliveResponse { header, id, ttl: remaining.unwrap_or(0) })
    }

    fn draw_lease_id(&self) -> i64 {
        use std::hash::{BuildHasher as _, RandomState};
        // Keys of the hash are drawn from the system for each. Above zero.
        let drawn = RandomState::new().hash_one(KEYS.0) >> 1;
        i64::try_from(drawn).unwrap_or(i64::MAX).max(1)
    }
}

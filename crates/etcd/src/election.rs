//! The service Election: etcd's recipe, run on the server.

use bytes::Bytes;
use futures_util::stream;
use quorate_service::{
    keyspace::{DeleteRange, LeaseId, Operation, Put},
    watch::What,
};
use quorate_wire::{mvccpb, v3electionpb as pb};
use tonic::{Request, Response, Status, codegen::BoxStream};

use crate::{
    Backend,
    front::{OnLearner, Serving},
    gate::Shown,
    recipes::{Waiting, Watched, unmapped},
    rpc::v3electionpb::election_server::Election,
};

#[tonic::async_trait]
impl<B: Backend> Election for Serving<B> {
    type ObserveStream = BoxStream<pb::LeaderResponse>;

    /// Waits until this candidate leads; one that goes meanwhile leaves nothing behind.
    async fn campaign(
        &self,
        request: Request<pb::CampaignRequest>,
    ) -> Result<Response<pb::CampaignResponse>, Status> {
        let shown = self.admit_long(&request)?;
        let pb::CampaignRequest { name, lease, value } = request.into_inner();
        let place = self.queue(&shown, &name, lease, value.clone()).await?;
        let waiting = Waiting::new(self, &shown, &place);
        if place.value.as_ref().is_some_and(|before| *before != value) {
            self.announce(&shown, &place.key, place.revision, place.lease, value).await?;
        }
        self.wait_for_turn(&shown, &name, &place).await?;
        let Some(view) = self.holds(&shown, &place).await? else {
            return Err(unmapped("election: session is expired"));
        };
        waiting.told();
        let rev = i64::try_from(place.revision).unwrap_or(i64::MAX);
        let leader = pb::LeaderKey { name, key: place.key, rev, lease: place.lease.0 };
        Ok(Response::new(pb::CampaignResponse { header: self.header_at(&view), leader: Some(leader) }))
    }

    async fn proclaim(
        &self,
        request: Request<pb::ProclaimRequest>,
    ) -> Result<Response<pb::ProclaimResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let pb::ProclaimRequest { leader, value } = request.into_inner();
        let leader = leader.ok_or_else(no_leader_given)?;
        let created = u64::try_from(leader.rev).unwrap_or_default();
        let revision = self.announce(&shown, &leader.key, created, LeaseId(leader.lease), value).await?;
        Ok(Response::new(pb::ProclaimResponse { header: Some(self.header().at(revision)) }))
    }

    async fn leader(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<pb::LeaderResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let view = self.ask_first(&shown, &request.get_ref().name).await?;
        let Some(kv) = Self::first_of(&view, &request.get_ref().name) else {
            return Err(unmapped("election: no leader"));
        };
        Ok(Response::new(pb::LeaderResponse { header: self.header_at(&view), kv: Some(key_value(kv)) }))
    }

    /// Whoever leads, now, and whenever that changes or the leader says something else.
    async fn observe(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let shown = self.admit_long(&request)?;
        let observer =
            Observer { serving: self.clone(), shown, name: request.into_inner().name, leader: None };
        let told = stream::try_unfold(observer, |mut observer| async move {
            Ok(observer.next().await?.map(|response| (response, observer)))
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn resign(
        &self,
        request: Request<pb::ResignRequest>,
    ) -> Result<Response<pb::ResignResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let leader = request.into_inner().leader.ok_or_else(no_leader_given)?;
        let created = u64::try_from(leader.rev).unwrap_or_default();
        let delete =
            Operation::DeleteRange(DeleteRange { key: leader.key.clone(), ..DeleteRange::default() });
        let (_, revision) = self.if_created_at(&shown, &leader.key, created, delete).await?;
        Ok(Response::new(pb::ResignResponse { header: Some(self.header().at(revision)) }))
    }
}

fn no_leader_given() -> Status {
    unmapped("\"leader\" field must be provided")
}

fn key_value(kv: quorate_service::keyspace::KeyValue) -> mvccpb::KeyValue {
    quorate_service::kv::key_value(kv)
}

impl<B: Backend> Serving<B> {
    async fn announce(
        &self,
        shown: &Shown,
        key: &Bytes,
        created: u64,
        lease: LeaseId,
        value: Bytes,
    ) -> Result<u64, Status> {
        let put = Operation::Put(Put { key: key.clone(), value, lease, ..Put::default() });
        match self.if_created_at(shown, key, created, put).await? {
            (true, revision) => Ok(revision),
            (false, _) => Err(unmapped("election: not leader")),
        }
    }
}

/// Follows the leader of one name.
struct Observer<B: Backend> {
    serving: Serving<B>,
    shown: Shown,
    name: Bytes,
    /// The leader's key, and what happens to it.
    leader: Option<(Bytes, Watched<B>)>,
}

impl<B: Backend> Observer<B> {
    async fn next(&mut self) -> Result<Option<pb::LeaderResponse>, Status> {
        loop {
            let Some((_, watch)) = &mut self.leader else {
                if let Some(response) = self.find().await? {
                    return Ok(Some(response));
                }
                continue;
            };
            match watch.next().await {
                None => return Ok(None),
                // A look is all that it takes: the leader's key says what is so now.
                Some(What::Events { .. }) => self.leader = None,
                Some(What::Created | What::Progress) => {}
                Some(What::Refused(_) | What::Canceled | What::Withdrawn(_) | What::Compacted(_)) => {
                    self.leader = None
                }
            }
        }
    }

    /// Finds the leader; if there is none, waits until something happens under the name.
    async fn find(&mut self) -> Result<Option<pb::LeaderResponse>, Status> {
        let view = self.serving.ask_first(&self.shown, &self.name).await?;
        let from = view.revision() + 1;
        let Some(kv) = Serving::<B>::first_of(&view, &self.name) else {
            let mut watch = self.serving.listen_to_name(&self.name, from);
            while let Some(What::Created | What::Progress) = watch.next().await {}
            return Ok(None);
        };
        let watch = self.serving.listen(kv.key.clone(), Bytes::new(), from);
        self.leader = Some((kv.key.clone(), watch));
        Ok(Some(pb::LeaderResponse { header: self.serving.header_at(&view), kv: Some(key_value(kv)) }))
    }
}

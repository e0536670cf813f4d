//! The service Lock: etcd's recipe, run on the server.

use quorate_wire::v3lockpb as pb;
use tonic::{Request, Response, Status};

use crate::{
    Backend,
    front::{OnLearner, Serving},
    recipes::{Waiting, unmapped},
    rpc::v3lockpb::lock_server::Lock,
};

#[tonic::async_trait]
impl<B: Backend> Lock for Serving<B> {
    /// Waits for the lock; a client that goes meanwhile leaves nothing behind. Whoever has the lease of the lock already has the lock.
    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let shown = self.admit_long(&request)?;
        let pb::LockRequest { name, lease } = request.into_inner();
        let place = self.queue(&shown, &name, lease, bytes::Bytes::new()).await?;
        let waiting = Waiting::new(self, &shown, &place);
        self.wait_for_turn(&shown, &name, &place).await?;
        let Some(view) = self.holds(&shown, &place).await? else {
            return Err(unmapped("mutex: session is expired"));
        };
        waiting.told();
        Ok(Response::new(pb::LockResponse { header: self.header_at(&view), key: place.key }))
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let revision = self.delete(&shown, &request.get_ref().key).await?;
        Ok(Response::new(pb::UnlockResponse { header: Some(self.header().at(revision)) }))
    }
}

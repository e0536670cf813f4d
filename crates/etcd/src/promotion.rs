//! A learner that has itself promoted once it has caught up, where its configuration asks for that.
//!
//! The learner asks, not the leader: its wish stands in its own configuration, so it outlives every leader, and needs no record. It asks as an operator
//! would: whether it is in sync only the leader knows, and the change goes through the log like any other.

use std::time::Duration;

use quorate_consensus::NodeId;
use quorate_service::cluster;
use quorate_wire::etcdserverpb as pb;
use tokio::time::sleep;
use tonic::Status;

use crate::{Backend, front::Serving};

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);

impl<B: Backend> Serving<B> {
    /// Until this member votes. One that was never a learner votes already.
    pub(crate) async fn promote_oneself(self) {
        let own = self.0.front.member_id;
        loop {
            match self.try_to_vote(NodeId(own)).await {
                Ok(true) => {
                    tracing::info!(member = %format_args!("{own:x}"), "this member votes");
                    return;
                }
                Ok(false) => {}
                // No leader, or too few members that were ever started: both may pass.
                Err(error) => tracing::debug!(%error, "this learner is not promoted yet"),
            }
            sleep(AGAIN).await;
        }
    }

    /// Does this member vote? If it is a learner in sync with the leader, it asks to.
    async fn try_to_vote(&self, own: NodeId) -> Result<bool, Status> {
        let records = self.records(true).await?;
        // The records that a new member has may be older than itself.
        let Some(member) = records.member(own) else { return Ok(false) };
        if !member.learner {
            return Ok(true);
        }
        if self.in_sync(own).await? {
            let request = pb::MemberPromoteRequest { id: own.0 };
            self.change(&cluster::promote(&request, self.0.front.strict_reconfiguration)).await?;
        }
        Ok(false)
    }
}

//! A lock: a key that hangs on a lease, made by whoever finds it missing. The holder writes on condition that it is still the key that it made.
//! Checked by [`verdicts::lock`](super::super::verdicts::lock).

use std::time::Duration;

use quorate_client::{Client, Error, Executed, rpc::LeaseClient, tonic::transport::Channel};
use quorate_wire::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RequestOp, TxnRequest,
    TxnResponse, compare, request_op,
};
use tokio::{task::JoinSet, time::timeout};

use super::{CALL_MAX, Context, think};
use crate::torture::verdicts::lock::{Guarded, Hold};

/// The shortest that is granted.
const TTL_SECONDS: i64 = 2;

pub(super) fn spawn(context: &Context, into: &mut JoinSet<()>) {
    for place in 0..context.endpoints.len() {
        into.spawn(client(context.clone(), place));
    }
}

async fn client(context: Context, place: usize) {
    let Some(client) = context.client(place) else { return };
    let mut random = context.random(2_000 + place as u64);
    let (lock, guarded) = (format!("lock/{}", context.segment), format!("guarded/{}", context.segment));
    while !context.stopped() {
        think(&mut random, 150).await;
        let Some(channel) = client.channel(0) else { return };
        let mut leases = LeaseClient::new(channel);
        let Some(lease) = grant(&mut leases, TTL_SECONDS).await else { continue };
        let owner = format!("{place}-{lease:x}");
        let take = on(&lock, 0, put(&lock, &owner, lease));
        let Ok(Some(fence)) = revision(client.txn(take).await) else {
            revoke(&mut leases, lease).await;
            continue;
        };
        context.record(|histories| histories.lock.holds.push(Hold { owner: owner.clone(), fence }));
        // Longer than the lease, now and then: then somebody else has it, and the fence is what keeps the two apart.
        for turn in 0..random.between(1, 30) {
            let write = on(&lock, fence, put(&guarded, &format!("{owner}-{turn}"), 0));
            match revision(client.txn(write).await) {
                Ok(Some(revision)) => {
                    context.record(|histories| histories.lock.writes.push(Guarded { fence, revision }));
                }
                Ok(None) => break,
                Err(_) => {}
            }
            think(&mut random, 120).await;
        }
        match random.below(3) {
            // Gone without a word: the lease ends it.
            0 => {}
            1 => revoke(&mut leases, lease).await,
            _ => {
                let delete = DeleteRangeRequest { key: lock.clone().into(), ..Default::default() };
                let delete = request_op::Request::RequestDeleteRange(delete);
                // Whether it was done is for the next one to find out.
                let _ = client.txn(on(&lock, fence, delete)).await;
            }
        }
    }
}

/// The revision of a transaction that did what it was to do; none if it did not.
fn revision(answer: Result<TxnResponse, Error>) -> Result<Option<i64>, Executed> {
    match answer {
        Ok(answer) if answer.succeeded => Ok(answer.header.map(|header| header.revision)),
        Ok(_) => Ok(None),
        Err(error) => Err(error.executed()),
    }
}

/// Does this if the key was made at that revision; 0: if it is not there.
fn on(key: &str, made: i64, what: request_op::Request) -> TxnRequest {
    TxnRequest {
        compare: vec![Compare {
            result: compare::CompareResult::Equal as i32,
            target: compare::CompareTarget::Create as i32,
            key: key.to_owned().into(),
            target_union: Some(compare::TargetUnion::CreateRevision(made)),
            ..Default::default()
        }],
        success: vec![RequestOp { request: Some(what) }],
        failure: Vec::new(),
    }
}

pub(super) fn put(key: &str, value: &str, lease: i64) -> request_op::Request {
    request_op::Request::RequestPut(PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease,
        ..Default::default()
    })
}

pub(super) async fn grant(leases: &mut LeaseClient<Channel>, ttl: i64) -> Option<i64> {
    let answer = timeout(CALL_MAX, leases.lease_grant(LeaseGrantRequest { ttl, id: 0 })).await.ok()?.ok()?;
    Some(answer.into_inner().id)
}

pub(super) async fn revoke(leases: &mut LeaseClient<Channel>, lease: i64) {
    // If it does not arrive, time ends the lease.
    let _ = timeout(Duration::from_secs(1), leases.lease_revoke(LeaseRevokeRequest { id: lease })).await;
}

/// A put of this key, on a lease.
pub(super) async fn attach(client: &Client, key: &str, lease: i64) -> bool {
    let put = PutRequest { key: key.to_owned().into(), lease, ..Default::default() };
    client.put_request(put).await.is_ok()
}

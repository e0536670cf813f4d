//! Compare-and-swap on one key that many want.

use std::{cell::Cell, rc::Rc, time::Duration};

use quorate_client::{
    rpc::KvClient,
    tonic::transport::Channel,
    wire::etcdserverpb::{self as pb, compare, request_op, response_op},
};

use super::{
    calls::{self, Meter, Outcome},
    figure::{Figure, percentile_ms},
    size::Size,
};
use crate::{Fallible, cluster::Cluster};

const CLIENTS: usize = 50;
const KEY: &str = "swapped";

pub(super) fn run(cluster: &Cluster, size: &Size) -> Fallible<Vec<Figure>> {
    let leader = calls::leader(cluster);
    let what = format!("txn: compare-and-swap on one key, {CLIENTS} clients");
    calls::block_on(async {
        let channels = calls::connect(&leader, CLIENTS).await?;
        swaps(&channels, size.counted / 4).await?;
        let meter = Meter::start(cluster);
        let outcome = swaps(&channels, size.counted).await?;
        let successes = outcome.successes as f64 / outcome.took.as_secs_f64();
        let mut figures = vec![
            Figure::rate(format!("{what}: swaps"), successes),
            Figure::rate(format!("{what}: attempts"), outcome.per_second()),
            Figure::milliseconds(format!("{what}: p99 of an attempt"), percentile_ms(&outcome.latency, 99.0)),
        ];
        figures.extend(meter.figures(&what, "attempt", outcome.latency.len()));
        Ok(figures)
    })
}

/// Each client swaps what it saw last; if it has changed since, the same transaction shows it how.
async fn swaps(channels: &[Channel], time: Duration) -> Fallible<Outcome> {
    calls::repeat(CLIENTS, time, |n| {
        let kv = KvClient::new(channels[n % channels.len()].clone());
        let seen = Rc::new(Cell::new(0));
        move || {
            let (mut kv, seen) = (kv.clone(), Rc::clone(&seen));
            async move {
                let answer = kv.txn(swap(seen.get())).await?.into_inner();
                seen.set(revision(&answer));
                Ok(answer.succeeded)
            }
        }
    })
    .await
}

fn swap(seen: i64) -> pb::TxnRequest {
    let compare = pb::Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Mod.into(),
        key: KEY.into(),
        target_union: Some(compare::TargetUnion::ModRevision(seen)),
        ..Default::default()
    };
    let put = pb::PutRequest { key: KEY.into(), value: vec![b'x'; 64].into(), ..Default::default() };
    let get = pb::RangeRequest { key: KEY.into(), ..Default::default() };
    pb::TxnRequest {
        compare: vec![compare],
        success: vec![calls::operation(put)],
        failure: vec![pb::RequestOp { request: Some(request_op::Request::RequestRange(get)) }],
    }
}

/// The revision that the key had when this was answered.
fn revision(answer: &pb::TxnResponse) -> i64 {
    if answer.succeeded {
        return answer.header.as_ref().map_or(0, |header| header.revision);
    }
    match answer.responses.first().and_then(|response| response.response.as_ref()) {
        Some(response_op::Response::ResponseRange(range)) => {
            range.kvs.first().map_or(0, |kv| kv.mod_revision)
        }
        _ => 0,
    }
}

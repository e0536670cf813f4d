//! Leases that are kept alive for a while and then left alone, and others that look whether their keys are there. Checked by
//! [`verdicts::lease`](super::super::verdicts::lease).

use std::time::Duration;

use quorate_client::{
    Client,
    rpc::LeaseClient,
    tonic::{codegen::tokio_stream::wrappers::ReceiverStream, transport::Channel},
};
use quorate_wire::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, RangeRequest};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{CALL_MAX, Context, lock, think};
use crate::{
    Fallible,
    torture::verdicts::lease::{Life, Look, Promise},
};

const TTL_SECONDS: i64 = 4;
/// In calm, what nobody keeps alive is gone within this: its time, which begins anew with a new leader, and some more.
const GONE_WITHIN: Duration = Duration::from_secs(30);
const SECOND: u64 = 1_000_000_000;

pub(super) fn spawn(context: &Context, into: &mut JoinSet<()>) {
    for place in 0..context.endpoints.len() {
        into.spawn(client(context.clone(), place));
    }
}

async fn client(context: Context, place: usize) {
    let mut random = context.random(3_000 + place as u64);
    let mut turn = 0;
    while !context.stopped() {
        turn += 1;
        think(&mut random, 300).await;
        let key = format!("lease/{}/{place}-{turn}", context.segment);
        let lasts = Duration::from_secs(random.between(2, 12));
        if let Some(life) = live(&context, place, key, lasts).await {
            context.record(|histories| histories.leases.push(life));
        }
    }
}

/// One lease, kept alive through its member for so long; the looks are another member's.
async fn live(context: &Context, place: usize, key: String, lasts: Duration) -> Option<Life> {
    let owner = context.client(place)?;
    let other = context.client((place + 1) % context.endpoints.len())?;
    let mut leases = LeaseClient::new(owner.channel(0)?);
    let asked = context.now();
    let grant = LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 };
    let granted = timeout(CALL_MAX, leases.lease_grant(grant)).await.ok()?.ok()?.into_inner();
    let mut life = Life { key: key.clone(), ..Life::default() };
    life.promises.push(promise(asked, context.now(), granted.ttl));
    if !lock::attach(&owner, &key, granted.id).await {
        return None;
    }
    life.attached = context.now();
    let end = Instant::now() + lasts;
    while Instant::now() < end && !context.stopped() {
        let asked = context.now();
        if let Some(ttl) = keep_alive(&mut leases, granted.id).await {
            if ttl <= 0 {
                break;
            }
            life.promises.push(promise(asked, context.now(), ttl));
        }
        for client in [&owner, &other] {
            life.looks.extend(look(context, client, &key).await);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    // And a while longer, when it may go at any moment that was not promised.
    for _ in 0..6 {
        life.looks.extend(look(context, &other, &key).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Some(life)
}

fn promise(asked: u64, answered: u64, ttl: i64) -> Promise {
    Promise { asked, answered, lasts: u64::try_from(ttl).unwrap_or(0) * SECOND }
}

/// What is left of it, as the server says: 0, if it has ended.
async fn keep_alive(leases: &mut LeaseClient<Channel>, id: i64) -> Option<i64> {
    let (requests, receiver) = mpsc::channel(1);
    requests.send(LeaseKeepAliveRequest { id }).await.ok()?;
    let once = async {
        let mut answers = leases.lease_keep_alive(ReceiverStream::new(receiver)).await.ok()?.into_inner();
        answers.message().await.ok()?.map(|answer| answer.ttl)
    };
    timeout(Duration::from_secs(1), once).await.ok()?
}

async fn look(context: &Context, client: &Client, key: &str) -> Option<Look> {
    let begun = context.now();
    let request = RangeRequest { key: key.to_owned().into(), count_only: true, ..Default::default() };
    let answer = client.range(request).await.ok()?;
    Some(Look { begun, ended: context.now(), there: answer.count > 0 })
}

/// In calm, whatever is still there is left alone, and goes.
pub(super) async fn finish(context: &Context) -> Fallible<()> {
    let client = context.patient().ok_or("no client")?;
    let end = Instant::now() + GONE_WITHIN;
    let mut left: Vec<String> =
        context.record(|histories| histories.leases.iter().map(|life| life.key.clone()).collect());
    loop {
        let mut still = Vec::new();
        for key in left {
            if look(context, &client, &key).await.is_none_or(|look| look.there) {
                still.push(key);
            }
        }
        left = still;
        if left.is_empty() || Instant::now() > end {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    context.record(|histories| {
        for life in &mut histories.leases {
            life.gone_in_the_end = Some(!left.contains(&life.key));
        }
    });
    Ok(())
}

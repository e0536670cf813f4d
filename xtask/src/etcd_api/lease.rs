//! Leases that are granted and kept alive.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use quorate_client::{
    rpc::LeaseClient,
    tonic::{codegen::tokio_stream::wrappers::ReceiverStream, transport::Channel},
    wire::etcdserverpb as pb,
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    calls::{self, Meter, Outcome},
    figure::{Figure, percentile_ms},
    size::Size,
};
use crate::{Fallible, cluster::Cluster};

/// Longer than everything that is measured here.
const TTL_SECONDS: i64 = 600;
const STREAMS: usize = 100;

pub(super) fn run(cluster: &Cluster, size: &Size) -> Fallible<Vec<Figure>> {
    let (leader, mut figures) = (calls::leader(cluster), Vec::new());
    calls::block_on(async {
        let channels = calls::connect(&leader, STREAMS).await?;
        for clients in [1, 100] {
            let what = format!("lease: grants, {clients} client{}", if clients == 1 { "" } else { "s" });
            grants(&channels, clients, size.counted / 4).await?;
            let meter = Meter::start(cluster);
            let outcome = grants(&channels, clients, size.counted).await?;
            describe(&what, "grant", &meter, &outcome, &mut figures);
        }
        for outstanding in [1, 10] {
            let what = format!("lease: keep-alives, {STREAMS} streams × {outstanding} outstanding");
            keep_alive(&channels, outstanding, size.counted / 4).await?;
            let meter = Meter::start(cluster);
            let outcome = keep_alive(&channels, outstanding, size.counted).await?;
            describe(&what, "keep-alive", &meter, &outcome, &mut figures);
        }
        Ok(())
    })?;
    Ok(figures)
}

fn describe(what: &str, operation: &str, meter: &Meter<'_>, outcome: &Outcome, figures: &mut Vec<Figure>) {
    figures.push(Figure::rate(what, outcome.per_second()));
    figures.push(Figure::milliseconds(format!("{what}: p99"), percentile_ms(&outcome.latency, 99.0)));
    figures.extend(meter.figures(what, operation, outcome.latency.len()));
}

async fn grants(channels: &[Channel], clients: usize, time: Duration) -> Fallible<Outcome> {
    calls::repeat(clients, time, |n| {
        let client = LeaseClient::new(channels[n % channels.len()].clone());
        move || {
            let mut client = client.clone();
            async move { Ok(grant(&mut client, TTL_SECONDS).await? != 0) }
        }
    })
    .await
}

/// The id of a new lease.
pub(super) async fn grant(client: &mut LeaseClient<Channel>, ttl: i64) -> Fallible<i64> {
    Ok(client.lease_grant(pb::LeaseGrantRequest { ttl, id: 0 }).await?.into_inner().id)
}

/// On each stream, so many leases that are kept alive again as soon as it was answered that they are.
async fn keep_alive(channels: &[Channel], outstanding: usize, time: Duration) -> Fallible<Outcome> {
    let outcome = Rc::new(RefCell::new(Outcome::none()?));
    let mut leases = Vec::new();
    for n in 0..STREAMS {
        let mut client = LeaseClient::new(channels[n % channels.len()].clone());
        let mut of_this = Vec::new();
        for _ in 0..outstanding {
            of_this.push(grant(&mut client, TTL_SECONDS).await?);
        }
        leases.push((client, of_this));
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (client, leases) in leases {
        tasks.spawn_local(one_stream(client, leases, begun + time, Rc::clone(&outcome)));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    outcome.borrow_mut().took = begun.elapsed();
    Ok(Rc::try_unwrap(outcome).map_err(|_| "a stream still counts")?.into_inner())
}

async fn one_stream(
    mut client: LeaseClient<Channel>,
    leases: Vec<i64>,
    end: Instant,
    outcome: Rc<RefCell<Outcome>>,
) -> Fallible<()> {
    let (requests, receiver) = mpsc::channel(leases.len());
    // Answers come in the order of requests.
    let mut sent = std::collections::VecDeque::new();
    for id in &leases {
        requests.send(pb::LeaseKeepAliveRequest { id: *id }).await?;
        sent.push_back(Instant::now());
    }
    let mut answers = client.lease_keep_alive(ReceiverStream::new(receiver)).await?.into_inner();
    while Instant::now() < end {
        let answer = answers.message().await?.ok_or("a stream of keep-alives ended")?;
        let took = sent.pop_front().ok_or("an answer that nobody asked for")?.elapsed();
        outcome.borrow_mut().record(took, answer.ttl > 0);
        if answer.ttl <= 0 {
            return Err("a lease of ten minutes is gone".into());
        }
        requests.send(pb::LeaseKeepAliveRequest { id: answer.id }).await?;
        sent.push_back(Instant::now());
    }
    Ok(())
}

//! Many leases that end within the same second, a key on each: until when are the keys there, and who else is served meanwhile?

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use quorate_client::{
    rpc::{KvClient, LeaseClient},
    tonic::transport::Channel,
    wire::etcdserverpb as pb,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    calls::{self, Meter, Outcome},
    figure::{Better, Figure, percentile_ms},
    lease,
    size::Size,
};
use crate::{Fallible, cluster::Cluster};

const GRANTERS: usize = 1_000;
const PREFIX: &str = "leased/";
/// Between two looks at how many keys are left.
const LOOK: Duration = Duration::from_millis(100);
/// A put that takes longer is given up, and counts as one that took so long.
const PUT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Leases that are granted later than this before they should end would end later than the others.
const TTL_MIN: Duration = Duration::from_secs(2);

pub(super) fn run(cluster: &Cluster, size: &Size) -> Fallible<Vec<Figure>> {
    let leader = calls::leader(cluster);
    calls::block_on(async {
        let channels = calls::connect(&leader, GRANTERS).await?;
        let begun = Instant::now();
        let leases = grant(&channels, size, begun + size.lease_life).await?;
        let granted = begun.elapsed();
        calls::load(&channels, size.leases, move |n| pb::PutRequest {
            key: format!("{PREFIX}{n:08}").into(),
            value: "x".into(),
            lease: leases[n],
            ..Default::default()
        })
        .await?;
        let attached = begun.elapsed();
        let there = calls::count(&channels[0], PREFIX).await?;
        if there < size.leases as u64 {
            let leases = size.leases;
            return Err(format!("after {attached:?} only {there} of {leases} keys are there").into());
        }
        let what = format!("expiry: {} leases with a key each", size.leases);
        let mut figures = vec![
            Figure::seconds(format!("{what}: granted within"), granted),
            Figure::seconds(format!("{what}: keys attached within"), attached - granted),
        ];
        figures.extend(end(cluster, &channels, size, &what).await?);
        Ok(figures)
    })
}

/// Leases that all end at the same time: the later one is granted, the shorter it lives.
async fn grant(channels: &[Channel], size: &Size, end: Instant) -> Fallible<Vec<i64>> {
    let leases = Rc::new(RefCell::new(Vec::with_capacity(size.leases)));
    let left = Rc::new(Cell::new(size.leases));
    let mut tasks = JoinSet::new();
    for n in 0..GRANTERS {
        let mut client = LeaseClient::new(channels[n % channels.len()].clone());
        let (leases, left) = (Rc::clone(&leases), Rc::clone(&left));
        tasks.spawn_local(async move {
            while let Some(next) = left.get().checked_sub(1) {
                left.set(next);
                let life = end.saturating_duration_since(Instant::now());
                if life < TTL_MIN {
                    return Err("granting all leases takes longer than they live".into());
                }
                let id = lease::grant(&mut client, i64::try_from(life.as_secs())?).await?;
                leases.borrow_mut().push(id);
            }
            Fallible::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(leases.take())
}

/// From the first key's going to the last's, with somebody else who puts.
async fn end(cluster: &Cluster, channels: &[Channel], size: &Size, what: &str) -> Fallible<Vec<Figure>> {
    let all = size.leases as u64;
    while calls::count(&channels[0], PREFIX).await? == all {
        sleep(LOOK).await;
    }
    let (first, meter) = (Instant::now(), Meter::start(cluster));
    let over = Rc::new(Cell::new(false));
    let mut other = JoinSet::new();
    other.spawn_local(put(channels[1].clone(), Rc::clone(&over)));
    let (took, left) = loop {
        let (at, left) = (first.elapsed(), calls::count(&channels[0], PREFIX).await?);
        if left == 0 || at > size.expiry_wait_max {
            break (at, left);
        }
        sleep(LOOK).await;
    };
    over.set(true);
    let puts = other.join_next().await.ok_or("nobody put")???;
    let cap = size.expiry_wait_max.as_secs();
    let gone = all - left;
    let mut figures = vec![
        Figure::seconds(format!("{what}: first key gone to the last, {cap} s at most"), took),
        Figure::new(format!("{what}: keys gone by then"), gone as f64, "", Better::More),
        Figure::milliseconds(format!("{what}: p99 of a put meanwhile"), percentile_ms(&puts.latency, 99.0)),
        Figure::milliseconds(format!("{what}: longest put meanwhile"), puts.latency.max() as f64 / 1e3),
    ];
    figures.extend(meter.figures(what, "key gone, with the puts", gone));
    Ok(figures)
}

/// One client, one put after the other.
async fn put(channel: Channel, over: Rc<Cell<bool>>) -> Fallible<Outcome> {
    let (mut kv, mut outcome) = (KvClient::new(channel), Outcome::none()?);
    while !over.get() {
        let request = pb::PutRequest { key: "other".into(), value: "x".into(), ..Default::default() };
        let sent = Instant::now();
        let success = matches!(timeout(PUT_WAIT_MAX, kv.put(request)).await, Ok(Ok(_)));
        outcome.record(if success { sent.elapsed() } else { PUT_WAIT_MAX }, success);
    }
    Ok(outcome)
}

//! A full house: a million keys. What they take, and how long it takes to be back with them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use quorate_client::{Client, wire::etcdserverpb as pb};

use super::{
    calls::{self, Meter},
    figure::Figure,
    size::Size,
};
use crate::{
    Fallible, client,
    cluster::{Cluster, Scratch, Server},
    process,
};

const VALUE_BYTES: usize = 64;
const CONNECTIONS: usize = 8;
/// Whoever does not answer within this is said to be gone.
const RESTART_MAX: Duration = Duration::from_secs(120);
/// One try of a get; who does not know yet who leads may hold it for longer.
const TRY: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(5);

pub(super) fn run(cluster: &mut Cluster, scratch: &Scratch, size: &Size) -> Fallible<Vec<Figure>> {
    let (leader, many) = (calls::leader(cluster), size.many);
    let mut figures = Vec::new();
    let begun = Instant::now();
    let meter = Meter::start(cluster);
    calls::block_on(async {
        let channels = calls::connect(&leader, CONNECTIONS).await?;
        calls::load(&channels, many, |n| pb::PutRequest {
            key: format!("key/{n:012}").into(),
            value: vec![b'a' + (n % 26) as u8; VALUE_BYTES].into(),
            ..Default::default()
        })
        .await
    })?;
    let what = format!("{many} keys");
    figures.push(Figure::seconds(format!("{what}: putting them, 100 a transaction"), begun.elapsed()));
    figures.extend(meter.figures(&what, "key", many as u64));
    thread::sleep(size.settle);
    figures.push(Figure::mebibytes(
        format!("{what}: memory of the largest member"),
        cluster.resident_bytes_max(),
    ));
    let all: u64 = cluster.servers.iter().filter_map(Server::pid).map(process::resident_bytes).sum();
    let members = cluster.servers.len() as u64;
    figures.push(Figure::mebibytes(format!("{what}: memory of a member, mean"), all / members));
    let disk = disk_bytes(&scratch.0)? / members;
    figures.push(Figure::mebibytes(format!("{what}: disk of a member, mean"), disk));
    figures.extend(restarts(cluster, &leader, &what)?);
    let after = cluster.resident_bytes_max();
    figures.push(Figure::mebibytes(format!("{what}: memory of the largest member after a restart"), after));
    Ok(figures)
}

/// kill -9 of one member, and then of all.
fn restarts(cluster: &mut Cluster, leader: &str, what: &str) -> Fallible<Vec<Figure>> {
    let follower = cluster.servers.iter_mut().find(|server| server.client != leader).ok_or("no follower")?;
    follower.kill();
    thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    follower.start()?;
    let one = first_get(&follower.client, begun)?;

    thread::sleep(Duration::from_secs(1));
    cluster.servers.iter_mut().for_each(Server::kill);
    let begun = Instant::now();
    for server in &mut cluster.servers {
        server.start()?;
    }
    let waiting: Vec<_> = cluster
        .endpoints()
        .into_iter()
        .map(|endpoint| thread::spawn(move || first_get(&endpoint, begun)))
        .collect();
    let mut times = Vec::new();
    for one in waiting {
        times.push(one.join().map_err(|_| "a thread that waited for an answer panicked")??);
    }
    times.sort_unstable();
    Ok(vec![
        Figure::seconds(format!("{what}: kill -9 of a follower: from its start to a get through it"), one),
        Figure::seconds(format!("{what}: kill -9 of all: from their start to the first get"), times[0]),
        Figure::seconds(format!("{what}: … to a get through every member"), times[times.len() - 1]),
    ])
}

/// When a linearizable get through this member is answered.
fn first_get(endpoint: &str, begun: Instant) -> Fallible<Duration> {
    client::runtime()?.block_on(async {
        while begun.elapsed() < RESTART_MAX {
            let client = Client::connect([endpoint], client::impatient(TRY))?;
            if client.get("key/000000000000").await.is_ok_and(|found| found.is_some()) {
                return Ok(begun.elapsed());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!("{endpoint} serves no get within {RESTART_MAX:?}").into())
    })
}

/// What all files below take of the disk.
fn disk_bytes(directory: &Path) -> Fallible<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

//! How long a cluster cannot be written to after its leader has died.

use std::time::{Duration, Instant};

use quorate_client::Client;

use crate::{
    Fallible,
    client::{impatient, leader, runtime},
    cluster::Cluster,
    torture::Mixer,
};

/// Kills the leader under load, again and again: how long until a put succeeds?
pub(crate) fn failover(cluster: &mut Cluster, kills: u64) -> Fallible<Vec<Duration>> {
    let endpoints = cluster.endpoints();
    let load = crate::workload::Load::start(&endpoints, 8, 7);
    let mut random = Mixer(1);
    let mut times = Vec::new();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(1500 + random.below(500)));
        let Some(victim) = leader(&endpoints) else { continue };
        let others: Vec<String> =
            endpoints.iter().enumerate().filter(|(n, _)| *n != victim).map(|(_, e)| e.clone()).collect();
        cluster.servers[victim].kill();
        let killed = Instant::now();
        times.push(first_put(&others, killed)?);
        cluster.servers[victim].start()?;
        cluster.servers[victim].wait_until_it_answers(Duration::from_secs(30))?;
    }
    load.stop();
    Ok(times)
}

fn first_put(endpoints: &[String], killed: Instant) -> Fallible<Duration> {
    runtime()?.block_on(async {
        let clients = endpoints
            .iter()
            .map(|endpoint| Client::connect([endpoint.clone()], impatient(Duration::from_secs(10))))
            .collect::<Result<Vec<_>, _>>()?;
        let mut set = tokio::task::JoinSet::new();
        for client in clients {
            set.spawn(async move {
                // A put every few milliseconds, none waiting for another: the first that succeeds ends the measurement.
                let mut puts = tokio::task::JoinSet::new();
                loop {
                    let one = client.clone();
                    puts.spawn(async move { one.put("failover", "x").await.is_ok() });
                    tokio::select! {
                        Some(Ok(true)) = puts.join_next() => return Instant::now(),
                        () = tokio::time::sleep(Duration::from_millis(10)) => {}
                    }
                    if killed.elapsed() > Duration::from_secs(60) {
                        return Instant::now();
                    }
                }
            });
        }
        let first = set.join_next().await.ok_or("no put")??;
        set.abort_all();
        Ok(first - killed)
    })
}

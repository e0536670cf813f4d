//! How long nothing can be written after the leader has died, for a client that asks all others for a new session at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use quorate_wire::zookeeper::{Request, SetDataRequest};
use tokio::task::JoinSet;

use super::{
    connection::Connection,
    packets::{DATA_BYTES, Operation, Template, numbered},
    real,
    session::Session,
    system::{Running, STANDING},
};
use crate::{Fallible, client, cluster::Cluster, torture::Mixer};

/// Sessions that write all the while.
pub(crate) const WRITERS: usize = 8;
/// A new session is asked for so often, on each of the servers that are left.
const EVERY: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(60);

/// Kills the leader under load, again and again: how long until a setData succeeds?
pub(crate) fn run(running: &mut Running, kills: u64) -> Fallible<Vec<Duration>> {
    running.populate()?;
    let addresses = running.addresses.clone();
    let load = Load::start(&addresses);
    let mut random = Mixer(1);
    let mut times = Vec::new();
    let Some(cluster) = running.cluster_mut() else { return Ok(times) };
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(1500 + random.below(500)));
        let victim = leader(&addresses)?;
        let others: Vec<String> =
            addresses.iter().enumerate().filter(|(n, _)| *n != victim).map(|(_, a)| a.clone()).collect();
        cluster.servers[victim].kill();
        let killed = Instant::now();
        times.push(first_write(&others, killed)?);
        restart(cluster, victim)?;
    }
    load.stop();
    Ok(times)
}

/// The index of the server that leads.
fn leader(addresses: &[String]) -> Fallible<usize> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        let leads = |address: &String| real::mode(address).is_some_and(|mode| mode == "leader");
        if let Some(at) = addresses.iter().position(leads) {
            return Ok(at);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err("no server leads".into())
}

fn restart(cluster: &mut Cluster, victim: usize) -> Fallible<()> {
    let server = &mut cluster.servers[victim];
    server.start()?;
    server.wait_until_it_answers(LIMIT)?;
    let end = Instant::now() + LIMIT;
    while real::mode(&server.zookeeper).is_none() {
        if Instant::now() > end {
            return Err(
                format!("{} does not serve again; its last lines:\n{}", server.name, server.tail()).into()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// No attempt waits for another: the first that succeeds, on any server, ends it.
fn first_write(addresses: &[String], killed: Instant) -> Fallible<Duration> {
    client::runtime()?.block_on(async {
        let mut attempts = JoinSet::new();
        loop {
            for address in addresses {
                attempts.spawn(write(address.clone()));
            }
            let next = tokio::time::sleep(EVERY);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    Some(Ok(written)) = attempts.join_next() => {
                        if written.is_ok() {
                            return Ok(killed.elapsed());
                        }
                    }
                    () = &mut next => break,
                }
            }
            if killed.elapsed() > LIMIT {
                return Err(format!("no write succeeds within {LIMIT:?} of a kill").into());
            }
        }
    })
}

async fn write(address: String) -> Fallible<()> {
    Connection::open(&address).await?.call(&mut Template::new(Operation::SetData, STANDING)?, 0).await
}

/// Sessions that set data one after the other, and begin anew when they fail.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(addresses: &[String]) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..WRITERS)
            .map(|n| {
                let (stop, addresses) = (Arc::clone(&stop), addresses.to_vec());
                thread::spawn(move || keep_writing(n, &addresses, &stop))
            })
            .collect();
        Load { stop, threads }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn keep_writing(n: usize, addresses: &[String], stop: &AtomicBool) {
    let mut turn = n;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let Ok(mut session) = Session::open(&addresses[turn % addresses.len()], Duration::from_secs(2))
        else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        let set = SetDataRequest {
            path: numbered(STANDING, n as u64 + 1),
            data: Some(vec![b'z'; DATA_BYTES].into()),
            version: -1,
        };
        while !stop.load(Ordering::Relaxed) && session.call(Request::SetData(set.clone())).is_ok() {}
    }
}

//! A real file system that fills up under one member: its clients hear etcd's NOSPACE, the cluster goes on, gets go on; killed, the member starts again
//! on the full disk; and when there is room again, so do its writes.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use quorate_client::{Client, Error};
use quorate_wire::EtcdError;

use crate::{
    Fallible,
    client::{impatient, leader, runtime},
    cluster::{Cluster, Kind, Options, Scratch},
    power::{Mount, able},
};

/// Two segments, the ballast's room for a third, and what the file system takes for itself.
const MEBIBYTES: u64 = 288;
/// Puts of half a mebibyte until the second segment is full: 64 MiB, and what does not count.
const PUTS_MAX: usize = 300;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run() -> Fallible<()> {
    if !able() {
        println!("full-disk: skipped: this machine has no root, loop devices or mkfs.ext4");
        return Ok(());
    }
    let begun = Instant::now();
    let scratch = Scratch::new("full-disk")?;
    let mut mount = Mount::new(&scratch.0, "full", MEBIBYTES)?;
    let mut directories = scratch.directories(3)?;
    directories[0] = mount.path.clone();
    let mut cluster = Cluster::start(Kind::Quorate, &directories, &Options::default())?;
    let outcome = story(&mut cluster, &mount.path);
    let ended = cluster.servers.iter_mut().find_map(|server| {
        server.has_ended().then(|| format!("{} ended by itself:\n{}", server.name, server.tail()))
    });
    drop(cluster);
    mount.unmount()?;
    match (outcome, ended) {
        (Err(error), Some(ended)) => return Err(format!("{error}\n{ended}").into()),
        (Err(error), None) => return Err(error),
        (Ok(()), Some(ended)) => return Err(ended.into()),
        (Ok(()), None) => {}
    }
    println!(
        "full-disk: a full member refused writes, voted, was killed and came back ({:.0?})",
        begun.elapsed()
    );
    Ok(())
}

fn story(cluster: &mut Cluster, full: &Path) -> Fallible<()> {
    let endpoints = cluster.endpoints();
    lead(&endpoints, 0)?;
    let ballast = fill(full)?;
    let full_client = Caller::new(&endpoints[0])?;
    let others = Caller::new(&endpoints[1])?;

    let acknowledged = put_until_refused(&full_client)?;
    println!("full-disk: {acknowledged} puts, then no space");
    // It led. Whoever has room goes on, and it hears of what they write.
    others.put_soon("after", "1")?;
    full_client.expect("after", "1")?;
    full_client.expect(&key(acknowledged - 1), &value(acknowledged - 1))?;

    for round in 0..3 {
        cluster.servers[0].kill();
        others.put_soon("after", &format!("killed {round}"))?;
        cluster.servers[0].start()?;
        cluster.servers[0].wait_until_it_answers(PATIENCE)?;
        full_client.expect("after", &format!("killed {round}"))?;
        match full_client.put("refused", "x") {
            Err(error) if error.etcd() == Some(EtcdError::NoSpace) => {}
            other => return Err(format!("a full member answers a put with {other:?}").into()),
        }
    }

    fs::remove_file(ballast)?;
    full_client.put_soon("room", "again")?;
    others.expect("room", "again")?;
    for n in 0..acknowledged {
        others.expect(&key(n), &value(n))?;
    }
    Ok(())
}

/// Makes the member at `endpoints[wanted]` the leader.
fn lead(endpoints: &[String], wanted: usize) -> Fallible<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match leader(endpoints) {
            Some(at) if at == wanted => return Ok(()),
            Some(at) => {
                runtime()?.block_on(async {
                    let all = Client::connect(endpoints.to_vec(), impatient(PATIENCE))?;
                    let id = all.status(wanted).await?.header.map(|header| header.member_id);
                    let there = Client::connect([endpoints[at].clone()], impatient(PATIENCE))?;
                    // Whether it did is seen in the next round.
                    let _ = there.move_leader(id.unwrap_or_default()).await;
                    Fallible::Ok(())
                })?;
            }
            None => {}
        }
        if Instant::now() > end {
            return Err("the member whose disk is to fill up does not come to lead".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Another file takes all that is left.
fn fill(folder: &Path) -> Fallible<PathBuf> {
    let path = folder.join("ballast");
    let mut file = fs::File::create(&path)?;
    for size in [1 << 20, 4 << 10] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
    // What the file system held back may be handed out now.
    let _ = file.sync_all();
    while file.write_all(&[0; 512]).is_ok() {}
    let _ = file.sync_all();
    Ok(path)
}

fn key(n: usize) -> String {
    format!("full/{n}")
}

fn value(n: usize) -> String {
    format!("{n:07}-").repeat((512 << 10) / 8)
}

/// Puts until the member says that it has no space. How many were acknowledged.
fn put_until_refused(client: &Caller) -> Fallible<usize> {
    for n in 0..PUTS_MAX {
        match client.put(&key(n), &value(n)) {
            Ok(()) => {}
            Err(error) if error.etcd() == Some(EtcdError::NoSpace) => {
                let text = error.answer().map(ToString::to_string).unwrap_or_default();
                if !text.contains("etcdserver: mvcc: database space exceeded") {
                    return Err(format!("NOSPACE is not in etcd's words: {text}").into());
                }
                return Ok(n);
            }
            Err(error) => return Err(format!("put {n} on a full disk: {error}").into()),
        }
    }
    Err(format!("{PUTS_MAX} puts on a full disk, and none was refused").into())
}

/// One member's client, without any of the asynchrony.
struct Caller {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Caller {
    fn new(endpoint: &str) -> Fallible<Caller> {
        let runtime = runtime()?;
        let client =
            runtime.block_on(async { Client::connect([endpoint], impatient(Duration::from_secs(5))) })?;
        Ok(Caller { runtime, client })
    }

    fn put(&self, key: &str, value: &str) -> Result<(), Error> {
        self.runtime.block_on(self.client.put(key.to_owned(), value.to_owned())).map(|_| ())
    }

    /// Puts until it succeeds.
    fn put_soon(&self, key: &str, value: &str) -> Fallible<()> {
        let end = Instant::now() + PATIENCE;
        while let Err(error) = self.put(key, value) {
            if Instant::now() > end {
                return Err(format!("a put that should succeed does not: {error}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// A linearizable get gives this value.
    fn expect(&self, key: &str, value: &str) -> Fallible<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.runtime.block_on(self.client.get(key.to_owned())) {
                Ok(found) if found.as_ref().is_some_and(|kv| kv.value == value.as_bytes()) => return Ok(()),
                Ok(found) => {
                    let found = found.map(|kv| kv.value.len());
                    return Err(format!("{key} is not what was acknowledged, but {found:?} bytes").into());
                }
                Err(error) if Instant::now() > end => {
                    return Err(format!("a get that should succeed does not: {error}").into());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

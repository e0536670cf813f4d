//! Clients that put unique values and read them back, one endpoint each, for as long as they are told to.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use quorate_client::{Client, Executed};

use crate::{
    Fallible,
    client::{impatient, runtime},
    history::{Call, What},
};

const KEYS: u64 = 16;

/// A load under way.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<Call>>>,
    puts: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// Begins: one thread for each endpoint, `clients` tasks on each.
    pub(crate) fn start(endpoints: &[String], clients: usize, round: u64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let puts = Arc::new(AtomicU64::new(0));
        let origin = Instant::now();
        let threads = endpoints
            .iter()
            .enumerate()
            .map(|(n, endpoint)| {
                let (stop, calls, puts, endpoint) =
                    (Arc::clone(&stop), Arc::clone(&calls), Arc::clone(&puts), endpoint.clone());
                thread::spawn(move || {
                    let Ok(runtime) = runtime() else { return };
                    let tasks = (0..clients).map(|task| {
                        client(
                            format!("{round}-{n}-{task}"),
                            endpoint.clone(),
                            origin,
                            stop.clone(),
                            calls.clone(),
                            puts.clone(),
                        )
                    });
                    let tasks: Vec<_> = tasks.collect();
                    runtime.block_on(async {
                        let mut set = tokio::task::JoinSet::new();
                        for task in tasks {
                            set.spawn(task);
                        }
                        while set.join_next().await.is_some() {}
                    });
                })
            })
            .collect();
        Load { stop, calls, puts, threads }
    }

    /// Acknowledged puts so far.
    pub(crate) fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    /// Ends it, and gives what the clients saw.
    pub(crate) fn stop(self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.calls.lock().map(|mut calls| std::mem::take(&mut *calls)).unwrap_or_default()
    }
}

async fn client(
    name: String,
    endpoint: String,
    origin: Instant,
    stop: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<Call>>>,
    puts: Arc<AtomicU64>,
) {
    let Ok(client) = Client::connect([endpoint], impatient(Duration::from_secs(2))) else { return };
    let mut turn = 0u64;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let mixed = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ name.len() as u64;
        let key = format!("torture/{}", (mixed >> 20) % KEYS);
        let begun = nanos(origin);
        let call = if turn.is_multiple_of(3) {
            get(&client, &key).await
        } else {
            let value = format!("{name}-{turn}");
            match client.put(key.clone(), value.clone()).await {
                Ok(response) => {
                    puts.fetch_add(1, Ordering::Relaxed);
                    let revision = response.header.map(|header| header.revision);
                    Some((What::Put { value, revision }, true))
                }
                Err(error) if error.executed() == Executed::No => None,
                Err(_) => Some((What::Put { value, revision: None }, false)),
            }
        };
        match call {
            Some((what, ended)) => {
                let ended = ended.then(|| nanos(origin));
                if let Ok(mut calls) = calls.lock() {
                    calls.push(Call { begun, ended, key, what });
                }
            }
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn get(client: &Client, key: &str) -> Option<(What, bool)> {
    let request =
        quorate_wire::etcdserverpb::RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let response = client.range(request).await.ok()?;
    let revision = response.header?.revision;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let found = response.kvs.first().map(|kv| (text(&kv.value), kv.mod_revision));
    Some((What::Get { found, revision }, true))
}

/// Reads every key once, after the load: what was acknowledged must still be there.
pub(crate) fn read_all(endpoints: &[String]) -> Fallible<Vec<Call>> {
    runtime()?.block_on(async {
        let client = Client::connect(endpoints.to_vec(), quorate_client::Options::default())?;
        let mut calls = Vec::new();
        for n in 0..KEYS {
            let key = format!("torture/{n}");
            let (what, _) = get(&client, &key).await.ok_or("a read after the load failed")?;
            // It began after everything: later than any clock of the load.
            calls.push(Call { begun: u64::MAX - 1, ended: Some(u64::MAX), key, what });
        }
        Ok(calls)
    })
}

fn nanos(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX - 2)
}

//! What clients do during a storm, all at once, and what they saw: one history for each workload, checked by the verdict of its name.

mod append;
mod lease;
mod lock;
mod registers;
mod watch;
mod zookeeper;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use quorate_client::Client;
use tokio::task::JoinSet;

use super::{
    random::Mixer,
    verdicts::{append as lists, lease as leases, lock as locks, watch as watches, zookeeper as trees},
};
use crate::{
    Fallible,
    client::{impatient, runtime},
    history::{self, Call, What},
};

/// Longest time for a call of a workload: a member that is cut off holds a request for seconds.
const CALL_MAX: Duration = Duration::from_secs(2);

/// Everything that clients saw in one segment.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    pub(crate) registers: Vec<Call>,
    pub(crate) append: lists::History,
    pub(crate) lock: locks::History,
    pub(crate) leases: Vec<leases::Life>,
    /// Each with the prefix that it watches, until they are brought to their end.
    pub(crate) watchers: Vec<(String, watches::Watcher)>,
    /// Likewise, then, together with the truth.
    pub(crate) watch: Vec<(String, watches::History)>,
    pub(crate) sequential: Vec<trees::Sequential>,
    pub(crate) ephemerals: Vec<trees::Ephemeral>,
    pub(crate) pairs: Vec<trees::Pair>,
    pub(crate) accesses: Vec<trees::Access>,
    /// One for each session that left watches.
    pub(crate) seen: Vec<Vec<trees::Seen>>,
}

/// What every client of a workload is told.
#[derive(Clone)]
pub(crate) struct Context {
    /// etcd's API, one address for each place.
    pub(crate) endpoints: Vec<String>,
    /// ZooKeeper's, likewise.
    pub(crate) zookeepers: Vec<String>,
    /// Keys and paths of this segment have it in their names.
    pub(crate) segment: u64,
    pub(crate) seed: u64,
    origin: Instant,
    stop: Arc<AtomicBool>,
    histories: Arc<Mutex<Histories>>,
}

impl Context {
    pub(crate) fn new(endpoints: Vec<String>, zookeepers: Vec<String>, segment: u64, seed: u64) -> Context {
        Context {
            endpoints,
            zookeepers,
            segment,
            seed,
            origin: Instant::now(),
            stop: Arc::default(),
            histories: Arc::default(),
        }
    }

    /// Nanoseconds since the segment began, by a clock that no fault touches.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Adds to the histories.
    pub(crate) fn record<T>(&self, add: impl FnOnce(&mut Histories) -> T) -> T {
        add(&mut self.histories.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Random numbers of one client.
    pub(crate) fn random(&self, client: u64) -> Mixer {
        Mixer(self.seed ^ (self.segment << 32) ^ (client + 1).wrapping_mul(0x0123_4567_89ab_cdef))
    }

    /// A client of one member, which sends nothing twice to another.
    pub(crate) fn client(&self, place: usize) -> Option<Client> {
        Client::connect([self.endpoints[place].clone()], impatient(CALL_MAX)).ok()
    }

    /// A client that asks whoever answers.
    pub(crate) fn patient(&self) -> Option<Client> {
        let options = quorate_client::Options {
            try_timeout: Duration::from_secs(1),
            ..impatient(Duration::from_secs(20))
        };
        Client::connect(self.endpoints.clone(), options).ok()
    }
}

/// A pause between two calls: the machine is small, and has five servers to run.
pub(crate) async fn think(random: &mut Mixer, most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(random.between(1, most_ms))).await;
}

/// All workloads under way.
pub(crate) struct Load {
    context: Context,
    thread: Option<thread::JoinHandle<()>>,
}

impl Load {
    /// Makes what the clients work on, and begins.
    pub(crate) fn start(context: Context) -> Fallible<Load> {
        runtime()?.block_on(zookeeper::prepare(&context))?;
        let of_thread = context.clone();
        let thread = thread::spawn(move || {
            let Ok(runtime) = runtime() else { return };
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                registers::spawn(&of_thread, &mut clients);
                append::spawn(&of_thread, &mut clients);
                watch::spawn(&of_thread, &mut clients);
                lock::spawn(&of_thread, &mut clients);
                lease::spawn(&of_thread, &mut clients);
                zookeeper::spawn(&of_thread, &mut clients);
                while clients.join_next().await.is_some() {}
            });
        });
        Ok(Load { context, thread: Some(thread) })
    }

    /// Ends the storm's clients, reads what is there in the end, and gives everything that was seen.
    pub(crate) fn stop(mut self) -> Fallible<Histories> {
        self.context.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            return Err("a client of the load panicked; its words are above".into());
        }
        let context = &self.context;
        runtime()?.block_on(async {
            registers::finish(context).await?;
            append::finish(context).await?;
            lease::finish(context).await?;
            watch::finish(context).await?;
            zookeeper::finish(context).await?;
            Fallible::Ok(())
        })?;
        Ok(context.record(std::mem::take))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.context.stop.store(true, Ordering::Relaxed);
    }
}

impl Histories {
    /// Checks each; says how much of each there was, or what is wrong with it.
    pub(crate) fn check(&self) -> Result<Vec<(&'static str, usize)>, String> {
        let named = |name: &'static str, verdict: Result<(), String>| {
            verdict.map_err(|error| format!("{name}: {error}"))
        };
        named("registers", history::check(&self.registers))?;
        named("append", lists::check(&self.append))?;
        let mut told = 0;
        for (prefix, history) in &self.watch {
            let acknowledged: Vec<watches::Event> = self
                .registers
                .iter()
                .filter_map(acknowledged)
                .filter(|event| event.key.starts_with(prefix))
                .collect();
            named("watch", watches::check(history, &acknowledged))?;
            told += history.watchers.iter().map(|watcher| watcher.events.len()).sum::<usize>();
        }
        named("lock", locks::check(&self.lock))?;
        named("lease", leases::check(&self.leases))?;
        named("sequential", trees::sequential(&self.sequential))?;
        named("ephemerals", trees::ephemeral(&self.ephemerals))?;
        named("multi", trees::multi(&self.pairs))?;
        named("sync", trees::synced(&self.accesses))?;
        self.seen.iter().try_for_each(|seen| named("ZooKeeper watch", trees::watch(seen)))?;
        let fired = self.seen.iter().flatten().filter(|seen| **seen == trees::Seen::Told).count();
        Ok(vec![
            ("register calls", self.registers.len()),
            ("appends", self.append.appends.len()),
            ("watch events", told),
            ("locks held", self.lock.holds.len()),
            ("guarded writes", self.lock.writes.len()),
            ("leases", self.leases.len()),
            ("sequential names", self.sequential.len()),
            ("ephemerals", self.ephemerals.len()),
            ("reads of multis", self.pairs.len()),
            ("sets and synced reads", self.accesses.len()),
            ("watches fired", fired),
        ])
    }
}

/// A write of the registers as a watcher is told of it.
fn acknowledged(call: &Call) -> Option<watches::Event> {
    match &call.what {
        What::Put { value, revision: Some(revision) }
        | What::Exchange { value, revision: Some(revision), .. } => {
            Some(watches::Event { revision: *revision, key: call.key.clone(), value: Some(value.clone()) })
        }
        _ => None,
    }
}

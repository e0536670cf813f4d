//! What clients do during a storm, all at once, and what they saw: one history for each workload, checked by the verdict of its name.

mod registers;

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

use super::{random::Mixer, verdicts};
use crate::{
    Fallible,
    client::{impatient, runtime},
    history::Call,
};

/// Longest time for a call of a workload: a member that is cut off holds a request for seconds.
const CALL_MAX: Duration = Duration::from_secs(2);

/// Everything that clients saw in one segment.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    pub(crate) registers: Vec<Call>,
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
        let options = quorate_client::Options { try_timeout: Duration::from_secs(1), ..impatient(Duration::from_secs(20)) };
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
    pub(crate) fn start(context: Context) -> Load {
        let of_thread = context.clone();
        let thread = thread::spawn(move || {
            let Ok(runtime) = runtime() else { return };
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                registers::spawn(&of_thread, &mut clients);
                while clients.join_next().await.is_some() {}
            });
        });
        Load { context, thread: Some(thread) }
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
        crate::history::check(&self.registers).map_err(|error| format!("registers: {error}"))?;
        Ok(vec![("registers", self.registers.len())])
    }
}

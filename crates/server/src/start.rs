//! Puts a node together: its directory, its threads, its connections.

use std::{
    io,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use quorate_consensus::Incarnation;
use quorate_node::{Config, Node, StateHalf, ToState};
use tokio::sync::watch;

use crate::{
    core::{Clock, Core, CoreInput, Stopped, Watched},
    counters::Counters,
    data_directory::{DataDirectory, Identity, lock_data_dir, random_u64},
    disk::Disk,
    handle::Handle,
    inbox::{Inbox, lock},
    options::{Options, StartError, Storage},
    state,
    transport::{Local, Transport},
    waiters::Waiters,
};

/// etcd's allowance for a request, before elections.
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// Starts a node and returns at once; it reads its journal and then takes part in its groups.
///
/// `config.incarnation` and `config.life` are set here, from the data directory and by lot, and the engines' seed is mixed with a random
/// number, so that no two nodes or lives draw the same election timeouts. `make_state` gets the configuration with them and makes the half
/// that applies and reads.
///
/// The node ends when [`Handle::shutdown`] is called, when the last clone of the handle is dropped, or when it cannot go on
/// ([`Handle::stopped`]).
///
/// # Errors
/// The data directory is not this node's or is in use, or the operating system refuses a thread or a socket.
pub fn start<H: StateHalf>(
    options: Options,
    mut config: Config,
    make_state: impl FnOnce(&Config) -> H,
) -> Result<Handle<H::Reply>, StartError> {
    let failed = |what| move |error: io::Error| StartError::Io { what, error };
    let clock = Clock::start();
    let counters = Arc::<Counters>::default();
    let inbox =
        Inbox::new(options.inbox_inputs_max, options.inbox_bytes_max, Arc::clone(&counters.core_wakeups));
    let state = Inbox::new(usize::MAX, u64::MAX, Arc::clone(&counters.state_wakeups));
    let waiters = Arc::new(Waiters::new(options.calls_waiting_max));
    let (roles, memberships) = (watch::Sender::default(), watch::Sender::default());
    let watched = Arc::new(Watched { roles, memberships, stopped: watch::Sender::default() });
    let alarm = |thread| Alarm { thread, watched: Arc::clone(&watched), core: inbox.clone() };

    let request_timeout =
        options.request_timeout.unwrap_or(REQUEST_TIMEOUT_MIN + 2 * config.raft.election_timeout_max);

    config.life = random_u64().map_err(failed("draw a random number"))?;
    config.raft.seed ^= random_u64().map_err(failed("draw a random number"))?;
    let (disk, mut threads) = match options.storage {
        Storage::Directory(path) => {
            let directory = Arc::new(lock_data_dir(&path)?);
            config.incarnation =
                Identity::load_or_create(&directory, config.cluster, config.node)?.incarnation;
            let keep = Kept { _directory: Arc::clone(&directory), _alarm: alarm("disk") };
            Disk::files(path, options.unsafe_no_sync, &inbox, &counters, &keep)
                .map_err(failed("start a thread"))?
        }
        Storage::Memory => {
            config.incarnation = Incarnation(random_u64().map_err(failed("draw a random number"))?);
            (Disk::memory(&inbox), Vec::new())
        }
    };
    let local = Local { cluster: config.cluster, node: config.node };
    let transport =
        Transport::start(options.network, local, &inbox, &counters).map_err(failed("start the transport"))?;

    let half = make_state(&config);
    let closing = CloseOnDrop(state.clone());
    threads.push({
        let (state, inbox, waiters, counters) =
            (state.clone(), inbox.clone(), Arc::clone(&waiters), Arc::clone(&counters));
        let alarm = alarm("state");
        let run = move || {
            let _alarm = alarm;
            state::run(half, &state, &inbox, &waiters, &counters);
        };
        thread::Builder::new().name("quorate-state".into()).spawn(run).map_err(failed("start a thread"))?
    });
    let threads = Arc::new(Mutex::new(threads));
    let (id, life) = (config.node, config.life);
    let mut core = Core {
        node: Node::new(config, clock.now()),
        clock,
        inbox: inbox.clone(),
        state: state.clone(),
        disk,
        transport: transport.clone(),
        waiters: Arc::clone(&waiters),
        watched: Arc::clone(&watched),
        counters: Arc::clone(&counters),
        on_notice: options.on_notice,
        late_after: options.late_after,
    };
    let thread = {
        let ending = Ending {
            alarm: alarm("core"),
            why: Stopped::Panicked("core"),
            transport: transport.clone(),
            waiters: Arc::clone(&waiters),
            threads: Arc::clone(&threads),
            _closing: closing,
        };
        let run = move || {
            let mut ending = ending;
            ending.why = core.run();
        };
        thread::Builder::new().name("quorate-core".into()).spawn(run).map_err(failed("start a thread"))?
    };
    Ok(Handle::new(
        id,
        life,
        request_timeout,
        inbox,
        state,
        waiters,
        watched,
        counters,
        transport,
        thread,
        threads,
    ))
}

/// Lives in a thread; if that panics, everything stops, with the thread's name.
#[derive(Clone)]
struct Alarm {
    thread: &'static str,
    watched: Arc<Watched>,
    core: Inbox<CoreInput>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.watched.stop(Stopped::Panicked(self.thread));
            self.core.extend([CoreInput::Stop]);
        }
    }
}

/// What the disk's threads hold: the directory stays locked until both have ended.
#[derive(Clone)]
struct Kept {
    _directory: Arc<DataDirectory>,
    _alarm: Alarm,
}

struct CloseOnDrop(Inbox<ToState>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the core's thread does last, however it ends. (The disk's threads end with the core's [`Disk`].)
struct Ending<R> {
    alarm: Alarm,
    why: Stopped,
    transport: Transport,
    waiters: Arc<Waiters<R>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    _closing: CloseOnDrop,
}

impl<R> Drop for Ending<R> {
    fn drop(&mut self) {
        self.alarm.core.close();
        lock(&self.threads).extend(self.transport.close());
        self.waiters.close();
        self.alarm.watched.stop(self.why.clone());
    }
}

//! `quorate serve`: one member of a cluster, from its configuration to its end.

use std::{
    io::{self, IsTerminal},
    net::TcpListener,
    process::ExitCode,
    time::Duration,
};

use quorate_consensus::{GroupId, Role};
use quorate_etcd::{Feed, Front, Jwt, Serves};
use quorate_server::{CallError, Handle, Network, Options, Security, Stopped, Storage, systemd};
use quorate_service::{Founding, Identity, KEYS, Reply, State, TREE, keyspace, shards::TICK, shards_tick};
use quorate_tls::{Members, Tls};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
};

use crate::{
    commands::Failed,
    config::{Below, Given, Listen, Settings},
    tree,
};

mod agreement;
mod compaction;
mod force;
mod members;
mod start;

use members::follow_members;
pub(crate) use start::founding;
use start::{addresses, engines, found, join, node_config};

/// What the process says on standard output once it serves; `dev` waits for it.
pub(crate) const READY: &str = "ready: ";
/// What it says there when it becomes the leader of the keys; only to `dev`.
pub(crate) const LEADING: &str = "leading: ";

/// How long others may take to lead what this member led, when it leaves.
const HAND_OVER: Duration = Duration::from_secs(2);

/// `notes` are what the caller has to say once there is a log to say it in; `below` is what holds where `given` says nothing else.
pub(crate) fn serve(given: &Given, below: &Below, notes: &[String]) -> Result<ExitCode, Failed> {
    if let Some(parent) = given.parent {
        die_with(parent)?;
    }
    let refused = |error: crate::config::ConfigError| Failed::usage(error.to_string());
    let sources = given.resolve(below, |name| std::env::var(name).ok()).map_err(refused)?;
    let settings = sources.settings().map_err(refused)?;
    if given.print {
        crate::output::print(sources.print(&settings).as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    log(&settings);
    notes.iter().for_each(|note| tracing::warn!("{note}"));
    if settings.no_sync {
        tracing::warn!(
            "unsafe-no-sync: nothing is ever synced; a power cut or a crash of the system loses what clients were told is safe"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.worker_threads)
        .thread_name("quorate-net")
        .enable_all()
        .build()
        .map_err(|error| {
            failed(format!("cannot start threads: {error}; is a limit on processes or memory reached?"))
        })?;
    runtime.block_on(run(&settings, given.parent.is_some()))
}

fn failed(message: String) -> Failed {
    Failed { code: 1, message }
}

/// Ends this process with the one that started it, however that ends.
fn die_with(parent: u32) -> Result<(), Failed> {
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal)
        .map_err(|error| failed(format!("cannot be bound to process {parent}: {error}")))?;
    // It may have ended before the line above.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if now == Some(parent) {
        Ok(())
    } else {
        Err(failed(format!("process {parent} has ended, and this one with it")))
    }
}

fn log(settings: &Settings) {
    use tracing_subscriber::{filter::LevelFilter, fmt};
    let level = match settings.log_level.as_str() {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    };
    let builder = fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    if settings.log_json {
        builder.json().init();
    } else {
        builder.with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).init();
    }
}

fn bind(key: &str, address: &str) -> Result<TcpListener, Failed> {
    let listener = TcpListener::bind(address).map_err(|error| {
        let mend = match error.kind() {
            io::ErrorKind::AddrInUse => "stop what listens there, or choose another port",
            io::ErrorKind::PermissionDenied => "choose a port above 1023",
            _ => "write an address of this machine",
        };
        failed(format!("{key} = {address:?}: {error}; {mend}"))
    })?;
    Ok(listener)
}

async fn run(settings: &Settings, for_dev: bool) -> Result<ExitCode, Failed> {
    let mut signals = Signals::new()?;
    let jwt = settings.jwt.as_ref().map(Jwt::load).transpose();
    let jwt = jwt.map_err(|error| Failed::usage(format!("auth-token: {error}")))?;
    let peer_listener = bind("listen-peer", &settings.listen_peer)?;
    let listen_client = |at: &Listen| Ok((bind(at.key, &at.address)?, at.clone()));
    let client_listeners =
        settings.listen_clients.iter().map(listen_client).collect::<Result<Vec<_>, Failed>>()?;
    let mut start = if let Some(start) = force::forced(settings)? {
        start
    } else if settings.existing {
        tokio::select! {
            start = join(settings) => start?,
            _ = signals.next() => return Ok(ExitCode::from(130)),
        }
    } else {
        found(settings)?
    };

    // What the records last said comes before what the configuration said when the cluster began.
    start.peers.extend(addresses(&settings.data_dir));

    let config = node_config(settings, &start)?;
    let client_tls = settings.client_tls.clone().map(Tls::load).transpose();
    let client_tls = client_tls.map_err(|error| Failed::usage(format!("client-tls: {error}")))?;
    let security = match settings.peer_tls.clone().map(Members::load).transpose() {
        Ok(members) => members.map_or(Security::Plaintext, Security::Tls),
        Err(error) => return Err(Failed::usage(format!("peer-tls: {error}"))),
    };
    let network = Network::Tcp { listener: peer_listener, peers: start.peers.clone(), security };
    let mut options = Options::new(Storage::Directory(settings.data_dir.clone()), network);
    options.unsafe_no_sync = settings.no_sync;
    options.calls_waiting_max = settings.waiting_max;
    let (cluster, node) = (start.cluster, start.node);
    let listen = |key: &'static str, at: &Option<String>| at.as_ref().map(|at| bind(key, at)).transpose();
    let tree_listeners = tree::Listeners {
        clients: listen("listen-zookeeper", &settings.zookeeper.listen)?,
        secure: listen("listen-zookeeper-secure", &settings.zookeeper.listen_secure)?,
        admin: listen("listen-zookeeper-admin", &settings.zookeeper.listen_admin)?,
    };
    let (tree_front, tree_sink) = tree::front();
    let feed = Feed::default();
    let handle = quorate_server::start(options, config, |config| {
        let identity = Identity {
            cluster: config.cluster,
            node: config.node,
            incarnation: config.incarnation,
            life: config.life,
            name: settings.name.clone(),
            client_urls: settings.advertise_clients.clone(),
        };
        let state = State::new(identity, start.bootstrap.clone()).with_keys_sink(feed.sink());
        let founding = Founding { shards: settings.keys_shards, engine: settings.keys_engine };
        state.with_tree(Some(tree_sink)).with_founding(start.bootstrap.as_ref().map(|_| founding))
    })
    .map_err(|error| failed(format!("{} does not start: {error}", settings.name)))?;

    let (stop, stopping) = watch::channel(false);
    tokio::spawn(handle.deliver());
    let serves = serves(settings, &client_listeners)?;
    let mut front = Front::new(handle.clone(), cluster.0, node.0, settings.token.clone());
    front.limits.request_bytes_max = settings.request_bytes_max;
    front.limits.txn_ops_max = settings.txn_ops_max;
    front.feed = feed;
    front.life = handle.life();
    front.learners_max = settings.learners_max;
    front.strict_reconfiguration = settings.strict_reconfiguration;
    front.auto_promote = settings.auto_promote;
    front.version.clone_from(&settings.etcd_version);
    front.watches.progress_interval = settings.watch_progress_interval;
    front.watches.fragment_bytes = settings.request_bytes_max + (512 << 10);
    // One and a half election timeouts, rounded up, and never below etcd's two seconds.
    let ttl_min = (settings.election_timeout_min * 3 / 2).as_millis().div_ceil(1_000);
    front.lease_ttl_min_s = i64::try_from(ttl_min).unwrap_or(i64::MAX).max(2);
    front.no_leader_after = (settings.election_timeout_min * 3).max(front.no_leader_after);
    front.client_names.clone_from(&settings.client_names);
    front.tls = client_tls;
    front.jwt = jwt;
    front.auth_token_ttl = settings.auth_token_ttl;
    front.bcrypt_cost = settings.bcrypt_cost;
    let divided = divided(handle.clone(), settings.keys_shards, front.feed.clone());
    let (serving, served) = oneshot::channel();
    let divided = async move {
        divided.await;
        let _ = serving.send(());
    };
    let front = serve_etcd(client_listeners, front, divided, stopping)?;
    let clients_of_tree = tree_listeners.clients.is_some() || tree_listeners.secure.is_some();
    let zookeeper = tree::serve(settings, tree_listeners, tree_front, &handle, stop.subscribe())?;
    let (directory, engines) = (settings.data_dir.clone(), engines(settings));
    let members = follow_members(handle.clone(), directory, start.peers, engines, clients_of_tree);
    let mut members = tokio::spawn(members);
    let lead = follow_lead(handle.clone(), settings.name.clone(), settings.quota_bytes, for_dev);
    let lead = tokio::spawn(lead);
    let compaction = tokio::spawn(compaction::compact(handle.clone(), settings.retention));
    let agreement = tokio::spawn(agreement::compare(handle.clone(), settings.corrupt_check_time));
    let ready = tokio::spawn(say_ready(handle.clone(), settings.name.clone(), serves, served));
    let shards = tokio::spawn(tick_shards(handle.clone()));

    let stopped = tokio::select! {
        why = handle.stopped() => Some(why),
        Ok(Some(why)) = &mut members => return Err(Failed::usage(why)),
        signal = signals.next() => {
            tracing::info!("{signal}: handing over what this member leads, then leaving; once more ends it at once");
            None
        }
    };
    ready.abort();
    let code = match stopped {
        Some(why) => {
            eprintln!("quorate: {} ended: {why}{}", settings.name, start::hint(&why));
            ExitCode::from(if why == Stopped::Shutdown { 0 } else { 1 })
        }
        None => {
            let _ = systemd::notify(systemd::ServiceState::Stopping);
            let leave = async {
                handle.shutdown(HAND_OVER).await;
                // Only now: clients were served while others took over the lead.
                stop.send_replace(true);
                let _ = front.await;
                let _ = zookeeper.await;
            };
            tokio::select! {
                () = leave => ExitCode::SUCCESS,
                // All that was answered is durable; ending at once loses nothing.
                _ = signals.next() => ExitCode::from(130),
            }
        }
    };
    members.abort();
    lead.abort();
    compaction.abort();
    agreement.abort();
    shards.abort();
    Ok(code)
}

/// Which group must have a leader before clients are served, and who is served where, in words.
fn serves(settings: &Settings, etcd: &[(TcpListener, Listen)]) -> Result<(GroupId, String), Failed> {
    let etcd = etcd.iter().filter(|(_, at)| matches!(at.serves, Serves::All | Serves::Grpc));
    let at = etcd.map(|(socket, _)| socket.local_addr().map(|at| at.to_string()));
    let at = at.collect::<io::Result<Vec<_>>>().map_err(listen_failed)?.join(", ");
    let at = Some(at).filter(|at| !at.is_empty());
    Ok(match (at, settings.zookeeper.listen.as_ref().or(settings.zookeeper.listen_secure.as_ref())) {
        (None, Some(zookeeper)) => (TREE, format!("serves ZooKeeper clients on {zookeeper}")),
        (Some(at), _) => (KEYS, format!("serves etcd clients on {at}")),
        (None, None) => (KEYS, "serves no clients".to_owned()),
    })
}

fn listen_failed(error: io::Error) -> Failed {
    failed(format!("listen-client: {error}; is a limit on open files reached?"))
}

/// Serves etcd's clients until it is told to stop. Without a listener, this member still counts the time of leases while it leads.
fn serve_etcd(
    sockets: Vec<(TcpListener, Listen)>,
    front: Front,
    divided: impl Future<Output = ()> + Send + 'static,
    mut stopping: watch::Receiver<bool>,
) -> Result<tokio::task::JoinHandle<()>, Failed> {
    let in_tokio = |(socket, at): (TcpListener, Listen)| {
        socket.set_nonblocking(true)?;
        let socket = tokio::net::TcpListener::from_std(socket)?;
        Ok(quorate_etcd::Listener { socket, secure: at.secure, serves: at.serves })
    };
    let listeners =
        sockets.into_iter().map(in_tokio).collect::<io::Result<Vec<_>>>().map_err(listen_failed)?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            () = divided => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let stop = async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        if let Err(error) = quorate_etcd::serve_all(listeners, front, stop).await {
            tracing::error!("etcd's clients are served no more: {error}");
        }
    }))
}

/// Waits until the keys of a new cluster are divided, if they are to be: what is written before that only an operator divides.
async fn divided(handle: Handle<Reply>, shards: u16, feed: Feed) {
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    while shards > 1 && !feed.is_divided() && handle.why_stopped().is_none() {
        if let Ok(Reply::KeysView(view)) = handle.read_local(KEYS).await
            && view.revision() > 1
            && !feed.is_divided()
        {
            return tracing::warn!(
                "keys-shards = {shards}: the cluster was founded with one group of keys, and written to; to divide them now: quorate shard divide {shards}"
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Says that clients are served, once they are: somebody leads, and this member knows who.
async fn say_ready(
    handle: Handle<Reply>,
    name: String,
    (group, serves): (GroupId, String),
    served: oneshot::Receiver<()>,
) {
    // A read goes the way of all requests: once it is answered, everyone on that way knows the leader, the front ends too.
    while handle.leader(group).await.is_err() || handle.read(group).await.is_err() {
        if handle.why_stopped().is_some() {
            return;
        }
        tracing::warn!("no leader yet: a majority of the members must be up and reach each other");
    }
    if served.await.is_err() {
        return;
    }
    // The words that those look for who wait for an etcd.
    tracing::info!("ready to serve client requests");
    crate::output::print(format!("{READY}{name} {serves}, member {:x}\n", handle.node().0).as_bytes());
    if let Err(error) = systemd::notify(systemd::ServiceState::Ready) {
        tracing::warn!("systemd does not take the message that this member is ready: {error}");
    }
}

/// Tells the state half how time passes, for what it says and proposes again.
async fn tick_shards(handle: Handle<Reply>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while handle.why_stopped().is_none() {
        ticks.tick().await;
        let _ = handle.input(shards_tick(handle.node()));
    }
}

/// Follows who leads the keys (the server logs it): tells `dev`, and, as the leader, gives the cluster this member's quota.
async fn follow_lead(handle: Handle<Reply>, name: String, quota_bytes: u64, for_dev: bool) {
    let mut roles = handle.role_changes();
    let mut led_in = None;
    loop {
        let keys = roles.borrow_and_update().get(&KEYS).copied();
        let leads_in = keys.filter(|change| change.role == Role::Leader).map(|change| change.epoch);
        if let Some(term) = leads_in.filter(|_| leads_in != led_in) {
            if for_dev {
                crate::output::print(format!("{LEADING}{name} {term}\n").as_bytes());
            }
            if let Err(error) = set_quota(&handle, quota_bytes).await {
                tracing::warn!(
                    "quota-bytes = {quota_bytes} is not in force yet: {error}; the next leader tries again"
                );
            }
        }
        led_in = leads_in;
        if roles.changed().await.is_err() {
            return;
        }
    }
}

/// The quota is part of the replicated state, so that all members refuse the same writes: what the leader is configured with goes into the log,
/// unless it is in force already.
async fn set_quota(handle: &Handle<Reply>, bytes: u64) -> Result<(), CallError> {
    let wanted = (bytes > 0).then_some(bytes);
    let Reply::KeysView(view) = handle.read(KEYS).await? else { return Ok(()) };
    if view.quota_bytes() == wanted {
        return Ok(());
    }
    let bytes = wanted.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let command = keyspace::Command::SetQuota(keyspace::SetQuota { bytes });
    handle.propose(KEYS, None, |to| to.raw(&command.encode())).await.map(|_| ())
}

/// What asks a process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failed> {
        let listen =
            |kind| signal(kind).map_err(|error| failed(format!("cannot listen for signals: {error}")));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

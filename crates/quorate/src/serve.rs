//! `quorate serve`: one member of a cluster, from its configuration to its end.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use quorate_client::wire::etcdserverpb as pb;
use quorate_consensus::{ClusterId, EngineKind, GroupId, Incarnation, Membership, NodeId, Role};
use quorate_etcd::Front;
use quorate_node::{Config, GroupConfig, JournalConfig, Limits, RaftConfig, ZabConfig};
use quorate_server::{
    AddressBook, CallError, Handle, Network, Options, PeerAddress, Security, Stopped, Storage, systemd,
};
use quorate_service::{
    Bootstrap, Identity, KEYS, META, Reply, State, TREE, keyspace,
    placement::{Command as Records, GroupKind, GroupPlace, Member, cluster_id, member_id},
    zookeeper::Settings as ZooKeeperSettings,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    commands::Failed,
    config::{Given, Settings},
    remote,
};

/// What the process says on standard output once it serves; `dev` waits for it.
pub(crate) const READY: &str = "ready: ";
/// What it says there when it becomes the leader of the keys; only to `dev`.
pub(crate) const LEADING: &str = "leading: ";

/// How long others may take to lead what this member led, when it leaves.
const HAND_OVER: Duration = Duration::from_secs(2);
/// How long a member that joins asks for itself before it gives up.
const JOIN: Duration = Duration::from_secs(30);
/// When an address book that could not be saved is tried again.
const SAVE_AGAIN: Duration = Duration::from_secs(10);

pub(crate) fn serve(given: &Given) -> Result<ExitCode, Failed> {
    if let Some(parent) = given.parent {
        die_with(parent)?;
    }
    let refused = |error: crate::config::ConfigError| Failed::usage(error.to_string());
    let sources = given.resolve(|name| std::env::var(name).ok()).map_err(refused)?;
    let settings = sources.settings().map_err(refused)?;
    if given.print {
        crate::output::print(sources.print(&settings).as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    log(&settings);
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

/// Who this member is and whom it begins with.
struct Start {
    cluster: ClusterId,
    node: NodeId,
    peers: AddressBook,
    /// `None`: the members are learned from the cluster.
    bootstrap: Option<Bootstrap>,
}

/// A URL as the transport has it.
fn address(url: &str) -> PeerAddress {
    PeerAddress(url.trim_start_matches("http://").to_string())
}

/// The groups of a cluster and what drives them. The records always have Raft.
fn engines(settings: &Settings) -> BTreeMap<GroupId, EngineKind> {
    let tree = settings.tree_engine.map(|engine| (TREE, engine));
    [(META, EngineKind::Raft), (KEYS, settings.keys_engine)].into_iter().chain(tree).collect()
}

/// A new cluster: everything follows from what all members were told alike.
fn found(settings: &Settings) -> Result<Start, Failed> {
    let id = |url: &String| member_id(std::slice::from_ref(url), &settings.token, 0);
    let all: BTreeMap<NodeId, &crate::config::FirstMember> =
        settings.initial_cluster.iter().map(|member| (id(&member.url), member)).collect();
    let cluster = cluster_id(all.keys().copied());
    let kind = |group: GroupId| match group {
        META => GroupKind::Meta,
        TREE => GroupKind::Tree,
        _ => GroupKind::Keys,
    };
    let groups = engines(settings).into_iter();
    let initialise = Records::Initialise {
        cluster,
        members: all.iter().map(|(id, member)| Member::new(*id, vec![member.url.clone()], false)).collect(),
        groups: groups.map(|(group, engine)| (group, GroupPlace { kind: kind(group), engine })).collect(),
    };
    initialise.check().map_err(|error| {
        Failed::usage(format!(
            "initial-cluster: {error}; write NAME=http://HOST:PORT,… with each member once"
        ))
    })?;
    let birth = Membership::new(all.keys().copied(), []);
    Ok(Start {
        cluster,
        node: id(&settings.advertise_peer),
        peers: all.iter().map(|(id, member)| (*id, address(&member.url))).collect(),
        bootstrap: Some(Bootstrap { initialise, birth }),
    })
}

/// A cluster that exists: who this member is was decided when it was added. Its members are asked, unless the data directory knows.
async fn join(settings: &Settings) -> Result<Start, Failed> {
    // Without an address book it cannot reach anybody, so it asks as if it were new; the data directory's identity is checked all the same.
    if let Some((cluster, node)) = known(&settings.data_dir)
        && !addresses(&settings.data_dir).is_empty()
    {
        return Ok(Start { cluster, node, peers: AddressBook::new(), bootstrap: None });
    }
    let client = remote::connect(&settings.join, Duration::from_secs(5))?;
    let deadline = tokio::time::Instant::now() + JOIN;
    loop {
        let because = match client.member_list(true).await {
            Ok(list) => return this_member(&list, settings).ok_or_else(|| not_added(settings)),
            Err(error) => error,
        };
        // Perhaps nobody leads because this very member is needed for that: {the only member takes in a second one, which makes a majority of two, and starts
        // again}. Then a member's own list will do, if this member is on it: whoever is, has been added.
        if let Ok(list) = client.member_list(false).await
            && let Some(start) = this_member(&list, settings)
        {
            return Ok(start);
        }
        if tokio::time::Instant::now() >= deadline {
            let message = format!(
                "join = {:?}: nobody there said who the members are within {} s: {}; name client addresses of members that run",
                settings.join.join(","),
                JOIN.as_secs(),
                remote::reason(&because)
            );
            return Err(Failed { code: 3, message });
        }
        tracing::warn!("the cluster's members are not known yet: {}; asking again", remote::reason(&because));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What this member begins with, if it is on the list.
fn this_member(list: &pb::MemberListResponse, settings: &Settings) -> Option<Start> {
    let own = list.members.iter().find(|member| member.peer_urls.contains(&settings.advertise_peer))?;
    let peers = list.members.iter();
    Some(Start {
        cluster: ClusterId(list.header.as_ref().map_or(0, |header| header.cluster_id)),
        node: NodeId(own.id),
        peers: peers
            .filter_map(|member| Some((NodeId(member.id), address(member.peer_urls.first()?))))
            .collect(),
        bootstrap: None,
    })
}

fn not_added(settings: &Settings) -> Failed {
    let (name, peer, endpoints) = (&settings.name, &settings.advertise_peer, settings.join.join(","));
    failed(format!(
        "the cluster at {endpoints} has no member at {peer}; add it first: quorate member add {name} --peer-urls {peer} --endpoints {endpoints}"
    ))
}

/// The cluster and the node that a data directory belongs to. The server checks the file; here only its numbers are needed.
fn known(directory: &Path) -> Option<(ClusterId, NodeId)> {
    let text = std::fs::read_to_string(directory.join("identity")).ok()?;
    let number = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(value.trim(), 16).ok()
    };
    Some((ClusterId(number("cluster ")?), NodeId(number("node ")?)))
}

/// Where the peers were last reached.
fn addresses(directory: &Path) -> AddressBook {
    quorate_server::load_addresses(directory).map(Option::unwrap_or_default).unwrap_or_else(|error| {
        let path = directory.join("peers");
        tracing::warn!("{}: {error}; peers are reached where the configuration says", path.display());
        AddressBook::new()
    })
}

fn node_config(settings: &Settings, start: &Start) -> Result<Config, Failed> {
    let defaults = RaftConfig::default();
    let raft = RaftConfig {
        election_timeout_min: settings.election_timeout_min,
        election_timeout_max: settings.election_timeout_max,
        heartbeat_interval: settings.heartbeat_interval,
        // Different on every node and in every life.
        seed: seed(start.node),
        command_bytes_max: defaults.command_bytes_max.max(settings.request_bytes_max as u64 * 2),
        lease: settings.lease_reads.then_some(quorate_raft::Lease { clock_error: settings.clock_error_max }),
        ..defaults
    };
    raft.validate().map_err(|error| Failed::usage(error.to_string()))?;
    let defaults = ZabConfig::default();
    let zab = ZabConfig {
        election_timeout_min: settings.election_timeout_min,
        election_timeout_max: settings.election_timeout_max,
        heartbeat_interval: settings.heartbeat_interval,
        finalize_wait: defaults.finalize_wait.min(settings.election_timeout_min / 4),
        init_limit: settings.election_timeout_max * 2,
        sync_limit: settings.election_timeout_max,
        seed: raft.seed.rotate_left(17),
        command_bytes_max: raft.command_bytes_max,
        ..defaults
    };
    zab.validate().map_err(|error| Failed::usage(error.to_string()))?;
    let birth = start.bootstrap.as_ref().map(|bootstrap| bootstrap.birth.clone()).unwrap_or_default();
    Ok(Config {
        cluster: start.cluster,
        node: start.node,
        // Both are set when the node starts.
        incarnation: Incarnation(0),
        life: 0,
        groups: engines(settings)
            .into_iter()
            .map(|(id, engine)| GroupConfig { id, engine, birth: birth.clone() })
            .collect(),
        raft,
        zab,
        journal: JournalConfig::default(),
        limits: Limits {
            proposals_waiting_max: settings.waiting_max,
            reads_waiting_max: settings.waiting_max,
            snapshot_log_bytes_min: settings.snapshot_bytes,
            ..Limits::default()
        },
        explain: false,
    })
}

fn seed(node: NodeId) -> u64 {
    use std::{
        hash::{BuildHasher, RandomState},
        process,
    };
    RandomState::new().hash_one((node.0, process::id()))
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
    let peer_listener = bind("listen-peer", &settings.listen_peer)?;
    let client_listener = bind("listen-client", &settings.listen_client)?;
    let mut start = if settings.existing {
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
    let network =
        Network::Tcp { listener: peer_listener, peers: start.peers.clone(), security: Security::Plaintext };
    let mut options = Options::new(Storage::Directory(settings.data_dir.clone()), network);
    options.unsafe_no_sync = settings.no_sync;
    options.calls_waiting_max = settings.waiting_max;
    let (cluster, node) = (start.cluster, start.node);
    let has_tree = settings.tree_engine.is_some();
    let zookeeper_listener =
        settings.listen_zookeeper.as_ref().map(|at| bind("listen-zookeeper", at)).transpose()?;
    let (tree_front, tree_sink) = crate::tree::front();
    // Nobody is told of a tree that nobody is served.
    let tree_sink = zookeeper_listener.is_some().then_some(tree_sink);
    let handle = quorate_server::start(options, config, |config| {
        let identity = Identity {
            cluster: config.cluster,
            node: config.node,
            incarnation: config.incarnation,
            life: config.life,
            name: settings.name.clone(),
            client_urls: vec![settings.advertise_client.clone()],
        };
        let state = State::new(identity, start.bootstrap.clone());
        if has_tree { state.with_tree(tree_sink) } else { state }
    })
    .map_err(|error| failed(format!("{} does not start: {error}", settings.name)))?;

    let front_failed =
        |error: io::Error| failed(format!("listen-client = {:?}: {error}", settings.listen_client));
    let at = client_listener.local_addr().map_err(front_failed)?;
    client_listener.set_nonblocking(true).map_err(front_failed)?;
    let listener = tokio::net::TcpListener::from_std(client_listener).map_err(front_failed)?;
    let (stop, mut stopping) = watch::channel(false);
    let mut front = Front::new(handle.clone(), cluster.0, node.0, settings.token.clone());
    front.limits.request_bytes_max = settings.request_bytes_max;
    front.limits.txn_ops_max = settings.txn_ops_max;
    tokio::spawn(handle.deliver());
    let front = tokio::spawn(quorate_etcd::serve(listener, front, async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    }));
    let zookeeper = match zookeeper_listener {
        Some(listener) => Some(serve_zookeeper(settings, listener, tree_front, &handle, stop.subscribe())?),
        None => None,
    };
    let members = follow_members(handle.clone(), settings.data_dir.clone(), start.peers, engines(settings));
    let mut members = tokio::spawn(members);
    let lead = follow_lead(handle.clone(), settings.name.clone(), settings.quota_bytes, for_dev);
    let lead = tokio::spawn(lead);
    let ready = tokio::spawn(say_ready(handle.clone(), settings.name.clone(), at.to_string()));

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
            eprintln!("quorate: {} ended: {why}", settings.name);
            ExitCode::from(if why == Stopped::Shutdown { 0 } else { 1 })
        }
        None => {
            let _ = systemd::notify(systemd::ServiceState::Stopping);
            let leave = async {
                handle.shutdown(HAND_OVER).await;
                // Only now: clients were served while others took over the lead.
                stop.send_replace(true);
                let _ = front.await;
                if let Some(zookeeper) = zookeeper {
                    let _ = zookeeper.await;
                }
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
    Ok(code)
}

/// Serves ZooKeeper's clients until it is told to stop.
fn serve_zookeeper(
    settings: &Settings,
    listener: TcpListener,
    front: quorate_zookeeper::Front,
    handle: &Handle<Reply>,
    mut stopping: watch::Receiver<bool>,
) -> Result<tokio::task::JoinHandle<()>, Failed> {
    let at = settings.listen_zookeeper.clone().unwrap_or_default();
    let front_failed = |error: io::Error| failed(format!("listen-zookeeper = {at:?}: {error}"));
    listener.set_nonblocking(true).map_err(front_failed)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(front_failed)?;
    let (node, requests) = crate::tree::Node::new(handle.clone(), &settings.data_dir);
    let options = quorate_zookeeper::Options {
        // What session ids begin with. They hold random bits as well, so two members with the same one do no harm.
        server_id: (handle.node().0 % 127 + 1) as u8,
        tick: settings.zookeeper_tick,
        settings: ZooKeeperSettings::with_tick_ms(settings.zookeeper_tick.as_millis() as i32),
        whitelist: quorate_zookeeper::Whitelist::parse(&settings.zookeeper_words),
        tuning: quorate_zookeeper::Tuning {
            connections_per_address_max: settings.zookeeper_connections_per_address,
            // A proposal that is lost may be made again behind those that came after it (decision 0002), and a client's writes must keep their order.
            in_flight_max: 1,
            ..quorate_zookeeper::Tuning::default()
        },
        ..quorate_zookeeper::Options::default()
    };
    tokio::spawn(crate::tree::drive(handle.clone(), requests, front.clone()));
    Ok(tokio::spawn(async move {
        let stop = async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        if let Err(error) =
            quorate_zookeeper::serve(listener, front, std::sync::Arc::new(node), options, stop).await
        {
            tracing::error!("ZooKeeper's clients are served no more: {error}");
        }
    }))
}

/// Says that clients are served, once they are: somebody leads the keys, and this member knows who.
async fn say_ready(handle: Handle<Reply>, name: String, at: String) {
    while handle.leader(KEYS).await.is_err() {
        if handle.why_stopped().is_some() {
            return;
        }
        tracing::warn!("no leader yet: a majority of the members must be up and reach each other");
    }
    crate::output::print(
        format!("{READY}{name} serves etcd clients on {at}, member {:x}\n", handle.node().0).as_bytes(),
    );
    if let Err(error) = systemd::notify(systemd::ServiceState::Ready) {
        tracing::warn!("systemd does not take the message that this member is ready: {error}");
    }
}

/// Keeps the transport's addresses, and the address book, as the cluster's records have them.
///
/// Looked at once a second, which costs one local read, and at once when a membership changes.
///
/// Ends, with what to say, if the records have another engine for a group than this member was configured with: it could neither speak to the others nor
/// understand them.
async fn follow_members(
    handle: Handle<Reply>,
    directory: PathBuf,
    mut known: AddressBook,
    engines: BTreeMap<GroupId, EngineKind>,
) -> Option<String> {
    let (mut kept, mut save_at) = (false, tokio::time::Instant::now());
    let mut memberships = handle.memberships();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            changed = memberships.changed() => {
                if changed.is_err() {
                    return None;
                }
            }
        }
        let Ok(Reply::MetaView(view)) = handle.read_local(META).await else { continue };
        if !view.is_initialised() {
            continue;
        }
        for (group, place) in view.groups() {
            let found = engines.get(group);
            if found != Some(&place.engine) {
                let found = found.map_or("off".to_owned(), EngineKind::to_string);
                let key = if *group == TREE { "tree-engine" } else { "keys-engine" };
                return Some(format!(
                    "{key} = {found}, but the cluster was founded with {}; set it so on this member",
                    place.engine
                ));
            }
        }
        // A member that the records name no more keeps its address: it is needed until it has left, and must be told that it was removed.
        let mut peers = known.clone();
        for (id, member) in view.members() {
            if let Some(url) = member.peer_urls.first() {
                peers.insert(*id, address(url));
            }
        }
        if peers != known {
            match handle.set_peers(&peers) {
                Ok(()) => (known, kept) = (peers, false),
                Err(error) => {
                    tracing::warn!("no thread for a connection to a new member: {error}; trying again")
                }
            }
        }
        if !kept && save_at <= tokio::time::Instant::now() {
            kept = save(&directory, &known).await;
            if !kept {
                save_at = tokio::time::Instant::now() + SAVE_AGAIN;
            }
        }
    }
}

/// Keeps the addresses for the next start. True if they are kept.
async fn save(directory: &Path, addresses: &AddressBook) -> bool {
    let (directory, addresses) = (directory.to_owned(), addresses.clone());
    let saved = tokio::task::spawn_blocking(move || quorate_server::save_addresses(&directory, &addresses));
    match saved.await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!("the addresses of the peers are not kept: {error}; trying again");
            false
        }
        Err(_) => false,
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

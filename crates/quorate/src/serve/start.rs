//! Who a member is, whom it begins with, and what its node is told: from its configuration, from its data directory, or from the cluster that it joins.

use std::{collections::BTreeMap, path::Path, time::Duration};

use quorate_client::wire::etcdserverpb as pb;
use quorate_consensus::{ClusterId, EngineKind, GroupId, Incarnation, Membership, NodeId};
use quorate_node::{Config, Fatal, GroupConfig, JournalConfig, Limits, RaftConfig, ZabConfig};
use quorate_server::{AddressBook, PeerAddress, Stopped};
use quorate_service::{
    Bootstrap, KEYS, META, TREE,
    placement::{Command as Records, GroupKind, GroupPlace, Member, cluster_id, member_id},
};

use quorate_tls::ClientAuth;

use super::failed;
use crate::{commands::Failed, config::Settings, remote};

/// How long a member that joins asks for itself before it gives up.
const JOIN: Duration = Duration::from_secs(30);

/// Who this member is and whom it begins with.
pub(super) struct Start {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) peers: AddressBook,
    /// `None`: the members are learned from the cluster.
    pub(super) bootstrap: Option<Bootstrap>,
}

/// A URL as the transport has it. The scheme is part of who a member is, for its id is made of the URL; whether members speak TLS is for all of them alike, and
/// said by their certificates.
pub(super) fn address(url: &str) -> PeerAddress {
    let after = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    PeerAddress(after.unwrap_or(url).to_string())
}

/// Whom a member trusts that joins, before it knows anybody: whoever signs members' and clients' certificates. It shows the one that it has for clients.
fn trust(settings: &Settings) -> remote::Trust {
    let of_clients = settings.client_tls.as_ref();
    if !settings.join.iter().any(|url| url.starts_with("https://")) {
        return remote::Trust::default();
    }
    let client_ca = of_clients.and_then(|files| match &files.clients {
        ClientAuth::Needed(authorities) | ClientAuth::Wanted(authorities) => {
            Some(authorities.certificates.clone())
        }
        ClientAuth::None => None,
    });
    let peer_ca = settings.peer_tls.as_ref().map(|files| files.authorities.certificates.clone());
    remote::Trust {
        authorities: client_ca.into_iter().chain(peer_ca).collect(),
        identity: of_clients.map(|files| (files.certificate.clone(), files.key.clone())),
    }
}

/// The groups of a cluster that is founded with these settings, and what drives them. The records always have Raft.
pub(super) fn engines(settings: &Settings) -> BTreeMap<GroupId, EngineKind> {
    let tree = settings.tree_engine.map(|engine| (TREE, engine));
    [(META, EngineKind::Raft), (KEYS, settings.keys_engine)].into_iter().chain(tree).collect()
}

/// Which option an end is about, if it is about one.
pub(super) fn hint(why: &Stopped) -> &'static str {
    match why {
        Stopped::Fatal(Fatal::Engine(_)) => {
            " (keys-engine is that of etcd's keys, group g2; tree-engine that of ZooKeeper's tree, group g3)"
        }
        Stopped::Fatal(_) | Stopped::Shutdown | Stopped::Panicked(_) => "",
    }
}

/// A new cluster: everything follows from what all members were told alike.
pub(super) fn found(settings: &Settings) -> Result<Start, Failed> {
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
        members: all
            .iter()
            .map(|(id, member)| Member::new(*id, vec![member.url.clone()], member.learner))
            .collect(),
        groups: groups.map(|(group, engine)| (group, GroupPlace { kind: kind(group), engine })).collect(),
    };
    initialise.check().map_err(|error| {
        Failed::usage(format!(
            "initial-cluster: {error}; write NAME=http://HOST:PORT,… with each member once"
        ))
    })?;
    let (learners, voters): (Vec<_>, Vec<_>) = all.iter().partition(|(_, member)| member.learner);
    let ids = |list: Vec<(&NodeId, _)>| list.into_iter().map(|(id, _)| *id).collect::<Vec<_>>();
    let birth = Membership::new(ids(voters), ids(learners));
    Ok(Start {
        cluster,
        node: id(&settings.advertise_peer),
        peers: all.iter().map(|(id, member)| (*id, address(&member.url))).collect(),
        bootstrap: Some(Bootstrap { initialise, birth }),
    })
}

/// Who this member of a new cluster is, and whom every group is born with.
pub(crate) fn founding(settings: &Settings) -> Result<(ClusterId, NodeId, Membership), Failed> {
    let Start { cluster, node, bootstrap, .. } = found(settings)?;
    let birth = bootstrap.map(|bootstrap| bootstrap.birth);
    Ok((cluster, node, birth.unwrap_or_default()))
}

/// A cluster that exists: who this member is was decided when it was added. Its members are asked, unless the data directory knows.
pub(super) async fn join(settings: &Settings) -> Result<Start, Failed> {
    // Without an address book it cannot reach anybody, so it asks as if it were new; the data directory's identity is checked all the same.
    if let Some((cluster, node)) = known(&settings.data_dir)
        && !addresses(&settings.data_dir).is_empty()
    {
        return Ok(Start { cluster, node, peers: AddressBook::new(), bootstrap: None });
    }
    let join: Vec<String> = settings.join.iter().map(|url| with_scheme(url)).collect();
    let client = remote::connect(&join, Duration::from_secs(5), &trust(settings))?;
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

fn with_scheme(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
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
pub(super) fn addresses(directory: &Path) -> AddressBook {
    quorate_server::load_addresses(directory).map(Option::unwrap_or_default).unwrap_or_else(|error| {
        let path = directory.join("peers");
        tracing::warn!("{}: {error}; peers are reached where the configuration says", path.display());
        AddressBook::new()
    })
}

pub(super) fn node_config(settings: &Settings, start: &Start) -> Result<Config, Failed> {
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
        // The tree comes by the records: they know whether there is one, and what drives it.
        groups: [(META, EngineKind::Raft), (KEYS, settings.keys_engine)]
            .map(|(id, engine)| GroupConfig { id, engine, birth: birth.clone() })
            .into(),
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

//! Follows the cluster's records: where the members are, and what drives the groups.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_consensus::{EngineKind, GroupId};
use quorate_server::{AddressBook, Handle};
use quorate_service::{META, Reply, TREE};

use super::start::address;

/// When an address book that could not be saved is tried again.
const SAVE_AGAIN: Duration = Duration::from_secs(10);

/// Keeps the transport's addresses, and the address book, as the cluster's records have them.
///
/// Looked at once a second, which costs one local read, and at once when a membership changes.
///
/// Ends, with what to say, if the records have another engine for a group than this member was configured with: it could neither speak to the others nor
/// understand them.
pub(super) async fn follow_members(
    handle: Handle<Reply>,
    directory: PathBuf,
    mut known: AddressBook,
    engines: BTreeMap<GroupId, EngineKind>,
    clients_of_tree: bool,
) -> Option<String> {
    let mut waits = WaitsForTree { wants: clients_of_tree, ticks: 0 };
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
        if !view.groups().contains_key(&TREE) {
            waits.tell(&handle, engines.get(&TREE).copied());
        }
        for (group, place) in view.groups() {
            // A member that names no engine for a group goes by the records.
            if let Some(found) = engines.get(group).filter(|found| **found != place.engine) {
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

/// A member of a cluster that was founded without ZooKeeper's tree.
struct WaitsForTree {
    /// Clients of ZooKeeper are to be served here.
    wants: bool,
    ticks: u32,
}

/// How often it is said that the tree is waited for, in looks at the records; about one a second.
const SAY_EVERY: u32 = 30;

impl WaitsForTree {
    /// Says, to the leader of the records, that this member knows how a tree is added; and to people, what it waits for.
    fn tell(&mut self, handle: &Handle<Reply>, engine: Option<EngineKind>) {
        let _ = handle.input(quorate_service::tree_word(engine, self.wants));
        if self.wants && self.ticks.is_multiple_of(SAY_EVERY) && self.ticks > 0 {
            tracing::warn!(
                "the cluster was founded without ZooKeeper's tree, and its clients are turned away: it is added once every member runs this release, is up, and has \
                 the same tree-engine"
            );
        }
        self.ticks = self.ticks.wrapping_add(1);
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

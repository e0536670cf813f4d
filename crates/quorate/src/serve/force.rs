//! `force-new-cluster`: a member goes on alone from its data, because the others are lost for good.

use quorate_consensus::{NodeId, StateMachine as _};
use quorate_server::{
    AddressBook, Beginning, Forced, Identity, Salvage, Salvaged, SeedError, lock_data_dir, new_cluster,
};
use quorate_service::{
    KEYS, META, TREE,
    keyspace::Keyspace,
    placement::{Placement, PlacementError},
    shards::Keys,
    znodes::Znodes,
};

use super::{failed, start::Start};
use crate::{commands::Failed, config::Settings};

/// Who this member is, if its directory was forced in this start or in an earlier one: whatever the configuration says of the cluster's beginning is past.
///
/// It is forced once. {The flag stays in a unit file; the cluster has grown to three members again; this one starts anew}: forced again, it would be a cluster
/// beside that of the two others, with everything that they have answered since lost.
pub(super) fn forced(settings: &Settings) -> Result<Option<Start>, Failed> {
    let directory = &settings.data_dir;
    let refused = |error: SeedError| failed(format!("{}: {error}", directory.display()));
    let before = quorate_server::forced(directory).map_err(refused)?;
    let forced = match (before, settings.force_new_cluster) {
        (None, false) => return Ok(None),
        (None, true) => force(settings)?,
        (Some(forced), false) => forced,
        (Some(forced), true) => {
            tracing::warn!(
                "force-new-cluster does nothing: cluster {} went on as {} from this data already; take it out of the configuration, or, if the members of {} \
                 are lost as well, remove {} first",
                forced.before,
                forced.cluster,
                forced.cluster,
                directory.join("forced").display(),
            );
            forced
        }
    };
    let Forced { cluster, node, .. } = forced;
    Ok(Some(Start { cluster, node, peers: AddressBook::new(), bootstrap: None }))
}

fn force(settings: &Settings) -> Result<Forced, Failed> {
    let path = &settings.data_dir;
    let shown = path.display();
    let refused = |error: SeedError| failed(format!("force-new-cluster: {shown}: {error}"));
    let nothing = || {
        let mend = "name the data directory of a member of the lost cluster, or leave the option out to begin a new one";
        Failed::usage(format!("force-new-cluster: there is no data in {shown}: {mend}"))
    };
    // Looked at first, so that none is made where there is none.
    if !path.join("identity").exists() {
        return Err(nothing());
    }
    let directory = lock_data_dir(path).map_err(|error| refused(SeedError::Directory(error)))?;
    let identity = Identity::load(&directory).map_err(|error| refused(SeedError::Directory(error)))?;
    let identity = identity.ok_or_else(nothing)?;
    let cluster = new_cluster().map_err(|error| refused(SeedError::Io(error)))?;
    let to = Forced { cluster, node: identity.node, before: identity.cluster };
    let mut salvage = Salvage::open(&directory, identity).map_err(refused)?;
    let groups = groups(&mut salvage, to, settings)?;
    drop(salvage);
    quorate_server::replace(&directory, to, groups).map_err(refused)?;
    tracing::warn!(
        "force-new-cluster: this member alone is now cluster {cluster}; whatever the others of cluster {} have is lost to it, and none of them must ever be started \
         again; the data of before is kept in {}",
        to.before,
        to.kept_in(path).display()
    );
    Ok(to)
}

/// Every group that this node has, as it goes on.
fn groups(salvage: &mut Salvage, to: Forced, settings: &Settings) -> Result<Vec<Beginning>, Failed> {
    let shown = settings.data_dir.display();
    let refused = |error: SeedError| failed(format!("force-new-cluster: {shown}: {error}"));
    let alone = |records: &mut Placement| records.go_on_alone(to.cluster, to.node);
    let (meta, records) = salvage.alone(META, Placement::new(), alone).map_err(|why| match why {
        Salvaged::Read(error) => refused(error),
        Salvaged::Change(error) => failed(format!("force-new-cluster: {shown}: {}", cannot(error, to.node))),
    })?;
    let read = |why: Salvaged<std::convert::Infallible>| match why {
        Salvaged::Read(error) => refused(error),
        Salvaged::Change(never) => match never {},
    };
    // Read as what the log says, and not as one keyspace: {the keys were divided}: that would pass over the founding, and go on with none of the keys.
    let whole = |keys: &mut Keys| keys.alone().map(|_| ()).map_err(|order| order.map().shards().len());
    let (keys, replica) = salvage.alone(KEYS, Keys::Alone(Keyspace::new()), whole).map_err(|why| match why {
        Salvaged::Read(error) => refused(error),
        Salvaged::Change(shards) => failed(format!(
            "force-new-cluster: {shown}: the keys are divided among {shards} groups, of which one member's data does not show how far all of them had come together; \
             nothing was changed: bring back a majority of the members, or begin a new cluster from a backup with quorate snapshot restore"
        )),
    })?;
    tracing::warn!(
        revision = replica.machine().number(),
        index = keys.meta.position.index.0,
        "force-new-cluster: the keys go on from here, with every entry in this member's log"
    );
    let mut groups = vec![meta, keys];
    if records.machine().view().groups().contains_key(&TREE) {
        let (tree, replica) = salvage.alone(TREE, Znodes::new(), |_| Ok(())).map_err(read)?;
        tracing::warn!(
            zxid = replica.machine().number(),
            "force-new-cluster: ZooKeeper's tree goes on from here"
        );
        groups.push(tree);
    }
    Ok(groups)
}

fn cannot(error: PlacementError, node: NodeId) -> String {
    match error {
        PlacementError::NotInitialised => {
            "this member has not yet heard who the members are: take another member's directory".to_owned()
        }
        PlacementError::Removed(_) => {
            format!("member {node} was removed from its cluster: take the directory of one that was not")
        }
        error => format!("{error}: take another member's directory"),
    }
}

//! `quorate snapshot`: backups of the keys, and clusters that begin with one.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use bytes::Bytes;
use quorate_client::{rpc::MaintenanceClient, tonic::Request, wire::etcdserverpb as pb};
use quorate_consensus::{Epoch, Index, Position, StateMachine as _};
use quorate_node::Replica;
use quorate_service::{
    KEYS,
    backup::{self, About},
    keyspace::Keyspace,
};
use serde_json::json;

use crate::{
    cli::{Output, Remote, Restore, Snapshot},
    commands::{Failed, trust},
    config::Below,
    output, remote,
    serve::founding,
};

pub(crate) async fn snapshot(wanted: Snapshot) -> Result<ExitCode, Failed> {
    match wanted {
        Snapshot::Save { file, remote } => save(&file, &remote).await,
        Snapshot::Status { file, output } => {
            let (about, bytes, _) = read(&file)?;
            show(&about, bytes, output);
            Ok(ExitCode::SUCCESS)
        }
        Snapshot::Restore(restore) => self::restore(&restore),
    }
}

fn failed(message: String) -> Failed {
    Failed { code: 1, message }
}

/// Under another name first: a file of this name is whole.
async fn save(file: &Path, remote: &Remote) -> Result<ExitCode, Failed> {
    let part = PathBuf::from(format!("{}.part", file.display()));
    let refused = |error: io::Error| {
        failed(format!("{}: {error}; name a file in a folder that this user may write", part.display()))
    };
    let client = remote::connect(&remote.endpoints, remote.timeout, &trust(remote)?)?;
    let channel = client.channel(0).ok_or_else(|| Failed::usage("no endpoint is given".to_owned()))?;
    let mut client = MaintenanceClient::new(channel);
    let told = client.snapshot(Request::new(pb::SnapshotRequest {})).await;
    let mut told = told.map_err(|status| failed(remote::innermost(&status)))?.into_inner();
    let mut to = File::create(&part).map_err(refused)?;
    loop {
        match told.message().await {
            Ok(Some(message)) => to.write_all(&message.blob).map_err(refused)?,
            Ok(None) => break,
            Err(status) => {
                let _ = fs::remove_file(&part);
                return Err(failed(format!(
                    "the backup was not finished: {}; nothing was kept",
                    remote::innermost(&status)
                )));
            }
        }
    }
    to.sync_all().map_err(refused)?;
    drop(to);
    let (about, bytes, _) = read(&part)?;
    fs::rename(&part, file).map_err(refused)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(refused)?;
    show(&about, bytes, remote.output);
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<(About, u64, Vec<Bytes>), Failed> {
    let name = file.display();
    let bytes = fs::read(file).map_err(|error| failed(format!("{name}: cannot be read: {error}")))?;
    let length = bytes.len() as u64;
    let (about, chunks) = backup::read(&bytes.into()).map_err(|error| failed(format!("{name}: {error}")))?;
    Ok((about, length, chunks))
}

fn show(about: &About, bytes: u64, wanted: Output) {
    let About { cluster_id, index, revision, compacted, keys, digest } = about;
    let text = match wanted {
        Output::Text => format!(
            "revision {revision}, compacted {compacted}, {keys} keys, {bytes} bytes, digest {digest:016x}, of cluster {cluster_id:x} at index {index}\n"
        ),
        Output::Json => {
            let value = json!({
                "hash": digest & 0xffff_ffff, "revision": revision, "compactRevision": compacted, "totalKey": keys,
                "totalSize": bytes, "clusterId": format!("{cluster_id:x}"), "index": index,
            });
            format!("{value}\n")
        }
    };
    output::print(text.as_bytes());
}

/// One member's directory. All members come to the same state, because they do the same to the same file.
fn restore(wanted: &Restore) -> Result<ExitCode, Failed> {
    let (about, _, chunks) = read(&wanted.file)?;
    let refused = |error: crate::config::ConfigError| Failed::usage(error.to_string());
    let sources = wanted.given.resolve(&Below::new(), |name| std::env::var(name).ok()).map_err(refused)?;
    let settings = sources.settings().map_err(refused)?;
    let (cluster, node, birth) = founding(&settings)?;

    let mut keys = Keyspace::restore(&mut chunks.into_iter())
        .map_err(|error| failed(format!("{}: its state cannot be read: {error}", wanted.file.display())))?;
    keys.begin_anew(wanted.bump_revision, wanted.mark_compacted).map_err(|_| {
        Failed::usage("bump-revision: the revision would be larger than any may be".to_owned())
    })?;
    // An index above all that the backup knows of: what is called by the index of its entry, as a lease's grant is, stays what it was. The epoch is the one
    // before all others, so that whoever is elected first is of a later one.
    let position = Position { epoch: Epoch(0), index: Index(about.index.max(1)) };
    let (meta, chunks) = Replica::new(keys, birth, node, 0).as_of(position).snapshot();
    quorate_server::seed(&settings.data_dir, (cluster, node), KEYS, &meta, chunks)
        .map_err(|error| failed(format!("{}: {error}", settings.data_dir.display())))?;
    let shown = settings.data_dir.display();
    let text = format!(
        "restored {} keys into {shown}, for {} of a new cluster; do the same for each of its members, then start them with the same options\n",
        about.keys, settings.name
    );
    output::print(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

//! Keeps history short, if it was told to, while this member leads the keys; and carries the physical side of compactions on.

use std::time::Duration;

use quorate_consensus::{Instant, Role};
use quorate_server::{CallError, Handle};
use quorate_service::{
    KEYS, Reply,
    compactor::{Compactor, Retention},
    keyspace::{Command, Compact},
};

/// How often is looked whether a compaction has left something to remove.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Until the node stops.
pub(super) async fn compact(handle: Handle<Reply>, retention: Retention) {
    let began = tokio::time::Instant::now();
    let mut compactor = Compactor::new(retention, Instant::START);
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while handle.why_stopped().is_none() {
        ticks.tick().await;
        let leads =
            handle.role_changes().borrow().get(&KEYS).is_some_and(|change| change.role == Role::Leader);
        let now = Instant::START + began.elapsed();
        let due = compactor.poll_timeout().is_some_and(|at| at <= now);
        if !leads && !due {
            continue;
        }
        let Ok(Reply::KeysView(view)) = handle.read_local(KEYS).await else { continue };
        // Whoever does not lead looks at revisions all the same: it may lead tomorrow.
        let target = compactor.due(now, view.revision(), view.compacted());
        let pending = view.compaction_pending();
        let auth = view.auth().clone();
        drop(view);
        if !leads {
            continue;
        }
        if let Some(revision) = target {
            let wanted = Compact { revision: i64::try_from(revision).unwrap_or(i64::MAX), physical: false };
            match propose(&handle, auth.as_root(Command::Compact(wanted))).await {
                Ok(_) => tracing::info!(revision, "history was compacted by itself"),
                Err(error) => tracing::warn!(revision, %error, "history could not be compacted by itself"),
            }
        }
        // Entries do this in passing; where none come, it is asked for.
        if pending && sweep(&handle).await.is_err() {
            tracing::debug!("what a compaction left is removed later");
        }
    }
}

async fn sweep(handle: &Handle<Reply>) -> Result<(), CallError> {
    loop {
        propose(handle, Command::Sweep).await?;
        let Reply::KeysView(view) = handle.read_local(KEYS).await? else { return Ok(()) };
        if !view.compaction_pending() {
            return Ok(());
        }
    }
}

async fn propose(handle: &Handle<Reply>, command: Command) -> Result<Reply, CallError> {
    let bytes = command.encode();
    handle.propose(KEYS, None, move |to| to.raw(&bytes)).await
}

//! Has this member's replica of the keys compared with the others', and says so if they differ.

use std::time::Duration;

use quorate_server::Handle;
use quorate_service::{KEYS, Reply, agreement_tick, keyspace::AlarmKind};

/// Until the node stops.
pub(super) async fn compare(handle: Handle<Reply>, every: Duration) {
    if every.is_zero() {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut next = tokio::time::Instant::now() + every;
    while handle.why_stopped().is_none() {
        ticks.tick().await;
        let begin = tokio::time::Instant::now() >= next;
        let _ = handle.input(agreement_tick(handle.node(), begin));
        if !begin {
            continue;
        }
        next = tokio::time::Instant::now() + every;
        let Ok(Reply::KeysView(view)) = handle.read_local(KEYS).await else { continue };
        for alarm in view.alarms().filter(|alarm| alarm.kind == AlarmKind::Corrupt) {
            tracing::error!(
                member = format!("{:x}", alarm.member),
                "the CORRUPT alarm is raised: this member's keys are not what the others have (0: nobody can say whose are wrong), and writes are refused; replace the \
                 member with an empty data directory, then disarm the alarm"
            );
        }
    }
}

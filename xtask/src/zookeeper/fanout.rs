//! One znode, many sessions with a watch on it: from a setData to the last event.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{
    connection::Connection,
    load,
    packets::{Operation, Template},
    system::STANDING,
};
use crate::{Fallible, client};

pub(crate) const WATCHERS: usize = 1_000;

/// So many shots: each sets every watch anew, and then the data.
pub(crate) fn run(addresses: &[String], shots: usize) -> Fallible<Vec<Duration>> {
    client::runtime()?.block_on(async {
        let mut watchers = load::connect(addresses, WATCHERS).await?;
        let mut writer = Connection::open(&addresses[0]).await?;
        let mut set = Template::new(Operation::SetData, STANDING)?;
        let mut times = Vec::with_capacity(shots);
        for _ in 0..shots {
            let mut arming: JoinSet<_> = watchers.drain(..).map(arm).collect();
            let mut waiting = JoinSet::new();
            while let Some(armed) = arming.join_next().await {
                waiting.spawn(event(armed??));
            }
            let begun = Instant::now();
            writer.call(&mut set, 0).await?;
            let mut last = begun;
            while let Some(seen) = waiting.join_next().await {
                let (watcher, at) = seen??;
                last = last.max(at);
                watchers.push(watcher);
            }
            times.push(last.duration_since(begun));
        }
        for connection in watchers {
            connection.close().await?;
        }
        writer.close().await?;
        Ok(times)
    })
}

async fn arm(mut watcher: Connection) -> Fallible<Connection> {
    watcher.call(&mut Template::watch(STANDING)?, 0).await?;
    Ok(watcher)
}

/// Waits for the event; when it came.
async fn event(mut watcher: Connection) -> Fallible<(Connection, Instant)> {
    loop {
        watcher.exchange().await?;
        let now = Instant::now();
        if watcher.take(|_| ())? > 0 {
            return Ok((watcher, now));
        }
    }
}

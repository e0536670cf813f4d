//! Calls from code that is not asynchronous.

use std::time::Duration;

use quorate_client::{Client, Options};

use crate::Fallible;

/// A runtime of this thread.
pub(crate) fn runtime() -> Fallible<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Options of a client that asks one endpoint once and wants to know soon.
pub(crate) fn impatient(timeout: Duration) -> Options {
    Options { call_timeout: timeout, try_timeout: timeout, connect_timeout: timeout, ..Options::default() }
}

/// Does a linearizable read through this endpoint succeed?
pub(crate) fn answers(endpoint: &str) -> bool {
    let Ok(runtime) = runtime() else { return false };
    runtime.block_on(async {
        match Client::connect([endpoint], impatient(Duration::from_millis(500))) {
            Ok(client) => client.get("xtask/alive").await.is_ok(),
            Err(_) => false,
        }
    })
}

/// The index of the endpoint that leads.
pub(crate) fn leader(endpoints: &[String]) -> Option<usize> {
    let runtime = runtime().ok()?;
    runtime.block_on(async {
        let client = Client::connect(endpoints.to_vec(), impatient(Duration::from_millis(500))).ok()?;
        let statuses = client.statuses().await;
        statuses.iter().position(|(_, status)| {
            status
                .as_ref()
                .is_ok_and(|s| s.header.as_ref().is_some_and(|header| header.member_id == s.leader))
        })
    })
}

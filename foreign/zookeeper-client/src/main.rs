//! A cluster seen through the `zookeeper-client` crate: everyday use of ZooKeeper's API, asked by code that we did not write.
//!
//! `foreign-zookeeper-client ADDRESS…`, with one address for each server; `cargo xtask zookeeper-client` starts the cluster and calls it. It asks whoever
//! started it, by lines on standard output, to kill and to start servers (`kill N`, `start N`); each is answered by a line on standard input.
//!
//! Reads are local to the server that a client is connected to; whoever wants to see what another client wrote asks for a `sync` before.

mod access;
mod death;
mod locks;
mod nodes;
mod sessions;
mod transactions;
mod watches;

use std::time::Duration;

use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error};

type Fallible<T> = Result<T, Failure>;

/// What was not expected, and where it was not.
struct Failure(String);

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Failure {
        Failure(format!("{}: {}", std::panic::Location::caller(), error.into()))
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.0)
    }
}

/// Longer than anything here takes, and short enough for whoever waits.
const PATIENCE: Duration = Duration::from_secs(15);

const PERSISTENT: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());
const EPHEMERAL: CreateOptions<'static> = CreateMode::Ephemeral.with_acls(Acls::anyone_all());

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible<()> {
    let servers: Vec<String> = std::env::args().skip(1).collect();
    let hosts = servers.join(",");
    let (client, other) = (connected(&hosts).await?, connected(&hosts).await?);
    nodes::every_kind(&client).await?;
    nodes::versions_and_stats(&client).await?;
    nodes::children(&client, &other).await?;
    transactions::all_or_nothing(&client, &other).await?;
    transactions::many_reads_at_once(&client).await?;
    watches::one_shot(&client, &other).await?;
    watches::persistent(&client, &other).await?;
    watches::recursive(&client, &other).await?;
    access::digest(&hosts, &client).await?;
    access::bad_credentials(&hosts).await?;
    sessions::an_ephemeral_goes_with_its_session(&hosts, &client).await?;
    sessions::a_session_is_taken_over(&hosts, &client).await?;
    sessions::chroot(&hosts, &client).await?;
    locks::one_at_a_time(&client, &other).await?;
    nodes::every_server_agrees(&servers).await?;
    death::of_the_leader(&servers, &client, &other).await?;
    println!(
        "zookeeper-client: the crate is content with {} servers, through the death of every leader that it met",
        servers.len()
    );
    Ok(())
}

/// A client with a session of its own.
async fn connected(hosts: &str) -> Fallible<Client> {
    let client = Client::connector().with_session_timeout(Duration::from_secs(8)).connect(hosts);
    Ok(within("a connection", client).await??)
}

/// What this comes to, in time.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> Fallible<T> {
    tokio::time::timeout(PATIENCE, future)
        .await
        .map_err(|_| format!("not within {PATIENCE:?}: {what}").into())
}

/// Again for as long as the connection is lost.
async fn again<T, F: Future<Output = Result<T, Error>>>(
    what: &str,
    mut operation: impl FnMut() -> F,
) -> Fallible<Result<T, Error>> {
    let tries = async {
        loop {
            match operation().await {
                Err(Error::ConnectionLoss) => {}
                result => return result,
            }
        }
    };
    within(what, tries).await
}

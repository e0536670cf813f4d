//! Connections.

use std::{future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use futures_util::future::select_all;

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Backend, Front, connection::connection, door::Door, front::Serving, leasing, routes::Routes,
    silence::Silence, watching,
};

/// What a connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Connections at a time; others wait to be accepted. Default 10,000.
    pub connections_max: usize,
    /// Calls at a time on one connection. Default 10,000 (etcd: no limit).
    pub streams_max: u32,
    /// Bytes that a client may send on one stream before they are read. Default 2 MiB: the largest request.
    pub stream_window_bytes: u32,
    /// Bytes that a client may send on a connection before they are read: what an idle handler costs at most. Default 8 MiB.
    pub connection_window_bytes: u32,
    /// Bytes of a request's metadata. Default 64 KiB.
    pub metadata_bytes_max: u32,
    /// Bytes of answers that wait on one stream for a client that does not read. Default 1 MiB.
    pub send_buffer_bytes: usize,
    /// Connections that have not said yet what they speak; one more, and the one that has been silent for longest is closed. Default 1,000.
    pub silent_max: usize,
    /// A connection that has not said by then what it speaks is closed. Default 10 s.
    pub first_bytes_timeout: Duration,
    /// The body of a request of the JSON gateway has come by then. Default 30 s.
    pub body_timeout: Duration,
    /// A PING after so long without a word. Default 2 h, etcd's `--grpc-keepalive-interval`.
    pub keepalive_interval: Duration,
    /// The connection is dead if a PING is not answered for so long. Default 20 s, etcd's `--grpc-keepalive-timeout`.
    pub keepalive_timeout: Duration,
    /// How long calls under way may take after the shutdown has begun. Default 5 s.
    pub shutdown_grace: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            streams_max: 10_000,
            stream_window_bytes: 2 << 20,
            connection_window_bytes: 8 << 20,
            metadata_bytes_max: 64 << 10,
            send_buffer_bytes: 1 << 20,
            silent_max: 1_000,
            first_bytes_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(2 * 60 * 60),
            keepalive_timeout: Duration::from_secs(20),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// A runtime to serve on. One worker: everything on the thread that blocks on it, so that answers that come together leave in one write and
/// no thread wakes another; the right choice where the node's own threads want the other cores. More workers: as many threads.
///
/// # Errors
/// The operating system refuses a thread or a file descriptor.
pub fn runtime(workers: usize) -> io::Result<Runtime> {
    let mut builder = if workers <= 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    builder.enable_all().thread_name("quorate-etcd").build()
}

/// Where clients come in.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Through TLS alone, with [`Front::tls`]; in the clear otherwise.
    pub secure: bool,
    /// What is served there.
    pub serves: Serves,
}

/// What is served at a [`Listener`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serves {
    /// gRPC, the JSON gateway, probes and metrics.
    #[default]
    All,
    /// gRPC alone.
    Grpc,
    /// All but gRPC. A client with many streams of gRPC shares no connection with these then.
    Http,
    /// `/metrics`, `/health`, `/livez` and `/readyz`: for those who watch over the server, and without its data.
    Metrics,
}

/// Serves the clients of one socket, through TLS if the front end [has any](Front::tls); see [`serve_all`].
///
/// # Errors
/// The listener fails for good.
pub async fn serve<B: Backend>(
    socket: TcpListener,
    front: Front<B>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let secure = front.tls.is_some();
    serve_all(vec![Listener { socket, secure, serves: Serves::All }], front, shutdown).await
}

/// Serves clients until `shutdown` is ready; then takes no more, lets calls under way finish for [`Tuning::shutdown_grace`], and returns.
///
/// Runs on whatever tokio runtime polls it, and spawns there; see [`runtime`]. Dropping the future closes all connections.
///
/// # Errors
/// A listener fails for good, or one is to be secure and there is no TLS.
pub async fn serve_all<B: Backend>(
    listeners: Vec<Listener>,
    front: Front<B>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (tuning, auto_promote) = (front.tuning, front.auto_promote);
    if front.tls.is_none() && listeners.iter().any(|listener| listener.secure) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS without a certificate"));
    }
    let door_of = |listener: &Listener| {
        Door::new(front.tls.clone().filter(|_| listener.secure), front.client_names.clone())
    };
    let doors: Vec<Door> = listeners.iter().map(door_of).collect();
    let serving = Serving::new(front);
    let routes = Routes::new(serving.clone());
    let (stop, stopping) = watch::channel(false);
    let mut follower = JoinSet::new();
    follower.spawn(serving.clone().follow_roles());
    follower.spawn(watching::follow(serving.clone()));
    follower.spawn(leasing::keep(serving.clone()));
    if auto_promote {
        follower.spawn(serving.clone().promote_oneself());
    }
    let silence = Silence::new(tuning.silent_max);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (accepted, at) = accept(&listeners), if connections.len() < tuning.connections_max => match accepted {
                Ok((stream, _)) => {
                    let door = doors[at].clone();
                    let routes = routes.clone().at(listeners[at].serves);
                    connections.spawn(connection(stream, silence.enter(), door, routes, tuning, stopping.clone()));
                }
                Err(error) => refused(error).await?,
            },
        }
    }
    drop(listeners);
    let _ = stop.send(true);
    // They would never end by themselves.
    serving.watching().end_all();
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(tuning.shutdown_grace, all_ended).await.is_err() {
        tracing::info!(left = connections.len(), "closing connections whose calls did not finish in time");
    }
    Ok(())
}

/// The next connection, and at which listener it came; never, if there is none.
async fn accept(listeners: &[Listener]) -> (io::Result<(TcpStream, SocketAddr)>, usize) {
    if listeners.is_empty() {
        return std::future::pending().await;
    }
    let accepting = listeners.iter().map(|listener| Box::pin(listener.socket.accept()));
    let (accepted, at, _) = select_all(accepting).await;
    (accepted, at)
}

/// A connection that did not come about is its client's misfortune. Too few file descriptors may pass: others may close some.
async fn refused(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
            Ok(())
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected => Err(error),
        _ => {
            tracing::warn!(%error, "a client could not be accepted; is the limit on open files (ulimit -n) too low?");
            sleep(Duration::from_millis(50)).await;
            Ok(())
        }
    }
}

//! Taking connections.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use quorate_service::{znodes::Identity, zookeeper::Drawn};
use tokio::{net::TcpListener, time::sleep};

use crate::{
    Backend, Front, Options, Tuning, admin,
    admission::{Admission, Place},
    door::{Arrival, Door},
    draw::Draws,
    driver::Driver,
    stream::Stream,
};

/// A connection that was just accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    pub(crate) peer: SocketAddr,
    pub(crate) place: Place,
    pub(crate) drawn: Drawn,
    /// What its certificate says it is.
    pub(crate) identities: Vec<Identity>,
}

/// Where a server listens.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For clients: in the clear, and with [`Options::tls`] through TLS as well, on the same port. None: nobody is served there.
    pub clients: Option<TcpListener>,
    /// For clients through TLS alone, `secureClientPort`. Nobody comes in without [`Options::tls`].
    pub secure: Option<TcpListener>,
    /// For the [admin page](crate#the-admin-page). None: there is none.
    pub admin: Option<TcpListener>,
}

/// Serves clients until `shutdown` is ready, then closes all connections. Their sessions live on, as long as their clients find another server in time.
///
/// Without a listener for clients nobody is served, and all else goes on: whoever leads the tree ends its silent sessions, with clients of its own or without. So
/// every member of a tree's group calls this.
///
/// Runs on whatever tokio runtime polls it, and spawns there. A runtime of one thread suits it best; see the driver. One at a time for each `front`.
///
/// # Errors
/// The listener fails for good, the operating system has no random numbers, or `front` is being served already.
pub async fn serve<B: Backend>(
    listeners: Listeners,
    front: Front,
    backend: Arc<B>,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let draws = || Draws::open(options.server_id);
    let (draws, secure_draws) = (draws()?, draws()?);
    let Listeners { clients, secure, admin } = listeners;
    let client_port =
        clients.as_ref().map_or(Ok(0), |listener| Ok::<_, io::Error>(listener.local_addr()?.port()))?;
    let resting = front.begin().ok_or_else(|| {
        io::Error::new(io::ErrorKind::AlreadyExists, "this front end is being served already: make another")
    })?;
    let tuning = options.tuning;
    let admission = Admission::new(tuning.connections_max, tuning.connections_per_address_max);
    let door = |plain_too| match options.tls.clone() {
        Some(tls) => Door::Tls { tls, plain_too },
        None => Door::Plain,
    };
    let (door, secure_door) = (door(!options.tls_only), door(false));
    let secure = secure.filter(|_| options.tls.is_some());
    let mut driver = Driver::new(backend, front.clone(), options, resting, client_port);
    tokio::select! {
        () = driver.run(shutdown) => Ok(()),
        failed = accept(clients, door, front.clone(), draws, &admission, tuning) => failed,
        failed = accept(secure, secure_door, front.clone(), secure_draws, &admission, tuning) => failed,
        failed = administer(admin, front) => failed,
    }
}

async fn administer(listener: Option<TcpListener>, front: Front) -> io::Result<()> {
    match listener {
        Some(listener) => admin::serve(listener, front).await,
        None => std::future::pending().await,
    }
}

async fn accept(
    listener: Option<TcpListener>,
    door: Door,
    front: Front,
    mut draws: Draws,
    admission: &Admission,
    tuning: Tuning,
) -> io::Result<()> {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                refused(error).await?;
                continue;
            }
        };
        let peer = SocketAddr::new(address(peer), peer.port());
        let Some(place) = admission.admit(peer.ip()) else {
            tracing::debug!(%peer, "too many connections, in all (maxCnxns) or from this address (maxClientCnxns): closed");
            continue;
        };
        // Small answers must not wait for each other.
        let _ = stream.set_nodelay(true);
        let drawn = draws.draw()?;
        door.enter(Arrival { stream, peer, place, drawn }, &front, tuning.handshake_timeout);
    }
}

/// An IPv4 address as one, however it came.
fn address(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
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

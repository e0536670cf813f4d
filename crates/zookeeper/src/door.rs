//! Who comes in how: in the clear, or through TLS.

use std::{net::SocketAddr, time::Duration};

use quorate_service::{znodes::Identity, zookeeper::Drawn};
use quorate_tls::Tls;
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{Front, admission::Place, front::Told, serve::Accepted, stream::Stream};

/// What a listener takes.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// Clients in the clear, and no others.
    Plain,
    /// TLS, and beside it clients in the clear if they may.
    Tls { tls: Tls, plain_too: bool },
}

/// The first byte of every TLS connection: a record of the handshake. A client in the clear begins with a length, whose first byte is 0, or with a letter.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that was just accepted, and what it counts for.
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) place: Place,
    pub(crate) drawn: Drawn,
}

impl Arrival {
    fn accepted(self, identities: Vec<Identity>) -> Accepted {
        let Arrival { stream, peer, place, drawn } = self;
        Accepted { stream: Stream::Tcp(stream), peer, place, drawn, identities }
    }
}

impl Door {
    /// Lets a client in. Who is too slow with its first byte, or with its handshake, is turned away.
    pub(crate) fn enter(&self, arrival: Arrival, front: &Front, patience: Duration) {
        let Door::Tls { tls, plain_too } = self else {
            return front.tell(Told::Accepted(arrival.accepted(Vec::new())));
        };
        let (tls, plain_too, front) = (tls.clone(), *plain_too, front.clone());
        tokio::spawn(async move {
            let peer = arrival.peer;
            let mut first = [0];
            let looked = timeout(patience, arrival.stream.peek(&mut first)).await;
            match looked {
                Ok(Ok(1)) if first[0] == TLS_HANDSHAKE => through_tls(arrival, &tls, front, patience).await,
                Ok(Ok(1)) if plain_too => front.tell(Told::Accepted(arrival.accepted(Vec::new()))),
                Ok(Ok(1)) => tracing::debug!(%peer, "a client in the clear where TLS is asked for: closed"),
                Ok(_) | Err(_) => {}
            }
        });
    }
}

/// Shakes hands, and carries bytes to and fro until both sides have said all.
async fn through_tls(arrival: Arrival, tls: &Tls, front: Front, patience: Duration) {
    let Arrival { stream, peer, place, drawn } = arrival;
    let mut stream = match timeout(patience, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS with a client"),
        Err(_) => return tracing::debug!(%peer, "a client was too slow with its TLS handshake"),
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let identities = shown.and_then(quorate_tls::subject).map(|name| Identity::new("x509", &name));
    let (inner, mut outer) = match UnixStream::pair() {
        Ok(pair) => pair,
        Err(error) => {
            return tracing::warn!(%peer, %error, "no local sockets for a client's TLS; is the limit on open files (ulimit -n) too low?");
        }
    };
    let identities = identities.into_iter().collect();
    front.tell(Told::Accepted(Accepted { stream: Stream::Tls(inner), peer, place, drawn, identities }));
    // However it ends, both are closed then.
    let _ = copy_bidirectional(&mut stream, &mut outer).await;
}

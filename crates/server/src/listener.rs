//! Incoming connections: one thread accepts, one thread per connection reads frames straight into the core's inbox.
//!
//! With two connections per peer there are few of them, and a thread that blocks in `read` wakes the core itself: an asynchronous runtime
//! between the two would add a hop to every round trip of the cluster.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate_consensus::NodeId;
use quorate_node::{Channel, NodeInput};
use quorate_tls::rustls;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    net::sockopt,
};

use crate::{
    core::CoreInput,
    counters::Counters,
    inbox::{Inbox, lock},
    preamble::{PREAMBLE_BYTES, Preamble, Verdict},
    reader::{FrameReader, ReadEnd},
    secure::{self, ByDeadline, Talk, Unsealed},
    transport::{
        HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, INCOMING_MAX, Local, SILENCE_TIMEOUT, Security, frame_bytes_max,
    },
};

/// How long accepting rests after an error such as too many open files, which would only repeat itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a refusal by TLS is worth a line: a peer that is configured wrongly comes again and again, and so does a stranger.
const SAY_REFUSED_EVERY: Duration = Duration::from_secs(60);

/// Accepts peers' connections until it is closed.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    local: Local,
    security: Security,
    core: Inbox<CoreInput>,
    counters: Arc<Counters>,
    /// Interrupts the accepting thread.
    bell: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    connections: BTreeMap<u64, Connection>,
    closed: bool,
    /// When TLS last refused a connection in so many words.
    said_refused: Option<Instant>,
}

#[derive(Debug)]
struct Connection {
    stream: Arc<TcpStream>,
    /// Who it is, once it has said so.
    peer: Option<(NodeId, Channel)>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts to accept.
    pub(crate) fn start(
        listener: TcpListener,
        security: Security,
        local: Local,
        core: Inbox<CoreInput>,
        counters: Arc<Counters>,
    ) -> io::Result<(Listener, JoinHandle<()>)> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { local, security, core, counters, bell, state: Mutex::default() });
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("quorate-accept".into()).spawn(move || accept(&listener, &shared))?
        };
        Ok((Listener { address, shared }, thread))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hangs up on everyone and stops listening.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        for connection in state.connections.values() {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        drop(state);
        let _ = rustix::io::write(&self.shared.bell, &1u64.to_ne_bytes());
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let mut ready = [PollFd::new(&shared.bell, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        let _ = poll(&mut ready, None);
        if lock(&shared.state).closed {
            break;
        }
        match listener.accept() {
            Ok((stream, from)) => {
                if let Err(error) = admit(stream, from, shared) {
                    tracing::debug!(%from, %error, "incoming connection refused");
                    shared.counters.connections_refused.add(1);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections of peers; trying on");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
    // Their sockets are shut down, so their threads end.
    let threads: Vec<JoinHandle<()>> = lock(&shared.state)
        .connections
        .values_mut()
        .filter_map(|connection| connection.thread.take())
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
}

/// Gives a connection its thread, if there is room for it.
fn admit(stream: TcpStream, from: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    stream.set_write_timeout(Some(HANDSHAKE_TIMEOUT))?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, SILENCE_TIMEOUT)?;
    sockopt::set_tcp_user_timeout(&stream, SILENCE_TIMEOUT.as_millis() as u32)?;
    let stream = Arc::new(stream);
    let mut state = lock(&shared.state);
    if state.closed {
        return Err(ErrorKind::ConnectionAborted.into());
    }
    let unnamed = state.connections.values().filter(|connection| connection.peer.is_none()).count();
    if state.connections.len() >= INCOMING_MAX || unnamed >= HANDSHAKES_MAX {
        drop(state);
        // Best effort: a stranger that does not read gets nothing, nor does a peer that would only hear it through TLS.
        if matches!(shared.security, Security::Plaintext) {
            let _ = (&*stream).write(&Verdict::Busy.encode());
        }
        return Err(io::Error::new(ErrorKind::ConnectionRefused, "too many connections"));
    }
    state.last += 1;
    let id = state.last;
    let thread = {
        let (stream, shared) = (Arc::clone(&stream), Arc::clone(shared));
        thread::Builder::new().name("quorate-from".into()).spawn(move || {
            let end = serve(id, from, &stream, &shared);
            let _ = stream.shutdown(Shutdown::Both);
            if let Some(connection) = lock(&shared.state).connections.remove(&id) {
                match (connection.peer, end) {
                    (Some((peer, channel)), end) => tracing::debug!(%peer, ?channel, %end, "peer hung up"),
                    (None, end) => {
                        tracing::debug!(%from, %end, "incoming connection refused");
                        shared.counters.connections_refused.add(1);
                    }
                }
            }
        })?
    };
    state.connections.insert(id, Connection { stream, peer: None, thread: Some(thread) });
    Ok(())
}

/// Reads a connection to its end.
fn serve(id: u64, from: SocketAddr, stream: &Arc<TcpStream>, shared: &Shared) -> ReadEnd {
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let mut socket = ByDeadline::new(stream, deadline);
    let greeted = match &shared.security {
        Security::Plaintext => {
            let greeted = greet(id, &mut socket, shared).map(|peer| (peer, None));
            greeted.inspect_err(|error| {
                if error.kind() == ErrorKind::Unsupported {
                    say_refused(from, error, shared);
                }
            })
        }
        Security::Tls(members) => match secure::accept(members, &mut socket) {
            Ok(mut tls) => greet(id, &mut rustls::Stream::new(&mut *tls, &mut socket), shared)
                .map(|peer| (peer, Some(tls))),
            Err(error) => {
                say_refused(from, &error, shared);
                Err(error)
            }
        },
    };
    let lasting = |stream: &TcpStream| {
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(Some(HANDSHAKE_TIMEOUT))
    };
    match greeted.and_then(|greeted| lasting(stream).map(|()| greeted)) {
        Ok((peer, None)) => receive(peer, &**stream, shared),
        Ok((peer, Some(tls))) => receive(peer, Unsealed::new(tls, stream), shared),
        Err(error) => ReadEnd::Io(error),
    }
}

/// A peer whose certificate is refused cannot be told more than an alert, so it is said here, and not for every try.
fn say_refused(from: SocketAddr, error: &io::Error, shared: &Shared) {
    let now = Instant::now();
    let mut state = lock(&shared.state);
    let recently = |at: Instant| now.duration_since(at) < SAY_REFUSED_EVERY;
    if state.closed || state.said_refused.is_some_and(recently) {
        return;
    }
    state.said_refused = Some(now);
    drop(state);
    tracing::warn!(%from, %error, "a connection to the port of members is refused; others are not named for a minute");
}

fn receive((peer, channel): (NodeId, Channel), mut from: impl Read, shared: &Shared) -> ReadEnd {
    let peer = shared.counters.peers.of(peer);
    let mut frames = FrameReader::new(frame_bytes_max(channel));
    let mut batch: Vec<Bytes> = Vec::new();
    loop {
        if let Err(end) = frames.read(&mut from, &mut batch) {
            return end;
        }
        shared.counters.socket_reads.add(1);
        if batch.is_empty() {
            continue;
        }
        let bytes = batch.iter().map(|frame| frame.len() as u64).sum();
        shared.counters.frames_received.add(batch.len() as u64);
        shared.counters.frame_bytes_received.add(bytes);
        peer.received_bytes.add(bytes);
        // A core that is behind lets the socket fill, and the peer learns by TCP to slow down.
        let inputs = batch.drain(..).map(|frame| CoreInput::Node(NodeInput::Frame(frame)));
        if !shared.core.extend_waiting(inputs, bytes) {
            return ReadEnd::Closed;
        }
    }
}

/// Hears who it is and answers. The newest connection of a peer and channel replaces the one before, which then is a dead one.
fn greet(id: u64, talk: &mut dyn Talk, shared: &Shared) -> io::Result<(NodeId, Channel)> {
    let mut preamble = [0; PREAMBLE_BYTES];
    talk.read_exact(&mut preamble)?;
    let preamble = match Preamble::judge(&preamble, shared.local) {
        Some(Ok(preamble)) => preamble,
        Some(Err(verdict)) => {
            talk.write_all(&verdict.encode())?;
            return Err(io::Error::new(ErrorKind::InvalidData, format!("{verdict:?}")));
        }
        None if preamble[0] == secure::HANDSHAKE_RECORD => {
            return Err(io::Error::new(
                ErrorKind::Unsupported,
                "it speaks TLS, and this member in the clear; give this one peer-tls-certificate, peer-tls-key and peer-tls-ca, too",
            ));
        }
        None => return Err(io::Error::new(ErrorKind::InvalidData, "not a peer")),
    };
    let peer = (preamble.sender, preamble.channel);
    {
        let mut state = lock(&shared.state);
        if state.closed {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        for connection in state.connections.values().filter(|connection| connection.peer == Some(peer)) {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        if let Some(connection) = state.connections.get_mut(&id) {
            connection.peer = Some(peer);
        }
    }
    talk.write_all(&Verdict::Welcome.encode())?;
    Ok(peer)
}

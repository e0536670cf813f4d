//! One outgoing connection: a queue, a socket, and a thread that dials and writes what the core could not write at once.
//!
//! The core writes itself when nothing waits before it: the socket does not block, so that costs one system call for all frames of a
//! round and no wake-up. Only what the socket does not take is left to the thread.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate_consensus::{NodeId, Random};
use quorate_node::{Channel, NodeInput};
use quorate_tls::rustls::{self, ClientConnection};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    net::sockopt,
};

use crate::{
    core::CoreInput,
    counters::Counters,
    data_directory::random_u64,
    inbox::{Inbox, lock},
    peers::PeerCounters,
    preamble::{Preamble, VERDICT_BYTES, Verdict},
    secure::{self, ByDeadline, Sealing, Talk},
    transport::{
        BULK_QUEUE_BYTES_MAX, HANDSHAKE_TIMEOUT, Local, PeerAddress, RECONNECT_MAX, RECONNECT_MIN,
        SILENCE_TIMEOUT, Security, UNCONNECTED_QUEUE_BYTES_MAX, URGENT_QUEUE_BYTES_MAX, frame_bytes_max,
    },
};

/// Frames of one vectored write; each takes two pieces.
const FRAMES_PER_WRITE: usize = 64;
const PREFIX_BYTES: usize = 4;

/// An outgoing connection to a peer.
#[derive(Debug)]
pub(crate) struct Link {
    preamble: Preamble,
    security: Security,
    state: Mutex<State>,
    /// Interrupts the thread's sleep.
    bell: OwnedFd,
    core: Inbox<CoreInput>,
    counters: Arc<Counters>,
    peer: Arc<PeerCounters>,
}

#[derive(Debug)]
struct State {
    address: PeerAddress,
    stream: Option<Arc<TcpStream>>,
    /// Between the queue and the socket, if they speak through TLS. What it has taken from the queue and the socket not from it waits here.
    tls: Option<Box<ClientConnection>>,
    queue: VecDeque<Bytes>,
    /// Bytes of `queue`, prefixes included, without what has been written.
    queued_bytes: usize,
    /// How much of the first frame has been written, its prefix included.
    written: usize,
    /// Frames were dropped since the queue was last empty: that was said once and need not be again.
    overflowing: bool,
    closed: bool,
}

impl Link {
    /// Starts to dial `peer`.
    pub(crate) fn start(
        local: Local,
        peer: NodeId,
        channel: Channel,
        address: PeerAddress,
        security: Security,
        core: Inbox<CoreInput>,
        counters: Arc<Counters>,
    ) -> io::Result<(Arc<Link>, JoinHandle<()>)> {
        let link = Arc::new(Link {
            preamble: Preamble { channel, cluster: local.cluster, sender: local.node, receiver: peer },
            security,
            state: Mutex::new(State {
                address,
                stream: None,
                tls: None,
                queue: VecDeque::new(),
                queued_bytes: 0,
                written: 0,
                overflowing: false,
                closed: false,
            }),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            core,
            peer: counters.peers.of(peer),
            counters,
        });
        let seed = random_u64()?;
        let thread = {
            let link = Arc::clone(&link);
            thread::Builder::new()
                .name(format!("quorate-to-{peer}"))
                .spawn(move || link.run(Random::new(seed)))?
        };
        Ok((link, thread))
    }

    /// Sends frames, in order. Never blocks.
    pub(crate) fn send(&self, frames: impl Iterator<Item = Bytes>) {
        let mut state = lock(&self.state);
        let waited = !state.queue.is_empty() || state.tls.as_ref().is_some_and(|tls| tls.wants_write());
        let lost = self.enqueue(&mut state, frames);
        if lost && !std::mem::replace(&mut state.overflowing, true) {
            self.say_lost();
        }
        // While frames wait, the thread waits for the socket already and will write these too.
        if waited || state.queue.is_empty() {
            return;
        }
        if let Some(stream) = state.stream.clone()
            && !matches!(self.write(&mut state, &stream), Ok(true))
        {
            // It finds out itself whether the socket is full or broken.
            self.ring();
        }
    }

    /// Adds frames to the queue within its limits. `true` if some were dropped from a connection that stands.
    fn enqueue(&self, state: &mut State, frames: impl Iterator<Item = Bytes>) -> bool {
        let bytes_max = match self.preamble.channel {
            Channel::Urgent => URGENT_QUEUE_BYTES_MAX,
            Channel::Bulk => BULK_QUEUE_BYTES_MAX,
        };
        let frame_max = frame_bytes_max(self.preamble.channel);
        let mut dropped = 0;
        for frame in frames {
            // A slow connection keeps what it began with, in order; the engine sends the rest again when it hears what arrived.
            if frame.len() > frame_max || state.queued_bytes + frame.len() + PREFIX_BYTES > bytes_max {
                dropped += 1;
                continue;
            }
            state.queued_bytes += frame.len() + PREFIX_BYTES;
            state.queue.push_back(frame);
        }
        let mut lost = dropped > 0;
        if state.stream.is_none() {
            lost = false;
            // Nobody listens: of what waits only the newest is worth anything.
            while state.queued_bytes > UNCONNECTED_QUEUE_BYTES_MAX
                && let Some(oldest) = state.queue.pop_front()
            {
                state.queued_bytes -= oldest.len() + PREFIX_BYTES;
                dropped += 1;
            }
        }
        self.counters.frames_dropped.add(dropped);
        self.peer.sent_failures.add(dropped);
        lost
    }

    /// Writes as much as the socket takes. `true` if nothing is left.
    fn write(&self, state: &mut State, stream: &TcpStream) -> io::Result<bool> {
        let Some(mut tls) = state.tls.take() else { return self.pour(state, stream) };
        let written = self.write_sealed(state, &mut tls, stream);
        state.tls = Some(tls);
        written
    }

    /// TLS takes more only once the socket has taken all that it holds, so that what a slow peer has not got stays in the queue, where it is counted.
    fn write_sealed(
        &self,
        state: &mut State,
        tls: &mut ClientConnection,
        stream: &TcpStream,
    ) -> io::Result<bool> {
        loop {
            if !secure::flush(tls, stream)? {
                return Ok(false);
            }
            if state.queue.is_empty() {
                return Ok(true);
            }
            self.pour(state, Sealing(tls))?;
        }
    }

    /// Moves the queue, as much as goes, into what takes it. `true` if nothing is left.
    fn pour(&self, state: &mut State, mut into: impl Write) -> io::Result<bool> {
        while !state.queue.is_empty() {
            let mut prefixes = [[0; PREFIX_BYTES]; FRAMES_PER_WRITE];
            for (prefix, frame) in prefixes.iter_mut().zip(&state.queue) {
                *prefix = (frame.len() as u32).to_le_bytes();
            }
            let mut pieces = [IoSlice::new(&[]); 2 * FRAMES_PER_WRITE];
            let mut count = 0;
            for (prefix, frame) in prefixes.iter().zip(&state.queue) {
                pieces[count] = IoSlice::new(prefix);
                pieces[count + 1] = IoSlice::new(frame);
                count += 2;
            }
            let mut rest = &mut pieces[..count];
            IoSlice::advance_slices(&mut rest, state.written);
            let written = match into.write_vectored(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.counters.socket_writes.add(1);
            self.peer.sent_bytes.add(written as u64);
            state.queued_bytes -= written;
            state.written += written;
            while let Some(first) = state.queue.front()
                && state.written >= first.len() + PREFIX_BYTES
            {
                state.written -= first.len() + PREFIX_BYTES;
                state.queue.pop_front();
            }
        }
        state.overflowing = false;
        Ok(true)
    }

    /// The peer listens elsewhere now.
    pub(crate) fn set_address(&self, address: &PeerAddress) {
        let mut state = lock(&self.state);
        if state.address != *address {
            state.address = address.clone();
            if let Some(stream) = &state.stream {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            self.ring();
        }
    }

    /// Hangs up; the thread ends.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.ring();
    }

    fn ring(&self) {
        // Full means that it rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn say_lost(&self) {
        self.core.extend([CoreInput::Node(NodeInput::PeerLost(self.preamble.receiver))]);
    }

    // ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────────

    fn run(&self, mut random: Random) {
        let peer = self.preamble.receiver;
        let mut pause = RECONNECT_MIN;
        let mut said = None;
        loop {
            let address = {
                let state = lock(&self.state);
                if state.closed {
                    return;
                }
                state.address.clone()
            };
            match self.dial(&address) {
                Ok((stream, tls)) => {
                    tracing::debug!(%peer, %address, channel = ?self.preamble.channel, "connected");
                    (pause, said) = (RECONNECT_MIN, None);
                    let stands = self.peer.connections.one();
                    let error = self.serve(&Arc::new(stream), tls);
                    drop(stands);
                    self.hang_up();
                    if lock(&self.state).closed {
                        return;
                    }
                    self.counters.connections_lost.add(1);
                    self.peer.connections_lost.add(1);
                    self.say_lost();
                    tracing::debug!(%peer, %address, channel = ?self.preamble.channel, %error, "connection lost");
                }
                Err(error) => {
                    // A peer that is down is refused a hundred times a minute; that is worth one line.
                    let error = error.to_string();
                    if said.as_ref() != Some(&error) && self.preamble.channel == Channel::Urgent {
                        tracing::warn!(%peer, %address, error, "cannot connect to the peer; trying on");
                        said = Some(error);
                    }
                }
            }
            let jitter = random.below(pause.as_nanos() as u64);
            self.sleep(pause / 2 + Duration::from_nanos(jitter));
            pause = (pause * 2).min(RECONNECT_MAX);
        }
    }

    fn dial(&self, address: &PeerAddress) -> io::Result<(TcpStream, Option<Box<ClientConnection>>)> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for at in address.0.to_socket_addrs()? {
            let stream = TcpStream::connect_timeout(&at, HANDSHAKE_TIMEOUT);
            match stream.and_then(|stream| Ok((self.greet(&stream, address)?, stream))) {
                Ok((tls, stream)) => return Ok((stream, tls)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn greet(&self, stream: &TcpStream, address: &PeerAddress) -> io::Result<Option<Box<ClientConnection>>> {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(stream, true)?;
        // Without it, a host that vanished without a word would hold the connection for a quarter of an hour.
        sockopt::set_tcp_user_timeout(stream, SILENCE_TIMEOUT.as_millis() as u32)?;
        let mut socket = ByDeadline::new(stream, Instant::now() + HANDSHAKE_TIMEOUT);
        let tls = match &self.security {
            Security::Plaintext => {
                self.introduce(&mut socket)?;
                None
            }
            Security::Tls(members) => {
                let mut tls = secure::dial(members, &mut socket, address)?;
                // The peer looks at this member's certificate only after this side is done, so that a refusal is heard here.
                self.introduce(&mut rustls::Stream::new(&mut *tls, &mut socket)).map_err(secure::explain)?;
                Some(tls)
            }
        };
        stream.set_nonblocking(true)?;
        Ok(tls)
    }

    /// Says who dials whom, and hears whether that is welcome.
    fn introduce(&self, talk: &mut dyn Talk) -> io::Result<()> {
        talk.write_all(&self.preamble.encode())?;
        let mut verdict = [0; VERDICT_BYTES];
        talk.read_exact(&mut verdict)?;
        match Verdict::decode(&verdict) {
            Some(Verdict::Welcome) => Ok(()),
            Some(verdict) => Err(io::Error::new(ErrorKind::ConnectionRefused, verdict.to_string())),
            None => Err(io::Error::new(ErrorKind::InvalidData, "no node of this kind listens there")),
        }
    }

    /// Writes what waits until the connection ends; says why it did.
    fn serve(&self, stream: &Arc<TcpStream>, tls: Option<Box<ClientConnection>>) -> io::Error {
        {
            let mut state = lock(&self.state);
            (state.stream, state.tls) = (Some(Arc::clone(stream)), tls);
        }
        loop {
            let wanted = {
                let mut state = lock(&self.state);
                if state.closed {
                    return ErrorKind::ConnectionAborted.into();
                }
                match self.write(&mut state, stream) {
                    Ok(true) => PollFlags::IN | PollFlags::RDHUP,
                    Ok(false) => PollFlags::IN | PollFlags::RDHUP | PollFlags::OUT,
                    Err(error) => return error,
                }
            };
            let mut ready = [PollFd::new(&self.bell, PollFlags::IN), PollFd::new(&**stream, wanted)];
            if let Err(error) = poll(&mut ready, None)
                && error != rustix::io::Errno::INTR
            {
                return error.into();
            }
            let [bell, socket] = ready.map(|fd| fd.revents());
            if !bell.is_empty() {
                self.silence();
            }
            let said = socket - PollFlags::OUT;
            if said.is_empty() {
                continue;
            }
            let heard = lock(&self.state).tls.as_mut().map(|tls| secure::hear(tls, stream));
            match heard {
                Some(Err(error)) => return error,
                // What TLS says to itself may come at any time; an end may not be taken for it.
                Some(Ok(())) if said == PollFlags::IN => {}
                Some(Ok(())) => return ErrorKind::UnexpectedEof.into(),
                // The listener says nothing after its verdict, so whatever can be read here is the end.
                None => {
                    let mut byte = [0];
                    return match (&**stream).read(&mut byte) {
                        Ok(0) => ErrorKind::UnexpectedEof.into(),
                        Ok(_) => io::Error::new(ErrorKind::InvalidData, "the peer speaks out of turn"),
                        Err(error) => error,
                    };
                }
            }
        }
    }

    fn hang_up(&self) {
        let mut state = lock(&self.state);
        (state.stream, state.tls) = (None, None);
        // What was queued for this connection is as lost as what was half written.
        self.counters.frames_dropped.add(state.queue.len() as u64);
        self.peer.sent_failures.add(state.queue.len() as u64);
        state.queue.clear();
        (state.queued_bytes, state.written, state.overflowing) = (0, 0, false);
    }

    fn silence(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
    }

    fn sleep(&self, pause: Duration) {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut ready = [PollFd::new(&self.bell, PollFlags::IN)];
            match poll(&mut ready, Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) | Err(_) => return,
                // Closed, or another address: look at once.
                Ok(_) => return self.silence(),
            }
        }
    }
}

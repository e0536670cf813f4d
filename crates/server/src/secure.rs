//! TLS around a socket, below the preamble: what is above does not know.
//!
//! ```text
//!  link:     queue ─► ClientConnection: at most 64 KiB of records that the socket has not taken ─► socket    nothing blocks
//!  listener: socket ─► ServerConnection ─► Unsealed, which reads like a socket ─► FrameReader
//! ```
//! Both ends show a certificate. Whoever has shown none that is good has cost a thread for [`HANDSHAKE_TIMEOUT`](crate::HANDSHAKE_TIMEOUT) at most, as in the
//! clear.

use std::{
    io::{self, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use quorate_tls::{
    Members,
    rustls::{ClientConnection, ServerConnection, pki_types::ServerName},
};

use crate::{
    preamble::{PREAMBLE_BYTES, Preamble, Verdict},
    transport::PeerAddress,
};

/// What one read from a socket asks for; rustls itself would ask for 4 KiB.
const BUFFER_BYTES: usize = 64 << 10;
/// The first byte of whatever speaks TLS: a record of the handshake.
pub(crate) const HANDSHAKE_RECORD: u8 = 22;
/// How long, and for how many bytes, a refused connection is listened to, so that the refusal is not overtaken by a reset.
const FAREWELL: (Duration, usize) = (Duration::from_millis(500), 64 << 10);

/// A way to talk, in the clear or not.
pub(crate) trait Talk: Read + Write {}

impl<T: Read + Write> Talk for T {}

/// A socket with one deadline over all that is read and written: a byte now and then does not extend it.
pub(crate) struct ByDeadline<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl<'a> ByDeadline<'a> {
    pub(crate) fn new(stream: &'a TcpStream, deadline: Instant) -> ByDeadline<'a> {
        ByDeadline { stream, deadline }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for ByDeadline<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(into)
    }
}

impl Write for ByDeadline<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shakes hands with the peer that was dialled at `address`: its certificate must be good, and for that host.
pub(crate) fn dial(
    members: &Members,
    socket: &mut ByDeadline<'_>,
    address: &PeerAddress,
) -> io::Result<Box<ClientConnection>> {
    let host = address.0.rsplit_once(':').map_or(address.0.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        io::Error::new(ErrorKind::InvalidInput, format!("{host:?} is no name that a certificate can have"))
    })?;
    let mut tls = ClientConnection::new(members.outgoing(), name).map_err(io::Error::other)?;
    tls.complete_io(socket).map_err(explain)?;
    if !members.admits(tls.peer_certificates()) {
        return Err(stranger());
    }
    Ok(Box::new(tls))
}

/// Shakes hands with whoever dialled. A peer in the clear is told what is missing.
pub(crate) fn accept(members: &Members, socket: &mut ByDeadline<'_>) -> io::Result<Box<ServerConnection>> {
    let mut first = [0];
    socket.stream.set_read_timeout(socket.left()?)?;
    if socket.stream.peek(&mut first)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if first[0] != HANDSHAKE_RECORD {
        let mut preamble = [0; PREAMBLE_BYTES];
        socket.read_exact(&mut preamble)?;
        if Preamble::is_one(&preamble) {
            socket.write_all(&Verdict::Tls.encode())?;
        }
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "it speaks in the clear, and here TLS alone is spoken; give it peer-tls-certificate, peer-tls-key and peer-tls-ca",
        ));
    }
    let mut tls = ServerConnection::new(members.incoming()).map_err(io::Error::other)?;
    let refused = match tls.complete_io(socket) {
        Ok(_) if members.admits(tls.peer_certificates()) => return Ok(Box::new(tls)),
        Ok(_) => stranger(),
        Err(error) => error,
    };
    farewell(socket.stream);
    Err(refused)
}

fn stranger() -> io::Error {
    io::Error::new(
        ErrorKind::PermissionDenied,
        "its certificate has none of the names that members have; see peer-tls-names",
    )
}

/// Why it refuses has been written; closed at once, the socket would answer what still comes with a reset, and the peer might never read it.
fn farewell(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let mut socket = ByDeadline::new(stream, Instant::now() + FAREWELL.0);
    let _ = io::copy(&mut (&mut socket).take(FAREWELL.1 as u64), &mut io::sink());
}

/// What a dialler is told when the other side hangs up instead of speaking TLS.
pub(crate) fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => io::Error::new(
            error.kind(),
            "it hung up on TLS; either it has no peer-tls-certificate and speaks in the clear, or it does not take the certificate of this member, as its log then says",
        ),
        _ => error,
    }
}

/// Writes what TLS holds, as far as the socket takes it. `true` if nothing is left.
pub(crate) fn flush(tls: &mut ClientConnection, mut stream: &TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(&mut stream) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Takes in what the listener says after its verdict: nothing but of TLS itself, such as that it has changed its keys, too.
pub(crate) fn hear(tls: &mut ClientConnection, mut stream: &TcpStream) -> io::Result<()> {
    loop {
        match tls.read_tls(&mut stream) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                let heard = tls.process_new_packets().map_err(invalid)?;
                if heard.plaintext_bytes_to_read() > 0 {
                    return Err(io::Error::new(ErrorKind::InvalidData, "the peer speaks out of turn"));
                }
                if heard.peer_has_closed() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn invalid(error: quorate_tls::rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// Takes plain bytes until it holds as much as it may; then it would block, as a full socket does.
pub(crate) struct Sealing<'a>(pub(crate) &'a mut ClientConnection);

impl Write for Sealing<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(from)])
    }

    fn write_vectored(&mut self, from: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self.0.writer().write_vectored(from)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a peer says through TLS, as if it were a socket.
pub(crate) struct Unsealed<'a> {
    tls: Box<ServerConnection>,
    socket: BufReader<&'a TcpStream>,
}

impl<'a> Unsealed<'a> {
    pub(crate) fn new(tls: Box<ServerConnection>, stream: &'a TcpStream) -> Unsealed<'a> {
        Unsealed { tls, socket: BufReader::with_capacity(BUFFER_BYTES, stream) }
    }
}

impl Read for Unsealed<'_> {
    /// All records that have arrived with one read of the socket come together: each by itself, of at most 16 KiB, would wake the core.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            match self.tls.reader().read(&mut into[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if filled > 0 && self.socket.buffer().is_empty() {
                        return Ok(filled);
                    }
                    // It has changed its keys and asks for the same: a connection that lasts uses up its keys.
                    while self.tls.wants_write() {
                        self.tls.write_tls(self.socket.get_mut())?;
                    }
                    self.tls.read_tls(&mut self.socket)?;
                    self.tls.process_new_packets().map_err(invalid)?;
                }
                // An end; it is said again by the next read, which then has nothing before it.
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
    }
}

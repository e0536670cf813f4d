//! One connection of the load: keeps so many requests on their way, and reads no more of an answer than its header.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use quorate_wire::jute::Jute as _;
use quorate_wire::zookeeper::{OpCode, RequestHeader, XID_NOTIFICATION, packet};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
};

use super::{packets::Template, session};
use crate::Fallible;

const LENGTH: usize = 4;
/// Length, xid, zxid, error.
const HEADER: usize = 20;
const INPUT_BYTES: usize = 64 << 10;

/// A connection with a session.
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// So much of `input` is received and not yet taken.
    filled: usize,
    output: Vec<u8>,
    written: usize,
    /// When each request on its way was made, oldest first.
    sent: VecDeque<Instant>,
    /// The xid of the newest.
    xid: i32,
}

/// What an answer's header says.
struct Header {
    xid: i32,
    error: i32,
}

impl Connection {
    /// Connects and asks for a session.
    pub(crate) async fn open(address: &str) -> Fallible<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection {
            stream,
            input: vec![0; 4 << 10],
            filled: 0,
            output: session::hello()?.to_vec(),
            written: 0,
            sent: VecDeque::new(),
            xid: 0,
        };
        loop {
            connection.exchange().await?;
            if let Some(end) = connection.packet_end(0) {
                session::welcomed(connection.input[LENGTH..end].to_vec().into())?;
                connection.taken(end);
                return Ok(connection);
            }
        }
    }

    /// How many requests are on their way.
    pub(crate) fn outstanding(&self) -> usize {
        self.sent.len()
    }

    /// How many requests there have been.
    pub(crate) fn requests(&self) -> u64 {
        u64::try_from(self.xid).unwrap_or_default()
    }

    /// One more request; it leaves with the next [`exchange`](Connection::exchange).
    pub(crate) fn ask(&mut self, template: &mut Template, number: u64, now: Instant) {
        self.xid += 1;
        template.append(self.xid, number, &mut self.output);
        self.sent.push_back(now);
    }

    /// Writes what is to be written while it waits for something to read.
    pub(crate) async fn exchange(&mut self) -> io::Result<()> {
        // Half full with half a packet: it is a large one.
        if self.input.len() - self.filled < self.input.len() / 2 && self.input.len() < INPUT_BYTES {
            self.input.resize(self.input.len() * 2, 0);
        }
        std::future::poll_fn(|context| self.poll_exchange(context)).await
    }

    fn poll_exchange(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            match Pin::new(&mut self.stream).poll_write(context, &self.output[self.written..])? {
                Poll::Ready(bytes) => self.written += bytes,
                Poll::Pending => break,
            }
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        let mut into = ReadBuf::new(&mut self.input[self.filled..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut into))?;
        match into.filled().len() {
            0 => Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hangs up"))),
            bytes => {
                self.filled += bytes;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Takes every whole answer that was received, and says when each was asked for. Gives how many events of watches were among them.
    pub(crate) fn take(&mut self, mut answered: impl FnMut(Instant)) -> Fallible<usize> {
        let (mut at, mut events) = (0, 0);
        while let Some(end) = self.packet_end(at) {
            let header = self.header(at)?;
            at = end;
            if header.xid == XID_NOTIFICATION {
                events += 1;
                continue;
            }
            let awaited = self.xid - i32::try_from(self.sent.len())? + 1;
            match self.sent.pop_front() {
                Some(asked) if header.xid == awaited && header.error == 0 => answered(asked),
                Some(_) if header.xid == awaited => {
                    return Err(format!("a request is answered with error {}", header.error).into());
                }
                _ => return Err(format!("an answer to {}, where {awaited} is next", header.xid).into()),
            }
        }
        self.taken(at);
        Ok(events)
    }

    /// Asks once, and waits for the answer.
    pub(crate) async fn call(&mut self, template: &mut Template, number: u64) -> Fallible<()> {
        self.ask(template, number, Instant::now());
        while self.outstanding() > 0 {
            self.exchange().await?;
            self.take(|_| ())?;
        }
        Ok(())
    }

    /// Ends the session in order, so that no other measurement sees it end.
    pub(crate) async fn close(mut self) -> Fallible<()> {
        let header = RequestHeader { xid: self.xid + 1, op: OpCode::CloseSession as i32 };
        self.output.extend_from_slice(&packet(|to| header.write(to))?);
        loop {
            match self.exchange().await {
                Ok(()) if self.packet_end(0).is_some() => return Ok(()),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Where the packet that begins `at` ends, if all of it is there.
    fn packet_end(&self, at: usize) -> Option<usize> {
        let length = self.input[at..self.filled].first_chunk::<LENGTH>()?;
        let end = at + LENGTH + usize::try_from(i32::from_be_bytes(*length)).ok()?;
        (end <= self.filled).then_some(end)
    }

    fn header(&self, at: usize) -> Fallible<Header> {
        let bytes = self.input[at..].first_chunk::<HEADER>().ok_or("an answer without a header")?;
        let int = |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Ok(Header { xid: int(4), error: int(16) })
    }

    fn taken(&mut self, bytes: usize) {
        self.input.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }
}

//! One client's socket: a task that reads ahead as far as it may, and what waits to be written.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use quorate_service::zookeeper::ConnectionId;
use tokio::{sync::Notify, time::timeout};

use crate::{
    Front,
    admission::Place,
    front::Told,
    stream::{ReadHalf, Stream, WriteHalf},
};

/// Room for one read. Made when there is something to read: an idle connection holds none.
const READ_BYTES: usize = 16 << 10;
/// Answers up to this size are copied together, so that many leave in one write.
const COPIED_BYTES_MAX: usize = 4 << 10;
/// How long what a client still sends is read after the end, so that its system does not throw our last words away.
const LINGER: Duration = Duration::from_secs(1);

/// The half that is written to, and the say over the reader. Dropped, it tells the client that nothing more comes.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    write: Arc<WriteHalf>,
    gate: Arc<Gate>,
    pub(crate) peer: SocketAddr,
}

/// The half that is read from.
#[derive(Debug)]
pub(crate) struct Reading {
    half: ReadHalf,
    gate: Arc<Gate>,
}

/// What lets the reader read.
#[derive(Debug)]
struct Gate {
    /// Bytes that were read and not taken.
    ahead: AtomicUsize,
    ahead_max: usize,
    state: AtomicU8,
    /// Only the reader waits for it.
    changed: Notify,
    waits: AtomicBool,
}

const OPEN: u8 = 0;
const SHUT: u8 = 1;
const ENDED: u8 = 2;

impl Socket {
    pub(crate) fn new(stream: Stream, peer: SocketAddr, ahead_max: usize) -> (Socket, Reading) {
        let gate = Arc::new(Gate {
            ahead: AtomicUsize::new(0),
            ahead_max: ahead_max.max(1),
            state: AtomicU8::new(OPEN),
            changed: Notify::new(),
            waits: AtomicBool::new(false),
        });
        let (half, write) = stream.into_split();
        (Socket { write: Arc::new(write), gate: Arc::clone(&gate), peer }, Reading { half, gate })
    }

    /// So many bytes that were read are taken.
    pub(crate) fn taken(&self, bytes: usize) {
        self.gate.ahead.fetch_sub(bytes, Ordering::SeqCst);
        self.gate.wake();
    }

    /// May more be read?
    pub(crate) fn set_open(&self, open: bool) {
        let state = if open { OPEN } else { SHUT };
        if self.gate.state.swap(state, Ordering::SeqCst) != state {
            self.gate.wake();
        }
    }

    /// Nothing more is read. What the client still sends is thrown away for a while.
    pub(crate) fn end(&self) {
        self.gate.state.store(ENDED, Ordering::SeqCst);
        self.gate.changed.notify_one();
    }

    /// Until something can be written again, or the client is gone.
    pub(crate) async fn writable(&self) {
        let _ = self.write.writable().await;
    }
}

impl Reading {
    /// Reads for the connection `id`, until its end. `place` is what the connection counts for.
    pub(crate) async fn run(mut self, id: ConnectionId, front: Front, place: Place) {
        while self.gate.passed().await != ENDED {
            let half = &mut self.half;
            let read = async {
                half.readable().await?;
                let mut buffer = BytesMut::with_capacity(READ_BYTES);
                half.read_buf(&mut buffer).await?;
                io::Result::Ok(buffer)
            };
            let read = tokio::select! {
                read = read => read,
                () = self.gate.ended() => break,
            };
            match read {
                Ok(buffer) if !buffer.is_empty() => {
                    self.gate.ahead.fetch_add(buffer.len(), Ordering::SeqCst);
                    front.tell(Told::Received(id, buffer));
                }
                Ok(_) | Err(_) => return front.tell(Told::HungUp(id)),
            }
        }
        let _ = timeout(LINGER, self.discard()).await;
        drop(place);
    }

    async fn discard(&mut self) {
        let mut scratch = [0; 1024];
        while self.half.read(&mut scratch).await.is_ok_and(|bytes| bytes > 0) {
            tokio::task::yield_now().await;
        }
    }
}

impl Gate {
    fn wake(&self) {
        if self.waits.load(Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }

    /// Until it is open, and not too much was read ahead; or until the end.
    async fn passed(&self) -> u8 {
        loop {
            if let Some(state) = self.may_pass() {
                return state;
            }
            self.waits.store(true, Ordering::SeqCst);
            // Looked at again: it may have changed before anybody knew that there is somebody to wake.
            let passed = self.may_pass();
            if passed.is_none() {
                self.changed.notified().await;
            }
            self.waits.store(false, Ordering::SeqCst);
            if let Some(state) = passed {
                return state;
            }
        }
    }

    fn may_pass(&self) -> Option<u8> {
        let state = self.state.load(Ordering::SeqCst);
        let room = self.ahead.load(Ordering::SeqCst) < self.ahead_max;
        (state == ENDED || state == OPEN && room).then_some(state)
    }

    async fn ended(&self) {
        while self.state.load(Ordering::SeqCst) != ENDED {
            self.changed.notified().await;
        }
    }
}

/// What waits to be written to one client.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    whole: VecDeque<Bytes>,
    /// Small ones, after all of `whole`.
    copied: BytesMut,
    bytes: usize,
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    All,
    /// The client does not read.
    Blocked,
    /// The client is gone.
    Failed,
}

impl Outgoing {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        if bytes.len() <= COPIED_BYTES_MAX {
            self.copied.extend_from_slice(&bytes);
        } else {
            self.seal();
            self.whole.push_back(bytes);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn seal(&mut self) {
        if !self.copied.is_empty() {
            self.whole.push_back(self.copied.split().freeze());
        }
    }

    /// Writes as much as the system takes.
    pub(crate) fn flush(&mut self, socket: &Socket) -> Flushed {
        if self.bytes == 0 {
            return Flushed::All;
        }
        self.seal();
        while let Some(front) = self.whole.front_mut() {
            match socket.write.try_write(front) {
                Ok(0) => return Flushed::Failed,
                Ok(written) => {
                    self.bytes -= written;
                    front.advance(written);
                    if front.is_empty() {
                        self.whole.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(_) => return Flushed::Failed,
            }
        }
        // An idle connection holds no room.
        self.copied = BytesMut::new();
        Flushed::All
    }
}

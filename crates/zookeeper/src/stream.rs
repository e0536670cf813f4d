//! What a client's bytes come through: its TCP connection, or the inner end of its TLS.
//!
//! The driver writes without waiting, as far as the system takes it, and TLS has no such write. So TLS ends in a task of its own, which carries bytes between
//! the client and one end of a pair of local sockets; the other end is what the driver has. That costs a copy for those who encrypt, and nothing for the others.

use std::io;

use bytes::BytesMut;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpStream, UnixStream, tcp, unix},
};

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    /// The other end of the pair is with the task that has the TLS.
    Tls(UnixStream),
}

#[derive(Debug)]
pub(crate) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Tls(unix::OwnedReadHalf),
}

#[derive(Debug)]
pub(crate) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Tls(unix::OwnedWriteHalf),
}

impl Stream {
    pub(crate) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Stream::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Stream::Tls(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tls(read), WriteHalf::Tls(write))
            }
        }
    }
}

impl ReadHalf {
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            ReadHalf::Tcp(half) => half.readable().await,
            ReadHalf::Tls(half) => half.readable().await,
        }
    }

    pub(crate) async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            ReadHalf::Tcp(half) => half.read_buf(buffer).await,
            ReadHalf::Tls(half) => half.read_buf(buffer).await,
        }
    }

    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            ReadHalf::Tcp(half) => half.read(buffer).await,
            ReadHalf::Tls(half) => half.read(buffer).await,
        }
    }
}

impl WriteHalf {
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            WriteHalf::Tcp(half) => half.writable().await,
            WriteHalf::Tls(half) => half.writable().await,
        }
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteHalf::Tcp(half) => half.try_write(bytes),
            WriteHalf::Tls(half) => half.try_write(bytes),
        }
    }
}

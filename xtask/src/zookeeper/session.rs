//! A session that waits for its answers: to prepare a tree, and to ask again after a kill.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate_wire::{
    jute::{Jute as _, Reader},
    zookeeper::{
        ConnectRequest, ConnectResponse, ErrorCode, PASSWORD_BYTES, ReplyHeader, Request, Secret,
        XID_NOTIFICATION, packet,
    },
};

use crate::Fallible;

/// How long a session lasts without a word: the longest that tickTime 2000 allows.
pub(crate) const TIMEOUT_MS: i32 = 40_000;

/// The first packet of a new session.
pub(crate) fn hello() -> Fallible<Bytes> {
    let password = Secret(Some(vec![0; PASSWORD_BYTES].into()));
    let request =
        ConnectRequest { timeout_ms: TIMEOUT_MS, password, read_only: Some(false), ..Default::default() };
    Ok(packet(|to| request.write(to))?)
}

/// Is this answer to [`hello`] a session?
pub(crate) fn welcomed(answer: Bytes) -> Fallible<()> {
    let answer = ConnectResponse::read(&mut Reader::new(answer)).map_err(|error| error.to_string())?;
    if answer.timeout_ms > 0 { Ok(()) } else { Err("the server gives no session".into()) }
}

/// A session on one server.
pub(crate) struct Session {
    stream: TcpStream,
    xid: i32,
}

impl Session {
    /// A new session, if the server grants it and answers everything within `patience`.
    pub(crate) fn open(address: &str, patience: Duration) -> Fallible<Session> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        let mut session = Session { stream, xid: 0 };
        session.stream.write_all(&hello()?)?;
        welcomed(session.frame()?)?;
        Ok(session)
    }

    /// Tries until there is one, on any of the servers.
    pub(crate) fn persist(addresses: &[String], limit: Duration) -> Fallible<Session> {
        let end = Instant::now() + limit;
        let mut turn = 0;
        loop {
            match Session::open(&addresses[turn % addresses.len()], Duration::from_secs(5)) {
                Ok(session) => return Ok(session),
                Err(error) if Instant::now() > end => {
                    return Err(format!("no session within {limit:?}: {error}").into());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
            turn += 1;
        }
    }

    /// Sends all, then reads all answers; each error is given, by its code.
    pub(crate) fn call_all(&mut self, requests: &[Request]) -> Fallible<Vec<i32>> {
        let mut errors = Vec::with_capacity(requests.len());
        for some in requests.chunks(500) {
            let mut bytes = Vec::new();
            for request in some {
                self.xid += 1;
                bytes.extend_from_slice(&request.packet(self.xid)?);
            }
            self.stream.write_all(&bytes)?;
            for _ in some {
                errors.push(self.answer()?);
            }
        }
        Ok(errors)
    }

    /// One request; an error of the server's is an error.
    pub(crate) fn call(&mut self, request: Request) -> Fallible<()> {
        match self.call_all(&[request])?[..] {
            [0] => Ok(()),
            ref errors => Err(format!("the server answers with error {errors:?}").into()),
        }
    }

    /// Creates every one that is not there yet.
    pub(crate) fn ensure(&mut self, requests: &[Request]) -> Fallible<()> {
        let errors = self.call_all(requests)?;
        match errors.iter().find(|error| ![0, ErrorCode::NodeExists as i32].contains(error)) {
            None => Ok(()),
            Some(error) => Err(format!("a create is answered with error {error}").into()),
        }
    }

    fn answer(&mut self) -> Fallible<i32> {
        loop {
            let header =
                ReplyHeader::read(&mut Reader::new(self.frame()?)).map_err(|error| error.to_string())?;
            if header.xid != XID_NOTIFICATION {
                return Ok(header.error);
            }
        }
    }

    fn frame(&mut self) -> Fallible<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

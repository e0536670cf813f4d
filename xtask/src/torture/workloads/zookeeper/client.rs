//! A ZooKeeper session over one connection at a time: asks, waits for the answer, and keeps what watches tell in its order.

use std::{io, time::Duration};

use bytes::Bytes;
use quorate_wire::{
    jute::{Jute as _, Reader},
    zookeeper::{
        ConnectRequest, ConnectResponse, PASSWORD_BYTES, ReplyHeader, Request, Response, Secret,
        WatcherEvent, XID_NOTIFICATION, packet,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::Fallible;

/// What the session asks for; with a tick of half a second the server grants from one to ten seconds.
pub(super) const SESSION_MS: i32 = 4_000;
/// Without an answer for so long, the connection is given up.
const ANSWER_WITHIN: Duration = Duration::from_millis(2_500);
/// Longer than any packet here.
const PACKET_BYTES_MAX: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// The connection broke; whether the request was carried out is not known.
    Connection,
    /// The session is over.
    Expired,
}

impl From<io::Error> for Lost {
    fn from(_: io::Error) -> Lost {
        Lost::Connection
    }
}

/// A session that is connected.
pub(super) struct Session {
    stream: TcpStream,
    xid: i32,
    id: i64,
    password: Secret,
    last_zxid: i64,
    /// What watches told since it was last taken.
    pub(super) told: Vec<WatcherEvent>,
}

impl Session {
    /// A new session.
    pub(super) async fn open(address: &str) -> Result<Session, Lost> {
        Session::connect(address, 0, Secret(Some(vec![0; PASSWORD_BYTES].into())), 0).await
    }

    /// The same session on another connection.
    pub(super) async fn again(&self, address: &str) -> Result<Session, Lost> {
        Session::connect(address, self.id, self.password.clone(), self.last_zxid).await
    }

    async fn connect(address: &str, session: i64, password: Secret, last_zxid: i64) -> Result<Session, Lost> {
        let connect = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let request = ConnectRequest {
                timeout_ms: SESSION_MS,
                session,
                password,
                last_zxid_seen: last_zxid,
                read_only: Some(false),
                ..Default::default()
            };
            let hello = packet(|to| request.write(to)).map_err(|_| Lost::Connection)?;
            stream.write_all(&hello).await?;
            let answer = frame(&mut stream).await?;
            let answer = ConnectResponse::read(&mut Reader::new(answer)).map_err(|_| Lost::Connection)?;
            if answer.timeout_ms <= 0 || answer.session == 0 {
                return Err(Lost::Expired);
            }
            let (id, password) = (answer.session, answer.password);
            Ok(Session { stream, xid: 0, id, password, last_zxid, told: Vec::new() })
        };
        timeout(ANSWER_WITHIN, connect).await.unwrap_or(Err(Lost::Connection))
    }

    /// Asks, and waits. The inner error is the server's code.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Result<Response, i32>, Lost> {
        let mut all = self.ask_all(&[request]).await?;
        all.pop().ok_or(Lost::Connection)
    }

    /// Sends all at once, as a client's queue does, then waits for every answer.
    pub(super) async fn ask_all(&mut self, requests: &[Request]) -> Result<Vec<Result<Response, i32>>, Lost> {
        timeout(ANSWER_WITHIN, self.exchange(requests)).await.unwrap_or(Err(Lost::Connection))
    }

    async fn exchange(&mut self, requests: &[Request]) -> Result<Vec<Result<Response, i32>>, Lost> {
        let mut bytes = Vec::new();
        for request in requests {
            self.xid += 1;
            bytes.extend_from_slice(&request.packet(self.xid).map_err(|_| Lost::Connection)?);
        }
        self.stream.write_all(&bytes).await?;
        let mut answers = Vec::new();
        for request in requests {
            let xid = self.xid - i32::try_from(requests.len() - answers.len()).unwrap_or(1) + 1;
            loop {
                let mut reader = Reader::new(frame(&mut self.stream).await?);
                let header = ReplyHeader::read(&mut reader).map_err(|_| Lost::Connection)?;
                if header.xid == XID_NOTIFICATION {
                    self.told.extend(WatcherEvent::read(&mut reader));
                    continue;
                }
                if header.xid != xid {
                    return Err(Lost::Connection);
                }
                self.last_zxid = self.last_zxid.max(header.zxid);
                answers.push(if header.error == 0 {
                    Ok(Response::decode(request.op(), reader.rest()).map_err(|_| Lost::Connection)?)
                } else {
                    Err(header.error)
                });
                break;
            }
        }
        Ok(answers)
    }
}

async fn frame(stream: &mut TcpStream) -> Result<Bytes, Lost> {
    let length = usize::try_from(stream.read_i32().await?).unwrap_or(usize::MAX);
    if length > PACKET_BYTES_MAX {
        return Err(Lost::Connection);
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}

/// A session on whoever grants one within `limit`.
pub(super) async fn persist(addresses: &[String], limit: Duration) -> Fallible<Session> {
    let search = async {
        loop {
            for address in addresses {
                if let Ok(session) = Session::open(address).await {
                    return session;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    timeout(limit, search).await.map_err(|_| format!("no session of ZooKeeper's API within {limit:?}").into())
}

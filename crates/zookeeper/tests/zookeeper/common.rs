//! A node without a log, and a client that knows the wire and nothing else.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use quorate_consensus::{Position, StateMachine};
use quorate_service::{
    znodes::{SessionId, Znodes},
    zookeeper::Standing,
};
use quorate_wire::{
    jute::{Jute, Reader},
    zookeeper::*,
};
use quorate_zookeeper::{Backend, Facts, Failure, Front, Listeners, Options, Proposal, Ticket, serve};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};

pub const SOON: Duration = Duration::from_secs(10);

/// Applies what is proposed, at once or after a while.
pub struct Node {
    pub front: Front,
    tree: Mutex<Znodes>,
    delay: Option<Duration>,
    /// The next proposal is lost.
    pub loses: AtomicBool,
    pub touched: Mutex<Vec<SessionId>>,
}

impl Node {
    pub fn sessions(&self) -> u64 {
        self.tree.lock().unwrap().view().session_count()
    }

    fn apply(&self, proposals: Vec<Proposal>) {
        let mut tree = self.tree.lock().unwrap();
        for Proposal { ticket, command } in proposals {
            if self.loses.swap(false, Ordering::SeqCst) {
                self.front.told(ticket, Err(Failure::Unknown));
                continue;
            }
            let placed = tree.apply(Position::new(1, 1), &command.encode());
            self.front.applied(tree.view(), placed.events);
            self.front.told(ticket, Ok(placed.response));
        }
    }
}

/// The node, as the front end has it.
pub struct Seam(pub Arc<Node>);

impl Backend for Seam {
    fn propose(&self, proposals: &mut Vec<Proposal>) {
        let (proposals, node) = (std::mem::take(proposals), Arc::clone(&self.0));
        match node.delay {
            None => node.apply(proposals),
            // One after the other: timers that are equally long end in order on one thread.
            Some(delay) => drop(tokio::spawn(async move {
                sleep(delay).await;
                node.apply(proposals);
            })),
        }
    }

    fn sync(&self, tickets: &[Ticket]) {
        let zxid = self.0.tree.lock().unwrap().view().zxid();
        self.0.front.synced(tickets.to_vec(), Ok(zxid));
    }

    fn touch(&self, sessions: &[SessionId]) {
        self.0.touched.lock().unwrap().extend(sessions);
    }

    fn facts(&self) -> Facts {
        Facts { data_directory: "/data".into(), ..Facts::default() }
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    pub node: Arc<Node>,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub secure: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start() -> Server {
        Server::with(Options::default(), None).await
    }

    pub async fn with(options: Options, delay: Option<Duration>) -> Server {
        let listener = async || Some(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let secure = if options.tls.is_some() { listener().await } else { None };
        let listeners = Listeners { clients: listener().await, secure, admin: listener().await };
        Server::of(Znodes::new(), listeners, options, delay)
    }

    /// A member that serves nobody.
    pub fn deaf(tree: Znodes, options: Options) -> Server {
        Server::of(tree, Listeners::default(), options, None)
    }

    fn of(tree: Znodes, listeners: Listeners, options: Options, delay: Option<Duration>) -> Server {
        let front = Front::new(tree.view());
        front.standing(Standing::Serving);
        let node = Arc::new(Node {
            front: front.clone(),
            tree: Mutex::new(tree),
            delay,
            loses: AtomicBool::new(false),
            touched: Mutex::default(),
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let at = |listener: &Option<TcpListener>| {
            listener.as_ref().map_or(nowhere, |listener| listener.local_addr().unwrap())
        };
        let (address, secure, admin) = (at(&listeners.clients), at(&listeners.secure), at(&listeners.admin));
        let seam = Arc::new(Seam(Arc::clone(&node)));
        let task =
            tokio::spawn(async move { serve(listeners, front, seam, options, pending()).await.unwrap() });
        Server { node, address, secure, admin, task }
    }

    /// What the admin page says under this path: status and body.
    pub async fn page(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        timeout(SOON, stream.read_to_string(&mut said)).await.unwrap().unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub async fn socket(&self) -> Client {
        Client::over(Box::new(TcpStream::connect(self.address).await.unwrap()))
    }

    /// A client with a new session.
    pub async fn client(&self) -> Client {
        let mut client = self.socket().await;
        let response = client.connect(0, Secret(Some(Bytes::from_static(&[0; 16])))).await.expect("let in");
        assert!(response.session > 0 && response.timeout_ms > 0);
        client
    }

    /// A client that takes a session up again.
    pub async fn again(&self, session: i64, password: Secret) -> (Client, ConnectResponse) {
        let mut client = self.socket().await;
        let response = client.connect(session, password).await.expect("answered");
        (client, response)
    }

    pub async fn word(&self, word: &str) -> String {
        let mut client = self.socket().await;
        client.stream.write_all(word.as_bytes()).await.unwrap();
        String::from_utf8(client.rest().await).unwrap()
    }
}

/// An answer or a notification.
#[derive(Debug, PartialEq)]
pub struct Got {
    pub xid: i32,
    pub zxid: i64,
    pub error: i32,
    pub rest: Bytes,
}

pub struct Client {
    pub stream: Box<dyn Wire>,
    received: BytesMut,
    xid: i32,
    pub session: i64,
    pub password: Secret,
}

/// What bytes come and go through.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Client {
    pub fn over(stream: Box<dyn Wire>) -> Client {
        Client { stream, received: BytesMut::new(), xid: 0, session: 0, password: Secret::default() }
    }

    /// None: the connection was closed without an answer.
    pub async fn connect(&mut self, session: i64, password: Secret) -> Option<ConnectResponse> {
        self.connect_as(session, password, false).await
    }

    /// As a client that will do with reading.
    pub async fn connect_read_only(&mut self) -> Option<ConnectResponse> {
        self.connect_as(0, Secret::default(), true).await
    }

    async fn connect_as(&mut self, session: i64, password: Secret, reads: bool) -> Option<ConnectResponse> {
        let request = ConnectRequest {
            timeout_ms: 10_000,
            session,
            password,
            read_only: Some(reads),
            ..Default::default()
        };
        self.stream.write_all(&packet(|to| request.write(to)).unwrap()).await.unwrap();
        let response = ConnectResponse::read(&mut Reader::new(self.packet().await?)).unwrap();
        (self.session, self.password) = (response.session, response.password.clone());
        Some(response)
    }

    /// Sends a request and does not wait.
    pub async fn send(&mut self, request: &Request) -> i32 {
        let bytes = self.encode(request);
        self.stream.write_all(&bytes).await.unwrap();
        self.xid
    }

    pub fn encode(&mut self, request: &Request) -> Bytes {
        self.xid += 1;
        let xid = if matches!(request, Request::Ping(())) { XID_PING } else { self.xid };
        request.packet(xid).unwrap()
    }

    /// The next packet; None at the end.
    pub async fn packet(&mut self) -> Option<Bytes> {
        loop {
            if let Some(Incoming::Packet(bytes)) = next_packet(&mut self.received, true, 1 << 30).unwrap() {
                return Some(bytes);
            }
            let read =
                timeout(SOON, self.stream.read_buf(&mut self.received)).await.expect("an answer in time");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub async fn got(&mut self) -> Option<Got> {
        let mut from = Reader::new(self.packet().await?);
        let ReplyHeader { xid, zxid, error } = ReplyHeader::read(&mut from).unwrap();
        Some(Got { xid, zxid, error, rest: from.rest() })
    }

    /// Asks, and has the answer, or the error.
    pub async fn ask(&mut self, request: Request) -> Result<Response, i32> {
        self.send(&request).await;
        let got = self.got().await.expect("an answer");
        if got.error == 0 { Ok(Response::decode(request.op(), got.rest).unwrap()) } else { Err(got.error) }
    }

    /// All that comes until the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = timeout(SOON, self.stream.read_to_end(&mut rest)).await.expect("an end in time");
        rest
    }
}

pub fn create(path: &str, data: &'static [u8], flags: i32) -> Request {
    let acl = vec![Acl { permissions: 31, id: Id::new("world", "anyone") }];
    Request::Create(CreateRequest { path: path.into(), data: Some(Bytes::from_static(data)), acl, flags })
}

pub fn set(path: &str, data: Bytes) -> Request {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(data), version: -1 })
}

pub fn get(path: &str, watch: bool) -> Request {
    Request::GetData(GetDataRequest { path: path.into(), watch })
}

pub fn data(response: Result<Response, i32>) -> Bytes {
    match response {
        Ok(Response::Data(DataResponse { data, .. })) => data.unwrap_or_default(),
        other => panic!("no data: {other:?}"),
    }
}

//! A server without a log: what is proposed is applied when the test says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{Position, StateMachine};
use quorate_service::wire::jute::{Jute, Reader};
use quorate_service::wire::zookeeper::*;
use quorate_service::znodes::{self, Command, Identity, Password, SessionId, Znodes};
use quorate_service::zookeeper::*;

pub const PASSWORD: [u8; 16] = *b"0123456789abcdef";

/// A server and its clients.
pub struct World {
    pub tree: Znodes,
    pub hub: Hub,
    pub settings: Settings,
    clients: BTreeMap<ConnectionId, Client>,
    last: u64,
}

/// A client: its connection, what it wants, and what it got.
pub struct Client {
    pub connection: Connection,
    pub wants: VecDeque<Output>,
    pub got: VecDeque<Bytes>,
    pub closed: Option<CloseReason>,
    xid: i32,
}

/// An answer or a notification, as a client reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    pub xid: i32,
    pub zxid: i64,
    pub error: i32,
    pub rest: Bytes,
}

impl World {
    pub fn new() -> World {
        let tree = Znodes::new();
        let hub = Hub::new(tree.view());
        World { tree, hub, settings: Settings::default(), clients: BTreeMap::new(), last: 0 }
    }

    /// A client that has connected its socket.
    pub fn socket(&mut self) -> ConnectionId {
        self.last += 1;
        let id = ConnectionId(self.last);
        let drawn = Drawn {
            session: SessionId(100 + self.last as i64),
            password: Password(PASSWORD),
            owner: self.last,
        };
        let ip = vec![Identity::new("ip", "10.0.0.1")];
        let connection = Connection::new(id, Arc::new(self.settings.clone()), drawn, ip, &mut self.hub);
        let client =
            Client { connection, wants: VecDeque::new(), got: VecDeque::new(), closed: None, xid: 0 };
        self.clients.insert(id, client);
        id
    }

    /// A client with a session.
    pub fn client(&mut self) -> ConnectionId {
        let id = self.socket();
        self.connect(id, &ConnectRequest { timeout_ms: 10_000, ..ConnectRequest::default() });
        self.settle();
        let response: ConnectResponse = self.greeting(id);
        assert_eq!(response.session, 100 + id.0 as i64);
        id
    }

    pub fn of(&mut self, id: ConnectionId) -> &mut Client {
        self.clients.get_mut(&id).expect("a client")
    }

    pub fn step(&mut self, id: ConnectionId, input: Input) {
        let client = self.clients.get_mut(&id).expect("a client");
        let mut out = Vec::new();
        client.connection.step(input, &mut self.hub, &mut out);
        for output in out {
            assert_eq!(client.closed, None, "nothing comes after the end");
            match output {
                Output::Send(bytes) => client.got.push_back(bytes),
                Output::Close(reason) => client.closed = Some(reason),
                Output::Propose { .. } | Output::Sync { .. } => client.wants.push_back(output),
            }
        }
    }

    pub fn packet(&mut self, id: ConnectionId, bytes: Bytes) {
        self.step(id, Input::Packet { bytes, time_ms: 1_000 });
    }

    pub fn connect(&mut self, id: ConnectionId, request: &ConnectRequest) {
        let bytes = packet(|to| request.write(to)).unwrap().slice(4..);
        self.packet(id, bytes);
    }

    /// Sends a request, with the next xid, which is returned.
    pub fn send(&mut self, id: ConnectionId, request: Request) -> i32 {
        let client = self.of(id);
        client.xid += 1;
        let xid = match request {
            Request::Ping(()) => XID_PING,
            Request::Auth(_) => XID_AUTH,
            Request::SetWatches(_) | Request::SetWatches2(_) => XID_SET_WATCHES,
            _ => client.xid,
        };
        self.packet(id, request.packet(xid).unwrap().slice(4..));
        xid
    }

    /// Applies one command, and wakes whom the hub says.
    pub fn apply(&mut self, command: &Command) -> znodes::Response {
        let placed = self.tree.apply(Position::new(1, 1), &command.encode());
        for id in self.hub.applied(self.tree.view(), &placed.events) {
            self.step(id, Input::Wake);
        }
        placed.response
    }

    /// Does the first thing that the client wants; the answer is handed over by the caller.
    pub fn carry_out(&mut self, id: ConnectionId) -> Input {
        match self.of(id).wants.pop_front().expect("the client wants something") {
            Output::Propose { request, command } => {
                Input::Answered { request, response: self.apply(&command) }
            }
            Output::Sync { request } => Input::Synced { request, zxid: self.tree.number() },
            Output::Send(_) | Output::Close(_) => unreachable!("not kept"),
        }
    }

    /// Does everything that anybody wants.
    pub fn settle(&mut self) {
        let ids: Vec<ConnectionId> = self.clients.keys().copied().collect();
        while let Some(id) = ids.iter().copied().find(|id| !self.of(*id).wants.is_empty()) {
            let answer = self.carry_out(id);
            self.step(id, answer);
        }
    }

    pub fn greeting(&mut self, id: ConnectionId) -> ConnectResponse {
        let bytes = self.of(id).got.pop_front().expect("a greeting");
        ConnectResponse::read(&mut Reader::new(bytes.slice(4..))).expect("a greeting")
    }

    /// What the client got next, if anything.
    pub fn next(&mut self, id: ConnectionId) -> Option<Got> {
        let bytes = self.of(id).got.pop_front()?;
        assert_eq!(bytes.len() - 4, i32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize);
        let mut from = Reader::new(bytes.slice(4..));
        let header = ReplyHeader::read(&mut from).expect("a header");
        Some(Got { xid: header.xid, zxid: header.zxid, error: header.error, rest: from.rest() })
    }

    /// Sends a request, does all that is wanted, and returns what it came to.
    pub fn call(&mut self, id: ConnectionId, request: Request) -> Result<Response, i32> {
        let op = request.op();
        let xid = self.send(id, request);
        self.settle();
        let got = self.next(id).expect("an answer");
        assert_eq!((got.xid, got.zxid), (xid, self.hub.zxid()));
        if got.error != 0 { Err(got.error) } else { Ok(Response::decode(op, got.rest).expect("an answer")) }
    }

    /// The notification that the client got next: its kind, its path, its zxid.
    pub fn event(&mut self, id: ConnectionId) -> Option<(i32, String, i64)> {
        let got = self.next(id)?;
        assert_eq!((got.xid, got.error), (XID_NOTIFICATION, 0));
        let event = WatcherEvent::read(&mut Reader::new(got.rest)).expect("an event");
        assert_eq!(event.state, 3);
        Some((event.kind, event.path, got.zxid))
    }
}

pub fn create_with(path: &str, flags: i32) -> CreateRequest {
    let acl = vec![Acl { permissions: 31, id: Id::new("world", "anyone") }];
    CreateRequest { path: path.into(), data: Some("x".into()), acl, flags }
}

pub fn create(path: &str) -> Request {
    Request::Create(create_with(path, 0))
}

pub fn set(path: &str, data: &'static str) -> Request {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(data.into()), version: -1 })
}

pub fn get(path: &str, watch: bool) -> Request {
    Request::GetData(GetDataRequest { path: path.into(), watch })
}

pub fn exists(path: &str, watch: bool) -> Request {
    Request::Exists(ExistsRequest { path: path.into(), watch })
}

pub fn children(path: &str, watch: bool) -> Request {
    Request::GetChildren(GetChildrenRequest { path: path.into(), watch })
}

pub fn delete(path: &str) -> Request {
    Request::Delete(DeleteRequest { path: path.into(), version: -1 })
}

pub fn data(response: Result<Response, i32>) -> Bytes {
    match response {
        Ok(Response::Data(response)) => response.data.unwrap_or_default(),
        other => panic!("no data: {other:?}"),
    }
}

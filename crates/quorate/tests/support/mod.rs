//! What tests of processes share: a folder, ports, and a client of ZooKeeper that speaks its wire.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part")]

pub(crate) mod dev;
pub(crate) mod process;

use std::{
    fs, io,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use quorate_wire::{
    jute::{Jute, Reader, Writer},
    zookeeper::{
        Acl, ConnectRequest, ConnectResponse, CreateRequest, DataResponse, GetDataRequest, Id, PathResponse,
        ReplyHeader, Request, SyncRequest,
    },
};

/// A folder that goes when the test ends.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("quorate-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A client that asks one thing after the other.
pub(crate) struct Client(TcpStream);

impl Client {
    /// A server without a leader turns its clients away; they come again, as ZooKeeper's do.
    pub(crate) fn connect(port: u16) -> Client {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match Client::try_connect(port) {
                Some(client) => return client,
                None => assert!(Instant::now() < end, "no session in a minute"),
            }
            std::thread::yield_now();
        }
    }

    /// None if the server turns its clients away.
    pub(crate) fn try_connect(port: u16) -> Option<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline");
        let mut client = Client(stream);
        let request = ConnectRequest { timeout_ms: 30_000, ..ConnectRequest::default() };
        let mut body = Writer::new();
        request.write(&mut body);
        let body = body.finish();
        client.0.write_all(&(body.len() as u32).to_be_bytes()).ok()?;
        client.0.write_all(&body).ok()?;
        let response = ConnectResponse::read(&mut client.packet().ok()?).expect("a handshake");
        assert_ne!(response.session, 0, "a session");
        Some(client)
    }

    fn packet(&mut self) -> io::Result<Reader> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body)?;
        Ok(Reader::new(body.into()))
    }

    pub(crate) fn call<T: Jute>(&mut self, request: &Request) -> T {
        self.0.write_all(&request.packet(1).expect("it fits")).expect("it hears");
        let mut answer = self.packet().expect("it answers");
        let header = ReplyHeader::read(&mut answer).expect("a header");
        assert_eq!(header.error, 0, "{request:?}");
        T::read(&mut answer).expect("an answer")
    }

    /// Makes a node that anyone may read and write.
    pub(crate) fn create(&mut self, path: &str, data: &str) {
        let acl = vec![Acl { permissions: 31, id: Id::new("world", "anyone") }];
        let data = Some(data.as_bytes().to_vec().into());
        let created: PathResponse =
            self.call(&Request::Create(CreateRequest { path: path.into(), data, acl, flags: 0 }));
        assert_eq!(created.path, path);
    }

    /// What a node holds, with all that was written before.
    pub(crate) fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        let _: PathResponse = self.call(&Request::Sync(SyncRequest { path: "/".into() }));
        let read: DataResponse =
            self.call(&Request::GetData(GetDataRequest { path: path.into(), watch: false }));
        read.data.map(|data| data.to_vec())
    }
}

pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    quorate_ports::free(N).expect("ports").try_into().expect("as many as asked for")
}

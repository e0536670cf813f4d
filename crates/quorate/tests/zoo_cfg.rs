//! `quorate zookeeper`: an ensemble of processes, each from a zoo.cfg of its own.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use quorate_wire::{
    jute::{Jute, Reader, Writer},
    zookeeper::{
        Acl, ConnectRequest, ConnectResponse, CreateRequest, DataResponse, GetDataRequest, Id, PathResponse,
        ReplyHeader, Request, SyncRequest,
    },
};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
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

/// One server; killed when dropped.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Server {
    fn start(zoo_cfg: &Path) -> Server {
        let mut child = Command::new(QUORATE)
            .arg("zookeeper")
            .arg(zoo_cfg)
            .args(["-Dzookeeper.4lw.commands.whitelist=*", "--log-level=error"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Server { child, out }
    }

    fn wait_until_it_serves(&mut self) {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it says so");
        assert!(line.starts_with("ready: ") && line.contains("serves ZooKeeper clients"), "{line:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that asks one thing after the other.
struct Client(TcpStream);

impl Client {
    fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline");
        let mut client = Client(stream);
        let request = ConnectRequest { timeout_ms: 30_000, ..ConnectRequest::default() };
        let mut body = Writer::new();
        request.write(&mut body);
        let body = body.finish();
        client.0.write_all(&(body.len() as u32).to_be_bytes()).expect("it hears");
        client.0.write_all(&body).expect("it hears");
        let response = ConnectResponse::read(&mut client.packet()).expect("a handshake");
        assert_ne!(response.session, 0, "a session");
        client
    }

    fn packet(&mut self) -> Reader {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("it answers");
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body).expect("all of it");
        Reader::new(body.into())
    }

    fn call<T: Jute>(&mut self, request: &Request) -> T {
        self.0.write_all(&request.packet(1).expect("it fits")).expect("it hears");
        let mut answer = self.packet();
        let header = ReplyHeader::read(&mut answer).expect("a header");
        assert_eq!(header.error, 0, "{request:?}");
        T::read(&mut answer).expect("an answer")
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

/// The three files of an ensemble, and where each server serves clients: one line has its own port, the others the file's.
fn ensemble(folder: &Path) -> ([PathBuf; 3], [u16; 3]) {
    let (peers, clients) = (free_ports::<3>(), free_ports::<3>());
    let servers: String = (0..3)
        .map(|n| {
            let own = if n == 2 { format!(";127.0.0.1:{}", clients[n]) } else { String::new() };
            format!("server.{}=127.0.0.1:{}:{}{own}\n", n + 1, peers[n], peers[n])
        })
        .collect();
    let files = std::array::from_fn(|n| {
        let data = folder.join(format!("data-{n}"));
        fs::create_dir_all(&data).expect("a folder");
        fs::write(data.join("myid"), format!("{}\n", n + 1)).expect("myid");
        let port = if n == 2 {
            String::new()
        } else {
            format!("clientPort={}\nclientPortAddress=127.0.0.1\n", clients[n])
        };
        let path = folder.join(format!("zoo-{n}.cfg"));
        let text =
            format!("# server {n}\ntickTime=2000\ninitLimit=10\ndataDir={}\n{port}{servers}", data.display());
        fs::write(&path, text).expect("zoo.cfg");
        path
    });
    (files, clients)
}

#[test]
fn three_files_make_an_ensemble_and_what_one_server_takes_another_tells() {
    let folder = Folder::new("zoo-cfg");
    let (files, ports) = ensemble(&folder.0);
    let mut servers = files.map(|file| Server::start(&file));
    servers.iter_mut().for_each(Server::wait_until_it_serves);

    let (mut one, mut other) = (Client::connect(ports[0]), Client::connect(ports[2]));
    let acl = vec![Acl { permissions: 31, id: Id::new("world", "anyone") }];
    let create = CreateRequest { path: "/a".into(), data: Some("one".into()), acl, flags: 0 };
    let created: PathResponse = one.call(&Request::Create(create));
    assert_eq!(created.path, "/a");
    let _: PathResponse = other.call(&Request::Sync(SyncRequest { path: "/".into() }));
    let read: DataResponse =
        other.call(&Request::GetData(GetDataRequest { path: "/a".into(), watch: false }));
    assert_eq!(read.data.as_deref(), Some(&b"one"[..]));
    assert!(folder.0.join("data-0/quorate").is_dir(), "the data is under dataDir");
}

#[test]
fn a_file_is_shown_in_the_words_of_serve_and_a_bad_one_is_refused_with_the_mend() {
    let folder = Folder::new("zoo-cfg-shown");
    let (files, ports) = ensemble(&folder.0);
    let run = |more: &[&str]| {
        let output = Command::new(QUORATE).arg("zookeeper").arg(&files[1]).args(more).output();
        output.expect("it runs")
    };
    let shown = run(&["--print-config", "-Dzookeeper.maxSessionTimeout=90000"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line =
        |key: &str| shown.lines().find(|line| line.starts_with(&format!("{key} ="))).unwrap_or_default();
    assert!(line("name").contains("\"server.2\""), "{shown}");
    assert!(line("listen-zookeeper").contains(&format!("127.0.0.1:{}", ports[1])), "{shown}");
    assert!(line("zookeeper-session-max").ends_with("# -Dzookeeper.maxSessionTimeout"), "{shown}");

    let refused = run(&["-Dzookeeper.sslQuorum=true"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("ssl.quorum.keyStore.location is missing"), "{said}");
}

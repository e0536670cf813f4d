//! `quorate zookeeper`: an ensemble of processes, each from a zoo.cfg of its own.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use support::{Client, Folder, free_ports};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

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
    one.create("/a", "one");
    assert_eq!(other.read("/a").as_deref(), Some(&b"one"[..]));
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

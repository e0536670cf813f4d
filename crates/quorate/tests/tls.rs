//! Three processes that speak TLS with each other and with their clients, and a fourth that joins them.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::mpsc::Receiver,
    thread,
    time::{Duration, Instant},
};

#[path = "../../tls/tests/support/mod.rs"]
mod certificates;
mod support;

use certificates::{Folder, Issuer, authority, sign_for};
use support::process::{QUORATE, lines_of};

/// Far beyond what anything here takes; only a test that fails waits so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// One member's process.
struct Member {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Member {
    /// Waits until it says that it is ready.
    fn ready(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("it is ready in time");
            if line.starts_with("ready: ") {
                return;
            }
        }
    }
}

struct Town {
    folder: Folder,
    peers: Issuer,
    clients: Issuer,
    /// Peer and client port of each member.
    ports: Vec<(u16, u16)>,
}

impl Town {
    fn new(name: &str, members: usize) -> Town {
        let ports =
            quorate_ports::free(2 * members).unwrap().chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let town = Town {
            folder: Folder::new(&format!("quorate-{name}")),
            peers: authority(),
            clients: authority(),
            ports,
        };
        town.folder.put("peers-ca.pem", &town.peers.pem());
        town.folder.put("clients-ca.pem", &town.clients.pem());
        town.signed("me", &town.clients);
        town
    }

    fn signed(&self, name: &str, by: &Issuer) {
        let signed = sign_for(by, name, 1, &["127.0.0.1"]);
        self.folder.put(&format!("{name}.pem"), &signed.pem);
        self.folder.put(&format!("{name}.key"), &signed.key_pem);
    }

    fn file(&self, name: &str) -> String {
        self.folder.0.join(name).display().to_string()
    }

    fn peer(&self, member: usize) -> String {
        format!("https://127.0.0.1:{}", self.ports[member].0)
    }

    fn client(&self, member: usize) -> String {
        format!("https://127.0.0.1:{}", self.ports[member].1)
    }

    /// With a certificate for the others, signed by `by`.
    fn start(&self, member: usize, by: &Issuer, more: &[&str]) -> Member {
        let name = format!("n{member}");
        self.signed(&format!("{name}-peer"), by);
        self.signed(&format!("{name}-client"), &self.clients);
        let pair = |key: &str, file: &str| format!("--{key}={}", self.file(file));
        let mut child = Command::new(QUORATE)
            .args(["serve", "--log-level=warn", "--tree-engine=off", &format!("--name={name}")])
            .arg(pair("data-dir", &name))
            .arg(format!("--listen-peer={}", self.peer(member)))
            .arg(format!("--listen-client={}", self.client(member)))
            .arg(pair("peer-tls-certificate", &format!("{name}-peer.pem")))
            .arg(pair("peer-tls-key", &format!("{name}-peer.key")))
            .arg(pair("peer-tls-ca", "peers-ca.pem"))
            .arg(pair("client-tls-certificate", &format!("{name}-client.pem")))
            .arg(pair("client-tls-key", &format!("{name}-client.key")))
            .arg(pair("client-tls-client-ca", "clients-ca.pem"))
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines = lines_of(&mut child);
        Member { child, lines }
    }

    fn founder(&self, member: usize, of: usize) -> Member {
        let all: Vec<_> = (0..of).map(|one| format!("n{one}={}", self.peer(one))).collect();
        self.start(member, &self.peers, &[&format!("--initial-cluster={}", all.join(","))])
    }

    /// A command, with what it prints and whether it succeeded.
    fn run(&self, arguments: &[&str], trust: bool) -> (bool, String) {
        let mut command = Command::new(QUORATE);
        command.args(arguments).env_remove("QUORATE_ENDPOINTS").stdin(Stdio::null());
        if trust {
            // As flags and as variables alike.
            command.arg("--cacert").arg(self.file("clients-ca.pem"));
            command.env("QUORATE_CERT", self.file("me.pem")).env("QUORATE_KEY", self.file("me.key"));
        }
        let output = command.output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (success, said) = self.run(arguments, true);
        assert!(success, "quorate {}: {said}", arguments.join(" "));
        said
    }
}

#[test]
fn three_members_and_a_fourth_that_joins_and_is_promoted_by_any_of_them_all_through_tls() {
    let town = Town::new("tls", 4);
    let mut members: Vec<Member> = (0..3).map(|member| town.founder(member, 3)).collect();
    members.iter().for_each(Member::ready);
    for member in 0..3 {
        let endpoint = town.client(member);
        let key = format!("key-{member}");
        assert_eq!(town.ok(&["put", &key, "value", "--timeout=30s", "--endpoints", &endpoint]), "OK\n");
    }
    let all = (0..3).map(|member| town.client(member)).collect::<Vec<_>>().join(",");
    assert!(town.ok(&["status", "--endpoints", &all]).contains("https://127.0.0.1"));

    // Without a certificate, or without knowing whom to trust, or in the clear, there is nothing.
    let get = ["get", "key-0", "--timeout=2s", "--endpoints"];
    let (success, said) = town.run(&[&get[..], &[&town.client(0)]].concat(), false);
    assert!(!success && said.contains("--cacert"), "{said}");
    let authority = town.file("clients-ca.pem");
    let (success, said) = town.run(&[&get[..], &[&town.client(0), "--cacert", &authority]].concat(), false);
    assert!(!success, "{said}");
    let wrong = town.file("peers-ca.pem");
    let (success, said) = town.run(&[&get[..], &[&town.client(0), "--cacert", &wrong]].concat(), false);
    assert!(!success, "{said}");
    let (success, said) = town.run(&[&get[..], &[&town.client(0).replace("https", "http")]].concat(), false);
    assert!(!success, "{said}");

    // A member that was killed comes back.
    drop(members.remove(1));
    town.ok(&["put", "while", "it was gone", "--timeout=30s", "--endpoints", &town.client(0)]);
    let back = town.founder(1, 3);
    back.ready();
    let read = ["get", "while", "--serializable", "--timeout=30s", "--endpoints", &town.client(1)];
    let deadline = Instant::now() + DEADLINE;
    while !town.ok(&read).contains("it was gone") {
        assert!(Instant::now() < deadline, "it catches up");
    }

    let added =
        town.ok(&["member", "add", "n3", "--learner", "--peer-urls", &town.peer(3), "--endpoints", &all]);
    let id = added.split_whitespace().nth(1).unwrap().trim_end_matches(';').to_owned();
    let join = format!("--join={}", town.client(0));
    let fourth = town.start(3, &town.peers, &["--initial-cluster-state=existing", &join]);
    fourth.ready();
    // At a member that does not lead, too: it asks the leader over the members' own connections.
    let statuses = town.ok(&["status", "-o", "json", "--endpoints", &all]);
    let statuses: serde_json::Value = serde_json::from_str(&statuses).unwrap();
    let follower = statuses.as_array().unwrap().iter().find(|one| one["role"] == "follower").unwrap();
    let follower = follower["endpoint"].as_str().unwrap().to_owned();
    let promote = ["member", "promote", &id, "--timeout=20s", "--endpoints", &follower];
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (success, said) = town.run(&promote, true);
        if success {
            break;
        }
        // It may not have caught up yet.
        assert!(said.contains("in sync") && Instant::now() < deadline, "{said}");
    }
    let list = town.ok(&["member", "list", "--endpoints", &town.client(3)]);
    assert_eq!(list.matches("voter").count(), 4, "{list}");
}

#[test]
fn a_member_whose_certificate_is_a_strangers_gets_no_part_and_does_no_harm() {
    let town = Town::new("tls-stranger", 3);
    let members = [town.founder(0, 3), town.founder(1, 3)];
    members.iter().for_each(Member::ready);
    let all: Vec<_> = (0..3).map(|one| format!("n{one}={}", town.peer(one))).collect();
    let stranger = town.start(2, &town.clients, &[&format!("--initial-cluster={}", all.join(","))]);
    // In the clear it is no better.
    let mut clear = TcpStream::connect(("127.0.0.1", town.ports[0].0)).unwrap();
    clear.write_all(b"QRT and then whatever fills a first word").unwrap();
    let mut words = Vec::new();
    let _ = clear.read_to_end(&mut words);
    assert_eq!(words, b"QRT\x01\x05", "members speak TLS");
    town.ok(&["put", "a", "b", "--timeout=30s", "--endpoints", &town.client(0)]);
    // Long enough for it to be let in, were it let in.
    thread::sleep(Duration::from_secs(1));
    assert!(stranger.lines.try_recv().is_err(), "it never says that it is ready");
}

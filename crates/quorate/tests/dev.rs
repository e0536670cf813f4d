//! The real binary, end to end: a cluster of processes, driven through every endpoint, whose leader is killed.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");
/// Far beyond what anything here takes; only a test that fails waits so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// `quorate dev`, and what it says.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    endpoints: Vec<String>,
}

impl Dev {
    fn start(arguments: &[&str]) -> Dev {
        let mut child = Command::new(QUORATE)
            .args(["dev", "--free-ports"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut dev = Dev { child, lines, seen: Vec::new(), endpoints: Vec::new() };
        let first = dev.until("etcd endpoints: ");
        dev.endpoints = first["etcd endpoints: ".len()..].split(',').map(str::to_string).collect();
        dev.until("Ctrl-C");
        dev
    }

    /// The next line that has `part` in it.
    fn until(&mut self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| {
                panic!("no line with {part:?} came; dev said:\n{}", self.seen.join("\n"))
            });
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Name and process of each node, and which leads, from the table that was printed.
    fn nodes(&self) -> Vec<(String, u32, bool)> {
        let row = |line: &String| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = words.first().filter(|name| name.starts_with('n') && name.len() == 2)?;
            Some(((*name).to_string(), words.get(4)?.parse().ok()?, words.get(5) == Some(&"leads")))
        };
        self.seen.iter().filter_map(row).collect()
    }

    /// Where each node serves ZooKeeper's clients, from the same table.
    fn zookeepers(&self) -> Vec<String> {
        let row = |line: &String| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // A line that a member logged begins with its name, too, and a bar.
            let is_node = words.first().is_some_and(|name| name.starts_with('n') && name.len() == 2);
            words.get(2).filter(|_| is_node && words[1] != "|").map(|address| (*address).to_string())
        };
        self.seen.iter().filter_map(row).collect()
    }

    fn all(&self) -> String {
        self.endpoints.join(",")
    }

    fn signal(&self, signal: &str) {
        signal_process(self.child.id(), signal);
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Asked to end, it removes its folder; a test that killed it does that here.
        let pid = self.child.id();
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("kill").args(["-INT", &pid.to_string()]).status();
        }
        let _ = self.child.wait();
        for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!("quorate-dev-{pid}-")) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn signal_process(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success(), "kill {signal} {pid}");
}

fn run(arguments: &[&str]) -> Output {
    Command::new(QUORATE)
        .args(arguments)
        .env_remove("QUORATE_ENDPOINTS")
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

/// What a command prints; it must succeed.
fn ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "quorate {}: {out}{err}", arguments.join(" "));
    out.into_owned()
}

/// Is the process gone, or only waiting to be reaped by whoever adopted it?
fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// Looks again and again, up to the deadline.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}

/// What a server answers to one of ZooKeeper's four-letter words.
fn four_letters(address: &str, word: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.write_all(word.as_bytes()).expect("it hears");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

#[test]
fn a_cluster_serves_through_every_endpoint_and_survives_its_leader() {
    let mut dev = Dev::start(&[]);
    assert_eq!(dev.endpoints.len(), 3);
    for (n, endpoint) in dev.endpoints.clone().iter().enumerate() {
        assert_eq!(ok(&["put", &format!("key-{n}"), &format!("value-{n}"), "--endpoints", endpoint]), "OK\n");
    }
    for endpoint in dev.endpoints.clone() {
        let all = "key-0\nvalue-0\nkey-1\nvalue-1\nkey-2\nvalue-2\n";
        assert_eq!(ok(&["get", "--prefix", "key-", "--endpoints", &endpoint]), all);
        let one = ok(&["get", "key-1", "--serializable", "--endpoints", &endpoint, "-o", "json"]);
        assert!(one.contains("\"value\":\"value-1\""), "{one}");
    }

    for address in dev.zookeepers() {
        assert_eq!(four_letters(&address, "ruok"), "imok", "ZooKeeper's clients are served on {address}");
    }

    let nodes = dev.nodes();
    assert_eq!(nodes.len(), 3, "{:?}", dev.seen);
    let (name, pid, _) = nodes.iter().find(|(_, _, leads)| *leads).expect("one leads").clone();
    signal_process(pid, "-9");
    let ended = dev.until("starting it again");
    assert!(ended.starts_with(&name) && ended.contains("the leader") && ended.contains("killed"), "{ended}");
    // Whatever comes first, the cluster goes on, through any endpoint that is up.
    assert_eq!(
        ok(&["put", "after", "the leader died", "--endpoints", &dev.all(), "--timeout", "30s"]),
        "OK\n"
    );
    let back = dev.until("is back after");
    assert!(back.starts_with(&name), "{back}");
    for endpoint in dev.endpoints.clone() {
        assert_eq!(
            ok(&["get", "after", "--endpoints", &endpoint, "--timeout", "30s"]),
            "after\nthe leader died\n"
        );
    }

    let status = ok(&["status", "--endpoints", &dev.all()]);
    assert_eq!(status.lines().filter(|line| line.contains(" leader ")).count(), 1, "{status}");
    // A member that was away shows its role and its name as soon as it has caught up with the records.
    let mut moved_to = String::new();
    eventually("one follows, and says its name", || {
        let status = ok(&["status", "--endpoints", &dev.all(), "--timeout", "30s"]);
        let follows = dev.nodes().into_iter().map(|(name, ..)| name).find(|name| {
            let row = status.lines().find(|line| line.split_whitespace().nth(2) == Some(name));
            row.is_some_and(|row| row.contains("follower"))
        });
        moved_to = follows.unwrap_or_default();
        !moved_to.is_empty()
    });
    ok(&["move-leader", &moved_to, "--endpoints", &dev.all(), "--timeout", "30s"]);
    dev.until(&format!("{moved_to} leads now"));

    dev.signal("-INT");
    dev.until("stopped; the temporary data is removed");
    assert!(dev.child.wait().expect("it ends").success());
}

#[test]
fn members_die_with_the_process_that_started_them() {
    let dev = Dev::start(&["--nodes", "1"]);
    let pids: Vec<u32> = dev.nodes().into_iter().map(|(_, pid, _)| pid).collect();
    assert_eq!(pids.len(), 1);
    dev.signal("-9");
    for pid in pids {
        eventually("the member ended", || is_gone(pid));
    }
}

#[test]
fn a_kept_folder_goes_on_where_it_was() {
    let folder = std::env::temp_dir().join(format!("quorate-dev-test-{}", std::process::id()));
    let path = folder.to_str().expect("text");
    let mut dev = Dev::start(&["--data", path]);
    ok(&["put", "kept", "yes", "--endpoints", &dev.all()]);
    dev.signal("-TERM");
    dev.until("stopped; everything is kept");
    assert!(dev.child.wait().expect("it ends").success());
    let again = Dev::start(&["--data", path]);
    assert_eq!(again.endpoints, dev.endpoints);
    assert_eq!(ok(&["get", "kept", "--endpoints", &again.all(), "--timeout", "30s"]), "kept\nyes\n");
    drop(again);
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

/// A process that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> String {
    format!("127.0.0.1:{}", quorate_ports::free(1).expect("a port is free")[0])
}

/// What a cluster was founded with is in its log: a member that is told otherwise ends, and says which option is wrong.
#[test]
fn an_engine_that_is_not_the_clusters_is_refused_with_the_option_to_mend() {
    let folder = std::env::temp_dir().join(format!("quorate-engine-test-{}", std::process::id()));
    let (client, peer) = (free_address(), free_address());
    let member = |options: &[&str]| {
        let mut command = Command::new(QUORATE);
        command.args(["serve", "--name", "one", "--listen-client", &client, "--listen-peer", &peer]);
        command.arg("--data-dir").arg(&folder).args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut founder = Killed(member(&["--keys-engine=zab"]).spawn().expect("the binary starts"));
    let mut lines = BufReader::new(founder.0.stdout.take().expect("piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.starts_with("ready: "))), "it serves");
    eventually("the records name it", || {
        ok(&["member", "list", "--endpoints", &client, "--timeout", "30s"]).contains("one")
    });
    drop(founder);
    let wrong: [(&[&str], &str); 3] = [
        (&["--keys-engine=raft"], "it was started with zab"),
        (&["--keys-engine=raft"], "keys-engine"),
        (
            &["--keys-engine=zab", "--tree-engine=raft"],
            "tree-engine = raft, but the cluster was founded with zab",
        ),
    ];
    for (options, said) in wrong {
        let mut refused = Killed(member(options).spawn().expect("the binary starts"));
        let errors = BufReader::new(refused.0.stderr.take().expect("piped")).lines();
        let mut code = None;
        eventually("it ends by itself", || {
            code = refused.0.try_wait().expect("it can be asked");
            code.is_some()
        });
        assert!(code.is_some_and(|code| !code.success()), "{options:?}: {code:?}");
        let text: Vec<String> = errors.map_while(Result::ok).collect();
        assert!(text.join("\n").contains(said), "{options:?}: {text:#?}");
    }
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

#[test]
fn a_member_is_added_joins_votes_and_is_removed() {
    comes_and_goes("3");
}

/// The joint membership of a change from two voters to one needs the one that leaves until it is committed.
#[test]
fn a_second_member_comes_and_goes() {
    comes_and_goes("1");
}

/// A member that is added to a cluster that runs.
struct Late {
    name: &'static str,
    client: String,
    peer: String,
    folder: std::path::PathBuf,
    all: String,
}

impl Late {
    fn new(name: &'static str, all: &str) -> Late {
        let (client, peer) = (free_address(), free_address());
        let folder = std::env::temp_dir().join(format!("quorate-join-test-{}-{peer}", std::process::id()));
        Late { name, client, peer, folder, all: all.to_owned() }
    }

    /// Adds it as a learner, through these endpoints.
    fn add(name: &'static str, all: &str) -> Late {
        let late = Late::new(name, all);
        let url = format!("http://{}", late.peer);
        // In its very first moments a cluster has no records yet, and says so.
        eventually("it is added", || {
            let output = run(&["member", "add", name, "--peer-urls", &url, "--learner", "--endpoints", all]);
            String::from_utf8_lossy(&output.stdout).contains("--join=")
        });
        late
    }

    fn serve(&self) -> Killed {
        self.serve_with(&[])
    }

    fn serve_with(&self, options: &[&str]) -> Killed {
        Command::new(QUORATE)
            .args(["serve", "--initial-cluster-state=existing", "--log-level=error"])
            .args(options)
            .arg(format!("--name={}", self.name))
            .arg(format!("--join={}", self.all))
            .arg(format!("--listen-client={}", self.client))
            .arg(format!("--listen-peer={}", self.peer))
            .arg(format!("--data-dir={}", self.folder.display()))
            .stdout(Stdio::piped())
            .spawn()
            .map(Killed)
            .expect("it starts")
    }

    fn ready(&self, member: &mut Killed) {
        let mut ready = String::new();
        BufReader::new(member.0.stdout.take().expect("piped"))
            .read_line(&mut ready)
            .expect("it says that it is ready");
        assert!(ready.starts_with(&format!("ready: {} serves etcd clients on ", self.name)), "{ready}");
    }

    fn promote(&self) {
        eventually("it is promoted", || {
            run(&["member", "promote", self.name, "--endpoints", &self.all]).status.success()
        });
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn comes_and_goes(nodes: &str) {
    let dev = Dev::start(&["--nodes", nodes]);
    let all = dev.all();
    ok(&["put", "before", "it came", "--endpoints", &all]);
    let late = Late::add(if nodes == "1" { "second" } else { "fourth" }, &all);
    let mut member = late.serve();
    late.ready(&mut member);
    eventually("the learner has what was there before", || {
        let output = run(&["get", "before", "--serializable", "--endpoints", &late.client]);
        output.stdout == b"before\nit came\n"
    });
    late.promote();
    assert_eq!(ok(&["get", "before", "--endpoints", &late.client, "--timeout", "30s"]), "before\nit came\n");
    eventually("it is removed", || {
        run(&["member", "remove", late.name, "--endpoints", &all]).status.success()
    });
    assert_eq!(member.0.wait().expect("it ends").code(), Some(1), "a removed member stops");
    let list = ok(&["member", "list", "--endpoints", &all]);
    assert_eq!(list.lines().count(), 1 + dev.endpoints.len(), "{list}");
}

/// The first learner has itself promoted; the second takes its place by one command, which is told of nothing in between.
#[test]
fn a_learner_votes_by_itself_and_another_takes_its_place_in_one_step() {
    let dev = Dev::start(&["--nodes", "1"]);
    let all = dev.all();
    ok(&["put", "before", "they came", "--endpoints", &all]);
    let first = Late::add("first", &all);
    let mut member = first.serve_with(&["--auto-promote"]);
    first.ready(&mut member);
    let voters = || ok(&["member", "list", "--endpoints", &all]).matches(" voter ").count();
    eventually("it votes, and nobody promoted it", || voters() == 2);

    let second = Late::new("second", &all);
    let url = format!("http://{}", second.peer);
    let mut replace = Command::new(QUORATE)
        .args([
            "member",
            "replace",
            "first",
            "second",
            "--peer-urls",
            &url,
            "--wait",
            "60s",
            "--endpoints",
            &all,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .map(Killed)
        .expect("it runs");
    let mut said = BufReader::new(replace.0.stdout.take().expect("piped"));
    let mut lines = String::new();
    while !lines.contains("quorate serve --name=second") {
        assert!(said.read_line(&mut lines).expect("it says how") > 0, "{lines}");
    }
    let mut newcomer = second.serve();
    second.ready(&mut newcomer);
    said.read_to_string(&mut lines).expect("it says the rest");
    assert!(replace.0.wait().expect("it ends").success(), "{lines}");
    assert!(lines.contains("votes from now on") && lines.contains("2 members are left"), "{lines}");
    assert_eq!(member.0.wait().expect("it ends").code(), Some(1), "a removed member stops");
    assert_eq!(voters(), 2);
    assert_eq!(
        ok(&["get", "before", "--endpoints", &second.client, "--timeout", "30s"]),
        "before\nthey came\n"
    );
    // Once more changes nothing but to say so.
    let again = run(&["member", "replace", "first", "second", "--peer-urls", &url, "--endpoints", &all]);
    assert_eq!(again.status.code(), Some(1), "there is no first any more");
}

/// {One founder, two members that joined; the power fails for all, and the founder never comes back}: the two find each other by what each has kept, although
/// no configuration names the other and there is nobody to ask.
#[test]
fn members_that_joined_find_each_other_without_a_founder() {
    let dev = Dev::start(&["--nodes", "1"]);
    let all = dev.all();
    ok(&["put", "before", "the power failed", "--endpoints", &all]);
    let late = ["two", "three"].map(|name| {
        let late = Late::add(name, &all);
        let mut member = late.serve();
        late.ready(&mut member);
        late.promote();
        (late, member)
    });
    let [(two, first), (three, second)] = late;
    eventually("each has kept where the other is", || {
        let knows = |who: &Late, whom: &Late| {
            std::fs::read_to_string(who.folder.join("peers")).is_ok_and(|book| book.contains(&whom.peer))
        };
        knows(&two, &three) && knows(&three, &two)
    });
    drop((dev, first, second));
    let (mut first, mut second) = (two.serve(), three.serve());
    two.ready(&mut first);
    three.ready(&mut second);
    let value = ok(&["get", "before", "--endpoints", &three.client, "--timeout", "30s"]);
    assert_eq!(value, "before\nthe power failed\n");
}

#[test]
fn a_wrong_command_line_is_answered_with_two_and_the_mend() {
    for (arguments, part) in [
        (&["serve", "--listen-client=2379"][..], "HOST:PORT"),
        (&["serve", "--heartbeat-interval=1s"], "heartbeat-interval"),
        (&["gte", "a"], "Commands: dev, serve, zookeeper, etcd, put, get"),
        (&["get", "a", "--endpoints", "nowhere"], "the port is missing"),
        (&["txn", "--then", "put a"], "put KEY VALUE"),
    ] {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    let output = run(&["get", "a", "--endpoints", "127.0.0.1:1"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("Connection refused") && error.contains("quorate dev"), "{error}");
}

#[test]
fn what_would_be_in_effect_is_printed_with_its_origin() {
    let printed = ok(&["serve", "--print-config", "--name", "n1"]);
    assert!(
        printed.lines().any(|line| line.starts_with("name = \"n1\"") && line.ends_with("# flag --name")),
        "{printed}"
    );
    assert!(ok(&["--version"]).starts_with("quorate "));
}

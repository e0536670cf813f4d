//! Two of three members are lost for good: the third goes on alone, with all that it has, and takes in new ones.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};
use support::{
    Client, Folder, free_ports,
    process::{Member, QUORATE, run, start},
};

/// Where the members are; the first three found the cluster.
struct Cluster {
    folder: Folder,
    engine: &'static str,
    peers: [u16; 4],
    clients: [u16; 4],
    trees: [u16; 4],
}

impl Cluster {
    fn new(name: &str, engine: &'static str) -> Cluster {
        let folder = Folder::new(name);
        Cluster { folder, engine, peers: free_ports(), clients: free_ports(), trees: free_ports() }
    }

    fn data(&self, number: usize) -> PathBuf {
        self.folder.0.join(format!("data-{number}"))
    }

    fn command(&self, number: usize, more: &[&str]) -> Command {
        let url = |n: usize| format!("n{n}=http://127.0.0.1:{}", self.peers[n]);
        let mut command = Command::new(QUORATE);
        command
            .args(["serve", "--log-level=error", "--name", &format!("n{number}")])
            .args(["--listen-client", &format!("127.0.0.1:{}", self.clients[number])])
            .args(["--listen-peer", &format!("127.0.0.1:{}", self.peers[number])])
            .args(["--listen-zookeeper", &format!("127.0.0.1:{}", self.trees[number])])
            .args(["--keys-engine", self.engine])
            .arg("--data-dir")
            .arg(self.data(number))
            .args(more);
        if number < 3 {
            command.args(["--initial-cluster", &[url(0), url(1), url(2)].join(",")]);
        }
        command
    }

    fn start(&self, number: usize, more: &[&str]) -> Member {
        let mut member = start(&mut self.command(number, more));
        if number < 3 && more.is_empty() {
            return member;
        }
        member.wait_until_it_serves();
        member
    }

    fn run(&self, number: usize, words: &[&str]) -> Output {
        let endpoint = format!("127.0.0.1:{}", self.clients[number]);
        run(&[words, &["--endpoints", &endpoint, "--timeout", "30s"]].concat())
    }

    fn ask(&self, number: usize, words: &[&str]) -> String {
        let output = self.run(number, words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// A call through the JSON gateway.
    fn call(&self, number: usize, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.clients[number])).expect("it listens");
        let body = body.to_string();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).expect("it hears");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        let (from, to) = (body.find('{').expect("an object"), body.rfind('}').expect("an object"));
        serde_json::from_str(&body[from..=to]).expect("JSON")
    }
}

#[test]
fn the_last_member_of_a_lost_cluster_goes_on_alone_with_everything_and_takes_in_a_new_one() {
    for engine in ["raft", "zab"] {
        let cluster = Cluster::new(&format!("force-{engine}"), engine);
        let mut members = [0, 1, 2].map(|n| cluster.start(n, &[]));
        members.iter_mut().for_each(Member::wait_until_it_serves);
        for key in 0..30 {
            cluster.ask(key % 3, &["put", &format!("k{key}"), "old"]);
        }
        let lease = cluster.call(0, "/v3/lease/grant", &json!({ "TTL": 6000 }))["ID"].clone();
        let lease = lease.as_str().expect("a number").to_owned();
        let hexadecimal = format!("{:x}", lease.parse::<i64>().expect("a number"));
        cluster.ask(1, &["put", "leased", "1", "--lease", &hexadecimal]);
        cluster.call(0, "/v3/auth/user/add", &json!({ "name": "alice", "password": "secret" }));
        Client::connect(cluster.trees[1]).create("/a", "one");
        // The last one has heard of all of it: what it answers is what it has.
        assert_eq!(cluster.ask(2, &["get", "leased"]), "leased\n1\n");
        assert_eq!(Client::connect(cluster.trees[2]).read("/a").as_deref(), Some(&b"one"[..]));
        let revision =
            |n: usize| cluster.call(n, "/v3/kv/range", &json!({ "key": "YQ==" }))["header"].clone();
        let before = revision(2);
        drop(members);

        // What cannot be read whole is not forced, and stays what it was.
        let mut segments: Vec<PathBuf> = fs::read_dir(cluster.data(1).join("log"))
            .expect("a log")
            .map(|file| file.unwrap().path())
            .collect();
        segments.sort();
        let mut bytes = fs::read(&segments[0]).expect("a segment");
        bytes[300..400].fill(0xff);
        fs::write(&segments[0], bytes).expect("it is damaged");
        let refused = cluster.command(1, &["--force-new-cluster"]).output().expect("the binary starts");
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && why.contains("the data is damaged"), "{why}");
        assert!(!cluster.data(1).join("forced").exists());

        let check = |member: usize| {
            for key in 0..30 {
                assert_eq!(cluster.ask(member, &["get", &format!("k{key}")]), format!("k{key}\nold\n"));
            }
            let left = cluster.call(member, "/v3/lease/timetolive", &json!({ "ID": lease, "keys": true }));
            assert_eq!(left["grantedTTL"], "6000");
            assert_eq!(left["keys"], json!(["bGVhc2Vk"]));
            let users = cluster.call(member, "/v3/auth/user/list", &json!({}));
            assert_eq!(users["users"], json!(["alice"]));
            assert_eq!(Client::connect(cluster.trees[member]).read("/a").as_deref(), Some(&b"one"[..]));
        };
        let forced = cluster.start(2, &["--force-new-cluster"]);
        check(2);
        let after = revision(2);
        assert_eq!(after["revision"], before["revision"]);
        assert_ne!(after["cluster_id"], before["cluster_id"]);
        assert_eq!(after["member_id"], before["member_id"]);
        assert_eq!(cluster.ask(2, &["member", "list"]).lines().filter(|line| line.contains("n2")).count(), 1);
        let mut found = fs::read_dir(cluster.data(2)).expect("a directory").map(|entry| entry.unwrap());
        let kept = found.find(|entry| entry.file_name().to_string_lossy().starts_with("before-force-"));
        assert!(kept.expect("the data of before").path().join("log").exists());
        cluster.ask(2, &["put", "new", "1"]);
        drop(forced);

        // The option stayed in its configuration; then it went.
        let forced = cluster.start(2, &["--force-new-cluster"]);
        assert_eq!(revision(2)["cluster_id"], after["cluster_id"]);
        assert_eq!(cluster.ask(2, &["get", "new"]), "new\n1\n");
        drop(forced);
        let mut last = cluster.start(2, &[]);
        last.wait_until_it_serves();

        let url = format!("http://127.0.0.1:{}", cluster.peers[3]);
        cluster.ask(2, &["member", "add", "n3", "--learner", "--peer-urls", &url]);
        let join = format!("http://127.0.0.1:{}", cluster.clients[2]);
        let _newcomer = cluster.start(3, &["--initial-cluster-state=existing", "--join", &join]);
        let list = cluster.call(2, "/v3/cluster/member/list", &json!({}));
        let newcomer =
            list["members"].as_array().expect("members").iter().find(|member| member["isLearner"] == true);
        let id: u64 =
            newcomer.expect("a learner")["ID"].as_str().expect("a number").parse().expect("a number");
        cluster.ask(2, &["member", "promote", &format!("{id:x}")]);
        check(3);
        cluster.ask(3, &["put", "both", "1"]);
        assert_eq!(cluster.ask(2, &["get", "both"]), "both\n1\n");
    }
}

#[test]
fn nothing_is_forced_from_a_directory_without_data() {
    let cluster = Cluster::new("force-nothing", "raft");
    let refused = cluster.command(0, &["--force-new-cluster"]).output().expect("the binary starts");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && why.contains("there is no data"), "{why}");
    assert!(!cluster.data(0).exists());
}

#[test]
fn divided_keys_are_not_forced_and_stay_what_they_were() {
    let cluster = Cluster::new("force-divided", "raft");
    let divided = ["--keys-shards=4"];
    let mut members = [0, 1, 2].map(|n| start(&mut cluster.command(n, &divided)));
    members.iter_mut().for_each(Member::wait_until_it_serves);
    for key in 0..10 {
        cluster.ask(key % 3, &["put", &format!("k{key}"), "old"]);
    }
    drop(members);
    let refused = cluster.command(2, &["--force-new-cluster"]).output().expect("the binary starts");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("divided among 4 groups"), "{why}");
    assert!(!cluster.data(2).join("forced").exists());
    let mut members = [1, 2].map(|n| start(&mut cluster.command(n, &divided)));
    members.iter_mut().for_each(Member::wait_until_it_serves);
    for key in 0..10 {
        assert_eq!(cluster.ask(1 + key % 2, &["get", &format!("k{key}")]), format!("k{key}\nold\n"));
    }
}

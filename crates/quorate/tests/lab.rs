//! The Lab of the real binary: its page beside a cluster, what it shows of that cluster, and links to seeds.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use serde_json::Value;
use support::{
    Client,
    dev::{Dev, Killed, eventually, ok},
    process::QUORATE,
};

/// What the page is answered, by the address that was printed.
fn get(lab: &str, path: &str) -> (u16, Value) {
    let host = lab.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").expect("it hears");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn address(text: &str) -> String {
    text.split_whitespace().find(|word| word.starts_with("http://")).expect("an address").to_owned()
}

#[test]
fn beside_a_cluster_the_lab_shows_its_members_keys_with_their_history_and_znodes() {
    let dev = Dev::start(&[]);
    let lab = address(dev.seen.iter().find(|line| line.contains("the Lab")).expect("it is named"));
    let endpoint = dev.endpoints[0].clone();
    for value in ["one", "two", "three"] {
        ok(&["put", "door", value, "--endpoints", &endpoint]);
    }
    ok(&["put", "wall", "white", "--endpoints", &endpoint]);
    eventually("all three members are shown, one leads", || {
        let (status, live) = get(&lab, "/api/live");
        let roles = |role: &str| {
            live["members"].as_array().unwrap().iter().filter(|member| member["role"] == role).count()
        };
        status == 200 && roles("leader") == 1 && roles("follower") == 2
    });
    let (_, keys) = get(&lab, "/api/live/keys?limit=1");
    assert_eq!((&keys["count"], &keys["more"]), (&2.into(), &true.into()), "{keys}");
    let door = &keys["keys"][0];
    assert_eq!((&door["key"]["text"], &door["version"]), (&"door".into(), &3.into()));
    let raw = door["key"]["raw"].as_str().unwrap();
    let (_, next) = get(&lab, &format!("/api/live/keys?after={raw}"));
    assert_eq!(next["keys"][0]["key"]["text"], "wall");
    let (_, history) = get(&lab, &format!("/api/live/history?key={raw}"));
    let values: Vec<&str> =
        history["versions"].as_array().unwrap().iter().filter_map(|v| v["value"]["text"].as_str()).collect();
    assert_eq!((values, &history["ends"]), (vec!["three", "two", "one"], &"created".into()));
    assert_eq!(get(&lab, "/api/live/leases").1["count"], 0);
    assert_eq!(get(&lab, "/api/live/key?key=!").0, 400);
    let servers = dev.zookeepers();
    let port = servers[0].rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    Client::connect(port).create("/door", "open");
    // In base64: / and /door. The page may ask another server, which hears of it a moment later.
    eventually("the znode is among the root's children", || {
        let root = get(&lab, "/api/live/znodes?path=Lw").1;
        root["children"].as_array().is_some_and(|all| all.iter().any(|child| child["name"] == "door"))
    });
    let (status, znode) = get(&lab, "/api/live/znodes?path=L2Rvb3I");
    assert_eq!((status, &znode["path"], &znode["data"]["text"]), (200, &"/door".into(), &"open".into()));
    assert_eq!((&znode["stat"]["dataLength"], &znode["stat"]["ephemeralOwner"]), (&4.into(), &Value::Null));
    assert_eq!(get(&lab, "/api/live/znodes?path=L25vbmU").0, 404);
    eventually("all three servers say how they stand", || {
        let standing = get(&lab, "/api/live/zookeeper").1;
        let counts = |server: &&Value| server["watches"].is_u64() && server["connections"].is_u64();
        standing["servers"].as_array().is_some_and(|all| all.iter().filter(counts).count() == 3)
    });
}

#[test]
fn alone_it_says_where_it_is_and_that_it_watches_nothing() {
    let mut child = Command::new(QUORATE)
        .args(["lab", "--port", "0", "--engine", "zab", "--seed", "7"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it says something")).lines();
    let _killed = Killed(child);
    let mut line = || lines.next().expect("a line").expect("text");
    let lab = address(&line());
    assert_eq!(address(&line()), format!("{lab}#seed=7&engine=zab"));
    let (status, live) = get(&lab, "/api/live");
    assert_eq!(status, 404);
    assert!(live["error"].as_str().unwrap().contains("--endpoints"));
    assert!(get(&lab, "/api/lessons").1.as_array().unwrap().len() >= 30);
}

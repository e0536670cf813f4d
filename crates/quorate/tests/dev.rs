//! The real binary, end to end: a cluster of processes, driven through every endpoint, whose leader is killed.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
};

use support::{
    dev::{Dev, Killed, eventually, free_address, is_gone, ok, run, signal_process},
    process::QUORATE,
};

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

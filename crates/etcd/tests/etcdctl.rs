//! etcd's own command line against our server. Passes over itself where `etcdctl` is not installed.

use std::{io::ErrorKind, process::Stdio};

use crate::support::Cluster;
use tokio::{io::AsyncWriteExt, process::Command};

struct Ctl {
    endpoints: String,
}

impl Ctl {
    async fn run(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut child = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoints])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcdctl starts");
        let mut stdin = child.stdin.take().expect("its input");
        stdin.write_all(input.as_bytes()).await.expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().await.expect("it ends");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    fn expect(&self, arguments: &[&str], expected: &str) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let (success, text) = self.run(arguments, "").await;
            assert!(
                success && text.contains(expected),
                "{at}: etcdctl {arguments:?}: {text:?}, not {expected:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_works() {
    if std::process::Command::new("etcdctl")
        .arg("version")
        .output()
        .is_err_and(|e| e.kind() == ErrorKind::NotFound)
    {
        eprintln!("etcdctl is not installed: nothing was tested");
        return;
    }
    let cluster = Cluster::start(3).await;
    let urls: Vec<&str> = cluster.nodes.iter().map(|node| node.url.as_str()).collect();
    let ctl = Ctl { endpoints: urls.join(",") };

    ctl.expect(&["put", "a", "1"], "OK").await;
    ctl.expect(&["put", "b", "2"], "OK").await;
    ctl.expect(&["get", "a"], "a\n1\n").await;
    ctl.expect(&["get", "", "--prefix", "--keys-only"], "a\n\nb\n").await;
    ctl.expect(&["get", "a", "--rev", "1"], "").await;
    ctl.expect(&["get", "a", "-w", "json"], r#""value":"MQ==""#).await;
    ctl.expect(&["del", "b"], "1").await;
    let (success, text) =
        ctl.run(&["txn", "--interactive"], "value(\"a\") = \"1\"\n\nput a 3\nget a\n\nget a\n\n").await;
    assert!(success && text.contains("SUCCESS") && text.contains("a\n3"), "{text}");
    ctl.expect(&["compaction", "2"], "compacted revision 2").await;
    let (success, text) = ctl.run(&["get", "a", "--rev", "1"], "").await;
    assert!(!success && text.contains("etcdserver: mvcc: required revision has been compacted"), "{text}");
    let (success, text) = ctl.run(&["put", "", "1"], "").await;
    assert!(!success && text.contains("etcdserver: key is not provided"), "{text}");

    ctl.expect(&["member", "list"], "started").await;
    ctl.expect(
        &["member", "add", "four", "--learner", "--peer-urls=http://10.0.0.4:2380"],
        "added to cluster",
    )
    .await;
    let (_, list) = ctl.run(&["member", "list"], "").await;
    let unstarted = list.lines().find(|line| line.contains("unstarted")).expect("the new member");
    let id = unstarted.split(',').next().expect("its id");
    let (success, text) = ctl.run(&["member", "promote", id], "").await;
    assert!(!success && text.contains("in sync with leader"), "{text}");
    ctl.expect(&["member", "remove", id], "removed from cluster").await;

    ctl.expect(&["endpoint", "health"], "is healthy").await;
    ctl.expect(&["alarm", "list"], "").await;
    // etcdctl 3.4 sends the whole URL as `:authority` where it dials members one by one, which is no authority by RFC 9113, and the HTTP/2
    // library resets the stream with PROTOCOL_ERROR. 3.5 and later send host and port.
    let (_, version) = ctl.run(&["version"], "").await;
    if version.contains("version: 3.4") {
        return;
    }
    ctl.expect(&["endpoint", "status", "-w", "table"], "3.6.6").await;
    ctl.expect(&["endpoint", "hashkv"], ",").await;
    let leader = cluster.leader().await;
    let to = format!("{:x}", cluster.nodes[(leader + 1) % 3].id.0);
    ctl.expect(&["move-leader", &to], "Leadership transferred").await;
}

/// As its manual has it: users, roles, `auth enable`, and calls with `--user`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_turns_auth_on_and_works_with_it() {
    if std::process::Command::new("etcdctl")
        .arg("version")
        .output()
        .is_err_and(|e| e.kind() == ErrorKind::NotFound)
    {
        eprintln!("etcdctl is not installed: nothing was tested");
        return;
    }
    let cluster = Cluster::start(3).await;
    let urls: Vec<&str> = cluster.nodes.iter().map(|node| node.url.as_str()).collect();
    let ctl = Ctl { endpoints: urls.join(",") };
    let (root, u) = (["--user", "root:pw"], ["--user", "u:secret"]);
    let with = |user: [&'static str; 2], rest: &[&'static str]| [&user[..], rest].concat();
    ctl.expect(&["user", "add", "root:pw"], "User root created").await;
    ctl.expect(&["user", "add", "u:secret"], "User u created").await;
    ctl.expect(&["role", "add", "r"], "Role r created").await;
    ctl.expect(&["role", "grant-permission", "r", "readwrite", "a/", "--prefix=true"], "Role r updated")
        .await;
    ctl.expect(&["user", "grant-role", "u", "r"], "Role r is granted to user u").await;
    // It gives root its role by itself.
    ctl.expect(&["auth", "enable"], "Authentication Enabled").await;
    for _ in 0..3 {
        ctl.expect(&with(u, &["put", "a/1", "x"]), "OK").await;
        ctl.expect(&with(u, &["get", "a/", "--prefix"]), "a/1\nx").await;
        ctl.expect(&with(root, &["get", "a/1"]), "x").await;
    }
    ctl.expect(&with(root, &["role", "get", "r"]), "[a/, a0)").await;
    ctl.expect(&with(root, &["user", "list"]), "root\nu").await;
    ctl.expect(&with(root, &["user", "get", "u"]), "Roles: r").await;
    for (arguments, expected) in [
        (with(u, &["put", "b", "x"]), "etcdserver: permission denied"),
        (with(u, &["get", "a", "--from-key"]), "etcdserver: permission denied"),
        (with(u, &["compaction", "2"]), "etcdserver: permission denied"),
        (with(u, &["user", "list"]), "etcdserver: permission denied"),
        (with(["--user", "u:wrong"], &["get", "a/1"]), "authentication failed, invalid user ID or password"),
        (vec!["get", "a/1"], "etcdserver: user name is empty"),
    ] {
        let (success, text) = ctl.run(&arguments, "").await;
        assert!(!success && text.contains(expected), "etcdctl {arguments:?}: {text:?}, not {expected:?}");
    }
    let put = "put a/2 y\n\n\n";
    let (success, text) = ctl.run(&with(u, &["txn"]), &format!("\n{put}")).await;
    assert!(success && text.contains("SUCCESS"), "{text:?}");
    let (success, text) =
        ctl.run(&with(root, &["user", "passwd", "u", "--interactive=false"]), "new\n").await;
    assert!(success && text.contains("Password updated"), "{text:?}");
    ctl.expect(&["--user", "u:new", "get", "a/1"], "x").await;
    ctl.expect(&with(root, &["auth", "disable"]), "Authentication Disabled").await;
    ctl.expect(&["get", "a/1"], "x").await;
}

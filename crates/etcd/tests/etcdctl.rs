//! etcd's own command line against our server. Passes over itself where `etcdctl` is not installed.

mod support;

use std::{io::ErrorKind, process::Stdio};

use support::Cluster;
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

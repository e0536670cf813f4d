//! Against etcd itself. Passes over itself where `etcd` is not installed.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it starts a process and waits for it"
)]

use std::{
    io::ErrorKind,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use quorate_client::{
    Client, Error, Executed, Options, Session,
    wire::{EtcdError, etcdserverpb as pb},
};

struct Etcd {
    child: Child,
    directory: PathBuf,
    url: String,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn free_url() -> String {
    format!("http://127.0.0.1:{}", quorate_ports::free(1).unwrap()[0])
}

fn etcd() -> Option<Etcd> {
    let (url, peer) = (free_url(), free_url());
    let directory = std::env::temp_dir().join(format!("quorate-client-{}", std::process::id()));
    let child = Command::new("etcd")
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--name", "one", "--initial-cluster", &format!("one={peer}"), "--log-level", "error"])
        .arg("--data-dir")
        .arg(&directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        Ok(child) => Some(Etcd { child, directory, url }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("etcd is not installed: nothing was tested");
            None
        }
        Err(error) => panic!("etcd does not start: {error}"),
    }
}

#[tokio::test]
async fn the_client_works_with_etcd() {
    let Some(etcd) = etcd() else { return };
    // The first endpoint is dead: calls find the second, writes too, since a refused connection carried nothing.
    let client = Client::connect([free_url(), etcd.url.clone()], Options::default()).unwrap();
    let mut tries = 0;
    while let Err(error) = client.put("a", "1").await {
        tries += 1;
        assert!(tries < 100, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.get("a").await.unwrap().unwrap().value, "1");
    client.in_session(Session::new()).put("b", "2").await.unwrap();
    assert_eq!(client.get_prefix("").await.unwrap().count, 2);
    assert_eq!(client.delete("a").await.unwrap().deleted, 1);

    let error = client.put("", "1").await.unwrap_err();
    assert_eq!((error.etcd(), error.executed()), (Some(EtcdError::EmptyKey), Executed::No));
    assert!(
        error.to_string().contains(&etcd.url) && error.to_string().contains("key is not provided"),
        "{error}"
    );
    let ahead = pb::RangeRequest { key: "b".into(), revision: 1000, ..Default::default() };
    assert_eq!(client.range(ahead).await.unwrap_err().etcd(), Some(EtcdError::FutureRevision));

    let members = client.member_list(true).await.unwrap().members;
    assert_eq!((members.len(), members[0].name.as_str()), (1, "one"));
    let statuses = client.statuses().await;
    assert!(matches!(statuses[0].1, Err(Error::Unreachable { .. })), "{statuses:?}");
    assert_eq!(statuses[1].1.as_ref().unwrap().leader, members[0].id);
    assert_eq!(client.member_remove(7).await.unwrap_err().etcd(), Some(EtcdError::MemberNotFound));
}

#[tokio::test]
async fn nobody_there_is_said_plainly() {
    let options = Options { call_timeout: Duration::from_millis(300), ..Options::default() };
    let url = free_url();
    let client = Client::connect([url.clone()], options.clone()).unwrap();
    let error = client.put("a", "1").await.unwrap_err();
    assert_eq!(error.executed(), Executed::No);
    assert!(error.to_string().contains(&url) && error.to_string().contains("Connection refused"), "{error}");
    assert!(matches!(Client::connect([""; 0], options.clone()), Err(Error::NoEndpoints)));
    assert!(matches!(Client::connect(["https://a:1"], options), Err(Error::Endpoint { .. })));
}

//! A cluster that was founded without ZooKeeper's tree gets it while it runs.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

mod support;

use std::{path::Path, process::Command};

use support::{
    Client, Folder, free_ports,
    process::{Member, QUORATE, ask, start},
};

/// Where the three members are, and what they are told alike.
struct Cluster<'a> {
    folder: &'a Path,
    peers: [u16; 3],
    clients: [u16; 3],
}

impl Cluster<'_> {
    fn start(&self, number: usize, more: &[&str]) -> Member {
        let url = |n: usize| format!("n{n}=http://127.0.0.1:{}", self.peers[n]);
        let mut command = Command::new(QUORATE);
        command
            .args(["serve", "--log-level=error", "--name", &format!("n{number}")])
            .args(["--listen-client", &format!("127.0.0.1:{}", self.clients[number])])
            .args(["--listen-peer", &format!("127.0.0.1:{}", self.peers[number])])
            .args(["--initial-cluster", &[url(0), url(1), url(2)].join(",")])
            .arg("--data-dir")
            .arg(self.folder.join(format!("data-{number}")))
            .args(more);
        start(&mut command)
    }

    fn ask(&self, words: &[&str]) -> String {
        let endpoints = self.clients.map(|port| format!("127.0.0.1:{port}")).join(",");
        ask(&[words, &["--endpoints", &endpoints, "--timeout", "30s"]].concat())
    }
}

#[test]
fn a_cluster_founded_without_the_tree_gets_it_from_the_first_member_that_listens_for_its_clients() {
    let folder = Folder::new("late-tree");
    let cluster = Cluster { folder: &folder.0, peers: free_ports(), clients: free_ports() };
    let trees = free_ports::<3>().map(|port| (port, format!("127.0.0.1:{port}")));
    let mut members = [0, 1, 2].map(|n| cluster.start(n, &["--tree-engine=off"]));
    members.iter_mut().for_each(Member::wait_until_it_serves);
    cluster.ask(&["put", "before", "the tree"]);

    // One is started again, and wants it. The two others have it while they run.
    let listens = |n: usize| cluster.start(n, &["--listen-zookeeper", &trees[n].1]);
    let [first, mut second, third] = members;
    drop(first);
    let mut first = listens(0);
    first.wait_until_it_serves();
    Client::connect(trees[0].0).create("/a", "one");
    assert_eq!(cluster.ask(&["get", "before"]), "before\nthe tree\n");

    // Without the first, the others have a majority of it; clients come to them once they listen.
    drop(second);
    second = listens(1);
    second.wait_until_it_serves();
    drop(first);
    let mut other = Client::connect(trees[1].0);
    assert_eq!(other.read("/a").as_deref(), Some(&b"one"[..]));
    other.create("/b", "two");

    // And it is there in the next life of all of them.
    drop((second, third));
    let mut again = [0, 1, 2].map(listens);
    again.iter_mut().for_each(Member::wait_until_it_serves);
    assert_eq!(Client::connect(trees[2].0).read("/b").as_deref(), Some(&b"two"[..]));
}

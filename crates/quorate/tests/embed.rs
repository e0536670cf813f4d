//! The library, as an embedder uses it.
#![forbid(unsafe_code)]

use quorate::{Cluster, Machine};

#[derive(Clone, Default)]
struct Counter(i64);

impl Machine for Counter {
    fn apply(&mut self, command: &[u8]) -> Vec<u8> {
        self.0 += String::from_utf8_lossy(command).parse::<i64>().unwrap_or(0);
        self.query(b"")
    }

    fn query(&self, _question: &[u8]) -> Vec<u8> {
        self.0.to_string().into()
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.to_le_bytes().into()
    }

    fn restore(bytes: &[u8]) -> Self {
        Counter(bytes.try_into().map_or(0, i64::from_le_bytes))
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_node_executes_every_command() {
    let cluster = Cluster::start(3, Counter::default).await.unwrap();
    assert_eq!(cluster.propose(b"5").await.unwrap(), b"5");
    assert_eq!(cluster.propose_at(2, b"-2").await.unwrap(), b"3");
    for node in 0..3 {
        assert_eq!(cluster.query_at(node, b"").await.unwrap(), b"3");
    }
    assert!(cluster.query_at(3, b"").await.unwrap_err().to_string().contains("no node 3"));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_majority_goes_on_without_its_leader() {
    let cluster = Cluster::start(3, Counter::default).await.unwrap();
    let leader = cluster.leader().await.unwrap();
    cluster.isolate(leader, true).unwrap();
    let other = (leader + 1) % 3;
    assert_eq!(cluster.propose_at(other, b"7").await.unwrap(), b"7");
    cluster.isolate(leader, false).unwrap();
    assert_eq!(cluster.query_at(leader, b"").await.unwrap(), b"7");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "current_thread")]
async fn what_was_executed_is_there_after_a_restart() {
    let directory = std::env::temp_dir().join(format!("quorate-embed-{}", std::process::id()));
    let cluster = Cluster::open(&directory, 3, Counter::default).await.unwrap();
    cluster.propose(b"40").await.unwrap();
    cluster.shutdown().await;
    let cluster = Cluster::open(&directory, 3, Counter::default).await.unwrap();
    assert_eq!(cluster.propose(b"2").await.unwrap(), b"42");
    cluster.shutdown().await;
    std::fs::remove_dir_all(&directory).unwrap();
}

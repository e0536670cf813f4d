//! Four-letter words, as monitoring reads them.

use quorate_service::zookeeper::Standing;
use quorate_zookeeper::{Options, Whitelist};

use crate::common::*;

async fn open() -> Server {
    Server::with(Options { whitelist: Whitelist::parse("*"), ..Options::default() }, None).await
}

#[tokio::test]
async fn ruok_and_srvr_are_answered_and_others_refused() {
    let server = Server::start().await;
    assert_eq!(server.word("ruok").await, "imok");
    let refusal = "mntr is not executed because it is not in the whitelist.\n";
    assert_eq!(server.word("mntr").await, refusal);
    let srvr = server.word("srvr").await;
    let lines: Vec<&str> = srvr.lines().collect();
    assert!(lines[0].starts_with("Zookeeper version: 3."), "{srvr}");
    assert!(lines[1].starts_with("Latency min/avg/max: 0/"), "{srvr}");
    let rest = ["Received: 0", "Sent: 0", "Connections: 1", "Outstanding: 0", "Zxid: 0x0"];
    assert_eq!(lines[2..7], rest);
    assert_eq!(lines[7..], ["Mode: standalone", "Node count: 5"]);
}

#[tokio::test]
async fn mntr_counts() {
    let server = open().await;
    let mut client = server.client().await;
    client.ask(create("/e", b"1", 1)).await.expect("made");
    client.ask(get("/e", true)).await.expect("read");
    let mntr = server.word("mntr").await;
    for line in [
        "zk_server_state\tstandalone",
        "zk_znode_count\t6",
        "zk_ephemerals_count\t1",
        "zk_watch_count\t1",
        "zk_global_sessions\t1",
        "zk_num_alive_connections\t2",
        "zk_packets_received\t3",
        "zk_packets_sent\t3",
    ] {
        assert!(mntr.lines().any(|found| found == line), "{line}: {mntr}");
    }
    let session = format!("0x{:x}", client.session);
    assert_eq!(server.word("wchs").await, "1 connections watching 1 paths\nTotal watches:1\n");
    assert_eq!(server.word("wchp").await, format!("/e\n\t{session}\n"));
    assert_eq!(server.word("wchc").await, format!("{session}\n\t/e\n"));
    assert!(
        server.word("dump").await.ends_with(&format!("Sessions with Ephemerals (1):\n{session}:\n\t/e\n"))
    );
    let cons = server.word("cons").await;
    assert!(cons.contains("(queued=0,recved=3,sent=3,") && cons.contains(&session), "{cons}");
    assert_eq!(server.word("crst").await, "Connection stats reset.\n");
    assert!(server.word("cons").await.contains("recved=0"));
    assert_eq!(server.word("srst").await, "Server stats reset.\n");
    assert!(server.word("srvr").await.contains("Received: 0\n"));
}

#[tokio::test]
async fn the_other_words() {
    let server = open().await;
    assert_eq!(server.word("isro").await, "rw");
    assert_eq!(server.word("dirs").await, "datadir_size: 0\nlogdir_size: 0\n");
    let conf = server.word("conf").await;
    assert!(conf.starts_with(&format!("clientPort={}\n", server.address.port())), "{conf}");
    assert!(conf.contains("\ntickTime=3000\nmaxClientCnxns=60\nminSessionTimeout=6000\n"), "{conf}");
    assert!(server.word("envi").await.starts_with("Environment:\nzookeeper.version=3."));
    assert!(server.word("stat").await.contains("\nClients:\n /127.0.0.1:"));
    assert!(server.word("stmk").await.contains("not in the whitelist"));
    server.node.front.standing(Standing::Isolated);
    assert_eq!(server.word("srvr").await, "This ZooKeeper instance is not currently serving requests\n");
    assert_eq!((server.word("isro").await.as_str(), server.word("ruok").await.as_str()), ("null", "imok"));
}

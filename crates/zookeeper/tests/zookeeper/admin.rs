//! The admin page, as people's monitoring reads it.

use quorate_service::zookeeper::Standing;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::common::*;

async fn command(server: &Server, name: &str) -> Value {
    let (status, body) = server.page(&format!("GET /commands/{name}")).await;
    assert_eq!(status, 200, "{name}: {body}");
    serde_json::from_str(&body).expect("it is JSON")
}

#[tokio::test]
async fn commands_answer_in_json_by_either_name() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask(create("/e", b"1", 1)).await.expect("made");
    client.ask(get("/e", true)).await.expect("read");
    let session = format!("0x{:x}", client.session);

    assert_eq!(command(&server, "ruok").await, json!({ "command": "ruok", "error": null }));
    let monitor = command(&server, "monitor").await;
    assert_eq!(monitor["znode_count"], 6);
    assert_eq!(monitor["server_state"], "standalone");
    assert_eq!(command(&server, "mntr").await["ephemerals_count"], 1);
    assert_eq!(command(&server, "isro").await["read_only"], false);
    let stats = command(&server, "stats").await;
    assert_eq!(stats["server_stats"]["packets_received"], 3);
    assert_eq!(stats["connections"][0]["session_id"], json!(session));
    assert_eq!(command(&server, "wchs").await["num_total_watches"], 1);
    assert_eq!(command(&server, "watches").await["session_id_to_watched_paths"][&session], json!(["/e"]));
    assert_eq!(command(&server, "watches_by_path").await["path_to_session_ids"]["/e"], json!([session]));
    assert_eq!(command(&server, "dump").await["session_id_to_ephemeral_paths"][&session], json!(["/e"]));
    assert_eq!(command(&server, "conf").await["tick_time"], 3_000);
    command(&server, "stat_reset").await;
    assert_eq!(command(&server, "srvr").await["server_stats"]["packets_received"], 0);
    server.node.front.standing(Standing::ReadOnly);
    assert_eq!(command(&server, "is_read_only").await["read_only"], true);

    let (status, index) = server.page("GET /commands").await;
    assert!(status == 200 && index.contains("/commands/watch_summary"), "{index}");
}

#[tokio::test]
async fn prometheus_reads_the_numbers_of_mntr() {
    let server = Server::start().await;
    let (status, metrics) = server.page("GET /metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("# TYPE znode_count gauge\nznode_count 5\n"), "{metrics}");
    assert!(metrics.contains("# TYPE packets_received counter\n"), "{metrics}");
    assert!(!metrics.contains("server_state"), "text is no number");
}

#[tokio::test]
async fn what_is_not_there_is_said_and_garbage_hurts_nobody() {
    let server = Server::start().await;
    let (status, said) = server.page("GET /commands/restore").await;
    assert!(status == 404 && said.contains("/commands lists them"), "{said}");
    assert_eq!(server.page("GET /elsewhere").await.0, 404);
    assert_eq!(server.page("POST /commands/ruok").await.0, 405);
    let mut stream = tokio::net::TcpStream::connect(server.admin).await.expect("it takes connections");
    stream.write_all(&[0xff; 4096]).await.expect("sent");
    assert_eq!(server.page("GET /commands/ruok").await.0, 200);
}

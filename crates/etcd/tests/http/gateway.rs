use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    base64, call,
    http1::{Http1, get, post, request},
    refused, said,
    support::Cluster,
    url,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_written_read_and_compacted() {
    let cluster = Cluster::start(3).await;
    let put = call(&cluster, 0, "/v3/kv/put", json!({ "key": base64("a"), "value": base64("1") })).await;
    let revision: i64 = put["header"]["revision"].as_str().unwrap().parse().unwrap();
    assert_eq!(put["header"]["cluster_id"], cluster.cluster.0.to_string());
    assert_eq!(put["header"]["member_id"], cluster.nodes[0].id.0.to_string());
    let again = json!({ "key": base64("a"), "value": base64("2"), "prevKv": true });
    assert_eq!(call(&cluster, 1, "/v3beta/kv/put", again).await["prev_kv"]["value"], base64("1"));
    let read = call(&cluster, 2, "/v3/kv/range", json!({ "key": base64("a"), "nobody_knows": [1] })).await;
    assert_eq!(
        read["kvs"],
        json!([{
            "key": base64("a"),
            "value": base64("2"),
            "create_revision": revision.to_string(),
            "mod_revision": (revision + 1).to_string(),
            "version": "2",
        }])
    );
    assert_eq!((&read["count"], &read["more"]), (&json!("1"), &Value::Null), "zero fields are left out");

    let txn = json!({
        "compare": [{ "key": base64("a"), "target": "VERSION", "result": 0, "version": "2" }],
        "success": [
            { "requestPut": { "key": base64("b"), "value": base64("in a transaction") } },
            { "request_range": { "key": base64("a"), "range_end": base64("z"), "keys_only": true } },
        ],
    });
    let done = call(&cluster, 0, "/v3/kv/txn", txn).await;
    assert_eq!(done["succeeded"], true);
    assert_eq!(done["responses"][0]["response_put"]["header"]["revision"], (revision + 2).to_string());
    assert_eq!(done["responses"][1]["response_range"]["count"], "2");

    let gone = call(&cluster, 0, "/v3/kv/deleterange", json!({ "key": base64("b") })).await;
    assert_eq!(gone["deleted"], "1");
    call(&cluster, 0, "/v3/kv/compaction", json!({ "revision": revision + 1 })).await;
    let old = json!({ "key": base64("a"), "revision": revision }).to_string();
    let compacted = "etcdserver: mvcc: required revision has been compacted".to_owned();
    assert_eq!(refused(&cluster, "/v3/kv/range", &old).await, (400, 11, compacted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_members_and_maintenance_have_their_paths() {
    let cluster = Cluster::start(3).await;
    let lease = call(&cluster, 0, "/v3/lease/grant", json!({ "TTL": 60, "ID": "0" })).await;
    let id = lease["ID"].as_str().unwrap().to_owned();
    assert_eq!(lease["TTL"], "60");
    call(&cluster, 0, "/v3/kv/put", json!({ "key": base64("l"), "lease": id })).await;
    for path in ["/v3/lease/timetolive", "/v3/kv/lease/timetolive"] {
        let left = call(&cluster, 1, path, json!({ "ID": id, "keys": true })).await;
        assert_eq!((&left["grantedTTL"], &left["keys"]), (&json!("60"), &json!([base64("l")])));
    }
    for path in ["/v3/lease/leases", "/v3/kv/lease/leases"] {
        assert_eq!(call(&cluster, 0, path, json!({})).await["leases"], json!([{ "ID": id }]));
    }
    let kept = call(&cluster, 2, "/v3/lease/keepalive", json!({ "ID": id })).await;
    assert_eq!((&kept["result"]["ID"], &kept["result"]["TTL"]), (&json!(id), &json!("60")));
    call(&cluster, 0, "/v3/lease/revoke", json!({ "ID": id })).await;
    let gone = refused(&cluster, "/v3/kv/lease/revoke", &json!({ "ID": id }).to_string()).await;
    assert_eq!(gone, (404, 5, "etcdserver: requested lease not found".to_owned()));

    let members = call(&cluster, 0, "/v3/cluster/member/list", json!({})).await;
    assert_eq!(members["members"].as_array().unwrap().len(), 3);
    assert!(members["members"][0]["peerURLs"][0].as_str().unwrap().starts_with("http://"));
    let learner = json!({ "peerURLs": ["http://10.9.9.9:2380"], "isLearner": true });
    let added = call(&cluster, 0, "/v3/cluster/member/add", learner).await;
    let id = added["member"]["ID"].as_str().unwrap().to_owned();
    assert_eq!(added["member"]["isLearner"], true);
    let moved = json!({ "ID": id, "peerURLs": ["http://10.9.9.8:2380"] });
    call(&cluster, 0, "/v3/cluster/member/update", moved).await;
    let promoted =
        post(url(&cluster, 0), "/v3/cluster/member/promote", &json!({ "ID": id }).to_string()).await;
    let not_ready = "etcdserver: can only promote a learner member which is in sync with leader".to_owned();
    assert_eq!(said(&promoted), (400, 9, not_ready));
    call(&cluster, 0, "/v3/cluster/member/remove", json!({ "ID": id })).await;

    assert_eq!(call(&cluster, 0, "/v3/maintenance/status", json!({})).await["version"], "3.6.6");
    assert_eq!(call(&cluster, 0, "/v3/maintenance/defragment", json!({})).await, json!({}));
    assert!(call(&cluster, 0, "/v3/maintenance/hash", json!({})).await["hash"].is_u64());
    assert!(call(&cluster, 0, "/v3/maintenance/hashkv", json!({})).await["hash"].is_u64());
    let alarm = json!({ "action": "ACTIVATE", "memberID": "5", "alarm": "NOSPACE" });
    let raised = call(&cluster, 0, "/v3/maintenance/alarm", alarm).await;
    assert_eq!(raised["alarms"], json!([{ "memberID": "5", "alarm": "NOSPACE" }]));
    let downgrade = json!({ "action": "VALIDATE", "version": "3.5.0" });
    assert_eq!(call(&cluster, 0, "/v3/maintenance/downgrade", downgrade).await["version"], "3.6.0");
    let leader = cluster.leader().await;
    let to = &cluster.nodes[(leader + 1) % 3];
    let transfer = json!({ "targetID": to.id.0.to_string() });
    call(&cluster, leader, "/v3/maintenance/transfer-leadership", transfer).await;
    let snapshot = post(url(&cluster, 0), "/v3/maintenance/snapshot", "{}").await;
    let pieces = snapshot.body.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(pieces.into_iter().all(|piece| piece["result"]["blob"].is_string()), "{}", snapshot.body);
    assert!(!snapshot.body.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_elections_have_their_paths() {
    let cluster = Cluster::start(1).await;
    let lease = call(&cluster, 0, "/v3/lease/grant", json!({ "TTL": 60 })).await["ID"].clone();
    let held = call(&cluster, 0, "/v3/lock/lock", json!({ "name": base64("l"), "lease": lease })).await;
    call(&cluster, 0, "/v3/lock/unlock", json!({ "key": held["key"] })).await;

    let campaign = json!({ "name": base64("e"), "lease": lease, "value": base64("first") });
    let leader = call(&cluster, 0, "/v3/election/campaign", campaign).await["leader"].clone();
    assert_eq!(leader["lease"], lease);
    let seen = call(&cluster, 0, "/v3/election/leader", json!({ "name": base64("e") })).await;
    assert_eq!(seen["kv"]["value"], base64("first"));
    let mut observed =
        Http1::post(url(&cluster, 0), "/v3/election/observe", &json!({ "name": base64("e") }).to_string())
            .await;
    assert_eq!(observed.line().await["result"]["kv"]["value"], base64("first"));
    call(&cluster, 0, "/v3/election/proclaim", json!({ "leader": leader, "value": base64("second") })).await;
    assert_eq!(observed.line().await["result"]["kv"]["value"], base64("second"));
    call(&cluster, 0, "/v3/election/resign", json!({ "leader": leader })).await;
    let nobody = refused(&cluster, "/v3/election/leader", &json!({ "name": base64("e") }).to_string()).await;
    assert_eq!(nobody, (500, 2, "election: no leader".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_of_auth_leads_to_its_call() {
    let cluster = Cluster::start(1).await;
    for path in [
        "enable",
        "disable",
        "status",
        "authenticate",
        "user/add",
        "user/get",
        "user/list",
        "user/delete",
        "user/changepw",
        "user/grant",
        "user/revoke",
        "role/add",
        "role/get",
        "role/list",
        "role/delete",
        "role/grant",
        "role/revoke",
    ] {
        let answer = post(url(&cluster, 0), &format!("/v3/auth/{path}"), "{}").await;
        assert_ne!(answer.status, 404, "{path}: {}", answer.body);
        assert!(!answer.body.contains("Not Found"), "{path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_told_line_by_line_as_it_happens() {
    let cluster = Cluster::start(3).await;
    let create =
        json!({ "create_request": { "key": base64("w"), "range_end": base64("x"), "prev_kv": true } });
    let mut watch = Http1::post(url(&cluster, 0), "/v3/watch", &create.to_string()).await;
    assert_eq!(watch.line().await["result"]["created"], true);
    for n in ["1", "2"] {
        call(&cluster, 1, "/v3/kv/put", json!({ "key": base64("w"), "value": base64(n) })).await;
        let told = watch.line().await;
        // A put's type is zero, and so left out.
        assert_eq!(told["result"]["events"][0]["kv"]["value"], base64(n), "{told}");
        assert_eq!(told["result"]["events"][0].get("type"), None);
    }
    call(&cluster, 2, "/v3/kv/deleterange", json!({ "key": base64("w") })).await;
    let told = watch.line().await;
    assert_eq!(told["result"]["events"][0]["type"], "DELETE");
    assert_eq!(told["result"]["events"][0]["prev_kv"]["value"], base64("2"));

    // Several messages in one body, as over gRPC.
    let cancelled = format!("{create} {}", json!({ "cancel_request": { "watch_id": "0" } }));
    let mut watch = Http1::post(url(&cluster, 0), "/v3/watch", &cancelled).await;
    assert_eq!(watch.line().await["result"]["created"], true);
    assert_eq!(watch.line().await["result"]["canceled"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_call_is_refused_with_status_and_reason() {
    let cluster = Cluster::start(1).await;
    let empty = "etcdserver: key is not provided".to_owned();
    assert_eq!(refused(&cluster, "/v3/kv/put", "{}").await, (400, 3, empty.clone()));
    assert_eq!(refused(&cluster, "/v3/kv/put", "").await, (400, 3, empty), "no body is an empty message");
    for malformed in ["{", "[]", "nonsense", "{\"key\":\"*\"}", "{\"lease\":\"x\"}", "{\"key\":1}", "\u{0}"] {
        let (status, code, message) = refused(&cluster, "/v3/kv/put", malformed).await;
        assert_eq!((status, code), (400, 3), "{malformed}: {message}");
    }
    let deep = r#"{"success":[{"request_txn":"#.repeat(5_000);
    assert_eq!(refused(&cluster, "/v3/kv/txn", &deep).await.0, 400);
    for unknown in ["/v3/kv/nothing", "/v3/", "/v3/kv/put/", "/v3/kv/rangestream"] {
        assert_eq!(refused(&cluster, unknown, "{}").await, (404, 5, "Not Found".to_owned()), "{unknown}");
    }
    let method = said(&get(url(&cluster, 0), "/v3/kv/range").await);
    assert_eq!(method, (501, 12, "Method Not Allowed".to_owned()));
    let nothing = post(url(&cluster, 0), "/nothing", "{}").await;
    assert_eq!(nothing.status, 404);

    let value = base64(&"v".repeat(1_500_000));
    call(&cluster, 0, "/v3/kv/put", json!({ "key": base64("large"), "value": value })).await;
    let read = call(&cluster, 0, "/v3/kv/range", json!({ "key": base64("large") })).await;
    assert_eq!(read["kvs"][0]["value"], value);
    let above = json!({ "key": base64("large"), "value": base64(&"v".repeat(1_600_000)) }).to_string();
    let too_large = "etcdserver: request is too large".to_owned();
    assert_eq!(refused(&cluster, "/v3/kv/put", &above).await, (400, 3, too_large));
    let far_above = json!({ "key": base64("large"), "value": base64(&"v".repeat(2_100_000)) }).to_string();
    let (status, code, message) = refused(&cluster, "/v3/kv/put", &far_above).await;
    assert_eq!((status, code), (429, 8), "{message}");
    assert!(message.starts_with("grpc: received message larger than max"), "{message}");
    let endless = format!("POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{{", 1_u64 << 40);
    let answer = request(url(&cluster, 0), endless.as_bytes()).await;
    assert_eq!(said(&answer).0, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_may_ask_from_any_origin() {
    let cluster = Cluster::start(1).await;
    let preflight = "OPTIONS /v3/kv/put HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nConnection: close\r\n\r\n";
    let answer = request(url(&cluster, 0), preflight.as_bytes()).await;
    assert_eq!(answer.status, 200);
    for answer in [answer, get(url(&cluster, 0), "/health").await] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let headers = Some("accept, content-type, authorization");
        assert_eq!(answer.header("access-control-allow-headers"), headers);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_metadata_reaches_the_call() {
    let cluster = Cluster::start(1).await;
    let body = json!({ "key": base64("once"), "prev_kv": true }).to_string();
    let send = async |sequence: u64| {
        let head = format!(
            "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nConnection: close\r\nGrpc-Metadata-Quorate-Session: 9\r\nGrpc-Metadata-Quorate-Sequence: {sequence}\r\nGrpc-Metadata-grpc-timeout: 1n\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = request(url(&cluster, 0), head.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str::<Value>(&answer.body).unwrap()["header"]["revision"].clone()
    };
    let first = send(1).await;
    assert_eq!(send(1).await, first, "the same write of the same session");
    assert_ne!(send(2).await, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_are_answered_at_once() {
    let cluster = Cluster::start(3).await;
    let clients: Vec<_> = (0..20)
        .map(|client| {
            let url = url(&cluster, client % 3).to_owned();
            tokio::spawn(async move {
                for n in 0..10 {
                    let body = json!({ "key": base64(&format!("c{client}-{n}")), "value": base64("v") });
                    assert_eq!(post(&url, "/v3/kv/put", &body.to_string()).await.status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        timeout(Duration::from_secs(30), client).await.expect("in time").unwrap();
    }
    let all = json!({ "key": base64("c"), "range_end": base64("d"), "count_only": true });
    assert_eq!(call(&cluster, 0, "/v3/kv/range", all).await["count"], "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_a_token_in_the_header_is_its_user() {
    let cluster = Cluster::start(1).await;
    call(&cluster, 0, "/v3/auth/user/add", json!({ "name": "root", "password": "pw" })).await;
    call(&cluster, 0, "/v3/auth/role/add", json!({ "name": "root" })).await;
    call(&cluster, 0, "/v3/auth/user/grant", json!({ "user": "root", "role": "root" })).await;
    call(&cluster, 0, "/v3/auth/enable", json!({})).await;
    let body = json!({ "key": base64("a") }).to_string();
    let (status, code, _) = refused(&cluster, "/v3/kv/put", &body).await;
    assert_eq!((status, code), (400, 3), "nobody may write");
    let shown = json!({ "name": "root", "password": "pw" });
    let token = call(&cluster, 0, "/v3/auth/authenticate", shown).await["token"].clone();
    let put = |token: &str| {
        let length = body.len();
        format!(
            "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    assert_eq!(request(url(&cluster, 0), put(token.as_str().unwrap()).as_bytes()).await.status, 200);
    let (status, code, message) = said(&request(url(&cluster, 0), put("wrong").as_bytes()).await);
    assert_eq!((status, code, message.as_str()), (401, 16, "etcdserver: invalid auth token"));
}

//! etcd's HTTP side, over HTTP/1: every call of the JSON gateway, its streams and its errors; the probes; the metrics; and who is served where.

mod gateway;
mod http1;
mod listeners;
mod metrics;
mod probes;

use crate::support::{self, Cluster};
use http1::{Answer, post};
use serde_json::{Value, json};

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut coded = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at)) as usize & 63;
            coded.push(if at <= three.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    coded
}

fn url(cluster: &Cluster, node: usize) -> &str {
    &cluster.nodes[node].url
}

/// A call that goes well.
async fn call(cluster: &Cluster, node: usize, path: &str, body: Value) -> Value {
    let answer = post(url(cluster, node), path, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.body))
}

/// A call that is refused.
async fn refused(cluster: &Cluster, path: &str, body: &str) -> (u16, i64, String) {
    said(&post(url(cluster, 0), path, body).await)
}

fn said(answer: &Answer) -> (u16, i64, String) {
    let body: Value =
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert_eq!(body["details"], json!([]), "{body}");
    (answer.status, body["code"].as_i64().unwrap(), body["message"].as_str().unwrap().to_owned())
}

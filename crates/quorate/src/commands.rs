//! The commands that talk to a cluster.

use std::{
    io::{IsTerminal, Read},
    path::PathBuf,
    process::ExitCode,
};

use quorate_client::{
    Client,
    wire::etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, ResponseOp, TxnResponse, response_op::Response,
    },
};
use serde_json::{Value, json};

use crate::{
    cli::{self, Output},
    members::{find, members},
    output::{self, print, print_json},
    remote, txn,
};

/// The variable that names the endpoints.
pub(crate) const ENDPOINTS_VARIABLE: &str = "QUORATE_ENDPOINTS";
const ENDPOINT_DEFAULT: &str = "127.0.0.1:2379";

/// Why a command failed, and its exit code.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failed {
    pub(crate) fn usage(message: impl Into<String>) -> Failed {
        Failed { code: 2, message: message.into() }
    }
}

pub(crate) type Done = Result<ExitCode, Failed>;

/// The endpoints as the user named them: flag, environment, default.
pub(crate) fn endpoints(given: &cli::Remote) -> Vec<String> {
    if !given.endpoints.is_empty() {
        return given.endpoints.clone();
    }
    match std::env::var(ENDPOINTS_VARIABLE) {
        Ok(list) if !list.trim().is_empty() => {
            list.split(',').map(|endpoint| endpoint.trim().to_string()).collect()
        }
        _ => vec![ENDPOINT_DEFAULT.to_string()],
    }
}

/// Whom the user trusts, and as whom they come: flag, environment.
pub(crate) fn trust(given: &cli::Remote) -> Result<remote::Trust, Failed> {
    let file = |flag: &Option<PathBuf>, variable: &str| {
        let variable = || std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        flag.clone().or_else(variable)
    };
    let certificate = file(&given.client_cert, "QUORATE_CERT");
    let identity = match (certificate, file(&given.client_key, "QUORATE_KEY")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(Failed::usage("--cert is given without --key; name its private key")),
        (None, Some(_)) => return Err(Failed::usage("--key is given without --cert; name its certificate")),
    };
    let authorities = file(&given.cacert, "QUORATE_CACERT").into_iter().collect();
    Ok(remote::Trust { authorities, identity })
}

pub(crate) fn connect(given: &cli::Remote) -> Result<Client, Failed> {
    remote::connect(&endpoints(given), given.timeout, &trust(given)?)
}

pub(crate) async fn put(put: cli::Put) -> Done {
    let value = match put.value {
        Some(value) => value.into_bytes(),
        None => {
            let mut stdin = std::io::stdin();
            if stdin.is_terminal() {
                return Err(Failed::usage("the value is missing: write it after the key, or pipe it in"));
            }
            let mut value = Vec::new();
            stdin.read_to_end(&mut value).map_err(|error| Failed {
                code: 1,
                message: format!("standard input cannot be read: {error}"),
            })?;
            value
        }
    };
    let request = PutRequest {
        key: put.key.into(),
        value: value.into(),
        lease: put.lease,
        prev_kv: put.prev_kv,
        ..Default::default()
    };
    let answer = connect(&put.remote)?.put_request(request).await?;
    match put.remote.output {
        Output::Json => print_json(&json!({
            "header": output::header(answer.header.as_ref()),
            "prev_kv": answer.prev_kv.as_ref().map(output::key_value),
        })),
        Output::Text => {
            let mut text = b"OK\n".to_vec();
            if let Some(kv) = &answer.prev_kv {
                lines(&mut text, [&kv.key[..], &kv.value[..]]);
            }
            print(&text);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Each piece and a newline, as it is: keys and values are bytes.
fn lines<'a>(text: &mut Vec<u8>, pieces: impl IntoIterator<Item = &'a [u8]>) {
    for piece in pieces {
        text.extend_from_slice(piece);
        text.push(b'\n');
    }
}

/// Where a range ends, as the API has it. An empty key with `--prefix` or `--from-key` means all keys.
fn span(key: String, end: Option<String>, prefix: bool, from_key: bool) -> (Vec<u8>, Vec<u8>) {
    let key = key.into_bytes();
    let end = match end {
        _ if from_key => vec![0],
        _ if prefix => txn::prefix_end(&key),
        Some(end) => end.into_bytes(),
        None => Vec::new(),
    };
    if key.is_empty() && (prefix || from_key) { (vec![0], end) } else { (key, end) }
}

pub(crate) async fn get(get: cli::Get) -> Done {
    let (key, range_end) = span(get.key, get.range_end, get.prefix, get.from_key);
    let request = RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: get.limit,
        revision: get.rev,
        keys_only: get.keys_only,
        count_only: get.count_only,
        serializable: get.serializable,
        ..Default::default()
    };
    let answer = connect(&get.remote)?.range(request).await?;
    match get.remote.output {
        Output::Json => print_json(&json!({
            "header": output::header(answer.header.as_ref()),
            "kvs": answer.kvs.iter().map(output::key_value).collect::<Vec<_>>(),
            "more": answer.more,
            "count": answer.count,
        })),
        Output::Text if get.count_only => print(format!("{}\n", answer.count).as_bytes()),
        Output::Text => {
            let mut text = Vec::new();
            for kv in &answer.kvs {
                if get.keys_only {
                    lines(&mut text, [&kv.key[..]]);
                } else if get.print_value_only {
                    lines(&mut text, [&kv.value[..]]);
                } else {
                    lines(&mut text, [&kv.key[..], &kv.value[..]]);
                }
            }
            print(&text);
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn del(del: cli::Del) -> Done {
    let (key, range_end) = span(del.key, del.range_end, del.prefix, del.from_key);
    let request = DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: del.prev_kv };
    let answer = connect(&del.remote)?.delete_range(request).await?;
    match del.remote.output {
        Output::Json => print_json(&json!({
            "header": output::header(answer.header.as_ref()),
            "deleted": answer.deleted,
            "prev_kvs": answer.prev_kvs.iter().map(output::key_value).collect::<Vec<_>>(),
        })),
        Output::Text => {
            let mut text = format!("{}\n", answer.deleted).into_bytes();
            for kv in &answer.prev_kvs {
                lines(&mut text, [&kv.key[..], &kv.value[..]]);
            }
            print(&text);
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn txn(given: cli::Txn) -> Done {
    let request = if given.compare.is_empty() && given.success.is_empty() && given.failure.is_empty() {
        let mut stdin = std::io::stdin();
        if stdin.is_terminal() {
            print(b"compares, an empty line, what to do if all hold, an empty line, what else; end with Ctrl-D\n");
        }
        let mut text = String::new();
        stdin
            .read_to_string(&mut text)
            .map_err(|error| Failed::usage(format!("standard input cannot be read as text: {error}")))?;
        txn::parse(&text)
    } else {
        let all = |lines: &'_ [String]| lines.to_vec();
        let (compare, success, failure) = (all(&given.compare), all(&given.success), all(&given.failure));
        txn::build(
            compare.iter().map(String::as_str),
            success.iter().map(String::as_str),
            failure.iter().map(String::as_str),
        )
    };
    let request = request.map_err(|why| Failed::usage(format!("the transaction does not read: {why}")))?;
    let answer = connect(&given.remote)?.txn(request).await?;
    match given.remote.output {
        Output::Json => print_json(&txn_json(&answer)),
        Output::Text => {
            let mut text = Vec::new();
            txn_text(&answer, &mut text);
            print(&text);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn txn_json(answer: &TxnResponse) -> Value {
    let one = |op: &ResponseOp| match &op.response {
        None => Value::Null,
        Some(Response::ResponsePut(put)) => {
            json!({ "put": { "prev_kv": put.prev_kv.as_ref().map(output::key_value) } })
        }
        Some(Response::ResponseRange(range)) => json!({ "get": {
            "kvs": range.kvs.iter().map(output::key_value).collect::<Vec<_>>(), "count": range.count,
        } }),
        Some(Response::ResponseDeleteRange(delete)) => json!({ "del": { "deleted": delete.deleted } }),
        Some(Response::ResponseTxn(txn)) => json!({ "txn": txn_json(txn) }),
    };
    json!({
        "header": output::header(answer.header.as_ref()),
        "succeeded": answer.succeeded,
        "responses": answer.responses.iter().map(one).collect::<Vec<_>>(),
    })
}

fn txn_text(answer: &TxnResponse, text: &mut Vec<u8>) {
    let verdict: &[u8] = if answer.succeeded { b"SUCCESS" } else { b"FAILURE" };
    lines(text, [verdict]);
    for op in &answer.responses {
        text.push(b'\n');
        match &op.response {
            None => {}
            Some(Response::ResponsePut(_)) => lines(text, [&b"OK"[..]]),
            Some(Response::ResponseRange(range)) => {
                for kv in &range.kvs {
                    lines(text, [&kv.key[..], &kv.value[..]]);
                }
            }
            Some(Response::ResponseDeleteRange(delete)) => {
                lines(text, [delete.deleted.to_string().as_bytes()])
            }
            Some(Response::ResponseTxn(txn)) => txn_text(txn, text),
        }
    }
}

pub(crate) async fn status(given: cli::Remote) -> Done {
    let client = connect(&given)?;
    let (all, members) = tokio::join!(client.statuses(), members(&client));
    let names = members.unwrap_or_default();
    let name = |id: u64| match names.iter().find(|member| member.id == id) {
        Some(member) if !member.name.is_empty() => member.name.clone(),
        _ => "-".to_string(),
    };
    let failed = all.iter().filter(|(_, status)| status.is_err()).count();
    let role = |id: u64, leader: u64, learner: bool| match (id == leader, learner) {
        (true, _) => "leader",
        (false, true) => "learner",
        (false, false) => "follower",
    };
    match given.output {
        Output::Json => {
            let rows = all.iter().map(|(endpoint, status)| match status {
                Err(error) => json!({ "endpoint": remote::short(endpoint), "error": error.to_string() }),
                Ok(status) => {
                    let id = status.header.as_ref().map_or(0, |header| header.member_id);
                    json!({
                        "endpoint": remote::short(endpoint),
                        "header": output::header(status.header.as_ref()),
                        "name": name(id),
                        "role": role(id, status.leader, status.is_learner),
                        "leader": format!("{:x}", status.leader),
                        "raft_term": status.raft_term,
                        "raft_index": status.raft_index,
                        "raft_applied_index": status.raft_applied_index,
                        "db_size": status.db_size,
                        "version": status.version,
                        "errors": status.errors,
                    })
                }
            });
            print_json(&Value::Array(rows.collect()));
        }
        Output::Text => {
            let heading = [
                "ENDPOINT", "MEMBER", "NAME", "ROLE", "TERM", "INDEX", "APPLIED", "SIZE", "VERSION", "ERRORS",
            ];
            let rows: Vec<Vec<String>> = all
                .iter()
                .map(|(endpoint, status)| match status {
                    Err(error) => {
                        let mut row = vec!["-".to_string(); heading.len()];
                        row[0] = remote::short(endpoint).to_string();
                        row[3] = "down".to_string();
                        row[9] = remote::reason(error);
                        row
                    }
                    Ok(status) => {
                        let id = status.header.as_ref().map_or(0, |header| header.member_id);
                        vec![
                            remote::short(endpoint).to_string(),
                            format!("{id:x}"),
                            name(id),
                            role(id, status.leader, status.is_learner).to_string(),
                            status.raft_term.to_string(),
                            status.raft_index.to_string(),
                            status.raft_applied_index.to_string(),
                            output::size(u64::try_from(status.db_size).unwrap_or(0)),
                            status.version.clone(),
                            status.errors.join("; "),
                        ]
                    }
                })
                .collect();
            print(output::table(&heading, &rows).as_bytes());
        }
    }
    // Some down is a state to show; all down is no cluster.
    Ok(if failed == all.len() { ExitCode::from(3) } else { ExitCode::SUCCESS })
}
pub(crate) async fn move_leader(given: cli::MoveLeader) -> Done {
    let named = connect(&given.remote)?;
    let found = find(&named, &given.member).await?;
    // Only the leader does it, and it may be none of the endpoints that were named: the member list says where it is.
    let mut from = None;
    for (_, status) in named.statuses().await {
        let status = status.ok().filter(|status| status.leader != 0);
        from = from.max(status.map(|status| (status.raft_term, status.leader)));
    }
    let Some((_, from)) = from else {
        let message =
            "no leader is known; look with `quorate status`, and try again after the election".to_string();
        return Err(Failed { code: 1, message });
    };
    if from != found.id {
        let leader = members(&named).await?.into_iter().find(|member| member.id == from);
        let urls = leader.map(|leader| leader.client_urls).filter(|urls| !urls.is_empty());
        let client = match urls {
            Some(urls) => remote::connect(&urls, given.remote.timeout, &trust(&given.remote)?)?,
            None => named,
        };
        client.move_leader(found.id).await?;
    }
    match given.remote.output {
        Output::Json => print_json(&json!({ "from": format!("{from:x}"), "to": format!("{:x}", found.id) })),
        Output::Text if from == found.id => print(format!("{from:x} leads already\n").as_bytes()),
        Output::Text => print(format!("leadership moved from {from:x} to {:x}\n", found.id).as_bytes()),
    }
    Ok(ExitCode::SUCCESS)
}

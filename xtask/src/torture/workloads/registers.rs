//! Registers: puts of values that nobody else puts, puts where the key is as it was read, linearizable reads. Checked by [`crate::history`].

use std::time::Duration;

use quorate_client::{Client, Executed, Session};
use quorate_wire::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, compare, request_op, response_op,
};
use tokio::task::JoinSet;

use super::{Context, think};
use crate::{
    Fallible,
    history::{Call, What},
};

const KEYS: u64 = 8;
const CLIENTS_EACH: usize = 2;

pub(super) fn spawn(context: &Context, into: &mut JoinSet<()>) {
    for place in 0..context.endpoints.len() {
        for n in 0..CLIENTS_EACH {
            if let Some(client) = context.client(place) {
                into.spawn(work(context.clone(), client, place * CLIENTS_EACH + n));
            }
        }
        // In a session a write is sent again, to whoever answers, and still done once.
        if let Some(client) = context.patient() {
            into.spawn(work(context.clone(), client.in_session(Session::new()), 1_000 + place));
        }
    }
}

fn key(context: &Context, n: u64) -> String {
    format!("registers/{}/{n}", context.segment)
}

async fn work(context: Context, client: Client, number: usize) {
    let mut random = context.random(number as u64);
    let mut turn = 0;
    while !context.stopped() {
        turn += 1;
        let key = key(&context, random.below(KEYS));
        let value = format!("{number}-{turn}");
        let begun = context.now();
        let call = match random.below(4) {
            0 => get(&client, &key).await,
            1 => exchange(&context, &client, &key, value).await,
            _ => match client.put(key.clone(), value.clone()).await {
                Ok(answer) => Some((What::Put { value, revision: answer.header.map(|h| h.revision) }, true)),
                Err(error) if error.executed() == Executed::No => None,
                Err(_) => Some((What::Put { value, revision: None }, false)),
            },
        };
        let answered = call.is_some();
        if let Some((what, ended)) = call {
            let ended = ended.then(|| context.now());
            context.record(|histories| histories.registers.push(Call { begun, ended, key, what }));
        }
        if answered {
            think(&mut random, 20).await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn get(client: &Client, key: &str) -> Option<(What, bool)> {
    let request = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let answer = client.range(request).await.ok()?;
    let found = answer.kvs.first().map(|kv| (text(&kv.value), kv.mod_revision));
    Some((What::Get { found, revision: answer.header?.revision }, true))
}

/// Reads, and then puts if nobody has put meanwhile.
async fn exchange(context: &Context, client: &Client, key: &str, value: String) -> Option<(What, bool)> {
    let begun = context.now();
    let (read, _) = get(client, key).await?;
    let What::Get { found, .. } = &read else { return None };
    let expected = found.as_ref().map_or(0, |(_, revision)| *revision);
    let call = Call { begun, ended: Some(context.now()), key: key.to_owned(), what: read };
    context.record(|histories| histories.registers.push(call));
    match client.txn(put_if(key, expected, value.clone())).await {
        Ok(answer) if answer.succeeded => {
            let revision = answer.header.map(|header| header.revision);
            Some((What::Exchange { value, expected, revision }, true))
        }
        Ok(answer) => {
            let revision = answer.header?.revision;
            let found = match answer.responses.into_iter().next()?.response? {
                response_op::Response::ResponseRange(range) => {
                    range.kvs.first().map(|kv| (text(&kv.value), kv.mod_revision))
                }
                _ => return None,
            };
            Some((What::Get { found, revision }, true))
        }
        Err(error) if error.executed() == Executed::No => None,
        Err(_) => Some((What::Exchange { value, expected, revision: None }, false)),
    }
}

/// A put of this value if the key was last changed at this revision (0: if it is not there); otherwise a read.
pub(super) fn put_if(key: &str, expected: i64, value: String) -> TxnRequest {
    let put = PutRequest { key: key.to_owned().into(), value: value.into(), ..Default::default() };
    let get = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    TxnRequest {
        compare: vec![Compare {
            result: compare::CompareResult::Equal as i32,
            target: compare::CompareTarget::Mod as i32,
            key: key.to_owned().into(),
            target_union: Some(compare::TargetUnion::ModRevision(expected)),
            ..Default::default()
        }],
        success: vec![RequestOp { request: Some(request_op::Request::RequestPut(put)) }],
        failure: vec![RequestOp { request: Some(request_op::Request::RequestRange(get)) }],
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is there in the end.
pub(super) async fn finish(context: &Context) -> Fallible<()> {
    let client = context.patient().ok_or("no client")?;
    for n in 0..KEYS {
        let (key, begun) = (key(context, n), context.now());
        let (what, _) = get(&client, &key).await.ok_or("a read after the storm failed")?;
        let call = Call { begun, ended: Some(context.now()), key, what };
        context.record(|histories| histories.registers.push(call));
    }
    Ok(())
}

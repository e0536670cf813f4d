//! Watchers of everything that registers and lists do, one on each member. A stream that breaks is begun anew behind what it has told. Checked by
//! [`verdicts::watch`](super::super::verdicts::watch).

use std::time::Duration;

use quorate_client::{Client, rpc::WatchClient, tonic::codegen::tokio_stream::wrappers::ReceiverStream};
use quorate_wire::{
    etcdserverpb::{
        RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
    },
    mvccpb::event::EventType,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::{Context, registers::text};
use crate::{
    Fallible,
    torture::verdicts::watch::{Event, History, Watcher},
};

/// How long a stream may be silent before it is taken for dead: progress is asked for in between.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// In calm, every watcher comes to the end within this.
const CATCH_UP: Duration = Duration::from_secs(30);

/// Keys of one segment, of registers and lists.
fn watched(context: &Context) -> [String; 2] {
    [format!("append/{}/", context.segment), format!("registers/{}/", context.segment)]
}

pub(super) fn spawn(context: &Context, into: &mut JoinSet<()>) {
    for place in 0..context.endpoints.len() {
        for prefix in watched(context) {
            into.spawn(watcher(context.clone(), place, prefix));
        }
    }
}

async fn watcher(context: Context, place: usize, prefix: String) {
    let mut watcher =
        Watcher { name: format!("the watcher of {prefix} on place {place}"), ..Watcher::default() };
    while !context.stopped() {
        if let Some(client) = context.client(place) {
            // Whatever ends a stream, the next goes on where it was.
            let _ = listen(&context, &client, &prefix, &mut watcher, None).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    context.record(|histories| histories.watchers.push((prefix, watcher)));
}

/// Listens until the stream breaks, or until it has told everything up to `until`.
async fn listen(
    context: &Context,
    client: &Client,
    prefix: &str,
    watcher: &mut Watcher,
    until: Option<i64>,
) -> Fallible<()> {
    let channel = client.channel(0).ok_or("no endpoint")?;
    let (requests, receiver) = mpsc::channel(4);
    let create = WatchCreateRequest {
        key: prefix.to_owned().into(),
        range_end: end(prefix).into(),
        start_revision: watcher.reached + 1,
        ..Default::default()
    };
    let say = |union| WatchRequest { request_union: Some(union) };
    requests.send(say(RequestUnion::CreateRequest(create))).await?;
    let mut calls = WatchClient::new(channel);
    let answer = timeout(SILENCE_MAX, calls.watch(ReceiverStream::new(receiver))).await??;
    let mut stream = answer.into_inner();
    let mut asked = false;
    loop {
        let over = until.is_some_and(|until| watcher.reached >= until);
        if over || until.is_none() && context.stopped() {
            return Ok(());
        }
        match timeout(SILENCE_MAX / 6, stream.message()).await {
            Ok(message) => {
                let message = message?.ok_or("the stream ended")?;
                if message.canceled {
                    return Err(message.cancel_reason.into());
                }
                asked = asked && message.created;
                hear(watcher, &message);
            }
            Err(_) if asked => return Err("the stream is silent".into()),
            Err(_) => {
                // Progress says how far it has come where nothing happens.
                requests.send(say(RequestUnion::ProgressRequest(Default::default()))).await?;
                asked = until.is_none();
            }
        }
    }
}

fn hear(watcher: &mut Watcher, message: &WatchResponse) {
    for event in &message.events {
        let Some(kv) = &event.kv else { continue };
        let value = (event.r#type() == EventType::Put).then(|| text(&kv.value));
        watcher.events.push(Event { revision: kv.mod_revision, key: text(&kv.key), value });
        watcher.reached = kv.mod_revision;
    }
    // A message without events that is no answer to the creation is progress: everything up to there was told.
    if message.events.is_empty() && !message.created {
        let revision = message.header.as_ref().map_or(0, |header| header.revision);
        watcher.reached = watcher.reached.max(revision);
    }
}

/// The first key behind all that begin so.
fn end(prefix: &str) -> String {
    // All prefixes end in '/', and '0' follows it.
    format!("{}0", prefix.trim_end_matches('/'))
}

/// In calm: the history as it is, and every watcher goes on until it has come to its end.
pub(super) async fn finish(context: &Context) -> Fallible<()> {
    let patient = context.patient().ok_or("no client")?;
    for prefix in watched(context) {
        let now = RangeRequest { key: prefix.clone().into(), ..Default::default() };
        let answer =
            patient.range(now).await.map_err(|error| format!("a read after the storm failed: {error}"))?;
        let last = answer.header.ok_or("an answer without a header")?.revision;
        let mut truth = Watcher { name: "the history".into(), ..Watcher::default() };
        let place = serving(context).await.ok_or("no member serves after the storm")?;
        let one = context.client(place).ok_or("no client")?;
        timeout(CATCH_UP, listen(context, &one, &prefix, &mut truth, Some(last))).await.map_err(|_| {
            format!("the history of {prefix} was not told up to {last} within {CATCH_UP:?}")
        })??;
        let mut watchers: Vec<Watcher> = context.record(|histories| {
            let (ours, others) =
                std::mem::take(&mut histories.watchers).into_iter().partition(|(of, _)| *of == prefix);
            histories.watchers = others;
            Vec::<(String, Watcher)>::into_iter(ours).map(|(_, watcher)| watcher).collect()
        });
        // Where their member has left for good, they stand where they stood.
        for (at, watcher) in watchers.iter_mut().enumerate() {
            let client = context.client((at + 1) % context.endpoints.len()).ok_or("no client")?;
            if client.get("torture/alive").await.is_err() {
                continue;
            }
            let told = timeout(CATCH_UP, listen(context, &client, &prefix, watcher, Some(last))).await;
            told.map_err(|_| format!("{} does not come to {last} within {CATCH_UP:?}", watcher.name))??;
        }
        let history = History { truth: truth.events, watchers };
        context.record(|histories| histories.watch.push((prefix, history)));
    }
    Ok(())
}

async fn serving(context: &Context) -> Option<usize> {
    for place in 0..context.endpoints.len() {
        if context.client(place)?.get("torture/alive").await.is_ok() {
            return Some(place);
        }
    }
    None
}

//! Znodes that are set, two of them always together; and readers that sync first, and leave watches.

use std::time::Duration;

use quorate_wire::zookeeper::{
    CheckVersionRequest, GetDataRequest, MultiOperation, MultiReadRequest, MultiRequest, MultiResult,
    ReadOperation, Request, Response, SetDataRequest,
};

use super::{Context, Session, reconnect, root, sync};
use crate::{
    Fallible,
    torture::{
        random::Mixer,
        verdicts::zookeeper::{Access, Pair, Seen},
        workloads::think,
    },
};

fn set(path: String, value: &str) -> SetDataRequest {
    SetDataRequest { path, data: Some(value.to_owned().into()), version: -1 }
}

fn pair(context: &Context) -> [String; 2] {
    ["a", "b"].map(|name| format!("{}/{name}", root(context)))
}

fn register(context: &Context, random: &mut Mixer) -> String {
    format!("{}/r{}", root(context), random.below(2))
}

/// A multi whose last part cannot be done: nothing of it may be left.
fn in_vain(context: &Context, value: &str) -> Request {
    let [a, b] = pair(context);
    let check = CheckVersionRequest { path: b, version: i32::MAX };
    Request::Multi(MultiRequest(vec![MultiOperation::SetData(set(a, value)), MultiOperation::Check(check)]))
}

/// Sets one, or two in a multi.
pub(super) async fn writer(context: Context, place: usize) {
    let mut random = context.random(5_000 + place as u64);
    let mut turn = 0;
    let mut session: Option<Session> = None;
    while !context.stopped() {
        let Some(connected) = &mut session else {
            session = reconnect(&context, place, None).await.map(|(session, _)| session);
            continue;
        };
        turn += 1;
        let value = format!("{place}-{turn}");
        let lost = if random.once_in(6) {
            connected.ask(in_vain(&context, &value)).await.err()
        } else if random.once_in(2) {
            let operations = pair(&context).map(|path| MultiOperation::SetData(set(path, &value)));
            connected.ask(Request::Multi(MultiRequest(operations.into()))).await.err()
        } else {
            let (path, begun) = (register(&context, &mut random), context.now());
            match connected.ask(Request::SetData(set(path.clone(), &value))).await {
                Ok(Ok(Response::Stat(answer))) => {
                    let (ended, version) = (context.now(), answer.stat.version);
                    let access = Access { path, begun, ended, is_write: true, value, version };
                    context.record(|histories| histories.accesses.push(access));
                    None
                }
                Ok(_) => None,
                Err(lost) => Some(lost),
            }
        };
        if lost.is_some() {
            session = reconnect(&context, place, session.as_ref()).await.map(|(session, _)| session);
        }
        think(&mut random, 60).await;
    }
}

/// Syncs and reads, on one connection to its own place; every other read leaves a watch.
pub(super) async fn reader(context: Context, place: usize) {
    let mut random = context.random(6_000 + place as u64);
    // Watches are followed on one znode.
    let watched = format!("{}/r0", root(&context));
    let mut seen = Vec::new();
    while !context.stopped() {
        seen.push(Seen::Broken);
        if let Ok(mut session) = Session::open(&context.zookeepers[place]).await {
            while !context.stopped()
                && turn(&context, &mut session, &watched, &mut random, &mut seen).await.is_some()
            {
                think(&mut random, 60).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    context.record(|histories| histories.seen.push(seen));
}

/// None: the connection broke.
async fn turn(
    context: &Context,
    session: &mut Session,
    watched: &str,
    random: &mut Mixer,
    seen: &mut Vec<Seen>,
) -> Option<()> {
    if random.once_in(3) {
        let reads = pair(context).map(|path| ReadOperation::GetData(GetDataRequest { path, watch: false }));
        let answer = session.ask(Request::MultiRead(MultiReadRequest(reads.into()))).await.ok()?;
        told(session, watched, seen);
        if let Ok(Response::Multi(results)) = answer {
            both(context, &results.0);
        }
        return Some(());
    }
    let (path, watch) = (register(context, random), random.once_in(2));
    read(context, session, path, watch, watched, seen).await
}

fn both(context: &Context, results: &[MultiResult]) {
    let [MultiResult::GetData { data: one, stat }, MultiResult::GetData { data: other, stat: after }] =
        results
    else {
        return;
    };
    let text = |data: &Option<bytes::Bytes>| {
        String::from_utf8_lossy(data.as_deref().unwrap_or_default()).into_owned()
    };
    let pair = Pair { values: [text(one), text(other)], versions: [stat.version, after.version] };
    context.record(|histories| histories.pairs.push(pair));
}

async fn read(
    context: &Context,
    session: &mut Session,
    path: String,
    watch: bool,
    watched: &str,
    seen: &mut Vec<Seen>,
) -> Option<()> {
    let begun = context.now();
    let get = Request::GetData(GetDataRequest { path: path.clone(), watch });
    let answers = session.ask_all(&[sync(&path), get]).await.ok()?;
    told(session, watched, seen);
    let [Ok(_), Ok(Response::Data(answer))] = answers.as_slice() else { return Some(()) };
    let value = String::from_utf8_lossy(answer.data.as_deref().unwrap_or_default()).into_owned();
    let (ended, version) = (context.now(), answer.stat.version);
    if path == watched {
        seen.push(if watch { Seen::Armed(version) } else { Seen::Read(version) });
    }
    context.record(|histories| {
        histories.accesses.push(Access { path, begun, ended, is_write: false, value, version });
    });
    Some(())
}

/// What came before the answer was told before it.
fn told(session: &mut Session, watched: &str, seen: &mut Vec<Seen>) {
    let events = session.told.drain(..).filter(|event| event.path == watched);
    seen.extend(events.map(|_| Seen::Told));
}

/// In calm.
pub(super) async fn finish(context: &Context, session: &mut Session) -> Fallible<()> {
    for name in ["r0", "r1"] {
        let path = format!("{}/{name}", root(context));
        let read = read(context, session, path, false, "", &mut Vec::new()).await;
        read.ok_or("a read of ZooKeeper's API after the storm failed")?;
    }
    Ok(())
}
